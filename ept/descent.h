// SPDX-License-Identifier: MIT
#pragma once

#include <concepts>
#include <cstdint>

#include "ept/bits.h"
#include "ept/flags.h"
#include "ept/memory.h"
#include "ept/recorder.h"

namespace nestor::ept {

/// Tables of `EntryType` that each consume `Bits` bits of the address, above a page of 4 KBytes.
/// Level 1 is the one closest to the page.
template <std::unsigned_integral EntryType, unsigned Bits>
struct RadixTables {
  using Entry = EntryType;
  static constexpr unsigned kIndexBits = Bits;

  static_assert((sizeof(Entry) << Bits) == kPageSize, "a table fills a page of 4 KBytes");

  static constexpr unsigned page_bits(unsigned level) { return 12 + kIndexBits * (level - 1); }
  static constexpr std::uint64_t entry_offset(std::uint64_t input, unsigned level) {
    return (input >> page_bits(level) & low_bits(kIndexBits)) * sizeof(Entry);
  }
};

/// A paging-structure format: where its bits are and what they mean. It states facts only; the walk
/// that uses them is `descend`, the same for all.
///
/// - `Entry`: the type of an entry, 32 or 64 bits.
/// - `kLevels`: levels below the root.
/// - `kInverted`: rights for which a 1 forbids. An entry's rights are `entry ^ kInverted`, and
/// those
///   of a translation are the AND over its entries.
/// - `Flags`: `AccessedDirtyFlags<...>` or `NoAccessedDirtyFlags`.
/// - `Rules`: what control bits and capabilities make of an entry, with `flags_enabled`.
template <class F>
concept Format = std::unsigned_integral<typename F::Entry> &&
    requires(const typename F::Rules& rules, std::uint64_t value, unsigned level) {
  { F::kDimension } -> std::convertible_to<Dimension>;
  { F::kLevels } -> std::convertible_to<unsigned>;
  { F::kInverted } -> std::convertible_to<std::uint64_t>;
  { F::Flags::kPresent } -> std::convertible_to<bool>;
  /// Offset of the entry that `input` selects in a table of `level`, in bytes.
  { F::entry_offset(value, level) } -> std::same_as<std::uint64_t>;
  { F::is_present(value, rules) } -> std::same_as<bool>;
  /// A present entry maps a page, rather than referencing a table.
  { F::maps_page(value, level, rules) } -> std::same_as<bool>;
  /// Reserved bits or values that a present entry must not have.
  { F::table_is_malformed(value, level, rules) } -> std::same_as<bool>;
  { F::page_is_malformed(value, level, rules) } -> std::same_as<bool>;
  { F::table_address(value) } -> std::same_as<std::uint64_t>;
  { F::page_address(value, level) } -> std::same_as<std::uint64_t>;
  /// log2 of the size of the page that an entry of `level` maps.
  { F::page_bits(level) } -> std::same_as<unsigned>;
};

/// Memory references of a walk: what a cost model charges.
struct WalkCounts {
  std::uint16_t references = 0;  ///< Entries read.
  std::uint16_t updates = 0;     ///< Entries written back with accessed or dirty flags.

