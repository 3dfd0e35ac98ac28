// SPDX-License-Identifier: GPL-2.0-or-later
//
// "APIC Virtualization and Virtual Interrupts": the virtual-APIC page, and what accesses to it set
// off.
#include <algorithm>
#include <array>

#include "vmx/msr_index.h"
#include "vmx/vmx.h"

namespace nestor::vmx {
namespace {

// Offsets on the virtual-APIC page.
constexpr uint16_t kVtpr = 0x80, kVppr = 0xa0, kVeoi = 0xb0, kVisr = 0x100, kVirr = 0x200,
                   kVicrLow = 0x300, kVicrHigh = 0x310, kSelfIpi = 0x3f0;
constexpr unsigned kWords = 8;  // of 32 vectors in VISR and VIRR

constexpr uint32_t msr_of(uint16_t offset) { return kFirstX2apicMsr + offset / 16u; }
constexpr uint16_t offset_of(uint32_t msr) { return static_cast<uint16_t>((msr & 0xff) << 4); }
constexpr uint16_t word_of(uint16_t set, uint8_t vector) {
  return static_cast<uint16_t>(set | (vector & 0xe0) >> 1);
}
constexpr uint8_t priority_class(uint64_t vector) { return static_cast<uint8_t>(vector >> 4 & 15); }

// "Virtualizing Reads from the APIC-Access Page" and "Determining Whether a Write Access is
// Virtualized": registers at these offsets are virtualized with "APIC-register virtualization".
struct RegisterRange {
  uint16_t first, last;
  bool writable;
};
constexpr RegisterRange kRegisters[] = {
    {0x020, 0x020, true}, {0x030, 0x030, false}, {0x080, 0x080, true}, {0x0b0, 0x0b0, true},
    {0x0d0, 0x0f0, true}, {0x100, 0x270, false}, {0x280, 0x280, true}, {0x300, 0x310, true},
    {0x320, 0x370, true}, {0x380, 0x380, true},  {0x3e0, 0x3e0, true},
};

bool register_virtualized(uint16_t offset, bool write) {
  const auto number = static_cast<uint16_t>(offset & ~0xf);
  return std::ranges::any_of(kRegisters, [&](const RegisterRange& range) {
    return range.first <= number && number <= range.last && (range.writable || !write);
  });
}

// The conditions of "APIC-Write Emulation" for self-IPI virtualization.
bool is_self_ipi(uint32_t icr) {
  constexpr uint32_t kReserved = 0xfff33000, kShorthand = 3u << 18, kSelf = 1u << 18,
                     kTriggerMode = 1u << 15, kDeliveryMode = 7u << 8;
  return !(icr & (kReserved | kTriggerMode | kDeliveryMode)) && (icr & kShorthand) == kSelf &&
         priority_class(icr) != 0;
}

}  // namespace

uint32_t Vmx::virtual_apic(uint16_t offset) const {
  std::array<uint8_t, 4> bytes{};
  cpu_.read_physical({virtual_apic_page() + offset}, bytes);
  return bytes[0] | bytes[1] << 8 | bytes[2] << 16 | uint32_t{bytes[3]} << 24;
}

void Vmx::set_virtual_apic(uint16_t offset, uint32_t value) {
  std::array<uint8_t, 4> bytes{};
  for (size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<uint8_t>(value >> (8 * i));
  cpu_.write_physical({virtual_apic_page() + offset}, bytes);
}

// The highest vector of VISR or VIRR; 0: none.
uint8_t Vmx::highest_virtual(uint16_t set) const {
  for (unsigned word = kWords; word-- > 0;)
    for (unsigned bit = 32, bits = virtual_apic(static_cast<uint16_t>(set + 16 * word));
         bits != 0 && bit-- > 0;)
      if (bits >> bit & 1) return static_cast<uint8_t>(32 * word + bit);
  return 0;
}

void Vmx::change_virtual(uint16_t set, uint8_t vector, bool value) {
  const uint16_t word = word_of(set, vector);
  const uint32_t bit = 1u << (vector & 31), before = virtual_apic(word);
  set_virtual_apic(word, value ? before | bit : before & ~bit);
}

// "Guest Interrupt Status".
uint8_t Vmx::rvi() const { return static_cast<uint8_t>(field(Field::kGuestInterruptStatus)); }
uint8_t Vmx::svi() const { return static_cast<uint8_t>(field(Field::kGuestInterruptStatus) >> 8); }
void Vmx::set_interrupt_status(uint8_t requesting, uint8_t servicing) {
  vmcs_.write(Field::kGuestInterruptStatus, uint64_t{requesting} | uint64_t{servicing} << 8);
}

bool Vmx::virtual_interrupt_delivery() const {
  return secondary(SecondaryProcBased::kVirtualInterruptDelivery);
}

void Vmx::virtualize_tpr() {
  if (!virtual_interrupt_delivery()) {
    const uint64_t threshold = field(Field::kTprThreshold) & 15;
    if (priority_class(virtual_apic(kVtpr)) < threshold)
      apic_exit_ = ApicExit{ExitReason::kTprBelowThreshold, 0};
    return;
  }
  virtualize_ppr();
  evaluate_virtual_interrupts();
}

void Vmx::virtualize_ppr() {
  const uint32_t tpr = virtual_apic(kVtpr);
  const uint8_t servicing = svi();
  set_virtual_apic(
      kVppr, priority_class(tpr) >= priority_class(servicing) ? tpr & 0xff : servicing & 0xf0u);
}

void Vmx::virtualize_eoi() {
  const uint8_t vector = svi();
  change_virtual(kVisr, vector, false);
  set_interrupt_status(rvi(), highest_virtual(kVisr));
  virtualize_ppr();
  constexpr std::array<Field, 4> kExitBitmaps = {Field::kEoiExitBitmap0, Field::kEoiExitBitmap1,
                                                 Field::kEoiExitBitmap2, Field::kEoiExitBitmap3};
  if (field(kExitBitmaps[vector / 64]) >> (vector % 64) & 1)
    apic_exit_ = ApicExit{ExitReason::kVirtualizedEoi, vector};
  else
    evaluate_virtual_interrupts();
}

void Vmx::virtualize_self_ipi(uint8_t vector) {
  change_virtual(kVirr, vector, true);
  set_interrupt_status(std::max(rvi(), vector), svi());
  evaluate_virtual_interrupts();
}

void Vmx::evaluate_virtual_interrupts() {
  virtual_interrupt_recognized_ = !vmcs_.has(PrimaryProcBased::kInterruptWindowExiting) &&
                                  priority_class(rvi()) > priority_class(virtual_apic(kVppr));
}

// VM entry: "Updating Non-Register State", "VM Exits Induced by the TPR Threshold".
void Vmx::begin_apic_virtualization() {
  if (virtual_interrupt_delivery()) {
    virtualize_ppr();
    evaluate_virtual_interrupts();
  } else if (primary(PrimaryProcBased::kUseTprShadow) &&
             secondary(SecondaryProcBased::kVirtualizeApicAccesses)) {
    virtualize_tpr();
  }
}

bool Vmx::apic_exits() {
  if (!in_non_root_ || !apic_exit_) return false;
  const ActivityState activity = cpu_.state().activity;
  if (activity == ActivityState::kShutdown || activity == ActivityState::kWaitForSipi) return false;
  const ApicExit exit = *apic_exit_;
  event_exit(exit.reason, exit.qualification);
  return true;
}

// "Virtual-Interrupt Delivery".
Event Vmx::take_virtual_interrupt() {
  const uint8_t vector = rvi();
  change_virtual(kVisr, vector, true);
  set_virtual_apic(kVppr, vector & 0xf0u);
  change_virtual(kVirr, vector, false);
  set_interrupt_status(highest_virtual(kVirr), vector);
  virtual_interrupt_recognized_ = false;
  return Event{EventType::kExternalInterrupt, vector, std::nullopt, 0, 0};
}

// "Posted-Interrupt Processing".
void Vmx::process_posted_interrupts() {
  const uint64_t descriptor = field(Field::kPostedInterruptDescriptorAddress);
  constexpr uint64_t kRequests = 32, kOutstanding = 1;
  std::array<uint8_t, kRequests + 1> bytes{};
  cpu_.read_physical({descriptor}, bytes);
  cpu_.end_of_interrupt();
  uint8_t highest = 0;
  for (unsigned vector = 0; vector < 8 * kRequests; ++vector) {
    if (!(bytes[vector / 8] >> vector % 8 & 1)) continue;
    highest = static_cast<uint8_t>(vector);
    change_virtual(kVirr, highest, true);
  }
  std::fill_n(bytes.begin(), kRequests, uint8_t{0});
  bytes[kRequests] = static_cast<uint8_t>(bytes[kRequests] & ~kOutstanding);
  cpu_.write_physical({descriptor}, bytes);
  set_interrupt_status(std::max(rvi(), highest), svi());
  evaluate_virtual_interrupts();
}

// --- "Virtualizing CR8-Based TPR Accesses"

std::optional<uint8_t> Vmx::virtual_cr8() const {
  if (!primary(PrimaryProcBased::kUseTprShadow)) return std::nullopt;
  return priority_class(virtual_apic(kVtpr));
}

bool Vmx::write_virtual_cr8(uint64_t value) {
  if (!primary(PrimaryProcBased::kUseTprShadow)) return false;
  set_virtual_apic(kVtpr, static_cast<uint32_t>(value & 15) << 4);
  virtualize_tpr();
  return true;
}

// --- "Virtualizing MSR-Based APIC Accesses"

std::optional<uint64_t> Vmx::read_virtual_apic_msr(uint32_t index) const {
  if (!secondary(SecondaryProcBased::kVirtualizeX2apicMode) || index < kFirstX2apicMsr ||
      index > kLastX2apicMsr)
    return std::nullopt;
  if (index != msr_of(kVtpr) && !secondary(SecondaryProcBased::kApicRegisterVirtualization))
    return std::nullopt;
  const uint16_t offset = offset_of(index);
  return virtual_apic(offset) | uint64_t{virtual_apic(static_cast<uint16_t>(offset + 4))} << 32;
}

std::optional<MsrStatus> Vmx::write_virtual_apic_msr(uint32_t index, uint64_t value) {
  if (!secondary(SecondaryProcBased::kVirtualizeX2apicMode)) return std::nullopt;
  const bool tpr = index == msr_of(kVtpr), eoi = index == msr_of(kVeoi),
             self_ipi = index == msr_of(kSelfIpi);
  if (!tpr && !((eoi || self_ipi) && virtual_interrupt_delivery())) return std::nullopt;
  if (value >> 8 || (eoi && value)) return MsrStatus::kGeneralProtection;
  const uint16_t offset = offset_of(index);
  set_virtual_apic(offset, static_cast<uint32_t>(value));
  set_virtual_apic(static_cast<uint16_t>(offset + 4), 0);
  if (tpr)
    virtualize_tpr();
  else if (eoi)
    virtualize_eoi();
  else if (priority_class(value) != 0)
    virtualize_self_ipi(static_cast<uint8_t>(value));
  else
    apic_exit_ = ApicExit{ExitReason::kApicWrite, kSelfIpi};
  return MsrStatus::kOk;
}

// --- "Virtualizing Memory-Mapped APIC Accesses"

uint64_t Vmx::virtual_apic_page() const { return field(Field::kVirtualApicAddress); }

bool Vmx::is_apic_access_page(uint64_t physical) const {
  return secondary(SecondaryProcBased::kVirtualizeApicAccesses) &&
         (physical ^ field(Field::kApicAccessAddress)) >> 12 == 0;
}

bool Vmx::virtualizes_apic_access(uint16_t offset, unsigned size, bool write) const {
  const unsigned first = offset & 15, last = first + size - 1;
  if (!primary(PrimaryProcBased::kUseTprShadow) || size > 4 || last > 3) return false;
  if (offset == kVtpr) return true;
  if (virtual_interrupt_delivery() && (offset == kVeoi || offset == kVicrLow)) return true;
  return secondary(SecondaryProcBased::kApicRegisterVirtualization) &&
         register_virtualized(offset, write);
}

void Vmx::apic_written(uint16_t offset) {
  switch (offset) {
    case kVtpr:
      set_virtual_apic(kVtpr, virtual_apic(kVtpr) & 0xff);
      virtualize_tpr();
      return;
    case kVeoi:
      if (!virtual_interrupt_delivery()) break;
      set_virtual_apic(kVeoi, 0);
      virtualize_eoi();
      return;
    case kVicrLow: {
      const uint32_t icr = virtual_apic(kVicrLow);
      if (!virtual_interrupt_delivery() || !is_self_ipi(icr)) break;
      virtualize_self_ipi(static_cast<uint8_t>(icr));
      return;
    }
    case kVicrHigh:
    case kVicrHigh + 1:
    case kVicrHigh + 2:
    case kVicrHigh + 3:
      set_virtual_apic(kVicrHigh, virtual_apic(kVicrHigh) & 0xff000000);
      return;
    default:
      break;
  }
  apic_exit_ = ApicExit{ExitReason::kApicWrite, offset};
}

// "Exit Qualification for APIC-Access VM Exits from Linear Accesses and Guest-Physical Accesses".
void Vmx::apic_access(uint16_t offset, ApicAccess access, uint8_t instruction_length) {
  constexpr uint64_t kLinearDuringDelivery = 3, kGuestPhysicalDuringDelivery = 10,
                     kGuestPhysical = 15;
  const auto type = access == ApicAccess::kGuestPhysical
                        ? (vectoring_ ? kGuestPhysicalDuringDelivery : kGuestPhysical)
                        : (vectoring_ ? kLinearDuringDelivery : static_cast<uint64_t>(access));
  // Of a guest-physical access the offset is undefined.
  ExitInformation exit;
  exit.reason = ExitReason::kApicAccess;
  exit.qualification = (access == ApicAccess::kGuestPhysical ? 0u : offset & 0xfffu) | type << 12;
  exit.instruction_length = instruction_length;
  vm_exit(exit);
}

}  // namespace nestor::vmx
