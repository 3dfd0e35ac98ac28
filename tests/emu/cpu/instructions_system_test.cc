// SPDX-License-Identifier: GPL-2.0-or-later
//
// Descriptor tables, system calls, software interrupts, processor control, invalidation, linear
// addresses.
#include <array>

#include "emu/cpu/segments.h"
#include "tests/emu/cpu/instruction_fixture.h"

namespace nestor::emu::test {
namespace {

using vmx::Event;
using vmx::EventType;
using vmx::kRax;
using vmx::kRbx;
using vmx::kRcx;
using vmx::kRdi;
using vmx::kRdx;
using vmx::kRsp;

// All with a memory operand at [RDI], [EDI] or [BX].
const Bytes kSgdt = ASM64("sgdt [rdi]"), kSidt = ASM64("sidt [rdi]"), kLgdt = ASM64("lgdt [rdi]"),
            kLidt = ASM64("lidt [rdi]"), kSldtAx = ASM64("sldt eax"), kStrAx = ASM64("str eax"),
            kLldtAx = ASM64("lldt ax"), kLtrAx = ASM64("ltr ax"), kInvlpg = ASM64("invlpg [rdi]");

class DescriptorTableTest : public InstructionTest {
 protected:
  void ltr(uint16_t selector, std::optional<uint32_t> error, uint8_t vector = vmx::kGp) {
    cpu.gpr[kRax] = selector;
    if (error) {
      expect_fault(kLtrAx, vector, error);
    } else {
      expect_completed(kLtrAx);
    }
  }
};

TEST_F(DescriptorTableTest, WidthsOfTheBase) {
  enter_64bit_mode(core);
  cpu.gpr[kRdi] = 0x9000;
  core.poke<uint16_t>(0x9000, 0xabc);
  core.poke<uint64_t>(0x9002, 0xffff8000'12345678);
  expect_completed(kLidt);
  EXPECT_EQ(cpu.idtr, (vmx::DescriptorTable{0xffff8000'12345678, 0xabc}));
  cpu.gpr[kRdi] = 0x9100;
  expect_completed(kSidt);
  EXPECT_EQ(core.peek<uint64_t>(0x9102), 0xffff8000'12345678u);
  EXPECT_EQ(core.peek<uint16_t>(0x910a), 0u);
  core.poke<uint64_t>(0x9102, 0x0100'0000'0000'0000);  // 57 bits, in any paging mode
  expect_gp(kLgdt);
  enter_protected_mode(core);
  cpu.gpr[kRdi] = 0x9000;
  expect_completed(kLgdt);
  EXPECT_EQ(cpu.gdtr.base, 0x12345678u);
  expect_completed(ASM32("lgdtw [edi]"));
  EXPECT_EQ(cpu.gdtr.base, 0x345678u);
}

TEST_F(DescriptorTableTest, PrivilegeAndMode) {
  enter_protected_mode(core, 3);
  expect_gp(kLgdt);
  expect_gp(kLidt);
  expect_gp(kLldtAx);
  expect_gp(kLtrAx);
  cpu.gpr[kRdi] = 0x9000;
  expect_completed(kSgdt);
  expect_completed(kStrAx);
  EXPECT_EQ(cpu.gpr[kRax], kTss);
  enter_real_mode(core);
  for (const Bytes& bytes : {kLldtAx, kLtrAx, kSldtAx, kStrAx}) expect_ud(bytes);
  enter_virtual_8086_mode(core);
  for (const Bytes& bytes : {kLldtAx, kLtrAx, kSldtAx, kStrAx}) expect_ud(bytes);
}

TEST_F(DescriptorTableTest, TaskRegister) {
  enter_protected_mode(core);
  ltr(0, 0);
  ltr(kOtherTss | 4, kOtherTss | 4);
  ltr(kGdtLimit + 1, kGdtLimit + 1u);
  ltr(kData0, kData0);
  ltr(kLdtSelector, kLdtSelector);
  ltr(kOtherTss, std::nullopt);
  EXPECT_EQ(cpu.segment[vmx::kTr], (vmx::Segment{kOtherTss, {0x8b}, 0x67, kOtherTssBase}));
  ltr(kOtherTss, kOtherTss);  // busy now
  core.poke<uint8_t>(kGdt + kOtherTss + 5, 0x09);
  ltr(kOtherTss, kOtherTss, vmx::kNp);
  core.poke<uint8_t>(kGdt + kOtherTss + 5, 0x81);
  ltr(kOtherTss, std::nullopt);
  EXPECT_EQ(cpu.segment[vmx::kTr].rights.value, 0x83u);
}

TEST_F(DescriptorTableTest, TaskRegisterInIa32eMode) {
  enter_64bit_mode(core);
  core.poke<uint64_t>(kGdt + kOtherTss + 8, 0xffff8000);
  ltr(kOtherTss, std::nullopt);
  EXPECT_EQ(cpu.segment[vmx::kTr].base, 0xffff8000'00000000 | kOtherTssBase);
  core.poke<uint8_t>(kGdt + kOtherTss + 5, 0x81);
  ltr(kOtherTss, kOtherTss);  // 16-bit
  core.poke<uint8_t>(kGdt + kOtherTss + 5, 0x89);
  core.poke<uint64_t>(kGdt + kOtherTss + 8, 0x01000000);
  ltr(kOtherTss, kOtherTss);  // not canonical
  core.poke<uint64_t>(kGdt + kOtherTss + 8, 0x100ull << 32);
  ltr(kOtherTss, kOtherTss);  // upper type
}

TEST_F(DescriptorTableTest, LocalDescriptorTable) {
  enter_protected_mode(core);
  cpu.gpr[kRax] = kLdtSelector;
  expect_completed(kLldtAx);
  EXPECT_EQ(cpu.segment[vmx::kLdtr], (vmx::Segment{kLdtSelector, {0x82}, 0x1f, 0x3000}));
  expect_completed(kSldtAx);
  EXPECT_EQ(cpu.gpr[kRax], kLdtSelector);
  cpu.gpr[kRax] = 3;
  expect_completed(kLldtAx);
  EXPECT_TRUE(cpu.segment[vmx::kLdtr].rights.unusable());
  cpu.gpr[kRax] = kTss;
  expect_fault(kLldtAx, vmx::kGp, kTss);
}

TEST_F(DescriptorTableTest, Exits) {
  NestedGuest guest(core);
  guest.enable(vmx::SecondaryProcBased::kDescriptorTableExiting);
  guest.enter();
  enter_64bit_mode(core);
  expect_transferred(ASM64("sidt fs:[rax + rcx*4 + 0x12]"));
  guest.expect_exit(vmx::ExitReason::kGdtrIdtrAccess);
  EXPECT_EQ(guest[vmx::Field::kExitQualification], 0x12u);
  EXPECT_EQ(guest[vmx::Field::kVmExitInstructionInformation],
            2u | 2u << 7 | 4u << 15 | 1u << 18 | 0u << 23 | 1u << 28);
}

TEST_F(DescriptorTableTest, ExitOfARegisterForm) {
  NestedGuest guest(core);
  guest.enable(vmx::SecondaryProcBased::kDescriptorTableExiting);
  guest.enter();
  enter_64bit_mode(core);
  expect_transferred(ASM64("ltr r9w"));
  guest.expect_exit(vmx::ExitReason::kLdtrTrAccess);
  EXPECT_EQ(guest[vmx::Field::kVmExitInstructionInformation], 9u << 3 | 1u << 10 | 3u << 28);
}

class SystemCallTest : public InstructionTest {};
const Bytes kSyscall = ASM64("syscall"), kSysret = {0x0f, 0x07}, kSysretq = ASM64("sysretq"),
            kSysenter = ASM64("sysenter"), kSysexit = {0x0f, 0x35}, kSysexitq = ASM64("sysexitq");

TEST_F(SystemCallTest, SyscallAndSysret) {
  enter_64bit_mode(core, 3);
  cpu.star = 0x0023'0010'0000'0000;
  cpu.lstar = 0xffff8000'00001000;
  cpu.fmask = 0x200;
  cpu.rflags = 0x10246;
  expect_jumped(kSyscall);
  EXPECT_EQ(cpu.rip, 0xffff8000'00001000u);
  EXPECT_EQ(cpu.gpr[kRcx], 0x401002u);
  EXPECT_EQ(cpu.gpr[vmx::kR11], 0x246u);
  EXPECT_EQ(cpu.rflags, 0x46u);
  EXPECT_EQ(cpu.segment[vmx::kCs], (vmx::Segment{0x10, {0xa09b}, 0xffffffff, 0}));
  EXPECT_EQ(cpu.segment[vmx::kSs], (vmx::Segment{0x18, {0xc093}, 0xffffffff, 0}));
  cpu.gpr[vmx::kR11] = ~0ull;
  expect_jumped(kSysretq);
  EXPECT_EQ(cpu.rip, 0x401002u);
  EXPECT_EQ(cpu.rflags, 0x3c7fd7u);
  EXPECT_EQ(cpu.segment[vmx::kCs], (vmx::Segment{0x33, {0xa0fb}, 0xffffffff, 0}));
  EXPECT_EQ(cpu.segment[vmx::kSs], (vmx::Segment{0x2b, {0xc0f3}, 0xffffffff, 0}));
}

TEST_F(SystemCallTest, SysretToCompatibilityMode) {
  enter_64bit_mode(core);
  cpu.star = 0x0023'0010'0000'0000;
  cpu.gpr[kRcx] = 0xffffffff'12345678;
  cpu.gpr[vmx::kR11] = 0;
  expect_jumped(kSysret);
  EXPECT_EQ(cpu.rip, 0x12345678u);
  EXPECT_EQ(cpu.rflags, 2u);
  EXPECT_EQ(cpu.segment[vmx::kCs].selector, 0x23);
  EXPECT_EQ(cpu.segment[vmx::kCs].rights.value, 0xc0fbu);
}

TEST_F(SystemCallTest, SyscallFaults) {
  enter_64bit_mode(core);
  cpu.gpr[kRcx] = 0x8000'0000'0000;
  expect_gp(kSysretq);
  cpu.efer &= ~vmx::efer::kSce;
  expect_ud(kSyscall);
  expect_ud(kSysret);
  enter_64bit_mode(core, 3);
  expect_gp(kSysret);
  enter_protected_mode(core);
  cpu.efer = vmx::efer::kSce;
  expect_ud(kSyscall);
}

TEST_F(SystemCallTest, SysenterAndSysexit32) {
  enter_protected_mode(core, 3);
  cpu.sysenter_cs = 0x8;
  cpu.sysenter_esp = 0xffffffff'00007000;
  cpu.sysenter_eip = 0x5000;
  cpu.rflags = 0x202;
  expect_jumped(kSysenter);
  EXPECT_EQ(cpu.rip, 0x5000u);
  EXPECT_EQ(cpu.gpr[kRsp], 0x7000u);
  EXPECT_EQ(cpu.rflags, 2u);
  EXPECT_EQ(cpu.segment[vmx::kCs].rights.value, 0xc09bu);
  EXPECT_EQ(cpu.segment[vmx::kSs].selector, 0x10);
  cpu.gpr[kRdx] = 0x1234;
  cpu.gpr[kRcx] = 0x8000;
  cpu.rflags = 0x10002;
  expect_jumped(kSysexit);
  EXPECT_EQ(cpu.rflags, 2u) << "RF is clear behind every instruction";
  EXPECT_EQ(cpu.rip, 0x1234u);
  EXPECT_EQ(cpu.gpr[kRsp], 0x8000u);
  EXPECT_EQ(cpu.segment[vmx::kCs], (vmx::Segment{0x1b, {0xc0fb}, 0xffffffff, 0}));
  EXPECT_EQ(cpu.segment[vmx::kSs], (vmx::Segment{0x23, {0xc0f3}, 0xffffffff, 0}));
}

TEST_F(SystemCallTest, SysenterAndSysexit64) {
  enter_64bit_mode(core, 3);
  cpu.sysenter_cs = 0x8;
  cpu.sysenter_eip = 0xffff8000'00000000;
  expect_jumped(kSysenter);
  EXPECT_EQ(cpu.rip, 0xffff8000'00000000u);
  EXPECT_EQ(cpu.segment[vmx::kCs].rights.value, 0xa09bu);
  cpu.gpr[kRdx] = cpu.gpr[kRcx] = 0x7fff'ffff'f000;
  expect_jumped(kSysexitq);
  EXPECT_EQ(cpu.segment[vmx::kCs].selector, 0x2b);
  EXPECT_EQ(cpu.segment[vmx::kSs].selector, 0x33);
  EXPECT_EQ(cpu.rip, 0x7fff'ffff'f000u);
}

TEST_F(SystemCallTest, EndTheShadowsOfStiAndMovSs) {
  for (const Bytes& code : {kSyscall, kSysretq, kSysenter, kSysexitq}) {
    for (bool vmx::CpuState::*blocking :
         {&vmx::CpuState::blocking_by_sti, &vmx::CpuState::blocking_by_mov_ss}) {
      enter_64bit_mode(core);
      cpu.sysenter_cs = 0x8;
      cpu.gpr[kRcx] = cpu.gpr[kRdx] = 0x5000;
      cpu.*blocking = true;
      expect_jumped(code);
      EXPECT_FALSE(cpu.*blocking) << ::testing::PrintToString(code);
    }
  }
}

TEST_F(SystemCallTest, SysenterFaults) {
  enter_protected_mode(core);
  cpu.sysenter_cs = 3;
  expect_gp(kSysenter);
  expect_gp(kSysexit);
  cpu.sysenter_cs = 8;
  enter_real_mode(core);
  cpu.sysenter_cs = 8;
  expect_gp(kSysenter);
  enter_64bit_mode(core, 3);
  cpu.sysenter_cs = 8;
  expect_gp(kSysexit);
  enter_64bit_mode(core);
  cpu.sysenter_cs = 8;
  cpu.gpr[kRdx] = 0x8000'0000'0000;
  expect_gp(kSysexitq);
}

class SoftwareInterruptTest : public InstructionTest {
 protected:
  void expect_event(const Bytes& bytes, EventType type, uint8_t vector) {
    const Outcome outcome = run(bytes);
    const auto* event = std::get_if<Event>(&outcome);
    ASSERT_NE(event, nullptr);
    EXPECT_EQ(event->type, type);
    EXPECT_EQ(event->vector, vector);
    EXPECT_EQ(event->instruction_length, bytes.size());
    EXPECT_FALSE(event->error_code);
  }
};

TEST_F(SoftwareInterruptTest, Types) {
  enter_protected_mode(core, 3);
  expect_event(ASM32("int 0xff"), EventType::kSoftwareInterrupt, 0xff);
  expect_event({0xcd, 0x03}, EventType::kSoftwareInterrupt, 3);
  expect_event(ASM32("int3"), EventType::kSoftwareException, vmx::kBp);
  expect_event({0xf1}, EventType::kPrivilegedSoftwareException, vmx::kDb);
  expect_completed(ASM32("into"));
  cpu.rflags |= vmx::rflags::kOf;
  expect_event(ASM32("into"), EventType::kSoftwareException, vmx::kOf);
}

TEST_F(SoftwareInterruptTest, VirtualModeNeedsIopl3ForIntN) {
  enter_virtual_8086_mode(core);
  expect_gp(ASM16("int 0x21"));
  expect_event(ASM16("int3"), EventType::kSoftwareException, vmx::kBp);
  cpu.rflags |= vmx::rflags::kIopl;
  expect_event(ASM16("int 0x21"), EventType::kSoftwareInterrupt, 0x21);
}

class ProcessorControlTest : public InstructionTest {};

TEST_F(ProcessorControlTest, Cpuid) {
  enter_64bit_mode(core, 3);
  cpu.gpr[kRax] = 0xffffffff'00000000;
  expect_completed(ASM64("cpuid"));
  EXPECT_EQ(cpu.gpr[kRbx], 0x756e6547u);  // "Genu"
  EXPECT_EQ(cpu.gpr[kRdx], 0x49656e69u);
  EXPECT_EQ(cpu.gpr[kRcx], 0x6c65746eu);
  EXPECT_LT(cpu.gpr[kRax], 0x100u);
}

// CPUID faulting: at CPL 0 alone it goes on, and before its VM exit.
TEST_F(ProcessorControlTest, CpuidMayFaultForTheUser) {
  for (const bool nested : {false, true}) {
    NestedGuest guest(core);
    if (nested) guest.enter();
    enter_64bit_mode(core, 3);
    core.msr_storage().misc_feature_enables = MsrStorage::kCpuidFaulting;
    expect_gp(ASM64("cpuid"));
    EXPECT_EQ(core.vmx().in_non_root(), nested);
    core.msr_storage().misc_feature_enables = 0;
    nested ? expect_transferred(ASM64("cpuid")) : expect_completed(ASM64("cpuid"));
    if (nested) continue;
    enter_64bit_mode(core, 0);
    core.msr_storage().misc_feature_enables = MsrStorage::kCpuidFaulting;
    expect_completed(ASM64("cpuid"));
    core.msr_storage().misc_feature_enables = 0;
  }
}

TEST_F(ProcessorControlTest, CpuidExitsAtEveryLevel) {
  NestedGuest guest(core);
  guest.enter();
  enter_64bit_mode(core, 3);
  expect_transferred(ASM64("cpuid"));
  guest.expect_exit(vmx::ExitReason::kCpuid);
  EXPECT_EQ(guest[vmx::Field::kVmExitInstructionLength], 2u);
}

TEST_F(ProcessorControlTest, Halt) {
  enter_64bit_mode(core);
  expect_completed(ASM64("hlt"));
  EXPECT_EQ(cpu.activity, vmx::ActivityState::kHlt);
  enter_64bit_mode(core, 3);
  expect_gp(ASM64("hlt"));
  EXPECT_EQ(cpu.activity, vmx::ActivityState::kActive);
}

TEST_F(ProcessorControlTest, MonitorAndMwait) {
  const Bytes monitor = ASM64("monitor"), mwait = ASM64("mwait");
  enter_64bit_mode(core);
  cpu.misc_enable &= ~(1ull << 18);
  expect_ud(monitor);
  expect_ud(mwait);
  cpu.misc_enable |= 1 << 18;
  cpu.gpr[kRax] = 0x9000;
  expect_completed(mwait);
  EXPECT_FALSE(core.waits) << "nothing is armed";
  expect_completed(monitor);
  EXPECT_EQ(core.watched, 0x9000u);
  expect_completed(mwait);
  EXPECT_EQ(core.waits, false);
  EXPECT_FALSE(cpu.monitor_armed);
  core.waits.reset();
  expect_completed(monitor);
  core.line_written = true;
  expect_completed(mwait);
  EXPECT_FALSE(core.waits);
  core.line_written = false;
  core.unreadable.insert(9);
  expect_fault(monitor, vmx::kPf, 0);
  cpu.gpr[kRcx] = 1;
  expect_gp(monitor);
  cpu.monitor_armed = true;
  expect_completed(mwait);
  EXPECT_EQ(core.waits, true);
  cpu.gpr[kRcx] = 2;
  expect_gp(mwait);
  enter_64bit_mode(core, 3);
  cpu.misc_enable |= 1 << 18;
  expect_ud(monitor);
  expect_ud(mwait);
}

TEST_F(ProcessorControlTest, AccessCheckFlag) {
  enter_64bit_mode(core);
  expect_completed(ASM64("stac"));
  EXPECT_TRUE(cpu.rflags & vmx::rflags::kAc);
  expect_completed(ASM64("clac"));
  EXPECT_FALSE(cpu.rflags & vmx::rflags::kAc);
  enter_64bit_mode(core, 3);
  expect_ud(ASM64("stac"));
}

TEST_F(ProcessorControlTest, WhatIsNotOfferedIsUndefined) {
  enter_64bit_mode(core);
  for (const Bytes& bytes :
       {ASM64("xgetbv"), ASM64("xsetbv"), ASM64("vmmcall"), ASM64("vmrun"), ASM64("getsec"),
        ASM64("rsm"), ASM64("encls"), ASM64("pconfig"), ASM64("ud2")})
    expect_ud(bytes);
}

TEST_F(ProcessorControlTest, Invpcid) {
  const Bytes kInvpcid = ASM64("invpcid rax, [rdi]");
  constexpr uint64_t kDescriptor = 0x3000;
  enter_64bit_mode(core);
  cpu.gpr[kRdi] = kDescriptor;
  for (cpu.gpr[kRax] = 0; cpu.gpr[kRax] < 4; ++cpu.gpr[kRax]) expect_completed(kInvpcid);
  using vmx::Invalidation;
  constexpr std::array kKinds = {Invalidation::Kind::kPcidAddress, Invalidation::Kind::kPcid,
                                 Invalidation::Kind::kLinearVpid,
                                 Invalidation::Kind::kVpidRetainingGlobals};
  ASSERT_EQ(core.invalidations.size(), kKinds.size());
  for (size_t i = 0; i < kKinds.size(); ++i) EXPECT_EQ(core.invalidations[i].kind, kKinds[i]) << i;
  expect_gp(kInvpcid);
  // Without CR4.PCIDE there is no PCID but 0; types 2 and 3 name none.
  core.poke<uint64_t>(kDescriptor, 1);
  for (cpu.gpr[kRax] = 0; cpu.gpr[kRax] < 2; ++cpu.gpr[kRax]) expect_gp(kInvpcid);
  for (; cpu.gpr[kRax] < 4; ++cpu.gpr[kRax]) expect_completed(kInvpcid);
  core.poke<uint64_t>(kDescriptor, 0x1000);
  cpu.gpr[kRax] = 2;
  expect_gp(kInvpcid);
  core.poke<uint64_t>(kDescriptor, 0);
  core.poke<uint64_t>(kDescriptor + 8, 1ull << 63);
  expect_completed(kInvpcid);
  cpu.gpr[kRax] = 0;
  expect_gp(kInvpcid);
  enter_64bit_mode(core, 3);
  expect_gp(kInvpcid);
}

TEST_F(ProcessorControlTest, Invalidation) {
  enter_64bit_mode(core);
  cpu.gpr[kRdi] = 0x1234'5678;
  expect_completed(kInvlpg);
  ASSERT_EQ(core.invalidations.size(), 1u);
  EXPECT_EQ(core.invalidations[0].kind, vmx::Invalidation::Kind::kLinearAddress);
  EXPECT_EQ(core.invalidations[0].linear, 0x12345678u);
  expect_completed(ASM64("wbinvd"));
  expect_completed(ASM64("invd"));
  enter_64bit_mode(core, 3);
  for (const Bytes& bytes : {kInvlpg, ASM64("wbinvd"), ASM64("invd")}) expect_gp(bytes);
}

TEST_F(ProcessorControlTest, InvlpgReportsTheLinearAddress) {
  NestedGuest guest(core);
  guest.enable(vmx::PrimaryProcBased::kInvlpgExiting);
  guest.enter();
  enter_64bit_mode(core);
  cpu.segment[vmx::kGs].base = 0xffff8000'00000000;
  cpu.gpr[kRdi] = 0x5000;
  expect_transferred(ASM64("invlpg gs:[rdi]"));
  guest.expect_exit(vmx::ExitReason::kInvlpg);
  EXPECT_EQ(guest[vmx::Field::kExitQualification], 0xffff8000'00005000u);
}

// --- linear addresses

class LinearAddressTest : public InstructionTest {
 protected:
  void expect_linear(vmx::SegmentRegister segment, uint64_t offset, uint64_t size,
                     SegmentAccess access, uint64_t expected) {
    const auto result = linear_address(cpu, segment, offset, size, access);
    ASSERT_TRUE(std::holds_alternative<uint64_t>(result));
    EXPECT_EQ(std::get<uint64_t>(result), expected);
  }
  void expect_refused(vmx::SegmentRegister segment, uint64_t offset, uint64_t size,
                      SegmentAccess access, uint8_t vector = vmx::kGp) {
    const auto result = linear_address(cpu, segment, offset, size, access);
    ASSERT_TRUE(std::holds_alternative<Event>(result));
    EXPECT_EQ(std::get<Event>(result).vector, vector);
    EXPECT_EQ(std::get<Event>(result).error_code, 0u);
  }
  static constexpr auto kRead = SegmentAccess::kRead, kWrite = SegmentAccess::kWrite;
};

TEST_F(LinearAddressTest, Limits) {
  enter_protected_mode(core);
  cpu.segment[vmx::kDs] = {kData0, {0xc093}, 0xfff, 0x10000};
  expect_linear(vmx::kDs, 0xffc, 4, kWrite, 0x10ffc);
  expect_refused(vmx::kDs, 0xffd, 4, kRead);
  cpu.segment[vmx::kSs].limit = 0xfff;
  expect_refused(vmx::kSs, 0x1000, 1, kRead, vmx::kSs12);
  // Expand-down: above the limit.
  cpu.segment[vmx::kDs].rights.value = 0xc097;
  expect_refused(vmx::kDs, 0xfff, 1, kRead);
  expect_linear(vmx::kDs, 0x1000, 4, kWrite, 0x11000);
  expect_refused(vmx::kDs, 0xffffffff, 2, kRead);
  cpu.segment[vmx::kDs].rights.value = 0x97;  // 16-bit
  expect_linear(vmx::kDs, 0xfffe, 2, kRead, 0x1fffe);
  expect_refused(vmx::kDs, 0xffff, 2, kRead);
}

TEST_F(LinearAddressTest, Types) {
  enter_protected_mode(core);
  expect_linear(vmx::kCs, 0x10, 4, kRead, 0x10);
  expect_refused(vmx::kCs, 0x10, 4, kWrite);
  cpu.segment[vmx::kCs].rights.value = 0xc099;  // execute-only
  expect_refused(vmx::kCs, 0x10, 4, kRead);
  cpu.segment[vmx::kDs].rights.value = 0xc091;
  expect_linear(vmx::kDs, 0x10, 4, kRead, 0x10);
  expect_refused(vmx::kDs, 0x10, 4, kWrite);
  cpu.segment[vmx::kDs].rights.value = vmx::AccessRights::kUnusable;
  expect_refused(vmx::kDs, 0x10, 4, kRead);
}

TEST_F(LinearAddressTest, RealModeIgnoresTypes) {
  enter_real_mode(core);
  expect_linear(vmx::kCs, 0x10, 4, kWrite, 0x1010);
  expect_refused(vmx::kDs, 0xfffe, 4, kRead);
  cpu.segment[vmx::kDs].base = 0xffff0;
  expect_linear(vmx::kDs, 0xffff, 1, kRead, 0x10ffef);
}

TEST_F(LinearAddressTest, LinearAddressesWrapAt4GBytes) {
  enter_protected_mode(core);
  cpu.segment[vmx::kDs].base = 0xfffff000;
  expect_linear(vmx::kDs, 0x2000, 4, kRead, 0x1000);
}

TEST_F(LinearAddressTest, Canonical) {
  enter_64bit_mode(core);
  cpu.segment[vmx::kDs].base = 0x1000;  // ignored
  cpu.segment[vmx::kFs].base = 0x1000;
  expect_linear(vmx::kDs, 0x10, 8, kWrite, 0x10);
  expect_linear(vmx::kFs, 0x10, 8, kWrite, 0x1010);
  expect_linear(vmx::kDs, 0x7fff'ffff'fff8, 8, kRead, 0x7fff'ffff'fff8);
  expect_refused(vmx::kDs, 0x7fff'ffff'fff9, 8, kRead);
  expect_refused(vmx::kSs, 0x8000'0000'0000, 1, kRead, vmx::kSs12);
  expect_linear(vmx::kDs, 0xffff'8000'0000'0000, 8, kRead, 0xffff'8000'0000'0000);
}

TEST_F(LinearAddressTest, EffectiveAddress) {
  enter_64bit_mode(core);
  MemoryOperand operand;
  operand.base = vmx::kRax;
  operand.index = vmx::kRbx;
  operand.scale = 4;
  operand.displacement = static_cast<uint64_t>(-8);
  cpu.gpr[kRax] = 0xffffffff'ffffff00;
  cpu.gpr[kRbx] = 0x100;
  EXPECT_EQ(effective_address(cpu, operand), 0x2f8u);
  operand.index.reset();
  operand.address_size = 4;
  EXPECT_EQ(effective_address(cpu, operand), 0xfffffef8u);
  MemoryOperand relative;
  relative.rip_relative = true;
  relative.displacement = 0x10;
  relative.instruction_length = 7;
  EXPECT_EQ(effective_address(cpu, relative), 0x401017u);
}

TEST_F(LinearAddressTest, AdvanceRip) {
  enter_64bit_mode(core);
  cpu.rip = 0xffffffff;
  advance_rip(cpu, 1);
  EXPECT_EQ(cpu.rip, 0x1'0000'0000u);
  enter_protected_mode(core);
  cpu.rip = 0xffffffff;
  advance_rip(cpu, 3);
  EXPECT_EQ(cpu.rip, 2u);
  enter_real_mode(core);
  cpu.rip = 0xfffe;
  advance_rip(cpu, 3);
  EXPECT_EQ(cpu.rip, 1u);
}

}  // namespace
}  // namespace nestor::emu::test
