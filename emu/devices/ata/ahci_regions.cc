// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/devices/ata/ahci_regions.h"

#include <algorithm>
#include <array>

#include "emu/memory/little_endian.h"

namespace nestor::emu {

std::optional<size_t> AhciRegions::open(size_t wanted) {
  constexpr uint64_t kDescriptorBytes = 16, kSizeBits = 0x3fffff, kInterrupts = 1u << 31;
  if (room_ == 0) {
    if (left_ == 0) return 0;
    std::array<uint8_t, kDescriptorBytes> descriptor{};
    if (!memory_.read(table_, descriptor)) return std::nullopt;
    address_ = load_little_endian(std::span(descriptor).first(8)) & ~1ull;
    const uint64_t last = load_little_endian(std::span(descriptor).last(4));
    room_ = (last & kSizeBits) + 1;
    asks_ = (last & kInterrupts) != 0;
    table_ += kDescriptorBytes;
    --left_;
  }
  return std::min<uint64_t>(wanted, room_);
}

void AhciRegions::advance(size_t bytes) {
  address_ += bytes;
  room_ -= bytes;
  asked_ |= room_ == 0 && asks_;
}

std::optional<size_t> AhciRegions::scatter(std::span<const uint8_t> data) {
  size_t done = 0;
  while (done < data.size()) {
    const auto size = open(data.size() - done);
    if (size == 0) break;
    if (!size || !memory_.write(address_, data.subspan(done, *size))) return std::nullopt;
    advance(*size);
    done += *size;
  }
  return done;
}

std::optional<size_t> AhciRegions::gather(std::span<uint8_t> out) {
  size_t done = 0;
  while (done < out.size()) {
    const auto size = open(out.size() - done);
    if (size == 0) break;
    if (!size || !memory_.read(address_, out.subspan(done, *size))) return std::nullopt;
    advance(*size);
    done += *size;
  }
  return done;
}

}  // namespace nestor::emu
