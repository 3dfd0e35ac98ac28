// SPDX-License-Identifier: GPL-2.0-or-later
//
// Debug exceptions and INT1 on their way through the IDT: the debug registers, and RF in what is
// pushed.
#include <gtest/gtest.h>

#include <string>

#include "emu/cpu/delivery.h"
#include "tests/emu/cpu/fake_core.h"

namespace nestor::emu::test {
namespace {

using vmx::Event;
using vmx::EventType;

class DebugExceptions : public ::testing::Test {
 protected:
  FakeCore core;
  vmx::CpuState& cpu = core.cpu;

  // In real-address mode the vectors, which are 0, are enough.
  void set_gate(uint8_t vector, bool real_mode) {
    if (!real_mode) core.poke(kIdt + vector * 8u, gate(kCode0, 0x12345678, 0x8e));
  }
};

// "Debug Registers": what a debug exception that is delivered leaves in them, by its cause. INT1
// reports nothing.
TEST_F(DebugExceptions, LeaveTheDebugRegisters) {
  constexpr uint64_t kDr6 = 0xffff0ff0, kBd = 1u << 13, kBs = 1u << 14, kBt = 1u << 15;
  constexpr uint64_t kGd = 1u << 13, kDr7 = 0x400 | kGd | 0xff;
  const auto int1 = [](EventType type) { return Event{type, vmx::kDb, {}, 1, 0}; };
  const auto trap = [](uint64_t causes) { return vmx::exception(vmx::kDb, {}, causes); };
  struct Row {
    const char* name;
    Event event;
    EventOrigin origin;
    uint64_t dr6;  // of one that was FFFF0FF5H
    bool ends_general_detect;
  };
  const Row kRows[] = {
      {"single step", trap(kBs), EventOrigin::kProcessor, kDr6 | kBs, true},
      {"breakpoint", trap(2), EventOrigin::kProcessor, kDr6 | 2, true},
      {"general detect", trap(kBd), EventOrigin::kProcessor, kDr6 | kBd, true},
      {"task switch", trap(kBt), EventOrigin::kProcessor, kDr6 | kBt, true},
      {"INT1", int1(EventType::kPrivilegedSoftwareException), EventOrigin::kProcessor, kDr6 | 5,
       true},
      {"INT 1", int1(EventType::kSoftwareInterrupt), EventOrigin::kProcessor, kDr6 | 5, false},
      {"another fault", vmx::exception(vmx::kUd), EventOrigin::kProcessor, kDr6 | 5, false},
      {"injected #DB", trap(0), EventOrigin::kVmEntry, kDr6 | 5, false},
      {"injected INT1", int1(EventType::kPrivilegedSoftwareException), EventOrigin::kVmEntry,
       kDr6 | 5, false},
  };
  for (const bool real : {false, true}) {
    for (const Row& row : kRows) {
      for (const bool fails : {false, true}) {
        SCOPED_TRACE(std::string(row.name) + (real ? ", real mode" : "") +
                     (fails ? ", fails" : ""));
        real ? enter_real_mode(core) : enter_protected_mode(core);
        set_gate(row.event.vector, real);
        if (fails) cpu.idtr.limit = 3;  // the event has happened all the same
        cpu.dr6 = kDr6 | 5;
        cpu.dr7 = kDr7;
        cpu.debugctl = vmx::debugctl::kLbr | vmx::debugctl::kBtf;
        const Delivery delivery = deliver_once(core, row.event, row.origin);
        EXPECT_EQ(std::holds_alternative<Delivered>(delivery), !fails);
        EXPECT_EQ(cpu.dr6, row.dr6);
        EXPECT_EQ(cpu.dr7, row.ends_general_detect ? kDr7 & ~kGd : kDr7);
        EXPECT_EQ(cpu.debugctl,
                  row.ends_general_detect ? 0 : vmx::debugctl::kLbr | vmx::debugctl::kBtf);
      }
    }
  }
}

// "Masking Exceptions and Interrupts When Switching Stacks": what MOV to SS holds back is lost when
// another event is delivered, but the data breakpoints where that is INT n, INT3 or INTO. Nothing
// is held back otherwise, and VM entry has decided on its own events.
TEST_F(DebugExceptions, HeldBackByMovSsAreLostToOtherEvents) {
  constexpr uint64_t kBs = 1u << 14, kBreakpoints = 1u << 12 | 5;
  constexpr uint8_t kVector = 0x21;
  struct Row {
    EventType type;
    uint64_t left;
  };
  constexpr Row kRows[] = {
      {EventType::kExternalInterrupt, 0},
      {EventType::kNmi, 0},
      {EventType::kHardwareException, 0},
      {EventType::kPrivilegedSoftwareException, 0},
      {EventType::kSoftwareInterrupt, kBreakpoints},
      {EventType::kSoftwareException, kBreakpoints},
  };
  for (const Row& row : kRows) {
    for (const auto origin : {EventOrigin::kProcessor, EventOrigin::kVmEntry}) {
      for (const bool blocking : {false, true}) {
        enter_real_mode(core);
        cpu.blocking_by_mov_ss = blocking;
        cpu.pending_debug_exceptions = kBs | kBreakpoints;
        const Event event{row.type, kVector, {}, 1, 0};
        ASSERT_TRUE(std::holds_alternative<Delivered>(deliver_once(core, event, origin)));
        const bool lost = blocking && origin == EventOrigin::kProcessor;
        EXPECT_EQ(cpu.pending_debug_exceptions, lost ? row.left : kBs | kBreakpoints)
            << static_cast<int>(row.type) << blocking;
      }
    }
  }
}

// "Resume Flag", in what is pushed.
TEST_F(DebugExceptions, OfGeneralDetectAreFaultsAndOthersTraps) {
  constexpr uint64_t kBd = 1u << 13, kBs = 1u << 14, kBt = 1u << 15;
  enter_protected_mode(core);
  set_gate(vmx::kDb, false);
  for (const auto& [causes, rf] :
       {std::pair(kBd, true), std::pair(kBd | kBs, true), std::pair(kBs, false),
        std::pair(kBt, false), std::pair(uint64_t{0xf}, false)}) {
    cpu.rflags = 2;
    const Delivery delivery = deliver_once(core, vmx::exception(vmx::kDb, {}, causes));
    ASSERT_TRUE(std::holds_alternative<Delivered>(delivery));
    EXPECT_EQ(core.peek<uint32_t>(cpu.gpr[vmx::kRsp] + 8), rf ? 0x1'0002u : 2u) << causes;
  }
}

}  // namespace
}  // namespace nestor::emu::test
