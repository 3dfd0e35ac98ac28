// SPDX-License-Identifier: GPL-2.0-or-later
//
// Memory as devices access it by themselves.
#pragma once

#include <cstdint>
#include <span>

namespace nestor::emu {

// Addresses are those that the guest has in its page tables: physical ones. Only its RAM is there.
class DeviceMemory {
 public:
  virtual ~DeviceMemory() = default;
  // All of it is RAM.
  virtual bool holds(uint64_t address, uint64_t size) const = 0;
  // false: it is not wholly RAM; nothing was copied.
  [[nodiscard]] virtual bool read(uint64_t address, std::span<uint8_t> out) = 0;
  [[nodiscard]] virtual bool write(uint64_t address, std::span<const uint8_t> data) = 0;
};

}  // namespace nestor::emu
