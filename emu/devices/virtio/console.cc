// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/devices/virtio/console.h"

#include <algorithm>
#include <array>
#include <span>
#include <utility>

namespace nestor::emu {
namespace {

constexpr uint16_t kConsoleDevice = 3;
constexpr uint32_t kOtherCommunication = 0x078000;  // class code
// Columns, rows, ports and the emergency write: of features that are not offered.
constexpr size_t kConsoleConfigurationBytes = 12;

}  // namespace

VirtioConsole::VirtioConsole(VirtioPlace place, std::function<void(uint8_t)> sink,
                             SerialInput input)
    : VirtioFunction(std::move(place), {kConsoleDevice, kOtherCommunication, 0,
                                        std::vector<uint8_t>(kConsoleConfigurationBytes), 2}),
      sink_(std::move(sink)),
      input_(std::move(input)) {}

uint64_t VirtioConsole::duration(unsigned queue, const VirtqueueChain& chain) const {
  if (queue == kReceive) return input_.next ? kInputCycles : kNever;
  return kRequestCycles + chain.readable_bytes / kPieceBytes * kCyclesPerPiece;
}

bool VirtioConsole::is_ready(unsigned queue, const VirtqueueChain& chain) {
  if (queue != kReceive || chain.writable_bytes == 0) return true;
  arrived_.clear();
  while (input_.next && arrived_.size() < std::min(chain.writable_bytes, kPieceBytes)) {
    const auto byte = input_.next();
    if (!byte) {
      if (!input_.live) input_ = {};
      break;
    }
    arrived_.push_back(*byte);
  }
  return !arrived_.empty();
}

std::optional<uint32_t> VirtioConsole::serve(unsigned queue, const VirtqueueChain& chain) {
  if (queue == kReceive) {
    if (chain.writable_bytes == 0) return std::nullopt;
    VirtqueueStream to(memory(), chain.writable);
    if (!to.write(arrived_)) return std::nullopt;
    return static_cast<uint32_t>(arrived_.size());
  }
  VirtqueueStream from(memory(), chain.readable);
  std::array<uint8_t, kPieceBytes> piece;
  for (uint64_t left = chain.readable_bytes; left != 0;) {
    const auto some = std::span(piece).first(std::min<uint64_t>(left, piece.size()));
    if (!from.read(some)) return std::nullopt;
    if (sink_) std::ranges::for_each(some, sink_);
    left -= some.size();
  }
  return 0;
}

}  // namespace nestor::emu
