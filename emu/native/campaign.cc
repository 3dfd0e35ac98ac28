// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/native/campaign.h"

#include <spdlog/fmt/fmt.h>

#include <chrono>
#include <memory>
#include <utility>

#include "emu/native/layout.h"
#include "emu/native/random.h"
#include "emu/native/shrink.h"
#include "emu/native/table_generator.h"

namespace nestor::emu::native {
namespace {

using ept::Access;
using ept::LinearOutcome;
using ept::PageFaultCode;
using ept::PagingMode;

constexpr unsigned kTranslationsPerTables = 1024;
constexpr unsigned kAccessesPerTables = 64;
constexpr unsigned kPercentImplicit = 15;
/// After so many sets of tables another processor takes its turn.
constexpr unsigned kTablesPerMachine = 16;
/// The physical-address widths of the processors that take turns; 0 is the host's own.
constexpr std::array<std::uint8_t, 4> kWidths{0, 36, 40, 0};

void count(const Question& question, const Answer& answer, Figures& figures) {
  if (answer.verdict == Verdict::kNotAsked) {
    ++figures.not_asked;
    return;
  }
  ++figures.asked;
  figures.implicit += question.access && question.access->implicit_supervisor;
  figures.mismatches += answer.verdict == Verdict::kDiffer;
  ++figures.divergences[static_cast<std::size_t>(answer.divergence)];
  const auto& walk = answer.walk;
  if (!answer.canonical) {
    ++figures.non_canonical;
    return;
  }
  switch (walk.outcome) {
    case LinearOutcome::kTranslated:
      ++(walk.page_bits == 12 ? figures.small_pages : figures.large_pages);
      figures.outside += walk.address.value >= Layout::kMemorySize;
      break;
    case LinearOutcome::kPageFault:
      if ((walk.error_code & PageFaultCode::kPresent) == 0) {
        ++figures.not_present;
      } else if ((walk.error_code & PageFaultCode::kReserved) != 0) {
        ++figures.reserved;
      } else if ((walk.error_code & PageFaultCode::kProtectionKey) != 0) {
        ++figures.protection_key;
      } else {
        ++figures.denied;
      }
      break;
    case LinearOutcome::kUnreachable:
      ++figures.unreachable;
      break;
  }
  if (question.access) {
    figures.flags_set += walk.counts.updates != 0;
    return;
  }
  bool unset = false;
  for (const ept::Step& step : answer.steps.steps()) {
    unset = unset || (step.entry & ept::OrdinaryEntry::Flags::kAccessed) == 0;
  }
  figures.flags_set += unset && walk.translated();
}

class Campaign {
 public:
  Campaign(const CampaignOptions& options, PagingMode mode) : options_(options), mode_(mode) {}

  CampaignResult run() {
    using Clock = std::chrono::steady_clock;
    const auto seconds = [](Clock::time_point from) {
      return std::chrono::duration<double>(Clock::now() - from).count();
    };
    auto start = Clock::now();
    ask(options_.walks, false, result_.translations);
    result_.translation_seconds = seconds(start);
    start = Clock::now();
    ask(options_.accesses, true, result_.accesses);
    result_.access_seconds = seconds(start);
    return result_;
  }

 private:
  void ask(std::uint64_t questions, bool execute, Figures& figures) {
    for (std::uint64_t index = 0; figures.asked < questions; ++index) {
      if (index % kTablesPerMachine == 0) {
        // KVM_TRANSLATE is KVM's own walk, which knows the machine's width.
        const bool narrower = !execute || result_.features.smaller_maxphyaddr;
        const std::uint8_t width =
            narrower ? kWidths[index / kTablesPerMachine % kWidths.size()] : std::uint8_t{0};
        comparison_ = std::make_unique<Comparison>(options_.device, width, mode_);
        if (width == 0) result_.features = comparison_->features();
        if (mode_ == PagingMode::k5Level && !result_.features.la57) {
          throw Unavailable("the host's KVM offers no 5-level paging (LA57)");
        }
      }
      // Each set of tables has a seed of its own, that does not depend on those before it.
      Random random = random_of_tables(options_.seed, index, mode_, execute);
      ask_about_one_set(random, questions, execute, figures, index);
    }
  }

  void ask_about_one_set(Random& random, std::uint64_t questions, bool execute, Figures& figures,
                         std::uint64_t index) {
    ept::PagingState state = random_state(random, mode_, comparison_->features());
    GuestMemory memory = comparison_->memory();
    fill_tables(random, state, comparison_->features().amd, memory);
    load_pdptes(state, memory);
    comparison_->load(state, execute);
    const bool implicit = execute && comparison_->makes_implicit_accesses(state);
    if (execute) result_.implicit_accesses = implicit;
    ++figures.tables;
    const unsigned most = execute ? kAccessesPerTables : kTranslationsPerTables;
    for (unsigned i = 0; i != most && figures.asked < questions; ++i) {
      const Question question = random_question(random, state, execute, implicit);
      const Answer answer = comparison_->ask(question);
      count(question, answer, figures);
      if (answer.verdict != Verdict::kDiffer) continue;
      if (result_.mismatches.size() < options_.most_mismatches) report(question, answer, index);
      return;  // The tables are no longer what the generator made.
    }
  }

  void report(const Question& question, const Answer& answer, std::uint64_t index) {
    std::string text = fmt::format("mismatch: seed {}, tables {}: ", options_.seed, index);
    const Case found = case_of(question, answer, comparison_->memory());
    const Case least = shrink(*comparison_, found);
    const Answer again = native::ask(*comparison_, least);
    if (again.verdict == Verdict::kDiffer) {
      text += print(least, again);
    } else {
      text += "(only after the accesses before it) " + print(found, answer);
    }
    result_.mismatches.push_back(std::move(text));
  }

  CampaignOptions options_;
  PagingMode mode_;
  std::unique_ptr<Comparison> comparison_;
  CampaignResult result_;
};

}  // namespace

Question random_question(Random& random, const ept::PagingState& state, bool execute,
                         bool implicit) {
  Question question{state, random_linear(random, state), {}};
  if (execute) {
    // Aligned, and no instruction fetch may reach the next page.
    question.linear &= ~std::uint64_t{3};
    if ((question.linear & 0xfff) > 0xfe0) question.linear &= ~std::uint64_t{0x1f};
    question.access = Access{random.one_of({Access::kRead, Access::kWrite, Access::kFetch}),
                             random.chance(50), false};
    if (implicit && random.chance(kPercentImplicit)) {
      question.access->kind = Access::kRead;
      question.access->implicit_supervisor = true;
      question.linear &= ~std::uint64_t{7};
    }
  }
  return question;
}

Random random_of_tables(std::uint64_t seed, std::uint64_t index, PagingMode mode, bool execute) {
  return Random(
      Random(seed ^ index << 8 ^ static_cast<std::uint64_t>(mode) << 1 ^ (execute ? 1U : 0U))
          .next());
}

CampaignResult run_campaign(const CampaignOptions& options, PagingMode mode) {
  return Campaign(options, mode).run();
}

}  // namespace nestor::emu::native
