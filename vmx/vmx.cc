// SPDX-License-Identifier: GPL-2.0-or-later
//
// What controls say about the processor outside of VM entries and VM exits.
#include "vmx/vmx.h"

namespace nestor::vmx {

Vmx::Vmx(const Capabilities& capabilities, Processor& processor, EventSink& sink)
    : capabilities_(capabilities), cpu_(processor), sink_(sink) {}

MsrStatus Vmx::write_feature_control(uint64_t value) {
  if ((feature_control & kFeatureControlLock) ||
      (value & ~(kFeatureControlLock | kFeatureControlVmxOutsideSmx)))
    return MsrStatus::kGeneralProtection;
  feature_control = value;
  return MsrStatus::kOk;
}

void Vmx::lock_feature_control() {
  feature_control = kFeatureControlLock | kFeatureControlVmxOutsideSmx;
}

std::optional<ept::PhysicalAddress> Vmx::current_vmcs_pointer() const {
  if (!has_current_vmcs()) return std::nullopt;
  return ept::PhysicalAddress{current_vmcs_};
}

uint16_t Vmx::vpid() const {
  if (!secondary(SecondaryProcBased::kEnableVpid)) return 0;
  return static_cast<uint16_t>(field(Field::kVirtualProcessorIdentifier));
}

std::optional<uint64_t> Vmx::sub_page_table() const {
  if (!secondary(SecondaryProcBased::kSubPageWritePermissions)) return std::nullopt;
  return field(Field::kSubPagePermissionTablePointer);
}

uint64_t Vmx::tsc_offset() const {
  return primary(PrimaryProcBased::kUseTscOffsetting) ? field(Field::kTscOffset) : 0;
}

uint64_t Vmx::guest_tsc(uint64_t tsc) const {
  if (!primary(PrimaryProcBased::kUseTscOffsetting)) return tsc;
  if (secondary(SecondaryProcBased::kUseTscScaling)) {
    // Bits 111:48 of the 128-bit product, from two products of 96 bits.
    const uint64_t multiplier = field(Field::kTscMultiplier);
    const uint64_t low = (tsc & 0xffffffff), high = tsc >> 32;
    const uint64_t multiplier_low = multiplier & 0xffffffff, multiplier_high = multiplier >> 32;
    const uint64_t bottom = low * multiplier_low;
    const uint64_t middle_a = high * multiplier_low, middle_b = low * multiplier_high;
    const uint64_t middle = (bottom >> 32) + (middle_a & 0xffffffff) + (middle_b & 0xffffffff);
    const uint64_t top =
        high * multiplier_high + (middle_a >> 32) + (middle_b >> 32) + (middle >> 32);
    tsc = top << 16 | (middle & 0xffffffff) >> 16;
  }
  return tsc + field(Field::kTscOffset);
}

std::optional<uint64_t> Vmx::preemption_deadline() const {
  return in_non_root_ ? preemption_deadline_ : std::nullopt;
}

bool Vmx::monitor_trap_flag() const { return primary(PrimaryProcBased::kMonitorTrapFlag); }

bool Vmx::invpcid_enabled() const {
  return !in_non_root_ || secondary(SecondaryProcBased::kEnableInvpcid);
}
bool Vmx::rdtscp_enabled() const {
  return !in_non_root_ || secondary(SecondaryProcBased::kEnableRdtscp);
}
bool Vmx::xsaves_enabled() const {
  return !in_non_root_ || secondary(SecondaryProcBased::kEnableXsavesXrstors);
}

bool Vmx::cr0_allowed(uint64_t value) const {
  if (!in_vmx_operation_) return true;
  uint64_t violations = capabilities_.cr0_violations(value);
  // "Unrestricted Guests": PE and PG may be 0.
  if (secondary(SecondaryProcBased::kUnrestrictedGuest)) violations &= ~(cr0::kPe | cr0::kPg);
  return violations == 0;
}

bool Vmx::cr4_allowed(uint64_t value) const {
  return !in_vmx_operation_ || capabilities_.cr4_violations(value) == 0;
}

uint64_t Vmx::visible_cr0(uint64_t cr0) const {
  if (!in_non_root_) return cr0;
  const uint64_t mask = field(Field::kCr0GuestHostMask);
  return (cr0 & ~mask) | (field(Field::kCr0ReadShadow) & mask);
}

uint64_t Vmx::visible_cr4(uint64_t cr4) const {
  if (!in_non_root_) return cr4;
  const uint64_t mask = field(Field::kCr4GuestHostMask);
  return (cr4 & ~mask) | (field(Field::kCr4ReadShadow) & mask);
}

uint64_t Vmx::cr0_after_clts() const {
  const uint64_t cr0 = cpu_.state().cr0;
  const bool owned_by_host = in_non_root_ && (field(Field::kCr0GuestHostMask) & cr0::kTs);
  return owned_by_host ? cr0 : cr0 & ~cr0::kTs;
}

void Vmx::begin_iret() {
  CpuState& s = cpu_.state();
  bool unblocks = false;
  if (pin(PinBased::kVirtualNmis)) {
    unblocks = virtual_nmi_blocking_;
    virtual_nmi_blocking_ = false;
  } else if (!pin(PinBased::kNmiExiting)) {
    unblocks = in_non_root_ && s.blocking_by_nmi;
    s.blocking_by_nmi = false;
  }
  unblocking_iret_ = unblocks ? std::optional(s.rip) : std::nullopt;
}

}  // namespace nestor::vmx
