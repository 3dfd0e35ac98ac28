// SPDX-License-Identifier: GPL-2.0-or-later
#include "vmx/msr_bitmap.h"

#include <span>

namespace nestor::vmx {

bool msr_bitmap_exits(Processor& cpu, ept::PhysicalAddress bitmaps, uint32_t index,
                      MsrAccess access) {
  const std::optional<uint32_t> bit = msr_bitmap_bit(index, access);
  if (!bit) return true;
  uint8_t byte = 0xff;
  cpu.read_physical({bitmaps.value + *bit / 8}, std::span(&byte, 1));
  return (byte >> (*bit % 8)) & 1;
}

}  // namespace nestor::vmx
