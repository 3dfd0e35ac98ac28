// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/loaders/elf.h"

#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <array>
#include <string_view>

namespace nestor::emu {
namespace {

constexpr std::array<uint8_t, 4> kMagic = {0x7f, 'E', 'L', 'F'};
constexpr uint64_t kClassOffset = 4, kDataOffset = 5, kTypeOffset = 16, kMachineOffset = 18;
constexpr uint64_t kClass32 = 1, kClass64 = 2, kLittleEndian = 1;
constexpr uint64_t kExecutable = 2, kPositionIndependent = 3;
constexpr uint64_t kMachine386 = 3, kMachineX86_64 = 62;
constexpr uint64_t kLoad = 1, kInterpreter = 3, kNotes = 4;
// The number of program headers is in a section header instead.
constexpr uint64_t kCountElsewhere = 0xffff;

struct Field {
  uint64_t offset;
  unsigned width;
};

// Where the two classes keep the fields that a loader reads.
struct Layout {
  std::string_view name;
  uint64_t machine;
  Field entry, table_offset, entry_size, entry_count;
  uint64_t header_size, program_header_size;
  Field type, file_offset, virtual_address, physical_address, file_size, memory_size;
};

constexpr Layout kElf32 = {
    .name = "ELF32",
    .machine = kMachine386,
    .entry = {24, 4},
    .table_offset = {28, 4},
    .entry_size = {42, 2},
    .entry_count = {44, 2},
    .header_size = 52,
    .program_header_size = 32,
    .type = {0, 4},
    .file_offset = {4, 4},
    .virtual_address = {8, 4},
    .physical_address = {12, 4},
    .file_size = {16, 4},
    .memory_size = {20, 4},
};

constexpr Layout kElf64 = {
    .name = "ELF64",
    .machine = kMachineX86_64,
    .entry = {24, 8},
    .table_offset = {32, 8},
    .entry_size = {54, 2},
    .entry_count = {56, 2},
    .header_size = 64,
    .program_header_size = 56,
    .type = {0, 4},
    .file_offset = {8, 8},
    .virtual_address = {16, 8},
    .physical_address = {24, 8},
    .file_size = {32, 8},
    .memory_size = {40, 8},
};

struct MachineName {
  uint64_t machine;
  std::string_view name;
};

constexpr std::array kMachineNames = {
    MachineName{kMachine386, "x86"},
    MachineName{8, "MIPS"},
    MachineName{20, "PowerPC"},
    MachineName{21, "PowerPC64"},
    MachineName{22, "S/390"},
    MachineName{40, "Arm"},
    MachineName{43, "SPARC V9"},
    MachineName{50, "IA-64"},
    MachineName{kMachineX86_64, "x86-64"},
    MachineName{183, "AArch64"},
    MachineName{243, "RISC-V"},
    MachineName{258, "LoongArch"},
};

std::string_view machine_name(uint64_t machine) {
  const auto* found = std::ranges::find(kMachineNames, machine, &MachineName::machine);
  return found == kMachineNames.end() ? "an unknown processor" : found->name;
}

LoadError error(std::string message) { return LoadError{std::move(message)}; }

// A field of a structure that is known to lie inside the file.
uint64_t get(Bytes file, uint64_t base, Field field) {
  return read_number(file, base + field.offset, field.width).value_or(0);
}

std::variant<Layout, LoadError> check_header(Bytes file) {
  const auto elf_class = read_number(file, kClassOffset, 1);
  const auto data = read_number(file, kDataOffset, 1);
  if (!elf_class || !data)
    return error("the ELF header is truncated; build or copy the image again");
  if (*elf_class != kClass32 && *elf_class != kClass64) {
    return error(fmt::format(
        "the ELF class is {}, neither 1 (ELF32) nor 2 (ELF64); the file is damaged", *elf_class));
  }
  if (*data != kLittleEndian) {
    return error("it is a big-endian ELF file; build the image for x86");
  }
  const Layout& layout = *elf_class == kClass32 ? kElf32 : kElf64;
  if (file.size() < layout.header_size) {
    return error("the ELF header is truncated; build or copy the image again");
  }
  const uint64_t machine = get(file, 0, {kMachineOffset, 2});
  if (machine != layout.machine) {
    return error(fmt::format("it is an {} file for {} (e_machine {}); build the image for {}",
                             layout.name, machine_name(machine), machine,
                             machine_name(layout.machine)));
  }
  const uint64_t type = get(file, 0, {kTypeOffset, 2});
  if (type == kPositionIndependent) {
    return error(
        "it is a shared object or position-independent executable; link it with -static -no-pie");
  }
  if (type != kExecutable) {
    return error(fmt::format("it is not an executable ELF file (e_type {}); link it first", type));
  }
  return layout;
}

// The entry point in a segment of notes that lies in the file: XEN_ELFNOTE_PHYS32_ENTRY of Xen's
// "x86/HVM direct boot ABI". std::nullopt: there is no such note. What does not fit ends the notes.
std::optional<uint64_t> find_pvh_entry(Bytes notes) {
  constexpr std::array<uint8_t, 4> kOwner = {'X', 'e', 'n', 0};
  constexpr uint64_t kHeaderBytes = 12, kPhysical32Entry = 18;
  const auto aligned = [](uint64_t size) { return (size + 3) & ~uint64_t{3}; };
  while (notes.size() >= kHeaderBytes) {
    const auto word = [&](size_t offset) { return get(notes, 0, {offset, 4}); };
    const uint64_t name_bytes = word(0), bytes = word(4), type = word(8);
    const uint64_t start = kHeaderBytes + aligned(name_bytes);
    if (!inside(start, bytes, notes.size())) return std::nullopt;
    const bool is_xen = name_bytes == kOwner.size() &&
                        std::ranges::equal(notes.subspan(kHeaderBytes, kOwner.size()), kOwner);
    // Linux writes it with the width of a pointer.
    if (is_xen && type == kPhysical32Entry && (bytes == 4 || bytes == 8))
      return read_number(notes, start, static_cast<unsigned>(bytes));
    notes = notes.subspan(std::min<uint64_t>(start + aligned(bytes), notes.size()));
  }
  return std::nullopt;
}

}  // namespace

bool has_elf_magic(Bytes file) {
  return file.size() >= kMagic.size() && std::ranges::equal(file.first(kMagic.size()), kMagic);
}

std::variant<ElfFile, LoadError> parse_elf(Bytes file) {
  const auto header = check_header(file);
  if (const auto* bad = std::get_if<LoadError>(&header)) return *bad;
  const Layout& layout = std::get<Layout>(header);

  const uint64_t table = get(file, 0, layout.table_offset);
  const uint64_t size = get(file, 0, layout.entry_size);
  const uint64_t count = get(file, 0, layout.entry_count);
  if (count == 0) {
    return error("it has no program headers, so nothing to load; link it as an executable");
  }
  if (count == kCountElsewhere)
    return error("it has more than 65534 program headers; link it with fewer");
  if (size < layout.program_header_size) {
    return error(fmt::format("its program headers have {} bytes, {} needs {}; the file is damaged",
                             size, layout.name, layout.program_header_size));
  }
  if (!inside(table, size * count, file.size())) {
    return error(
        fmt::format("its {} program headers at offset {:#x} lie outside the file of {} bytes; "
                    "the file is truncated or damaged",
                    count, table, file.size()));
  }

  ElfFile elf;
  elf.is_64bit = layout.machine == kMachineX86_64;
  elf.entry = get(file, 0, layout.entry);
  for (unsigned i = 0; i < count; ++i) {
    const uint64_t base = table + size * i;
    const uint64_t type = get(file, base, layout.type);
    if (type == kInterpreter) {
      return error("it is dynamically linked; link it with -static");
    }
    if (type == kNotes && !elf.pvh_entry) {
      const uint64_t offset = get(file, base, layout.file_offset);
      const uint64_t bytes = get(file, base, layout.file_size);
      if (inside(offset, bytes, file.size()))
        elf.pvh_entry = find_pvh_entry(file.subspan(offset, bytes));
    }
    if (type != kLoad) continue;
    const ElfSegment segment{
        .index = i,
        .file_offset = get(file, base, layout.file_offset),
        .file_size = get(file, base, layout.file_size),
        .virtual_address = get(file, base, layout.virtual_address),
        .physical_address = get(file, base, layout.physical_address),
        .memory_size = get(file, base, layout.memory_size),
    };
    if (segment.file_size > segment.memory_size) {
      return error(
          fmt::format("segment {} has {:#x} bytes in the file but only {:#x} in memory; "
                      "the file is damaged",
                      i, segment.file_size, segment.memory_size));
    }
    if (segment.memory_size == 0) continue;
    if (segment.file_size != 0 && !inside(segment.file_offset, segment.file_size, file.size())) {
      return error(
          fmt::format("segment {} ({:#x} bytes at offset {:#x}) lies outside the file of {} bytes; "
                      "the file is truncated or damaged",
                      i, segment.file_size, segment.file_offset, file.size()));
    }
    elf.segments.push_back(segment);
  }
  if (elf.segments.empty()) {
    return error("none of its program headers loads anything; link it as an executable");
  }
  return elf;
}

std::optional<uint64_t> physical_entry(const ElfFile& elf) {
  for (const ElfSegment& segment : elf.segments) {
    const uint64_t offset = elf.entry - segment.virtual_address;
    if (elf.entry >= segment.virtual_address && offset < segment.memory_size) {
      return segment.physical_address + offset;
    }
  }
  for (const ElfSegment& segment : elf.segments) {
    if (elf.entry >= segment.physical_address &&
        elf.entry - segment.physical_address < segment.memory_size) {
      return elf.entry;
    }
  }
  return std::nullopt;
}

}  // namespace nestor::emu
