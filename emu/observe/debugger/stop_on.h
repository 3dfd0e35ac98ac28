// SPDX-License-Identifier: GPL-2.0-or-later
//
// Events at which a debugger stops the machine: `monitor stop-on`.
#pragma once

#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "emu/events/events.h"

namespace nestor::emu {

class StopOn {
 public:
  // The words behind `stop-on`. Returns what to tell the user: what is set, or one line that says
  // what is wrong.
  std::string set(const std::vector<std::string_view>& words);
  static std::string_view help();

  // A line of text about the event; std::nullopt: it stops nothing.
  std::optional<std::string> met(const MachineEvent& event) const;
  std::vector<uint32_t> msrs() const { return {msrs_.begin(), msrs_.end()}; }
  std::vector<uint16_t> ports() const { return {ports_.begin(), ports_.end()}; }
  // At the end of the run, when the guest ends it, too.
  bool end() const { return end_; }

 private:
  std::string list() const;
  std::optional<std::string> set_exits(const std::vector<std::string_view>& words);

  bool entries_ = false, exits_ = false, failures_ = false, end_ = false;
  std::set<uint16_t> reasons_;  // with exits_; empty: all
  std::set<uint8_t> exceptions_;
  std::set<uint32_t> msrs_;
  std::set<uint16_t> ports_;
};

// A number in C's way: 0x10 is 16. std::nullopt: none, or beyond `most`.
std::optional<uint64_t> parse_argument(std::string_view text, uint64_t most = ~0ull);

// By number, or by name whatever its case and punctuation: "48", "ept-violation", "EptViolation".
std::optional<uint16_t> parse_exit_reason(std::string_view text);

}  // namespace nestor::emu
