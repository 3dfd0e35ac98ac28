// SPDX-License-Identifier: GPL-2.0-or-later
//
// A guest that does anything to the devices of a PC, or to one of them: accesses at random, while
// time passes and interrupts are taken.
#pragma once

#include <algorithm>
#include <cstdint>
#include <iterator>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "emu/devices/apic/local_apic.h"
#include "emu/machine/board.h"
#include "tests/emu/devices/disk_file.h"
#include "tests/emu/devices/display_fixture.h"

namespace nestor::emu::test {

// Each processor sees its own local APIC, so that it has no place on the bus; here it gets one.
class ApicOnBus : public Device {
 public:
  static constexpr Region kRegions[] = {{Space::kMemory, LocalApic::kMemorySize}};
  explicit ApicOnBus(LocalApic& apic) : apic_(apic) {}
  std::span<const Region> regions() const override { return kRegions; }
  uint64_t read_memory(DeviceAddress at, unsigned size) override {
    return apic_.read_memory(at.offset, size);
  }
  void write_memory(DeviceAddress at, unsigned size, uint64_t value) override {
    apic_.write_memory(at.offset, size, value);
  }

 private:
  LocalApic& apic_;
};

// Shows what it is told to, and 128 KiB of ROM.
class FakeVisibleMemory final : public VisibleMemory {
 public:
  void read(uint64_t address, std::span<uint8_t> out) override {
    for (uint8_t& byte : out) byte = at(address++);
  }
  void show(uint64_t address, std::span<const uint8_t> data) override {
    for (const uint8_t byte : data) at(address++) = byte;
  }
  void allow_writes(uint64_t address, uint64_t size, bool /*allowed*/) override {
    (void)at(address), (void)at(address + size - 1);
  }

  std::vector<uint8_t> shown = std::vector<uint8_t>(ShadowMemory::kSize),
                       rom = std::vector<uint8_t>(ShadowMemory::kRomWindow, 0xc3);

 private:
  uint8_t& at(uint64_t address) {
    if (address >= ShadowMemory::kRomEnd - rom.size())
      return rom.at(address - (ShadowMemory::kRomEnd - rom.size()));
    return shown.at(address - ShadowMemory::kBase);
  }
};

class RandomDeviceGuest {
 public:
  static constexpr std::string_view kLocalApic = "local APIC";
  // What may be named: the rows of the board, and the local APIC.
  static std::vector<std::string_view> device_names() {
    std::vector<std::string_view> names = {kLocalApic};
    for (const BoardRow& row : pc_board()) names.push_back(row.name);
    return names;
  }

  // `device`: where most accesses go; empty: to all alike. Throws std::logic_error: there is none.
  explicit RandomDeviceGuest(uint64_t seed, std::string_view device = {})
      : has_rom_(device == kShadowMemory || device == kFirmwareLog),
        has_graphics_(device == kStandardVga),
        flash_(device == kFlash ? std::make_unique<DiskFile>(std::vector<uint8_t>(0x8000, 0xff))
                                : nullptr),
        random_(seed) {
    if (!claim_.move_to(LocalApic::kDefaultBase)) throw std::logic_error("no place for the APIC");
    add({kLocalApic, apic_on_bus_.regions(), {LocalApic::kDefaultBase}}, device);
    for (const Board::Placed& placed : board_.devices()) {
      std::vector<uint64_t> bases;
      for (const Claim& claim : placed.claims) bases.push_back(claim.base().value());
      add({placed.name, placed.device->regions(), bases}, device);
    }
    if (targets_.empty()) throw std::logic_error("no device " + std::string(device));
    local_apic.outputs.acknowledge_external = board_.inputs().acknowledge;
    local_apic.outputs.eoi = board_.inputs().end_of_interrupt;
    local_apic.enter_virtual_wire_mode();
  }

  // Writes or reads somewhere, lets time pass, and takes an interrupt. What was seen, as text.
  // Throws std::logic_error when a device does what it must not.
  std::string step() {
    if (has_rom_ && next(8) == 0)
      board_.inputs().shadow(static_cast<unsigned>(next(13)), next(2) == 0, next(2) == 0);
    const bool other = next(8) == 0;
    const std::vector<Target>& among = other ? all_ : targets_;
    const Target& target = among[next(among.size())];
    const size_t region = next(target.regions.size());
    const bool ports = target.regions[region].space == Space::kPorts;
    const unsigned size = 1u << next(ports ? 3 : 4);
    const uint64_t address = target.bases[region] + offset_in(target, region, size);
    uint64_t seen = 0;
    if (next(2) == 0) {
      write(ports, address, size, number());
    } else {
      seen = read(ports, address, size);
    }
    if (size < 8 && seen >> (8 * size) != 0) throw std::logic_error("a read is too wide");
    if (target.name == "PCI bus" && next(64) == 0) place_functions();
    clock.charge(next(64) == 0 ? next(2 * Clock::kFrequency) : next(5000));
    bus.expire(clock.cycles());
    if (bus.deadline() <= clock.cycles()) throw std::logic_error("something stays due");
    std::string text = std::to_string(address) + "=" + std::to_string(seen) + " until " +
                       std::to_string(bus.deadline());
    if (local_apic.has_interrupt()) {
      text += " interrupt " + std::to_string(local_apic.acknowledge());
      ++taken;
    }
    return text;
  }
  void serialize(Archive& archive) {
    clock.serialize(archive);
    board_.serialize(archive);
    local_apic.serialize(archive);
    bus.timers().serialize(archive);
    archive.bytes(memory_.bytes);
    if (has_rom_) archive.bytes(visible_.shown);
    if (has_graphics_) archive.bytes(video_.content);
    archive(random_);
  }
  std::vector<uint8_t> saved() {
    return saved_bytes([this](Archive& archive) { serialize(archive); });
  }

