// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/devices/display/dispi.h"

#include <algorithm>

namespace nestor::emu {
namespace {

constexpr unsigned kPossibleBits[] = {4, 8, 15, 16, 24, 32};

}  // namespace

uint16_t Dispi::read(unsigned index) const {
  if (index >= kRegisters) return 0;
  if (index == kMemory) return static_cast<uint16_t>(memory_bytes_ / kBankBytes);
  if ((state_.values[kEnable] & kGetCapabilities) != 0) {
    if (index == kWidth) return kMostWidth;
    if (index == kHeight) return kMostHeight;
    if (index == kBits) return kMostBits;
  }
  return state_.values[index];
}

uint64_t Dispi::line_bytes() const {
  const uint64_t width = state_.values[kVirtualWidth];
  return state_.values[kBits] == 4 ? width / 2 : width * ((state_.values[kBits] + 7u) / 8);
}

// As many lines as there is memory for.
void Dispi::set_virtual_size(uint16_t width) {
  state_.values[kVirtualWidth] = std::max(width, state_.values[kWidth]);
  const uint64_t line = line_bytes();
  const uint64_t lines = line == 0 ? 0 : memory_bytes_ / line;
  state_.values[kVirtualHeight] = static_cast<uint16_t>(std::min<uint64_t>(lines, 0xffff));
}

bool Dispi::enable(uint16_t value) {
  const bool begins = (value & kEnabled) != 0 && !is_enabled();
  state_.values[kEnable] = value;
  if (!begins) return false;
  set_virtual_size(state_.values[kWidth]);
  state_.values[kX] = state_.values[kY] = state_.values[kBank] = 0;
  return (value & kKeepMemory) == 0;
}

bool Dispi::write(unsigned index, uint16_t value) {
  switch (index) {
    case kId:
      if (value >= kOldestId && value <= kNewestId) state_.values[kId] = value;
      break;
    case kWidth:
      if (!is_enabled() && value <= kMostWidth) state_.values[kWidth] = value;
      break;
    case kHeight:
      if (!is_enabled() && value <= kMostHeight) state_.values[kHeight] = value;
      break;
    case kBits: {
      const unsigned bits = value == 0 ? 8 : value;
      const bool possible = std::ranges::find(kPossibleBits, bits) != std::end(kPossibleBits);
      if (!is_enabled() && possible) state_.values[kBits] = static_cast<uint16_t>(bits);
      break;
    }
    case kEnable:
      return enable(value);
    case kBank:
      state_.values[kBank] = static_cast<uint16_t>(value % (memory_bytes_ / kBankBytes));
      break;
    case kVirtualWidth:
      if (is_enabled()) set_virtual_size(value);
      break;
    case kX:
    case kY:
      state_.values[index] = value;
      break;
    default:
      break;
  }
  return false;
}

std::optional<Dispi::Mode> Dispi::mode() const {
  const auto& values = state_.values;
  if (!is_enabled() || values[kWidth] == 0 || values[kHeight] == 0) return std::nullopt;
  const uint64_t line = line_bytes();
  const unsigned bits = values[kBits];
  const uint64_t across = bits == 4 ? values[kX] / 2u : values[kX] * ((bits + 7u) / 8);
  return Mode{values[kWidth], values[kHeight], bits, values[kY] * line + across, line};
}

}  // namespace nestor::emu
