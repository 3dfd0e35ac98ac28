// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <algorithm>
#include <cstdint>
#include <functional>
#include <span>
#include <utility>

#include "emu/devices/legacy/shadow_memory.h"
#include "emu/memory/page_size.h"
#include "emu/memory/physical_memory.h"
#include "emu/memory/ram.h"

namespace nestor::emu {

// The RAM that stands for ROM, and for what the ROM hides, as the board sees it.
class FirmwareMemory final : public VisibleMemory {
 public:
  // `forget`: processors may write where they must not any more.
  FirmwareMemory(Ram& ram, PhysicalMemory& memory, std::function<void()> forget)
      : ram_(ram), memory_(memory), forget_(std::move(forget)) {}

  void read(uint64_t address, std::span<uint8_t> out) override { (void)memory_.read(address, out); }
  void show(uint64_t address, std::span<const uint8_t> data) override {
    // Page by page, as code of each may have been translated.
    for (uint64_t done = 0; done < data.size();) {
      const uint64_t size = std::min(data.size() - done, kPageSize - (address + done) % kPageSize);
      memory_.put(address + done, data.subspan(done, size));
      done += size;
    }
  }
  void allow_writes(uint64_t address, uint64_t size, bool allowed) override {
    ram_.set_read_only(address, size, !allowed);
    forget_();
  }

 private:
  Ram& ram_;
  PhysicalMemory& memory_;
  const std::function<void()> forget_;
};

}  // namespace nestor::emu
