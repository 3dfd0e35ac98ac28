// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "emu/native/comparison.h"
#include "emu/native/random.h"
#include "ept/paging_mode.h"

namespace nestor::emu::native {

struct CampaignOptions {
  std::string device = "/dev/kvm";
  std::uint64_t seed = 1;
  std::uint64_t walks = 0;     ///< Questions to KVM_TRANSLATE, per mode.
  std::uint64_t accesses = 0;  ///< Accesses executed in the machine, per mode.
  unsigned most_mismatches = 5;
};

/// What came of the questions of one kind in one mode.
struct Figures {
  std::uint64_t asked = 0;
  std::uint64_t implicit = 0;   ///< Of these: implicit supervisor accesses.
  std::uint64_t not_asked = 0;  ///< Accesses that would leave what the test controls.
  std::uint64_t tables = 0;     ///< Sets of tables.
  std::uint64_t small_pages = 0;
  std::uint64_t large_pages = 0;
  std::uint64_t outside = 0;  ///< Of both: those that translate to an address without memory.
  std::uint64_t not_present = 0;
  std::uint64_t reserved = 0;
  std::uint64_t denied = 0;
  std::uint64_t protection_key = 0;
  std::uint64_t non_canonical = 0;
  std::uint64_t unreachable = 0;
  std::uint64_t flags_set = 0;  ///< Questions that set accessed or dirty flags.
  std::uint64_t mismatches = 0;
  std::array<std::uint64_t, kDivergences> divergences{};
};

struct CampaignResult {
  Features features{};  ///< Of the host's processor.
  /// Whether implicit supervisor accesses were among the accesses; nothing if none were executed.
  std::optional<bool> implicit_accesses{};
  Figures translations{};
  Figures accesses{};
  /// The first mismatches, each shrunk and printed, with the seed of its tables.
  std::vector<std::string> mismatches{};
  double translation_seconds = 0;
  double access_seconds = 0;
};

/// The numbers that make set `index` of tables, and the questions about it: a walk that is named by
/// a seed and an index can be asked again.
[[nodiscard]] Random random_of_tables(std::uint64_t seed, std::uint64_t index, ept::PagingMode mode,
                                      bool execute);
/// `implicit`: implicit supervisor accesses can be asked for.
[[nodiscard]] Question random_question(Random& random, const ept::PagingState& state, bool execute,
                                       bool implicit);

/// Compares `options.walks` translations and `options.accesses` accesses. Throws `Unavailable`
/// where KVM is not usable or lacks the mode.
[[nodiscard]] CampaignResult run_campaign(const CampaignOptions& options, ept::PagingMode mode);

}  // namespace nestor::emu::native
