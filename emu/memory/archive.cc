// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/memory/archive.h"

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

void StateWriter::integer(uint64_t& value, unsigned size) {
  for (unsigned i = 0; i < size; ++i) bytes_.push_back(static_cast<uint8_t>(value >> (8 * i)));
}

void StateReader::integer(uint64_t& value, unsigned size) {
  require(rest_.size() >= size);
  value = 0;
  if (!ok()) return;
  for (unsigned i = 0; i < size; ++i) value |= uint64_t{rest_[i]} << (8 * i);
  rest_ = rest_.subspan(size);
}

}  // namespace nestor::emu
