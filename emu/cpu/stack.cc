// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/cpu/stack.h"

#include <span>

#include "emu/cpu/segments.h"

namespace nestor::emu {

uint64_t stack_pointer_mask(const vmx::CpuState& state) {
  if (state.code_64bit()) return ~0ull;
  return state.segment[vmx::kSs].rights.default_big() ? 0xffffffff : 0xffff;
}

void set_stack_pointer(vmx::CpuState& state, uint64_t value) {
  const uint64_t mask = stack_pointer_mask(state);
  uint64_t& rsp = state.gpr[vmx::kRsp];
  const uint64_t kept = mask == 0xffff ? rsp & ~mask : 0;
  rsp = kept | (value & mask);
}

Result<uint64_t> read_stack(Core& core, uint64_t offset, unsigned size) {
  const vmx::CpuState& state = core.state();
  const uint64_t at = (state.gpr[vmx::kRsp] + offset) & stack_pointer_mask(state);
  const auto linear = linear_address(state, vmx::kSs, at, size, SegmentAccess::kRead);
  if (const auto* fault = std::get_if<vmx::Event>(&linear)) return *fault;
  uint64_t value = 0;
  const uint64_t before = core.device_accesses();
  if (auto fault =
          core.read(std::get<uint64_t>(linear), std::span(reinterpret_cast<uint8_t*>(&value), size),
                    Privilege::kCurrent)) {
    return *fault;
  }
  if (core.device_accesses() != before)
    core.note_outside_ram(ImplicitMemory::kStack, std::get<uint64_t>(linear));
  return value;
}

std::variant<uint64_t, vmx::Event> PushedValues::linear_below(uint64_t size) const {
  const uint64_t offset = (next_.gpr[vmx::kRsp] - size) & stack_pointer_mask(next_);
  const auto linear = linear_address(next_, vmx::kSs, offset, width_, SegmentAccess::kWrite);
  if (!std::holds_alternative<vmx::Event>(linear)) return linear;
  return vmx::exception(vmx::kSs12, error_code_);
}

void PushedValues::check_room(unsigned count) {
  for (unsigned i = 1; i <= count && !fault_; ++i) {
    const auto linear = linear_below(uint64_t{i} * width_);
    if (const auto* event = std::get_if<vmx::Event>(&linear)) fault_ = *event;
  }
}

void PushedValues::push(uint64_t value) {
  if (fault_) return;
  const auto linear = linear_below(width_);
  if (const auto* event = std::get_if<vmx::Event>(&linear)) {
    fault_ = *event;
    return;
  }
  const uint64_t before = core_.device_accesses();
  fault_ = core_.write(std::get<uint64_t>(linear),
                       std::span(reinterpret_cast<const uint8_t*>(&value), width_), privilege_);
  if (core_.device_accesses() != before)
    core_.note_outside_ram(ImplicitMemory::kStack, std::get<uint64_t>(linear));
  if (!fault_) set_stack_pointer(next_, next_.gpr[vmx::kRsp] - width_);
}

}  // namespace nestor::emu
