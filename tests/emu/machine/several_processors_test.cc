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
const Code kNop = {0x90}, kCpuid = {0x0f, 0xa2}, kHlt = {0xf4}, kSpin = {0xf3, 0x90, 0xeb, 0xfc},
           kVmxoff = {0x0f, 0x01, 0xc4};

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
  // mov ecx, count; dec ecx; jnz: so many turns of a loop of two instructions.
  static Code delay(uint32_t count) {
    Code code = {0xb9, 0, 0, 0, 0, 0xff, 0xc9, 0x75, 0xfc};
    std::memcpy(code.data() + 1, &count, 4);
    return code;
  }
  // Spins until the dword at kData + offset is `value`.
  static Code wait_for(uint8_t offset, uint8_t value) {
    return {0x83, 0x3c, 0x25, offset, 0x00, 0x08, 0x00, value, 0xf3, 0x90, 0x75, 0xf4};
  }

  // --- for the second one, in real mode
  static Code real(const Code& code) { return Code{0xb8, 0x00, 0x80, 0x8e, 0xd8} + code; }
  // mov dword [offset], value
  static Code set(uint8_t offset, uint8_t value) {
    return {0x66, 0xc7, 0x06, offset, 0, value, 0, 0, 0};
  }
  // mov [offset], eax
  static Code store_eax(uint8_t offset) { return {0x66, 0xa3, offset, 0}; }
  static Code write_msr16(uint32_t index, uint32_t low) {
    Code code = {0x66, 0xb9, 0, 0, 0, 0, 0x66, 0xb8, 0, 0, 0, 0, 0x66, 0x31, 0xd2, 0x0f, 0x30};
    std::memcpy(code.data() + 2, &index, 4);
    std::memcpy(code.data() + 8, &low, 4);
    return code;
  }
  static Code enable_x2apic() { return write_msr16(0x1b, 0xfee00c00) + write_msr16(0x80f, 0x1ff); }
  // To the first processor.
  static Code send16(uint32_t command) { return write_msr16(0x830, command); }
  static Code stay() { return {0xeb, 0xfe}; }

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
  // mov ax, cs; shl eax, 16; mov ax, sp
  const Code second =
      Code{0x8c, 0xc8, 0x66, 0xc1, 0xe0, 0x10, 0x89, 0xe0} + store_eax(4) + set(0, 1) + kHlt;
  const RunResult result = run_both(start() + wait_for(0, 1) + exit_with_memory(kData + 4), second);
  EXPECT_EQ(result.code, status(0x3000 << 16)) << result.detail;
}

TEST_P(SeveralProcessors, ARunningProcessorDiscardsStartUpIpis) {
  put_code(kOther, real(set(0, 9) + stay()));
  const Code first = start() + wait_for(0, 1) + send(kStartUp | kOther >> 12) + delay(200) +
                     wait_for(4, 1) + exit_with_memory(kData);
  // Counts down, then tells.
  const Code second = set(0, 1) + Code{0xb9, 0xff, 0xff, 0xe2, 0xfe} + set(4, 1) + stay();
  EXPECT_EQ(run_both(first, second).code, status(1));
}

TEST_P(SeveralProcessors, OfTwoStartUpIpisTheFirstCounts) {
  put_code(kOther, real(set(0, 2) + stay()));
  const Code first =
      start() + send(kStartUp | kOther >> 12) + wait_for(0, 1) + exit_with_memory(kData);
  EXPECT_EQ(run_both(first, set(0, 1) + stay()).code, status(1));
}

TEST_P(SeveralProcessors, InitKeepsVectorRegistersAndResetsTheRest) {
  // CR4.OSFXSR: mov eax, 200h; mov cr4, eax
  const Code enable_sse = {0x66, 0xb8, 0, 2, 0, 0, 0x0f, 0x22, 0xe0};
  // mov eax, 5a5a5a5ah; movd xmm0, eax
  const Code second = enable_sse +
                      Code{0x66, 0xb8, 0x5a, 0x5a, 0x5a, 0x5a, 0x66, 0x0f, 0x6e, 0xc0} + set(0, 1) +
                      stay();
  // mov eax, edx; then mov eax, cr4; movd eax, xmm0
  put_code(kOther, Code{0x66, 0x89, 0xd3} +
                       real(Code{0x66, 0x89, 0xd8} + store_eax(4) + Code{0x0f, 0x20, 0xe0} +
                            store_eax(8) + enable_sse + Code{0x66, 0x0f, 0x7e, 0xc0} +
                            store_eax(12) + set(0, 2) + stay()));
  const Code first = start() + wait_for(0, 1) + start(kOther) + wait_for(0, 2);
  const auto at = [&](uint32_t offset) {
    return run_both(first + exit_with_memory(kData + offset), second).code;
  };
  EXPECT_EQ(at(4), status(0x506e3));
  EXPECT_EQ(at(8), status(0));
  EXPECT_EQ(at(12), status(0x5a5a5a5a));
}

