// SPDX-License-Identifier: GPL-2.0-or-later
//
// What L1 sees of its guest below an L0.
#include "tests/emu/l0/nested_machine_fixture.h"

namespace nestor::emu {
namespace {

using vmx::Field;

class BelowL0 : public NestedMachineTest {};

// L0's own time lies between the VM exit and L1, and is in no VM-exit information.
TEST_F(BelowL0, TheMsrStoreAreaHasTheTimeOfTheVmExit) {
  constexpr uint32_t kTimeStampCounter = 0x10;
  put<uint32_t>(kScratch, kTimeStampCounter);
  vmcs_.write(Field::kVmExitMsrStoreAddress, kScratch);
  vmcs_.write(Field::kVmExitMsrStoreCount, 1);
  // The first store pays for the page walk.
  const Code guest = store(kData) + ASM64("rdtsc") + store(kData) + ASM64("cpuid");
  const Code handler = ASM64("mov eax, [0x20008]; sub eax, [0x80000]; out 0xf4, eax");
  const RunResult alone = run_guest(guest, handler);
  ASSERT_EQ(alone.kind, RunResult::Kind::kDebugExit);
  EXPECT_GT(alone.code, status(0));
  for (const L0Mode mode : {L0Mode::kTwoLevel, L0Mode::kNestedEpt, L0Mode::kShadowOnEpt}) {
    config_.l0.mode = mode;
    EXPECT_EQ(run_guest(guest, handler).code, alone.code) << info_of(mode).name;
  }
}

// A shadow VMCS answers VMREAD and VMWRITE only while L1 has a current VMCS: without one they fail,
// and outside VMX operation they are #UD.
TEST_F(BelowL0, VmwriteNeedsVmxOperationAndACurrentVmcs) {
  put_guest({}, {});
  handle(vmx::kUd, exit_with(6));
  const Code begin = ASM64(
      "mov ecx, 0x3a; mov eax, 5; xor edx, edx; wrmsr; "
      "mov rax, cr4; or eax, 0x2000; mov cr4, rax; vmxon [0xb000]; mov ecx, 0x681e");
  const Code vmclear = ASM64("vmptrld [0xb008]; vmclear [0xb008]");
  const Code vmxoff = ASM64("vmptrld [0xb008]; vmxoff");
  const Code end = ASM64("setc al; movzx eax, al; out 0xf4, eax");
  for (const L0ModeInfo& mode : kL0Modes) {
    for (const bool shadowing : {true, false}) {
      SCOPED_TRACE(std::string(mode.name) + (shadowing ? "" : " without VMCS shadowing"));
      config_.l0 = {.mode = mode.mode, .vmcs_shadowing = shadowing};
      for (const Code& access : {Code(ASM64("vmwrite rcx, rax")), Code(ASM64("vmread rax, rcx"))}) {
        EXPECT_EQ(run(begin + access + end).code, status(1)) << "VMfailInvalid";
        EXPECT_EQ(run(begin + vmclear + access + end).code, status(1)) << "VMfailInvalid";
        EXPECT_EQ(run(begin + vmxoff + access + end).code, status(6)) << "#UD";
      }
    }
  }
}

}  // namespace
}  // namespace nestor::emu
