// SPDX-License-Identifier: GPL-2.0-or-later
//
// virtio-console with one port: Virtual I/O Device (VIRTIO) 1.2, "Console Device". What arrives
// waits until the driver has a buffer for it.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <vector>

#include "emu/devices/legacy/serial.h"
#include "emu/devices/virtio/function.h"

namespace nestor::emu {

class VirtioConsole final : public VirtioFunction {
 public:
  static constexpr uint64_t kMicrosecond = Clock::kFrequency / 1'000'000;
  // What a request to transmit takes, and each 64 bytes of it.
  static constexpr uint64_t kRequestCycles = 10 * kMicrosecond, kCyclesPerPiece = kMicrosecond;
  static constexpr uint64_t kPieceBytes = 64;
  // How often the input is looked at while the driver has a buffer, and how much of it is taken.
  static constexpr uint64_t kInputCycles = 10'000 * kMicrosecond;

  // Either may be empty.
  VirtioConsole(VirtioPlace place, std::function<void(uint8_t)> sink, SerialInput input);

 private:
  static constexpr unsigned kReceive = 0, kTransmit = 1;

  uint64_t duration(unsigned queue, const VirtqueueChain& chain) const override;
  bool is_ready(unsigned queue, const VirtqueueChain& chain) override;
  std::optional<uint32_t> serve(unsigned queue, const VirtqueueChain& chain) override;

  const std::function<void(uint8_t)> sink_;
  SerialInput input_;
  std::vector<uint8_t> arrived_;  // for the request that is being served
};

}  // namespace nestor::emu
