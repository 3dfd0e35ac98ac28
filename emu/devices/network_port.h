// SPDX-License-Identifier: GPL-2.0-or-later
//
// What is at the other end of a network card's cable.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

namespace nestor::emu {

// An Ethernet frame, without the checksum at its end.
using Frame = std::vector<uint8_t>;
inline constexpr size_t kMinFrameBytes = 14, kMaxFrameBytes = 1514;

class NetworkPort {
 public:
  virtual ~NetworkPort() = default;

  // `nanoseconds`: the virtual time, which never goes back. A frame of the guest's, of
  // kMinFrameBytes to kMaxFrameBytes.
  virtual void send(uint64_t nanoseconds, std::span<const uint8_t> frame) = 0;
  // The next frame for the guest, if there is one now. Called again and again.
  virtual std::optional<Frame> receive(uint64_t nanoseconds) = 0;
};

}  // namespace nestor::emu
