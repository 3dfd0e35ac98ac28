// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <cstring>
#include <map>
#include <utility>
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

/// Zeroed bytes. They are kept for the next of the same size: an instrumented program maps and
/// unmaps large memory each time, which takes longer than most of the tests that need it.
class ReusedBytes {
 public:
  explicit ReusedBytes(std::size_t size) : size_(size), bytes_(take(size)) {
    std::memset(bytes_, 0, size_);
  }
  ReusedBytes(const ReusedBytes& other) : size_(other.size_), bytes_(take(size_)) {
    std::memcpy(bytes_, other.bytes_, size_);
  }
  ReusedBytes& operator=(ReusedBytes other) noexcept {
    std::swap(size_, other.size_);
    std::swap(bytes_, other.bytes_);
    return *this;
  }
  ~ReusedBytes() { spares()[size_].push_back(bytes_); }

  bool operator==(const ReusedBytes& other) const {
    return size_ == other.size_ && std::memcmp(bytes_, other.bytes_, size_) == 0;
  }
  [[nodiscard]] std::size_t size() const { return size_; }
  [[nodiscard]] std::uint8_t* data() const { return bytes_; }

 private:
  static std::map<std::size_t, std::vector<std::uint8_t*>>& spares() {
    static auto* const all = new std::map<std::size_t, std::vector<std::uint8_t*>>;
    return *all;
  }
  static std::uint8_t* take(std::size_t size) {
    std::vector<std::uint8_t*>& spare = spares()[size];
    if (spare.empty()) return new std::uint8_t[size];
    std::uint8_t* const bytes = spare.back();
    spare.pop_back();
    return bytes;
  }

  std::size_t size_;
  std::uint8_t* bytes_;
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

  ReusedBytes bytes_;
  bool bounded_;
};

}  // namespace nestor::ept::testing
