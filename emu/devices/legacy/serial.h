// SPDX-License-Identifier: GPL-2.0-or-later
//
// A serial port: a 16550A UART. What it transmits is gone at once. Bytes arrive with the speed that
// the divisor says, and only while the guest listens, so that none is lost: it has read the last
// one, and enables the interrupt for received data, or reads the line status again and again and
// transmits nothing.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <optional>
#include <string>

#include "emu/devices/bus.h"
#include "emu/devices/interrupt_lines.h"
#include "emu/time/clock.h"

namespace nestor::emu {

// What arrives on the line of a serial port.
struct SerialInput {
  std::function<std::optional<uint8_t>()> next{};  // empty: nothing ever comes
  bool live = false;                               // one may come later when there was none
};

class Serial : public Device {
 public:
  static constexpr Region kRegions[] = {{Space::kPorts, 8}};

  using Sink = std::function<void(uint8_t)>;

  // `name`: unique. `connected`: there is a terminal at the other end, whose lines are high.
  Serial(const Clock& clock, EventQueue& timers, const std::string& name, Sink sink,
         SerialInput input, InterruptSource interrupt, bool connected);

  std::span<const Region> regions() const override { return kRegions; }
  unsigned widest_port_access() const override { return 1; }
  uint32_t read_port(DeviceAddress at, unsigned size) override;
  void write_port(DeviceAddress at, unsigned size, uint32_t value) override;
  void serialize(Archive& archive) override {
    archive(state_);
    interrupt_.serialize(archive);
  }

  // A byte arrives on the line; one that does not fit into the receiver sets the overrun flag.
  void receive(uint8_t byte);

 private:
  static constexpr size_t kFifoDepth = 16;
  static constexpr uint8_t kPolls = 16;  // so many reads of the line status are listening
  struct State {
    std::deque<uint8_t> received;
    uint16_t divisor = 12;
    uint8_t interrupt_enable = 0, line_control = 0, modem_control = 0, scratch = 0;
    uint8_t modem_delta = 0, polls = 0;
    bool fifo_enabled = false, overrun = false, transmitter_empty = false, line = false;
    void fields(Archive& archive) {
      archive.sequence(received, kFifoDepth);
      archive(divisor, interrupt_enable, line_control, modem_control, scratch, modem_delta, polls,
              fifo_enabled, overrun, transmitter_empty, line);
    }
  };

  bool listens() const;
  void await_byte();
  void take_byte();
  size_t receiver_depth() const { return state_.fifo_enabled ? kFifoDepth : 1; }
  bool loopback() const { return state_.modem_control & 0x10; }
  uint8_t read_receiver();
  uint8_t read_identification();
  uint8_t read_line_status();
  uint8_t read_modem_status();
  void transmit(uint8_t byte);
  void write_fifo_control(uint8_t value);
  void write_modem_control(uint8_t value);
  uint8_t modem_lines() const;
  uint8_t interrupt_cause() const;
  void update_interrupt();

  const Clock& clock_;
  EventQueue::Timer arrival_;
  Sink sink_;
  SerialInput input_;
  InterruptSource interrupt_;
  const bool connected_;
  State state_;
};

}  // namespace nestor::emu
