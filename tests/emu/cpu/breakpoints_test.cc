// SPDX-License-Identifier: GPL-2.0-or-later
//
// Address breakpoints, BTF, segment limits and SSE alignment of the whole machine.
#include "tests/emu/machine/machine_fixture.h"

namespace nestor::emu {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

class BreakpointMachine : public MachineTest {
 protected:
  // The handler adds DR6 to a list, sets RF in the frame, and returns.
  BreakpointMachine() {
    handle(vmx::kDb, ASM64("push rax; mov rax, dr6; mov [r12], rax; add r12, 8; xor eax, eax;"
                           "mov dr6, rax; or dword ptr [rsp + 24], 0x10000; pop rax; iretq"));
    cpu_.gpr[vmx::kR12] = kList;
    cpu_.gpr[vmx::kRcx] = kData;
    cpu_.cr4 |= vmx::cr4::kDe | vmx::cr4::kOsfxsr;
    cpu_.dr6 = 0xffff0ff0;
  }

  // DR7 for breakpoint n.
  static constexpr uint64_t enable(unsigned n, unsigned condition, unsigned length) {
    const unsigned code = length == 8 ? 2 : length - 1;
    return 0x400 | 1ull << (2 * n) | uint64_t{condition} << (16 + 4 * n) |
           uint64_t{code} << (18 + 4 * n);
  }
  std::vector<uint64_t> traps(const Code& code) {
    const RunResult result = run(code + ASM64("mov eax, [0x81000]; out 0xf4, eax"));
    EXPECT_EQ(result.kind, RunResult::Kind::kDebugExit) << result.detail;
    first_dr6_ = result.code >> 1 & 0xf;
    std::vector<uint64_t> rips;
    for (const Exception& exception : record_.exceptions) {
      EXPECT_EQ(exception.vector, unsigned{vmx::kDb});
      rips.push_back(exception.rip);
    }
    return rips;
  }

