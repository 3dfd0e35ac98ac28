// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <algorithm>
#include <cstdint>
#include <span>

#include "emu/devices/device_memory.h"
#include "emu/memory/page_size.h"
#include "emu/memory/ram.h"

namespace nestor::emu {

// The guest's RAM, as devices access it: nothing of what lies beyond it for a hypervisor below.
// `Memory` reads and writes the RAM page by page: PhysicalMemory, or Ram itself.
template <class Memory>
class RamOfDevices final : public DeviceMemory {
 public:
  RamOfDevices(const Ram& ram, Memory& memory) : ram_(ram), memory_(memory) {}

  bool holds(uint64_t address, uint64_t size) const override {
    const uint64_t limit = ram_.guest_end() - ram_.origin();
    if (address > limit || size > limit - address) return false;
    return for_each_page(address, size, [&](uint64_t physical, uint64_t, uint64_t) {
      return ram_.is_guest_ram(physical);
    });
  }
  bool read(uint64_t address, std::span<uint8_t> out) override {
    return holds(address, out.size()) &&
           for_each_page(address, out.size(),
                         [&](uint64_t physical, uint64_t offset, uint64_t size) {
                           return memory_.read(physical, out.subspan(offset, size));
                         });
  }
  bool write(uint64_t address, std::span<const uint8_t> data) override {
    return holds(address, data.size()) &&
           for_each_page(address, data.size(),
                         [&](uint64_t physical, uint64_t offset, uint64_t size) {
                           return memory_.write(physical, data.subspan(offset, size));
                         });
  }

 private:
  // Calls `use(physical, offset, size)` for the parts in each page, as long as it returns true.
  template <class Use>
  bool for_each_page(uint64_t address, uint64_t bytes, const Use& use) const {
    for (uint64_t done = 0; done < bytes;) {
      const uint64_t at = address + done;
      const uint64_t size = std::min(bytes - done, kPageSize - at % kPageSize);
      if (!use(ram_.origin() + at, done, size)) return false;
      done += size;
    }
    return true;
  }

  const Ram& ram_;
  Memory& memory_;
};

}  // namespace nestor::emu
