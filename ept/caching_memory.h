// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>

#include "ept/descent.h"
#include "ept/ept_walk.h"
#include "ept/memory.h"
#include "ept/translation_cache.h"

namespace nestor::ept {

/// Memory for one walk, with a cache in front: walks go on from the paging structures that the
/// cache knows, and guest-physical translations come from it. What the walk finds goes into the
/// cache.
///
/// Put around the memory of the lowest dimension. The caller looks for the whole translation before
/// the walk, and keeps it afterwards.
template <EntryReader M, class Cache>
class CachingMemory {
 public:
  using Address = typename M::Address;

  /// kIgnore: walks begin at the root, as behind a fault, and where guest-paging verification must
  /// see every entry.
  enum class Tables : std::uint8_t { kUse, kIgnore };

  /// `tag` is that of the linear or combined mappings; all must outlive this object.
  constexpr CachingMemory(M& memory, Cache& cache, const MappingTag& tag, Tables tables)
      : memory_(memory), cache_(cache), tag_(tag), uses_tables_(tables == Tables::kUse) {}

  [[nodiscard]] constexpr bool read32(Address address, std::uint32_t& out) {
    return memory_.read32(address, out);
  }
  [[nodiscard]] constexpr bool read64(Address address, std::uint64_t& out) {
    return memory_.read64(address, out);
  }
  [[nodiscard]] constexpr Exchange compare_exchange(Address address, std::uint32_t expected,
                                                    std::uint32_t desired) requires EntryMemory<M> {
    return memory_.compare_exchange(address, expected, desired);
  }
  [[nodiscard]] constexpr Exchange compare_exchange(Address address, std::uint64_t expected,
                                                    std::uint64_t desired) requires EntryMemory<M> {
    return memory_.compare_exchange(address, expected, desired);
  }
  template <class Input>
  requires requires(M& memory, Input input) { memory.begin_ept_walk(input); }
  constexpr void begin_ept_walk(Input input) { memory_.begin_ept_walk(input); }

  /// Where an entry of `M` lies after every translation.
  [[nodiscard]] constexpr std::uint64_t machine_address(Address address) const {
    return ept::machine_address(memory_, address);
  }

  // --- CachesTables

  template <class F>
  constexpr void resume(std::uint64_t input, WalkPosition& position) {
    bool& resumed = F::kDimension == Dimension::kEpt ? ept_resumed_ : guest_resumed_;
    resumed = false;
    if (!uses_tables_) return;
    const MappingTag tag = tag_of<F>();
    for (unsigned level = 2; level <= F::kLevels; ++level) {
      const CachedMapping* table = cache_.find_table(tag, F::page_bits(level), input);
      if (table == nullptr) continue;
      position = {level - 1, table->output, table->table_rights};
      resumed = used_ = true;
      return;
    }
  }

  template <class F>
  constexpr void reached(std::uint64_t input, const WalkPosition& position) {
    CachedMapping mapping;
    const unsigned size_bits = F::page_bits(position.level + 1);
    mapping.key.tag = tag_of<F>();
    mapping.key.role = MappingRole::kTable;
    mapping.key.size_bits = static_cast<std::uint8_t>(size_bits);
    mapping.key.input = input & ~low_bits(size_bits);
    mapping.output = position.table;
    mapping.table_rights = position.rights;
    cache_.insert(mapping);
  }

  // --- CachesTranslations

  template <class Input>
  [[nodiscard]] constexpr bool find_translation(const EptState& state, Input input,
                                                const EptAccess& access, EptWalk<Address>& walk) {
    ept_resumed_ = false;
    const CachedMapping* found = cache_.find_translation(guest_physical_tag(), input.value);
    if (found == nullptr || !permits(found->ept_rights, state, access) ||
        (access.write && !found->dirty) ||
        (access.unverified_paging && state.guest_paging_verification)) {
      return false;
    }
    used_ = true;
    walk.outcome = EptOutcome::kTranslated;
    walk.page_bits = found->key.size_bits;
    walk.dirty = found->dirty;
    walk.memory_type = found->memory_type;
    walk.ignore_pat = found->ignore_pat;
    walk.paging_write = found->paging_write;
    walk.paging_write_bit = found->paging_write_bit;
    walk.convertible = found->convertible;
    walk.rights = found->ept_rights;
    walk.address = Address{found->output | found->offset(input.value)};
    return true;
  }

  template <class Input>
  constexpr void keep_translation(const EptState&, Input input, const EptWalk<Address>& walk) {
    CachedMapping mapping;
    mapping.key.tag = guest_physical_tag();
    mapping.key.size_bits = walk.page_bits;
    mapping.key.input = input.page_base(walk.page_bits).value;
    mapping.output = walk.address.page_base(walk.page_bits).value;
    mapping.paging_write = walk.paging_write;
    mapping.paging_write_bit = walk.paging_write_bit;
    mapping.convertible = walk.convertible;
    mapping.ept_rights = walk.rights;
    mapping.memory_type = walk.memory_type;
    mapping.ignore_pat = walk.ignore_pat;
    mapping.dirty = walk.dirty;
    cache_.insert(mapping);
  }

  // --- after the walk

  /// Anything came from the cache.
  [[nodiscard]] constexpr bool used() const { return used_; }
  /// The walk of guest paging, or the last EPT walk, did not begin at the root: what it ended with
  /// may be out of date.
  [[nodiscard]] constexpr bool resumed() const { return guest_resumed_ || ept_resumed_; }

 private:
  [[nodiscard]] constexpr MappingTag guest_physical_tag() const {
    return {MappingKind::kGuestPhysical, true, 0, 0, tag_.ept_root};
  }
  template <class F>
  [[nodiscard]] constexpr MappingTag tag_of() const {
    return F::kDimension == Dimension::kEpt ? guest_physical_tag() : tag_;
  }

  M& memory_;
  Cache& cache_;
  const MappingTag tag_;
  const bool uses_tables_;
  bool used_ = false, guest_resumed_ = false, ept_resumed_ = false;
};

}  // namespace nestor::ept
