// SPDX-License-Identifier: GPL-2.0-or-later
#include "tests/emu/machine/machine_fixture.h"

namespace nestor::emu {
namespace {

using testing::ElementsAre;

class Alignment : public MachineTest {
 protected:
  Alignment() {
    handle(vmx::kAc, exit_with(17));
    handle(vmx::kPf, exit_with(14));
    cpu_.cr0 |= vmx::cr0::kAm;
    cpu_.gpr[vmx::kRcx] = kData + 1;
    enter_user_mode();
    // A program at CPL 3 ends by an access that is not allowed to it.
    handle(vmx::kGp, exit_with(1));
  }
  static Code hlt() { return ASM64("hlt"); }
  // Sets RFLAGS.AC, in 9 bytes.
  static Code set_ac() { return ASM64("pushfq; or dword ptr [rsp], 0x40000; popfq"); }
  uint32_t status_of(const Code& code) { return run(code + hlt()).code; }

  const Code kLoad32 = ASM64("mov eax, [rcx]"), kStore16 = ASM64("mov [rcx], ax"),
             kLoad8 = ASM64("mov al, [rcx]"), kAdd64 = ASM64("add [rcx], rax");
};

TEST_F(Alignment, AMisalignedOperandFaultsAtCpl3) {
  for (const Code& code : {kLoad32, kStore16, kAdd64}) {
    EXPECT_EQ(status_of(set_ac() + code), status(17));
    EXPECT_THAT(record_.exceptions, ElementsAre(Exception{vmx::kAc, 0, kCode + 9, 0}));
  }
}

TEST_F(Alignment, AlignedOperandsAndBytesDoNot) {
  EXPECT_EQ(status_of(set_ac() + kLoad8), status(1));
  cpu_.gpr[vmx::kRcx] = kData + 4;
  EXPECT_EQ(status_of(set_ac() + kLoad32), status(1));
  EXPECT_EQ(status_of(set_ac() + kAdd64), status(17)) << "8 bytes at a multiple of 4";
}

TEST_F(Alignment, NeedsBothFlags) {
  EXPECT_EQ(status_of(kLoad32), status(1)) << "RFLAGS.AC = 0";
  cpu_.rflags |= vmx::rflags::kAc;
  EXPECT_EQ(status_of(kLoad32), status(17));
  cpu_.cr0 &= ~vmx::cr0::kAm;
  EXPECT_EQ(status_of(kLoad32), status(1)) << "CR0.AM = 0";
}

TEST_F(Alignment, APageFaultComesFirst) {
  map(kData, 0);
  EXPECT_EQ(status_of(set_ac() + kLoad32), status(14));
}

TEST_F(Alignment, TheSystemIsNotChecked) {
  // The handler of #GP loads from the same place before it ends the run.
  handle(vmx::kGp, kLoad32 + exit_with(2));
  EXPECT_EQ(status_of(set_ac()), status(2));
}

// iretq to the user's code with RFLAGS.AC = 1.
TEST_F(Alignment, BeginsWithIret) {
  cpu_.segment[vmx::kCs] = {kCode64, vmx::AccessRights{0xa09b}, 0xffffffff, 0};
  cpu_.segment[vmx::kSs] = {kData64, vmx::AccessRights{0xc093}, 0xffffffff, 0};
  cpu_.gpr[vmx::kRsp] = kStack - 40;
  const uint64_t frame[] = {kCode + 2, kUserCode, vmx::rflags::kAc | vmx::rflags::kFixed1,
                            kUserStack, kUserData};
  for (size_t i = 0; i < 5; ++i) put(kStack - 40 + 8 * i, frame[i]);
  EXPECT_EQ(status_of(ASM64("iretq") + kLoad32), status(17));
  EXPECT_THAT(record_.exceptions, ElementsAre(Exception{vmx::kAc, 0, kCode + 2, 0}));
}

}  // namespace
}  // namespace nestor::emu
