// SPDX-License-Identifier: GPL-2.0-or-later
//
// Programs on a whole machine: faults, traps and privilege, to the last bit of what they report.
#include "tests/emu/machine/machine_fixture.h"

namespace nestor::emu {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using Kind = RunResult::Kind;

// Page-fault error code ("Page-Fault Exceptions").
enum PageFault : uint32_t {
  kProtection = 1,
  kWrite = 2,
  kUserMode = 4,
  kReserved = 8,
  kFetch = 16,
};

class CpuFaults : public MachineTest {
 protected:
  static constexpr uint64_t kHole = 0x85000;  // a page that tests map as they like
  CpuFaults() {
    handle(vmx::kPf, ASM64("mov rax, cr2; out 0xf4, eax"));
    for (unsigned vector : {vmx::kDe, vmx::kUd, vmx::kNm, vmx::kSs12, vmx::kGp}) {
      handle(vector, exit_with(1000 + vector));
    }
    cpu_.gpr[vmx::kRcx] = kHole;
    cpu_.gpr[vmx::kRsi] = kHole + 8;
    cpu_.gpr[vmx::kRdi] = kData;
  }

  // The program, after a NOP, faults with #PF in its first instruction.
  void expect_page_fault(const Code& code, uint32_t error, uint64_t cr2, uint64_t rip = kCode + 1) {
    SCOPED_TRACE(testing::PrintToString(code));
    const RunResult result = run(nops(1) + code + exit_with(1));
    EXPECT_THAT(record_.exceptions, ElementsAre(Exception{vmx::kPf, error, rip, cr2}));
    EXPECT_EQ(result.kind, Kind::kDebugExit);
    EXPECT_EQ(result.code, status(static_cast<uint32_t>(cr2))) << "CR2 in the handler";
  }
  void expect_fault(const Code& code, vmx::Vector vector, std::optional<uint32_t> error,
                    uint64_t rip = kCode + 1) {
    SCOPED_TRACE(testing::PrintToString(code));
    const RunResult result = run(nops(1) + code + exit_with(1));
    EXPECT_THAT(record_.exceptions, ElementsAre(Exception{vector, error, rip, 0}));
    EXPECT_EQ(result.code, status(1000u + vector));
  }
  static constexpr uint64_t kReadOnly = kHole | kPresent | kUser;
  static constexpr uint64_t kSupervisor = kHole | kPresent | kWritable;

