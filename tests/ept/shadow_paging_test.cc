// SPDX-License-Identifier: MIT
//
// Shadow page tables: what the processor does on them is what the guest's own tables say.
#include <gtest/gtest.h>

#include <array>
#include <random>

#include "tests/ept/shadow_machine.h"

namespace nestor::ept::testing {
namespace {

using E = OrdinaryEntry;

// The guest's memory lies `kOffset` above its own addresses; half of it is uncacheable.
constexpr std::uint64_t kOffset = 0x100 * kPage;

struct OffsetBacking {
  bool backing(PhysicalAddress address, bool, BackingPage& page) {
    if (address.value >= 64 * kPage) return false;
    page = {{address.value + kOffset},
            12,
            true,
            address.value >= 32 * kPage ? MemoryType::kUncacheable : MemoryType::kWriteBack};
    return true;
  }
};

// The guest's memory as its walks read it.
struct GuestMemory {
  using Address = PhysicalAddress;

  bool read32(Address, std::uint32_t&) { return false; }
  bool read64(Address address, std::uint64_t& out) {
    return machine.read64({address.value + kOffset}, out);
  }
  Exchange compare_exchange(Address, std::uint32_t, std::uint32_t) {
    return Exchange::kUnreachable;
  }
  Exchange compare_exchange(Address address, std::uint64_t expected, std::uint64_t desired) {
    return machine.compare_exchange(HostPhysicalAddress{address.value + kOffset}, expected,
                                    desired);
  }
  MachineMemory& machine;
};

// Four levels in the guest's pages 0 to 4: a root, a PDPT, a PD and two PTs; data from page 8 on.
class World {
 public:
  explicit World(unsigned seed) : random(seed) {
    paging.mode = PagingMode::k4Level;
    paging.nxe = true;
    paging.wp = true;
    word(0) = 1 * kPage | 7;
    word(kPage) = 2 * kPage | 7;
    word(2 * kPage) = 3 * kPage | 7;
    word(2 * kPage + 8) = 4 * kPage | 7;
    for (int i = 0; i != 40; ++i) edit();
    tables.clear();
  }

  std::uint64_t pick(std::uint64_t bound) { return random() % bound; }
  std::uint64_t& word(std::uint64_t address) { return memory.word(address + kOffset); }
  std::uint64_t random_linear() { return pick(2) << 21 | pick(16) << 12 | pick(512) * 8; }

  void edit() {
    std::uint64_t entry = (8 + pick(48)) * kPage | pick(8) | (pick(4) == 0 ? bit(63) : 0) |
                          (pick(8) == 0 ? E::kWriteThrough | E::kCacheDisable : 0);
    if (pick(32) == 0) entry |= bit(51);         // reserved
    if (pick(64) == 0) entry = 200 * kPage | 7;  // no memory there
    word((3 + pick(2)) * kPage + 8 * pick(16)) = entry;
    if (pick(16) == 0) word(2 * kPage) = 3 * kPage | (pick(8) | 1);
    if (pick(16) == 0) {
      paging.wp = pick(2) != 0;
      paging.smep = pick(2) != 0;
    }
  }

  /// As the processor that runs on the shadow tables walks them.
  PagingState shadow_state(std::uint64_t root) const {
    PagingState state = paging;
    state.cr3 = root;
    state.wp = true;
    return state;
  }

