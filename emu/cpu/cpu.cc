// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/cpu/cpu.h"

#include <algorithm>
#include <array>
#include <string>

#include "emu/cpu/alignment.h"
#include "emu/cpu/instructions/emulate.h"
#include "emu/cpu/msrs.h"
#include "emu/cpu/segments.h"
#include "emu/cpu/start_up.h"
#include "emu/memory/page_size.h"
#include "vmx/capabilities.h"
#include "vmx/exceptions.h"
#include "vmx/guest_state_formats.h"

namespace nestor::emu {

namespace {

using vmx::Event;

// How often outputs are asked whether they still work, in cycles and in stops of the engine.
constexpr uint64_t kReportInterval = 50'000'000, kReportStops = 1 << 18;

// Whether the model, and not the engine, says if the instruction causes the exception.
constexpr bool decides(Operation operation, uint8_t vector) {
  switch (vector) {
    case vmx::kGp:
      return operation == Operation::kSysexit || operation == Operation::kSysret ||
             operation == Operation::kXsetbv || operation == Operation::kMovToDr ||
             operation == Operation::kMovFromDr;
    case vmx::kNm:
      return operation == Operation::kInvept || operation == Operation::kInvvpid ||
             operation == Operation::kInvpcid;
    default:
      return true;
  }
}

}  // namespace

Cpu::Cpu(unsigned number, Turns& turns, Engine& engine, PhysicalMemory& memory, Bus& bus,
         LocalApic& apic, Clock& clock, const CostModel& cost, const ProcessorConfig& config,
         MachineEventSink* events)
    : number_(number),
      turns_(turns),
      engine_(engine),
      bus_(bus),
      apic_(apic),
      clock_(clock),
      cost_(cost),
      config_(config),
      events_(events),
      memory_(memory),
      vmx_events_(clock, cost, events_),
      vmx_(vmx::nestor_capabilities(), *this, vmx_events_),
      mmu_(memory_, state_, vmx_, clock, cost, events_),
      random_numbers_(config.random_seed + number) {
  if (!config.keep_translations) return;
  caches_ = std::make_unique<TranslationCaches>();
  mmu_.use(*caches_);
}

void Cpu::start(const vmx::CpuState& state) {
  reset_msrs(*this);
  const vmx::CpuState reset = state_;
  state_ = state;
  state_.pat = reset.pat;
  state_.misc_enable = reset.misc_enable;
  state_.perf_global_ctrl = reset.perf_global_ctrl;
  flush_pending_ = true;
}

void Cpu::wait_for_start_up() {
  vmx::CpuState power_up;
  power_up.cr0 = vmx::cr0::kCd | vmx::cr0::kNw;
  start(state_after_init(power_up));
}

void Cpu::set_root_software(RootSoftware& root, vmx::EventSink& listener) {
  root_ = &root;
  vmx_events_.set_listener(listener);
}

void Cpu::end_run(RunEnd::Kind kind, uint32_t code, std::string detail) {
  if (turns_.end) return;
  turns_.end = RunEnd{kind, code, std::move(detail)};
  engine_.request_stop();
}

void Cpu::raise_nmi() {
  nmi_pending_ = true;
  engine_.request_stop();
}

void Cpu::vmx_abort(uint32_t indicator) {
  if (events_ != nullptr) events_->vmx_abort(indicator);
  end_run(RunEnd::Kind::kVmxAbort, indicator);
  if (config_.count > 1) turns_.end->detail = "processor " + std::to_string(number_);
}

void Cpu::set_tsc(uint64_t value) {
  tsc_offset_ = value - clock_.cycles();
  apic_.set_tsc_offset(tsc_offset_);
}

bool Cpu::take_turn(uint64_t end) {
  turn_end_ = end;
  paused_ = false;
  bool busy = false;
  // Neither the turns of others nor the time that it waited are counted.
  performance_monitor_.skip({engine_.instructions(), clock_.cycles()});
  instructions_of_others_ += engine_.instructions() - instructions_at_turn_end_;
  while (!turns_.end) {
    waiting_ = false;
    if (root_software_is_due()) {
      root_->run();
    } else if (is_within_instruction() || service_boundary()) {
      run_engine();
    }
    if (waiting_) break;
    busy = true;
    const bool over = paused_ || clock_.cycles() >= turn_end_;
    if (over && !is_within_instruction() && !root_software_is_due()) break;
  }
  instructions_at_turn_end_ = engine_.instructions();
  count_performance(state_.cpl());
  return busy;
}

// --- the loop

uint64_t Cpu::linear_rip() const {
  if (state_.code_64bit()) return state_.rip;
  return (state_.segment[vmx::kCs].base + state_.rip) & 0xffffffff;
}

bool Cpu::interrupt_window_open() const {
  return (state_.rflags & vmx::rflags::kIf) != 0 && !state_.blocking_by_sti &&
         !state_.blocking_by_mov_ss;
}

bool Cpu::nmi_window_open() const {
  const bool blocked = vmx_.in_non_root() && vmx_.pin(vmx::PinBased::kVirtualNmis)
                           ? vmx_.virtual_nmi_blocking()
                           : state_.blocking_by_nmi;
  return !blocked && !state_.blocking_by_mov_ss;
}

// "VMX-Preemption Timer": a processor that waits for a start-up IPI does not heed it.
uint64_t Cpu::preemption_timer_due() const {
  if (!vmx_.in_non_root() || state_.activity == vmx::ActivityState::kWaitForSipi) {
    return Device::kNever;
  }
  const auto timer = vmx_.preemption_deadline();
  return timer ? *timer - tsc_offset_ : Device::kNever;
}

uint64_t Cpu::next_deadline() const { return std::min(bus_.deadline(), preemption_timer_due()); }

void Cpu::count_performance(uint8_t cpl) {
  performance_monitor_.advance({engine_.instructions(), clock_.cycles()}, cpl,
                               state_.perf_global_ctrl);
  if (performance_monitor_.take_interrupt()) apic_.performance_interrupt();
}

PerformanceMonitor& Cpu::performance_monitor() {
  count_performance(state_.cpl());
  return performance_monitor_;
}

bool Cpu::service_boundary() {
  const uint64_t now = clock_.cycles();
  // Counted in stops as well, should the guest make no progress.
  if (now >= turns_.next_report || ++turns_.stops % kReportStops == 0) {
    turns_.next_report = now + kReportInterval;
    if (turns_.progress) turns_.progress(engine_.instructions());
    if (turns_.output_failed && turns_.output_failed()) {
      end_run(RunEnd::Kind::kOutputError, 0);
    }
  }
  if (turns_.max_instructions != 0 && engine_.instructions() >= turns_.max_instructions) {
    end_run(RunEnd::Kind::kBudgetSpent, 0);
  }
  if (bus_.deadline() <= now) bus_.expire(now);
  if (turns_.end) return false;

  if (take_event()) {
    in_mwait_ = false;
    return false;
  }
  waiting_ = state_.activity != vmx::ActivityState::kActive || waits_in_mwait();
  return !waiting_;
}

void Cpu::set_engine_deadline() {
  deadline_ = std::min({next_deadline(), turns_.next_report, turn_end_});
  if (turns_.max_instructions != 0) {
    const uint64_t left = turns_.max_instructions - engine_.instructions();
    deadline_ = std::min(deadline_, clock_.cycles() + left * cost_.instruction);
  }
  if (const auto left = performance_monitor_.cycles_to_interrupt(state_.cpl())) {
    deadline_ = std::min(deadline_, clock_.cycles() + *left);
  }
  using vmx::PrimaryProcBased;
  watch_interrupts_ =
      apic_.has_interrupt() || vmx_.virtual_interrupt_recognized() ||
      (vmx_.in_non_root() && vmx_.primary(PrimaryProcBased::kInterruptWindowExiting));
  if (state_.blocking_by_sti || state_.blocking_by_mov_ss) {
    // What the shadow holds back is due after one instruction.
    const bool nmi_window = vmx_.in_non_root() && vmx_.primary(PrimaryProcBased::kNmiWindowExiting);
    stepping_ = stepping_ || watch_interrupts_ || nmi_pending_ || nmi_window ||
                state_.pending_debug_exceptions != 0;
    watch_interrupts_ = false;
  }
  const bool whole = is_within_instruction();
  if (whole) {
    watch_interrupts_ = false;
    deadline_ = Device::kNever;
  }
  engine_.set_deadline(watch_interrupts_ || stop_after_ ? 0 : deadline_);
}

void Cpu::hold_engine(uint64_t context) {
  if (turns_.engine_holder != this) {
    turns_.engine_holder = this;
    engine_.set_client(*this);
    engine_.select_processor(number_);
  }
  context_ = context;
  engine_.set_context(context);
  flush_pending_ = true;
}

void Cpu::run_engine() {
  ++turns_.runs;
  ++runs_;
  const uint64_t context = (state_.cr3 * 0x9e3779b97f4a7c15) ^ vmx_.eptp().value_or(0) ^
                           (vmx_.in_non_root() ? 1ull << 63 : 0) ^
                           (may_switch_tasks(state_) ? 1ull << 62 : 0);
  if (context != context_ || turns_.engine_holder != this) hold_engine(context);
  if (caches_ && caches_->take_dropped()) flush_pending_ = true;
  if (flush_pending_) {
    flush_pending_ = false;
    fetched_page_ = {};
    engine_.flush_tlb();
    fill_cache_.clear();
  }
  if (performance_monitor_.counting() ||
      performance_monitor_.global_ctrl() != state_.perf_global_ctrl) {
    count_performance(state_.cpl());
  }
  const bool aligned = checks_alignment(state_);
  if (aligned && misaligned()) {
    deliver(vmx::exception(vmx::kAc, 0));
    return;
  }
  const bool trapping = vmx_.in_non_root() && vmx_.monitor_trap_flag();
  stepping_ = approaching_ || trapping || executing_whole_ || apic_page_access_ ||
              writes_sub_page() || aligned;
  // The engine does not step behind MOV to SS and POP SS; there its second block is one too many.
  stop_after_ = trapping ? std::optional(engine_.instructions()) : std::nullopt;
  set_engine_deadline();
  engine_.set_single_step(stepping_);
  engine_.allow_unsafe(executing_whole_);
  trap_due_ = (state_.rflags & vmx::rflags::kTf) != 0;
  // Both may begin alignment checking.
  const bool may_check_alignment = (state_.cr0 & vmx::cr0::kAm) != 0;
  engine_.set_intercept_popf(!executing_whole_ && may_check_alignment && state_.cpl() == 3);
  engine_.set_intercept_iret(!executing_whole_ &&
                             (state_.blocking_by_nmi || vmx_.virtual_nmi_blocking() ||
                              ignores_vm_of_iret() || returns_to_task() || may_check_alignment ||
                              performance_monitor_.tells_levels_apart()));
  const bool was_sti = state_.blocking_by_sti, was_mov_ss = state_.blocking_by_mov_ss;
  const uint64_t from = state_.rip;
  engine_.load(state_);
  const uint8_t cpl = state_.cpl();
  const Stop stop = engine_.run();
  engine_.save(state_);
  restore_iret_image();
  if (performance_monitor_.counting()) count_performance(cpl);
  if (state_.rip != from || (!was_sti && !was_mov_ss)) {
    // The engine knows one shadow only; the instruction before tells which it is.
    if (state_.blocking_by_sti) {
      uint8_t before = 0;
      size_t fetched = 0;
      (void)fetch(linear_rip() - 1, std::span(&before, 1), fetched);
      constexpr uint8_t kSti = 0xfb;
      state_.blocking_by_sti = before == kSti;
      state_.blocking_by_mov_ss = before != kSti;
    }
  }
  executing_whole_ = false;
  // The second page of an operand may be refused in turn; the first is allowed until then.
  if (writes_sub_page() && (stop.kind != StopKind::kRefusedFill || state_.rip != from)) {
    sub_page_writes_ = {};
    flush_pending_ = true;
  }
  if (apic_page_access_) {
    end_apic_page_access(stop.kind == StopKind::kException && stop.vector == vmx::kDb);
  }
  handle(stop);
}

void Cpu::handle(const Stop& stop) {
  const bool stepped = stop.kind == StopKind::kException && stop.vector == vmx::kDb;
  if (!stepped && stop.kind != StopKind::kRefusedFill) approaching_ = false;
  switch (stop.kind) {
    case StopKind::kDeadline:
      if (stop_after_ && engine_.instructions() > *stop_after_) {
        vmx_.set_monitor_trap_flag_pending();
        if (trap_due_) state_.pending_debug_exceptions |= vmx::pending_debug::kSingleStep;
      }
      return;
    case StopKind::kIret:
      begin_iret();
      return;
    case StopKind::kPopf:
      executing_whole_ = true;
      return;
    case StopKind::kUnsafeAhead:
      approaching_ = true;
      return;
    case StopKind::kInstruction:
      emulate_instruction(std::nullopt);
      return;
    case StopKind::kRefusedFill:
      handle_refused_fill(stop);
      return;
    case StopKind::kException:
      break;
  }
  const Event event = vmx::exception(
      static_cast<vmx::Vector>(stop.vector),
      vmx::exception_info(stop.vector).error_code ? std::optional(stop.error_code) : std::nullopt);
  // What the engine does not know, it calls undefined; SYSEXIT it calls a protection violation, and
  // INVEPT and its like an SSE instruction.
  if (stop.vector == vmx::kUd || stop.vector == vmx::kGp || stop.vector == vmx::kNm) {
    emulate_instruction(event);
    return;
  }
  if (stepped) {
    vmx_.end_iret();
    if (vmx_.in_non_root() && vmx_.monitor_trap_flag()) vmx_.set_monitor_trap_flag_pending();
    // One instruction was executed, or the engine met RFLAGS.TF = 1 later.
    if (trap_due_ || !stepping_) single_step_trap();
    return;
  }
  deliver(event);
}

// It takes off the blocking of NMIs, and then executes whole.
void Cpu::begin_iret() {
  if (state_.blocking_by_nmi || vmx_.virtual_nmi_blocking()) vmx_.begin_iret();
  if (may_switch_tasks(state_) && (state_.rflags & vmx::rflags::kNt) != 0) {
    if (const auto instruction = instruction_at_rip()) transfer_far(*instruction);
    return;
  }
  if (ignores_vm_of_iret() || state_.code_64bit()) clear_vm_in_iret_image();
  executing_whole_ = true;
}

// To another task, or by the engine.
void Cpu::transfer_far(const Instruction& instruction) {
  const auto found = find_task_switch(*this, instruction);
  if (!found) {
    settle(to_outcome(found.fault()));
  } else if (!*found) {
    executing_whole_ = true;
  } else {
    engine_.count_emulated();
    settle(switch_task(*this, **found));
    state_.blocking_by_sti = state_.blocking_by_mov_ss = false;
  }
}

void Cpu::handle_refused_fill(const Stop& stop) {
  ept::Access::Kind kind = ept::Access::kRead;
  if (stop.access == FillAccess::kWrite ||
      (stop.access == FillAccess::kRead && writes_to(stop.linear))) {
    kind = ept::Access::kWrite;
  }
  if (stop.access == FillAccess::kFetch) {
    kind = ept::Access::kFetch;
    // The engine translates ahead of RIP. Go there one instruction at a time.
    if (!stepping_ && stop.linear / kPageSize != linear_rip() / kPageSize) {
      approaching_ = true;
      return;
    }
  }
  approaching_ = false;
  // INS and OUTS ask for their port, and for VM exits, before they ask for their operand.
  const auto instruction = kind != ept::Access::kFetch ? instruction_at_rip() : std::nullopt;
  if (instruction &&
      (instruction->operation == Operation::kIns || instruction->operation == Operation::kOuts)) {
    emulate_instruction(std::nullopt);
    return;
  }
  if (!is_canonical(stop.linear, state_)) {
    const bool stack = stop.access != FillAccess::kFetch && uses_stack_segment(stop.linear);
    deliver(vmx::exception(stack ? vmx::kSs12 : vmx::kGp, 0));
    return;
  }
  const bool implicit =
      kind != ept::Access::kFetch && state_.cpl() == 3 && reads_descriptor(stop.linear);
  const Privilege privilege = implicit ? Privilege::kSupervisor : Privilege::kCurrent;
  uint64_t linear = stop.linear;
  ept::Access attempt = access(kind, privilege);
  if (kind == ept::Access::kWrite && vmx_.in_non_root() && vmx_.sub_page_table()) {
    // All that the operand has on this page is judged at once.
    if (const auto operand = operand_at(linear)) {
      const uint64_t first = unchecked_linear_address(state_, operand->memory.segment,
                                                      effective_address(state_, operand->memory));
      const uint64_t page = linear & ~(kPageSize - 1), end = first + operand->size;
      linear = std::max(first, page);
      attempt.size = static_cast<uint16_t>(std::min(end, page + kPageSize) - linear);
    }
  }
  const auto result = mmu_.translate(linear, attempt, state_.rflags);
  if (const auto* fault = std::get_if<Fault>(&result)) {
    settle(to_outcome(*fault));
  } else if (std::get<Translation>(result).by_sub_page) {
    write_sub_page(linear, std::get<Translation>(result));
  } else if (vmx_.is_apic_access_page(std::get<Translation>(result).physical)) {
    access_apic_page(stop.linear, kind);
  }
}

// What is no explicit operand of one page (a push, say) is not virtualized.
void Cpu::access_apic_page(uint64_t linear, ept::Access::Kind kind) {
  const bool write = kind == ept::Access::kWrite;
  if (const auto operand = operand_at(linear); operand && kind != ept::Access::kFetch) {
    const uint64_t first = unchecked_linear_address(state_, operand->memory.segment,
                                                    effective_address(state_, operand->memory));
    const auto offset = static_cast<uint16_t>(first % kPageSize);
    if (first / kPageSize == linear / kPageSize &&
        vmx_.virtualizes_apic_access(offset, operand->size, write)) {
      apic_page_access_ = {write, offset};
      return;
    }
  }
  using vmx::Vmx;
  vmx_.apic_access(static_cast<uint16_t>(linear % kPageSize),
                   kind == ept::Access::kFetch ? Vmx::ApicAccess::kFetch
                   : write                     ? Vmx::ApicAccess::kWrite
                                               : Vmx::ApicAccess::kRead,
                   instruction_length());
}

void Cpu::write_sub_page(uint64_t linear, const Translation& translation) {
  // A page may be asked for anew: then it is the other one that waits.
  if (writes_sub_page() && sub_page_writes_[0]->number != linear / kPageSize) {
    sub_page_writes_[1] = sub_page_writes_[0];
  }
  sub_page_writes_[0] = {linear / kPageSize, translation};
}

void Cpu::end_apic_page_access(bool executed) {
  const ApicPageAccess access = *apic_page_access_;
  apic_page_access_.reset();
  flush_pending_ = true;  // the page belongs to this one instruction
  if (executed && access.write) vmx_.apic_written(access.offset);
}

void Cpu::emulate_instruction(const std::optional<Event>& engine_fault) {
  std::array<uint8_t, Instruction::kMaxLength> bytes{};
  size_t fetched = 0;
  const auto fault = fetch(linear_rip(), bytes, fetched);
  const auto instruction = decoder_.decode(std::span(bytes.data(), fetched), code_mode(state_));
  if (!instruction) {
    settle(fault ? to_outcome(*fault) : Outcome(engine_fault.value_or(vmx::exception(vmx::kUd))));
    return;
  }
  if (!engine_fault && instruction->operation == Operation::kIret) {
    begin_iret();
    return;
  }
  if (!engine_fault && (instruction->operation == Operation::kFarCall ||
                        instruction->operation == Operation::kFarJump)) {
    transfer_far(*instruction);
    return;
  }
  if (engine_fault && !decides(instruction->operation, engine_fault->vector)) {
    deliver(*engine_fault);
    return;
  }
  bool trap_flag = (state_.rflags & vmx::rflags::kTf) != 0;
  const bool trapping = vmx_.in_non_root() && vmx_.monitor_trap_flag();
  engine_.count_emulated();
  const Outcome outcome = emulate(*this, *instruction);
  if (instruction->operation == Operation::kPause && config_.count > 1) {
    paused_ = true;
    clock_.charge(cost_.pause_among_several);
  }
  const bool completed = std::holds_alternative<vmx::Completed>(outcome);
  if (completed) {
    advance_rip(state_, instruction->length);
    state_.rflags &= ~uint64_t{vmx::rflags::kRf};
    state_.blocking_by_sti = state_.blocking_by_mov_ss = false;
  }
  if (completed || std::holds_alternative<Jumped>(outcome)) {
    // SYSCALL and SYSRET trap as they leave TF.
    if (!completed) trap_flag = (state_.rflags & vmx::rflags::kTf) != 0;
    if (trapping) vmx_.set_monitor_trap_flag_pending();
    if (trap_flag) single_step_trap();
    return;
  }
  settle(outcome);
}

}  // namespace nestor::emu