  static constexpr unsigned kExecute = 0, kWrite = 1, kPort = 2, kAccess = 3;
  static constexpr uint64_t kList = 0x81000;
  uint32_t first_dr6_ = 0;  // B3 to B0 of the first trap
};

TEST_F(BreakpointMachine, OnInstructionsAreFaultsOnceEach) {
  cpu_.dr[1] = kCode + 2;
  cpu_.dr7 = enable(1, kExecute, 1);
  // A loop comes by three times; RF lets each instruction pass once.
  const Code code = ASM64("mov bl, 3; 2: dec bl; jne 2b");
  EXPECT_THAT(traps(code), ElementsAre(kCode + 2, kCode + 2, kCode + 2));
  EXPECT_EQ(first_dr6_, 2u);
  cpu_.dr7 = 0x400;
  EXPECT_THAT(traps(code), IsEmpty());
  // Not at the first byte of an instruction.
  cpu_.dr[1] = kCode + 3;
  cpu_.dr7 = enable(1, kExecute, 1);
  EXPECT_THAT(traps(code), IsEmpty());
}

TEST_F(BreakpointMachine, OnInstructionsThatTheModelExecutes) {
  cpu_.dr[0] = kCode + 1;
  cpu_.dr7 = enable(0, kExecute, 1);
  for (const Code& code : {ASM64("nop; cpuid"), ASM64("nop; mov ds, ecx"), ASM64("nop; rdtsc")}) {
    cpu_.gpr[vmx::kRcx] = 0;
    EXPECT_THAT(traps(code), ElementsAre(kCode + 1)) << testing::PrintToString(code);
  }
}

// The engine ends the block before what it calls undefined.
TEST_F(BreakpointMachine, ComeBeforeAnUndefinedInstruction) {
  cpu_.dr[0] = kCode + 2;
  cpu_.dr7 = enable(0, kExecute, 1);
  cpu_.cr4 &= ~vmx::cr4::kOsfxsr;
  handle(vmx::kUd, ASM64("add qword ptr [rsp], 3; iretq"));
  run(ASM64("nop; nop; addps xmm0, [rcx]; nop; nop; nop; nop") + exit_with(1));
  ASSERT_EQ(record_.exceptions.size(), 2u);
  EXPECT_EQ(record_.exceptions[0].vector, unsigned{vmx::kDb});
  EXPECT_EQ(record_.exceptions[0].rip, kCode + 2);
  EXPECT_EQ(record_.exceptions[1].vector, unsigned{vmx::kUd});
}

TEST_F(BreakpointMachine, AreSuppressedBehindMovSs) {
  cpu_.dr[0] = kCode + 4;
  cpu_.dr7 = enable(0, kExecute, 1);
  EXPECT_THAT(traps(ASM64("mov edx, ss; mov ss, edx; nop; nop")), IsEmpty());
  cpu_.dr[0] = kCode + 5;
  EXPECT_THAT(traps(ASM64("mov edx, ss; mov ss, edx; nop; nop")), ElementsAre(kCode + 5));
}

TEST_F(BreakpointMachine, OnDataAreTrapsOfTheAccessesThatOverlap) {
  cpu_.dr[2] = kData + 4;
  struct Case {
    Code code;
    unsigned condition, length;
    bool met;
  };
  const Case kCases[] = {
      {ASM64("mov [rcx + 4], eax"), kWrite, 4, true},
      {ASM64("mov eax, [rcx + 4]"), kWrite, 4, false},
      {ASM64("mov eax, [rcx + 4]"), kAccess, 4, true},
      {ASM64("mov [rcx + 3], al"), kWrite, 4, false},
      {ASM64("mov [rcx + 3], ax"), kWrite, 4, true},
      {ASM64("mov [rcx + 7], al"), kWrite, 4, true},
      {ASM64("mov [rcx + 8], al"), kWrite, 4, false},
      {ASM64("mov [rcx + 8], al"), kWrite, 8, false},
      {ASM64("mov [rcx], al"), kWrite, 8, true},  // the address is aligned to the length
      {ASM64("mov [rcx + 6], al"), kWrite, 1, false},
      {ASM64("lock inc dword ptr [rcx + 4]"), kWrite, 2, true},
      {ASM64("sidt [rcx]"), kWrite, 4, true},
      {ASM64("movups xmm0, [rcx]"), kAccess, 4, true},
      {ASM64("lea rax, [rcx + 4]"), kAccess, 4, false},
  };
  for (const Case& one : kCases) {
    SCOPED_TRACE(testing::PrintToString(one.code));
    cpu_.dr7 = enable(2, one.condition, one.length);
    if (one.met) {
      EXPECT_THAT(traps(kNop + one.code), ElementsAre(kCode + 1 + one.code.size()));
      EXPECT_EQ(first_dr6_, 4u);
    } else {
      EXPECT_THAT(traps(kNop + one.code), IsEmpty());
    }
  }
}

TEST_F(BreakpointMachine, OnDataTrapBehindEachIteration) {
  cpu_.dr[0] = kData + 2;
  cpu_.dr7 = enable(0, kWrite, 1);
  const Code prepare = ASM64("mov rdi, rcx; mov ecx, 5");
  // The third of five: RIP is still that of the instruction.
  EXPECT_THAT(traps(prepare + ASM64("rep stosb")), ElementsAre(kCode + prepare.size()));
}

// What a fault interrupts has met nothing.
TEST_F(BreakpointMachine, OnDataWaitForTheInstructionToComplete) {
  constexpr uint64_t kMissing = 0x82000;
  map(kMissing, 0);
  handle(vmx::kPf, ASM64("mov dword ptr [0xa410], 0x82007; nop; add rsp, 8; iretq"));
  cpu_.dr[0] = kData;
  cpu_.dr7 = enable(0, kAccess, 1);
  cpu_.gpr[vmx::kRsi] = kData;
  cpu_.gpr[vmx::kRdi] = kMissing;
  run(ASM64("nop; movsb") + exit_with(0));
  EXPECT_THAT(record_.exceptions, ElementsAre(Exception{vmx::kPf, 2, kCode + 1, kMissing},
                                              Exception{vmx::kDb, {}, kCode + 2, 0}));
}

// RF is for what comes between two iterations. A double fault in the next one pushes what it was,
// whoever watches.
TEST_F(BreakpointMachine, RfIsGoneWhereAnIterationFollows) {
  constexpr uint64_t kMissing = 0x82000;
  map(kMissing, 0);  // and #PF has no gate
  handle(vmx::kDf, ASM64("mov eax, [rsp + 24]; shr eax, 16; and eax, 1; out 0xf4, eax"));
  cpu_.gpr[vmx::kRsi] = kData;
  cpu_.gpr[vmx::kRdi] = kMissing - 2;
  cpu_.gpr[vmx::kRcx] = 4;
  EXPECT_EQ(run(ASM64("nop; rep movsb") + exit_with(99)).code, status(0));
  start();
  Until each;
  each.step = true;
  unsigned steps = 0;
  while (machine_->run_until(each)) ++steps;
  EXPECT_GE(steps, 3u);
  EXPECT_EQ(machine_->result().code, status(0));
}

TEST_F(BreakpointMachine, OnPorts) {
  cpu_.dr[3] = 0x80;
  cpu_.dr7 = enable(3, kPort, 2);
  EXPECT_THAT(traps(ASM64("out 0x81, al")), ElementsAre(kCode + 2));
  EXPECT_EQ(first_dr6_, 8u);
  EXPECT_THAT(traps(ASM64("out 0x82, al")), IsEmpty());
  EXPECT_THAT(traps(ASM64("in eax, 0x7e")), ElementsAre(kCode + 2));
  cpu_.cr4 &= ~uint64_t{vmx::cr4::kDe};
  EXPECT_THAT(traps(ASM64("out 0x81, al")), IsEmpty());
}

TEST_F(BreakpointMachine, MergeWithTheSingleStepTrap) {
  cpu_.dr[0] = kData;
  cpu_.dr7 = enable(0, kWrite, 1);
  cpu_.rflags |= vmx::rflags::kTf;
  handle(vmx::kDb, ASM64("mov rax, dr6; out 0xf4, eax"));
  EXPECT_EQ(run(ASM64("mov [rcx], al; nop")).code, status(0xffff4ff1));
}

TEST_F(BreakpointMachine, BtfTrapsBranchesAlone) {
  cpu_.debugctl = vmx::debugctl::kBtf;
  cpu_.rflags |= vmx::rflags::kTf;
  handle(vmx::kDb, ASM64("mov rax, [rsp]; out 0xf4, eax"));
  const auto target = [](size_t offset) { return status(static_cast<uint32_t>(kCode + offset)); };
  EXPECT_EQ(run(ASM64("nop; inc eax; jmp 2f; nop; 2: nop")).code, target(6));
  EXPECT_EQ(run(ASM64("nop; xor eax, eax; jne 2f; cpuid; jmp 3f; 2: nop; 3: nop")).code,
            target(10));
  EXPECT_EQ(run(ASM64("nop; call 2f; 2: nop")).code, target(6));
}

// --- what is no breakpoint, and was not checked by the engine either

class CheckedAccesses : public MachineTest {
 protected:
  CheckedAccesses() {
    for (unsigned vector : {vmx::kUd, vmx::kNm, vmx::kSs12, vmx::kGp}) {
      handle(vector, exit_with(1000 + vector));
    }
    cpu_.gpr[vmx::kRcx] = kData;
    cpu_.cr4 |= vmx::cr4::kOsfxsr;
  }
  void expect(const Code& code, std::optional<vmx::Vector> vector, uint64_t at = 0) {
    SCOPED_TRACE(testing::PrintToString(code));
    const RunResult result = run(code + exit_with(1));
    EXPECT_EQ(result.code, status(vector ? 1000u + *vector : 1u));
    if (!vector) return;
    ASSERT_EQ(record_.exceptions.size(), 1u);
    EXPECT_EQ(record_.exceptions[0].rip, kCode + at);
  }
};

TEST_F(CheckedAccesses, SseOperandsAreAligned) {
  expect(ASM64("movaps xmm0, [rcx]"), std::nullopt);
  expect(ASM64("nop; movaps xmm0, [rcx + 8]"), vmx::kGp, 1);
  expect(ASM64("nop; add rcx, 8; movaps [rcx], xmm0"), vmx::kGp, 5);
  expect(ASM64("add rcx, 8; movaps [rcx + 8], xmm0; addps xmm0, [rcx - 8]"), std::nullopt);
  expect(ASM64("movups xmm0, [rcx + 8]; movdqu [rcx + 1], xmm0"), std::nullopt);
  expect(ASM64("nop; mov rdx, [rcx]; movaps xmm0, [rcx + rdx + 4]"), vmx::kGp, 4);
  expect(ASM64("mov ebx, 4; 2: movaps xmm0, [rcx]; add rcx, 4; dec ebx; jne 2b"), vmx::kGp, 5);
  cpu_.cr0 |= vmx::cr0::kTs;
  expect(ASM64("movaps xmm0, [rcx + 8]"), vmx::kNm);
  cpu_.cr4 &= ~uint64_t{vmx::cr4::kOsfxsr};
  expect(ASM64("movaps xmm0, [rcx + 8]"), vmx::kUd);
}

TEST_F(CheckedAccesses, BranchesThatLeadNowhere) {
  const Code nowhere = ASM64("mov rax, 0x8000000000000000");
  const uint64_t rsp = kStack - 64;
  cpu_.gpr[vmx::kRsp] = rsp;
  for (const Code& branch : {ASM64("jmp rax"), ASM64("call rax")}) {
    expect(nowhere + branch, vmx::kGp, nowhere.size());
  }
  put(rsp, 0x8000000000000000);
  expect(ASM64("nop; ret"), vmx::kGp, 1);
  expect(ASM64("nop; ret 8"), vmx::kGp, 1);
  // RSP is as it was: the frame of the fault lies below it.
  handle(vmx::kGp, ASM64("mov rax, [rsp + 32]; out 0xf4, eax"));
  EXPECT_EQ(run(ASM64("nop; ret 8")).code, status(rsp));
  EXPECT_EQ(run(nowhere + ASM64("call rax")).code, status(rsp));
}

TEST_F(CheckedAccesses, SegmentLimitsOfCompatibilityMode) {
  // DS, SS and CS of the machine are 64-bit ones; a far jump leads to compatibility mode.
  put<uint64_t>(kGdt + 0x38, 0x00409300'0000ffffull);  // 64 KBytes of data
  cpu_.gdtr.limit = 0x3f;
  put_code(kData, {0x00, 0x00, 0x10, 0x00, 0x08, 0x00});
  const Code enter = ASM64("mov esi, 0x38; mov ds, esi; ljmp [0x80000]");
  const auto in_32_bits = [&](const Code& code, std::optional<vmx::Vector> vector,
                              uint64_t at = 0) {
    Code all = enter;
    put<uint32_t>(kData, static_cast<uint32_t>(kCode + enter.size()));
    expect(all + code, vector, enter.size() + at);
  };
  in_32_bits(ASM32("mov eax, [0xfffc]"), std::nullopt);
  in_32_bits(ASM32("nop; mov eax, [0xfffd]"), vmx::kGp, 1);
  in_32_bits(ASM32("mov edx, 0xfff0; nop; add edx, 14; mov [edx], ax"), std::nullopt);
  in_32_bits(ASM32("mov edx, 0xfff0; nop; add edx, 15; mov [edx], ax"), vmx::kGp, 9);
  in_32_bits(ASM32("mov eax, ss:[0xffffd]"), std::nullopt);
  in_32_bits(ASM32("mov eax, ss:[0xfffffffe]"), vmx::kSs12);
  in_32_bits(ASM32("mov cs:[0x1000], eax"), vmx::kGp);
}

TEST_F(CheckedAccesses, ImpliedOperandsAreNoStackAccesses) {
  cpu_.gpr[vmx::kRbx] = cpu_.gpr[vmx::kRdi] = 0x8000000000000000;
  expect(ASM64("nop; xlatb"), vmx::kGp, 1);
  expect(ASM64("nop; pcmpeqd xmm1, xmm1; maskmovdqu xmm0, xmm1"), vmx::kGp, 5);
  cpu_.gpr[vmx::kRbp] = 0x8000000000000000;
  expect(ASM64("nop; mov al, [rbp]"), vmx::kSs12, 1);
  expect(ASM64("nop; leave"), vmx::kSs12, 1);
}

}  // namespace
}  // namespace nestor::emu
