// SPDX-License-Identifier: GPL-2.0-or-later
//
// A segment register of the guest-state area, as the checks on it look at it.
#pragma once

#include "vmx/checks/predicates.h"

namespace nestor::vmx::checks {

// The segment register to which a selector, base, limit or access-rights field belongs: ES to TR.
constexpr uint8_t segment_of(Field field) {
  const uint32_t index = index_of(field);
  switch (width_of(field)) {
    case FieldWidth::k16:
      return static_cast<uint8_t>(index);
    case FieldWidth::k32: {
      constexpr uint32_t kFirstRights = index_of(Field::kGuestEsAccessRights);
      return static_cast<uint8_t>(index >= kFirstRights ? index - kFirstRights : index);
    }
    default:
      return static_cast<uint8_t>(index - index_of(Field::kGuestEsBase));
  }
}
static_assert(segment_of(Field::kGuestTrSelector) == kTr);
static_assert(segment_of(Field::kGuestCsLimit) == kCs);
static_assert(segment_of(Field::kGuestLdtrAccessRights) == kLdtr);
static_assert(segment_of(Field::kGuestGsBase) == kGs);

inline uint64_t selector(Context c, uint8_t segment) { return c[guest_selector(segment)]; }
inline AccessRights rights(Context c, uint8_t segment) {
  return {static_cast<uint32_t>(c[guest_access_rights(segment)])};
}

inline bool v86(Context c, Field) { return virtual_8086_guest(c); }
// The register of `field` is usable.
inline bool usable(Context c, Field field) { return !rights(c, segment_of(field)).unusable(); }

// Checks on the access rights of any register; they take its access-rights field.
inline bool present(Context c, Field field) { return (c[field] & 0x80) != 0; }
inline bool limit_low_fits(Context c, Field field) {
  return !rights(c, segment_of(field)).granularity() ||
         (c[guest_limit(segment_of(field))] & 0xfff) == 0xfff;
}
inline bool limit_high_fits(Context c, Field field) {
  return rights(c, segment_of(field)).granularity() ||
         (c[guest_limit(segment_of(field))] >> 20) == 0;
}

inline constexpr std::string_view kGuestSegments = "Checks on Guest Segment Registers";
inline constexpr std::string_view kPresentText = "bit 7 (P) must be 1";
inline constexpr std::string_view kReservedLowText = "bits 11:8 must be 0";
inline constexpr std::string_view kReservedHighText = "bits 31:17 must be 0";
inline constexpr std::string_view kLimitLowText =
    "bit 15 (G) must be 0 if a bit of the limit's bits 11:0 is 0";
inline constexpr std::string_view kLimitHighText =
    "bit 15 (G) must be 1 if a bit of the limit's bits 31:20 is 1";

}  // namespace nestor::vmx::checks
