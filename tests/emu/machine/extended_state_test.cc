// SPDX-License-Identifier: GPL-2.0-or-later
//
// XSAVE and XSETBV on a whole machine: what they save is in the engine.
#include <cstring>

#include "tests/emu/machine/machine_fixture.h"

namespace nestor::emu {
namespace {

class ExtendedMachine : public MachineTest {
 protected:
  // mov rax, cr4; or eax, OSXSAVE | OSFXSR; mov cr4, rax; xor ecx, ecx; xor edx, edx; mov eax, 3;
  // xsetbv
  static Code enable() {
    return ASM64(
        "mov rax, cr4; or eax, 0x40200; mov cr4, rax; xor ecx, ecx; "
        "xor edx, edx; mov eax, 3; xsetbv");
  }
};

TEST_F(ExtendedMachine, RegistersOfTheEngineAreSavedAndRestored) {
  cpu_.gpr[vmx::kRsi] = kData;
  cpu_.gpr[vmx::kRdi] = kData + 0x400;
  put<uint32_t>(kData + 0x400, 0x1f00);
  const Code code = enable() + ASM64(
                                   "fninit; fld1; fldpi; movd xmm9, esi; xsave [rsi]; fninit; "
                                   "pxor xmm9, xmm9; ldmxcsr [rdi]; xrstor [rsi]; xsave [rdi]");
  const auto word = [&](uint32_t at) {
    Code read = ASM64("mov eax, [rdi + 0x100]; out 0xf4, eax");
    std::memcpy(read.data() + 2, &at, sizeof at);
    return run(code + read).code;
  };
  EXPECT_EQ(word(0), status(0x3000'037f)) << "FCW and FSW: two pushes";
  EXPECT_EQ(word(4) & 0x1ff, status(0xc0) & 0x1ff) << "tags";
  EXPECT_EQ(word(24), status(0x1f80)) << "MXCSR";
  EXPECT_EQ(word(36), status(0xc90fdaa2)) << "ST0: pi";
  EXPECT_EQ(word(52), status(0x80000000)) << "ST1: 1";
  EXPECT_EQ(word(160 + 9 * 16), status(kData)) << "XMM9";
  EXPECT_EQ(word(512), status(3)) << "XSTATE_BV";
}

TEST_F(ExtendedMachine, StartsInTheInitialConfiguration) {
  cpu_.gpr[vmx::kRdi] = kData;
  const Code code = enable() + ASM64("stmxcsr [rdi]; mov eax, [rdi]; out 0xf4, eax");
  EXPECT_EQ(run(code).code, status(0x1f80));
  EXPECT_EQ(run(enable() + ASM64("mov ecx, 1; xgetbv; out 0xf4, eax")).code, status(0));
}

TEST_F(ExtendedMachine, UserCodeFindsXsetbvPrivilegedAndWithoutOsxsaveUndefined) {
  handle(vmx::kUd, exit_with(6));
  handle(vmx::kGp, exit_with(13));
  enter_user_mode();
  EXPECT_EQ(run(ASM64("xsetbv")).code, status(6));
  cpu_.cr4 |= vmx::cr4::kOsxsave;
  EXPECT_EQ(run(ASM64("xsetbv")).code, status(13));
}

}  // namespace
}  // namespace nestor::emu
