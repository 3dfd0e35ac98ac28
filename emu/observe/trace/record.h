// SPDX-License-Identifier: GPL-2.0-or-later
//
// One event in one of the formats of the trace that have a line for each.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "emu/events/events.h"

namespace nestor::emu {

enum class TraceFormat : uint8_t { kText, kJsonLines, kPerfetto };

// An event as it is written, without its time: two events are the same when their records are.
struct Record {
  std::string kind;    // and the processor, where the machine has several
  std::string fields;  // text: with the steps of a walk, each on an indented line of its own
  bool operator==(const Record&) const = default;
};

struct Occasion {
  uint64_t cycle = 0;
  uint64_t instructions = 0;  // of all processors until then
  uint64_t sequence = 0;      // counts all events of the run from 0
  uint64_t count = 1;         // of equal events in a row that the line stands for
};

// Of both functions the format is no other than kText and kJsonLines.
Record to_record(const MachineEvent& event, std::optional<unsigned> processor, TraceFormat format);

// One line for JSON, one or more for text; ends in a newline. Hex values are strings "0x..." in
// JSON.
std::string to_line(const Record& record, const Occasion& occasion, TraceFormat format);

}  // namespace nestor::emu
