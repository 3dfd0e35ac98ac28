// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/native/ept_campaign.h"

#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <chrono>
#include <utility>

#include "emu/native/nested_layout.h"
#include "emu/native/random.h"
#include "ept/bits.h"
#include "ept/ept_format.h"

namespace nestor::emu::native {
namespace {

using ept::NestedOutcome;

constexpr unsigned kEptTranslationsPerTables = 1024;
constexpr unsigned kEptAccessesPerTables = 96;
constexpr std::chrono::seconds kLongestEptShrinking{20};
/// Of the seeds; the paging modes have those below.
constexpr std::uint64_t kEptMode = 0x40;

void count(const EptQuestion& question, const EptAnswer& answer, EptFigures& figures) {
  if (answer.verdict == Verdict::kNotAsked) {
    ++figures.not_asked;
    return;
  }
  ++figures.asked;
  figures.five_level += question.ept.eptp.walk_length() == 5;
  figures.with_flags += question.ept.eptp.accessed_dirty();
  const bool last = answer.walk.linear_translated;
  figures.ept_walks += answer.walk.guest_counts.references + (last ? 1U : 0U);
  figures.mismatches += answer.verdict == Verdict::kDiffer;
  ++figures.divergences[static_cast<std::size_t>(answer.divergence)];
  figures.flags_set += answer.walk.ept_counts.updates != 0;
  switch (answer.walk.outcome) {
    case NestedOutcome::kTranslated:
      ++figures.translated;
      figures.outside += answer.walk.address.value >= NestedLayout::kMemorySize;
      break;
    case NestedOutcome::kPageFault:
      ++figures.page_faults;
      break;
    case NestedOutcome::kEptViolation:
      ++figures.violations;
      break;
    case NestedOutcome::kEptMisconfiguration:
      ++figures.misconfigurations;
      break;
    case NestedOutcome::kUnreachable:
    case NestedOutcome::kSubPageEvent:
      break;
  }
}

class EptCampaign {
 public:
  explicit EptCampaign(const CampaignOptions& options)
      : options_(options), comparison_(options.device) {
    result_.capabilities = comparison_.ept_capabilities();
  }

  EptCampaignResult run() {
    using Clock = std::chrono::steady_clock;
    const auto seconds = [](Clock::time_point from) {
      return std::chrono::duration<double>(Clock::now() - from).count();
    };
    auto start = Clock::now();
    ask_all(options_.walks, false, result_.translations);
    result_.translation_seconds = seconds(start);
    start = Clock::now();
    ask_all(options_.accesses, true, result_.accesses);
    result_.access_seconds = seconds(start);
    return result_;
  }

 private:
  void ask_all(std::uint64_t questions, bool execute, EptFigures& figures) {
    for (std::uint64_t index = 0; figures.asked < questions; ++index) {
      // Each set of tables has a seed of its own, that does not depend on those before it.
      Random random(Random(options_.seed ^ index << 8 ^ kEptMode ^ (execute ? 1U : 0U)).next());
      ask_about_one_set(random, questions, execute, figures, index);
    }
  }

  void ask_about_one_set(Random& random, std::uint64_t questions, bool execute, EptFigures& figures,
                         std::uint64_t index) {
    EptQuestion about;
    about.ept = random_ept_state(random, result_.capabilities, comparison_.features().maxphyaddr);
    about.wp = random.chance(60);
    about.user = execute && random.chance(50);
    GuestMemory memory = comparison_.memory();
    fill_ept_tables(random, about.ept, memory);
    comparison_.load(about, execute);
    ++figures.tables;
    const unsigned most = execute ? kEptAccessesPerTables : kEptTranslationsPerTables;
    for (unsigned i = 0; i != most && figures.asked < questions; ++i) {
      const EptQuestion question = random_ept_question(random, about, execute);
      const EptAnswer answer = comparison_.ask(question);
      count(question, answer, figures);
      if (answer.verdict != Verdict::kDiffer) continue;
      if (result_.mismatches.size() < options_.most_mismatches) report(question, answer, index);
      return;  // The tables are no longer what the generator made.
    }
  }

  void report(const EptQuestion& question, const EptAnswer& answer, std::uint64_t index) {
    std::string text = fmt::format("mismatch: seed {}, tables {}: ", options_.seed, index);
    const EptCase found = case_of(question, answer);
    const EptCase least = shrink(comparison_, found);
    const EptAnswer again = native::ask(comparison_, least);
    if (again.verdict == Verdict::kDiffer) {
      text += print(least, again);
    } else {
      text += "(only after the questions before it) " + print(found, answer);
    }
    result_.mismatches.push_back(std::move(text));
  }

