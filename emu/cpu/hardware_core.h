// SPDX-License-Identifier: GPL-2.0-or-later
//
// The machine's own processor as its instructions see it: state, VMX, memory, MSRs, and what it is
// wired to.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "emu/cpu/charged_events.h"
#include "emu/cpu/core_with_port.h"
#include "emu/cpu/exit_log.h"
#include "emu/cpu/hardware_port.h"
#include "emu/cpu/mmu.h"
#include "emu/cpu/msr_storage.h"
#include "emu/cpu/performance_monitor.h"
#include "emu/cpu/processor_config.h"
#include "emu/cpu/root_software.h"
#include "emu/cpu/translation_caches.h"
#include "emu/cpu/turns.h"
#include "emu/cpu/waiting.h"
#include "emu/decode/decoder.h"
#include "emu/devices/apic/local_apic.h"
#include "emu/devices/bus.h"
#include "emu/devices/random_numbers.h"
#include "emu/engine/engine.h"
#include "emu/engine/execution_context.h"
#include "emu/events/events.h"
#include "emu/memory/physical_memory.h"
#include "emu/profile/profiler.h"
#include "emu/time/prices.h"
#include "emu/timing/core.h"
#include "vmx/vmx.h"

namespace nestor::emu {

// What a processor is part of. All references outlive it.
struct Surroundings {
  Turns& turns;
  Engine& engine;
  PhysicalMemory& memory;
  Bus& bus;
  Prices& prices;
  const ProcessorConfig& config;
  MachineEventSink* events;           // may be null
  timing::BlockPrices* block_prices;  // null: instructions have a constant price
  profile::Profiler* profiler;        // null: there is no profile
};

class HardwareCore final : public CoreWithPort {
 public:
  // `number` counts from 0, the bootstrap processor.
  HardwareCore(unsigned number, const Surroundings& around, LocalApic& apic);

  // Registers and MSRs as after power-up, but for what `state` says.
  void reset(const vmx::CpuState& state);

  unsigned number() const { return number_; }
  const Surroundings& around() const { return around_; }
  PhysicalMemory& memory() { return around_.memory; }
  HardwarePort& port() override { return port_; }
  Mmu& mmu() { return mmu_; }
  ExecutionContext& context() { return context_; }
  Waiting& waiting() { return waiting_; }
  // Null: instructions have a constant price.
  timing::Core* timing() { return timing_.get(); }
  // Null: there is no profile. What it is told of next is the code that runs now.
  profile::Profiler* profiler() { return around_.profiler == nullptr ? nullptr : told_profiler(); }
  Decoder& decoder() { return decoder_; }
  // The instruction at RIP; std::nullopt: it cannot be read, or is none.
  std::optional<Instruction> instruction_at_rip();
  // Of that instruction; 0: there is none.
  uint8_t instruction_length();
  // std::nullopt: translations are not kept.
  std::optional<TranslationCounts> translation_counts() const;
  // Mappings were dropped since the last call, which the engine may still hold.
  bool take_dropped_translations() { return caches_ && caches_->take_dropped(); }

  // L1's VMX: what L1 is told of goes here.
  ExitLog& exit_log() { return exit_log_; }
  const ExitLog& exit_log() const { return exit_log_; }

  // Root software, which hears of VMX on `listener`; both outlive the processor.
  void set_root_software(RootSoftware& root, vmx::EventSink& listener);
  RootSoftware* root_software() const { return root_; }
  // Who runs, as events tell it.
  // Of L1 or L2, which may not be what translates for them.
  uint64_t guest_cr3() const { return root_ != nullptr ? root_->guest_cr3() : state_.cr3; }
  bool in_l2() const { return vmx_.in_non_root() && (root_ == nullptr || root_->runs_l2()); }
  // As the image knows it.
  bool in_vmx_operation() const {
    return root_ != nullptr ? root_->l1_in_vmx_operation() : vmx_.in_vmx_operation();
  }

  // The event that VM entry injects, once.
  std::optional<vmx::Event> take_injected();
  // In cycles; ~0: the VMX-preemption timer does not count.
  uint64_t preemption_timer_due() const;
  bool interrupt_pending() const {
    return apic_.has_interrupt() || vmx_.virtual_interrupt_recognized();
  }

