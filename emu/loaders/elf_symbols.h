// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <cstdint>
#include <string>
#include <variant>
#include <vector>

#include "emu/loaders/byte_view.h"
#include "emu/loaders/image.h"

namespace nestor::emu {

// A function of an ELF file: [first, end), as the file gives the addresses.
struct ElfSymbol {
  uint64_t first = 0, end = 0;
  std::string name;
};

// The functions in the symbol table of an ELF file for x86 of any type, ELF32 or ELF64: symbols of
// type STT_FUNC, and labels of executable sections outside of these. One without a size reaches to
// the next one, or 64 KiB. Errors: it is no such file, is damaged, or has no functions.
[[nodiscard]] std::variant<std::vector<ElfSymbol>, LoadError> read_elf_symbols(Bytes file);

}  // namespace nestor::emu
