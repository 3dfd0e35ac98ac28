// SPDX-License-Identifier: MIT
//
// EPT02 is EPT12 over EPT01: for every page, through every edit, once the INVEPT has been executed
// that the edit needs.
#include <gtest/gtest.h>

#include <array>
#include <random>
#include <set>
#include <tuple>

#include "tests/ept/shadow_machine.h"

namespace nestor::ept::testing {
namespace {

constexpr std::uint64_t kAll = EptEntry::kRead | EptEntry::kWrite | EptEntry::kExecute;
constexpr std::uint64_t kWriteBack = std::uint64_t{6} << EptEntry::kMemoryTypeShift;
constexpr std::uint64_t kEptpBase = 3 << 3 | 6;  // 4 levels, write-back

/// What an access to one L2 page can come to.
struct Result {
  EptOutcome outcome = EptOutcome::kUnreachable;
  std::uint64_t address = 0;        ///< Machine page.
  std::uint64_t qualification = 0;  ///< kViolation

  auto operator<=>(const Result&) const = default;
};

class World {
 public:
  // L1's memory: 96 pages. The first hold EPT12: a root, a PDPT, a PD, and PTs; the others are
  // data.
  static constexpr std::uint64_t kL1Pages = 96, kTables = 6, kFrames = 256;
  static constexpr std::uint64_t kFirstFrame = 64;
  static constexpr std::uint64_t kPoolFirst = 512 * kPage;
  // L2's pages: 24 in each of two regions of 2 MBytes, in a third region mapped by one large page,
  // and in one where nothing is.
  static constexpr std::uint64_t kRegions = 4, kPagesInRegion = 24;

  World(unsigned seed, bool flags_enabled) : random(seed) {
    ept01.eptp.value = kEptpBase;
    ept12.eptp.value = kEptpBase | (flags_enabled ? 1 << 6 : 0);
    ept02.eptp.value = ept12.eptp.value;
    // EPT01: 4-KByte pages in machine pages 0 to 3, L1's memory in frames in a random order.
    memory.word(0) = kPage | kAll;
    memory.word(kPage) = 2 * kPage | kAll;
    memory.word(2 * kPage) = 3 * kPage | kAll;
    for (std::uint64_t i = 0; i != kFrames; ++i) free_frames.push_back(kFirstFrame + i);
    std::shuffle(free_frames.begin(), free_frames.end(), random);
    for (std::uint64_t page = 0; page != kL1Pages; ++page) back(page);
    write_l1(0, 1 * kPage | kAll);
    write_l1(kPage, 2 * kPage | kAll);
    write_l1(2 * kPage + 0, 3 * kPage | kAll);
    write_l1(2 * kPage + 8, 4 * kPage | kAll);
    for (int i = 0; i != 40; ++i) edit_leaf();
    invept();
  }

  std::uint64_t pick(std::uint64_t bound) { return random() % bound; }

  static std::uint64_t l2_page(std::uint64_t region, std::uint64_t page) {
    return region << 21 | page << 12;
  }
  std::uint64_t random_l2_page() { return l2_page(pick(kRegions), pick(kPagesInRegion)); }

  // --- L0
  std::uint64_t& entry01(std::uint64_t l1_page) { return memory.word(3 * kPage + 8 * l1_page); }
  void back(std::uint64_t l1_page) {
    entry01(l1_page) = free_frames.back() * kPage | kAll | kWriteBack;
    free_frames.pop_back();
  }
  /// L0 moves a page of L1's memory to another frame, and drops what it had built on it.
  void move_backing() {
    const std::uint64_t page = pick(kL1Pages);
    const std::uint64_t from = entry01(page) & bits(51, 12);
    back(page);
    const std::uint64_t to = entry01(page) & bits(51, 12);
    for (std::uint64_t offset = 0; offset != kPage; offset += 8) {
      memory.word(to + offset) = memory.word(from + offset);
      memory.word(from + offset) = ~std::uint64_t{0};
    }
    free_frames.insert(free_frames.begin(), from / kPage);
    invept();
  }
  void protect_backing() {
    const std::uint64_t page = kTables + pick(kL1Pages - kTables);
    entry01(page) ^= EptEntry::kWrite;
    invept();
  }

