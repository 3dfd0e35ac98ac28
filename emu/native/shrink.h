// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "emu/native/comparison.h"

namespace nestor::emu::native {

/// A question together with all that the tables hold besides zeroes.
struct Case {
  struct Entry {
    std::uint64_t address = 0;
    std::uint64_t value = 0;
    unsigned level = 0;
  };
  Question question;
  std::vector<Entry> entries{};
};

/// The case that a question about the present tables amounts to, from its answer.
[[nodiscard]] Case case_of(const Question& question, const Answer& answer, GuestMemory memory);

/// Writes the case's tables, and asks its question.
[[nodiscard]] Answer ask(Comparison& comparison, const Case& which);

/// The smallest case found by leaving out control bits, entries and bits of entries, one by one,
/// for which both sides still differ; the case itself if they no longer do. Overwrites the tables.
[[nodiscard]] Case shrink(Comparison& comparison, Case which);

/// The case and its answer on a few lines.
[[nodiscard]] std::string print(const Case& which, const Answer& answer);

}  // namespace nestor::emu::native
