// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/devices/legacy/ps2_keyboard.h"

#include <algorithm>
#include <array>
#include <utility>

namespace nestor::emu {
namespace {

enum KeyboardCommand : uint8_t {
  kSetLeds = 0xed,
  kEcho = 0xee,
  kSelectSet = 0xf0,
  kIdentify = 0xf2,
  kSetTypematic = 0xf3,
  kEnableScanning = 0xf4,
  kDisableScanning = 0xf5,
  kSetDefaults = 0xf6,
  kResendLast = 0xfe,
  kResetKeyboard = 0xff,
};
constexpr uint8_t kFirstCommand = kSetLeds;

constexpr uint8_t kAcknowledge = 0xfa, kTestPassed = 0xaa, kResendPlease = 0xfe;
constexpr uint8_t kExtended = 0xe0, kReleasedInSet2 = 0xf0, kReleasedInSet1 = 0x80;
constexpr uint8_t kIdentity[] = {0xab, 0x83};

constexpr uint8_t kLeftShift = 0x2a, kLeftControl = 0x1d;

// Codes of set 2 by those of set 1, as the controller of a PC/AT translates them: IBM PC/AT
// Technical Reference, "Scan Code Translation". F7 (41H) is 83H as well, and that is what it sends.
constexpr std::array<uint8_t, 128> kSet2 = {
    0x00, 0x76, 0x16, 0x1e, 0x26, 0x25, 0x2e, 0x36, 0x3d, 0x3e, 0x46, 0x45, 0x4e, 0x55, 0x66, 0x0d,
    0x15, 0x1d, 0x24, 0x2d, 0x2c, 0x35, 0x3c, 0x43, 0x44, 0x4d, 0x54, 0x5b, 0x5a, 0x14, 0x1c, 0x1b,
    0x23, 0x2b, 0x34, 0x33, 0x3b, 0x42, 0x4b, 0x4c, 0x52, 0x0e, 0x12, 0x5d, 0x1a, 0x22, 0x21, 0x2a,
    0x32, 0x31, 0x3a, 0x41, 0x49, 0x4a, 0x59, 0x7c, 0x11, 0x29, 0x58, 0x05, 0x06, 0x04, 0x0c, 0x03,
    0x0b, 0x02, 0x0a, 0x01, 0x09, 0x77, 0x7e, 0x6c, 0x75, 0x7d, 0x7b, 0x6b, 0x73, 0x74, 0x79, 0x69,
    0x72, 0x7a, 0x70, 0x71, 0x7f, 0x60, 0x61, 0x78, 0x07, 0x0f, 0x17, 0x1f, 0x27, 0x2f, 0x37, 0x3f,
    0x47, 0x4f, 0x56, 0x5e, 0x08, 0x10, 0x18, 0x20, 0x28, 0x30, 0x38, 0x40, 0x48, 0x50, 0x57, 0x6f,
    0x13, 0x19, 0x39, 0x51, 0x53, 0x5c, 0x5f, 0x62, 0x63, 0x64, 0x65, 0x67, 0x68, 0x6a, 0x6d, 0x6e};
constexpr uint8_t kF7 = 0x41, kF7InSet2 = 0x83, kSystemRequest = 0x54, kSystemRequestInSet2 = 0x84;

constexpr std::array<uint8_t, 128> inverse_of(const std::array<uint8_t, 128>& table) {
  std::array<uint8_t, 128> inverse{};
  for (size_t i = 0; i < table.size(); ++i) inverse[table[i]] = static_cast<uint8_t>(i);
  return inverse;
}
constexpr std::array<uint8_t, 128> kSet1 = inverse_of(kSet2);
static_assert(inverse_of(kSet1) == kSet2, "each code stands for one");

}  // namespace

uint8_t translated_scan_code(uint8_t byte) {
  if (byte < kSet1.size()) return kSet1[byte];
  if (byte == kF7InSet2) return kF7;
  return byte == kSystemRequestInSet2 ? kSystemRequest : byte;
}

void Ps2Keyboard::set_defaults() {
  state_.scan_code_set = 2;
  state_.output.clear();
}

void Ps2Keyboard::receive(uint8_t byte) {
  const uint8_t command = std::exchange(state_.awaited, uint8_t{0});
  // A command takes the place of a parameter.
  if (command != 0 && byte < kFirstCommand) return take_parameter(command, byte);
  switch (byte) {
    case kSetLeds:
    case kSelectSet:
    case kSetTypematic:
      state_.awaited = byte;
      answer({kAcknowledge});
      break;
    case kEcho:
      answer({kEcho});
      break;
    case kIdentify:
      answer({kAcknowledge, kIdentity[0], kIdentity[1]});
      break;
    case kEnableScanning:
    case kDisableScanning:
    case kSetDefaults:
      if (byte != kEnableScanning) set_defaults();
      state_.scans = byte != kDisableScanning;
      answer({kAcknowledge});
      break;
    case kResendLast:
      answer({state_.last});
      break;
    case kResetKeyboard:
      set_defaults();
      state_.scans = true;
      answer({kAcknowledge, kTestPassed});
      break;
    default:
      answer({kResendPlease});
      break;
  }
}

void Ps2Keyboard::take_parameter(uint8_t command, uint8_t byte) {
  if (command != kSelectSet) return answer({kAcknowledge});
  if (byte == 0) return answer({kAcknowledge, state_.scan_code_set});
  const bool possible = byte == 1 || byte == 2;
  if (possible) state_.scan_code_set = byte;
  answer({possible ? kAcknowledge : kResendPlease});
}

std::optional<uint8_t> Ps2Keyboard::send() {
  if (state_.output.empty()) return std::nullopt;
  state_.last = state_.output.front();
  state_.output.pop_front();
  return state_.last;
}

void Ps2Keyboard::put_key(uint8_t code, bool extended, bool pressed) {
  if (extended) state_.output.push_back(kExtended);
  if (state_.scan_code_set == 1) {
    state_.output.push_back(pressed ? code : static_cast<uint8_t>(code | kReleasedInSet1));
    return;
  }
  if (!pressed) state_.output.push_back(kReleasedInSet2);
  state_.output.push_back(code == kF7 ? kF7InSet2 : kSet2[code & 0x7f]);
}

void Ps2Keyboard::type(const KeyStroke& stroke) {
  if (stroke.control) put_key(kLeftControl, false, true);
  if (stroke.shift) put_key(kLeftShift, false, true);
  put_key(stroke.code, stroke.extended, true);
  put_key(stroke.code, stroke.extended, false);
  if (stroke.shift) put_key(kLeftShift, false, false);
  if (stroke.control) put_key(kLeftControl, false, false);
}

}  // namespace nestor::emu
