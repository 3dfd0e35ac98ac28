// SPDX-License-Identifier: GPL-2.0-or-later
//
// A disk that UEFI firmware starts: without partitions, a FAT16 file system with one file, the
// application ("Removable Media Boot Behavior" in the UEFI specification; the layout is that of
// Microsoft's "FAT: General Overview of On-Disk Format").
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace nestor::emu {

inline constexpr uint64_t kMaxEfiApplicationBytes = 256ull << 20;

// What is wrong with it, as the end of a sentence; empty: it looks like an application for x86-64.
std::string check_efi_application(std::span<const uint8_t> file);

// At most kMaxEfiApplicationBytes. The same file gives the same bytes.
std::vector<uint8_t> make_efi_disk(std::span<const uint8_t> file);

}  // namespace nestor::emu
