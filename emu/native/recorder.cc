// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/native/recorder.h"

#include <spdlog/fmt/fmt.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <ctime>
#include <optional>
#include <set>
#include <utility>

#include "emu/native/campaign.h"
#include "emu/native/recording.h"
#include "emu/native/table_generator.h"

namespace nestor::emu::native {
namespace {

constexpr unsigned kQuestionsPerTables = 64;
/// After so many sets of tables without anything new, nothing new is to be expected.
constexpr unsigned kPatience = 200;

/// What a walk is about, in words: walks with the same are alike.
std::string subject(const Question& question, const Answer& answer) {
  const ept::PagingState& state = question.state;
  std::string text = question.access
                         ? fmt::format("{} {} {}", static_cast<int>(question.access->kind),
                                       question.access->user, question.access->implicit_supervisor)
                         : "translate";
  if (!answer.canonical) return text + " not canonical";
  const auto& walk = answer.walk;
  text += fmt::format(" {} {:#x} WP {} NXE {}", static_cast<int>(walk.outcome), walk.error_code,
                      state.wp, state.nxe);
  if (!answer.steps.steps().empty()) {
    text += fmt::format(" level {}", answer.steps.steps().back().level);
  }
  if (walk.translated()) {
    text += fmt::format(" outside {} flags {}", walk.address.value >= Layout::kMemorySize,
                        walk.counts.updates != 0);
  }
  return text;
}

bool worth_recording(const Question& question, const Answer& answer) {
  if (answer.verdict != Verdict::kAgree) return false;
  // KVM_TRANSLATE ignores the upper bits of the address, whatever it finds then.
  if (!question.access && !answer.canonical) return false;
  if (answer.divergence != Divergence::kNone &&
      answer.divergence != Divergence::kAccessedWhenFaulting) {
    return false;
  }
  // A walk into the scaffold is about the test alone.
  for (const ept::Step& step : answer.steps.steps()) {
    if (step.address < Layout::kTables) return false;
  }
  return answer.walk.outcome != ept::LinearOutcome::kUnreachable || !answer.canonical;
}

RecordedResult result_of(const Question& question, const Answer& answer) {
  using Kind = RecordedResult::Kind;
  if (!question.access) {
    return answer.translated ? RecordedResult{Kind::kTranslated, *answer.translated, 0}
                             : RecordedResult{Kind::kNotTranslated, 0, 0};
  }
  if (answer.seen->vector == Observation::kPageFault) {
    return {Kind::kPageFault, 0, answer.seen->error_code};
  }
  if (!answer.canonical) return {Kind::kGeneralProtection, 0, 0};
  if (answer.outside) return {Kind::kOutside, answer.outside->address, 0};
  return {Kind::kCompleted, 0, 0};
}

/// The question asked again with nothing in the tables but the entries that it is about. Nothing:
/// it is not the same then.
std::optional<RecordedWalk> record(Comparison& comparison, const Question& question,
                                   const Answer& answer) {
  RecordedWalk walk{case_of(question, answer, comparison.memory()), {}};
  const Answer again = ask(comparison, walk.asked);
  if (!worth_recording(question, again) || subject(question, again) != subject(question, answer)) {
    return std::nullopt;
  }
  walk.result = result_of(question, again);
  const GuestMemory memory = comparison.memory();
  for (const Case::Entry& entry : walk.asked.entries) {
    std::uint64_t value = 0;
    std::uint32_t half = 0;
    if (question.state.mode != ept::PagingMode::k32Bit) {
      if (!memory.read64({entry.address}, value)) continue;
    } else {
      if (!memory.read32({entry.address}, half)) continue;
      value = half;
    }
    if (value != entry.value) walk.left.push_back({entry.address, value, entry.level});
  }
  return walk;
}

std::string head(const RecorderOptions& options, const Features& features) {
  utsname system{};
  uname(&system);
  const std::string release = system.release;
  const std::size_t first_dot = release.find('.');
  const std::string version =
      release.substr(0, release.find_first_not_of("0123456789", first_dot + 1));
  std::string flavour = "KVM";
  for (const char* module : {"kvm_pvm", "kvm_intel", "kvm_amd"}) {
    if (access(fmt::format("/sys/module/{}", module).c_str(), F_OK) == 0) flavour = module;
  }
  const std::time_t now = std::chrono::system_clock::to_time_t(std::chrono::system_clock::now());
  std::array<char, 16> date{};
  std::strftime(date.data(), date.size(), "%Y-%m-%d", std::gmtime(&now));
  return fmt::format(
      "# SPDX-License-Identifier: GPL-2.0-or-later\n"
      "# Walks that KVM did: README.md in this folder describes the lines.\n"
      "# Recorded on {}: {}, {} {}, {} processor, MAXPHYADDR {}, seed {}.\n\n",
      date.data(), flavour, system.sysname, version, features.amd ? "AMD" : "Intel",
      features.maxphyaddr, options.seed);
}

}  // namespace

std::string record_walks(const RecorderOptions& options) {
  Comparison comparison(options.device, 0, options.mode);
  std::string text = head(options, comparison.features());
  std::set<std::string> known;
  unsigned recorded = 0, without_news = 0;
  // Translations and accesses take turns.
  for (std::uint64_t index = 0; recorded < options.walks && without_news < kPatience; ++index) {
    const bool execute = index % 4 != 0;
    Random random = random_of_tables(options.seed, index, options.mode, execute);
    ept::PagingState state = random_state(random, options.mode, comparison.features());
    const auto fill = [&, tables = random] {
      Random same = tables;
      GuestMemory memory = comparison.memory();
      fill_tables(same, state, comparison.features().amd, memory);
      load_pdptes(state, memory);
      comparison.load(state, execute);
      return same;
    };
    random = fill();
    const bool implicit = execute && comparison.makes_implicit_accesses(state);
    ++without_news;
    for (unsigned i = 0; i != kQuestionsPerTables && recorded < options.walks; ++i) {
      const Question question = random_question(random, state, execute, implicit);
      const Answer answer = comparison.ask(question);
      if (!worth_recording(question, answer) || known.contains(subject(question, answer))) continue;
      if (const auto walk = record(comparison, question, answer)) {
        text += to_text(*walk, ++recorded);
        known.insert(subject(question, answer));
        without_news = 0;
      }
      (void)fill();
    }
  }
  return text;
}

}  // namespace nestor::emu::native
