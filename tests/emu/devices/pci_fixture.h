// SPDX-License-Identifier: GPL-2.0-or-later
//
// A PCI bus under test, with memory, lines and messages that the test sees.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "emu/devices/device_memory.h"
#include "emu/devices/pci/host.h"
#include "emu/devices/virtio/function.h"
#include "tests/emu/devices/plug.h"

namespace nestor::emu::test {

// RAM from address 0 on.
class FakeMemory final : public DeviceMemory {
 public:
  explicit FakeMemory(size_t size) : bytes(size) {}
  bool holds(uint64_t address, uint64_t size) const override {
    return address <= bytes.size() && size <= bytes.size() - address;
  }
  bool read(uint64_t address, std::span<uint8_t> out) override {
    if (!holds(address, out.size())) return false;
    std::copy_n(bytes.begin() + static_cast<std::ptrdiff_t>(address), out.size(), out.begin());
    return true;
  }
  bool write(uint64_t address, std::span<const uint8_t> data) override {
    if (!holds(address, data.size())) return false;
    std::ranges::copy(data, bytes.begin() + static_cast<std::ptrdiff_t>(address));
    return true;
  }
  void put(uint64_t address, uint64_t value, unsigned size) {
    for (unsigned i = 0; i < size; ++i)
      bytes.at(address + i) = static_cast<uint8_t>(value >> (8 * i));
  }
  uint64_t get(uint64_t address, unsigned size) const {
    uint64_t value = 0;
    for (unsigned i = 0; i < size; ++i) value |= uint64_t{bytes.at(address + i)} << (8 * i);
    return value;
  }

  std::vector<uint8_t> bytes;
};

// A machine of nothing but PCI.
class PciMachine {
 public:
  PciMachine() {
    lines.lead_to([this](unsigned line, bool level) { levels.at(line) = level; });
  }

  VirtioPlace place(unsigned slot, std::string name) {
    return {std::move(name), bus, clock, memory, lines.source(16 + slot % 4), message()};
  }
  std::function<void(const Ipi&)> message() {
    return [this](const Ipi& ipi) { messages.push_back(ipi); };
  }
  void select(unsigned slot, unsigned offset) {
    bus.write_port(0xcf8, 4, 0x80000000 | slot << 11 | (offset & 0xfc));
  }
  uint32_t read(unsigned slot, unsigned offset, unsigned size) {
    select(slot, offset);
    return bus.read_port(static_cast<uint16_t>(0xcfc + offset % 4), size);
  }
  void write(unsigned slot, unsigned offset, unsigned size, uint32_t value) {
    select(slot, offset);
    bus.write_port(static_cast<uint16_t>(0xcfc + offset % 4), size, value);
  }
  // The offset of the capability of that kind, the `count`-th one from 0 on; 0: there is none.
  unsigned capability(unsigned slot, uint8_t id, unsigned count = 0) {
    for (unsigned at = read(slot, 0x34, 1); at != 0; at = read(slot, at + 1, 1)) {
      if (read(slot, at, 1) == id && count-- == 0) return at;
    }
    return 0;
  }
  void pass(uint64_t cycles) {
    clock.charge(cycles);
    if (bus.deadline() <= clock.cycles()) bus.expire(clock.cycles());
  }
  void serialize(Archive& archive) {
    clock.serialize(archive);
    host.serialize(archive);
    bus.timers().serialize(archive);
  }

  Bus bus;
  Clock clock;
  InterruptLines lines;
  std::vector<bool> levels = std::vector<bool>(InterruptLines::kCount);
  std::vector<Ipi> messages;
  FakeMemory memory{0x20000};
  PciHost host;
  const std::vector<Claim> claims = plug(bus, host, "PCI bus");
};

}  // namespace nestor::emu::test
