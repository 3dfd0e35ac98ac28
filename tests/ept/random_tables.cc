// SPDX-License-Identifier: MIT
#include "tests/ept/random_tables.h"

#include "ept/bits.h"

namespace nestor::ept::testing {

namespace {

constexpr std::uint64_t kGuestHalf = 32 * 4096;
constexpr unsigned kPagesPerLevel = 5;
// What five levels leave of the EPT half holds tables of sub-page write permissions: the top level
// in one page, the three below in two each.
constexpr std::uint64_t kSubPageTop = 5 * kPagesPerLevel;
constexpr unsigned sub_page_level(std::uint64_t page) {
  return page == kSubPageTop ? 4 : 3 - static_cast<unsigned>((page - kSubPageTop - 1) / 2);
}
static_assert(sub_page_level(31) == 1 && sub_page_level(26) == 3);

}  // namespace

RandomWorld::RandomWorld(std::uint64_t seed, PagingMode mode) {
  Random random(seed);
  constexpr std::uint8_t kWidths[] = {36, 39, 40, 46, 52};
  state.mode = mode;
  state.maxphyaddr = kWidths[random.below(5)];
  state.wp = random.coin();
  state.pse = !random.one_in(4);
  state.pse36 = !random.one_in(4);
  state.smep = random.coin();
  state.smap = random.coin();
  state.ac = random.coin();
  state.nxe = !random.one_in(4);
  state.pke = random.coin();
  state.pks = random.one_in(4);
  state.pkru = static_cast<std::uint32_t>(random.next() & random.next());
  state.pkrs = static_cast<std::uint32_t>(random.next() & random.next());
  state.page1gb = !random.one_in(4);

  const unsigned top = mode == PagingMode::k5Level ? 5 : mode == PagingMode::k4Level ? 4 : 2;
  state.cr3 = table_page(random, true, top) | (random.next() & 0x18);
  for (std::uint64_t& pdpte : state.pdptes) {
    pdpte = table_page(random, true, 2) | (random.one_in(16) ? 0U : 1U);
  }

  ept.maxphyaddr = state.maxphyaddr;
  ept.mode_based_execute = random.coin();
  ept.execute_only = random.coin();
  ept.page1gb = !random.one_in(4);
  ept.page2mb = !random.one_in(8);
  ept.advanced_exit_information = random.coin();
  ept.violation_exceptions = random.coin();
  ept.paging_write_control = random.coin();
  ept.guest_paging_verification = random.coin();
  ept.sub_page_write = random.coin();
  ept.sub_page_table = kSubPageTop * 4096;
  const unsigned ept_levels = random.one_in(4) ? 5 : 4;
  ept.eptp.value = table_page(random, false, ept_levels) | (ept_levels - 1) << 3 | 6 |
                   (random.coin() ? bit(6) : 0);

  // What the pointers hold beside an address does not count in a walk; a VM entry would refuse some
  // of it.
  Random noise(~seed);
  constexpr std::uint64_t kBesides = bits(63, 52) | bits(11, 8);
  ept.sub_page_table |= noise.next() & (kBesides | bits(7, 0));
  ept.eptp.value |= noise.next() & kBesides;
  state.cr3 |= noise.next() &
               (mode == PagingMode::k32Bit ? bits(63, 32) | bits(11, 0) : kBesides | bits(7, 0));

  for (std::uint64_t page = 0; page != 32; ++page) {
    const unsigned level = static_cast<unsigned>(page / kPagesPerLevel) % 5 + 1;
    for (unsigned index = 0; index != 512; ++index) {
      const std::uint64_t offset = page * 4096 + 8 * index;
      memory.write(offset, page < kSubPageTop ? ept_entry(random, level, index)
                                              : sub_page_entry(random, sub_page_level(page)));
      if (mode == PagingMode::k32Bit) {
        memory.write(kGuestHalf + offset, small_entry(random, level));
        memory.write(kGuestHalf + offset + 4, small_entry(random, level));
      } else {
        memory.write(kGuestHalf + offset, guest_entry(random, level));
      }
    }
  }
}

std::uint64_t RandomWorld::table_page(Random& random, bool guest, unsigned level) {
  const std::uint64_t page = (level - 1) * kPagesPerLevel + random.below(kPagesPerLevel);
  return (guest ? kGuestHalf : 0) + page * 4096;
}

/// Address bits above the memory: now and then some, rarely one beyond MAXPHYADDR.
std::uint64_t RandomWorld::random_high_bits(Random& random, unsigned low) const {
  std::uint64_t high = 0;
  if (random.one_in(4)) high = random.next() & bits(state.maxphyaddr - 1U, low);
  if (random.one_in(64)) high |= bit(static_cast<unsigned>(low + random.below(52 - low)));
  return high;
}

std::uint64_t RandomWorld::guest_entry(Random& random, unsigned level) const {
  std::uint64_t entry = random.next() & (bits(11, 8) | bits(6, 3));  // flags that forbid nothing
  if (!random.one_in(32)) entry |= bit(0);
  if (!random.one_in(6)) entry |= bit(1);
  if (!random.one_in(5)) entry |= bit(2);
  if (random.one_in(state.nxe ? 8 : 64)) entry |= bit(63);
  if (state.mode != PagingMode::kPae) entry |= random.next() & bits(62, 52);
  if (state.mode == PagingMode::kPae && random.one_in(64)) entry |= bit(52);
  if (level == 1) {
    return entry | (random.next() & (bit(7) | bits(17, 12))) | random_high_bits(random, 18);
  }
  const bool page = level <= 3 ? random.one_in(4) : random.one_in(64);
  if (!page) {
    return entry | table_page(random, true, level - 1) | random_high_bits(random, 18);
  }
  const unsigned size = 12 + 9 * (level - 1);
  entry |= bit(7) | (random.next() & bit(12)) | random_high_bits(random, size);
  if (random.one_in(16)) entry |= bit(static_cast<unsigned>(13 + random.below(size - 13)));
  return entry;
}

std::uint32_t RandomWorld::small_entry(Random& random, unsigned level) const {
  std::uint64_t entry = random.next() & (bits(11, 8) | bits(6, 3));
  if (!random.one_in(32)) entry |= bit(0);
  if (!random.one_in(6)) entry |= bit(1);
  if (!random.one_in(5)) entry |= bit(2);
  if (level == 2 && random.one_in(3)) {
    entry |= bit(7) | (random.next() & (bits(31, 22) | bit(12)));
    if (random.one_in(3)) entry |= random.next() & bits(20, 13);
    if (random.one_in(16)) entry |= bit(21);
  } else if (level == 1) {
    entry |= random.next() & (bits(31, 12) | bit(7));
  } else {
    entry |= table_page(random, true, 1) | (random.one_in(4) ? random.next() & bits(31, 18) : 0);
  }
  return static_cast<std::uint32_t>(entry);
}

std::uint64_t RandomWorld::ept_entry(Random& random, unsigned level, unsigned index) const {
  std::uint64_t entry = random.next() & (bits(63, 52) | bits(11, 8));
  entry |= bits(2, 0);
  if (random.one_in(12)) entry &= ~bit(2);
  if (random.one_in(12)) entry &= ~bit(1);
  if (ept.sub_page_write && level == 1 && random.one_in(4)) entry &= ~bit(1);
  if (random.one_in(32)) entry &= ~bits(1, 0);
  if (random.one_in(48)) entry &= ~bits(2, 0);
  if (random.one_in(96)) entry &= ~bit(0);
  const bool page = level == 1 || random.one_in(level <= 3 ? 4 : 64);
  if (!page) {
    if (random.one_in(64)) entry |= bit(static_cast<unsigned>(3 + random.below(5)));
    return entry | table_page(random, false, level - 1) | random_high_bits(random, 18);
  }
  constexpr std::uint64_t kTypes[] = {0, 1, 4, 5, 6};
  entry |= (random.one_in(48) ? random.below(8) : kTypes[random.below(5)]) << 3;
  entry |= random.next() & bit(6);
  if (level == 1) {
    // A page keeps bits 17:12 of its address, so that guest tables stay where they are.
    entry |= (random.next() & bit(7)) | (index & 63U) << 12 | random_high_bits(random, 18);
    return random.one_in(8) ? entry ^ bit(17) : entry;
  }
  const unsigned size = 12 + 9 * (level - 1);
  entry |= bit(7) | random_high_bits(random, size);
  if (random.one_in(16)) entry |= bit(static_cast<unsigned>(12 + random.below(size - 12)));
  return entry;
}

std::uint64_t RandomWorld::sub_page_entry(Random& random, unsigned level) const {
  if (level == 1) {
    const std::uint64_t vector = (random.next() | random.next()) & 0x5555'5555'5555'5555;
    return random.one_in(16) ? vector | bit(static_cast<unsigned>(1 + 2 * random.below(32)))
                             : vector;
  }
  std::uint64_t entry = random.one_in(16) ? 0 : 1;
  if (random.one_in(32)) entry |= bit(static_cast<unsigned>(1 + random.below(11)));
  if (random.one_in(64)) entry |= bit(static_cast<unsigned>(52 + random.below(12)));
  const std::uint64_t below = kSubPageTop + 1 + 2 * (4 - level) + random.below(2);
  return entry | below * 4096 | random_high_bits(random, 18);
}

std::uint64_t RandomWorld::random_linear(Random& random) const {
  const std::uint64_t linear = random.next();
  switch (state.mode) {
    case PagingMode::k5Level:
      return (linear & bits(56, 0)) | (linear & bit(56) ? bits(63, 57) : 0);
    case PagingMode::k4Level:
      return (linear & bits(47, 0)) | (linear & bit(47) ? bits(63, 48) : 0);
    default:
      return linear & bits(31, 0);
  }
}

Access RandomWorld::random_access(Random& random) {
  Access access;
  access.kind = static_cast<Access::Kind>(random.below(3));
  access.user = random.coin();
  access.size = static_cast<std::uint16_t>(1U << random.below(9));
  if (random.one_in(16)) access.size = 0;
  access.implicit_supervisor = access.kind != Access::kFetch && random.one_in(8);
  return access;
}

}  // namespace nestor::ept::testing
