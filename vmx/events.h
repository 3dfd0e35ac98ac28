// SPDX-License-Identifier: GPL-2.0-or-later
//
// What VMX reports to whoever listens: the raw material of the trace and of the statistics.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "vmx/fields.h"

namespace nestor::vmx {

struct CpuState;
class Vmcs;

// Bits of a field that a check objects to.
struct WrongBits {
  uint64_t zero = 0, one = 0;  // wrongly 0, wrongly 1

  bool empty() const { return zero == 0 && one == 0; }
  WrongBits operator&(const WrongBits& other) const { return {zero & other.zero, one & other.one}; }
};

// One failed check of a VM entry or VMX instruction. All string_views refer to static tables.
struct CheckFailure {
  std::string_view id;           // stable name, e.g. "guest-rflags-fixed"
  std::string_view field;        // the VMCS field as the SDM prints it, or the operand's name
  uint64_t value = 0;            // what it held
  std::string_view requirement;  // what it must be
  std::string_view section;      // the SDM section's title
  // Of a check of VM entry that is about single bits: of which field, and which.
  std::optional<Field> component = {};
  WrongBits wrong = {};
  // Of an entry in an MSR area: which one, from 1, and how many the area has. 0: of something else.
  uint32_t entry = 0, entries = 0;
};

struct VmEntryEvent {
  bool launch = false;  // VMLAUNCH, else VMRESUME
  uint64_t vmcs = 0;    // physical address of the current VMCS
  uint64_t guest_rip = 0, guest_cr3 = 0, eptp = 0;
  uint16_t vpid = 0;
  uint32_t interruption_information = 0;  // of the injected event; bit 31: valid
  const Vmcs* data = nullptr;             // of the current VMCS; valid during the call
};

struct VmExitEvent {
  uint64_t vmcs = 0;
  uint32_t reason = 0;  // the whole exit-reason field
  uint64_t qualification = 0;
  uint64_t guest_rip = 0, guest_linear = 0, guest_physical = 0;
  uint32_t instruction_length = 0, instruction_information = 0;
  uint32_t interruption_information = 0, interruption_error_code = 0;
  uint32_t idt_vectoring_information = 0, idt_vectoring_error_code = 0;
  const Vmcs* data = nullptr;  // of the current VMCS; valid during the call
  // Of the exception that caused it: Event::why.
  std::string_view why = {};
  // The processor's state; that of the guest unless the VM entry failed. Valid during the call.
  const CpuState* state = nullptr;
};
// What the VMCS says of the VM exit that it has recorded last; of a failed VM entry, which leaves
// most of these fields alone, no more than that. The pointer of the VMCS, `why` and `state` are the
// caller's to add.
VmExitEvent exit_event_of(const Vmcs& vmcs);

// VMfailInvalid: error is 0.
struct VmInstructionErrorEvent {
  std::string_view instruction;
  uint32_t error = 0;
  const Vmcs* data = nullptr;  // of the current VMCS; valid during the call, null if there is none
  uint64_t vmcs = 0;           // its physical address
  uint64_t rip = 0;            // of the instruction
  // VMfailInvalid because there is no current VMCS to hold this error; 0: for another reason, or
  // not known.
  uint32_t unsaved_error = 0;
};

// A page-modification log got an entry ("Page-Modification Logging").
struct PageModificationEvent {
  uint64_t guest_physical = 0;  // what was written there: bits 11:0 are 0
  uint16_t index = 0;           // of the entry, 0 to 511
};

class EventSink {
 public:
  virtual ~EventSink() = default;
  virtual void vm_entry(const VmEntryEvent&) {}
  virtual void vm_exit(const VmExitEvent&) {}
  virtual void check_failed(const CheckFailure&) {}
  virtual void vm_instruction_error(const VmInstructionErrorEvent&) {}
  virtual void page_modification(const PageModificationEvent&) {}
};

}  // namespace nestor::vmx
