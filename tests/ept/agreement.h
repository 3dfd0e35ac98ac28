// SPDX-License-Identifier: MIT
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "ept/access.h"
#include "ept/paging_mode.h"
#include "tests/ept/naive_reader.h"

namespace nestor::ept::testing {

inline constexpr std::array kAllModes = {PagingMode::kNone, PagingMode::k32Bit, PagingMode::kPae,
                                         PagingMode::k4Level, PagingMode::k5Level};

/// One walk: tables, what decides how they are read, and the access.
struct Question {
  PagingState state;
  EptState ept;
  bool nested = false;  ///< Paging over EPT, else paging alone.
  std::uint64_t linear = 0;
  Access access;
};

/// Who says what the answer should be. `naive_linear` is one; tests of the shrinking have others.
using Reader = NaiveAnswer (*)(NaiveMemory& memory, const PagingState& state, const EptState* ept,
                               std::uint64_t linear, Access access);

/// What one walk was: for statistics.
struct Asked {
  NaiveAnswer answer;
  unsigned updates = 0;
};

/// Walks in `walked` and reads in `read`, which hold the same tables, and compares everything that
/// the two say and what they write. Empty: they agree; otherwise the first difference in words.
std::string disagreement(const Question& question, NaiveMemory& walked, NaiveMemory& read,
                         Reader reader = naive_linear, Asked* asked = nullptr);

/// A question with its tables.
struct Case {
  Question question;
  NaiveMemory memory;

  [[nodiscard]] std::string disagreement(Reader reader) const;
};

/// Makes a case on which the walker and `reader` disagree as small as it gets while they still
/// disagree: entries are zeroed, bits dropped, levels lowered, controls switched off.
void shrink(Case& failing, Reader reader);

/// The entries of its tables that are not zero.
std::vector<Update> entries_of(const Case& shown);

/// The case for a person: state, access and entries.
std::string describe(const Case& shown);

}  // namespace nestor::ept::testing
