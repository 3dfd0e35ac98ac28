// SPDX-License-Identifier: GPL-2.0-or-later
#include "vmx/vmcs.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <memory>

namespace nestor::vmx {
namespace {

using Region = std::array<uint8_t, kVmcsRegionSize>;

Capabilities all_fields() {
  Capabilities c = nestor_capabilities();
  c.pin.offered = c.primary.offered = c.secondary = c.exit.offered = c.entry.offered = 0xffffffff;
  c.tertiary = c.secondary_exit = c.vm_functions = ~uint64_t{0};
  c.misc &= ~vmx_misc::kVmwriteAnyField;
  return c;
}

Vmcs filled() {
  Vmcs vmcs;
  vmcs.revision_id = 0x1234567;
  for (size_t i = 0; i < kFieldCount; ++i)
    vmcs.write(kFields[i].field, 0x0123456789abcdef * (i + 1));
  return vmcs;
}

TEST(Vmcs, AWriteChangesOneFieldWithinItsWidth) {
  for (const FieldInfo& info : kFields) {
    Vmcs vmcs;
    vmcs.write(info.field, ~uint64_t{0});
    for (const FieldInfo& other : kFields)
      EXPECT_EQ(vmcs[other.field], other.field == info.field ? value_mask(info.field) : 0)
          << info.name << " " << other.name;
  }
}

TEST(Vmcs, VmreadAndVmwriteOfEveryField) {
  const Capabilities capabilities = all_fields();
  for (const FieldInfo& info : kFields) {
    Vmcs vmcs;
    const uint32_t encoding = encoding_of(info.field);
    const bool writable = type_of(info.field) != FieldType::kVmExitInformation;
    EXPECT_EQ(vmcs.vmwrite(encoding, 0x1122334455667788, capabilities),
              writable ? Vmcs::WriteResult::kOk : Vmcs::WriteResult::kReadOnly);
    const uint64_t expected = writable ? 0x1122334455667788 & value_mask(info.field) : 0;
    EXPECT_EQ(vmcs.vmread(encoding, capabilities), expected) << info.name;
    if (width_of(info.field) == FieldWidth::k64) {
      EXPECT_EQ(vmcs.vmread(encoding | 1, capabilities), expected >> 32) << info.name;
      vmcs.vmwrite(encoding | 1, 0xffffffff'99aabbcc, capabilities);
      EXPECT_EQ(vmcs.vmread(encoding, capabilities), writable ? 0x99aabbcc55667788 : 0)
          << info.name;
    } else {
      EXPECT_EQ(vmcs.vmread(encoding | 1, capabilities), std::nullopt) << info.name;
      EXPECT_EQ(vmcs.vmwrite(encoding | 1, 0, capabilities), Vmcs::WriteResult::kUnsupported);
    }
  }
}

TEST(Vmcs, FieldsOfControlsThatAreNotOfferedDoNotExist) {
  const Capabilities capabilities = nestor_capabilities();
  Vmcs vmcs;
  for (const Field field : {Field::kHostIa32Pkrs, Field::kHlatPointer,
                            Field::kPidPointerTableAddress, Field::kGuestSsp}) {
    ASSERT_FALSE(capabilities.has_field(field)) << info_of(field).name;
    EXPECT_EQ(vmcs.vmread(encoding_of(field), capabilities), std::nullopt);
    EXPECT_EQ(vmcs.vmwrite(encoding_of(field), 1, capabilities), Vmcs::WriteResult::kUnsupported);
    EXPECT_EQ(vmcs[field], 0u);
  }
}

TEST(Vmcs, ReadOnlyFieldsAreWritableIfTheCapabilitySaysSo) {
  Capabilities capabilities = nestor_capabilities();
  capabilities.misc &= ~vmx_misc::kVmwriteAnyField;
  Vmcs vmcs;
  EXPECT_EQ(vmcs.vmwrite(0x4402, 10, capabilities), Vmcs::WriteResult::kReadOnly);
  EXPECT_EQ(vmcs[Field::kExitReason], 0u);
  capabilities.misc |= vmx_misc::kVmwriteAnyField;
  EXPECT_EQ(vmcs.vmwrite(0x4402, 10, capabilities), Vmcs::WriteResult::kOk);
  EXPECT_EQ(vmcs[Field::kExitReason], 10u);
}

TEST(Vmcs, SurvivesMemory) {
  Vmcs vmcs = filled();
  vmcs.shadow = true;
  vmcs.abort_indicator = 4;
  vmcs.launch_state = Vmcs::LaunchState::kLaunched;
  Region region;
  region.fill(0xee);
  vmcs.store(region);
  const Region copy = region;  // as software may copy it
  Vmcs loaded;
  loaded.load(copy);
  EXPECT_EQ(loaded, vmcs);
}

// "Format of the VMCS Region".
TEST(Vmcs, HeaderOfTheRegion) {
  Vmcs vmcs;
  vmcs.revision_id = 0x12345678;
  vmcs.abort_indicator = 0xa1b2c3d4;
  Region region;
  vmcs.store(region);
  EXPECT_TRUE(
      std::equal(region.begin(), region.begin() + 8,
                 std::array<uint8_t, 8>{0x78, 0x56, 0x34, 0x12, 0xd4, 0xc3, 0xb2, 0xa1}.begin()));
  vmcs.shadow = true;
  vmcs.store(region);
  EXPECT_EQ(region[3], 0x92);
}

TEST(Vmcs, ARegionThatOnlyHasARevisionIsClearAndZero) {
  Region region{};
  region[0] = 0x42;
  Vmcs vmcs = filled();
  vmcs.load(region);
  Vmcs expected;
  expected.revision_id = 0x42;
  expected.cleared = false;
  EXPECT_EQ(vmcs, expected);
  EXPECT_EQ(vmcs.launch_state, Vmcs::LaunchState::kClear);
}

TEST(Vmcs, GarbageInTheRegionIsCutToTheWidths) {
  Region region;
  region.fill(0xff);
  Vmcs vmcs;
  vmcs.load(region);
  EXPECT_TRUE(vmcs.shadow);
  EXPECT_EQ(vmcs.revision_id, 0x7fffffffu);
  for (const FieldInfo& info : kFields) EXPECT_EQ(vmcs[info.field], value_mask(info.field));
}

TEST(Vmcs, ControlsOfInactiveGroupsAreZero) {
  Vmcs vmcs;
  vmcs.write(Field::kSecondaryProcBasedControls, 0xffffffff);
  vmcs.write(Field::kTertiaryProcBasedControls, ~uint64_t{0});
  vmcs.write(Field::kSecondaryVmExitControls, ~uint64_t{0});
  vmcs.write(Field::kVmFunctionControls, ~uint64_t{0});
  EXPECT_FALSE(vmcs.has(SecondaryProcBased::kEnableEpt));
  EXPECT_FALSE(vmcs.has(TertiaryProcBased::kIpiVirtualization));
  EXPECT_FALSE(vmcs.has(SecondaryVmExitControl::kPrematurelyBusyShadowStack));
  EXPECT_FALSE(vmcs.has(VmFunction::kEptpSwitching));
  vmcs.write(Field::kPrimaryProcBasedControls, PrimaryProcBased::kActivateSecondaryControls |
                                                   PrimaryProcBased::kActivateTertiaryControls);
  vmcs.write(Field::kVmExitControls, mask(VmExitControl::kActivateSecondaryControls));
  EXPECT_TRUE(vmcs.has(SecondaryProcBased::kEnableEpt));
  EXPECT_TRUE(vmcs.has(TertiaryProcBased::kIpiVirtualization));
  EXPECT_TRUE(vmcs.has(SecondaryVmExitControl::kPrematurelyBusyShadowStack));
  EXPECT_TRUE(vmcs.has(VmFunction::kEptpSwitching));
}

}  // namespace
}  // namespace nestor::vmx
