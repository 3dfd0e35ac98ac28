// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <cstdint>
#include <optional>
#include <span>

namespace nestor::emu {

// The memory of a graphics adapter. Where software has given it a place in the physical address
// space the processor accesses it as it does RAM, and the adapter is not asked.
class VideoMemory {
 public:
  virtual ~VideoMemory() = default;
  // All of it.
  virtual std::span<const uint8_t> bytes() const = 0;
  // `data` is within it from `offset` on.
  virtual void write(uint64_t offset, std::span<const uint8_t> data) = 0;
  // Where it is from now on; std::nullopt: nowhere. RAM comes first: where that is, it is nowhere.
  virtual void place(std::optional<uint64_t> base) = 0;
};

}  // namespace nestor::emu
