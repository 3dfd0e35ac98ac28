// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include "emu/profile/profiler.h"
#include "emu/time/prices.h"
#include "emu/timing/core.h"
#include "vmx/events.h"
#include "vmx/exit_reasons.h"

namespace nestor::emu {

// The events of VMX on their way to the listener; charges VM entries and VM exits.
class ChargedEvents final : public vmx::EventSink {
 public:
  // `listener` may be null.
  ChargedEvents(Prices& prices, vmx::EventSink* listener) : prices_(prices), listener_(listener) {}

  void set_listener(vmx::EventSink& listener) { listener_ = &listener; }
  void set_timing(timing::Core& timing) { timing_ = &timing; }
  void set_profiler(profile::Profiler& profiler) { profiler_ = &profiler; }
  // It is L0 that they take the time of, not L1.
  void belong_to_l0() { level_ = 0; }

  void vm_entry(const vmx::VmEntryEvent& event) override {
    if (profiler_ != nullptr) profiler_->transition(level_, kVmEntry, "VM entry");
    charge(&PriceList::vm_entry, timing::vm_entry_price, event.data);
    if (listener_ != nullptr) listener_->vm_entry(event);
  }
  void vm_exit(const vmx::VmExitEvent& event) override {
    if (listener_ != nullptr) listener_->vm_exit(event);
    if (profiler_ != nullptr) {
      const std::string name = "VM exit: " + std::string(vmx::exit_reason_name(event.reason));
      profiler_->transition(level_, event.reason & 0xffff, name);
    }
    charge(&PriceList::vm_exit, timing::vm_exit_price, event.data);
  }
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
  static constexpr uint32_t kVmEntry = 0xffff;  // no exit reason has that number
  using TransitionPrice = uint64_t (*)(const timing::Processor&, const vmx::Vmcs&);
  void charge(uint64_t PriceList::*constant, TransitionPrice modelled, const vmx::Vmcs* vmcs) {
    if (timing_ == nullptr || vmcs == nullptr) return prices_.charge(constant);
    timing_->serialize_execution();
    prices_.charge_core(modelled(timing_->processor(), *vmcs));
  }

  Prices& prices_;
  vmx::EventSink* listener_;
  timing::Core* timing_ = nullptr;         // may be null
  profile::Profiler* profiler_ = nullptr;  // the same
  unsigned level_ = 1;
};

}  // namespace nestor::emu
