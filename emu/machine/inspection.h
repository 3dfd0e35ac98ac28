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
#include "emu/l0/hypervisor.h"

namespace nestor::emu {

// What an address names.
enum class View : uint8_t {
  kL1Physical,  // L1's physical memory
  kL2Physical,  // L2's, through the EPT of L1's current VMCS if it enables EPT
  kL1Linear,    // L1's; while L2 runs, with the paging of the VMCS's host-state area
  kL2Linear,    // L2's; while L1 runs, with the paging of the VMCS's guest-state area
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

  // L1's current VMCS; null: there is none. What VM exits change of it while L2 runs is not there
  // yet.
  const vmx::Vmcs* vmcs(unsigned processor) const;
  vmx::Vmcs* edit_vmcs(unsigned processor);

  // The machine's physical address; std::nullopt: not mapped, or of a level that is not there.
  std::optional<uint64_t> translate(unsigned processor, View view, uint64_t address) const;
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

  const std::span<const std::unique_ptr<Cpu>> cpus_;
  const std::span<const std::unique_ptr<Hypervisor>> l0_;
};

}  // namespace nestor::emu
