// SPDX-License-Identifier: GPL-2.0-or-later
//
// The architectural state goes into the engine and comes back, hidden parts included.
#include "tests/emu/engine/unicorn/engine_fixture.h"

namespace nestor::emu {
namespace {

namespace rflags = vmx::rflags;

constexpr uint64_t kStatusFlags =
    rflags::kCf | rflags::kPf | rflags::kAf | rflags::kZf | rflags::kSf | rflags::kOf;

class EngineState : public EngineTest {
 protected:
  static void expect_equal(const vmx::CpuState& actual, const vmx::CpuState& expected) {
    EXPECT_EQ(actual.gpr, expected.gpr);
    EXPECT_EQ(actual.rip, expected.rip);
    EXPECT_EQ(actual.rflags, expected.rflags);
    for (unsigned i = 0; i < vmx::kSegmentCount; ++i) {
      SCOPED_TRACE("segment " + std::to_string(i));
      EXPECT_EQ(actual.segment[i].selector, expected.segment[i].selector);
      EXPECT_EQ(actual.segment[i].rights.value, expected.segment[i].rights.value);
      EXPECT_EQ(actual.segment[i].limit, expected.segment[i].limit);
      EXPECT_EQ(actual.segment[i].base, expected.segment[i].base);
    }
    EXPECT_EQ(actual.gdtr, expected.gdtr);
    EXPECT_EQ(actual.idtr, expected.idtr);
    EXPECT_EQ(actual.cr0, expected.cr0);
    EXPECT_EQ(actual.cr3, expected.cr3);
    EXPECT_EQ(actual.cr4, expected.cr4);
    EXPECT_EQ(actual.efer, expected.efer);
    EXPECT_EQ(actual.kernel_gs_base, expected.kernel_gs_base);
    EXPECT_EQ(actual.blocking_by_sti, expected.blocking_by_sti);
    EXPECT_EQ(actual.blocking_by_mov_ss, expected.blocking_by_mov_ss);
  }

