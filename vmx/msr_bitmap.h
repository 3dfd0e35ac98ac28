// SPDX-License-Identifier: GPL-2.0-or-later
//
// The MSR bitmaps ("MSR-Bitmap Address"): four bitmaps of 1 KiB each for reads and writes of the
// MSRs 0 to 1FFFH and C0000000H to C0001FFFH.
#pragma once

#include <cstdint>
#include <optional>

#include "ept/address.h"
#include "vmx/processor.h"

namespace nestor::vmx {

inline constexpr uint32_t kMsrsPerBitmap = 0x2000, kFirstHighMsr = 0xc0000000;

enum class MsrAccess : uint8_t { kRead = 0, kWrite = 1 };

// The bit for an MSR, from the start of the page of bitmaps: 0 to 32767. std::nullopt: the bitmaps
// do not cover the MSR, and every access to it causes a VM exit.
constexpr std::optional<uint32_t> msr_bitmap_bit(uint32_t index, MsrAccess access) {
  const uint32_t within = index & (kMsrsPerBitmap - 1);
  const uint32_t base = index - within;
  if (base != 0 && base != kFirstHighMsr) return std::nullopt;
  const uint32_t bitmap =
      (access == MsrAccess::kWrite ? 2u : 0u) + (base == kFirstHighMsr ? 1u : 0u);
  return bitmap * kMsrsPerBitmap + within;
}

// Whether the bitmaps at `bitmaps` (4-KiB aligned) ask for a VM exit. Bitmaps outside memory read
// as ones.
bool msr_bitmap_exits(Processor& cpu, ept::PhysicalAddress bitmaps, uint32_t index,
                      MsrAccess access);

}  // namespace nestor::vmx
