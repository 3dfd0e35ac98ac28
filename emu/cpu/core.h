// SPDX-License-Identifier: GPL-2.0-or-later
//
// What instruction emulation and event delivery see of the software CPU.
#pragma once

#include <cstdint>
#include <optional>
#include <span>

#include "emu/cpu/memory_fault.h"
#include "emu/devices/bus.h"
#include "emu/events/events.h"
#include "emu/time/clock.h"
#include "vmx/cpu_state.h"
#include "vmx/processor.h"
#include "vmx/processor_type.h"
#include "vmx/vmx.h"

namespace nestor::emu {

struct ExtendedState;
class LocalApic;
class PerformanceMonitor;
struct MsrStorage;

// With whose rights linear memory is accessed.
enum class Privilege {
  kCurrent,     // an instruction's own operand: as the CPL says
  kSupervisor,  // implicit supervisor access: descriptor tables, TSS, inner stacks
};

class Core : public vmx::Processor {
 public:
  uint64_t tsc_increments() const override { return clock().cycles(); }

  // Linear memory through the current paging (and EPT in non-root operation). nullopt: done.
  // Otherwise the fault; nothing was written. Accesses may cross pages. MMIO is dispatched to the
  // bus.
  virtual std::optional<Fault> read(uint64_t linear, std::span<uint8_t> out, Privilege) = 0;
  virtual std::optional<Fault> write(uint64_t linear, std::span<const uint8_t> data, Privilege) = 0;
  // Checks that a write would succeed, setting accessed and dirty flags as the write would.
  virtual std::optional<Fault> probe_write(uint64_t linear, uint64_t size, Privilege) = 0;
  // Instruction bytes at `linear`; `fetched` tells how many could be read before the fault, if
  // there was one.
  virtual std::optional<Fault> fetch(uint64_t linear, std::span<uint8_t> out, size_t& fetched) = 0;

  // How many accesses of read() and write() have met no RAM so far.
  virtual uint64_t device_accesses() const { return 0; }
  // One of them was to such memory: an event, the first time.
  virtual void note_outside_ram(ImplicitMemory /*what*/, uint64_t /*linear*/) {}

  // MOV to CR and task switches, in PAE paging: loads the PDPTEs that `cr3` references. The fault:
  // #GP for a reserved bit, or how EPT refused to read them; nothing was loaded then.
  virtual std::optional<Fault> reload_pdptes(uint64_t cr3) = 0;

  // Which processor it is: what CPUID, MSRs and VMX follow from.
  virtual const vmx::ProcessorType& type() const = 0;
  virtual vmx::Vmx& vmx() = 0;
  virtual Bus& bus() = 0;
  virtual LocalApic& apic() = 0;
  virtual const Clock& clock() const = 0;
  virtual MsrStorage& msr_storage() = 0;
  // With everything counted until now.
  virtual PerformanceMonitor& performance_monitor() = 0;
  // Logical processors of the machine, at least 1.
  virtual unsigned processors() const = 0;

  // x87 and SSE registers.
  virtual void read_extended_state(ExtendedState& state) = 0;
  virtual void write_extended_state(const ExtendedState& state) = 0;
  // MONITOR, once `linear` has been read: watches the line that it is part of, which arms
  // CpuState::monitor_armed where that is possible.
  virtual void watch_line(uint64_t linear) = 0;
  // The line may have been written to since; false alarms are possible.
  virtual bool watched_line_written() = 0;
  // MWAIT: behind this instruction nothing executes before that, or before an event. With
  // `masked_interrupts_wake` an interrupt ends it even if it cannot be delivered.
  virtual void wait_for_line(bool masked_interrupts_wake) = 0;

  // WBINVD and INVD: for a model of the caches, if there is one.
  virtual void empty_caches() {}

  // The next number of RDRAND and RDSEED.
  virtual uint64_t random_number() = 0;

  // Makes tsc() return `value` now.
  virtual void set_tsc(uint64_t value) = 0;
};

}  // namespace nestor::emu
