// SPDX-License-Identifier: GPL-2.0-or-later
//
// Machines with two logical processors, alone and below an L0. The second one begins in real mode;
// what it does there is written in 16-bit code, with the page for data in DS.
#include <algorithm>

#include "tests/emu/l0/nested_machine_fixture.h"

namespace nestor::emu {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::Pair;
using vmx::ExitReason;
using vmx::Field;

constexpr uint32_t kInit = 0x4500, kNmi = 0x4400, kStartUp = 0x4600, kFixed = 0x4000;
const Code kSpin = ASM64("2: pause; jmp 2b"), kVmxoff = ASM64("vmxoff");

class SeveralProcessors : public NestedMachineTest, public testing::WithParamInterface<L0Mode> {
 protected:
  // 30000 and 31000: where start-up IPIs send the second processor   32000 its interrupt handler
  static constexpr uint64_t kStart = 0x30000, kOther = 0x31000, kHandler = 0x32000;
  static constexpr uint8_t kVector = 0x40;

  SeveralProcessors() {
    config_.processor.count = 2;
    config_.l0.mode = GetParam();
    set_handler(kVector, kHandler);
    set_handler(2, kHandler);
  }

  // --- for the first processor, in 64-bit mode
  static Code send(uint32_t command, uint8_t to = 1) {
    return apic_write(0x310, uint32_t{to} << 24) + apic_write(0x300, command);
  }
  static Code start(uint64_t address = kStart) {
    return send(kInit) + send(kStartUp | static_cast<uint32_t>(address >> 12));
  }
  // So many turns of a loop of two instructions.
  static Code delay(uint32_t count) {
    Code code = ASM64("mov ecx, 0; 2: dec ecx; jne 2b");
    std::memcpy(code.data() + 1, &count, 4);
    return code;
  }
  // Spins until the dword at kData + offset is `value`.
  static Code wait_for(uint8_t offset, uint8_t value) {
    Code code = ASM64("2: cmp dword ptr [0x80000], 0; pause; jne 2b");
    code[3] = offset;
    code[7] = value;
    return code;
  }

  // --- for the second one, in real mode
  static Code real(const Code& code) { return ASM16("mov ax, 0x8000; mov ds, ax") + code; }
  // mov dword [offset], value
  static Code set(uint8_t offset, uint8_t value) {
    Code code = ASM16("mov dword ptr [0], 0");
    code[3] = offset;
    code[5] = value;
    return code;
  }
  // mov [offset], eax
  static Code store_eax(uint8_t offset) {
    Code code = ASM16("mov [0], eax");
    code[2] = offset;
    return code;
  }
  static Code write_msr16(uint32_t index, uint32_t low) {
    Code code = ASM16("mov ecx, 0; mov eax, 0; xor edx, edx; wrmsr");
    std::memcpy(code.data() + 2, &index, 4);
    std::memcpy(code.data() + 8, &low, 4);
    return code;
  }
  static Code enable_x2apic() { return write_msr16(0x1b, 0xfee00c00) + write_msr16(0x80f, 0x1ff); }
  // To the first processor.
  static Code send16(uint32_t command) { return write_msr16(0x830, command); }
  static Code stay() { return ASM16("2: jmp 2b"); }

