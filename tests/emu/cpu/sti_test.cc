// SPDX-License-Identifier: GPL-2.0-or-later
//
// "STI": events are held back for one instruction if IF was 0, and not at all if it was 1.
#include "tests/emu/l0/nested_machine_fixture.h"

namespace nestor::emu {
namespace {

class Sti : public MachineTest {
 protected:
  static constexpr unsigned kVector = 0x41;
  // Where an interrupt that comes with `code` is taken.
  uint64_t taken(const Code& before, const Code& code) {
    handle(kVector, ASM64("mov rax, [rsp]; out 0xf4, eax"));
    const Code start = enable_apic() + before;
    const RunResult result = run(start + code + exit_with(1));
    return (result.code >> 1) - (kCode + start.size());
  }
};

TEST_F(Sti, BlocksWhereInterruptsWereMasked) {
  const Code kSend = self_ipi(kVector) + block_end();
  EXPECT_EQ(taken(kCli + kSend, ASM64("sti; nop; nop")), 2u);
  EXPECT_EQ(taken(kCli + kSend, ASM64("sti; sti; nop; nop")), 2u);
  EXPECT_EQ(taken(kCli + kSend, ASM64("nop; cli; sti; nop; nop")), 4u);
}

// Where within a block it is noticed is open.
TEST_F(Sti, DoesNotWhereTheyWereNot) {
  cpu_.rflags |= vmx::rflags::kIf;
  const Code kSend = self_ipi(kVector);
  EXPECT_LE(taken({}, kSend + ASM64("sti; nop; nop")), kSend.size() + 1);
  EXPECT_LE(taken({}, kSend + ASM64("nop; sti; nop; nop")), kSend.size() + 2);
  EXPECT_EQ(taken({}, kSend + ASM64("cli; sti; nop; nop")), kSend.size() + 3);
}

class StiInGuest : public NestedMachineTest {
 protected:
  uint32_t interruptibility(const Code& code, uint64_t rflags) {
    vmcs_.write(vmx::Field::kGuestRflags, rflags);
    const RunResult result =
        run_guest(code, exit_with_field(vmx::Field::kGuestInterruptibilityState));
    return static_cast<uint32_t>(result.code >> 1);
  }
};

TEST_F(StiInGuest, TheInterruptibilityStateSaysSo) {
  EXPECT_EQ(interruptibility(ASM64("sti; cpuid"), 2), 1u);
  EXPECT_EQ(interruptibility(ASM64("sti; cpuid"), 0x202), 0u);
  EXPECT_EQ(interruptibility(ASM64("nop; sti; cpuid"), 0x202), 0u);
  EXPECT_EQ(interruptibility(ASM64("cli; sti; cpuid"), 0x202), 1u);
  EXPECT_EQ(interruptibility(ASM64("sti; sti; cpuid"), 2), 0u);
  EXPECT_EQ(interruptibility(ASM64("sti; nop; cpuid"), 2), 0u);
}

TEST_F(StiInGuest, TheMonitorTrapFlagSeesTheSame) {
  enable(vmx::PrimaryProcBased::kMonitorTrapFlag);
  EXPECT_EQ(interruptibility(ASM64("sti; nop"), 2), 1u);
  EXPECT_EQ(interruptibility(ASM64("sti; nop"), 0x202), 0u);
}

TEST_F(StiInGuest, NmiWindowsAreOpenAtOnceWhereInterruptsWere) {
  enable(vmx::PinBased::kNmiExiting);
  enable(vmx::PinBased::kVirtualNmis);
  // The first VM exit opens the window; the guest goes on with STI.
  for (const bool enabled : {false, true}) {
    vmcs_.write(vmx::Field::kGuestRflags, enabled ? 0x202 : 2);
    enable(vmx::PrimaryProcBased::kInterruptWindowExiting);
    run_guest(ASM64("sti; nop; nop"));
    ASSERT_FALSE(record_.exits.empty());
    EXPECT_EQ(record_.exits.front().guest_rip, kGuest + (enabled ? 0 : 2));
  }
}

}  // namespace
}  // namespace nestor::emu
