// SPDX-License-Identifier: GPL-2.0-or-later
//
// What QEMU's command line is made of, as rows: options, and the keys of their arguments.
#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "emu/cli/complaint.h"

namespace nestor::emu::qemu {

enum class Treatment : uint8_t {
  kTaken,    // it becomes something of `nestor run`
  kMet,      // Nestor is so in any case
  kIgnored,  // the run goes on without it, and a warning says so
  kMissing,  // the run cannot be what was asked for: the program ends
};

// Lines for the user: what was ignored and why, and what Nestor does not have.
struct Report {
  std::vector<std::string> ignored, missing;
};

// A complaint that is a line of Report::missing.
inline Complaint missing(std::string why) { return {std::move(why), ExitStatus::kNotInNestor}; }

// An option or a key. One that is kTaken has `read`, all others say why in `text`.
template <class To>
struct Row {
  std::string_view name;  // at its end a * stands for anything
  // What stands for it in help; empty: there is none. "on", "N" and "a|b", which may have a boolean
  // among its values, are also what a value is checked against; anything else may be any text.
  std::string_view argument;
  Treatment treatment;
  std::string_view text;         // what it becomes, or why not
  std::string_view met_by = {};  // values, with | between them: with these it is kMet
  Complaint (*read)(const std::string& value, To& to) = nullptr;

  bool is_named(std::string_view what) const {
    if (!name.ends_with('*')) return what == name;
    return what.starts_with(name.substr(0, name.size() - 1));
  }
};

// Whether `value` is one of `values`, which have | between them.
bool is_one_of(std::string_view value, std::string_view values);

// As QEMU reads a boolean; std::nullopt: it is none.
std::optional<bool> parse_boolean(std::string_view value);

// What is wrong with a value for this Row::argument, as a sentence; empty: nothing.
std::string wrong_value(std::string_view argument, const std::string& value);

// What the user has written: all of it, and the part that is judged: "-drive if=sd" and "if=sd".
struct Written {
  std::string whole, part;
};

// Does what the row says. A complaint begins with the part.
template <class To>
[[nodiscard]] Complaint apply(const Row<To>& row, const Written& written, const std::string& value,
                              To& to, Report& report) {
  if (is_one_of(value, row.met_by)) return {};
  if (std::string wrong = wrong_value(row.argument, value); !wrong.empty())
    return written.part + ": " + wrong;
  switch (row.treatment) {
    case Treatment::kMet:
      return {};
    case Treatment::kIgnored:
      report.ignored.push_back(written.whole + " is ignored: " + std::string(row.text));
      return {};
    case Treatment::kMissing:
      report.missing.push_back(written.whole + ": " + std::string(row.text));
      return {};
    case Treatment::kTaken:
      break;
  }
  Complaint bad = row.read(value, to);
  if (bad.empty() || bad.status == ExitStatus::kSuccess) return bad;
  if (bad.status == ExitStatus::kNotInNestor) {
    report.missing.push_back(written.whole + ": " + bad.text);
    return {};
  }
  bad.text = written.part + ": " + bad.text;
  return bad;
}

struct Pair {
  std::string key, value;
};

// "a,b": items with commas between them; ,, is a comma.
std::vector<std::string> split_items(std::string_view text);

// "a,key=b,other": items that are pairs. The first one may be a value alone, of the key `implied`;
// another key alone has the value "on", or as noKEY "off".
std::vector<Pair> split_keys(std::string_view text, std::string_view implied);

// Applies the rows to the pairs in order. A key without a row is bad usage.
template <class To>
[[nodiscard]] Complaint apply_keys(std::string_view option, const std::vector<Pair>& pairs,
                                   std::span<const Row<To>> rows, To& to, Report& report) {
  for (const Pair& pair : pairs) {
    const auto row = std::ranges::find_if(
        rows, [&](const Row<To>& candidate) { return candidate.is_named(pair.key); });
    const std::string part = pair.key + "=" + pair.value;
    if (row == rows.end()) return part + ": there is no such key; leave it out";
    const Written written{std::string(option) + " " + part, part};
    if (Complaint bad = apply(*row, written, pair.value, to, report); !bad.empty()) return bad;
  }
  return {};
}

}  // namespace nestor::emu::qemu
