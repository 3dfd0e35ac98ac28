// SPDX-License-Identifier: GPL-2.0-or-later
//
// IN, OUT, INS, OUTS.
#include "tests/emu/cpu/instruction_fixture.h"

namespace nestor::emu::test {
namespace {

using vmx::kRax;
using vmx::kRcx;
using vmx::kRdi;
using vmx::kRdx;
using vmx::kRsi;

const Bytes kInAlDx = ASM64("in al, dx"), kInEaxDx = ASM64("in eax, dx"),
            kInAxDx = ASM64("in ax, dx"), kOutDxAl = ASM64("out dx, al"),
            kOutDxEax = ASM64("out dx, eax"), kInAlImm = ASM64("in al, 0x71"),
            kOutImmAl = ASM64("out 0x70, al"), kInsb = ASM64("insb"), kRepInsd = ASM64("rep insd"),
            kOutsb = ASM64("outsb"), kRepOutsb = ASM64("rep outsb");

class IoTest : public InstructionTest {
 protected:
  using Write = RecordingDevice::Write;
  void set_bitmap(uint16_t base) { core.poke<uint16_t>(kTssBase + 102, base); }
};

TEST_F(IoTest, WidthsOfInput) {
  enter_64bit_mode(core);
  cpu.gpr[kRdx] = 0x1'0000'03f8;
  cpu.gpr[kRax] = 0xaaaa'aaaa'aaaa'aaaa;
  expect_completed(kInAlDx);
  EXPECT_EQ(cpu.gpr[kRax], 0xaaaa'aaaa'aaaa'aa44u);
  expect_completed(kInAxDx);
  EXPECT_EQ(cpu.gpr[kRax], 0xaaaa'aaaa'aaaa'3345u);
  expect_completed(kInEaxDx);
  EXPECT_EQ(cpu.gpr[kRax], 0x11223346u);
  expect_completed(kInAlImm);
  EXPECT_EQ(core.device.reads, (std::vector<uint16_t>{0x3f8, 0x3f8, 0x3f8, 0x71}));
}

TEST_F(IoTest, WidthsOfOutput) {
  enter_protected_mode(core);
  cpu.gpr[kRdx] = 0x80;
  cpu.gpr[kRax] = 0x12345678;
  expect_completed(kOutDxAl);
  expect_completed(kOutDxEax);
  expect_completed(kOutImmAl);
  EXPECT_EQ(core.device.writes,
            (std::vector<Write>{{0x80, 1, 0x78}, {0x80, 4, 0x12345678}, {0x70, 1, 0x78}}));
}

TEST_F(IoTest, PermissionBitmap) {
  enter_protected_mode(core, 3);
  cpu.segment[vmx::kTr].limit = 0x67 + 0x20;
  set_bitmap(0x68);
  cpu.gpr[kRdx] = 0x47;
  expect_completed(kInAlDx);
  core.poke<uint8_t>(kTssBase + 0x68 + 9, 0x01);  // port 48H
  expect_completed(kInAlDx);
  expect_gp(kInAxDx);  // 47H and 48H
  cpu.gpr[kRdx] = 0x48;
  expect_gp(kInAlDx);
  expect_gp(kOutDxAl);
  expect_gp(ASM64("outsb"));
  EXPECT_TRUE(core.device.writes.empty());
  cpu.rflags |= vmx::rflags::kIopl;
  expect_completed(kInAlDx);
}

TEST_F(IoTest, BitmapOutsideTheTss) {
  enter_protected_mode(core, 3);
  set_bitmap(0x68);
  cpu.gpr[kRdx] = 0;
  cpu.segment[vmx::kTr].limit = 0x68;
  expect_gp(kInAlDx);  // two bytes are read
  cpu.segment[vmx::kTr].limit = 0x69;
  expect_completed(kInAlDx);
  cpu.gpr[kRdx] = 8;
  expect_gp(kInAlDx);
  cpu.segment[vmx::kTr].limit = 102;
  expect_gp(kInAlDx);
  cpu.segment[vmx::kTr] = {kTss, {0x83}, 0xffff, kTssBase};  // 16-bit TSS
  expect_gp(kInAlDx);
}

TEST_F(IoTest, FaultOnTheBitmap) {
  enter_protected_mode(core, 3);
  core.unreadable.insert(kTssBase / FakeCore::kPage);
  expect_fault(kInAlDx, vmx::kPf, 0);
}

TEST_F(IoTest, VirtualModeIgnoresIopl) {
  enter_virtual_8086_mode(core);
  cpu.rflags |= vmx::rflags::kIopl;
  set_bitmap(0xffff);
  expect_gp(kInAlDx);
}

TEST_F(IoTest, StringInput) {
  enter_64bit_mode(core);
  cpu.gpr[kRdx] = 0x1f0;
  cpu.gpr[kRdi] = 0x9000;
  cpu.gpr[kRcx] = 2;
  expect_completed(kRepInsd);
  EXPECT_EQ(core.peek<uint32_t>(0x9000), 0x11223344u);
  EXPECT_EQ(core.peek<uint32_t>(0x9004), 0x11223345u);
  EXPECT_EQ(cpu.gpr[kRdi], 0x9008u);
  EXPECT_EQ(cpu.gpr[kRcx], 0u);
  expect_completed(kRepInsd);  // RCX is 0
  EXPECT_EQ(cpu.gpr[kRdi], 0x9008u);
  cpu.rflags |= vmx::rflags::kDf;
  expect_completed(kInsb);
  EXPECT_EQ(cpu.gpr[kRdi], 0x9007u);
}

TEST_F(IoTest, LongStringsStopInBetween) {
  enter_64bit_mode(core);
  cpu.gpr[kRdi] = 0x9000;
  cpu.gpr[kRcx] = 1000;
  const uint64_t rip = cpu.rip;
  unsigned calls = 1;
  while (std::holds_alternative<Jumped>(run(kRepInsd))) {
    EXPECT_EQ(cpu.rip, rip);
    EXPECT_TRUE(cpu.rflags & vmx::rflags::kRf);
    ASSERT_LT(++calls, 1000u);
  }
  EXPECT_GT(calls, 1u);
  EXPECT_EQ(cpu.gpr[kRcx], 0u);
  EXPECT_EQ(cpu.gpr[kRdi], 0x9000u + 4000);
  EXPECT_EQ(core.device.reads.size(), 1000u);
}

TEST_F(IoTest, SingleStepSeesEachIteration) {
  enter_64bit_mode(core);
  cpu.rflags |= vmx::rflags::kTf;
  cpu.gpr[kRdi] = 0x9000;
  cpu.gpr[kRcx] = 2;
  expect_jumped(kRepInsd);
  EXPECT_EQ(cpu.gpr[kRcx], 1u);
  expect_completed(kRepInsd);
}

TEST_F(IoTest, FaultKeepsTheIterationsBefore) {
  enter_64bit_mode(core);
  core.unwritable.insert(0xa);
  cpu.gpr[kRdi] = 0x9ff8;
  cpu.gpr[kRcx] = 5;
  expect_fault(kRepInsd, vmx::kPf, 2);
  EXPECT_EQ(cpu.gpr[kRcx], 3u);
  EXPECT_EQ(cpu.gpr[kRdi], 0xa000u);
  EXPECT_EQ(core.device.reads.size(), 2u);  // the device is not read for nothing
}

// An iteration ends at an instruction boundary, and with it the blocking by STI and by MOV SS:
// where the instruction stops in between, because of a fault or because a batch is over, none is
// left from the second iteration on.
TEST_F(IoTest, BlockingEndsWithTheFirstIteration) {
  struct Stop {
    const char* name;
    uint64_t count, room;  // iterations that are asked for, and that memory has
    bool first;            // it stops in the first iteration
    bool completes;        // the blocking of a completed instruction is the caller's
  };
  constexpr Stop kStops[] = {{"the first one faults", 1000, 0, true, false},
                             {"the second one faults", 1000, 1, false, false},
                             {"a later one faults", 1000, 9, false, false},
                             {"the batch is over", 1000, 1000, false, false},
                             {"the last one is done", 1, 1000, true, true}};
  for (const Bytes& code : {kRepInsd, kRepOutsb}) {
    const unsigned size = code == kRepInsd ? 4 : 1;
    for (const Stop& stop : kStops) {
      for (const bool sti : {false, true}) {
        SCOPED_TRACE(testing::Message() << stop.name << (sti ? " STI" : " MOV SS"));
        enter_64bit_mode(core);
        core.unwritable = core.unreadable = {0xa};
        cpu.gpr[kRdi] = cpu.gpr[kRsi] = stop.room < 1000 ? 0xa000 - stop.room * size : 0xb000;
        cpu.gpr[kRcx] = stop.count;
        (sti ? cpu.blocking_by_sti : cpu.blocking_by_mov_ss) = true;
        const Outcome outcome = run(code);
        EXPECT_EQ(std::holds_alternative<vmx::Completed>(outcome), stop.completes);
        EXPECT_EQ(cpu.blocking_by_sti, sti && stop.first);
        EXPECT_EQ(cpu.blocking_by_mov_ss, !sti && stop.first);
      }
    }
  }
}

TEST_F(IoTest, AddressSizeWraps) {
  enter_real_mode(core);
  cpu.gpr[kRsi] = 0xabcd'ffff;
  cpu.gpr[kRcx] = 0xabcd'0002;
  cpu.segment[vmx::kDs] = {0x900, {0x93}, 0xffff, 0x9000};
  core.poke<uint8_t>(0x9000 + 0xffff, 0x5a);
  core.poke<uint8_t>(0x9000, 0xa5);
  expect_completed(kRepOutsb);
  EXPECT_EQ(cpu.gpr[kRsi], 0xabcd0001u);
  EXPECT_EQ(cpu.gpr[kRcx], 0xabcd0000u);
  ASSERT_EQ(core.device.writes.size(), 2u);
  EXPECT_EQ(core.device.writes[0].value, 0x5au);
  EXPECT_EQ(core.device.writes[1].value, 0xa5u);
}

TEST_F(IoTest, SegmentOverrideAndChecks) {
  enter_protected_mode(core);
  cpu.segment[vmx::kFs] = {kData0, {0xc093}, 0xfff, 0x9000};
  cpu.gpr[kRsi] = 0x10;
  core.poke<uint8_t>(0x9010, 0x77);
  expect_completed(ASM64("fs outsb"));
  EXPECT_EQ(core.device.writes.back().value, 0x77u);
  cpu.gpr[kRsi] = 0x1000;
  expect_gp(ASM64("fs outsb"));
  cpu.segment[vmx::kEs] = {0, {vmx::AccessRights::kUnusable}, 0, 0};
  expect_gp(kInsb);
  cpu.segment[vmx::kEs] = {kReadOnly, {0xc091}, 0xffffffff, 0};
  expect_gp(kInsb);
}

TEST_F(IoTest, ExitQualification) {
  NestedGuest guest(core);
  guest.enable(vmx::PrimaryProcBased::kUnconditionalIoExiting);
  guest.enter();
  enter_64bit_mode(core);
  cpu.gpr[kRdx] = 0x3f8;
  cpu.gpr[kRsi] = 0x1234;
  cpu.gpr[kRcx] = 1;
  cpu.segment[vmx::kFs].base = 0x10000;
  expect_transferred({0x67, 0x64, 0xf3, 0x6e});
  guest.expect_exit(vmx::ExitReason::kIoInstruction);
  EXPECT_EQ(guest[vmx::Field::kExitQualification], 0x3f8'0030u);  // OUT, string, REP
  EXPECT_EQ(guest[vmx::Field::kGuestLinearAddress], 0x11234u);
  // FS, 32-bit addresses.
  EXPECT_EQ(guest[vmx::Field::kVmExitInstructionInformation], 4u << 15 | 1u << 7);
  EXPECT_EQ(guest[vmx::Field::kVmExitInstructionLength], 4u);
}

TEST_F(IoTest, ExitComesBehindPermissionAndBeforeSegmentFaults) {
  NestedGuest guest(core);
  guest.enable(vmx::PrimaryProcBased::kUnconditionalIoExiting);
  guest.enter();
  enter_protected_mode(core, 3);
  set_bitmap(0xffff);
  expect_gp(kInsb);
  cpu.rflags |= vmx::rflags::kIopl;
  cpu.segment[vmx::kEs] = {0, {vmx::AccessRights::kUnusable}, 0, 0};
  expect_transferred(kInsb);
  guest.expect_exit(vmx::ExitReason::kIoInstruction);
}

TEST_F(IoTest, NoExitWithoutIterations) {
  NestedGuest guest(core);
  guest.enable(vmx::PrimaryProcBased::kUnconditionalIoExiting);
  guest.enter();
  cpu.gpr[kRcx] = 0;
  expect_completed(kRepInsd);
  EXPECT_TRUE(core.vmx().in_non_root());
}

}  // namespace
}  // namespace nestor::emu::test
