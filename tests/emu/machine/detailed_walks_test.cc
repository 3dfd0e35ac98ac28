// SPDX-License-Identifier: GPL-2.0-or-later
//
// Programs that know nothing of the model, and find by RDTSC what page walks cost and which
// paging-structure entries the processor caches, natively and in a guest under EPT.
#include <algorithm>
#include <string>

#include "tests/emu/machine/detailed_timing_fixture.h"

namespace nestor::emu {
namespace {

// Linear addresses from 512 GBytes on that all lead to one page. A region of each level has the
// same tables as the next one, so that paging-structure entries stay in the first-level cache.
class MeasuredWalks : public EachPricedCore {
 protected:
  // Native tables, and those of a guest, from here on ...
  static constexpr uint64_t kPointers = 0x61000, kDirectory = 0x62000, kTable = 0x63000;
  // ... or 1-GByte pages, which lead to as many guest-physical addresses, whose tables of EPT are
  // shared in the same way.
  static constexpr uint64_t kHugePages = 0x64000, kEptDirectory = 0x65000, kEptTable = 0x66000;
  static constexpr unsigned kFirstRegion = 1, kHugeRegion = 32;  // entries of the PML4 table
  static constexpr uint64_t kFirstGiga = 64;                     // of guest-physical addresses

  MeasuredWalks() {
    constexpr uint64_t kEptEntry = kEptAll | kEptUserExecute;
    for (unsigned i = 0; i < 512; ++i) {
      put(kPointers + 8 * i, kDirectory | kAll);
      put(kDirectory + 8 * i, kTable | kAll);
      put(kTable + 8 * i, kData | kAll);
      put(kEptDirectory + 8 * i, kEptTable | kEptEntry);
      put(kEptTable + 8 * i, kData | kEptEntry);
    }
    for (unsigned i = 0; i < 16; ++i) {
      put(kPml4 + 8 * (kFirstRegion + i), kPointers | kAll);
      put(kHugePages + 8 * i, (kFirstGiga + i) << 30 | kAll | 0x80);
      put(kEpt + 0x1000 + 8 * (kFirstGiga + i), kEptDirectory | kEptEntry);
    }
    put(kPml4 + 8 * kHugeRegion, kHugePages | kAll);
    enable_ept();
  }

  // Whose paging-structure caches are looked for.
  enum class Caches { kNative, kOfGuest, kOfEpt };

