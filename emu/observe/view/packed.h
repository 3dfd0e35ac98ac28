// SPDX-License-Identifier: GPL-2.0-or-later
//
// Bytes as a page takes them: compressed, in letters.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <string_view>

namespace nestor::emu {

// In base64, of a zlib stream (RFC 1950), which is what a browser's DecompressionStream calls
// "deflate".
std::string pack(std::span<const std::byte> bytes);
inline std::string pack(std::string_view text) {
  return pack(std::as_bytes(std::span(text.data(), text.size())));
}

}  // namespace nestor::emu
