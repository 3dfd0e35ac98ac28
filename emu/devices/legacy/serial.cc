// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/devices/legacy/serial.h"

#include <utility>

namespace nestor::emu {
namespace {

// Registers by port offset.
enum Offset : uint16_t {
  kData,
  kInterruptEnable,
  kIdentification,
  kLineControl,
  kModemControl,
  kLineStatus,
  kModemStatus,
  kScratch
};

constexpr uint8_t kDlab = 0x80;  // line control
// Interrupt enable.
constexpr uint8_t kEnableReceived = 1, kEnableTransmitter = 2, kEnableLine = 4, kEnableModem = 8;
// Interrupt identification.
constexpr uint8_t kCauseModem = 0, kCauseNone = 1, kCauseTransmitter = 2, kCauseReceived = 4,
                  kCauseLine = 6;
// Line status.
constexpr uint8_t kDataReady = 0x01, kOverrun = 0x02, kTransmitterEmpty = 0x60;
// Modem status: the lines of a terminal.
constexpr uint8_t kCts = 0x10, kDsr = 0x20, kRi = 0x40, kDcd = 0x80;

}  // namespace

Serial::Serial(const Clock& clock, EventQueue& timers, const std::string& name, Sink sink,
               SerialInput input, InterruptSource interrupt, bool connected)
    : clock_(clock),
      arrival_(timers, name + " input", [this](uint64_t) { take_byte(); }),
      sink_(std::move(sink)),
      input_(std::move(input)),
      interrupt_(std::move(interrupt)),
      connected_(connected) {}

bool Serial::listens() const {
  const bool waits = (state_.interrupt_enable & kEnableReceived) != 0 || state_.polls == kPolls;
  return waits && state_.received.empty() && !loopback();
}

// The next byte comes no sooner than the line can bring it.
void Serial::await_byte() {
  if (!input_.next || !listens() || arrival_.deadline() != EventQueue::kNever) return;
  constexpr uint64_t kBits = 10, kCyclesPerBit = Clock::kFrequency / 115'200;
  const uint64_t divisor = state_.divisor == 0 ? 0x10000 : state_.divisor;
  arrival_.set(clock_.cycles() + kBits * divisor * kCyclesPerBit);
}

void Serial::take_byte() {
  if (!input_.next || !listens()) return;
  if (const auto byte = input_.next()) {
    receive(*byte);
  } else if (input_.live) {
    constexpr uint64_t kInterval = Clock::kFrequency / 100;
    arrival_.set(clock_.cycles() + kInterval);
  } else {
    input_ = {};
  }
}

uint32_t Serial::read_port(DeviceAddress at, unsigned /*size*/) {
  const bool divisor = state_.line_control & kDlab;
  switch (at.offset) {
    case kData:
      return divisor ? state_.divisor & 0xff : read_receiver();
    case kInterruptEnable:
      return divisor ? state_.divisor >> 8 : state_.interrupt_enable;
    case kIdentification:
      return read_identification();
    case kLineControl:
      return state_.line_control;
    case kModemControl:
      return state_.modem_control;
    case kLineStatus:
      return read_line_status();
    case kModemStatus:
      return read_modem_status();
    default:
      return state_.scratch;
  }
}

void Serial::write_port(DeviceAddress at, unsigned /*size*/, uint32_t wide) {
  const auto value = static_cast<uint8_t>(wide);
  const bool divisor = state_.line_control & kDlab;
  switch (at.offset) {
    case kData:
      if (divisor) {
        state_.divisor = static_cast<uint16_t>((state_.divisor & 0xff00) | value);
      } else {
        transmit(value);
      }
      break;
    case kInterruptEnable:
      if (divisor) {
        state_.divisor = static_cast<uint16_t>((state_.divisor & 0xff) | value << 8);
        break;
      }
      // Enabling the transmitter interrupt while the transmitter is empty raises it.
      if (value & ~state_.interrupt_enable & kEnableTransmitter) state_.transmitter_empty = true;
      state_.interrupt_enable = value & 0x0f;
      break;
    case kIdentification:
      write_fifo_control(value);
      break;
    case kLineControl:
      state_.line_control = value;
      break;
    case kModemControl:
      write_modem_control(value);
      break;
    case kScratch:
      state_.scratch = value;
      break;
    default:
      break;  // status registers are read-only
  }
  update_interrupt();
}

void Serial::receive(uint8_t byte) {
  if (state_.received.size() < receiver_depth()) {
    state_.received.push_back(byte);
  } else {
    state_.overrun = true;
  }
  update_interrupt();
}

uint8_t Serial::read_receiver() {
  uint8_t byte = 0;
  if (!state_.received.empty()) {
    byte = state_.received.front();
    state_.received.pop_front();
  }
  update_interrupt();
  return byte;
}

uint8_t Serial::read_identification() {
  const uint8_t cause = interrupt_cause();
  // Reading the cause acknowledges the transmitter's interrupt.
  if (cause == kCauseTransmitter) state_.transmitter_empty = false;
  update_interrupt();
  return static_cast<uint8_t>(cause | (state_.fifo_enabled ? 0xc0 : 0));
}

uint8_t Serial::read_line_status() {
  const auto status =
      static_cast<uint8_t>(kTransmitterEmpty | (state_.received.empty() ? 0 : kDataReady) |
                           (state_.overrun ? kOverrun : 0));
  state_.overrun = false;
  if (state_.received.empty() && state_.polls < kPolls) ++state_.polls;
  update_interrupt();
  return status;
}

uint8_t Serial::modem_lines() const {
  if (!loopback()) return connected_ ? kCts | kDsr | kDcd : 0;
  // In loopback the outputs DTR, RTS, OUT1 and OUT2 arrive at DSR, CTS, RI and DCD.
  const uint8_t outputs = state_.modem_control;
  return static_cast<uint8_t>((outputs & 1 ? kDsr : 0) | (outputs & 2 ? kCts : 0) |
                              (outputs & 4 ? kRi : 0) | (outputs & 8 ? kDcd : 0));
}

uint8_t Serial::read_modem_status() {
  const auto status = static_cast<uint8_t>(modem_lines() | state_.modem_delta);
  state_.modem_delta = 0;
  update_interrupt();
  return status;
}

void Serial::transmit(uint8_t byte) {
  state_.polls = 0;  // it was the transmitter that was waited for
  if (loopback()) {
    receive(byte);
  } else if (sink_) {
    sink_(byte);
  }
  state_.transmitter_empty = true;
}

void Serial::write_fifo_control(uint8_t value) {
  const bool enable = value & 1;
  if (enable != state_.fifo_enabled || (value & 2)) state_.received.clear();
  state_.fifo_enabled = enable;
}

void Serial::write_modem_control(uint8_t value) {
  const uint8_t before = modem_lines();
  state_.modem_control = value & 0x1f;
  const uint8_t now = modem_lines();
  const uint8_t changed = before ^ now;
  // The ring indicator reports its falling edge only.
  state_.modem_delta |=
      static_cast<uint8_t>((changed & (kCts | kDsr | kDcd)) >> 4 | (before & ~now & kRi) >> 4);
}

uint8_t Serial::interrupt_cause() const {
  if ((state_.interrupt_enable & kEnableLine) && state_.overrun) return kCauseLine;
  if ((state_.interrupt_enable & kEnableReceived) && !state_.received.empty())
    return kCauseReceived;
  if ((state_.interrupt_enable & kEnableTransmitter) && state_.transmitter_empty)
    return kCauseTransmitter;
  if ((state_.interrupt_enable & kEnableModem) && state_.modem_delta) return kCauseModem;
  return kCauseNone;
}

void Serial::update_interrupt() {
  // OUT2 gates the interrupt line of a PC's serial port.
  const bool level = interrupt_cause() != kCauseNone && (state_.modem_control & 8) && !loopback();
  await_byte();
  if (level == state_.line) return;
  state_.line = level;
  interrupt_.set(level);
}

}  // namespace nestor::emu
