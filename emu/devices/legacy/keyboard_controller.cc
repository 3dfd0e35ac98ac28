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
// Command byte: which interrupts are enabled, which interface is not, and whether scan codes are
// translated.
constexpr uint8_t kKeyboardInterrupt = 0x01, kAuxInterrupt = 0x02, kKeyboardDisabled = 0x10,
                  kAuxDisabled = 0x20, kTranslates = 0x40;
constexpr uint8_t kReleasedNext = 0xf0, kReleased = 0x80;
// Between two strokes, and from the last command to the next one: drivers that make a keyboard
// ready lose what comes meanwhile.
constexpr uint64_t kStrokeInterval = Clock::kFrequency / 100;
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

KeyboardController::KeyboardController(std::function<void()> reset, InterruptSource keyboard,
                                       InterruptSource aux, std::optional<Typist> typist)
    : reset_(std::move(reset)),
      keyboard_line_(std::move(keyboard)),
      aux_line_(std::move(aux)),
      typist_(std::move(typist)) {
  if (!typist_) return;
  keyboard_.emplace();
  stroke_.emplace(typist_->timers, "key stroke", [this](uint64_t) { take_stroke(); });
  await_stroke();
  if (typist_->ready)
    state_.command_byte = kKeyboardInterrupt | kSystemFlag | kAuxDisabled | kTranslates;
}

uint32_t KeyboardController::read_port(DeviceAddress at, unsigned /*size*/) {
  if (at.region == kSystemPort) return kA20;
  if (at.region == kCommandPort) {
    uint32_t status = kSystemFlag | kUnlocked;
    if (state_.last_was_command) status |= kCommandLast;
    if (state_.output.empty()) {
      if (state_.polls < kPolls) ++state_.polls;
      return status;
    }
    const Output& next = state_.output.front();
    return status | kOutputFull | (next.from == From::kAux ? kAuxOutput : 0) |
           (next.timeout ? kTimeout : 0);
  }
  if (state_.output.empty()) return 0;
  const uint8_t byte = state_.output.front().byte;
  state_.output.pop_front();
  // The next one is an edge of its own.
  keyboard_line_.set(false);
  aux_line_.set(false);
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
  state_.polls = 0;  // it is an answer that will be waited for
  await_stroke();
  if (state_.last_was_command) {
    command(byte);
  } else {
    parameter(byte);
  }
  update_interrupts();
}

// For keys, and not for an answer.
bool KeyboardController::listens() const {
  const bool interrupts =
      (state_.command_byte & kKeyboardInterrupt) != 0 && keyboard_line_.is_awaited();
  return (interrupts || state_.polls == kPolls) && state_.output.empty() &&
         (state_.command_byte & kKeyboardDisabled) == 0 && keyboard_->scans() &&
         keyboard_->has_sent_all();
}

void KeyboardController::await_stroke() {
  if (keyboard_ && typist_->input.next) stroke_->set(typist_->clock.cycles() + kStrokeInterval);
}

void KeyboardController::take_stroke() {
  if (typist_->input.next && listens()) {
    if (const auto stroke = typist_->input.next()) {
      keyboard_->type(*stroke);
      update_interrupts();
    } else if (!typist_->input.live) {
      typist_->input = {};
    }
  }
  await_stroke();
}

void KeyboardController::take_from_keyboard() {
  if (!keyboard_ || !state_.output.empty() || (state_.command_byte & kKeyboardDisabled) != 0)
    return;
  while (state_.output.empty()) {
    auto byte = keyboard_->send();
    if (!byte) break;
    if ((state_.command_byte & kTranslates) != 0) {
      const bool released = *byte == kReleasedNext;
      if (!released) byte = translated_scan_code(*byte);
      if (std::exchange(state_.released, released)) byte = static_cast<uint8_t>(*byte | kReleased);
      if (released) continue;
    }
    put(*byte, From::kKeyboard);
  }
}

void KeyboardController::update_interrupts() {
  take_from_keyboard();
  const auto holds = [this](From from) {
    return !state_.output.empty() && state_.output.front().from == from;
  };
  keyboard_line_.set((state_.command_byte & kKeyboardInterrupt) != 0 && holds(From::kKeyboard));
  aux_line_.set((state_.command_byte & kAuxInterrupt) != 0 && holds(From::kAux));
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
  } else if (command == kWriteAux || !keyboard_) {
    miss_answer(command == kWriteAux ? From::kAux : From::kKeyboard);
  } else {
    state_.command_byte &= static_cast<uint8_t>(~kKeyboardDisabled);
    state_.released = false;
    keyboard_->receive(value);
  }
}

// The byte was for somebody who is not there.
void KeyboardController::miss_answer(From from) {
  if (state_.output.empty()) state_.output.push_back({kResend, from, true});
}

}  // namespace nestor::emu
