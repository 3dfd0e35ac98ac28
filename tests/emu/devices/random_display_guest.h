// SPDX-License-Identifier: GPL-2.0-or-later
//
// A guest that does anything to the standard VGA: registers of all kinds, its windows and its
// function on the PCI bus; and who looks at the screen meanwhile.
#pragma once

#include <cstdint>
#include <iterator>
#include <optional>
#include <stdexcept>
#include <variant>
#include <vector>

#include "tests/emu/devices/display_fixture.h"

namespace nestor::emu::test {

class RandomDisplayGuest {
 public:
  explicit RandomDisplayGuest(uint64_t seed) : random_(seed) {}

  // Throws std::logic_error when the adapter does what it must not.
  void step() {
    switch (next(10)) {
      case 0:
        write_dispi();
        break;
      case 1:
      case 2:
        write_vga();
        break;
      case 3:
        access_ports();
        break;
      case 4:
        place();
        break;
      case 5:
        if (next(8) == 0) look();
        break;
      default:
        access_memory();
        break;
    }
  }

  DisplayMachine machine{std::vector<uint8_t>{0x55, 0xaa}};
  uint64_t pictures = 0, texts = 0, graphics = 0;

 private:
  static constexpr uint64_t kMemory = 0xd0000000, kRegisters = 0xd2000000, kRom = 0xd3000000;

  uint64_t next(uint64_t bound) {
    random_ = random_ * 6364136223846793005 + 1442695040888963407;
    return (random_ >> 33) % bound;
  }
  uint64_t number() {
    constexpr uint64_t kEdges[] = {0, 1, 0x7f, 0x80, 0xff, 0x7fff, 0x8000, 0xffff};
    if (next(4) == 0) return kEdges[next(std::size(kEdges))];
    return next(1ull << 31) << 33 | next(1ull << 31) << 2 | next(4);
  }
  // Modes that fit, nearly fit and do not fit; small ones, as looking takes its time.
  void write_dispi() {
    constexpr uint16_t kBits[] = {0, 4, 8, 15, 16, 24, 32, 33};
    if (next(3) == 0) {
      const auto flags = static_cast<uint16_t>(next(2) == 0 ? 0x41 : next(256));
      const auto side = [this] {
        return static_cast<uint16_t>(next(64) == 0 ? number() : next(200));
      };
      machine.set_mode(side(), side(), kBits[next(std::size(kBits))], flags);
    } else if (next(8) == 0) {
      machine.dispi(4, 0);
    } else {
      machine.dispi(static_cast<uint16_t>(next(13)), static_cast<uint16_t>(number()));
    }
  }
  void write_vga() {
    constexpr uint16_t kPorts[] = {0x3c4, 0x3ce, 0x3d4};
    const auto value = static_cast<uint8_t>(number());
    if (next(4) == 0) return machine.set_attribute(static_cast<uint8_t>(next(0x40)), value);
    machine.set(kPorts[next(std::size(kPorts))],
                static_cast<uint8_t>(next(next(8) == 0 ? 256 : 26)), value);
  }
  void access_ports() {
    const unsigned size = 1u << next(3);
    const auto port = static_cast<uint16_t>(next(4) == 0 ? 0x1cc + next(6) : 0x3be + next(0x24));
    if (next(2) == 0) {
      machine.out(port, static_cast<uint32_t>(number()), size);
    } else if (size < 4 && machine.in(port, size) >> (8 * size) != 0) {
      throw std::logic_error("a read is too wide");
    }
  }
  void place() {
    auto& pci = machine.machine;
    pci.write(DisplayMachine::kSlot, 0x10, 4,
              next(8) == 0 ? static_cast<uint32_t>(number()) : kMemory);
    pci.write(DisplayMachine::kSlot, 0x18, 4,
              next(8) == 0 ? static_cast<uint32_t>(number()) : kRegisters);
    pci.write(DisplayMachine::kSlot, 0x30, 4,
              next(8) == 0 ? static_cast<uint32_t>(number()) : kRom | 1);
    pci.write(DisplayMachine::kSlot, 0x04, 2, next(8) == 0 ? static_cast<uint32_t>(next(8)) : 3);
  }
  uint64_t address(unsigned size) {
    switch (next(4)) {
      case 0:
        return kRegisters + next(3) * 0x100 + 0x400 + next(0x30);
      case 1:
        return next(2) == 0 ? kMemory + next(StandardVga::kMemoryBytes) : kRom + next(0x10010);
      case 2:
        return kMemory + StandardVga::kMemoryBytes - size + next(3);
      default:
        return 0xa0000 - 4 + next(0x20008);
    }
  }
  void access_memory() {
    const unsigned size = 1u << next(4);
    const uint64_t at = address(size);
    if (next(3) != 0) {
      machine.store(at, number(), size);
    } else if (size < 8 && machine.load(at, size) >> (8 * size) != 0) {
      throw std::logic_error("a read is too wide");
    }
  }
  void look() {
    if (std::holds_alternative<GraphicsMode>(machine.vga.text())) {
      ++graphics;
    } else {
      ++texts;
    }
    const auto shown = machine.vga.picture();
    const auto* picture = std::get_if<Picture>(&shown);
    if (picture == nullptr) return;
    ++pictures;
    if (picture->dots.size() != size_t{3} * picture->width * picture->height ||
        picture->dots.empty()) {
      throw std::logic_error("the picture has not as many dots as it says");
    }
  }

  uint64_t random_;
};

}  // namespace nestor::emu::test
