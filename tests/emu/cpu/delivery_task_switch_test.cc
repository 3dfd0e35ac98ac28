// SPDX-License-Identifier: GPL-2.0-or-later
#include <gtest/gtest.h>

#include "emu/cpu/task_switch.h"
#include "tests/emu/cpu/fake_core.h"

namespace nestor::emu::test {
namespace {

constexpr uint32_t kNewEip = 0x777, kNewEsp = 0x6000;

class TaskSwitchTest : public ::testing::Test {
 protected:
  FakeCore core;
  vmx::CpuState& cpu = core.cpu;

  void SetUp() override {
    enter_protected_mode(core);
    core.poke<uint8_t>(kGdt + kTss + 5, 0x8b);  // the current task is busy
    core.poke<uint32_t>(kOtherTssBase + 28, 0x9000);
    core.poke<uint32_t>(kOtherTssBase + 32, kNewEip);
    core.poke<uint32_t>(kOtherTssBase + 36, 0x202);
    for (uint32_t i = 0; i < 8; ++i) core.poke<uint32_t>(kOtherTssBase + 40 + 4 * i, 0x100 + i);
    core.poke<uint32_t>(kOtherTssBase + 56, kNewEsp);
    for (uint32_t i = 0; i < 6; ++i) core.poke<uint16_t>(kOtherTssBase + 72 + 4 * i, kData3);
    core.poke<uint16_t>(kOtherTssBase + 76, kCode3);
    core.poke<uint16_t>(kOtherTssBase + 96, 0);
  }
  Outcome switch_to(TaskSwitchSource source, uint16_t selector = kOtherTss) {
    TaskSwitch request;
    request.selector = selector;
    request.source = source;
    request.instruction_length = 5;
    return switch_task(core, request);
  }
  void expect_switched(TaskSwitchSource source) {
    ASSERT_TRUE(std::holds_alternative<vmx::Transferred>(switch_to(source)));
    EXPECT_EQ(cpu.segment[vmx::kTr].selector, kOtherTss);
    EXPECT_EQ(cpu.rip, kNewEip);
    EXPECT_EQ(cpu.gpr[vmx::kRsp], kNewEsp);
    EXPECT_EQ(cpu.gpr[vmx::kRdi], 0x107u);
    EXPECT_EQ(cpu.cpl(), 3);
    EXPECT_EQ(cpu.segment[vmx::kGs].selector, kData3);
    EXPECT_EQ(core.peek<uint32_t>(kTssBase + 32), 0x401005u);
  }
  void expect_fault(const Outcome& outcome, uint8_t vector, uint32_t error) {
    const auto* event = std::get_if<vmx::Event>(&outcome);
    ASSERT_NE(event, nullptr);
    EXPECT_EQ(event->vector, vector);
    EXPECT_EQ(event->error_code, error);
  }
  uint8_t type_byte(uint16_t selector) { return core.peek<uint8_t>(kGdt + selector + 5); }
};

TEST_F(TaskSwitchTest, JumpHandsTheBusyFlagOver) {
  cpu.dr7 = 0x7ff;
  expect_switched(TaskSwitchSource::kJump);
  EXPECT_EQ(type_byte(kTss), 0x89);
  EXPECT_EQ(type_byte(kOtherTss), 0x8b);
  EXPECT_EQ(cpu.rflags, 0x202u);
  EXPECT_EQ(core.peek<uint16_t>(kOtherTssBase), 0);
  EXPECT_TRUE(cpu.cr0 & vmx::cr0::kTs);
  EXPECT_EQ(cpu.dr7, 0x6aau);  // local enables are gone
}

TEST_F(TaskSwitchTest, CallNests) {
  expect_switched(TaskSwitchSource::kCall);
  EXPECT_EQ(type_byte(kTss), 0x8b);
  EXPECT_EQ(type_byte(kOtherTss), 0x8b);
  EXPECT_EQ(cpu.rflags, 0x202 | vmx::rflags::kNt);
  EXPECT_EQ(core.peek<uint16_t>(kOtherTssBase), kTss);
}

TEST_F(TaskSwitchTest, IretReturnsToABusyTask) {
  cpu.rflags |= vmx::rflags::kNt;
  expect_fault(switch_to(TaskSwitchSource::kIret), vmx::kTs, kOtherTss);
  core.poke<uint8_t>(kGdt + kOtherTss + 5, 0x8b);
  expect_switched(TaskSwitchSource::kIret);
  EXPECT_EQ(type_byte(kTss), 0x89);
  EXPECT_EQ(type_byte(kOtherTss), 0x8b);
  EXPECT_EQ(core.peek<uint32_t>(kTssBase + 36) & vmx::rflags::kNt, 0u);
}

TEST_F(TaskSwitchTest, PagingLoadsCr3) {
  cpu.cr0 |= vmx::cr0::kPg;
  expect_switched(TaskSwitchSource::kJump);
  EXPECT_EQ(cpu.cr3, 0x9000u);
  EXPECT_EQ(core.invalidations.size(), 1u);
}

TEST_F(TaskSwitchTest, SixteenBitTask) {
  core.poke<uint64_t>(kGdt + kOtherTss, descriptor(kOtherTssBase, 0x2b, 0x81, 0));
  core.poke<uint16_t>(kOtherTssBase + 14, 0x321);
  core.poke<uint16_t>(kOtherTssBase + 16, 2);
  core.poke<uint16_t>(kOtherTssBase + 18, 0x1234);
  for (uint32_t i = 0; i < 4; ++i) core.poke<uint16_t>(kOtherTssBase + 34 + 2 * i, kData16);
  core.poke<uint16_t>(kOtherTssBase + 36, kCode16);
  core.poke<uint16_t>(kOtherTssBase + 42, 0);
  ASSERT_TRUE(std::holds_alternative<vmx::Transferred>(switch_to(TaskSwitchSource::kJump)));
  EXPECT_EQ(cpu.rip, 0x321u);
  EXPECT_EQ(cpu.gpr[vmx::kRax], 0xffff1234u);
  EXPECT_EQ(cpu.segment[vmx::kTr].rights.value, 0x83u);
  EXPECT_TRUE(cpu.segment[vmx::kFs].rights.unusable());
}

TEST_F(TaskSwitchTest, FaultsOfTheNewTaskComeWithItsState) {
  core.poke<uint16_t>(kOtherTssBase + 80, kData0);  // SS of another level
  expect_fault(switch_to(TaskSwitchSource::kJump), vmx::kTs, kData0);
  EXPECT_EQ(cpu.segment[vmx::kTr].selector, kOtherTss);
  EXPECT_EQ(cpu.rip, kNewEip);
  EXPECT_EQ(cpu.cpl(), 3);
}

TEST_F(TaskSwitchTest, FaultsBeforeTheSwitchChangeNothing) {
  core.unreadable.insert(kOtherTssBase / FakeCore::kPage);
  expect_fault(switch_to(TaskSwitchSource::kJump), vmx::kPf, 0);
  EXPECT_EQ(cpu.segment[vmx::kTr].selector, kTss);
  EXPECT_EQ(cpu.rip, 0x401000u);
  EXPECT_EQ(type_byte(kTss), 0x8b);
  EXPECT_EQ(type_byte(kOtherTss), 0x89);
}

}  // namespace
}  // namespace nestor::emu::test
