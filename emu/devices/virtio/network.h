// SPDX-License-Identifier: GPL-2.0-or-later
//
// virtio-net with one pair of queues and no offloads: Virtual I/O Device (VIRTIO) 1.2, "Network
// Device". What arrives waits until the driver has a buffer for it; up to kMaxArrived frames.
#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <optional>

#include "emu/devices/network_port.h"
#include "emu/devices/virtio/function.h"

namespace nestor::emu {

class VirtioNetwork final : public VirtioFunction {
 public:
  static constexpr std::array<uint8_t, 6> kAddress = {0x52, 0x54, 0x00, 0x12, 0x34, 0x56};
  static constexpr size_t kHeaderBytes = 12;  // before each frame, in either direction
  static constexpr size_t kMaxArrived = 256;
  static constexpr uint64_t kMicrosecond = Clock::kFrequency / 1'000'000;
  // What a frame takes, and each 64 bytes of it.
  static constexpr uint64_t kFrameCycles = 10 * kMicrosecond, kCyclesPerPiece = kMicrosecond;
  static constexpr uint64_t kPieceBytes = 64;
  // How often the port is asked for a frame while the driver has a buffer.
  static constexpr uint64_t kPollCycles = 500 * kMicrosecond;

  // `port`: null, nothing is plugged in; it outlives this object.
  VirtioNetwork(VirtioPlace place, NetworkPort* port);

  void serialize(Archive& archive) override;

 private:
  static constexpr unsigned kReceive = 0, kTransmit = 1;

  uint64_t duration(unsigned queue, const VirtqueueChain& chain) const override;
  bool is_ready(unsigned queue, const VirtqueueChain& chain) override;
  std::optional<uint32_t> serve(unsigned queue, const VirtqueueChain& chain) override;
  std::optional<uint32_t> receive(const VirtqueueChain& chain);
  std::optional<uint32_t> transmit(const VirtqueueChain& chain);
  uint64_t nanoseconds() const;

  NetworkPort* const port_;
  std::deque<Frame> arrived_;
};

}  // namespace nestor::emu
