// SPDX-License-Identifier: GPL-2.0-or-later
//
// The device that public test images know as QEMU's pc-testdev: interrupt lines, an I/O port
// register, a page flush port and a buffer of device memory.
#pragma once

#include <array>
#include <cstdint>
#include <functional>

#include "emu/devices/bus.h"

namespace nestor::emu {

class PcTestdev : public Device {
 public:
  static constexpr uint16_t kDataPort = 0xe0;      // 4 bytes, accesses of any size
  static constexpr uint16_t kFlushPort = 0xe4;     // 4 bytes
  static constexpr uint16_t kByteDataPort = 0xe8;  // 4 bytes, the same register by bytes
  static constexpr uint16_t kLinePort = 0x2000;    // one port an interrupt line
  static constexpr unsigned kLineCount = 24;
  static constexpr uint64_t kMemory = 0xff000000;
  static constexpr uint64_t kMemorySize = 0x10000;

  // `set_line`: the level of an interrupt line. `flush`: drop what is cached of the page at a
  // physical address; it may be empty where memory needs no flush.
  explicit PcTestdev(std::function<void(unsigned line, bool level)> set_line,
                     std::function<void(uint64_t physical)> flush = {});

  std::string_view name() const override { return "pc-testdev"; }
  [[nodiscard]] bool attach(Bus& bus) override;
  uint32_t read_port(uint16_t port, unsigned size) override;
  void write_port(uint16_t port, unsigned size, uint32_t value) override;
  uint64_t read_memory(uint64_t offset, unsigned size) override;
  void write_memory(uint64_t offset, unsigned size, uint64_t value) override;

 private:
  std::function<void(unsigned, bool)> set_line_;
  std::function<void(uint64_t)> flush_;
  std::array<uint8_t, 4> register_{};
  std::array<uint8_t, kMemorySize> memory_{};
};

}  // namespace nestor::emu
