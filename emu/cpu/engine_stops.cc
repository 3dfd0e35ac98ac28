// SPDX-License-Identifier: GPL-2.0-or-later
//
// What the engine stops for.
#include <algorithm>

#include "emu/cpu/engine_driver.h"
#include "emu/cpu/far_transfer.h"
#include "emu/cpu/instruction_prices.h"
#include "emu/cpu/instruction_step.h"
#include "emu/cpu/segments.h"
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

}  // namespace

void EngineDriver::handle(const Stop& stop) {
  const bool stepped = stop.kind == StopKind::kException && stop.vector == vmx::kDb;
  if (!stepped && stop.kind != StopKind::kRefusedFill) approaching_ = false;
  switch (stop.kind) {
    case StopKind::kDeadline:
      if (stop_after_ && core_.context().instructions > *stop_after_) {
        core_.vmx().set_monitor_trap_flag_pending();
        if (trap_due_) {
          core_.state().pending_debug_exceptions |= vmx::pending_debug::kSingleStep;
        }
      }
      return;
    case StopKind::kIret:
      return begin_iret();
    case StopKind::kPopf:
      executing_whole_ = true;
      return;
    case StopKind::kUnsafeAhead:
      approaching_ = true;
      return;
    case StopKind::kInstruction:
      if (!enter_watched_block()) emulate_instruction(std::nullopt);
      return;
    case StopKind::kRefusedFill:
      return handle_refused_fill(stop);
    case StopKind::kException:
      return handle_exception(stop);
  }
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
  core_.vmx().end_iret();
  if (traps_each_instruction()) core_.vmx().set_monitor_trap_flag_pending();
  // One instruction was executed, or the engine met RFLAGS.TF = 1 later.
  if (trap_due_ || !mode_.single_step) delivery_.single_step_trap();
}

// It takes off the blocking of NMIs, and then executes whole.
void EngineDriver::begin_iret() {
  const vmx::CpuState& state = core_.state();
  if (state.blocking_by_nmi || core_.vmx().virtual_nmi_blocking()) core_.vmx().begin_iret();
  if (may_switch_tasks(state) && (state.rflags & vmx::rflags::kNt) != 0) {
    if (const auto instruction = core_.instruction_at_rip()) transfer_far(*instruction);
    return;
  }
  if (IretImage::ignores_vm(state) || state.code_64bit()) iret_image_.hide_vm();
  executing_whole_ = true;
}

// To another task, or by the engine.
void EngineDriver::transfer_far(const Instruction& instruction) {
  const auto found = find_task_switch(core_, instruction);
  if (!found) {
    delivery_.settle(to_outcome(found.fault()));
  } else if (!*found) {
    executing_whole_ = true;
  } else {
    count_emulated();
    delivery_.settle(switch_task(core_, **found));
    vmx::CpuState& state = core_.state();
    state.blocking_by_sti = state.blocking_by_mov_ss = false;
  }
}

