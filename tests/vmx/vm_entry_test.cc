// SPDX-License-Identifier: GPL-2.0-or-later
//
// VM entry: what it loads, injects and reports, and how it fails.
#include "tests/vmx/vmx_fixture.h"

namespace nestor::vmx::test {
namespace {

using VmEntry = VmxTest;

TEST_F(VmEntry, LoadsTheGuestState) {
  prepare();
  set(guest_base(kFs), 0x123000);
  sink.errors.clear();
  ASSERT_EQ(vmlaunch(), "transfer");
  const CpuState& s = cpu.cpu;
  EXPECT_TRUE(vmx.in_non_root());
  EXPECT_EQ(s.rip, kGuestRip);
  EXPECT_EQ(s.gpr[kRsp], kGuestRsp);
  EXPECT_EQ(s.rflags, rflags::kFixed1 | rflags::kIf);
  EXPECT_EQ(s.cr3, 0x20000u);
  EXPECT_EQ(s.cr4, cr4::kPae | cr4::kVmxe);
  EXPECT_EQ(s.segment[kCs], (Segment{0x28, {kCode64}, 0xffffffff, 0}));
  EXPECT_EQ(s.segment[kFs], (Segment{0x20, {kData}, 0xffffffff, 0x123000}));
  EXPECT_EQ(s.segment[kTr], (Segment{0x30, {kTss}, 0x67, 0x5000}));
  EXPECT_TRUE(s.segment[kLdtr].rights.unusable());
  EXPECT_EQ(s.gdtr, (DescriptorTable{0x6000, 0x7f}));
  EXPECT_EQ(s.idtr, (DescriptorTable{0x7000, 0xfff}));
  EXPECT_EQ(s.sysenter_cs, 0x28u);
  EXPECT_EQ(s.sysenter_esp, 0x1111u);
  EXPECT_EQ(s.sysenter_eip, 0x2222u);
  EXPECT_TRUE(sink.errors.empty());
  ASSERT_EQ(sink.entries.size(), 1u);
  EXPECT_TRUE(sink.entries[0].launch);
  EXPECT_EQ(sink.entries[0].vmcs, kVmcsRegion);
  EXPECT_EQ(sink.entries[0].guest_rip, kGuestRip);
  EXPECT_EQ(sink.entries[0].guest_cr3, 0x20000u);
}

TEST_F(VmEntry, ChangesOnlyTheCr0BitsThatItMay) {
  prepare();
  cpu.cpu.cr0 |= cr0::kCd;
  set(Field::kGuestCr0, cr0::kPe | cr0::kNe | cr0::kPg | cr0::kTs);  // ET 0, CD 0
  ASSERT_EQ(vmlaunch(), "transfer");
  EXPECT_EQ(cpu.cpu.cr0, cr0::kPe | cr0::kNe | cr0::kPg | cr0::kTs | cr0::kEt | cr0::kCd);
}

TEST_F(VmEntry, LoadsDebugControlsOnlyWhenAsked) {
  prepare();
  set(Field::kGuestDr7, 0xd0ff);
  set(Field::kGuestIa32Debugctl, 1);
  cpu.cpu.dr7 = 0x455;
  disable(VmEntryControl::kLoadDebugControls);
  ASSERT_EQ(vmlaunch(), "transfer");
  EXPECT_EQ(cpu.cpu.dr7, 0x455u);
  EXPECT_EQ(cpu.cpu.debugctl, 0u);
  vmx.triple_fault_exits();
  enable(VmEntryControl::kLoadDebugControls);
  resume();
  EXPECT_EQ(cpu.cpu.dr7, 0x4ffu) << "bits 12, 14 and 15 are 0, bit 10 is 1";
  EXPECT_EQ(cpu.cpu.debugctl, 1u);
}

TEST_F(VmEntry, LoadsEferAndPat) {
  prepare();
  cpu.cpu.efer |= efer::kNxe;
  ASSERT_EQ(vmlaunch(), "transfer");
  EXPECT_EQ(cpu.cpu.efer, efer::kSce | efer::kNxe | efer::kLme | efer::kLma);
  vmx.triple_fault_exits();
  enable(VmEntryControl::kLoadEfer);
  enable(VmEntryControl::kLoadPat);
  set(Field::kGuestIa32Efer, efer::kLme | efer::kLma);
  set(Field::kGuestIa32Pat, 0x0606060606060606);
  resume();
  EXPECT_EQ(cpu.cpu.efer, efer::kLme | efer::kLma);
  EXPECT_EQ(cpu.cpu.pat, 0x0606060606060606u);
}

TEST_F(VmEntry, LoadsAndChecksPerfGlobalCtrl) {
  prepare();
  cpu.cpu.perf_global_ctrl = 0xf;
  set(Field::kGuestIa32PerfGlobalCtrl, 1ull << 4);
  ASSERT_EQ(vmlaunch(), "transfer");
  EXPECT_EQ(cpu.cpu.perf_global_ctrl, 0xfu) << "without the control the field does not matter";
  vmx.triple_fault_exits();
  enable(VmEntryControl::kLoadPerfGlobalCtrl);
  ASSERT_EQ(vmresume(), "transfer");
  EXPECT_FALSE(vmx.in_non_root());
  EXPECT_EQ(get(Field::kExitReason), 0x80000021u);
  set(Field::kGuestIa32PerfGlobalCtrl, 0x7'0000'0001);
  resume();
  EXPECT_EQ(cpu.cpu.perf_global_ctrl, 0x7'0000'0001u);
  vmx.triple_fault_exits();
  enable(VmExitControl::kLoadPerfGlobalCtrl);
  set(Field::kHostIa32PerfGlobalCtrl, 1ull << 35);
  EXPECT_EQ(vmresume(), "fail 8");
}

class VmEntry32 : public VmxTest {
 protected:
  // A guest with PAE paging outside IA-32e mode.
  void prepare32() {
    prepare();
    disable(VmEntryControl::kIa32eModeGuest);
    set(Field::kGuestCsAccessRights, 0xc09b);
    set(Field::kGuestTrAccessRights, 0x8b);
  }
};

TEST_F(VmEntry32, LeavesIa32eMode) {
  prepare32();
  ASSERT_EQ(vmlaunch(), "transfer");
  EXPECT_EQ(cpu.cpu.efer, efer::kSce);
  EXPECT_EQ(cpu.pdpte_loads, std::vector<uint64_t>{0x20000});
}

TEST_F(VmEntry32, InvalidPdptesFailTheEntry) {
  prepare32();
  cpu.pdptes_valid = false;
  const CpuState before = cpu.cpu;
  ASSERT_EQ(vmlaunch(), "transfer");
  EXPECT_FALSE(vmx.in_non_root());
  EXPECT_EQ(get(Field::kExitReason), 0x80000021u);
  EXPECT_EQ(get(Field::kExitQualification), 2u);
  EXPECT_EQ(cpu.cpu.efer, before.efer);
  EXPECT_EQ(cpu.cpu.rip, kHostRip);
}

TEST_F(VmEntry32, TakesPdptesFromTheVmcsWithEpt) {
  prepare32();
  enable(SecondaryProcBased::kEnableEpt);
  set(Field::kEptPointer, kEpt);
  set(Field::kGuestPdpte0, 0x30001);
  set(Field::kGuestPdpte3, 0x33001);
  ASSERT_EQ(vmlaunch(), "transfer");
  EXPECT_EQ(cpu.cpu.pdptes, (std::array<uint64_t, 4>{0x30001, 0, 0, 0x33001}));
  EXPECT_TRUE(cpu.pdpte_loads.empty());
  EXPECT_EQ(vmx.eptp(), kEpt);
  cpu.cpu.pdptes[1] = 0x31001;
  vmx.triple_fault_exits();
  EXPECT_EQ(get(Field::kGuestPdpte0), 0x30001u);
  EXPECT_EQ(get(Field::kGuestPdpte1), 0x31001u);
}

TEST_F(VmEntry, UnrestrictedGuestInRealMode) {
  prepare();
  enable(SecondaryProcBased::kEnableEpt);
  enable(SecondaryProcBased::kUnrestrictedGuest);
  set(Field::kEptPointer, kEpt);
  disable(VmEntryControl::kIa32eModeGuest);
  set(Field::kGuestCr0, cr0::kEt | cr0::kNe);
  for (uint8_t i = kEs; i <= kGs; ++i) {
    set(guest_selector(i), 0);
    set(guest_limit(i), 0xffff);
    set(guest_access_rights(i), i == kCs ? 0x9b : 0x93);
  }
  set(Field::kGuestRip, 0x7c00);
  ASSERT_EQ(vmlaunch(), "transfer");
  ASSERT_TRUE(vmx.in_non_root());
  EXPECT_FALSE(cpu.cpu.protected_mode());
  EXPECT_EQ(cpu.cpu.efer & efer::kLma, 0u);
  EXPECT_TRUE(vmx.cr0_allowed(cr0::kNe));
  EXPECT_FALSE(vmx.cr0_allowed(0)) << "NE stays fixed";
}

TEST_F(VmEntry, UnusableSegments) {
  prepare();
  set(guest_access_rights(kSs), AccessRights::kUnusable);
  set(guest_base(kSs), 0xffffffff12345678);
  set(guest_access_rights(kDs), AccessRights::kUnusable);
  set(guest_base(kDs), 0xffffffff12345678);
  ASSERT_EQ(vmlaunch(), "transfer");
  EXPECT_TRUE(cpu.cpu.segment[kSs].rights.unusable());
  EXPECT_TRUE(cpu.cpu.segment[kSs].rights.default_big());
  EXPECT_EQ(cpu.cpu.segment[kSs].base, 0x12345670u);
  EXPECT_EQ(cpu.cpu.segment[kDs].base, 0x12345678u);
  EXPECT_EQ(cpu.cpu.cpl(), 0);
}

TEST_F(VmEntry, InvalidGuestStateExitsToTheHost) {
  prepare();
  set(Field::kGuestRflags, 0);
  set(Field::kVmEntryInterruptionInformation, 0);
  set(Field::kGuestActivityState, 0);
  cpu.cpu.blocking_by_nmi = true;
  sink.failures.clear();
  ASSERT_EQ(vmlaunch(), "transfer");
  EXPECT_FALSE(vmx.in_non_root());
  EXPECT_EQ(get(Field::kExitReason), 0x80000021u);
  EXPECT_EQ(get(Field::kExitQualification), 0u);
  EXPECT_EQ(get(Field::kGuestRflags), 0u) << "the guest-state area is not modified";
  EXPECT_EQ(cpu.cpu.rip, kHostRip);
  EXPECT_EQ(cpu.cpu.gpr[kRsp], kHostRsp);
  EXPECT_TRUE(cpu.cpu.blocking_by_nmi);
  ASSERT_FALSE(sink.failures.empty());
  EXPECT_EQ(sink.failures[0].field, "Guest RFLAGS");
  EXPECT_TRUE(sink.entries.empty());
  ASSERT_EQ(sink.exits.size(), 1u);
  EXPECT_EQ(sink.exits[0].reason, 0x80000021u);

  set(Field::kGuestRflags, 2);
  EXPECT_EQ(vmresume(), "fail 5") << "the launch state was not changed";
  EXPECT_EQ(vmlaunch(), "transfer");
  EXPECT_TRUE(vmx.in_non_root());
}

TEST_F(VmEntry, QualificationsOfInvalidGuestState) {
  prepare();
  set(Field::kVmcsLinkPointer, 0x3001);
  ASSERT_EQ(vmlaunch(), "transfer");
  EXPECT_EQ(get(Field::kExitReason), 0x80000021u);
  EXPECT_EQ(get(Field::kExitQualification), 4u) << "VMCS link pointer";
  set(Field::kVmcsLinkPointer, ~0ull);
  set(Field::kVmEntryInterruptionInformation, 0x80000202);
  set(Field::kGuestInterruptibilityState, 1);
  become_host();
  ASSERT_EQ(vmlaunch(), "transfer");
  EXPECT_EQ(get(Field::kExitQualification), 3u) << "NMI with blocking by STI";
  EXPECT_EQ(get(Field::kVmEntryInterruptionInformation), 0x80000202u)
      << "the valid bit is not cleared";
}

TEST_F(VmEntry, MsrLoadFailureNamesTheEntry) {
  prepare();
  cpu.msrs[0x10] = 0;
  cpu.poke(kEntryMsrs, uint64_t{0x10});
  cpu.poke(kEntryMsrs + 8, uint64_t{0x1234});
  cpu.poke(kEntryMsrs + 16, uint64_t{0xc0000100});
  set(Field::kVmEntryMsrLoadCount, 2);
  sink.failures.clear();
  ASSERT_EQ(vmlaunch(), "transfer");
  EXPECT_EQ(get(Field::kExitReason), 0x80000022u);
  EXPECT_EQ(get(Field::kExitQualification), 2u);
  EXPECT_EQ(cpu.msrs[0x10], 0x1234u) << "entries before the failing one stay loaded";
  EXPECT_EQ(cpu.cpu.rip, kHostRip);
  EXPECT_EQ(cpu.cpu.cr3, 0x10000u);
  ASSERT_EQ(sink.failures.size(), 1u);
  EXPECT_EQ(sink.failures[0].id, "vm-entry-msr-load");
}

TEST_F(VmEntry, InvalidatesMappingsWithoutVpidOnly) {
  prepare();
  ASSERT_EQ(vmlaunch(), "transfer");
  ASSERT_EQ(cpu.invalidations.size(), 1u);
  EXPECT_EQ(cpu.invalidations[0], (Invalidation{.kind = Invalidation::Kind::kLinearVpid}));
  vmx.triple_fault_exits();
  ASSERT_EQ(cpu.invalidations.size(), 2u);
  EXPECT_EQ(cpu.invalidations[1], cpu.invalidations[0]);
  enable(SecondaryProcBased::kEnableVpid);
  set(Field::kVirtualProcessorIdentifier, 9);
  resume();
  EXPECT_EQ(vmx.vpid(), 9);
  vmx.triple_fault_exits();
  EXPECT_EQ(cpu.invalidations.size(), 2u);
  EXPECT_EQ(vmx.vpid(), 0) << "root operation has none";
}

// Nothing but the control registers tells the host of a VM entry that fails from who made it.
TEST_F(VmEntry, InvalidatesAccessRightsWhereItFails) {
  prepare();
  enable(SecondaryProcBased::kEnableVpid);
  set(Field::kVirtualProcessorIdentifier, 9);
  set(Field::kVmcsLinkPointer, 0x3001);
  ASSERT_EQ(vmlaunch(), "transfer");
  ASSERT_EQ(cpu.invalidations.size(), 1u);
  EXPECT_EQ(cpu.invalidations[0], (Invalidation{.kind = Invalidation::Kind::kAccessRights}));
}

// --- Event injection.

TEST_F(VmEntry, InjectsEvents) {
  prepare();
  set(Field::kVmEntryInterruptionInformation, 0x80000b0e);
  set(Field::kVmEntryExceptionErrorCode, 6);
  ASSERT_EQ(vmlaunch(), "transfer");
  ASSERT_EQ(cpu.injected.size(), 1u);
  EXPECT_EQ(cpu.injected[0].type, EventType::kHardwareException);
  EXPECT_EQ(cpu.injected[0].vector, kPf);
  EXPECT_EQ(cpu.injected[0].error_code, 6u);
  vmx.triple_fault_exits();
  EXPECT_EQ(get(Field::kVmEntryInterruptionInformation), 0x00000b0eu)
      << "VM exit clears the valid bit";
  resume();
  EXPECT_EQ(cpu.injected.size(), 1u);
  vmx.triple_fault_exits();

  set(Field::kVmEntryInterruptionInformation, 0x80000480);
  set(Field::kVmEntryInstructionLength, 2);
  resume();
  ASSERT_EQ(cpu.injected.size(), 2u);
  EXPECT_EQ(cpu.injected[1].type, EventType::kSoftwareInterrupt);
  EXPECT_EQ(cpu.injected[1].vector, 0x80);
  EXPECT_EQ(cpu.injected[1].error_code, std::nullopt);
  EXPECT_EQ(cpu.injected[1].instruction_length, 2);
  EXPECT_EQ(sink.entries.back().interruption_information, 0x80000480u);
}

TEST_F(VmEntry, VectoringEntryIsActiveAndUnblocked) {
  prepare();
  set(Field::kGuestActivityState, 1);
  set(Field::kVmEntryInterruptionInformation, 0x80000030);
  ASSERT_EQ(vmlaunch(), "transfer");
  EXPECT_EQ(cpu.cpu.activity, ActivityState::kActive);
  vmx.triple_fault_exits();
  set(Field::kGuestActivityState, 1);
  resume();
  EXPECT_EQ(cpu.cpu.activity, ActivityState::kHlt);
  vmx.triple_fault_exits();
  EXPECT_EQ(get(Field::kGuestActivityState), 1u);
  set(Field::kGuestActivityState, 2);
  resume();
  EXPECT_EQ(cpu.cpu.activity, ActivityState::kShutdown);
}

TEST_F(VmEntry, Interruptibility) {
  prepare();
  set(Field::kGuestInterruptibilityState, 1);
  ASSERT_EQ(vmlaunch(), "transfer");
  EXPECT_TRUE(cpu.cpu.blocking_by_sti);
  EXPECT_FALSE(cpu.cpu.blocking_by_mov_ss);
  vmx.triple_fault_exits();
  EXPECT_EQ(get(Field::kGuestInterruptibilityState), 1u);
  EXPECT_FALSE(cpu.cpu.blocking_by_sti) << "none after a VM exit";
  set(Field::kGuestInterruptibilityState, 2);
  resume();
  EXPECT_TRUE(cpu.cpu.blocking_by_mov_ss);
  vmx.triple_fault_exits();
  set(Field::kGuestInterruptibilityState, 2);
  set(Field::kVmEntryInterruptionInformation, 0x80000306);
  resume();
  EXPECT_FALSE(cpu.cpu.blocking_by_mov_ss) << "the VM entry is vectoring";
}

TEST_F(VmEntry, BlockingByNmi) {
  prepare();
  set(Field::kGuestInterruptibilityState, 8);
  ASSERT_EQ(vmlaunch(), "transfer");
  EXPECT_TRUE(cpu.cpu.blocking_by_nmi);
  EXPECT_FALSE(vmx.virtual_nmi_blocking());
  vmx.begin_iret();
  EXPECT_FALSE(cpu.cpu.blocking_by_nmi);
  vmx.end_iret();
  vmx.triple_fault_exits();
  EXPECT_EQ(get(Field::kGuestInterruptibilityState), 0u);

  set(Field::kVmEntryInterruptionInformation, 0x80000202);
  resume();
  EXPECT_TRUE(cpu.cpu.blocking_by_nmi) << "an NMI was injected";
}

TEST_F(VmEntry, VirtualNmiBlocking) {
  prepare();
  enable(PinBased::kNmiExiting);
  enable(PinBased::kVirtualNmis);
  cpu.cpu.blocking_by_nmi = true;
  set(Field::kVmEntryInterruptionInformation, 0x80000202);
  ASSERT_EQ(vmlaunch(), "transfer");
  EXPECT_TRUE(vmx.virtual_nmi_blocking());
  EXPECT_FALSE(cpu.cpu.blocking_by_nmi) << "NMIs are not blocked with virtual NMIs";
  vmx.triple_fault_exits();
  EXPECT_EQ(get(Field::kGuestInterruptibilityState), 8u);
  EXPECT_FALSE(vmx.virtual_nmi_blocking());
  resume();
  EXPECT_TRUE(vmx.virtual_nmi_blocking());
  vmx.begin_iret();
  vmx.end_iret();
  EXPECT_FALSE(vmx.virtual_nmi_blocking());
  vmx.triple_fault_exits();
  EXPECT_EQ(get(Field::kGuestInterruptibilityState), 0u);
}

TEST_F(VmEntry, NmiExitingWithoutVirtualNmisLeavesIretWithoutEffect) {
  prepare();
  enable(PinBased::kNmiExiting);
  set(Field::kGuestInterruptibilityState, 8);
  ASSERT_EQ(vmlaunch(), "transfer");
  vmx.begin_iret();
  EXPECT_TRUE(cpu.cpu.blocking_by_nmi);
}

struct PendingDebugCase {
  const char* name;
  uint64_t pending, interruptibility, activity, injected;
  uint64_t expected;
};

class PendingDebug : public VmxTest, public ::testing::WithParamInterface<PendingDebugCase> {};

TEST_P(PendingDebug, AfterVmEntry) {
  const PendingDebugCase& c = GetParam();
  prepare();
  set(Field::kGuestPendingDebugExceptions, c.pending);
  set(Field::kGuestInterruptibilityState, c.interruptibility);
  set(Field::kGuestActivityState, c.activity);
  set(Field::kVmEntryInterruptionInformation, c.injected);
  set(Field::kVmEntryInstructionLength, 1);
  if (c.interruptibility && (c.pending & 0x4000))
    set(Field::kGuestRflags, rflags::kFixed1 | rflags::kTf | rflags::kIf);
  ASSERT_EQ(vmlaunch(), "transfer");
  ASSERT_TRUE(vmx.in_non_root());
  EXPECT_EQ(cpu.cpu.pending_debug_exceptions, c.expected);
}

INSTANTIATE_TEST_SUITE_P(
    All, PendingDebug,
    ::testing::Values(PendingDebugCase{"Breakpoint", 0x1001, 0, 0, 0, 0x1001},
                      PendingDebugCase{"SingleStep", 0x4000, 0, 0, 0, 0x4000},
                      PendingDebugCase{"NotEnabled", 0x0003, 0, 0, 0, 0},
                      PendingDebugCase{"MovSs", 0x1001, 2, 0, 0, 0x1001},
                      PendingDebugCase{"Shutdown", 0x1001, 0, 2, 0, 0},
                      PendingDebugCase{"WaitForSipi", 0x1001, 0, 3, 0, 0},
                      PendingDebugCase{"Hlt", 0x1001, 0, 1, 0, 0x1001},
                      PendingDebugCase{"InjectedException", 0x1001, 0, 0, 0x80000306, 0},
                      PendingDebugCase{"InjectedInterrupt", 0x1001, 0, 0, 0x80000030, 0},
                      PendingDebugCase{"SoftwareException", 0x1001, 0, 0, 0x80000603, 0},
                      PendingDebugCase{"SoftwareExceptionMovSs", 0x1001, 2, 0, 0x80000603, 0x1001},
                      PendingDebugCase{"InjectedExceptionMovSs", 0x1001, 2, 0, 0x80000306, 0}),
    [](const auto& instance) { return std::string(instance.param.name); });

// --- The preemption timer, at the speed of the TSC and slower.

class PreemptionTimer : public VmxTest, public ::testing::WithParamInterface<uint8_t> {
 protected:
  static Capabilities with_shift(uint8_t shift) {
    Capabilities c = default_capabilities();
    c.preemption_timer_shift = shift;
    return c;
  }
  PreemptionTimer() : VmxTest(with_shift(GetParam())) {}
  static uint64_t ticks(uint64_t count) { return count << GetParam(); }
};

TEST_P(PreemptionTimer, Deadline) {
  prepare();
  EXPECT_FALSE(vmx.preemption_deadline());
  enable(PinBased::kActivatePreemptionTimer);
  set(Field::kVmxPreemptionTimerValue, 10);
  cpu.time = ticks(32) - 1;  // just before a tick, unless every cycle is one
  ASSERT_EQ(vmlaunch(), "transfer");
  EXPECT_EQ(vmx.preemption_deadline(), ticks(31 + 10));
  cpu.time = ticks(41) - 1;
  EXPECT_FALSE(vmx.boundary_exits(true, true));
  cpu.time = ticks(41);
  EXPECT_TRUE(vmx.boundary_exits(true, true));
  expect_exit(ExitReason::kPreemptionTimerExpired);
  EXPECT_EQ(get(Field::kVmxPreemptionTimerValue), 10u) << "not saved unless asked";
  EXPECT_FALSE(vmx.preemption_deadline());
}

TEST_P(PreemptionTimer, ValueIsSaved) {
  prepare();
  enable(PinBased::kActivatePreemptionTimer);
  enable(VmExitControl::kSavePreemptionTimerValue);
  set(Field::kVmxPreemptionTimerValue, 10);
  cpu.time = ticks(32) - 1;
  ASSERT_EQ(vmlaunch(), "transfer");
  cpu.time = ticks(34);
  vmx.triple_fault_exits();
  EXPECT_EQ(get(Field::kVmxPreemptionTimerValue), 7u);
  resume();
  EXPECT_EQ(vmx.preemption_deadline(), ticks(41));
  cpu.time = ticks(50);
  vmx.triple_fault_exits();
  EXPECT_EQ(get(Field::kVmxPreemptionTimerValue), 0u) << "it does not wrap";
  resume();
  EXPECT_TRUE(vmx.boundary_exits(false, false)) << "a value of 0 expires at once";
  expect_exit(ExitReason::kPreemptionTimerExpired);
  EXPECT_EQ(get(Field::kVmxPreemptionTimerValue), 0u);
}

INSTANTIATE_TEST_SUITE_P(Shift, PreemptionTimer, ::testing::Values(uint8_t{0}, uint8_t{5}));

}  // namespace
}  // namespace nestor::vmx::test
