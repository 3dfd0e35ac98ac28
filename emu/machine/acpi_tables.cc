// SPDX-License-Identifier: GPL-2.0-or-later
//
// Advanced Configuration and Power Interface Specification 4.0, "ACPI Software Programming Model".
#include "emu/machine/acpi_tables.h"

#include <algorithm>
#include <numeric>
#include <span>
#include <stdexcept>
#include <string_view>
#include <utility>

#include "emu/devices/acpi/hpet.h"
#include "emu/loaders/byte_view.h"

// Of dsdt.S.
extern "C" const uint8_t nestor_dsdt[], nestor_dsdt_end[];

namespace nestor::emu {
namespace {

using Table = std::vector<uint8_t>;

constexpr size_t kHeaderBytes = 36, kChecksumOffset = 9;

void append_text(Table& out, std::string_view text) {
  out.insert(out.end(), text.begin(), text.end());
}

// A table with its header; its checksum is yet to come.
Table with_header(std::string_view signature, uint8_t revision, const Table& body) {
  Table table;
  append_text(table, signature);
  append_number(table, kHeaderBytes + body.size(), 4);
  append_number(table, revision, 1);
  append_number(table, 0, 1);  // the checksum
  append_text(table, "NESTORNESTORPC");
  append_number(table, 1, 4);
  append_text(table, "NSTR");
  append_number(table, 1, 4);
  table.insert(table.end(), body.begin(), body.end());
  return table;
}

Table make_madt(const AcpiBoard& board) {
  constexpr uint64_t kHasPics = 1, kEnabled = 1;
  enum Type : uint8_t { kLocalApic = 0, kIoApic = 1, kOverride = 2, kLocalNmi = 4 };
  Table body;
  append_number(body, board.local_apic, 4);
  append_number(body, kHasPics, 4);
  const auto begin = [&body](Type type, uint8_t size) {
    append_number(body, type, 1);
    append_number(body, size, 1);
  };
  for (unsigned i = 0; i < board.processors; ++i) {
    begin(kLocalApic, 8);
    append_number(body, i, 1);  // the processor, and its APIC ID
    append_number(body, i, 1);
    append_number(body, kEnabled, 4);
  }
  begin(kIoApic, 12);
  append_number(body, 0, 2);  // its ID
  append_number(body, board.io_apic, 4);
  append_number(body, 0, 4);  // its first interrupt
  // A line of the ISA bus, the pin of the I/O APIC where it is, and how it signals.
  const auto override_line = [&](unsigned line, unsigned pin, unsigned flags) {
    begin(kOverride, 10);
    append_number(body, 0, 1);
    append_number(body, line, 1);
    append_number(body, pin, 4);
    append_number(body, flags, 2);
  };
  constexpr unsigned kAsTheBus = 0, kActiveHighLevel = 0xd;
  override_line(0, 2, kAsTheBus);
  override_line(board.sci_line, board.sci_line, kActiveHighLevel);
  begin(kLocalNmi, 6);
  append_number(body, 0xff, 1);  // all processors
  append_number(body, 0, 2);
  append_number(body, 1, 1);  // LINT1
  return with_header("APIC", 3, body);
}

// PCI Firmware Specification 3.0, "MCFG Table Description".
Table make_mcfg(const AcpiBoard& board) {
  Table body;
  append_number(body, 0, 8);
  append_number(body, board.pci_configuration, 8);
  append_number(body, 0, 2);  // the segment group
  append_number(body, 0, 1);  // its first and its last bus
  append_number(body, 0, 1);
  append_number(body, 0, 4);
  return with_header("MCFG", 1, body);
}

// IA-PC HPET (High Precision Event Timers) Specification 1.0a, "The ACPI 2.0 HPET Description
// Table".
Table make_hpet(const AcpiBoard& board) {
  constexpr uint64_t kMemory64 = 64 << 8;  // "Generic Address Structure"
  constexpr uint64_t kMinimumTicks = 128;  // of a period, so that no interrupt is lost
  Table body;
  append_number(body, Hpet::kIdentity, 4);
  append_number(body, kMemory64, 4);
  append_number(body, board.hpet, 8);
  append_number(body, 0, 1);  // the first one
  append_number(body, kMinimumTicks, 2);
  append_number(body, 0, 1);  // nothing is said of the rest of the page
  return with_header("HPET", 1, body);
}

// The DSDT is compiled; one number in it is the board's.
Table make_dsdt(const AcpiBoard& board) {
  Table dsdt(nestor_dsdt, nestor_dsdt_end);
  constexpr std::string_view kMemb = "\x08MEMB\x0c";  // NameOp, the name, DWordPrefix
  const auto at = std::search(dsdt.begin(), dsdt.end(), kMemb.begin(), kMemb.end());
  if (at == dsdt.end()) throw std::logic_error("the DSDT lacks MEMB");
  const auto offset = static_cast<size_t>(at - dsdt.begin()) + kMemb.size();
  store_number(dsdt, offset, board.pci_memory, 4);
  dsdt[kChecksumOffset] = 0;
  return dsdt;
}

Table make_fadt(const AcpiBoard& board, uint32_t facs, uint32_t dsdt) {
  // Offsets in the table.
  enum Field : size_t {
    kFirmwareControl = 36,
    kDsdt = 40,
    kSciInterrupt = 46,
    kPm1Event = 56,
    kPm1Control = 64,
    kPmTimer = 76,
    kPm1EventLength = 88,
    kPm1ControlLength = 89,
    kPmTimerLength = 91,
    kC2Latency = 96,
    kC3Latency = 98,
    kCentury = 108,
    kBootArchitecture = 109,
    kFlags = 112,
    kResetRegister = 116,
    kResetValue = 128,
    kXDsdt = 140,
    kXPm1Event = 148,
    kXPm1Control = 172,
    kXPmTimer = 208,
    kBytes = 244,
  };
  constexpr uint64_t kLegacyDevices = 1u << 0, k8042 = 1u << 1;
  constexpr uint64_t kWbinvd = 1u << 0, kAllHaveC1 = 1u << 2, kNoPowerButton = 1u << 4,
                     kNoSleepButton = 1u << 5, kNoRtcStatus = 1u << 6, kHasResetRegister = 1u << 10;
  constexpr uint64_t kSystemPort = 0x92, kNoLatency = 0xffff;
  // "Generic Address Structure": space, bits, first bit, and how it is accessed; the address.
  constexpr uint64_t kBytePort = 1 | 8 << 8 | 1 << 24, kWordPort = 1 | 16 << 8 | 2 << 24,
                     kEventPorts = 1 | 32 << 8 | 2 << 24, kDoublewordPort = 1 | 32 << 8 | 3 << 24;
  Table body(kBytes - kHeaderBytes);
  const auto set = [&body](size_t field, uint64_t value, unsigned width) {
    store_number(body, field - kHeaderBytes, value, width);
  };
  set(kFirmwareControl, facs, 4);
  set(kDsdt, dsdt, 4);
  set(kXDsdt, dsdt, 8);
  set(kSciInterrupt, board.sci_line, 2);
  set(kC2Latency, kNoLatency, 2);
  set(kC3Latency, kNoLatency, 2);
  set(kCentury, 0x32, 1);  // in CMOS memory
  set(kBootArchitecture, kLegacyDevices | k8042, 2);
  set(kFlags,
      kWbinvd | kAllHaveC1 | kNoPowerButton | kNoSleepButton | kNoRtcStatus | kHasResetRegister, 4);
  const auto set_block = [&](Field block, Field length, Field extended, uint16_t port,
                             unsigned size, uint64_t space) {
    set(block, port, 4);
    set(length, size, 1);
    set(extended, space, 4);
    set(extended + 4, port, 8);
  };
  set_block(kPm1Event, kPm1EventLength, kXPm1Event, board.pm_event_port, 4, kEventPorts);
  set_block(kPm1Control, kPm1ControlLength, kXPm1Control, board.pm_control_port, 2, kWordPort);
  set_block(kPmTimer, kPmTimerLength, kXPmTimer, board.pm_timer_port, 4, kDoublewordPort);
  set(kResetRegister, kBytePort, 4);
  set(kResetRegister + 4, kSystemPort, 8);
  set(kResetValue, 1, 1);
  return with_header("FACP", 4, body);
}

Table make_facs() {
  Table table;
  append_text(table, "FACS");
  append_number(table, 64, 4);
  table.resize(64);
  table[32] = 1;  // the version
  return table;
}

// "Root System Description Pointer": offsets in it.
enum Rsdp : uint32_t {
  kOldChecksum = 8,
  kRsdtAddress = 16,
  kOldBytes = 20,
  kXsdtAddress = 24,
  kNewChecksum = 32,
};

Table make_rsdp(uint32_t rsdt, uint32_t xsdt) {
  Table table;
  append_text(table, "RSD PTR ");
  append_number(table, 0, 1);
  append_text(table, "NESTOR");
  append_number(table, 2, 1);
  append_number(table, rsdt, 4);
  append_number(table, kRsdpBytes, 4);
  append_number(table, xsdt, 8);
  append_number(table, 0, 4);
  return table;
}

// Offsets in the FADT of what it points to.
constexpr uint32_t kFadtPointers[][2] = {{36, 4}, {40, 4}, {140, 8}};  // and the size of each

}  // namespace

AcpiFiles acpi_files(const AcpiBoard& board) {
  AcpiFiles files;
  Table& out = files.tables;
  const auto place = [&](const Table& table) {
    const auto at = static_cast<uint32_t>(out.size());
    out.insert(out.end(), table.begin(), table.end());
    constexpr size_t kAlignment = AcpiFiles::kTablesAlignment;  // of the FACS; less would do
    out.resize((out.size() + kAlignment - 1) / kAlignment * kAlignment);
    return at;
  };
  const auto place_with_checksum = [&](const Table& table) {
    const uint32_t at = place(table);
    files.checksums.push_back({AcpiFiles::kTables, at + static_cast<uint32_t>(kChecksumOffset), at,
                               static_cast<uint32_t>(table.size())});
    return at;
  };
  const auto point = [&](uint32_t offset, uint32_t size) {
    files.pointers.push_back({AcpiFiles::kTables, offset, size});
  };
  const uint32_t facs = place(make_facs());
  const uint32_t dsdt = place_with_checksum(make_dsdt(board));
  const uint32_t fadt = place_with_checksum(make_fadt(board, facs, dsdt));
  for (const auto& [offset, size] : kFadtPointers) point(fadt + offset, size);
  const uint32_t tables[] = {fadt, place_with_checksum(make_madt(board)),
                             place_with_checksum(make_mcfg(board)),
                             place_with_checksum(make_hpet(board))};
  Table rsdt, xsdt;
  for (const uint32_t table : tables) {
    append_number(rsdt, table, 4);
    append_number(xsdt, table, 8);
  }
  const auto place_root = [&](std::string_view signature, const Table& body, uint32_t size) {
    const uint32_t at = place_with_checksum(with_header(signature, 1, body));
    for (uint32_t i = 0; i < body.size(); i += size)
      point(at + static_cast<uint32_t>(kHeaderBytes) + i, size);
    return at;
  };
  const uint32_t rsdt_at = place_root("RSDT", rsdt, 4), xsdt_at = place_root("XSDT", xsdt, 8);
  files.rsdp = make_rsdp(rsdt_at, xsdt_at);
  files.pointers.push_back({AcpiFiles::kRsdp, kRsdtAddress, 4});
  files.pointers.push_back({AcpiFiles::kRsdp, kXsdtAddress, 8});
  // The second one covers the first.
  files.checksums.push_back({AcpiFiles::kRsdp, kOldChecksum, 0, kOldBytes});
  files.checksums.push_back({AcpiFiles::kRsdp, kNewChecksum, 0, kRsdpBytes});
  return files;
}

std::vector<uint8_t> acpi_tables(const AcpiBoard& board, uint32_t address) {
  AcpiFiles files = acpi_files(board);
  constexpr size_t kTables = AcpiFiles::kTablesAlignment;  // behind the RSDP
  const auto content = [&files](AcpiFiles::File file) -> Table& {
    return file == AcpiFiles::kRsdp ? files.rsdp : files.tables;
  };
  for (const auto& [file, offset, size] : files.pointers) {
    const auto field = std::span(content(file)).subspan(offset, size);
    store_little_endian(field, load_little_endian(field) + address + kTables);
  }
  for (const auto& [file, offset, first, size] : files.checksums) {
    const auto range = std::span(content(file)).subspan(first, size);
    content(file)[offset] = static_cast<uint8_t>(-std::accumulate(range.begin(), range.end(), 0));
  }
  Table out = std::move(files.rsdp);
  out.resize(kTables);
  out.insert(out.end(), files.tables.begin(), files.tables.end());
  return out;
}

}  // namespace nestor::emu
