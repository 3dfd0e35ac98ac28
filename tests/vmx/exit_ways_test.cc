// SPDX-License-Identifier: GPL-2.0-or-later
//
// Every way out of the guest: what it saves of RFLAGS.RF ("Saving RIP, RSP, RFLAGS, and SSP"), of
// pending debug exceptions, activity and interruptibility ("Saving Non-Register State"), and which
// length it reports ("Information for VM Exits Due to Instruction Execution").
#include <functional>

#include "tests/vmx/vmx_fixture.h"

namespace nestor::vmx::test {
namespace {

class Bench : public VmxTest {
 public:
  Bench() : VmxTest(nestor_capabilities()) { prepare(); }
  void TestBody() override {}

  static constexpr uint64_t kVirtualApic = 0x20000;
  static constexpr uint8_t kLength = 5;
  static InstructionContext instruction() {
    InstructionContext c = no_operand(kLength);
    c.information = 0x77;
    return c;
  }
  void enable_virtual_interrupts() {
    enable(PrimaryProcBased::kUseTprShadow);
    set(Field::kVirtualApicAddress, kVirtualApic);
    enable(PinBased::kExternalInterruptExiting);
    enable(SecondaryProcBased::kVirtualInterruptDelivery);
  }

  using VmxTest::cpu;
  using VmxTest::enable;
  using VmxTest::get;
  using VmxTest::set;
  using VmxTest::vmlaunch;
  using VmxTest::vmx;
};

enum class Rf { kZero, kOne, kAsItWas };

struct Way {
  const char* name;
  ExitReason reason;
  Rf rf;
  bool keeps_pending_debug_exceptions;
  std::function<void(Bench&)> prepare;
  std::function<void(Bench&)> leave;
  unsigned length = 0;  // of the instruction; 0: undefined
  ActivityState activity = ActivityState::kActive;
};

Way instruction(const char* name, ExitReason reason, std::function<void(Bench&)> prepare,
                std::function<void(Bench&)> leave) {
  return {name, reason, Rf::kZero, false, std::move(prepare), std::move(leave), Bench::kLength};
}
void nothing(Bench&) {}
template <auto kControl>
void with(Bench& b) {
  b.enable(kControl);
}
template <ExitReason kReason>
void execute(Bench& b) {
  EXPECT_TRUE(b.vmx.instruction_exits(kReason, Bench::instruction()));
}
void reach_boundary(Bench& b) { EXPECT_TRUE(b.vmx.boundary_exits(true, true)); }
void reach_apic_exit(Bench& b) { EXPECT_TRUE(b.vmx.apic_exits()); }

std::vector<Way> instructions() {
  using enum ExitReason;
  return {
      instruction("CPUID", kCpuid, nothing, execute<kCpuid>),
      instruction("HLT", kHlt, with<PrimaryProcBased::kHltExiting>, execute<kHlt>),
      instruction("RDRAND", kRdrand, with<SecondaryProcBased::kRdrandExiting>, execute<kRdrand>),
      instruction("RDSEED", kRdseed, with<SecondaryProcBased::kRdseedExiting>, execute<kRdseed>),
      instruction("RDMSR", kRdmsr, nothing,
                  [](Bench& b) { EXPECT_TRUE(b.vmx.read_msr_exits(0x10, Bench::instruction())); }),
      instruction("WRMSR", kWrmsr, nothing,
                  [](Bench& b) { EXPECT_TRUE(b.vmx.write_msr_exits(0x10, Bench::instruction())); }),
      instruction("IN", kIoInstruction, with<PrimaryProcBased::kUnconditionalIoExiting>,
                  [](Bench& b) {
                    EXPECT_TRUE(b.vmx.io_exits({.port = 0x80, .in = true}, Bench::instruction()));
                  }),
      instruction(
          "MOV DR", kMovDr, with<PrimaryProcBased::kMovDrExiting>,
          [](Bench& b) { EXPECT_TRUE(b.vmx.mov_dr_exits(7, false, kRax, Bench::instruction())); }),
      instruction("MOV to CR3", kControlRegisterAccess, with<PrimaryProcBased::kCr3LoadExiting>,
                  [](Bench& b) {
                    uint64_t value = 0x5000;
                    EXPECT_TRUE(b.vmx.mov_to_cr_exits(3, kRax, value, Bench::instruction()));
                  }),
      instruction(
          "MOV from CR3", kControlRegisterAccess, with<PrimaryProcBased::kCr3StoreExiting>,
          [](Bench& b) { EXPECT_TRUE(b.vmx.mov_from_cr_exits(3, kRax, Bench::instruction())); }),
      instruction(
          "CLTS", kControlRegisterAccess,
          [](Bench& b) {
            b.set(Field::kCr0GuestHostMask, cr0::kTs);
            b.set(Field::kCr0ReadShadow, cr0::kTs);
          },
          [](Bench& b) { EXPECT_TRUE(b.vmx.clts_exits(Bench::instruction())); }),
      instruction(
          "LMSW", kControlRegisterAccess,
          [](Bench& b) { b.set(Field::kCr0GuestHostMask, cr0::kTs); },
          [](Bench& b) {
            uint64_t value = 0;
            EXPECT_TRUE(b.vmx.lmsw_exits(cr0::kTs, 0x1000, value, Bench::instruction()));
          }),
      instruction("VMCALL", kVmcall, nothing,
                  [](Bench& b) { (void)b.vmx.vmcall(Bench::instruction()); }),
      instruction("VMXOFF", kVmxoff, nothing,
                  [](Bench& b) { (void)b.vmx.vmxoff(Bench::instruction()); }),
      instruction("VMLAUNCH", kVmlaunch, nothing,
                  [](Bench& b) { (void)b.vmx.vmlaunch(Bench::instruction()); }),
      instruction("VMRESUME", kVmresume, nothing,
                  [](Bench& b) { (void)b.vmx.vmresume(Bench::instruction()); }),
      instruction("VMREAD", kVmread, nothing,
                  [](Bench& b) { (void)b.vmx.vmread(Bench::instruction()); }),
      instruction("VMWRITE", kVmwrite, nothing,
                  [](Bench& b) { (void)b.vmx.vmwrite(Bench::instruction()); }),
      instruction("VMFUNC", kVmfunc, with<SecondaryProcBased::kEnableVmFunctions>,
                  [](Bench& b) {
                    b.cpu.cpu.gpr[kRax] = 1;
                    (void)b.vmx.vmfunc(Bench::instruction());
                  }),
      instruction(
          "task switch", kTaskSwitch, nothing,
          [](Bench& b) { EXPECT_TRUE(b.vmx.task_switch_exits(0x48, 2, Bench::instruction())); }),
  };
}

// Their length is undefined but for events that have one.
std::vector<Way> accesses() {
  using enum ExitReason;
  return {
      {"APIC access", kApicAccess, Rf::kOne, false, nothing,
       [](Bench& b) { b.vmx.apic_access(0x80, Vmx::ApicAccess::kRead, Bench::kLength); }},
      {"EPT violation", kEptViolation, Rf::kOne, false, nothing,
       [](Bench& b) { b.vmx.ept_violation(0x181, 0x5000, 0x1000); }},
      {"EPT misconfiguration", kEptMisconfiguration, Rf::kOne, false, nothing,
       [](Bench& b) { b.vmx.ept_misconfiguration(0x5000); }},
      {"log full", kPmlFull, Rf::kOne, false, nothing,
       [](Bench& b) { b.vmx.page_modification_log_full(); }},
      {"SPP miss", kSppRelatedEvent, Rf::kOne, false, nothing,
       [](Bench& b) { b.vmx.sub_page_event(0x800, 0x5000, 0x1000); }},
  };
}

std::vector<Way> events() {
  using enum ExitReason;
  return {
      {"external interrupt", kExternalInterrupt, Rf::kAsItWas, false,
       with<PinBased::kExternalInterruptExiting>,
       [](Bench& b) { EXPECT_TRUE(b.vmx.external_interrupt_exits()); }},
      {"acknowledged interrupt", kExternalInterrupt, Rf::kAsItWas, false,
       [](Bench& b) {
         b.enable(PinBased::kExternalInterruptExiting);
         b.enable(VmExitControl::kAcknowledgeInterruptOnExit);
       },
       [](Bench& b) { EXPECT_TRUE(b.vmx.external_interrupt_exits()); }},
      {"NMI", kExceptionOrNmi, Rf::kAsItWas, false, with<PinBased::kNmiExiting>,
       [](Bench& b) { EXPECT_TRUE(b.vmx.nmi_exits()); }},
      {"#GP", kExceptionOrNmi, Rf::kOne, false,
       [](Bench& b) { b.set(Field::kExceptionBitmap, 1u << kGp); },
       [](Bench& b) { EXPECT_TRUE(b.vmx.exception_exits(exception(kGp, 0))); }},
      {"#MC", kExceptionOrNmi, Rf::kAsItWas, true,
       [](Bench& b) { b.set(Field::kExceptionBitmap, 1u << kMc); },
       [](Bench& b) { EXPECT_TRUE(b.vmx.exception_exits(exception(kMc))); }},
      {"triple fault", kTripleFault, Rf::kAsItWas, false, nothing,
       [](Bench& b) { EXPECT_TRUE(b.vmx.triple_fault_exits()); }},
      {"INIT", kInitSignal, Rf::kAsItWas, true, nothing,
       [](Bench& b) { EXPECT_TRUE(b.vmx.init_exits()); }, 0, ActivityState::kHlt},
      {"SIPI", kSipi, Rf::kAsItWas, false, nothing,
       [](Bench& b) { EXPECT_TRUE(b.vmx.sipi_exits(0x12)); }, 0, ActivityState::kWaitForSipi},
      {"interrupt window", kInterruptWindow, Rf::kAsItWas, false,
       with<PrimaryProcBased::kInterruptWindowExiting>, reach_boundary, 0, ActivityState::kHlt},
      {"NMI window", kNmiWindow, Rf::kAsItWas, false,
       [](Bench& b) {
         b.enable(PinBased::kNmiExiting);
         b.enable(PinBased::kVirtualNmis);
         b.enable(PrimaryProcBased::kNmiWindowExiting);
       },
       reach_boundary, 0, ActivityState::kShutdown},
      {"preemption timer", kPreemptionTimerExpired, Rf::kAsItWas, false,
       with<PinBased::kActivatePreemptionTimer>, reach_boundary, 0, ActivityState::kHlt},
      {"MTF", kMonitorTrapFlag, Rf::kAsItWas, true, nothing,
       [](Bench& b) {
         b.vmx.set_monitor_trap_flag_pending();
         EXPECT_TRUE(b.vmx.monitor_trap_flag_exits());
       }},
      {"TPR below threshold", kTprBelowThreshold, Rf::kAsItWas, true,
       [](Bench& b) {
         b.enable(PrimaryProcBased::kUseTprShadow);
         b.set(Field::kVirtualApicAddress, Bench::kVirtualApic);
         b.cpu.poke<uint32_t>(Bench::kVirtualApic + 0x80, 0x50);
         b.set(Field::kTprThreshold, 5);
       },
       [](Bench& b) {
         EXPECT_TRUE(b.vmx.write_virtual_cr8(4));
         reach_apic_exit(b);
       }},
      {"virtualized EOI", kVirtualizedEoi, Rf::kAsItWas, true,
       [](Bench& b) {
         b.enable_virtual_interrupts();
         b.set(Field::kEoiExitBitmap0, 1ull << 0x33);
         b.set(Field::kGuestInterruptStatus, 0x3300);
       },
       [](Bench& b) {
         b.vmx.apic_written(0xb0);
         reach_apic_exit(b);
       }},
      {"APIC write", kApicWrite, Rf::kAsItWas, true,
       [](Bench& b) { b.enable_virtual_interrupts(); },
       [](Bench& b) {
         b.vmx.apic_written(0x320);
         reach_apic_exit(b);
       }},
  };
}

std::vector<Way> every_way() {
  std::vector<Way> all;
  for (const std::vector<Way>& part : {instructions(), accesses(), events()})
    all.insert(all.end(), part.begin(), part.end());
  return all;
}

TEST(ExitWays, SaveRfAndPendingDebugExceptions) {
  constexpr uint64_t kPending = 0x5003;
  for (const Way& way : every_way()) {
    for (const bool rf : {false, true}) {
      for (const bool mov_ss : {false, true}) {
        SCOPED_TRACE(::testing::Message()
                     << way.name << (rf ? ", RF" : "") << (mov_ss ? ", MOV SS" : ""));
        Bench b;
        way.prepare(b);
        ASSERT_EQ(b.vmlaunch(), "transfer");
        ASSERT_TRUE(b.vmx.in_non_root());
        CpuState& s = b.cpu.cpu;
        s.rflags = rflags::kFixed1 | rflags::kIf | (rf ? rflags::kRf : 0);
        s.pending_debug_exceptions = kPending;
        s.blocking_by_mov_ss = mov_ss;
        s.activity = way.activity;
        s.rip = 0x1234;
        way.leave(b);
        ASSERT_FALSE(b.vmx.in_non_root());
        EXPECT_EQ(b.get(Field::kExitReason), static_cast<uint64_t>(way.reason));
        const bool saved_rf = way.rf == Rf::kOne || (way.rf == Rf::kAsItWas && rf);
        EXPECT_EQ(b.get(Field::kGuestRflags),
                  rflags::kFixed1 | rflags::kIf | (saved_rf ? rflags::kRf : 0));
        EXPECT_EQ(b.get(Field::kGuestPendingDebugExceptions),
                  way.keeps_pending_debug_exceptions || mov_ss ? kPending : 0u);
        EXPECT_EQ(b.get(Field::kGuestRip), 0x1234u);
        EXPECT_EQ(b.get(Field::kGuestActivityState), static_cast<uint64_t>(way.activity));
        EXPECT_EQ(b.get(Field::kGuestInterruptibilityState), mov_ss ? 2u : 0u);
        EXPECT_EQ(b.get(Field::kIdtVectoringInformation) >> 31, 0u);
        if (way.length != 0) {
          EXPECT_EQ(b.get(Field::kVmExitInstructionLength), way.length);
        }
        EXPECT_EQ(s.blocking_by_nmi, std::string_view(way.name) == "NMI");
      }
    }
  }
}

// What an access that exits during the delivery of an event saves: RF as the delivery would have
// pushed it, the event, and its length if it is a software event's.
TEST(ExitWays, AccessesDuringDelivery) {
  struct Delivered {
    Event event;
    uint32_t information;
    Rf rf;
  };
  const Delivered deliveries[] = {
      {{EventType::kExternalInterrupt, 0x30, std::nullopt, 0, 0}, 0x80000030, Rf::kAsItWas},
      {{EventType::kNmi, kNmi, std::nullopt, 0, 0}, 0x80000202, Rf::kAsItWas},
      {exception(kGp, 0x18), 0x80000b0d, Rf::kOne},
      {exception(kUd), 0x80000306, Rf::kOne},
      {{EventType::kSoftwareInterrupt, 0x80, std::nullopt, 2, 0}, 0x80000480, Rf::kZero},
      {{EventType::kPrivilegedSoftwareException, kDb, std::nullopt, 1, 0}, 0x80000501, Rf::kZero},
      {{EventType::kSoftwareException, kBp, std::nullopt, 1, 0}, 0x80000603, Rf::kZero},
  };
  for (const Way& way : accesses()) {
    for (const Delivered& delivery : deliveries) {
      for (const bool rf : {false, true}) {
        SCOPED_TRACE(::testing::Message() << way.name << ", vector " << int{delivery.event.vector}
                                          << (rf ? ", RF" : ""));
        Bench b;
        way.prepare(b);
        ASSERT_EQ(b.vmlaunch(), "transfer");
        CpuState& s = b.cpu.cpu;
        s.rflags = rflags::kFixed1 | (rf ? rflags::kRf : 0);
        s.activity = ActivityState::kHlt;
        s.blocking_by_sti = s.blocking_by_mov_ss = true;
        s.pending_debug_exceptions = 0x1001;
        b.vmx.set_vectoring(delivery.event);
        way.leave(b);
        EXPECT_EQ(b.get(Field::kExitReason), static_cast<uint64_t>(way.reason));
        EXPECT_EQ(b.get(Field::kIdtVectoringInformation), delivery.information);
        if (delivery.event.error_code) {
          EXPECT_EQ(b.get(Field::kIdtVectoringErrorCode), *delivery.event.error_code);
        }
        if (delivery.event.instruction_length != 0) {
          EXPECT_EQ(b.get(Field::kVmExitInstructionLength), delivery.event.instruction_length);
        }
        const bool saved_rf = delivery.rf == Rf::kOne || (delivery.rf == Rf::kAsItWas && rf);
        EXPECT_EQ(b.get(Field::kGuestRflags), rflags::kFixed1 | (saved_rf ? rflags::kRf : 0));
        EXPECT_EQ(b.get(Field::kGuestActivityState), 0u) << "the event has ended the inactivity";
        EXPECT_EQ(b.get(Field::kGuestInterruptibilityState), 0u) << "and the blocking";
        EXPECT_EQ(b.get(Field::kGuestPendingDebugExceptions), 0u);
      }
    }
  }
}

// "Information About NMI Unblocking Due to IRET": which exits report it, and where.
TEST(ExitWays, NmiUnblockingDueToIret) {
  for (const bool virtual_nmis : {false, true}) {
    for (const Way& way : every_way()) {
      SCOPED_TRACE(::testing::Message() << way.name << (virtual_nmis ? ", virtual NMIs" : ""));
      if (way.reason == ExitReason::kNmiWindow || std::string_view(way.name) == "NMI") continue;
      Bench b;
      way.prepare(b);
      if (virtual_nmis) {
        b.enable(PinBased::kNmiExiting);
        b.enable(PinBased::kVirtualNmis);
      }
      b.set(Field::kGuestInterruptibilityState, 8);
      ASSERT_EQ(b.vmlaunch(), "transfer");
      b.cpu.cpu.activity = way.activity;
      b.vmx.begin_iret();
      way.leave(b);
      const bool in_qualification = way.reason == ExitReason::kEptViolation ||
                                    way.reason == ExitReason::kPmlFull ||
                                    way.reason == ExitReason::kSppRelatedEvent;
      // "... resulted from a memory access".
      const bool is_fault = std::string_view(way.name) == "#GP";
      if (in_qualification) {
        EXPECT_EQ(b.get(Field::kExitQualification) >> 12 & 1, 1u);
      }
      if (is_fault) {
        EXPECT_EQ(b.get(Field::kVmExitInterruptionInformation) >> 12 & 1, 0u);
      }
      EXPECT_EQ(b.get(Field::kGuestInterruptibilityState), 0u) << "the blocking has ended";
    }
  }
}

}  // namespace
}  // namespace nestor::vmx::test
