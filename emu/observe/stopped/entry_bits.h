// SPDX-License-Identifier: GPL-2.0-or-later
//
// The bits of paging-structure entries by name.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "ept/recorder.h"

namespace nestor::emu {

struct EntryBit {
  uint8_t bit = 0;
  std::string_view name;
  // In which entries it means that: in all, or in those alone that map a page.
  bool only_of_pages = false;
};

// From the lowest on. What has more than one bit, the memory type and the address, is not there.
// Dimension::kSubPage: none. Bit 7 of a guest's entry is PS, in one of level 1 PAT.
std::span<const EntryBit> entry_bits(ept::Dimension dimension);

// Bits 5:3 of an entry of EPT that maps a page.
std::string_view ept_memory_type(uint64_t entry);
std::span<const std::string_view> memory_type_names();

}  // namespace nestor::emu
