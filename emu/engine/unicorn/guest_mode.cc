// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/engine/unicorn/guest_mode.h"

#include <cstring>

namespace nestor::emu::svm {

namespace {

using vmx::AccessRights;
using vmx::CpuState;
using vmx::Segment;

template <class T>
void put(uint8_t* page, size_t at, T value) {
  std::memcpy(page + at, &value, sizeof value);
}

void put_segment(uint8_t* page, size_t at, const Segment& segment) {
  const uint32_t flags = descriptor_flags(segment.rights);
  put(page, at, segment.selector);
  put(page, at + 2, static_cast<uint16_t>(((flags >> 8) & 0xff) | ((flags >> 12) & 0xf00)));
  put(page, at + 4, segment.limit);
  put(page, at + 8, segment.base);
}

}  // namespace

uint32_t descriptor_flags(AccessRights rights) {
  if (rights.unusable()) return 0;
  return ((rights.value & 0xff) << 8) | ((rights.value & 0xf000) << 8);
}

AccessRights access_rights(uint32_t flags) {
  const uint32_t value = ((flags >> 8) & 0xff) | ((flags >> 8) & 0xf000);
  // A null selector leaves a segment that is not present.
  return AccessRights{(value & 0x80) != 0 ? value : AccessRights::kUnusable};
}

uint32_t hidden_flags(const CpuState& state) {
  const Segment& cs = state.segment[vmx::kCs];
  const Segment& ss = state.segment[vmx::kSs];
  uint32_t flags = state.cpl() | kSvmEnabled | kGuest;
  if (state.protected_mode()) flags |= kProtected;
  flags |= static_cast<uint32_t>(state.cr0 & (vmx::cr0::kMp | vmx::cr0::kEm | vmx::cr0::kTs)) << 8;
  if (state.cr4 & vmx::cr4::kOsfxsr) flags |= kOsfxsr;
  if (state.cr4 & vmx::cr4::kSmap) flags |= kSmap;
  if (state.long_mode_active()) flags |= kLongMode;
  if (!ss.rights.unusable() && ss.rights.default_big()) flags |= kStack32;
  if (state.code_64bit()) {
    flags |= kCode32 | kCode64;
  } else {
    // VM entry may load CS as unusable; code runs all the same.
    const bool code32 = cs.rights.default_big();
    if (code32) flags |= kCode32;
    const bool based = (state.segment[vmx::kDs].base | state.segment[vmx::kEs].base | ss.base) != 0;
    if (!state.protected_mode() || state.virtual_8086() || !code32 || based) flags |= kAddSegment;
  }
  if (state.blocking_by_sti || state.blocking_by_mov_ss) flags |= kInhibitIrq;
  return flags;
}

uint64_t code_mode(const CpuState& state, uint32_t hidden_flags) {
  constexpr uint64_t kMultiplier = 0x9e3779b97f4a7c15;
  uint64_t number =
      (hidden_flags & (kCode32 | kCode64 | kProtected)) | (state.rflags & vmx::rflags::kVm);
  const auto alignment = [&state](size_t i) { return state.segment[i].base & 15; };
  if (state.code_64bit())
    return (number ^ alignment(vmx::kFs) << 32 ^ alignment(vmx::kGs) << 36) * kMultiplier;
  for (size_t i = vmx::kEs; i <= vmx::kGs; ++i) {
    const Segment& segment = state.segment[i];
    const uint64_t part =
        alignment(i) | uint64_t{segment.limit} << 32 | uint64_t{segment.rights.value} << 8;
    number = (number ^ part) * kMultiplier;
  }
  return number;
}

void write_vmcb(uint8_t* vmcb, const CpuState& state) {
  std::memset(vmcb, 0, 0x1000);
  put<uint64_t>(vmcb, 0x00, ~0ull);  // CR0-15 and DR0-15, reads and writes
  put<uint32_t>(vmcb, 0x08, ~0u);    // all exceptions
  put<uint64_t>(vmcb, 0x0c, kIntercepts);
  put<uint64_t>(vmcb, 0x40, kIoBitmap);
  put<uint64_t>(vmcb, 0x48, kMsrBitmap);
  put<uint32_t>(vmcb, 0x58, 1);  // guest ASID
  put_segment(vmcb, 0x400, state.segment[vmx::kEs]);
  put_segment(vmcb, 0x410, state.segment[vmx::kCs]);
  put_segment(vmcb, 0x420, state.segment[vmx::kSs]);
  put_segment(vmcb, 0x430, state.segment[vmx::kDs]);
  put<uint32_t>(vmcb, 0x464, state.gdtr.limit);
  put<uint64_t>(vmcb, 0x468, state.gdtr.base);
  put<uint32_t>(vmcb, 0x484, state.idtr.limit);
  put<uint64_t>(vmcb, 0x488, state.idtr.base);
  put<uint64_t>(vmcb, 0x4d0, engine_efer(state));
  put<uint64_t>(vmcb, 0x548, engine_cr4(state));
  put<uint64_t>(vmcb, 0x558, engine_cr0(state));
  put<uint64_t>(vmcb, 0x560, 0x400);       // DR7
  put<uint64_t>(vmcb, 0x568, 0xffff0ff0);  // DR6
  put<uint64_t>(vmcb, 0x570, state.rflags);
  put<uint64_t>(vmcb, 0x578, state.rip);
  put<uint64_t>(vmcb, 0x5d8, state.gpr[vmx::kRsp]);
  put<uint64_t>(vmcb, 0x5f8, state.gpr[vmx::kRax]);
}

}  // namespace nestor::emu::svm
