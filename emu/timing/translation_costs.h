// SPDX-License-Identifier: GPL-2.0-or-later
//
// What translating linear addresses costs: TLBs, paging-structure caches of both dimensions, and
// the caches that paging-structure entries are read through. Translations are tagged as processors
// tag them, by VPID, PCID and bits 51:12 of the EPTP.
//
// This is no model of what may be stale: it may forget, and nothing that executes comes from it. It
// is asked for a translation when the run needs one that was invalidated or never made; and, where
// each access is looked at, at each access, so that a TLB forgets because it is full, too.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>

#include "emu/timing/caches.h"
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
  uint64_t physical = 0;        // what it leads to in the end; kOutsideRam: no memory
};
// Where no cache is.
inline constexpr uint64_t kOutsideRam = ~uint64_t{0};

class TranslationCosts {
 public:
  // `caches`, which outlive it, have the paging structures, too.
  TranslationCosts(const Processor& processor, Caches& caches);

  // Cycles.
  uint64_t translate(const TimedWalk& walk);
  void invalidate(const ept::Invalidation& what);

  // --- each access

  // The translations that are used from now on.
  void select(const ept::MappingTag& tag) {
    if (tag == selected_) return;
    selected_ = tag;
    forget_recent();
  }
  struct Found {
    uint64_t physical = 0;  // of the very byte, or kOutsideRam
    uint16_t cycles = 0;    // until it is known
  };
  // std::nullopt: it takes a walk.
  std::optional<Found> look_up(uint64_t linear, TranslationFor reason);
  // The same of data whose translation was used last in its set of the TLB. The most frequent case.
  bool is_recent(uint64_t linear, uint64_t& physical) const {
    const Recent& small = recent_[(linear >> 12) % kRecent];
    if (small.page == linear >> 12) {
      physical = small.physical | (linear & 0xfff);
      return true;
    }
    const Recent& large = recent_large_[(linear >> 21) % kRecent];
    if (large.page != linear >> 21) return false;
    physical = large.physical | (linear & 0x1f'ffff);
    return true;
  }

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
    for (Tlb* tlb : all()) tlb->serialize(archive);
    archive(selected_);
    if (archive.loads()) forget_recent();
  }

 private:
  struct Entry {
    ept::MappingKey key;
    bool dirty = false;
    uint64_t physical = 0;  // of the page's start, or kOutsideRam
    template <typename Archive>
    void fields(Archive& archive) {
      archive(key, dirty, physical);
    }
  };
  using Tlb = TagArray<Entry>;
  // The TLBs of one level, by the size of pages.
  struct Level {
    Tlb small, large, huge;
    Tlb& of(unsigned size_bits) { return size_bits >= 30 ? huge : size_bits > 12 ? large : small; }
  };
  // Translations that are the last ones used in their sets of the first-level data TLB, of pages of
  // 4 KBytes and 2 MBytes: to use one again changes nothing.
  struct Recent {
    uint64_t page = ~uint64_t{0}, physical = 0;
  };
  static constexpr size_t kRecent = 8;  // so many sets there are at least

  // The paging-structure caches of one dimension: entry by entry, the tables that they lead to.
  struct Structures {
    Tlb pde, pdpte, pml4;
    explicit Structures(const Processor::Memory& memory)
        : pde(memory.pde_cache), pdpte(memory.pdpte_cache), pml4(memory.pml4_cache) {}
    // Of entries of this level; null: they are not cached.
    Tlb* of(unsigned level) {
      switch (level) {
        case 2:
          return &pde;
        case 3:
          return &pdpte;
        case 4:
          return &pml4;
        default:
          return nullptr;
      }
    }
  };

  std::array<Tlb*, 15> all() {
    return {&instructions_.small,
            &instructions_.large,
            &instructions_.huge,
            &data_.small,
            &data_.large,
            &data_.huge,
            &second_,
            &huge_second_,
            &tables_.pde,
            &tables_.pdpte,
            &tables_.pml4,
            &guest_tables_.pde,
            &guest_tables_.pdpte,
            &guest_tables_.pml4,
            &guest_pages_};
  }
  void forget_recent() {
    recent_.fill({});
    recent_large_.fill({});
  }
  static Entry* find(Tlb& tlb, const ept::MappingTag& tag, uint64_t address, unsigned size_bits);
  static void keep(Tlb& tlb, const ept::MappingKey& key, bool dirty = false, uint64_t physical = 0);
  Entry* find_first(Level& level, const ept::MappingTag& tag, uint64_t address);
  Entry* find_second(const ept::MappingTag& tag, uint64_t address);
  // Into a first-level TLB.
  void keep_first(Level& level, const Entry& entry);
  void note_used(const Level& level, const Entry& entry, uint64_t address);
  uint64_t walk(const TimedWalk& walk);
  uint64_t count_walk(const TimedWalk& walk);
  uint64_t walk_ept(const ept::MappingTag& tag, std::span<const ept::Step> steps, uint64_t address,
                    bool completed);
  unsigned cached_level(Structures& tables, const ept::MappingTag& tag, uint64_t address,
                        unsigned top);
  void keep_table(Structures& tables, const ept::MappingTag& tag, uint64_t address, unsigned level);
  // Reads a paging-structure entry.
  uint64_t reference(uint64_t machine_address);

  const Processor& processor_;
  Caches& caches_;
  Level instructions_, data_;
  Tlb second_, huge_second_;
  Structures tables_;        // paging-structure caches of linear addresses,
  Structures guest_tables_;  // and of guest-physical ones;
  Tlb guest_pages_;          // guest-physical translations
  Counts* counts_ = nullptr;
  ept::MappingTag selected_;
  std::array<Recent, kRecent> recent_, recent_large_;
};

}  // namespace nestor::emu::timing
