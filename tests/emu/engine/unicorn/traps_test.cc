// SPDX-License-Identifier: GPL-2.0-or-later
//
// What the processor model must see stops before it executes.
#include "tests/emu/engine/unicorn/engine_fixture.h"

namespace nestor::emu {
namespace {

constexpr int kNoException = -1;

struct Trapping {
  const char* name;
  Code code;
  int exception =
      kNoException;  // how an instruction that the engine does not know announces itself
};

class EngineTraps : public EngineTest {
 protected:
  // Two NOPs, the instruction, and HLT, which traps too: so the place tells what stopped.
  void expect_stop_before(const Trapping& trapping, vmx::CpuState before) {
    SCOPED_TRACE(trapping.name);
    before.gpr[vmx::kRax] = before.gpr[vmx::kRsi] = before.gpr[vmx::kRdi] = kData;
    Code code = {0x90, 0x90};
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
      {"MOV CR3, RAX", {0x0f, 0x22, 0xd8}},
      {"MOV CR4, RAX", {0x0f, 0x22, 0xe0}},
      {"MOV RAX, CR0", {0x0f, 0x20, 0xc0}},
      {"MOV RAX, CR2", {0x0f, 0x20, 0xd0}},
      {"MOV CR8, RAX", {0x44, 0x0f, 0x22, 0xc0}},
      {"MOV RAX, CR8", {0x44, 0x0f, 0x20, 0xc0}},
      {"CLTS", {0x0f, 0x06}},
      {"LMSW AX", {0x0f, 0x01, 0xf0}},
      {"SMSW AX", {0x0f, 0x01, 0xe0}},
      {"MOV DR7, RAX", {0x0f, 0x23, 0xf8}},
      {"MOV RAX, DR6", {0x0f, 0x21, 0xf0}},
      {"RDMSR", {0x0f, 0x32}},
      {"WRMSR", {0x0f, 0x30}},
      {"RDTSC", {0x0f, 0x31}},
      {"RDTSCP", {0x0f, 0x01, 0xf9}},
      {"RDPMC", {0x0f, 0x33}},
      {"CPUID", {0x0f, 0xa2}},
      {"INVLPG [RAX]", {0x0f, 0x01, 0x38}},
      {"HLT", {0xf4}},
      {"PAUSE", {0xf3, 0x90}},
      {"WBINVD", {0x0f, 0x09}},
      {"INVD", {0x0f, 0x08}},
      {"LGDT [RAX]", {0x0f, 0x01, 0x10}},
      {"LIDT [RAX]", {0x0f, 0x01, 0x18}},
      {"SGDT [RAX]", {0x0f, 0x01, 0x00}},
      {"SIDT [RAX]", {0x0f, 0x01, 0x08}},
      {"LTR AX", {0x0f, 0x00, 0xd8}},
      {"LLDT AX", {0x0f, 0x00, 0xd0}},
      {"STR AX", {0x0f, 0x00, 0xc8}},
      {"SLDT AX", {0x0f, 0x00, 0xc0}},
      {"INT 80H", {0xcd, 0x80}},
      {"INT3", {0xcc}},
      {"XSETBV", {0x0f, 0x01, 0xd1}, vmx::kUd},
      {"MONITOR", {0x0f, 0x01, 0xc8}, vmx::kUd},
      {"MWAIT", {0x0f, 0x01, 0xc9}, vmx::kUd},
      {"VMCALL", {0x0f, 0x01, 0xc1}, vmx::kUd},
      {"VMLAUNCH", {0x0f, 0x01, 0xc2}, vmx::kUd},
      {"VMRESUME", {0x0f, 0x01, 0xc3}, vmx::kUd},
      {"VMXOFF", {0x0f, 0x01, 0xc4}, vmx::kUd},
      {"VMXON [RAX]", {0xf3, 0x0f, 0xc7, 0x30}, vmx::kUd},
      {"VMCLEAR [RAX]", {0x66, 0x0f, 0xc7, 0x30}, vmx::kUd},
      {"VMPTRLD [RAX]", {0x0f, 0xc7, 0x30}, vmx::kUd},
      {"VMPTRST [RAX]", {0x0f, 0xc7, 0x38}, vmx::kUd},
      {"VMREAD RCX, RAX", {0x0f, 0x78, 0xc1}, vmx::kUd},
      {"VMWRITE RAX, RCX", {0x0f, 0x79, 0xc1}, vmx::kUd},
      {"VMFUNC", {0x0f, 0x01, 0xd4}, vmx::kUd},
      {"INVEPT RCX, [RAX]", {0x66, 0x0f, 0x38, 0x80, 0x08}, vmx::kUd},
      {"INVVPID RCX, [RAX]", {0x66, 0x0f, 0x38, 0x81, 0x08}, vmx::kUd},
      {"INVPCID RCX, [RAX]", {0x66, 0x0f, 0x38, 0x82, 0x08}, vmx::kUd},
      {"RDRAND RAX", {0x48, 0x0f, 0xc7, 0xf0}, vmx::kUd},
      {"RDSEED RAX", {0x48, 0x0f, 0xc7, 0xf8}, vmx::kUd},
      {"RDFSBASE RAX", {0xf3, 0x48, 0x0f, 0xae, 0xc0}, vmx::kUd},
      {"SYSRET", {0x48, 0x0f, 0x07}, vmx::kUd},
      {"UD2", {0x0f, 0x0b}, vmx::kUd},
  };
  for (const Trapping& trapping : kInstructions) expect_stop_before(trapping, long_mode());
}

// Whatever stands before INS in its block: the memory is as it was.
TEST_F(EngineTraps, InputIntoMemoryStopsBeforeItIsWritten) {
  for (const Code& ins : {Code{0x6c}, Code{0x66, 0x6d}, Code{0xf3, 0x6d}}) {
    for (const vmx::CpuState& mode : {long_mode(), user_mode(), protected_mode()}) {
      vmx::CpuState state = mode;
      state.gpr[vmx::kRdi] = kData;
      set_ram<uint32_t>(kData, 0x55555555);
      Code code = {0x90};
      code.insert(code.end(), ins.begin(), ins.end());
      code.push_back(0xf4);
      const uint64_t before = context_.instructions;
      EXPECT_EQ(run(state, code).kind, StopKind::kUnsafeAhead);
      EXPECT_EQ(state.rip, kCode);
      mode_.single_step = true;
      EXPECT_EQ(run(state).kind, StopKind::kException);
      EXPECT_EQ(state.rip, kCode + 1);
      mode_.single_step = false;
      EXPECT_EQ(run(state).kind, StopKind::kInstruction);
      EXPECT_EQ(state.rip, kCode + 1);
      EXPECT_EQ(ram<uint32_t>(kData), 0x55555555u);
      EXPECT_EQ(context_.instructions, before + 1);
    }
  }
}

TEST_F(EngineTraps, PortInputAndOutputStopWithAllRegistersIntact) {
  const Trapping kInstructions[] = {
      {"IN AL, imm8", {0xe4, 0x80}},
      {"IN EAX, imm8", {0xe5, 0x80}},
      {"IN AL, DX", {0xec}},
      {"IN AX, DX", {0x66, 0xed}},
      {"IN EAX, DX", {0xed}},
      {"OUT imm8, AL", {0xe6, 0x80}},
      {"OUT imm8, EAX", {0xe7, 0x80}},
      {"OUT DX, AL", {0xee}},
      {"OUT DX, AX", {0x66, 0xef}},
      {"OUT DX, EAX", {0xef}},
      {"OUTSB", {0x6e}},
      {"OUTSW", {0x66, 0x6f}},
      {"REP OUTSD", {0xf3, 0x6f}},
  };
  for (const Trapping& trapping : kInstructions) {
    expect_stop_before(trapping, long_mode());
    expect_stop_before(trapping, user_mode());
    expect_stop_before(trapping, protected_mode());
  }
}

TEST_F(EngineTraps, SystemCallsStopWithAllRegistersIntact) {
  const Trapping kSyscall = {"SYSCALL", {0x0f, 0x05}}, kSysenter = {"SYSENTER", {0x0f, 0x34}};
  // The engine is a processor on which SYSENTER is undefined in IA-32e mode.
  const Trapping kLongSysenter = {"SYSENTER in IA-32e mode", {0x0f, 0x34}, vmx::kUd};
  for (const vmx::CpuState& state : {long_mode(), user_mode()}) {
    expect_stop_before(kSyscall, state);
    expect_stop_before(kLongSysenter, state);
  }
  expect_stop_before(kSysenter, protected_mode());
}

TEST_F(EngineTraps, InstructionsOfOtherModesStopToo) {
  const Trapping kInstructions[] = {
      {"MOV CR0, EAX", {0x0f, 0x22, 0xc0}},
      {"RDMSR", {0x0f, 0x32}},
      {"CPUID", {0x0f, 0xa2}},
      {"INT 80H", {0xcd, 0x80}},
      {"HLT", {0xf4}},
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
      {"DIV by zero", {0x31, 0xc9, 0xf7, 0xf1}, vmx::kDe, 0},
      {"a selector beyond the GDT", {0x66, 0xb8, 0x38, 0x12, 0x8e, 0xd8}, vmx::kGp, 0x1238},
      {"a null selector for SS", {0x66, 0xb8, 0x03, 0x00, 0x8e, 0xd0}, vmx::kGp, 0},
      {"UD2", {0x31, 0xc9, 0x0f, 0x0b}, vmx::kUd, 0},
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
  put_code({0xf7, 0xf1});  // div ecx
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
  Stop stop = run(state, {0xd9, 0xe8});  // fld1
  EXPECT_EQ(stop.kind, StopKind::kException);
  EXPECT_EQ(stop.vector, vmx::kNm);
  state = long_mode();
  state.cr4 &= ~uint64_t{vmx::cr4::kOsfxsr};
  stop = run(state, {0x0f, 0x58, 0xc0});  // addps xmm0, xmm0
  EXPECT_EQ(stop.kind, StopKind::kException);
  EXPECT_EQ(stop.vector, vmx::kUd);
}

// --- IRET

class EngineIret : public EngineTest {
 protected:
  // A frame that returns to `kTarget` at CPL 3, and the return.
  static constexpr uint64_t kTarget = 0x9000;
  vmx::CpuState prepare() {
    vmx::CpuState state = long_mode();
    const uint64_t frame[] = {kTarget, 0x23, 0x202, 0x30000, 0x1b};
    state.gpr[vmx::kRsp] = kStack;
    for (unsigned i = 0; i < 5; ++i) set_ram(kStack + 8 * i, frame[i]);
    put_code({0x90, 0x48, 0xcf});     // nop; iretq
    put_code({0x0f, 0xa2}, kTarget);  // cpuid
    return state;
  }
};

TEST_F(EngineIret, ReturnsByItself) {
  vmx::CpuState state = prepare();
  const Stop stop = run(state);
  EXPECT_EQ(stop.kind, StopKind::kInstruction);
  EXPECT_EQ(state.rip, kTarget);
  EXPECT_EQ(state.cpl(), 3);
  EXPECT_EQ(state.segment[vmx::kCs].selector, 0x23);
  EXPECT_EQ(state.segment[vmx::kSs].selector, 0x1b);
  EXPECT_EQ(state.rflags, 0x202u);
  EXPECT_EQ(context_.instructions, 2u);
}

TEST_F(EngineIret, StopsBeforeItWhenAsked) {
  vmx::CpuState state = prepare();
  mode_.intercept_iret = true;
  const Stop stop = run(state);
  EXPECT_EQ(stop.kind, StopKind::kIret);
  EXPECT_EQ(state.rip, kCode + 1);
  EXPECT_EQ(state.cpl(), 0);
  EXPECT_EQ(context_.instructions, 1u);
  mode_.intercept_iret = false;
  EXPECT_EQ(run(state).kind, StopKind::kInstruction);
  EXPECT_EQ(state.rip, kTarget);
}

// --- single step

TEST_F(EngineTraps, SingleStepRunsOneInstructionAtATime) {
  vmx::CpuState state = long_mode();
  state.gpr[vmx::kRbx] = 0;
  put_code({0xff, 0xc3, 0x48, 0x83, 0xc3, 0x10, 0xeb, 0x00, 0x90});  // inc; add; jmp +0; nop
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
  put_code({0x90, 0x90, 0xf4});
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
  put_code({0x90, 0x90, 0x90, 0xf4});
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
  run(state, {0xfb, 0x0f, 0xa2});  // sti; cpuid
  EXPECT_EQ(state.rip, kCode + 1);
  EXPECT_TRUE(state.blocking_by_sti);
  EXPECT_NE(state.rflags & vmx::rflags::kIf, 0u);
  state = long_mode();
  run(state, {0xfb, 0x90, 0x0f, 0xa2});  // sti; nop; cpuid
  EXPECT_EQ(state.rip, kCode + 2);
  EXPECT_FALSE(state.blocking_by_sti);
}

TEST_F(EngineTraps, MovSsAndPopSsCastAShadow) {
  for (const Code& code : {Code{0x8e, 0xd1, 0x0f, 0xa2}, Code{0x17, 0x90, 0x0f, 0xa2}}) {
    vmx::CpuState state = protected_mode();
    state.gpr[vmx::kRcx] = 0x10;
    set_ram<uint32_t>(kStack, 0x10);
    const bool pop = code[0] == 0x17;
    run(state, code);
    EXPECT_EQ(state.rip, kCode + 2);
    EXPECT_EQ(state.blocking_by_sti || state.blocking_by_mov_ss, !pop) << "POP SS; NOP has passed";
  }
}

TEST_F(EngineTraps, ALoadedShadowStaysUntilAnInstructionCompletes) {
  for (const bool mov_ss : {false, true}) {
    vmx::CpuState state = long_mode();
    (mov_ss ? state.blocking_by_mov_ss : state.blocking_by_sti) = true;
    run(state, {0x0f, 0xa2});
    EXPECT_EQ(state.blocking_by_mov_ss, mov_ss);
    EXPECT_EQ(state.blocking_by_sti, !mov_ss);
    run(state, {0x90, 0x0f, 0xa2});
    EXPECT_EQ(state.rip, kCode + 1);
    EXPECT_FALSE(state.blocking_by_mov_ss);
    EXPECT_FALSE(state.blocking_by_sti);
  }
}

}  // namespace
}  // namespace nestor::emu
