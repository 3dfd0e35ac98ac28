// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/memory/archive.h"

#include <algorithm>

namespace nestor::emu {

void Archive::section(std::string_view name) {
  uint64_t size = name.size();
  visit(size);
  require(size == name.size());
  for (const char letter : name) {
    auto byte = static_cast<uint8_t>(letter);
    visit(byte);
    require(byte == static_cast<uint8_t>(letter));
  }
}

void StateWriter::bytes(std::span<uint8_t> data) {
  constexpr size_t kChunk = 1 << 16;
  chunk_.insert(chunk_.end(), data.begin(), data.end());
  if (chunk_.size() >= kChunk) flush();
}

void StateWriter::integer(uint64_t& value, unsigned size) {
  std::array<uint8_t, 8> little;
  for (unsigned i = 0; i < size; ++i) little[i] = static_cast<uint8_t>(value >> (8 * i));
  bytes(std::span(little).first(size));
}

void StateWriter::flush() {
  if (!chunk_.empty()) consumer_(chunk_);
  chunk_.clear();
}

bool StateReader::at_end() {
  if (rest_.empty()) rest_ = source_();
  return rest_.empty();
}

void StateReader::bytes(std::span<uint8_t> data) {
  while (ok() && !data.empty()) {
    require(!at_end());
    const size_t part = std::min(rest_.size(), data.size());
    std::copy_n(rest_.begin(), part, data.begin());
    rest_ = rest_.subspan(part);
    data = data.subspan(part);
  }
  if (!ok()) std::ranges::fill(data, uint8_t{0});
}

void StateReader::integer(uint64_t& value, unsigned size) {
  std::array<uint8_t, 8> little{};
  bytes(std::span(little).first(size));
  value = 0;
  if (!ok()) return;
  for (unsigned i = 0; i < size; ++i) value |= uint64_t{little[i]} << (8 * i);
}

}  // namespace nestor::emu
