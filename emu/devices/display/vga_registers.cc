// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/devices/display/vga_registers.h"

#include <algorithm>

namespace nestor::emu {
namespace {

// Offsets from 3C0H.
enum Port : uint8_t {
  kAttributePort = 0x00,
  kAttributeReadPort = 0x01,
  kMiscellaneousPort = 0x02,  // read: input status 0
  kSequencerIndex = 0x04,
  kSequencerData = 0x05,
  kPelMask = 0x06,
  kPaletteReadIndex = 0x07,
  kPaletteWriteIndex = 0x08,
  kPaletteData = 0x09,
  kFeatureRead = 0x0a,
  kMiscellaneousRead = 0x0c,
  kGraphicsIndex = 0x0e,
  kGraphicsData = 0x0f,
  kCrtcIndex = 0x14,
  kCrtcData = 0x15,
  kStatus1 = 0x1a,  // write: feature control
};
constexpr uint8_t kDisplayDisabled = 0x01, kVerticalRetrace = 0x08;
constexpr uint8_t kAttributeIndex = 0x1f;  // the bit above it is palette_is_shown()

// Mode 3, 80 columns of 9 dots and 25 rows of 16 lines.
constexpr uint8_t kModeCrtc[] = {0x5f, 0x4f, 0x50, 0x82, 0x55, 0x81, 0xbf, 0x1f, 0x00,
                                 0x4f, 0x0d, 0x0e, 0x00, 0x00, 0x00, 0x00, 0x9c, 0x8e,
                                 0x8f, 0x28, 0x1f, 0x96, 0xb9, 0xa3, 0xff};
constexpr uint8_t kModeSequencer[] = {0x03, 0x00, 0x03, 0x00, 0x02};
constexpr uint8_t kModeGraphics[] = {0x00, 0x00, 0x00, 0x00, 0x00, 0x10, 0x0e, 0x00, 0xff};
constexpr uint8_t kModeAttribute[] = {0x00, 0x01, 0x02, 0x03, 0x04, 0x05, 0x14,
                                      0x07, 0x38, 0x39, 0x3a, 0x3b, 0x3c, 0x3d,
                                      0x3e, 0x3f, 0x0c, 0x00, 0x0f, 0x08, 0x00};

}  // namespace

VgaRegisters::VgaRegisters() {
  std::ranges::copy(kModeCrtc, state_.registers[kCrtc].begin());
  std::ranges::copy(kModeSequencer, state_.registers[kSequencer].begin());
  std::ranges::copy(kModeGraphics, state_.registers[kGraphics].begin());
  std::ranges::copy(kModeAttribute, state_.registers[kAttribute].begin());
}

uint8_t& VgaRegisters::next_palette_byte() {
  uint8_t& byte = state_.palette[state_.palette_at];
  state_.palette_at = static_cast<uint16_t>((state_.palette_at + 1) % state_.palette.size());
  return byte;
}

uint8_t VgaRegisters::read(uint64_t port) {
  switch (port) {
    case kAttributePort:
      return state_.index[kAttribute];
    case kAttributeReadPort:
      return state_.registers[kAttribute][state_.index[kAttribute] & kAttributeIndex];
    case kMiscellaneousPort:
      return 0;
    case kSequencerIndex:
      return state_.index[kSequencer];
    case kSequencerData:
      return selected(kSequencer);
    case kPelMask:
      return state_.pel_mask;
    case kPaletteReadIndex:
      return 0;  // no access is in progress
    case kPaletteWriteIndex:
      return static_cast<uint8_t>(state_.palette_at / 3u);
    case kPaletteData:
      return next_palette_byte();
    case kFeatureRead:
      return state_.feature;
    case kMiscellaneousRead:
      return state_.miscellaneous;
    case kGraphicsIndex:
      return state_.index[kGraphics];
    case kGraphicsData:
      return selected(kGraphics);
    case kCrtcIndex:
      return state_.index[kCrtc];
    case kCrtcData:
      return selected(kCrtc);
    case kStatus1:
      state_.attribute_data = false;
      // Who waits for a retrace, or for its end, waits for one read at most.
      state_.retrace ^= kDisplayDisabled | kVerticalRetrace;
      return state_.retrace;
    default:
      return 0xff;
  }
}

void VgaRegisters::write(uint64_t port, uint8_t byte) {
  switch (port) {
    case kAttributePort:
      // Bit 5 of the index lets the palette reach the screen.
      if (state_.attribute_data) {
        state_.registers[kAttribute][state_.index[kAttribute] & kAttributeIndex] = byte;
      } else {
        state_.index[kAttribute] = byte & 0x3f;
      }
      state_.attribute_data = !state_.attribute_data;
      break;
    case kMiscellaneousPort:
      state_.miscellaneous = byte;
      break;
    case kSequencerIndex:
      state_.index[kSequencer] = byte;
      break;
    case kSequencerData:
      selected(kSequencer) = byte;
      break;
    case kPelMask:
      state_.pel_mask = byte;
      break;
    case kPaletteReadIndex:
    case kPaletteWriteIndex:
      state_.palette_at = static_cast<uint16_t>(3 * byte);
      break;
    case kPaletteData:
      next_palette_byte() = byte;
      break;
    case kGraphicsIndex:
      state_.index[kGraphics] = byte;
      break;
    case kGraphicsData:
      selected(kGraphics) = byte;
      break;
    case kCrtcIndex:
      state_.index[kCrtc] = byte;
      break;
    case kCrtcData:
      selected(kCrtc) = byte;
      break;
    case kStatus1:
      state_.feature = byte;
      break;
    default:
      break;
  }
}

}  // namespace nestor::emu
