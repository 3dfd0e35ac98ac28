// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <cstdint>
#include <optional>
#include <span>

#include "emu/timing/core_events.h"

namespace nestor::emu::timing {

// Memory as the code of a processor sees it, at the moment. Nothing changes by looking at it.
class MemoryView {
 public:
  virtual ~MemoryView() = default;

  struct Page {
    uint64_t physical = 0;  // of the very byte, or kOutsideRam
    bool granted = false;   // the engine will not ask for the translation, which is in use
  };
  // Where an access leads. std::nullopt: it faults.
  virtual std::optional<Page> find(uint64_t linear, TranslationFor reason) = 0;
  // Walks for a translation that was granted before. Cycles.
  virtual uint64_t walk(uint64_t linear, TranslationFor reason) = 0;
  // false: not all of it is RAM.
  virtual bool read(uint64_t physical, std::span<uint8_t> out) = 0;
};

}  // namespace nestor::emu::timing
