// SPDX-License-Identifier: GPL-2.0-or-later
//
// RDRAND, RDSEED and RDPID.
#include "tests/emu/cpu/instruction_fixture.h"
#include "tests/emu/machine/machine_fixture.h"

namespace nestor::emu::test {
namespace {

class RandomNumberTest : public InstructionTest {
 protected:
  // With EAX; the last byte of the opcode tells the register.
  const Bytes kRdrand = ASM64("rdrand eax"), kRdseed = ASM64("rdseed eax");
};

TEST_F(RandomNumberTest, WidthsAndFlags) {
  enter_64bit_mode(core, 3);
  for (const Bytes& bytes : {kRdrand, kRdseed}) {
    cpu.gpr[vmx::kRax] = ~0ull;
    cpu.rflags = 0x8d6;  // OF, SF, ZF, AF, PF
    expect_completed(bytes);
    EXPECT_EQ(cpu.gpr[vmx::kRax], 0x55667788u);
    EXPECT_EQ(cpu.rflags, 3u);
    Bytes wide = bytes, narrow = bytes;
    wide.insert(wide.begin(), 0x48);
    narrow.insert(narrow.begin(), 0x66);
    expect_completed(wide);
    EXPECT_EQ(cpu.gpr[vmx::kRax], 0x1122334455667788u);
    cpu.gpr[vmx::kRax] = ~0ull;
    expect_completed(narrow);
    EXPECT_EQ(cpu.gpr[vmx::kRax], 0xffffffffffff7788u);
  }
}

TEST_F(RandomNumberTest, ExitsNameTheRegisterAndItsSize) {
  struct Case {
    Bytes bytes;
    vmx::SecondaryProcBased control;
    vmx::ExitReason reason;
    uint64_t information;
  };
  const Case kCases[] = {
      {ASM64("rdrand ebx"), vmx::SecondaryProcBased::kRdrandExiting, vmx::ExitReason::kRdrand,
       3u << 3 | 1u << 11},
      {ASM64("rdrand di"), vmx::SecondaryProcBased::kRdrandExiting, vmx::ExitReason::kRdrand,
       7u << 3},
      {ASM64("rdseed r13"), vmx::SecondaryProcBased::kRdseedExiting, vmx::ExitReason::kRdseed,
       13u << 3 | 2u << 11},
  };
  for (const Case& c : kCases) {
    FakeCore fresh;
    NestedGuest guest(fresh);
    guest.enable(c.control);
    guest.enter();
    enter_64bit_mode(fresh, 3);
    const auto instruction = decoder.decode(c.bytes, code_mode(fresh.cpu));
    ASSERT_TRUE(instruction);
    EXPECT_TRUE(std::holds_alternative<vmx::Transferred>(emulate(fresh, *instruction)));
    guest.expect_exit(c.reason);
    EXPECT_EQ(guest[vmx::Field::kVmExitInstructionInformation], c.information);
    EXPECT_EQ(guest[vmx::Field::kVmExitInstructionLength], c.bytes.size());
    EXPECT_EQ(guest[vmx::Field::kExitQualification], 0u);
  }
}

TEST_F(RandomNumberTest, RdpidReadsTscAux) {
  const Bytes kRdpid = ASM64("rdpid rax");
  enter_64bit_mode(core, 3);
  cpu.tsc_aux = 0x1234;
  expect_completed(kRdpid);
  EXPECT_EQ(cpu.gpr[vmx::kRax], 0x1234u);
  NestedGuest guest(core);
  guest.enter();
  expect_ud(kRdpid);
}

TEST_F(RandomNumberTest, RdpidIsEnabledLikeRdtscpAndNeverExits) {
  NestedGuest guest(core);
  guest.enable(vmx::SecondaryProcBased::kEnableRdtscp);
  guest.enable(vmx::PrimaryProcBased::kRdtscExiting);
  guest.enter();
  expect_completed(ASM64("rdpid rax"));
}

using RandomNumberMachine = MachineTest;

TEST_F(RandomNumberMachine, FollowsTheSeed) {
  const Code code = ASM64("rdrand eax; rdseed ebx; out 0xf4, eax");
  const uint32_t first = run(code).code;
  EXPECT_EQ(run(code).code, first);
  config_.processor.random_seed = 2;
  EXPECT_NE(run(code).code, first);
}

}  // namespace
}  // namespace nestor::emu::test
