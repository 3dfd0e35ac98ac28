// SPDX-License-Identifier: GPL-2.0-or-later
//
// What the processor model must see stops before it executes.
#include "tests/emu/engine/unicorn/engine_fixture.h"

namespace nestor::emu {
namespace {

constexpr int kNoException = -1;

struct Trapping {
  Code code;
  int exception =
      kNoException;  // how an instruction that the engine does not know announces itself
};

class EngineTraps : public EngineTest {
 protected:
  // Two NOPs, the instruction, and HLT, which traps too: so the place tells what stopped.
  void expect_stop_before(const Trapping& trapping, vmx::CpuState before) {
    SCOPED_TRACE(testing::PrintToString(trapping.code));
    before.gpr[vmx::kRax] = before.gpr[vmx::kRsi] = before.gpr[vmx::kRdi] = kData;
    Code code = ASM64("nop; nop");
    code.insert(code.end(), trapping.code.begin(), trapping.code.end());
    code.push_back(0xf4);
    const uint64_t instructions = context_.instructions, cycles = clock_.cycles();
    vmx::CpuState after = before;
    const Stop stop = run(after, code);
    if (trapping.exception == kNoException) {
      EXPECT_EQ(stop.kind, StopKind::kInstruction);
    } else {
      EXPECT_EQ(stop.kind, StopKind::kException);
      EXPECT_EQ(stop.vector, trapping.exception);
    }
    EXPECT_EQ(after.rip, before.rip + 2);
    EXPECT_EQ(after.gpr, before.gpr);
    EXPECT_EQ(after.rflags, before.rflags);
    EXPECT_EQ(context_.instructions - instructions, 2u);
    EXPECT_EQ(clock_.cycles() - cycles, 2 * prices_.list.instruction);
  }
};

TEST_F(EngineTraps, EverySensitiveInstructionStopsBeforeItExecutes) {
  const Trapping kInstructions[] = {
      {ASM64("mov cr3, rax")},
      {ASM64("mov cr4, rax")},
      {ASM64("mov rax, cr0")},
      {ASM64("mov rax, cr2")},
      {ASM64("mov cr8, rax")},
      {ASM64("mov rax, cr8")},
      {ASM64("clts")},
      {ASM64("lmsw ax")},
      {ASM64("smsw eax")},
      {ASM64("mov dr7, rax")},
      {ASM64("mov rax, dr6")},
      {ASM64("rdmsr")},
      {ASM64("wrmsr")},
      {ASM64("rdtsc")},
      {ASM64("rdtscp")},
      {ASM64("rdpmc")},
      {ASM64("cpuid")},
      {ASM64("invlpg [rax]")},
      {ASM64("hlt")},
      {ASM64("pause")},
      {ASM64("wbinvd")},
      {ASM64("invd")},
      {ASM64("lgdt [rax]")},
      {ASM64("lidt [rax]")},
      {ASM64("sgdt [rax]")},
      {ASM64("sidt [rax]")},
      {ASM64("ltr ax")},
      {ASM64("lldt ax")},
      {ASM64("str eax")},
      {ASM64("sldt eax")},
      {ASM64("int 0x80")},
      {ASM64("int3")},
      {ASM64("xsetbv"), vmx::kUd},
      {ASM64("monitor"), vmx::kUd},
      {ASM64("mwait"), vmx::kUd},
      {ASM64("vmcall"), vmx::kUd},
      {ASM64("vmlaunch"), vmx::kUd},
      {ASM64("vmresume"), vmx::kUd},
      {ASM64("vmxoff"), vmx::kUd},
      {ASM64("vmxon [rax]"), vmx::kUd},
      {ASM64("vmclear [rax]"), vmx::kUd},
      {ASM64("vmptrld [rax]"), vmx::kUd},
      {ASM64("vmptrst [rax]"), vmx::kUd},
      {ASM64("vmread rcx, rax"), vmx::kUd},
      {ASM64("vmwrite rax, rcx"), vmx::kUd},
      {ASM64("vmfunc"), vmx::kUd},
      {ASM64("invept rcx, [rax]"), vmx::kUd},
      {ASM64("invvpid rcx, [rax]"), vmx::kUd},
      {ASM64("invpcid rcx, [rax]"), vmx::kUd},
      {ASM64("rdrand rax"), vmx::kUd},
      {ASM64("rdseed rax"), vmx::kUd},
      {ASM64("rdfsbase rax"), vmx::kUd},
      {ASM64("sysretq"), vmx::kUd},
      {ASM64("ud2"), vmx::kUd},
  };
  for (const Trapping& trapping : kInstructions) expect_stop_before(trapping, long_mode());
}

// Whatever stands before INS in its block: the memory is as it was.
TEST_F(EngineTraps, InputIntoMemoryStopsBeforeItIsWritten) {
  for (const Code& ins : {ASM64("insb"), ASM64("insw"), ASM64("rep insd")}) {
    for (const vmx::CpuState& mode : {long_mode(), user_mode(), protected_mode()}) {
      vmx::CpuState state = mode;
      state.gpr[vmx::kRdi] = kData;
      set_ram<uint32_t>(kData, 0x55555555);
      Code code = ASM64("nop");
      code.insert(code.end(), ins.begin(), ins.end());
      code.push_back(0xf4);
      const uint64_t before = context_.instructions;
      EXPECT_EQ(run(state, code).kind, StopKind::kInstruction);
      EXPECT_EQ(state.rip, kCode + 1);
      EXPECT_EQ(ram<uint32_t>(kData), 0x55555555u);
      EXPECT_EQ(context_.instructions, before + 1);
      // It is the first of its block now, and stays where it is.
      EXPECT_EQ(run(state).kind, StopKind::kInstruction);
      EXPECT_EQ(state.rip, kCode + 1);
      EXPECT_EQ(ram<uint32_t>(kData), 0x55555555u);
      EXPECT_EQ(context_.instructions, before + 1);
    }
  }
}

TEST_F(EngineTraps, PortInputAndOutputStopWithAllRegistersIntact) {
  const Trapping kInstructions[] = {
      {ASM64("in al, 0x80")},   {ASM64("in eax, 0x80")}, {ASM64("in al, dx")},
      {ASM64("in ax, dx")},     {ASM64("in eax, dx")},   {ASM64("out 0x80, al")},
      {ASM64("out 0x80, eax")}, {ASM64("out dx, al")},   {ASM64("out dx, ax")},
      {ASM64("out dx, eax")},   {ASM64("outsb")},        {ASM64("outsw")},
      {ASM64("rep outsd")},
  };
  for (const Trapping& trapping : kInstructions) {
    expect_stop_before(trapping, long_mode());
    expect_stop_before(trapping, user_mode());
    expect_stop_before(trapping, protected_mode());
  }
}

TEST_F(EngineTraps, SystemCallsStopWithAllRegistersIntact) {
  const Trapping kSyscall = {ASM64("syscall")}, kSysenter = {ASM64("sysenter")};
  // The engine is a processor on which SYSENTER is undefined in IA-32e mode.
  const Trapping kLongSysenter = {ASM64("sysenter"), vmx::kUd};
  for (const vmx::CpuState& state : {long_mode(), user_mode()}) {
    expect_stop_before(kSyscall, state);
    expect_stop_before(kLongSysenter, state);
  }
  expect_stop_before(kSysenter, protected_mode());
}

TEST_F(EngineTraps, InstructionsOfOtherModesStopToo) {
  const Trapping kInstructions[] = {
      {ASM32("mov cr0, eax")}, {ASM32("rdmsr")}, {ASM32("cpuid")},
      {ASM32("int 0x80")},     {ASM32("hlt")},
  };
  for (const Trapping& trapping : kInstructions) {
    expect_stop_before(trapping, real_mode());
    expect_stop_before(trapping, protected_mode());
    expect_stop_before(trapping, compatibility_mode());
  }
}

TEST_F(EngineTraps, ExceptionsStopBeforeTheirDeliveryWithTheirErrorCode) {
  struct Faulting {
    const char* name;
    Code code;
    vmx::Vector vector;
    uint32_t error_code;
  };
  const Faulting kFaults[] = {
      {"DIV by zero", ASM32("xor ecx, ecx; div ecx"), vmx::kDe, 0},
      {"UD2", ASM32("xor ecx, ecx; ud2"), vmx::kUd, 0},
  };
  for (const Faulting& fault : kFaults) {
    SCOPED_TRACE(fault.name);
    vmx::CpuState state = compatibility_mode();
    const Stop stop = run(state, fault.code);
    EXPECT_EQ(stop.kind, StopKind::kException);
    EXPECT_EQ(stop.vector, fault.vector);
    if (fault.vector == vmx::kGp) {
      EXPECT_EQ(stop.error_code, fault.error_code);
    }
    EXPECT_EQ(state.rip, kCode + fault.code.size() - 2);
  }
}

TEST_F(EngineTraps, TheSameFaultStopsAgainAndAgain) {
  vmx::CpuState state = long_mode();
  state.gpr[vmx::kRcx] = 0;
  put_code(ASM64("div ecx"));
  for (int i = 0; i < 5; ++i) {
    const Stop stop = run(state);
    ASSERT_EQ(stop.kind, StopKind::kException);
    ASSERT_EQ(stop.vector, vmx::kDe);
    ASSERT_EQ(state.rip, kCode);
  }
  EXPECT_EQ(context_.instructions, 0u);
}

TEST_F(EngineTraps, TheFpuIsAbsentWhenCr0SaysSo) {
  vmx::CpuState state = long_mode();
  state.cr0 |= vmx::cr0::kTs;
  Stop stop = run(state, ASM64("fld1"));
  EXPECT_EQ(stop.kind, StopKind::kException);
  EXPECT_EQ(stop.vector, vmx::kNm);
  state = long_mode();
  state.cr4 &= ~uint64_t{vmx::cr4::kOsfxsr};
  stop = run(state, ASM64("addps xmm0, xmm0"));
  EXPECT_EQ(stop.kind, StopKind::kException);
  EXPECT_EQ(stop.vector, vmx::kUd);
}

// --- what the client keeps from it

TEST_F(EngineTraps, IretStopsInEveryMode) {
  for (const vmx::CpuState& mode :
       {long_mode(), user_mode(), compatibility_mode(), protected_mode(), real_mode()}) {
    vmx::CpuState state = mode;
    const uint64_t from = state.rip;
    EXPECT_EQ(run(state, {0x90, 0xcf}).kind, StopKind::kInstruction);
    EXPECT_EQ(state.rip, from + 1);
  }
}

// A block that is entered behind its beginning, from several places, and again after it has
// changed.
TEST_F(EngineTraps, UnsafeCodeIsNeverExecutedFromWhereverItIsReached) {
  const Code ins = ASM64("nop; nop; inc eax; insb; nop; hlt");
  for (unsigned round = 0; round < 3; ++round) {
    for (unsigned start : {0u, 1u, 2u, 4u}) {
      vmx::CpuState state = long_mode();
      state.gpr[vmx::kRdi] = kData;
      set_ram<uint32_t>(kData, 0x55555555);
      put_code(ins);
      state.rip = kCode + start;
      const uint64_t before = context_.instructions;
      EXPECT_EQ(run(state).kind, StopKind::kInstruction);
      EXPECT_EQ(state.rip, kCode + 4);
      EXPECT_EQ(context_.instructions - before, start == 4 ? 0u : 3 - start);
      EXPECT_EQ(ram<uint32_t>(kData), 0x55555555u);
      // What is written over it is executed.
      Code other = ins;
      other[4] = 0x90;
      put_code(other);
      EXPECT_EQ(run(state).kind, StopKind::kInstruction);
      EXPECT_EQ(state.rip, kCode + 6);
    }
  }
}

// --- single step

TEST_F(EngineTraps, SingleStepRunsOneInstructionAtATime) {
  vmx::CpuState state = long_mode();
  state.gpr[vmx::kRbx] = 0;
  put_code(ASM64("inc ebx; add rbx, 0x10; jmp 2f; 2: nop"));
  mode_.single_step = true;
  const uint64_t expected_rip[] = {2, 6, 8, 9};
  for (unsigned i = 0; i < 4; ++i) {
    const Stop stop = run(state);
    ASSERT_EQ(stop.kind, StopKind::kException);
    EXPECT_EQ(stop.vector, vmx::kDb);
    EXPECT_EQ(state.rip, kCode + expected_rip[i]);
    EXPECT_EQ(context_.instructions, i + 1u);
    EXPECT_EQ(clock_.cycles(), i + 1u);
    EXPECT_EQ(state.rflags & vmx::rflags::kTf, 0u);
  }
  EXPECT_EQ(state.gpr[vmx::kRbx], 0x11u);
}

TEST_F(EngineTraps, TheTrapFlagStepsToo) {
  vmx::CpuState state = long_mode();
  state.rflags |= vmx::rflags::kTf;
  put_code(ASM64("nop; nop; hlt"));
  for (unsigned i = 1; i <= 2; ++i) {
    const Stop stop = run(state);
    ASSERT_EQ(stop.kind, StopKind::kException);
    EXPECT_EQ(stop.vector, vmx::kDb);
    EXPECT_EQ(state.rip, kCode + i);
    EXPECT_NE(state.rflags & vmx::rflags::kTf, 0u);
  }
}

// Code that ran at full speed must be stepped through as well, and the other way round.
TEST_F(EngineTraps, SingleStepTurnsOnAndOffInKnownCode) {
  put_code(ASM64("nop; nop; nop; hlt"));
  for (const bool stepping : {false, true, false}) {
    vmx::CpuState state = long_mode();
    mode_.single_step = stepping;
    EXPECT_EQ(run(state).kind, stepping ? StopKind::kException : StopKind::kInstruction);
    EXPECT_EQ(state.rip, kCode + (stepping ? 1 : 3));
  }
}

// --- interrupt shadows

TEST_F(EngineTraps, StiCastsAShadowOfOneInstruction) {
  vmx::CpuState state = long_mode();
  run(state, ASM64("sti; cpuid"));
  EXPECT_EQ(state.rip, kCode + 1);
  EXPECT_TRUE(state.blocking_by_sti);
  EXPECT_NE(state.rflags & vmx::rflags::kIf, 0u);
  state = long_mode();
  run(state, ASM64("sti; nop; cpuid"));
  EXPECT_EQ(state.rip, kCode + 2);
  EXPECT_FALSE(state.blocking_by_sti);
}

TEST_F(EngineTraps, ALoadedShadowStaysUntilAnInstructionCompletes) {
  for (const bool mov_ss : {false, true}) {
    vmx::CpuState state = long_mode();
    (mov_ss ? state.blocking_by_mov_ss : state.blocking_by_sti) = true;
    run(state, ASM64("cpuid"));
    EXPECT_EQ(state.blocking_by_mov_ss, mov_ss);
    EXPECT_EQ(state.blocking_by_sti, !mov_ss);
    run(state, ASM64("nop; cpuid"));
    EXPECT_EQ(state.rip, kCode + 1);
    EXPECT_FALSE(state.blocking_by_mov_ss);
    EXPECT_FALSE(state.blocking_by_sti);
  }
}

}  // namespace
}  // namespace nestor::emu
