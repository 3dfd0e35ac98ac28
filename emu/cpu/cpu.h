// SPDX-License-Identifier: GPL-2.0-or-later
//
// The software CPU: runs the engine, and does between two instructions what the engine cannot.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>

#include "emu/cpu/core.h"
#include "emu/cpu/cpuid.h"
#include "emu/cpu/delivery.h"
#include "emu/cpu/far_transfer.h"
#include "emu/cpu/mmu.h"
#include "emu/cpu/msr_storage.h"
#include "emu/cpu/performance_monitor.h"
#include "emu/cpu/processor_config.h"
#include "emu/cpu/random_numbers.h"
#include "emu/cpu/translation_caches.h"
#include "emu/cpu/turns.h"
#include "emu/decode/decoder.h"
#include "emu/devices/apic/local_apic.h"
#include "emu/engine/engine.h"
#include "emu/engine/fill_cache.h"
#include "emu/events/events.h"
#include "emu/memory/physical_memory.h"
#include "emu/time/clock.h"
#include "vmx/vmx.h"

namespace nestor::emu {

// The events of VMX on their way to the listener; charges VM entries and VM exits.
class ChargedEvents final : public vmx::EventSink {
 public:
  ChargedEvents(Clock& clock, const CostModel& cost, vmx::EventSink* listener)
      : clock_(clock), cost_(cost), listener_(listener) {}

  void set_listener(vmx::EventSink& listener) { listener_ = &listener; }

  void vm_entry(const vmx::VmEntryEvent& event) override {
    clock_.charge(cost_.vm_entry);
    if (listener_ != nullptr) listener_->vm_entry(event);
  }
  void vm_exit(const vmx::VmExitEvent& event) override {
    if (listener_ != nullptr) listener_->vm_exit(event);
    clock_.charge(cost_.vm_exit);
  }
  void check_failed(const vmx::CheckFailure& failure) override {
    if (listener_ != nullptr) listener_->check_failed(failure);
  }
  void vm_instruction_error(const vmx::VmInstructionErrorEvent& event) override {
    if (listener_ != nullptr) listener_->vm_instruction_error(event);
  }

 private:
  Clock& clock_;
  const CostModel& cost_;
  vmx::EventSink* listener_;
};

// What runs in VMX root operation where that is part of the emulator: it is called instead of
// executing instructions outside VMX non-root operation, and brings the processor there, makes it
// wait for a start-up IPI or ends the run.
class RootSoftware {
 public:
  virtual ~RootSoftware() = default;
  virtual void run() = 0;
  // Whether what runs in VMX non-root operation is the guest of a guest.
  virtual bool runs_l2() const = 0;
  // Whether its guest believes to be in VMX operation.
  virtual bool l1_in_vmx_operation() const = 0;
};

class Cpu final : public Core, private EngineClient {
 public:
  // All references outlive the CPU; `events` may be null. `number` counts from 0, the
  // bootstrap processor.
  Cpu(unsigned number, Turns& turns, Engine& engine, PhysicalMemory& memory, Bus& bus,
      LocalApic& apic, Clock& clock, const CostModel& cost, const ProcessorConfig& config,
      MachineEventSink* events);

  // The state that the loader prepared; everything else is as after power-up.
  void start(const vmx::CpuState& state);
  // As after power-up, waiting for a start-up IPI.
  void wait_for_start_up();
  // Executes until the clock shows `end`, or the processor executes PAUSE or has to wait, or the
  // run is over. false: nothing was done, as it waits.
  bool take_turn(uint64_t end);
  // In cycles; kNever: the VMX-preemption timer does not count.
  uint64_t preemption_timer_due() const;

  // From devices: ends the run before the next instruction.
  void end_run(RunEnd::Kind kind, uint32_t code, std::string detail = {});
  void raise_nmi();
  void raise_init();
  void raise_start_up(uint8_t vector);

