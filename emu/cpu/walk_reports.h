// SPDX-License-Identifier: GPL-2.0-or-later
//
// Walks as events.
#pragma once

#include <cstdint>
#include <optional>
#include <span>

#include "emu/events/events.h"
#include "ept/walk.h"

namespace nestor::emu {

// What was to be translated, and on which terms.
struct WalkSubject {
  std::optional<uint64_t> linear;  // std::nullopt: PDPTEs are loaded
  ept::Access access{};
  const ept::PagingState& paging;
  uint8_t cpl = 0;
  bool non_root = false;
};

// The event refers to `steps`.
WalkEvent report(const WalkSubject& subject, const ept::LinearWalk<ept::PhysicalAddress>& walk,
                 std::span<const ept::Step> steps);
WalkEvent report(const WalkSubject& subject, const ept::NestedWalk<ept::PhysicalAddress>& walk,
                 const ept::EptState& ept, std::span<const ept::Step> steps);

}  // namespace nestor::emu
