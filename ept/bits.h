// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>

namespace nestor::ept {

/// Bit `position` (0..63) alone.
[[nodiscard]] constexpr std::uint64_t bit(unsigned position) {
  return std::uint64_t{1} << position;
}

/// The `count` (0..64) lowest bits.
[[nodiscard]] constexpr std::uint64_t low_bits(unsigned count) {
  return count >= 64 ? ~std::uint64_t{0} : bit(count) - 1;
}

/// Bits `high`:`low`, both inclusive as the SDM writes them; none when `high` is below `low`.
[[nodiscard]] constexpr std::uint64_t bits(unsigned high, unsigned low) {
  return low_bits(high + 1) & ~low_bits(low);
}

static_assert(bits(51, 12) == 0x000f'ffff'ffff'f000);
static_assert(bits(51, 52) == 0 && bits(63, 63) == bit(63));

}  // namespace nestor::ept
