// SPDX-License-Identifier: GPL-2.0-or-later
//
// EngineClient::goes_on: a stop is dealt with, and the engine begins again without having returned.
#include "tests/emu/engine/unicorn/engine_fixture.h"

namespace nestor::emu {
namespace {

class EngineGoesOn : public EngineTest {
 protected:
  // Does what follows at the first stop, and runs on.
  void at_first_stop(std::function<void(const Stop&)> action) {
    after_stop = [this, action = std::move(action)](const Stop& stop) {
      if (++stops_ != 1) return false;
      action(stop);
      return true;
    };
  }
  static constexpr uint64_t kObserved =
      vmx::rflags::kCf | vmx::rflags::kZf | vmx::rflags::kOf | vmx::rflags::kDf;
  int stops_ = 0;
};

TEST_F(EngineGoesOn, FromTheStateAsItIsThen) {
  vmx::CpuState state = long_mode();
  state.rflags |= vmx::rflags::kCf | vmx::rflags::kDf;
  state.gpr[vmx::kRcx] = 5;
  at_first_stop([&](const Stop& stop) {
    EXPECT_EQ(stop.kind, StopKind::kInstruction);
    EXPECT_EQ(state.rip, kCode + 3);
    EXPECT_EQ(state.gpr[vmx::kRcx], 4u);
    // DEC leaves CF alone.
    EXPECT_EQ(state.rflags & (kObserved), vmx::rflags::kCf | vmx::rflags::kDf);
    EXPECT_EQ(context_.instructions, 1u);
    state.rip += 2;
    state.gpr[vmx::kRax] = 7;
    state.rflags = (state.rflags & ~uint64_t{vmx::rflags::kCf | vmx::rflags::kDf}) |
                   vmx::rflags::kZf | vmx::rflags::kOf;
  });
  // DEC RCX; CPUID; then what depends on RAX, ZF, OF and DF.
  const Stop stop = run(state, ASM64("dec rcx; cpuid; setz bl; seto bh; pushfq; pop rdx; hlt"));
  EXPECT_EQ(stops_, 2);
  EXPECT_EQ(stop.kind, StopKind::kInstruction);
  EXPECT_EQ(state.gpr[vmx::kRax], 7u);
  EXPECT_EQ(state.gpr[vmx::kRbx] & 0xffff, 0x101u);
  EXPECT_EQ(state.gpr[vmx::kRdx] & (kObserved), vmx::rflags::kZf | vmx::rflags::kOf);
  EXPECT_EQ(state.rflags & (kObserved), vmx::rflags::kZf | vmx::rflags::kOf);
  EXPECT_EQ(context_.instructions, 5u);
}

TEST_F(EngineGoesOn, WithTheMode) {
  vmx::CpuState state = long_mode();
  at_first_stop([&](const Stop&) {
    state.rip += 2;
    mode_.single_step = true;
  });
  const Stop stop = run(state, ASM64("cpuid; nop; nop; hlt"));
  EXPECT_EQ(stop.kind, StopKind::kException);
  EXPECT_EQ(stop.vector, vmx::kDb);
  EXPECT_EQ(state.rip, kCode + 3);
  EXPECT_EQ(context_.instructions, 1u);
}

TEST_F(EngineGoesOn, InAnotherAddressSpaceAndWidth) {
  constexpr uint64_t kOther = 0x9000;
  put_code(ASM32("inc eax; hlt"), kOther);
  vmx::CpuState state = long_mode();
  at_first_stop([&](const Stop&) {
    state = protected_mode();
    state.rip = kCode;
    state.gpr[vmx::kRax] = 1;
    pages_[kCode] = {.physical = kOther};
    context_.select(space_id(kGuestSpace));
    code_mode_ = code_mode(state);
    engine_->enter(context_);
  });
  (void)run(state, ASM64("nop; cpuid; nop; hlt"));
  EXPECT_EQ(stops_, 2);
  EXPECT_EQ(state.gpr[vmx::kRax], 2u);
  EXPECT_EQ(state.rip, kCode + 1);
}

// The stop is within a block whose rest is not what was translated.
TEST_F(EngineGoesOn, ToCodeThatWasWrittenMeanwhile) {
  vmx::CpuState state = long_mode();
  state.gpr[vmx::kRcx] = 2;
  after_stop = [&](const Stop& stop) {
    if (stop.kind != StopKind::kInstruction || ++stops_ == 4) return false;
    state.rip += 2;
    // The second time ADD EAX, 1 has become ADD EAX, 2.
    const uint8_t two = 2;
    engine_->code_written(kCode + 4, {&two, 1});
    return true;
  };
  (void)run(state, ASM64("2: cpuid; add eax, 1; dec ecx; jnz 2b; cpuid; nop; hlt"));
  EXPECT_EQ(state.gpr[vmx::kRax], 4u);
}

// A port access is found by another hook than CPUID.
TEST_F(EngineGoesOn, BehindAPortAccess) {
  vmx::CpuState state = long_mode();
  state.gpr[vmx::kRax] = 0x1234;
  state.gpr[vmx::kRcx] = 0x5678;
  state.gpr[vmx::kRdx] = 0x80;
  at_first_stop([&](const Stop&) {
    EXPECT_EQ(state.gpr[vmx::kRax], 0x1234u);
    EXPECT_EQ(state.gpr[vmx::kRcx], 0x5678u);
    EXPECT_EQ(state.gpr[vmx::kRdx], 0x80u);
    EXPECT_EQ(state.rip, kCode);
    state.rip += 1;
  });
  (void)run(state, ASM64("out dx, al; inc ecx; hlt"));
  EXPECT_EQ(state.gpr[vmx::kRax], 0x1234u);
  EXPECT_EQ(state.gpr[vmx::kRcx], 0x5679u);
}

}  // namespace
}  // namespace nestor::emu