  // --- L1
  std::uint64_t& l1_word(std::uint64_t address) {
    return memory.word((entry01(address / kPage) & bits(51, 12)) | address % kPage);
  }
  void write_l1(std::uint64_t address, std::uint64_t value) { l1_word(address) = value; }
  std::uint64_t random_rights() {
    constexpr std::array<std::uint64_t, 8> kRights = {0, 1, 3, 4, 5, 7, 7, 7};
    return kRights[pick(kRights.size())];
  }
  std::uint64_t leaf_address(std::uint64_t l2) {
    return (3 + (l2 >> 21)) * kPage + (l2 >> 9 & 0xff8);
  }
  /// Maps, unmaps or remaps one page of L2.
  void edit_leaf() {
    const std::uint64_t l2 = l2_page(pick(2), pick(kPagesInRegion));
    const std::uint64_t target = kTables + pick(kL1Pages - kTables);
    std::uint64_t entry = target * kPage | random_rights() | kWriteBack;
    if (pick(16) == 0) entry = 0;
    if (pick(32) == 0) entry |= 2 << 3;                    // a reserved memory type
    if (pick(32) == 0) entry = target * kPage | 2;         // write without read
    if (pick(32) == 0) entry |= std::uint64_t{200} << 12;  // beyond L1's memory
    write_l1(leaf_address(l2), entry);
  }
  void protect_leaf() {
    l1_word(leaf_address(l2_page(pick(2), pick(kPagesInRegion)))) ^= std::uint64_t{1} << pick(3);
  }
  void clear_flags() {
    std::uint64_t& entry = l1_word(leaf_address(l2_page(pick(2), pick(kPagesInRegion))));
    entry &= ~(EptFlags::kDirty | (pick(2) == 0 ? EptFlags::kAccessed : std::uint64_t{0}));
  }
  /// A table entry: rights, another table, or the large page of region 2 and what lies in its
  /// place.
  void edit_table() {
    switch (pick(4)) {
      case 0:
        write_l1(2 * kPage + 8 * pick(2), (3 + pick(3)) * kPage | random_rights());
        break;
      case 1:
        write_l1(2 * kPage + 16, 0 | random_rights() | kWriteBack | EptEntry::kPageSize);
        break;
      case 2:
        write_l1(2 * kPage + 16, 5 * kPage | random_rights());
        break;
      default:
        write_l1(kPage, 2 * kPage | (pick(4) == 0 ? random_rights() : kAll));
        break;
    }
  }
  void invept() {
    shadow.clear();
    seen.clear();
    note_translations();
  }
  /// Remembers what every page translates to now: until the next INVEPT it may be cached.
  void note_translations() {
    for (std::uint64_t region = 0; region != kRegions; ++region)
      for (std::uint64_t page = 0; page != kPagesInRegion; ++page) {
        const std::uint64_t l2 = l2_page(region, page);
        for (const EptAccess& access : accesses()) {
          const Result fresh = two_level(l2, access);
          if (fresh.outcome == EptOutcome::kTranslated)
            seen.insert({l2, key(access), fresh.address});
        }
      }
  }

