// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/cpu/engine_driver.h"

#include <algorithm>
#include <array>
#include <span>
#include <utility>

#include "emu/cpu/alignment.h"
#include "emu/cpu/boundary.h"
#include "emu/cpu/far_transfer.h"
#include "emu/cpu/instruction_step.h"
#include "emu/cpu/unsafe_code.h"
#include "emu/memory/page_size.h"

namespace nestor::emu {

EngineDriver::EngineDriver(HardwareCore& core, EventDelivery& delivery, const Signals& signals)
    : core_(core),
      engine_(core.around().engine),
      delivery_(delivery),
      signals_(signals),
      filler_(core),
      iret_image_(core) {}

bool EngineDriver::take_pause() { return std::exchange(paused_, false); }

void EngineDriver::serialize(Archive& archive) {
  filler_.serialize(archive);
  archive(trap_due_, approaching_, executing_whole_, paused_, stepping_through_, stopped_at_);
}

bool EngineDriver::traps_each_instruction() const {
  return core_.vmx().in_non_root() && core_.vmx().monitor_trap_flag();
}

// --- before a run

// IRET may return to another task. In VMX root operation the engine may do that as well, should it
// have set RFLAGS.NT itself since it was started. In 64-bit mode, where IRET is frequent and nearly
// always has operands of 64 bits, which the engine gets right, find_unsafe() looks for the others.
bool EngineDriver::must_intercept_iret() const {
  const vmx::CpuState& state = core_.state();
  const bool returns_to_task = may_switch_tasks(state) && (core_.vmx().in_non_root() ||
                                                           (state.rflags & vmx::rflags::kNt) != 0);
  return state.blocking_by_nmi || core_.vmx().virtual_nmi_blocking() ||
         IretImage::ignores_vm(state) || returns_to_task ||
         (state.cr0 & vmx::cr0::kAm) != 0 ||  // it may begin alignment checking
         core_.counters().tells_levels_apart();
}

// Sets what deadline_passed() looks at, and single-stepping where something is due after the next
// instruction.
uint64_t EngineDriver::deadline(uint64_t turn_end) {
  const vmx::CpuState& state = core_.state();
  const vmx::Vmx& vmx = core_.vmx();
  const Prices& prices = core_.around().prices;
  const Turns& turns = core_.around().turns;
  const uint64_t now = prices.clock().cycles();
  deadline_ = std::min(
      {core_.bus().deadline(), core_.preemption_timer_due(), turns.next_report(), turn_end});
  if (const uint64_t limit = turns.instruction_limit(); limit != ~0ull) {
    const uint64_t left = std::min(limit - prices.instructions(), uint64_t{1} << 62);
    deadline_ = std::min(deadline_, now + left * prices.list.instruction);
  }
  if (const auto left = core_.counters().cycles_to_interrupt(state.cpl())) {
    deadline_ = std::min(deadline_, now + *left);
  }
  watch_interrupts_ =
      core_.interrupt_pending() ||
      (vmx.in_non_root() && vmx.primary(vmx::PrimaryProcBased::kInterruptWindowExiting));
  if (state.blocking_by_sti || state.blocking_by_mov_ss) {
    // What the shadow holds back is due after one instruction.
    const bool nmi_window =
        vmx.in_non_root() && vmx.primary(vmx::PrimaryProcBased::kNmiWindowExiting);
    if (watch_interrupts_ || signals_.nmi() || nmi_window || state.pending_debug_exceptions != 0) {
      mode_.single_step = true;
    }
    watch_interrupts_ = false;
  }
  if (is_in_the_middle()) {
    watch_interrupts_ = false;
    deadline_ = ~0ull;
  }
  return watch_interrupts_ || stop_after_ ? 0 : deadline_;
}

bool EngineDriver::misaligned() {
  const auto instruction = core_.instruction_at_rip();
  if (!instruction) return false;
  const vmx::CpuState& state = core_.state();
  const auto linear = misaligned_operand(state, *instruction);
  return linear &&
         std::holds_alternative<uint64_t>(core_.mmu().probe(
             *linear, core_.port().access(ept::Access::kRead, Privilege::kCurrent), state.rflags));
}

bool EngineDriver::is_in_the_middle() const {
  return is_within_instruction() || stepping_through_.has_value();
}

bool EngineDriver::stops_here() {
  const Turns& turns = core_.around().turns;
  if (watch_generation_ != turns.watch_generation()) {
    watch_generation_ = turns.watch_generation();
    core_.context().blocks.clear();
  }
  if (turns.until().breakpoints.empty() || is_within_instruction()) return false;
  const Place here{linear_rip(core_.state()), core_.context().instructions};
  if (here == stopped_at_ || !std::ranges::binary_search(turns.until().breakpoints, here.linear)) {
    return false;
  }
  stopped_at_ = here;
  return true;
}

bool EngineDriver::is_watched(const WatchedBlock& block) const {
  const Until& until = core_.around().turns.until();
  if (until.step) return true;
  const auto next = std::ranges::lower_bound(until.breakpoints, block.linear);
  return next != until.breakpoints.end() && block.holds(*next);
}

// The engine has stopped before a block because it is watched.
bool EngineDriver::enter_watched_block() {
  if (!watched_ahead_ || watched_ahead_->linear != linear_rip(core_.state())) return false;
  stepping_through_ = std::exchange(watched_ahead_, std::nullopt);
  core_.around().prices.charge_instructions(stepping_through_->prepaid);
  return true;
}

void EngineDriver::leave_watched_block() {
  if (!stepping_through_) return;
  core_.around().prices.refund_instructions(stepping_through_->prepaid);
  stepping_through_.reset();
}

void EngineDriver::run(uint64_t turn_end) {
  Turns& turns = core_.around().turns;
  if (stops_here()) {
    turns.stop({Pause::Reason::kBreakpoint, core_.number()});
    return;
  }
  const Place before{linear_rip(core_.state()), core_.context().instructions};
  // Somebody may have changed RIP while the run had stopped.
  if (stepping_through_ && !stepping_through_->holds(before.linear)) leave_watched_block();
  BranchRecording branch(core_);
  run_engine(turn_end);
  branch.finish();
  const Place now{linear_rip(core_.state()), core_.context().instructions};
  // A block is executed in the order of its addresses; what begins it again is another one.
  if (stepping_through_ && now != before &&
      (now.linear <= before.linear || !stepping_through_->holds(now.linear))) {
    leave_watched_block();
  }
  if (turns.until().step && now.instructions != before.instructions) {
    stopped_at_ = now;
    turns.stop({Pause::Reason::kStep, core_.number()});
  }
}

void EngineDriver::run_engine(uint64_t turn_end) {
  vmx::CpuState& state = core_.state();
  vmx::Vmx& vmx = core_.vmx();
  watched_ahead_.reset();
  ++core_.around().turns.engine_runs;
  core_.waiting().engine_runs();
  ExecutionContext& context = core_.context();
  context.set_tag((state.cr3 * 0x9e3779b97f4a7c15) ^ vmx.eptp().value_or(0) ^
                  (vmx.in_non_root() ? 1ull << 63 : 0) ^
                  (may_switch_tasks(state) ? 1ull << 62 : 0));
  if (core_.take_dropped_translations()) context.request_flush();
  engine_.set_client(*this);
  engine_.enter(context);
  const PerformanceMonitor& counters = core_.counters();
  if (counters.counting() || counters.global_ctrl() != state.perf_global_ctrl) {
    core_.count_performance(state.cpl());
  }
  const bool aligned = checks_alignment(state);
  if (aligned && misaligned()) {
    delivery_.deliver(vmx::exception(vmx::kAc, 0));
    return;
  }
  const bool trapping = traps_each_instruction();
  mode_.single_step =
      approaching_ || trapping || is_in_the_middle() || aligned || records_branches(core_);
  // The engine does not step behind MOV to SS and POP SS; there its second block is one too many.
  stop_after_ = trapping ? std::optional(context.instructions) : std::nullopt;
  mode_.deadline = deadline(turn_end);
  mode_.unsafe_allowed = executing_whole_;
  trap_due_ = (state.rflags & vmx::rflags::kTf) != 0;
  mode_.intercept_popf = !executing_whole_ && (state.cr0 & vmx::cr0::kAm) != 0 && state.cpl() == 3;
  mode_.intercept_iret = !executing_whole_ && must_intercept_iret();
  const bool was_blocked = state.blocking_by_sti || state.blocking_by_mov_ss;
  const uint64_t from = state.rip;
  const uint8_t cpl = state.cpl();
  if (stepping_through_ && stepping_through_->prepaid != 0) {
    --stepping_through_->prepaid;
    core_.around().prices.refund_instructions(1);
  }
  const Stop stop = engine_.run(state, mode_);
  const bool stepped = stop.kind == StopKind::kException && stop.vector == vmx::kDb;
  // The engine would have stopped there without being watched, too.
  if (!stepped) leave_watched_block();
  iret_image_.restore();
  if (counters.counting()) core_.count_performance(cpl);
  if (state.blocking_by_sti && (state.rip != from || !was_blocked)) find_blocking();
  executing_whole_ = false;
  filler_.end_grants(stepped, stop.kind == StopKind::kRefusedFill && state.rip == from);
  handle(stop);
}

// --- after a run

void EngineDriver::find_blocking() {
  vmx::CpuState& state = core_.state();
  uint8_t before = 0;
  size_t fetched = 0;
  (void)core_.fetch(linear_rip(state) - 1, std::span(&before, 1), fetched);
  constexpr uint8_t kSti = 0xfb;
  state.blocking_by_sti = before == kSti;
  state.blocking_by_mov_ss = before != kSti;
}

void EngineDriver::count_emulated() {
  ++core_.context().instructions;
  core_.around().prices.charge_instructions(1);
}

// --- the engine's questions

uint64_t EngineDriver::read_device(uint64_t physical, unsigned size) {
  const uint64_t value = core_.port().read_device(physical, size);
  engine_.request_stop();  // the access may have changed what is due
  return value;
}

void EngineDriver::write_device(uint64_t physical, unsigned size, uint64_t value) {
  core_.port().write_device(physical, size, value);
  engine_.request_stop();
}

bool EngineDriver::deadline_passed() {
  if (core_.clock().cycles() >= deadline_ ||
      (stop_after_ && core_.context().instructions > *stop_after_)) {
    return true;
  }
  return watch_interrupts_ && (engine_.live().rflags & vmx::rflags::kIf) != 0;
}

// The engine is running: what it executes is not yet in the processor's state.
std::span<uint8_t> EngineDriver::fetch_live(uint64_t linear, std::span<uint8_t> buffer,
                                            CodeMode& mode) {
  vmx::CpuState& state = core_.state();
  vmx::CpuState live = state;
  engine_.peek(live);
  std::swap(state, live);
  size_t fetched = 0;
  (void)core_.fetch(linear, buffer, fetched);
  mode = code_mode(state);
  std::swap(state, live);
  return buffer.first(fetched);
}

unsigned EngineDriver::count_instructions(uint64_t linear, unsigned size) {
  std::array<uint8_t, kPageSize> bytes;
  std::array<uint16_t, kPageSize> starts;
  CodeMode mode{};
  const auto code =
      fetch_live(linear, std::span(bytes).first(std::min<size_t>(size, bytes.size())), mode);
  return core_.decoder().instruction_starts(code, mode, starts);
}

std::optional<unsigned> EngineDriver::find_unsafe(uint64_t linear, unsigned size) {
  std::array<uint8_t, kPageSize> bytes;
  CodeMode mode{};
  const auto code =
      fetch_live(linear, std::span(bytes).first(std::min<size_t>(size, bytes.size())), mode);
  const auto unsafe =
      emu::find_unsafe(core_.decoder(), code, mode, may_switch_tasks(core_.state()));
  if (unsafe || stepping_through_ || !core_.around().turns.watches_instructions()) return unsafe;
  WatchedBlock block{linear, size, 0};
  if (!is_watched(block)) return std::nullopt;
  std::array<uint16_t, kPageSize> starts;
  block.prepaid = core_.decoder().instruction_starts(code, mode, starts);
  watched_ahead_ = block;
  return 0;
}

}  // namespace nestor::emu
