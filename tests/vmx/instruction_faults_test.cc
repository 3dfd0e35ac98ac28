// SPDX-License-Identifier: GPL-2.0-or-later
//
// The faults with which each VMX instruction begins, and their order.
#include "tests/vmx/vmx_fixture.h"

namespace nestor::vmx::test {
namespace {

struct Instruction {
  const char* name;
  Outcome (Vmx::*execute)(const InstructionContext&);
  bool memory;
  ExitReason exit;
};

const Instruction kInstructions[] = {
    {"VMXOFF", &Vmx::vmxoff, false, ExitReason::kVmxoff},
    {"VMCLEAR", &Vmx::vmclear, true, ExitReason::kVmclear},
    {"VMPTRLD", &Vmx::vmptrld, true, ExitReason::kVmptrld},
    {"VMPTRST", &Vmx::vmptrst, true, ExitReason::kVmptrst},
    {"VMREAD", &Vmx::vmread, false, ExitReason::kVmread},
    {"VMWRITE", &Vmx::vmwrite, false, ExitReason::kVmwrite},
    {"VMLAUNCH", &Vmx::vmlaunch, false, ExitReason::kVmlaunch},
    {"VMRESUME", &Vmx::vmresume, false, ExitReason::kVmresume},
    {"INVEPT", &Vmx::invept, true, ExitReason::kInvept},
    {"INVVPID", &Vmx::invvpid, true, ExitReason::kInvvpid},
};

class InstructionFaults : public VmxTest, public ::testing::WithParamInterface<Instruction> {
 protected:
  InstructionContext operand() const {
    InstructionContext c = GetParam().memory ? with_memory(kPointer, 5) : no_operand(5);
    c.displacement = 0x1234;
    c.information = 0x55;
    return c;
  }
  std::string execute() { return word((vmx.*GetParam().execute)(operand())); }
};

TEST_P(InstructionFaults, OutsideVmxOperation) { EXPECT_EQ(execute(), "#6"); }

TEST_P(InstructionFaults, ModesInWhichItIsNotRecognized) {
  enter_vmx_operation();
  const CpuState host = cpu.cpu;
  cpu.cpu.cr0 &= ~(cr0::kPe | cr0::kPg);
  cpu.cpu.efer = 0;
  EXPECT_EQ(execute(), "#6") << "real-address mode";
  cpu.cpu = host;
  cpu.cpu.efer = 0;
  cpu.cpu.rflags |= rflags::kVm;
  EXPECT_EQ(execute(), "#6") << "virtual-8086 mode";
  cpu.cpu = host;
  cpu.cpu.segment[kCs].rights.value &= ~0x2000u;
  EXPECT_EQ(execute(), "#6") << "compatibility mode";
}

TEST_P(InstructionFaults, PrivilegeLevel) {
  enter_vmx_operation();
  make_current();
  cpu.cpu.segment[kSs].rights.value |= 0x60;
  EXPECT_EQ(execute(), "#13(0)");
}

TEST_P(InstructionFaults, NonRootOperationExitsWhateverThePrivilegeLevel) {
  start();
  cpu.cpu.segment[kSs].rights.value |= 0x60;
  EXPECT_EQ(execute(), "transfer");
  expect_exit(GetParam().exit);
  const bool displacement = GetParam().memory || GetParam().exit == ExitReason::kVmread ||
                            GetParam().exit == ExitReason::kVmwrite;
  EXPECT_EQ(get(Field::kExitQualification), displacement ? 0x1234u : 0u);
  EXPECT_EQ(get(Field::kVmExitInstructionLength), 5u);
  EXPECT_EQ(get(Field::kVmExitInstructionInformation), 0x55u);
  EXPECT_EQ(get(Field::kGuestRip), kGuestRip);
}

TEST_P(InstructionFaults, NonRootOperationInRealModeIsUndefinedOpcode) {
  start();
  cpu.cpu.cr0 &= ~(cr0::kPe | cr0::kPg);
  cpu.cpu.efer = 0;
  EXPECT_EQ(execute(), "#6");
  EXPECT_TRUE(vmx.in_non_root());
}

class MemoryOperand : public InstructionFaults {};

TEST_P(MemoryOperand, MustNotBeARegister) {
  enter_vmx_operation();
  EXPECT_EQ(word((vmx.*GetParam().execute)(no_operand())), "#6");
}

TEST_P(MemoryOperand, Faults) {
  enter_vmx_operation();
  make_current();
  cpu.cpu.gpr[kRax] = 2;
  cpu.linear_fault = exception(kPf, 0, kPointer);
  InstructionContext c = operand();
  EXPECT_EQ(word((vmx.*GetParam().execute)(c)), "#14(0)");
  c.memory.reset();
  c.memory_fault = exception(kSs12, 0);
  EXPECT_EQ(word((vmx.*GetParam().execute)(c)), "#12(0)");
}

std::vector<Instruction> with_memory_operand() {
  std::vector<Instruction> chosen;
  for (const Instruction& instruction : kInstructions)
    if (instruction.memory) chosen.push_back(instruction);
  return chosen;
}
std::string instruction_name(const ::testing::TestParamInfo<Instruction>& instance) {
  return instance.param.name;
}

INSTANTIATE_TEST_SUITE_P(All, MemoryOperand, ::testing::ValuesIn(with_memory_operand()),
                         instruction_name);
INSTANTIATE_TEST_SUITE_P(All, InstructionFaults, ::testing::ValuesIn(kInstructions),
                         instruction_name);

using VmxonTest = VmxTest;

TEST_F(VmxonTest, EntersVmxOperationWithoutCurrentVmcs) {
  cpu.poke(kVmxonRegion, capabilities.revision_id);
  cpu.cpu.rflags |= rflags::kCf | rflags::kZf | rflags::kOf;
  EXPECT_EQ(vmxon(), "succeed");
  EXPECT_EQ(cpu.cpu.rflags, rflags::kFixed1);
  EXPECT_TRUE(vmx.in_vmx_operation());
  EXPECT_FALSE(vmx.in_non_root());
  EXPECT_FALSE(vmx.current_vmcs_pointer());
}

TEST_F(VmxonTest, UndefinedOpcode) {
  cpu.poke(kVmxonRegion, capabilities.revision_id);
  EXPECT_EQ(word(vmx.vmxon(no_operand())), "#6") << "register operand";
  cpu.cpu.cr4 &= ~cr4::kVmxe;
  EXPECT_EQ(vmxon(), "#6") << "CR4.VMXE";
  cpu.cpu.cr4 |= cr4::kVmxe;
  cpu.cpu.segment[kCs].rights.value &= ~0x2000u;
  EXPECT_EQ(vmxon(), "#6") << "compatibility mode";
}

TEST_F(VmxonTest, GeneralProtectionSaysWhy) {
  cpu.poke(kVmxonRegion, capabilities.revision_id);
  const CpuState host = cpu.cpu;
  const auto refused = [&](std::string_view id) {
    sink.failures.clear();
    EXPECT_EQ(vmxon(), "#13(0)") << id;
    ASSERT_EQ(sink.failures.size(), 1u) << id;
    EXPECT_EQ(sink.failures[0].id, id);
    EXPECT_FALSE(vmx.in_vmx_operation());
    cpu.cpu = host;
    vmx.feature_control = 5;
    cpu.a20m = false;
  };
  cpu.cpu.cr0 &= ~cr0::kNe;
  refused("vmxon-cr0");
  cpu.cpu.cr4 |= cr4::kSmxe;
  refused("vmxon-cr4");
  vmx.feature_control = 4;
  refused("vmxon-feature-control-lock");
  vmx.feature_control = 1;
  refused("vmxon-feature-control-enable");
  cpu.a20m = true;
  refused("vmxon-a20m");
  cpu.cpu.segment[kSs].rights.value |= 0x60;
  EXPECT_EQ(vmxon(), "#13(0)") << "CPL";
}

TEST_F(VmxonTest, InvalidPointersAndRevisions) {
  cpu.poke(kVmxonRegion, capabilities.revision_id);
  EXPECT_EQ(vmxon(kVmxonRegion + 8), "fail invalid") << "alignment";
  EXPECT_EQ(vmxon(1ull << capabilities.registers.physical_address_width), "fail invalid");
  EXPECT_EQ(vmxon(0xff000), "fail invalid") << "revision 0";
  EXPECT_EQ(vmxon(0x10000000), "fail invalid") << "no memory there";
  cpu.poke(kVmxonRegion, capabilities.revision_id | kShadowVmcsIndicator);
  EXPECT_EQ(vmxon(), "fail invalid") << "shadow-VMCS indicator";
  EXPECT_EQ(sink.errors.size(), 5u);
  EXPECT_EQ(sink.errors[0].error, 0u);
  EXPECT_EQ(sink.errors[0].unsaved_error, 0u);
  EXPECT_EQ(sink.errors[0].data, nullptr);
  EXPECT_EQ(sink.errors[0].vmcs, 0u);
  EXPECT_EQ(sink.failures.size(), 5u);
  EXPECT_FALSE(vmx.in_vmx_operation());
}

TEST_F(VmxonTest, InVmxOperation) {
  enter_vmx_operation();
  EXPECT_EQ(vmxon(), "fail invalid") << "no current VMCS to hold the error";
  EXPECT_EQ(sink.errors.back().unsaved_error, 15u);
  make_current();
  EXPECT_EQ(vmxon(), "fail 15");
  cpu.cpu.segment[kSs].rights.value |= 0x60;
  EXPECT_EQ(vmxon(), "#13(0)");
}

TEST_F(VmxonTest, ExitsInNonRootOperation) {
  start();
  InstructionContext c = with_memory(kPointer, 6);
  c.displacement = 0x40;
  EXPECT_EQ(word(vmx.vmxon(c)), "transfer");
  expect_exit(ExitReason::kVmxon);
  EXPECT_EQ(get(Field::kExitQualification), 0x40u);
}

TEST_F(VmxTest, FeatureControlIsWritableUntilItIsLocked) {
  vmx.feature_control = 0;
  EXPECT_EQ(vmx.write_feature_control(4), MsrStatus::kOk);
  EXPECT_EQ(vmx.write_feature_control(2), MsrStatus::kGeneralProtection) << "no SMX";
  EXPECT_EQ(vmx.write_feature_control(0x100), MsrStatus::kGeneralProtection);
  EXPECT_EQ(vmx.feature_control, 4u);
  EXPECT_EQ(vmx.write_feature_control(5), MsrStatus::kOk);
  EXPECT_EQ(vmx.write_feature_control(5), MsrStatus::kGeneralProtection);
  EXPECT_EQ(vmx.feature_control, 5u);
  vmx.feature_control = 0;
  vmx.lock_feature_control();
  EXPECT_EQ(vmx.feature_control, 5u);
}

TEST_F(VmxTest, VmcallOutsideAndInRootOperation) {
  EXPECT_EQ(word(vmx.vmcall(no_operand())), "#6");
  enter_vmx_operation();
  EXPECT_EQ(word(vmx.vmcall(no_operand())), "fail invalid");
  make_current();
  EXPECT_EQ(word(vmx.vmcall(no_operand())), "fail 1");
  cpu.cpu.segment[kSs].rights.value |= 0x60;
  EXPECT_EQ(word(vmx.vmcall(no_operand())), "#13(0)");
  cpu.cpu.segment[kCs].rights.value &= ~0x2000u;
  EXPECT_EQ(word(vmx.vmcall(no_operand())), "#6") << "compatibility mode";
}

TEST_F(VmxTest, VmcallExitsFromEveryMode) {
  start();
  cpu.cpu.segment[kSs].rights.value |= 0x60;
  cpu.cpu.segment[kCs].rights.value &= ~0x2000u;
  EXPECT_EQ(word(vmx.vmcall(no_operand(3))), "transfer");
  expect_exit(ExitReason::kVmcall);
  EXPECT_EQ(get(Field::kVmExitInstructionLength), 3u);
}

TEST_F(VmxTest, VmfuncIsUndefinedUnlessEnabled) {
  EXPECT_EQ(word(vmx.vmfunc(no_operand())), "#6");
  start();
  cpu.cpu.gpr[kRax] = 0;
  EXPECT_EQ(word(vmx.vmfunc(no_operand())), "#6");
  EXPECT_TRUE(vmx.in_non_root());
}

}  // namespace
}  // namespace nestor::vmx::test
