// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <cstdint>
#include <optional>
#include <variant>
#include <vector>

#include "emu/loaders/byte_view.h"
#include "emu/loaders/image.h"

namespace nestor::emu {

// One PT_LOAD program header that occupies memory. Its bytes lie inside the file, and its file size
// does not exceed its memory size; its addresses are as the file gives them.
struct ElfSegment {
  unsigned index = 0;  // of the program header
  uint64_t file_offset = 0, file_size = 0;
  uint64_t virtual_address = 0, physical_address = 0, memory_size = 0;
};

struct ElfFile {
  bool is_64bit = false;
  uint64_t entry = 0;  // as the file gives it
  std::vector<ElfSegment> segments;
  // The entry point of PVH, a physical address, if there is such a note; see docs/boot.md.
  std::optional<uint64_t> pvh_entry{};
};

bool has_elf_magic(Bytes file);

// A statically linked executable for x86: ELF32 for EM_386, or ELF64 for EM_X86_64.
[[nodiscard]] std::variant<ElfFile, LoadError> parse_elf(Bytes file);

// Where the entry point lies in physical memory: e_entry is a virtual address of a segment or,
// where images are linked to run elsewhere than they are loaded, already a physical one. nullopt:
// in no segment.
[[nodiscard]] std::optional<uint64_t> physical_entry(const ElfFile& elf);

}  // namespace nestor::emu
