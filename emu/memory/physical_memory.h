// SPDX-License-Identifier: GPL-2.0-or-later
//
// RAM as the processor itself accesses it, beside the engine: page walks, VMCS regions, operands of
// emulated instructions. Keeps the engine's translated code true.
#pragma once

#include <cstdint>
#include <cstring>
#include <span>
#include <vector>

#include "emu/memory/archive.h"
#include "emu/memory/code_cache.h"
#include "emu/memory/page_size.h"
#include "emu/memory/ram.h"
#include "ept/address.h"
#include "ept/memory.h"

namespace nestor::emu {

class PhysicalMemory {
 public:
  using Address = ept::PhysicalAddress;

  PhysicalMemory(Ram& ram, CodeCache& code)
      : ram_(ram), code_(code), fetched_(ram.page_numbers()), written_(ram.page_numbers()) {}

  bool is_ram(uint64_t physical) const { return ram_.host(physical, 1) != nullptr; }
  // An access meets what is on the bus: outside RAM all do, and where it is read-only writes.
  bool is_device(uint64_t physical, bool write) const {
    const uint8_t* const host = ram_.host(physical, 1);
    return host == nullptr || (write && ram_.is_read_only(host));
  }
  // Code of this page may have been translated. true: that is new, and the engine's TLB may let the
  // guest write to it.
  bool mark_fetched(uint64_t physical) {
    const auto page = ram_.page_number(ram_.host(physical, 1));
    const bool is_new = !fetched_[page];
    fetched_[page] = true;
    return is_new && written_[page];
  }
  // The engine's TLB may let the guest write to this page. true: code of it may have been
  // translated.
  bool mark_written(uint64_t physical) {
    const auto page = ram_.page_number(ram_.host(physical, 1));
    written_[page] = true;
    return fetched_[page];
  }
  // Drops what was translated of this page.
  void drop_code(uint64_t physical) {
    const uint8_t* host = ram_.host(physical, kPageSize);
    const std::vector<uint8_t> same(host, host + kPageSize);
    code_.code_written(physical, same);
    fetched_[ram_.page_number(host)] = false;
  }

  // Saves or loads what is known of the pages; Ram has their content.
  void serialize(Archive& archive) {
    serialize(archive, fetched_);
    serialize(archive, written_);
  }

  // false: not wholly RAM, or not all of it may be written.
  bool read(uint64_t physical, std::span<uint8_t> out) const { return ram_.read(physical, out); }
  bool write(uint64_t physical, std::span<const uint8_t> data) {
    uint8_t* host = ram_.host(physical, data.size());
    if (host == nullptr || ram_.is_read_only(host) || ram_.is_read_only(host + data.size() - 1))
      return false;
    put(host, physical, data);
    return true;
  }
  // Writes RAM that may be read-only, `data` within one page of it.
  void put(uint64_t physical, std::span<const uint8_t> data) {
    put(ram_.host(physical, data.size()), physical, data);
  }

  // ept::EntryMemory. Outside RAM entries read as ones, and flags set in them are dropped.
  bool read32(Address address, uint32_t& out) const { return read_entry(address, out); }
  bool read64(Address address, uint64_t& out) const { return read_entry(address, out); }
  ept::Exchange compare_exchange(Address address, uint32_t, uint32_t desired) {
    return exchange(address, desired);
  }
  ept::Exchange compare_exchange(Address address, uint64_t, uint64_t desired) {
    return exchange(address, desired);
  }

 private:
  // The numbers of the pages, in ascending order.
  static void serialize(Archive& archive, std::vector<bool>& pages) {
    std::vector<uint64_t> numbers;
    for (uint64_t page = 0; page != pages.size(); ++page) {
      if (pages[page]) numbers.push_back(page);
    }
    archive.sequence(numbers, pages.size());
    if (!archive.loads()) return;
    pages.assign(pages.size(), false);
    for (const uint64_t page : numbers) {
      archive.require(page < pages.size());
      if (archive.ok()) pages[page] = true;
    }
  }
  void put(uint8_t* host, uint64_t physical, std::span<const uint8_t> data) {
    if (fetched(host) || fetched(host + data.size() - 1)) {
      code_.code_written(physical, data);
    } else {
      std::memcpy(host, data.data(), data.size());
    }
  }
  bool fetched(const uint8_t* host) const { return fetched_[ram_.page_number(host)]; }
  template <class Entry>
  bool read_entry(Address address, Entry& out) const {
    const uint8_t* host = ram_.host(address.value, sizeof out);
    if (host != nullptr) {
      std::memcpy(&out, host, sizeof out);
    } else {
      out = static_cast<Entry>(~Entry{0});
    }
    return true;
  }
  // Nothing else runs meanwhile, so the entry still is what was read.
  template <class Entry>
  ept::Exchange exchange(Address address, Entry desired) {
    uint8_t bytes[sizeof desired];
    std::memcpy(bytes, &desired, sizeof desired);
    write(address.value, bytes);
    return ept::Exchange::kDone;
  }

  Ram& ram_;
  CodeCache& code_;
  std::vector<bool> fetched_, written_;  // by Ram::page_number
};

static_assert(ept::EntryMemory<PhysicalMemory>);

}  // namespace nestor::emu