  Clock clock;
  Bus bus;
  LocalApic local_apic{clock, bus.timers(), 0, true};
  uint64_t taken = 0;  // interrupts

 private:
  struct Target {
    std::string_view name;
    std::span<const Region> regions;
    std::vector<uint64_t> bases;
  };

  void add(const Target& target, std::string_view wanted) {
    all_.push_back(target);
    if (wanted.empty() || target.name == wanted) targets_.push_back(target);
  }
  BoardOutputs outputs() {
    BoardOutputs outputs;
    outputs.intr = [this](bool level) { local_apic.set_lint0(level); };
    outputs.interrupt_message = [this](const Ipi& ipi) {
      if (local_apic.accepts(ipi)) local_apic.deliver(ipi);
    };
    outputs.memory = &memory_;
    outputs.keyboard_input = {
        [] { return KeyStroke{.code = 0x48, .extended = true, .shift = true}; }, true};
    if (has_rom_) outputs.firmware_memory = &visible_;
    if (has_graphics_) outputs.video_memory = &video_;
    return outputs;
  }
  uint64_t next(uint64_t bound) {
    random_ = random_ * 6364136223846793005 + 1442695040888963407;
    return (random_ >> 33) % bound;
  }
  // Small ones, those at which comparisons and sums go wrong, and any.
  uint64_t number() {
    constexpr uint64_t kEdges[] = {0x7f,       0x80,       0xff,       0x7fff,
                                   0xffff,     0x7fffffff, 0x80000000, 0xffffffff,
                                   1ull << 32, 1ull << 63, ~0ull - 1,  ~0ull};
    switch (next(4)) {
      case 0:
        return kEdges[next(std::size(kEdges))];
      case 1:
        return next(1ull << 31) << 33 | next(1ull << 31) << 2 | next(4);
      default:
        return next(256);
    }
  }
  // Often where registers are: at the start of what is large. At times beyond the end.
  uint64_t offset_in(const Target& target, size_t region, unsigned size) {
    const uint64_t bytes = target.regions[region].size;
    if (target.name == "PCI bus" && bytes > 0x1000) return next(32) << 15 | next(0x108);
    uint64_t offset = next(bytes > 0x400 && next(4) != 0 ? 0x400 : bytes);
    if (next(4) != 0) offset &= ~uint64_t{size - 1};
    return offset;
  }
  // The functions of PCI get places, and accesses there.
  void place_functions() {
    for (const uint64_t slot : {2, 31}) {
      const uint64_t header = kPciConfigurationBase + (slot << 15),
                     base = 0xd0000000 + (slot << 16);
      bus.write_memory(header + 0x10, 4, base);
      bus.write_memory(header + 0x14, 4, base + 0x8000);
      bus.write_memory(header + 0x04, 2, 6);
      for (unsigned i = 0; i < 32; ++i) {
        const uint64_t address = base + (next(5) << 12 | next(0x44)) + (next(4) == 0 ? 0x4000 : 0);
        const unsigned size = 1u << next(4);
        bus.write_memory(address, size, number());
        if (size < 8 && bus.read_memory(address, size) >> (8 * size) != 0)
          throw std::logic_error("a read is too wide");
      }
    }
  }
  void write(bool ports, uint64_t address, unsigned size, uint64_t value) {
    if (ports) {
      bus.write_port(static_cast<uint16_t>(address), size, static_cast<uint32_t>(value));
    } else {
      bus.write_memory(address, size, value);
    }
  }
  uint64_t read(bool ports, uint64_t address, unsigned size) {
    return ports ? bus.read_port(static_cast<uint16_t>(address), size)
                 : bus.read_memory(address, size);
  }

  static constexpr std::string_view kShadowMemory = "shadow memory",
                                    kFirmwareLog = "debug console of firmware",
                                    kStandardVga = "standard VGA", kFlash = "flash memory";
  const bool has_rom_, has_graphics_;      // only where these are asked for
  const std::unique_ptr<DiskFile> flash_;  // the same
  FakeMemory memory_{0x20000};
  FakeVisibleMemory visible_;
  FakeVideoMemory video_{has_graphics_ ? StandardVga::kMemoryBytes : 0};
  Board board_{pc_board(),
               BoardKind::kSoftware,
               {.memory_bytes = 64 << 20,
                .processors = 3,
                .virtio_console = true,
                .keyboard = true,
                .flash = flash_ ? std::optional(DiskConfig{.path = flash_->path}) : std::nullopt},
               outputs(),
               bus,
               clock};
  ApicOnBus apic_on_bus_{local_apic};
  Claim claim_{bus, apic_on_bus_, 0};
  std::vector<Target> all_, targets_;
  uint64_t random_;
};

}  // namespace nestor::emu::test
