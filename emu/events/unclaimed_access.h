// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <cstdint>

namespace nestor::emu {

// An access that no device claimed; it reads as ones, or is dropped.
struct UnclaimedAccess {
  bool memory = false;  // else I/O port
  bool write = false;
  uint64_t address = 0;
  unsigned size = 0;
  uint64_t value = 0;
};

}  // namespace nestor::emu
