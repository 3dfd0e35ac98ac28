// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <cstdint>
#include <initializer_list>

namespace nestor::emu::native {

/// The SplitMix64 generator: the same numbers for the same seed everywhere.
class Random {
 public:
  explicit Random(std::uint64_t seed) : state_(seed) {}

  [[nodiscard]] std::uint64_t next() {
    std::uint64_t z = (state_ += 0x9e37'79b9'7f4a'7c15);
    z = (z ^ z >> 30) * 0xbf58'476d'1ce4'e5b9;
    z = (z ^ z >> 27) * 0x94d0'49bb'1331'11eb;
    return z ^ z >> 31;
  }
  /// 0 to `count` - 1; `count` is not 0.
  [[nodiscard]] std::uint64_t below(std::uint64_t count) { return next() % count; }
  /// True in `percent` of 100 cases.
  [[nodiscard]] bool chance(unsigned percent) { return below(100) < percent; }
  /// Bit `position` of what is returned is set in `percent` of 100 cases; the others are 0.
  [[nodiscard]] std::uint64_t bit(unsigned position, unsigned percent) {
    return chance(percent) ? std::uint64_t{1} << position : 0;
  }
  template <class T>
  [[nodiscard]] T one_of(std::initializer_list<T> values) {
    return values.begin()[below(values.size())];
  }

 private:
  std::uint64_t state_;
};

}  // namespace nestor::emu::native
