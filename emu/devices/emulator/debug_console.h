// SPDX-License-Identifier: GPL-2.0-or-later
//
// Port 0xe9: every byte written is printed; reading it tells that it is there.
#pragma once

#include <functional>
#include <utility>

#include "emu/devices/bus.h"

namespace nestor::emu {

class DebugConsole : public Device {
 public:
  static constexpr uint16_t kPort = 0xe9;

  explicit DebugConsole(std::function<void(uint8_t)> sink) : sink_(std::move(sink)) {}

  std::string_view name() const override { return "debug console"; }
  [[nodiscard]] bool attach(Bus& bus) override { return bus.claim_ports(kPort, 1, *this); }
  unsigned widest_port_access() const override { return 1; }
  uint32_t read_port(uint16_t /*port*/, unsigned /*size*/) override { return kPort; }
  void write_port(uint16_t /*port*/, unsigned /*size*/, uint32_t value) override {
    if (sink_) sink_(static_cast<uint8_t>(value));
  }

 private:
  std::function<void(uint8_t)> sink_;
};

}  // namespace nestor::emu
