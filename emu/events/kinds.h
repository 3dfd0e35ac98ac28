// SPDX-License-Identifier: GPL-2.0-or-later
//
// The kinds of events and their fields: one table, from which the trace is written in both formats,
// filters take their names and `nestor diff` what it leaves out. docs/trace.md has the same table.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "emu/events/events.h"

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
using Steps = std::span<const ept::Step>;

// All string_views refer to static tables. std::monostate: this event lacks the field.
using Value =
    std::variant<std::monostate, uint64_t, bool, Hex, std::string_view, std::string, Parts, Steps>;

struct EventField {
  std::string_view name;
  std::string_view meaning;   // in Markdown; may be empty
  uint64_t compared = ~0ull;  // the bits of its value that `nestor diff` compares
  std::string_view why = {};  // ... and not the others
};

struct EventKind {
  std::string_view name;
  std::string_view meaning;        // in Markdown
  std::vector<EventField> fields;  // in the order in which they are written
};

inline constexpr size_t kEventKindCount = std::variant_size_v<MachineEvent>;

// By MachineEvent::index().
const std::array<EventKind, kEventKindCount>& event_kinds();

// Those that the event has, in the order of its kind.
struct NamedValue {
  std::string_view name;
  Value value;
};
std::vector<NamedValue> values_of(const MachineEvent& event);

// By ept::Dimension.
inline constexpr std::array<std::string_view, 3> kDimensionNames = {"guest", "EPT", "SPP"};

}  // namespace nestor::emu
