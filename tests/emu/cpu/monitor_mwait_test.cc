// SPDX-License-Identifier: GPL-2.0-or-later
//
// MONITOR arms, MWAIT waits, and what ends both ("MONITOR/MWAIT Instruction", "Clearing
// Address-Range Monitoring").
#include "tests/emu/l0/nested_machine_fixture.h"

namespace nestor::emu {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::Pair;
using vmx::ExitReason;
using vmx::Field;
using vmx::PinBased;
using vmx::PrimaryProcBased;

const Code kMwait = ASM64("xor ecx, ecx; xor edx, edx; mwait");
// Masked interrupts end it too.
const Code kMwaitForInterrupts = ASM64("mov ecx, 1; xor edx, edx; mwait");

class MonitorMwait : public NestedMachineTest {
 protected:
  static constexpr uint8_t kVector = 0x41;
  static constexpr uint32_t kCount = 100'000;

  MonitorMwait() { handle(kVector, end_of_interrupt() + ASM64("iretq")); }

  // mov eax, kData + offset; xor ecx, ecx; xor edx, edx; monitor
  static Code monitor(uint32_t offset = 0) {
    Code code = ASM64("mov eax, 0; xor ecx, ecx; xor edx, edx; monitor");
    const auto address = static_cast<uint32_t>(kData + offset);
    std::memcpy(code.data() + 1, &address, sizeof address);
    return code;
  }
  // inc dword [kData + offset]
  static Code write(uint32_t offset) {
    Code code = ASM64("inc dword ptr [0]");
    const auto address = static_cast<uint32_t>(kData + offset);
    std::memcpy(code.data() + 3, &address, sizeof address);
    return code;
  }
  // One interrupt after kCount cycles.
  static Code start_timer() {
    return enable_apic() + apic_write(0x3e0, 0xb) + apic_write(0x320, kVector) +
           apic_write(0x380, kCount);
  }
  bool waits(const Code& code) {
    const RunResult result = run(kCli + code + exit_with(1));
    EXPECT_TRUE(result.kind == RunResult::Kind::kHaltedForever || result.code == status(1))
        << result.detail;
    return result.kind == RunResult::Kind::kHaltedForever;
  }
  uint64_t armed_in(const Code& guest) {
    enable(PrimaryProcBased::kMwaitExiting);
    run_guest(guest, resume_until(9));
    for (const vmx::VmExitEvent& exit : record_.exits) {
      if (exit.reason == static_cast<uint32_t>(ExitReason::kMwait)) return exit.qualification;
    }
    return ~0ull;
  }
};

TEST_F(MonitorMwait, WaitsOnlyIfArmedAndOnlyOnce) {
  EXPECT_TRUE(waits(monitor() + kMwait));
  EXPECT_FALSE(waits(kMwait));
  EXPECT_TRUE(waits(monitor() + kNop + write(64) + kMwait)) << "another line";
  EXPECT_FALSE(waits(monitor(60) + write(0) + kMwait)) << "the same line";
}

TEST_F(MonitorMwait, AnInterruptEndsItAndReturnsBehindIt) {
  const Code code = start_timer() + monitor() + kSti + kMwait;
  const RunResult result = run(code + exit_with(1));
  EXPECT_EQ(result.code, status(1)) << result.detail;
  EXPECT_THAT(record_.interrupts, ElementsAre(Interrupt{kVector, kCode + code.size()}));
  EXPECT_GE(result.cycles, kCount);
}

TEST_F(MonitorMwait, AMaskedInterruptEndsItIfAskedFor) {
  const RunResult result =
      run(kCli + start_timer() + monitor() + kMwaitForInterrupts + exit_with(1));
  EXPECT_EQ(result.code, status(1)) << result.detail;
  EXPECT_THAT(record_.interrupts, IsEmpty());
  EXPECT_GE(result.cycles, kCount);
  EXPECT_TRUE(waits(start_timer() + monitor() + kMwait));
}

TEST_F(MonitorMwait, AnInterruptBetweenTheTwoDisarms) {
  EXPECT_EQ(run(enable_apic() + monitor() + kSti + self_ipi(kVector) + block_end() + kNop + kCli +
                kMwait + exit_with(1))
                .code,
            status(1));
  EXPECT_EQ(record_.interrupts.size(), 1u);
}

TEST_F(MonitorMwait, ASingleStepTrapEndsIt) {
  handle(vmx::kDb, exit_with(3));
  // pushf; or dword [rsp], 100h; popf
  EXPECT_EQ(run(kCli + monitor() +
                ASM64("xor ecx, ecx; xor edx, edx; pushfq; "
                      "or dword ptr [rsp], 0x100; popfq; mwait"))
                .code,
            status(3));
}

// --- in VMX non-root operation

TEST_F(MonitorMwait, TheExitQualificationTellsWhetherItIsArmed) {
  EXPECT_EQ(armed_in(monitor() + kMwait), 1u);
  EXPECT_EQ(armed_in(kMwait), 0u);
  EXPECT_EQ(armed_in(monitor() + write(0) + kMwait), 0u);
  EXPECT_EQ(armed_in(monitor() + write(64) + kMwait), 1u);
}

TEST_F(MonitorMwait, VmEntriesAndVmExitsDisarm) {
  // The handler moves RIP over CPUID: vmread rax, rcx; add rax, 2; vmwrite rcx, rax.
  enable(PrimaryProcBased::kMwaitExiting);
  const Code skip = ASM64("mov ecx, 0x681e; vmread rax, rcx; add rax, 2; vmwrite rcx, rax");
  run_guest(monitor() + kCpuid + kMwait, skip + resume_until(2));
  ASSERT_EQ(record_.exits.size(), 2u);
  EXPECT_EQ(record_.exits[1].reason, static_cast<uint32_t>(ExitReason::kMwait));
  EXPECT_EQ(record_.exits[1].qualification, 0u);
  // Armed by L1.
  put_guest(kMwait, exit_with(0));
  run(monitor() + launch());
  ASSERT_EQ(record_.exits.size(), 1u);
  EXPECT_EQ(record_.exits[0].qualification, 0u);
}

TEST_F(MonitorMwait, AVmExitEndsItBehindTheInstructionAndActive) {
  enable(PinBased::kActivatePreemptionTimer);
  vmcs_.write(Field::kVmxPreemptionTimerValue, kCount);
  const Code guest = monitor() + kMwait;
  EXPECT_EQ(run_guest(guest, exit_with_field(Field::kGuestActivityState)).code, status(0));
  EXPECT_THAT(exits(),
              ElementsAre(Pair(ExitReason::kPreemptionTimerExpired, kGuest + guest.size())));
}

TEST_F(MonitorMwait, TheMonitorTrapFlagEndsIt) {
  enable(PrimaryProcBased::kMonitorTrapFlag);
  const Code guest = monitor() + kMwait;
  run_guest(guest, resume_until(7));
  ASSERT_EQ(record_.exits.size(), 7u);
  EXPECT_EQ(record_.exits[6].guest_rip, kGuest + guest.size());
}

// "Changes to Instruction Behavior in VMX Non-Root Operation".
TEST_F(MonitorMwait, AnInterruptWindowThatIsWaitedForMakesItPass) {
  enable(PrimaryProcBased::kInterruptWindowExiting);
  const Code guest = monitor() + kMwaitForInterrupts;
  run_guest(guest + kCpuid);
  EXPECT_THAT(exits(), ElementsAre(Pair(ExitReason::kCpuid, kGuest + guest.size())));
  EXPECT_EQ(run_guest(monitor() + kMwait + kCpuid).kind, RunResult::Kind::kHaltedForever);
}

}  // namespace
}  // namespace nestor::emu
