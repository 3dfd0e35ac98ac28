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
    charge(&PriceList::vm_entry);
    if (listener_ != nullptr) listener_->vm_entry(event);
  }
  void vm_exit(const vmx::VmExitEvent& event) override {
    if (listener_ != nullptr) listener_->vm_exit(event);
    charge(&PriceList::vm_exit);
  }
  void check_failed(const vmx::CheckFailure& failure) override {
    if (listener_ != nullptr) listener_->check_failed(failure);
  }
  void vm_instruction_error(const vmx::VmInstructionErrorEvent& event) override {
    if (listener_ != nullptr) listener_->vm_instruction_error(event);
  }

 private:
  void charge(uint64_t PriceList::*price) {
    if (timing_ != nullptr) timing_->serialize_execution();
    prices_.charge(price);
  }

  Prices& prices_;
  vmx::EventSink* listener_;
  timing::Core* timing_ = nullptr;  // may be null
};

}  // namespace nestor::emu
