// SPDX-License-Identifier: GPL-2.0-or-later
//
// The host bridge of a PC, as far as it decides what the processor finds between C0000H and FFFFFH:
// 440FX PCIset data sheet, "PAM[6:0] - Programmable Attribute Map Registers".
#pragma once

#include <cstdint>
#include <functional>
#include <utility>

#include "emu/devices/pci/function.h"

namespace nestor::emu {

class HostBridge final : public PciFunction {
 public:
  // Segments in the order of the registers' fields: F0000H, then 16 KiB each from C0000H on.
  static constexpr unsigned kSegments = 13;
  // Reads of the segment, and writes to it, go to RAM.
  using Shadow = std::function<void(unsigned segment, bool reads, bool writes)>;

  // Without `shadow` the registers are zeros.
  HostBridge(Bus& bus, const Identity& identity, Shadow shadow)
      : PciFunction(bus, identity, {}, std::nullopt), shadow_(std::move(shadow)) {
    if (!shadow_) return;
    set_writable(kPam, 1, kField << kFieldBits);
    for (unsigned i = 1; i < kPamCount; ++i)
      set_writable(kPam + i, 1, kField << kFieldBits | kField);
  }

 private:
  static constexpr unsigned kPam = 0x59, kPamCount = 7;
  // Two fields a register; the lower one of the first is reserved.
  static constexpr unsigned kFieldBits = 4;
  static constexpr uint32_t kReads = 1, kWrites = 2, kField = kReads | kWrites;

  void configuration_written(unsigned offset, unsigned size) override {
    if (!shadow_ || offset >= kPam + kPamCount || offset + size <= kPam) return;
    for (unsigned segment = 0; segment < kSegments; ++segment) {
      const unsigned field = segment + 1;
      const uint32_t pam = configuration(kPam + field / 2, 1) >> (field % 2 * kFieldBits);
      shadow_(segment, (pam & kReads) != 0, (pam & kWrites) != 0);
    }
  }

  const Shadow shadow_;
};

}  // namespace nestor::emu
