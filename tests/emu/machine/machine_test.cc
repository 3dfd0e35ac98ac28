// SPDX-License-Identifier: GPL-2.0-or-later
//
// Programs on a whole machine: interrupts, time, devices and how a run ends.
#include "tests/emu/machine/machine_fixture.h"

namespace nestor::emu {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::SizeIs;
using Kind = RunResult::Kind;

constexpr uint8_t kVector = 0x40;
const Code kForever = ASM64("2: jmp 2b");

class MachineRun : public MachineTest {
 protected:
  // Where `code` ends when it is put first.
  static uint64_t after(const Code& code) { return kCode + code.size(); }
  // A one-shot timer of `count` ticks without division, which raises kVector.
  static Code start_timer(uint32_t count, uint32_t lvt = kVector) {
    return enable_apic() + apic_write(0x3e0, 0xb) + apic_write(0x320, lvt) +
           apic_write(0x380, count);
  }
};

// --- how a run ends

TEST_F(MachineRun, TheDebugExitPortEndsItWithItsStatus) {
  const RunResult result = run(exit_with(21) + kForever);
  EXPECT_EQ(result.kind, Kind::kDebugExit);
  EXPECT_EQ(result.code, status(21));
  EXPECT_EQ(result.instructions, 2u);
}

TEST_F(MachineRun, HltWithNothingToComeHaltsForever) {
  const RunResult result = run(kCli + kHlt);
  EXPECT_EQ(result.kind, Kind::kHaltedForever);
  EXPECT_NE(result.detail, "");
  EXPECT_EQ(result.instructions, 2u);
}

TEST_F(MachineRun, ATimerThatInterruptsNobodyDoesNotWake) {
  const RunResult result = run(kCli + start_timer(1000) + kHlt + exit_with(1));
  EXPECT_EQ(result.kind, Kind::kHaltedForever);
  EXPECT_THAT(record_.interrupts, IsEmpty());
}

TEST_F(MachineRun, APeriodicTimerThatInterruptsNobodyDoesNotWake) {
  const RunResult result = run(kCli + start_timer(1000, 0x20000 | kVector) + kHlt + exit_with(1));
  EXPECT_EQ(result.kind, Kind::kHaltedForever);
}

// Millions of periods of a timer that nobody hears lie before the one that wakes.
TEST_F(MachineRun, ATimerThatInterruptsNobodyHidesNoOther) {
  // Masks the 8259; the PIT rises every other tick.
  const Code masked_pit = ASM64(
      "mov al, 0xff; out 0x21, al; mov al, 0x34; out 0x43, al; "
      "mov al, 2; out 0x40, al; mov al, 0; out 0x40, al");
  constexpr uint32_t kLong = 0xfff00000;
  handle(kVector, exit_with(7));
  const RunResult result = run(masked_pit + start_timer(kLong) + kSti + kHlt + exit_with(1));
  EXPECT_EQ(result.code, status(7)) << result.detail;
  EXPECT_THAT(record_.interrupt_cycles, SizeIs(1));
  EXPECT_GE(record_.interrupt_cycles.at(0), kLong);
  EXPECT_LT(record_.interrupt_cycles.at(0), uint64_t{kLong} + 10'000);
}

TEST_F(MachineRun, ATripleFaultShutsDown) {
  cpu_.idtr = {kIdt, 0};
  const RunResult result = run(kNop + ASM64("ud2"));
  EXPECT_EQ(result.kind, Kind::kShutdown);
  EXPECT_THAT(record_.triple_faults, ElementsAre(kCode + 1));
  EXPECT_NE(result.detail.find("0x100001"), std::string::npos) << result.detail;
}

TEST_F(MachineRun, TheBudgetEndsIt) {
  config_.max_instructions = 1000;
  const RunResult result = run(ASM64("2: nop; nop; jmp 2b"));  // blocks of three
  EXPECT_EQ(result.kind, Kind::kBudgetSpent);
  EXPECT_GE(result.instructions, 1000u);
  EXPECT_LT(result.instructions, 1003u);
}

TEST_F(MachineRun, TheKeyboardControllerResets) {
  const RunResult result = run(ASM64("mov al, 0xfe; out 0x64, al") + kForever);
  EXPECT_EQ(result.kind, Kind::kReset);
}

TEST_F(MachineRun, AcpiTurnsTheMachineOff) {
  const RunResult result = run(ASM64("mov dx, 0x604; mov eax, 0x2000; out dx, ax") + kForever);
  EXPECT_EQ(result.kind, Kind::kPowerOff);
}

TEST_F(MachineRun, FirmwareHasSetTheMemoryTypes) {
  const RunResult result =
      run(ASM64("mov ecx, 0x2ff; rdmsr; shl eax, 8; out 0xf4, eax") + kForever);
  EXPECT_EQ(result.code, status(0xc0600));
}

// --- interrupts

TEST_F(MachineRun, StiHoldsAPendingInterruptBackForOneInstruction) {
  handle(kVector, exit_with(5));
  const Code before = enable_apic() + self_ipi(kVector) + nops(3) + kSti + kNop;
  const RunResult result = run(before + nops(20) + exit_with(1));
  EXPECT_EQ(result.code, status(5));
  EXPECT_THAT(record_.interrupts, ElementsAre(Interrupt{kVector, after(before)}));
}

TEST_F(MachineRun, TheShadowOfStiHoldsBeforeAnEmulatedInstructionToo) {
  handle(kVector, exit_with(5));
  const Code before = enable_apic() + self_ipi(kVector) + kSti + ASM64("cpuid");
  run(before + nops(20) + exit_with(1));
  EXPECT_THAT(record_.interrupts, ElementsAre(Interrupt{kVector, after(before)}));
}

TEST_F(MachineRun, MovSsHoldsAPendingInterruptBackForOneInstruction) {
  handle(kVector, exit_with(5));
  // mov ecx, ss; sti; mov ss, ecx; nop: the second shadow follows the first at once.
  const Code before =
      enable_apic() + self_ipi(kVector) + ASM64("mov ecx, ss") + kSti + ASM64("mov ss, ecx") + kNop;
  run(before + nops(20) + exit_with(1));
  EXPECT_THAT(record_.interrupts, ElementsAre(Interrupt{kVector, after(before)}));
}

TEST_F(MachineRun, StiThenCliLetsNothingThrough) {
  handle(kVector, exit_with(5));
  const RunResult result =
      run(enable_apic() + self_ipi(kVector) + kSti + kCli + nops(20) + exit_with(1));
  EXPECT_EQ(result.code, status(1));
  EXPECT_THAT(record_.interrupts, IsEmpty());
}

TEST_F(MachineRun, PopfEnablesInterruptsWithoutAShadow) {
  handle(kVector, exit_with(5));
  const Code before = enable_apic() + self_ipi(kVector) + ASM64("push 0x202; popfq");
  run(before + nops(20) + exit_with(1));
  EXPECT_THAT(record_.interrupts, ElementsAre(Interrupt{kVector, after(before)}));
}

TEST_F(MachineRun, AnInterruptHandlerReturnsToWhereItInterrupted) {
  handle(kVector, ASM64("inc r15d") + end_of_interrupt() + kIretq);
  const RunResult result =
      run(enable_apic() + kSti + self_ipi(kVector) + block_end() + self_ipi(kVector) + block_end() +
          ASM64("mov eax, r15d; out 0xf4, eax"));
  EXPECT_EQ(result.code, status(2));
  EXPECT_THAT(record_.interrupts, SizeIs(2));
}

TEST_F(MachineRun, TheTaskPriorityHoldsInterruptsBack) {
  handle(kVector, exit_with(5));
  const RunResult result = run(enable_apic() + apic_write(0x80, 0x40) + kSti + self_ipi(kVector) +
                               nops(20) + exit_with(1));
  EXPECT_EQ(result.code, status(1));
}

// The second NMI waits for the IRET of the first.
TEST_F(MachineRun, NmisAreBlockedUntilIret) {
  constexpr uint32_t kNmiMode = 4 << 8;
  // Another NMI in the first; the jump goes to the NOP.
  handle(vmx::kNmi, ASM64("2: inc r15d; cmp r15d, 1; jne 2b + 0x16") + self_ipi(kNmiMode) +
                        block_end() + kNop + kIretq);
  const Code before = enable_apic() + self_ipi(kNmiMode) + block_end();
  const RunResult result = run(before + nops(8) + ASM64("mov eax, r15d; out 0xf4, eax"));
  EXPECT_EQ(result.code, status(2));
  ASSERT_THAT(record_.interrupts, SizeIs(2));
  EXPECT_EQ(record_.interrupts[0].vector, vmx::kNmi);
  // Not in the handler: at the very place to which the first returned.
  EXPECT_EQ(record_.interrupts[1], record_.interrupts[0]);
}

// --- time

TEST_F(MachineRun, ATimerInterruptsAtItsTime) {
  handle(kVector, exit_with(7));
  const RunResult result = run(kSti + start_timer(10'000) + kForever);
  EXPECT_EQ(result.code, status(7));
  ASSERT_THAT(record_.interrupt_cycles, SizeIs(1));
  // Five instructions before it starts, page walks, and a block until it is noticed.
  EXPECT_GE(record_.interrupt_cycles[0], 10'000u);
  EXPECT_LT(record_.interrupt_cycles[0], 10'300u);
  EXPECT_THAT(record_.interrupts, ElementsAre(Interrupt{kVector, after(kSti + start_timer(1))}));
}

TEST_F(MachineRun, HltWaitsForTheTimerInVirtualTime) {
  handle(kVector, exit_with(7));
  const Code before = kSti + start_timer(1'000'000'000) + kHlt;
  const RunResult result = run(before + exit_with(1));
  EXPECT_EQ(result.code, status(7));
  EXPECT_THAT(record_.interrupts, ElementsAre(Interrupt{kVector, after(before)}));
  EXPECT_GE(result.cycles, 1'000'000'000u);
  EXPECT_LT(result.cycles, 1'000'001'000u + PriceList{}.port_access);
  EXPECT_LT(result.instructions, 20u);
}

TEST_F(MachineRun, APeriodicTimerKeepsItsPeriod) {
  // The jump goes behind IRETQ.
  handle(kVector, ASM64("2: inc r15d; cmp r15d, 5; je 2b + 0x15") + end_of_interrupt() + kIretq +
                      exit_with(9));
  const RunResult result = run(kSti + start_timer(20'000, 0x20000 | kVector) + kForever);
  EXPECT_EQ(result.code, status(9));
  ASSERT_THAT(record_.interrupt_cycles, SizeIs(5));
  for (size_t i = 1; i < 5; ++i) {
    const uint64_t period = record_.interrupt_cycles[i] - record_.interrupt_cycles[i - 1];
    EXPECT_NEAR(static_cast<double>(period), 20'000, 50);
  }
}

TEST_F(MachineRun, TheTscCountsCycles) {
  const RunResult result =
      run(ASM64("rdtsc; mov ecx, eax") + nops(8) + ASM64("rdtsc; sub eax, ecx; out 0xf4, eax"));
  // RDTSC itself, MOV, the NOPs; the walk of the page is behind.
  EXPECT_EQ(result.code, status(10 + PriceList{}.rdtsc));
}

TEST_F(MachineRun, TheSameProgramTakesTheSameTime) {
  handle(kVector, ASM64("2: inc r15d; cmp r15d, 5; je 2b + 0x15") + end_of_interrupt() + kIretq +
                      exit_with(9));
  const Code code = kSti + start_timer(777, 0x20000 | kVector) +
                    ASM64("2: mov [0x80000], rax; jmp 2b");  // 0x80000 is kData
  const RunResult first = run(code);
  const auto cycles = record_.interrupt_cycles;
  const auto interrupts = record_.interrupts;
  const RunResult second = run(code);
  EXPECT_EQ(first.code, status(9));
  EXPECT_EQ(first.cycles, second.cycles);
  EXPECT_EQ(first.instructions, second.instructions);
  EXPECT_EQ(cycles, record_.interrupt_cycles);
  EXPECT_EQ(interrupts, record_.interrupts);
}

// --- devices

TEST_F(MachineRun, PortOutputReachesItsDevice) {
  put<uint8_t>(kData, 'C');
  run(ASM64("mov al, 'A'; mov dx, 0x3f8; out dx, al; mov al, 'b'; "
            "out 0xe9, al; mov esi, 0x80000; outsb") +
      exit_with(0));  // 0x80000 is kData
  EXPECT_EQ(serial_, "AC");
  EXPECT_EQ(console_, "b");
}

TEST_F(MachineRun, RepeatedStringOutputWritesEachByte) {
  put_code(kData, {'n', 'e', 's', 't'});
  // 0x80000 is kData
  run(ASM64("mov esi, 0x80000; mov ecx, 4; mov dx, 0x3f8; rep outsb") + exit_with(0));
  EXPECT_EQ(serial_, "nest");
}

TEST_F(MachineRun, UnknownPortsReadAsOnesAndAreReported) {
  const RunResult result = run(ASM64("xor eax, eax; mov dx, 0x1234; in ax, dx; out 0xf4, eax"));
  EXPECT_EQ(result.code, status(0xffff));
  ASSERT_THAT(record_.unclaimed, SizeIs(1));
  EXPECT_FALSE(record_.unclaimed[0].memory);
  EXPECT_FALSE(record_.unclaimed[0].write);
  EXPECT_EQ(record_.unclaimed[0].address, 0x1234u);
  EXPECT_EQ(record_.unclaimed[0].size, 2u);
}

TEST_F(MachineRun, UnknownMemoryReadsAsOnes) {
  const RunResult result = run(ASM64("mov eax, [rbx - 0x1000000]; shr eax, 1; out 0xf4, eax"));
  EXPECT_EQ(result.code, status(0x7fffffff));
  ASSERT_THAT(record_.unclaimed, SizeIs(1));
  EXPECT_TRUE(record_.unclaimed[0].memory);
  EXPECT_EQ(record_.unclaimed[0].address, 0xfde00000u);
  EXPECT_EQ(record_.unclaimed[0].size, 4u);
}

TEST_F(MachineRun, TheLocalApicIsInMemory) {
  RunResult result = run(apic_write(0x80, 0x30) + ASM64("mov eax, [rbx + 0x80]; out 0xf4, eax"));
  EXPECT_EQ(result.code, status(0x30));
  // CR8 is the same.
  result = run(apic_write(0x80, 0x30) + ASM64("mov rax, cr8; out 0xf4, eax"));
  EXPECT_EQ(result.code, status(3));
}

}  // namespace
}  // namespace nestor::emu
