// SPDX-License-Identifier: GPL-2.0-or-later
//
// What takes time beside code that the core executes by itself: system instructions, events, and
// transitions between VMX root and non-root operation.
#pragma once

#include <cstdint>

#include "emu/decode/instruction.h"
#include "emu/timing/processor.h"
#include "vmx/vmcs.h"

namespace nestor::emu::timing {

enum class SystemCost : uint8_t {
  kOther,  // an instruction that has no row
  kCpuid,
  kRdtsc,
  kRdtscp,
  kRdpmc,
  kRdmsr,
  kWrmsr,
  kMovFromControlRegister,
  kMovToControlRegister,
  kMovToCr3,
  kClts,
  kDebugRegister,
  kLoadDescriptorTable,
  kInvlpg,
  kXsetbv,
  kXsave,
  kRandomNumber,
  kPause,
  kInterruptFlag,       // STI
  kClearInterruptFlag,  // CLI
  kPushf,
  kPopf,
  kSegmentLoad,
  kFarTransfer,
  kSyscall,
  kSysret,
  kIret,
  kVmread,
  kVmwrite,
  kVmptrld,
  kVmclear,
  kVmfunc,
  kInvalidate,  // INVEPT, INVVPID, INVPCID
  kException,   // its delivery through the IDT
  kPageFault,
  kInterrupt,
  // Of which VM entries and VM exits are made.
  kVmEntry,
  kVmExit,
  kFieldChecked,
  kFieldLoaded,
  kFieldSaved,
  kCount
};

// In cycles.
uint16_t system_price(const Processor& processor, SystemCost cost);
// Of an instruction that the core cannot execute by itself. `register_number`: of the control
// register, for MOV to one.
SystemCost cost_of(Operation operation, unsigned register_number);

// A VM entry or a VM exit as the VMCS asks for it: the fields that are checked, loaded and saved
// ("Checks on VMX Controls and Host-State Area", "Loading Guest State", "Saving Guest State",
// "Loading Host State"), and an RDMSR or WRMSR for each entry of the MSR lists.
uint64_t vm_entry_price(const Processor& processor, const vmx::Vmcs& vmcs);
uint64_t vm_exit_price(const Processor& processor, const vmx::Vmcs& vmcs);

}  // namespace nestor::emu::timing
