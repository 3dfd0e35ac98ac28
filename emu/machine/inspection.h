// SPDX-License-Identifier: GPL-2.0-or-later
//
// Looks at a machine that stands still, and changes it: registers, memory, the VMCS.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "emu/cpu/cpu.h"
#include "emu/engine/extended_state.h"
#include "emu/events/events.h"
#include "emu/l0/hypervisor.h"

namespace nestor::emu {

// What an address names.
enum class View : uint8_t {
  kL1Physical,  // L1's physical memory
  kL2Physical,  // L2's, through the EPT of L1's current VMCS if it enables EPT
  kL1Linear,    // L1's; while L2 runs, with the paging of the VMCS's host-state area
  kL2Linear,    // L2's; while L1 runs, with the paging of the VMCS's guest-state area
};

// A walk as the processor would make it now, without its effects.
struct InspectedWalk {
  WalkEvent event;               // without steps
  std::vector<ept::Step> steps;  // in the order of the memory references
  bool unreachable = false;      // the next paging structure lies where there is no memory
};

class Inspection {
 public:
  // Both outlive this object. `l0`: empty without L0, otherwise one for each processor.
  Inspection(std::span<const std::unique_ptr<Cpu>> cpus,
             std::span<const std::unique_ptr<Hypervisor>> l0)
      : cpus_(cpus), l0_(l0) {}

  // Processors count from 0.
  unsigned processors() const { return static_cast<unsigned>(cpus_.size()); }
  // Who runs there, or caused the VM exit that L0 handles: L1 (1) or L2 (2).
  int level(unsigned processor) const;
  // Completed there.
  uint64_t instructions(unsigned processor) const;
  // VM exits to L1 so far, failed VM entries included, of all processors.
  uint64_t exits() const;
  // std::nullopt: there was no VM exit to L1 yet.
  const std::optional<LastExit>& last_exit(unsigned processor) const;
  // ExitLog::cycle.
  std::optional<ExitCycle> exit_cycle(unsigned processor) const;

  // Of that level.
  const vmx::CpuState& state(unsigned processor) const;
  // CR3 of that level; state() has the shadow page tables' where those run it.
  uint64_t cr3(unsigned processor) const;
  // The same to be changed: cached translations are dropped.
  vmx::CpuState& edit_state(unsigned processor);

  // x87 and SSE registers.
  ExtendedState extended_state(unsigned processor) const;
  void write_extended_state(unsigned processor, const ExtendedState& state);
  uint64_t tsc(unsigned processor) const;

  // L1's.
  const vmx::Vmx& vmx(unsigned processor) const { return l1_vmx(processor); }
  // L1's current VMCS; null: there is none. What VM exits change of it while L2 runs is not there
  // yet.
  const vmx::Vmcs* vmcs(unsigned processor) const;
  vmx::Vmcs* edit_vmcs(unsigned processor);

  // The machine's physical address; std::nullopt: not mapped, or of a level that is not there.
  std::optional<uint64_t> translate(unsigned processor, View view, uint64_t address) const;
  // The walk that an access to `address` makes there. std::nullopt: there is an L0, which walks for
  // its guests, or L1 has no current VMCS. Of L1's physical address there is no step.
  std::optional<InspectedWalk> walk(unsigned processor, View view, uint64_t address,
                                    ept::Access access) const;
  // How many bytes from `address` on could be read or written: up to the first that is not mapped,
  // or not RAM. Devices are left alone.
  size_t read(unsigned processor, View view, uint64_t address, std::span<uint8_t> out) const;
  size_t write(unsigned processor, View view, uint64_t address, std::span<const uint8_t> data);

 private:
  HardwareCore& core(unsigned processor) const { return cpus_[processor]->core(); }
  // L0 handles a VM exit there: the state of who runs is not in the processor. Null: it does not.
  GuestCore* handled_by_l0(unsigned processor) const;
  vmx::Vmx& l1_vmx(unsigned processor) const;
  template <class Memory>
  std::optional<uint64_t> translate_from_vmcs(Memory& memory, unsigned processor, View view,
                                              uint64_t address) const;
  ept::PagingState paging(unsigned processor, View view) const;

  const std::span<const std::unique_ptr<Cpu>> cpus_;
  const std::span<const std::unique_ptr<Hypervisor>> l0_;
};

}  // namespace nestor::emu
