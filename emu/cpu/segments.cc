// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/cpu/segments.h"

namespace nestor::emu {
namespace {

using vmx::CpuState;
using vmx::Event;
using vmx::Segment;

bool type_allows(const Segment& segment, SegmentAccess access) {
  const unsigned type = segment.rights.type();
  const bool code = type & 8;
  if (access == SegmentAccess::kWrite) return !code && (type & 2);
  return !code || (type & 2);
}

}  // namespace

uint64_t next_rip(const CpuState& state, unsigned length) {
  const uint64_t rip = state.rip + length;
  switch (code_mode(state)) {
    case CodeMode::k16:
      return rip & 0xffff;
    case CodeMode::k32:
      return rip & 0xffffffff;
    case CodeMode::k64:
      return rip;
  }
  return rip;
}

void advance_rip(CpuState& state, unsigned length) { state.rip = next_rip(state, length); }

uint64_t effective_address(const CpuState& state, const MemoryOperand& operand) {
  const uint64_t mask = value_mask(operand.address_size);
  uint64_t address = operand.displacement;
  if (operand.rip_relative) address += state.rip + operand.instruction_length;
  if (operand.base) address += state.gpr[*operand.base];
  if (operand.index) {
    const uint64_t index = state.gpr[*operand.index];
    address += (operand.byte_index ? index & 0xff : index) * operand.scale;
  }
  return address & mask;
}

uint64_t unchecked_linear_address(const CpuState& state, vmx::SegmentRegister segment,
                                  uint64_t offset) {
  if (!state.code_64bit()) return (state.segment[segment].base + offset) & 0xffffffff;
  const bool based = segment == vmx::kFs || segment == vmx::kGs;
  return based ? state.segment[segment].base + offset : offset;
}

std::optional<OffsetRange> allowed_offsets(const CpuState& state, vmx::SegmentRegister segment,
                                           uint64_t size, SegmentAccess access) {
  const Segment& hidden = state.segment[segment];
  bool expand_down = false;
  if (state.protected_mode() && !state.virtual_8086()) {
    if (hidden.rights.unusable() || !type_allows(hidden, access)) return std::nullopt;
    expand_down = (hidden.rights.type() & 0xc) == 4;
  }
  const uint64_t top = !expand_down                  ? hidden.limit
                       : hidden.rights.default_big() ? 0xffffffff
                                                     : 0xffff;
  const OffsetRange range{expand_down ? uint64_t{hidden.limit} + 1 : 0, top - (size - 1)};
  if (size - 1 > top || range.least > range.most) return std::nullopt;
  return range;
}

std::variant<uint64_t, Event> linear_address(const CpuState& state, vmx::SegmentRegister segment,
                                             uint64_t offset, uint64_t size, SegmentAccess access) {
  const Event fault = vmx::exception(segment == vmx::kSs ? vmx::kSs12 : vmx::kGp, 0);
  const uint64_t linear = unchecked_linear_address(state, segment, offset);
  if (state.code_64bit()) {
    if (!is_canonical(linear, state) || !is_canonical(linear + size - 1, state)) return fault;
    return linear;
  }
  const auto range = allowed_offsets(state, segment, size, access);
  if (!range || offset < range->least || offset > range->most) return fault;
  return linear;
}

std::variant<uint64_t, Event> linear_address(const CpuState& state, const MemoryOperand& operand,
                                             uint64_t size, SegmentAccess access) {
  return linear_address(state, operand.segment, effective_address(state, operand), size, access);
}

vmx::AccessRights Descriptor::rights() const { return {static_cast<uint32_t>(low >> 40 & 0xf0ff)}; }

uint64_t Descriptor::base() const {
  return (low >> 16 & 0xffffff) | (low >> 32 & 0xff000000) | high << 32;
}

uint32_t Descriptor::limit() const {
  const auto limit = static_cast<uint32_t>((low & 0xffff) | (low >> 32 & 0xf0000));
  const bool pages = low >> 55 & 1;
  return pages ? limit << 12 | 0xfff : limit;
}

Segment to_segment(uint16_t selector, const Descriptor& descriptor) {
  return {selector, descriptor.rights(), descriptor.limit(), descriptor.base()};
}

Segment null_segment(uint16_t selector) { return {selector, {vmx::AccessRights::kUnusable}, 0, 0}; }

bool is_inside_table(const CpuState& state, uint16_t selector, unsigned size) {
  const Segment& ldt = state.segment[vmx::kLdtr];
  const bool local = selector & 4;
  const uint64_t limit = local ? ldt.limit : state.gdtr.limit;
  return !(local && ldt.rights.unusable()) && (selector & 0xfff8ull) + size - 1 <= limit;
}

Result<Descriptor> read_descriptor(Core& core, uint16_t selector, vmx::Vector vector, bool ext,
                                   unsigned size) {
  const CpuState& state = core.state();
  if (!is_inside_table(state, selector, size)) {
    return vmx::exception(vector, selector_error(selector, ext));
  }
  Descriptor descriptor;
  descriptor.address =
      (selector & 4 ? state.segment[vmx::kLdtr].base : state.gdtr.base) + (selector & 0xfff8u);
  if (!state.long_mode_active()) descriptor.address &= 0xffffffff;
  const auto low = read_value<uint64_t>(core, descriptor.address);
  if (!low) return low.fault();
  descriptor.low = *low;
  if (size == 16) {
    const auto high = read_value<uint64_t>(core, descriptor.address + 8);
    if (!high) return high.fault();
    descriptor.high = *high;
  }
  return descriptor;
}

namespace {

constexpr unsigned kTypeByte = 5;  // of a descriptor

std::optional<Fault> write_type(Core& core, Descriptor& descriptor, uint64_t low) {
  const auto byte = static_cast<uint8_t>(low >> (kTypeByte * 8));
  if (auto fault =
          core.write(descriptor.address + kTypeByte, std::span(&byte, 1), Privilege::kSupervisor)) {
    return fault;
  }
  descriptor.low = low;
  return std::nullopt;
}

}  // namespace

std::optional<Fault> mark_accessed(Core& core, Descriptor& descriptor) {
  constexpr uint64_t kAccessed = 1ull << 40;
  if (descriptor.low & kAccessed) return std::nullopt;
  return write_type(core, descriptor, descriptor.low | kAccessed);
}

std::optional<Fault> mark_busy(Core& core, Descriptor& descriptor, bool busy) {
  constexpr uint64_t kBusy = 1ull << 41;
  return write_type(core, descriptor, busy ? descriptor.low | kBusy : descriptor.low & ~kBusy);
}

}  // namespace nestor::emu
