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
    // mov rax, cr2; out 0xf4, eax
    handle(vmx::kPf, {0x0f, 0x20, 0xd0, 0xe7, 0xf4});
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

  const Code kLoad = {0x48, 0x8b, 0x01}, kStore = {0x48, 0x89, 0x01}, kAdd = {0x48, 0x01, 0x01};
};

TEST_F(CpuFaults, APageThatIsNotPresent) {
  map(kHole, 0);
  expect_page_fault(kLoad, 0, kHole);
  expect_page_fault(kStore, kWrite, kHole);
  expect_page_fault(kAdd, kWrite, kHole);
  expect_page_fault({0x48, 0x3b, 0x01}, 0, kHole);  // cmp rax, [rcx]
  expect_page_fault({0xff, 0x31}, 0, kHole);        // push [rcx]
  expect_page_fault({0x8f, 0x01}, kWrite, kHole);   // pop [rcx]
  expect_page_fault({0xa4}, 0, kHole + 8);          // movsb
  expect_page_fault({0x48, 0x87, 0xfe, 0xa4}, kWrite, kHole + 8,
                    kCode + 4);                          // xchg rsi, rdi; movsb
  expect_page_fault({0x0f, 0x01, 0x11}, 0, kHole);       // lgdt [rcx]
  expect_page_fault({0x0f, 0x01, 0x01}, kWrite, kHole);  // sgdt [rcx]
}

// To the processor an operand that is read and written is one access, a write.
TEST_F(CpuFaults, AnOperandThatIsReadAndWritten) {
  map(kHole, 0);
  const Code kInstructions[] = {
      {0x00, 0x01},                    // add [rcx], al
      {0x48, 0x09, 0x01},              // or [rcx], rax
      {0x48, 0x11, 0x01},              // adc [rcx], rax
      {0x66, 0x19, 0x01},              // sbb [rcx], ax
      {0x21, 0x01},                    // and [rcx], eax
      {0x29, 0x01},                    // sub [rcx], eax
      {0x31, 0x01},                    // xor [rcx], eax
      {0x83, 0x01, 0x05},              // add dword [rcx], 5
      {0x48, 0x83, 0x21, 0x05},        // and qword [rcx], 5
      {0x80, 0x31, 0x05},              // xor byte [rcx], 5
      {0x48, 0xff, 0x01},              // inc qword [rcx]
      {0xfe, 0x09},                    // dec byte [rcx]
      {0xf7, 0x11},                    // not dword [rcx]
      {0x48, 0xf7, 0x19},              // neg qword [rcx]
      {0xd1, 0x21},                    // shl dword [rcx], 1
      {0xc1, 0x29, 0x03},              // shr dword [rcx], 3
      {0xc1, 0x39, 0x03},              // sar dword [rcx], 3
      {0xc1, 0x01, 0x03},              // rol dword [rcx], 3
      {0xc1, 0x09, 0x03},              // ror dword [rcx], 3
      {0xd1, 0x11},                    // rcl dword [rcx], 1
      {0xd1, 0x19},                    // rcr dword [rcx], 1
      {0x0f, 0xa4, 0x01, 0x03},        // shld [rcx], eax, 3
      {0x0f, 0xac, 0x01, 0x03},        // shrd [rcx], eax, 3
      {0x0f, 0xba, 0x29, 0x03},        // bts dword [rcx], 3
      {0x0f, 0xba, 0x31, 0x03},        // btr dword [rcx], 3
      {0x0f, 0xba, 0x39, 0x03},        // btc dword [rcx], 3
      {0x0f, 0xab, 0x01},              // bts [rcx], eax
      {0x0f, 0xb3, 0x01},              // btr [rcx], eax
      {0x0f, 0xbb, 0x01},              // btc [rcx], eax
      {0x48, 0x0f, 0xc1, 0x01},        // xadd [rcx], rax
      {0x0f, 0xb0, 0x01},              // cmpxchg [rcx], al
      {0x48, 0x0f, 0xb1, 0x01},        // cmpxchg [rcx], rax
      {0x0f, 0xc7, 0x09},              // cmpxchg8b [rcx]
      {0x48, 0x0f, 0xc7, 0x09},        // cmpxchg16b [rcx]
      {0x48, 0x87, 0x01},              // xchg [rcx], rax
      {0xf0, 0x48, 0x01, 0x01},        // lock add [rcx], rax
      {0xf0, 0x48, 0xff, 0x01},        // lock inc qword [rcx]
      {0xf0, 0x48, 0x0f, 0xb1, 0x01},  // lock cmpxchg [rcx], rax
      {0xf0, 0x48, 0x0f, 0xc7, 0x09},  // lock cmpxchg16b [rcx]
  };
  for (const Code& code : kInstructions) expect_page_fault(code, kWrite, kHole);
}

