// SPDX-License-Identifier: GPL-2.0-or-later
//
// The fields of the VMCS: encodings, names, widths, types, and when they exist ("Field Encoding
// in VMCS"; "VMREAD, VMWRITE, and Encodings of VMCS Fields").
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

#include "vmx/controls.h"

namespace nestor::vmx {

// By encoding, with access type "full".
enum class Field : uint16_t {
#define NESTOR_VMCS_FIELD(enumerator, encoding, name, condition) enumerator = encoding,
#include "vmx/fields.inc"
#undef NESTOR_VMCS_FIELD
};

// Encoding bits 14:13.
enum class FieldWidth : uint8_t { k16 = 0, k64 = 1, k32 = 2, kNatural = 3 };
// Encoding bits 11:10.
enum class FieldType : uint8_t {
  kControl = 0,
  kVmExitInformation = 1,
  kGuestState = 2,
  kHostState = 3
};

constexpr uint32_t encoding_of(Field field) { return static_cast<uint32_t>(field); }
constexpr FieldWidth width_of(Field field) {
  return static_cast<FieldWidth>((encoding_of(field) >> 13) & 3);
}
constexpr FieldType type_of(Field field) {
  return static_cast<FieldType>((encoding_of(field) >> 10) & 3);
}
// Encoding bits 9:1; the largest one in use is what IA32_VMX_VMCS_ENUM reports.
constexpr uint32_t index_of(Field field) { return (encoding_of(field) >> 1) & 0x1ff; }
constexpr unsigned bits_of(Field field) {
  constexpr unsigned kBits[] = {16, 64, 32, 64};
  return kBits[static_cast<unsigned>(width_of(field))];
}
constexpr uint64_t value_mask(Field field) { return ~uint64_t{0} >> (64 - bits_of(field)); }

// The field exists if one of the requirements that are not empty is met, or if both are empty.
struct FieldCondition {
  ControlRequirement first, second;
  constexpr bool always() const { return first.any_of == 0 && second.any_of == 0; }
};

struct FieldInfo {
  Field field{};
  std::string_view name;        // as the SDM prints it, without "(full)"
  std::string_view identifier;  // the enumerator without its k: "GuestCr0"
  FieldCondition condition;
};

namespace fields_internal {
inline constexpr FieldCondition kAlways{};
template <Control C>
constexpr FieldCondition when(C control) {
  return {requires_control(control), {}};
}
template <Control C, Control D>
constexpr FieldCondition when(C first, D second) {
  return {requires_control(first), requires_control(second)};
}
constexpr auto make_table() {
  return std::to_array<FieldInfo>({
#define NESTOR_VMCS_FIELD(enumerator, encoding, name, condition) \
  {Field::enumerator, name, std::string_view(#enumerator).substr(1), condition},
#include "vmx/fields.inc"
#undef NESTOR_VMCS_FIELD
  });
}
}  // namespace fields_internal

// Every field, in the order of the encodings.
inline constexpr auto kFields = fields_internal::make_table();
inline constexpr size_t kFieldCount = kFields.size();

// Where a field stands in kFields, and in whatever is stored per field.
using FieldSlot = uint8_t;
inline constexpr FieldSlot kNoField = 0xff;

namespace fields_internal {
inline constexpr uint32_t kMaxIndex = 63;
constexpr size_t key(uint32_t encoding) {
  return ((encoding >> 10 & 3) | (encoding >> 11 & 0xc)) << 6 | (encoding >> 1 & 0x3f);
}
constexpr auto make_slots() {
  std::array<FieldSlot, 1024> slots{};
  slots.fill(kNoField);
  for (size_t i = 0; i < kFields.size(); ++i)
    slots[key(encoding_of(kFields[i].field))] = static_cast<FieldSlot>(i);
  return slots;
}
inline constexpr auto kSlots = make_slots();
constexpr bool table_is_sound() {
  for (size_t i = 0; i < kFields.size(); ++i) {
    const uint32_t encoding = encoding_of(kFields[i].field);
    if (index_of(kFields[i].field) > kMaxIndex || (encoding & ~0x6ffeu) != 0) return false;
    if (i > 0 && encoding <= encoding_of(kFields[i - 1].field)) return false;
    if (kSlots[key(encoding)] != i) return false;
  }
  return true;
}
}  // namespace fields_internal

static_assert(kFieldCount < kNoField);
static_assert(fields_internal::table_is_sound());

constexpr FieldSlot slot_of(Field field) {
  return fields_internal::kSlots[fields_internal::key(encoding_of(field))];
}
constexpr const FieldInfo& info_of(Field field) { return kFields[slot_of(field)]; }

// What a 32-bit encoding in an operand of VMREAD or VMWRITE means.
struct FieldAccess {
  Field field{};
  bool high = false;  // bits 63:32 of a 64-bit field
};
// std::nullopt: no field that the SDM defines has this encoding. Whether the processor has the
// field is for Capabilities::has_field.
constexpr std::optional<FieldAccess> decode_field(uint32_t encoding) {
  if ((encoding & ~0x6fffu) != 0 || (encoding >> 1 & 0x1ff) > fields_internal::kMaxIndex)
    return std::nullopt;
  const FieldSlot slot = fields_internal::kSlots[fields_internal::key(encoding)];
  if (slot == kNoField) return std::nullopt;
  const Field field = kFields[slot].field;
  const bool high = encoding & 1;
  if (high && width_of(field) != FieldWidth::k64) return std::nullopt;
  return FieldAccess{field, high};
}

// By the SDM's name or by the identifier; exact. std::nullopt: there is none.
std::optional<Field> find_field(std::string_view name);

std::string_view width_name(FieldWidth width);  // "16-bit", "64-bit", "32-bit", "natural-width"
std::string_view type_name(FieldType type);     // "control", "VM-exit information", ...

// Where the field group of a segment register starts; `segment` is vmx::SegmentRegister (ES..TR).
constexpr Field guest_selector(uint8_t segment) {
  return static_cast<Field>(encoding_of(Field::kGuestEsSelector) + 2u * segment);
}
constexpr Field guest_limit(uint8_t segment) {
  return static_cast<Field>(encoding_of(Field::kGuestEsLimit) + 2u * segment);
}
constexpr Field guest_access_rights(uint8_t segment) {
  return static_cast<Field>(encoding_of(Field::kGuestEsAccessRights) + 2u * segment);
}
constexpr Field guest_base(uint8_t segment) {
  return static_cast<Field>(encoding_of(Field::kGuestEsBase) + 2u * segment);
}
static_assert(guest_selector(7) == Field::kGuestTrSelector);
static_assert(guest_limit(7) == Field::kGuestTrLimit);
static_assert(guest_access_rights(7) == Field::kGuestTrAccessRights);
static_assert(guest_base(7) == Field::kGuestTrBase);

}  // namespace nestor::vmx
