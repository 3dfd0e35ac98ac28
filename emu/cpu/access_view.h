// SPDX-License-Identifier: GPL-2.0-or-later
//
// What the code that runs now would access, for the model of the core: where that lies, what it
// holds, and what another walk costs.
#pragma once

#include <cstdint>
#include <optional>
#include <span>

#include "emu/cpu/hardware_core.h"
#include "emu/timing/memory_view.h"

namespace nestor::emu {

class AccessView final : public timing::MemoryView {
 public:
  // `core` outlives this object.
  explicit AccessView(HardwareCore& core) : core_(core) {}

  // With these flags, of which AC counts.
  void look_as(uint64_t rflags) { rflags_ = rflags; }

  std::optional<Page> find(uint64_t linear, timing::TranslationFor reason) override;
  uint64_t walk(uint64_t linear, timing::TranslationFor reason) override {
    return core_.mmu().walk_again(linear, access(reason), rflags_);
  }
  bool read(uint64_t physical, std::span<uint8_t> out) override {
    return core_.memory().read(physical, out);
  }

 private:
  ept::Access access(timing::TranslationFor reason) const;

  HardwareCore& core_;
  uint64_t rflags_ = 0;
};

}  // namespace nestor::emu
