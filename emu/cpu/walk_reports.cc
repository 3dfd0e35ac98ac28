// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/cpu/walk_reports.h"

#include "emu/cpu/walk_results.h"
#include "ept/explain.h"

namespace nestor::emu {
namespace {

// Of the last step in a dimension; 0: there is none.
unsigned last_level(std::span<const ept::Step> steps, ept::Dimension dimension) {
  for (size_t i = steps.size(); i-- != 0;)
    if (steps[i].dimension == dimension) return steps[i].level;
  return 0;
}

WalkEvent event_of(const WalkSubject& subject, WalkOutcome outcome,
                   std::span<const ept::Step> steps) {
  return {.outcome = outcome,
          .linear = subject.linear,
          .paging = subject.paging.mode,
          .access = subject.access,
          .cpl = subject.cpl,
          .steps = steps};
}

void explain_page_fault(const WalkSubject& subject, uint32_t error_code,
                        const ept::LinearRights& rights, WalkEvent& event) {
  if ((error_code & ept::PageFaultCode::kReserved) != 0) {
    const ept::Step& last = event.steps.back();
    event.rule = ept::explain_reserved_bits(subject.paging, last.entry, last.level);
    return;
  }
  const unsigned level = last_level(event.steps, ept::Dimension::kGuest);
  event.why = ept::explain_page_fault(subject.paging, subject.access, error_code, rights, level);
  // The control decides, not what the guest's tables are made for.
  if (subject.non_root && subject.paging.mode == ept::PagingMode::kPae && level == 0)
    event.why = "the PDPTE is not present (\"IA-32e mode guest\" is 0)";
}

}  // namespace

WalkEvent report(const WalkSubject& subject, const ept::LinearWalk<ept::PhysicalAddress>& walk,
                 std::span<const ept::Step> steps) {
  WalkEvent event = event_of(
      subject, walk.translated() ? WalkOutcome::kTranslated : WalkOutcome::kPageFault, steps);
  event.physical = walk.address.value;
  if (!walk.translated()) explain_page_fault(subject, walk.error_code, walk.rights, event);
  return event;
}

WalkEvent report(const WalkSubject& subject, const ept::NestedWalk<ept::PhysicalAddress>& walk,
                 const ept::EptState& ept, std::span<const ept::Step> steps) {
  WalkEvent event = event_of(subject, walk_outcome(walk.outcome), steps);
  event.eptp = ept.eptp.value;
  event.guest_physical = walk.guest_physical.value;
  event.physical = walk.address.value;
  if (event.outcome == WalkOutcome::kPageFault) {
    explain_page_fault(subject, walk.error_code, walk.rights, event);
  } else if (event.outcome == WalkOutcome::kEptViolation) {
    event.why = ept::explain_ept_violation(walk.exit_qualification,
                                           last_level(steps, ept::Dimension::kEpt));
  } else if (event.outcome == WalkOutcome::kEptMisconfiguration && !steps.empty()) {
    event.rule = ept::explain_misconfiguration(ept, steps.back().entry, steps.back().level);
  } else if (event.outcome == WalkOutcome::kSubPageEvent && !steps.empty()) {
    event.rule =
        ept::explain_sub_page_misconfiguration(ept, steps.back().entry, steps.back().level);
  }
  return event;
}

}  // namespace nestor::emu
