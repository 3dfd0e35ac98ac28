// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/cpu/segment_loads.h"

#include <algorithm>
#include <span>

namespace nestor::emu {
namespace {

using vmx::CpuState;

// The type lets code at a lower privilege through.
bool conforming(const vmx::AccessRights& rights) { return (rights.type() & 0xc) == 0xc; }

vmx::Event refused(uint16_t selector, SelectorFaults faults) {
  return vmx::exception(faults.vector, selector_error(selector, faults.ext));
}

Result<vmx::Segment> load(Core& core, uint16_t selector, Descriptor descriptor) {
  if (auto fault = mark_accessed(core, descriptor)) return *fault;
  return to_segment(selector, descriptor);
}

}  // namespace

Result<vmx::Segment> data_segment(Core& core, uint16_t selector, uint8_t cpl,
                                  SelectorFaults faults) {
  const auto found = read_descriptor(core, selector, faults.vector, faults.ext);
  if (!found) return found.fault();
  const bool readable = found->code_or_data() && (!found->is_code() || (found->type() & 2));
  const auto rpl = static_cast<uint8_t>(selector & 3);
  const bool privileged = found->is_conforming_code() || found->dpl() >= std::max(cpl, rpl);
  if (!readable || !privileged) return refused(selector, faults);
  if (!found->present()) return vmx::exception(vmx::kNp, selector_error(selector, faults.ext));
  return load(core, selector, *found);
}

Result<Descriptor> find_stack_segment(Core& core, uint16_t selector, uint8_t cpl,
                                      SelectorFaults faults) {
  const auto found = read_descriptor(core, selector, faults.vector, faults.ext);
  if (!found) return found.fault();
  if ((selector & 3) != cpl || found->dpl() != cpl || !found->is_writable_data()) {
    return refused(selector, faults);
  }
  if (!found->present()) return vmx::exception(vmx::kSs12, selector_error(selector, faults.ext));
  return found;
}

Result<vmx::Segment> stack_segment(Core& core, uint16_t selector, uint8_t cpl,
                                   SelectorFaults faults) {
  const auto found = find_stack_segment(core, selector, cpl, faults);
  if (!found) return found.fault();
  return load(core, selector, *found);
}

vmx::Segment null_stack_segment(uint16_t selector, uint8_t cpl) {
  vmx::Segment segment = null_segment(selector);
  segment.rights.value |= static_cast<uint32_t>(cpl) << 5;
  return segment;
}

vmx::Segment virtual_8086_segment(uint16_t selector) {
  constexpr uint32_t kRights = 0xf3;
  return {selector, {kRights}, 0xffff, static_cast<uint32_t>(selector) << 4};
}

std::optional<Fault> load_segment(Core& core, vmx::SegmentRegister segment, uint16_t selector) {
  CpuState& state = core.state();
  vmx::Segment& target = state.segment[segment];
  if (!state.protected_mode()) {
    target.selector = selector;
    target.base = static_cast<uint32_t>(selector) << 4;
    return std::nullopt;
  }
  if (state.virtual_8086()) {
    target = virtual_8086_segment(selector);
    return std::nullopt;
  }
  const uint8_t cpl = state.cpl();
  if (is_null(selector)) {
    if (segment != vmx::kSs) {
      target = null_segment(selector);
      return std::nullopt;
    }
    if (!state.code_64bit() || cpl == 3 || (selector & 3) != cpl)
      return vmx::exception(vmx::kGp, 0);
    target = null_stack_segment(selector, cpl);
    return std::nullopt;
  }
  const auto found =
      segment == vmx::kSs ? stack_segment(core, selector, cpl) : data_segment(core, selector, cpl);
  if (!found) return found.fault();
  target = *found;
  return std::nullopt;
}

// --- inner stacks

namespace {

// `size` bytes of the TSS.
Result<uint64_t> read_tss(Core& core, unsigned offset, unsigned size, unsigned needed, bool ext) {
  const CpuState& state = core.state();
  const vmx::Segment& tr = state.segment[vmx::kTr];
  if (offset + needed - 1 > tr.limit) {
    return vmx::exception(vmx::kTs, selector_error(tr.selector, ext));
  }
  uint64_t address = tr.base + offset;
  if (!state.long_mode_active()) address &= 0xffffffff;
  uint64_t value = 0;
  if (auto fault = core.read(address, std::span(reinterpret_cast<uint8_t*>(&value), size),
                             Privilege::kSupervisor)) {
    return *fault;
  }
  return value;
}

}  // namespace

Result<InnerStack> inner_stack(Core& core, uint8_t cpl, bool ext) {
  const bool tss32 = core.state().segment[vmx::kTr].rights.type() & 8;
  const unsigned pointer_size = tss32 ? 4 : 2;
  const unsigned offset = tss32 ? 4 + cpl * 8u : 2 + cpl * 4u;
  const auto rsp = read_tss(core, offset, pointer_size, pointer_size + 2, ext);
  if (!rsp) return rsp.fault();
  const auto ss = read_tss(core, offset + pointer_size, 2, 2, ext);
  if (!ss) return ss.fault();
  const auto selector = static_cast<uint16_t>(*ss);
  if (is_null(selector)) return vmx::exception(vmx::kTs, ext ? 1 : 0);
  const auto segment = stack_segment(core, selector, cpl, {vmx::kTs, ext});
  if (!segment) return segment.fault();
  return InnerStack{*segment, *rsp};
}

Result<uint64_t> inner_stack_pointer(Core& core, uint8_t cpl, bool ext) {
  return read_tss(core, 4 + cpl * 8u, 8, 8, ext);
}

Result<uint64_t> interrupt_stack_pointer(Core& core, unsigned ist, bool ext) {
  return read_tss(core, 28 + ist * 8, 8, 8, ext);
}

// --- code segments

std::optional<vmx::Event> check_code_segment(const CpuState& state, const Descriptor& descriptor,
                                             uint16_t selector, uint8_t rpl, uint8_t cpl) {
  const vmx::Event refusal = vmx::exception(vmx::kGp, selector_error(selector));
  if (!descriptor.is_code()) return refusal;
  if (state.long_mode_active() && descriptor.long_mode() && descriptor.default_big()) {
    return refusal;
  }
  const bool privileged = descriptor.is_conforming_code() ? descriptor.dpl() <= cpl
                                                          : descriptor.dpl() == cpl && rpl <= cpl;
  if (!privileged) return refusal;
  if (!descriptor.present()) return vmx::exception(vmx::kNp, selector_error(selector));
  return std::nullopt;
}

namespace {

bool is_64bit(const CpuState& state, const Descriptor& code) {
  return state.long_mode_active() && code.long_mode();
}

}  // namespace

bool is_reachable(const CpuState& state, const Descriptor& code, uint64_t rip) {
  return is_64bit(state, code) ? is_canonical(rip, state) : (rip & 0xffffffff) <= code.limit();
}

std::optional<Fault> enter_code_segment(Core& core, CpuState& next, uint16_t selector,
                                        Descriptor descriptor, uint64_t rip, uint8_t cpl) {
  if (!is_reachable(core.state(), descriptor, rip)) return vmx::exception(vmx::kGp, 0);
  if (!is_64bit(core.state(), descriptor)) rip &= 0xffffffff;
  if (auto fault = mark_accessed(core, descriptor)) return fault;
  next.segment[vmx::kCs] = to_segment(static_cast<uint16_t>((selector & ~3u) | cpl), descriptor);
  next.rip = rip;
  return std::nullopt;
}

void drop_inner_segments(CpuState& next, uint8_t cpl) {
  for (const auto register_ : {vmx::kEs, vmx::kDs, vmx::kFs, vmx::kGs}) {
    vmx::Segment& segment = next.segment[register_];
    if (!segment.rights.unusable() && (conforming(segment.rights) || segment.rights.dpl() >= cpl)) {
      continue;
    }
    segment.selector = 0;
    segment.rights = {vmx::AccessRights::kUnusable};
  }
}

}  // namespace nestor::emu
