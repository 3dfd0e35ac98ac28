// SPDX-License-Identifier: GPL-2.0-or-later
//
// Where an instruction ends and what comes first in it, for instructions that the engine does not
// stop at, or stops at too late.
#include "tests/emu/l0/nested_machine_fixture.h"

namespace nestor::emu {
namespace {

using testing::ElementsAre;
using testing::Pair;
using vmx::ExitReason;
using vmx::Field;
using vmx::PrimaryProcBased;

constexpr auto kMtf = ExitReason::kMonitorTrapFlag;

class InstructionBoundaries : public NestedMachineTest {
 protected:
  // 0x20000 is kScratch
  const Code kMovSs = ASM64("mov ss, [0x20000]");

  InstructionBoundaries() { put<uint16_t>(kScratch, kData64); }
};

// --- "Monitor Trap Flag"

TEST_F(InstructionBoundaries, TheMonitorTrapFlagStopsBehindMovSs) {
  enable(PrimaryProcBased::kMonitorTrapFlag);
  const RunResult result =
      run_guest(kMovSs + kNop, exit_with_field(Field::kGuestInterruptibilityState));
  EXPECT_EQ(result.code, status(2)) << result.detail;
  EXPECT_THAT(exits(), ElementsAre(Pair(kMtf, kGuest + kMovSs.size())));
  run_guest(kMovSs + kNop, resume_until(2));
  EXPECT_THAT(exits(), ElementsAre(Pair(kMtf, kGuest + kMovSs.size()),
                                   Pair(kMtf, kGuest + kMovSs.size() + 1)));
}

// Without the flag in the field the VM entry that follows would fail ("Checks on Guest Non-Register
// State").
TEST_F(InstructionBoundaries, TheMonitorTrapFlagBehindMovSsLeavesTheTrapPending) {
  enable(PrimaryProcBased::kMonitorTrapFlag);
  vmcs_.write(Field::kGuestRflags, 0x102);
  const RunResult result =
      run_guest(kMovSs + kNop, exit_with_field(Field::kGuestPendingDebugExceptions));
  EXPECT_EQ(result.code, status(0x4000)) << result.detail;
  run_guest(kMovSs + kNop, resume_until(2));
  EXPECT_THAT(exits(), ElementsAre(Pair(kMtf, kGuest + kMovSs.size()),
                                   Pair(kMtf, kGuest + kMovSs.size() + 1)));
}

// --- what comes first

// "Instructions That Cause VM Exits Conditionally": MOV DR.
TEST_F(InstructionBoundaries, MovDrExitsBeforeItsPrivilegeIsChecked) {
  enable(PrimaryProcBased::kMovDrExiting);
  vmcs_.write(Field::kGuestCsSelector, kUserCode);
  vmcs_.write(Field::kGuestCsAccessRights, 0xa0fb);
  vmcs_.write(Field::kGuestSsSelector, kUserData);
  vmcs_.write(Field::kGuestSsAccessRights, 0xc0f3);
  run_guest(ASM64("mov rax, dr0"));
  EXPECT_THAT(exits(), ElementsAre(Pair(ExitReason::kMovDr, kGuest)));
}

// CR0.TS is for x87, MMX and SSE instructions.
TEST_F(InstructionBoundaries, InvvpidHeedsNoTaskSwitchedFlag) {
  vmcs_.write(Field::kGuestCr0, vmcs_[Field::kGuestCr0] | vmx::cr0::kTs);
  run_guest(ASM64("invvpid rax, [rbx]"));
  EXPECT_THAT(exits(), ElementsAre(Pair(ExitReason::kInvvpid, kGuest)));
  // paddb xmm0, xmm0; ssse3's pshufb xmm0, xmm0, which is an 0F 38 too
  vmcs_.write(Field::kExceptionBitmap, 1u << vmx::kNm);
  vmcs_.write(Field::kGuestCr4, vmcs_[Field::kGuestCr4] | vmx::cr4::kOsfxsr);
  for (const Code& sse : {ASM64("paddb xmm0, xmm0"), ASM64("pshufb xmm0, xmm0")}) {
    run_guest(sse);
    ASSERT_EQ(record_.exits.size(), 1u);
    EXPECT_EQ(record_.exits.front().interruption_information, 0x80000307);
  }
}

TEST_F(InstructionBoundaries, InputIntoMemoryNeedsItsPortFirst) {
  enter_user_mode();
  cpu_.gpr[vmx::kRdi] = kData;
  map(kData, 0);
  handle(vmx::kGp, exit_with(0));
  run(ASM64("insb"));
  EXPECT_THAT(record_.exceptions, ElementsAre(Exception{vmx::kGp, 0, kCode, 0}));
}

TEST_F(InstructionBoundaries, InputIntoMemoryExitsBeforeItIsWritten) {
  enable(PrimaryProcBased::kUnconditionalIoExiting);
  put<uint32_t>(kScratch, 0x12345678);
  const Code guest = ASM64("nop; mov edi, 0x20000; insb");  // 0x20000 is kScratch
  const RunResult result = run_guest(guest, exit_with_memory(kScratch));
  EXPECT_EQ(result.code, status(0x12345678)) << result.detail;
  EXPECT_THAT(exits(), ElementsAre(Pair(ExitReason::kIoInstruction, kGuest + 6)));
  map(kScratch, 0);
  run_guest(guest);
  EXPECT_THAT(exits(), ElementsAre(Pair(ExitReason::kIoInstruction, kGuest + 6)));
}

// "Priority Among Concurrent Events": INIT comes before the debug traps of the last instruction.
// The VM exit leaves the trap pending, and it is delivered behind the next VM entry.
TEST_F(InstructionBoundaries, InitComesBeforeTheSingleStepTrap) {
  const Code by_store = apic_write(0x300, 0x4500);
  const Code by_wrmsr = ASM64("wrmsr");
  for (const Code& init : {by_store, by_wrmsr}) {
    const Code to_x2apic =
        init == by_wrmsr
            ? ASM64(
                  "mov ecx, 0x1b; mov eax, 0xfee00d00; xor edx, edx; wrmsr; mov ecx, 0x830; "
                  "mov eax, 0x4500")
            : Code{};
    enable(PrimaryProcBased::kUseMsrBitmaps);
    vmcs_.write(Field::kMsrBitmaps, kBitmaps);
    vmcs_.write(Field::kGuestRflags, 0x102);
    handle(vmx::kDb, ASM64("cpuid"));
    for (const Field field : {Field::kGuestPendingDebugExceptions, Field::kGuestRip}) {
      put_guest(init + kNop,
                resume_until(field == Field::kGuestRip ? 2 : 1, exit_with_field(field)));
      put_code(kCode + 0x400, ASM64("mov ecx, 0x3a; mov eax, 5; xor edx, edx; wrmsr; "
                                    "mov rax, cr4; or eax, 0x2000; mov cr4, rax; vmxon [0xb000]; "
                                    "vmptrld [0xb008]") +
                                  to_x2apic + ASM64("vmlaunch"));
      const RunResult result = run(ASM64("mov eax, 0x100400; jmp rax"));
      ASSERT_FALSE(exits().empty()) << result.detail;
      EXPECT_EQ(exits()[0], std::pair(ExitReason::kInitSignal, kGuest + init.size()));
      if (field == Field::kGuestPendingDebugExceptions) {
        EXPECT_EQ(result.code, status(0x4000)) << result.detail;
      } else {
        ASSERT_EQ(exits().size(), 2u);
        EXPECT_EQ(exits()[1].first, ExitReason::kCpuid);
        EXPECT_THAT(record_.exceptions,
                    ElementsAre(Exception{vmx::kDb, std::nullopt, kGuest + init.size(), 0}));
      }
    }
  }
}

// "Changes to Instruction Behavior in VMX Non-Root Operation": WRMSR of IA32_BIOS_UPDT_TRIG that
// causes no VM exit passes, whatever is written.
TEST_F(InstructionBoundaries, MicrocodeUpdatesPassInNonRootOperation) {
  const Code address = ASM64("mov ecx, 0x79; mov eax, 0x20030; xor edx, edx; wrmsr; cpuid"),
             not_canonical =
                 ASM64("mov ecx, 0x79; mov eax, 0x20030; mov edx, 0x12345678; wrmsr; cpuid");
  enum class Bitmap : uint8_t { kNone, kPasses, kExits };
  for (const Code& update : {address, not_canonical}) {
    for (const Bitmap bitmap : {Bitmap::kNone, Bitmap::kPasses, Bitmap::kExits}) {
      vmcs_.write(Field::kPrimaryProcBasedControls,
                  vmx::nestor_capabilities().primary.must_be_one());
      if (bitmap != Bitmap::kNone) enable(PrimaryProcBased::kUseMsrBitmaps);
      vmcs_.write(Field::kMsrBitmaps, kBitmaps);
      put<uint8_t>(kBitmaps + 0x800 + 0x79 / 8, bitmap == Bitmap::kExits ? 1 << 0x79 % 8 : 0);
      vmcs_.write(Field::kExceptionBitmap, 1u << vmx::kGp);
      const RunResult result = run_guest(update);
      ASSERT_EQ(exits().size(), 1u) << result.detail;
      EXPECT_EQ(exits()[0].first,
                bitmap == Bitmap::kPasses ? ExitReason::kCpuid : ExitReason::kWrmsr);
    }
  }
}

// The engine knows none of these.
TEST_F(InstructionBoundaries, PrefixesBeforeVmxInstructions) {
  const Code ignored[] = {ASM64("vmcall"), ASM64("vmlaunch"), ASM64("vmresume"), ASM64("vmxoff")};
  const Code refused[] = {ASM64("vmfunc"), ASM64("vmptrst [rbx]"), ASM64("vmread [rbx], rcx"),
                          ASM64("vmwrite rcx, [rbx]")};
  vmcs_.write(Field::kExceptionBitmap, 1u << vmx::kUd);
  for (const uint8_t prefix : {uint8_t{0x66}, uint8_t{0xf2}, uint8_t{0xf3}}) {
    for (const Code& code : ignored) {
      run_guest(Code{prefix} + code);
      ASSERT_EQ(exits().size(), 1u);
      EXPECT_NE(exits()[0].first, ExitReason::kExceptionOrNmi) << testing::PrintToString(code);
      EXPECT_EQ(record_.exits[0].instruction_length, code.size() + 1);
    }
    for (const Code& code : refused) {
      run_guest(Code{prefix} + code);
      ASSERT_EQ(exits().size(), 1u);
      EXPECT_EQ(record_.exits[0].interruption_information, 0x80000306u)
          << testing::PrintToString(code);
    }
  }
}

// --- RFLAGS.RF

// "General Detect": a fault, so that its handler returns to the MOV with RF 1.
TEST_F(InstructionBoundaries, GeneralDetectPushesAndSavesTheResumeFlag) {
  const Code guest = ASM64("mov eax, 0x2400; mov dr7, rax; mov rax, dr7");
  const uint64_t at = kGuest + guest.size() - ASM64("mov rax, dr7").size();
  handle(vmx::kDb, ASM64("mov eax, [rsp + 16]; mov rdx, dr6; cpuid"));
  const RunResult pushed = run_guest(guest, ASM64("out 0xf4, eax"));
  EXPECT_EQ(pushed.code, status(0x1'0002)) << pushed.detail;
  EXPECT_THAT(record_.exceptions, ElementsAre(Exception{vmx::kDb, std::nullopt, at, 0}));
  vmcs_.write(Field::kExceptionBitmap, 1u << vmx::kDb);
  const RunResult saved = run_guest(guest, exit_with_field(Field::kGuestRflags));
  EXPECT_EQ(saved.code, status(0x1'0002)) << saved.detail;
  EXPECT_THAT(exits(), ElementsAre(Pair(ExitReason::kExceptionOrNmi, at)));
  EXPECT_EQ(record_.exits[0].qualification, 1u << 13);
}

// PUSHF: "the VM and RF flags are cleared" in the image.
TEST_F(InstructionBoundaries, PushfDoesNotPushTheResumeFlag) {
  vmcs_.write(Field::kGuestRflags, 0x1'0002);
  const Code pushf_pop_rax = ASM64("pushfq; pop rax");
  const Code vmcall = ASM64("vmcall");
  const RunResult result =
      run_guest(pushf_pop_rax + store(kScratch) + vmcall, exit_with_memory(kScratch));
  EXPECT_THAT(exits(), ElementsAre(Pair(ExitReason::kVmcall, kGuest + 2 + 7)));
  EXPECT_EQ(result.code, status(2)) << result.detail;
}

// "Saving RIP, RSP, RFLAGS, and SSP": as it was before the VM exit.
TEST_F(InstructionBoundaries, TheResumeFlagStaysUntilAnInstructionCompletes) {
  enable(vmx::PinBased::kActivatePreemptionTimer);
  vmcs_.write(Field::kGuestRflags, 0x1'0002);
  const RunResult result = run_guest(kNop, exit_with_field(Field::kGuestRflags));
  EXPECT_THAT(exits(), ElementsAre(Pair(ExitReason::kPreemptionTimerExpired, kGuest)));
  EXPECT_EQ(result.code, status(0x1'0002)) << result.detail;
}

TEST_F(InstructionBoundaries, TheResumeFlagGoesWithAnInstruction) {
  enable(vmx::PinBased::kActivatePreemptionTimer);
  vmcs_.write(Field::kGuestRflags, 0x1'0002);
  vmcs_.write(Field::kVmxPreemptionTimerValue, 10'000);
  const RunResult result =
      run_guest(kNop + kNop + ASM64("2: jmp 2b"), exit_with_field(Field::kGuestRflags));
  EXPECT_THAT(exits(), ElementsAre(Pair(ExitReason::kPreemptionTimerExpired, kGuest + 2)));
  EXPECT_EQ(result.code, status(2)) << result.detail;
}

TEST_F(InstructionBoundaries, SysretIsUndefinedInRealMode) {
  cpu_.cr0 &= ~(vmx::cr0::kPe | vmx::cr0::kPg);
  cpu_.efer = 0;
  for (vmx::Segment& segment : cpu_.segment) segment = {0, vmx::AccessRights{0x93}, 0xffff, 0};
  cpu_.segment[vmx::kCs] = {0, vmx::AccessRights{0x9b}, 0xffff, kCode};
  cpu_.rip = 0;
  put<uint32_t>(kIdt + 4 * vmx::kUd, kData << 12);
  put_code(kData, ASM16("out 0xf4, eax"));
  run({0x0f, 0x07});
  EXPECT_THAT(record_.exceptions, ElementsAre(Exception{vmx::kUd, std::nullopt, 0, 0}));
}

// "64-Bit Mode Stack Frame": the stack of the handler is that of 64-bit mode, whatever the code
// was.
TEST_F(InstructionBoundaries, AHandlersStackMayLieAbove4GBytes) {
  enter_user_mode();
  cpu_.segment[vmx::kCs] = {kUserCode, vmx::AccessRights{0xc0fb}, 0xffffffff, 0};
  constexpr uint64_t kAbove = 1ull << 32;
  put(kTss + 4, kAbove + kKernelStack);
  handle(vmx::kUd, {});
  run(ASM64("ud2"));
  ASSERT_GE(record_.exceptions.size(), 2u);
  EXPECT_EQ(record_.exceptions[1], (Exception{vmx::kPf, 2, kCode, kAbove + kKernelStack - 8}));
}

// IRET in IA-32e mode, and at a CPL above 0: VM in the flags that it pops does not count.
TEST_F(InstructionBoundaries, IretInIa32eModeDoesNotEnterVirtual8086Mode) {
  enter_user_mode();
  for (const uint32_t rights : {0xc0fbu, 0xa0fbu}) {  // compatibility mode, 64-bit mode
    const uint32_t image[] = {kCode + 0x100, kUserCode, 0x2'0042, kUserStack, kUserData};
    cpu_.segment[vmx::kCs].rights.value = rights;
    cpu_.gpr[vmx::kRsp] = kData;
    put_bytes(kData, image, sizeof image);
    put_code(kCode + 0x100, ASM64("ud2"));  // in 64-bit mode
    handle(vmx::kUd, exit_with_memory(kData + 8));
    const RunResult result = run(ASM64("nop; iretd"));
    EXPECT_EQ(result.code, status(0x2'0042)) << result.detail;  // the image is as it was
    EXPECT_THAT(record_.exceptions,
                ElementsAre(Exception{vmx::kUd, std::nullopt, kCode + 0x100, 0}));
  }
}

// EIP has 32 bits, also behind code that runs over its end.
TEST_F(InstructionBoundaries, EipWrapsAround) {
  cpu_.cr0 = vmx::cr0::kPe | vmx::cr0::kEt | vmx::cr0::kNe;
  cpu_.cr4 = cpu_.efer = 0;
  cpu_.segment[vmx::kCs] = {kCode64, vmx::AccessRights{0xc09b}, 0xffffffff, kCode + 8};
  cpu_.rip = 0xfffffff8;  // at kCode
  run(nops(10) + ASM64("ud2"));
  ASSERT_FALSE(record_.exceptions.empty());
  EXPECT_EQ(record_.exceptions[0], (Exception{vmx::kUd, std::nullopt, 2, 0}));
}

// However often the same one was executed.
TEST_F(InstructionBoundaries, NoIretIn64BitModeEntersVirtual8086Mode) {
  enter_user_mode();
  constexpr uint32_t kAgain = kCode + 0x100, kEnd = kCode + 0x110;
  const uint32_t images[] = {kAgain, kUserCode, 0x42,     kData + 20, kUserData,
                             kAgain, kUserCode, 0x42,     kData + 40, kUserData,
                             kEnd,   kUserCode, 0x2'0042, kUserStack, kUserData};
  cpu_.gpr[vmx::kRsp] = kData;
  put_bytes(kData, images, sizeof images);
  put_code(kAgain, ASM64("2: jmp 2b - 0x100"));  // to kCode
  put_code(kEnd, ASM64("ud2"));
  handle(vmx::kUd, exit_with(1));
  EXPECT_EQ(run(ASM64("iretd")).code, status(1));
  EXPECT_THAT(record_.exceptions, ElementsAre(Exception{vmx::kUd, std::nullopt, kEnd, 0}));
}

}  // namespace
}  // namespace nestor::emu