// --- interrupts between processors

TEST_P(SeveralProcessors, AnIpiWakesAHaltedProcessor) {
  put_code(kHandler, set(0, 2) + Code{0xcf});
  const Code first = start() + wait_for(0, 1) + enable_apic() + delay(100'000) +
                     send(kFixed | kVector) + wait_for(4, 1) + exit_with_memory(kData);
  const RunResult result =
      run_both(first, enable_x2apic() + set(0, 1) + Code{0xfb} + kHlt + set(4, 1) + stay());
  EXPECT_EQ(result.code, status(2)) << result.detail;
  ASSERT_EQ(record_.interrupts.size(), 1u);
  EXPECT_EQ(record_.interrupts[0].vector, kVector);
}

TEST_P(SeveralProcessors, AnNmiWakesAHaltedProcessor) {
  put_code(kHandler, set(0, 2) + Code{0xcf});
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
  // mov ecx, 30000; lock inc dword [8]; dec ecx; jnz
  const Code second =
      Code{0x66, 0xb9, 0x30, 0x75, 0, 0, 0xf0, 0x66, 0xff, 0x06, 8, 0, 0x66, 0x49, 0x75, 0xf6} +
      set(0, 1) + stay();
  const Code count = {0xb9, 0x30, 0x75, 0, 0,    0xf0, 0xff, 0x04, 0x25,
                      8,    0,    8,    0, 0xff, 0xc9, 0x75, 0xf4};
  const RunResult result =
      run_both(start() + count + wait_for(0, 1) + exit_with_memory(kData + 8), second);
  EXPECT_EQ(result.code, status(60'000)) << result.detail;
}

TEST_P(SeveralProcessors, CodeThatAnotherProcessorChangesIsSeen) {
  put_code(kStart + 0x100, {0xb0, 0x01, 0xc3});  // mov al, 1; ret
  // xor eax, eax; call 100h; mov [0], eax; jmp to the call
  const Code second = Code{0x66, 0x31, 0xc0, 0xe8, 0, 0} + store_eax(0) + Code{0xeb, 0xf7};
  put_code(kStart, real(second));
  const uint16_t distance = 0x100 - (5 + 6);
  put(kStart + 5 + 4, distance);
  // mov byte [30101h], 2
  const Code change = {0xc6, 0x04, 0x25, 0x01, 0x01, 0x03, 0x00, 0x02};
  const RunResult result =
      run(start() + wait_for(0, 1) + change + wait_for(0, 2) + exit_with_memory(kData));
  EXPECT_EQ(result.code, status(2)) << result.detail;
}

// --- turns

TEST_P(SeveralProcessors, TheSameRunAgainIsTheSame) {
  put_code(kHandler, Code{0x66, 0xff, 0x06, 8, 0} + write_msr16(0x80b, 0) + Code{0xcf});
  const Code second = enable_x2apic() + set(0, 1) + Code{0xfb, 0xf4, 0xeb, 0xfd};
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
  const RunResult result = run(Code{0xfa} + kHlt);
  EXPECT_EQ(result.kind, RunResult::Kind::kHaltedForever);
  EXPECT_THAT(result.detail, HasSubstr("all processors"));
}

TEST_P(SeveralProcessors, ATripleFaultNamesItsProcessor) {
  // lidt [0], which is zeros; ud2
  const RunResult result = run_both(start() + kSpin, {0x0f, 0x01, 0x1e, 0, 0, 0x0f, 0x0b});
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
  const Code handler =
      wait_for(0, 1) + delay(30'000) + Code{0xc7, 0x04, 0x25, 4, 0, 8, 0, 1, 0, 0, 0};
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
    // vmwrite 4826h, state
    return {0xb9, 0x26, 0x48, 0, 0, 0xb8, static_cast<uint8_t>(state), 0, 0, 0, 0x0f, 0x79, 0xc8};
  }
};

TEST_P(ActivityStates, WaitForSipiIsLeftByAStartUpIpiAlone) {
  enable(vmx::PinBased::kNmiExiting);
  enable(vmx::PinBased::kExternalInterruptExiting);
  handle(2, {0x48, 0xcf});  // the NMI comes after the VM exit
  const Code others = send16(kNmi) + send16(kInit) + send16(kFixed | kVector);
  const Code second = enable_x2apic() + Code{0xb9, 0xff, 0xff, 0xe2, 0xfe} + others +
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
  const Code second = enable_x2apic() + Code{0xb9, 0xff, 0xff, 0xe2, 0xfe} +
                      send16(kStartUp | 0x12) + send16(kNmi) + stay();
  // Each VM exit moves RIP on by two: vmread 681eh; add; vmwrite.
  const Code skip = {0xb9, 0x1e, 0x68, 0,    0,    0x0f, 0x78, 0xc8,
                     0x48, 0x83, 0xc0, 0x02, 0x0f, 0x79, 0xc8};
  for (const auto state : {vmx::ActivityState::kActive, vmx::ActivityState::kHlt}) {
    run_guest_beside(start() + kCpuid + kSpin, second, enter(state) + skip + resume_until(2));
    EXPECT_THAT(exits(), ElementsAre(Pair(ExitReason::kCpuid, testing::_),
                                     Pair(ExitReason::kExceptionOrNmi, testing::_)))
        << static_cast<uint32_t>(state);
  }
}

TEST_P(ActivityStates, AnNmiLeavesShutdown) {
  enable(vmx::PinBased::kNmiExiting);
  const Code second = enable_x2apic() + Code{0xb9, 0xff, 0xff, 0xe2, 0xfe} +
                      send16(kStartUp | 0x12) + send16(kNmi) + stay();
  run_guest_beside(start() + kCpuid, second,
                   enter(vmx::ActivityState::kShutdown) + resume_until(2));
  EXPECT_THAT(exits(), ElementsAre(Pair(ExitReason::kCpuid, testing::_),
                                   Pair(ExitReason::kExceptionOrNmi, testing::_)));
}

TEST_P(ActivityStates, AnNmiWakesAHaltedGuest) {
  handle(2, exit_with(7));
  const Code second = enable_x2apic() + Code{0xb9, 0xff, 0xff, 0xe2, 0xfe} + send16(kNmi) + stay();
  const RunResult result = run_guest_beside(start() + kHlt, second, exit_with(1));
  EXPECT_EQ(result.code, status(7));
  EXPECT_TRUE(exits().empty());
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
  // again: mov eax, kData; xor ecx, ecx; xor edx, edx; monitor; cmp dword [rax], value; je done;
  // mwait; jmp again; done:
  return {0xb8, 0x00, 0x00, 0x08,  0x00, 0x31, 0xc9, 0x31, 0xd2, 0x0f, 0x01,
          0xc8, 0x83, 0x38, value, 0x74, 0x05, 0x0f, 0x01, 0xc9, 0xeb, 0xea};
}

TEST_P(SeveralProcessors, AStoreOfAnotherEndsMwait) {
  // The second one counts down, stores and halts.
  const Code second = Code{0xb9, 0xff, 0xff, 0xe2, 0xfe} + set(0, 1) + kHlt;
  EXPECT_EQ(run_both(start() + mwait_for(1) + exit_with(5), second).code, status(5));
}

// The store that another makes once and for all must not be missed, wherever the turns end.
TEST_P(SeveralProcessors, NoStoreIsMissed) {
  for (uint8_t count = 0; count < 40; ++count) {
    const Code second =
        Code{0xb9, count, 0x01, 0xe2, 0xfe} + set(0, 1) + set(0, 0) + set(0, 1) + kHlt;
    EXPECT_EQ(run_both(start() + mwait_for(1) + exit_with(5), second).code, status(5));
  }
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
  const Code read_apic = {0x8b, 0x43, 0x20};  // mov eax, [rbx + 20h]
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
