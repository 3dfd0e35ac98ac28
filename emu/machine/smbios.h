// SPDX-License-Identifier: GPL-2.0-or-later
//
// The structures of SMBIOS that describe the machine: its name, processor, caches and memory.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "emu/cpu/cpuid.h"

namespace nestor::emu {

struct SmbiosBoard {
  uint64_t memory_bytes = 0;
  std::optional<CpuidState> processor{};  // else nothing is said of it but that it is there
  bool names_bios = true;  // Nestor stands for it; firmware of its own adds the structure itself
};

// The two files of fw_cfg. The anchor is the 32-bit entry point ("_SM_"); the address of the
// structures and both checksums in it are 0.
struct SmbiosFiles {
  std::vector<uint8_t> anchor, structures;
};
SmbiosFiles smbios_files(const SmbiosBoard& board);

inline constexpr uint32_t kSmbiosAlignment = 16;
// The anchor, and the structures after it, to be placed at `address`, a multiple of that between
// F0000H and FFFFFH.
std::vector<uint8_t> smbios_tables(const SmbiosBoard& board, uint32_t address);

}  // namespace nestor::emu
