// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <cstring>
#include <vector>

#include "ept/address.h"
#include "ept/memory.h"

namespace nestor::ept::testing {

/// One update of an entry.
struct Update {
  std::uint64_t address = 0;
  std::uint64_t value = 0;

  bool operator==(const Update&) const = default;
};

/// Memory for paging structures with a journal of updates. Addresses wrap at its size, a power of
/// two, unless it is bounded: then what lies beyond is unreachable.
template <class Space = PhysicalAddress>
class TableMemory {
 public:
  using Address = Space;

  explicit TableMemory(std::size_t size, bool bounded = false) : bytes_(size), bounded_(bounded) {}

  bool read32(Address address, std::uint32_t& out) { return read(address.value, out); }
  bool read64(Address address, std::uint64_t& out) { return read(address.value, out); }
  Exchange compare_exchange(Address address, std::uint32_t expected, std::uint32_t desired) {
    return exchange(address.value, expected, desired);
  }
  Exchange compare_exchange(Address address, std::uint64_t expected, std::uint64_t desired) {
    return exchange(address.value, expected, desired);
  }

  template <class Entry>
  bool read(std::uint64_t address, Entry& out) {
    if (bounded_ && address + sizeof(Entry) > bytes_.size()) return false;
    ++reads;
    std::memcpy(&out, place(address), sizeof out);
    return true;
  }
  template <class Entry>
  void write(std::uint64_t address, Entry value) {
    std::memcpy(place(address), &value, sizeof value);
  }
  /// Writes and notes it.
  template <class Entry>
  void update(std::uint64_t address, Entry value) {
    write(address, value);
    updates.push_back({address, value});
  }
  std::uint64_t get64(std::uint64_t address) {
    std::uint64_t value = 0;
    std::memcpy(&value, place(address), sizeof value);
    return value;
  }

  [[nodiscard]] std::uint64_t size() const { return bytes_.size(); }

  bool operator==(const TableMemory& other) const { return bytes_ == other.bytes_; }

  std::vector<Update> updates;
  unsigned reads = 0;

 private:
  template <class Entry>
  Exchange exchange(std::uint64_t address, Entry expected, Entry desired) {
    Entry current{};
    std::memcpy(&current, place(address), sizeof current);
    if (current != expected) return Exchange::kChanged;
    update(address, desired);
    return Exchange::kDone;
  }
  std::uint8_t* place(std::uint64_t address) {
    return bytes_.data() + (address & (bytes_.size() - 1));
  }

  std::vector<std::uint8_t> bytes_;
  bool bounded_;
};

}  // namespace nestor::ept::testing
