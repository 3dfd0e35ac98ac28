// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/machine/firmware.h"

#include <algorithm>
#include <array>
#include <span>
#include <stdexcept>

#include "emu/devices/apic/local_apic.h"
#include "emu/devices/emulator/rom.h"
#include "emu/loaders/byte_view.h"

namespace nestor::emu {
namespace {

constexpr uint64_t kAcpiTables = 0xf0000;
static_assert(kEbda + kEbdaBytes == Ram::kLegacyHole);
static_assert(kRomBase + Rom::kSize == Ram::kLegacyHoleEnd);

// --- 16-bit code in the EBDA

// What stubs do to AH, and then all but those of hardware interrupts: set CF in the FLAGS that IRET
// loads.
constexpr uint8_t kCode[] = {
    0xb4, 0x86,              //  0: mov ah, 0x86    INT 15H: function not supported
    0xeb, 0x02,              //     jmp 6
    0xb4, 0x01,              //  4: mov ah, 1       INT 13H: invalid function
    0x55,                    //  6: push bp         any other
    0x89, 0xe5,              //     mov bp, sp
    0x80, 0x4e, 0x06, 0x01,  //     or byte [bp + 6], 1
    0x5d,                    //     pop bp
    0xcf,                    //     iret
    0x50,                    // 15: push ax         IRQ 8 to 15
    0xb0, 0x20,              //     mov al, 0x20
    0xe6, 0xa0,              //     out 0xa0, al
    0xeb, 0x03,              //     jmp 25
    0x50,                    // 22: push ax         IRQ 0 to 7
    0xb0, 0x20,              //     mov al, 0x20
    0xe6, 0x20,              // 25: out 0x20, al
    0x58,                    //     pop ax
    0xcf,                    //     iret
};
enum Stub : uint8_t { kSystem = 0, kDisk = 4, kNotSupported = 6, kSecondPic = 15, kFirstPic = 22 };
constexpr uint64_t kCodeOffset = 0x10;  // in the EBDA

constexpr Stub stub_of(unsigned vector) {
  if (vector >= 0x08 && vector <= 0x0f) return kFirstPic;
  if (vector >= 0x70 && vector <= 0x77) return kSecondPic;
  if (vector == 0x13) return kDisk;
  if (vector == 0x15) return kSystem;
  return kNotSupported;
}

std::vector<uint8_t> interrupt_vectors() {
  std::vector<uint8_t> table;
  for (unsigned vector = 0; vector < 256; ++vector) {
    append_number(table, kCodeOffset + stub_of(vector), 2);
    append_number(table, kEbda >> 4, 2);
  }
  return table;
}

std::vector<uint8_t> extended_bios_data() {
  std::vector<uint8_t> area(kEbdaBytes);
  area[0] = kEbdaBytes >> 10;  // its size in KiB
  std::ranges::copy(kCode, area.begin() + kCodeOffset);
  return area;
}

// --- the BIOS data area

constexpr uint64_t kBiosData = 0x400, kBiosDataEnd = 0x500;

struct BiosField {
  uint16_t address;
  uint8_t width;
  uint16_t value;
};
constexpr BiosField kBiosFields[] = {
    {0x400, 2, kCom1Port},  // COM1 to COM4
    {0x402, 2, 0x2f8},       {0x404, 2, 0x3e8},
    {0x406, 2, 0x2e8},       {0x40e, 2, kEbda >> 4},  // segment of the EBDA
    {0x410, 2, 0x0822},       // equipment: x87, 80 columns in colour, four serial ports
    {0x413, 2, kEbda >> 10},  // KiB of memory below the EBDA
    {0x41a, 2, 0x1e},         // the keyboard buffer is empty: head, tail
    {0x41c, 2, 0x1e},        {0x449, 1, 3},     // video mode
    {0x44a, 2, 80},                             // columns
    {0x44c, 2, 0x1000},                         // bytes of a page of the screen
    {0x460, 2, 0x0d0e},                         // lines of the cursor
    {0x463, 2, 0x3d4},                          // the CRTC
    {0x465, 1, 0x29},                           // mode and palette of the CGA
    {0x466, 1, 0x30},        {0x480, 2, 0x1e},  // the keyboard buffer: first byte, end
    {0x482, 2, 0x3e},        {0x484, 1, 24},    // the last row
    {0x485, 2, 16},                             // lines of a character
};

std::vector<uint8_t> bios_data() {
  std::vector<uint8_t> area(kBiosDataEnd - kBiosData);
  for (const BiosField& field : kBiosFields)
    store_number(area, field.address - kBiosData, field.value, field.width);
  return area;
}

// ---

void write(Ram& ram, uint64_t address, std::span<const uint8_t> bytes) {
  if (!ram.write(ram.origin() + address, bytes))
    throw std::logic_error("a loaded image does not fit into memory");
}

}  // namespace

MemoryMap usable_memory(const Ram& ram) {
  MemoryMap map;
  for (const MemoryMapEntry& entry : ram.memory_map()) {
    if (entry.type != MemoryMapEntry::kRam) continue;
    map.push_back({entry.first, entry.first == 0 ? kEbda : entry.size});
  }
  return map;
}

FirmwareInformation firmware_information(const BoardFacts& facts) {
  const std::vector<uint8_t> rom = firmware_rom(facts);
  const auto rsdp = std::span(rom).subspan(kAcpiTables - kRomBase, kRsdpBytes);
  constexpr uint64_t k4Gib = 1ull << 32;
  return {{{kEbda, kEbdaBytes}, {kRomBase, Rom::kSize}, {kFixedDevices, k4Gib - kFixedDevices}},
          {rsdp.begin(), rsdp.end()},
          kAcpiTables};
}

AcpiBoard acpi_board(const BoardFacts& facts) {
  constexpr uint32_t k2Gib = 1u << 31;  // OVMF assigns memory from there on, if RAM ends before
  return {.processors = facts.processors,
          .local_apic = LocalApic::kDefaultBase,
          .io_apic = kIoApicBase,
          .pci_configuration = kPciConfigurationBase,
          .hpet = kHpetBase,
          .pci_memory = facts.rom_bytes != 0 && facts.memory_bytes <= k2Gib
                            ? k2Gib
                            : uint32_t{Ram::kDeviceHole},
          .pm_event_port = kPmEventPort,
          .pm_control_port = kPmControlPort,
          .pm_timer_port = kPmTimerPort,
          .sci_line = kSciLine};
}

SmbiosBoard smbios_board(const BoardFacts& facts) {
  return {.memory_bytes = facts.memory_bytes,
          .processor = facts.processor,
          .names_bios = facts.rom_bytes == 0};
}

std::vector<uint8_t> firmware_rom(const BoardFacts& facts) {
  std::vector<uint8_t> rom(kAcpiTables - kRomBase);
  const std::vector<uint8_t> tables = acpi_tables(acpi_board(facts), kAcpiTables);
  rom.insert(rom.end(), tables.begin(), tables.end());
  // ACPI's end at a multiple of its alignment, which is more than that of the anchor.
  static_assert(AcpiFiles::kTablesAlignment % kSmbiosAlignment == 0);
  const auto smbios =
      smbios_tables(smbios_board(facts), static_cast<uint32_t>(kRomBase + rom.size()));
  rom.insert(rom.end(), smbios.begin(), smbios.end());
  return rom;
}

void fill_memory(Ram& ram, const LoadedImage& image) {
  if (image.format != ImageFormat::kFirmware) {
    write(ram, 0, interrupt_vectors());
    write(ram, kBiosData, bios_data());
    write(ram, kEbda, extended_bios_data());
  }
  for (const Piece& piece : image.pieces) {
    write(ram, piece.address, piece.bytes);
    // Only firmware has been there before: what the piece has beyond its bytes is zero elsewhere.
    const uint64_t first = piece.address + piece.bytes.size();
    const uint64_t end = std::min(piece.address + piece.size, Ram::kLegacyHole);
    if (first < end) write(ram, first, std::vector<uint8_t>(end - first));
  }
}

void set_memory_types(MsrStorage& msrs, unsigned address_width) {
  enum Type : uint64_t { kUncacheable = 0, kWriteProtected = 5, kWriteBack = 6 };
  constexpr uint64_t kEnabled = 1u << 11, kFixedEnabled = 1u << 10, kValid = 1u << 11;
  constexpr uint64_t kEachByte = 0x0101010101010101;
  msrs.mtrr_def_type = kEnabled | kFixedEnabled | kWriteBack;
  // 0 to 512 KiB, to 640 KiB and to 768 KiB; then 32 KiB each.
  msrs.mtrr_fixed.fill(kEachByte * kWriteProtected);
  msrs.mtrr_fixed[0] = msrs.mtrr_fixed[1] = kEachByte * kWriteBack;
  msrs.mtrr_fixed[2] = kEachByte * kUncacheable;
  msrs.mtrr_variable = {};
  msrs.mtrr_variable[0] = Ram::kDeviceHole | kUncacheable;
  const uint64_t size = Ram::kDeviceHoleEnd - Ram::kDeviceHole;
  msrs.mtrr_variable[1] = (((1ull << address_width) - 1) & ~(size - 1)) | kValid;
}

}  // namespace nestor::emu
