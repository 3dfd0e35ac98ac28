// SPDX-License-Identifier: GPL-2.0-or-later
//
// The ROM below 1 MiB. What is written to it is dropped.
#pragma once

#include <cstdint>
#include <utility>
#include <vector>

#include "emu/devices/bus.h"

namespace nestor::emu {

class Rom : public Device {
 public:
  static constexpr uint64_t kSize = 0x20000;
  static constexpr Region kRegions[] = {{Space::kMemory, kSize}};

  // Beyond `content`, which has kSize bytes at most, it reads as zeros.
  explicit Rom(std::vector<uint8_t> content) : content_(std::move(content)) {
    content_.resize(kSize);
  }

  std::span<const Region> regions() const override { return kRegions; }
  uint64_t read_memory(DeviceAddress at, unsigned size) override {
    uint64_t value = 0;
    for (unsigned i = size; i-- > 0;) value = value << 8 | content_[at.offset + i];
    return value;
  }

 private:
  std::vector<uint8_t> content_;
};

}  // namespace nestor::emu
