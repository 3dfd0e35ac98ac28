// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>

#include "ept/bits.h"

namespace nestor::ept {

/// A format whose entries carry an accessed flag, and whose entries that map a page carry a dirty
/// flag. Whether they are enabled is asked at run time: `flags_enabled` of the format's rules.
template <unsigned AccessedBit, unsigned DirtyBit>
struct AccessedDirtyFlags {
  static constexpr bool kPresent = true;
  static constexpr std::uint64_t kAccessed = bit(AccessedBit);
  static constexpr std::uint64_t kDirty = bit(DirtyBit);

  // Code that folds the dirty flag onto the accessed flag shifts right by this difference.
  static_assert(DirtyBit > AccessedBit, "the dirty flag lies above the accessed flag");
};

/// A format without such flags. It has no masks, so nothing can be computed from them.
struct NoAccessedDirtyFlags {
  static constexpr bool kPresent = false;
};

/// Walks leave accessed and dirty flags behind, as a processor's do.
struct UpdateFlags {
  static constexpr bool kUpdates = true;
};

/// Walks leave no trace in memory: for debuggers, decoders and traces.
struct ProbeOnly {
  static constexpr bool kUpdates = false;
};

/// Whether a walk of `Format` with these `Effects` contains code that writes entries.
template <class Format, class Effects>
inline constexpr bool kWritesEntries = Format::Flags::kPresent&& Effects::kUpdates;

}  // namespace nestor::ept
