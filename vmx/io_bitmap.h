// SPDX-License-Identifier: GPL-2.0-or-later
//
// The I/O bitmaps A (ports 0 to 7FFFH) and B (ports 8000H to FFFFH) ("I/O-Bitmap Addresses").
#pragma once

#include <cstdint>

#include "ept/address.h"
#include "vmx/processor.h"

namespace nestor::vmx {

// Whether an access of `size` bytes (1, 2 or 4) at `port` touches a port whose bit is 1, or wraps
// around the 16-bit port space. Bitmaps outside memory read as ones.
bool io_bitmaps_exit(Processor& cpu, ept::PhysicalAddress bitmap_a, ept::PhysicalAddress bitmap_b,
                     uint16_t port, unsigned size);

}  // namespace nestor::vmx
