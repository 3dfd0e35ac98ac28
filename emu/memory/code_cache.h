// SPDX-License-Identifier: GPL-2.0-or-later
//
// What has been translated from the code in RAM, as memory sees it.
#pragma once

#include <cstdint>
#include <span>

namespace nestor::emu {

class CodeCache {
 public:
  virtual ~CodeCache() = default;
  // Writes `data` to RAM at `physical`, and drops what was translated of it. Every write that the
  // engine does not make itself goes this way, if code may be there.
  virtual void code_written(uint64_t physical, std::span<const uint8_t> data) = 0;
};

}  // namespace nestor::emu
