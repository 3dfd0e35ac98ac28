// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>

#include "ept/address.h"
#include "ept/memory.h"

namespace nestor::emu::native {

/// The memory of a virtual machine, or a copy of its start, as the walker wants it.
class GuestMemory {
 public:
  using Address = ept::PhysicalAddress;

  explicit GuestMemory(std::span<std::byte> bytes) : bytes_(bytes) {}

  [[nodiscard]] bool holds(std::uint64_t address, std::size_t size) const {
    return size <= bytes_.size() && address <= bytes_.size() - size;
  }
  [[nodiscard]] bool read32(Address address, std::uint32_t& out) const {
    return load(address, out);
  }
  [[nodiscard]] bool read64(Address address, std::uint64_t& out) const {
    return load(address, out);
  }
  ept::Exchange compare_exchange(Address address, std::uint32_t expected, std::uint32_t desired) {
    return exchange(address, expected, desired);
  }
  ept::Exchange compare_exchange(Address address, std::uint64_t expected, std::uint64_t desired) {
    return exchange(address, expected, desired);
  }
  /// Writes `value`; the address lies in the memory and is aligned.
  template <class T>
  void store(std::uint64_t address, T value) {
    std::memcpy(bytes_.data() + address, &value, sizeof value);
  }

 private:
  template <class T>
  [[nodiscard]] bool load(Address address, T& out) const {
    if (!holds(address.value, sizeof out)) return false;
    std::memcpy(&out, bytes_.data() + address.value, sizeof out);
    return true;
  }
  template <class T>
  ept::Exchange exchange(Address address, T expected, T desired) {
    if (!holds(address.value, sizeof expected)) return ept::Exchange::kUnreachable;
    std::atomic_ref<T> entry(*reinterpret_cast<T*>(bytes_.data() + address.value));
    return entry.compare_exchange_strong(expected, desired) ? ept::Exchange::kDone
                                                            : ept::Exchange::kChanged;
  }

  std::span<std::byte> bytes_;
};

static_assert(ept::EntryMemory<GuestMemory>);

}  // namespace nestor::emu::native
