// SPDX-License-Identifier: GPL-2.0-or-later
//
// EPT violations that cause an exception in the guest instead of a VM exit ("Virtualization
// Exceptions").
#include <array>
#include <cstring>

#include "vmx/vmx.h"

namespace nestor::vmx {
namespace {

// "Format of the Virtualization-Exception Information Area".
constexpr size_t kReasonOffset = 0, kInUseOffset = 4, kQualificationOffset = 8,
                 kGuestLinearOffset = 16, kGuestPhysicalOffset = 24, kEptpIndexOffset = 32,
                 kAreaSize = 34;
constexpr uint32_t kInUse = 0xffffffff;

template <class T>
void put(std::array<uint8_t, kAreaSize>& area, size_t offset, T value) {
  std::memcpy(area.data() + offset, &value, sizeof value);
}

}  // namespace

// "Convertible EPT Violations". The area is in use until software clears the dword.
std::optional<Event> Vmx::virtualization_exception(uint64_t qualification, uint64_t guest_physical,
                                                   std::optional<uint64_t> linear) {
  if (!secondary(SecondaryProcBased::kEptViolationVe)) return std::nullopt;
  if (!cpu_.state().protected_mode() || vectoring_) return std::nullopt;
  const uint64_t address = field(Field::kVirtualizationExceptionInformationAddress);
  uint32_t in_use = kInUse;
  cpu_.read_physical({address + kInUseOffset},
                     std::span(reinterpret_cast<uint8_t*>(&in_use), sizeof in_use));
  if (in_use != 0) return std::nullopt;

  const ExitInformation exit = ept_violation_information(qualification, guest_physical, linear);
  std::array<uint8_t, kAreaSize> area{};
  put(area, kReasonOffset, static_cast<uint32_t>(exit.reason));
  put(area, kInUseOffset, kInUse);
  put(area, kQualificationOffset, saved_qualification(exit));
  put(area, kGuestLinearOffset, exit.guest_linear.value_or(0));
  put(area, kGuestPhysicalOffset, guest_physical);
  put(area, kEptpIndexOffset, static_cast<uint16_t>(field(Field::kEptpIndex)));
  cpu_.write_physical({address}, area);
  return exception(kVe);
}

}  // namespace nestor::vmx