  // --- both ways to translate
  static std::array<EptAccess, 4> accesses() {
    EptAccess read, write, fetch, entry;
    read.read = true;
    write.write = true;
    fetch.fetch = true;
    entry.read = true;
    entry.purpose = EptPurpose::kPagingEntry;
    return {read, write, fetch, entry};
  }
  static unsigned key(const EptAccess& a) {
    return (a.read ? 1U : 0U) | (a.write ? 2U : 0U) | (a.fetch ? 4U : 0U) |
           (a.purpose == EptPurpose::kPagingEntry ? 8U : 0U);
  }
  /// EPT12 over EPT01, without any shadow; leaves no flags.
  Result two_level(std::uint64_t l2, const EptAccess& access) {
    NoSteps none;
    TranslatedMemory<PhysicalAddress, ProbeOnly, MachineMemory, NoSteps> l1(memory, ept01, none);
    const auto walk = walk_ept<ProbeOnly>(l1, ept12, GuestPhysicalAddress{l2}, access);
    if (!walk.translated()) return {walk.outcome, 0, walk.exit_qualification};
    EptAccess final;
    final.read = true;
    final.write = effective_access(ept12, access).write;
    const auto last = walk_ept<ProbeOnly>(memory, ept01, walk.address, final);
    if (!last.translated()) return {EptOutcome::kUnreachable, 0, 0};
    return {EptOutcome::kTranslated, last.address.value, 0};
  }
  Fill fill(std::uint64_t l2, const EptAccess& access) {
    NoSteps none;
    TranslatedMemory<PhysicalAddress, UpdateFlags, MachineMemory, NoSteps> l1(memory, ept01, none);
    BackingByEpt backing(memory, ept01);
    return fill_shadow_ept(l1, ept12, backing, shadow, GuestPhysicalAddress{l2}, access);
  }
  /// Through EPT02, which is filled where it has nothing. `filled`: it was.
  Result shadowed(std::uint64_t l2, const EptAccess& access, bool& filled) {
    filled = false;
    for (int attempt = 0; attempt != 8; ++attempt) {
      HostPhysicalAddress root;
      if (!shadow.root(root)) continue;
      ept02.eptp.value = (ept02.eptp.value & low_bits(12)) | root.value;
      const auto walk = walk_ept(memory, ept02, GuestPhysicalAddress{l2}, access);
      if (walk.translated()) return {walk.outcome, walk.address.value, 0};
      EXPECT_EQ(walk.outcome, EptOutcome::kViolation) << "EPT02 is always well-formed";
      EXPECT_FALSE(filled) << "a page that was just filled must not miss";
      const Fill filling = fill(l2, access);
      switch (filling.outcome) {
        case FillOutcome::kFilled:
          filled = true;
          ++fills;
          break;
        case FillOutcome::kNoTables:
          shadow.clear();
          break;
        case FillOutcome::kViolation:
          return {EptOutcome::kViolation, 0, filling.exit_qualification};
        case FillOutcome::kMisconfiguration:
          return {EptOutcome::kMisconfiguration, 0, 0};
        case FillOutcome::kNotBacked:
          return {EptOutcome::kUnreachable, 0, 0};
        case FillOutcome::kPageFault:
          ADD_FAILURE() << "EPT has no page faults";
          return {};
      }
    }
    ADD_FAILURE() << "no progress";
    return {};
  }
  /// After a successful access: every entry of EPT12 that was used has its flags.
  bool flags_are_set(std::uint64_t l2, const EptAccess& access) {
    if (!ept12.eptp.accessed_dirty()) return true;
    RecordSteps<8> steps;
    NoSteps none;
    TranslatedMemory<PhysicalAddress, ProbeOnly, MachineMemory, NoSteps> l1(memory, ept01, none);
    (void)walk_ept<ProbeOnly>(l1, ept12, GuestPhysicalAddress{l2}, access, steps);
    for (const Step& step : steps.steps()) {
      if ((step.entry & EptFlags::kAccessed) == 0) return false;
    }
    return !effective_access(ept12, access).write ||
           (steps.steps().back().entry & EptFlags::kDirty) != 0;
  }

