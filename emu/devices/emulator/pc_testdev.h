// SPDX-License-Identifier: GPL-2.0-or-later
//
// The device that public test images know as QEMU's pc-testdev: interrupt lines, an I/O port
// register, a page flush port and a buffer of device memory.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <vector>

#include "emu/devices/bus.h"
#include "emu/devices/interrupt_lines.h"

namespace nestor::emu {

class PcTestdev : public Device {
 public:
  static constexpr uint64_t kMemorySize = 0x10000;
  static constexpr Region kRegions[] = {
      {Space::kPorts, 8},  // 4 ports of data, accesses of any size; 4 of the flush port
      {Space::kPorts, 1},  // the data by bytes: byte 0
      {Space::kPorts, 2},  // bytes 2 and 3; in place of byte 1 a PC has the debug console
      {Space::kPorts, InterruptLines::kCount},  // one an interrupt line
      {Space::kMemory, kMemorySize},
  };

  // Drives each line. `flush`: drop what is cached of the page at a physical address; it may be
  // empty where memory needs no flush.
  explicit PcTestdev(InterruptLines& lines, std::function<void(uint64_t physical)> flush = {});

  std::span<const Region> regions() const override { return kRegions; }
  uint32_t read_port(DeviceAddress at, unsigned size) override;
  void write_port(DeviceAddress at, unsigned size, uint32_t value) override;
  uint64_t read_memory(DeviceAddress at, unsigned size) override;
  void write_memory(DeviceAddress at, unsigned size, uint64_t value) override;
  void serialize(Archive& archive) override {
    archive(state_);
    for (InterruptSource& line : lines_) line.serialize(archive);
  }

 private:
  struct State {
    std::array<uint8_t, 4> data{};
    std::array<uint8_t, kMemorySize> memory{};
    void fields(Archive& archive) { archive(data, memory); }
  };

  static bool is_flush(DeviceAddress at);
  static uint64_t data_byte(DeviceAddress at);  // the byte of the register

  std::vector<InterruptSource> lines_;  // by number
  std::function<void(uint64_t)> flush_;
  State state_;
};

}  // namespace nestor::emu
