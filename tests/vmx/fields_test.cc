// SPDX-License-Identifier: GPL-2.0-or-later
#include "vmx/fields.h"

#include <gtest/gtest.h>

#include <set>

namespace nestor::vmx {
namespace {

// "Field Encoding in VMCS", the first and the last of each run of encodings.
struct Known {
  uint32_t encoding;
  std::string_view name;
  unsigned bits;
  FieldType type;
};
constexpr Known kKnown[] = {
    {0x0000, "Virtual-processor identifier (VPID)", 16, FieldType::kControl},
    {0x0004, "EPTP index", 16, FieldType::kControl},
    {0x0800, "Guest ES selector", 16, FieldType::kGuestState},
    {0x080c, "Guest LDTR selector", 16, FieldType::kGuestState},
    {0x080e, "Guest TR selector", 16, FieldType::kGuestState},
    {0x0812, "PML index", 16, FieldType::kGuestState},
    {0x0c00, "Host ES selector", 16, FieldType::kHostState},
    {0x0c0c, "Host TR selector", 16, FieldType::kHostState},
    {0x2000, "Address of I/O bitmap A", 64, FieldType::kControl},
    {0x2010, "TSC offset", 64, FieldType::kControl},
    {0x201a, "EPT pointer (EPTP)", 64, FieldType::kControl},
    {0x2032, "TSC multiplier", 64, FieldType::kControl},
    {0x2400, "Guest-physical address", 64, FieldType::kVmExitInformation},
    {0x2800, "VMCS link pointer", 64, FieldType::kGuestState},
    {0x2806, "Guest IA32_EFER", 64, FieldType::kGuestState},
    {0x2810, "Guest PDPTE3", 64, FieldType::kGuestState},
    {0x2c00, "Host IA32_PAT", 64, FieldType::kHostState},
    {0x2c04, "Host IA32_PERF_GLOBAL_CTRL", 64, FieldType::kHostState},
    {0x4000, "Pin-based VM-execution controls", 32, FieldType::kControl},
    {0x401e, "Secondary processor-based VM-execution controls", 32, FieldType::kControl},
    {0x4022, "PLE_Window", 32, FieldType::kControl},
    {0x4400, "VM-instruction error", 32, FieldType::kVmExitInformation},
    {0x440e, "VM-exit instruction information", 32, FieldType::kVmExitInformation},
    {0x4812, "Guest IDTR limit", 32, FieldType::kGuestState},
    {0x4816, "Guest CS access rights", 32, FieldType::kGuestState},
    {0x482a, "Guest IA32_SYSENTER_CS", 32, FieldType::kGuestState},
    {0x482e, "VMX-preemption timer value", 32, FieldType::kGuestState},
    {0x4c00, "Host IA32_SYSENTER_CS", 32, FieldType::kHostState},
    {0x6000, "CR0 guest/host mask", 64, FieldType::kControl},
    {0x600e, "CR3-target value 3", 64, FieldType::kControl},
    {0x640a, "Guest-linear address", 64, FieldType::kVmExitInformation},
    {0x6818, "Guest IDTR base", 64, FieldType::kGuestState},
    {0x681a, "Guest DR7", 64, FieldType::kGuestState},
    {0x6826, "Guest IA32_SYSENTER_EIP", 64, FieldType::kGuestState},
    {0x6c14, "Host RSP", 64, FieldType::kHostState},
    {0x6c16, "Host RIP", 64, FieldType::kHostState},
};

TEST(Fields, KnownEncodings) {
  for (const Known& known : kKnown) {
    const std::optional<FieldAccess> access = decode_field(known.encoding);
    ASSERT_TRUE(access) << known.name;
    EXPECT_FALSE(access->high);
    EXPECT_EQ(info_of(access->field).name, known.name);
    EXPECT_EQ(bits_of(access->field), known.bits) << known.name;
    EXPECT_EQ(type_of(access->field), known.type) << known.name;
    EXPECT_EQ(find_field(known.name), access->field);
  }
}

// Encodings that stand between those of fields.
TEST(Fields, HolesHaveNoField) {
  for (const uint32_t hole :
       {0x0010u, 0x0816u, 0x0c0eu, 0x203au + 2, 0x2402u, 0x2816u + 4, 0x2c08u, 0x4026u, 0x4410u,
        0x482cu, 0x4c02u, 0x6010u, 0x640cu, 0x682eu, 0x6c1eu})
    EXPECT_FALSE(decode_field(hole)) << std::hex << hole;
}

TEST(Fields, EveryEncodingOf17Bits) {
  size_t full = 0, high = 0, fields64 = 0;
  for (uint32_t encoding = 0; encoding < 0x20000; ++encoding) {
    const std::optional<FieldAccess> access = decode_field(encoding);
    if (!access) continue;
    EXPECT_EQ(encoding_of(access->field) | (access->high ? 1u : 0u), encoding);
    ++(access->high ? high : full);
  }
  for (const FieldInfo& info : kFields) fields64 += width_of(info.field) == FieldWidth::k64;
  EXPECT_EQ(full, kFieldCount);
  EXPECT_EQ(high, fields64);
}

TEST(Fields, HighBitsOfAnEncodingAreReserved) {
  for (unsigned bit = 15; bit < 32; ++bit) EXPECT_FALSE(decode_field(0x6800u | 1u << bit)) << bit;
  EXPECT_FALSE(decode_field(0x6800u | 1u << 12));
}

TEST(Fields, NamesAreUniqueAndFound) {
  std::set<std::string_view> names;
  for (const FieldInfo& info : kFields) {
    EXPECT_TRUE(names.insert(info.name).second) << info.name;
    EXPECT_TRUE(names.insert(info.identifier).second) << info.identifier;
    EXPECT_EQ(find_field(info.name), info.field);
    EXPECT_EQ(find_field(info.identifier), info.field);
    EXPECT_EQ(kFields[slot_of(info.field)].field, info.field);
  }
  EXPECT_FALSE(find_field("Guest CR9"));
  EXPECT_FALSE(find_field(""));
}

TEST(Fields, NamesOfWidthsAndTypes) {
  EXPECT_EQ(width_name(width_of(Field::kGuestCr0)), "natural-width");
  EXPECT_EQ(width_name(width_of(Field::kEptPointer)), "64-bit");
  EXPECT_EQ(type_name(type_of(Field::kExitReason)), "VM-exit information");
  EXPECT_EQ(type_name(type_of(Field::kHostRip)), "host state");
}

TEST(Controls, NamesAreInBitOrderAndDoNotOverlap) {
  for (int group = 0; group < kControlGroupCount; ++group) {
    uint64_t seen = 0;
    for (const ControlName& control : control_names(static_cast<ControlGroup>(group))) {
      EXPECT_GT(control.mask, seen) << control.name;
      EXPECT_EQ(control.mask & (control.mask - 1), 0u) << control.name;
      EXPECT_FALSE(control.name.empty());
      seen |= control.mask;
    }
    EXPECT_NE(seen, 0u);
    EXPECT_TRUE(find_field(control_group_name(static_cast<ControlGroup>(group))))
        << control_group_name(static_cast<ControlGroup>(group));
  }
}

}  // namespace
}  // namespace nestor::vmx
