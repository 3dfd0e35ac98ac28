// SPDX-License-Identifier: GPL-2.0-or-later
//
// The files that SeaBIOS and OVMF look for in QEMU's fw_cfg.
#include <algorithm>
#include <string>
#include <string_view>
#include <utility>

#include "emu/loaders/byte_view.h"
#include "emu/machine/acpi_tables.h"
#include "emu/machine/firmware.h"
#include "emu/machine/pci_slots.h"
#include "emu/machine/smbios.h"

namespace nestor::emu {
namespace {

using Content = std::vector<uint8_t>;

// Files that etc/table-loader names.
constexpr std::string_view kAcpiFileNames[] = {"etc/acpi/rsdp", "etc/acpi/tables"};

// --- etc/table-loader: QEMU's hw/acpi/bios-linker-loader.c describes the commands

constexpr size_t kCommandBytes = 128, kNameBytes = 56;
enum Command : uint32_t { kAllocate = 1, kAddPointer = 2, kAddChecksum = 3 };
enum Zone : uint8_t { kHigh = 1, kFSegment = 2 };

// The bytes of one command, and where the next field goes.
class CommandWriter {
 public:
  CommandWriter(Content& out, Command command)
      : out_(out), end_(out.size() + kCommandBytes), at_(out.size()) {
    out_.resize(end_);
    number(command, 4);
  }
  CommandWriter& name(AcpiFiles::File file) {
    std::ranges::copy(kAcpiFileNames[file], out_.begin() + static_cast<std::ptrdiff_t>(at_));
    at_ += kNameBytes;
    return *this;
  }
  CommandWriter& number(uint64_t value, unsigned size) {
    store_number(out_, at_, value, size);
    at_ += size;
    return *this;
  }

 private:
  Content& out_;
  const size_t end_;
  size_t at_;
};

Content table_loader(const AcpiFiles& files) {
  Content out;
  // The RSDP is looked for in the F segment.
  CommandWriter(out, kAllocate)
      .name(AcpiFiles::kRsdp)
      .number(AcpiFiles::kRsdpAlignment, 4)
      .number(kFSegment, 1);
  CommandWriter(out, kAllocate)
      .name(AcpiFiles::kTables)
      .number(AcpiFiles::kTablesAlignment, 4)
      .number(kHigh, 1);
  for (const auto& [file, offset, size] : files.pointers) {
    CommandWriter(out, kAddPointer)
        .name(file)
        .name(AcpiFiles::kTables)
        .number(offset, 4)
        .number(size, 1);
  }
  for (const auto& [file, offset, first, size] : files.checksums)
    CommandWriter(out, kAddChecksum).name(file).number(offset, 4).number(first, 4).number(size, 4);
  return out;
}

// --- the others

// RAM as firmware finds it, before it keeps any for itself: address, size, type.
Content e820(const BoardFacts& facts) {
  Content out;
  const auto append = [&out](uint64_t first, uint64_t size) {
    append_number(out, first, 8);
    append_number(out, size, 8);
    append_number(out, MemoryMapEntry::kRam, 4);
  };
  const uint64_t low = std::min(facts.memory_bytes, Ram::kDeviceHole);
  append(0, low);
  if (facts.memory_bytes > low) append(Ram::kDeviceHoleEnd, facts.memory_bytes - low);
  return out;
}

// Open Firmware's paths of the disks and of the CD drive, one a line.
Content boot_order(const BoardFacts& facts) {
  const auto at_port = [](unsigned port) {
    return "/pci@i0cf8/pci8086,2922@1,2/drive@" + std::to_string(port) + "/disk@0\n";
  };
  const auto at_slot = [](unsigned slot) {
    constexpr std::string_view kDigits = "0123456789abcdef";
    std::string number;
    if (slot >= 16) number += kDigits[slot / 16];
    number += kDigits[slot % 16];
    return "/pci@i0cf8/scsi@" + number + "/disk@0,0\n";
  };
  std::string text;
  unsigned slot = kFirstDiskSlot, port = kFirstDiskPort;
  for (const DiskConfig& disk : facts.disks) text += disk.ahci ? at_port(port++) : at_slot(slot++);
  if (facts.cd) text += at_port(kCdPort);
  Content out(text.begin(), text.end());
  out.push_back(0);
  return out;
}

Content number(uint64_t value, unsigned size) {
  Content out;
  append_number(out, value, size);
  return out;
}

}  // namespace

std::vector<FwCfg::File> firmware_files(const BoardFacts& facts) {
  const AcpiFiles acpi = acpi_files(acpi_board(facts));
  SmbiosFiles smbios = smbios_files(smbios_board(facts));
  std::vector<FwCfg::File> files = {{std::string(kAcpiFileNames[AcpiFiles::kRsdp]), acpi.rsdp},
                                    {std::string(kAcpiFileNames[AcpiFiles::kTables]), acpi.tables},
                                    {"etc/table-loader", table_loader(acpi)},
                                    {"etc/smbios/smbios-anchor", std::move(smbios.anchor)},
                                    {"etc/smbios/smbios-tables", std::move(smbios.structures)},
                                    {"etc/e820", e820(facts)}};
  // SeaBIOS shows its screen there, too, and reads keys.
  if (facts.rom_bytes != 0) files.push_back({"etc/sercon-port", number(kCom1Port, 2)});
  if (facts.rom_bytes != 0 && facts.feature_control != 0)
    files.push_back({"etc/msr_feature_control", number(facts.feature_control, 8)});
  if (!facts.disks.empty() || facts.cd) files.push_back({"bootorder", boot_order(facts)});
  return files;
}

}  // namespace nestor::emu
