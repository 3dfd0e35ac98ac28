// SPDX-License-Identifier: GPL-2.0-or-later
//
// Far JMP, CALL and RET: SDM volume 3A, "Direct Calls or Jumps to Code Segments", "Accessing a Code
// Segment Through a Call Gate", "Returning from a Called Procedure", "Task Switching".
#include <algorithm>

#include "emu/cpu/instructions/handlers.h"
#include "emu/cpu/instructions/operands.h"
#include "emu/cpu/instructions/returns.h"
#include "emu/cpu/segment_loads.h"
#include "emu/cpu/stack.h"
#include "emu/cpu/task_switch.h"

namespace nestor::emu::instructions {
namespace {

using vmx::CpuState;

// One far JMP or CALL. `next` becomes the state behind it, which replaces the present one when
// nothing can fail any more.
struct Transfer {
  Transfer(Core& the_core, const Instruction& the_instruction)
      : core(the_core),
        instruction(the_instruction),
        old(the_core.state()),
        next(old),
        is_call(the_instruction.operation == Operation::kFarCall) {}

  uint64_t return_rip() const { return next_rip(old, instruction.length); }
  Outcome commit() {
    next.rflags &= ~uint64_t{vmx::rflags::kRf};
    return jump_to(core, next);
  }

  Core& core;
  const Instruction& instruction;
  const CpuState& old;
  CpuState next;
  const bool is_call;
};

// Pushes CS and RIP where the stack stays the same. #SS(0) comes before #GP(0), which an offset
// that is not `reachable` is, and both before anything is written.
std::optional<Fault> push_return(Transfer& transfer, unsigned width, bool reachable) {
  PushedValues stack(transfer.core, transfer.next, width, Privilege::kCurrent);
  stack.check_room(2);
  if (stack.fault()) return stack.fault();
  if (!reachable) return general_protection();
  stack.push(transfer.old.segment[vmx::kCs].selector);
  stack.push(transfer.return_rip());
  return stack.fault();
}

Outcome to_code_segment(Transfer& transfer, const FarPointer& pointer, const Descriptor& code) {
  const uint8_t cpl = transfer.old.cpl();
  const auto rpl = static_cast<uint8_t>(pointer.selector & 3);
  if (auto event = check_code_segment(transfer.old, code, pointer.selector, rpl, cpl)) {
    return *event;
  }
  if (transfer.is_call) {
    if (auto fault = push_return(transfer, transfer.instruction.operand_size,
                                 is_reachable(transfer.old, code, pointer.offset))) {
      return to_outcome(*fault);
    }
  }
  if (auto fault = enter_code_segment(transfer.core, transfer.next, pointer.selector, code,
                                      pointer.offset, cpl)) {
    return to_outcome(*fault);
  }
  return transfer.commit();
}

// --- call gates

struct CallGate {
  uint16_t selector = 0;
  uint64_t offset = 0;
  unsigned width = 4;       // of what it pushes: 2, 4, or 8 in IA-32e mode
  unsigned parameters = 0;  // that it copies, so wide each
};

Result<CallGate> read_call_gate(Core& core, uint16_t selector, const Descriptor& gate) {
  CallGate read;
  read.selector = static_cast<uint16_t>(gate.low >> 16);
  read.offset = (gate.low & 0xffff) | (gate.low >> 32 & 0xffff0000);
  if (core.state().long_mode_active()) {
    const auto whole = read_descriptor(core, selector, vmx::kGp, false, 16);
    if (!whole) return whole.fault();
    const bool has_type = whole->high >> 40 & 0x1f;
    if (has_type) return general_protection(selector_error(selector));
    read.offset |= whole->high << 32;
    read.width = 8;
    return read;
  }
  read.parameters = gate.low >> 32 & 0x1f;
  if (gate.type() == kCallGate16) {
    read.offset &= 0xffff;
    read.width = 2;
  }
  return read;
}

// The stack of the code that a gate leads to at `cpl`, with what the gate puts there.
std::optional<Fault> change_stack(Transfer& transfer, const CallGate& gate, const Descriptor& code,
                                  uint8_t cpl) {
  CpuState& next = transfer.next;
  const CpuState& old = transfer.old;
  uint32_t stack_error = 0;
  if (old.long_mode_active()) {
    const auto rsp = inner_stack_pointer(transfer.core, cpl, false);
    if (!rsp) return rsp.fault();
    next.segment[vmx::kSs] = null_stack_segment(cpl, cpl);
    next.gpr[vmx::kRsp] = *rsp;
  } else {
    const auto stack = inner_stack(transfer.core, cpl, false);
    if (!stack) return stack.fault();
    next.segment[vmx::kSs] = stack->ss;
    next.gpr[vmx::kRsp] = stack->rsp;
    stack_error = selector_error(stack->ss.selector);
  }
  PushedValues stack(transfer.core, next, gate.width, Privilege::kSupervisor, stack_error);
  stack.check_room(4 + gate.parameters);
  if (stack.fault()) return stack.fault();
  if (!is_reachable(old, code, gate.offset)) return general_protection();
  stack.push(old.segment[vmx::kSs].selector);
  stack.push(old.gpr[vmx::kRsp] & stack_pointer_mask(old));
  for (unsigned i = gate.parameters; i != 0; --i) {
    const auto parameter = read_stack(transfer.core, uint64_t{i - 1} * gate.width, gate.width);
    if (!parameter) return parameter.fault();
    stack.push(*parameter);
  }
  stack.push(old.segment[vmx::kCs].selector);
  stack.push(transfer.return_rip());
  return stack.fault();
}

Outcome through_call_gate(Transfer& transfer, uint16_t selector, const Descriptor& descriptor) {
  Core& core = transfer.core;
  const CpuState& old = transfer.old;
  const auto gate = read_call_gate(core, selector, descriptor);
  if (!gate) return to_outcome(gate.fault());
  if (is_null(gate->selector)) return general_protection();
  const auto code = read_descriptor(core, gate->selector, vmx::kGp);
  if (!code) return to_outcome(code.fault());
  const uint32_t error = selector_error(gate->selector);
  const bool only_64bit = old.long_mode_active();
  if (!code->is_code() || (only_64bit && (!code->long_mode() || code->default_big()))) {
    return general_protection(error);
  }
  uint8_t cpl = old.cpl();
  // JMP stays at its level; CALL goes inward.
  if (code->dpl() > cpl) return general_protection(error);
  const bool inner = !code->is_conforming_code() && code->dpl() < cpl;
  if (inner && !transfer.is_call) return general_protection(error);
  if (!code->present()) return vmx::exception(vmx::kNp, error);
  if (inner) cpl = code->dpl();
  // The pushes of a gate to 64-bit code have the width of its stack.
  transfer.next.segment[vmx::kCs].rights = code->rights();
  if (inner) {
    if (auto fault = change_stack(transfer, *gate, *code, cpl)) return to_outcome(*fault);
  } else if (transfer.is_call) {
    const bool reachable = is_reachable(old, *code, gate->offset);
    if (auto fault = push_return(transfer, gate->width, reachable)) return to_outcome(*fault);
  }
  if (auto fault =
          enter_code_segment(core, transfer.next, gate->selector, *code, gate->offset, cpl)) {
    return to_outcome(*fault);
  }
  return transfer.commit();
}

// --- what else a selector may name

Outcome to_task(Transfer& transfer, uint16_t selector, const Descriptor& descriptor) {
  const bool gate = descriptor.type() == kTaskGate;
  if (gate && !descriptor.present()) return vmx::exception(vmx::kNp, selector_error(selector));
  TaskSwitch request;
  request.instruction_length = transfer.instruction.length;
  request.source = transfer.is_call ? TaskSwitchSource::kCall : TaskSwitchSource::kJump;
  request.selector = gate ? static_cast<uint16_t>(descriptor.low >> 16) : selector;
  return switch_task(transfer.core, request);
}

Outcome to_system_descriptor(Transfer& transfer, uint16_t selector, const Descriptor& descriptor) {
  const CpuState& old = transfer.old;
  const auto rpl = static_cast<uint8_t>(selector & 3);
  const vmx::Event refused = general_protection(selector_error(selector));
  if (descriptor.dpl() < std::max(old.cpl(), rpl)) return refused;
  const uint8_t type = descriptor.type();
  const bool long_mode = old.long_mode_active();
  if (type == kCallGate32 || (type == kCallGate16 && !long_mode)) {
    if (!descriptor.present()) return vmx::exception(vmx::kNp, selector_error(selector));
    return through_call_gate(transfer, selector, descriptor);
  }
  const bool task = type == kTaskGate || type == kTss16Available || type == kTss32Available;
  if (!task || long_mode) return refused;
  return to_task(transfer, selector, descriptor);
}

// In real-address and virtual-8086 mode a selector is a base.
Outcome without_descriptors(Transfer& transfer, const FarPointer& pointer) {
  vmx::Segment& cs = transfer.next.segment[vmx::kCs];
  const bool reachable = pointer.offset <= cs.limit;
  if (transfer.is_call) {
    if (auto fault = push_return(transfer, transfer.instruction.operand_size, reachable)) {
      return to_outcome(*fault);
    }
  }
  if (!reachable) return general_protection();
  cs.selector = pointer.selector;
  cs.base = static_cast<uint32_t>(pointer.selector) << 4;
  transfer.next.rip = pointer.offset;
  return transfer.commit();
}

}  // namespace

Outcome far_transfer(Core& core, const Instruction& instruction) {
  const auto pointer = read_far_pointer(core, instruction);
  if (!pointer) return to_outcome(pointer.fault());
  Transfer transfer(core, instruction);
  if (!has_descriptors(core.state())) return without_descriptors(transfer, *pointer);
  if (is_null(pointer->selector)) return general_protection();
  const auto descriptor = read_descriptor(core, pointer->selector, vmx::kGp);
  if (!descriptor) return to_outcome(descriptor.fault());
  return descriptor->code_or_data()
             ? to_code_segment(transfer, *pointer, *descriptor)
             : to_system_descriptor(transfer, pointer->selector, *descriptor);
}

Outcome far_return(Core& core, const Instruction& instruction) {
  const unsigned width = instruction.operand_size;
  const uint64_t released =
      instruction.operand_count != 0 ? instruction.operand[0].immediate & 0xffff : 0;
  const auto rip = read_stack(core, 0, width);
  if (!rip) return to_outcome(rip.fault());
  const auto cs = read_stack(core, width, width);
  if (!cs) return to_outcome(cs.fault());
  const auto selector = static_cast<uint16_t>(*cs);

  const CpuState& state = core.state();
  CpuState next = state;
  next.rflags &= ~uint64_t{vmx::rflags::kRf};
  if (!has_descriptors(state)) {
    vmx::Segment& segment = next.segment[vmx::kCs];
    if (*rip > segment.limit) return general_protection();
    segment.selector = selector;
    segment.base = static_cast<uint32_t>(selector) << 4;
    next.rip = *rip;
    set_stack_pointer(next, state.gpr[vmx::kRsp] + 2 * width + released);
    return jump_to(core, next);
  }
  const auto code = find_return_segment(core, selector);
  if (!code) return to_outcome(code.fault());
  const auto rpl = static_cast<uint8_t>(selector & 3);
  if (rpl == state.cpl()) {
    set_stack_pointer(next, state.gpr[vmx::kRsp] + 2 * width + released);
    if (auto fault = enter_code_segment(core, next, selector, *code, *rip, rpl)) {
      return to_outcome(*fault);
    }
    return jump_to(core, next);
  }
  if (auto fault = return_outward(core, next, {selector, *code, *rip}, 2 * width + released, width,
                                  released)) {
    return to_outcome(*fault);
  }
  return jump_to(core, next);
}

}  // namespace nestor::emu::instructions
