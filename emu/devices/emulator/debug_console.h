// SPDX-License-Identifier: GPL-2.0-or-later
//
// A port, 0xe9 in a PC: every byte written is printed; reading it shows that it is there.
#pragma once

#include <functional>
#include <utility>

#include "emu/devices/bus.h"

namespace nestor::emu {

class DebugConsole : public Device {
 public:
  static constexpr Region kRegions[] = {{Space::kPorts, 1}};
  static constexpr uint8_t kIdentification = 0xe9;  // what the port reads as

  explicit DebugConsole(std::function<void(uint8_t)> sink) : sink_(std::move(sink)) {}

  std::span<const Region> regions() const override { return kRegions; }
  unsigned widest_port_access() const override { return 1; }
  uint32_t read_port(DeviceAddress, unsigned /*size*/) override { return kIdentification; }
  void write_port(DeviceAddress, unsigned /*size*/, uint32_t value) override {
    if (sink_) sink_(static_cast<uint8_t>(value));
  }

 private:
  std::function<void(uint8_t)> sink_;
};

}  // namespace nestor::emu
