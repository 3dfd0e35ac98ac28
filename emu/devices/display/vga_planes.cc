// SPDX-License-Identifier: GPL-2.0-or-later
//
// IBM VGA/XGA Technical Reference, "Video Memory Read/Write Operations", "Graphics Controller
// Registers" and "Sequencer Registers".
#include "emu/devices/display/vga_planes.h"

#include <bit>
#include <optional>

namespace nestor::emu {
namespace {

// Registers of the graphics controller.
enum : unsigned {
  kSetReset = 0,
  kEnableSetReset = 1,
  kColourCompare = 2,
  kDataRotate = 3,
  kReadMapSelect = 4,
  kMode = 5,
  kMiscellaneous = 6,
  kColourDontCare = 7,
  kBitMask = 8,
};
constexpr unsigned kRotateCount = 7, kFunctionAt = 3;
constexpr uint8_t kReadCompares = 0x08, kOddEvenReads = 0x10;  // kMode
// Registers of the sequencer.
constexpr unsigned kMapMask = 2, kMemoryMode = 4;
constexpr uint8_t kSequentialWrites = 0x04, kChain4 = 0x08;  // kMemoryMode

uint8_t all_ones_if(bool set) { return set ? 0xff : 0; }

// What the memory map field of the miscellaneous register shows of the window.
struct Map {
  uint64_t first, size;
  bool banked;
};
constexpr Map kMaps[] = {{0x00000, 0x20000, false},
                         {0x00000, 0x10000, true},
                         {0x10000, 0x08000, false},
                         {0x18000, 0x08000, false}};

std::optional<uint64_t> place_of(uint64_t offset, uint64_t bank, uint8_t miscellaneous) {
  const Map& map = kMaps[miscellaneous >> 2 & 3];
  if (offset < map.first || offset - map.first >= map.size) return std::nullopt;
  return offset - map.first + (map.banked ? bank : 0);
}

}  // namespace

VgaPlanes::Latches VgaPlanes::planes_at(uint64_t at) const {
  Latches bytes{};
  const auto all = memory_.bytes();
  for (unsigned plane = 0; plane < kPlanes; ++plane) {
    const uint64_t place = kPlanes * at + plane;
    if (place < all.size()) bytes[plane] = all[place];
  }
  return bytes;
}

uint8_t VgaPlanes::read(uint64_t offset, uint64_t bank) {
  const auto found = place_of(offset, bank, graphics(kMiscellaneous));
  if (!found) return 0xff;
  const uint64_t at = *found;
  if ((sequencer(kMemoryMode) & kChain4) != 0) {
    latches_ = planes_at(at / kPlanes);
    return latches_[at % kPlanes];
  }
  if ((graphics(kMode) & kOddEvenReads) != 0) {
    latches_ = planes_at(at & ~1ull);
    return latches_[(graphics(kReadMapSelect) & 2u) | (at & 1)];
  }
  latches_ = planes_at(at);
  if ((graphics(kMode) & kReadCompares) == 0) return latches_[graphics(kReadMapSelect) & 3u];
  uint8_t differs = 0;
  for (unsigned plane = 0; plane < kPlanes; ++plane) {
    const uint8_t wanted = all_ones_if((graphics(kColourCompare) >> plane & 1) != 0);
    const uint8_t cares = all_ones_if((graphics(kColourDontCare) >> plane & 1) != 0);
    differs = static_cast<uint8_t>(differs | ((latches_[plane] ^ wanted) & cares));
  }
  return static_cast<uint8_t>(~differs);
}

// What is written to a plane whose latch is `latch`, where bits of `mask` are set, else the latch.
uint8_t VgaPlanes::combine(uint8_t value, uint8_t latch, uint8_t mask) const {
  unsigned result = value;
  switch (graphics(kDataRotate) >> kFunctionAt & 3) {
    case 1:
      result &= latch;
      break;
    case 2:
      result |= latch;
      break;
    case 3:
      result ^= latch;
      break;
    default:
      break;
  }
  return static_cast<uint8_t>((result & mask) | (latch & ~mask));
}

VgaPlanes::Latches VgaPlanes::written(uint8_t value) const {
  const unsigned mode = graphics(kMode) & 3;
  if (mode == 1) return latches_;
  const auto rotated = std::rotr(value, graphics(kDataRotate) & kRotateCount);
  const auto mask =
      static_cast<uint8_t>(mode == 3 ? graphics(kBitMask) & rotated : graphics(kBitMask));
  Latches result{};
  for (unsigned plane = 0; plane < kPlanes; ++plane) {
    const auto bit = [plane](unsigned bits) { return all_ones_if((bits >> plane & 1) != 0); };
    uint8_t data = rotated;
    if (mode == 2) data = bit(value);
    if (mode == 3 || (mode == 0 && bit(graphics(kEnableSetReset)) != 0))
      data = bit(graphics(kSetReset));
    result[plane] = combine(data, latches_[plane], mask);
  }
  return result;
}

void VgaPlanes::write(uint64_t offset, uint64_t bank, uint8_t value) {
  const auto found = place_of(offset, bank, graphics(kMiscellaneous));
  if (!found) return;
  uint64_t at = *found;
  unsigned planes = sequencer(kMapMask) & 0xf;
  if ((sequencer(kMemoryMode) & kChain4) != 0) {
    planes &= 1u << at % kPlanes;
    at /= kPlanes;
  } else if ((sequencer(kMemoryMode) & kSequentialWrites) == 0) {
    planes &= 5u << (at & 1);
    at &= ~1ull;
  }
  const Latches data = written(value);
  for (unsigned plane = 0; plane < kPlanes; ++plane) {
    const uint64_t place = kPlanes * at + plane;
    if ((planes >> plane & 1) != 0 && place < memory_.bytes().size())
      memory_.write(place, {&data[plane], 1});
  }
}

}  // namespace nestor::emu