  std::mt19937_64 random;
  MachineMemory memory{1024};
  GuestMemory guest{memory};
  OffsetBacking backing;
  Pool pool{memory, 512 * kPage, 64};
  ShadowTables<ShadowPt64Format, Pool> tables{pool};
  PagingState paging;
};

void run(unsigned seed, unsigned steps, std::size_t limit) {
  World world(seed);
  world.paging.maxphyaddr = 46;
  world.pool.limit = limit;
  unsigned translated = 0, faults = 0, fills = 0, overridden = 0;
  for (unsigned step = 0; step != steps; ++step) {
    SCOPED_TRACE(::testing::Message() << "seed " << seed << " step " << step);
    if (world.pick(16) == 0) {
      world.edit();
      world.tables.clear();  // the guest's INVLPG, or CR3 load, that the edit needs
      continue;
    }
    const LinearAddress linear{world.random_linear()};
    Access access;
    access.kind = static_cast<Access::Kind>(world.pick(3));
    access.user = world.pick(2) != 0;
    const auto own = walk_linear<ProbeOnly>(world.guest, world.paging, linear, access);
    BackingPage page;
    const bool backed =
        own.translated() && world.backing.backing(own.address, access.kind == Access::kWrite, page);

    bool filled = false, done = false;
    for (int attempt = 0; attempt != 6 && !done; ++attempt) {
      HostPhysicalAddress root;
      if (!world.tables.root(root)) {
        world.tables.clear();
        continue;
      }
      const auto through =
          walk_linear(world.memory, world.shadow_state(root.value), linear, access);
      if (through.translated()) {
        ASSERT_TRUE(backed);
        ASSERT_EQ(through.address.value, page.address.value);
        ASSERT_EQ((through.pat_index & 3) == 3,
                  page.memory_type == MemoryType::kUncacheable || (own.pat_index & 3) == 3);
        const auto after = walk_linear<ProbeOnly>(world.guest, world.paging, linear, access);
        ASSERT_TRUE(access.kind != Access::kWrite || after.dirty) << "a write without its flag";
        ++translated;
        done = true;
        continue;
      }
      ASSERT_FALSE(filled) << "a page that was just filled must not miss";
      const Fill fill = fill_shadow_paging(world.guest, world.paging, world.backing, world.tables,
                                           linear, access);
      switch (fill.outcome) {
        case FillOutcome::kFilled:
          ++fills;
          overridden += access.kind == Access::kWrite && !own.rights.writable ? 1 : 0;
          filled = true;
          break;
        case FillOutcome::kPageFault:
          ASSERT_EQ(own.outcome, LinearOutcome::kPageFault);
          ASSERT_EQ(fill.error_code, own.error_code);
          ++faults;
          done = true;
          break;
        case FillOutcome::kNotBacked:
          ASSERT_TRUE(own.translated() && !backed);
          ASSERT_EQ(fill.unbacked, own.address);
          done = true;
          break;
        case FillOutcome::kNoTables:
          world.tables.clear();
          break;
        default:
          FAIL() << "no EPT here";
      }
    }
    ASSERT_TRUE(done) << "no progress";
  }
  EXPECT_GT(translated, steps / 8);
  EXPECT_GT(faults, steps / 8);
  EXPECT_GT(fills, steps / 20);
  EXPECT_GT(overridden, 0U) << "CR0.WP = 0 was never met";
}

TEST(ShadowPaging, IsWhatTheGuestsTablesSay) { run(1, 200'000, 64); }
TEST(ShadowPaging, LosesNothingWithOneTableOfEachLevel) { run(2, 100'000, 4); }

// PAE paging begins with four PDPTEs, which grant nothing themselves.
TEST(ShadowPaging, BuildsPaeTables) {
  MachineMemory memory(64);
  Pool pool(memory, 16 * kPage, 16);
  ShadowTables<ShadowPaeFormat, Pool> tables(pool);
  const std::uint64_t leaf = 5 * kPage | E::kPresent | E::kWritable;
  ASSERT_TRUE(tables.map(0xc0201000, 12, leaf));
  HostPhysicalAddress root;
  ASSERT_TRUE(tables.root(root));
  const std::uint64_t pdpte = memory.word(root.value + 3 * 8);
  EXPECT_EQ(pdpte & low_bits(12), E::kPresent);
  EXPECT_EQ(pdpte & pdpte_reserved_bits(46), 0U);
  PagingState state;
  state.mode = PagingMode::kPae;
  state.pdptes = {0, 0, 0, pdpte};
  const auto walk = walk_linear(memory, state, LinearAddress{0xc0201234}, Access{});
  ASSERT_TRUE(walk.translated());
  EXPECT_EQ(walk.address.value, 5 * kPage + 0x234);
  tables.unmap(0xc0201000);
  EXPECT_FALSE(walk_linear(memory, state, LinearAddress{0xc0201234}, Access{}).translated());
}

}  // namespace
}  // namespace nestor::ept::testing
