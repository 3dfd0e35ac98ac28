// SPDX-License-Identifier: GPL-2.0-or-later
//
// What VM-execution controls do to a guest that really executes.
#include "tests/emu/l0/nested_machine_fixture.h"

namespace nestor::emu {
namespace {

using testing::ElementsAre;
using testing::Pair;
using vmx::ExitReason;
using vmx::Field;
using vmx::PrimaryProcBased;
using vmx::SecondaryProcBased;

const Code kRdtsc = ASM64("rdtsc");

class NestedMachine : public NestedMachineTest {};

TEST_F(NestedMachine, CpuidExits) {
  const RunResult result = run_guest(kNop + kCpuid);
  EXPECT_EQ(result.code, status(0)) << result.detail;
  EXPECT_THAT(exits(), ElementsAre(Pair(ExitReason::kCpuid, kGuest + 1)));
}

// --- "Monitor Trap Flag"

TEST_F(NestedMachine, TheMonitorTrapFlagStopsAfterEachInstructionAndIteration) {
  enable(PrimaryProcBased::kMonitorTrapFlag);
  // 0x20000 is kScratch
  const Code guest = kNop + kRdtsc + ASM64("mov edi, 0x20000; mov ecx, 2; rep stosb") + kNop;
  run_guest(guest, resume_until(7));
  constexpr auto kMtf = ExitReason::kMonitorTrapFlag;
  EXPECT_THAT(exits(),
              ElementsAre(Pair(kMtf, kGuest + 1), Pair(kMtf, kGuest + 3), Pair(kMtf, kGuest + 8),
                          Pair(kMtf, kGuest + 13), Pair(kMtf, kGuest + 13), Pair(kMtf, kGuest + 15),
                          Pair(kMtf, kGuest + 16)));
}

TEST_F(NestedMachine, TheMonitorTrapFlagComesBeforeASingleStepTrap) {
  enable(PrimaryProcBased::kMonitorTrapFlag);
  vmcs_.write(Field::kGuestRflags, 0x102);
  for (const Code& instruction : {kNop, kRdtsc}) {
    const RunResult result =
        run_guest(instruction, exit_with_field(Field::kGuestPendingDebugExceptions));
    EXPECT_EQ(result.code, status(0x4000));
    EXPECT_THAT(exits(),
                ElementsAre(Pair(ExitReason::kMonitorTrapFlag, kGuest + instruction.size())));
  }
}

TEST_F(NestedMachine, TheMonitorTrapFlagStopsBehindDelivery) {
  enable(PrimaryProcBased::kMonitorTrapFlag);
  constexpr uint8_t kVector = 0x40;
  handle(kVector, kNop);
  const uint64_t handler = kHandlers + 0x40 * kVector;
  // A software interrupt of the guest; an external interrupt that VM entry injects.
  run_guest({0xcd, kVector});
  EXPECT_THAT(exits(), ElementsAre(Pair(ExitReason::kMonitorTrapFlag, handler)));
  vmcs_.write(Field::kGuestRflags, 0x202);
  vmcs_.write(Field::kVmEntryInterruptionInformation, 0x80000000 | kVector);
  run_guest(kNop);
  EXPECT_THAT(exits(), ElementsAre(Pair(ExitReason::kMonitorTrapFlag, handler)));
}

TEST_F(NestedMachine, APendingMtfExitIsInjected) {
  vmcs_.write(Field::kVmEntryInterruptionInformation, 0x80000700);
  run_guest(kNop);
  EXPECT_THAT(exits(), ElementsAre(Pair(ExitReason::kMonitorTrapFlag, kGuest)));
}

// --- "Page-Modification Logging"

class Pml : public NestedMachine {
 protected:
  static constexpr uint64_t kLog = kScratch;

