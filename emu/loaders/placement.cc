// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/loaders/placement.h"

#include <spdlog/fmt/fmt.h>

#include <algorithm>

#include "emu/loaders/byte_view.h"

namespace nestor::emu {
namespace {

// Neither argument exceeds 4 GiB, so this does not overflow.
constexpr uint64_t page_up(uint64_t address) {
  return (address + kPageBytes - 1) / kPageBytes * kPageBytes;
}

}  // namespace

std::string to_string(const MemoryMap& memory) {
  std::string text;
  for (const MemoryRange& range : memory) {
    if (!text.empty()) text += ", ";
    text += fmt::format("{:#x}-{:#x}", range.first, range.first + (range.size - 1));
  }
  return text.empty() ? "none" : text;
}

std::optional<LoadError> Placement::claim(uint64_t first, uint64_t size, std::string owner) {
  if (size == 0) return std::nullopt;
  if (!inside(first, size, kFourGiB)) {
    return LoadError{fmt::format(
        "{} ({:#x} bytes at {:#x}) ends beyond 4 GiB; link the image lower", owner, size, first)};
  }
  const bool in_memory = std::ranges::any_of(memory_, [&](const MemoryRange& range) {
    return first >= range.first && inside(first - range.first, size, range.size);
  });
  if (!in_memory) {
    return LoadError{fmt::format(
        "{} ({:#x}-{:#x}) lies outside RAM ({}); give the machine more with --memory or link "
        "the image elsewhere",
        owner, first, first + size - 1, to_string(memory_))};
  }
  // The only claims that can overlap are the last one that starts at or below the new end.
  const auto after = claims_.lower_bound(first + size);
  if (after != claims_.begin()) {
    const auto& [other, taken] = *std::prev(after);
    if (other + taken.size > first) {
      return LoadError{
          fmt::format("{} ({:#x}-{:#x}) overlaps {} ({:#x}-{:#x}); link the image without overlaps",
                      owner, first, first + size - 1, taken.owner, other, other + taken.size - 1)};
    }
  }
  claims_.emplace(first, Claim{size, std::move(owner)});
  return std::nullopt;
}

std::optional<uint64_t> Placement::find(uint64_t size, uint64_t lowest, uint64_t limit) const {
  limit = std::min(limit, kFourGiB);
  for (const MemoryRange& range : memory_) {
    if (range.first >= limit) break;
    const uint64_t end = std::min(limit - range.first, range.size) + range.first;
    uint64_t candidate = page_up(std::max(range.first, std::min(lowest, kFourGiB)));
    // A claim lies in one range, so those of other ranges move the candidate nowhere.
    for (auto claim = claims_.begin(); claim != claims_.end() && claim->first < end; ++claim) {
      const uint64_t claim_end = claim->first + claim->second.size;
      if (claim_end <= candidate) continue;
      if (candidate < claim->first && size <= claim->first - candidate) break;
      candidate = page_up(claim_end);
    }
    if (candidate < end && size <= end - candidate) return candidate;
  }
  return std::nullopt;
}

uint64_t Placement::end() const {
  if (claims_.empty()) return 0;
  const auto& [first, last] = *claims_.rbegin();
  return first + last.size;
}

}  // namespace nestor::emu
