// SPDX-License-Identifier: MIT
//
// A machine with an L0 and an L1 for tests of shadow EPT: L1's memory scattered over machine memory
// by EPT01, EPT12 inside L1's memory, EPT02 in pages of a pool.
#pragma once

#include <cstdint>
#include <cstring>
#include <optional>
#include <vector>

#include "ept/ept_walk.h"
#include "ept/nested_walk.h"
#include "ept/shadow_fill.h"
#include "ept/shadow_tables.h"

namespace nestor::ept::testing {

inline constexpr std::uint64_t kPage = 4096;

/// Machine memory; addresses beyond its size are unreachable.
class MachineMemory {
 public:
  using Address = HostPhysicalAddress;

  explicit MachineMemory(std::size_t pages) : words_(pages * (kPage / 8)) {}

  bool read32(Address, std::uint32_t&) { return false; }
  bool read64(Address address, std::uint64_t& out) {
    if (address.value / 8 >= words_.size()) return false;
    out = words_[address.value / 8];
    return true;
  }
  Exchange compare_exchange(Address, std::uint32_t, std::uint32_t) {
    return Exchange::kUnreachable;
  }
  Exchange compare_exchange(Address address, std::uint64_t, std::uint64_t desired) {
    if (address.value / 8 >= words_.size()) return Exchange::kUnreachable;
    words_[address.value / 8] = desired;
    return Exchange::kDone;
  }
  std::uint64_t& word(std::uint64_t address) { return words_.at(address / 8); }

 private:
  std::vector<std::uint64_t> words_;
};

/// Pages of machine memory from `first` on, with a limit and failures on demand.
class Pool {
 public:
  using Address = HostPhysicalAddress;

  Pool(MachineMemory& memory, std::uint64_t first, std::size_t pages) : memory_(memory) {
    for (std::size_t i = pages; i-- != 0;) free_.push_back(first + i * kPage);
  }

  bool allocate(Address& page) {
    if (fail_after && (*fail_after)-- == 0) {
      fail_after.reset();
      ++refused;
      return false;
    }
    if (used >= limit || free_.empty()) {
      ++refused;
      return false;
    }
    page = {free_.back()};
    free_.pop_back();
    ++used;
    for (std::uint64_t offset = 0; offset != kPage; offset += 8) {
      memory_.word(page.value + offset) = 0;
    }
    return true;
  }
  void release(Address page) {
    free_.push_back(page.value);
    --used;
  }
  bool read64(Address address, std::uint64_t& out) { return memory_.read64(address, out); }
  void write64(Address address, std::uint64_t value) { memory_.word(address.value) = value; }

  std::size_t limit = ~std::size_t{0};
  std::size_t used = 0, refused = 0;
  /// So many more allocations succeed, and the one after them fails.
  std::optional<std::size_t> fail_after;

 private:
  MachineMemory& memory_;
  std::vector<std::uint64_t> free_;
};

/// The machine's view of L1's memory: every access walks EPT01.
class BackingByEpt {
 public:
  BackingByEpt(MachineMemory& memory, const EptState& ept01) : memory_(memory), ept01_(ept01) {}

  bool backing(PhysicalAddress address, bool write, BackingPage& page) {
    EptAccess access;
    access.read = true;
    access.write = write;
    const auto walk = walk_ept(memory_, ept01_, address, access);
    if (!walk.translated()) return false;
    page = {walk.address, walk.page_bits, walk.rights.write && walk.dirty, walk.memory_type};
    return true;
  }

 private:
  MachineMemory& memory_;
  const EptState& ept01_;
};

static_assert(EntryMemory<MachineMemory> && TablePool<Pool> && Backing<BackingByEpt>);

}  // namespace nestor::ept::testing
