// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/loaders/boot_information.h"

#include <algorithm>
#include <string_view>

#include "emu/loaders/byte_view.h"

namespace nestor::emu {
namespace {

constexpr std::string_view kLoaderName = "nestor";
constexpr uint64_t kOneMiB = 1 << 20, kLowMemory = 640 << 10, kKiB = 1024;
// Types in both versions' memory maps.
constexpr uint64_t kAvailable = 1, kReserved = 2;
// The first disk of the BIOS, which image and modules would be from, and none of its partitions.
constexpr uint64_t kBiosDisk = 0x80, kNoPartition = 0xffffffff;
constexpr size_t kOldRsdpBytes = 20;  // of version 1, with which the later ones begin

// The text screen, as both versions describe a framebuffer.
constexpr uint64_t kScreen = 0xb8000, kColumns = 80, kRows = 25, kScreenBits = 16, kEgaText = 2;

struct MapEntry {
  MemoryRange range;
  uint64_t type;
};

std::vector<MapEntry> memory_map(const BootInformation& boot) {
  std::vector<MapEntry> map;
  for (const MemoryRange& range : boot.memory) map.push_back({range, kAvailable});
  for (const MemoryRange& range : boot.firmware.reserved) map.push_back({range, kReserved});
  std::ranges::sort(map, {}, [](const MapEntry& entry) { return entry.range.first; });
  return map;
}

// How many bytes of RAM follow `address` without a gap.
uint64_t contiguous_from(const MemoryMap& memory, uint64_t address) {
  for (const MemoryRange& range : memory) {
    if (range.first <= address && address - range.first < range.size) {
      return range.size - (address - range.first);
    }
  }
  return 0;
}

uint64_t lower_kib(const MemoryMap& memory) {
  return std::min(contiguous_from(memory, 0), kLowMemory) / kKiB;
}

uint64_t upper_kib(const MemoryMap& memory) { return contiguous_from(memory, kOneMiB) / kKiB; }

void append_string(std::vector<uint8_t>& out, std::string_view text) {
  out.insert(out.end(), text.begin(), text.end());
  out.push_back(0);
}

void align(std::vector<uint8_t>& out, size_t alignment) {
  out.resize((out.size() + alignment - 1) / alignment * alignment);
}

// Offsets in the Multiboot 1 information structure, and its size up to the framebuffer fields' end.
enum Multiboot1Field : size_t {
  kFlags = 0,
  kMemLower = 4,
  kMemUpper = 8,
  kBootDevice = 12,
  kCmdline = 16,
  kModsCount = 20,
  kModsAddr = 24,
  kMmapLength = 44,
  kMmapAddr = 48,
  kBootLoaderName = 64,
  kFramebufferAddr = 88,
  kFramebufferPitch = 96,
  kFramebufferWidth = 100,
  kFramebufferHeight = 104,
  kFramebufferBppAndType = 108,  // a byte each
  kMultiboot1Bytes = 116,
};

// Which fields are valid: memory sizes, boot device, command line, modules, memory map, loader
// name, framebuffer.
constexpr uint32_t kMultiboot1Flags =
    1u << 0 | 1u << 1 | 1u << 2 | 1u << 3 | 1u << 6 | 1u << 9 | 1u << 12;

enum Multiboot2Tag : uint32_t {
  kEndTag = 0,
  kCommandLineTag = 1,
  kLoaderNameTag = 2,
  kModuleTag = 3,
  kMemorySizesTag = 4,
  kBootDeviceTag = 5,
  kMemoryMapTag = 6,
  kTextScreenTag = 8,
  kOldAcpiTag = 14,
  kNewAcpiTag = 15,
};

// Appends a tag with its size and the padding that follows it.
template <class Body>
void append_tag(std::vector<uint8_t>& out, Multiboot2Tag type, Body body) {
  const size_t start = out.size();
  append_number(out, type, 4);
  append_number(out, 0, 4);
  body();
  store_number(out, start + 4, out.size() - start, 4);
  align(out, 8);
}

}  // namespace

std::vector<uint8_t> multiboot1_information(const BootInformation& boot, uint64_t address) {
  std::vector<uint8_t> out(kMultiboot1Bytes);
  const auto set = [&out](Multiboot1Field field, uint64_t value) {
    store_number(out, field, value, 4);
  };
  set(kFlags, kMultiboot1Flags);
  set(kMemLower, lower_kib(boot.memory));
  set(kMemUpper, upper_kib(boot.memory));
  set(kBootDevice, kBiosDisk << 24 | (kNoPartition & 0xffffff));
  set(kFramebufferAddr, kScreen);
  set(kFramebufferPitch, kColumns * kScreenBits / 8);
  set(kFramebufferWidth, kColumns);
  set(kFramebufferHeight, kRows);
  set(kFramebufferBppAndType, kScreenBits | kEgaText << 8);

  align(out, 8);
  set(kMmapAddr, address + out.size());
  const size_t map_start = out.size();
  for (const MapEntry& entry : memory_map(boot)) {
    append_number(out, 20, 4);  // the size of what follows
    append_number(out, entry.range.first, 8);
    append_number(out, entry.range.size, 8);
    append_number(out, entry.type, 4);
  }
  set(kMmapLength, out.size() - map_start);

  align(out, 8);
  set(kModsCount, boot.modules.size());
  set(kModsAddr, address + out.size());
  const size_t modules_start = out.size();
  for (const PlacedModule& module : boot.modules) {
    append_number(out, module.address, 4);
    append_number(out, module.address + module.size, 4);
    append_number(out, 0, 8);  // the string, set below, and a reserved field
  }
  for (size_t i = 0; i < boot.modules.size(); ++i) {
    store_number(out, modules_start + 16 * i + 8, address + out.size(), 4);
    append_string(out, boot.modules[i].command_line);
  }
  set(kCmdline, address + out.size());
  append_string(out, boot.command_line);
  set(kBootLoaderName, address + out.size());
  append_string(out, kLoaderName);
  return out;
}

std::vector<uint8_t> multiboot2_information(const BootInformation& boot) {
  std::vector<uint8_t> out(8);  // the total size and a reserved field
  append_tag(out, kCommandLineTag, [&] { append_string(out, boot.command_line); });
  append_tag(out, kLoaderNameTag, [&] { append_string(out, kLoaderName); });
  for (const PlacedModule& module : boot.modules) {
    append_tag(out, kModuleTag, [&] {
      append_number(out, module.address, 4);
      append_number(out, module.address + module.size, 4);
      append_string(out, module.command_line);
    });
  }
  append_tag(out, kMemoryMapTag, [&] {
    append_number(out, 24, 4);  // the size of an entry
    append_number(out, 0, 4);   // the entries' version
    for (const MapEntry& entry : memory_map(boot)) {
      append_number(out, entry.range.first, 8);
      append_number(out, entry.range.size, 8);
      append_number(out, entry.type, 4);
      append_number(out, 0, 4);
    }
  });
  append_tag(out, kMemorySizesTag, [&] {
    append_number(out, lower_kib(boot.memory), 4);
    append_number(out, upper_kib(boot.memory), 4);
  });
  append_tag(out, kBootDeviceTag, [&] {
    append_number(out, kBiosDisk, 4);
    append_number(out, kNoPartition, 4);
    append_number(out, kNoPartition, 4);  // of the partition
  });
  append_tag(out, kTextScreenTag, [&] {
    append_number(out, kScreen, 8);
    append_number(out, kColumns * kScreenBits / 8, 4);
    append_number(out, kColumns, 4);
    append_number(out, kRows, 4);
    append_number(out, kScreenBits, 1);
    append_number(out, kEgaText, 1);
    append_number(out, 0, 2);
  });
  const std::vector<uint8_t>& rsdp = boot.firmware.rsdp;
  if (!rsdp.empty()) {
    append_tag(out, kOldAcpiTag,
               [&] { out.insert(out.end(), rsdp.begin(), rsdp.begin() + kOldRsdpBytes); });
    append_tag(out, kNewAcpiTag, [&] { out.insert(out.end(), rsdp.begin(), rsdp.end()); });
  }
  append_tag(out, kEndTag, [] {});
  store_number(out, 0, out.size(), 4);
  return out;
}

// Xen's arch-x86/hvm/start_info.h describes the structures.
std::vector<uint8_t> pvh_information(const BootInformation& boot, uint64_t address) {
  enum Field : size_t {
    kMagic = 0,
    kVersion = 4,
    kModuleCount = 12,
    kModules = 16,
    kCommandLine = 24,
    kRsdp = 32,
    kMap = 40,
    kMapEntries = 48,
    kBytes = 56,
  };
  constexpr uint64_t kStartInfoMagic = 0x336ec578;
  constexpr size_t kModuleBytes = 32, kModuleCommandLine = 16;
  std::vector<uint8_t> out(kBytes);
  const auto set = [&out](size_t field, uint64_t value, unsigned width) {
    store_number(out, field, value, width);
  };
  set(kMagic, kStartInfoMagic, 4);
  set(kVersion, 1, 4);
  set(kRsdp, boot.firmware.rsdp_address, 8);
  const std::vector<MapEntry> map = memory_map(boot);
  set(kMap, address + out.size(), 8);
  set(kMapEntries, map.size(), 4);
  for (const MapEntry& entry : map) {
    append_number(out, entry.range.first, 8);
    append_number(out, entry.range.size, 8);
    append_number(out, entry.type, 8);  // 4 of them are reserved
  }
  const size_t modules = out.size();
  if (!boot.modules.empty()) set(kModules, address + modules, 8);
  set(kModuleCount, boot.modules.size(), 4);
  for (const PlacedModule& module : boot.modules) {
    append_number(out, module.address, 8);
    append_number(out, module.size, 8);
    append_number(out, 0, 8);  // its command line, set below
    append_number(out, 0, 8);
  }
  for (size_t i = 0; i < boot.modules.size(); ++i) {
    store_number(out, modules + kModuleBytes * i + kModuleCommandLine, address + out.size(), 8);
    append_string(out, boot.modules[i].command_line);
  }
  set(kCommandLine, address + out.size(), 8);
  append_string(out, boot.command_line);
  return out;
}

}  // namespace nestor::emu
