// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include "emu/time/prices.h"
#include "emu/timing/core.h"
#include "vmx/events.h"

namespace nestor::emu {

// The events of VMX on their way to the listener; charges VM entries and VM exits.
class ChargedEvents final : public vmx::EventSink {
 public:
  // `listener` may be null.
  ChargedEvents(Prices& prices, vmx::EventSink* listener) : prices_(prices), listener_(listener) {}

  void set_listener(vmx::EventSink& listener) { listener_ = &listener; }
  void set_timing(timing::Core& timing) { timing_ = &timing; }

  void vm_entry(const vmx::VmEntryEvent& event) override {
    charge(&PriceList::vm_entry, timing::vm_entry_price, event.data);
    if (listener_ != nullptr) listener_->vm_entry(event);
  }
  void vm_exit(const vmx::VmExitEvent& event) override {
    if (listener_ != nullptr) listener_->vm_exit(event);
    charge(&PriceList::vm_exit, timing::vm_exit_price, event.data);
  }
  void check_failed(const vmx::CheckFailure& failure) override {
    if (listener_ != nullptr) listener_->check_failed(failure);
  }
  void vm_instruction_error(const vmx::VmInstructionErrorEvent& event) override {
    if (listener_ != nullptr) listener_->vm_instruction_error(event);
  }

 private:
  using TransitionPrice = uint64_t (*)(const timing::Processor&, const vmx::Vmcs&);
  void charge(uint64_t PriceList::*constant, TransitionPrice modelled, const vmx::Vmcs* vmcs) {
    if (timing_ == nullptr || vmcs == nullptr) return prices_.charge(constant);
    timing_->serialize_execution();
    prices_.charge_core(modelled(timing_->processor(), *vmcs));
  }

  Prices& prices_;
  vmx::EventSink* listener_;
  timing::Core* timing_ = nullptr;  // may be null
};

}  // namespace nestor::emu
