// SPDX-License-Identifier: GPL-2.0-or-later
//
// The VMX-preemption timer and PAUSE-loop exiting measure time by increments of the TSC: what is
// written to the TSC, or to IA32_TSC_ADJUST, moves neither ("VMX-Preemption Timer", and PAUSE in
// "Instructions That Cause VM Exits Conditionally").
#include "tests/vmx/vmx_fixture.h"

namespace nestor::vmx::test {
namespace {

// What a write adds to the TSC: multiples of every tick, so that bits below it stay.
constexpr uint64_t kWrites[] = {0,           1ull << 20,  1ull << 52,           ~0ull << 10,
                                ~0ull << 40, ~0ull << 63, 0x1234'5678'9abc'dc00};

class TscIncrements : public VmxTest, public ::testing::WithParamInterface<uint8_t> {
 protected:
  static Capabilities with_shift(uint8_t shift) {
    Capabilities c = default_capabilities();
    c.preemption_timer_shift = shift;
    return c;
  }
  TscIncrements() : VmxTest(with_shift(GetParam())) {}
  static uint64_t ticks(uint64_t count) { return count << GetParam(); }
};

TEST_P(TscIncrements, WritesDoNotMoveThePreemptionTimer) {
  prepare();
  enable(PinBased::kActivatePreemptionTimer);
  enable(VmExitControl::kSavePreemptionTimerValue);
  cpu.time = ticks(1000);
  set(Field::kVmxPreemptionTimerValue, 10);
  ASSERT_EQ(vmlaunch(), "transfer");
  for (const uint64_t before : kWrites) {
    for (const uint64_t within : kWrites) {
      SCOPED_TRACE(::testing::Message() << std::hex << before << ' ' << within);
      vmx.triple_fault_exits();
      cpu.tsc_offset = before;
      cpu.time = ticks(1000);
      set(Field::kVmxPreemptionTimerValue, 10);
      resume();
      cpu.time += ticks(4);
      cpu.tsc_offset += within;
      EXPECT_FALSE(vmx.boundary_exits(true, true));
      vmx.triple_fault_exits();
      EXPECT_EQ(get(Field::kVmxPreemptionTimerValue), 6u);
      resume();
      cpu.time += ticks(6) - 1;
      EXPECT_FALSE(vmx.boundary_exits(true, true));
      cpu.time += 1;
      EXPECT_TRUE(vmx.boundary_exits(true, true));
      expect_exit(ExitReason::kPreemptionTimerExpired);
      resume();
    }
  }
}

// "... every time bit X in the TSC changes": a tick is at hand where the TSC says so.
TEST_P(TscIncrements, TheTimerTicksWithTheTscThatSoftwareSees) {
  prepare();
  enable(PinBased::kActivatePreemptionTimer);
  set(Field::kVmxPreemptionTimerValue, 1);
  cpu.time = ticks(1000);
  cpu.tsc_offset = ticks(1) - 1;
  ASSERT_EQ(vmlaunch(), "transfer");
  cpu.time += 1;
  EXPECT_TRUE(vmx.boundary_exits(true, true));
}

TEST_P(TscIncrements, WritesDoNotMoveTheWindowsOfPauseLoops) {
  constexpr uint64_t kGap = 100, kWindow = 1000;
  prepare();
  enable(SecondaryProcBased::kPauseLoopExiting);
  set(Field::kPleGap, kGap);
  set(Field::kPleWindow, kWindow);
  ASSERT_EQ(vmlaunch(), "transfer");
  for (const uint64_t write : kWrites) {
    SCOPED_TRACE(write);
    const auto pause = [&] { return vmx.instruction_exits(ExitReason::kPause, no_operand()); };
    EXPECT_FALSE(pause());
    for (unsigned i = 0; i < kWindow / kGap; ++i) {
      cpu.time += kGap;
      cpu.tsc_offset += write;
      EXPECT_FALSE(pause()) << i;
    }
    cpu.time += 1;
    cpu.tsc_offset += write;
    EXPECT_TRUE(pause()) << "the window is over";
    resume();
    // A gap begins another loop.
    EXPECT_FALSE(pause());
    cpu.time += kWindow + 1;
    cpu.tsc_offset -= kWindow + 1;
    EXPECT_FALSE(pause());
    cpu.time += kGap;
    EXPECT_FALSE(pause());
    vmx.triple_fault_exits();
    resume();
  }
}

INSTANTIATE_TEST_SUITE_P(Shift, TscIncrements,
                         ::testing::Values(uint8_t{0}, uint8_t{5}, uint8_t{10}));

}  // namespace
}  // namespace nestor::vmx::test
