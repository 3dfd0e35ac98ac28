// SPDX-License-Identifier: GPL-2.0-or-later
//
// A trace read back, one event at a time, from either format. docs/trace.md describes both.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "emu/observe/trace/line_reader.h"

namespace nestor::emu {

// "outer.inner": the name of a part.
inline std::string dotted(std::string outer, const std::string& inner) {
  outer += '.';
  outer += inner;
  return outer;
}

// One field, in the spelling that is common to both formats: numbers and words as the text has
// them without quotation marks, flags as "yes" and "no". The parts of a decoded field and the steps
// of a walk are fields of their own: "decoded.size", "steps[3].entry"; "steps" is their number.
struct TraceField {
  std::string key, value;
};

struct TraceEvent {
  uint64_t number = 0;  // counts the events of the file from 0
  uint64_t count = 1;   // so many equal events in a row, of which this is the first
  uint64_t line = 0;    // in the file, from 1
  uint64_t cycle = 0;
  std::string kind;
  std::vector<TraceField> fields;  // all but `count`; `cycle`, `instructions` and `sequence` too
  std::string text;                // the line as it is in the file, without the steps of a walk
};

class TraceReader {
 public:
  // The error is one sentence that names the file and the reason.
  [[nodiscard]] static std::variant<std::unique_ptr<TraceReader>, std::string> open(
      const std::string& path);

  // The next line's event; false at the end, and after an error.
  [[nodiscard]] bool next(TraceEvent& event);
  uint64_t events() const { return number_; }  // so far; equal ones in a row are one
  // What is wrong with the file, one sentence that names file and line.
  const std::optional<std::string>& error() const { return error_; }
  const std::string& path() const { return lines_.path(); }

 private:
  explicit TraceReader(LineReader lines) : lines_(std::move(lines)) {}
  bool fail(std::string_view what);
  bool parse_text(TraceEvent& event);
  bool parse_json(TraceEvent& event);
  bool read_steps(TraceEvent& event, uint64_t count);

  LineReader lines_;
  std::string line_;
  uint64_t number_ = 0;
  std::optional<std::string> error_;
};

}  // namespace nestor::emu
