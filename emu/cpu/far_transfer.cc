// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/cpu/far_transfer.h"

#include <algorithm>

#include "emu/cpu/segments.h"

namespace nestor::emu {
namespace {

using Requested = std::optional<TaskSwitch>;

// Of a pointer in the instruction, or in memory, where it lies behind the offset.
Result<uint16_t> read_selector(Core& core, const Instruction& instruction) {
  const MemoryOperand* pointer = instruction.memory();
  if (pointer == nullptr) return static_cast<uint16_t>(instruction.operand[0].immediate);
  const unsigned offset_size = instruction.operand_size;
  const auto linear = linear_address(core.state(), *pointer, offset_size + 2, SegmentAccess::kRead);
  if (const auto* fault = std::get_if<vmx::Event>(&linear)) return *fault;
  return read_value<uint16_t>(core, std::get<uint64_t>(linear) + offset_size, Privilege::kCurrent);
}

constexpr bool is_tss(uint8_t type) {
  return type == kTss16Available || type == kTss16Busy || type == kTss32Available ||
         type == kTss32Busy;
}

}  // namespace

Result<Requested> find_task_switch(Core& core, const Instruction& instruction) {
  const vmx::CpuState& state = core.state();
  TaskSwitch request;
  request.instruction_length = instruction.length;
  if (instruction.operation == Operation::kIret) {
    if ((state.rflags & vmx::rflags::kNt) == 0) return Requested{};
    const auto link = read_value<uint16_t>(core, state.segment[vmx::kTr].base);
    if (!link) return link.fault();
    request.source = TaskSwitchSource::kIret;
    request.selector = *link;
    return Requested{request};
  }
  const auto selector = read_selector(core, instruction);
  if (!selector) return selector.fault();
  if (is_null(*selector)) return Requested{};
  const auto descriptor = read_descriptor(core, *selector, vmx::kGp);
  if (!descriptor) return descriptor.fault();
  const bool gate = descriptor->type() == kTaskGate;
  if (descriptor->code_or_data() || (!gate && !is_tss(descriptor->type()))) return Requested{};
  const auto rpl = static_cast<uint8_t>(*selector & 3);
  if (descriptor->dpl() < std::max(state.cpl(), rpl))
    return vmx::exception(vmx::kGp, selector_error(*selector));
  if (gate && !descriptor->present()) return vmx::exception(vmx::kNp, selector_error(*selector));
  request.source = instruction.operation == Operation::kFarCall ? TaskSwitchSource::kCall
                                                                : TaskSwitchSource::kJump;
  request.selector = gate ? static_cast<uint16_t>(descriptor->low >> 16) : *selector;
  return Requested{request};
}

}  // namespace nestor::emu
