// SPDX-License-Identifier: GPL-2.0-or-later
//
// The VMX instructions, from their bytes: operands, segment checks and the VM-exit
// instruction-information field.
#include "emu/cpu/delivery.h"
#include "tests/emu/cpu/instruction_fixture.h"

namespace nestor::emu::test {
namespace {

using vmx::Field;
using vmx::kRax;
using vmx::kRcx;
using vmx::kRdi;

constexpr uint64_t kPointer = 0x9000, kRegion = 0x50000, kVmcs = 0x51000;

const Bytes kVmxonRdi = ASM64("vmxon [rdi]"), kVmclearRdi = ASM64("vmclear [rdi]"),
            kVmptrldRdi = ASM64("vmptrld [rdi]"), kVmptrstRdi = ASM64("vmptrst [rdi]"),
            kVmreadRcxRax = ASM64("vmread rcx, rax"), kVmwriteRaxRcx = ASM64("vmwrite rax, rcx"),
            kVmreadMemory = ASM64("vmread [rdi], rax"), kVmxoff = ASM64("vmxoff"),
            kVmcall = ASM64("vmcall"), kVmlaunch = ASM64("vmlaunch");

class VmxInstructionTest : public InstructionTest {
 protected:
  void host() {
    enter_64bit_mode(core);
    cpu.cr4 |= vmx::cr4::kVmxe;
    cpu.gpr[kRdi] = kPointer;
    core.vmx().feature_control = 5;
  }
  void expect_success(const Bytes& bytes) {
    expect_completed(bytes);
    EXPECT_EQ(cpu.rflags & (vmx::rflags::kCf | vmx::rflags::kZf), 0u);
  }
  void vmxon() {
    host();
    core.poke<uint32_t>(kRegion, core.vmx().capabilities().revision_id);
    core.poke<uint64_t>(kPointer, kRegion);
    expect_success(kVmxonRdi);
  }
  void make_current() {
    core.poke<uint32_t>(kVmcs, core.vmx().capabilities().revision_id);
    core.poke<uint64_t>(kPointer, kVmcs);
    expect_success(kVmclearRdi);
    expect_success(kVmptrldRdi);
  }
  uint64_t information() { return core.vmx().current_vmcs()[Field::kVmExitInstructionInformation]; }
};

TEST_F(VmxInstructionTest, OnAndOff) {
  host();
  expect_ud(kVmlaunch);
  expect_ud(kVmcall);
  vmxon();
  EXPECT_TRUE(core.vmx().in_vmx_operation());
  make_current();
  core.poke<uint64_t>(kPointer, 0);
  expect_success(kVmptrstRdi);
  EXPECT_EQ(core.peek<uint64_t>(kPointer), kVmcs);
  expect_success(kVmxoff);
  EXPECT_FALSE(core.vmx().in_vmx_operation());
}

TEST_F(VmxInstructionTest, ReadAndWriteFields) {
  vmxon();
  make_current();
  cpu.gpr[kRax] = vmx::encoding_of(Field::kGuestRip);
  cpu.gpr[kRcx] = 0x1234'5678'9abc'def0;
  expect_success(kVmwriteRaxRcx);
  cpu.gpr[kRcx] = 0;
  expect_success(kVmreadRcxRax);
  EXPECT_EQ(cpu.gpr[kRcx], 0x1234'5678'9abc'def0u);
  expect_success(kVmreadMemory);
  EXPECT_EQ(core.peek<uint64_t>(kPointer), 0x1234'5678'9abc'def0u);
  core.unwritable.insert(kPointer / FakeCore::kPage);
  expect_fault(kVmreadMemory, vmx::kPf, 2);
}

TEST_F(VmxInstructionTest, OperandsOfProtectedMode) {
  vmxon();
  make_current();
  enter_protected_mode(core);
  cpu.gpr[kRdi] = kPointer;
  cpu.gpr[kRax] = vmx::encoding_of(Field::kGuestRip);
  core.poke<uint64_t>(kPointer, ~0ull);
  expect_success(kVmreadMemory);
  EXPECT_EQ(core.peek<uint64_t>(kPointer), 0xffffffff'00000000u);  // 32 bits are written
}

TEST_F(VmxInstructionTest, SegmentFaultsComeBehindTheChecksOfTheMode) {
  host();
  cpu.gpr[kRdi] = 0x8000'0000'0000;
  expect_ud(kVmptrldRdi);
  vmxon();
  cpu.gpr[kRdi] = 0x8000'0000'0000;
  expect_gp(kVmptrldRdi);
  expect_fault({0x0f, 0xc7, 0x74, 0x3c, 0x00}, vmx::kSs12, 0);  // vmptrld [rsp + rdi]
}

TEST_F(VmxInstructionTest, InformationOfRegisterOperands) {
  NestedGuest guest(core);
  guest.enter();
  enter_64bit_mode(core);
  expect_transferred({0x4d, 0x0f, 0x78, 0xcb});  // vmread r11, r9
  guest.expect_exit(vmx::ExitReason::kVmread);
  EXPECT_EQ(information(), 11u << 3 | 1u << 10 | 9u << 28);
  EXPECT_EQ(guest[Field::kVmExitInstructionLength], 4u);
}

TEST_F(VmxInstructionTest, InformationOfVmwriteMemory) {
  NestedGuest guest(core);
  guest.enter();
  enter_64bit_mode(core);
  expect_transferred(ASM64("vmwrite rbx, [rbp + rcx*8 + 0x70]"));
  guest.expect_exit(vmx::ExitReason::kVmwrite);
  EXPECT_EQ(information(), 3u | 2u << 7 | 2u << 15 | 1u << 18 | 5u << 23 | 3u << 28);
  EXPECT_EQ(guest[Field::kExitQualification], 0x70u);
}

TEST_F(VmxInstructionTest, InformationOfInveptAndRipRelativeDisplacement) {
  NestedGuest guest(core);
  guest.enter();
  enter_64bit_mode(core);
  expect_transferred(ASM64("invept r10, [rip - 0x10]"));
  guest.expect_exit(vmx::ExitReason::kInvept);
  EXPECT_EQ(information(), 2u << 7 | 3u << 15 | 1u << 22 | 1u << 27 | 10u << 28);
  EXPECT_EQ(guest[Field::kExitQualification], 0x401000u + 10 - 0x10);
}

TEST_F(VmxInstructionTest, InformationOfSixteenBitAddresses) {
  NestedGuest guest(core);
  guest.enter();
  enter_protected_mode(core);
  cpu.segment[vmx::kCs] = {kCode16, {0x9b}, 0xffff, 0};
  expect_transferred({0x66, 0x26, 0x0f, 0xc7, 0x70, 0xfe});  // vmclear es:[bx + si - 2]
  guest.expect_exit(vmx::ExitReason::kVmclear);
  EXPECT_EQ(information(), 0u << 7 | 0u << 15 | 6u << 18 | 3u << 23);
  EXPECT_EQ(guest[Field::kExitQualification], ~1ull);
}

TEST_F(VmxInstructionTest, ExitComesBeforeTheOperandsFaults) {
  NestedGuest guest(core);
  guest.enter();
  enter_64bit_mode(core);
  cpu.gpr[kRdi] = 0x8000'0000'0000;
  expect_transferred(kVmptrldRdi);
  guest.expect_exit(vmx::ExitReason::kVmptrld);
}

TEST_F(VmxInstructionTest, VmcallExits) {
  NestedGuest guest(core);
  guest.enter();
  expect_transferred(kVmcall);
  guest.expect_exit(vmx::ExitReason::kVmcall);
  EXPECT_EQ(guest[Field::kVmExitInstructionLength], 3u);
}

TEST_F(VmxInstructionTest, InjectedVirtualNmiBlocksNoOthers) {
  NestedGuest guest(core);
  guest.enable(vmx::PinBased::kNmiExiting);
  guest.enable(vmx::PinBased::kVirtualNmis);
  guest.enter();
  enter_protected_mode(core);
  core.poke<uint64_t>(kIdt + vmx::kNmi * 8, gate(kCode0, 0x1000, 0x8e));
  const vmx::Event event{vmx::EventType::kNmi, vmx::kNmi, {}, 0, 0};
  ASSERT_TRUE(std::holds_alternative<Delivered>(deliver_once(core, event, EventOrigin::kVmEntry)));
  EXPECT_EQ(cpu.rip, 0x1000u);
  EXPECT_FALSE(cpu.blocking_by_nmi);
}

TEST_F(VmxInstructionTest, TaskSwitchExits) {
  NestedGuest guest(core);
  guest.enter();
  enter_protected_mode(core);
  core.poke<uint64_t>(kIdt + 0x30 * 8, gate(kOtherTss, 0, 0x85));
  const vmx::Event event{vmx::EventType::kExternalInterrupt, 0x30, {}, 0, 0};
  const Delivery delivery = deliver_once(core, event);
  ASSERT_TRUE(std::holds_alternative<Delivered>(delivery));
  EXPECT_TRUE(std::get<Delivered>(delivery).vm_exit);
  guest.expect_exit(vmx::ExitReason::kTaskSwitch);
  EXPECT_EQ(guest[Field::kExitQualification], kOtherTss | 3ull << 30);
}

}  // namespace
}  // namespace nestor::emu::test
