// SPDX-License-Identifier: GPL-2.0-or-later
#include <gtest/gtest.h>

#include <optional>
#include <string>
#include <vector>

#include "emu/cpu/delivery.h"
#include "emu/cpu/task_switch.h"
#include "tests/emu/cpu/fake_core.h"
#include "tests/emu/l0/nested_guest.h"

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

// --- "Task-Switch Exception Condition": the T flag of the new TSS

TEST_F(TaskSwitchTest, TheTrapFlagOfTheNewTaskTrapsBeforeItsFirstInstruction) {
  constexpr uint64_t kBt = 1u << 15;
  for (const auto source : {TaskSwitchSource::kCall, TaskSwitchSource::kJump,
                            TaskSwitchSource::kIret, TaskSwitchSource::kGateInIdt}) {
    for (const unsigned flags : {0u, 1u, 0xfffeu, 0xffffu}) {
      const auto word = static_cast<uint16_t>(flags);
      SCOPED_TRACE(testing::Message() << static_cast<int>(source) << ' ' << word);
      SetUp();
      core.poke<uint16_t>(kOtherTssBase + 100, word);
      core.poke<uint16_t>(kTssBase + 100, static_cast<uint16_t>(~word));  // that of the old one
      if (source == TaskSwitchSource::kIret) core.poke<uint8_t>(kGdt + kOtherTss + 5, 0x8b);
      const Outcome outcome = switch_to(source);
      EXPECT_EQ(cpu.rip, kNewEip);
      EXPECT_EQ(cpu.segment[vmx::kTr].selector, kOtherTss);
      if ((word & 1) == 0) {
        EXPECT_TRUE(std::holds_alternative<vmx::Transferred>(outcome));
        continue;
      }
      const auto* event = std::get_if<vmx::Event>(&outcome);
      ASSERT_NE(event, nullptr);
      EXPECT_EQ(event->vector, vmx::kDb);
      EXPECT_EQ(event->payload, kBt);
      EXPECT_FALSE(event->error_code);
    }
  }
}

// A fault in loading the new task comes first, and a 16-bit TSS has no such flag.
TEST_F(TaskSwitchTest, TheTrapFlagComesAfterFaultsAndNotWith16Bits) {
  core.poke<uint16_t>(kOtherTssBase + 100, 1);
  core.poke<uint16_t>(kOtherTssBase + 80, kData0);  // SS of another level
  expect_fault(switch_to(TaskSwitchSource::kJump), vmx::kTs, kData0);
  SetUp();
  core.poke<uint64_t>(kGdt + kOtherTss, descriptor(kOtherTssBase, 0x67, 0x81, 0));
  core.poke<uint16_t>(kOtherTssBase + 100, 0xffff);
  for (uint32_t i = 0; i < 4; ++i) core.poke<uint16_t>(kOtherTssBase + 34 + 2 * i, kData16);
  core.poke<uint16_t>(kOtherTssBase + 36, kCode16);
  core.poke<uint16_t>(kOtherTssBase + 42, 0);
  EXPECT_TRUE(std::holds_alternative<vmx::Transferred>(switch_to(TaskSwitchSource::kJump)));
}

// --- RFLAGS.RF of the old task: in its TSS, and in what a VM exit saves instead

struct SwitchOf {
  const char* name;
  std::optional<vmx::Event> event;  // nullopt: by an instruction
  TaskSwitchSource source;
  std::optional<bool> rf;  // nullopt: as it was
};

std::vector<SwitchOf> switches() {
  using vmx::Event;
  using vmx::EventType;
  constexpr auto kGate = TaskSwitchSource::kGateInIdt;
  return {
      {"CALL", {}, TaskSwitchSource::kCall, false},
      {"JMP", {}, TaskSwitchSource::kJump, false},
      {"IRET", {}, TaskSwitchSource::kIret, false},
      {"INT n", Event{EventType::kSoftwareInterrupt, 0x30, {}, 2, 0}, kGate, false},
      {"INT3", Event{EventType::kSoftwareException, vmx::kBp, {}, 1, 0}, kGate, false},
      {"INT1", Event{EventType::kPrivilegedSoftwareException, vmx::kDb, {}, 1, 0}, kGate, false},
      {"fault", vmx::exception(vmx::kUd), kGate, true},
      {"fault with an error code", vmx::exception(vmx::kGp, 0x18), kGate, true},
      {"general detect", vmx::exception(vmx::kDb, {}, 1u << 13), kGate, true},
      {"single step", vmx::exception(vmx::kDb, {}, 1u << 14), kGate, {}},
      {"double fault", vmx::exception(vmx::kDf, 0), kGate, {}},
      {"external interrupt", Event{EventType::kExternalInterrupt, 0x40, {}, 0, 0}, kGate, {}},
      {"NMI", Event{EventType::kNmi, vmx::kNmi, {}, 0, 0}, kGate, {}},
  };
}

TEST_F(TaskSwitchTest, ResumeFlagOfTheOldTask) {
  constexpr uint8_t kTaskGateByte = 0xe5;
  for (const SwitchOf& row : switches()) {
    for (const bool rf : {false, true}) {
      for (const bool non_root : {false, true}) {
        for (const auto origin : {EventOrigin::kProcessor, EventOrigin::kVmEntry}) {
          if (origin == EventOrigin::kVmEntry && (!row.event || !non_root)) continue;
          const bool injected = origin == EventOrigin::kVmEntry;
          SCOPED_TRACE(std::string(row.name) + (rf ? ", RF" : "") + (non_root ? ", non-root" : "") +
                       (injected ? ", injected" : ""));
          FakeCore fresh;
          std::optional<NestedGuest> guest;
          if (non_root) guest.emplace(fresh).enter();
          enter_protected_mode(fresh);
          fresh.poke<uint8_t>(kGdt + kTss + 5, 0x8b);
          for (uint32_t i = 0; i < 6; ++i) fresh.poke<uint16_t>(kOtherTssBase + 72 + 4 * i, kData0);
          fresh.poke<uint16_t>(kOtherTssBase + 76, kCode0);
          fresh.poke<uint32_t>(kOtherTssBase + 56, kNewEsp);
          if (row.source == TaskSwitchSource::kIret)
            fresh.poke<uint8_t>(kGdt + kOtherTss + 5, 0x8b);
          if (rf) fresh.cpu.rflags |= vmx::rflags::kRf;
          if (row.event) {
            fresh.poke(kIdt + row.event->vector * 8u, gate(kOtherTss, 0, kTaskGateByte));
            if (non_root) fresh.vmx().set_vectoring(*row.event, injected);
            ASSERT_TRUE(std::holds_alternative<Delivered>(deliver_once(fresh, *row.event, origin)));
          } else {
            TaskSwitch request;
            request.selector = kOtherTss;
            request.source = row.source;
            ASSERT_TRUE(std::holds_alternative<vmx::Transferred>(switch_task(fresh, request)));
          }
          if (guest) guest->expect_exit(vmx::ExitReason::kTaskSwitch);
          const uint64_t image =
              guest ? (*guest)[vmx::Field::kGuestRflags] : fresh.peek<uint32_t>(kTssBase + 36);
          // "The value pushed for the RF flag is not modified" by injection.
          const bool expected = injected ? rf : row.rf.value_or(rf);
          EXPECT_EQ((image & vmx::rflags::kRf) != 0, expected);
        }
      }
    }
  }
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