  // --- for root software, which hears of VMX on `listener`; both outlive the CPU
  void set_root_software(RootSoftware& root, vmx::EventSink& listener);
  bool ended() const { return turns_.end.has_value(); }
  // Ends the run after a triple fault at `rip`.
  void shut_down(uint64_t rip);
  // Completed by this processor so far.
  uint64_t instructions() const { return engine_.instructions() - instructions_of_others_; }
  // Outside VMX operation: the processor waits for a start-up IPI; for the bootstrap processor the
  // run ends.
  void take_init();
  void charge_l0() { clock_.charge(cost_.l0_exit_handling); }
  void charge_walk(unsigned references) { clock_.charge(references * cost_.walk_reference); }
  Mmu& mmu() { return mmu_; }
  // std::nullopt: translations are not kept.
  std::optional<TranslationCounts> translation_counts() const {
    return caches_ ? std::optional(caches_->counts()) : std::nullopt;
  }

  // --- Core
  vmx::CpuState& state() override { return state_; }
  bool read_physical(ept::PhysicalAddress address, std::span<uint8_t> out) override;
  bool write_physical(ept::PhysicalAddress address, std::span<const uint8_t> data) override;
  std::optional<vmx::Event> read_linear(uint64_t linear, std::span<uint8_t> out) override;
  std::optional<vmx::Event> write_linear(uint64_t linear, std::span<const uint8_t> data) override;
  vmx::MsrStatus read_msr(uint32_t index, uint64_t& value) override;
  vmx::MsrStatus write_msr(uint32_t index, uint64_t value) override;
  uint64_t tsc() const override { return clock_.cycles() + tsc_offset_; }
  bool load_pdptes(uint64_t cr3) override { return !reload_pdptes(cr3); }
  // The engine's TLB forgets everything; the model of the processor's caches only what it must.
  void invalidate(const vmx::Invalidation& what) override {
    flush_pending_ = true;
    if (caches_) caches_->invalidate(what);
  }
  void inject(const vmx::Event& event) override { injected_ = event; }
  uint8_t acknowledge_interrupt() override { return apic_.acknowledge(); }
  void end_of_interrupt() override { apic_.end_of_interrupt(); }
  void vmx_abort(uint32_t indicator) override;

  std::optional<Fault> read(uint64_t linear, std::span<uint8_t> out, Privilege) override;
  std::optional<Fault> write(uint64_t linear, std::span<const uint8_t> data, Privilege) override;
  std::optional<Fault> probe_write(uint64_t linear, uint64_t size, Privilege) override;
  std::optional<Fault> fetch(uint64_t linear, std::span<uint8_t> out, size_t& fetched) override;
  std::optional<Fault> reload_pdptes(uint64_t cr3) override;
  vmx::Vmx& vmx() override { return vmx_; }
  Bus& bus() override { return bus_; }
  LocalApic& apic() override { return apic_; }
  const Clock& clock() const override { return clock_; }
  MsrStorage& msr_storage() override { return msr_storage_; }
  PerformanceMonitor& performance_monitor() override;
  unsigned processors() const override { return config_.count; }
  void read_extended_state(ExtendedState& state) override { engine_.read_extended(state); }
  void write_extended_state(const ExtendedState& state) override { engine_.write_extended(state); }
  void watch_line(uint64_t linear) override;
  bool watched_line_written() override;
  void wait_for_line(bool masked_interrupts_wake) override;
  uint64_t random_number() override { return random_numbers_.next(); }
  void set_tsc(uint64_t value) override;

 private:
  // --- EngineClient
  bool fill(uint64_t linear, FillAccess access, TlbGrant& grant) override;
  uint64_t read_device(uint64_t physical, unsigned size) override;
  void write_device(uint64_t physical, unsigned size, uint64_t value) override;
  bool deadline_passed() override;
  unsigned count_instructions(uint64_t linear, unsigned size) override;
  std::optional<unsigned> find_unsafe(uint64_t linear, unsigned size) override;

