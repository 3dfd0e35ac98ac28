// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/cpu/instructions/returns.h"

#include "emu/cpu/instructions/operands.h"
#include "emu/cpu/segment_loads.h"
#include "emu/cpu/stack.h"

namespace nestor::emu::instructions {

using vmx::CpuState;

Outcome jump_to(Core& core, CpuState& next) {
  next.blocking_by_sti = next.blocking_by_mov_ss = false;
  core.state() = next;
  return Jumped{};
}

Result<Descriptor> find_return_segment(Core& core, uint16_t selector) {
  if (is_null(selector)) return general_protection();
  const auto descriptor = read_descriptor(core, selector, vmx::kGp);
  if (!descriptor) return descriptor.fault();
  const auto rpl = static_cast<uint8_t>(selector & 3);
  if (rpl < core.state().cpl()) return general_protection(selector_error(selector));
  if (auto event = check_code_segment(core.state(), *descriptor, selector, 0, rpl)) return *event;
  return *descriptor;
}

std::optional<Fault> return_outward(Core& core, CpuState& next, const ReturnTarget& target,
                                    uint64_t at, unsigned width, uint64_t released) {
  const CpuState& old = core.state();
  const auto rsp = read_stack(core, at, width);
  if (!rsp) return rsp.fault();
  const auto popped = read_stack(core, at + width, width);
  if (!popped) return popped.fault();
  const auto ss = static_cast<uint16_t>(*popped);
  const auto cpl = static_cast<uint8_t>(target.selector & 3);
  std::optional<Descriptor> stack;
  if (is_null(ss)) {
    const bool to_64bit = old.long_mode_active() && target.code.long_mode();
    if (!to_64bit || cpl == 3 || (ss & 3) != cpl) return general_protection();
    next.segment[vmx::kSs] = null_stack_segment(ss, cpl);
  } else {
    const auto found = find_stack_segment(core, ss, cpl);
    if (!found) return found.fault();
    stack = *found;
  }
  // Comes before the first accessed flag is set.
  if (!is_reachable(old, target.code, target.rip)) return general_protection();
  if (stack) {
    if (auto fault = mark_accessed(core, *stack)) return fault;
    next.segment[vmx::kSs] = to_segment(ss, *stack);
  }
  if (auto fault = enter_code_segment(core, next, target.selector, target.code, target.rip, cpl)) {
    return fault;
  }
  set_stack_pointer(next, *rsp + released);
  if (cpl != old.cpl()) drop_inner_segments(next, cpl);
  return std::nullopt;
}

}  // namespace nestor::emu::instructions
