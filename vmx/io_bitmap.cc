// SPDX-License-Identifier: GPL-2.0-or-later
#include "vmx/io_bitmap.h"

#include <span>

namespace nestor::vmx {

bool io_bitmaps_exit(Processor& cpu, ept::PhysicalAddress bitmap_a, ept::PhysicalAddress bitmap_b,
                     uint16_t port, unsigned size) {
  constexpr uint32_t kPorts = 0x10000, kPerBitmap = 0x8000;
  if (uint32_t{port} + size > kPorts) return true;
  for (uint32_t p = port; p < port + size; ++p) {
    const uint64_t base = p < kPerBitmap ? bitmap_a.value : bitmap_b.value;
    const uint32_t bit = p % kPerBitmap;
    uint8_t byte = 0xff;
    cpu.read_physical({base + bit / 8}, std::span(&byte, 1));
    if ((byte >> (bit % 8)) & 1) return true;
  }
  return false;
}

}  // namespace nestor::vmx
