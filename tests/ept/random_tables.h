// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>

#include "ept/access.h"
#include "ept/paging_mode.h"
#include "tests/ept/naive_reader.h"

namespace nestor::ept::testing {

/// A small fast generator of numbers; equal seeds give equal numbers on every machine.
class Random {
 public:
  explicit Random(std::uint64_t seed) : state_(seed) {}

  std::uint64_t next() {
    state_ += 0x9e37'79b9'7f4a'7c15;
    std::uint64_t z = state_;
    z = (z ^ z >> 30) * 0xbf58'476d'1ce4'e5b9;
    z = (z ^ z >> 27) * 0x94d0'49bb'1331'11eb;
    return z ^ z >> 31;
  }
  /// 0 to `bound` - 1.
  std::uint64_t below(std::uint64_t bound) { return next() % bound; }
  bool one_in(std::uint64_t n) { return below(n) == 0; }
  bool coin() { return one_in(2); }

 private:
  std::uint64_t state_;
};

/// A world of random paging structures in a memory of 64 pages that wraps. Bit 17 of an address
/// tells guest tables (1) from EPT tables (0); inside a half, each level has pages of its own, so
/// that a walk meets entries made for its level. Everything that can go wrong does, rarely enough
/// for most walks to arrive.
class RandomWorld {
 public:
  static constexpr std::size_t kMemorySize = 64 * 4096;

  RandomWorld(std::uint64_t seed, PagingMode mode);

  PagingState state;
  EptState ept;
  NaiveMemory memory{kMemorySize};

  std::uint64_t random_linear(Random& random) const;
  static Access random_access(Random& random);

 private:
  static std::uint64_t table_page(Random& random, bool guest, unsigned level);
  std::uint64_t random_high_bits(Random& random, unsigned low) const;
  std::uint64_t guest_entry(Random& random, unsigned level) const;
  std::uint32_t small_entry(Random& random, unsigned level) const;
  std::uint64_t ept_entry(Random& random, unsigned level, unsigned index) const;
  std::uint64_t sub_page_entry(Random& random, unsigned level) const;
};

}  // namespace nestor::ept::testing
