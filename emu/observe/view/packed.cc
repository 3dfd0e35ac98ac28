// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/observe/view/packed.h"

#include <zlib.h>

#include <cstdint>
#include <new>
#include <vector>

namespace nestor::emu {
namespace {

// The lines of a trace have much in common: more effort than this gains little.
constexpr int kEffort = 4;

std::string base64(std::span<const uint8_t> bytes) {
  static constexpr std::string_view kLetters =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string text;
  text.reserve((bytes.size() + 2) / 3 * 4);
  for (size_t i = 0; i < bytes.size(); i += 3) {
    const size_t left = bytes.size() - i;
    const uint32_t three = uint32_t{bytes[i]} << 16 | (left > 1 ? uint32_t{bytes[i + 1]} << 8 : 0) |
                           (left > 2 ? bytes[i + 2] : 0u);
    text += kLetters[three >> 18];
    text += kLetters[three >> 12 & 63];
    text += left > 1 ? kLetters[three >> 6 & 63] : '=';
    text += left > 2 ? kLetters[three & 63] : '=';
  }
  return text;
}

}  // namespace

std::string pack(std::span<const std::byte> bytes) {
  uLongf size = ::compressBound(bytes.size());
  std::vector<uint8_t> packed(size);
  const int result = ::compress2(packed.data(), &size, reinterpret_cast<const Bytef*>(bytes.data()),
                                 bytes.size(), kEffort);
  if (result != Z_OK) throw std::bad_alloc();  // the only way to fail with a buffer of that size
  return base64({packed.data(), size});
}

}  // namespace nestor::emu
