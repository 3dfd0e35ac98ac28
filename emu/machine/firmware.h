// SPDX-License-Identifier: GPL-2.0-or-later
//
// What the firmware of a PC leaves in memory for what runs after it. None of it is code that does
// anything: the vectors of the BIOS lead to stubs which say that a service is not there.
//
//   00000  interrupt vector table
//   00400  BIOS data area
//   9fc00  extended BIOS data area, with the stubs; reserved in the memory map
//   e0000  ROM; from f0000 on the tables of ACPI, and then those of SMBIOS
#pragma once

#include <cstdint>
#include <vector>

#include "emu/cpu/msr_storage.h"
#include "emu/devices/emulator/fw_cfg.h"
#include "emu/loaders/image.h"
#include "emu/machine/acpi_tables.h"
#include "emu/machine/board.h"
#include "emu/machine/smbios.h"
#include "emu/memory/ram.h"

namespace nestor::emu {

inline constexpr uint64_t kEbda = 0x9fc00, kEbdaBytes = 0x400;
inline constexpr uint64_t kRomBase = 0xe0000;

// The RAM that is left to software.
MemoryMap usable_memory(const Ram& ram);
FirmwareInformation firmware_information(const BoardFacts& facts);
// What the ACPI tables say of the board.
AcpiBoard acpi_board(const BoardFacts& facts);
// What the structures of SMBIOS say of it.
SmbiosBoard smbios_board(const BoardFacts& facts);
// The content of the ROM, from kRomBase on.
std::vector<uint8_t> firmware_rom(const BoardFacts& facts);
// What firmware that runs in the machine finds behind fw_cfg to make the same of: ACPI's tables and
// how to link them, SMBIOS, RAM, and the order of the disks. emu/machine/firmware_files.cc has the
// formats.
std::vector<FwCfg::File> firmware_files(const BoardFacts& facts);
// Fills memory, which is all zeros, with what firmware leaves and then with the image. Throws
// std::logic_error when the image does not fit.
void fill_memory(Ram& ram, const LoadedImage& image);
// The MTRRs of each processor: write-back, but for the screen and the devices below 4 GiB, which
// are uncacheable, and the ROM, which is write-protected. `address_width`: of physical addresses.
void set_memory_types(MsrStorage& msrs, unsigned address_width);

}  // namespace nestor::emu
