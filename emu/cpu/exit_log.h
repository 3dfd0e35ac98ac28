// SPDX-License-Identifier: GPL-2.0-or-later
//
// VMX as L1 sees it on one processor: remembers the last VM exit, and stops the run where that is
// asked for.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <vector>

#include "emu/cpu/turns.h"
#include "emu/memory/archive.h"
#include "vmx/events.h"

namespace nestor::emu {

struct LastExit {
  uint32_t reason = 0;  // the whole exit-reason field
  uint64_t qualification = 0, guest_rip = 0, guest_physical = 0;
  // How often in a row, with the same reason, RIP and guest-physical address.
  uint64_t times = 0;

  bool is_as(const LastExit& other) const {
    return reason == other.reason && guest_rip == other.guest_rip &&
           guest_physical == other.guest_physical;
  }
  void fields(Archive& archive) {
    archive(reason, qualification, guest_rip, guest_physical, times);
  }
};

// VM exits that come by turns, again and again: where L2 makes no progress.
struct ExitCycle {
  std::vector<LastExit> exits;  // in their order; the last VM exit is the last of them
  uint64_t times = 0;           // in a row
};

class ExitLog final : public vmx::EventSink {
 public:
  // Hands all events on to `listener`, which may be null. `turns` outlives this object.
  ExitLog(unsigned processor, Turns& turns, vmx::EventSink* listener)
      : processor_(processor), turns_(turns), listener_(listener) {}

  // std::nullopt: there was none yet.
  const std::optional<LastExit>& last() const { return last_; }
  // The shortest cycle of 2 to kLongestCycle VM exits that was gone through at least twice, up to
  // the last one.
  std::optional<ExitCycle> cycle() const;
  // All that there were, failed VM entries included.
  uint64_t exits() const { return exits_; }
  void serialize(Archive& archive) { archive(last_, exits_, recent_, same_); }

  void vm_entry(const vmx::VmEntryEvent& event) override;
  void vm_exit(const vmx::VmExitEvent& event) override;
  void check_failed(const vmx::CheckFailure& failure) override {
    if (listener_ != nullptr) listener_->check_failed(failure);
  }
  void vm_instruction_error(const vmx::VmInstructionErrorEvent& event) override {
    if (listener_ != nullptr) listener_->vm_instruction_error(event);
  }
  void page_modification(const vmx::PageModificationEvent& event) override {
    if (listener_ != nullptr) listener_->page_modification(event);
  }

 private:
  const unsigned processor_;
  Turns& turns_;
  vmx::EventSink* const listener_;
  static constexpr size_t kLongestCycle = 4;
  std::optional<LastExit> last_;
  // The last ones, each in the place of its number; and how many in a row were as those 2, 3, ...
  // before.
  const LastExit& recent(size_t before) const { return recent_[(exits_ - before) % kLongestCycle]; }
  std::array<LastExit, kLongestCycle> recent_{};
  std::array<uint64_t, kLongestCycle + 1> same_{};
  uint64_t exits_ = 0;
};

}  // namespace nestor::emu