  // Cycles of a load where loads go to so many places in turn, `stride` apart, and each round by
  // `shift` further on; the fourth time around. A load waits for the one before it, as its address
  // depends on what that has loaded.
  double load_in_turn(Caches caches, uint64_t stride, uint32_t places, uint64_t shift,
                      uint32_t rounds) {
    Code round = ASM64("mov rdi, rsi");
    for (uint32_t i = 0; i < places; ++i)
      round = round + ASM64("mov rax, [rdi]; add rdi, r10; add rdi, rax");
    const Code pass = ASM64("rdtsc; mov r8d, eax") +
                      set(kEsi, caches == Caches::kOfEpt ? kHugeRegion : kFirstRegion) +
                      ASM64("shl rsi, 39") + set(kEbp, rounds) +
                      while_not_zero(round + ASM64("add rsi, r11; add rsi, rax; dec ebp")) +
                      ASM64("rdtsc; sub eax, r8d; mov r12d, eax; dec r9d");
    const Code code = with_number(ASM64("movabs r10, 0x1122334455667788"), stride) +
                      with_number(ASM64("movabs r11, 0x1122334455667788"), shift) +
                      ASM64("mov r9d, 4") + while_not_zero(pass) +
                      ASM64("mov eax, r12d; out 0xf4, eax");
    const RunResult result = caches == Caches::kNative ? run(code) : run_guest(code);
    return (result.code >> 1) / double(rounds * places);
  }
  // So many, and no more, are as fast as `from`.
  template <typename Load>
  static uint32_t as_fast(uint32_t from, const Load& load) {
    const double cycles = load(from);
    const auto fast = [&](uint32_t count) { return count <= 1024 && load(count) < cycles + 0.25; };
    return largest(from, fast);
  }
  // How many entries of a level are cached: the places are regions of what one covers, and each
  // time another part of them, of what an entry of the next level covers, so that TLBs and caches
  // of lower levels miss.
  uint32_t entries(Caches caches, unsigned level) {
    const uint64_t covered = uint64_t{1} << (12 + 9 * (level - 1));
    // Of PDEs: fewer pages than these may be in the second-level TLB.
    const uint32_t from = level == 2 ? 16 : 1, rounds = level == 2 ? 256 : 64;
    return as_fast(from, [&](uint32_t regions) {
      return load_in_turn(caches, covered, regions, covered >> 9, rounds);
    });
  }
};
INSTANTIATE_TEST_SUITE_P(All, MeasuredWalks, testing::ValuesIn(EachPricedCore::all()),
                         EachPricedCore::name);

TEST_P(MeasuredWalks, SizesOfPagingStructureCaches) {
  const auto size = [](timing::CacheSize cache) { return double(cache.sets) * cache.ways; };
  const auto& memory = core().memory;
  for (const auto& [name, caches] : {std::pair{"native", Caches::kNative},
                                     {"of a guest", Caches::kOfGuest},
                                     {"of EPT", Caches::kOfEpt}}) {
    SCOPED_TRACE(name);
    const uint32_t directory = entries(caches, 2), pointers = entries(caches, 3);
    EXPECT_WITHIN_TENTH(directory, size(memory.pde_cache));
    EXPECT_WITHIN_TENTH(pointers, size(memory.pdpte_cache));
    RecordProperty(name, std::to_string(directory) + " " + std::to_string(pointers));
  }
  EXPECT_WITHIN_TENTH(entries(Caches::kNative, 4), size(memory.pml4_cache));
}

TEST_P(MeasuredWalks, FirstLevelTlbAndWaysOfTlbs) {
  const auto& memory = core().memory;
  const auto pages = [&](uint32_t count) {
    return load_in_turn(Caches::kNative, kPage, count, 0, 64);
  };
  EXPECT_EQ(as_fast(16, pages), uint32_t{memory.data_tlb.sets} * memory.data_tlb.ways);
  const auto in_one_set = [&](uint32_t count) {
    return load_in_turn(Caches::kNative, 2 * kMega, count, 0, 64);
  };
  const uint32_t ways = as_fast(1, in_one_set);
  EXPECT_EQ(ways, memory.data_tlb.ways);
  EXPECT_EQ(as_fast(ways + 1, in_one_set), memory.second_tlb.ways);
}

TEST_P(MeasuredWalks, LargePagesNeedFewerTranslations) {
  constexpr uint32_t kPages = 3000;
  const double without = load(kPages, kPage, kLargePages);
  const double native = load(kPages, kPage, kSmallPages) - without;
  const auto nested = [&](bool small_guest, bool small_ept) {
    use_small_guest_pages(small_guest);
    use_small_ept_pages(small_ept);
    return load_in_l2(kPages, kPage, kSmallPages) - without;
  };
  const double both = nested(true, true), guest = nested(true, false), ept = nested(false, true),
               none = nested(false, false);
  EXPECT_GT(native, 14) << "each is a walk";
  EXPECT_GT(both, native);
  EXPECT_LT(guest, both);
  EXPECT_LT(ept, both);
  EXPECT_LT(none, ept);
  EXPECT_LT(none, guest);
  EXPECT_LT(both / native, 4);
  RecordProperty("cycles", std::to_string(native) + " " + std::to_string(both) + " " +
                               std::to_string(guest) + " " + std::to_string(ept) + " " +
                               std::to_string(none));
}

// All misses: more regions of 1 GByte than any TLB has entries, each once a round.
class WalksByPageSize : public MeasuredWalks {
 protected:
  // Of the page's size, by the level of the entry that maps it: 4 KBytes, 2 MBytes, 1 GByte.
  static constexpr unsigned kSizes[] = {1, 2, 3};
  static constexpr uint64_t kGuestTables = 0x67000, kEptPointers = 0x6a000;
  static constexpr uint64_t kGuestPages = uint64_t{1} << 39;  // guest-physical
  static constexpr unsigned kRegions = 8;                     // of 512 GBytes

