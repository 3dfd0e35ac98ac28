// SPDX-License-Identifier: GPL-2.0-or-later
//
// IRET, POPF and PUSHF: what loads RFLAGS from the stack, and stores it there.
#include "emu/cpu/instructions/handlers.h"
#include "emu/cpu/instructions/operands.h"
#include "emu/cpu/instructions/returns.h"
#include "emu/cpu/segment_loads.h"
#include "emu/cpu/stack.h"
#include "emu/cpu/task_switch.h"
#include "emu/cpu/virtual_interrupts.h"

namespace nestor::emu::instructions {
namespace {

using vmx::CpuState;
namespace rflags = vmx::rflags;

// What the current privilege level may change in RFLAGS.
uint64_t changeable_flags(const CpuState& state) {
  constexpr uint64_t kAlways = rflags::kCf | rflags::kPf | rflags::kAf | rflags::kZf | rflags::kSf |
                               rflags::kTf | rflags::kDf | rflags::kOf | rflags::kNt | rflags::kAc |
                               rflags::kId;
  uint64_t mask = kAlways;
  const unsigned iopl = (state.rflags & rflags::kIopl) >> 12;
  if (state.cpl() <= iopl) mask |= rflags::kIf;
  if (state.cpl() == 0) mask |= rflags::kIopl;
  return mask;
}

void load_flags(CpuState& next, uint64_t image, uint64_t mask, unsigned width) {
  if (width == 2) mask &= 0xffff;
  next.rflags = (next.rflags & ~mask) | (image & mask) | rflags::kFixed1;
}

// As the program in virtual-8086 mode has them where VIF is its interrupt flag. false: #GP.
bool load_virtual_flags(CpuState& next, uint64_t image) {
  const bool enables = (image & rflags::kIf) != 0;
  if ((enables && (next.rflags & rflags::kVip) != 0) || (image & rflags::kTf) != 0) return false;
  load_flags(next, image, changeable_flags(next), 2);
  next.rflags = (next.rflags & ~uint64_t{rflags::kVif}) | (enables ? rflags::kVif : 0);
  return true;
}

// What IRET pops first; the outer stack follows.
struct Frame {
  uint64_t rip = 0, flags = 0;
  uint16_t cs = 0;
};

Result<Frame> read_frame(Core& core, unsigned width) {
  const auto rip = read_stack(core, 0, width);
  if (!rip) return rip.fault();
  const auto cs = read_stack(core, width, width);
  if (!cs) return cs.fault();
  const auto flags = read_stack(core, 2ull * width, width);
  if (!flags) return flags.fault();
  return Frame{*rip, *flags, static_cast<uint16_t>(*cs)};
}

// "Interrupt and Exception Handling in Real-Address Mode", and the same in virtual-8086 mode.
Outcome return_without_descriptors(Core& core, const Frame& frame, unsigned width) {
  const CpuState& state = core.state();
  CpuState next = state;
  vmx::Segment& cs = next.segment[vmx::kCs];
  if (frame.rip > cs.limit) return general_protection();
  cs.selector = frame.cs;
  cs.base = static_cast<uint32_t>(frame.cs) << 4;
  next.rip = frame.rip;
  if (interrupt_flag_in_image(state, width) == InterruptFlag::kVif) {
    if (!load_virtual_flags(next, frame.flags)) return general_protection();
  } else {
    load_flags(next, frame.flags, changeable_flags(state) | rflags::kRf, width);
  }
  set_stack_pointer(next, state.gpr[vmx::kRsp] + 3ull * width);
  return jump_to(core, next);
}

// "Entering Virtual-8086 Mode".
Outcome to_virtual_8086(Core& core, const Frame& frame) {
  constexpr unsigned kWidth = 4;
  constexpr uint64_t kFlags = 0x3f7fd7;  // all that are defined
  constexpr vmx::SegmentRegister kPopped[] = {vmx::kSs, vmx::kEs, vmx::kDs, vmx::kFs, vmx::kGs};
  CpuState next = core.state();
  if (frame.rip > 0xffff) return general_protection();
  uint64_t at = 3 * kWidth;
  const auto rsp = read_stack(core, at, kWidth);
  if (!rsp) return to_outcome(rsp.fault());
  for (const auto segment : kPopped) {
    at += kWidth;
    const auto selector = read_stack(core, at, kWidth);
    if (!selector) return to_outcome(selector.fault());
    next.segment[segment] = virtual_8086_segment(static_cast<uint16_t>(*selector));
  }
  next.segment[vmx::kCs] = virtual_8086_segment(frame.cs);
  next.rip = frame.rip;
  next.gpr[vmx::kRsp] = *rsp;
  next.rflags = (frame.flags & kFlags) | rflags::kFixed1;
  return jump_to(core, next);
}

Outcome return_to_code_segment(Core& core, const Frame& frame, unsigned width) {
  const CpuState& state = core.state();
  const auto code = find_return_segment(core, frame.cs);
  if (!code) return to_outcome(code.fault());
  CpuState next = state;
  uint64_t flags = changeable_flags(state) | rflags::kRf;
  if (state.cpl() == 0) flags |= rflags::kVif | rflags::kVip;
  load_flags(next, frame.flags, flags, width);
  const auto rpl = static_cast<uint8_t>(frame.cs & 3);
  // 64-bit code finds SS and RSP on the stack at all times.
  if (rpl != state.cpl() || state.code_64bit()) {
    if (auto fault =
            return_outward(core, next, {frame.cs, *code, frame.rip}, 3ull * width, width, 0)) {
      return to_outcome(*fault);
    }
    return jump_to(core, next);
  }
  set_stack_pointer(next, state.gpr[vmx::kRsp] + 3ull * width);
  if (auto fault = enter_code_segment(core, next, frame.cs, *code, frame.rip, rpl)) {
    return to_outcome(*fault);
  }
  return jump_to(core, next);
}

Outcome to_linked_task(Core& core, const Instruction& instruction) {
  const auto link = read_value<uint16_t>(core, core.state().segment[vmx::kTr].base);
  if (!link) return to_outcome(link.fault());
  TaskSwitch request;
  request.source = TaskSwitchSource::kIret;
  request.instruction_length = instruction.length;
  request.selector = *link;
  return switch_task(core, request);
}

Outcome return_from_interrupt(Core& core, const Instruction& instruction) {
  const CpuState& state = core.state();
  const unsigned width = instruction.operand_size;
  if (interrupt_flag_in_image(state, width) == InterruptFlag::kNone) return general_protection();
  if (has_descriptors(state) && (state.rflags & rflags::kNt)) {
    return state.long_mode_active() ? general_protection() : to_linked_task(core, instruction);
  }
  const auto frame = read_frame(core, width);
  if (!frame) return to_outcome(frame.fault());
  if (!has_descriptors(state)) return return_without_descriptors(core, *frame, width);
  const bool to_v86 = width == 4 && !state.long_mode_active() && state.cpl() == 0 &&
                      (frame->flags & rflags::kVm) != 0;
  return to_v86 ? to_virtual_8086(core, *frame) : return_to_code_segment(core, *frame, width);
}

}  // namespace

// It takes off the blocking of NMIs, whether it succeeds or not.
Outcome iret(Core& core, const Instruction& instruction) {
  vmx::Vmx& vmx = core.vmx();
  if (core.state().blocking_by_nmi || vmx.virtual_nmi_blocking()) vmx.begin_iret();
  const Outcome outcome = return_from_interrupt(core, instruction);
  if (std::holds_alternative<Jumped>(outcome)) vmx.end_iret();
  return outcome;
}

Outcome popf(Core& core, const Instruction& instruction) {
  CpuState& state = core.state();
  const unsigned width = instruction.stack_width;
  const InterruptFlag flag = interrupt_flag_in_image(state, width);
  if (flag == InterruptFlag::kNone) return general_protection();
  const auto flags = read_stack(core, 0, width);
  if (!flags) return to_outcome(flags.fault());
  if (flag == InterruptFlag::kVif) {
    if (!load_virtual_flags(state, *flags)) return general_protection();
  } else {
    load_flags(state, *flags, changeable_flags(state), width);
  }
  set_stack_pointer(state, state.gpr[vmx::kRsp] + width);
  return vmx::Completed{};
}

Outcome pushf(Core& core, const Instruction& instruction) {
  const CpuState& state = core.state();
  const unsigned width = instruction.stack_width;
  const InterruptFlag flag = interrupt_flag_in_image(state, width);
  if (flag == InterruptFlag::kNone) return general_protection();
  uint64_t image = state.rflags & ~uint64_t{rflags::kVm | rflags::kRf};
  if (flag == InterruptFlag::kVif) image = flags_of_virtual_program(state.rflags);
  CpuState next = state;
  PushedValues stack(core, next, width, Privilege::kCurrent);
  stack.push(image);
  if (stack.fault()) return to_outcome(*stack.fault());
  core.state() = next;
  return vmx::Completed{};
}

}  // namespace nestor::emu::instructions