  // Instructions and time, as performance counters count them. What happened since the last call
  // did so at `cpl`; or to others, and does not count.
  void count_performance(uint8_t cpl);
  void skip_performance();
  // Of the counters as they were counted last.
  const PerformanceMonitor& counters() const { return performance_monitor_; }

  void serialize(Archive& archive);

  // Ends the run after a triple fault at `rip`.
  void shut_down(uint64_t rip);

  // Where it has used such memory outside RAM, the first time; a linear address.
  std::optional<uint64_t> outside_ram(ImplicitMemory what) const {
    return outside_ram_[static_cast<size_t>(what)];
  }

  // --- Core
  uint64_t device_accesses() const override { return port_.device_accesses(); }
  void note_outside_ram(ImplicitMemory what, uint64_t linear) override;
  vmx::CpuState& state() override { return state_; }
  const vmx::CpuState& state() const { return state_; }
  bool read_physical(ept::PhysicalAddress address, std::span<uint8_t> out) override;
  bool write_physical(ept::PhysicalAddress address, std::span<const uint8_t> data) override;
  std::optional<vmx::Event> read_linear(uint64_t linear, std::span<uint8_t> out) override;
  std::optional<vmx::Event> write_linear(uint64_t linear, std::span<const uint8_t> data) override;
  uint64_t tsc() const override { return clock().cycles() + tsc_offset_; }
  void invalidate(const vmx::Invalidation& what) override;
  void inject(const vmx::Event& event) override {
    injected_ = event;
    if (injected_->why.empty()) injected_->why = std::exchange(injection_why_, {});
  }
  // Event::why of what the next VM entry injects: the VMCS has no place for it.
  void explain_injection(std::string_view why) { injection_why_ = why; }
  uint8_t acknowledge_interrupt() override { return apic_.acknowledge(); }
  void end_of_interrupt() override { apic_.end_of_interrupt(); }
  void vmx_abort(uint32_t indicator) override;

  std::optional<Fault> reload_pdptes(uint64_t cr3) override;
  const vmx::ProcessorType& type() const override { return around_.config.type; }
  vmx::Vmx& vmx() override { return vmx_; }
  const vmx::Vmx& vmx() const { return vmx_; }
  Bus& bus() override { return around_.bus; }
  LocalApic& apic() override { return apic_; }
  const Clock& clock() const override { return around_.prices.clock(); }
  MsrStorage& msr_storage() override { return msr_storage_; }
  PerformanceMonitor& performance_monitor() override;
  unsigned processors() const override { return around_.config.count; }
  void read_extended_state(ExtendedState& state) override;
  void write_extended_state(const ExtendedState& state) override;
  void watch_line(uint64_t linear) override;
  bool watched_line_written() override { return waiting_.line_written(); }
  void wait_for_line(bool masked_interrupts_wake) override {
    waiting_.begin(masked_interrupts_wake);
  }
  void empty_caches() override {
    if (timing_) timing_->empty_caches();
  }
  uint64_t random_number() override { return random_numbers_.next(); }
  void set_tsc(uint64_t value) override;

 private:
  profile::Profiler* told_profiler();
  PerformanceMonitor::Progress progress() const;
  std::optional<vmx::Event> as_event(const std::optional<Fault>& fault);
  // " of processor N", where there are several.
  std::string named_here(std::string what) const;

  const unsigned number_;
  const Surroundings around_;
  LocalApic& apic_;
  vmx::CpuState state_;
  ExitLog exit_log_;
  ChargedEvents vmx_events_;
  vmx::Vmx vmx_;
  Mmu mmu_;
  std::unique_ptr<TranslationCaches> caches_;  // null: translations are not kept
  std::unique_ptr<timing::Core> timing_;       // null: instructions have a constant price
  alignas(64) ExecutionContext context_;       // each block counts in it
  HardwarePort port_;
  Waiting waiting_;
  Decoder decoder_;
  MsrStorage msr_storage_;
  PerformanceMonitor performance_monitor_;
  RandomNumbers random_numbers_;
  uint64_t tsc_offset_ = 0;
  std::optional<vmx::Event> injected_;
  std::string_view injection_why_;
  RootSoftware* root_ = nullptr;
  std::array<std::optional<uint64_t>, 2> outside_ram_;  // by ImplicitMemory
};

}  // namespace nestor::emu