  std::mt19937_64 random;
  MachineMemory memory{1024};
  std::vector<std::uint64_t> free_frames;
  EptState ept01, ept12, ept02;
  Pool pool{memory, kPoolFirst, 400};
  ShadowTables<ShadowEptFormat, Pool> shadow{pool};
  /// Page, access and machine page of all translations since the last INVEPT.
  std::set<std::tuple<std::uint64_t, unsigned, std::uint64_t>> seen;
  std::uint64_t fills = 0;
};

/// `steps` random events; what L1 forgets to invalidate may be stale, and nothing else.
void run(unsigned seed, bool flags_enabled, unsigned steps, const auto& disturb) {
  World world(seed, flags_enabled);
  bool edited = false;
  std::uint64_t stale = 0, translated = 0, refused = 0;
  for (unsigned step = 0; step != steps; ++step) {
    disturb(world);
    const std::uint64_t event = world.pick(256);
    if (event < 10) {
      event < 4   ? world.edit_leaf()
      : event < 7 ? world.protect_leaf()
      : event < 9 ? world.clear_flags()
                  : world.edit_table();
      world.note_translations();
      edited = true;
      continue;
    }
    if (event < 14) {
      event < 13 ? world.invept() : world.pick(2) ? world.move_backing() : world.protect_backing();
      edited = false;
      continue;
    }
    const std::uint64_t l2 = world.random_l2_page();
    const EptAccess access = World::accesses()[world.pick(4)];
    const Result fresh = world.two_level(l2, access);
    bool filled = false;
    const Result through = world.shadowed(l2, access, filled);
    if (through != fresh) {
      // Only a translation that L1 has not invalidated since may differ.
      ASSERT_TRUE(edited) << "seed " << seed << " step " << step;
      ASSERT_FALSE(filled) << "seed " << seed << " step " << step;
      ASSERT_EQ(through.outcome, EptOutcome::kTranslated) << "seed " << seed << " step " << step;
      ASSERT_TRUE(world.seen.contains({l2, World::key(access), through.address}))
          << "seed " << seed << " step " << step;
      ++stale;
      continue;
    }
    if (through.outcome == EptOutcome::kTranslated) {
      ++translated;
      if (!edited) {
        ASSERT_TRUE(world.flags_are_set(l2, access)) << "seed " << seed << " step " << step;
      }
    } else {
      ++refused;
    }
  }
  // The run has met what it is about.
  EXPECT_GT(stale, steps / 2000) << "seed " << seed;
  EXPECT_GT(translated, steps / 10) << "seed " << seed;
  EXPECT_GT(refused, steps / 8) << "seed " << seed;
  EXPECT_GT(world.fills, steps / 200) << "seed " << seed;
  world.shadow.destroy();
  EXPECT_EQ(world.pool.used, 0U) << "every page of the pool comes back";
}

const auto kUndisturbed = [](World&) {};

// 250,000 steps each: a million over the four.
TEST(ShadowEpt, IsEpt12OverEpt01) { run(1, false, 250'000, kUndisturbed); }
TEST(ShadowEpt, IsEpt12OverEpt01WithAccessedAndDirtyFlags) { run(2, true, 250'000, kUndisturbed); }

// One table a level is the least that can map a page: every other region throws the last one out.
TEST(ShadowEpt, LosesNothingWithOneTableOfEachLevel) {
  run(3, true, 250'000, [](World& world) { world.pool.limit = 4; });
}

// With one page in all, the root, nothing can be mapped: that is said, and later nothing is amiss.
TEST(ShadowEpt, LosesNothingWithOnePageInAll) {
  World world(5, true);
  unsigned too_few = 0, refused = 0;
  for (unsigned step = 0; step != 10'000; ++step) {
    const std::uint64_t l2 = world.random_l2_page();
    const EptAccess access = World::accesses()[world.pick(4)];
    const Result fresh = world.two_level(l2, access);
    world.pool.limit = 1;
    world.shadow.clear();
    const Fill fill = world.fill(l2, access);
    ASSERT_LE(world.pool.used, 1U) << "step " << step;
    if (fresh.outcome == EptOutcome::kTranslated) {
      ASSERT_EQ(fill.outcome, FillOutcome::kNoTables) << "step " << step;
      ++too_few;
    } else {
      ASSERT_NE(fill.outcome, FillOutcome::kFilled) << "step " << step;
      ASSERT_NE(fill.outcome, FillOutcome::kNoTables) << "step " << step;
      ++refused;
    }
    world.pool.limit = 400;
    bool filled = false;
    ASSERT_EQ(world.shadowed(l2, access, filled), fresh) << "step " << step;
    if (world.pick(8) == 0) world.edit_leaf();
  }
  EXPECT_GT(too_few, 1000U);
  EXPECT_GT(refused, 1000U);
}

TEST(ShadowEpt, LosesNothingWhenAllocationsFail) {
  run(4, true, 250'000, [](World& world) {
    if (!world.pool.fail_after && world.pick(4) == 0) world.pool.fail_after = world.pick(3);
  });
}

}  // namespace
}  // namespace nestor::ept::testing
