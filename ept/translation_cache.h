// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <utility>

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
  template <class Archive>
  constexpr void fields(Archive& archive) {
    archive(key, output, table_rights, guest_physical, rights, ept_rights, memory_type, ignore_pat,
            paging_write, paging_write_bit, convertible, dirty, reported);
    archive.require(memory_type <= MemoryType::kUncachedMinus);
  }
};

/// TLB and paging-structure caches of one logical processor: up to `Capacity` mappings of every
/// kind. A mapping stays until an invalidation fits it, until it is replaced by another for the
/// same place, or, when all places are taken, until its turn comes (oldest place first). Where more
/// than `kMostContexts` tags are in use at a time, all mappings of a tag go when its turn comes.
///
/// An invalidation costs what it drops, and what it must look at in the tags that it concerns.
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
    const std::uint32_t same = same_place(mapping.key);
    if (same != kEnd) {
      drop(same);
    } else if (size_ == Capacity) {
      drop(next_victim_);
      next_victim_ = (next_victim_ + 1) % Capacity;
    }
    const std::uint32_t context = context_of(mapping.key);
    const std::uint32_t slot = free_ != kEnd ? free_ : fresh_++;
    if (free_ != kEnd) free_ = links_[slot].in_bucket;
    ++size_;
    mappings_[slot] = mapping;
    link(slot, context);
    return &mappings_[slot];
  }

  /// Returns how many mappings were dropped.
  std::size_t invalidate(const Invalidation& what) {
    const std::size_t before = size_;
    for (std::uint32_t context = 0; context != contexts_used_; ++context) {
      const Context& owner = contexts_[context];
      if (owner.first == kEnd) continue;
      switch (concerned(what, owner.tag, owner.role)) {
        case Which::kNone:
          break;
        case Which::kNamed:
          invalidate_address(what, owner.tag, owner.role);
          break;
        default:
          for (std::uint32_t slot = owner.first; slot != kEnd;) {
            const std::uint32_t next = links_[slot].next_of_context;
            if (invalidates(what, mappings_[slot].key)) drop(slot);
            slot = next;
          }
      }
    }
    return before - size_;
  }

  [[nodiscard]] std::size_t size() const { return size_; }
  [[nodiscard]] static constexpr std::size_t capacity() { return Capacity; }

  /// Saves or loads the mappings, each in its place, so that the same ones will be dropped for want
  /// of places. `archive(field...)` visits numbers and what has a function fields(archive);
  /// `archive.require(holds)` refuses what was loaded, and `archive.ok()` tells whether all held.
  template <class Archive>
  void serialize(Archive& archive) {
    archive(size_, next_victim_, free_, fresh_, contexts_used_, last_context_, next_context_victim_,
            sizes_);
    archive.require(fresh_ <= Capacity && contexts_used_ <= kMostContexts &&
                    next_victim_ < Capacity && last_context_ < kMostContexts &&
                    next_context_victim_ < kMostContexts);
    archive(heads_);
    // `last_context_` may be one that is not in use yet.
    if (archive.loads()) contexts_.fill({});
    for (std::uint32_t i = 0; archive.ok() && i != contexts_used_; ++i) archive(contexts_[i]);
    for (std::uint32_t i = 0; archive.ok() && i != fresh_; ++i) archive(mappings_[i], links_[i]);
    archive.require(archive.ok() && is_consistent());
  }

 private:
  static constexpr std::uint32_t kEnd = ~std::uint32_t{0};

  static constexpr std::size_t kBuckets = std::bit_ceil(Capacity);
  static constexpr std::size_t kMostContexts = std::min<std::size_t>(Capacity, 1024);

  /// The mappings of one tag and role. Without any, `first` is kEnd, and the place is free.
  struct Context {
    MappingTag tag{};
    MappingRole role{};
    std::uint32_t first = kEnd;
    template <class Archive>
    void fields(Archive& archive) {
      archive(tag, role, first);
    }
  };

  /// Where a mapping hangs. A free slot uses `in_bucket` alone, for the next free one.
  struct Links {
    std::uint32_t in_bucket = kEnd;
    std::uint32_t context = 0;
    std::uint32_t next_of_context = kEnd, previous_of_context = kEnd;
    template <class Archive>
    void fields(Archive& archive) {
      archive(in_bucket, context, next_of_context, previous_of_context);
    }
  };

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
         slot = links_[slot].in_bucket) {
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
         slot != kEnd; slot = links_[slot].in_bucket) {
      const MappingKey& other = mappings_[slot].key;
      if (other.tag == key.tag && other.role == key.role && other.size_bits == key.size_bits &&
          other.input == key.input) {
        return slot;
      }
    }
    return kEnd;
  }

  /// At most one mapping of each size is for the address.
  void invalidate_address(const Invalidation& what, const MappingTag& tag, MappingRole role) {
    for (std::uint64_t sizes = sizes_[role == MappingRole::kTable]; sizes != 0;
         sizes &= sizes - 1) {
      MappingKey key;
      key.tag = tag;
      key.role = role;
      key.size_bits = static_cast<std::uint8_t>(std::countr_zero(sizes));
      key.input = named_address(what, tag.kind) & ~low_bits(key.size_bits);
      const std::uint32_t slot = same_place(key);
      if (slot != kEnd && invalidates(what, mappings_[slot].key)) drop(slot);
    }
  }

  /// The context of `key`, a new one if need be.
  [[nodiscard]] std::uint32_t context_of(const MappingKey& key) {
    const auto fits = [&](const Context& context) {
      return context.first != kEnd && context.role == key.role && context.tag == key.tag;
    };
    if (fits(contexts_[last_context_])) return last_context_;
    std::uint32_t vacant = kEnd;
    for (std::uint32_t context = 0; context != contexts_used_; ++context) {
      if (fits(contexts_[context])) return last_context_ = context;
      if (contexts_[context].first == kEnd) vacant = context;
    }
    if (vacant == kEnd && contexts_used_ != kMostContexts) {
      vacant = contexts_used_++;
    } else if (vacant == kEnd) {
      vacant = next_context_victim_;
      next_context_victim_ = (next_context_victim_ + 1) % kMostContexts;
      while (contexts_[vacant].first != kEnd) drop(contexts_[vacant].first);
    }
    contexts_[vacant] = {key.tag, key.role, kEnd};
    return last_context_ = vacant;
  }

  void link(std::uint32_t slot, std::uint32_t context) {
    const MappingKey& key = mappings_[slot].key;
    std::uint32_t& head = heads_[bucket_of(key.role, key.tag, key.size_bits, key.input)];
    std::uint32_t& first = contexts_[context].first;
    if (first != kEnd) links_[first].previous_of_context = slot;
    links_[slot] = {head, context, first, kEnd};
    head = first = slot;
    sizes_[key.role == MappingRole::kTable] |= bit(key.size_bits);
  }

  /// Whether each slot below `fresh_` is in one bucket and in the list of one context, where it
  /// belongs, or is free.
  [[nodiscard]] bool is_consistent() const {
    std::array<bool, Capacity> in_bucket{}, in_context{};
    const auto take = [this](std::array<bool, Capacity>& seen, std::uint32_t slot) {
      return slot < fresh_ && !std::exchange(seen[slot], true);
    };
    std::uint32_t live = 0;
    for (std::size_t bucket = 0; bucket != kBuckets; ++bucket) {
      for (std::uint32_t slot = heads_[bucket]; slot != kEnd; slot = links_[slot].in_bucket) {
        if (!take(in_bucket, slot)) return false;
        const MappingKey& key = mappings_[slot].key;
        if (bucket_of(key.role, key.tag, key.size_bits, key.input) != bucket) return false;
        if ((sizes_[key.role == MappingRole::kTable] & bit(key.size_bits)) == 0) return false;
        ++live;
      }
    }
    std::uint32_t listed = 0;
    for (std::uint32_t context = 0; context != contexts_used_; ++context) {
      std::uint32_t previous = kEnd;
      for (std::uint32_t slot = contexts_[context].first; slot != kEnd;
           slot = links_[slot].next_of_context) {
        if (!take(in_context, slot) || !in_bucket[slot]) return false;
        const MappingKey& key = mappings_[slot].key;
        if (key.role != contexts_[context].role || key.tag != contexts_[context].tag ||
            links_[slot].context != context || links_[slot].previous_of_context != previous) {
          return false;
        }
        previous = slot;
        ++listed;
      }
    }
    std::uint32_t free = 0;
    for (std::uint32_t slot = free_; slot != kEnd; slot = links_[slot].in_bucket, ++free) {
      if (!take(in_bucket, slot)) return false;
    }
    return live == size_ && listed == live && live + free == fresh_;
  }

  void drop(std::uint32_t slot) {
    const MappingKey& key = mappings_[slot].key;
    std::uint32_t* link = &heads_[bucket_of(key.role, key.tag, key.size_bits, key.input)];
    while (*link != slot) link = &links_[*link].in_bucket;
    Links& links = links_[slot];
    *link = links.in_bucket;

    const std::uint32_t next = links.next_of_context, previous = links.previous_of_context;
    (previous == kEnd ? contexts_[links.context].first : links_[previous].next_of_context) = next;
    if (next != kEnd) links_[next].previous_of_context = previous;

    links.in_bucket = free_;
    free_ = slot;
    --size_;
  }

  std::array<CachedMapping, Capacity> mappings_{};
  std::array<Links, Capacity> links_{};
  std::array<std::uint32_t, kBuckets> heads_{};
  std::array<Context, kMostContexts> contexts_{};
  std::uint32_t size_ = 0, next_victim_ = 0;
  std::uint32_t free_ = kEnd;  ///< The first of the slots that were used and are free.
  std::uint32_t fresh_ = 0;    ///< The first slot that was never used.
  std::uint32_t contexts_used_ = 0, last_context_ = 0, next_context_victim_ = 0;
  /// The sizes ever inserted, by role: lookups ask for no other.
  std::array<std::uint64_t, 2> sizes_{};
};

}  // namespace nestor::ept