void EngineDriver::handle_refused_fill(const Stop& stop) {
  const vmx::CpuState& state = core_.state();
  const bool fetch = stop.access == FillAccess::kFetch;
  // The engine translates ahead of RIP. Go there one instruction at a time.
  if (fetch && !mode_.single_step && stop.linear / kPageSize != linear_rip(state) / kPageSize) {
    approaching_ = true;
    return;
  }
  approaching_ = false;
  const auto instruction = fetch ? std::nullopt : core_.instruction_at_rip();
  const Operand* const operand =
      instruction ? operand_at(state, *instruction, stop.linear) : nullptr;
  // INS and OUTS ask for their port, and for VM exits, before they ask for their operand.
  if (instruction &&
      (instruction->operation == Operation::kIns || instruction->operation == Operation::kOuts)) {
    emulate_instruction(std::nullopt);
    return;
  }
  if (!is_canonical(stop.linear, state)) {
    // What is no operand is a push, a pop or their like.
    const bool stack = !fetch && (operand == nullptr || operand->memory.segment == vmx::kSs);
    delivery_.deliver(vmx::exception(stack ? vmx::kSs12 : vmx::kGp, 0));
    return;
  }
  ept::Access::Kind kind = kind_of(stop.access);
  // The engine reads before it writes; to the processor an operand that is read and written is a
  // write.
  if (kind == ept::Access::kRead && operand != nullptr && operand->written) {
    kind = ept::Access::kWrite;
  }
  const bool implicit = !fetch && state.cpl() == 3 && filler_.reads_descriptor(stop.linear);
  ept::Access access =
      core_.port().access(kind, implicit ? Privilege::kSupervisor : Privilege::kCurrent);
  uint64_t linear = stop.linear;
  if (kind == ept::Access::kWrite && operand != nullptr && core_.vmx().in_non_root() &&
      core_.vmx().sub_page_table()) {
    // All that the operand has on this page is judged at once.
    const uint64_t first = operand_address(state, *operand);
    const uint64_t page = linear & ~(kPageSize - 1), end = first + operand->size;
    linear = std::max(first, page);
    access.size = static_cast<uint16_t>(std::min(end, page + kPageSize) - linear);
  }
  const auto result = core_.mmu().translate_refused(linear, access, state.rflags);
  if (const auto* fault = std::get_if<Fault>(&result)) {
    delivery_.settle(to_outcome(*fault));
  } else if (std::get<Translation>(result).by_sub_page) {
    filler_.grant_sub_page_write(linear, std::get<Translation>(result));
  } else if (core_.vmx().is_apic_access_page(std::get<Translation>(result).physical)) {
    access_apic_page(stop.linear, kind, fetch ? nullptr : operand);
  }
}

// The instruction at RIP accesses the APIC-access page: a VM exit, or a step with the virtual-APIC
// page in its place. What is no explicit operand of one page (a push, say) is not virtualized.
void EngineDriver::access_apic_page(uint64_t linear, ept::Access::Kind kind,
                                    const Operand* operand) {
  vmx::Vmx& vmx = core_.vmx();
  const bool write = kind == ept::Access::kWrite;
  if (operand != nullptr) {
    const uint64_t first = operand_address(core_.state(), *operand);
    const auto offset = static_cast<uint16_t>(first % kPageSize);
    if (first / kPageSize == linear / kPageSize &&
        vmx.virtualizes_apic_access(offset, operand->size, write)) {
      filler_.grant_virtual_apic(write, offset);
      return;
    }
  }
  using Kind = vmx::Vmx::ApicAccess;
  vmx.apic_access(static_cast<uint16_t>(linear % kPageSize),
                  kind == ept::Access::kFetch ? Kind::kFetch
                  : write                     ? Kind::kWrite
                                              : Kind::kRead,
                  core_.instruction_length());
}

void EngineDriver::emulate_instruction(const std::optional<Event>& engine_fault) {
  const auto [instruction, fault] = fetch_instruction(core_, core_.decoder());
  if (!instruction) {
    delivery_.settle(fault ? to_outcome(*fault)
                           : Outcome(engine_fault.value_or(vmx::exception(vmx::kUd))));
    return;
  }
  const Operation operation = instruction->operation;
  if (!engine_fault && operation == Operation::kIret) return begin_iret();
  if (!engine_fault && (operation == Operation::kFarCall || operation == Operation::kFarJump)) {
    return transfer_far(*instruction);
  }
  if (engine_fault && !decides(operation, engine_fault->vector)) {
    const bool undefined =
        engine_fault->vector == vmx::kNm && is_undefined(core_.state(), instruction->technology);
    delivery_.deliver(undefined ? vmx::exception(vmx::kUd) : *engine_fault);
    return;
  }
  const bool trapping = traps_each_instruction();
  count_emulated();
  const InstructionCharge price(*instruction, core_.state());
  const Executed executed = execute(core_, *instruction);
  price.charge(core_.around().prices, core_.state(), executed.outcome);
  if (operation == Operation::kPause && core_.processors() > 1) {
    paused_ = true;
    core_.around().prices.charge(&PriceList::pause_among_several);
  }
  if (!executed.at_boundary) {
    delivery_.settle(executed.outcome);
    return;
  }
  if (trapping) core_.vmx().set_monitor_trap_flag_pending();
  if (executed.single_step) delivery_.single_step_trap();
}

}  // namespace nestor::emu
