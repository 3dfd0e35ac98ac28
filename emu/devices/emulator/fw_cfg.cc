// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/devices/emulator/fw_cfg.h"

#include <algorithm>
#include <stdexcept>
#include <string_view>
#include <utility>

namespace nestor::emu {
namespace {

std::vector<uint8_t> little_endian(uint64_t value, unsigned size) {
  std::vector<uint8_t> bytes(size);
  for (unsigned i = 0; i < size; ++i) bytes[i] = static_cast<uint8_t>(value >> (8 * i));
  return bytes;
}

std::vector<uint8_t> big_endian(uint64_t value, unsigned size) {
  std::vector<uint8_t> bytes = little_endian(value, size);
  std::ranges::reverse(bytes);
  return bytes;
}

std::vector<uint8_t> text(std::string_view value) { return {value.begin(), value.end()}; }

enum Offset : uint16_t { kSelector, kData };

// The device's features: bit 0, the selector and data ports.
constexpr uint32_t kTraditionalInterface = 1;

}  // namespace

FwCfg::FwCfg(uint64_t ram_size, uint16_t processors, std::vector<File> files) {
  items_[kSignature] = text("QEMU");
  items_[kId] = little_endian(kTraditionalInterface, 4);
  items_[kRamSize] = little_endian(ram_size, 8);
  items_[kProcessorCount] = little_endian(processors, 2);
  items_[kMaximumProcessorCount] = little_endian(processors, 2);
  // "File Directory": a count, and for each file its size, its selector and its name.
  std::ranges::sort(files, {}, &File::name);
  std::vector<uint8_t> directory = big_endian(files.size(), 4);
  const auto append = [&directory](const std::vector<uint8_t>& bytes) {
    directory.insert(directory.end(), bytes.begin(), bytes.end());
  };
  uint16_t selector = kFirstFile;
  for (File& file : files) {
    if (file.name.size() > File::kMaxNameBytes) throw std::logic_error(file.name + ": too long");
    append(big_endian(file.content.size(), 4));
    append(big_endian(selector, 2));
    append(big_endian(0, 2));
    append(text(file.name));
    directory.resize(directory.size() + File::kMaxNameBytes + 1 - file.name.size());
    items_[selector++] = std::move(file.content);
  }
  items_[kFileDirectory] = std::move(directory);
}

uint32_t FwCfg::read_port(DeviceAddress at, unsigned /*size*/) {
  // The selector is write-only. Beyond an item's end, and without an item, the stream is zeros.
  if (at.offset != kData) return 0xffff;
  if (!state_.selected) return 0;
  const std::vector<uint8_t>& item = items_.at(*state_.selected);
  return state_.position < item.size() ? item[state_.position++] : 0;
}

void FwCfg::write_port(DeviceAddress at, unsigned size, uint32_t value) {
  // Items cannot be written through the data port.
  if (at.offset != kSelector || size != 2) return;
  const auto item = static_cast<uint16_t>(value);
  state_ = {items_.contains(item) ? std::optional(item) : std::nullopt, 0};
}

void FwCfg::serialize(Archive& archive) {
  archive(state_);
  archive.require(!state_.selected || items_.contains(*state_.selected));
}

}  // namespace nestor::emu
