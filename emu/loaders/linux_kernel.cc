// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/loaders/linux_kernel.h"

#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <optional>
#include <string>

#include "emu/loaders/initial_state.h"
#include "emu/loaders/placement.h"

namespace nestor::emu {
namespace {

// Offsets in the file, and in `struct boot_params`, where the header has the same place.
namespace at {
enum : size_t {
  kColumn = 0x00,  // of the cursor
  kRow = 0x01,
  kVideoMode = 0x06,
  kColumns = 0x07,
  kLines = 0x0e,
  kVideoType = 0x0f,
  kFontHeight = 0x10,
  kRsdp = 0x70,
  kE820Entries = 0x1e8,
  kSetupSectors = 0x1f1,
  kParagraphs = 0x1f4,  // of 16 bytes, behind the setup code
  kVgaMode = 0x1fa,
  kBootFlag = 0x1fe,
  kHeaderEnd = 0x201,  // counted from 0x202
  kMagic = 0x202,
  kVersion = 0x206,
  kLoaderType = 0x210,
  kLoadFlags = 0x211,
  kCode32Start = 0x214,
  kInitrd = 0x218,
  kInitrdBytes = 0x21c,
  kCommandLine = 0x228,
  kHighestInitrd = 0x22c,  // of its last byte
  kXLoadFlags = 0x236,
  kCommandLineBytes = 0x238,  // the longest, without its NUL
  kPreferredAddress = 0x258,
  kInitBytes = 0x260,  // what the kernel wants of RAM there until it has its own memory map
  kE820Table = 0x2d0,
};
}  // namespace at
constexpr size_t kBootParamsBytes = 0x1000, kE820EntryBytes = 20, kMostE820Entries = 128;
constexpr uint64_t kLinuxMagic = 0x53726448;  // "HdrS"
constexpr uint64_t kBootFlagValue = 0xaa55;
constexpr uint64_t kLoadedHigh = 1u << 0, kHas64BitEntry = 1u << 0;
constexpr uint64_t kOldestVersion = 0x020a;  // 2.10: preferred address and init_size
constexpr uint64_t k64BitEntryOffset = 0x200;
constexpr uint64_t kSectorBytes = 512;

// Where things are in low memory.
constexpr uint64_t kLinuxBlock = 0x10000, kLinuxBlockLimit = 0x9f000;
constexpr uint64_t kLinuxStackBytes = 0x4000;
constexpr uint64_t kLowestKernel = 0x100000;

struct Kernel {
  uint64_t version = 0;
  uint64_t address = 0, init_bytes = 0;  // of the RAM that it takes
  Bytes code;                            // what goes there
  Bytes header;                          // from at::kSetupSectors on
  uint64_t highest_initrd = 0, command_line_bytes = 0;
  bool has_64bit_entry = false;
};

uint64_t number(Bytes file, size_t offset, unsigned width) {
  return read_number(file, offset, width).value_or(0);
}

std::variant<Kernel, LoadError> parse(Bytes file) {
  Kernel kernel;
  kernel.version = number(file, at::kVersion, 2);
  if (kernel.version < kOldestVersion) {
    return LoadError{fmt::format(
        "it is a Linux kernel with version {}.{:02} of the boot protocol; 2.10 is needed, as "
        "kernels have it since 2.6.31",
        kernel.version >> 8, kernel.version & 0xff)};
  }
  if ((number(file, at::kLoadFlags, 1) & kLoadedHigh) == 0)
    return LoadError{"it is a Linux zImage, to be loaded below 640 KiB; build a bzImage"};
  const uint64_t sectors = number(file, at::kSetupSectors, 1);
  const uint64_t setup = ((sectors == 0 ? 4 : sectors) + 1) * kSectorBytes;
  const uint64_t size = number(file, at::kParagraphs, 4) * 16;
  const uint64_t header_end = at::kMagic + number(file, at::kHeaderEnd, 1);
  // Version 2.10 has the fields up to init_size.
  if (header_end < at::kInitBytes + 4 || size == 0) {
    return LoadError{"its Linux header is damaged: a size in it cannot be; copy the file anew"};
  }
  if (!inside(setup, size, file.size())) {
    return LoadError{fmt::format(
        "it is cut off: its Linux header says {} bytes, and there are {}; copy the file anew",
        setup + size, file.size())};
  }
  kernel.code = file.subspan(setup, size);
  kernel.header = file.subspan(at::kSetupSectors, header_end - at::kSetupSectors);
  kernel.address = number(file, at::kPreferredAddress, 8);
  kernel.init_bytes = std::max(number(file, at::kInitBytes, 4), size);
  kernel.highest_initrd = number(file, at::kHighestInitrd, 4);
  kernel.command_line_bytes = number(file, at::kCommandLineBytes, 4);
  kernel.has_64bit_entry =
      kernel.version >= 0x020c && (number(file, at::kXLoadFlags, 2) & kHas64BitEntry);
  if (kernel.address < kLowestKernel || kernel.address % kPageBytes != 0) {
    return LoadError{
        fmt::format("its preferred address {:#x} is no page above 1 MiB; correct its Linux header",
                    kernel.address)};
  }
  return kernel;
}

// All initrds, one after another, as the kernel reads them.
std::variant<std::vector<uint8_t>, LoadError> join_initrds(const std::vector<Module>& modules) {
  std::vector<uint8_t> joined;
  for (const Module& module : modules) {
    if (!module.initrd) {
      return LoadError{fmt::format(
          "a Linux kernel has no use for the module {}; give an initramfs with --initrd",
          module.name)};
    }
    // Each begins at a multiple of 4 bytes (buffer-format.rst).
    joined.resize((joined.size() + 3) & ~size_t{3});
    joined.insert(joined.end(), module.bytes.begin(), module.bytes.end());
  }
  return joined;
}

struct E820Entry {
  MemoryRange range;
  uint32_t type;  // 1: RAM; 2: reserved
};

std::vector<E820Entry> e820_map(const MemoryMap& memory, const FirmwareInformation& firmware) {
  std::vector<E820Entry> map;
  for (const MemoryRange& range : memory) map.push_back({range, 1});
  for (const MemoryRange& range : firmware.reserved) map.push_back({range, 2});
  std::ranges::sort(map, {}, [](const E820Entry& entry) { return entry.range.first; });
  map.resize(std::min(map.size(), kMostE820Entries));
  return map;
}

struct BootFiles {
  uint64_t initrd = 0, initrd_bytes = 0;
  uint64_t command_line = 0;
};

std::vector<uint8_t> boot_params(const Kernel& kernel, const BootFiles& files,
                                 const MemoryMap& memory, const FirmwareInformation& firmware) {
  std::vector<uint8_t> page(kBootParamsBytes);
  std::ranges::copy(kernel.header, page.begin() + at::kSetupSectors);
  const auto set = [&page](size_t field, uint64_t value, unsigned width) {
    store_number(page, field, value, width);
  };
  // The text screen as firmware leaves it.
  set(at::kVideoMode, 3, 1);
  set(at::kColumns, 80, 1);
  set(at::kLines, 25, 1);
  set(at::kVideoType, 1, 1);  // VGA
  set(at::kFontHeight, 16, 2);
  set(at::kVgaMode, 0xffff, 2);   // "normal"
  set(at::kLoaderType, 0xff, 1);  // none that has a number
  set(at::kInitrd, files.initrd, 4);
  set(at::kInitrdBytes, files.initrd_bytes, 4);
  set(at::kCommandLine, files.command_line, 4);
  set(at::kCode32Start, kernel.address, 4);
  set(at::kRsdp, firmware.rsdp_address, 8);
  const std::vector<E820Entry> map = e820_map(memory, firmware);
  set(at::kE820Entries, map.size(), 1);
  for (size_t i = 0; i < map.size(); ++i) {
    const size_t at = at::kE820Table + i * kE820EntryBytes;
    set(at, map[i].range.first, 8);
    set(at + 8, map[i].range.size, 8);
    set(at + 16, map[i].type, 4);
  }
  return page;
}

}  // namespace

bool has_linux_header(Bytes file) {
  return read_number(file, at::kBootFlag, 2) == kBootFlagValue &&
         read_number(file, at::kMagic, 4) == kLinuxMagic;
}

std::variant<LoadedImage, LoadError> load_linux(Bytes file, const std::vector<Module>& modules,
                                                std::string_view command_line,
                                                const MemoryMap& memory,
                                                const FirmwareInformation& firmware) {
  auto parsed = parse(file);
  if (auto* bad = std::get_if<LoadError>(&parsed)) return std::move(*bad);
  const Kernel& kernel = std::get<Kernel>(parsed);
  auto joined = join_initrds(modules);
  if (auto* bad = std::get_if<LoadError>(&joined)) return std::move(*bad);
  std::vector<uint8_t>& initrd = std::get<std::vector<uint8_t>>(joined);
  if (command_line.size() > kernel.command_line_bytes) {
    return LoadError{fmt::format("it takes a command line of {} bytes at most, and --append has {}",
                                 kernel.command_line_bytes, command_line.size())};
  }

  LoadedImage result;
  result.format = ImageFormat::kLinux;
  Placement placement(memory);
  if (auto bad = placement.claim(kernel.address, kernel.init_bytes, "the kernel"))
    return std::move(*bad);
  result.pieces.push_back(
      {kernel.address, kernel.init_bytes, {kernel.code.begin(), kernel.code.end()}});

  BootFiles files{.initrd_bytes = initrd.size()};
  if (!initrd.empty()) {
    const auto address = placement.find(initrd.size(), placement.end(), kernel.highest_initrd);
    if (!address) {
      return LoadError{fmt::format(
          "an initrd of {} bytes does not fit above the kernel in RAM ({}); give the machine more "
          "with --memory",
          initrd.size(), to_string(memory))};
    }
    files.initrd = *address;
    if (auto bad = placement.claim(*address, initrd.size(), "the initrd")) return std::move(*bad);
    result.pieces.push_back({*address, initrd.size(), std::move(initrd)});
  }

  // GDT, page tables, stack, boot_params, command line.
  const uint64_t tables = kLinuxBlock + kPageBytes,
                 stack = tables + kIdentityMapBytes + kLinuxStackBytes;
  const uint64_t size = stack + kBootParamsBytes + command_line.size() + 1 - kLinuxBlock;
  if (size > kLinuxBlockLimit - kLinuxBlock) {
    return LoadError{"the command line does not fit below 640 KiB; shorten --append"};
  }
  if (auto bad = placement.claim(kLinuxBlock, size, "the boot information")) return std::move(*bad);
  files.command_line = stack + kBootParamsBytes;
  Piece block{kLinuxBlock, size, linux_gdt(kernel.has_64bit_entry)};
  block.bytes.resize(kPageBytes);
  const auto append = [&block](const auto& bytes) {
    block.bytes.insert(block.bytes.end(), bytes.begin(), bytes.end());
  };
  append(identity_map(tables));
  block.bytes.resize(stack - kLinuxBlock);
  append(boot_params(kernel, files, memory, firmware));
  append(command_line);
  result.pieces.push_back(std::move(block));
  result.cpu =
      kernel.has_64bit_entry
          ? linux_state(kernel.address + k64BitEntryOffset, stack, kLinuxBlock, tables, stack)
          : linux_state(kernel.address, stack, kLinuxBlock, std::nullopt, stack);
  return result;
}

}  // namespace nestor::emu
