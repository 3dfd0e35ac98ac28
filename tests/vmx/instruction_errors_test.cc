// SPDX-License-Identifier: GPL-2.0-or-later
//
// What the VMX instructions do when they succeed, and every VM-instruction error number that a
// processor without dual-monitor treatment of SMIs can give.
#include "tests/vmx/vmx_fixture.h"

namespace nestor::vmx::test {
namespace {

TEST_F(VmxTest, VmfailSetsFlagsFieldAndReports) {
  enter_vmx_operation();
  make_current();
  cpu.cpu.rflags |=
      rflags::kCf | rflags::kPf | rflags::kAf | rflags::kSf | rflags::kOf | rflags::kDf;
  sink.errors.clear();
  EXPECT_EQ(word(vmx.vmcall(no_operand())), "fail 1");
  EXPECT_EQ(cpu.cpu.rflags, rflags::kFixed1 | rflags::kZf | rflags::kDf);
  ASSERT_EQ(sink.errors.size(), 1u);
  EXPECT_EQ(sink.errors[0].instruction, "VMCALL");
  EXPECT_EQ(sink.errors[0].error, 1u);
  EXPECT_EQ(vmread(encoding_of(Field::kVmInstructionError)), "succeed");
  EXPECT_EQ(cpu.cpu.gpr[kRax], 1u);
}

TEST_F(VmxTest, VmclearErrors) {
  enter_vmx_operation();
  EXPECT_EQ(vmclear(kVmcsRegion + 1), "fail invalid");
  make_current();
  EXPECT_EQ(vmclear(kVmcsRegion + 1), "fail 2");
  EXPECT_EQ(vmclear(1ull << capabilities.registers.physical_address_width), "fail 2");
  EXPECT_EQ(vmclear(kVmxonRegion), "fail 3");
}

TEST_F(VmxTest, VmclearOfTheCurrentVmcsWritesItBack) {
  prepare();
  EXPECT_EQ(vmclear(kVmcsRegion), "succeed");
  EXPECT_FALSE(vmx.current_vmcs_pointer());
  EXPECT_EQ(vmread(encoding_of(Field::kGuestRip)), "fail invalid");
  EXPECT_EQ(vmptrld(kVmcsRegion), "succeed");
  EXPECT_EQ(get(Field::kGuestRip), kGuestRip);
}

TEST_F(VmxTest, VmclearOfTheCurrentVmcsClearsItsLaunchState) {
  start();
  vmx.triple_fault_exits();
  ASSERT_EQ(vmclear(kVmcsRegion), "succeed");
  ASSERT_EQ(vmptrld(kVmcsRegion), "succeed");
  EXPECT_EQ(vmresume(), "fail 5");
  EXPECT_EQ(vmlaunch(), "transfer");
}

TEST_F(VmxTest, VmclearOfAnotherVmcsLeavesTheCurrentOne) {
  prepare();
  ASSERT_EQ(vmlaunch(), "transfer");
  vmx.triple_fault_exits();
  make_current(kOtherVmcs);
  EXPECT_EQ(vmresume(), "fail 5");
  EXPECT_EQ(vmclear(kVmcsRegion), "succeed");
  ASSERT_TRUE(vmx.current_vmcs_pointer());
  EXPECT_EQ(vmx.current_vmcs_pointer()->value, kOtherVmcs);
  EXPECT_EQ(vmptrld(kVmcsRegion), "succeed");
  EXPECT_EQ(vmresume(), "fail 5") << "the launch state is clear again";
  EXPECT_EQ(vmlaunch(), "transfer");
}

TEST_F(VmxTest, VmptrldErrors) {
  enter_vmx_operation();
  EXPECT_EQ(vmptrld(kVmcsRegion + 0x10), "fail invalid");
  make_current();
  EXPECT_EQ(vmptrld(kVmcsRegion + 0x10), "fail 9");
  EXPECT_EQ(vmptrld(1ull << capabilities.registers.physical_address_width), "fail 9");
  EXPECT_EQ(vmptrld(kVmxonRegion), "fail 10");
  cpu.poke(kOtherVmcs, capabilities.revision_id + 1);
  EXPECT_EQ(vmptrld(kOtherVmcs), "fail 11");
  cpu.poke(kOtherVmcs, capabilities.revision_id | kShadowVmcsIndicator);
  EXPECT_EQ(vmptrld(kOtherVmcs), "fail 11") << "no VMCS shadowing";
  EXPECT_EQ(vmptrld(0x10000000), "fail 11") << "no memory there";
  EXPECT_EQ(vmx.current_vmcs_pointer()->value, kVmcsRegion) << "failures change nothing";
}

TEST_F(VmxTest, VmptrldOfAnotherVmcsKeepsBoth) {
  prepare();
  make_current(kOtherVmcs);
  EXPECT_EQ(get(Field::kGuestRip), 0u);
  set(Field::kGuestRip, 0x77);
  EXPECT_EQ(vmptrld(kVmcsRegion), "succeed");
  EXPECT_EQ(get(Field::kGuestRip), kGuestRip);
  EXPECT_EQ(vmptrld(kVmcsRegion), "succeed") << "of the current one";
  EXPECT_EQ(get(Field::kGuestRip), kGuestRip);
  EXPECT_EQ(vmptrld(kOtherVmcs), "succeed");
  EXPECT_EQ(get(Field::kGuestRip), 0x77u);
}

TEST_F(VmxTest, VmptrstStoresThePointer) {
  enter_vmx_operation();
  EXPECT_EQ(word(vmx.vmptrst(with_memory(kPointer))), "succeed");
  EXPECT_EQ(cpu.peek<uint64_t>(kPointer), ~0ull);
  make_current();
  EXPECT_EQ(word(vmx.vmptrst(with_memory(kPointer))), "succeed");
  EXPECT_EQ(cpu.peek<uint64_t>(kPointer), kVmcsRegion);
}

TEST_F(VmxTest, VmreadAndVmwriteErrors) {
  enter_vmx_operation();
  EXPECT_EQ(vmread(encoding_of(Field::kGuestRip)), "fail invalid");
  EXPECT_EQ(vmwrite(encoding_of(Field::kGuestRip), 1), "fail invalid");
  make_current();
  EXPECT_EQ(vmread(0x7ffe), "fail 12");
  EXPECT_EQ(vmwrite(0x7ffe, 1), "fail 12");
  EXPECT_EQ(vmread(0x1'0000'0000ull | encoding_of(Field::kGuestRip)), "fail 12");
  EXPECT_EQ(vmwrite(0x1'0000'0000ull | encoding_of(Field::kGuestRip), 1), "fail 12");
  EXPECT_EQ(vmwrite(encoding_of(Field::kExitReason), 1), "fail 13");
}

TEST_F(VmxTest, VmreadAndVmwriteWithMemoryOperands) {
  enter_vmx_operation();
  make_current();
  InstructionContext c = with_memory(kPointer);
  c.reg = kRcx;
  cpu.cpu.gpr[kRcx] = encoding_of(Field::kGuestRsp);
  cpu.poke(kPointer, uint64_t{0x1122334455667788});
  EXPECT_EQ(word(vmx.vmwrite(c)), "succeed");
  EXPECT_EQ(get(Field::kGuestRsp), 0x1122334455667788u);
  cpu.poke(kPointer, uint64_t{0});
  EXPECT_EQ(word(vmx.vmread(c)), "succeed");
  EXPECT_EQ(cpu.peek<uint64_t>(kPointer), 0x1122334455667788u);

  cpu.linear_fault = exception(kPf, 2);
  EXPECT_EQ(word(vmx.vmread(c)), "#14(2)");
  EXPECT_EQ(word(vmx.vmwrite(c)), "#14(2)");
  cpu.cpu.gpr[kRcx] = 0x7ffe;
  EXPECT_EQ(word(vmx.vmread(c)), "fail 12") << "the field is checked before the operand";
  EXPECT_EQ(word(vmx.vmwrite(c)), "#14(2)") << "the operand is read before the field is checked";
}

TEST_F(VmxTest, OperandsHave32BitsOutside64BitMode) {
  enter_vmx_operation();
  make_current();
  set(Field::kGuestRsp, 0x1122334455667788);
  cpu.cpu.efer = 0;
  cpu.cpu.segment[kCs].rights.value = 0xc09b;
  cpu.cpu.gpr[kRax] = ~0ull;
  EXPECT_EQ(vmread(0xffffffff00000000 | encoding_of(Field::kGuestRsp)), "succeed");
  EXPECT_EQ(cpu.cpu.gpr[kRax], 0x55667788u);
  EXPECT_EQ(vmwrite(encoding_of(Field::kGuestRsp), 0xaaaaaaaabbbbbbbb), "succeed");
  EXPECT_EQ(get(Field::kGuestRsp), 0xbbbbbbbbu);

  InstructionContext c = with_memory(kPointer);
  cpu.cpu.gpr[kRax] = encoding_of(Field::kGuestRsp);
  cpu.poke(kPointer, ~uint64_t{0});
  EXPECT_EQ(word(vmx.vmread(c)), "succeed");
  EXPECT_EQ(cpu.peek<uint64_t>(kPointer), 0xffffffffbbbbbbbb);
  cpu.poke(kPointer, ~uint64_t{0});
  EXPECT_EQ(word(vmx.vmwrite(c)), "succeed");
  EXPECT_EQ(get(Field::kGuestRsp), 0xffffffffu);
}

TEST_F(VmxTest, VmlaunchAndVmresumeErrors) {
  enter_vmx_operation();
  EXPECT_EQ(vmlaunch(), "fail invalid");
  EXPECT_EQ(vmresume(), "fail invalid");
  make_current();
  fill();
  cpu.cpu.blocking_by_mov_ss = true;
  EXPECT_EQ(vmresume(), "fail 26") << "before the launch state";
  EXPECT_EQ(vmlaunch(), "fail 26");
  cpu.cpu.blocking_by_mov_ss = false;
  EXPECT_EQ(vmresume(), "fail 5");
  ASSERT_EQ(vmlaunch(), "transfer");
  vmx.triple_fault_exits();
  EXPECT_EQ(vmlaunch(), "fail 4");
  EXPECT_EQ(vmresume(), "transfer");
}

TEST_F(VmxTest, VmEntryWithInvalidControlOrHostState) {
  prepare();
  set(Field::kCr3TargetCount, 5);
  sink.failures.clear();
  EXPECT_EQ(vmlaunch(), "fail 7");
  ASSERT_EQ(sink.failures.size(), 1u);
  EXPECT_EQ(sink.failures[0].field, "CR3-target count");
  EXPECT_EQ(sink.failures[0].value, 5u);
  EXPECT_EQ(sink.errors.back().instruction, "VMLAUNCH");
  set(Field::kCr3TargetCount, 0);

  set(Field::kHostCr0, 0);
  EXPECT_EQ(vmlaunch(), "fail 8");
  EXPECT_EQ(sink.failures.back().field, "Host CR0");
  set(Field::kHostCr0, cpu.cpu.cr0);
  EXPECT_EQ(vmlaunch(), "transfer") << "the launch state was still clear";
}

TEST_F(VmxTest, VmEntryReportsEveryFailedCheckOfTheGroup) {
  prepare();
  set(Field::kHostCsSelector, 0);
  set(Field::kHostTrSelector, 0);
  sink.failures.clear();
  EXPECT_EQ(vmlaunch(), "fail 8");
  EXPECT_EQ(sink.failures.size(), 2u);
}

TEST_F(VmxTest, InveptChecksAndInvalidations) {
  enter_vmx_operation();
  make_current();
  InstructionContext c = with_memory(kPointer);
  c.reg = kRbx;
  const auto invept = [&](uint64_t type, uint64_t eptp) {
    cpu.cpu.gpr[kRbx] = type;
    cpu.poke(kPointer, eptp);
    cpu.invalidations.clear();
    return word(vmx.invept(c));
  };
  EXPECT_EQ(invept(0, kEpt), "fail 28");
  EXPECT_EQ(invept(3, kEpt), "fail 28");
  EXPECT_EQ(invept(0x1'0000'0001, kEpt), "fail 28") << "all 64 bits count";
  EXPECT_EQ(invept(1, 0x10007), "fail 28") << "reserved memory type";
  EXPECT_EQ(invept(1, 0x10006), "fail 28") << "walk length 1";
  EXPECT_TRUE(cpu.invalidations.empty());

  EXPECT_EQ(invept(1, kEpt), "succeed");
  ASSERT_EQ(cpu.invalidations.size(), 1u);
  EXPECT_EQ(cpu.invalidations[0],
            (Invalidation{.kind = Invalidation::Kind::kGuestPhysicalEptp, .eptp = kEpt}));
  EXPECT_EQ(invept(2, ~0ull), "succeed") << "the descriptor does not matter";
  ASSERT_EQ(cpu.invalidations.size(), 1u);
  EXPECT_EQ(cpu.invalidations[0], (Invalidation{.kind = Invalidation::Kind::kAllEptps}));
}

class InvvpidOf57Bits : public VmxTest {
 protected:
  static Capabilities wide() {
    Capabilities c = default_capabilities();
    c.registers.linear_address_width = 57;
    return c;
  }
  InvvpidOf57Bits() : VmxTest(wide()) {}
};

TEST_F(InvvpidOf57Bits, TakesThemInAnyPagingMode) {
  enter_vmx_operation();
  make_current();
  InstructionContext c = with_memory(kPointer);
  c.reg = kRbx;
  cpu.cpu.gpr[kRbx] = 0;
  cpu.poke(kPointer, uint64_t{1});
  for (const uint64_t la57 : {uint64_t{0}, cr4::kLa57}) {
    cpu.cpu.cr4 = (cpu.cpu.cr4 & ~cr4::kLa57) | la57;
    cpu.poke(kPointer + 8, uint64_t{0x00ff'ffff'ffff'f000});
    EXPECT_EQ(word(vmx.invvpid(c)), "succeed");
    cpu.poke(kPointer + 8, uint64_t{0x0100'0000'0000'0000});
    EXPECT_EQ(word(vmx.invvpid(c)), "fail 28");
  }
}

TEST_F(VmxTest, InvvpidChecksAndInvalidations) {
  enter_vmx_operation();
  make_current();
  InstructionContext c = with_memory(kPointer);
  c.reg = kRbx;
  const auto invvpid = [&](uint64_t type, uint64_t vpid, uint64_t linear) {
    cpu.cpu.gpr[kRbx] = type;
    cpu.poke(kPointer, vpid);
    cpu.poke(kPointer + 8, linear);
    cpu.invalidations.clear();
    return word(vmx.invvpid(c));
  };
  EXPECT_EQ(invvpid(4, 1, 0), "fail 28") << "type";
  EXPECT_EQ(invvpid(2, 0x10000, 0), "fail 28") << "reserved bits";
  EXPECT_EQ(invvpid(0, 0, 0), "fail 28") << "VPID 0";
  EXPECT_EQ(invvpid(1, 0, 0), "fail 28") << "VPID 0";
  EXPECT_EQ(invvpid(3, 0, 0), "fail 28") << "VPID 0";
  EXPECT_EQ(invvpid(0, 1, 1ull << 56), "fail 28") << "not canonical";
  EXPECT_TRUE(cpu.invalidations.empty());

  using Kind = Invalidation::Kind;
  const auto done = [&](Invalidation what) {
    ASSERT_EQ(cpu.invalidations.size(), 1u);
    // Only one type has an address.
    if (what.kind != Kind::kVpidAddress) what.linear = cpu.invalidations[0].linear;
    EXPECT_EQ(cpu.invalidations[0], what);
  };
  EXPECT_EQ(invvpid(0, 7, 0x1234000), "succeed");
  done({.kind = Kind::kVpidAddress, .vpid = 7, .linear = 0x1234000});
  EXPECT_EQ(invvpid(1, 7, 0x800000000000), "succeed") << "the address does not matter";
  done({.kind = Kind::kLinearVpid, .vpid = 7});
  EXPECT_EQ(invvpid(2, 0, 0), "succeed");
  done({.kind = Kind::kAllVpids});
  EXPECT_EQ(invvpid(3, 7, 0), "succeed");
  done({.kind = Kind::kVpidRetainingGlobals, .vpid = 7});
}

// Each takes its control and its own bit of IA32_VMX_EPT_VPID_CAP, and nothing of the other.
TEST_F(VmxTest, InveptAndInvvpidDoNotExistWithoutEptAndVpid) {
  struct Case {
    SecondaryProcBased control;
    uint64_t bits;
    bool invept, invvpid;
  };
  constexpr auto kNone = static_cast<SecondaryProcBased>(0);
  for (const Case& c : {Case{kNone, 0, true, true},
                        {SecondaryProcBased::kEnableEpt, 0, false, true},
                        {SecondaryProcBased::kEnableVpid, 0, true, false},
                        {kNone, ept_vpid_cap::kInvept, false, true},
                        {kNone, ept_vpid_cap::kInvvpid, true, false}}) {
    SCOPED_TRACE(testing::Message() << mask(c.control) << " " << c.bits);
    Capabilities without = capabilities;
    without.secondary &= ~mask(c.control);
    without.ept_vpid &= ~c.bits;
    Vmx other(without, cpu, sink);
    other.feature_control = 5;
    cpu.poke(kPointer, kVmxonRegion);
    cpu.poke(kVmxonRegion, without.revision_id);
    ASSERT_TRUE(std::holds_alternative<Completed>(other.vmxon(with_memory(kPointer))));
    EXPECT_EQ(word(other.invept(with_memory(kPointer))) != "#6", c.invept);
    EXPECT_EQ(word(other.invvpid(with_memory(kPointer))) != "#6", c.invvpid);
  }
}

TEST_F(VmxTest, VmxoffWritesTheVmcsBack) {
  prepare();
  EXPECT_EQ(word(vmx.vmxoff(no_operand())), "succeed");
  EXPECT_FALSE(vmx.in_vmx_operation());
  Vmcs stored;
  stored.load(ConstVmcsRegion(&cpu.memory[kVmcsRegion], kVmcsRegionSize));
  EXPECT_EQ(stored[Field::kGuestRip], kGuestRip);
  EXPECT_EQ(stored.revision_id, capabilities.revision_id);
  EXPECT_EQ(vmxon(), "succeed");
  EXPECT_FALSE(vmx.current_vmcs_pointer());
}

}  // namespace
}  // namespace nestor::vmx::test
