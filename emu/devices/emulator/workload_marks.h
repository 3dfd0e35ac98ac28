// SPDX-License-Identifier: GPL-2.0-or-later
//
// The port by which a guest that measures says which of its workloads begins, and that one has
// ended.
#pragma once

#include <functional>
#include <utility>

#include "emu/devices/bus.h"
#include "guest-images/abi/machine_ports.h"

namespace nestor::emu {

class WorkloadMarks : public Device {
 public:
  static constexpr uint16_t kPort = NESTOR_PORT_WORKLOAD;

  // `mark` gets the number of the workload that begins; 0: the last one has ended.
  explicit WorkloadMarks(std::function<void(uint8_t)> mark) : mark_(std::move(mark)) {}

  std::string_view name() const override { return "workload marks"; }
  [[nodiscard]] bool attach(Bus& bus) override { return bus.claim_ports(kPort, 1, *this); }
  unsigned widest_port_access() const override { return 1; }
  uint32_t read_port(uint16_t /*port*/, unsigned /*size*/) override { return 0; }
  void write_port(uint16_t /*port*/, unsigned /*size*/, uint32_t value) override {
    if (mark_) mark_(static_cast<uint8_t>(value));
  }

 private:
  std::function<void(uint8_t)> mark_;
};

}  // namespace nestor::emu
