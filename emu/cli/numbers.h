// SPDX-License-Identifier: GPL-2.0-or-later
//
// Numbers as a user writes them on the command line.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace nestor::emu {

// "512M": a number of bytes, or of KiB, MiB, GiB with the suffix K, M, G. nullopt: malformed or
// beyond 64 bits.
std::optional<uint64_t> parse_size(std::string_view text);

// A decimal number. nullopt: malformed or beyond 64 bits.
std::optional<uint64_t> parse_count(std::string_view text);

// Decimal, or hexadecimal after 0x. nullopt: malformed or beyond 64 bits.
std::optional<uint64_t> parse_address(std::string_view text);

}  // namespace nestor::emu
