// SPDX-License-Identifier: GPL-2.0-or-later
//
// What the user is told on the standard error, which may be closed or full.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "emu/cli/exit_status.h"

namespace nestor::emu {

// To be called first. A file that is opened must not become the standard output or error because
// that was closed; writing to what stands in for it fails.
void keep_standard_descriptors();

// The program's name, which all complaints start with: "nestor" unless this is called. The view
// stays valid.
void complain_as(std::string_view program);

// Why the process ends as it does, on one line whatever characters a file name brings into it.
// Returns the status, which says the same if the line is lost.
int complain(ExitStatus status, std::string message);

// Something else that the user asked for or should know.
void tell(std::string_view text);

// Warnings and what is less than these come by tell() from now on, after the program's name and
// their level, in front of the first line or of all. `level`: "info", "warning" or "off".
enum class LinePrefix : uint8_t { kFirst, kAll };
void log_by_telling(const std::string& level, LinePrefix prefix = LinePrefix::kFirst);

// What the process returns in place of `status`: kOutputError if something was told and lost, and
// nobody has complained.
int final_status(int status);

}  // namespace nestor::emu