  // Executes nothing: CPUID stops at once.
  void expect_round_trip(const vmx::CpuState& before) {
    vmx::CpuState after = before;
    const Stop stop = run(after, ASM64("cpuid"));
    EXPECT_EQ(stop.kind, StopKind::kInstruction);
    expect_equal(after, before);
    // As many instructions as complete without a change of state but for RIP.
    vmx::CpuState moved = before;
    run(moved, ASM64("nop; nop; cpuid"));
    vmx::CpuState expected = before;
    expected.rip += 2;
    expected.blocking_by_sti = expected.blocking_by_mov_ss = false;
    expect_equal(moved, expected);
  }
};

TEST_F(EngineState, EveryModeMakesTheRoundTrip) {
  const struct {
    const char* name;
    vmx::CpuState state;
  } kModes[] = {
      {"64-bit mode", long_mode()},
      {"64-bit user mode", user_mode()},
      {"compatibility mode", compatibility_mode()},
      {"32-bit protected mode", protected_mode()},
      {"real mode", real_mode()},
      {"16-bit protected mode",
       [] {
         vmx::CpuState state = protected_mode();
         state.segment[vmx::kCs] = {0x30, kCode16Rights, 0xffff, kCode};
         state.rip = 0;
         return state;
       }()},
      {"virtual-8086 mode",
       [] {
         vmx::CpuState state = real_mode();
         state.cr0 |= vmx::cr0::kPe | vmx::cr0::kPg;
         state.rflags |= rflags::kVm | rflags::kIopl;
         for (unsigned i = 0; i < 6; ++i) state.segment[i].rights = vmx::AccessRights{0xf3};
         return state;
       }()},
  };
  for (const auto& mode : kModes) {
    SCOPED_TRACE(mode.name);
    expect_round_trip(mode.state);
  }
}

TEST_F(EngineState, EveryFlagMakesTheRoundTrip) {
  const uint64_t kFlags[] = {rflags::kCf,   rflags::kPf, rflags::kAf, rflags::kZf,
                             rflags::kSf,   rflags::kIf, rflags::kDf, rflags::kOf,
                             rflags::kIopl, rflags::kNt, rflags::kAc, rflags::kId};
  for (const uint64_t flag : kFlags) {
    SCOPED_TRACE(flag);
    vmx::CpuState state = long_mode();
    state.rflags |= flag;
    expect_round_trip(state);
    state.rflags = (kStatusFlags | rflags::kIf | rflags::kDf | rflags::kFixed1) & ~flag;
    expect_round_trip(state);
  }
}

TEST_F(EngineState, TheResumeFlagIsClearedByAnInstruction) {
  vmx::CpuState state = long_mode();
  state.rflags |= rflags::kRf;
  run(state, ASM64("cpuid"));
  EXPECT_NE(state.rflags & rflags::kRf, 0u);
}

TEST_F(EngineState, LoadedFlagsAreTheOnesInstructionsSee) {
  for (const uint64_t flags : {uint64_t{0}, uint64_t{rflags::kCf | rflags::kZf}}) {
    vmx::CpuState state = long_mode();
    state.rflags |= flags;
    state.gpr[vmx::kRax] = state.gpr[vmx::kRbx] = 0;
    run(state, ASM64("setc al; setz bl; cpuid"));
    EXPECT_EQ(state.gpr[vmx::kRax], flags != 0);
    EXPECT_EQ(state.gpr[vmx::kRbx], flags != 0);
  }
}

TEST_F(EngineState, ComputedFlagsComeBack) {
  vmx::CpuState state = long_mode();
  state.gpr[vmx::kRax] = 0x8000'0000;
  run(state, ASM64("add eax, eax; cpuid"));
  EXPECT_EQ(state.rflags & kStatusFlags,
            uint64_t{rflags::kCf | rflags::kZf | rflags::kOf | rflags::kPf});
}

// The flags must be known in the middle of a block, too, where the engine keeps them as operands.
TEST_F(EngineState, ComputedFlagsComeBackAtARefusedFill) {
  vmx::CpuState state = long_mode();
  state.gpr[vmx::kRax] = 1;
  state.gpr[vmx::kRcx] = 0x500'0000;
  const Stop stop = run(state, ASM64("sub eax, 2; mov edx, [rcx]"));
  EXPECT_EQ(stop.kind, StopKind::kRefusedFill);
  EXPECT_EQ(state.rflags & kStatusFlags,
            uint64_t{rflags::kCf | rflags::kSf | rflags::kAf | rflags::kPf});
}

TEST_F(EngineState, TheDirectionFlagDirectsStrings) {
  for (const bool down : {false, true}) {
    vmx::CpuState state = long_mode();
    if (down) state.rflags |= rflags::kDf;
    state.gpr[vmx::kRdi] = kData;
    run(state, ASM64("stosb; cpuid"));
    EXPECT_EQ(state.gpr[vmx::kRdi], down ? kData - 1 : kData + 1);
    EXPECT_EQ((state.rflags & rflags::kDf) != 0, down);
  }
}

TEST_F(EngineState, UnusableSegmentsStayAsTheyWere) {
  vmx::CpuState state = user_mode();
  state.segment[vmx::kDs] = {0, vmx::AccessRights{vmx::AccessRights::kUnusable}, 0, 0};
  state.segment[vmx::kEs] = {0, vmx::AccessRights{vmx::AccessRights::kUnusable | 0xc093},
                             0xffff'ffff, 0};
  state.segment[vmx::kFs] = {0, vmx::AccessRights{vmx::AccessRights::kUnusable}, 0xfffff,
                             0x1'2345'6000};
  state.segment[vmx::kLdtr] = {0, vmx::AccessRights{vmx::AccessRights::kUnusable | 0x82}, 0x77,
                               0x1000};
  expect_round_trip(state);
}

TEST_F(EngineState, SystemSegmentsAndTablesMakeTheRoundTrip) {
  vmx::CpuState state = long_mode();
  state.segment[vmx::kTr] = {0x40, vmx::AccessRights{0x8b}, 0x67, 0xffff'8000'1234'5678};
  state.segment[vmx::kLdtr] = {0x50, vmx::AccessRights{0x82}, 0xffff, 0xffff'9000'0000'0000};
  state.gdtr = {0xffff'a000'0000'0000, 0x7f};
  state.idtr = {0xffff'b000'0000'0000, 0xfff};
  state.kernel_gs_base = 0xffff'c000'0000'1000;
  state.cr3 = 0x5000;
  expect_round_trip(state);
}

TEST_F(EngineState, BasesOfFsAndGsAreInEffect) {
  vmx::CpuState state = long_mode();
  state.segment[vmx::kFs].base = kData;
  state.segment[vmx::kGs].base = kData + 0x100;
  set_ram<uint64_t>(kData + 8, 0xf5f5);
  set_ram<uint64_t>(kData + 0x108, 0x6565);
  run(state, ASM64("mov rax, fs:[8]; mov rbx, gs:[8]; cpuid"));
  EXPECT_EQ(state.gpr[vmx::kRax], 0xf5f5u);
  EXPECT_EQ(state.gpr[vmx::kRbx], 0x6565u);
}

TEST_F(EngineState, SwapgsExchangesTheTwoBases) {
  vmx::CpuState state = long_mode();
  state.segment[vmx::kGs].base = 0x1111'1000;
  state.kernel_gs_base = 0xffff'8000'2222'2000;
  run(state, ASM64("swapgs; cpuid"));
  EXPECT_EQ(state.segment[vmx::kGs].base, 0xffff'8000'2222'2000u);
  EXPECT_EQ(state.kernel_gs_base, 0x1111'1000u);
}

TEST_F(EngineState, BaseAndLimitOfSegmentsAreInEffectIn32BitMode) {
  vmx::CpuState state = protected_mode();
  state.segment[vmx::kDs].base = kData;
  set_ram<uint32_t>(kData + 0x10, 0xd5d5);
  run(state, ASM32("mov eax, [0x10]; cpuid"));
  EXPECT_EQ(state.gpr[vmx::kRax], 0xd5d5u);
}

// In 64-bit mode CS has no base, whatever it held before.
TEST_F(EngineState, TheBaseOfCsIsIgnoredIn64BitModeAndKept) {
  vmx::CpuState state = long_mode();
  state.segment[vmx::kCs].base = 0x1234'5000;
  expect_round_trip(state);
}

TEST_F(EngineState, RealModeSegmentLoads) {
  vmx::CpuState state = real_mode();
  run(state, ASM16("mov ax, 0x1234; mov ds, ax; cpuid"));
  EXPECT_EQ(state.rip, 5u);
  EXPECT_EQ(state.segment[vmx::kDs].selector, 0x1234);
  EXPECT_EQ(state.segment[vmx::kDs].base, 0x12340u);
  EXPECT_EQ(context_.instructions, 2u);
  // The segment is in effect: [DS:5] is at 12345H.
  set_ram<uint8_t>(0x12345, 0x99);
  state.rip = 0;
  run(state, ASM16("mov al, [5]; cpuid"));
  EXPECT_EQ(state.gpr[vmx::kRax] & 0xff, 0x99u);
}

// Even those that the engine cannot express.
TEST_F(EngineState, RealModeJumpsKeepTheAccessRights) {
  vmx::CpuState state = real_mode();
  state.segment[vmx::kCs].rights = vmx::AccessRights{0x1009b};
  set_ram<uint16_t>(0x12340, 0xa20f);          // cpuid
  run(state, {0xea, 0x00, 0x00, 0x34, 0x12});  // jmp 0x1234:0
  EXPECT_EQ(state.segment[vmx::kCs],
            (vmx::Segment{0x1234, vmx::AccessRights{0x1009b}, 0xffff, 0x12340}));
}

// Bases of ES, CS, SS and DS, left from another mode, and prefixes for these are ignored in 64-bit
// mode ("Segmentation in 64-Bit Mode").
TEST_F(EngineState, BasesCountInSixtyFourBitModeForFsAndGsAlone) {
  constexpr uint64_t kBase = 0x100;
  set_ram<uint32_t>(kData, 1);
  set_ram<uint32_t>(kData + kBase, 2);
  const std::pair<uint8_t, uint64_t> kPrefixes[] = {{0x26, 1}, {0x2e, 1}, {0x36, 1},
                                                    {0x3e, 1}, {0x64, 2}, {0x65, 2}};
  for (const auto& [prefix, expected] : kPrefixes) {
    SCOPED_TRACE(static_cast<unsigned>(prefix));
    vmx::CpuState state = long_mode();
    for (const auto segment : {vmx::kEs, vmx::kSs, vmx::kDs, vmx::kFs, vmx::kGs}) {
      state.segment[segment].base = kBase;
    }
    const auto segments = state.segment;
    state.gpr[vmx::kRcx] = kData;
    Code code = ASM64("mov eax, [rcx]; cpuid");
    code.insert(code.begin(), prefix);
    run(state, code);
    EXPECT_EQ(state.gpr[vmx::kRax], expected);
    EXPECT_EQ(state.segment[vmx::kEs].base, segments[vmx::kEs].base) << "it keeps its base";
    EXPECT_EQ(state.segment[vmx::kDs].base, segments[vmx::kDs].base) << "it keeps its base";
  }
}

TEST_F(EngineState, SseAndX87StateStayInTheEngine) {
  vmx::CpuState state = long_mode();
  state.gpr[vmx::kRax] = 0x0123'4567'89ab'cdef;
  run(state, ASM64("movq xmm0, rax; fld1; cpuid"));
  EXPECT_EQ(state.rip, kCode + 7);
  // Other modes and other states in between.
  vmx::CpuState other = real_mode();
  run(other, ASM64("cpuid"));
  state.rip = kCode;
  state.gpr[vmx::kRcx] = kData;
  run(state, ASM64("movq rbx, xmm0; fstp qword ptr [rcx]; cpuid"));
  EXPECT_EQ(state.gpr[vmx::kRbx], 0x0123'4567'89ab'cdefu);
  EXPECT_EQ(ram<uint64_t>(kData), 0x3ff0'0000'0000'0000u);
}

TEST_F(EngineState, LiveFlagsAreThoseOfTheMoment) {
  uint64_t flags = 0;
  during_device_access = [&] { flags = engine_->live_rflags(); };
  pages_[0x9000'0000] = {.physical = kDevice, .device = true};
  vmx::CpuState state = user_mode();
  state.gpr[vmx::kRcx] = 0x9000'0000;
  state.gpr[vmx::kRsp] = kStack;
  run(state, ASM64("push 0x40001; popfq; mov eax, [rcx]; cpuid"));
  EXPECT_NE(flags & rflags::kAc, 0u);
  state.rip = kCode;
  run(state, ASM64("push 1; popfq; mov eax, [rcx]; cpuid"));
  EXPECT_EQ(flags & rflags::kAc, 0u);
}

TEST(EngineVersion, IsThatOfTheLibrary) {
  EXPECT_THAT(unicorn_version(), testing::MatchesRegex("[0-9]+\\.[0-9]+\\.[0-9]+"));
}

}  // namespace
}  // namespace nestor::emu
