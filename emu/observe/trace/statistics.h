// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "emu/events/events.h"

namespace nestor::emu {

// Counts VM exits by reason, and what each costs until the next VM entry of its processor: the
// instructions that this processor executes, and the time that it executes or waits together with
// all others. While another one executes, its time stands still. Cycles are virtual.
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
  // The same where nobody counts instructions.
  void attach(const Clock& clock) { clock_ = &clock; }
  void resumed(uint64_t exits, const std::vector<bool>& in_l2) override;
  void processor(unsigned number) override;
  void all_wait() override;
  // `times`: so many equal events in a row, of which nothing but the first takes time.
  void handle(const vmx::VmEntryEvent& event, uint64_t times = 1);
  void handle(const vmx::VmExitEvent& event, uint64_t times = 1);
  void handle(const vmx::CheckFailure& failure, uint64_t times = 1);
  void handle(const ExceptionEvent& event, uint64_t times = 1);
  void handle(const InterruptEvent& event, uint64_t times = 1);
  void handle(const UnclaimedAccess& access, uint64_t times = 1);
  void translations(const TranslationCounts& counts) override;

  // By the whole exit-reason field, so that failed VM entries are counted apart.
  const std::map<uint32_t, Samples>& exits() const { return exits_; }
  uint64_t entries() const { return entries_; }
  struct Amount {
    uint64_t cycles = 0, instructions = 0;
  };
  // What all processors have had in L1 and L2, each with the VM entries or VM exits that lead
  // there.
  std::array<Amount, 2> levels() const;

  // A table in the shape of `perf kvm stat`, most frequent reason first, then totals. Ends in a
  // newline.
  std::string report() const;
  // How long exits were handled: a line for each reason, the longest in all first.
  std::string report_times() const;

 private:
  struct Pending {
    uint32_t reason;
    Amount at;  // of the processor's own
  };

  // Without a machine there are no amounts at all.
  bool counts_instructions() const { return clock_ == nullptr || instructions_ != nullptr; }
  Amount machine() const;
  // What each processor has had until now. The machine's amount, with one processor.
  std::vector<Amount> shares() const;
  void settle();
  // Of the processor, what it has had since it came to the level goes to that one.
  void change_level(bool in_l2);
  struct Level {
    bool in_l2 = false;
    Amount since;  // its own
  };

  const Clock* clock_ = nullptr;
  const uint64_t* instructions_ = nullptr;
  std::map<uint32_t, Samples> exits_;
  unsigned processor_ = 0;
  bool all_wait_ = false;
  Amount settled_;                                 // of the machine: what shares_ has
  std::vector<Amount> shares_{1};                  // by processor
  std::map<unsigned, Pending> pending_;            // by processor
  std::optional<TranslationCounts> translations_;  // of all processors
  std::map<unsigned, Level> level_;                // by processor
  std::array<Amount, 2> levels_{};                 // until the last change of each
  uint64_t entries_ = 0, failed_checks_ = 0, exceptions_ = 0, interrupts_ = 0, unclaimed_ = 0;
};

}  // namespace nestor::emu
