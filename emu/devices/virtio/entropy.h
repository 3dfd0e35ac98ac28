// SPDX-License-Identifier: GPL-2.0-or-later
//
// virtio-rng: Virtual I/O Device (VIRTIO) 1.2, "Entropy Device". Its numbers repeat with the seed.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <optional>
#include <utility>

#include "emu/devices/random_numbers.h"
#include "emu/devices/virtio/function.h"
#include "emu/memory/little_endian.h"

namespace nestor::emu {

class VirtioEntropy final : public VirtioFunction {
 public:
  static constexpr uint64_t kRequestCycles = Clock::kFrequency / 100'000;  // 10 us
  static constexpr uint64_t kMaxBytes = 4096;                              // of one request

  VirtioEntropy(VirtioPlace place, uint64_t seed)
      : VirtioFunction(std::move(place), {kEntropyDevice, kOtherDevice, 0, {}}), numbers_(seed) {}

  void serialize(Archive& archive) override {
    VirtioFunction::serialize(archive);
    numbers_.serialize(archive);
  }

 private:
  static constexpr uint16_t kEntropyDevice = 4;
  static constexpr uint32_t kOtherDevice = 0xff0000;  // class code

  uint64_t duration(unsigned /*queue*/, const VirtqueueChain& /*chain*/) const override {
    return kRequestCycles;
  }
  std::optional<uint32_t> serve(unsigned /*queue*/, const VirtqueueChain& chain) override {
    if (chain.readable_bytes != 0 || chain.writable_bytes == 0) return std::nullopt;
    std::array<uint8_t, kMaxBytes> bytes;
    const uint64_t size = std::min(chain.writable_bytes, kMaxBytes);
    for (size_t at = 0; at < size; at += 8)
      store_little_endian(std::span(bytes).subspan(at, 8), numbers_.next());
    VirtqueueStream to(memory(), chain.writable);
    if (!to.write(std::span(bytes).first(size))) return std::nullopt;
    return static_cast<uint32_t>(size);
  }

  RandomNumbers numbers_;
};

}  // namespace nestor::emu
