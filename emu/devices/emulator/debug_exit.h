// SPDX-License-Identifier: GPL-2.0-or-later
//
// The port by which a guest ends the run, as test images expect it of QEMU's isa-debug-exit.
#pragma once

#include <functional>
#include <utility>

#include "emu/devices/bus.h"

namespace nestor::emu {

inline constexpr uint16_t kDebugExitPort = 0xf4;  // where it is unless another one is chosen

class DebugExit : public Device {
 public:
  static constexpr Region kRegions[] = {{Space::kPorts, 4}};

  // `exit` gets the process's exit status: (value << 1) | 1. An operating system keeps its low 8
  // bits.
  explicit DebugExit(std::function<void(uint32_t status)> exit) : exit_(std::move(exit)) {}

  std::span<const Region> regions() const override { return kRegions; }
  uint32_t read_port(DeviceAddress, unsigned /*size*/) override { return 0; }
  void write_port(DeviceAddress, unsigned /*size*/, uint32_t value) override {
    if (exit_) exit_(value << 1 | 1);
  }

 private:
  std::function<void(uint32_t)> exit_;
};

}  // namespace nestor::emu
