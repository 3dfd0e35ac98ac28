// SPDX-License-Identifier: GPL-2.0-or-later
//
// Which instructions cause VM exits, under which controls, and with which exit qualification.
#include "tests/vmx/vmx_fixture.h"

namespace nestor::vmx::test {
namespace {

using Intercepts = VmxTest;

struct InterceptCase {
  const char* name;
  ExitReason reason;
  uint32_t primary, secondary;  // the controls that make it exit; none: unconditional
};

class InstructionIntercepts : public VmxTest,
                              public ::testing::WithParamInterface<InterceptCase> {};

TEST_P(InstructionIntercepts, FollowTheControls) {
  const InterceptCase& c = GetParam();
  prepare();
  EXPECT_FALSE(vmx.instruction_exits(c.reason, no_operand(2))) << "root operation";
  ASSERT_EQ(vmlaunch(), "transfer");
  if (c.primary != 0 || c.secondary != 0) {
    EXPECT_FALSE(vmx.instruction_exits(c.reason, no_operand(2))) << "the control is 0";
    EXPECT_TRUE(vmx.in_non_root());
    vmx.triple_fault_exits();
    set(Field::kPrimaryProcBasedControls, get(Field::kPrimaryProcBasedControls) | c.primary);
    if (c.secondary != 0) {
      enable(PrimaryProcBased::kActivateSecondaryControls);
      set(Field::kSecondaryProcBasedControls, c.secondary);
    }
    resume();
  }
  cpu.cpu.rflags |= rflags::kRf;
  EXPECT_TRUE(vmx.instruction_exits(c.reason, no_operand(2)));
  expect_exit(c.reason);
  EXPECT_EQ(get(Field::kVmExitInstructionLength), 2u);
  EXPECT_EQ(get(Field::kExitQualification), 0u);
  EXPECT_EQ(get(Field::kVmExitInterruptionInformation), 0u);
  EXPECT_EQ(get(Field::kGuestRip), kGuestRip) << "the exit is fault-like";
  EXPECT_FALSE(get(Field::kGuestRflags) & rflags::kRf);
}

INSTANTIATE_TEST_SUITE_P(
    All, InstructionIntercepts,
    ::testing::Values(
        InterceptCase{"Cpuid", ExitReason::kCpuid, 0, 0},
        InterceptCase{"Invd", ExitReason::kInvd, 0, 0},
        InterceptCase{"Xsetbv", ExitReason::kXsetbv, 0, 0},
        InterceptCase{"Getsec", ExitReason::kGetsec, 0, 0},
        InterceptCase{"Hlt", ExitReason::kHlt, mask(PrimaryProcBased::kHltExiting), 0},
        InterceptCase{"Invlpg", ExitReason::kInvlpg, mask(PrimaryProcBased::kInvlpgExiting), 0},
        InterceptCase{"Mwait", ExitReason::kMwait, mask(PrimaryProcBased::kMwaitExiting), 0},
        InterceptCase{"Monitor", ExitReason::kMonitor, mask(PrimaryProcBased::kMonitorExiting), 0},
        InterceptCase{"Rdpmc", ExitReason::kRdpmc, mask(PrimaryProcBased::kRdpmcExiting), 0},
        InterceptCase{"Rdtsc", ExitReason::kRdtsc, mask(PrimaryProcBased::kRdtscExiting), 0},
        InterceptCase{"Pause", ExitReason::kPause, mask(PrimaryProcBased::kPauseExiting), 0},
        InterceptCase{"Rdtscp", ExitReason::kRdtscp, mask(PrimaryProcBased::kRdtscExiting),
                      mask(SecondaryProcBased::kEnableRdtscp)},
        InterceptCase{"Invpcid", ExitReason::kInvpcid, mask(PrimaryProcBased::kInvlpgExiting),
                      mask(SecondaryProcBased::kEnableInvpcid)},
        InterceptCase{"Wbinvd", ExitReason::kWbinvd, 0, mask(SecondaryProcBased::kWbinvdExiting)},
        InterceptCase{"GdtrIdtr", ExitReason::kGdtrIdtrAccess, 0,
                      mask(SecondaryProcBased::kDescriptorTableExiting)},
        InterceptCase{"LdtrTr", ExitReason::kLdtrTrAccess, 0,
                      mask(SecondaryProcBased::kDescriptorTableExiting)}),
    [](const auto& instance) { return std::string(instance.param.name); });

TEST_F(Intercepts, OnlyOneOfTwoControlsDoesNotExit) {
  prepare();
  enable(PrimaryProcBased::kRdtscExiting);
  enable(PrimaryProcBased::kInvlpgExiting);
  ASSERT_EQ(vmlaunch(), "transfer");
  EXPECT_FALSE(vmx.instruction_exits(ExitReason::kRdtscp, no_operand()));
  EXPECT_FALSE(vmx.instruction_exits(ExitReason::kInvpcid, no_operand()));
  EXPECT_FALSE(vmx.rdtscp_enabled()) << "#UD takes priority";
  EXPECT_FALSE(vmx.invpcid_enabled());
  vmx.triple_fault_exits();
  EXPECT_TRUE(vmx.rdtscp_enabled()) << "root operation";
  enable(SecondaryProcBased::kEnableRdtscp);
  resume();
  EXPECT_TRUE(vmx.rdtscp_enabled());
}

TEST_F(Intercepts, SecondaryControlsCountOnlyWhenActivated) {
  prepare();
  set(Field::kSecondaryProcBasedControls, mask(SecondaryProcBased::kWbinvdExiting));
  disable(PrimaryProcBased::kActivateSecondaryControls);
  ASSERT_EQ(vmlaunch(), "transfer");
  EXPECT_FALSE(vmx.secondary(SecondaryProcBased::kWbinvdExiting));
  EXPECT_FALSE(vmx.instruction_exits(ExitReason::kWbinvd, no_operand()));
}

TEST_F(Intercepts, QualificationOfInvlpgAndTableAccesses) {
  prepare();
  enable(PrimaryProcBased::kInvlpgExiting);
  enable(SecondaryProcBased::kDescriptorTableExiting);
  ASSERT_EQ(vmlaunch(), "transfer");
  EXPECT_TRUE(vmx.instruction_exits(ExitReason::kInvlpg, no_operand(), 0xffff800000001000));
  EXPECT_EQ(get(Field::kExitQualification), 0xffff800000001000);
  resume();
  cpu.cpu.segment[kCs].rights.value = 0xc09b;
  EXPECT_TRUE(vmx.instruction_exits(ExitReason::kInvlpg, no_operand(), 0x1'0000'2000));
  EXPECT_EQ(get(Field::kExitQualification), 0x2000u) << "32 bits outside 64-bit mode";
  set(Field::kGuestCsAccessRights, kCode64);
  resume();
  InstructionContext lgdt = with_memory(0x100, 4);
  lgdt.displacement = 0xfffffffffffffff0;
  lgdt.information = 0x10038;
  EXPECT_TRUE(vmx.instruction_exits(ExitReason::kGdtrIdtrAccess, lgdt));
  EXPECT_EQ(get(Field::kExitQualification), 0xfffffffffffffff0);
  EXPECT_EQ(get(Field::kVmExitInstructionInformation), 0x10038u);
}

TEST_F(Intercepts, PauseLoops) {
  prepare();
  enable(SecondaryProcBased::kPauseLoopExiting);
  set(Field::kPleGap, 100);
  set(Field::kPleWindow, 250);
  ASSERT_EQ(vmlaunch(), "transfer");
  const auto pause_at = [&](uint64_t time) {
    cpu.time = time;
    return vmx.instruction_exits(ExitReason::kPause, no_operand(2));
  };
  EXPECT_FALSE(pause_at(1000));
  EXPECT_FALSE(pause_at(1100));
  EXPECT_FALSE(pause_at(1201)) << "the gap is exceeded: the first one of a new loop";
  EXPECT_FALSE(pause_at(1300));
  EXPECT_FALSE(pause_at(1400));
  EXPECT_FALSE(pause_at(1451));
  EXPECT_TRUE(pause_at(1452));
  expect_exit(ExitReason::kPause);
  resume();
  cpu.cpu.segment[kSs].rights.value |= 0x60;
  EXPECT_FALSE(pause_at(1460));
  EXPECT_FALSE(pause_at(2000)) << "only at CPL 0";
}

// --- Control registers.

class ControlRegisters : public VmxTest {
 protected:
  bool to(uint8_t cr, uint64_t& value) {
    return vmx.mov_to_cr_exits(cr, kRbx, value, no_operand(3));
  }
};

TEST_F(ControlRegisters, Cr0MaskAndShadow) {
  prepare();
  set(Field::kCr0GuestHostMask, cr0::kTs | cr0::kPg);
  set(Field::kCr0ReadShadow, cr0::kPg | cr0::kMp);
  ASSERT_EQ(vmlaunch(), "transfer");
  cpu.cpu.cr0 |= cr0::kTs;
  const uint64_t real = cpu.cpu.cr0;
  EXPECT_EQ(vmx.visible_cr0(real), real & ~cr0::kTs) << "TS from the shadow, MP from CR0";

  uint64_t value = (real & ~cr0::kTs) | cr0::kWp;
  EXPECT_FALSE(to(0, value));
  EXPECT_EQ(value, real | cr0::kWp) << "TS keeps its real value";
  value = real;
  EXPECT_TRUE(to(0, value)) << "TS differs from the shadow";
  expect_exit(ExitReason::kControlRegisterAccess);
  EXPECT_EQ(get(Field::kExitQualification), 0x300u);
  EXPECT_EQ(get(Field::kVmExitInstructionLength), 3u);
  EXPECT_EQ(vmx.visible_cr0(0x11), 0x11u) << "root operation";
}

TEST_F(ControlRegisters, Cr4MaskAndShadow) {
  prepare();
  set(Field::kCr4GuestHostMask, cr4::kVmxe);
  set(Field::kCr4ReadShadow, 0);
  ASSERT_EQ(vmlaunch(), "transfer");
  EXPECT_EQ(vmx.visible_cr4(cpu.cpu.cr4), cr4::kPae);
  uint64_t value = cr4::kPae | cr4::kPge;
  EXPECT_FALSE(to(4, value));
  EXPECT_EQ(value, cr4::kPae | cr4::kPge | cr4::kVmxe);
  value = cr4::kPae | cr4::kVmxe;
  EXPECT_TRUE(to(4, value));
  EXPECT_EQ(get(Field::kExitQualification), 0x304u);
}

TEST_F(ControlRegisters, Cr3TargetsAndStores) {
  prepare();
  ASSERT_EQ(vmlaunch(), "transfer");
  uint64_t value = 0x99000;
  EXPECT_FALSE(to(3, value));
  EXPECT_EQ(value, 0x99000u);
  EXPECT_FALSE(vmx.mov_from_cr_exits(3, kRax, no_operand()));
  vmx.triple_fault_exits();
  enable(PrimaryProcBased::kCr3LoadExiting);
  enable(PrimaryProcBased::kCr3StoreExiting);
  set(Field::kCr3TargetCount, 1);
  set(Field::kCr3TargetValue0, 0x99000);
  set(Field::kCr3TargetValue1, 0x9a000);
  resume();
  EXPECT_FALSE(to(3, value));
  value = 0x9a000;
  EXPECT_TRUE(to(3, value)) << "beyond the count";
  EXPECT_EQ(get(Field::kExitQualification), 0x303u);
  resume();
  EXPECT_FALSE(vmx.mov_from_cr_exits(0, kR9, no_operand()));
  EXPECT_FALSE(vmx.mov_from_cr_exits(4, kR9, no_operand()));
  EXPECT_TRUE(vmx.mov_from_cr_exits(3, kR9, no_operand()));
  EXPECT_EQ(get(Field::kExitQualification), 0x913u);
}

TEST_F(ControlRegisters, Cr8) {
  prepare();
  ASSERT_EQ(vmlaunch(), "transfer");
  uint64_t value = 3;
  EXPECT_FALSE(to(8, value));
  EXPECT_FALSE(vmx.mov_from_cr_exits(8, kRax, no_operand()));
  vmx.triple_fault_exits();
  enable(PrimaryProcBased::kCr8LoadExiting);
  enable(PrimaryProcBased::kCr8StoreExiting);
  resume();
  EXPECT_TRUE(to(8, value));
  EXPECT_EQ(get(Field::kExitQualification), 0x308u);
  resume();
  EXPECT_TRUE(vmx.mov_from_cr_exits(8, kRax, no_operand()));
  EXPECT_EQ(get(Field::kExitQualification), 0x018u);
}

TEST_F(ControlRegisters, Clts) {
  prepare();
  ASSERT_EQ(vmlaunch(), "transfer");
  cpu.cpu.cr0 |= cr0::kTs;
  EXPECT_FALSE(vmx.clts_exits(no_operand(2)));
  EXPECT_EQ(vmx.cr0_after_clts(), cpu.cpu.cr0 & ~cr0::kTs);
  vmx.triple_fault_exits();
  set(Field::kCr0GuestHostMask, cr0::kTs);
  resume();
  EXPECT_FALSE(vmx.clts_exits(no_operand(2))) << "the shadow has TS 0";
  EXPECT_EQ(vmx.cr0_after_clts(), cpu.cpu.cr0) << "but TS belongs to the host";
  vmx.triple_fault_exits();
  set(Field::kCr0ReadShadow, cr0::kTs);
  resume();
  EXPECT_TRUE(vmx.clts_exits(no_operand(2)));
  EXPECT_EQ(get(Field::kExitQualification), 0x20u);
}

TEST_F(ControlRegisters, Lmsw) {
  uint64_t value = 0;
  cpu.cpu.cr0 = cr0::kPe | cr0::kTs | cr0::kNe;
  EXPECT_FALSE(vmx.lmsw_exits(cr0::kMp, std::nullopt, value, no_operand()));
  EXPECT_EQ(value, cr0::kPe | cr0::kMp | cr0::kNe) << "PE is not cleared, TS is";

  become_host();
  prepare();
  set(Field::kCr0GuestHostMask, cr0::kPe | cr0::kTs);
  ASSERT_EQ(vmlaunch(), "transfer");
  cpu.cpu.cr0 |= cr0::kTs;
  EXPECT_FALSE(vmx.lmsw_exits(cr0::kMp, std::nullopt, value, no_operand()));
  EXPECT_EQ(value, cpu.cpu.cr0 | cr0::kMp) << "PE clear in the source counts for nothing";
  EXPECT_TRUE(vmx.lmsw_exits(0xfff1, std::nullopt, value, no_operand())) << "PE against shadow 0";
  EXPECT_EQ(get(Field::kExitQualification), 0xfff10030u);
  EXPECT_EQ(get(Field::kGuestLinearAddress), 0u);
  resume();
  EXPECT_TRUE(vmx.lmsw_exits(0x8, 0xffff800000000123, value, no_operand()));
  EXPECT_EQ(get(Field::kExitQualification), 0x00080070u);
  EXPECT_EQ(get(Field::kGuestLinearAddress), 0xffff800000000123u);
  set(Field::kCr0ReadShadow, cr0::kPe);
  resume();
  EXPECT_FALSE(vmx.lmsw_exits(0, std::nullopt, value, no_operand())) << "LMSW cannot clear PE";
}

TEST_F(ControlRegisters, BitsThatVmxOperationFixes) {
  EXPECT_TRUE(vmx.cr0_allowed(0));
  EXPECT_TRUE(vmx.cr4_allowed(0));
  enter_vmx_operation();
  EXPECT_FALSE(vmx.cr0_allowed(cr0::kPe | cr0::kPg));
  EXPECT_FALSE(vmx.cr0_allowed(cr0::kNe));
  EXPECT_TRUE(vmx.cr0_allowed(cr0::kPe | cr0::kNe | cr0::kPg));
  EXPECT_FALSE(vmx.cr4_allowed(cr4::kPae));
  EXPECT_TRUE(vmx.cr4_allowed(cr4::kPae | cr4::kVmxe));
}

TEST_F(Intercepts, MovDr) {
  prepare();
  ASSERT_EQ(vmlaunch(), "transfer");
  EXPECT_FALSE(vmx.mov_dr_exits(7, true, kR10, no_operand()));
  vmx.triple_fault_exits();
  enable(PrimaryProcBased::kMovDrExiting);
  resume();
  EXPECT_TRUE(vmx.mov_dr_exits(7, true, kR10, no_operand()));
  expect_exit(ExitReason::kMovDr);
  EXPECT_EQ(get(Field::kExitQualification), 0xa17u);
}

// --- I/O instructions.

TEST_F(Intercepts, UnconditionalIoAndItsQualification) {
  prepare();
  ASSERT_EQ(vmlaunch(), "transfer");
  IoAccess io{.port = 0x3f8, .size = 1, .in = true, .immediate = true};
  EXPECT_FALSE(vmx.io_exits(io, no_operand(2)));
  vmx.triple_fault_exits();
  enable(PrimaryProcBased::kUnconditionalIoExiting);
  resume();
  EXPECT_TRUE(vmx.io_exits(io, no_operand(2)));
  expect_exit(ExitReason::kIoInstruction);
  EXPECT_EQ(get(Field::kExitQualification), 0x03f80048u);
  EXPECT_EQ(get(Field::kVmExitInstructionLength), 2u);
  resume();
  io = {.port = 0x1f0, .size = 4, .string = true, .rep = true, .linear = 0xffff800000001000};
  InstructionContext outs = no_operand(3);
  outs.information = 0x18100;
  EXPECT_TRUE(vmx.io_exits(io, outs));
  EXPECT_EQ(get(Field::kExitQualification), 0x01f00033u);
  EXPECT_EQ(get(Field::kGuestLinearAddress), 0xffff800000001000u);
  EXPECT_EQ(get(Field::kVmExitInstructionInformation), 0x18100u);
}

TEST_F(Intercepts, IoBitmaps) {
  prepare();
  enable(PrimaryProcBased::kUseIoBitmaps);
  enable(PrimaryProcBased::kUnconditionalIoExiting);
  cpu.poke(kIoBitmapA + 0x3f8 / 8, uint8_t{1});
  cpu.poke(kIoBitmapB, uint8_t{2});
  ASSERT_EQ(vmlaunch(), "transfer");
  const auto io = [&](uint16_t port, uint8_t size) {
    const bool exits = vmx.io_exits({.port = port, .size = size}, no_operand());
    if (exits) resume();
    return exits;
  };
  EXPECT_FALSE(io(0x3f7, 1)) << "unconditional exiting is ignored";
  EXPECT_TRUE(io(0x3f8, 1));
  EXPECT_FALSE(io(0x3f9, 4));
  EXPECT_TRUE(io(0x3f7, 2)) << "any port that is accessed";
  EXPECT_TRUE(io(0x3f5, 4));
  EXPECT_FALSE(io(0x8000, 1));
  EXPECT_TRUE(io(0x8001, 1));
  EXPECT_TRUE(io(0x7ffe, 4)) << "across the two bitmaps";
  EXPECT_FALSE(io(0xffff, 1));
  EXPECT_TRUE(io(0xffff, 2)) << "wraps around";
  EXPECT_TRUE(io(0xfffd, 4));
}

// --- MSRs.

TEST_F(Intercepts, MsrsWithoutBitmapsAlwaysExit) {
  start();
  EXPECT_TRUE(vmx.read_msr_exits(0x10, no_operand(2)));
  expect_exit(ExitReason::kRdmsr);
  EXPECT_EQ(get(Field::kVmExitInstructionLength), 2u);
  resume();
  EXPECT_TRUE(vmx.write_msr_exits(0xc0000080, no_operand(2)));
  expect_exit(ExitReason::kWrmsr);
  EXPECT_FALSE(vmx.read_msr_exits(0x10, no_operand(2))) << "root operation";
}

TEST_F(Intercepts, MsrBitmaps) {
  prepare();
  enable(PrimaryProcBased::kUseMsrBitmaps);
  cpu.poke(kMsrBitmaps + 0x10 / 8, uint8_t{1});              // read of 10H
  cpu.poke(kMsrBitmaps + 1024 + 0x80 / 8, uint8_t{1});       // read of C0000080H
  cpu.poke(kMsrBitmaps + 2048 + 0x1fff / 8, uint8_t{0x80});  // write of 1FFFH
  cpu.poke(kMsrBitmaps + 3072 + 0x102 / 8, uint8_t{4});      // write of C0000102H
  ASSERT_EQ(vmlaunch(), "transfer");
  const auto read = [&](uint32_t index) {
    const bool exits = vmx.read_msr_exits(index, no_operand());
    if (exits) resume();
    return exits;
  };
  const auto write = [&](uint32_t index) {
    const bool exits = vmx.write_msr_exits(index, no_operand());
    if (exits) resume();
    return exits;
  };
  EXPECT_TRUE(read(0x10));
  EXPECT_FALSE(write(0x10));
  EXPECT_FALSE(read(0x11));
  EXPECT_TRUE(read(0xc0000080));
  EXPECT_FALSE(write(0xc0000080));
  EXPECT_TRUE(write(0x1fff));
  EXPECT_FALSE(read(0x1fff));
  EXPECT_TRUE(write(0xc0000102));
  EXPECT_FALSE(write(0xc0001fff));
  for (const uint32_t outside : {0x2000u, 0xbfffffffu, 0xc0002000u, 0x40000000u}) {
    EXPECT_TRUE(read(outside)) << outside;
    EXPECT_TRUE(write(outside)) << outside;
  }
}

// --- Boundaries.

TEST_F(Intercepts, InterruptWindow) {
  prepare();
  ASSERT_EQ(vmlaunch(), "transfer");
  EXPECT_FALSE(vmx.boundary_exits(true, true));
  vmx.triple_fault_exits();
  enable(PrimaryProcBased::kInterruptWindowExiting);
  resume();
  EXPECT_FALSE(vmx.boundary_exits(false, true));
  cpu.cpu.activity = ActivityState::kShutdown;
  EXPECT_FALSE(vmx.boundary_exits(true, true)) << "shutdown is not left";
  cpu.cpu.activity = ActivityState::kHlt;
  EXPECT_TRUE(vmx.boundary_exits(true, true));
  expect_exit(ExitReason::kInterruptWindow);
  EXPECT_EQ(get(Field::kGuestActivityState), 1u);
  EXPECT_EQ(cpu.cpu.activity, ActivityState::kActive);
}

TEST_F(Intercepts, NmiWindow) {
  prepare();
  enable(PinBased::kNmiExiting);
  enable(PinBased::kVirtualNmis);
  enable(PrimaryProcBased::kNmiWindowExiting);
  set(Field::kGuestInterruptibilityState, 8);
  ASSERT_EQ(vmlaunch(), "transfer");
  EXPECT_FALSE(vmx.boundary_exits(true, true)) << "virtual-NMI blocking";
  vmx.begin_iret();
  vmx.end_iret();
  EXPECT_FALSE(vmx.boundary_exits(true, false));
  cpu.cpu.activity = ActivityState::kShutdown;
  EXPECT_TRUE(vmx.boundary_exits(true, true)) << "wakes from shutdown";
  expect_exit(ExitReason::kNmiWindow);
}

TEST_F(Intercepts, PriorityOfBoundaryExits) {
  prepare();
  enable(PinBased::kNmiExiting);
  enable(PinBased::kVirtualNmis);
  enable(PinBased::kActivatePreemptionTimer);
  enable(PrimaryProcBased::kNmiWindowExiting);
  enable(PrimaryProcBased::kInterruptWindowExiting);
  set(Field::kVmxPreemptionTimerValue, 0);
  set(Field::kVmEntryInterruptionInformation, 0x80000700);  // pending MTF VM exit
  ASSERT_EQ(vmlaunch(), "transfer");
  EXPECT_TRUE(cpu.injected.empty());
  cpu.cpu.activity = ActivityState::kWaitForSipi;
  EXPECT_FALSE(vmx.boundary_exits(true, true)) << "nothing leaves wait-for-SIPI";
  cpu.cpu.activity = ActivityState::kActive;
  EXPECT_TRUE(vmx.boundary_exits(true, true));
  expect_exit(ExitReason::kMonitorTrapFlag);
  resume();
  EXPECT_TRUE(vmx.boundary_exits(true, true));
  expect_exit(ExitReason::kPreemptionTimerExpired);
  disable(PinBased::kActivatePreemptionTimer);
  resume();
  EXPECT_TRUE(vmx.boundary_exits(true, true));
  expect_exit(ExitReason::kNmiWindow);
  disable(PrimaryProcBased::kNmiWindowExiting);
  resume();
  EXPECT_TRUE(vmx.boundary_exits(true, true));
  expect_exit(ExitReason::kInterruptWindow);
}

TEST_F(Intercepts, MonitorTrapFlag) {
  prepare();
  enable(PrimaryProcBased::kMonitorTrapFlag);
  ASSERT_EQ(vmlaunch(), "transfer");
  EXPECT_TRUE(vmx.monitor_trap_flag());
  EXPECT_FALSE(vmx.boundary_exits(true, true)) << "not before an instruction was executed";
  vmx.set_monitor_trap_flag_pending();
  cpu.cpu.pending_debug_exceptions = 0x4000;
  EXPECT_TRUE(vmx.monitor_trap_flag_exits());
  expect_exit(ExitReason::kMonitorTrapFlag);
  EXPECT_EQ(get(Field::kGuestPendingDebugExceptions), 0x4000u);
  set(Field::kGuestPendingDebugExceptions, 0);
  set(Field::kVmEntryInterruptionInformation, 0x80000030);
  resume();
  EXPECT_EQ(cpu.injected.size(), 1u);
  EXPECT_TRUE(vmx.monitor_trap_flag_exits()) << "pending after a vectoring VM entry";
}

// --- VMFUNC and time.

TEST_F(Intercepts, EptpSwitching) {
  prepare();
  enable(SecondaryProcBased::kEnableEpt);
  enable(SecondaryProcBased::kEnableVmFunctions);
  set(Field::kEptPointer, kEpt);
  set(Field::kVmFunctionControls, 1);
  set(Field::kEptpListAddress, kEptpList);
  cpu.poke(kEptpList + 8 * 5, uint64_t{0x2001e});
  cpu.poke(kEptpList + 8 * 6, uint64_t{0x2001f});
  cpu.poke(kEptpList + 8 * 511, uint64_t{0x2001e});
  cpu.poke(kEptpList + 8 * 512, uint64_t{0x2001e});  // behind the list
  ASSERT_EQ(vmlaunch(), "transfer");
  cpu.invalidations.clear();
  const auto vmfunc = [&](uint64_t function, uint64_t index) {
    cpu.cpu.gpr[kRax] = function;
    cpu.cpu.gpr[kRcx] = index;
    return vmx.vmfunc(no_operand(3));
  };
  EXPECT_TRUE(std::holds_alternative<Completed>(vmfunc(0, 5)));
  EXPECT_EQ(vmx.eptp(), 0x2001eu);
  EXPECT_EQ(cpu.invalidations.size(), 1u);
  EXPECT_TRUE(std::holds_alternative<Completed>(vmfunc(0, 511)));
  for (const auto& [function, index] : {std::pair{0, 6}, {0, 7}, {0, 512}, {1, 5}}) {
    EXPECT_TRUE(std::holds_alternative<Transferred>(vmfunc(function, index))) << index;
    expect_exit(ExitReason::kVmfunc);
    EXPECT_EQ(get(Field::kVmExitInstructionLength), 3u);
    resume();
  }
  EXPECT_EQ(word(vmfunc(64, 0)), "#6");
}

TEST_F(Intercepts, PageModificationLog) {
  constexpr uint64_t kLog = 0x20000;
  prepare();
  enable(SecondaryProcBased::kEnableEpt);
  enable(SecondaryProcBased::kEnablePml);
  set(Field::kEptPointer, kEpt | 0x40);
  set(Field::kPmlAddress, kLog);
  set(Field::kPmlIndex, 1);
  ASSERT_EQ(vmlaunch(), "transfer");
  EXPECT_FALSE(vmx.page_modification_log_is_full());
  vmx.log_page_modification(0x12'3456'7890);
  EXPECT_EQ(cpu.peek<uint64_t>(kLog + 8), 0x12'3456'7000u);
  vmx.log_page_modification(0xfff);
  EXPECT_EQ(cpu.peek<uint64_t>(kLog), 0u);
  EXPECT_EQ(get(Field::kPmlIndex), 0xffffu);
  EXPECT_TRUE(vmx.page_modification_log_is_full());
  vmx.page_modification_log_full();
  expect_exit(ExitReason::kPmlFull);
  EXPECT_EQ(get(Field::kExitQualification), 0u);
  set(Field::kPmlIndex, 511);
  resume();
  EXPECT_FALSE(vmx.page_modification_log_is_full());
  vmx.triple_fault_exits();
  set(Field::kPmlIndex, 512);
  resume();
  EXPECT_TRUE(vmx.page_modification_log_is_full());
}

TEST_F(Intercepts, TscScaling) {
  prepare();
  enable(PrimaryProcBased::kUseTscOffsetting);
  enable(SecondaryProcBased::kUseTscScaling);
  set(Field::kTscOffset, 5);
  set(Field::kTscMultiplier, 3ull << 47);  // 1.5
  ASSERT_EQ(vmlaunch(), "transfer");
  EXPECT_EQ(vmx.guest_tsc(0x1'0000'0001), 0x1'8000'0001u + 5);
  EXPECT_EQ(vmx.guest_tsc(0x8000'0000'0000'0000), 0xc000'0000'0000'0000u + 5);
}

}  // namespace
}  // namespace nestor::vmx::test
