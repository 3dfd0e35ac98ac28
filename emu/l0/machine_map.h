// SPDX-License-Identifier: GPL-2.0-or-later
//
// Where L0 has put L1's physical memory, and the memory that only L0 sees.
#pragma once

#include <cstdint>
#include <vector>

#include "emu/cpu/core.h"
#include "emu/memory/ram.h"
#include "ept/address.h"
#include "ept/memory.h"
#include "ept/shadow_fill.h"

namespace nestor::emu {

//   L1's physical memory          machine memory
//   0 .. RAM                 ->   kL1Origin ..
//   devices, and the rest    ->   the same address
//   (nothing)                     behind L1's RAM: L0's own pages
//
// What L1 has at kL1Origin and above is nowhere: it must not meet its own memory, or L0's, there.
class MachineMap {
 public:
  static constexpr uint64_t kL1Origin = 1ull << 45;

  explicit MachineMap(const Ram& ram) : ram_(ram) {}

  // The machine address behind L1's physical address.
  ept::HostPhysicalAddress machine(ept::PhysicalAddress l1) const {
    if (l1.value >= kL1Origin) return {kNowhere + (l1.value & 0xfff)};
    return {is_ram(l1) ? kL1Origin + l1.value : l1.value};
  }
  // And back.
  ept::PhysicalAddress l1(ept::HostPhysicalAddress machine) const {
    return {machine.value >= kL1Origin ? machine.value - kL1Origin : machine.value};
  }
  bool is_ram(ept::PhysicalAddress l1) const {
    return l1.value < kL1Origin && ram_.is_guest_ram(kL1Origin + l1.value);
  }

  // The address after the last byte of L1's RAM.
  uint64_t ram_end() const { return ram_.guest_end() - kL1Origin; }

  // ept::Backing: pages of 2 MBytes where all of one is RAM.
  bool backing(ept::PhysicalAddress l1, bool /*write*/, ept::BackingPage& page) const {
    page.address = machine(l1);
    constexpr uint64_t kLarge = 1ull << 21;
    const ept::PhysicalAddress base = l1.page_base(21);
    const bool large = is_ram(base) && ram_.host(kL1Origin + base.value, kLarge) != nullptr;
    page.page_bits = large ? 21 : 12;
    page.write = true;
    page.memory_type = is_ram(l1) ? ept::MemoryType::kWriteBack : ept::MemoryType::kUncacheable;
    return true;
  }

 private:
  // A page that neither memory nor a device has.
  static constexpr uint64_t kNowhere = kL1Origin - 0x1000;

  const Ram& ram_;
};

static_assert(ept::Backing<MachineMap>);

// L0's pages, handed out one by one: an ept::TablePool.
class L0Pages {
 public:
  using Address = ept::HostPhysicalAddress;

  // The pages from `first` to `end`; no more than `limit` at a time.
  L0Pages(Core& core, uint64_t first, uint64_t end);

  bool allocate(Address& page);
  void release(Address page);
  bool read64(Address address, uint64_t& out);
  void write64(Address address, uint64_t value);

  // A page for good: bitmaps, VMCS regions. Throws std::logic_error when there is none.
  uint64_t take();

  // Whether it is one of these pages, free or not.
  bool owns(Address page) const {
    return page.page_offset() == 0 && page.value >= first_ && page.value < end_;
  }
  // Saves or loads which pages are free, where none was taken for good; their content is in RAM.
  void serialize(Archive& archive);

  uint64_t limit = ~0ull;  // of pages in use
  uint64_t built = 0, zapped = 0;

 private:
  Core& core_;
  uint64_t first_, end_;
  std::vector<uint64_t> free_;
  uint64_t used_ = 0;
};

static_assert(ept::TablePool<L0Pages>);

// L1's physical memory as L0 reads and updates L1's tables in it.
class L1Memory {
 public:
  using Address = ept::PhysicalAddress;

  L1Memory(Core& core, const MachineMap& map) : core_(core), map_(map) {}

  bool read(Address address, std::span<uint8_t> out);
  bool write(Address address, std::span<const uint8_t> data);

  bool read32(Address address, uint32_t& out) { return read_entry(address, out); }
  bool read64(Address address, uint64_t& out) { return read_entry(address, out); }
  ept::Exchange compare_exchange(Address address, uint32_t, uint32_t desired) {
    return exchange(address, desired);
  }
  ept::Exchange compare_exchange(Address address, uint64_t, uint64_t desired) {
    return exchange(address, desired);
  }

 private:
  // Outside RAM entries read as ones, and flags set in them are dropped.
  template <class Entry>
  bool read_entry(Address address, Entry& out) {
    out = static_cast<Entry>(~Entry{0});
    read(address, std::span(reinterpret_cast<uint8_t*>(&out), sizeof out));
    return true;
  }
  template <class Entry>
  ept::Exchange exchange(Address address, Entry desired) {
    write(address, std::span(reinterpret_cast<const uint8_t*>(&desired), sizeof desired));
    return ept::Exchange::kDone;
  }

  Core& core_;
  const MachineMap& map_;
};

static_assert(ept::EntryMemory<L1Memory>);

}  // namespace nestor::emu