  Pml() {
    enable_ept(kEptAccessedDirty);
    enable(SecondaryProcBased::kEnablePml);
    vmcs_.write(Field::kPmlAddress, kLog);
    vmcs_.write(Field::kPmlIndex, 511);
  }
};

// The four paging structures of the guest count as written, then the page itself.
TEST_F(Pml, LogsWhatBecomesDirty) {
  const Code guest = store(kData + 0x123) + store(kData + 0x200) + kCpuid;
  EXPECT_EQ(run_guest(guest, exit_with_memory(kLog + 8 * 507)).code, status(kData));
  EXPECT_EQ(run_guest(guest, exit_with_memory(kLog + 8 * 511)).code, status(kPml4));
  EXPECT_EQ(run_guest(guest, exit_with_memory(kLog + 8 * 506)).code, status(0));
  EXPECT_EQ(run_guest(guest, exit_with_field(Field::kPmlIndex)).code, status(506));
}

// The fetch logs four pages, the first store one; the second store finds no room.
TEST_F(Pml, AFullLogExitsBeforeTheFlagIsSet) {
  vmcs_.write(Field::kPmlIndex, 4);
  constexpr uint64_t kNext = kData + kPage;
  const Code guest = kNop + store(kData) + store(kNext) + kCpuid;
  const RunResult result = run_guest(guest, exit_with_memory(kEptPageTable + 8 * (kNext >> 12)));
  EXPECT_THAT(exits(), ElementsAre(Pair(ExitReason::kPmlFull, kGuest + 8)));
  EXPECT_EQ(result.code, status(kNext | kEptAll | kEptUserExecute));
  EXPECT_EQ(run_guest(guest, exit_with_field(Field::kPmlIndex)).code, status(0xffff));
}

TEST_F(Pml, AFullLogHoldsAccessedFlagsBackToo) {
  vmcs_.write(Field::kPmlIndex, 512);
  run_guest(kNop);
  EXPECT_THAT(exits(), ElementsAre(Pair(ExitReason::kPmlFull, kGuest)));
}

// --- "mode-based execute control for EPT"

TEST_F(NestedMachine, ModeBasedExecuteControlTellsUserPagesApart) {
  enable_ept();
  const uint64_t page = kGuest & ~0xfffull;
  map_guest(page, page | kEptAll);
  run_guest(kCpuid);
  EXPECT_THAT(exits(), ElementsAre(Pair(ExitReason::kCpuid, kGuest)));
  enable(SecondaryProcBased::kModeBasedExecuteControl);
  run_guest(kCpuid);
  EXPECT_THAT(exits(), ElementsAre(Pair(ExitReason::kEptViolation, kGuest)));
  EXPECT_EQ(record_.exits[0].qualification, 0x7bcu);
  // A user-mode address, whatever the CPL; and a supervisor-mode address.
  map_guest(page, page | 3 | kEptUserExecute);
  run_guest(kCpuid);
  EXPECT_THAT(exits(), ElementsAre(Pair(ExitReason::kCpuid, kGuest)));
  map(page, page | kPresent | kWritable);
  run_guest(kCpuid);
  EXPECT_THAT(exits(), ElementsAre(Pair(ExitReason::kEptViolation, kGuest)));
  EXPECT_EQ(record_.exits[0].qualification, 0x5dcu);
}

// --- APIC virtualization

class ApicPage : public NestedMachine {
 protected:
  static constexpr uint64_t kVirtualApic = kScratch, kAccessPage = kScratch + kPage;

