// SPDX-License-Identifier: GPL-2.0-or-later
//
// The processor's own caches of translations, held to the manual's minimum: what is cached stays
// until an operation must invalidate it ("Caching Translation Information", in VMX too). The engine
// in front may forget at any time, and then asks here.
#pragma once

#include <cstddef>
#include <cstdint>

#include "emu/events/events.h"
#include "emu/memory/archive.h"
#include "ept/caching_memory.h"
#include "ept/translation_cache.h"
#include "ept/walk.h"

namespace nestor::emu {

class TranslationCaches {
 public:
  using Mapping = ept::CachedMapping;
  using Nested = ept::NestedWalk<ept::PhysicalAddress>;
  using Linear = ept::LinearWalk<ept::PhysicalAddress>;

  // The mapping for `linear`, if it permits the access as it is. What refuses the access is
  // dropped, as a fault would drop it, and the tables decide. `ept`: null without EPT.
  Mapping* find(const ept::MappingTag& tag, uint64_t linear, ept::Access access,
                const ept::PagingState& paging, const ept::EptState* ept);
  // The same without any effect.
  const Mapping* peek(const ept::MappingTag& tag, uint64_t linear, ept::Access access,
                      const ept::PagingState& paging, const ept::EptState* ept);

  // `walk(memory)` with the caches in front of `memory`. A fault drops what the manual says; if
  // cached paging structures had a part in it, the walk is made again from the root. `tables`:
  // whether paging-structure caches may be used at all.
  template <class Memory, class Walk>
  auto walk(Memory& memory, const ept::MappingTag& tag, uint64_t linear, bool tables,
            const Walk& walk) {
    using Caching = ept::CachingMemory<Memory, Cache>;
    Caching first(memory, cache_, tag, tables ? Caching::Tables::kUse : Caching::Tables::kIgnore);
    auto result = walk(first);
    used_ = first.used();
    if (drop_after_fault(tag, linear, result) && first.resumed()) {
      Caching again(memory, cache_, tag, Caching::Tables::kIgnore);
      result = walk(again);
      used_ = again.used();
      drop_after_fault(tag, linear, result);
    }
    return result;
  }

  // What a walk found, into the cache. `global`: the page is global, and CR4.PGE is 1.
  Mapping& keep(const ept::MappingTag& tag, uint64_t linear, const Nested& walk, bool global);
  Mapping& keep(const ept::MappingTag& tag, uint64_t linear, const Linear& walk, bool global);
  // Whether anything cached had a part in the last walk.
  bool used() const { return used_; }

  void invalidate(const ept::Invalidation& what) { dropped_ |= cache_.invalidate(what) != 0; }
  // Mappings were dropped since the last call: what the engine made of them must go too.
  bool take_dropped() {
    const bool dropped = dropped_;
    dropped_ = false;
    return dropped;
  }

  // Counts the use of a stale mapping; true: it is the first of this mapping.
  bool note_stale(Mapping& mapping) {
    ++counts_.stale;
    const bool first = !mapping.reported;
    mapping.reported = true;
    return first;
  }
  const TranslationCounts& counts() const { return counts_; }

  void serialize(Archive& archive) {
    cache_.serialize(archive);
    archive(counts_, used_, dropped_);
  }

 private:
  // More than the TLBs of processors hold: nothing is forgotten by chance.
  using Cache = ept::TranslationCache<size_t{1} << 15>;

  bool drop_after_fault(const ept::MappingTag& tag, uint64_t linear, const Nested& walk);
  bool drop_after_fault(const ept::MappingTag& tag, uint64_t linear, const Linear& walk);
  void drop_page_fault(const ept::MappingTag& tag, uint64_t linear);
  void drop_ept_violation(const ept::MappingTag& tag, uint64_t linear, uint64_t guest_physical,
                          bool linear_translated);

  Cache cache_;
  TranslationCounts counts_;
  bool used_ = false, dropped_ = false;
};

}  // namespace nestor::emu