  constexpr WalkCounts& operator+=(const WalkCounts& other) {
    references = static_cast<std::uint16_t>(references + other.references);
    updates = static_cast<std::uint16_t>(updates + other.updates);
    return *this;
  }
};

/// How a descent through one hierarchy of tables ended.
enum class DescentEnd : std::uint8_t {
  kPage,         ///< At a page, and the access is allowed.
  kNotPresent,   ///< At an entry that is not present.
  kMalformed,    ///< At a present entry with a reserved bit or value.
  kDenied,       ///< At a page whose rights forbid the access.
  kUnreachable,  ///< At an entry that memory could not deliver or update.
};

struct Descent {
  DescentEnd end = DescentEnd::kUnreachable;
  std::uint8_t level = 0;     ///< Level of the last entry.
  std::uint64_t entry = 0;    ///< The last entry, as left in memory.
  std::uint64_t address = 0;  ///< Address of the last entry.
  /// AND of `entry ^ kInverted` over all entries; all ones before the first.
  std::uint64_t rights = ~std::uint64_t{0};
};

/// Where a walk stands: about to read an entry of `level` in the table at `table`.
struct WalkPosition {
  unsigned level = 0;
  std::uint64_t table = 0;
  /// As `Descent::rights`, of the entries above.
  std::uint64_t rights = ~std::uint64_t{0};
};

/// Memory that remembers how far a walk came: paging-structure caches. It may move a walk of
/// `input` from the root to a lower table, and is told of each table that a walk which sets flags
/// reaches.
template <class M, class F>
concept CachesTables = requires(M& memory, std::uint64_t input, WalkPosition& position) {
  memory.template resume<F>(input, position);
  memory.template reached<F>(input, position);
};

/// The address of an entry after every translation that `memory` makes.
template <EntryReader M>
[[nodiscard]] constexpr std::uint64_t machine_address(const M& memory,
                                                      typename M::Address address) {
  if constexpr (requires { memory.machine_address(address); }) {
    return memory.machine_address(address);
  } else {
    return address.value;
  }
}

template <EntryReader M>
[[nodiscard]] constexpr bool read_entry(M& memory, typename M::Address address,
                                        std::uint32_t& out) {
  return memory.read32(address, out);
}
template <EntryReader M>
[[nodiscard]] constexpr bool read_entry(M& memory, typename M::Address address,
                                        std::uint64_t& out) {
  return memory.read64(address, out);
}

/// Adds `flags` to an entry that lacks some of them. `entry` is its value before and after.
/// kChanged means that the entry must be read and judged again.
template <Format F, EntryMemory M, Recorder R>
[[nodiscard]] constexpr Exchange set_flags(M& memory, typename M::Address address,
                                           std::uint64_t flags, std::uint64_t& entry,
                                           WalkCounts& counts, R& recorder) {
  using Entry = typename F::Entry;
  if ((entry & flags) == flags) return Exchange::kDone;
  const std::uint64_t updated = entry | flags;
  const Exchange result =
      memory.compare_exchange(address, static_cast<Entry>(entry), static_cast<Entry>(updated));
  if (result == Exchange::kDone) {
    entry = updated;
    ++counts.updates;
    if constexpr (R::kRecords) recorder.wrote_back(updated);
  }
  return result;
}

/// Follows `input` from the table at `root` to the entry that decides the access.
///
/// `allows(at, above)` says whether the access is permitted to the page that `at.entry` maps; `at`
/// has the rights of the whole translation, `above` those without this entry. The
/// accessed flag of an entry that references a table is set as soon as the entry is used; the flags
/// of the entry that maps the page are set only when the access is allowed, the dirty flag only if
/// `writes`. (SDM, "Accessed and Dirty Flags", leaves the moment open.)
template <Format F, class Effects, EntryReader M, Recorder R, class Allows>
requires(!kWritesEntries<F, Effects> || EntryMemory<M>) [[nodiscard]] constexpr Descent
    descend(M& memory, std::uint64_t root, std::uint64_t input, const typename F::Rules& rules,
            bool writes, const Allows& allows, WalkCounts& counts, R& recorder) {
  using Memory = typename M::Address;
  Descent at;
  WalkPosition position{F::kLevels, root};
  if constexpr (CachesTables<M, F>) memory.template resume<F>(input, position);
  auto& [level, table, rights_above] = position;
  for (;;) {
    const Memory address{table + F::entry_offset(input, level)};
    at.address = address.value;
    at.level = static_cast<std::uint8_t>(level);
    typename F::Entry raw{};
    if (!read_entry(memory, address, raw)) [[unlikely]] {
      at.end = DescentEnd::kUnreachable;
      return at;
    }
    ++counts.references;
    at.entry = raw;
    at.rights = rights_above & (at.entry ^ F::kInverted);
    if constexpr (R::kRecords) {
      recorder.record(Step{F::kDimension, at.level, address.value, machine_address(memory, address),
                           at.entry, at.entry});
    }
    if (!F::is_present(at.entry, rules)) [[unlikely]] {
      at.end = DescentEnd::kNotPresent;
      return at;
    }
    const bool page = F::maps_page(at.entry, level, rules);
    if (page ? F::page_is_malformed(at.entry, level, rules)
             : F::table_is_malformed(at.entry, level, rules)) [[unlikely]] {
      at.end = DescentEnd::kMalformed;
      return at;
    }
    if (page && !allows(at, rights_above)) [[unlikely]] {
      at.end = DescentEnd::kDenied;
      return at;
    }
    if constexpr (kWritesEntries<F, Effects>) {
      if (rules.flags_enabled) {
        const std::uint64_t flags =
            F::Flags::kAccessed | (page && writes ? F::Flags::kDirty : std::uint64_t{0});
        const Exchange result = set_flags<F>(memory, address, flags, at.entry, counts, recorder);
        if (result == Exchange::kChanged) [[unlikely]]
          continue;
        if (result == Exchange::kUnreachable) [[unlikely]] {
          at.end = DescentEnd::kUnreachable;
          return at;
        }
      }
    }
    if (page) {
      at.end = DescentEnd::kPage;
      return at;
    }
    rights_above = at.rights;
    table = F::table_address(at.entry);
    --level;
    if constexpr (CachesTables<M, F> && Effects::kUpdates) {
      memory.template reached<F>(input, position);
    }
  }
}

}  // namespace nestor::ept
