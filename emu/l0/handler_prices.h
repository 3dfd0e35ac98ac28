// SPDX-License-Identifier: GPL-2.0-or-later
//
// What L0 does for a VM exit takes time as code does: so many instructions, and the VMREADs,
// VMWRITEs and other system instructions among them, each at the processor's price.
#pragma once

#include <array>
#include <cstdint>

#include "emu/timing/processor.h"
#include "vmx/exit_reasons.h"

namespace nestor::emu {

enum class HandlerStep : uint8_t {
  kExit,  // each VM exit: saving and loading registers, finding out why, getting ready for entry
  // --- an instruction that exited
  kInstruction,  // CPUID, and what has no row of its own
  kMsrAccess,
  kControlRegister,
  kVmread,
  kVmwrite,
  kVmptrld,
  kVmclear,
  kVmxon,
  kVmxoff,
  kInvalidation,  // INVEPT, INVVPID; what L0 flushes for it comes on top
  // --- nesting
  kReflection,  // of a VM exit: guest state and information to VMCS12, its host state to VMCS01
  kShadowReflection,  // beside that, where L0 has no EPT
  kPublish,           // VMCS12 to the shadow VMCS
  kFetch,             // and back
  kNestedEntry,       // VMLAUNCH, VMRESUME: checks of VMCS12, MSR bitmaps, VMCS02
  kNewVmcs,           // VMLAUNCH: the fields of VMCS02 that do not change from entry to entry
  kInjection,         // of an event
  // --- tables
  kEptFill,  // of a page
  kPagingFill,
  kWalkedEntry,  // of the guest's tables, on the way to a fill
  kTableBuilt,
  kTableGivenUp,
  kFlush,  // an INVEPT, INVVPID or INVPCID of L0's own
  kCount
};

// How many of them a step executes.
struct HandlerWork {
  uint16_t instructions = 0;  // those below included
  uint8_t vmread = 0, vmwrite = 0, vmptrld = 0, vmclear = 0;
  uint8_t rdmsr = 0, rdtsc = 0, mov_from_cr = 0, mov_to_cr = 0;
  uint8_t flushes = 0;  // INVEPT, INVVPID, INVPCID
};

const HandlerWork& work_of(HandlerStep step);
// What L0 does for an instruction of its guest that caused a VM exit, without nesting and tables.
HandlerStep step_for(vmx::ExitReason reason);

class HandlerPrices {
 public:
  explicit HandlerPrices(const timing::Processor& processor);

  // In cycles.
  uint64_t operator[](HandlerStep step) const { return cycles_[static_cast<size_t>(step)]; }

 private:
  std::array<uint32_t, static_cast<size_t>(HandlerStep::kCount)> cycles_{};
};

// What one instruction of a hypervisor's code takes, in thousandths of a cycle: code in the mix of
// KVM's, straight on.
uint64_t handler_code_price(const timing::Processor& processor);

}  // namespace nestor::emu
