// SPDX-License-Identifier: GPL-2.0-or-later
//
// Instructions and cycles, and stops between blocks.
#include "tests/emu/engine/unicorn/engine_fixture.h"

namespace nestor::emu {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

class EngineTiming : public EngineTest {
 protected:
  // One block of four instructions, then 99 of three.
  const Code kLoop = ASM64("xor ebx, ebx; 2: inc ebx; cmp ebx, 100; jne 2b; hlt");
  static constexpr uint64_t kLoopInstructions = 1 + 3 * 100;
};

TEST_F(EngineTiming, ALoopCountsEachInstruction) {
  vmx::CpuState state = long_mode();
  run(state, kLoop);
  EXPECT_EQ(state.gpr[vmx::kRbx], 100u);
  EXPECT_EQ(context_.instructions, kLoopInstructions);
  EXPECT_EQ(clock_.cycles(), kLoopInstructions * prices_.list.instruction);
}

TEST_F(EngineTiming, EachContextCountsItsOwnInstructionsAndPricesCountAll) {
  ExecutionContext other(0);
  put_code(kLoop);
  vmx::CpuState state = long_mode();
  engine_->enter(other);
  (void)engine_->run(state, mode_);
  EXPECT_EQ(other.instructions, kLoopInstructions);
  EXPECT_EQ(context_.instructions, 0u);
  state = long_mode();
  run(state);
  EXPECT_EQ(other.instructions, kLoopInstructions);
  EXPECT_EQ(context_.instructions, kLoopInstructions);
  EXPECT_EQ(prices_.instructions(), 2 * kLoopInstructions);
}

TEST_F(EngineTiming, TheDeadlineStopsBeforeTheFirstBlockAfterIt) {
  put_code(kLoop);
  vmx::CpuState state = long_mode();
  mode_.deadline = 50;
  Stop stop = run(state);
  EXPECT_EQ(stop.kind, StopKind::kDeadline);
  // 4 + 3 * 16 = 52 is the first sum from 50 on.
  EXPECT_THAT(deadlines_, ElementsAre(52));
  EXPECT_EQ(clock_.cycles(), 52u);
  EXPECT_EQ(context_.instructions, 52u);
  EXPECT_EQ(state.rip, kCode + 2);
  EXPECT_EQ(state.gpr[vmx::kRbx], 17u);

  mode_.deadline = ~0ull;
  stop = run(state);
  EXPECT_EQ(stop.kind, StopKind::kInstruction);
  EXPECT_EQ(state.gpr[vmx::kRbx], 100u);
  EXPECT_EQ(context_.instructions, kLoopInstructions);
  EXPECT_EQ(deadlines_.size(), 1u);
}

TEST_F(EngineTiming, ADeadlineThatIsPastStopsAtOnce) {
  put_code(kLoop);
  vmx::CpuState state = long_mode();
  mode_.deadline = 0;
  EXPECT_EQ(run(state).kind, StopKind::kDeadline);
  EXPECT_EQ(state.rip, kCode);
  EXPECT_EQ(context_.instructions, 0u);
}

TEST_F(EngineTiming, AClientThatGoesOnIsAskedBeforeEveryBlock) {
  stop_at_deadline_ = false;
  mode_.deadline = 298;
  vmx::CpuState state = long_mode();
  EXPECT_EQ(run(state, kLoop).kind, StopKind::kInstruction);
  EXPECT_EQ(state.gpr[vmx::kRbx], 100u);
  // The last round of the loop, and HLT.
  EXPECT_THAT(deadlines_, ElementsAre(298, 301));
}

TEST_F(EngineTiming, ARequestedStopIsForgottenWithTheNextRun) {
  vmx::CpuState state = long_mode();
  engine_->request_stop();
  EXPECT_EQ(run(state, kLoop).kind, StopKind::kInstruction);
  EXPECT_THAT(deadlines_, IsEmpty());
}

TEST_F(EngineTiming, StopsInTheMiddleOfABlockCountWhatCompleted) {
  const Code kFives[] = {
      ASM64("nop; xchg ax, ax; mov rax, rax; nop; nop; cpuid; nop; nop"),
      ASM64("nop; xchg ax, ax; mov rax, rax; nop; nop; in al, 0x80; nop; nop"),
      // A refused read.
      ASM64("nop; xchg ax, ax; mov rax, rax; nop; nop; mov ecx, [rcx]; nop; nop; hlt"),
      // #DE.
      ASM64("nop; xchg ax, ax; mov rax, rax; nop; nop; div edx; nop; nop; hlt"),
      ASM64("nop; xchg ax, ax; mov rax, rax; nop; nop; syscall; nop; nop; hlt"),
  };
  uint64_t expected = 0;
  for (int round = 0; round < 3; ++round) {
    for (const Code& code : kFives) {
      vmx::CpuState state = long_mode();
      state.gpr[vmx::kRcx] = 0x500'0000;
      state.gpr[vmx::kRdx] = 0;
      run(state, code);
      EXPECT_EQ(state.rip, kCode + 8);
      expected += 5;
      EXPECT_EQ(context_.instructions, expected);
      EXPECT_EQ(clock_.cycles(), expected);
    }
  }
}

// Two instructions of one block stop it, one after the other: each time the rest is given back.
TEST_F(EngineTiming, AResumedBlockCountsItsRestOnce) {
  const Code code = ASM64("nop; mov eax, [rcx]; nop; mov edx, [rdx]; nop; hlt");
  vmx::CpuState state = long_mode();
  state.gpr[vmx::kRcx] = 0x500'0000;
  state.gpr[vmx::kRdx] = 0x600'0000;
  EXPECT_EQ(run(state, code).kind, StopKind::kRefusedFill);
  EXPECT_EQ(context_.instructions, 1u);
  pages_[0x500'0000] = {kData};
  EXPECT_EQ(run(state).kind, StopKind::kRefusedFill);
  EXPECT_EQ(context_.instructions, 3u);
  pages_[0x600'0000] = {kData};
  EXPECT_EQ(run(state).kind, StopKind::kInstruction);
  EXPECT_EQ(context_.instructions, 5u);
  EXPECT_EQ(clock_.cycles(), 5u);
}

// Accessed flags of paging-structure entries that are executed: what was one instruction is seven.
TEST_F(EngineTiming, CodeThatAWalkChangesIsNeverCountedBelowNothing) {
  constexpr uint64_t kNops = 0x8b90'9090'9090'9090;
  vmx::CpuState state = long_mode();
  state.gpr[vmx::kRcx] = kData;
  state.gpr[vmx::kRdx] = 0x500'0000;
  during_fill = [&] {
    if (fills_.back().access == FillAccess::kRead) set_ram(kCode, kNops);
  };
  const Code code = {0x0f, 0x1f, 0x80, 0, 0, 0, 0, 0x8b, 0x01, 0x8b, 0x12, 0xf4};
  EXPECT_EQ(run(state, code).kind, StopKind::kRefusedFill);
  EXPECT_LE(context_.instructions, 4u);
  EXPECT_LE(clock_.cycles(), 4u);
}

TEST_F(EngineTiming, CountsHoldInRealModeWhereCodeHasABase) {
  vmx::CpuState state = real_mode();
  run(state, ASM16("nop; inc ax; nop; cpuid"));
  EXPECT_EQ(state.rip, 3u);
  EXPECT_EQ(context_.instructions, 3u);
  state = real_mode();
  state.segment[vmx::kDs].limit = 0xffff;
  run(state, ASM16("nop; inc ax; in al, 0x80"));
  EXPECT_EQ(context_.instructions, 5u);
}

// The same bytes are other instructions in another mode.
TEST_F(EngineTiming, CountsDependOnTheMode) {
  const Code code = {0x48, 0x40, 0x40, 0x90, 0xf4};  // REX prefixes, or DEC and INC
  vmx::CpuState state = long_mode();
  run(state, code);
  EXPECT_EQ(state.rip, kCode + 4);
  EXPECT_EQ(context_.instructions, 1u);
  state = protected_mode();
  run(state, code);
  EXPECT_EQ(state.rip, kCode + 4);
  EXPECT_EQ(context_.instructions, 5u);
}

TEST_F(EngineTiming, ABlockAcrossTwoPagesCountsEachInstructionOnce) {
  put_code(ASM64("nop; nop; mov rax, rax; nop; hlt"), kCode + kPage - 3);
  vmx::CpuState state = long_mode();
  state.rip = kCode + kPage - 3;
  run(state);
  EXPECT_EQ(state.rip, kCode + kPage + 3);
  EXPECT_EQ(context_.instructions, 4u);
}

TEST_F(EngineTiming, ALongStraightRunCountsEachInstruction) {
  Code code(3000, 0x90);
  code.push_back(0xf4);
  put_code(code);
  vmx::CpuState state = long_mode();
  run(state);
  EXPECT_EQ(state.rip, kCode + 3000);
  EXPECT_EQ(context_.instructions, 3000u);
}

TEST_F(EngineTiming, AnotherPriceChangesCyclesButNotCounts) {
  prices_.list.instruction = 7;
  vmx::CpuState state = long_mode();
  run(state, kLoop);
  EXPECT_EQ(context_.instructions, kLoopInstructions);
  EXPECT_EQ(clock_.cycles(), 7 * kLoopInstructions);
}

}  // namespace
}  // namespace nestor::emu
