// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/cpu/engine_driver.h"

#include <algorithm>
#include <array>
#include <span>
#include <utility>

#include "emu/cpu/alignment.h"
#include "emu/cpu/boundary.h"
#include "emu/cpu/breakpoints.h"
#include "emu/cpu/floating_point.h"
#include "emu/cpu/instruction_step.h"
#include "emu/cpu/memory_accesses.h"
#include "emu/cpu/modelled_code.h"
#include "emu/cpu/segments.h"
#include "emu/cpu/stack.h"
#include "emu/cpu/virtual_interrupts.h"
#include "emu/cpu/watchpoints.h"
#include "emu/memory/page_size.h"
#include "vmx/guest_state_formats.h"

namespace nestor::emu {

namespace {

// No code can be at RIP.
bool is_beyond_code(const vmx::CpuState& state) {
  return state.code_64bit() ? !is_canonical(state.rip, state)
                            : state.rip > state.segment[vmx::kCs].limit;
}

}  // namespace

EngineDriver::EngineDriver(HardwareCore& core, EventDelivery& delivery, BetweenRuns& between)
    : core_(core),
      engine_(core.around().engine),
      delivery_(delivery),
      between_(between),
      filler_(core),
      view_(core) {}

bool EngineDriver::take_pause() { return std::exchange(paused_, false); }

void EngineDriver::serialize(Archive& archive) {
  filler_.serialize(archive);
  archive(trap_due_, approaching_, paused_, stepping_through_, data_breaks_, stopped_at_, judged_,
          iterating_at_, zero_code_);
}

bool EngineDriver::selectors_name_descriptors() const {
  return core_.state().protected_mode() && !core_.state().virtual_8086();
}

bool EngineDriver::traps_each_instruction() const {
  return core_.vmx().in_non_root() && core_.vmx().monitor_trap_flag();
}

// --- before a run

// Sets what deadline_passed() looks at, and single-stepping where something is due after the next
// instruction.
uint64_t EngineDriver::deadline() {
  const vmx::CpuState& state = core_.state();
  const vmx::Vmx& vmx = core_.vmx();
  const Prices& prices = core_.around().prices;
  const Turns& turns = core_.around().turns;
  const uint64_t now = prices.clock().cycles();
  mode_.instruction_deadline = ~0ull;
  deadline_ = std::min(
      {core_.bus().deadline(), core_.preemption_timer_due(), turns.next_report(), turn_end_});
  if (const uint64_t limit = turns.instruction_limit(); limit != ~0ull) {
    const uint64_t left = std::min(limit - prices.instructions(), uint64_t{1} << 62);
    if (prices.prices_blocks()) {
      mode_.instruction_deadline = prices.instructions() + left;
    } else {
      deadline_ = std::min(deadline_, now + left * prices.list.instruction);
    }
  }
  if (const auto left = core_.counters().cycles_to_interrupt(state.cpl())) {
    deadline_ = std::min(deadline_, now + *left);
    if (prices.prices_blocks()) {
      mode_.instruction_deadline =
          std::min(mode_.instruction_deadline, prices.instructions() + *left);
    }
  }
  watch_interrupts_ =
      core_.interrupt_pending() ||
      (vmx.in_non_root() && vmx.primary(vmx::PrimaryProcBased::kInterruptWindowExiting));
  if (state.blocking_by_sti || state.blocking_by_mov_ss) {
    // What the shadow holds back is due after one instruction.
    mode_.single_step = true;
    watch_interrupts_ = false;
  }
  if (is_in_the_middle()) {
    watch_interrupts_ = false;
    deadline_ = mode_.instruction_deadline = ~0ull;
  }
  return watch_interrupts_ ? 0 : deadline_;
}

bool EngineDriver::misaligned() {
  const auto instruction = core_.instruction_at_rip();
  if (!instruction) return false;
  const vmx::CpuState& state = core_.state();
  for (const MemoryAccess& access : memory_accesses(state, *instruction)) {
    const uint64_t linear = linear_address_of(state, access);
    if (linear % access.unit == 0) continue;
    const auto page = core_.mmu().probe(
        linear, core_.port().access(ept::Access::kRead, Privilege::kCurrent), state.rflags);
    return std::holds_alternative<uint64_t>(page);
  }
  return false;
}

bool EngineDriver::is_in_the_middle() const {
  return is_within_instruction() || stepping_through_.has_value();
}

bool EngineDriver::at_breakpoint() const {
  const std::vector<uint64_t>& breakpoints = core_.around().turns.until().breakpoints;
  if (breakpoints.empty() || is_within_instruction()) return false;
  const Place here{linear_rip(core_.state()), core_.context().instructions};
  return here != stopped_at_ && std::ranges::binary_search(breakpoints, here.linear);
}

bool EngineDriver::stops_here() {
  if (!at_breakpoint()) return false;
  stopped_at_ = {linear_rip(core_.state()), core_.context().instructions};
  return true;
}

void EngineDriver::run(uint64_t turn_end) {
  turn_end_ = turn_end;
  do {
    if (!begin()) continue;
    finished_ = false;
    const Stop stop = engine_.run(core_.state(), mode_);
    if (finished_) return;
    finish(stop);
  } while (between_.comes_to_code());
}

// The same loop, from within the run of the engine.
bool EngineDriver::goes_on(const Stop& stop) {
  // A device may have changed what is due.
  const bool undisturbed = undisturbed_ && !device_access_;
  quiet_ = false;
  finish(stop);
  if (undisturbed && quiet_ && begin_as_before()) return true;
  while (between_.comes_to_code()) {
    if (begin()) return true;
  }
  finished_ = true;
  return false;
}

bool EngineDriver::begin() {
  Turns& turns = core_.around().turns;
  if (stops_here()) {
    turns.stop({Pause::Reason::kBreakpoint, core_.number()});
    return false;
  }
  begun_.emplace(core_);
  note_beginning();
  // Somebody may have changed RIP while the run had stopped.
  if (stepping_through_ && !stepping_through_->holds(begun_->at.linear)) leave_watched_block();
  begun_->watched = find_watched(core_);
  if (prepare()) return true;
  close();
  return false;
}

bool EngineDriver::begin_as_before() {
  const Surroundings& around = core_.around();
  if (is_past_deadline()) return false;
  ++around.turns.engine_runs;
  core_.waiting().engine_runs();
  note_beginning();
  return true;
}

void EngineDriver::note_beginning() {
  const vmx::CpuState& state = core_.state();
  begun_->at = {linear_rip(state), core_.context().instructions};
  begun_->rip = state.rip;
  begun_->count = state.gpr[vmx::kRcx];
  begun_->resume_flag = state.rflags & vmx::rflags::kRf;
  begun_->cpl = state.cpl();
}

void EngineDriver::close() {
  begun_->branch.finish();
  const Place before = begun_->at;
  const Place now{linear_rip(core_.state()), core_.context().instructions};
  // A block is executed in the order of its addresses; what begins it again is another one.
  if (stepping_through_ && now != before &&
      (now.linear <= before.linear || !stepping_through_->holds(now.linear))) {
    leave_watched_block();
  }
  const bool completed = now.instructions != before.instructions;
  // An iteration of a repeated instruction has used memory, too.
  const bool iterated =
      now.linear == before.linear && core_.state().gpr[vmx::kRcx] != begun_->count;
  const bool met = begun_->watched && (completed || iterated);
  Turns& turns = core_.around().turns;
  if (!met && !(completed && turns.until().steps(core_.number()))) return;
  stopped_at_ = now;
  turns.stop({met ? Pause::Reason::kWatchpoint : Pause::Reason::kStep, core_.number(),
              begun_->watched.value_or(0)});
}

// Behind MOV to SS it is as if RF were 1 ("Instruction-Breakpoint Exception Condition").
uint64_t EngineDriver::due_breakpoints() const {
  const vmx::CpuState& state = core_.state();
  const bool passes = (state.rflags & vmx::rflags::kRf) != 0 || state.blocking_by_mov_ss;
  return passes ? 0 : instruction_breakpoints(state, linear_rip(state));
}

// They come before the instruction is fetched.
bool EngineDriver::breaks_here() {
  const vmx::CpuState& state = core_.state();
  mode_.code_set = breakpoint_set(state);
  if (const uint64_t met = due_breakpoints()) {
    delivery_.deliver(vmx::exception(vmx::kDb, std::nullopt, met));
    return true;
  }
  if (instruction_breakpoints(state, linear_rip(state)) == 0) return false;
  // This one instruction is let through.
  mode_.code_set ^= 1ull << 61;
  mode_.single_step = true;
  return false;
}

std::optional<EngineDriver::TracedBranch> EngineDriver::branch_at_rip() {
  const auto instruction = core_.instruction_at_rip();
  if (!instruction) return std::nullopt;
  return TracedBranch{instruction->always_branches(),
                      instruction->branch == NearBranch::kConditional, instruction->length};
}

std::optional<FloatingPointStep> EngineDriver::begin_arithmetic() {
  const auto instruction = core_.instruction_at_rip();
  return instruction ? FloatingPointStep::begin(core_, *instruction) : std::nullopt;
}

std::optional<vmx::Event> EngineDriver::finish_arithmetic(const Stop& stop) {
  if (!begun_->arithmetic) return std::nullopt;
  approaching_ = false;
  if (stop.kind != StopKind::kException || stop.vector != vmx::kDb) {
    begun_->arithmetic->cancel();
    return std::nullopt;
  }
  const auto fault = begun_->arithmetic->finish();
  if (fault) undo_last_instruction();
  return fault;
}

bool EngineDriver::prepare() {
  vmx::CpuState& state = core_.state();
  watched_ahead_.reset();
  ++core_.around().turns.engine_runs;
  core_.waiting().engine_runs();
  ExecutionContext& context = core_.context();
  context.select(address_space(core_.vmx(), state));
  if (core_.take_dropped_translations()) context.request_flush();
  mode_.single_step = false;
  mode_.code_set = 0;
  if (has_breakpoints(state) && breaks_here()) return false;
  if (virtual_interrupt_is_due(state)) {
    delivery_.deliver(vmx::exception(vmx::kGp, 0));
    return false;
  }
  // Nothing has come between two iterations: RF was for that.
  if (std::exchange(iterating_at_, Place{}) == Place{linear_rip(state), context.instructions}) {
    state.rflags &= ~uint64_t{vmx::rflags::kRf};
  }
  mode_.code_set ^= core_.around().turns.watch_generation() * 0x9e3779b97f4a7c15;
  if (timing::Core* core = core_.timing()) {
    core->set_level(core_.in_l2());
    if (core->follows_accesses()) core->use_translations(mapping_tag(core_.vmx(), state));
  }
  (void)core_.profiler();  // the same
  engine_.set_client(*this);
  engine_.enter(context);
  simd_exceptions_ = has_simd_exceptions(engine_.mxcsr());
  if (simd_exceptions_) mode_.code_set ^= 1ull << 62;
  const PerformanceMonitor& counters = core_.counters();
  if (counters.counting() || counters.global_ctrl() != state.perf_global_ctrl) {
    core_.count_performance(state.cpl());
  }
  const bool aligned = checks_alignment(state);
  if (aligned && misaligned()) {
    delivery_.deliver(vmx::exception(vmx::kAc, 0));
    return false;
  }
  const bool trapping = traps_each_instruction();
  if (stepping_through_ && writes_to_watched_block()) {
    leave_watched_block();
    mode_.single_step = true;
  }
  mode_.single_step |=
      approaching_ || trapping || is_in_the_middle() || aligned || records_branches(state);
  mode_.conditions_hold = judged_ == Place{linear_rip(state), context.instructions};
  mode_.deadline = deadline();
  const bool branches_alone = (state.debugctl & vmx::debugctl::kBtf) != 0;
  trap_due_ = (state.rflags & vmx::rflags::kTf) != 0;
  // It begins alignment checking, and single-stepping on branches.
  mode_.intercept_popf = ((state.cr0 & vmx::cr0::kAm) != 0 && state.cpl() == 3) || branches_alone;
  if (branches_alone && trap_due_) begun_->traced = branch_at_rip();
  begun_->resume_flag = state.rflags & vmx::rflags::kRf;
  undisturbed_ = !mode_.single_step && !mode_.intercept_popf && !mode_.conditions_hold &&
                 !trap_due_ && !has_breakpoints(state) && !counters.counting() &&
                 !core_.around().turns.watches_instructions();
  if (stepping_through_ && stepping_through_->prepaid != 0) {
    --stepping_through_->prepaid;
    core_.around().prices.refund_instructions(1);
  }
  if (mode_.conditions_hold && mode_.single_step) begun_->arithmetic = begin_arithmetic();
  return true;
}

// --- after a run

void EngineDriver::finish(const Stop& stop) {
  conclude(stop);
  close();
}

void EngineDriver::conclude(const Stop& stop) {
  vmx::CpuState& state = core_.state();
  if (timing::Core* core = core_.timing()) refund_code(core->complete());
  const uint64_t before = begun_->at.instructions, from = begun_->rip;
  const std::optional<vmx::Event> event = finish_arithmetic(stop);
  const bool stepped = stop.kind == StopKind::kException && stop.vector == vmx::kDb && !event;
  look_for_stack_outside_ram();
  // "Single-Stepping on Branches": a branch to the next instruction counts where it always
  // branches.
  if (const auto& traced = begun_->traced) {
    trap_due_ = traced->always || (traced->conditional && state.rip != from + traced->length);
    mode_.single_step = true;
  }
  mark_iteration(stop, from);
  const bool one = stepped && core_.context().instructions == before + 1;
  if (one && state.rip != from) count_last_iteration(begun_->at.linear, begun_->count);
  // The engine would have stopped there without being watched, too; or begun another block.
  if (!stepped || state.rip == from) leave_watched_block();
  if (core_.counters().counting()) core_.count_performance(begun_->cpl);
  if (timing::Core* core = core_.timing(); core != nullptr && !stepping_through_) core->settle();
  const bool refused_again = stop.kind == StopKind::kRefusedFill && state.rip == from;
  filler_.end_grants(stepped, refused_again);
  if (stepped && data_breaks_ != 0) {
    state.pending_debug_exceptions |= data_breaks_ | vmx::pending_debug::kEnabledBreakpoint;
  }
  if (!refused_again) data_breaks_ = 0;
  if (event) {
    delivery_.deliver(*event);
    return;
  }
  if (stop.completed_size != 0 && is_beyond_code(state) && undo_branch(stop)) {
    if (core_.context().instructions == before) state.rflags |= begun_->resume_flag;
    delivery_.deliver(vmx::exception(vmx::kGp, 0));
    return;
  }
  handle(stop);
}

void EngineDriver::mark_iteration(const Stop& stop, uint64_t from) {
  vmx::CpuState& state = core_.state();
  if (stop.kind != StopKind::kDeadline && stop.kind != StopKind::kException) return;
  const bool stepped = stop.kind == StopKind::kException && stop.vector == vmx::kDb;
  const bool stays = state.rip == from && (mode_.single_step || stepped);
  const bool again = linear_rip(state) - stop.completed < stop.completed_size || stays;
  if (!again) return;
  const auto instruction = core_.instruction_at_rip();
  if (!instruction || !instruction->repeated || (state.rflags & vmx::rflags::kRf) != 0) return;
  state.rflags |= vmx::rflags::kRf;
  iterating_at_ = {linear_rip(state), core_.context().instructions};
}

void EngineDriver::count_last_iteration(uint64_t linear, uint64_t count) {
  const vmx::CpuState& state = core_.state();
  const uint64_t left = state.gpr[vmx::kRcx];
  if (left == count || (left & 0xffff) != 0) return;
  std::array<uint8_t, Instruction::kMaxLength> bytes;
  const auto instruction = core_.decoder().decode(code_at(linear, bytes), code_mode(state));
  if (!instruction || !instruction->repeated) return;
  const uint64_t mask = value_mask(instruction->address_size);
  const bool compares = std::ranges::none_of(
      std::span(instruction->operand).first(instruction->operand_count), &Operand::written);
  const bool equal = (state.rflags & vmx::rflags::kZf) != 0;
  const bool ended = compares && equal != instruction->prefixes.rep;
  if ((count & mask) == 0 || (left & mask) != 0 || ended) return;
  count_emulated();
  charge_code(linear, std::span(bytes).first(instruction->length));
}

// CALL has written to the stack by then, below what the program may rely on.
bool EngineDriver::undo_branch(const Stop& stop) {
  vmx::CpuState& state = core_.state();
  std::array<uint8_t, kPageSize> bytes;
  std::array<uint16_t, kPageSize> starts;
  const auto code = code_at(
      stop.completed, std::span(bytes).first(std::min<size_t>(stop.completed_size, bytes.size())));
  const CodeMode mode = code_mode(state);
  const unsigned count = core_.decoder().instruction_starts(code, mode, starts);
  if (count == 0) return false;
  const uint16_t last = starts[count - 1];
  const auto branch = core_.decoder().decode(code.subspan(last), mode);
  if (!branch || branch->branch == NearBranch::kNone) return false;
  const uint64_t base = linear_rip(state) - state.rip;
  state.rip = (stop.completed + last - base) & (state.code_64bit() ? ~0ull : 0xffffffff);
  uint64_t pushed = 0;
  if (branch->stack == StackUse::kPush) pushed = branch->stack_width;
  if (branch->stack == StackUse::kPop) pushed = -uint64_t{branch->stack_width};
  if (branch->stack == StackUse::kPop && branch->operand_count != 0) {
    pushed -= branch->operand[0].immediate & 0xffff;
  }
  set_stack_pointer(state, state.gpr[vmx::kRsp] + pushed);
  undo_last_instruction();
  return true;
}

// Of the block that is executed, the last instruction was not.
void EngineDriver::undo_last_instruction() {
  --core_.context().instructions;
  core_.around().prices.refund_instructions(1);
  if (timing::Core* core = core_.timing()) refund_code(core->leave_last());
  if (profile::Profiler* profiler = core_.around().profiler) profiler->leave();
}

void EngineDriver::count_emulated() {
  ++core_.context().instructions;
  core_.around().prices.charge_instructions(1);
}

}  // namespace nestor::emu
