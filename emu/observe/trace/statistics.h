// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <cstdint>
#include <map>
#include <string>

#include "emu/events/events.h"

namespace nestor::emu {

// Counts VM exits by reason, and what each costs until the next VM entry of its processor, which is
// charged with all that the machine does meanwhile. Cycles are virtual.
class Statistics final : public EventHandler<Statistics> {
 public:
  struct Samples {
    uint64_t count = 0;
    // Between the exit and the entry that follows it. An exit that no entry follows counts in
    // `count` alone.
    uint64_t handled = 0, instructions = 0, cycles = 0;
    uint64_t min_cycles = 0, max_cycles = 0;
  };

  void attach(const Clock& clock, const uint64_t& instructions) override;
  void resumed(uint64_t exits, const std::vector<bool>& in_l2) override;
  void processor(unsigned number) override { processor_ = number; }
  void handle(const vmx::VmEntryEvent& event);
  void handle(const vmx::VmExitEvent& event);
  void handle(const vmx::CheckFailure& failure);
  void handle(const ExceptionEvent& event);
  void handle(const InterruptEvent& event);
  void handle(const UnclaimedAccess& access);
  void translations(const TranslationCounts& counts) override;

  // By the whole exit-reason field, so that failed VM entries are counted apart.
  const std::map<uint32_t, Samples>& exits() const { return exits_; }
  uint64_t entries() const { return entries_; }

  // A table in the shape of `perf kvm stat`, most frequent reason first, then totals. Ends in a
  // newline.
  std::string report() const;

 private:
  struct Pending {
    uint32_t reason;
    uint64_t cycle, instruction;
  };

  const Clock* clock_ = nullptr;
  const uint64_t* instructions_ = nullptr;
  uint64_t first_cycle_ = 0, first_instruction_ = 0;  // of what is counted
  std::map<uint32_t, Samples> exits_;
  unsigned processor_ = 0;
  std::map<unsigned, Pending> pending_;            // by processor
  std::optional<TranslationCounts> translations_;  // of all processors
  uint64_t entries_ = 0, failed_checks_ = 0, exceptions_ = 0, interrupts_ = 0, unclaimed_ = 0;
};

}  // namespace nestor::emu
