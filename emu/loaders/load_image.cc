// SPDX-License-Identifier: GPL-2.0-or-later
#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <optional>

#include "emu/loaders/boot_information.h"
#include "emu/loaders/elf.h"
#include "emu/loaders/image.h"
#include "emu/loaders/initial_state.h"
#include "emu/loaders/linux_kernel.h"
#include "emu/loaders/multiboot_header.h"
#include "emu/loaders/placement.h"

namespace nestor::emu {
namespace {

constexpr uint64_t kLowestModule = 1 << 20;
// The boot block goes to low memory; above the pages that real-mode code likes to use, if there is
// room.
constexpr uint64_t kBootBlockLow = 0x1000, kBootBlockPreferred = 0x10000, kBootBlockLimit = 0xa0000;
constexpr uint64_t kStackBytes = 0x4000;
// Inside the boot block: the GDT in its own page, for ELF64 images page tables, the stack, and the
// information structure.
constexpr uint64_t kGdtBytes = kPageBytes;

// What is to be loaded, before it is laid out in memory.
struct Plan {
  ImageFormat format = ImageFormat::kElf64;
  std::vector<ElfSegment> segments;
  uint64_t entry = 0;  // physical
};

template <class Result>
using OrError = std::variant<Result, LoadError>;

OrError<Plan> plan_flat(const MultibootHeader& header) {
  const FlatLayout& flat = *header.flat;
  return Plan{header.version,
              {ElfSegment{0, flat.file_offset, flat.file_size, flat.load_address, flat.load_address,
                          flat.memory_size}},
              *header.entry};
}

OrError<Plan> plan_elf(Bytes file, const MultibootHeader* header) {
  auto parsed = parse_elf(file);
  if (auto* bad = std::get_if<LoadError>(&parsed)) return std::move(*bad);
  auto& elf = std::get<ElfFile>(parsed);
  // Its entry point is physical.
  if (!header && elf.pvh_entry)
    return Plan{ImageFormat::kPvh, std::move(elf.segments), *elf.pvh_entry};
  if (!header && !elf.is_64bit) {
    return LoadError{
        "it is an ELF32 file without a Multiboot header in its first 8 KiB (version 2: 32 KiB); "
        "add one"};
  }
  auto entry = header && header->entry ? header->entry : physical_entry(elf);
  if (!entry) {
    return LoadError{fmt::format(
        "its entry point {:#x} lies in none of its segments; correct the entry point", elf.entry)};
  }
  return Plan{header ? header->version : ImageFormat::kElf64, std::move(elf.segments), *entry};
}

OrError<Plan> plan_image(Bytes file, const MultibootHeader* header) {
  if (header && header->flat) return plan_flat(*header);
  if (has_elf_magic(file)) return plan_elf(file, header);
  if (header) {
    return LoadError{
        "it has a Multiboot header but is neither an ELF file nor has address fields; add the "
        "address fields to the header"};
  }
  return LoadError{
      "it is no bootable image: it has neither a Multiboot nor an ELF header, nor that of a Linux "
      "kernel; build it as Multiboot 1, Multiboot 2, ELF64 or bzImage"};
}

std::optional<LoadError> place_segments(const Plan& plan, Bytes file, Placement& placement,
                                        std::vector<Piece>& pieces) {
  for (const ElfSegment& segment : plan.segments) {
    if (auto bad = placement.claim(segment.physical_address, segment.memory_size,
                                   fmt::format("segment {}", segment.index))) {
      return bad;
    }
    const Bytes bytes =
        segment.file_size != 0 ? file.subspan(segment.file_offset, segment.file_size) : Bytes{};
    pieces.push_back({segment.physical_address, segment.memory_size, {bytes.begin(), bytes.end()}});
  }
  const bool entry_loaded = std::ranges::any_of(plan.segments, [&](const ElfSegment& segment) {
    return plan.entry >= segment.physical_address &&
           plan.entry - segment.physical_address < segment.memory_size;
  });
  if (!entry_loaded) {
    return LoadError{fmt::format(
        "its entry point {:#x} lies outside what is loaded; correct the entry point", plan.entry)};
  }
  return std::nullopt;
}

OrError<std::vector<PlacedModule>> place_modules(const std::vector<Module>& modules,
                                                 const MemoryMap& memory, Placement& placement,
                                                 std::vector<Piece>& pieces) {
  std::vector<PlacedModule> placed;
  for (const Module& module : modules) {
    if (module.initrd) {
      return LoadError{fmt::format(
          "it is no Linux kernel, and --initrd {} is for Linux; give the file with --module",
          module.name)};
    }
    const uint64_t size = module.bytes.size();
    const auto address = placement.find(size, std::max(placement.end(), kLowestModule), kFourGiB);
    if (!address) {
      return LoadError{
          fmt::format("module {} of {} bytes does not fit above the image in RAM ({}); give the "
                      "machine more with --memory",
                      module.name, size, to_string(memory))};
    }
    if (auto bad = placement.claim(*address, size, "module " + module.name)) return std::move(*bad);
    if (size != 0) pieces.push_back({*address, size, module.bytes});
    placed.push_back({*address, size, module.command_line.value_or(module.name)});
  }
  return placed;
}

// The first module is the initrd, if there is any: all of them, one after another.
std::vector<Module> pvh_modules(const std::vector<Module>& modules) {
  std::vector<Module> out;
  Module initrd{.name = "initrd", .bytes = {}, .command_line = ""};
  for (const Module& module : modules) {
    if (!module.initrd) {
      out.push_back(module);
      continue;
    }
    initrd.bytes.resize((initrd.bytes.size() + 3) & ~size_t{3});  // as for a bzImage
    initrd.bytes.insert(initrd.bytes.end(), module.bytes.begin(), module.bytes.end());
  }
  if (!initrd.bytes.empty()) out.insert(out.begin(), std::move(initrd));
  return out;
}

std::vector<uint8_t> information(ImageFormat format, const BootInformation& boot,
                                 uint64_t address) {
  if (format == ImageFormat::kPvh) return pvh_information(boot, address);
  return format == ImageFormat::kMultiboot1 ? multiboot1_information(boot, address)
                                            : multiboot2_information(boot);
}

// GDT, stack, information structure and, for ELF64 images, page tables; and the processor that
// refers to them.
std::optional<LoadError> place_boot_block(const Plan& plan, const BootInformation& boot,
                                          Placement& placement, LoadedImage& result) {
  const bool long_mode = plan.format == ImageFormat::kElf64;
  const uint64_t tables_offset = kGdtBytes;
  const uint64_t stack_end_offset =
      tables_offset + (long_mode ? kIdentityMapBytes : 0) + kStackBytes;
  const uint64_t size = stack_end_offset + information(plan.format, boot, 0).size();

  auto base = placement.find(size, kBootBlockPreferred, kBootBlockLimit);
  if (!base) base = placement.find(size, kBootBlockLow, kBootBlockLimit);
  if (!base) {
    return LoadError{fmt::format(
        "no room below 640 KiB for {} bytes of boot information; load the image at 1 MiB or "
        "above, or shorten the command line",
        size)};
  }
  if (auto bad = placement.claim(*base, size, "the boot information")) return bad;

  Piece block{*base, size, boot_gdt()};
  block.bytes.resize(kGdtBytes);
  if (long_mode) {
    const auto tables = identity_map(*base + tables_offset);
    block.bytes.insert(block.bytes.end(), tables.begin(), tables.end());
  }
  block.bytes.resize(stack_end_offset);
  const uint64_t info = *base + stack_end_offset;
  const auto info_bytes = information(plan.format, boot, info);
  block.bytes.insert(block.bytes.end(), info_bytes.begin(), info_bytes.end());
  result.pieces.push_back(std::move(block));

  if (plan.format == ImageFormat::kPvh) {
    result.cpu = protected_mode_state(plan.entry, 0, info, *base, info - 4);
    return std::nullopt;
  }
  // The stack holds one zero, the return address of an entry point written as a function.
  const uint32_t magic =
      plan.format == ImageFormat::kMultiboot1 ? kMultiboot1Magic : kMultiboot2Magic;
  result.cpu =
      long_mode ? long_mode_state(plan.entry, magic, info, *base, *base + tables_offset, info - 8)
                : protected_mode_state(plan.entry, magic, info, *base, info - 4);
  return std::nullopt;
}

OrError<LoadedImage> load(const ImageFile& image, const std::vector<Module>& modules,
                          std::string_view command_line, const MemoryMap& memory,
                          const FirmwareInformation& firmware) {
  auto found = find_multiboot_header(image.bytes);
  if (auto* bad = std::get_if<LoadError>(&found)) return std::move(*bad);
  const auto* header = std::get_if<MultibootHeader>(&found);
  if (!header && has_linux_header(image.bytes))
    return load_linux(image.bytes, modules, command_line, memory, firmware);
  auto planned = plan_image(image.bytes, header);
  if (auto* bad = std::get_if<LoadError>(&planned)) return std::move(*bad);
  const Plan& plan = std::get<Plan>(planned);

  LoadedImage result;
  result.format = plan.format;
  Placement placement(memory);
  if (auto bad = place_segments(plan, image.bytes, placement, result.pieces))
    return std::move(*bad);
  const bool is_pvh = plan.format == ImageFormat::kPvh;
  auto placed =
      place_modules(is_pvh ? pvh_modules(modules) : modules, memory, placement, result.pieces);
  if (auto* bad = std::get_if<LoadError>(&placed)) return std::move(*bad);

  BootInformation boot{image.name, std::move(std::get<std::vector<PlacedModule>>(placed)), memory,
                       firmware};
  if (is_pvh) {
    boot.command_line = command_line;
  } else if (!command_line.empty()) {
    boot.command_line.append(" ").append(command_line);
  }
  if (auto bad = place_boot_block(plan, boot, placement, result)) return std::move(*bad);
  return result;
}

}  // namespace

std::string_view to_string(ImageFormat format) {
  switch (format) {
    case ImageFormat::kMultiboot1:
      return "Multiboot 1";
    case ImageFormat::kMultiboot2:
      return "Multiboot 2";
    case ImageFormat::kElf64:
      return "ELF64";
    case ImageFormat::kLinux:
      return "Linux bzImage";
    case ImageFormat::kPvh:
      return "PVH";
    case ImageFormat::kFirmware:
      return "firmware";
  }
  return "unknown";
}

std::variant<LoadedImage, LoadError> load_image(const ImageFile& image,
                                                const std::vector<Module>& modules,
                                                std::string_view command_line,
                                                const MemoryMap& memory,
                                                const FirmwareInformation& firmware) {
  auto result = load(image, modules, command_line, memory, firmware);
  if (auto* bad = std::get_if<LoadError>(&result)) bad->message = image.name + ": " + bad->message;
  return result;
}

}  // namespace nestor::emu