  // Everything that happens between two instructions. false: nothing can execute yet, or the run is
  // over.
  bool service_boundary();
  // What is due before the next instruction. true: it was taken.
  bool take_event();
  bool take_init_or_start_up();
  // The engine has begun an instruction that it must not leave unfinished.
  bool is_within_instruction() const {
    return executing_whole_ || apic_page_access_ || writes_sub_page();
  }
  bool waits_in_mwait();
  // How often other processors have executed.
  uint64_t runs_of_others() const { return turns_.runs - runs_; }
  bool bootstrap() const { return number_ == 0; }
  bool root_software_is_due() const {
    return root_ != nullptr && !vmx_.in_non_root() &&
           state_.activity != vmx::ActivityState::kWaitForSipi;
  }
  // As the image knows it.
  bool in_vmx_operation() const {
    return root_ != nullptr ? root_->l1_in_vmx_operation() : vmx_.in_vmx_operation();
  }
  // Makes the engine this processor's.
  void hold_engine(uint64_t context);
  void run_engine();
  void handle(const Stop& stop);
  void handle_refused_fill(const Stop& stop);
  // The instruction at RIP accesses the APIC-access page at `linear`: a VM exit, or a step with the
  // virtual-APIC page in its place.
  void access_apic_page(uint64_t linear, ept::Access::Kind kind);
  void end_apic_page_access(bool executed);
  // `engine_fault`: what the engine made of the instruction at RIP, if it did not just stop there.
  void emulate_instruction(const std::optional<vmx::Event>& engine_fault);
  void settle(const Outcome& outcome);
  void deliver(const vmx::Event& event, EventOrigin origin = EventOrigin::kProcessor);
  void deliver_or_exit(vmx::Event event, EventOrigin origin);
  void single_step_trap();
  void triple_fault();
  // What an access that EPT refused comes to: an event to deliver (#VE), or the VM exit that has
  // happened.
  std::optional<vmx::Event> ept_exit(const EptExit& exit);
  // IRET enters virtual-8086 mode at CPL 0 outside IA-32e mode only; the engine does wherever the
  // flags that it pops say so. In 64-bit mode, where IRET is frequent and nearly always has
  // operands of 64 bits, which the engine gets right, find_unsafe() looks for the others.
  bool ignores_vm_of_iret() const {
    return state_.protected_mode() && !state_.virtual_8086() && !state_.code_64bit() &&
           (state_.long_mode_active() || state_.cpl() != 0);
  }
  // IRET may return to another task. In VMX root operation the engine may do that as well, should
  // it have set RFLAGS.NT itself since it was started.
  bool returns_to_task() const {
    return may_switch_tasks(state_) &&
           (vmx_.in_non_root() || (state_.rflags & vmx::rflags::kNt) != 0);
  }
  void begin_iret();
  void transfer_far(const Instruction& instruction);
  void clear_vm_in_iret_image();
  void restore_iret_image();
  CodeMode fetch_live(uint64_t linear, std::span<uint8_t> code, size_t& fetched);
  // The instruction at RIP writes to the page of `linear`, and sub-page write permissions allow it:
  // a step in which the page may be written.
  void write_sub_page(uint64_t linear, const Translation& translation);
  bool writes_sub_page() const { return sub_page_writes_[0].has_value(); }
  void keep_code_true(uint64_t linear, ept::Access access, uint64_t rflags, TlbGrant& grant);
  bool fill_sub_page(uint64_t linear, TlbGrant& grant);
  void report(const vmx::Event& event);
  void set_engine_deadline();
  // What happened since the last call did so at `cpl`.
  void count_performance(uint8_t cpl);
  uint64_t next_deadline() const;

  // An access that EPT refuses takes its VM exit here.
  std::optional<vmx::Event> as_event(const std::optional<Fault>& fault);
  ept::Access access(ept::Access::Kind kind, Privilege privilege) const;
  // Calls `use(physical, offset, size)` for each page of the range once all of it is translated.
  template <class Use>
  std::optional<Fault> for_each_page(uint64_t linear, size_t size, ept::Access access,
                                     const Use& use);
  bool is_device_access(uint64_t physical, size_t size) const;
  // The registers of the processor's own local APIC, and elsewhere the bus.
  uint64_t read_outside_ram(uint64_t physical, unsigned size);
  void write_outside_ram(uint64_t physical, unsigned size, uint64_t value);
  // The instruction under execution loads a segment and so reads `linear` with supervisor rights.
  bool reads_descriptor(uint64_t linear);
  // The instruction at RIP writes to the operand that holds `linear`.
  bool writes_to(uint64_t linear);
  bool uses_stack_segment(uint64_t linear);
  // Of the instruction at RIP; 0: it cannot be read.
  uint8_t instruction_length();
  std::optional<Instruction> instruction_at_rip();
  // An operand of the instruction at RIP is misaligned, and no page fault comes before.
  bool misaligned();
  // The explicit memory operand, of the instruction at RIP, that `linear` is part of.
  std::optional<Operand> operand_at(uint64_t linear);
  uint64_t linear_rip() const;
  bool interrupt_window_open() const;
  // Who runs, as events tell it.
  bool in_l2() const { return vmx_.in_non_root() && (root_ == nullptr || root_->runs_l2()); }
  bool nmi_window_open() const;

