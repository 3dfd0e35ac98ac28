// SPDX-License-Identifier: GPL-2.0-or-later
//
// Writes down a profile. The same tree gives the same bytes.
#pragma once

#include <string_view>

#include "emu/observe/trace/output_file.h"
#include "emu/profile/call_tree.h"

namespace nestor::emu {

enum class ProfileFormat : uint8_t {
  kCallgrind,  // Valgrind's manual, "Callgrind Format Specification"; a level takes the file's
               // place
  kFolded,     // OUTERMOST;...;INNERMOST CYCLES, a line for each stack
  kJson,
};

// `command`: what was run, for the formats that say so.
void write_profile(const profile::CallTree& tree, ProfileFormat format, std::string_view command,
                   OutputFile& file);

}  // namespace nestor::emu
