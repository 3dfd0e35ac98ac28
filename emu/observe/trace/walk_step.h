// SPDX-License-Identifier: GPL-2.0-or-later
//
// One step of a walk in a trace: its fields, and its line in the text, written and read.
#pragma once

#include <spdlog/fmt/fmt.h>

#include <array>
#include <optional>
#include <string_view>

#include "emu/events/kinds.h"

namespace nestor::emu {

// The fields, in the order in which they are written.
struct StepField {
  std::string_view name;
  Value (*value)(const ept::Step&);
};
extern const std::array<StepField, 6> kStepFields;

// "              guest level 4 entry at 0x105000 (machine 0x5000): 0x106003, written back 0x106023"
void append_step_line(fmt::memory_buffer& out, const ept::Step& step);
// nullopt: malformed.
std::optional<ept::Step> parse_step_line(std::string_view line);

}  // namespace nestor::emu