  ApicPage() {
    enable(PrimaryProcBased::kUseTprShadow);
    enable(SecondaryProcBased::kVirtualizeApicAccesses);
    vmcs_.write(Field::kVirtualApicAddress, kVirtualApic);
    vmcs_.write(Field::kApicAccessAddress, kAccessPage);
  }
  void deliver_virtual_interrupts() {
    enable(vmx::PinBased::kExternalInterruptExiting);
    enable(SecondaryProcBased::kVirtualInterruptDelivery);
    vmcs_.write(Field::kGuestRflags, 0x202);
  }
  // mov eax, value
  static Code load(uint32_t value) {
    Code code = ASM64("mov eax, 0");
    std::memcpy(code.data() + 1, &value, sizeof value);
    return code;
  }
  // or dword [address], 2
  static Code set_bit_1(uint32_t address) {
    Code code = ASM64("or dword ptr [0], 2");
    std::memcpy(code.data() + 3, &address, sizeof address);
    return code;
  }
};

TEST_F(ApicPage, TheTaskPriorityIsOnTheVirtualApicPage) {
  const Code guest = load(0x51) + store(kAccessPage + 0x80) + set_bit_1(kAccessPage + 0x80) +
                     ASM64("mov rbx, cr8") + kCpuid;
  EXPECT_EQ(run_guest(guest, exit_with_memory(kVirtualApic + 0x80)).code, status(0x53));
  EXPECT_EQ(run_guest(guest, exit_with_memory(kAccessPage + 0x80)).code, status(0));
  // mov eax, ebx
  EXPECT_EQ(run_guest(guest, ASM64("mov eax, ebx; out 0xf4, eax")).code, status(5));
}

TEST_F(ApicPage, OtherRegistersExit) {
  run_guest(kNop + store(kAccessPage + 0xb0));
  EXPECT_THAT(exits(), ElementsAre(Pair(ExitReason::kApicAccess, kGuest + 1)));
  EXPECT_EQ(record_.exits[0].qualification, 0x10b0u);
  EXPECT_EQ(record_.exits[0].instruction_length, 7u);
  // At kAccessPage + 0x80: a load that is too wide; a jump there; a push there.
  Code wide = ASM64("mov rax, [0x21080]");
  run_guest(wide);
  EXPECT_EQ(record_.exits[0].qualification, 0x80u);
  run_guest(ASM64("mov eax, 0x21080; jmp rax"));
  EXPECT_THAT(exits(), ElementsAre(Pair(ExitReason::kApicAccess, kAccessPage + 0x80)));
  EXPECT_EQ(record_.exits[0].qualification, 0x2080u);
  run_guest(ASM64("mov esp, 0x21088; push rax"));
  EXPECT_EQ(record_.exits[0].qualification, 0x1080u);
}

TEST_F(ApicPage, AnExitComesBehindTheWrite) {
  vmcs_.write(Field::kTprThreshold, 5);
  put<uint32_t>(kVirtualApic + 0x80, 0x50);
  vmcs_.write(Field::kGuestRflags, 0x102);
  const Code guest = store(kAccessPage + 0x80);  // EAX is 2020H from the host
  const RunResult result = run_guest(guest, exit_with_field(Field::kGuestPendingDebugExceptions));
  EXPECT_THAT(exits(), ElementsAre(Pair(ExitReason::kTprBelowThreshold, kGuest + guest.size())));
  EXPECT_EQ(result.code, status(0x4000)) << "the single-step trap waits";
}

TEST_F(ApicPage, EventDeliveryReportsItself) {
  handle(vmx::kUd, kNop);
  vmcs_.write(Field::kGuestRsp, kAccessPage + 0x100);
  run_guest(ASM64("ud2"));
  EXPECT_THAT(exits(), ElementsAre(Pair(ExitReason::kApicAccess, kGuest)));
  EXPECT_EQ(record_.exits[0].qualification >> 12, 3u);
  EXPECT_EQ(record_.exits[0].idt_vectoring_information, 0x80000306u);
}

TEST_F(ApicPage, PagingStructuresOnThePageExit) {
  enable_ept();
  vmcs_.write(Field::kApicAccessAddress, kPageTable);
  run_guest(kNop);
  EXPECT_THAT(exits(), ElementsAre(Pair(ExitReason::kApicAccess, kGuest)));
  EXPECT_EQ(record_.exits[0].qualification, 0xf000u);
}

TEST_F(ApicPage, AVirtualInterruptIsDeliveredAndEnded) {
  deliver_virtual_interrupts();
  constexpr uint8_t kVector = 0x45;
  vmcs_.write(Field::kEoiExitBitmap1, 1u << 5);
  handle(kVector, store(kAccessPage + 0xb0) + kNop);
  // A self-IPI by the ICR; HLT waits for what comes at once.
  const RunResult result =
      run_guest(load(0x40000 | kVector) + store(kAccessPage + 0x300) + ASM64("hlt") + kCpuid);
  EXPECT_EQ(result.code, status(0));
  const uint64_t handler = kHandlers + 0x40 * kVector;
  EXPECT_THAT(exits(), ElementsAre(Pair(ExitReason::kVirtualizedEoi, handler + 7)));
  EXPECT_EQ(record_.exits[0].qualification, kVector);
  EXPECT_THAT(record_.interrupts, ElementsAre(Interrupt{kVector, kGuest + 12}));
}

TEST_F(ApicPage, AVirtualInterruptWaitsForSti) {
  deliver_virtual_interrupts();
  constexpr uint8_t kVector = 0x45;
  vmcs_.write(Field::kGuestInterruptStatus, kVector);
  vmcs_.write(Field::kGuestRflags, 2);
  handle(kVector, kCpuid);
  run_guest(kNop + ASM64("sti") + kNop + kNop + kCpuid);
  EXPECT_THAT(record_.interrupts, ElementsAre(Interrupt{kVector, kGuest + 3}));
}

// --- EPTP switching, INVPCID, time

TEST_F(NestedMachine, VmfuncSwitchesTheEptPointer) {
  enable_ept();
  enable(SecondaryProcBased::kEnableVmFunctions);
  vmcs_.write(Field::kVmFunctionControls, 1);
  vmcs_.write(Field::kEptpListAddress, kScratch);
  // In the other EPT, which differs in its lowest table, the page of data is another one.
  constexpr uint64_t kOther = kScratch + 0x1000, kOtherData = kScratch + 0x8000;
  std::memcpy(low_.data() + kOther, low_.data() + kEpt, 0x7000);
  put<uint64_t>(kOther, (kOther + 0x1000) | kEptAll);
  put<uint64_t>(kOther + 0x1000, (kOther + 0x2000) | kEptAll);
  put<uint64_t>(kOther + 0x2000, (kOther + 0x6000) | kEptAll);
  put<uint64_t>(kOther + 0x6000 + 8 * (kData >> 12), kOtherData | kEptAll);
  put<uint64_t>(kScratch + 8, kOther | 0x1e);
  put<uint32_t>(kData, 1);
  put<uint32_t>(kOtherData, 2);
  const Code load = ASM64("mov edx, [0x80000]"), add = ASM64("add edx, [0x80000]");
  const Code guest = load + ASM64("xor eax, eax; mov ecx, 1; vmfunc") + add + kCpuid;
  EXPECT_EQ(run_guest(guest, ASM64("mov eax, edx; out 0xf4, eax")).code, status(3));
  EXPECT_THAT(exits(), ElementsAre(Pair(ExitReason::kCpuid, kGuest + guest.size() - 2)));
}

TEST_F(NestedMachine, InvpcidNeedsItsControl) {
  const Code guest = ASM64("xor eax, eax; invpcid rax, [0x80000]") + kCpuid;
  vmcs_.write(Field::kExceptionBitmap, 1u << vmx::kUd);
  run_guest(guest);
  EXPECT_THAT(exits(), ElementsAre(Pair(ExitReason::kExceptionOrNmi, kGuest + 2)));
  enable(SecondaryProcBased::kEnableInvpcid);
  run_guest(guest);
  EXPECT_THAT(exits(), ElementsAre(Pair(ExitReason::kCpuid, kGuest + 12)));
  enable(PrimaryProcBased::kInvlpgExiting);
  run_guest(guest);
  EXPECT_THAT(exits(), ElementsAre(Pair(ExitReason::kInvpcid, kGuest + 2)));
}

TEST_F(NestedMachine, ALoopOfPausesExits) {
  enable(SecondaryProcBased::kPauseLoopExiting);
  vmcs_.write(Field::kPleGap, 100);
  vmcs_.write(Field::kPleWindow, 1000);
  const Code pause_loop = ASM64("2: pause; jmp 2b");
  run_guest(pause_loop);
  EXPECT_THAT(exits(), ElementsAre(Pair(ExitReason::kPause, kGuest)));
  // A gap too short for any loop.
  vmcs_.write(Field::kPleGap, 0);
  EXPECT_EQ(run_guest(pause_loop).kind, RunResult::Kind::kBudgetSpent);
}

TEST_F(NestedMachine, TheTscIsScaled) {
  enable(PrimaryProcBased::kUseTscOffsetting);
  enable(SecondaryProcBased::kUseTscScaling);
  vmcs_.write(Field::kTscMultiplier, 1);
  vmcs_.write(Field::kTscOffset, 0x1234);
  // The TSC is below 2^48; the host finds EAX as the guest left it.
  EXPECT_EQ(run_guest(kRdtsc + kCpuid, ASM64("out 0xf4, eax")).code, status(0x1234));
}

TEST_F(NestedMachine, VmreadOfAShadowVmcsDoesNotExit) {
  enable(SecondaryProcBased::kVmcsShadowing);
  constexpr uint64_t kShadow = kScratch, kBits = kScratch + 0x1000;
  vmcs_.write(Field::kVmcsLinkPointer, kShadow);
  vmcs_.write(Field::kVmreadBitmap, kBits);
  vmcs_.write(Field::kVmwriteBitmap, kBits);
  vmx::Vmcs shadow;
  shadow.revision_id = vmcs_.revision_id;
  shadow.shadow = true;
  shadow.write(Field::kGuestRip, 0x1234);
  shadow.store(vmx::VmcsRegion(low_.data() + kShadow, vmx::kVmcsRegionSize));
  const Code guest = ASM64("mov ecx, 0x681e; vmread rax, rcx") + kCpuid;
  EXPECT_EQ(run_guest(guest, ASM64("out 0xf4, eax")).code, status(0x1234));
  EXPECT_THAT(exits(), ElementsAre(Pair(ExitReason::kCpuid, kGuest + 8)));
  put<uint8_t>(kBits + 0x681e / 8, 1u << 0x681e % 8);
  run_guest(guest);
  EXPECT_THAT(exits(), ElementsAre(Pair(ExitReason::kVmread, kGuest + 5)));
}

TEST_F(NestedMachine, AnOperandOfAShadowVmreadMayViolateEpt) {
  enable_ept();
  map_guest(kData, kData | 1);
  enable(SecondaryProcBased::kVmcsShadowing);
  constexpr uint64_t kShadow = kScratch, kBits = kScratch + 0x1000;
  vmcs_.write(Field::kVmcsLinkPointer, kShadow);
  vmcs_.write(Field::kVmreadBitmap, kBits);
  vmcs_.write(Field::kVmwriteBitmap, kBits);
  vmx::Vmcs shadow;
  shadow.revision_id = vmcs_.revision_id;
  shadow.shadow = true;
  shadow.store(vmx::VmcsRegion(low_.data() + kShadow, vmx::kVmcsRegionSize));
  // 0x80000 is kData
  run_guest(ASM64("mov ecx, 0x681e; vmwrite rcx, [0x80000]; vmread [0x80000], rcx"));
  EXPECT_THAT(exits(), ElementsAre(Pair(ExitReason::kEptViolation, kGuest + 13)));
  EXPECT_EQ(record_.exits[0].guest_physical, kData);
}

// Before it could become a double fault, which the bitmap would catch too.
TEST_F(NestedMachine, AFaultOfAnEventsDeliveryCausesItsOwnVmExit) {
  vmcs_.write(Field::kVmEntryInterruptionInformation, 0x80000b0d);
  vmcs_.write(Field::kGuestIdtrLimit, 0);
  vmcs_.write(Field::kExceptionBitmap, 1u << vmx::kGp | 1u << vmx::kDf);
  run_guest(nops(1));
  ASSERT_THAT(exits(), ElementsAre(Pair(ExitReason::kExceptionOrNmi, kGuest)));
  EXPECT_EQ(record_.exits[0].interruption_information, 0x80000b0d);
  EXPECT_EQ(record_.exits[0].idt_vectoring_information, 0x80000b0d);
  vmcs_.write(Field::kExceptionBitmap, 1u << vmx::kDf);
  run_guest(nops(1));
  ASSERT_THAT(exits(), ElementsAre(Pair(ExitReason::kExceptionOrNmi, kGuest)));
  EXPECT_EQ(record_.exits[0].interruption_information, 0x80000b08);
  EXPECT_EQ(record_.exits[0].idt_vectoring_information, 0);
}

}  // namespace
}  // namespace nestor::emu