  CampaignOptions options_;
  EptComparison comparison_;
  EptCampaignResult result_;
};

}  // namespace

EptCampaignResult run_ept_campaign(const CampaignOptions& options) {
  return EptCampaign(options).run();
}

EptCase case_of(const EptQuestion& question, const EptAnswer& answer) {
  EptCase result{question, {}};
  for (const ept::Step& step : answer.steps.steps()) {
    if (step.dimension != ept::Dimension::kEpt) continue;
    // An entry that is used again: what counts is how the walk found it first.
    if (std::ranges::find(result.entries, step.address, &EptCase::Entry::address) ==
        result.entries.end()) {
      result.entries.push_back({step.address, step.entry, step.level});
    }
  }
  return result;
}

EptAnswer ask(EptComparison& comparison, const EptCase& which) {
  GuestMemory memory = comparison.memory();
  for (std::uint64_t at = NestedLayout::kScaffoldTables; at != NestedLayout::kData; at += 8) {
    memory.store(at, std::uint64_t{0});
  }
  for (const EptCase::Entry& entry : which.entries) {
    // Entries may have been found in the data, where nothing has been changed.
    const bool table =
        entry.address >= NestedLayout::kScaffoldTables && entry.address < NestedLayout::kData;
    if (table) memory.store(entry.address, entry.value);
  }
  link_nested_scaffold(memory, which.question.ept);
  comparison.load(which.question, which.question.access.has_value());
  return comparison.ask(which.question);
}

EptCase shrink(EptComparison& comparison, EptCase which) {
  const auto end = std::chrono::steady_clock::now() + kLongestEptShrinking;
  bool smaller = true;
  const auto try_case = [&](const EptCase& candidate) {
    if (std::chrono::steady_clock::now() > end ||
        ask(comparison, candidate).verdict != Verdict::kDiffer) {
      return;
    }
    which = candidate;
    smaller = true;
  };
  const auto try_without_bits = [&](auto value_of) {
    for (unsigned position = 64; position-- != 0;) {
      if ((value_of(which) & ept::bit(position)) == 0) continue;
      EptCase candidate = which;
      value_of(candidate) &= ~ept::bit(position);
      try_case(candidate);
    }
  };
  while (smaller) {
    smaller = false;
    for (std::size_t i = which.entries.size(); i-- != 0;) {
      EptCase candidate = which;
      candidate.entries.erase(candidate.entries.begin() + static_cast<std::ptrdiff_t>(i));
      try_case(candidate);
    }
    for (std::size_t i = 0; i != which.entries.size(); ++i) {
      try_without_bits([i](auto& of) -> auto& { return of.entries[i].value; });
    }
    try_without_bits([](auto& of) -> auto& { return of.question.path.entry; });
    for (bool EptQuestion::*const flag : {&EptQuestion::wp, &EptQuestion::user}) {
      if (!(which.question.*flag)) continue;
      EptCase candidate = which;
      candidate.question.*flag = false;
      if (candidate.question.access) candidate.question.access->user = candidate.question.user;
      try_case(candidate);
    }
  }
  return which;
}

std::string print(const EptCase& which, const EptAnswer& answer) {
  const EptQuestion& question = which.question;
  std::string text = fmt::format("EPTP {:#x}, MAXPHYADDR {}{}\n  ", question.ept.eptp.value,
                                 question.ept.maxphyaddr, question.wp ? ", CR0.WP" : "");
  if (question.access) {
    constexpr std::array<const char*, 3> kKinds{"read", "write", "fetch"};
    text += fmt::format("{} at CPL {}", kKinds[question.access->kind], question.user ? 3 : 0);
  } else {
    text += "KVM_TRANSLATE";
  }
  text += fmt::format(" of {:#x}, where L2's {} at level {} is {:#x}\n", question.linear,
                      question.path.table ? "reference to a table" : "page", question.path.level,
                      question.path.entry);
  for (const EptCase::Entry& entry : which.entries) {
    text += fmt::format("  level {} EPT entry at {:#x}: {:#x}\n", entry.level, entry.address,
                        entry.value);
  }
  text += fmt::format("  walker: {}\n  KVM:    {}\n", answer.ours, answer.kvms);
  return text;
}

}  // namespace nestor::emu::native
