// SPDX-License-Identifier: GPL-2.0-or-later
//
// Two traces compared event by event.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "emu/observe/trace/trace_reader.h"

namespace nestor::emu {

// A field that may differ between two runs of an image without a difference in what it did.
struct IgnoredField {
  std::string_view event;  // empty: of every event
  std::string_view field;
  uint64_t compared;  // the bits of its value that count nevertheless; 0: none
  std::string_view why;
};

// What `nestor diff --list-ignored` prints; docs/trace.md has the same list.
const std::vector<IgnoredField>& ignored_fields();

// What is wrong with DiffRules::ignore: a sentence that names the one that no event has;
// std::nullopt: nothing.
[[nodiscard]] std::optional<std::string> unknown_ignored(const std::vector<std::string>& ignore);

struct DiffRules {
  std::vector<std::string> only{};    // the kinds of events that count; empty: all
  std::vector<std::string> ignore{};  // fields beside the table: "rip", or "vm-exit.rip"
  unsigned context = 3;               // events shown before and after the first difference
};

struct FieldDifference {
  std::string field;                       // "event" for the kind
  std::optional<std::string> left, right;  // absent there
};

struct TraceDifference {
  // The first events that differ; nullopt: that trace has ended.
  std::optional<TraceEvent> left, right;
  std::vector<FieldDifference> fields;  // in the order of the left event; empty when one has ended
  std::vector<TraceEvent> before;       // of the left trace: the last events that are the same
  std::vector<TraceEvent> after_left, after_right;
};

struct DiffResult {
  uint64_t compared = 0;                      // events that are the same
  std::optional<TraceDifference> difference;  // the first one
  std::vector<std::string> never_seen;        // of `only`: kinds that neither trace has
  std::optional<std::string> error;           // a trace could not be read to the end
};

// Reads both traces up to the first difference and its context. A line with a count is as many
// events.
[[nodiscard]] DiffResult compare_traces(TraceReader& left, TraceReader& right,
                                        const DiffRules& rules);

// For the user, several lines. The paths name the traces.
[[nodiscard]] std::string to_string(const TraceDifference& difference, const std::string& left_path,
                                    const std::string& right_path);
[[nodiscard]] std::string list_ignored_fields();

}  // namespace nestor::emu
