// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/native/shrink.h"

#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <utility>

#include "emu/native/layout.h"
#include "emu/native/table_generator.h"
#include "ept/bits.h"
#include "ept/ordinary_entry.h"
#include "ept/pae.h"

namespace nestor::emu::native {
namespace {

using ept::PagingMode;
using ept::PagingState;

constexpr std::chrono::seconds kLongestShrinking{20};

struct ControlBit {
  const char* name;
  bool PagingState::*member;
};
/// The control bits that a case may have, and that shrinking clears.
constexpr std::array<ControlBit, 8> kControlBits{{
    {"CR0.WP", &PagingState::wp},
    {"CR4.PSE", &PagingState::pse},
    {"CR4.SMEP", &PagingState::smep},
    {"CR4.SMAP", &PagingState::smap},
    {"EFLAGS.AC", &PagingState::ac},
    {"EFER.NXE", &PagingState::nxe},
    {"CR4.PKE", &PagingState::pke},
    {"CR4.PKS", &PagingState::pks},
}};

const char* name_of(PagingMode mode) {
  switch (mode) {
    case PagingMode::k32Bit:
      return "32-bit paging";
    case PagingMode::kPae:
      return "PAE paging";
    case PagingMode::k4Level:
      return "4-level paging";
    case PagingMode::k5Level:
      return "5-level paging";
    case PagingMode::kNone:
      break;
  }
  return "no paging";
}

std::string name_of(const std::optional<ept::Access>& access) {
  if (!access) return "KVM_TRANSLATE";
  constexpr std::array<const char*, 3> kKinds{"read", "write", "fetch"};
  return fmt::format("{}{} at CPL {}", access->implicit_supervisor ? "implicit supervisor " : "",
                     kKinds[access->kind], access->user ? 3 : 0);
}

}  // namespace

Case case_of(const Question& question, const Answer& answer, GuestMemory memory) {
  Case result{question, {}};
  if (question.state.mode == PagingMode::kPae) {
    const std::uint64_t at =
        (question.state.cr3 & ept::bits(31, 5)) + 8 * ept::Pae::pdpte_index(question.linear);
    std::uint64_t pdpte = 0;
    if (memory.read64({at}, pdpte)) result.entries.push_back({at, pdpte, 3});
  }
  for (const ept::Step& step : answer.steps.steps()) {
    // A table that references itself: what counts is how the walk found the entry first.
    if (std::ranges::find(result.entries, step.address, &Case::Entry::address) ==
        result.entries.end()) {
      result.entries.push_back({step.address, step.entry, step.level});
    }
  }
  return result;
}

Answer ask(Comparison& comparison, const Case& which) {
  Question question = which.question;
  GuestMemory memory = comparison.memory();
  for (std::uint64_t at = Layout::kScaffoldTables; at != Layout::kData; at += 8) {
    memory.store(at, std::uint64_t{0});
  }
  for (const Case::Entry& entry : which.entries) {
    // Entries may have been found outside the tables, where nothing has been changed.
    if (entry.address >= Layout::kData) continue;
    if (question.state.mode == PagingMode::k32Bit) {
      memory.store(entry.address, static_cast<std::uint32_t>(entry.value));
    } else {
      memory.store(entry.address, entry.value);
    }
  }
  link_scaffold(memory, question.state.mode);
  load_pdptes(question.state, memory);
  comparison.load(question.state, question.access.has_value());
  return comparison.ask(question);
}

Case shrink(Comparison& comparison, Case which) {
  const auto differs = [&](const Case& candidate) {
    const Answer answer = ask(comparison, candidate);
    // An entry that lost its address leads to the scaffold: another difference, if it is one.
    return answer.verdict == Verdict::kDiffer &&
           std::ranges::none_of(answer.steps.steps(), [](const ept::Step& step) {
             return step.address < Layout::kScaffoldTables;
           });
  };
  // A guest that never halts takes seconds for each attempt.
  const auto end = std::chrono::steady_clock::now() + kLongestShrinking;
  bool smaller = true;
  const auto try_case = [&](const Case& candidate) {
    if (std::chrono::steady_clock::now() > end || !differs(candidate)) return;
    which = candidate;
    smaller = true;
  };
  while (smaller) {
    smaller = false;
    for (const ControlBit& bit : kControlBits) {
      if (!(which.question.state.*bit.member)) continue;
      Case candidate = which;
      candidate.question.state.*bit.member = false;
      try_case(candidate);
    }
    for (std::size_t i = 0; i != which.entries.size(); ++i) {
      for (unsigned position = 64; position-- != 0;) {
        const std::uint64_t mask = ept::bit(position);
        if ((which.entries[i].value & mask) == 0) continue;
        Case candidate = which;
        candidate.entries[i].value &= ~mask;
        try_case(candidate);
      }
    }
    for (std::size_t i = which.entries.size(); i-- != 0;) {
      Case candidate = which;
      candidate.entries.erase(candidate.entries.begin() + static_cast<std::ptrdiff_t>(i));
      try_case(candidate);
    }
    for (const std::uint64_t mask : {ept::bits(11, 0), ept::bits(20, 12), ept::bits(29, 12)}) {
      if ((which.question.linear & mask) == 0) continue;
      Case candidate = which;
      candidate.question.linear &= ~mask;
      try_case(candidate);
    }
  }
  return which;
}

std::string print(const Case& which, const Answer& answer) {
  const PagingState& state = which.question.state;
  std::string text =
      fmt::format("{}, MAXPHYADDR {}, CR3 {:#x}", name_of(state.mode), state.maxphyaddr, state.cr3);
  for (const ControlBit& bit : kControlBits) {
    if (state.*bit.member) text += fmt::format(", {}", bit.name);
  }
  if (state.pke) text += fmt::format(", PKRU {:#x}", state.pkru);
  if (state.pks) text += fmt::format(", PKRS {:#x}", state.pkrs);
  text += fmt::format("\n  {} of {:#x}\n", name_of(which.question.access), which.question.linear);
  for (const Case::Entry& entry : which.entries) {
    text +=
        fmt::format("  level {} entry at {:#x}: {:#x}\n", entry.level, entry.address, entry.value);
  }
  text += fmt::format("  walker: {}\n  KVM:    {}\n", answer.ours, answer.kvms);
  return text;
}

}  // namespace nestor::emu::native