  void set_handler(uint8_t vector, uint64_t address) {
    put(4 * vector, static_cast<uint32_t>(address << 12));
  }
  RunResult run_both(const Code& first, const Code& second) {
    put_code(kStart, real(second));
    return run(first);
  }
  RunResult run_guest_beside(const Code& guest, const Code& second, const Code& handler) {
    put_code(kStart, real(second));
    return run_guest(guest, handler);
  }
};

std::string mode_name(const testing::TestParamInfo<L0Mode>& mode) {
  std::string name(info_of(mode.param).name);
  std::ranges::replace(name, '-', '_');
  return name;
}

// --- start

TEST_P(SeveralProcessors, TheSecondOneWaitsForAStartUpIpi) {
  put_code(kStart, set(0, 1));
  EXPECT_EQ(run(delay(100'000) + exit_with_memory(kData)).code, status(0));
}

TEST_P(SeveralProcessors, AStartUpIpiStartsInRealModeAtItsPage) {
  const Code second =
      ASM16("mov ax, cs; shl eax, 16; mov ax, sp") + store_eax(4) + set(0, 1) + kHlt;
  const RunResult result = run_both(start() + wait_for(0, 1) + exit_with_memory(kData + 4), second);
  EXPECT_EQ(result.code, status(0x3000 << 16)) << result.detail;
}

TEST_P(SeveralProcessors, ARunningProcessorDiscardsStartUpIpis) {
  put_code(kOther, real(set(0, 9) + stay()));
  const Code first = start() + wait_for(0, 1) + send(kStartUp | kOther >> 12) + delay(200) +
                     wait_for(4, 1) + exit_with_memory(kData);
  // Counts down, then tells.
  const Code second = set(0, 1) + ASM16("mov cx, 0xffff; 2: loop 2b") + set(4, 1) + stay();
  EXPECT_EQ(run_both(first, second).code, status(1));
}

TEST_P(SeveralProcessors, OfTwoStartUpIpisTheFirstCounts) {
  put_code(kOther, real(set(0, 2) + stay()));
  const Code first =
      start() + send(kStartUp | kOther >> 12) + wait_for(0, 1) + exit_with_memory(kData);
  EXPECT_EQ(run_both(first, set(0, 1) + stay()).code, status(1));
}

TEST_P(SeveralProcessors, InitKeepsVectorRegistersAndResetsTheRest) {
  // CR4.OSFXSR
  const Code enable_sse = ASM16("mov eax, 0x200; mov cr4, eax");
  const Code second =
      enable_sse + ASM16("mov eax, 0x5a5a5a5a; movd xmm0, eax") + set(0, 1) + stay();
  // EDX, CR4, XMM0
  put_code(kOther,
           ASM16("mov ebx, edx") +
               real(ASM16("mov eax, ebx") + store_eax(4) + ASM16("mov eax, cr4") + store_eax(8) +
                    enable_sse + ASM16("movd eax, xmm0") + store_eax(12) + set(0, 2) + stay()));
  const Code first = start() + wait_for(0, 1) + start(kOther) + wait_for(0, 2);
  const auto at = [&](uint32_t offset) {
    return run_both(first + exit_with_memory(kData + offset), second).code;
  };
  EXPECT_EQ(at(4), status(0x606a6));
  EXPECT_EQ(at(8), status(0));
  EXPECT_EQ(at(12), status(0x5a5a5a5a));
}

// --- interrupts between processors

TEST_P(SeveralProcessors, AnIpiWakesAHaltedProcessor) {
  put_code(kHandler, set(0, 2) + ASM16("iret"));
  const Code first = start() + wait_for(0, 1) + enable_apic() + delay(100'000) +
                     send(kFixed | kVector) + wait_for(4, 1) + exit_with_memory(kData);
  const RunResult result =
      run_both(first, enable_x2apic() + set(0, 1) + ASM16("sti") + kHlt + set(4, 1) + stay());
  EXPECT_EQ(result.code, status(2)) << result.detail;
  ASSERT_EQ(record_.interrupts.size(), 1u);
  EXPECT_EQ(record_.interrupts[0].vector, kVector);
}

TEST_P(SeveralProcessors, AnNmiWakesAHaltedProcessor) {
  put_code(kHandler, set(0, 2) + ASM16("iret"));
  const Code first =
      start() + wait_for(0, 1) + send(kNmi) + wait_for(4, 1) + exit_with_memory(kData);
  EXPECT_EQ(run_both(first, set(0, 1) + kHlt + set(4, 1) + stay()).code, status(2));
}

// A processor that waits for a start-up IPI holds an NMI back until it is started.
TEST_P(SeveralProcessors, WaitingForAStartUpIpiBlocksNmis) {
  put_code(kHandler, real(set(4, 7) + stay()));
  const Code first = send(kNmi) + delay(50'000) + send(kStartUp | kStart >> 12) + wait_for(4, 7) +
                     exit_with_memory(kData + 4);
  EXPECT_EQ(run_both(first, stay()).code, status(7));
}

// --- memory

TEST_P(SeveralProcessors, LockedIncrementsAddUp) {
  const Code second =
      ASM16("mov ecx, 30000; 2: lock; inc dword ptr [8]; dec ecx; jne 2b") + set(0, 1) + stay();
  const Code count = ASM64("mov ecx, 30000; 2: lock inc dword ptr [0x80008]; dec ecx; jne 2b");
  const RunResult result =
      run_both(start() + count + wait_for(0, 1) + exit_with_memory(kData + 8), second);
  EXPECT_EQ(result.code, status(60'000)) << result.detail;
}

TEST_P(SeveralProcessors, CodeThatAnotherProcessorChangesIsSeen) {
  put_code(kStart + 0x100, {0xb0, 0x01, 0xc3});  // mov al, 1; ret
  // xor eax, eax; call 100h; mov [0], eax; jmp to the call
  const Code second = Code{0x66, 0x31, 0xc0, 0xe8, 0, 0} + store_eax(0) + ASM16("2: jmp 2b - 7");
  put_code(kStart, real(second));
  const uint16_t distance = 0x100 - (5 + 6);
  put(kStart + 5 + 4, distance);
  const Code change = ASM64("mov byte ptr [0x30101], 2");
  const RunResult result =
      run(start() + wait_for(0, 1) + change + wait_for(0, 2) + exit_with_memory(kData));
  EXPECT_EQ(result.code, status(2)) << result.detail;
}

// --- turns

TEST_P(SeveralProcessors, TheSameRunAgainIsTheSame) {
  put_code(kHandler, ASM16("inc dword ptr [8]") + write_msr16(0x80b, 0) + ASM16("iret"));
  const Code second = enable_x2apic() + set(0, 1) + ASM16("sti; 2: hlt; jmp 2b");
  Code first = start() + wait_for(0, 1);
  for (int i = 0; i < 20; ++i) first = first + send(kFixed | kVector) + delay(7'000);
  first = first + exit_with_memory(kData + 8);
  const RunResult once = run_both(first, second);
  const Record record = record_;
  const RunResult again = run_both(first, second);
  EXPECT_GT(record.interrupts.size(), 2u);
  EXPECT_EQ(once.code, again.code);
  EXPECT_EQ(once.cycles, again.cycles);
  EXPECT_EQ(once.instructions, again.instructions);
  EXPECT_EQ(record.interrupts, record_.interrupts);
  EXPECT_EQ(record.interrupt_cycles, record_.interrupt_cycles);
}

TEST_P(SeveralProcessors, TheBudgetIsForAllTogether) {
  config_.max_instructions = 200'000;
  const RunResult result = run_both(start() + kSpin, stay());
  EXPECT_EQ(result.kind, RunResult::Kind::kBudgetSpent);
  EXPECT_NEAR(static_cast<double>(result.instructions), 200'000, 5);
}

// --- how a run ends

TEST_P(SeveralProcessors, HaltedForEverIsSaidOfAll) {
  const RunResult result = run(ASM64("cli") + kHlt);
  EXPECT_EQ(result.kind, RunResult::Kind::kHaltedForever);
  EXPECT_THAT(result.detail, HasSubstr("all processors"));
}

TEST_P(SeveralProcessors, ATripleFaultNamesItsProcessor) {
  // The operand of LIDT is zeros.
  const RunResult result = run_both(start() + kSpin, ASM16("lidt [0]; ud2"));
  EXPECT_EQ(result.kind, RunResult::Kind::kShutdown);
  EXPECT_THAT(result.detail, HasSubstr("processor 1"));
}

TEST_P(SeveralProcessors, InitOfTheFirstResetsTheMachine) {
  const RunResult result = run_both(start() + kSpin, enable_x2apic() + send16(kInit) + stay());
  EXPECT_EQ(result.kind, RunResult::Kind::kReset);
}

// --- VMX

TEST_P(SeveralProcessors, InitExitsFromNonRootOperation) {
  const Code guest = start() + kSpin;
  run_guest_beside(guest, enable_x2apic() + send16(kInit) + stay(), exit_with(0));
  ASSERT_EQ(exits().size(), 1u);
  EXPECT_EQ(exits()[0].first, ExitReason::kInitSignal);
  EXPECT_GE(exits()[0].second, kGuest + guest.size() - kSpin.size());
}

TEST_P(SeveralProcessors, InitIsBlockedInRootOperationUntilVmxoff) {
  const Code handler = wait_for(0, 1) + delay(30'000) + ASM64("mov dword ptr [0x80004], 1");
  const Code second = enable_x2apic() + send16(kInit) + set(0, 1) + stay();
  const RunResult blocked =
      run_guest_beside(start() + kCpuid, second, handler + exit_with_memory(kData + 4));
  EXPECT_EQ(blocked.code, status(1));
  const RunResult taken =
      run_guest_beside(start() + kCpuid, second, handler + kVmxoff + exit_with(1));
  EXPECT_EQ(taken.kind, RunResult::Kind::kReset);
}

class ActivityStates : public SeveralProcessors {
 protected:
  // The first VM exit is by CPUID; from then on the guest is in this activity state.
  static Code enter(vmx::ActivityState state) {
    Code code = ASM64("mov ecx, 0x4826; mov eax, 0; vmwrite rcx, rax");
    code[6] = static_cast<uint8_t>(state);
    return code;
  }
};

TEST_P(ActivityStates, WaitForSipiIsLeftByAStartUpIpiAlone) {
  enable(vmx::PinBased::kNmiExiting);
  enable(vmx::PinBased::kExternalInterruptExiting);
  handle(2, ASM64("iretq"));  // the NMI comes after the VM exit
  const Code others = send16(kNmi) + send16(kInit) + send16(kFixed | kVector);
  const Code second = enable_x2apic() + ASM16("mov cx, 0xffff; 2: loop 2b") + others +
                      send16(kStartUp | 0x12) + stay();
  const RunResult result =
      run_guest_beside(enable_apic() + start() + kCpuid, second,
                       enter(vmx::ActivityState::kWaitForSipi) +
                           resume_until(2, exit_with_field(Field::kExitQualification)));
  EXPECT_THAT(exits(), ElementsAre(Pair(ExitReason::kCpuid, testing::_),
                                   Pair(ExitReason::kSipi, testing::_)));
  EXPECT_EQ(result.code, status(0x12));
}

TEST_P(ActivityStates, ActiveAndHaltedGuestsDiscardStartUpIpis) {
  enable(vmx::PinBased::kNmiExiting);
  const Code second = enable_x2apic() + ASM16("mov cx, 0xffff; 2: loop 2b") +
                      send16(kStartUp | 0x12) + send16(kNmi) + stay();
  // Each VM exit moves RIP on by two.
  const Code skip = ASM64("mov ecx, 0x681e; vmread rax, rcx; add rax, 2; vmwrite rcx, rax");
  for (const auto state : {vmx::ActivityState::kActive, vmx::ActivityState::kHlt}) {
    run_guest_beside(start() + kCpuid + kSpin, second, enter(state) + skip + resume_until(2));
    EXPECT_THAT(exits(), ElementsAre(Pair(ExitReason::kCpuid, testing::_),
                                     Pair(ExitReason::kExceptionOrNmi, testing::_)))
        << static_cast<uint32_t>(state);
  }
}

TEST_P(ActivityStates, AnNmiLeavesShutdown) {
  enable(vmx::PinBased::kNmiExiting);
  const Code second = enable_x2apic() + ASM16("mov cx, 0xffff; 2: loop 2b") +
                      send16(kStartUp | 0x12) + send16(kNmi) + stay();
  run_guest_beside(start() + kCpuid, second,
                   enter(vmx::ActivityState::kShutdown) + resume_until(2));
  EXPECT_THAT(exits(), ElementsAre(Pair(ExitReason::kCpuid, testing::_),
                                   Pair(ExitReason::kExceptionOrNmi, testing::_)));
}

TEST_P(ActivityStates, AnNmiWakesAHaltedGuest) {
  handle(2, exit_with(7));
  const Code second = enable_x2apic() + ASM16("mov cx, 0xffff; 2: loop 2b") + send16(kNmi) + stay();
  const RunResult result = run_guest_beside(start() + kHlt, second, exit_with(1));
  EXPECT_EQ(result.code, status(7));
  EXPECT_TRUE(exits().empty());
}

// An NMI that arrives while the guest executes, halts or waits in MWAIT: it is held back by
// blocking by NMI, but for a guest with virtual NMIs.
TEST_P(ActivityStates, AnNmiByBlockingAndActivity) {
  constexpr uint32_t kByNmi = 8, kTimer = 600'000;
  const Code second = enable_x2apic() + ASM16("mov cx, 0xffff; 2: loop 2b") + send16(0x400) + kHlt;
  const Code mwait =
      ASM64("mov eax, 0x80040; xor ecx, ecx; xor edx, edx; 2: monitor; mwait; jmp 2b");
  struct Activity {
    Code code;
    vmx::ActivityState saved;
  };
  const Activity activities[] = {{kSpin, vmx::ActivityState::kActive},
                                 {kHlt, vmx::ActivityState::kHlt},
                                 {mwait, vmx::ActivityState::kActive}};
  handle(vmx::kNmi, exit_with(7));
  enable(vmx::PinBased::kActivatePreemptionTimer);
  vmcs_.write(Field::kVmxPreemptionTimerValue, kTimer);
  const uint64_t pin = vmcs_[Field::kPinBasedControls];
  for (const Activity& activity : activities) {
    for (const unsigned controls : {0u, 1u, 3u}) {
      for (const bool blocked : {false, true}) {
        SCOPED_TRACE(testing::Message() << testing::PrintToString(activity.code) << " controls "
                                        << controls << " blocked " << blocked);
        const bool exiting = controls & 1, virtual_nmis = controls & 2;
        vmcs_.write(Field::kPinBasedControls, pin);
        if (exiting) enable(vmx::PinBased::kNmiExiting);
        if (virtual_nmis) enable(vmx::PinBased::kVirtualNmis);
        vmcs_.write(Field::kGuestInterruptibilityState, blocked ? kByNmi : 0);
        const RunResult result = run_guest_beside(start() + activity.code, second,
                                                  exit_with_field(Field::kGuestActivityState));
        if (!exiting && !blocked) {
          EXPECT_EQ(result.code, status(7)) << result.detail;
          continue;
        }
        ASSERT_EQ(exits().size(), 1u) << result.detail;
        EXPECT_EQ(exits()[0].first, blocked && !virtual_nmis ? ExitReason::kPreemptionTimerExpired
                                                             : ExitReason::kExceptionOrNmi);
        EXPECT_EQ(result.code, status(static_cast<uint32_t>(activity.saved)));
      }
    }
  }
}

TEST_P(ActivityStates, ThePreemptionTimerDoesNotLeaveWaitForSipi) {
  enable(vmx::PinBased::kActivatePreemptionTimer);
  vmcs_.write(Field::kVmxPreemptionTimerValue, 100);
  vmcs_.write(Field::kGuestActivityState, static_cast<uint64_t>(vmx::ActivityState::kWaitForSipi));
  const RunResult result = run_guest(kNop);
  EXPECT_EQ(result.kind, RunResult::Kind::kHaltedForever) << result.detail;
  EXPECT_TRUE(exits().empty());
}

// --- MONITOR and MWAIT

// Waits for the dword at kData by MONITOR and MWAIT.
Code mwait_for(uint8_t value) {
  Code code = ASM64(
      "2: mov eax, 0x80000; xor ecx, ecx; xor edx, edx; monitor; "
      "cmp dword ptr [rax], 0; je 3f; mwait; jmp 2b; 3:");
  code[14] = value;
  return code;
}

TEST_P(SeveralProcessors, AStoreOfAnotherEndsMwait) {
  // The second one counts down, stores and halts.
  const Code second = ASM16("mov cx, 0xffff; 2: loop 2b") + set(0, 1) + kHlt;
  EXPECT_EQ(run_both(start() + mwait_for(1) + exit_with(5), second).code, status(5));
}

// The store that another makes once and for all must not be missed, wherever the turns end.
TEST_P(SeveralProcessors, NoStoreIsMissed) {
  for (uint8_t count = 0; count < 40; ++count) {
    Code count_down = ASM16("mov cx, 0x100; 2: loop 2b");
    count_down[1] = count;
    const Code second = count_down + set(0, 1) + set(0, 0) + set(0, 1) + kHlt;
    EXPECT_EQ(run_both(start() + mwait_for(1) + exit_with(5), second).code, status(5));
  }
}

// The other one executes for 20 turns before it stores.
TEST_P(SeveralProcessors, MwaitOutlastsTheTurnsOfOthers) {
  const Code count = ASM64(
      "xor edi, edi; 2: mov eax, 0x80000; xor ecx, ecx; xor edx, edx; monitor; "
      "cmp dword ptr [rax], 1; je 3f; mwait; inc edi; jmp 2b; 3: mov eax, edi; out 0xf4, eax");
  const Code second = ASM16("mov ecx, 200000; 2: dec ecx; jnz 2b") + set(0, 1) + kHlt;
  const RunResult result = run_both(start() + count, second);
  EXPECT_EQ(result.code, status(1)) << result.detail << ": woken once";
}

// A store that changes nothing ends it, too, if late.
TEST_P(SeveralProcessors, MwaitEndsBesideOneThatIsBusyForLong) {
  const Code wait = ASM64(
      "mov eax, 0x80000; xor ecx, ecx; xor edx, edx; monitor; mwait; mov eax, 5; out 0xf4, eax");
  const Code busy = ASM16("2: mov byte ptr [0], 0; rdtsc; jmp 2b");
  EXPECT_EQ(run_both(start() + wait, busy).code, status(5));
}

TEST_P(SeveralProcessors, AnNmiFromAnotherEndsMwait) {
  handle(vmx::kNmi, exit_with(2));
  const Code second = enable_x2apic() + send16(0x400) + kHlt;
  EXPECT_EQ(run_both(start() + mwait_for(1) + exit_with(5), second).code, status(2));
}

TEST_P(SeveralProcessors, MwaitWhileAllOthersHaltIsForEver) {
  const RunResult result = run_both(start() + mwait_for(1) + exit_with(5), kHlt);
  EXPECT_EQ(result.kind, RunResult::Kind::kHaltedForever);
  EXPECT_THAT(result.detail, HasSubstr("MWAIT"));
}

// --- below L0

class FewShadowPages : public SeveralProcessors {};

// One cannot get on for want of pages, however busy the other one is.
TEST_P(FewShadowPages, EndARunThatOneProcessorHolds) {
  config_.l0.shadow_page_limit = kFewestShadowPages;
  config_.max_instructions = 1'000'000;
  enable_ept();
  put_code(kStart, real(stay()));
  const Code read_apic = ASM64("mov eax, [rbx + 0x20]");
  put_guest(read_apic + kHlt, exit_with(0));
  const RunResult result = run(start() + launch());
  EXPECT_EQ(result.kind, RunResult::Kind::kUnsupported);
  EXPECT_THAT(result.detail, HasSubstr("--shadow-pages"));
}
INSTANTIATE_TEST_SUITE_P(L0, FewShadowPages, testing::Values(L0Mode::kNestedEpt), mode_name);

// Not on shadow page tables, which have no real-address mode.
const auto kModes =
    testing::Values(L0Mode::kHardware, L0Mode::kTwoLevel, L0Mode::kNestedEpt, L0Mode::kShadowOnEpt);
INSTANTIATE_TEST_SUITE_P(L0, SeveralProcessors, kModes, mode_name);
INSTANTIATE_TEST_SUITE_P(L0, ActivityStates, kModes, mode_name);

}  // namespace
}  // namespace nestor::emu
