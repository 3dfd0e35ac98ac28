// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/observe/stopped/entry_bits.h"

#include <bit>

#include "ept/bits.h"
#include "ept/ept_format.h"

namespace nestor::emu {
namespace {

constexpr uint8_t bit_of(uint64_t mask) { return static_cast<uint8_t>(std::countr_zero(mask)); }

// "4-Level Paging", formats of the entries.
constexpr EntryBit kGuestBits[] = {{0, "P"},       {1, "R/W"}, {2, "U/S"},     {3, "PWT"},
                                   {4, "PCD"},     {5, "A"},   {6, "D", true}, {7, "PS"},
                                   {8, "G", true}, {63, "XD"}};
// "Format of an EPT Page-Table Entry that Maps a 4-KByte Page" and those before it.
constexpr EntryBit kEptBits[] = {{bit_of(ept::EptEntry::kRead), "read"},
                                 {bit_of(ept::EptEntry::kWrite), "write"},
                                 {bit_of(ept::EptEntry::kExecute), "execute"},
                                 {bit_of(ept::EptEntry::kIgnorePat), "ignore PAT", true},
                                 {8, "accessed"},
                                 {9, "dirty", true},
                                 {bit_of(ept::EptEntry::kExecuteUser), "user execute"},
                                 {bit_of(ept::EptEntry::kVerifyGuestPaging), "verify guest paging"},
                                 {bit_of(ept::EptEntry::kPagingWrite), "paging write"},
                                 {bit_of(ept::EptEntry::kSubPageWrite), "sub-page write"},
                                 {bit_of(ept::EptEntry::kSuppressVe), "suppress #VE"}};

constexpr std::string_view kMemoryTypes[] = {"UC", "WC", "type 2", "type 3",
                                             "WT", "WP", "WB",     "type 7"};

}  // namespace

std::span<const EntryBit> entry_bits(ept::Dimension dimension) {
  switch (dimension) {
    case ept::Dimension::kGuest:
      return kGuestBits;
    case ept::Dimension::kEpt:
      return kEptBits;
    case ept::Dimension::kSubPage:
      return {};
  }
  return {};
}

std::string_view ept_memory_type(uint64_t entry) { return kMemoryTypes[entry >> 3 & 7]; }
std::span<const std::string_view> memory_type_names() { return kMemoryTypes; }

}  // namespace nestor::emu
