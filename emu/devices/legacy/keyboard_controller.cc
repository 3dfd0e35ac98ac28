// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/devices/legacy/keyboard_controller.h"

namespace nestor::emu {
namespace {

// Indices of kRegions.
enum : unsigned { kCommandPort = 1, kSystemPort = 2 };

// Status register: output buffer full, self-test passed, last write was a command, keyboard not
// locked.
constexpr uint8_t kOutputFull = 0x01, kSystemFlag = 0x04, kCommandLast = 0x08, kUnlocked = 0x10;
// Output port.
constexpr uint8_t kNotReset = 0x01;
// System port.
constexpr uint8_t kFastReset = 0x01, kA20 = 0x02;

enum Command : uint8_t {
  kReadCommandByte = 0x20,
  kWriteCommandByte = 0x60,
  kDisableAux = 0xa7,
  kEnableAux = 0xa8,
  kTestAux = 0xa9,
  kSelfTest = 0xaa,
  kTestKeyboard = 0xab,
  kDisableKeyboard = 0xad,
  kEnableKeyboard = 0xae,
  kReadOutputPort = 0xd0,
  kWriteOutputPort = 0xd1,
  kWriteAux = 0xd4,
  kPulseOutput = 0xf0,  // to 0xff: the low 4 bits that are 0 pulse
};

}  // namespace

uint32_t KeyboardController::read_port(DeviceAddress at, unsigned /*size*/) {
  if (at.region == kSystemPort) return kA20;
  if (at.region == kCommandPort) {
    return static_cast<uint32_t>(kSystemFlag | kUnlocked |
                                 (state_.output.empty() ? 0 : kOutputFull) |
                                 (state_.last_was_command ? kCommandLast : 0));
  }
  if (state_.output.empty()) return 0;
  const uint8_t byte = state_.output.front();
  state_.output.pop_front();
  return byte;
}

void KeyboardController::write_port(DeviceAddress at, unsigned /*size*/, uint32_t value) {
  const auto byte = static_cast<uint8_t>(value);
  if (at.region == kSystemPort) {
    if (byte & kFastReset) reset();
    return;
  }
  state_.last_was_command = at.region == kCommandPort;
  if (state_.last_was_command) {
    command(byte);
  } else {
    parameter(byte);
  }
}

void KeyboardController::command(uint8_t value) {
  state_.awaited = 0;
  if (value >= kPulseOutput) {
    if (!(value & kNotReset)) reset();
    return;
  }
  switch (value) {
    case kReadCommandByte:
      state_.output.push_back(state_.command_byte);
      break;
    case kSelfTest:
      state_.output.push_back(0x55);
      break;
    case kTestKeyboard:
    case kTestAux:
      state_.output.push_back(0x00);
      break;
    case kReadOutputPort:
      state_.output.push_back(state_.output_port);
      break;
    case kDisableKeyboard:
      state_.command_byte |= 0x10;
      break;
    case kEnableKeyboard:
      state_.command_byte &= 0xef;
      break;
    case kDisableAux:
      state_.command_byte |= 0x20;
      break;
    case kEnableAux:
      state_.command_byte &= 0xdf;
      break;
    case kWriteCommandByte:
    case kWriteOutputPort:
    case kWriteAux:
      state_.awaited = value;
      break;
    default:
      break;
  }
}

void KeyboardController::parameter(uint8_t value) {
  const uint8_t command = state_.awaited;
  state_.awaited = 0;
  if (command == kWriteCommandByte) {
    state_.command_byte = value;
  } else if (command == kWriteOutputPort) {
    state_.output_port = value;
    if (!(value & kNotReset)) reset();
  }
  // Other bytes are for a keyboard or mouse that is not there: no answer comes.
}

}  // namespace nestor::emu
