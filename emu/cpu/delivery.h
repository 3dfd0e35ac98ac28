// SPDX-License-Identifier: GPL-2.0-or-later
//
// Delivery of exceptions and interrupts through the IDT: SDM volume 3A, "Interrupt and Exception
// Handling".
//
// The caller's loop: deliver_once(); on a fault combine() it with the event, and deliver what comes
// out; on Shutdown the processor takes a triple fault.
#pragma once

#include <variant>

#include "emu/cpu/core.h"
#include "emu/cpu/memory_fault.h"

namespace nestor::emu {

struct Delivered {
  // A task gate in VMX non-root operation: the VM exit has happened, the state is that of the host.
  bool vm_exit = false;
};

// Where the event comes from. Events that VM entry injects push RF as it is, leave CR2, DR6, DR7
// and IA32_DEBUGCTL alone.
enum class EventOrigin : uint8_t { kProcessor, kVmEntry };

using Delivery = std::variant<Delivered, vmx::Event, EptExit>;

// Delivers `event`, or says what came in its way. In both cases it has ended HLT and the blocking
// by STI and MOV SS, an NMI has blocked NMIs unless they are virtual, and CR2, DR6, DR7 and
// IA32_DEBUGCTL are as the event leaves them; all else is as it was if something came in the way
// (stack memory and accessed flags may have been written). Software events return behind their
// instruction. RFLAGS.IOPL, which forbids INT n in virtual-8086 mode, was checked when the
// instruction was emulated. In real-address mode error codes are not pushed.
Delivery deliver_once(Core& core, const vmx::Event& event,
                      EventOrigin origin = EventOrigin::kProcessor);

// CR2 and the debug registers, as an event that is delivered through the IDT leaves them: also one
// whose place a double or triple fault takes, and INT1, which reports nothing in DR6.
void update_event_registers(vmx::CpuState& state, const vmx::Event& event);

struct Shutdown {};

// What an exception `second` during the delivery of `first` becomes: "Conditions for Generating a
// Double Fault".
std::variant<vmx::Event, Shutdown> combine(const vmx::Event& first, const vmx::Event& second);

}  // namespace nestor::emu
