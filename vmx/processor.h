// SPDX-License-Identifier: GPL-2.0-or-later
//
// What VMX needs of the processor and the machine around it. The emulator implements it; tests use
// a fake.
#pragma once

#include <cstdint>
#include <optional>
#include <span>

#include "ept/address.h"
#include "ept/invalidation.h"
#include "vmx/cpu_state.h"

namespace nestor::vmx {

// Which cached translations to drop. A flush of more than was asked for is allowed by the
// architecture ("Operations that Invalidate Cached Mappings").
using Invalidation = ept::Invalidation;

enum class MsrStatus { kOk, kGeneralProtection };

class Processor {
 public:
  virtual ~Processor() = default;

  // The architectural state; VMX reads and writes it freely between two instructions.
  virtual CpuState& state() = 0;

  // Physical memory of the machine (for VMX in non-root operation: L1's physical memory). `false`:
  // not wholly inside memory; nothing was written, and `out` is filled with ones.
  virtual bool read_physical(ept::PhysicalAddress address, std::span<uint8_t> out) = 0;
  virtual bool write_physical(ept::PhysicalAddress address, std::span<const uint8_t> data) = 0;

  // Data access to linear memory with the current paging, at the current CPL, as an instruction's
  // operand. std::nullopt: done. Otherwise the fault to deliver; nothing was written. An access
  // that causes a VM exit (an EPT violation and its like) has caused it on return, and the event is
  // void.
  virtual std::optional<Event> read_linear(uint64_t linear, std::span<uint8_t> out) = 0;
  virtual std::optional<Event> write_linear(uint64_t linear, std::span<const uint8_t> data) = 0;

  // RDMSR and WRMSR without privilege checks and intercepts, as MSR lists and instructions use
  // them.
  virtual MsrStatus read_msr(uint32_t index, uint64_t& value) = 0;
  virtual MsrStatus write_msr(uint32_t index, uint64_t value) = 0;

  // The time-stamp counter without TSC offsetting.
  virtual uint64_t tsc() const = 0;
  // How often the counter has been incremented since power-up: what measures time, as no write to
  // the counter changes it.
  virtual uint64_t tsc_increments() const = 0;

  // Loads the PDPTEs that `cr3` points to, after their reserved bits were checked; false: one is
  // invalid.
  virtual bool load_pdptes(uint64_t cr3) = 0;

  // The paging state or CPU state was replaced, or translations must go.
  virtual void invalidate(const Invalidation&) = 0;

  // An event that VM entry injects: delivered through the IDT before the next instruction, with
  // IDT-vectoring information if a VM exit happens meanwhile. Its delivery leaves CR2, DR6, DR7 and
  // IA32_DEBUGCTL alone, and no exception bitmap is asked about it.
  virtual void inject(const Event&) = 0;

  // External interrupt acknowledge ("Acknowledge interrupt on exit"): the vector of the
  // highest-priority pending interrupt, which is thereby taken off the interrupt controller.
  virtual uint8_t acknowledge_interrupt() = 0;

  // Writes 0 to the EOI register of the local APIC.
  virtual void end_of_interrupt() = 0;

  // Is the processor in A20M mode? VMXON asks.
  virtual bool a20_masked() const { return false; }

  // The processor must stop executing: VMX abort, with the VMX-abort indicator.
  virtual void vmx_abort(uint32_t indicator) = 0;
};

}  // namespace nestor::vmx
