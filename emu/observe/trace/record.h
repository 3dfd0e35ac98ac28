// SPDX-License-Identifier: GPL-2.0-or-later
//
// One event as an ordered list of named values: what both writers write. All string_views refer to
// static tables.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace nestor::emu {

// A number that is written in hexadecimal, as addresses and bit masks are.
struct Hex {
  uint64_t value = 0;
};

// One part of a decoded field: a name where the value has one, otherwise a number or, where only
// its presence counts, a flag that is set.
struct Part {
  std::string_view key;
  std::variant<bool, uint64_t, Hex, std::string_view> value;
};
using Parts = std::vector<Part>;

struct WalkStep {
  std::string_view dimension;  // "guest" or "EPT"
  uint64_t level = 0;
  uint64_t address = 0, machine_address = 0, entry = 0, written_back = 0;
};
using WalkSteps = std::vector<WalkStep>;

using Value = std::variant<uint64_t, bool, Hex, std::string_view, Parts, WalkSteps>;

struct Record {
  uint64_t cycle = 0;
  uint64_t sequence = 0;                             // counts all events of the run from 0
  std::optional<unsigned> processor = std::nullopt;  // where the machine has several
  std::string_view kind;
  std::vector<std::pair<std::string_view, Value>> fields;
};

// One line without its newline for JSON. Text may take several lines: one for the event, one for
// each step of a walk, indented. Neither ends in a newline. Hex values are strings "0x..." in JSON.
std::string to_json_line(const Record& record);
std::string to_text(const Record& record);

}  // namespace nestor::emu
