// SPDX-License-Identifier: GPL-2.0-or-later
#include "vmx/capabilities.h"

#include <gtest/gtest.h>

namespace nestor::vmx {
namespace {

TEST(Capabilities, Basic) {
  const Capabilities c = nestor_capabilities();
  const uint64_t basic = c.msr(0x480).value();
  EXPECT_EQ(basic & 0x7fffffff, c.revision_id);
  EXPECT_EQ(basic >> 31 & 1, 0u);
  EXPECT_EQ(basic >> 32 & 0x1fff, 4096u);
  EXPECT_EQ(basic >> 48 & 1, 0u);    // addresses are as wide as physical addresses
  EXPECT_EQ(basic >> 50 & 0xf, 6u);  // write-back
  EXPECT_EQ(basic >> 54 & 1, 1u);    // INS and OUTS report instruction information
  EXPECT_EQ(basic >> 55 & 1, 1u);    // TRUE controls
}

// Allowed 0-settings in bits 31:0, allowed 1-settings in bits 63:32.
TEST(Capabilities, ControlMsrs) {
  const Capabilities c = nestor_capabilities();
  EXPECT_EQ(c.msr(0x481), 0x000000ff'00000016);
  EXPECT_EQ(c.msr(0x48d), 0x000000ff'00000016);
  EXPECT_EQ(c.msr(0x482), 0xfff9fffe'0401e172);
  EXPECT_EQ(c.msr(0x48e), 0xfff9fffe'04006172);
  EXPECT_EQ(c.msr(0x483), 0x007fffff'00036dff);
  EXPECT_EQ(c.msr(0x48f), 0x007fffff'00036dfb);
  EXPECT_EQ(c.msr(0x484), 0x0000f3ff'000011ff);
  EXPECT_EQ(c.msr(0x490), 0x0000f3ff'000011fb);
  EXPECT_EQ(c.msr(0x48b), 0x02d77fff'00000000);
  EXPECT_EQ(c.msr(0x491), 1u);  // EPTP switching
}

TEST(Capabilities, WhatIsOfferedByDefault) {
  const Capabilities c = nestor_capabilities();
  EXPECT_TRUE(c.offers(PinBased::kActivatePreemptionTimer));
  EXPECT_TRUE(c.offers(PinBased::kProcessPostedInterrupts));
  EXPECT_TRUE(c.offers(PrimaryProcBased::kCr3LoadExiting));
  EXPECT_TRUE(c.offers(PrimaryProcBased::kUseTprShadow));
  EXPECT_TRUE(c.offers(PrimaryProcBased::kMonitorTrapFlag));
  EXPECT_FALSE(c.offers(PrimaryProcBased::kActivateTertiaryControls));
  EXPECT_TRUE(c.offers(SecondaryProcBased::kUnrestrictedGuest));
  EXPECT_TRUE(c.offers(SecondaryProcBased::kEnableXsavesXrstors));
  EXPECT_TRUE(c.offers(VmExitControl::kLoadPerfGlobalCtrl));
  EXPECT_TRUE(c.offers(VmEntryControl::kLoadPerfGlobalCtrl));
  EXPECT_TRUE(c.offers(VmExitControl::kSavePreemptionTimerValue));
  EXPECT_FALSE(c.offers(VmEntryControl::kEntryToSmm));
  EXPECT_TRUE(c.offers(VmEntryControl::kLoadEfer));
}

TEST(Capabilities, OfferingMoreTakesABit) {
  Capabilities c = nestor_capabilities();
  const uint64_t before = c.msr(0x48b).value();
  EXPECT_FALSE(c.has_field(Field::kEnclsExitingBitmap));
  c.secondary |= mask(SecondaryProcBased::kEnableEnclsExiting);
  EXPECT_TRUE(c.offers(SecondaryProcBased::kEnableEnclsExiting));
  EXPECT_TRUE(c.has_field(Field::kEnclsExitingBitmap));
  EXPECT_EQ(c.msr(0x48b), before | 0x00008000'00000000);
}

TEST(Capabilities, MsrsThatDoNotExist) {
  Capabilities c = nestor_capabilities();
  for (const uint32_t index : {0x47fu, 0x492u, 0x493u, 0x494u, 0u, 0xffffffffu})
    EXPECT_EQ(c.msr(index), std::nullopt) << std::hex << index;
  for (uint32_t index = 0x480; index <= 0x491; ++index) EXPECT_TRUE(c.msr(index)) << index;

  c.primary.offered |= mask(PrimaryProcBased::kActivateTertiaryControls);
  c.tertiary = mask(TertiaryProcBased::kIpiVirtualization);
  c.exit.offered |= mask(VmExitControl::kActivateSecondaryControls);
  c.secondary_exit = 8;
  c.secondary &= ~mask(SecondaryProcBased::kEnableVmFunctions);
  EXPECT_EQ(c.msr(0x491), std::nullopt);
  EXPECT_EQ(c.msr(0x492), 0x10u);
  EXPECT_EQ(c.msr(0x493), 8u);

  c.primary.offered &= ~mask(PrimaryProcBased::kActivateSecondaryControls);
  EXPECT_EQ(c.msr(0x48b), std::nullopt);
}

TEST(Capabilities, Misc) {
  const Capabilities c = nestor_capabilities();
  const uint64_t misc = c.msr(0x485).value();
  EXPECT_EQ(misc & 0x1f, 5u);         // the preemption timer counts with bit 5 of the TSC
  EXPECT_EQ(misc >> 5 & 1, 1u);       // VM exits store EFER.LMA
  EXPECT_EQ(misc >> 6 & 7, 7u);       // HLT, shutdown and wait-for-SIPI
  EXPECT_EQ(misc >> 16 & 0x1ff, 4u);  // CR3-target values
  EXPECT_EQ(misc >> 25 & 7, 0u);      // MSR lists of 512
  EXPECT_EQ(misc >> 29 & 1, 1u);      // VMWRITE to any field
  EXPECT_EQ(misc >> 30 & 1, 1u);      // injection with instruction length 0
  Capabilities more = c;
  more.msr_list_size = 2048;
  more.misc &= ~vmx_misc::kWaitForSipi;
  EXPECT_EQ(more.msr(0x485).value() >> 25 & 7, 3u);
  EXPECT_EQ(more.msr(0x485).value() >> 6 & 7, 3u);
}

TEST(Capabilities, EptAndVpid) {
  const uint64_t cap = nestor_capabilities().msr(0x48c).value();
  // Execute-only, page-walk length 4, UC, WB, 2 MiB, 1 GiB, INVEPT of both types, A/D flags,
  // advanced VM-exit information for EPT violations, INVVPID of all types.
  EXPECT_EQ(cap, 0x00000f01'067341c1u);
}

TEST(Capabilities, FixedBitsOfControlRegisters) {
  const Capabilities c = nestor_capabilities();
  EXPECT_EQ(c.msr(0x486), 0x80000021u);
  EXPECT_EQ(c.msr(0x487), 0xffffffffu);
  EXPECT_EQ(c.msr(0x488), 0x2000u);
  EXPECT_EQ(c.msr(0x489), c.registers.cr4_writable);
  EXPECT_EQ(c.cr0_violations(0x80000021), 0u);
  EXPECT_EQ(c.cr0_violations(0x80000001), 0x20u);
  EXPECT_EQ(c.cr0_violations(0x1'80000021), uint64_t{1} << 32);
  EXPECT_EQ(c.cr4_violations(0x2000), 0u);
  EXPECT_EQ(c.cr4_violations(0), 0x2000u);
  EXPECT_EQ(c.cr4_violations(0x2000 | 1u << 15), 1u << 15);
}

// IA32_VMX_VMCS_ENUM: the highest index of the fields that exist.
TEST(Capabilities, VmcsEnum) {
  for (const bool more : {false, true}) {
    Capabilities c = nestor_capabilities();
    if (more) {
      c.primary.offered |= mask(PrimaryProcBased::kActivateTertiaryControls);
      c.tertiary = mask(TertiaryProcBased::kVirtualizeSpecCtrl);
    }
    uint64_t highest = 0;
    for (uint32_t encoding = 0; encoding < 0x8000; encoding += 2)
      if (const auto access = decode_field(encoding); access && c.has_field(access->field))
        highest = std::max<uint64_t>(highest, encoding >> 1 & 0x1ff);
    EXPECT_EQ(c.msr(0x48a), highest << 1);
    EXPECT_EQ(highest, more ? 0x26u : 0x19u);  // IA32_SPEC_CTRL shadow; TSC multiplier
  }
}

TEST(Capabilities, CanonicalAddresses) {
  RegisterRules rules;
  for (const unsigned width : {48u, 57u}) {
    rules.linear_address_width = static_cast<uint8_t>(width);
    const uint64_t top = uint64_t{1} << (width - 1);
    EXPECT_TRUE(rules.canonical(0));
    EXPECT_TRUE(rules.canonical(top - 1));
    EXPECT_FALSE(rules.canonical(top));
    EXPECT_FALSE(rules.canonical(~uint64_t{0} - top));
    EXPECT_TRUE(rules.canonical(~uint64_t{0} - top + 1));
    EXPECT_TRUE(rules.canonical(~uint64_t{0}));
    // Bit N-1 is free.
    EXPECT_TRUE(rules.nearly_canonical(top));
    EXPECT_TRUE(rules.nearly_canonical(~uint64_t{0} - top));
    EXPECT_FALSE(rules.nearly_canonical(top << 1));
  }
}

}  // namespace
}  // namespace nestor::vmx
