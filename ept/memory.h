// SPDX-License-Identifier: MIT
#pragma once

#include <concepts>
#include <cstdint>

#include "ept/address.h"

namespace nestor::ept {

/// What became of an attempt to update a paging-structure entry.
enum class Exchange : std::uint8_t {
  kDone,         ///< Written, or dropped as writes to read-only memory are. The walk goes on.
  kChanged,      ///< The entry no longer holds the expected value. The walk reads it again.
  kUnreachable,  ///< No such memory. The walk ends.
};

/// Memory that holds paging structures. `Address` is the space in which the entries lie.
///
/// `readN` stores the naturally aligned little-endian entry and returns true, or returns false
/// where there is no memory: then the walk ends as unreachable. A policy that is to behave as a
/// processor, for which absent memory reads as all ones, stores all ones and returns true.
template <class M>
concept EntryReader = AnyAddress<typename M::Address> &&
    requires(M& memory, typename M::Address address, std::uint32_t& out32, std::uint64_t& out64) {
  { memory.read32(address, out32) } -> std::same_as<bool>;
  { memory.read64(address, out64) } -> std::same_as<bool>;
};

/// Memory whose entries the walker can also update. `compare_exchange` is atomic with respect to
/// every other agent that may write the memory. It is called only for the entry read last.
///
/// A policy may have a member `begin_ept_walk(input)`: it is told the address that the EPT walk
/// which begins now is to translate, as page-modification logging needs it.
template <class M>
concept EntryMemory = EntryReader<M> && requires(M& memory, typename M::Address address) {
  { memory.compare_exchange(address, std::uint32_t{}, std::uint32_t{}) } -> std::same_as<Exchange>;
  { memory.compare_exchange(address, std::uint64_t{}, std::uint64_t{}) } -> std::same_as<Exchange>;
};

}  // namespace nestor::ept
