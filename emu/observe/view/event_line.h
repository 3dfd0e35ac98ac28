// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <variant>

namespace nestor::emu {

// What a list of events shows of one, out of its line of a JSON trace.
struct EventLine {
  uint64_t cycle = 0;
  uint64_t count = 1;
  uint64_t rip = 0;
  unsigned processor = 0;
  std::string kind;
  std::string what;  // the field of the kind that says most: the reason of a VM exit; may be empty
};

// The error says what is wrong with the line, as the end of a sentence.
std::variant<EventLine, std::string> read_event_line(std::string_view line);

}  // namespace nestor::emu
