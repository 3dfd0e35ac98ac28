// SPDX-License-Identifier: GPL-2.0-or-later
//
// What only a processor with more controls than Nestor's has: VMCS shadowing, state for IA32_XSS,
// ENCLS, EPT with five levels.
#include "tests/vmx/vmx_fixture.h"

namespace nestor::vmx::test {
namespace {

class WiderCapabilities : public VmxTest {
 protected:
  static constexpr uint64_t kVmreadBitmap = 0xc000, kVmwriteBitmap = 0xd000;

  static Capabilities widened() {
    Capabilities c = default_capabilities();
    c.secondary |= SecondaryProcBased::kVmcsShadowing | SecondaryProcBased::kEnableEnclsExiting;
    c.ept_vpid |= ept_vpid_cap::kWalkLength5;
    return c;
  }
  WiderCapabilities() : VmxTest(widened()) {}

  void start_with_shadow() {
    prepare();
    cpu.poke(kOtherVmcs, capabilities.revision_id | kShadowVmcsIndicator);
    ASSERT_EQ(vmptrld(kOtherVmcs), "succeed");
    set(Field::kGuestRsp, 0x77);
    EXPECT_EQ(vmlaunch(), "fail invalid") << "a shadow VMCS cannot be entered";
    ASSERT_EQ(vmptrld(kVmcsRegion), "succeed");
    enable(SecondaryProcBased::kVmcsShadowing);
    set(Field::kVmreadBitmap, kVmreadBitmap);
    set(Field::kVmwriteBitmap, kVmwriteBitmap);
    set(Field::kVmcsLinkPointer, kOtherVmcs);
    ASSERT_EQ(vmlaunch(), "transfer");
    ASSERT_TRUE(vmx.in_non_root());
  }
};

TEST_F(WiderCapabilities, ShadowVmcsInNonRootOperation) {
  start_with_shadow();
  EXPECT_EQ(vmread(encoding_of(Field::kGuestRsp)), "succeed");
  EXPECT_EQ(cpu.cpu.gpr[kRax], 0x77u);
  EXPECT_EQ(vmwrite(encoding_of(Field::kGuestRsp), 0x88), "succeed");
  EXPECT_EQ(vmread(encoding_of(Field::kGuestRsp)), "succeed");
  EXPECT_EQ(cpu.cpu.gpr[kRax], 0x88u);
  EXPECT_EQ(vmread(0x7ffe), "fail 12");
  EXPECT_EQ(get(Field::kGuestRsp), kGuestRsp) << "the current VMCS is another";
  cpu.cpu.segment[kSs].rights.value |= 0x60;
  EXPECT_EQ(vmread(encoding_of(Field::kGuestRsp)), "#13(0)");
  cpu.cpu.segment[kSs].rights.value &= ~0x60u;
  vmx.triple_fault_exits();
  ASSERT_EQ(vmptrld(kOtherVmcs), "succeed");
  EXPECT_EQ(get(Field::kGuestRsp), 0x88u);
}

TEST_F(WiderCapabilities, ShadowingBitmaps) {
  start_with_shadow();
  const uint32_t encoding = encoding_of(Field::kGuestRsp);
  cpu.poke(kVmreadBitmap + encoding / 8, static_cast<uint8_t>(1u << encoding % 8));
  EXPECT_EQ(vmread(encoding), "transfer");
  expect_exit(ExitReason::kVmread);
  resume();
  EXPECT_EQ(vmwrite(encoding, 1), "succeed");
  EXPECT_EQ(vmwrite(encoding | 0x8000, 1), "transfer") << "beyond bit 14";
  expect_exit(ExitReason::kVmwrite);
  resume();
  cpu.poke(kVmwriteBitmap + encoding / 8, static_cast<uint8_t>(1u << encoding % 8));
  EXPECT_EQ(vmwrite(encoding, 1), "transfer");
}

TEST_F(WiderCapabilities, EptpSwitchingKeepsTheWalkLength) {
  prepare();
  enable(SecondaryProcBased::kEnableEpt);
  enable(SecondaryProcBased::kEnableVmFunctions);
  set(Field::kEptPointer, kEpt);
  set(Field::kVmFunctionControls, 1);
  set(Field::kEptpListAddress, kEptpList);
  cpu.poke(kEptpList, uint64_t{0x20026});  // valid, but five levels
  ASSERT_EQ(vmlaunch(), "transfer");
  cpu.cpu.gpr[kRax] = cpu.cpu.gpr[kRcx] = 0;
  EXPECT_EQ(word(vmx.vmfunc(no_operand())), "transfer");
  expect_exit(ExitReason::kVmfunc);
  set(Field::kEptPointer, 0x10026);
  resume();
  cpu.cpu.gpr[kRax] = 0;
  EXPECT_TRUE(std::holds_alternative<Completed>(vmx.vmfunc(no_operand())));
  EXPECT_EQ(vmx.eptp(), 0x20026u);
}

TEST_F(WiderCapabilities, XsavesFollowsTheExitingBitmap) {
  prepare();
  ASSERT_EQ(vmlaunch(), "transfer");
  EXPECT_FALSE(vmx.xsaves_enabled());
  vmx.triple_fault_exits();
  enable(SecondaryProcBased::kEnableXsavesXrstors);
  set(Field::kXssExitingBitmap, 0x1'0000'0100);
  cpu.msrs[0xda0] = 0x1'0000'0000;
  resume();
  EXPECT_TRUE(vmx.xsaves_enabled());
  cpu.cpu.gpr[kRax] = 0x100;
  cpu.cpu.gpr[kRdx] = 0;
  InstructionContext c = with_memory(0x100);
  c.displacement = 0x10;
  EXPECT_FALSE(vmx.instruction_exits(ExitReason::kXsaves, c)) << "not in IA32_XSS";
  cpu.cpu.gpr[kRdx] = 1;
  EXPECT_TRUE(vmx.instruction_exits(ExitReason::kXsaves, c));
  EXPECT_EQ(get(Field::kExitQualification), 0x10u);
}

TEST_F(WiderCapabilities, EnclsFollowsTheExitingBitmap) {
  prepare();
  enable(SecondaryProcBased::kEnableEnclsExiting);
  set(Field::kEnclsExitingBitmap, 1ull << 63 | 1ull << 5);
  ASSERT_EQ(vmlaunch(), "transfer");
  const auto encls = [&](uint64_t leaf) {
    cpu.cpu.gpr[kRax] = leaf;
    const bool exits = vmx.instruction_exits(ExitReason::kEncls, no_operand());
    if (exits) resume();
    return exits;
  };
  EXPECT_FALSE(encls(4));
  EXPECT_TRUE(encls(5));
  EXPECT_FALSE(encls(62));
  EXPECT_TRUE(encls(63));
  EXPECT_TRUE(encls(1000));
}

}  // namespace
}  // namespace nestor::vmx::test
