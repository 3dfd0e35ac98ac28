// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <cstdint>
#include <map>
#include <vector>

#include "emu/events/events.h"
#include "vmx/vmcs.h"

namespace nestor::emu {

// Adds to the events on their way to the next sink, which outlives this one, what has changed in
// each VMCS: before a VM entry, failed ones included, what L1 has written, after a VM exit what
// that has. Of a VMCS that is seen for the first time nothing is known to have changed.
class VmcsChanges final : public MachineEventSink {
 public:
  explicit VmcsChanges(MachineEventSink& next) : next_(next) {}

  void attach(const Clock& clock, const uint64_t& instructions) override {
    next_.attach(clock, instructions);
  }
  void resumed(uint64_t exits, const std::vector<bool>& in_l2) override {
    next_.resumed(exits, in_l2);
  }
  void processor(unsigned number) override { next_.processor(number); }
  void all_wait() override { next_.all_wait(); }
  bool wants_walks() const override { return next_.wants_walks(); }
  bool wants_all_walks() const override { return next_.wants_all_walks(); }
  void on(const MachineEvent& event) override;
  void translations(const TranslationCounts& counts) override { next_.translations(counts); }

 private:
  // What may have changed: by L1 before a VM entry, and before one that has failed and left its
  // exit information there; by a VM exit.
  enum class When : uint8_t { kVmEntry, kFailedVmEntry, kVmExit };
  void compare(uint64_t address, const vmx::Vmcs& now, When when);

  MachineEventSink& next_;
  std::map<uint64_t, vmx::Vmcs> last_;    // by physical address
  std::vector<VmcsFieldChange> changes_;  // of one event
};

}  // namespace nestor::emu
