// SPDX-License-Identifier: GPL-2.0-or-later
//
// What the engine stops for.
#include <algorithm>
#include <span>

#include "emu/cpu/breakpoints.h"
#include "emu/cpu/engine_driver.h"
#include "emu/cpu/entry_conditions.h"
#include "emu/cpu/floating_point.h"
#include "emu/cpu/instruction_prices.h"
#include "emu/cpu/instruction_step.h"
#include "emu/cpu/modelled_code.h"
#include "emu/cpu/segments.h"
#include "emu/cpu/watchpoints.h"
#include "emu/memory/page_size.h"
#include "vmx/exceptions.h"
#include "vmx/guest_state_formats.h"

namespace nestor::emu {

using vmx::Event;

namespace {

// Whether the model, and not the engine, says if the instruction causes the exception.
constexpr bool decides(Operation operation, uint8_t vector) {
  switch (vector) {
    case vmx::kGp:
      return operation == Operation::kCli || operation == Operation::kSti ||
             operation == Operation::kPushf || operation == Operation::kPopf ||
             operation == Operation::kSysexit || operation == Operation::kSysret ||
             operation == Operation::kXsetbv || operation == Operation::kMovToDr ||
             operation == Operation::kMovFromDr;
    case vmx::kNm:
      return operation == Operation::kInvept || operation == Operation::kInvvpid ||
             operation == Operation::kInvpcid;
    default:
      return true;
  }
}

// The engine looks at CR0.TS first, but #UD has priority over #NM ("Emulation of the MMX
// Instruction Set", "Action Taken for Combinations of OSFXSR, OSXMMEXCPT, SSE, SSE2, SSE3, EM, MP,
// and TS").
bool is_undefined(const vmx::CpuState& state, Technology technology) {
  const bool emulated = (state.cr0 & vmx::cr0::kEm) != 0;
  switch (technology) {
    case Technology::kSse:
      return emulated || (state.cr4 & vmx::cr4::kOsfxsr) == 0;
    case Technology::kMmx:
      return emulated;
    case Technology::kX87:
    case Technology::kOther:
      break;
  }
  return false;
}

ept::Access::Kind kind_of(FillAccess access) {
  switch (access) {
    case FillAccess::kFetch:
      return ept::Access::kFetch;
    case FillAccess::kWrite:
      return ept::Access::kWrite;
    case FillAccess::kRead:
      break;
  }
  return ept::Access::kRead;
}

// Once it is complete, nothing is due because of it, and the engine can run as before: it changes
// nothing but registers that neither the address space nor the mode of the code depends on, or a
// VMCS that no guest is running with.
bool is_quiet(const Instruction& instruction) {
  switch (instruction.operation) {
    case Operation::kMovFromCr:
    case Operation::kMovFromDr:
    case Operation::kSmsw:
    case Operation::kRdmsr:
    case Operation::kRdtsc:
    case Operation::kRdtscp:
    case Operation::kCpuid:
    case Operation::kXgetbv:
    case Operation::kRdpkru:
    case Operation::kRdfsbase:
    case Operation::kRdgsbase:
    case Operation::kWrfsbase:
    case Operation::kWrgsbase:
    case Operation::kSldt:
    case Operation::kStr:
    case Operation::kPause:
    case Operation::kVmread:
    case Operation::kVmwrite:
      // What is in memory may be a device.
      return std::ranges::none_of(
          std::span(instruction.operand).first(instruction.operand_count),
          [](const Operand& operand) { return operand.kind == Operand::Kind::kMemory; });
    default:
      return false;
  }
}

// The instruction is over, which moved the stack pointer so.
void follow(profile::Profiler& profiler, Operation operation, uint64_t from, uint64_t to) {
  switch (operation) {
    case Operation::kSyscall:
    case Operation::kSysenter:
      return profiler.call_system(from);
    case Operation::kIret:
    case Operation::kSysret:
    case Operation::kSysexit:
      return profiler.resume(to);
    default:
      return;
  }
}

// The access that the engine was refused; null: it is none of them, as for a fetch.
const MemoryAccess* find_access(const vmx::CpuState& state, const MemoryAccesses& accesses,
                                const Stop& stop) {
  const bool write = stop.access == FillAccess::kWrite;
  const auto* found = std::ranges::find_if(accesses, [&](const MemoryAccess& access) {
    return (write ? access.written : access.read) && is_part_of(state, access, stop.linear);
  });
  return found != accesses.end() ? found : nullptr;
}

}  // namespace

void EngineDriver::handle(const Stop& stop) {
  const bool stepped = stop.kind == StopKind::kException && stop.vector == vmx::kDb;
  if (!stepped && stop.kind != StopKind::kRefusedFill) approaching_ = false;
  switch (stop.kind) {
    case StopKind::kDeadline:
      return;
    case StopKind::kInstruction:
      // A block that ends before such an instruction does not hold the breakpoint on it; and time
      // has passed in it.
      if (stop.unsafe && stop.completed_size != 0 && !is_in_the_middle() && deadline_passed()) {
        return;
      }
      if (stop.unsafe && (enter_watched_block() || at_breakpoint() || due_breakpoints() != 0 ||
                          is_written_over())) {
        return;
      }
      return emulate_instruction(std::nullopt);
    case StopKind::kCondition:
      if (at_breakpoint()) return;
      return handle_condition();
    case StopKind::kRefusedFill:
      if (handle_refused_fill(stop)) return;
      // The instruction is over, and so is what it alone was granted and has met.
      filler_.end_grants(false, false);
      data_breaks_ = 0;
      return;
    case StopKind::kException:
      // What the engine calls undefined is not always part of the block that leads to it.
      if (!stepped && due_breakpoints() != 0) return;
      return handle_exception(stop);
  }
}

// Some instruction of the block that follows may break a rule; step by step it is the next one.
void EngineDriver::handle_condition() {
  const vmx::CpuState& state = core_.state();
  const auto instruction = core_.instruction_at_rip();
  auto event = instruction ? broken_rule(state, *instruction) : std::nullopt;
  if (instruction && reports_x87_exception(core_, *instruction)) {
    event = vmx::exception(vmx::kMf);
  }
  if (event) {
    count_emulated();
    delivery_.deliver(*event);
    return;
  }
  // STI with RFLAGS.IF = 1, and FNINIT where there is more to clear than the engine knows of.
  if (instruction &&
      (instruction->operation == Operation::kSti || instruction->operation == Operation::kFninit)) {
    return emulate_instruction(std::nullopt);
  }
  if (mode_.single_step || !instruction)
    judged_ = {linear_rip(state), core_.context().instructions};
  approaching_ = true;
}

// Since the engine has learned of it, code was written over, or has another page in its place; or a
// block ends there for another reason.
bool EngineDriver::is_written_over() {
  const auto instruction = core_.instruction_at_rip();
  if (!instruction || instruction->operation == Operation::kHlt) return false;
  if (is_modelled(*instruction, selectors_name_descriptors())) return false;
  return true;
}

void EngineDriver::handle_exception(const Stop& stop) {
  const Event event = vmx::exception(
      static_cast<vmx::Vector>(stop.vector),
      vmx::exception_info(stop.vector).error_code ? std::optional(stop.error_code) : std::nullopt);
  // What the engine does not know, it calls undefined; SYSEXIT it calls a protection violation, and
  // INVEPT and its like an SSE instruction.
  if (stop.vector == vmx::kUd || stop.vector == vmx::kGp || stop.vector == vmx::kNm) {
    emulate_instruction(event);
    return;
  }
  if (stop.vector != vmx::kDb) {
    delivery_.deliver(event);
    return;
  }
  if (traps_each_instruction()) core_.vmx().set_monitor_trap_flag_pending();
  // One instruction was executed, or the engine met RFLAGS.TF = 1 later.
  if (trap_due_ || !mode_.single_step) delivery_.single_step_trap();
}

bool EngineDriver::handle_refused_fill(const Stop& stop) {
  const vmx::CpuState& state = core_.state();
  const bool fetch = stop.access == FillAccess::kFetch;
  // The engine translates ahead of RIP. Go there one instruction at a time.
  if (fetch && !mode_.single_step && stop.linear / kPageSize != linear_rip(state) / kPageSize) {
    approaching_ = true;
    return true;
  }
  approaching_ = false;
  if (fetch && filler_.is_beyond_code(stop.linear & ~(kPageSize - 1))) {
    delivery_.deliver(vmx::exception(vmx::kGp, 0));
    return false;
  }
  const auto instruction = fetch ? std::nullopt : core_.instruction_at_rip();
  // INS and OUTS ask for their port, and for VM exits, before they ask for their operand.
  if (instruction &&
      (instruction->operation == Operation::kIns || instruction->operation == Operation::kOuts)) {
    emulate_instruction(std::nullopt);
    return false;
  }
  const MemoryAccesses accesses =
      instruction ? memory_accesses(state, *instruction) : MemoryAccesses{};
  const MemoryAccess* const refused = find_access(state, accesses, stop);
  if (!is_canonical(stop.linear, state)) {
    const bool stack = refused != nullptr && refused->segment == vmx::kSs;
    delivery_.deliver(vmx::exception(stack ? vmx::kSs12 : vmx::kGp, 0));
    return false;
  }
  ept::Access access = core_.port().access(kind_of(stop.access), Privilege::kCurrent);
  // The engine reads before it writes; to the processor what is read and written is a write.
  if (refused != nullptr && refused->written) access.kind = ept::Access::kWrite;
  uint64_t linear = stop.linear;
  if (access.kind == ept::Access::kWrite && refused != nullptr && core_.vmx().in_non_root() &&
      core_.vmx().sub_page_table()) {
    // All that the operand has on this page is judged at once.
    const uint64_t first = linear_address_of(state, *refused);
    const uint64_t page = linear & ~(kPageSize - 1), end = first + refused->size;
    linear = std::max(first, page);
    access.size = static_cast<uint16_t>(std::min(end, page + kPageSize) - linear);
  }
  const bool watched =
      !fetch && !filler_.grants_watched_pages() && filler_.watches_page(stop.linear);
  if (watched) {
    const auto event = instruction ? broken_rule(state, *instruction) : std::nullopt;
    if (event) {
      delivery_.deliver(*event);
      return false;
    }
  }
  const auto result = core_.mmu().translate_refused(linear, access, state.rflags);
  if (const auto* fault = std::get_if<Fault>(&result)) {
    if (concerns_cached_translation(*fault)) {
      core_.context().request_flush_of(mapping_tag(core_.vmx(), state));
    }
    delivery_.settle(to_outcome(*fault));
    return false;
  }
  if (watched) {
    filler_.grant_watched_pages();
    data_breaks_ = data_breakpoints(state, accesses);
  } else if (std::get<Translation>(result).by_sub_page) {
    filler_.grant_sub_page_write(linear, std::get<Translation>(result));
  } else if (core_.vmx().is_apic_access_page(std::get<Translation>(result).physical)) {
    return access_apic_page(stop.linear, stop.access, accesses);
  }
  return true;
}

// The instruction at RIP accesses the APIC-access page: a VM exit, or a step with the virtual-APIC
// page in its place. Each access is judged by itself; of one that is read and written, the read
// first.
bool EngineDriver::access_apic_page(uint64_t linear, FillAccess kind,
                                    const MemoryAccesses& accesses) {
  using ApicAccess = vmx::Vmx::ApicAccess;
  vmx::Vmx& vmx = core_.vmx();
  const vmx::CpuState& state = core_.state();
  const bool write = kind == FillAccess::kWrite;
  const auto exits_at = [&](uint64_t address) {
    const ApicAccess access = kind == FillAccess::kFetch ? ApicAccess::kFetch
                              : write                    ? ApicAccess::kWrite
                                                         : ApicAccess::kRead;
    vmx.apic_access(static_cast<uint16_t>(address % kPageSize), access, core_.instruction_length());
    return false;
  };
  bool found = false;
  for (const MemoryAccess& access : accesses) {
    const uint64_t first = linear_address_of(state, access);
    if (first / kPageSize != linear / kPageSize || !(write ? access.written : access.read))
      continue;
    const auto offset = static_cast<uint16_t>(first % kPageSize);
    if (!vmx.virtualizes_apic_access(offset, access.size, write)) return exits_at(first);
    filler_.grant_virtual_apic(write, offset);
    found = true;
  }
  // A fetch, or the second half of what begins on another page.
  return found || exits_at(linear);
}

void EngineDriver::emulate_instruction(const std::optional<Event>& engine_fault) {
  const auto [instruction, fault] = fetch_instruction(core_, core_.decoder());
  if (!instruction) {
    // The engine may know it.
    if (!fault && !engine_fault && !mode_.single_step) {
      approaching_ = true;
      return;
    }
    delivery_.settle(fault ? to_outcome(*fault)
                           : Outcome(engine_fault.value_or(vmx::exception(vmx::kUd))));
    return;
  }
  if (breaks_code_limit(core_.state(), *instruction)) {
    return delivery_.deliver(vmx::exception(vmx::kGp, 0));
  }
  const Operation operation = instruction->operation;
  if (engine_fault && !decides(operation, engine_fault->vector)) {
    const bool undefined =
        engine_fault->vector == vmx::kNm && is_undefined(core_.state(), instruction->technology);
    delivery_.deliver(undefined ? vmx::exception(vmx::kUd) : *engine_fault);
    return;
  }
  const bool trapping = traps_each_instruction();
  vmx::CpuState& state = core_.state();
  const uint8_t cpl = state.cpl();
  const uint64_t breaks =
      has_breakpoints(state) ? data_breakpoints(state, memory_accesses(state, *instruction)) : 0;
  profile::Profiler* const profiler = core_.profiler();
  const uint64_t pointer = state.gpr[vmx::kRsp];
  if (profiler != nullptr) profiler->enter(linear_rip(state), pointer);
  count_emulated();
  if (timing::Core* core = core_.timing()) core->serialize_execution();
  const InstructionCharge price(*instruction, core_.state(), core_.timing());
  const auto pause = watched_register_or_port(core_, *instruction);
  const Executed executed = execute(core_, *instruction);
  if (pause) core_.around().turns.stop(*pause);
  // What changes the level counts where it began.
  if (core_.counters().counting() && state.cpl() != cpl) core_.count_performance(cpl);
  price.charge(core_.around().prices, core_.state(), executed.outcome);
  if (operation == Operation::kPause) {
    paused_ = core_.processors() > 1;
    core_.vmx().end_pause();
  }
  if (!executed.at_boundary) {
    delivery_.settle(executed.outcome);
    return;
  }
  if (profiler != nullptr) follow(*profiler, operation, pointer, state.gpr[vmx::kRsp]);
  if (breaks != 0) {
    state.pending_debug_exceptions |= breaks | vmx::pending_debug::kEnabledBreakpoint;
  }
  if (trapping) core_.vmx().set_monitor_trap_flag_pending();
  if (executed.single_step) delivery_.single_step_trap();
  quiet_ = std::holds_alternative<vmx::Completed>(executed.outcome) && !executed.single_step &&
           !paused_ && !pause && is_quiet(*instruction);
}

}  // namespace nestor::emu
