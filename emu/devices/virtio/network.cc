// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/devices/virtio/network.h"

#include <algorithm>
#include <utility>

namespace nestor::emu {
namespace {

constexpr uint16_t kNetworkDevice = 1;
constexpr uint32_t kEthernetController = 0x020000;  // class code
// "Feature bits" of "Network Device".
constexpr uint64_t kMac = 1ull << 5, kStatus = 1ull << 16;
// "Device configuration layout": the address, the status and what belongs to other features.
constexpr size_t kConfigurationBytes = 12, kStatusOffset = 6;
constexpr uint8_t kLinkUp = 1;

std::vector<uint8_t> network_configuration(bool link_up) {
  std::vector<uint8_t> bytes(kConfigurationBytes);
  std::ranges::copy(VirtioNetwork::kAddress, bytes.begin());
  if (link_up) bytes[kStatusOffset] = kLinkUp;
  return bytes;
}

}  // namespace

VirtioNetwork::VirtioNetwork(VirtioPlace place, NetworkPort* port)
    : VirtioFunction(std::move(place), {kNetworkDevice, kEthernetController, kMac | kStatus,
                                        network_configuration(port != nullptr), 2}),
      port_(port) {}

void VirtioNetwork::serialize(Archive& archive) {
  VirtioFunction::serialize(archive);
  struct Kept {
    Frame bytes;
    void fields(Archive& nested) { nested.sequence(bytes, kMaxFrameBytes); }
  };
  std::vector<Kept> kept;
  for (Frame& frame : arrived_) kept.push_back({std::move(frame)});
  archive.sequence(kept, kMaxArrived);
  arrived_.clear();
  for (Kept& frame : kept) arrived_.push_back(std::move(frame.bytes));
}

uint64_t VirtioNetwork::nanoseconds() const {
  constexpr uint64_t kPerSecond = 1'000'000'000;
  static_assert(Clock::kFrequency % kPerSecond == 0);
  return clock().cycles() / (Clock::kFrequency / kPerSecond);
}

uint64_t VirtioNetwork::duration(unsigned queue, const VirtqueueChain& chain) const {
  if (queue == kTransmit)
    return kFrameCycles +
           std::min<uint64_t>(chain.readable_bytes, kMaxFrameBytes) / kPieceBytes * kCyclesPerPiece;
  if (!arrived_.empty())
    return kFrameCycles + arrived_.front().size() / kPieceBytes * kCyclesPerPiece;
  return port_ != nullptr ? kPollCycles : kNever;
}

bool VirtioNetwork::is_ready(unsigned queue, const VirtqueueChain& /*chain*/) {
  if (queue == kTransmit || !arrived_.empty()) return true;
  while (port_ != nullptr && arrived_.size() < kMaxArrived) {
    auto frame = port_->receive(nanoseconds());
    if (!frame) break;
    if (frame->size() >= kMinFrameBytes && frame->size() <= kMaxFrameBytes)
      arrived_.push_back(std::move(*frame));
  }
  return !arrived_.empty();
}

std::optional<uint32_t> VirtioNetwork::serve(unsigned queue, const VirtqueueChain& chain) {
  return queue == kReceive ? receive(chain) : transmit(chain);
}

std::optional<uint32_t> VirtioNetwork::receive(const VirtqueueChain& chain) {
  if (arrived_.empty()) return std::nullopt;
  const Frame frame = std::move(arrived_.front());
  arrived_.pop_front();
  // No checksum is left to do, no segmentation; the frame is in one buffer.
  std::array<uint8_t, kHeaderBytes> header{};
  header[kHeaderBytes - 2] = 1;
  VirtqueueStream to(memory(), chain.writable);
  if (!to.write(header) || !to.write(frame)) return std::nullopt;
  return static_cast<uint32_t>(kHeaderBytes + frame.size());
}

// What no cable would carry is dropped.
std::optional<uint32_t> VirtioNetwork::transmit(const VirtqueueChain& chain) {
  if (chain.readable_bytes < kHeaderBytes) return std::nullopt;
  const uint64_t size = chain.readable_bytes - kHeaderBytes;
  if (size < kMinFrameBytes || size > kMaxFrameBytes || port_ == nullptr) return 0;
  Frame frame(size);
  VirtqueueStream from(memory(), chain.readable);
  if (!from.skip(kHeaderBytes) || !from.read(frame)) return std::nullopt;
  port_->send(nanoseconds(), frame);
  return 0;
}

}  // namespace nestor::emu
