// SPDX-License-Identifier: GPL-2.0-or-later
//
// The standard VGA under test, on a board of nothing else.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "emu/devices/display/display_function.h"
#include "emu/devices/display/standard_vga.h"
#include "emu/devices/pci/host_bridge.h"
#include "tests/emu/devices/pci_fixture.h"

namespace nestor::emu::test {

class FakeVideoMemory final : public VideoMemory {
 public:
  explicit FakeVideoMemory(size_t size = StandardVga::kMemoryBytes) : content(size) {}
  std::span<const uint8_t> bytes() const override { return content; }
  void write(uint64_t offset, std::span<const uint8_t> data) override {
    if (offset + data.size() > content.size()) throw std::logic_error("beyond video memory");
    std::ranges::copy(data, content.begin() + static_cast<std::ptrdiff_t>(offset));
  }
  void place(std::optional<uint64_t> base) override { placed = base; }

  std::vector<uint8_t> content;
  std::optional<uint64_t> placed;
};

// The adapter, with its function in slot 2.
class DisplayMachine {
 public:
  static constexpr unsigned kSlot = 2;

  explicit DisplayMachine(std::vector<uint8_t> rom = {}) {
    machine.host.add(0, std::make_unique<HostBridge>(
                            machine.bus,
                            PciFunction::Identity{
                                .vendor = 1, .device = 2, .revision = 3, .class_code = 0x060000},
                            nullptr));
    machine.host.add(
        kSlot, std::make_unique<DisplayFunction>(
                   machine.bus,
                   PciFunction::Identity{
                       .vendor = 0x1234, .device = 0x1111, .revision = 2, .class_code = 0x030000},
                   vga, std::move(rom)));
  }

  void out(uint16_t port, uint32_t value, unsigned size = 1) {
    machine.bus.write_port(port, size, value);
  }
  uint32_t in(uint16_t port, unsigned size = 1) { return machine.bus.read_port(port, size); }
  // A register behind an index register: of the sequencer (3C4H), of the graphics controller
  // (3CEH), of the CRTC (3D4H).
  void set(uint16_t port, uint8_t index, uint8_t value) {
    out(port, static_cast<uint32_t>(value << 8 | index), 2);
  }
  void set_attribute(uint8_t index, uint8_t value) {
    (void)in(0x3da);
    out(0x3c0, index);
    out(0x3c0, value);
  }
  void show_palette() {
    (void)in(0x3da);
    out(0x3c0, 0x20);
  }
  void set_colour(uint8_t number, uint8_t red, uint8_t green, uint8_t blue) {
    out(0x3c8, number);
    for (const uint8_t level : {red, green, blue}) out(0x3c9, level);
  }
  void dispi(uint16_t index, uint16_t value) {
    out(0x1ce, index, 2);
    out(0x1cf, value, 2);
  }
  uint16_t dispi(uint16_t index) {
    out(0x1ce, index, 2);
    return static_cast<uint16_t>(in(0x1cf, 2));
  }
  void set_mode(uint16_t width, uint16_t height, uint16_t bits, uint16_t flags = 0x41) {
    dispi(4, 0);
    dispi(1, width);
    dispi(2, height);
    dispi(3, bits);
    dispi(4, flags);
  }
  uint64_t load(uint64_t address, unsigned size = 1) {
    return machine.bus.read_memory(address, size);
  }
  void store(uint64_t address, uint64_t value, unsigned size = 1) {
    machine.bus.write_memory(address, size, value);
  }
  std::string text() const { return std::get<std::string>(vga.text()); }
  Picture picture() const { return std::get<Picture>(vga.picture()); }
  void serialize(Archive& archive) {
    machine.serialize(archive);
    vga.serialize(archive);
    archive.bytes(video.content);
  }

  PciMachine machine;
  FakeVideoMemory video;
  StandardVga vga{video};
  const std::vector<Claim> claims = plug(machine.bus, vga, "standard VGA");
};

// 0xRRGGBB.
inline uint32_t dot(const Picture& picture, unsigned x, unsigned y) {
  const size_t at = 3 * (size_t{y} * picture.width + x);
  return static_cast<uint32_t>(picture.dots.at(at) << 16 | picture.dots.at(at + 1) << 8 |
                               picture.dots.at(at + 2));
}

}  // namespace nestor::emu::test
