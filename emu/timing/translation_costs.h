// SPDX-License-Identifier: GPL-2.0-or-later
//
// What translating linear addresses costs: TLBs, paging-structure caches of both dimensions, and
// the caches that paging-structure entries are read through. Translations are tagged as processors
// tag them, by VPID, PCID and bits 51:12 of the EPTP.
//
// This is no model of what may be stale: it knows no contents, and may forget. It is asked for a
// translation when the run needs one that was invalidated or never made; what a processor would
// forget in the meantime, as its TLBs are small, costs nothing here.
#pragma once

#include <cstdint>
#include <span>

#include "emu/timing/core_events.h"
#include "emu/timing/processor.h"
#include "emu/timing/tag_array.h"
#include "ept/invalidation.h"
#include "ept/recorder.h"

namespace nestor::emu::timing {

// A walk of the paging structures that has been made.
struct TimedWalk {
  ept::MappingTag tag;
  uint64_t linear = 0;
  bool fetch = false, write = false;
  std::span<const ept::Step> steps;
  uint8_t page_bits = 0;  // log2 of what the translation covers; 0: there is none
  bool global = false;
  bool dirty = false;           // it may be used for writes
  uint64_t guest_physical = 0;  // under EPT, what the linear address leads to
};

class TranslationCosts {
 public:
  explicit TranslationCosts(const Processor& processor);

  // Cycles.
  uint64_t translate(const TimedWalk& walk);
  void invalidate(const ept::Invalidation& what);

  struct Counts {
    uint64_t first_level_misses = 0;  // of the ITLB and the DTLB
    uint64_t walks = 0, references = 0, cycles = 0;
    CoreEvents events;  // the part of translations
    void operator+=(const Counts& other) {
      first_level_misses += other.first_level_misses;
      walks += other.walks;
      references += other.references;
      cycles += other.cycles;
      events += other.events;
    }
  };
  // Counts in this from now on, which stays. To be called first.
  void count_in(Counts& counts) { counts_ = &counts; }

  template <typename Archive>
  void serialize(Archive& archive) {
    for (Tlb* tlb : {&instructions_, &data_, &second_, &tables_, &guest_tables_, &guest_pages_})
      tlb->serialize(archive);
    for (TagArray<uint64_t>* cache : {&first_cache_, &second_cache_, &third_cache_})
      cache->serialize(archive);
  }

 private:
  struct Entry {
    ept::MappingKey key;
    bool dirty = false;
    template <typename Archive>
    void fields(Archive& archive) {
      archive(key, dirty);
    }
  };
  using Tlb = TagArray<Entry>;

  static Entry* find(Tlb& tlb, const ept::MappingTag& tag, uint64_t address, unsigned size_bits);
  static void keep(Tlb& tlb, const ept::MappingKey& key, bool dirty = false);
  static Entry* find_page(Tlb& tlb, const ept::MappingTag& tag, uint64_t address);
  uint64_t walk(const TimedWalk& walk);
  uint64_t count_walk(const TimedWalk& walk);
  uint64_t walk_ept(const ept::MappingTag& tag, std::span<const ept::Step> steps, uint64_t address,
                    bool completed);
  unsigned cached_level(Tlb& tables, const ept::MappingTag& tag, uint64_t address, unsigned top);
  void keep_table(Tlb& tables, const ept::MappingTag& tag, uint64_t address, unsigned level);
  // Reads a paging-structure entry.
  uint64_t reference(uint64_t machine_address);

  const Processor& processor_;
  Tlb instructions_, data_, second_;
  Tlb tables_;        // paging-structure caches: of linear addresses,
  Tlb guest_tables_;  // of guest-physical ones;
  Tlb guest_pages_;   // and what these lead to
  TagArray<uint64_t> first_cache_, second_cache_, third_cache_;  // lines, by address
  Counts* counts_ = nullptr;
};

}  // namespace nestor::emu::timing