  const unsigned number_;
  Turns& turns_;
  Engine& engine_;
  Bus& bus_;
  LocalApic& apic_;
  Clock& clock_;
  const CostModel& cost_;
  const ProcessorConfig& config_;
  MachineEventSink* const events_;
  vmx::CpuState state_;
  PhysicalMemory& memory_;
  ChargedEvents vmx_events_;
  vmx::Vmx vmx_;
  Mmu mmu_;
  std::unique_ptr<TranslationCaches> caches_;  // null: translations are not kept
  Decoder decoder_;
  MsrStorage msr_storage_;
  PerformanceMonitor performance_monitor_;
  RandomNumbers random_numbers_;
  uint64_t tsc_offset_ = 0;

  RootSoftware* root_ = nullptr;
  std::optional<vmx::Event> injected_;
  bool nmi_pending_ = false, init_pending_ = false;
  std::optional<uint8_t> start_up_;  // the vector of a start-up IPI that is to be taken
  bool flush_pending_ = true;
  uint64_t turn_end_ = 0;  // in cycles
  bool waiting_ = false;   // the last boundary left the processor in an inactive state
  bool paused_ = false;    // PAUSE gave the rest of the turn away
  uint64_t runs_ = 0;      // of the engine, for this processor
  // Executed between its turns, and what the count was at the end of its last.
  uint64_t instructions_of_others_ = 0, instructions_at_turn_end_ = 0;
  // What MONITOR watches.
  struct WatchedLine {
    uint64_t physical = 0;
    std::array<uint8_t, kLineSize> content{};
    uint64_t runs_of_others = 0;
  };
  WatchedLine watched_line_;
  bool in_mwait_ = false, masked_interrupts_wake_ = false;
  // The page of code that the engine's TLB was filled with last; no page has the number ~0.
  struct FetchedPage {
    uint64_t number = ~0ull, physical = 0;
  };
  FetchedPage fetched_page_;
  FillCache fill_cache_;
  // An MTF VM exit is due when more instructions than these were executed.
  std::optional<uint64_t> stop_after_;
  bool stepping_ = false;     // the engine executes one instruction at a time
  bool trap_due_ = false;     // RFLAGS.TF was 1 when the engine was started
  bool approaching_ = false;  // step up to a page that cannot be fetched, or to INS and its like
  bool executing_whole_ = false;  // IRET or POPF is next; it was intercepted before
  // The next instruction accesses the virtual-APIC page instead of the APIC-access page.
  struct ApicPageAccess {
    bool write = false;
    uint16_t offset = 0;
  };
  std::optional<ApicPageAccess> apic_page_access_;
  // Pages that the next instruction may write by sub-page write permissions: two at most, where its
  // operand crosses from one to the other.
  struct SubPageWrite {
    uint64_t number = 0;
    Translation translation;
  };
  std::array<std::optional<SubPageWrite>, 2> sub_page_writes_;
  // The physical address of the byte with VM in the flags that IRET is about to pop, if VM was
  // cleared there for the engine.
  std::optional<uint64_t> cleared_vm_;
  uint64_t context_ = 0;           // the address space that the engine's TLB holds
  uint64_t deadline_ = 0;          // in cycles; before it nothing is due
  bool watch_interrupts_ = false;  // an interrupt or interrupt-window exit waits for RFLAGS.IF
};

}  // namespace nestor::emu
