// SPDX-License-Identifier: GPL-2.0-or-later
//
// The tables of ACPI that describe the board: RSDP, RSDT, XSDT, FADT, FACS, MADT, MCFG, HPET,
// and the DSDT of dsdt.asl.
#pragma once

#include <cstdint>
#include <vector>

namespace nestor::emu {

struct AcpiBoard {
  unsigned processors = 1;  // their APIC IDs count from 0
  // Physical addresses.
  uint32_t local_apic = 0, io_apic = 0, pci_configuration = 0, hpet = 0;
  uint32_t pci_memory = 0xc0000000;  // where what may be assigned begins
  uint16_t pm_event_port = 0, pm_control_port = 0, pm_timer_port = 0;
  uint8_t sci_line = 0;
};

inline constexpr uint64_t kRsdpBytes = 36;  // of version 2

// The tables before they have a place, and what is to be done to them there, in this order.
struct AcpiFiles {
  enum File : uint8_t { kRsdp, kTables };
  static constexpr uint32_t kTablesAlignment = 64, kRsdpAlignment = 16;
  // A field that has an offset in the tables: where they are is to be added to it.
  struct Pointer {
    File file;
    uint32_t offset, size;
  };
  // A byte, 0 so far, that is to make the sum of a range 0.
  struct Checksum {
    File file;
    uint32_t offset, first, size;
  };
  std::vector<uint8_t> rsdp, tables;
  std::vector<Pointer> pointers;
  std::vector<Checksum> checksums;
};
AcpiFiles acpi_files(const AcpiBoard& board);

// The tables, to be placed at `address`, a multiple of 64 below 4 GiB. The RSDP comes first.
std::vector<uint8_t> acpi_tables(const AcpiBoard& board, uint32_t address);

}  // namespace nestor::emu
