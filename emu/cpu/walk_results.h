// SPDX-License-Identifier: GPL-2.0-or-later
//
// What the MMU makes of a walk, with EPT and without.
#pragma once

#include <cstdint>

#include "emu/cpu/mmu.h"
#include "emu/cpu/translation_caches.h"
#include "emu/events/events.h"
#include "ept/walk.h"

namespace nestor::emu {

inline WalkOutcome walk_outcome(ept::NestedOutcome outcome) {
  switch (outcome) {
    case ept::NestedOutcome::kPageFault:
      return WalkOutcome::kPageFault;
    case ept::NestedOutcome::kEptMisconfiguration:
      return WalkOutcome::kEptMisconfiguration;
    case ept::NestedOutcome::kEptViolation:
      return WalkOutcome::kEptViolation;
    case ept::NestedOutcome::kSubPageEvent:
      return WalkOutcome::kSubPageEvent;
    default:
      return WalkOutcome::kTranslated;
  }
}

// Why a walk over EPT did not translate `linear`.
inline Fault nested_fault(const ept::NestedWalk<ept::PhysicalAddress>& walk, uint64_t linear) {
  if (walk.outcome == ept::NestedOutcome::kPageFault) {
    return vmx::exception(vmx::kPf, walk.error_code, linear);
  }
  const uint64_t guest_physical = walk.guest_physical.value;
  switch (walk.outcome) {
    case ept::NestedOutcome::kSubPageEvent:
      return EptExit{SubPageEvent{walk.exit_qualification, guest_physical, linear}};
    case ept::NestedOutcome::kEptViolation:
      return EptExit{
          EptViolation{walk.exit_qualification, guest_physical, linear, walk.convertible}};
    default:
      return EptExit{EptMisconfiguration{guest_physical}};
  }
}

// What a page may be used for without another walk, after an access to it that was permitted.
inline Translation granted(uint64_t physical, const ept::PagingState& paging, ept::Access access,
                           const ept::LinearRights& rights, const ept::EptRights& ept_rights,
                           bool dirty) {
  const auto may = [&](ept::Access::Kind kind, bool ept_right) {
    ept::Access other = access;
    other.kind = kind;
    return ept_right && ept::permits(rights, paging, other);
  };
  return {physical, may(ept::Access::kRead, ept_rights.read),
          dirty && may(ept::Access::kWrite, ept_rights.write), access.kind == ept::Access::kFetch,
          false};
}

// What was recorded, where anything is.
template <class Recorder>
std::span<const ept::Step> steps_of(const Recorder& recorder) {
  if constexpr (Recorder::kRecords) {
    return recorder.steps();
  } else {
    return {};
  }
}

// `walk(memory)`, through the caches where there are any.
template <class Memory, class Walk>
auto through_caches(TranslationCaches* caches, Memory& memory, const ept::MappingTag& tag,
                    uint64_t linear, bool tables, const Walk& walk) {
  return caches != nullptr ? caches->walk(memory, tag, linear, tables, walk) : walk(memory);
}

}  // namespace nestor::emu
