// SPDX-License-Identifier: GPL-2.0-or-later
//
// VM exit: the recorded information, the saved guest state, the loaded host state.
#include <functional>

#include "tests/vmx/vmx_fixture.h"

namespace nestor::vmx::test {
namespace {

using VmExit = VmxTest;

TEST_F(VmExit, SavesTheGuestState) {
  start();
  CpuState& s = cpu.cpu;
  s.rip = 0x1234;
  s.gpr[kRsp] = 0x5678;
  s.gpr[kRbx] = 0x99;
  s.cr3 = 0x21000;
  s.cr4 |= cr4::kPge;
  s.cr0 |= cr0::kTs;
  s.segment[kGs] = {0x2b, {0xc0f3}, 0xfffff, 0x7777};
  s.segment[kEs].rights.value |= AccessRights::kUnusable;
  s.gdtr = {0x1000, 0x1f};
  s.sysenter_esp = 0x3333;
  vmx.triple_fault_exits();
  expect_exit(ExitReason::kTripleFault);
  EXPECT_EQ(get(Field::kGuestRip), 0x1234u);
  EXPECT_EQ(get(Field::kGuestRsp), 0x5678u);
  EXPECT_EQ(get(Field::kGuestCr3), 0x21000u);
  EXPECT_EQ(get(Field::kGuestCr4), cr4::kPae | cr4::kVmxe | cr4::kPge);
  EXPECT_EQ(get(Field::kGuestCr0), cr0::kPe | cr0::kEt | cr0::kNe | cr0::kPg | cr0::kTs);
  EXPECT_EQ(get(guest_selector(kGs)), 0x2bu);
  EXPECT_EQ(get(guest_access_rights(kGs)), 0xc0f3u);
  EXPECT_EQ(get(guest_limit(kGs)), 0xfffffu);
  EXPECT_EQ(get(guest_base(kGs)), 0x7777u);
  EXPECT_TRUE(get(guest_access_rights(kEs)) & AccessRights::kUnusable);
  EXPECT_EQ(get(Field::kGuestGdtrBase), 0x1000u);
  EXPECT_EQ(get(Field::kGuestGdtrLimit), 0x1fu);
  EXPECT_EQ(get(Field::kGuestIa32SysenterEsp), 0x3333u);
  EXPECT_EQ(s.gpr[kRbx], 0x99u) << "general-purpose registers are not touched";
}

TEST_F(VmExit, LoadsTheHostState) {
  start();
  CpuState& s = cpu.cpu;
  s.cr0 |= cr0::kCd;
  s.dr7 = 0x4ff;
  s.debugctl = 1;
  s.rflags |= rflags::kTf;
  s.activity = ActivityState::kHlt;
  s.pending_debug_exceptions = 0x4000;
  vmx.triple_fault_exits();
  EXPECT_EQ(s.rip, kHostRip);
  EXPECT_EQ(s.gpr[kRsp], kHostRsp);
  EXPECT_EQ(s.rflags, rflags::kFixed1);
  EXPECT_EQ(s.cr0, cr0::kPe | cr0::kMp | cr0::kEt | cr0::kNe | cr0::kWp | cr0::kPg | cr0::kCd)
      << "CD is not modified";
  EXPECT_EQ(s.cr3, 0x10000u);
  EXPECT_EQ(s.dr7, 0x400u);
  EXPECT_EQ(s.debugctl, 0u);
  EXPECT_EQ(s.efer, efer::kSce | efer::kLme | efer::kLma);
  EXPECT_EQ(s.segment[kCs], (Segment{0x08, {0xa09b}, 0xffffffff, 0}));
  EXPECT_EQ(s.segment[kSs], (Segment{0x10, {0xc093}, 0xffffffff, 0}));
  EXPECT_EQ(s.segment[kFs], (Segment{0x10, {0xc093}, 0xffffffff, 0xffff800000001000}));
  EXPECT_EQ(s.segment[kGs].base, 0xffff800000002000);
  EXPECT_EQ(s.segment[kTr], (Segment{0x18, {0x8b}, 0x67, 0xffff800000003000}));
  EXPECT_EQ(s.segment[kLdtr].selector, 0);
  EXPECT_TRUE(s.segment[kLdtr].rights.unusable());
  EXPECT_EQ(s.gdtr, (DescriptorTable{0xffff800000004000, 0xffff}));
  EXPECT_EQ(s.idtr, (DescriptorTable{0xffff800000005000, 0xffff}));
  EXPECT_EQ(s.sysenter_cs, 8u);
  EXPECT_EQ(s.sysenter_esp, 0xffff800000006000);
  EXPECT_EQ(s.sysenter_eip, 0xffff800000007000);
  EXPECT_EQ(s.activity, ActivityState::kActive);
  EXPECT_EQ(s.pending_debug_exceptions, 0u);
  EXPECT_EQ(s.cpl(), 0);
}

TEST_F(VmExit, NullHostSelectorsAreUnusableButKeepTheirBase) {
  prepare();
  set(Field::kHostFsSelector, 0);
  set(Field::kHostSsSelector, 0);
  ASSERT_EQ(vmlaunch(), "transfer");
  vmx.triple_fault_exits();
  EXPECT_TRUE(cpu.cpu.segment[kFs].rights.unusable());
  EXPECT_EQ(cpu.cpu.segment[kFs].base, 0xffff800000001000);
  EXPECT_TRUE(cpu.cpu.segment[kSs].rights.unusable());
  EXPECT_EQ(cpu.cpu.cpl(), 0);
}

TEST_F(VmExit, SavesAndLoadsByControl) {
  prepare();
  disable(VmExitControl::kSaveDebugControls);
  ASSERT_EQ(vmlaunch(), "transfer");
  const auto change = [&] {
    cpu.cpu.dr7 = 0x455;
    cpu.cpu.debugctl = 2;
    cpu.cpu.pat = 0x0606060606060606;
    cpu.cpu.efer |= efer::kNxe;
    cpu.cpu.perf_global_ctrl = 3;
  };
  change();
  vmx.triple_fault_exits();
  EXPECT_EQ(get(Field::kGuestDr7), 0x400u);
  EXPECT_EQ(get(Field::kGuestIa32Pat), 0u);
  EXPECT_EQ(get(Field::kGuestIa32Efer), 0u);
  EXPECT_EQ(cpu.cpu.pat, 0x0606060606060606u) << "left alone";
  EXPECT_EQ(cpu.cpu.perf_global_ctrl, 3u);
  EXPECT_EQ(cpu.cpu.efer, efer::kSce | efer::kLme | efer::kLma | efer::kNxe);

  for (const auto control :
       {VmExitControl::kSaveDebugControls, VmExitControl::kSavePat, VmExitControl::kSaveEfer,
        VmExitControl::kLoadPat, VmExitControl::kLoadEfer, VmExitControl::kLoadPerfGlobalCtrl})
    enable(control);
  set(Field::kHostIa32PerfGlobalCtrl, 0x7'0000'0000);
  set(Field::kHostIa32Pat, 0x0007040600070406);
  set(Field::kHostIa32Efer, efer::kLme | efer::kLma);
  resume();
  change();
  vmx.triple_fault_exits();
  EXPECT_EQ(get(Field::kGuestDr7), 0x455u);
  EXPECT_EQ(get(Field::kGuestIa32Debugctl), 2u);
  EXPECT_EQ(get(Field::kGuestIa32Pat), 0x0606060606060606u);
  EXPECT_EQ(get(Field::kGuestIa32Efer), efer::kSce | efer::kLme | efer::kLma | efer::kNxe);
  EXPECT_EQ(cpu.cpu.pat, 0x0007040600070406u);
  EXPECT_EQ(cpu.cpu.efer, efer::kLme | efer::kLma);
  EXPECT_EQ(cpu.cpu.perf_global_ctrl, 0x7'0000'0000u);
}

TEST_F(VmExit, StoresIa32eModeIntoTheEntryControls) {
  start();
  cpu.cpu.efer &= ~efer::kLma;  // the guest has left IA-32e mode
  vmx.triple_fault_exits();
  EXPECT_FALSE(get(Field::kVmEntryControls) & mask(VmEntryControl::kIa32eModeGuest));
  EXPECT_TRUE(cpu.cpu.long_mode_active());
}

// --- Exceptions.

TEST_F(VmExit, ExceptionInformation) {
  prepare();
  set(Field::kExceptionBitmap, 1u << kGp | 1u << kUd);
  ASSERT_EQ(vmlaunch(), "transfer");
  EXPECT_FALSE(vmx.exception_exits(exception(kNp, 0x10)));
  EXPECT_TRUE(vmx.exception_exits(exception(kGp, 0x18)));
  expect_exit(ExitReason::kExceptionOrNmi);
  EXPECT_EQ(get(Field::kVmExitInterruptionInformation), 0x80000b0du);
  EXPECT_EQ(get(Field::kVmExitInterruptionErrorCode), 0x18u);
  EXPECT_EQ(get(Field::kIdtVectoringInformation), 0u);
  EXPECT_TRUE(get(Field::kGuestRflags) & rflags::kRf) << "a fault pushes RF as 1";
  resume();
  EXPECT_TRUE(vmx.exception_exits(exception(kUd)));
  EXPECT_EQ(get(Field::kVmExitInterruptionInformation), 0x80000306u);
  EXPECT_EQ(sink.exits.back().interruption_information, 0x80000306u);
}

TEST_F(VmExit, ExceptionsInRealModeHaveNoErrorCode) {
  prepare();
  set(Field::kExceptionBitmap, 1u << kGp);
  ASSERT_EQ(vmlaunch(), "transfer");
  cpu.cpu.cr0 &= ~cr0::kPe;
  EXPECT_TRUE(vmx.exception_exits(exception(kGp, 0)));
  EXPECT_EQ(get(Field::kVmExitInterruptionInformation), 0x8000030du);
}

TEST_F(VmExit, PageFaultMaskAndMatch) {
  prepare();
  set(Field::kExceptionBitmap, 1u << kPf);
  set(Field::kPageFaultErrorCodeMask, 1);
  set(Field::kPageFaultErrorCodeMatch, 1);
  ASSERT_EQ(vmlaunch(), "transfer");
  cpu.cpu.cr2 = 0x42;
  EXPECT_FALSE(vmx.exception_exits(exception(kPf, 2, 0xffff888800001000)));
  EXPECT_TRUE(vmx.exception_exits(exception(kPf, 3, 0xffff888800001000)));
  EXPECT_EQ(get(Field::kExitQualification), 0xffff888800001000);
  EXPECT_EQ(get(Field::kVmExitInterruptionInformation), 0x80000b0eu);
  EXPECT_EQ(get(Field::kVmExitInterruptionErrorCode), 3u);
  EXPECT_EQ(cpu.cpu.cr2, 0x42u);
  set(Field::kExceptionBitmap, 0);
  resume();
  EXPECT_FALSE(vmx.exception_exits(exception(kPf, 3)));
  EXPECT_TRUE(vmx.exception_exits(exception(kPf, 2))) << "no match reverses the bitmap";
}

TEST_F(VmExit, PageFaultAddressOutside64BitModeHas32Bits) {
  prepare();
  set(Field::kExceptionBitmap, 1u << kPf);
  ASSERT_EQ(vmlaunch(), "transfer");
  cpu.cpu.segment[kCs].rights.value = 0xc09b;
  EXPECT_TRUE(vmx.exception_exits(exception(kPf, 0, 0x1'2345'6789)));
  EXPECT_EQ(get(Field::kExitQualification), 0x23456789u);
}

TEST_F(VmExit, DebugExceptionLeavesDr6AndGivesItsBits) {
  prepare();
  set(Field::kExceptionBitmap, 1u << kDb);
  ASSERT_EQ(vmlaunch(), "transfer");
  cpu.cpu.dr6 = 0xffff0ff0;
  cpu.cpu.pending_debug_exceptions = 0x4000;
  EXPECT_TRUE(vmx.exception_exits(exception(kDb, std::nullopt, 0x4001)));
  EXPECT_EQ(get(Field::kExitQualification), 0x4001u);
  EXPECT_EQ(cpu.cpu.dr6, 0xffff0ff0u);
  EXPECT_EQ(get(Field::kGuestPendingDebugExceptions), 0u);
  EXPECT_FALSE(get(Field::kGuestRflags) & rflags::kRf);
}

TEST_F(VmExit, SoftwareExceptionsReportTheirLength) {
  prepare();
  set(Field::kExceptionBitmap, 1u << kBp);
  ASSERT_EQ(vmlaunch(), "transfer");
  EXPECT_FALSE(vmx.exception_exits({EventType::kSoftwareInterrupt, kBp, std::nullopt, 2, 0}))
      << "INT 3 of two bytes is a software interrupt";
  EXPECT_TRUE(vmx.exception_exits({EventType::kSoftwareException, kBp, std::nullopt, 1, 0}));
  EXPECT_EQ(get(Field::kVmExitInterruptionInformation), 0x80000603u);
  EXPECT_EQ(get(Field::kVmExitInstructionLength), 1u);
}

TEST_F(VmExit, NmiBlocksNmisAfterTheExit) {
  prepare();
  ASSERT_EQ(vmlaunch(), "transfer");
  EXPECT_FALSE(vmx.nmi_exits());
  vmx.triple_fault_exits();
  enable(PinBased::kNmiExiting);
  resume();
  EXPECT_TRUE(vmx.nmi_exits());
  expect_exit(ExitReason::kExceptionOrNmi);
  EXPECT_EQ(get(Field::kVmExitInterruptionInformation), 0x80000202u);
  EXPECT_EQ(get(Field::kGuestInterruptibilityState), 0u) << "not before it completes";
  EXPECT_TRUE(cpu.cpu.blocking_by_nmi);
}

TEST_F(VmExit, ExternalInterrupts) {
  prepare();
  ASSERT_EQ(vmlaunch(), "transfer");
  EXPECT_FALSE(vmx.external_interrupt_exits());
  vmx.triple_fault_exits();
  enable(PinBased::kExternalInterruptExiting);
  resume();
  EXPECT_TRUE(vmx.external_interrupt_exits());
  expect_exit(ExitReason::kExternalInterrupt);
  EXPECT_EQ(get(Field::kVmExitInterruptionInformation), 0u);
  EXPECT_EQ(cpu.acknowledged, 0);
  enable(VmExitControl::kAcknowledgeInterruptOnExit);
  cpu.interrupt_vector = 0x51;
  resume();
  EXPECT_TRUE(vmx.external_interrupt_exits());
  EXPECT_EQ(get(Field::kVmExitInterruptionInformation), 0x80000051u);
  EXPECT_EQ(cpu.acknowledged, 1);
}

TEST_F(VmExit, InitAndSipi) {
  start();
  EXPECT_FALSE(vmx.sipi_exits(0x12)) << "not waiting for it";
  cpu.cpu.activity = ActivityState::kWaitForSipi;
  EXPECT_FALSE(vmx.init_exits()) << "blocked";
  EXPECT_TRUE(vmx.sipi_exits(0x12));
  expect_exit(ExitReason::kSipi);
  EXPECT_EQ(get(Field::kExitQualification), 0x12u);
  set(Field::kGuestActivityState, 0);
  resume();
  cpu.cpu.pending_debug_exceptions = 0x4000;
  EXPECT_TRUE(vmx.init_exits());
  expect_exit(ExitReason::kInitSignal);
  EXPECT_EQ(get(Field::kGuestPendingDebugExceptions), 0x4000u);
}

TEST_F(VmExit, PendingDebugExceptionsUnderMovSsBlocking) {
  start();
  cpu.cpu.pending_debug_exceptions = 0x1002;
  vmx.triple_fault_exits();
  EXPECT_EQ(get(Field::kGuestPendingDebugExceptions), 0u);
  resume();
  cpu.cpu.pending_debug_exceptions = 0x1002;
  cpu.cpu.blocking_by_mov_ss = true;
  EXPECT_TRUE(vmx.instruction_exits(ExitReason::kCpuid, no_operand(2)));
  EXPECT_EQ(get(Field::kGuestPendingDebugExceptions), 0x1002u);
  EXPECT_EQ(get(Field::kGuestInterruptibilityState), 2u);
}

TEST_F(VmExit, MachineChecksKeepPendingDebugExceptions) {
  prepare();
  set(Field::kExceptionBitmap, 1u << kMc);
  ASSERT_EQ(vmlaunch(), "transfer");
  cpu.cpu.pending_debug_exceptions = 0x1001;
  EXPECT_TRUE(vmx.exception_exits(exception(kMc)));
  EXPECT_EQ(get(Field::kGuestPendingDebugExceptions), 0x1001u);
}

TEST_F(VmExit, ExitsBetweenInstructionsSaveRfAsItIs) {
  prepare();
  enable(PrimaryProcBased::kInterruptWindowExiting);
  ASSERT_EQ(vmlaunch(), "transfer");
  cpu.cpu.rflags |= rflags::kRf;
  EXPECT_TRUE(vmx.boundary_exits(true, true));
  EXPECT_TRUE(get(Field::kGuestRflags) & rflags::kRf);
}

TEST_F(VmExit, EptViolationsDropTheMappingsOfTheirAddresses) {
  prepare();
  enable(SecondaryProcBased::kEnableVpid);
  set(Field::kVirtualProcessorIdentifier, 3);
  ASSERT_EQ(vmlaunch(), "transfer");
  cpu.cpu.segment[kCs].rights.value = 0xc09b;
  vmx.ept_violation(0x181, 0x5000, 0x1'0000'1000);
  ASSERT_EQ(cpu.invalidations.size(), 1u);
  EXPECT_EQ(cpu.invalidations[0].kind, Invalidation::Kind::kEptViolation);
  EXPECT_EQ(cpu.invalidations[0].vpid, 3);
  EXPECT_EQ(cpu.invalidations[0].guest_physical, 0x5000u);
  EXPECT_TRUE(cpu.invalidations[0].linear_translated);
  EXPECT_EQ(cpu.invalidations[0].linear, 0x1000u);
  EXPECT_EQ(get(Field::kGuestLinearAddress), 0x1000u) << "32 bits outside 64-bit mode";

  resume();
  vmx.ept_violation(0x81, 0x6000, 0x1000);
  EXPECT_FALSE(cpu.invalidations.back().linear_translated) << "a page walk";

  resume();
  vmx.ept_violation(1, 0x6000, std::nullopt);
  EXPECT_EQ(cpu.invalidations.back().linear, 0u) << "PDPTEs: no linear address";
}

// "Bits 63:32 are cleared if the logical processor was not in 64-bit mode", and no others.
TEST_F(VmExit, LinearAddressesOutside64BitModeHave32Bits) {
  struct Way {
    const char* name;
    Field field;
    std::function<void(uint64_t)> leave;
  };
  const Way ways[] = {
      {"#PF", Field::kExitQualification,
       [&](uint64_t a) { vmx.exception_exits(exception(kPf, 0, a)); }},
      {"INVLPG", Field::kExitQualification,
       [&](uint64_t a) { vmx.instruction_exits(ExitReason::kInvlpg, no_operand(), a); }},
      {"LMSW", Field::kGuestLinearAddress,
       [&](uint64_t a) {
         uint64_t value = 0;
         vmx.lmsw_exits(cr0::kTs, a, value, no_operand());
       }},
      {"OUTS", Field::kGuestLinearAddress,
       [&](uint64_t a) { vmx.io_exits({.port = 1, .string = true, .linear = a}, no_operand()); }},
      {"EPT violation", Field::kGuestLinearAddress,
       [&](uint64_t a) { vmx.ept_violation(0x181, 0x5000, a); }},
      {"SPP miss", Field::kGuestLinearAddress,
       [&](uint64_t a) { vmx.sub_page_event(0x800, 0x5000, a); }},
  };
  prepare();
  set(Field::kExceptionBitmap, 1u << kPf);
  enable(PrimaryProcBased::kInvlpgExiting);
  enable(PrimaryProcBased::kUnconditionalIoExiting);
  set(Field::kCr0GuestHostMask, cr0::kTs);
  ASSERT_EQ(vmlaunch(), "transfer");
  for (const Way& way : ways) {
    for (const uint64_t address : {~uint64_t{0}, uint64_t{0x8765'4321'1234'5678}}) {
      for (const bool long_mode : {true, false}) {
        cpu.cpu.segment[kCs].rights.value = long_mode ? kCode64 : 0xc09b;
        way.leave(address);
        ASSERT_FALSE(vmx.in_non_root()) << way.name;
        EXPECT_EQ(get(way.field), long_mode ? address : address & 0xffffffff) << way.name;
        set(Field::kGuestCsAccessRights, kCode64);
        resume();
      }
    }
  }
}

TEST_F(VmExit, SavesPdptesOnlyOfPaePagingUnderEpt) {
  constexpr Field kPdptes[] = {Field::kGuestPdpte0, Field::kGuestPdpte1, Field::kGuestPdpte2,
                               Field::kGuestPdpte3};
  start();
  for (unsigned bits = 0; bits < 16; ++bits) {
    const bool ept = bits & 1, paging = bits & 2, pae = bits & 4, long_mode = bits & 8;
    vmx.triple_fault_exits();
    set(Field::kGuestCr0, cr0::kPe | cr0::kEt | cr0::kNe | cr0::kPg);
    set(Field::kGuestCr4, cr4::kPae | cr4::kVmxe);
    set(Field::kVmEntryControls,
        get(Field::kVmEntryControls) | mask(VmEntryControl::kIa32eModeGuest));
    enable(SecondaryProcBased::kEnableEpt);
    set(Field::kEptPointer, kEpt);
    if (!ept) disable(SecondaryProcBased::kEnableEpt);
    for (const Field field : kPdptes) set(field, 0x99001);
    resume();
    CpuState& s = cpu.cpu;
    s.cr0 = cr0::kPe | cr0::kNe | (paging ? cr0::kPg : 0);
    s.cr4 = cr4::kVmxe | (pae ? cr4::kPae : 0);
    s.efer = long_mode ? efer::kLme | efer::kLma : 0;
    s.pdptes = {0x10001, 0x11001, 0x12001, 0x13001};
    vmx.triple_fault_exits();
    const bool saved = ept && paging && pae && !long_mode;
    for (size_t i = 0; i < 4; ++i)
      EXPECT_EQ(get(kPdptes[i]), saved ? s.pdptes[i] : 0x99001u) << bits;
    EXPECT_EQ(s.pdptes[3], 0x13001u);
    set(Field::kGuestCr0, cr0::kPe | cr0::kEt | cr0::kNe | cr0::kPg);
    set(Field::kGuestCr4, cr4::kPae | cr4::kVmxe);
    set(Field::kVmEntryControls,
        get(Field::kVmEntryControls) | mask(VmEntryControl::kIa32eModeGuest));
    resume();
  }
}

// What one guest leaves pending is not there for the next.
TEST_F(VmExit, LeavesNothingForTheNextEntry) {
  constexpr uint64_t kVirtualApic = 0x20000;
  prepare();
  enable(PinBased::kActivatePreemptionTimer);
  enable(PinBased::kNmiExiting);
  enable(PinBased::kVirtualNmis);
  enable(PinBased::kExternalInterruptExiting);
  enable(PrimaryProcBased::kUseTprShadow);
  set(Field::kVirtualApicAddress, kVirtualApic);
  enable(SecondaryProcBased::kVirtualInterruptDelivery);
  enable(SecondaryProcBased::kPauseLoopExiting);
  set(Field::kPleGap, 1000);
  set(Field::kGuestInterruptStatus, 0x45);
  set(Field::kGuestInterruptibilityState, 8);
  ASSERT_EQ(vmlaunch(), "transfer");
  EXPECT_TRUE(vmx.virtual_interrupt_recognized());
  EXPECT_FALSE(vmx.instruction_exits(ExitReason::kPause, no_operand()));
  vmx.apic_written(0x320);
  vmx.begin_iret();
  vmx.set_monitor_trap_flag_pending();
  vmx.set_vectoring(exception(kPf, 0));
  EXPECT_TRUE(vmx.apic_exit_pending());
  vmx.triple_fault_exits();
  EXPECT_FALSE(vmx.preemption_deadline());
  EXPECT_FALSE(vmx.virtual_interrupt_recognized());
  EXPECT_FALSE(vmx.virtual_nmi_blocking());
  EXPECT_FALSE(vmx.apic_exit_pending());

  disable(PinBased::kActivatePreemptionTimer);
  disable(PinBased::kVirtualNmis);
  disable(PrimaryProcBased::kUseTprShadow);
  disable(SecondaryProcBased::kVirtualInterruptDelivery);
  set(Field::kExceptionBitmap, 1u << kGp);
  set(Field::kGuestInterruptibilityState, 0);
  resume();
  EXPECT_FALSE(vmx.preemption_deadline());
  EXPECT_FALSE(vmx.virtual_interrupt_recognized());
  EXPECT_FALSE(vmx.virtual_nmi_blocking());
  EXPECT_FALSE(vmx.apic_exit_pending());
  EXPECT_FALSE(vmx.boundary_exits(true, true)) << "no MTF VM exit";
  EXPECT_FALSE(vmx.instruction_exits(ExitReason::kPause, no_operand()))
      << "the first PAUSE of a loop, with a window of 0";
  EXPECT_TRUE(vmx.exception_exits(exception(kGp, 0)));
  EXPECT_EQ(get(Field::kIdtVectoringInformation), 0u);
  EXPECT_EQ(get(Field::kVmExitInterruptionInformation), 0x80000b0du) << "no IRET";
}

// --- Exits during event delivery.

class Delivery : public VmxTest {
 protected:
  void start_with(uint32_t exception_bitmap) {
    prepare();
    set(Field::kExceptionBitmap, exception_bitmap);
    ASSERT_EQ(vmlaunch(), "transfer");
  }
};

TEST_F(Delivery, NestedFaultReportsTheFirstEvent) {
  start_with(1u << kNp);
  cpu.cpu.blocking_by_sti = true;
  vmx.set_vectoring(exception(kPf, 7, 0x1000));
  EXPECT_TRUE(vmx.exception_exits(exception(kNp, 0x73)));
  EXPECT_EQ(get(Field::kVmExitInterruptionInformation), 0x80000b0bu);
  EXPECT_EQ(get(Field::kVmExitInterruptionErrorCode), 0x73u);
  EXPECT_EQ(get(Field::kIdtVectoringInformation), 0x80000b0eu);
  EXPECT_EQ(get(Field::kIdtVectoringErrorCode), 7u);
  EXPECT_EQ(get(Field::kGuestInterruptibilityState), 0u) << "the event has ended the blocking";
  EXPECT_EQ(sink.exits.back().idt_vectoring_information, 0x80000b0eu);
  resume();
  EXPECT_TRUE(vmx.exception_exits(exception(kNp, 0)));
  EXPECT_EQ(get(Field::kIdtVectoringInformation), 0u) << "it is forgotten at the exit";
}

TEST_F(Delivery, SoftwareInterruptsGiveTheirLength) {
  start_with(1u << kGp);
  vmx.set_vectoring(Event{EventType::kSoftwareInterrupt, 0x80, std::nullopt, 2, 0});
  EXPECT_TRUE(vmx.exception_exits(exception(kGp, 0x402)));
  EXPECT_EQ(get(Field::kIdtVectoringInformation), 0x80000480u);
  EXPECT_EQ(get(Field::kVmExitInstructionLength), 2u);
}

TEST_F(Delivery, DoubleFaultIsTheEventItself) {
  start_with(1u << kDf);
  vmx.set_vectoring(exception(kPf, 7));
  EXPECT_TRUE(vmx.exception_exits(exception(kDf, 0)));
  EXPECT_EQ(get(Field::kVmExitInterruptionInformation), 0x80000b08u);
  EXPECT_EQ(get(Field::kIdtVectoringInformation), 0u);
}

TEST_F(Delivery, FaultDuringDoubleFaultDeliverySetsExt) {
  start_with(1u << kNp | 1u << kPf);
  vmx.set_vectoring(exception(kDf, 0));
  EXPECT_TRUE(vmx.exception_exits(exception(kNp, 0x18)));
  EXPECT_EQ(get(Field::kVmExitInterruptionErrorCode), 0x19u);
  EXPECT_EQ(get(Field::kIdtVectoringInformation), 0x80000b08u);
  resume();
  vmx.set_vectoring(exception(kDf, 0));
  EXPECT_TRUE(vmx.exception_exits(exception(kPf, 2)));
  EXPECT_EQ(get(Field::kVmExitInterruptionErrorCode), 2u);
}

TEST_F(Delivery, TripleFaultIsNotDuringDelivery) {
  start_with(0);
  vmx.set_vectoring(exception(kDf, 0));
  EXPECT_TRUE(vmx.triple_fault_exits());
  expect_exit(ExitReason::kTripleFault);
  EXPECT_EQ(get(Field::kIdtVectoringInformation), 0u);
}

TEST_F(Delivery, EptViolationAndMisconfiguration) {
  start_with(0);
  vmx.set_vectoring(Event{EventType::kExternalInterrupt, 0x30, std::nullopt, 0, 0});
  cpu.cpu.activity = ActivityState::kHlt;
  vmx.ept_violation(0x181, 0x12345678, 0xffff800000000010, 5);
  expect_exit(ExitReason::kEptViolation);
  EXPECT_EQ(get(Field::kVmExitInstructionLength), 0u) << "it is no instruction's";
  EXPECT_EQ(get(Field::kExitQualification), 0x181u);
  EXPECT_EQ(get(Field::kGuestPhysicalAddress), 0x12345678u);
  EXPECT_EQ(get(Field::kGuestLinearAddress), 0xffff800000000010u);
  EXPECT_EQ(get(Field::kIdtVectoringInformation), 0x80000030u);
  EXPECT_EQ(get(Field::kGuestActivityState), 0u) << "the event has ended the inactivity";
  EXPECT_FALSE(get(Field::kGuestRflags) & rflags::kRf) << "an interrupt pushes RF as it is";
  set(Field::kGuestActivityState, 0);
  resume();
  vmx.ept_misconfiguration(0x5000, 5);
  expect_exit(ExitReason::kEptMisconfiguration);
  EXPECT_EQ(get(Field::kVmExitInstructionLength), 5u);
  EXPECT_EQ(get(Field::kGuestPhysicalAddress), 0x5000u);
  EXPECT_EQ(get(Field::kExitQualification), 0u);
  EXPECT_TRUE(get(Field::kGuestRflags) & rflags::kRf) << "not during delivery: RF is 1";
}

TEST_F(Delivery, TaskSwitches) {
  start_with(0);
  EXPECT_TRUE(vmx.task_switch_exits(0x48, 2, no_operand(7)));
  expect_exit(ExitReason::kTaskSwitch);
  EXPECT_EQ(get(Field::kExitQualification), 0x80000048u);
  EXPECT_EQ(get(Field::kVmExitInstructionLength), 7u);
  EXPECT_EQ(get(Field::kIdtVectoringInformation), 0u);
  resume();
  vmx.set_vectoring(Event{EventType::kSoftwareException, kBp, std::nullopt, 1, 0});
  EXPECT_TRUE(vmx.task_switch_exits(0x48, 3, no_operand(7)));
  EXPECT_EQ(get(Field::kExitQualification), 0xc0000048u);
  EXPECT_EQ(get(Field::kVmExitInstructionLength), 1u);
  EXPECT_EQ(get(Field::kIdtVectoringInformation), 0x80000603u);
  resume();
  vmx.set_vectoring(Event{EventType::kExternalInterrupt, 0x20, std::nullopt, 0, 0});
  EXPECT_TRUE(vmx.task_switch_exits(0x48, 3, no_operand(7)));
  EXPECT_EQ(get(Field::kVmExitInstructionLength), 0u) << "an interrupt has none";
  EXPECT_EQ(get(Field::kIdtVectoringInformation), 0x80000020u);
}

TEST_F(Delivery, NmiUnblockingDueToIret) {
  prepare();
  enable(PinBased::kNmiExiting);
  enable(PinBased::kVirtualNmis);
  set(Field::kExceptionBitmap, 1u << kPf);
  set(Field::kGuestInterruptibilityState, 8);
  ASSERT_EQ(vmlaunch(), "transfer");
  vmx.begin_iret();
  EXPECT_TRUE(vmx.exception_exits(exception(kPf, 0)));
  EXPECT_EQ(get(Field::kVmExitInterruptionInformation), 0x80001b0eu);
  EXPECT_EQ(get(Field::kGuestInterruptibilityState), 0u);
  set(Field::kGuestInterruptibilityState, 8);
  resume();
  vmx.begin_iret();
  vmx.ept_violation(0x181, 0, 0);
  EXPECT_EQ(get(Field::kExitQualification), 0x1181u);
  set(Field::kGuestInterruptibilityState, 8);
  resume();
  vmx.begin_iret();
  vmx.end_iret();
  EXPECT_TRUE(vmx.exception_exits(exception(kPf, 0)));
  EXPECT_EQ(get(Field::kVmExitInterruptionInformation), 0x80000b0eu) << "IRET was over";
  resume();
  vmx.begin_iret();
  EXPECT_TRUE(vmx.exception_exits(exception(kPf, 0)));
  EXPECT_EQ(get(Field::kVmExitInterruptionInformation), 0x80000b0eu) << "nothing was blocked";
  set(Field::kGuestInterruptibilityState, 8);
  resume();
  vmx.begin_iret();
  cpu.cpu.rip += 2;
  EXPECT_FALSE(vmx.boundary_exits(true, false));
  cpu.cpu.rip -= 2;
  EXPECT_TRUE(vmx.exception_exits(exception(kPf, 0)));
  EXPECT_EQ(get(Field::kVmExitInterruptionInformation), 0x80000b0eu) << "RIP had moved on";
}

}  // namespace
}  // namespace nestor::vmx::test
