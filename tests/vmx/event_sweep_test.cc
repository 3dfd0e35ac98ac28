// SPDX-License-Identifier: GPL-2.0-or-later
//
// Events, swept: which exceptions exit ("Other Causes of VM Exits"), which of several exits comes
// first at an instruction boundary, what VM entry makes of interruptibility, activity and pending
// debug exceptions ("Loading Guest Non-Register State"), and of unusable segments.
#include "tests/vmx/vmx_fixture.h"

namespace nestor::vmx::test {
namespace {

class EventSweep : public VmxTest {
 protected:
  void leave() { ASSERT_TRUE(vmx.triple_fault_exits()); }
};

TEST_F(EventSweep, TheExceptionBitmapByVector) {
  start();
  for (unsigned vector = 0; vector < 32; ++vector) {
    if (vector == kPf || vector == kNmi) continue;
    for (const auto type :
         {EventType::kHardwareException, EventType::kSoftwareException,
          EventType::kPrivilegedSoftwareException, EventType::kSoftwareInterrupt}) {
      for (const bool chosen : {false, true}) {
        leave();
        set(Field::kExceptionBitmap, chosen ? 1u << vector : ~(1u << vector));
        resume();
        const Event event{type, static_cast<uint8_t>(vector), std::nullopt, 2, 0};
        const bool exits = chosen && type != EventType::kSoftwareInterrupt;
        EXPECT_EQ(vmx.exception_exits(event), exits) << vector;
        if (!exits) continue;
        expect_exit(ExitReason::kExceptionOrNmi);
        EXPECT_EQ(get(Field::kVmExitInterruptionInformation),
                  0x80000000u | static_cast<uint32_t>(type) << 8 | vector);
        EXPECT_EQ(get(Field::kExitQualification), 0u);
        if (type != EventType::kHardwareException) {
          EXPECT_EQ(get(Field::kVmExitInstructionLength), 2u);
        }
        resume();
      }
    }
  }
  leave();
  EXPECT_FALSE(vmx.exception_exits(exception(kUd))) << "root operation";
}

// "Information About NMI Unblocking Due to IRET": of the exceptions of an IRET only those that
// result from a memory access report it, and none that the delivery of an event meets.
TEST_F(EventSweep, NmiUnblockingDueToIretByVector) {
  start();
  for (const bool virtual_nmis : {false, true}) {
    for (unsigned vector = 0; vector < 32; ++vector) {
      if (vector == kNmi) continue;
      for (const bool blocked : {false, true}) {
        for (const bool delivering : {false, true}) {
          SCOPED_TRACE(::testing::Message() << vector << " virtual NMIs " << virtual_nmis);
          leave();
          disable(PinBased::kVirtualNmis);
          disable(PinBased::kNmiExiting);
          if (virtual_nmis) {
            enable(PinBased::kNmiExiting);
            enable(PinBased::kVirtualNmis);
          }
          set(Field::kExceptionBitmap, ~0u);
          set(Field::kGuestInterruptibilityState, blocked ? 8 : 0);
          resume();
          vmx.begin_iret();
          if (delivering) vmx.set_vectoring(exception(kNp, 0));
          ASSERT_TRUE(vmx.exception_exits(exception(static_cast<Vector>(vector))));
          const bool access = vector == kPf || vector == kAc || vector == kVe;
          EXPECT_EQ(get(Field::kVmExitInterruptionInformation) >> 12 & 1,
                    access && blocked && !delivering);
          EXPECT_EQ(get(Field::kGuestInterruptibilityState), 0u) << "IRET unblocks all the same";
          resume();
        }
      }
    }
  }
}

// "Saving RIP, RSP, RFLAGS, and SSP": RF as the delivery of the event pushes it. Of the debug
// exceptions general detect is a fault.
TEST_F(EventSweep, ResumeFlagByException) {
  constexpr uint64_t kBd = 1u << 13, kBs = 1u << 14;
  struct Row {
    Event event;
    std::optional<bool> pushes;  // nullopt: as it was
  };
  std::vector<Row> rows = {
      {exception(kDb, std::nullopt, kBd), true},
      {exception(kDb, std::nullopt, kBd | 1), true},
      {exception(kDb, std::nullopt, kBs), std::nullopt},
      {exception(kDb, std::nullopt, 0xf), std::nullopt},
      {exception(kDf, 0), std::nullopt},
      {exception(kMc), std::nullopt},
      {{EventType::kPrivilegedSoftwareException, kDb, std::nullopt, 1, 0}, false},
      {{EventType::kSoftwareException, kBp, std::nullopt, 1, 0}, false},
      {{EventType::kSoftwareException, kOf, std::nullopt, 1, 0}, false},
  };
  for (const Vector fault :
       {kDe, kBr, kUd, kNm, kTs, kNp, kSs12, kGp, kPf, kMf, kAc, kXm, kVe, kCp})
    rows.push_back({exception(fault), true});
  start();
  for (const Row& row : rows) {
    for (const bool rf : {false, true}) {
      for (const bool indirect : {false, true}) {
        SCOPED_TRACE(::testing::Message() << int{row.event.vector} << " RF " << rf);
        leave();
        set(Field::kExceptionBitmap, indirect ? 0 : ~0u);
        set(Field::kGuestRflags, rflags::kFixed1 | (rf ? rflags::kRf : uint64_t{0}));
        resume();
        if (indirect) {
          vmx.set_vectoring(row.event);
          vmx.ept_violation(0x181, 0x5000, 0x5000);
        } else {
          ASSERT_TRUE(vmx.exception_exits(row.event));
        }
        EXPECT_EQ((get(Field::kGuestRflags) & rflags::kRf) != 0, row.pushes.value_or(rf));
        resume();
      }
    }
  }
}

// "If (error code AND mask) equals match, the bit for #PF decides; otherwise its reverse."
TEST_F(EventSweep, PageFaultsByMaskAndMatch) {
  start();
  for (const bool bitmap : {false, true}) {
    for (uint32_t mask = 0; mask < 8; ++mask) {
      for (uint32_t match = 0; match < 8; ++match) {
        leave();
        set(Field::kExceptionBitmap, bitmap ? 1u << kPf : ~(1u << kPf));
        set(Field::kPageFaultErrorCodeMask, mask << 1 | mask << 28);
        set(Field::kPageFaultErrorCodeMatch, match << 1 | match << 28);
        resume();
        for (uint32_t code = 0; code < 8; ++code) {
          const bool equal = (code & mask) == match;
          const bool exits = vmx.exception_exits(exception(kPf, code << 1 | code << 28, 0x5000));
          EXPECT_EQ(exits, equal == bitmap) << mask << ' ' << match << ' ' << code;
          if (exits) resume();
        }
      }
    }
  }
}

// MTF, then the preemption timer, the NMI window, the interrupt window; each where the activity
// state does not block it.
TEST_F(EventSweep, TheOrderAtAnInstructionBoundary) {
  prepare();
  enable(PinBased::kNmiExiting);
  enable(PinBased::kVirtualNmis);
  ASSERT_EQ(vmlaunch(), "transfer");
  for (unsigned causes = 0; causes < 256; ++causes) {
    const bool mtf = causes & 1, timer = causes & 2, nmi = causes & 4, interrupt = causes & 8,
               nmi_open = causes & 16, interrupt_open = causes & 32, blocked = causes & 64,
               expired = causes & 128;
    for (const auto activity : {ActivityState::kActive, ActivityState::kHlt,
                                ActivityState::kShutdown, ActivityState::kWaitForSipi}) {
      SCOPED_TRACE(::testing::Message() << causes << ", activity " << static_cast<int>(activity));
      leave();
      disable(PinBased::kActivatePreemptionTimer);
      disable(PrimaryProcBased::kNmiWindowExiting);
      disable(PrimaryProcBased::kInterruptWindowExiting);
      if (timer) enable(PinBased::kActivatePreemptionTimer);
      if (nmi) enable(PrimaryProcBased::kNmiWindowExiting);
      if (interrupt) enable(PrimaryProcBased::kInterruptWindowExiting);
      set(Field::kVmxPreemptionTimerValue, 2);
      set(Field::kGuestInterruptibilityState, blocked ? 8 : 0);
      set(Field::kGuestActivityState, 0);
      cpu.time = 1024;
      resume();
      cpu.time = 1024 + 2 * 32 - (expired ? 0 : 1);  // ticks of 32
      if (mtf) vmx.set_monitor_trap_flag_pending();
      cpu.cpu.activity = activity;
      const bool waits = activity == ActivityState::kWaitForSipi,
                 down = activity == ActivityState::kShutdown;
      std::optional<ExitReason> expected;
      if (interrupt && interrupt_open && !down && !waits) expected = ExitReason::kInterruptWindow;
      if (nmi && nmi_open && !blocked && !waits) expected = ExitReason::kNmiWindow;
      if (timer && expired && !waits) expected = ExitReason::kPreemptionTimerExpired;
      if (mtf && !down && !waits) expected = ExitReason::kMonitorTrapFlag;
      EXPECT_EQ(vmx.boundary_exits(interrupt_open, nmi_open), expected.has_value());
      if (!expected) continue;
      expect_exit(*expected);
      set(Field::kGuestActivityState, 0);
      resume();
    }
  }
}

TEST_F(EventSweep, InitAndSipiByActivity) {
  start();
  leave();
  enable(PrimaryProcBased::kInterruptWindowExiting);
  resume();
  for (const auto activity : {ActivityState::kActive, ActivityState::kHlt, ActivityState::kShutdown,
                              ActivityState::kWaitForSipi}) {
    const bool waits = activity == ActivityState::kWaitForSipi;
    cpu.cpu.activity = activity;
    EXPECT_EQ(vmx.sipi_exits(0x9a), waits);
    if (waits) {
      expect_exit(ExitReason::kSipi);
      EXPECT_EQ(get(Field::kExitQualification), 0x9au);
    } else {
      EXPECT_TRUE(vmx.init_exits());
      expect_exit(ExitReason::kInitSignal);
    }
    EXPECT_EQ(get(Field::kGuestActivityState), static_cast<uint64_t>(activity));
    EXPECT_FALSE(vmx.init_exits()) << "root operation";
    EXPECT_FALSE(vmx.sipi_exits(1));
    EXPECT_FALSE(vmx.triple_fault_exits());
    EXPECT_FALSE(vmx.nmi_exits());
    EXPECT_FALSE(vmx.external_interrupt_exits());
    EXPECT_FALSE(vmx.boundary_exits(true, true));
    EXPECT_FALSE(vmx.task_switch_exits(0, 0, no_operand()));
    set(Field::kGuestActivityState, 0);
    resume();
  }
}

TEST_F(EventSweep, EachTaskSwitch) {
  start();
  for (unsigned source = 0; source < 4; ++source) {
    for (const uint16_t selector : {uint16_t{0x8}, uint16_t{0xfff8}, uint16_t{0x1234}}) {
      EXPECT_TRUE(vmx.task_switch_exits(selector, static_cast<uint8_t>(source), no_operand(6)));
      expect_exit(ExitReason::kTaskSwitch);
      EXPECT_EQ(get(Field::kExitQualification), selector | source << 30);
      if (source != 3) {
        EXPECT_EQ(get(Field::kVmExitInstructionLength), 6u);
      }
      resume();
    }
  }
}

// The log: 512 entries, from the index downwards; the index wraps and the log is full.
TEST_F(EventSweep, ThePageModificationLog) {
  constexpr uint64_t kLog = 0x30000;
  prepare();
  enable(SecondaryProcBased::kEnableEpt);
  set(Field::kEptPointer, kEpt | 1u << 6);
  enable(SecondaryProcBased::kEnablePml);
  set(Field::kPmlAddress, kLog);
  set(Field::kPmlIndex, 511);
  ASSERT_EQ(vmlaunch(), "transfer");
  for (unsigned i = 0; i < 512; ++i) {
    EXPECT_FALSE(vmx.page_modification_log_is_full()) << i;
    vmx.log_page_modification(0xabc'0000'0fff + (uint64_t{i} << 12));
    EXPECT_EQ(get(Field::kPmlIndex), (510 - i) & 0xffff);
  }
  EXPECT_TRUE(vmx.page_modification_log_is_full());
  for (unsigned i = 0; i < 512; ++i)
    EXPECT_EQ(cpu.peek<uint64_t>(kLog + 8 * (511 - i)), 0xabc'0000'0000 + (uint64_t{i} << 12));
  vmx.page_modification_log_full();
  expect_exit(ExitReason::kPmlFull);
  EXPECT_EQ(get(Field::kExitQualification), 0u);
  for (const uint64_t index : {512u, 513u, 0x1000u, 0x8000u, 0xffffu}) {
    set(Field::kPmlIndex, index);
    resume();
    EXPECT_TRUE(vmx.page_modification_log_is_full()) << index;
    leave();
  }
}

// --- What a VM entry makes of it.

struct Injected {
  uint32_t information;
  bool vectoring;
};

TEST_F(EventSweep, NonRegisterStateAfterVmEntry) {
  const Injected injections[] = {{0, false},         {0x80000202, true}, {0x80000030, true},
                                 {0x80000306, true}, {0x80000480, true}, {0x80000501, true},
                                 {0x80000603, true}, {0x80000700, false}};
  start();
  for (const Injected& injected : injections) {
    const uint32_t type = injected.information >> 8 & 7;
    for (const bool virtual_nmis : {false, true}) {
      for (const uint64_t blocking : {0u, 1u, 2u, 8u, 9u, 10u}) {
        for (const uint64_t activity : {0u, 1u, 2u}) {
          for (const uint64_t pending : {0u, 0x3u, 0x1001u, 0x5000u}) {
            SCOPED_TRACE(::testing::Message()
                         << std::hex << injected.information << " virtual NMIs " << virtual_nmis
                         << " blocking " << blocking << " activity " << activity << " pending "
                         << pending);
            leave();
            disable(PinBased::kVirtualNmis);
            disable(PinBased::kNmiExiting);
            if (virtual_nmis) {
              enable(PinBased::kNmiExiting);
              enable(PinBased::kVirtualNmis);
            }
            set(Field::kVmEntryInterruptionInformation, injected.information);
            set(Field::kVmEntryInstructionLength, 1);
            set(Field::kGuestInterruptibilityState, blocking);
            set(Field::kGuestActivityState, activity);
            set(Field::kGuestPendingDebugExceptions, pending);
            // With BS goes a single-step trap that is due.
            set(Field::kGuestRflags, rflags::kFixed1 | rflags::kIf |
                                         ((pending & 0x4000) != 0 ? rflags::kTf : uint64_t{0}));
            sink.failures.clear();
            cpu.cpu.blocking_by_nmi = true;
            ASSERT_EQ(vmresume(), "transfer");
            if (!vmx.in_non_root()) {
              // A check forbids the combination; those are tested elsewhere.
              EXPECT_FALSE(sink.failures.empty());
              set(Field::kGuestInterruptibilityState, 0);
              set(Field::kGuestActivityState, 0);
              set(Field::kGuestPendingDebugExceptions, 0);
              set(Field::kVmEntryInterruptionInformation, 0);
              set(Field::kGuestRflags, rflags::kFixed1 | rflags::kIf);
              resume();
              continue;
            }
            const CpuState& s = cpu.cpu;
            const bool vectoring = injected.vectoring;
            EXPECT_EQ(s.blocking_by_sti, !vectoring && (blocking & 1));
            EXPECT_EQ(s.blocking_by_mov_ss, !vectoring && (blocking & 2));
            const bool nmi = (blocking & 8) || (vectoring && type == 2);
            EXPECT_EQ(s.blocking_by_nmi, nmi && !virtual_nmis);
            EXPECT_EQ(vmx.virtual_nmi_blocking(), nmi && virtual_nmis);
            EXPECT_EQ(static_cast<uint64_t>(s.activity), vectoring ? 0 : activity);
            // "Delivery of Pending Debug Exceptions after VM Entry": with neither enabled
            // breakpoint nor BS nothing is pending; injection drops the others, but for software
            // interrupts and exceptions under blocking by MOV SS.
            bool keeps = (pending & 0x5000) != 0 && activity != 2;
            if (vectoring)
              keeps = (pending & 0x5000) != 0 && (blocking & 2) && (type == 4 || type == 6);
            EXPECT_EQ(s.pending_debug_exceptions, keeps ? pending : 0);
            EXPECT_EQ(vmx.monitor_trap_flag_exits(),
                      type == 7 && static_cast<uint64_t>(s.activity) != 2);
            if (vmx.in_non_root()) continue;
            set(Field::kGuestActivityState, 0);
            set(Field::kGuestInterruptibilityState, 0);
            set(Field::kGuestPendingDebugExceptions, 0);
            set(Field::kGuestRflags, rflags::kFixed1 | rflags::kIf);
            resume();
          }
        }
      }
    }
  }
}

// Each interruption type as the processor is to deliver it.
TEST_F(EventSweep, EachInjectionIsHandedOn) {
  start();
  const std::pair<uint32_t, Event> injections[] = {
      {0x80000020, {EventType::kExternalInterrupt, 0x20, std::nullopt, 0, 0}},
      {0x800000ff, {EventType::kExternalInterrupt, 0xff, std::nullopt, 0, 0}},
      {0x80000202, {EventType::kNmi, 2, std::nullopt, 0, 0}},
      {0x80000b0d, {EventType::kHardwareException, kGp, 0x5a5a, 0, 0}},
      {0x80000300, {EventType::kHardwareException, kDe, std::nullopt, 0, 0}},
      {0x80000421, {EventType::kSoftwareInterrupt, 0x21, std::nullopt, 9, 0}},
      {0x80000501, {EventType::kPrivilegedSoftwareException, kDb, std::nullopt, 9, 0}},
      {0x80000604, {EventType::kSoftwareException, kOf, std::nullopt, 9, 0}},
  };
  for (const auto& [information, expected] : injections) {
    leave();
    set(Field::kVmEntryInterruptionInformation, information);
    set(Field::kVmEntryExceptionErrorCode, 0x5a5a);
    set(Field::kVmEntryInstructionLength, 9);
    cpu.injected.clear();
    resume();
    ASSERT_EQ(cpu.injected.size(), 1u) << std::hex << information;
    EXPECT_EQ(cpu.injected[0].type, expected.type);
    EXPECT_EQ(cpu.injected[0].vector, expected.vector);
    EXPECT_EQ(cpu.injected[0].error_code, expected.error_code);
    EXPECT_EQ(cpu.injected[0].instruction_length, expected.instruction_length);
    EXPECT_EQ(sink.entries.back().interruption_information, information);
    EXPECT_FALSE(vmx.boundary_exits(true, true)) << "no MTF VM exit is pending";
  }
  leave();
  set(Field::kVmEntryInterruptionInformation, 0x80000700);
  cpu.injected.clear();
  resume();
  EXPECT_TRUE(cpu.injected.empty());
  EXPECT_TRUE(vmx.boundary_exits(true, true)) << "a pending MTF VM exit";
  expect_exit(ExitReason::kMonitorTrapFlag);
  // With "monitor trap flag" the delivery of an injected event makes one pending.
  enable(PrimaryProcBased::kMonitorTrapFlag);
  resume();
  EXPECT_FALSE(vmx.boundary_exits(true, true));
  EXPECT_TRUE(vmx.monitor_trap_flag());
  leave();
  set(Field::kVmEntryInterruptionInformation, 0x80000020);
  resume();
  EXPECT_TRUE(vmx.boundary_exits(true, true));
  expect_exit(ExitReason::kMonitorTrapFlag);
}

// "Loading Guest Segment Registers and Descriptor-Table Registers", of unusable registers.
TEST_F(EventSweep, UnusableSegments) {
  start();
  constexpr uint64_t kBase = 0xffff'8765'4321'fedf;
  for (const SegmentRegister segment : {kEs, kSs, kDs, kFs, kGs, kLdtr}) {
    for (const uint64_t base : {kBase, uint64_t{0x1234'5678'9abc'def0}}) {
      const bool canonical = base == kBase;
      // The base addresses of FS and GS are checked, those of the others are not.
      if (!canonical && (segment == kFs || segment == kGs)) continue;
      leave();
      for (const SegmentRegister other : {kEs, kSs, kDs, kFs, kGs, kLdtr}) {
        set(guest_access_rights(other), other == kLdtr ? 0x82 : kData);
        set(guest_base(other), 0);
        set(guest_limit(other), other == kLdtr ? 0xff : 0xffffffff);
      }
      set(guest_access_rights(segment), AccessRights::kUnusable | 0x93);
      set(guest_base(segment), base);
      resume();
      const Segment& loaded = cpu.cpu.segment[segment];
      EXPECT_TRUE(loaded.rights.unusable());
      EXPECT_EQ(loaded.rights.default_big(), segment == kSs) << "B of SS is set";
      uint64_t expected = base;
      if (segment == kEs || segment == kDs) expected &= 0xffffffff;
      if (segment == kSs) expected &= 0xfffffff0;
      if (segment == kLdtr && !canonical) expected = 0;
      EXPECT_EQ(loaded.base, expected) << int{segment};
    }
  }
}

}  // namespace
}  // namespace nestor::vmx::test
