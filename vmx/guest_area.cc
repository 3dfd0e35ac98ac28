// SPDX-License-Identifier: GPL-2.0-or-later
#include "vmx/guest_area.h"

#include "vmx/guest_state_formats.h"

namespace nestor::vmx {
namespace {

struct Register {
  Field field;
  uint64_t CpuState::*member;
};

constexpr Register kAreaRegisters[] = {
    {Field::kGuestCr0, &CpuState::cr0},
    {Field::kGuestCr3, &CpuState::cr3},
    {Field::kGuestCr4, &CpuState::cr4},
    {Field::kGuestDr7, &CpuState::dr7},
    {Field::kGuestIa32Debugctl, &CpuState::debugctl},
    {Field::kGuestIa32Efer, &CpuState::efer},
    {Field::kGuestIa32Pat, &CpuState::pat},
    {Field::kGuestIa32SysenterCs, &CpuState::sysenter_cs},
    {Field::kGuestIa32SysenterEsp, &CpuState::sysenter_esp},
    {Field::kGuestIa32SysenterEip, &CpuState::sysenter_eip},
    {Field::kGuestRip, &CpuState::rip},
    {Field::kGuestRflags, &CpuState::rflags},
    {Field::kGuestPendingDebugExceptions, &CpuState::pending_debug_exceptions},
};

constexpr Field kPdptes[] = {Field::kGuestPdpte0, Field::kGuestPdpte1, Field::kGuestPdpte2,
                             Field::kGuestPdpte3};

}  // namespace

void load_segments(const Vmcs& vmcs, CpuState& state) {
  for (uint8_t i = 0; i < kSegmentCount; ++i) {
    Segment& segment = state.segment[i];
    segment.selector = static_cast<uint16_t>(vmcs[guest_selector(i)]);
    segment.limit = static_cast<uint32_t>(vmcs[guest_limit(i)]);
    segment.base = vmcs[guest_base(i)];
    segment.rights.value =
        static_cast<uint32_t>(vmcs[guest_access_rights(i)]) & kAccessRightsDefined;
  }
  state.gdtr = {vmcs[Field::kGuestGdtrBase], static_cast<uint16_t>(vmcs[Field::kGuestGdtrLimit])};
  state.idtr = {vmcs[Field::kGuestIdtrBase], static_cast<uint16_t>(vmcs[Field::kGuestIdtrLimit])};
}

void store_segments(const CpuState& state, Vmcs& vmcs) {
  for (uint8_t i = 0; i < kSegmentCount; ++i) {
    const Segment& segment = state.segment[i];
    vmcs.write(guest_selector(i), segment.selector);
    vmcs.write(guest_limit(i), segment.limit);
    vmcs.write(guest_access_rights(i), segment.rights.value & kAccessRightsDefined);
    vmcs.write(guest_base(i), segment.base);
  }
  vmcs.write(Field::kGuestGdtrBase, state.gdtr.base);
  vmcs.write(Field::kGuestGdtrLimit, state.gdtr.limit);
  vmcs.write(Field::kGuestIdtrBase, state.idtr.base);
  vmcs.write(Field::kGuestIdtrLimit, state.idtr.limit);
}

void load_guest_area(const Vmcs& vmcs, CpuState& state) {
  for (const Register& r : kAreaRegisters) state.*r.member = vmcs[r.field];
  for (unsigned i = 0; i < state.pdptes.size(); ++i) state.pdptes[i] = vmcs[kPdptes[i]];
  state.gpr[kRsp] = vmcs[Field::kGuestRsp];
  load_segments(vmcs, state);
  state.activity = static_cast<ActivityState>(vmcs[Field::kGuestActivityState]);
  const uint64_t blocking = vmcs[Field::kGuestInterruptibilityState];
  state.blocking_by_sti = (blocking & interruptibility::kBlockingBySti) != 0;
  state.blocking_by_mov_ss = (blocking & interruptibility::kBlockingByMovSs) != 0;
  state.blocking_by_nmi = (blocking & interruptibility::kBlockingByNmi) != 0;
}

void store_guest_area(const CpuState& state, Vmcs& vmcs) {
  for (const Register& r : kAreaRegisters) vmcs.write(r.field, state.*r.member);
  for (unsigned i = 0; i < state.pdptes.size(); ++i) vmcs.write(kPdptes[i], state.pdptes[i]);
  vmcs.write(Field::kGuestRsp, state.gpr[kRsp]);
  store_segments(state, vmcs);
  vmcs.write(Field::kGuestActivityState, static_cast<uint32_t>(state.activity));
  vmcs.write(Field::kGuestInterruptibilityState,
             (state.blocking_by_sti ? interruptibility::kBlockingBySti : 0) |
                 (state.blocking_by_mov_ss ? interruptibility::kBlockingByMovSs : 0) |
                 (state.blocking_by_nmi ? interruptibility::kBlockingByNmi : 0));
}

}  // namespace nestor::vmx
