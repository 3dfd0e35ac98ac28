// SPDX-License-Identifier: MIT
#pragma once

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>

#include "ept/ept_walk.h"
#include "ept/invalidation.h"
#include "ept/linear_walk.h"
#include "ept/memory_type.h"

namespace nestor::ept {

/// A cached mapping: whose it is, and what it says.
struct CachedMapping {
  MappingKey key{};
  /// A translation: the page, in the space of memory. A table: its address, which for combined
  /// mappings is guest-physical; the guest-physical mappings hold the rest of the way.
  std::uint64_t output = 0;

  /// Of tables: the rights of the entries that led there, in the form of `Descent::rights`.
  std::uint64_t table_rights = 0;

  // Of translations.
  std::uint64_t guest_physical = 0;  ///< Combined mappings: the guest-physical page.
  LinearRights rights{};
  EptRights ept_rights{};
  MemoryType memory_type = MemoryType::kUncacheable;
  bool ignore_pat = false;
  bool paging_write = false;  ///< As in `EptWalk`, and so the next two.
  bool paging_write_bit = false;
  bool convertible = false;
  bool dirty = false;     ///< A write needs no walk to set dirty flags.
  bool reported = false;  ///< For the owner: that it is stale has been said.

  [[nodiscard]] constexpr std::uint64_t offset(std::uint64_t address) const {
    return address & low_bits(key.size_bits);
  }
};

/// TLB and paging-structure caches of one logical processor: up to `Capacity` mappings of every
/// kind. A mapping stays until an invalidation fits it, until it is replaced by another for the
/// same place, or, when all places are taken, until its turn comes (oldest place first).
///
/// Pointers to mappings are valid until the next `insert` or `invalidate`.
template <std::size_t Capacity>
requires(Capacity > 0 && Capacity < 0xffff'ffff) class TranslationCache {
 public:
  TranslationCache() { heads_.fill(kEnd); }

  /// The translation of the page that holds `address`, as `tag` sees it: its own, or a global one
  /// of another PCID. Of several the smallest page, and of those the latest.
  [[nodiscard]] CachedMapping* find_translation(const MappingTag& tag, std::uint64_t address) {
    for (std::uint64_t sizes = sizes_[0]; sizes != 0; sizes &= sizes - 1) {
      if (auto* found = find(MappingRole::kTranslation, tag,
                             static_cast<unsigned>(std::countr_zero(sizes)), address)) {
        return found;
      }
    }
    return nullptr;
  }

  /// The table that translates the region of 2^`size_bits` bytes around `address`.
  [[nodiscard]] const CachedMapping* find_table(const MappingTag& tag, unsigned size_bits,
                                                std::uint64_t address) {
    if ((sizes_[1] & bit(size_bits)) == 0) return nullptr;
    return find(MappingRole::kTable, tag, size_bits, address);
  }

  /// `mapping.key.input` is aligned to the size. Returns the mapping where it now lies.
  CachedMapping* insert(const CachedMapping& mapping) {
    std::uint32_t slot = same_place(mapping.key);
    if (slot != kEnd) {
      unlink(slot);
    } else if (size_ < Capacity) {
      slot = size_++;
    } else {
      slot = next_victim_;
      next_victim_ = (next_victim_ + 1) % Capacity;
      unlink(slot);
    }
    mappings_[slot] = mapping;
    link(slot);
    return &mappings_[slot];
  }

  /// Returns how many mappings were dropped.
  std::size_t invalidate(const Invalidation& what) {
    const std::size_t before = size_;
    for (std::uint32_t slot = 0; slot < size_;) {
      if (!invalidates(what, mappings_[slot].key)) {
        ++slot;
        continue;
      }
      unlink(slot);
      const std::uint32_t last = --size_;
      if (slot != last) {
        std::uint32_t& link = link_to(last);
        link = slot;
        next_[slot] = next_[last];
        mappings_[slot] = mappings_[last];
      }
    }
    return before - size_;
  }

  [[nodiscard]] std::size_t size() const { return size_; }
  [[nodiscard]] static constexpr std::size_t capacity() { return Capacity; }

 private:
  static constexpr std::uint32_t kEnd = ~std::uint32_t{0};

  static constexpr std::size_t kBuckets = std::bit_ceil(Capacity);

  /// The PCID is left out, since global translations are found with any.
  [[nodiscard]] static constexpr std::size_t bucket_of(MappingRole role, const MappingTag& tag,
                                                       unsigned size_bits, std::uint64_t address) {
    std::uint64_t hash = address >> size_bits;
    const auto mix = [&hash](std::uint64_t value) {
      hash = (hash ^ value) * 0x9e37'79b9'7f4a'7c15;
      hash ^= hash >> 32;
    };
    mix(static_cast<std::uint64_t>(tag.kind) | static_cast<std::uint64_t>(role) << 2 |
        std::uint64_t{size_bits} << 8 | std::uint64_t{tag.vpid} << 16);
    mix(tag.ept_root);
    return hash & (kBuckets - 1);
  }

  /// Whether `tag` uses the mapping: of its own PCID, or global.
  [[nodiscard]] static constexpr bool is_used_by(const MappingKey& key, const MappingTag& tag) {
    return key.tag.kind == tag.kind && key.tag.paging == tag.paging && key.tag.vpid == tag.vpid &&
           key.tag.ept_root == tag.ept_root && (key.global || key.tag.pcid == tag.pcid);
  }

  [[nodiscard]] CachedMapping* find(MappingRole role, const MappingTag& tag, unsigned size_bits,
                                    std::uint64_t address) {
    for (std::uint32_t slot = heads_[bucket_of(role, tag, size_bits, address)]; slot != kEnd;
         slot = next_[slot]) {
      CachedMapping& mapping = mappings_[slot];
      if (mapping.key.role == role && mapping.key.size_bits == size_bits &&
          mapping.key.covers(address) && is_used_by(mapping.key, tag)) {
        return &mapping;
      }
    }
    return nullptr;
  }

  /// A mapping that the new one takes the place of: a processor holds one for a page of a context.
  [[nodiscard]] std::uint32_t same_place(const MappingKey& key) const {
    for (std::uint32_t slot = heads_[bucket_of(key.role, key.tag, key.size_bits, key.input)];
         slot != kEnd; slot = next_[slot]) {
      const MappingKey& other = mappings_[slot].key;
      if (other.tag == key.tag && other.role == key.role && other.size_bits == key.size_bits &&
          other.input == key.input) {
        return slot;
      }
    }
    return kEnd;
  }

  void link(std::uint32_t slot) {
    const MappingKey& key = mappings_[slot].key;
    std::uint32_t& head = heads_[bucket_of(key.role, key.tag, key.size_bits, key.input)];
    next_[slot] = head;
    head = slot;
    sizes_[key.role == MappingRole::kTable] |= bit(key.size_bits);
  }

  /// What refers to the mapping at `slot`.
  [[nodiscard]] std::uint32_t& link_to(std::uint32_t slot) {
    const MappingKey& key = mappings_[slot].key;
    std::uint32_t* link = &heads_[bucket_of(key.role, key.tag, key.size_bits, key.input)];
    while (*link != slot) link = &next_[*link];
    return *link;
  }

  void unlink(std::uint32_t slot) { link_to(slot) = next_[slot]; }

  std::array<CachedMapping, Capacity> mappings_{};  // the first `size_` are in use
  std::array<std::uint32_t, Capacity> next_{};
  std::array<std::uint32_t, kBuckets> heads_{};
  std::uint32_t size_ = 0, next_victim_ = 0;
  /// The sizes ever inserted, by role: lookups ask for no other.
  std::array<std::uint64_t, 2> sizes_{};
};

}  // namespace nestor::ept
