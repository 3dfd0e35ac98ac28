// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <cstdint>
#include <span>

namespace nestor::emu {

// The number of at most 8 bytes.
constexpr uint64_t load_little_endian(std::span<const uint8_t> bytes) {
  uint64_t value = 0;
  for (unsigned i = 0; i < bytes.size(); ++i) value |= uint64_t{bytes[i]} << (8 * i);
  return value;
}

// Its low bytes, as many as there are places.
constexpr void store_little_endian(std::span<uint8_t> bytes, uint64_t value) {
  for (unsigned i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<uint8_t>(value >> (8 * i));
}

}  // namespace nestor::emu