  const Code kLoad = ASM64("mov rax, [rcx]"), kStore = ASM64("mov [rcx], rax"),
             kAdd = ASM64("add [rcx], rax");
};

TEST_F(CpuFaults, APageThatIsNotPresent) {
  map(kHole, 0);
  expect_page_fault(kLoad, 0, kHole);
  expect_page_fault(kStore, kWrite, kHole);
  expect_page_fault(kAdd, kWrite, kHole);
  expect_page_fault(ASM64("cmp rax, [rcx]"), 0, kHole);
  expect_page_fault(ASM64("push [rcx]"), 0, kHole);
  expect_page_fault(ASM64("pop qword ptr [rcx]"), kWrite, kHole);
  expect_page_fault(ASM64("movsb"), 0, kHole + 8);
  expect_page_fault(ASM64("xchg rsi, rdi; movsb"), kWrite, kHole + 8, kCode + 4);
  expect_page_fault(ASM64("lgdt [rcx]"), 0, kHole);
  expect_page_fault(ASM64("sgdt [rcx]"), kWrite, kHole);
}

// To the processor an operand that is read and written is one access, a write.
TEST_F(CpuFaults, AnOperandThatIsReadAndWritten) {
  map(kHole, 0);
  const Code kInstructions[] = {
      ASM64("add [rcx], al"),
      ASM64("or [rcx], rax"),
      ASM64("adc [rcx], rax"),
      ASM64("sbb [rcx], ax"),
      ASM64("and [rcx], eax"),
      ASM64("sub [rcx], eax"),
      ASM64("xor [rcx], eax"),
      ASM64("add dword ptr [rcx], 5"),
      ASM64("and qword ptr [rcx], 5"),
      ASM64("xor byte ptr [rcx], 5"),
      ASM64("inc qword ptr [rcx]"),
      ASM64("dec byte ptr [rcx]"),
      ASM64("not dword ptr [rcx]"),
      ASM64("neg qword ptr [rcx]"),
      ASM64("shl dword ptr [rcx], 1"),
      ASM64("shr dword ptr [rcx], 3"),
      ASM64("sar dword ptr [rcx], 3"),
      ASM64("rol dword ptr [rcx], 3"),
      ASM64("ror dword ptr [rcx], 3"),
      ASM64("rcl dword ptr [rcx], 1"),
      ASM64("rcr dword ptr [rcx], 1"),
      ASM64("shld [rcx], eax, 3"),
      ASM64("shrd [rcx], eax, 3"),
      ASM64("bts dword ptr [rcx], 3"),
      ASM64("btr dword ptr [rcx], 3"),
      ASM64("btc dword ptr [rcx], 3"),
      ASM64("bts [rcx], eax"),
      ASM64("btr [rcx], eax"),
      ASM64("btc [rcx], eax"),
      ASM64("xadd [rcx], rax"),
      ASM64("cmpxchg [rcx], al"),
      ASM64("cmpxchg [rcx], rax"),
      ASM64("cmpxchg8b [rcx]"),
      ASM64("cmpxchg16b [rcx]"),
      ASM64("xchg [rcx], rax"),
      ASM64("lock add [rcx], rax"),
      ASM64("lock inc qword ptr [rcx]"),
      ASM64("lock cmpxchg [rcx], rax"),
      ASM64("lock cmpxchg16b [rcx]"),
  };
  for (const Code& code : kInstructions) expect_page_fault(code, kWrite, kHole);
}

TEST_F(CpuFaults, AnOperandThatIsOnlyRead) {
  map(kHole, 0);
  cpu_.cr4 |= vmx::cr4::kOsfxsr | vmx::cr4::kOsxmmexcpt;
  const Code kInstructions[] = {
      ASM64("cmp [rcx], rax"),
      ASM64("cmp byte ptr [rcx], 5"),
      ASM64("test [rcx], rax"),
      ASM64("test byte ptr [rcx], 5"),
      ASM64("bt [rcx], eax"),
      ASM64("bt dword ptr [rcx], 3"),
      ASM64("add rax, [rcx]"),
      ASM64("mul qword ptr [rcx]"),
      ASM64("imul rax, [rcx]"),
      ASM64("div dword ptr [rcx]"),
      ASM64("movzx eax, byte ptr [rcx]"),
      ASM64("cmovz eax, [rcx]"),
      ASM64("bsf eax, [rcx]"),
      ASM64("popcnt eax, [rcx]"),
      ASM64("call [rcx]"),
      ASM64("jmp [rcx]"),
      ASM64("push [rcx]"),
      ASM64("fld dword ptr [rcx]"),
      ASM64("fild qword ptr [rcx]"),
      ASM64("fldcw [rcx]"),
      ASM64("movaps xmm0, [rcx]"),
      ASM64("addps xmm0, [rcx]"),
      ASM64("comisd xmm0, [rcx]"),
      ASM64("pcmpeqb xmm0, [rcx]"),
      ASM64("ldmxcsr [rcx]"),
      ASM64("mov ds, [rcx]"),
  };
  for (const Code& code : kInstructions) expect_page_fault(code, 0, kHole);
}

TEST_F(CpuFaults, APageThatIsReadOnly) {
  map(kHole, kReadOnly);
  expect_page_fault(kStore, kWrite | kProtection, kHole);
  expect_page_fault(kAdd, kWrite | kProtection, kHole);
  EXPECT_EQ(run(kLoad + exit_with(2)).code, status(2));
  cpu_.cr0 &= ~uint64_t{vmx::cr0::kWp};
  EXPECT_EQ(run(kStore + exit_with(2)).code, status(2));
}

TEST_F(CpuFaults, ASupervisorPageInUserMode) {
  map(kHole, kSupervisor);
  enter_user_mode();
  expect_page_fault(kLoad, kUserMode | kProtection, kHole);
  expect_page_fault(kStore, kUserMode | kWrite | kProtection, kHole);
  map(kHole, 0);
  expect_page_fault(kLoad, kUserMode, kHole);
}

TEST_F(CpuFaults, AReservedBit) {
  map(kHole, kHole | kAll | 1ull << 51);
  expect_page_fault(kLoad, kReserved | kProtection, kHole);
}

TEST_F(CpuFaults, APageThatMustNotBeExecuted) {
  map(kHole, kHole | kAll | kNoExecute);
  expect_page_fault(ASM64("jmp rcx"), kFetch | kProtection, kHole, kHole);
}

TEST_F(CpuFaults, AnAccessAcrossTwoPagesNamesTheOneThatIsMissing) {
  map(kHole, 0);
  cpu_.gpr[vmx::kRcx] = kHole - 3;
  expect_page_fault(kLoad, 0, kHole);
  expect_page_fault(kStore, kWrite, kHole);
  expect_page_fault(kAdd, kWrite, kHole);
  cpu_.gpr[vmx::kRcx] = kHole + kPage - 3;
  expect_page_fault(kLoad, 0, kHole + kPage - 3);
  expect_page_fault(kStore, kWrite, kHole + kPage - 3);
}

TEST_F(CpuFaults, AJumpToAPageThatIsNotPresent) {
  map(kHole, 0);
  cpu_.gpr[vmx::kRcx] = kHole + 0x123;
  expect_page_fault(ASM64("jmp rcx"), kFetch, kHole + 0x123, kHole + 0x123);
}

// With EFER.NXE and CR4.SMEP clear, error codes have no bit for fetches.
TEST_F(CpuFaults, AFetchWithoutExecuteDisable) {
  map(kHole, 0);
  cpu_.efer &= ~uint64_t{vmx::efer::kNxe};
  expect_page_fault(ASM64("jmp rcx"), 0, kHole, kHole);
}

TEST_F(CpuFaults, CodeThatRunsIntoAPageThatIsNotPresent) {
  map(kHole, 0);
  // Both end at the end of the page.
  put_code(kHole - 6, ASM64("inc r15d; inc r15d"));
  cpu_.gpr[vmx::kRcx] = kHole - 6;
  handle(vmx::kPf, ASM64("mov eax, r15d; out 0xf4, eax"));
  const RunResult result = run(ASM64("jmp rcx"));
  EXPECT_EQ(result.code, status(2)) << "both instructions before the page have completed";
  EXPECT_THAT(record_.exceptions, ElementsAre(Exception{vmx::kPf, kFetch, kHole, kHole}));
}

TEST_F(CpuFaults, AnInstructionAcrossAPageThatIsNotPresent) {
  map(kHole, 0);
  // inc r15d; and the first 3 bytes of mov eax, imm32
  put_code(kHole - 6, {0x41, 0xff, 0xc7, 0xb8, 0x00, 0x00});
  cpu_.gpr[vmx::kRcx] = kHole - 6;
  handle(vmx::kPf, ASM64("mov eax, r15d; out 0xf4, eax"));
  const RunResult result = run(ASM64("jmp rcx"));
  EXPECT_EQ(result.code, status(1)) << "the instruction before has completed";
  EXPECT_THAT(record_.exceptions, ElementsAre(Exception{vmx::kPf, kFetch, kHole - 3, kHole}));
}

// It is no instruction of its own that the page is missing for: nothing there is ever fetched.
TEST_F(CpuFaults, AMissingPageBehindAJumpIsNoFault) {
  map(kHole, 0);
  put_code(kHole - 2, ASM64("jmp rdx"));
  cpu_.gpr[vmx::kRcx] = kHole - 2;
  cpu_.gpr[vmx::kRdx] = kCode + 0x100;
  put_code(kCode + 0x100, exit_with(3));
  EXPECT_EQ(run(ASM64("jmp rcx")).code, status(3));
  EXPECT_THAT(record_.exceptions, IsEmpty());
}

TEST_F(CpuFaults, AFaultThatIsRepairedIsRestarted) {
  map(kHole, 0);
  put<uint64_t>(kHole, 0x1234);
  // mov qword [PTE], entry; invlpg [rcx]; add rsp, 8; iretq
  const uint64_t pte = kPageTable + 8 * (kHole >> 12);
  Code repair = ASM64("mov qword ptr [0], 0");
  const uint32_t entry = kHole | kAll;
  std::memcpy(repair.data() + 4, &pte, 4);
  std::memcpy(repair.data() + 8, &entry, 4);
  handle(vmx::kPf, repair + ASM64("invlpg [rcx]; add rsp, 8; iretq"));
  EXPECT_EQ(run(ASM64("mov eax, [rcx]; out 0xf4, eax")).code, status(0x1234));
  EXPECT_EQ(record_.exceptions.size(), 1u);
}

// --- addresses that are not canonical

TEST_F(CpuFaults, AnAddressThatIsNotCanonical) {
  cpu_.gpr[vmx::kRcx] = 0x8000'0000'0000'0000;
  expect_fault(kLoad, vmx::kGp, 0);
  expect_fault(kStore, vmx::kGp, 0);
  cpu_.gpr[vmx::kRcx] = 0x0000'8000'0000'0000;
  expect_fault(kLoad, vmx::kGp, 0);
}

TEST_F(CpuFaults, AStackThatIsNotCanonical) {
  cpu_.gpr[vmx::kRbp] = 0x8000'0000'0000'0000;
  expect_fault(ASM64("mov rax, [rbp]"), vmx::kSs12, 0);
}

// In 64-bit mode prefixes for ES, CS, SS and DS are ignored, also for this.
TEST_F(CpuFaults, ASegmentPrefixMakesNoStackOfIt) {
  cpu_.gpr[vmx::kRbp] = cpu_.gpr[vmx::kRcx] = 0x8000'0000'0000'0000;
  for (const int prefix : {0x26, 0x2e, 0x36, 0x3e}) {
    SCOPED_TRACE(prefix);
    expect_fault(Code{static_cast<uint8_t>(prefix)} + ASM64("mov rax, [rbp]"), vmx::kSs12, 0);
    expect_fault(Code{static_cast<uint8_t>(prefix)} + ASM64("mov rax, [rcx]"), vmx::kGp, 0);
    expect_fault(Code{static_cast<uint8_t>(prefix)} + ASM64("mov [rcx], rax"), vmx::kGp, 0);
  }
  for (const int prefix : {0x64, 0x65}) {
    SCOPED_TRACE(prefix);
    expect_fault(Code{static_cast<uint8_t>(prefix)} + ASM64("mov rax, [rbp]"), vmx::kGp, 0);
  }
}

TEST_F(CpuFaults, AJumpThatIsNotCanonical) {
  cpu_.gpr[vmx::kRcx] = 0x8000'0000'0000'0000;
  expect_fault(ASM64("jmp rcx"), vmx::kGp, 0);
}

// --- CR0.EM, CR0.MP, CR0.TS and CR4.OSFXSR

// "Configuring the x87 FPU Environment", "Emulation of the MMX Instruction Set" and "Action Taken
// for Combinations of OSFXSR, OSXMMEXCPT, SSE, SSE2, SSE3, EM, MP, and TS".
TEST_F(CpuFaults, TheFpusBitsOfTheControlRegisters) {
  enum class Uses : uint8_t { kX87, kWait, kMmx, kSse };
  const struct {
    Uses uses;
    Code code;
  } kInstructions[] = {
      {Uses::kX87, ASM64("fld1")},
      {Uses::kX87, ASM64("fnstcw [rcx]")},
      {Uses::kWait, ASM64("wait")},
      {Uses::kMmx, ASM64("paddb mm0, mm1")},
      {Uses::kMmx, ASM64("emms")},
      {Uses::kMmx, ASM64("movq [rcx], mm0")},
      {Uses::kMmx, ASM64("pshufw mm0, mm1, 0")},
      {Uses::kMmx, ASM64("pabsb mm0, mm1")},
      {Uses::kSse, ASM64("addps xmm0, xmm1")},
      {Uses::kSse, ASM64("movups [rcx], xmm3")},
      {Uses::kSse, ASM64("paddb xmm0, xmm1")},
      {Uses::kSse, ASM64("movq2dq xmm0, mm1")},
      {Uses::kSse, ASM64("cvtpi2ps xmm0, mm1")},
      {Uses::kSse, ASM64("cvtsi2sd xmm0, eax")},
      {Uses::kSse, ASM64("movmskps eax, xmm0")},
      {Uses::kSse, ASM64("pabsb xmm0, xmm1")},
      {Uses::kSse, ASM64("ldmxcsr [rcx]")},
      {Uses::kSse, ASM64("stmxcsr [rcx]")},
      // The engine looks at no more than their opcode.
      {Uses::kSse, ASM64("maskmovdqu xmm0, xmm1")},
      {Uses::kSse, ASM64("movntdq [rcx], xmm0")},
      {Uses::kSse, ASM64("pextrw eax, xmm0, 1")},
      {Uses::kSse, ASM64("pmovmskb eax, xmm0")},
      {Uses::kSse, ASM64("movdq2q mm0, xmm0")},
      {Uses::kSse, ASM64("lddqu xmm0, [rcx]")},
      {Uses::kSse, ASM64("comisd xmm0, xmm1")},
  };
  put<uint32_t>(kHole, 0x1f80);
  cpu_.gpr[vmx::kRcx] = cpu_.gpr[vmx::kRdi] = kHole;
  for (unsigned bits = 0; bits != 16; ++bits) {
    const bool em = bits & 1, mp = bits & 2, ts = bits & 4, osfxsr = bits & 8;
    const auto set = [](uint64_t& reg, uint64_t bit, bool to) {
      reg = to ? reg | bit : reg & ~bit;
    };
    set(cpu_.cr0, vmx::cr0::kEm, em);
    set(cpu_.cr0, vmx::cr0::kMp, mp);
    set(cpu_.cr0, vmx::cr0::kTs, ts);
    set(cpu_.cr4, vmx::cr4::kOsfxsr, osfxsr);
    for (const auto& [uses, code] : kInstructions) {
      SCOPED_TRACE(testing::Message() << "EM, MP, TS, OSFXSR: " << em << mp << ts << osfxsr << " "
                                      << testing::PrintToString(code));
      const bool undefined = (uses == Uses::kMmx && em) || (uses == Uses::kSse && (em || !osfxsr));
      const bool absent = uses == Uses::kX87 ? em || ts : uses == Uses::kWait ? mp && ts : ts;
      if (undefined || absent) {
        expect_fault(code, undefined ? vmx::kUd : vmx::kNm, std::nullopt);
      } else {
        record_.exceptions.clear();
        EXPECT_EQ(run(code + exit_with(1)).code, status(1));
        EXPECT_TRUE(record_.exceptions.empty());
      }
    }
  }
}

// --- other faults

TEST_F(CpuFaults, DivisionByZero) {
  cpu_.gpr[vmx::kRcx] = 0;
  expect_fault(ASM64("div ecx"), vmx::kDe, std::nullopt);
}

TEST_F(CpuFaults, UndefinedInstructions) {
  expect_fault(ASM64("ud2"), vmx::kUd, std::nullopt);
  expect_fault(ASM64("vmcall"), vmx::kUd, std::nullopt);  // without CR4.VMXE
}

TEST_F(CpuFaults, ASelectorBeyondTheTable) {
  expect_fault(ASM64("mov ax, 0x1238; mov ds, eax"), vmx::kGp, 0x1238, kCode + 5);
}

TEST_F(CpuFaults, PrivilegedInstructionsInUserMode) {
  enter_user_mode();
  const Code kPrivileged[] = {
      ASM64("hlt"),          ASM64("cli"),          ASM64("rdmsr"),
      ASM64("mov rax, cr0"), ASM64("invlpg [rcx]"), ASM64("clts"),
      ASM64("in al, 0x80"),  ASM64("out 0x80, al"), ASM64("wbinvd"),
  };
  for (const Code& code : kPrivileged) expect_fault(code, vmx::kGp, 0);
}

TEST_F(CpuFaults, SoftwareInterruptsNeedTheirGatesPrivilege) {
  handle(0x50, exit_with(4));
  enter_user_mode();
  const RunResult result = run(ASM64("int 0x50"));
  EXPECT_EQ(result.code, status(1000u + vmx::kGp));
  // What was tried is on record as well.
  EXPECT_THAT(record_.exceptions, ElementsAre(Exception{0x50, std::nullopt, kCode, 0},
                                              Exception{vmx::kGp, 0x50 << 3 | 2, kCode, 0}));
}

// --- privilege

TEST_F(CpuFaults, SyscallEntersAtCpl0AndSysretReturns) {
  enter_user_mode();
  cpu_.star = uint64_t{kCode64} << 32 | (uint64_t{kUserData} - 8) << 48;
  cpu_.lstar = kHandlers + 0x4000;
  cpu_.fmask = vmx::rflags::kIf;
  put_code(kHandlers + 0x4000, ASM64("mov r15d, cs; sysretq"));
  handle(vmx::kUd, ASM64("mov eax, r15d; out 0xf4, eax"));
  const RunResult result = run(ASM64("syscall; ud2"));
  EXPECT_EQ(result.code, status(kCode64));
  EXPECT_THAT(record_.exceptions, ElementsAre(Exception{vmx::kUd, std::nullopt, kCode + 2, 0}));
}

// The descriptor tables are the system's, whoever loads a segment.
TEST_F(CpuFaults, AUserLoadsASegmentFromASupervisorTable) {
  map(kGdt, kGdt | kPresent | kWritable);
  enter_user_mode();
  static_assert(kUserData == 0x23);
  const RunResult result = run(ASM64("mov eax, 0x23; mov ds, eax; ud2"));
  EXPECT_EQ(result.code, status(1000u + vmx::kUd));
  EXPECT_THAT(record_.exceptions, ElementsAre(Exception{vmx::kUd, std::nullopt, kCode + 7, 0}));
  // But the user may not read it.
  cpu_.gpr[vmx::kRcx] = kGdt;
  expect_page_fault(kLoad, kUserMode | kProtection, kGdt);
}

// The access is the system's, so the error code does not say user.
TEST_F(CpuFaults, AUserLoadsASegmentFromATableThatIsNotPresent) {
  map(kHole, 0);
  cpu_.gdtr.base = kHole;
  handle(vmx::kPf, ASM64("hlt"));
  enter_user_mode();
  const RunResult result = run(ASM64("mov eax, 0x23; mov ds, eax; ud2"));
  ASSERT_FALSE(record_.exceptions.empty());
  EXPECT_EQ(record_.exceptions[0], (Exception{vmx::kPf, 0, kCode + 5, kHole + (kUserData & ~7)}));
  // The handler's own code segment cannot be read either.
  EXPECT_EQ(result.kind, Kind::kShutdown);
}

// A fault in user mode arrives on the stack that the TSS names, and the frame says where it was.
TEST_F(CpuFaults, AFaultInUserModeSwitchesTheStack) {
  enter_user_mode();
  // [rsp + 24] is RSP of the interrupted program.
  handle(vmx::kUd, ASM64("mov eax, [rsp + 24]; sub eax, esp; out 0xf4, eax"));
  const RunResult result = run(ASM64("ud2"));
  EXPECT_EQ(result.code, status(static_cast<uint32_t>(kUserStack - (kKernelStack - 40))));
}

TEST_F(CpuFaults, AnIstEntryGivesItsStack) {
  handle(vmx::kUd, ASM64("mov eax, esp; out 0xf4, eax"));
  put<uint8_t>(kIdt + 16 * vmx::kUd + 4, 1);
  put<uint64_t>(kTss + 0x24, 0x8d000);
  EXPECT_EQ(run(ASM64("ud2")).code, status(0x8d000 - 40));
}

// A #GP in the delivery of a #PF makes a double fault, whose error code is 0.
TEST_F(CpuFaults, AFaultInTheDeliveryOfAFaultIsADoubleFault) {
  map(kHole, 0);
  put<uint64_t>(kIdt + 16 * vmx::kPf, 0);
  handle(vmx::kNp, exit_with(11));
  handle(vmx::kDf, ASM64("mov eax, [rsp]; add eax, 8; out 0xf4, eax"));  // error code + 8
  const RunResult result = run(kLoad);
  EXPECT_EQ(result.code, status(8));
  ASSERT_FALSE(record_.exceptions.empty());
  EXPECT_EQ(record_.exceptions.back(), (Exception{vmx::kDf, 0, kCode, 0}));
}

// --- single step

class CpuTraps : public MachineTest {
 protected:
  CpuTraps() {
    handle(vmx::kDb, ASM64("inc r15d; iretq"));
    handle(vmx::kPf, exit_with(14));
  }
  // The trap flag takes effect after the next instruction.
  const Code kSetTrapFlag = ASM64("push 0x102; popfq"), kClearTrapFlag = ASM64("push 2; popfq"),
             kReport = ASM64("mov eax, r15d; out 0xf4, eax");
  std::vector<uint64_t> trap_rips() const {
    std::vector<uint64_t> rips;
    for (const Exception& exception : record_.exceptions) {
      EXPECT_EQ(exception.vector, vmx::kDb);
      rips.push_back(exception.rip - kCode);
    }
    return rips;
  }
};

TEST_F(CpuTraps, TheTrapFlagTrapsAfterEachInstruction) {
  // After NOP, INC of 3 bytes and the two of kClearTrapFlag.
  const RunResult result =
      run(kSetTrapFlag + ASM64("nop; inc r12d") + kClearTrapFlag + nops(3) + kReport);
  EXPECT_EQ(result.code, status(4));
  EXPECT_THAT(trap_rips(), ElementsAre(7, 10, 12, 13));
}

TEST_F(CpuTraps, EmulatedInstructionsTrapOnceToo) {
  const RunResult result = run(kSetTrapFlag + ASM64("cpuid; in al, 0x80; mov rax, cr0") +
                               kClearTrapFlag + nops(3) + kReport);
  EXPECT_EQ(result.code, status(5));
  EXPECT_THAT(trap_rips(), ElementsAre(8, 10, 13, 15, 16));
}

TEST_F(CpuTraps, JumpsTrapAtTheirTarget) {
  const RunResult result =
      run(kSetTrapFlag + ASM64("jmp 2f; nop; nop; 2:") + kClearTrapFlag + nops(3) + kReport);
  EXPECT_EQ(result.code, status(3));
  EXPECT_THAT(trap_rips(), ElementsAre(10, 12, 13));
}

TEST_F(CpuTraps, EachIterationOfAStringInstructionTraps) {
  cpu_.gpr[vmx::kRcx] = 3;
  cpu_.gpr[vmx::kRdi] = kData;
  const RunResult result =
      run(kSetTrapFlag + ASM64("rep stosb") + kClearTrapFlag + nops(3) + kReport);
  EXPECT_EQ(result.code, status(5));
  EXPECT_THAT(trap_rips(), ElementsAre(6, 6, 8, 10, 11));
}

TEST_F(CpuTraps, MovSsHoldsTheTrapBack) {
  const RunResult result = run(ASM64("mov ecx, ss") + kSetTrapFlag + ASM64("mov ss, ecx; nop") +
                               kClearTrapFlag + nops(3) + kReport);
  EXPECT_EQ(result.code, status(3));
  EXPECT_THAT(trap_rips(), ElementsAre(11, 13, 14));
}

TEST_F(CpuTraps, AFaultingInstructionDoesNotTrap) {
  map(0x85000, 0);
  cpu_.gpr[vmx::kRcx] = 0x85000;
  run(kSetTrapFlag + ASM64("nop; mov eax, [rcx]"));
  ASSERT_EQ(record_.exceptions.size(), 2u);
  EXPECT_EQ(record_.exceptions[0], (Exception{vmx::kDb, std::nullopt, kCode + 7, 0}));
  EXPECT_EQ(record_.exceptions[1], (Exception{vmx::kPf, 0, kCode + 7, 0x85000}));
}

TEST_F(CpuTraps, TheTrapSaysSingleStepInDr6) {
  handle(vmx::kDb, ASM64("mov rax, dr6; shr eax, 1; out 0xf4, eax"));
  const RunResult result = run(kSetTrapFlag + nops(4));
  EXPECT_EQ(result.code, status(0xffff4ff0 >> 1));
}

// --- code that changes

TEST_F(CpuTraps, StoresIntoCodeAreSeenByTheProcessorAndItsEmulation) {
  // Makes CPUID (0F A2) of UD2 (0F 0B): emulated code is read anew as well.
  Code code = ASM64("mov byte ptr [0], 0xa2; ud2");
  const uint32_t target = kCode + 9;
  std::memcpy(code.data() + 3, &target, 4);
  EXPECT_EQ(run(code + exit_with(6)).code, status(6));
  EXPECT_THAT(record_.exceptions, IsEmpty());
}

// INS writes through the processor model, into code that the engine knows.
TEST_F(CpuTraps, StringInputIntoCodeIsSeen) {
  const uint64_t function = kCode + 0x800;
  put_code(function, ASM64("mov al, 0x11; ret"));
  // INSB reads FF and makes it the operand of MOV.
  Code code = ASM64(
      "2: call 2b + 0x800; mov edi, 0x100801; mov dx, 0x1234; "
      "insb; call 2b + 0x800; movzx eax, al; out 0xf4, eax");
  EXPECT_EQ(run(code).code, status(0xff));
}

}  // namespace
}  // namespace nestor::emu
