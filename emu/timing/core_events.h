// SPDX-License-Identifier: GPL-2.0-or-later
//
// What performance counters can count of a core, beside instructions and cycles.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

namespace nestor::emu::timing {

// For whom an address is translated.
enum class TranslationFor : uint8_t { kLoad, kStore, kFetch, kCount };

// What comes of that, by the bit of the unit mask that selects it in the events DTLB_LOAD_MISSES,
// DTLB_STORE_MISSES and ITLB_MISSES of Skylake (github.com/intel/perfmon, skylakex_core.json).
enum class TranslationEvent : uint8_t {
  kWalk,  // MISS_CAUSES_A_WALK
  kWalked4K,
  kWalked2M,
  kWalked1G,
  kWalkCycles,      // WALK_PENDING
  kSecondLevelHit,  // STLB_HIT
  kCount
};

// Where the data of a load came from.
enum class LoadedFrom : uint8_t { kFirst, kSecond, kThird, kMemory, kFillBuffer, kCount };

// Each ascends.
struct CoreEvents {
  uint64_t branches = 0, mispredicted = 0;  // executed
  uint64_t ept_walk_cycles = 0;
  std::array<std::array<uint64_t, static_cast<size_t>(TranslationEvent::kCount)>,
             static_cast<size_t>(TranslationFor::kCount)>
      translations{};
  // Where each access is looked at.
  std::array<uint64_t, static_cast<size_t>(LoadedFrom::kCount)> loads{};
  // Stores; lines that came into the first-level data cache; lines of code that were not there.
  uint64_t stores = 0, data_fills = 0, code_misses = 0;
  // Requests to the second-level cache, to the third, and to memory.
  uint64_t second_cache = 0, third_cache = 0, memory = 0;

  uint64_t& of(LoadedFrom place) { return loads[static_cast<size_t>(place)]; }
  uint64_t of(LoadedFrom place) const { return loads[static_cast<size_t>(place)]; }
  uint64_t& of(TranslationFor reason, TranslationEvent event) {
    return translations[static_cast<size_t>(reason)][static_cast<size_t>(event)];
  }
  void operator+=(const CoreEvents& other) {
    combine(other, [](uint64_t& mine, uint64_t its) { mine += its; });
  }
  void operator-=(const CoreEvents& other) {
    combine(other, [](uint64_t& mine, uint64_t its) { mine -= its; });
  }
  bool operator==(const CoreEvents&) const = default;
  template <typename Archive>
  void fields(Archive& archive) {
    archive(branches, mispredicted, ept_walk_cycles, translations, loads, stores, data_fills,
            code_misses, second_cache, third_cache, memory);
  }

 private:
  template <class Combination>
  void combine(const CoreEvents& other, Combination combination) {
    combination(branches, other.branches);
    combination(mispredicted, other.mispredicted);
    combination(ept_walk_cycles, other.ept_walk_cycles);
    combination(stores, other.stores);
    combination(data_fills, other.data_fills);
    combination(code_misses, other.code_misses);
    combination(second_cache, other.second_cache);
    combination(third_cache, other.third_cache);
    combination(memory, other.memory);
    for (size_t i = 0; i < loads.size(); ++i) combination(loads[i], other.loads[i]);
    for (size_t i = 0; i < translations.size(); ++i)
      for (size_t j = 0; j < translations[i].size(); ++j)
        combination(translations[i][j], other.translations[i][j]);
  }
};

}  // namespace nestor::emu::timing
