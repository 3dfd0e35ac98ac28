// SPDX-License-Identifier: GPL-2.0-or-later
//
// Events of every kind, which together have every field.
#pragma once

#include <array>
#include <utility>
#include <vector>

#include "emu/events/kinds.h"
#include "vmx/exceptions.h"
#include "vmx/exit_reasons.h"
#include "vmx/vmcs.h"

namespace nestor::emu {

inline constexpr std::array kSampleSteps = {
    ept::Step{ept::Dimension::kEpt, 4, 0x3000, 0x3000, 0x4007, 0x4107},
    ept::Step{ept::Dimension::kGuest, 4, 0x1000, 0x9000, 0x2023, 0x2023},
    ept::Step{ept::Dimension::kSubPage, 1, 0x6008, 0x6008, 0x55, 0x55},
};

template <size_t... I>
std::vector<MachineEvent> plain_events(std::index_sequence<I...> /*all*/) {
  return {MachineEvent(std::in_place_index<I>)...};
}

inline std::vector<MachineEvent> sample_events() {
  std::vector<MachineEvent> events = plain_events(std::make_index_sequence<kEventKindCount>());
  events.emplace_back(vmx::VmEntryEvent{true, 0x5000, 0x1000, 0x2000, 0x301e, 7, 0x80000b0e});
  // Whatever a qualification and the interruption information can say.
  for (uint32_t reason = 0; reason < 80; ++reason) {
    for (const uint64_t qualification : {0x0ull, 0x1ull, 0x111ull, 0x5555555555555555ull, ~0ull}) {
      for (const uint32_t information : {0u, 0x80000301u, 0x80000b0eu, ~0u}) {
        vmx::VmExitEvent exit;
        exit.reason = reason;
        exit.qualification = qualification;
        exit.guest_linear = 0x400000;
        exit.instruction_length = 3;
        exit.interruption_information = exit.idt_vectoring_information = information;
        exit.interruption_error_code = exit.idt_vectoring_error_code = 2;
        events.emplace_back(exit);
      }
    }
  }
  static const vmx::Vmcs vmcs = [] {
    vmx::Vmcs with_secondary_controls;
    with_secondary_controls.write(vmx::Field::kSecondaryProcBasedControls, 2);
    with_secondary_controls.cleared = false;
    return with_secondary_controls;
  }();
  events.emplace_back(vmx::VmEntryEvent{.vmcs = 0x5000, .data = &vmcs});
  static const vmx::CpuState state;
  for (const vmx::ExitReason reason :
       {vmx::ExitReason::kRdmsr, vmx::ExitReason::kCpuid, vmx::ExitReason::kIoInstruction}) {
    vmx::VmExitEvent exit;
    exit.reason = static_cast<uint32_t>(reason);
    exit.data = &vmcs;
    exit.state = &state;
    exit.why = "\"enable it\" is 0";
    events.emplace_back(exit);
  }
  events.emplace_back(vmx::CheckFailure{"a-check", "Field", 1, "\"use EPT\" must be 1", "Title"});
  events.emplace_back(vmx::CheckFailure{.id = "another",
                                        .field = "Guest CR0",
                                        .requirement = "as it must",
                                        .section = "Title",
                                        .component = vmx::Field::kGuestCr0,
                                        .wrong = {.zero = 0x20, .one = 1ull << 40}});
  events.emplace_back(vmx::CheckFailure{.id = "area",
                                        .field = "VM-exit MSR-load area",
                                        .requirement = "as it must",
                                        .section = "Title",
                                        .entry = 2,
                                        .entries = 3});
  for (uint32_t error = 1; error < 30; ++error)
    events.emplace_back(vmx::VmInstructionErrorEvent{"VMPTRLD", error});
  events.emplace_back(vmx::PageModificationEvent{0x5000, 511});
  events.emplace_back(L0ExitEvent{{.reason = 10, .guest_rip = 0x9000}, 2});
  for (uint8_t vector = 0; vector < 40; ++vector)
    events.emplace_back(ExceptionEvent{vector, false, 2, 0x10, 0x4000, true, {}, {}});
  const vmx::Event met = vmx::because("a reason", vmx::exception(vmx::kPf, 2, 0x5000));
  events.emplace_back(ExceptionEvent{vmx::kDf, false, 0, 0x10, 0, true, "another reason", met});
  ExceptionEvent refused{vmx::kGp, false, 0, 0x10};
  refused.msr = vmx::RefusedMsr{0x3a, 5};
  events.emplace_back(refused);
  events.emplace_back(ExceptionEvent{3, true, std::nullopt, 0x20, 0, false, {}, {}});
  events.emplace_back(InterruptEvent{2, true, 0x10, true});
  for (const auto outcome :
       {WalkOutcome::kTranslated, WalkOutcome::kPageFault, WalkOutcome::kEptViolation,
        WalkOutcome::kEptMisconfiguration, WalkOutcome::kSubPageEvent}) {
    WalkEvent walk{.outcome = outcome, .linear = 0x400000, .physical = 0x700000};
    walk.paging = ept::PagingMode::kPae;
    walk.access.implicit_supervisor = true;
    walk.why = "a reason, with \"quotes\"";
    events.emplace_back(walk);
    walk.eptp = 0x305e;
    walk.guest_physical = 0x200000;
    walk.rule = "bit 2 is (not) 0";
    walk.steps = kSampleSteps;
    events.emplace_back(walk);
    walk.linear.reset();
    events.emplace_back(walk);
    StaleTranslationEvent stale;
    stale.access = ept::Access::kFetch;
    stale.ept_root = 0x3000;
    stale.tables = outcome;
    stale.dirty_flag_cleared = true;
    stale.missing = "INVLPG, INVPCID or MOV to CR3 by L2; or INVVPID";
    events.emplace_back(stale);
  }
  events.emplace_back(UnclaimedAccess{true, true, 0xfed40000, 4, 0xffffffff});
  events.emplace_back(ZeroCodeEvent{0x400000});
  for (const bool real_mode : {true, false}) {
    events.emplace_back(OutsideRamEvent{ImplicitMemory::kStack, ~3ull, 0x30, real_mode, false});
    events.emplace_back(
        OutsideRamEvent{ImplicitMemory::kInterruptTable, 0xa0000, 0x30, real_mode, true});
  }
  events.emplace_back(TripleFaultEvent{0x30, true, met, 0x1000, 0, 0x2000, "not present"});
  for (uint32_t indicator = 1; indicator < 8; ++indicator)
    events.emplace_back(VmxAbortEvent{indicator});
  events.emplace_back(DebugExitEvent{3});
  events.emplace_back(RunEndEvent{"debug exit", true, 0x30});
  events.emplace_back(WorkloadEvent{2});
  static constexpr std::array kChanges = {VmcsFieldChange{vmx::Field::kGuestRip, 0x1000, 0x1002},
                                          VmcsFieldChange{vmx::Field::kExitReason, 0, 0xa}};
  events.emplace_back(VmcsChangeEvent{0x5000, true, kChanges});
  return events;
}

}  // namespace nestor::emu
