// SPDX-License-Identifier: GPL-2.0-or-later
//
// The memory port of the machine's own processor: its MMU, RAM, its local APIC and the bus.
#pragma once

#include "emu/cpu/memory_port.h"
#include "emu/cpu/mmu.h"
#include "emu/devices/apic/local_apic.h"
#include "emu/devices/bus.h"
#include "emu/engine/execution_context.h"
#include "emu/memory/physical_memory.h"

namespace nestor::emu {

class HardwarePort final : public MemoryPort {
 public:
  // All references outlive the port.
  HardwarePort(const vmx::CpuState& state, Mmu& mmu, vmx::Vmx& vmx, PhysicalMemory& memory,
               LocalApic& apic, Bus& bus, ExecutionContext& context, Prices& prices)
      : MemoryPort(state),
        mmu_(mmu),
        vmx_(vmx),
        memory_(memory),
        apic_(apic),
        bus_(bus),
        context_(context),
        prices_(prices) {}

  // Outside RAM: the registers of the processor's own local APIC, and elsewhere the bus. `size` is
  // 1, 2, 4 or 8.
  uint64_t read_device(uint64_t physical, unsigned size);
  void write_device(uint64_t physical, unsigned size, uint64_t value);
  uint64_t device_accesses() const { return device_accesses_; }

 private:
  // The engine's grants serve the model, too, and a walk of the model grants the page to both.
  std::variant<uint64_t, Fault> translate(uint64_t linear, ept::Access access) override;
  // Where the engine has fetched these bytes, as it was granted that; and a walk leaves no trace.
  std::variant<uint64_t, Fault> translate_code(uint64_t linear) override;
  void read_data(uint64_t physical, std::span<uint8_t> out) override;
  void write_data(uint64_t physical, std::span<const uint8_t> data) override;
  void read_code(uint64_t physical, std::span<uint8_t> out) override;
  bool is_device_access(uint64_t physical, size_t size, bool write) const;
  // What the engine's TLB was granted; null: not in this address space, or it is to forget it all.
  FillCache* fills_now();

  Mmu& mmu_;
  vmx::Vmx& vmx_;
  PhysicalMemory& memory_;
  LocalApic& apic_;
  Bus& bus_;
  ExecutionContext& context_;
  Prices& prices_;
  uint64_t device_accesses_ = 0;  // so far
};

}  // namespace nestor::emu
