// SPDX-License-Identifier: GPL-2.0-or-later
//
// The information structures that a loader leaves for the image, byte by byte.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "emu/loaders/image.h"

namespace nestor::emu {

inline constexpr uint32_t kMultiboot1Magic = 0x2badb002, kMultiboot2Magic = 0x36d76289;

struct PlacedModule {
  uint64_t address = 0, size = 0;  // below 4 GiB
  std::string command_line;
};

struct BootInformation {
  std::string command_line;  // argv[0] included, but for PVH
  std::vector<PlacedModule> modules;
  MemoryMap memory;
  FirmwareInformation firmware{};
};

// The structure and all that it points to, to be placed at `address`, which is 8-byte aligned. Its
// size does not depend on `address`.
std::vector<uint8_t> multiboot1_information(const BootInformation& boot, uint64_t address);
std::vector<uint8_t> multiboot2_information(const BootInformation& boot);
// `hvm_start_info` of version 1.
std::vector<uint8_t> pvh_information(const BootInformation& boot, uint64_t address);

}  // namespace nestor::emu
