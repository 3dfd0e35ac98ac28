// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/devices/emulator/pc_testdev.h"

#include <algorithm>
#include <utility>

namespace nestor::emu {
namespace {

// Indices of kRegions that are told apart.
enum : unsigned { kData = 0, kBytes2 = 2, kLines = 3 };

uint64_t load(const uint8_t* from, uint64_t size) {
  uint64_t value = 0;
  for (uint64_t i = 0; i < size; ++i) value |= uint64_t{from[i]} << (8 * i);
  return value;
}

void store(uint8_t* to, uint64_t size, uint64_t value) {
  for (uint64_t i = 0; i < size; ++i) to[i] = static_cast<uint8_t>(value >> (8 * i));
}

}  // namespace

PcTestdev::PcTestdev(InterruptLines& lines, std::function<void(uint64_t)> flush)
    : flush_(std::move(flush)) {
  lines_.reserve(InterruptLines::kCount);
  for (unsigned line = 0; line < InterruptLines::kCount; ++line) {
    lines_.push_back(lines.source(line));
  }
}

bool PcTestdev::is_flush(DeviceAddress at) { return at.region == kData && at.offset >= 4; }

uint64_t PcTestdev::data_byte(DeviceAddress at) {
  return at.region == kBytes2 ? 2 + at.offset : at.offset;
}

uint32_t PcTestdev::read_port(DeviceAddress at, unsigned size) {
  if (at.region == kLines || is_flush(at)) return 0xffffffff;  // write-only
  const uint64_t first = data_byte(at);
  return static_cast<uint32_t>(load(&state_.data[first], std::min<uint64_t>(size, 4 - first)));
}

void PcTestdev::write_port(DeviceAddress at, unsigned size, uint32_t value) {
  if (at.region == kLines) {
    if (size == 1) lines_[at.offset].set(value != 0);
  } else if (is_flush(at)) {
    if (size == 4 && flush_) flush_(value & ~0xfffu);
  } else {
    const uint64_t first = data_byte(at);
    store(&state_.data[first], std::min<uint64_t>(size, 4 - first), value);
  }
}

uint64_t PcTestdev::read_memory(DeviceAddress at, unsigned size) {
  return load(&state_.memory[at.offset], size);
}

void PcTestdev::write_memory(DeviceAddress at, unsigned size, uint64_t value) {
  store(&state_.memory[at.offset], size, value);
}

}  // namespace nestor::emu
