// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "emu/native/campaign.h"
#include "emu/native/ept_comparison.h"

namespace nestor::emu::native {

/// What came of the questions of one kind.
struct EptFigures {
  std::uint64_t asked = 0;
  std::uint64_t not_asked = 0;   ///< Those that would leave what the test controls.
  std::uint64_t tables = 0;      ///< Sets of tables.
  std::uint64_t five_level = 0;  ///< Questions to 5-level EPT.
  std::uint64_t with_flags = 0;  ///< Questions to EPT with accessed and dirty flags.
  std::uint64_t ept_walks = 0;   ///< Walks of EPT tables: L2's paging structures need some, too.
  std::uint64_t translated = 0;
  std::uint64_t outside = 0;  ///< Of these: to an address without memory.
  std::uint64_t violations = 0;
  std::uint64_t misconfigurations = 0;
  std::uint64_t page_faults = 0;
  std::uint64_t flags_set = 0;  ///< Questions that set accessed or dirty flags of EPT.
  std::uint64_t mismatches = 0;
  std::array<std::uint64_t, kEptDivergences> divergences{};
};

struct EptCampaignResult {
  std::uint64_t capabilities = 0;  ///< IA32_VMX_EPT_VPID_CAP of L1.
  EptFigures translations{};
  EptFigures accesses{};
  /// The first mismatches, each shrunk and printed, with the seed of its tables.
  std::vector<std::string> mismatches{};
  double translation_seconds = 0;
  double access_seconds = 0;
};

/// Compares `options.walks` translations and `options.accesses` accesses. Throws `Unavailable`
/// where KVM is not usable or has no nested EPT.
[[nodiscard]] EptCampaignResult run_ept_campaign(const CampaignOptions& options);

/// A question together with all that the EPT tables hold besides zeroes and the scaffold.
struct EptCase {
  struct Entry {
    std::uint64_t address = 0;
    std::uint64_t value = 0;
    unsigned level = 0;
  };
  EptQuestion question;
  std::vector<Entry> entries{};
};
/// The case that a question about the present tables amounts to, from its answer.
[[nodiscard]] EptCase case_of(const EptQuestion& question, const EptAnswer& answer);
/// Writes the case's tables, and asks its question.
[[nodiscard]] EptAnswer ask(EptComparison& comparison, const EptCase& which);
/// The smallest case found by leaving out entries and bits, one by one, for which both sides still
/// differ; the case itself if they no longer do. Overwrites the tables.
[[nodiscard]] EptCase shrink(EptComparison& comparison, EptCase which);
/// The case and its answer on a few lines.
[[nodiscard]] std::string print(const EptCase& which, const EptAnswer& answer);

}  // namespace nestor::emu::native
