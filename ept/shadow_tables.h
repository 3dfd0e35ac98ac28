// SPDX-License-Identifier: MIT
#pragma once

#include <concepts>
#include <cstdint>

#include "ept/address.h"
#include "ept/bits.h"
#include "ept/ept_format.h"
#include "ept/memory.h"
#include "ept/pae.h"
#include "ept/pt64.h"

namespace nestor::ept {

/// Memory in which shadow tables are built, with the pages to build them of.
///
/// `allocate` hands out a page of 4 KBytes filled with zeros, or returns false when none is left;
/// `release` takes it back. Entries of such a page can always be read and written.
template <class P>
concept TablePool = AnyAddress<typename P::Address> &&
    requires(P& pool, typename P::Address address, typename P::Address& page, std::uint64_t& out) {
  { pool.allocate(page) } -> std::same_as<bool>;
  pool.release(address);
  { pool.read64(address, out) } -> std::same_as<bool>;
  pool.write64(address, std::uint64_t{});
};

/// A format in which shadow tables can be built: what `ShadowTables` needs beside the walker's
/// facts.
///
/// - `kTopLevel`: level of the root.
/// - `present(entry)`, `large(entry, level)`: how to tell entries apart that were made here.
/// - `table_entry(address, level)`: an entry of `level` that references a table and grants all.
struct ShadowEptFormat : Ept<4> {
  static constexpr unsigned kTopLevel = 4;

  static constexpr bool present(std::uint64_t entry) {
    return (entry & (kRead | kWrite | kExecute | kExecuteUser)) != 0;
  }
  static constexpr bool large(std::uint64_t entry, unsigned level) {
    return level > 1 && (entry & kPageSize) != 0;
  }
  static constexpr std::uint64_t table_entry(std::uint64_t address, unsigned) {
    return address | kRead | kWrite | kExecute | kExecuteUser;
  }
};

template <class Paging, unsigned TopLevel>
struct ShadowPagingFormat : Paging {
  static constexpr unsigned kTopLevel = TopLevel;

  static constexpr bool present(std::uint64_t entry) { return (entry & Paging::kPresent) != 0; }
  static constexpr bool large(std::uint64_t entry, unsigned level) {
    return level > 1 && level <= Paging::kLevels && (entry & Paging::kPageSize) != 0;
  }
  /// Above the levels of the format stand the PDPTEs of PAE paging, which grant nothing themselves.
  static constexpr std::uint64_t table_entry(std::uint64_t address, unsigned level) {
    return address | Paging::kPresent |
           (level <= Paging::kLevels ? Paging::kWritable | Paging::kUser | Paging::Flags::kAccessed
                                     : std::uint64_t{0});
  }
};
using ShadowPt64Format = ShadowPagingFormat<Pt64<4>, 4>;
/// The root is a page with four PDPTEs.
using ShadowPaeFormat = ShadowPagingFormat<Pae, 3>;

static_assert(Pae::page_bits(ShadowPaeFormat::kTopLevel) == 30, "a PDPTE covers 1 GByte");

/// A hierarchy of tables of one format that is filled page by page and thrown away when it may no
/// longer be true: shadow page tables and shadow EPT (EPT02).
template <class F, TablePool P>
class ShadowTables {
 public:
  using Address = typename P::Address;

  /// The pool must outlive the tables; they hold no page before the first `root` or `map`.
  explicit constexpr ShadowTables(P& pool) : pool_(pool) {}
  ShadowTables(const ShadowTables&) = delete;
  ShadowTables& operator=(const ShadowTables&) = delete;
  constexpr ~ShadowTables() { destroy(); }

  /// The root table, made if there is none yet. false: the pool is empty.
  [[nodiscard]] constexpr bool root(Address& out) {
    if (!has_root_) {
      if (!pool_.allocate(root_)) return false;
      has_root_ = true;
      ++tables_;
    }
    out = root_;
    return true;
  }
  [[nodiscard]] constexpr bool has_root() const { return has_root_; }
  /// The tables that exist now, the root among them.
  [[nodiscard]] constexpr std::uint64_t tables() const { return tables_; }

  /// Maps the page of 2^`page_bits` bytes (a page size of the format) that holds `input` by the
  /// entry `leaf`, in the place of whatever was mapped there. false: the pool is empty; what was
  /// mapped before may be gone, and nothing else is.
  [[nodiscard]] constexpr bool map(std::uint64_t input, unsigned page_bits, std::uint64_t leaf) {
    Address table{};
    if (!root(table)) return false;
    for (unsigned level = F::kTopLevel;; --level) {
      const Address at{table.value + F::entry_offset(input, level)};
      std::uint64_t entry = 0;
      (void)pool_.read64(at, entry);
      if (F::page_bits(level) == page_bits) {
        if (is_table(entry, level)) release_below(entry, level);
        pool_.write64(at, leaf);
        return true;
      }
      if (!is_table(entry, level)) {
        Address below{};
        if (!pool_.allocate(below)) return false;
        ++tables_;
        entry = F::table_entry(below.value, level);
        pool_.write64(at, entry);
      }
      table = Address{F::table_address(entry)};
    }
  }

  /// Removes the page that holds `input`, if one is mapped.
  constexpr void unmap(std::uint64_t input) {
    if (!has_root_) return;
    Address table = root_;
    for (unsigned level = F::kTopLevel; level != 0; --level) {
      const Address at{table.value + F::entry_offset(input, level)};
      std::uint64_t entry = 0;
      (void)pool_.read64(at, entry);
      if (!is_table(entry, level)) {
        pool_.write64(at, 0);
        return;
      }
      table = Address{F::table_address(entry)};
    }
  }

  /// Unmaps everything; only an empty root stays, if there was one.
  constexpr void clear() {
    if (has_root_) clear_table(root_, F::kTopLevel);
  }

  /// Saves or loads which page is the root; the tables themselves are in the pool's memory.
  /// `pool.owns(page)` tells whether a page is the pool's.
  template <class Archive>
  constexpr void serialize(Archive& archive) {
    archive(has_root_, root_.value, tables_);
    archive.require(!has_root_ || pool_.owns(root_));
  }

  /// Gives every page back, the root's too.
  constexpr void destroy() {
    if (!has_root_) return;
    clear();
    pool_.release(root_);
    --tables_;
    has_root_ = false;
  }

 private:
  static constexpr bool is_table(std::uint64_t entry, unsigned level) {
    return level > 1 && F::present(entry) && !F::large(entry, level);
  }
  constexpr void release_below(std::uint64_t entry, unsigned level) {
    const Address table{F::table_address(entry)};
    clear_table(table, level - 1);
    pool_.release(table);
    --tables_;
  }
  constexpr void clear_table(Address table, unsigned level) {
    for (std::uint64_t offset = 0; offset != kPageSize; offset += sizeof(std::uint64_t)) {
      const Address at{table.value + offset};
      std::uint64_t entry = 0;
      (void)pool_.read64(at, entry);
      if (entry == 0) continue;
      if (is_table(entry, level)) release_below(entry, level);
      pool_.write64(at, 0);
    }
  }

  P& pool_;
  Address root_{};
  bool has_root_ = false;
  std::uint64_t tables_ = 0;
};

}  // namespace nestor::ept