  // One table for each level, of which all entries lead to the next one. The j-th entry of the last
  // one maps `page(j)`.
  template <typename Page>
  void put_tables(uint64_t tables, unsigned leaf, uint64_t flags, const Page& page) {
    for (unsigned level = 3; level >= leaf; --level)
      for (uint64_t j = 0; j < 512; ++j)
        put(tables + (3 - level) * kPage + 8 * j, level > leaf
                                                      ? (tables + (4 - level) * kPage) | flags
                                                      : page(j) | flags | (leaf > 1 ? 0x80 : 0));
    for (unsigned i = 0; i < kRegions; ++i)
      put(kPml4 + 8 * (kFirstRegion + i), kGuestTables | kAll);
  }
  // Cycles of a load, which is at another entry of each table than the one before it.
  double load_of_leaf(unsigned leaf, bool in_guest) {
    const uint64_t stride = leaf == 3   ? uint64_t{1} << 30
                            : leaf == 2 ? uint64_t{1} << 30 | 1 << 21
                                        : uint64_t{1} << 30 | 1 << 21 | 1 << 12;
    const Code pass = set(kEsi, kFirstRegion) + set(kEbp, kRegions) +
                      ASM64(
                          "shl rsi, 39; mov r11d, 1; shl r11, 39; 3: mov rdi, rsi; mov ecx, 512; "
                          "2: mov rax, [rdi]; add rdi, r10; add rdi, rax; dec ecx; jne 2b; "
                          "add rsi, r11; add rsi, rax; dec ebp; jne 3b");
    const Code code = set(kEcx, static_cast<uint32_t>(stride >> 12)) +
                      ASM64("mov r10, rcx; shl r10, 12") + pass + ASM64("rdtsc; mov r8d, eax") +
                      pass + ASM64("rdtsc; sub eax, r8d; out 0xf4, eax");
    return ((in_guest ? run_guest(code) : run(code)).code >> 1) / (kRegions * 512.0);
  }
  double native(unsigned leaf) {
    put_tables(kGuestTables, leaf, kAll, [](uint64_t) { return uint64_t{0}; });
    return load_of_leaf(leaf, false);
  }
  double nested(unsigned leaf, unsigned ept_leaf) {
    put_tables(kGuestTables, leaf, kAll, [](uint64_t j) { return kGuestPages + (j << 30); });
    put_tables(kEptPointers, ept_leaf, kEptAll | kEptUserExecute,
               [](uint64_t) { return uint64_t{0}; });
    put(kEpt + 8, kEptPointers | kEptAll | kEptUserExecute);
    return load_of_leaf(leaf, true);
  }
};
INSTANTIATE_TEST_SUITE_P(All, WalksByPageSize, testing::ValuesIn(EachPricedCore::all()),
                         EachPricedCore::name);

TEST_P(WalksByPageSize, EachLargerPageIsFaster) {
  double one[4], two[4][4];
  for (const unsigned leaf : kSizes) {
    one[leaf] = native(leaf);
    for (const unsigned ept_leaf : kSizes) two[leaf][ept_leaf] = nested(leaf, ept_leaf);
  }
  for (const unsigned leaf : kSizes) {
    SCOPED_TRACE(leaf);
    std::string cycles = std::to_string(one[leaf]);
    for (const unsigned ept_leaf : kSizes) cycles += " " + std::to_string(two[leaf][ept_leaf]);
    RecordProperty("level" + std::to_string(leaf), cycles);
    EXPECT_GT(two[leaf][3], one[leaf]);
    for (const unsigned larger : {2, 3}) {
      EXPECT_LT(one[larger], one[larger - 1]);
      EXPECT_LT(two[leaf][larger], two[leaf][larger - 1]) << "of EPT";
      EXPECT_LT(two[larger][leaf], two[larger - 1][leaf]) << "of the guest";
    }
  }
}

// As --stats counts: each table of the guest, and its page, are in 512 GBytes of their own, so that
// nothing of EPT is cached on the way.
TEST_P(WalksByPageSize, ACold2DWalkReads24Entries) {
  constexpr uint64_t kFarTables = 0x70000;
  const auto far = [](uint64_t region, uint64_t address) { return region << 39 | address; };
  for (uint64_t i = 1; i <= 5; ++i) put(kEpt + 8 * i, (kEpt + 0x1000) | kEptAll | kEptUserExecute);
  for (uint64_t i = 0; i < 3; ++i)
    put(kFarTables + i * kPage, far(i + 2, kFarTables + (i + 1) * kPage) | kAll);
  for (uint64_t i = 0; i < 512; ++i) put(kFarTables + 3 * kPage + 8 * i, far(5, i * kPage) | kAll);
  vmcs_.write(vmx::Field::kGuestCr3, far(1, kFarTables));
  const auto walks = [this](const Code& guest) {
    run_guest(guest);
    return machine_->timing_counts().value()[1].translations;
  };
  const auto one = walks(kCpuid);
  EXPECT_EQ(one.walks, 1u);
  EXPECT_EQ(one.references, 24u);
  // To the next page, and the CPUID there.
  const auto two = walks(ASM64("lea rax, [rip + 0x1000]; jmp rax") + nops(0x1000) + kCpuid);
  EXPECT_EQ(two.walks, 2u);
  EXPECT_EQ(two.references, 24u + 2u) << "the PTE, and the EPT PTE";
}

}  // namespace
}  // namespace nestor::emu
