// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <utility>

#include "emu/devices/display/video_memory.h"
#include "emu/memory/physical_memory.h"
#include "emu/memory/ram.h"

namespace nestor::emu {

// The RAM that is video memory, as the board sees it.
class RamOfDisplay final : public VideoMemory {
 public:
  // `moved`: it is at another place, and what was cached of it is wrong.
  RamOfDisplay(Ram& ram, PhysicalMemory& memory, std::function<void()> moved)
      : ram_(ram), memory_(memory), moved_(std::move(moved)) {}

  std::span<const uint8_t> bytes() const override { return {ram_.video().host, ram_.video().size}; }
  void write(uint64_t offset, std::span<const uint8_t> data) override {
    memory_.put(ram_.video().first + offset, data);
  }
  void place(std::optional<uint64_t> base) override {
    if (ram_.place_video(base)) moved_();
  }

 private:
  Ram& ram_;
  PhysicalMemory& memory_;
  const std::function<void()> moved_;
};

}  // namespace nestor::emu
