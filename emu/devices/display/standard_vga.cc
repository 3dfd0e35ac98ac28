// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/devices/display/standard_vga.h"

#include <algorithm>
#include <array>
#include <string>

#include "emu/devices/display/pictures.h"
#include "emu/devices/display/text_rows.h"

namespace nestor::emu {
namespace {

// Indices of kRegions.
enum : unsigned { kVgaPorts = 1, kDispiPorts = 2 };
constexpr uint64_t kDispiIndex = 0, kDispiData = 1;  // offsets of ports

// Registers in memory; between them there are zeros.
constexpr uint64_t kMappedVga = 0x400, kMappedDispi = 0x500, kMappedExtension = 0x600,
                   kMappedByteOrder = 0x604;
constexpr uint64_t kMappedDispiEnd = kMappedDispi + uint64_t{2} * Dispi::kRegisters;
constexpr uint32_t kExtensionBytes = 8, kLittleEndian = 0x1e1e1e1e;

}  // namespace

uint32_t StandardVga::read_port(DeviceAddress at, unsigned size) {
  if (at.region == kDispiPorts) {
    if (size != 2) return 0xff;
    return at.offset == kDispiIndex ? dispi_.index() : dispi_.read(dispi_.index());
  }
  uint32_t value = registers_.read(at.offset);
  if (size == 2) value |= uint32_t{registers_.read(at.offset + 1)} << 8;
  return value;
}

void StandardVga::write_port(DeviceAddress at, unsigned size, uint32_t value) {
  if (at.region == kDispiPorts) {
    if (size != 2) return;
    if (at.offset == kDispiIndex) dispi_.select(static_cast<uint16_t>(value));
    if (at.offset == kDispiData) write_dispi(dispi_.index(), static_cast<uint16_t>(value));
    return;
  }
  registers_.write(at.offset, static_cast<uint8_t>(value));
  if (size == 2) registers_.write(at.offset + 1, static_cast<uint8_t>(value >> 8));
}

void StandardVga::write_dispi(unsigned index, uint16_t value) {
  if (!dispi_.write(index, value)) return;
  const auto mode = dispi_.mode();
  if (!mode) return;
  static constexpr std::array<uint8_t, 0x1000> kZeros{};
  const uint64_t end = std::min<uint64_t>(mode->line_bytes * mode->height, kMemoryBytes);
  for (uint64_t at = 0; at < end; at += kZeros.size())
    memory_.write(at, std::span(kZeros).first(std::min(kZeros.size(), end - at)));
}

uint64_t StandardVga::read_memory(DeviceAddress at, unsigned size) {
  uint64_t value = 0;
  for (unsigned i = 0; i < size; ++i)
    value |= uint64_t{planes_.read(at.offset + i, dispi_.bank())} << (8 * i);
  return value;
}

void StandardVga::write_memory(DeviceAddress at, unsigned size, uint64_t value) {
  for (unsigned i = 0; i < size; ++i)
    planes_.write(at.offset + i, dispi_.bank(), static_cast<uint8_t>(value >> (8 * i)));
}

void StandardVga::serialize(Archive& archive) {
  registers_.serialize(archive);
  dispi_.serialize(archive);
  planes_.serialize(archive);
}

uint64_t StandardVga::read_register(uint64_t offset, unsigned size) {
  if (offset >= kMappedDispi && offset + size <= kMappedDispiEnd && offset % 2 == 0 && size > 1) {
    uint64_t value = 0;
    for (unsigned i = 0; i < size; i += 2) {
      const auto index = static_cast<unsigned>((offset + i - kMappedDispi) / 2);
      value |= uint64_t{dispi_.read(index)} << (8 * i);
    }
    return value;
  }
  uint64_t value = 0;
  for (unsigned i = 0; i < size; ++i) {
    const uint64_t at = offset + i;
    uint8_t byte = 0;
    if (at >= kMappedVga && at < kMappedVga + VgaRegisters::kPorts)
      byte = registers_.read(at - kMappedVga);
    if (at >= kMappedExtension && at < kMappedByteOrder)
      byte = static_cast<uint8_t>(kExtensionBytes >> (8 * (at - kMappedExtension)));
    if (at >= kMappedByteOrder && at < kMappedExtension + kExtensionBytes)
      byte = static_cast<uint8_t>(kLittleEndian >> (8 * (at - kMappedByteOrder)));
    value |= uint64_t{byte} << (8 * i);
  }
  return value;
}

void StandardVga::write_register(uint64_t offset, unsigned size, uint64_t value) {
  if (offset >= kMappedDispi && offset + size <= kMappedDispiEnd) {
    if (offset % 2 != 0 || size == 1) return;
    for (unsigned i = 0; i < size; i += 2) {
      write_dispi(static_cast<unsigned>((offset + i - kMappedDispi) / 2),
                  static_cast<uint16_t>(value >> (8 * i)));
    }
    return;
  }
  for (unsigned i = 0; i < size; ++i) {
    const uint64_t at = offset + i;
    if (at >= kMappedVga && at < kMappedVga + VgaRegisters::kPorts)
      registers_.write(at - kMappedVga, static_cast<uint8_t>(value >> (8 * i)));
  }
}

std::variant<std::string, GraphicsMode> StandardVga::text() const {
  if (const auto mode = dispi_.mode()) return GraphicsMode{mode->width, mode->height};
  const VgaMode mode = vga_mode(registers_);
  if (!mode.is_text) return GraphicsMode{mode.width, mode.height};
  return text_rows(mode.columns, mode.rows, [&](unsigned cell) {
    return character_in(registers_, mode, memory_.bytes(), cell);
  });
}

std::variant<Picture, NoPicture> StandardVga::picture() const {
  const bool wide = dispi_.palette_has_8_bits();
  if (const auto mode = dispi_.mode())
    return linear_picture(*mode, registers_, memory_.bytes(), wide);
  return vga_picture(registers_, memory_.bytes(), wide);
}

}  // namespace nestor::emu
