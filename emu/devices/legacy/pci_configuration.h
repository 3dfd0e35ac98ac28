// SPDX-License-Identifier: GPL-2.0-or-later
//
// The ports of PCI configuration mechanism 1, CF8H and CFCH in a PC, on a bus without a device.
#pragma once

#include <cstdint>

#include "emu/devices/bus.h"

namespace nestor::emu {

class PciConfiguration : public Device {
 public:
  static constexpr Region kRegions[] = {
      {Space::kPorts, 4},  // address; only accesses of 32 bits write it
      {Space::kPorts, 4},  // data: reads as ones
  };

  std::span<const Region> regions() const override { return kRegions; }
  uint32_t read_port(DeviceAddress at, unsigned /*size*/) override {
    return at.region == 0 ? state_.address >> (8 * at.offset) : 0xffffffff;
  }
  void write_port(DeviceAddress at, unsigned size, uint32_t value) override {
    if (at.region == 0 && size == 4) state_.address = value;
  }
  void serialize(Archive& archive) override { archive(state_); }

 private:
  struct State {
    uint32_t address = 0;
    void fields(Archive& archive) { archive(address); }
  };
  State state_;
};

}  // namespace nestor::emu
