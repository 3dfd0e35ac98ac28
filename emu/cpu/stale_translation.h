// SPDX-License-Identifier: GPL-2.0-or-later
//
// Whether a translation that is used is still what the tables hold.
#pragma once

#include <cstdint>
#include <optional>

#include "emu/cpu/walk_results.h"
#include "emu/events/events.h"
#include "ept/walk.h"

namespace nestor::emu {

// A translation that is about to be used, and who uses it. Its addresses are in the space in which
// the tables are.
struct UsedTranslation {
  uint64_t linear = 0;
  ept::Access access{};
  uint64_t guest_physical = 0;  // under EPT
  uint64_t physical = 0;
  bool dirty = false;  // a write need not set dirty flags
  bool non_root = false;
  uint16_t vpid = 0, pcid = 0;
};

// Walks the tables in `memory` without any effect. std::nullopt: they agree. `ept`: null without
// EPT.
template <class Memory>
std::optional<StaleTranslationEvent> find_stale(Memory& memory, const ept::PagingState& paging,
                                                const ept::EptState* ept,
                                                const UsedTranslation& used) {
  StaleTranslationEvent event;
  event.linear = used.linear;
  event.access = used.access.kind;
  event.non_root = used.non_root;
  event.vpid = used.vpid;
  event.pcid = used.pcid;
  event.cached_guest_physical = used.guest_physical;
  event.cached_physical = used.physical;
  const ept::LinearAddress linear{used.linear};
  // What the guest's own tables say is what was cached.
  bool dirty = false, same_guest_physical = false, same_guest_dirty = false;
  if (ept != nullptr) {
    const auto walk = ept::walk_nested<ept::ProbeOnly>(memory, paging, *ept, linear, used.access);
    event.ept_root = ept::ept_root_of(ept->eptp.value);
    event.tables = walk_outcome(walk.outcome);
    event.tables_guest_physical = walk.guest_physical.value;
    event.tables_physical = walk.address.value;
    dirty = walk.dirty;
    same_guest_dirty = walk.guest_dirty;
    same_guest_physical = walk.linear_translated ? walk.guest_physical.value == used.guest_physical
                                                 : walk.outcome != ept::NestedOutcome::kPageFault;
  } else {
    const auto walk = ept::walk_linear<ept::ProbeOnly>(memory, paging, linear, used.access);
    event.tables = walk.translated() ? WalkOutcome::kTranslated : WalkOutcome::kPageFault;
    event.tables_physical = walk.address.value;
    dirty = walk.dirty;
  }
  if (event.tables == WalkOutcome::kTranslated && event.tables_physical == used.physical) {
    event.dirty_flag_cleared = used.access.kind == ept::Access::kWrite && used.dirty && !dirty;
    if (!event.dirty_flag_cleared) return std::nullopt;
    same_guest_physical = same_guest_dirty;
  }
  event.missing = same_guest_physical ? "INVEPT"
                  : ept != nullptr    ? "INVLPG, INVPCID or MOV to CR3 by L2; or INVVPID, or INVEPT"
                  : used.non_root     ? "INVLPG, INVPCID or MOV to CR3 by L2; or INVVPID"
                                      : "INVLPG, INVPCID or MOV to CR3";
  return event;
}

}  // namespace nestor::emu
