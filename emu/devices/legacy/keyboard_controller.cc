// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/devices/legacy/keyboard_controller.h"

namespace nestor::emu {
namespace {

// Indices of kRegions.
enum : unsigned { kCommandPort = 1, kSystemPort = 2 };

// Status register: output buffer full, self-test passed, last write was a command, keyboard not
// locked, what the buffer holds is the mouse's, or stands for an answer that did not come.
constexpr uint8_t kOutputFull = 0x01, kSystemFlag = 0x04, kCommandLast = 0x08, kUnlocked = 0x10,
                  kAuxOutput = 0x20, kTimeout = 0x40;
// What the controller says where a device does not answer.
constexpr uint8_t kResend = 0xfe;
// Command byte: which interrupts are enabled.
constexpr uint8_t kKeyboardInterrupt = 0x01, kAuxInterrupt = 0x02;
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
  kWriteKeyboardOutput = 0xd2,  // the parameter comes back, as if the keyboard had sent it
  kWriteAuxOutput = 0xd3,       // or the mouse
  kWriteAux = 0xd4,
  kPulseOutput = 0xf0,  // to 0xff: the low 4 bits that are 0 pulse
};

}  // namespace

uint32_t KeyboardController::read_port(DeviceAddress at, unsigned /*size*/) {
  if (at.region == kSystemPort) return kA20;
  if (at.region == kCommandPort) {
    uint32_t status = kSystemFlag | kUnlocked;
    if (state_.last_was_command) status |= kCommandLast;
    if (state_.output.empty()) return status;
    const Output& next = state_.output.front();
    return status | kOutputFull | (next.from == From::kAux ? kAuxOutput : 0) |
           (next.timeout ? kTimeout : 0);
  }
  if (state_.output.empty()) return 0;
  const uint8_t byte = state_.output.front().byte;
  state_.output.pop_front();
  // The next one is an edge of its own.
  keyboard_.set(false);
  aux_.set(false);
  update_interrupts();
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
  update_interrupts();
}

void KeyboardController::update_interrupts() {
  const auto holds = [this](From from) {
    return !state_.output.empty() && state_.output.front().from == from;
  };
  keyboard_.set((state_.command_byte & kKeyboardInterrupt) != 0 && holds(From::kKeyboard));
  aux_.set((state_.command_byte & kAuxInterrupt) != 0 && holds(From::kAux));
}

void KeyboardController::command(uint8_t value) {
  state_.awaited = 0;
  if (value >= kPulseOutput) {
    if (!(value & kNotReset)) reset();
    return;
  }
  switch (value) {
    case kReadCommandByte:
      put(state_.command_byte);
      break;
    case kSelfTest:
      put(0x55);
      break;
    case kTestKeyboard:
    case kTestAux:
      put(0x00);
      break;
    case kReadOutputPort:
      put(state_.output_port);
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
    case kWriteKeyboardOutput:
    case kWriteAuxOutput:
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
  } else if (command == kWriteKeyboardOutput) {
    put(value, From::kKeyboard);
  } else if (command == kWriteAuxOutput) {
    put(value, From::kAux);
  } else {
    miss_answer(command == kWriteAux ? From::kAux : From::kKeyboard);
  }
}

// The byte was for a keyboard or mouse that is not there.
void KeyboardController::miss_answer(From from) {
  if (state_.output.empty()) state_.output.push_back({kResend, from, true});
}

}  // namespace nestor::emu
