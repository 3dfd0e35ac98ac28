// SPDX-License-Identifier: GPL-2.0-or-later
//
// The processor that L0 makes L1 believe in: instructions that trap to L0 are emulated on it, VMX
// instructions among them. In L1's VMX non-root operation its state is L2's.
#pragma once

#include <functional>

#include "emu/cpu/core_with_port.h"
#include "emu/l0/machine_map.h"
#include "ept/paging_mode.h"

namespace nestor::emu {

class GuestCore final : public CoreWithPort {
 public:
  // `core`: the machine's own processor. All references outlive this object.
  GuestCore(Core& core, const MachineMap& map, const vmx::Capabilities& offered,
            vmx::EventSink& sink);

  // What L1 or L2 asks L0 to drop, and how L0 ends a run.
  std::function<void(const vmx::Invalidation&)> on_invalidate;
  std::function<void(uint32_t)> on_vmx_abort;
  // While a VM exit of L2 is handled: what L1 finds in its VM-exit MSR-store area is the time of
  // the VM exit, as if the processor had stored it. In TSC increments.
  std::optional<uint64_t> time_of_exit;

  ept::PagingState paging_state() const;
  // L1's EPT for L2 while L2 runs on it.
  std::optional<ept::EptState> ept_state() const;
  L1Memory& memory() { return memory_; }
  bool in_vmx_operation() const { return vmx_.in_vmx_operation(); }
  void serialize(Archive& archive) {
    archive(state_);
    vmx_.serialize(archive);
  }

  // --- Core
  vmx::CpuState& state() override { return state_; }
  const vmx::CpuState& state() const { return state_; }
  bool read_physical(ept::PhysicalAddress address, std::span<uint8_t> out) override {
    return memory_.read(address, out);
  }
  bool write_physical(ept::PhysicalAddress address, std::span<const uint8_t> data) override {
    return memory_.write(address, data);
  }
  std::optional<vmx::Event> read_linear(uint64_t linear, std::span<uint8_t> out) override;
  std::optional<vmx::Event> write_linear(uint64_t linear, std::span<const uint8_t> data) override;
  uint64_t tsc_increments() const override { return time_of_exit.value_or(core_.tsc_increments()); }
  uint64_t tsc() const override {
    return core_.tsc() - (core_.tsc_increments() - tsc_increments());
  }
  std::optional<Fault> reload_pdptes(uint64_t cr3) override;
  void invalidate(const vmx::Invalidation& what) override { on_invalidate(what); }
  // L0 copies the injection from VMCS12 to VMCS02 itself.
  void inject(const vmx::Event&) override {}
  uint8_t acknowledge_interrupt() override { return core_.acknowledge_interrupt(); }
  void end_of_interrupt() override { core_.end_of_interrupt(); }
  void vmx_abort(uint32_t indicator) override { on_vmx_abort(indicator); }
  MemoryPort& port() override { return port_; }
  const vmx::ProcessorType& type() const override { return core_.type(); }
  vmx::Vmx& vmx() override { return vmx_; }
  Bus& bus() override { return core_.bus(); }
  LocalApic& apic() override { return core_.apic(); }
  const Clock& clock() const override { return core_.clock(); }
  MsrStorage& msr_storage() override { return core_.msr_storage(); }
  PerformanceMonitor& performance_monitor() override { return core_.performance_monitor(); }
  void set_tsc(uint64_t value) override { core_.set_tsc(value); }
  void read_extended_state(ExtendedState& state) override { core_.read_extended_state(state); }
  void write_extended_state(const ExtendedState& state) override {
    core_.write_extended_state(state);
  }
  // L0 passes MONITOR and MWAIT through.
  void watch_line(uint64_t) override {}
  bool watched_line_written() override { return true; }
  void wait_for_line(bool) override {}
  uint64_t random_number() override { return core_.random_number(); }
  unsigned processors() const override { return core_.processors(); }

 private:
  // L1's physical memory, through the paging of whoever runs.
  class Port final : public MemoryPort {
   public:
    explicit Port(GuestCore& core) : MemoryPort(core.state_), core_(core) {}

   private:
    std::variant<uint64_t, Fault> translate(uint64_t linear, ept::Access access) override;
    std::variant<uint64_t, Fault> translate_code(uint64_t linear) override;
    void read_data(uint64_t physical, std::span<uint8_t> out) override {
      core_.memory_.read({physical}, out);
    }
    void write_data(uint64_t physical, std::span<const uint8_t> data) override {
      core_.memory_.write({physical}, data);
    }
    void read_code(uint64_t physical, std::span<uint8_t> out) override {
      core_.memory_.read({physical}, out);
    }

    GuestCore& core_;
  };

  Core& core_;
  vmx::CpuState state_;
  L1Memory memory_;
  vmx::Vmx vmx_;
  Port port_;
};

}  // namespace nestor::emu