TEST_F(CpuFaults, AnOperandThatIsOnlyRead) {
  map(kHole, 0);
  cpu_.cr4 |= vmx::cr4::kOsfxsr | vmx::cr4::kOsxmmexcpt;
  const Code kInstructions[] = {
      {0x48, 0x39, 0x01},        // cmp [rcx], rax
      {0x80, 0x39, 0x05},        // cmp byte [rcx], 5
      {0x48, 0x85, 0x01},        // test [rcx], rax
      {0xf6, 0x01, 0x05},        // test byte [rcx], 5
      {0x0f, 0xa3, 0x01},        // bt [rcx], eax
      {0x0f, 0xba, 0x21, 0x03},  // bt dword [rcx], 3
      {0x48, 0x03, 0x01},        // add rax, [rcx]
      {0x48, 0xf7, 0x21},        // mul qword [rcx]
      {0x48, 0x0f, 0xaf, 0x01},  // imul rax, [rcx]
      {0xf7, 0x31},              // div dword [rcx]
      {0x0f, 0xb6, 0x01},        // movzx eax, byte [rcx]
      {0x0f, 0x44, 0x01},        // cmovz eax, [rcx]
      {0x0f, 0xbc, 0x01},        // bsf eax, [rcx]
      {0xf3, 0x0f, 0xb8, 0x01},  // popcnt eax, [rcx]
      {0xff, 0x11},              // call [rcx]
      {0xff, 0x21},              // jmp [rcx]
      {0xff, 0x31},              // push qword [rcx]
      {0xd9, 0x01},              // fld dword [rcx]
      {0xdf, 0x29},              // fild qword [rcx]
      {0xd9, 0x29},              // fldcw [rcx]
      {0x0f, 0x28, 0x01},        // movaps xmm0, [rcx]
      {0x0f, 0x58, 0x01},        // addps xmm0, [rcx]
      {0x66, 0x0f, 0x2f, 0x01},  // comisd xmm0, [rcx]
      {0x66, 0x0f, 0x74, 0x01},  // pcmpeqb xmm0, [rcx]
      {0x0f, 0xae, 0x11},        // ldmxcsr [rcx]
      {0x8e, 0x19},              // mov ds, [rcx]
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
  expect_page_fault({0xff, 0xe1}, kFetch | kProtection, kHole, kHole);  // jmp rcx
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
  expect_page_fault({0xff, 0xe1}, kFetch, kHole + 0x123, kHole + 0x123);
}

// With EFER.NXE and CR4.SMEP clear, error codes have no bit for fetches.
TEST_F(CpuFaults, AFetchWithoutExecuteDisable) {
  map(kHole, 0);
  cpu_.efer &= ~uint64_t{vmx::efer::kNxe};
  expect_page_fault({0xff, 0xe1}, 0, kHole, kHole);
}

TEST_F(CpuFaults, CodeThatRunsIntoAPageThatIsNotPresent) {
  map(kHole, 0);
  // inc r15d twice, then the end of the page
  put_code(kHole - 6, {0x41, 0xff, 0xc7, 0x41, 0xff, 0xc7});
  cpu_.gpr[vmx::kRcx] = kHole - 6;
  // mov eax, r15d; out 0xf4, eax
  handle(vmx::kPf, {0x44, 0x89, 0xf8, 0xe7, 0xf4});
  const RunResult result = run({0xff, 0xe1});
  EXPECT_EQ(result.code, status(2)) << "both instructions before the page have completed";
  EXPECT_THAT(record_.exceptions, ElementsAre(Exception{vmx::kPf, kFetch, kHole, kHole}));
}

TEST_F(CpuFaults, AnInstructionAcrossAPageThatIsNotPresent) {
  map(kHole, 0);
  // inc r15d; and the first 3 bytes of mov eax, imm32
  put_code(kHole - 6, {0x41, 0xff, 0xc7, 0xb8, 0x00, 0x00});
  cpu_.gpr[vmx::kRcx] = kHole - 6;
  handle(vmx::kPf, {0x44, 0x89, 0xf8, 0xe7, 0xf4});
  const RunResult result = run({0xff, 0xe1});
  EXPECT_EQ(result.code, status(1)) << "the instruction before has completed";
  EXPECT_THAT(record_.exceptions, ElementsAre(Exception{vmx::kPf, kFetch, kHole - 3, kHole}));
}

// It is no instruction of its own that the page is missing for: nothing there is ever fetched.
TEST_F(CpuFaults, AMissingPageBehindAJumpIsNoFault) {
  map(kHole, 0);
  put_code(kHole - 2, {0xff, 0xe2});  // jmp rdx
  cpu_.gpr[vmx::kRcx] = kHole - 2;
  cpu_.gpr[vmx::kRdx] = kCode + 0x100;
  put_code(kCode + 0x100, exit_with(3));
  EXPECT_EQ(run({0xff, 0xe1}).code, status(3));
  EXPECT_THAT(record_.exceptions, IsEmpty());
}

TEST_F(CpuFaults, AFaultThatIsRepairedIsRestarted) {
  map(kHole, 0);
  put<uint64_t>(kHole, 0x1234);
  // mov qword [PTE], entry; invlpg [rcx]; add rsp, 8; iretq
  const uint64_t pte = kPageTable + 8 * (kHole >> 12);
  Code repair = {0x48, 0xc7, 0x04, 0x25, 0, 0, 0, 0, 0, 0, 0, 0};
  const uint32_t entry = kHole | kAll;
  std::memcpy(repair.data() + 4, &pte, 4);
  std::memcpy(repair.data() + 8, &entry, 4);
  handle(vmx::kPf, repair + Code{0x0f, 0x01, 0x39, 0x48, 0x83, 0xc4, 0x08, 0x48, 0xcf});
  // mov eax, [rcx]; out f4, eax
  EXPECT_EQ(run({0x8b, 0x01, 0xe7, 0xf4}).code, status(0x1234));
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
  expect_fault({0x48, 0x8b, 0x45, 0x00}, vmx::kSs12, 0);  // mov rax, [rbp]
}

// The engine has jumped when this is found, so RIP is the target's.
TEST_F(CpuFaults, AJumpThatIsNotCanonical) {
  const uint64_t target = 0x8000'0000'0000'0000;
  cpu_.gpr[vmx::kRcx] = target;
  expect_fault({0xff, 0xe1}, vmx::kGp, 0, target);
}

// --- other faults

TEST_F(CpuFaults, DivisionByZero) {
  cpu_.gpr[vmx::kRcx] = 0;
  expect_fault({0xf7, 0xf1}, vmx::kDe, std::nullopt);
}

TEST_F(CpuFaults, UndefinedInstructions) {
  expect_fault({0x0f, 0x0b}, vmx::kUd, std::nullopt);        // ud2
  expect_fault({0x0f, 0x01, 0xc1}, vmx::kUd, std::nullopt);  // vmcall without CR4.VMXE
}

TEST_F(CpuFaults, ASelectorBeyondTheTable) {
  expect_fault({0x66, 0xb8, 0x38, 0x12, 0x8e, 0xd8}, vmx::kGp, 0x1238, kCode + 5);
}

TEST_F(CpuFaults, PrivilegedInstructionsInUserMode) {
  enter_user_mode();
  const Code kPrivileged[] = {
      {0xf4},              // hlt
      {0xfa},              // cli
      {0x0f, 0x32},        // rdmsr
      {0x0f, 0x20, 0xc0},  // mov rax, cr0
      {0x0f, 0x01, 0x39},  // invlpg [rcx]
      {0x0f, 0x06},        // clts
      {0xe4, 0x80},        // in al, 80
      {0xe6, 0x80},        // out 80, al
      {0x0f, 0x09},        // wbinvd
  };
  for (const Code& code : kPrivileged) expect_fault(code, vmx::kGp, 0);
}

TEST_F(CpuFaults, SoftwareInterruptsNeedTheirGatesPrivilege) {
  handle(0x50, exit_with(4));
  enter_user_mode();
  const RunResult result = run({0xcd, 0x50});
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
  // mov r15d, cs; sysretq
  put_code(kHandlers + 0x4000, {0x41, 0x8c, 0xcf, 0x48, 0x0f, 0x07});
  // syscall; ud2
  handle(vmx::kUd, {0x44, 0x89, 0xf8, 0xe7, 0xf4});  // mov eax, r15d; out f4, eax
  const RunResult result = run({0x0f, 0x05, 0x0f, 0x0b});
  EXPECT_EQ(result.code, status(kCode64));
  EXPECT_THAT(record_.exceptions, ElementsAre(Exception{vmx::kUd, std::nullopt, kCode + 2, 0}));
}

// The descriptor tables are the system's, whoever loads a segment.
TEST_F(CpuFaults, AUserLoadsASegmentFromASupervisorTable) {
  map(kGdt, kGdt | kPresent | kWritable);
  enter_user_mode();
  // mov eax, kUserData; mov ds, eax; ud2
  const RunResult result = run({0xb8, kUserData, 0, 0, 0, 0x8e, 0xd8, 0x0f, 0x0b});
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
  handle(vmx::kPf, {0xf4});
  enter_user_mode();
  const RunResult result = run({0xb8, kUserData, 0, 0, 0, 0x8e, 0xd8, 0x0f, 0x0b});
  ASSERT_FALSE(record_.exceptions.empty());
  EXPECT_EQ(record_.exceptions[0], (Exception{vmx::kPf, 0, kCode + 5, kHole + (kUserData & ~7)}));
  // The handler's own code segment cannot be read either.
  EXPECT_EQ(result.kind, Kind::kShutdown);
}

// A fault in user mode arrives on the stack that the TSS names, and the frame says where it was.
TEST_F(CpuFaults, AFaultInUserModeSwitchesTheStack) {
  enter_user_mode();
  // mov eax, [rsp + 24] (RSP of the interrupted program); sub eax, esp; out f4, eax
  handle(vmx::kUd, {0x8b, 0x44, 0x24, 0x18, 0x29, 0xe0, 0xe7, 0xf4});
  const RunResult result = run({0x0f, 0x0b});
  EXPECT_EQ(result.code, status(static_cast<uint32_t>(kUserStack - (kKernelStack - 40))));
}

TEST_F(CpuFaults, AnIstEntryGivesItsStack) {
  handle(vmx::kUd, {0x89, 0xe0, 0xe7, 0xf4});  // mov eax, esp; out f4, eax
  put<uint8_t>(kIdt + 16 * vmx::kUd + 4, 1);
  put<uint64_t>(kTss + 0x24, 0x8d000);
  EXPECT_EQ(run({0x0f, 0x0b}).code, status(0x8d000 - 40));
}

// A #GP in the delivery of a #PF makes a double fault, whose error code is 0.
TEST_F(CpuFaults, AFaultInTheDeliveryOfAFaultIsADoubleFault) {
  map(kHole, 0);
  put<uint64_t>(kIdt + 16 * vmx::kPf, 0);
  handle(vmx::kNp, exit_with(11));
  handle(vmx::kDf, {0x8b, 0x04, 0x24, 0x83, 0xc0, 0x08, 0xe7, 0xf4});  // error code + 8
  const RunResult result = run(kLoad);
  EXPECT_EQ(result.code, status(8));
  ASSERT_FALSE(record_.exceptions.empty());
  EXPECT_EQ(record_.exceptions.back(), (Exception{vmx::kDf, 0, kCode, 0}));
}

// --- single step

class CpuTraps : public MachineTest {
 protected:
  // inc r15d; iretq
  CpuTraps() {
    handle(vmx::kDb, {0x41, 0xff, 0xc7, 0x48, 0xcf});
    handle(vmx::kPf, exit_with(14));
  }
  // push 0x102; popfq: the trap flag takes effect after the next instruction.
  const Code kSetTrapFlag = {0x68, 0x02, 0x01, 0, 0, 0x9d}, kClearTrapFlag = {0x6a, 0x02, 0x9d},
             kReport = {0x44, 0x89, 0xf8, 0xe7, 0xf4};  // mov eax, r15d; out f4, eax
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
  // nop; inc ebx (by 3 bytes); the two of kClearTrapFlag
  const RunResult result =
      run(kSetTrapFlag + Code{0x90, 0x41, 0xff, 0xc4} + kClearTrapFlag + nops(3) + kReport);
  EXPECT_EQ(result.code, status(4));
  EXPECT_THAT(trap_rips(), ElementsAre(7, 10, 12, 13));
}

TEST_F(CpuTraps, EmulatedInstructionsTrapOnceToo) {
  // cpuid; in al, 80; mov rax, cr0
  const RunResult result = run(kSetTrapFlag + Code{0x0f, 0xa2, 0xe4, 0x80, 0x0f, 0x20, 0xc0} +
                               kClearTrapFlag + nops(3) + kReport);
  EXPECT_EQ(result.code, status(5));
  EXPECT_THAT(trap_rips(), ElementsAre(8, 10, 13, 15, 16));
}

TEST_F(CpuTraps, JumpsTrapAtTheirTarget) {
  const RunResult result =
      run(kSetTrapFlag + Code{0xeb, 0x02, 0x90, 0x90} + kClearTrapFlag + nops(3) + kReport);
  EXPECT_EQ(result.code, status(3));
  EXPECT_THAT(trap_rips(), ElementsAre(10, 12, 13));
}

TEST_F(CpuTraps, EachIterationOfAStringInstructionTraps) {
  cpu_.gpr[vmx::kRcx] = 3;
  cpu_.gpr[vmx::kRdi] = kData;
  const RunResult result =
      run(kSetTrapFlag + Code{0xf3, 0xaa} + kClearTrapFlag + nops(3) + kReport);
  EXPECT_EQ(result.code, status(5));
  EXPECT_THAT(trap_rips(), ElementsAre(6, 6, 8, 10, 11));
}

TEST_F(CpuTraps, MovSsHoldsTheTrapBack) {
  // mov ecx, ss (before); mov ss, ecx; nop
  const RunResult result = run(Code{0x8c, 0xd1} + kSetTrapFlag + Code{0x8e, 0xd1, 0x90} +
                               kClearTrapFlag + nops(3) + kReport);
  EXPECT_EQ(result.code, status(3));
  EXPECT_THAT(trap_rips(), ElementsAre(11, 13, 14));
}

TEST_F(CpuTraps, AFaultingInstructionDoesNotTrap) {
  map(0x85000, 0);
  cpu_.gpr[vmx::kRcx] = 0x85000;
  run(kSetTrapFlag + Code{0x90, 0x8b, 0x01});
  ASSERT_EQ(record_.exceptions.size(), 2u);
  EXPECT_EQ(record_.exceptions[0], (Exception{vmx::kDb, std::nullopt, kCode + 7, 0}));
  EXPECT_EQ(record_.exceptions[1], (Exception{vmx::kPf, 0, kCode + 7, 0x85000}));
}

TEST_F(CpuTraps, TheTrapSaysSingleStepInDr6) {
  handle(vmx::kDb, {0x0f, 0x21, 0xf0, 0xd1, 0xe8, 0xe7, 0xf4});  // mov rax, dr6; shr eax, 1; out
  const RunResult result = run(kSetTrapFlag + nops(4));
  EXPECT_EQ(result.code, status(0xffff4ff0 >> 1));
}

// --- code that changes

TEST_F(CpuTraps, StoresIntoCodeAreSeenByTheProcessorAndItsEmulation) {
  // mov byte [next], 0xa2 makes CPUID (0F A2) of UD2 (0F 0B): emulated code is read anew as well.
  Code code = {0xc6, 0x04, 0x25, 0, 0, 0, 0, 0xa2, 0x0f, 0x0b};
  const uint32_t target = kCode + 9;
  std::memcpy(code.data() + 3, &target, 4);
  EXPECT_EQ(run(code + exit_with(6)).code, status(6));
  EXPECT_THAT(record_.exceptions, IsEmpty());
}

// INS writes through the processor model, into code that the engine knows.
TEST_F(CpuTraps, StringInputIntoCodeIsSeen) {
  const uint64_t function = kCode + 0x800;
  put_code(function, {0xb0, 0x11, 0xc3});  // mov al, 0x11; ret
  // call f; mov edi, f + 1; mov dx, 0x1234; insb (reads FF); call f; movzx eax, al; out f4, eax
  Code code = {0xe8, 0xfb, 0x07, 0,    0,    0xbf, 0x01, 0x08, 0x10, 0,    0x66, 0xba, 0x34,
               0x12, 0x6c, 0xe8, 0xec, 0x07, 0,    0,    0x0f, 0xb6, 0xc0, 0xe7, 0xf4};
  EXPECT_EQ(run(code).code, status(0xff));
}

}  // namespace
}  // namespace nestor::emu
