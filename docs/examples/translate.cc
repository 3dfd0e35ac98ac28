// SPDX-License-Identifier: MIT
//
// The page walker of ept/ by itself: a page mapped by 4-level paging, over EPT with 1-GByte pages.
//     g++ -std=c++20 -ffreestanding -fno-exceptions -fno-rtti -I. docs/examples/translate.cc
#include <cstdint>
#include <cstdio>  // for the report; the walker needs no library

#include "ept/walk.h"

using namespace nestor::ept;

struct Memory {
  using Address = PhysicalAddress;

  bool read32(Address, std::uint32_t&) { return false; }  // 32-bit paging would ask
  bool read64(Address a, std::uint64_t& out) {
    if (a.value / 8 >= 8 * 512) return false;
    out = words[a.value / 8];
    return true;
  }
  Exchange compare_exchange(Address, std::uint32_t, std::uint32_t) {
    return Exchange::kUnreachable;
  }
  Exchange compare_exchange(Address a, std::uint64_t expected, std::uint64_t desired) {
    if (words[a.value / 8] != expected) return Exchange::kChanged;
    words[a.value / 8] = desired;
    return Exchange::kDone;
  }
  void put(std::uint64_t address, std::uint64_t entry) { words[address / 8] = entry; }

  std::uint64_t words[8 * 512] = {};
};

int main() {
  static Memory memory;
  memory.put(0x1000, 0x2000 | 7);           // EPT PML4E: read, write, execute
  memory.put(0x2000, 7 | 6 << 3 | 1 << 7);  // EPT PDPTE: the first GByte, write-back
  for (std::uint64_t table = 0x3000; table != 0x6000; table += 0x1000) {
    memory.put(table, (table + 0x1000) | 7);  // PML4E, PDPTE, PDE: present, writable, user
  }
  memory.put(0x6000, 0x42000 | 7);  // PTE
  const PagingState paging{.mode = PagingMode::k4Level, .cr3 = 0x3000};
  const EptState ept{.eptp = {0x1000 | 3 << 3 | 6 | 1 << 6}};  // 4 levels, with flags

  const auto walk = walk_nested(memory, paging, ept, LinearAddress{0x123}, {Access::kWrite});
  std::printf("physical %#llx, %u references, %u entries written back\n",
              static_cast<unsigned long long>(walk.address.value), walk.references(),
              walk.updates());
  return walk.translated() && walk.dirty ? 0 : 1;
}
