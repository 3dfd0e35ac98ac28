// SPDX-License-Identifier: GPL-2.0-or-later
//
// The port by which a guest that measures says which of its workloads begins, and that one has
// ended.
#pragma once

#include <functional>
#include <utility>

#include "emu/devices/bus.h"

namespace nestor::emu {

class WorkloadMarks : public Device {
 public:
  static constexpr Region kRegions[] = {{Space::kPorts, 1}};

  // `mark` gets the number of the workload that begins; 0: the last one has ended.
  explicit WorkloadMarks(std::function<void(uint8_t)> mark) : mark_(std::move(mark)) {}

  std::span<const Region> regions() const override { return kRegions; }
  unsigned widest_port_access() const override { return 1; }
  uint32_t read_port(DeviceAddress, unsigned /*size*/) override { return 0; }
  void write_port(DeviceAddress, unsigned /*size*/, uint32_t value) override {
    if (mark_) mark_(static_cast<uint8_t>(value));
  }

 private:
  std::function<void(uint8_t)> mark_;
};

}  // namespace nestor::emu
