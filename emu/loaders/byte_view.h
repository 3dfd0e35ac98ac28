// SPDX-License-Identifier: GPL-2.0-or-later
//
// Little-endian numbers in bytes that nobody has checked yet.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "emu/memory/little_endian.h"

namespace nestor::emu {

using Bytes = std::span<const uint8_t>;

// Whether `size` bytes from `offset` on lie inside `whole` bytes; correct for any arguments.
constexpr bool inside(uint64_t offset, uint64_t size, uint64_t whole) {
  return offset <= whole && size <= whole - offset;
}

// The unsigned little-endian number of `width` (1..8) bytes at `offset`; nullopt: it ends outside
// `bytes`.
constexpr std::optional<uint64_t> read_number(Bytes bytes, uint64_t offset, unsigned width) {
  if (!inside(offset, width, bytes.size())) return std::nullopt;
  return load_little_endian(bytes.subspan(offset, width));
}

// Behind 8 bytes are zeros.
constexpr void append_number(std::vector<uint8_t>& out, uint64_t value, unsigned width) {
  for (unsigned i = 0; i < width; ++i)
    out.push_back(static_cast<uint8_t>(i < sizeof value ? value >> (8 * i) : 0));
}

constexpr void store_number(std::span<uint8_t> out, size_t offset, uint64_t value, unsigned width) {
  store_little_endian(out.subspan(offset, width), value);
}

}  // namespace nestor::emu
