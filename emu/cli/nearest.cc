// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/cli/nearest.h"

#include <algorithm>
#include <numeric>
#include <string>

namespace nestor::emu {
namespace {

// Letters to change, insert or leave out to get from one to the other.
size_t distance(std::string_view a, std::string_view b) {
  std::vector<size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), size_t{0});
  for (size_t i = 0; i < a.size(); ++i) {
    size_t diagonal = row[0];
    row[0] = i + 1;
    for (size_t j = 0; j < b.size(); ++j) {
      const size_t above = row[j + 1];
      row[j + 1] = std::min({above + 1, row[j] + 1, diagonal + (a[i] != b[j] ? 1u : 0u)});
      diagonal = above;
    }
  }
  return row[b.size()];
}

std::string lower(std::string_view text) {
  std::string lowered(text);
  for (char& letter : lowered)
    if (letter >= 'A' && letter <= 'Z') letter = static_cast<char>(letter - 'A' + 'a');
  return lowered;
}

}  // namespace

std::string_view nearest(std::string_view name, const std::vector<std::string_view>& names) {
  constexpr size_t kFewest = 2;
  const std::string wanted = lower(name);
  std::string_view best;
  size_t best_distance = std::max(kFewest, name.size() / 3) + 1;
  for (const std::string_view other : names) {
    const std::string candidate = lower(other);
    const bool begins = wanted.size() > kFewest && candidate.starts_with(wanted);
    const size_t changes = begins ? 1 : distance(wanted, candidate);
    if (changes < best_distance) {
      best = other;
      best_distance = changes;
    }
  }
  return best;
}

}  // namespace nestor::emu
