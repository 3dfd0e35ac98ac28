// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/native/table_generator.h"

#include "emu/native/layout.h"
#include "ept/address.h"
#include "ept/bits.h"
#include "ept/ordinary_entry.h"
#include "ept/pae.h"
#include "ept/pt32.h"
#include "ept/pt64.h"

namespace nestor::emu::native {
namespace {

using ept::bits;
using ept::OrdinaryEntry;
using ept::PagingMode;
using ept::PagingState;

/// The level that table `index` of those under test is made for; table 0 is the top one.
unsigned made_for_level(const Shape& shape, std::uint64_t index) {
  return index == 0 ? shape.top_level : 1 + static_cast<unsigned>(index) % (shape.top_level - 1);
}

class EntryGenerator {
 public:
  EntryGenerator(Random& random, const PagingState& state, bool amd)
      : random_(random), state_(state), amd_(amd), shape_(shape_of(state.mode)) {}

  std::uint64_t entry(unsigned level) {
    if (state_.mode == PagingMode::kPae && level == 3) return pdpte();
    std::uint64_t entry = random_.bit(0, 96) | random_.bit(1, 80) | random_.bit(2, 75) |
                          random_.bit(3, 20) | random_.bit(4, 20) | random_.bit(5, 50) |
                          random_.bit(6, 50) | random_.bit(8, 30);
    entry |= random_.next() & bits(11, 9);
    const bool page = level == 1 || (may_map_page(level) ? random_.chance(25) : false);
    if (amd_ && level > 2 && !page) entry &= ~OrdinaryEntry::kGlobal;
    if (level == 1) {
      entry |= random_.bit(7, 30);  // PAT
    } else {
      entry |= page || random_.chance(2) ? OrdinaryEntry::kPageSize : 0;
    }
    if (state_.mode == PagingMode::k32Bit) return entry | (page ? frame32(level) : table(level));
    entry |= page ? frame(level) : table(level);
    if (state_.mode != PagingMode::kPae) entry |= random_.next() & bits(62, 52);
    entry |= random_.bit(63, state_.nxe ? 15 : 2);
    if (random_.chance(3)) entry |= reserved_bit(level, page);
    return entry;
  }

 private:
  bool may_map_page(unsigned level) const {
    if (level == 2) return state_.mode != PagingMode::k32Bit || state_.pse;
    return level == 3 && state_.page1gb && state_.mode != PagingMode::kPae;
  }
  unsigned page_bits(unsigned level) const { return 12 + shape_.index_bits * (level - 1); }

  /// KVM refuses invalid PDPTEs when the registers are set: these are valid.
  std::uint64_t pdpte() {
    return random_.bit(0, 90) | (random_.next() & (bits(4, 3) | bits(11, 9))) | table(3);
  }

  std::uint64_t reserved_bit(unsigned level, bool page) {
    const unsigned highest = state_.mode == PagingMode::kPae ? 62 : 51;
    if (page && level > 1 && random_.chance(50)) {
      return ept::bit(13 + static_cast<unsigned>(random_.below(page_bits(level) - 13)));
    }
    return ept::bit(state_.maxphyaddr +
                    static_cast<unsigned>(random_.below(highest + 1 - state_.maxphyaddr)));
  }

  std::uint64_t table(unsigned level) {
    if (random_.chance(1)) return outside(12);
    if (random_.chance(1)) return data_page();
    const bool any = random_.chance(13);
    // The flags that a walk would set in PDPTEs are reserved there, and KVM may load them again.
    const std::uint64_t first = state_.mode == PagingMode::kPae ? 1 : 0;
    std::uint64_t index = 0;
    do {
      index = first + random_.below(Layout::kTableCount - first);
    } while (!any && made_for_level(shape_, index) != level - 1);
    return Layout::kTables + index * 0x1000;
  }
  std::uint64_t data_page() {
    return (Layout::kData + random_.below(Layout::kMemorySize - Layout::kData)) & ~bits(11, 0);
  }
  /// A page that does not lie in memory, nor below 4 GBytes where a local APIC may be.
  std::uint64_t outside(unsigned page_bits) {
    const unsigned width = state_.mode == PagingMode::k32Bit ? 32 : state_.maxphyaddr;
    const unsigned used = 23 + static_cast<unsigned>(random_.below(width - 22));
    const std::uint64_t page = (random_.next() & ept::low_bits(used)) | ept::bit(used - 1);
    const std::uint64_t base = page & bits(51, page_bits);
    return base >> 32 == 0 && base >= 0xe000'0000 ? base - 0x8000'0000 : base;
  }
  std::uint64_t frame(unsigned level) {
    const std::uint64_t pat = level == 1 ? 0 : random_.bit(12, 20);
    if (random_.chance(15)) return outside(page_bits(level)) | pat;
    if (level == 2) return (random_.chance(80) ? 0x20'0000U : 0U) | pat;
    if (level == 3) return pat;
    return small_frame();
  }
  std::uint64_t small_frame() {
    if (random_.chance(3)) return random_.below(Layout::kScaffoldEnd >> 12) << 12;
    if (random_.chance(12)) return Layout::kTables + random_.below(Layout::kTableCount) * 0x1000;
    return data_page();
  }
  std::uint64_t frame32(unsigned level) {
    if (level == 1) return random_.chance(15) ? outside(12) : small_frame();
    // PSE-36: bits 20:13 are address bits 39:32, bit 21 is reserved.
    const std::uint64_t high = random_.chance(15) ? random_.bit(13, 25) | random_.bit(14, 25) |
                                                        random_.bit(15, 25) | random_.bit(16, 25)
                                                  : 0;
    const std::uint64_t higher =
        random_.chance(4) ? ept::bit(17 + static_cast<unsigned>(random_.below(5))) : 0;
    return (random_.chance(15) ? outside(22) : 0) | random_.bit(12, 20) | high | higher;
  }

  Random& random_;
  const PagingState& state_;
  bool amd_;
  Shape shape_;
};

}  // namespace

PagingState random_state(Random& random, PagingMode mode, const Features& features) {
  PagingState state;
  state.mode = mode;
  state.cr3 = Layout::kTables | (random.next() & bits(4, 3));
  state.wp = random.chance(60);
  state.pse = random.chance(80);
  state.smep = features.smep && random.chance(50);
  state.smap = features.smap && random.chance(50);
  state.ac = random.chance(50);
  state.nxe = features.nx && random.chance(75);
  state.pke =
      features.pku && mode != PagingMode::k32Bit && mode != PagingMode::kPae && random.chance(50);
  if (state.pke) state.pkru = static_cast<std::uint32_t>(random.next());
  state.pks =
      features.pks && mode != PagingMode::k32Bit && mode != PagingMode::kPae && random.chance(50);
  if (state.pks) state.pkrs = static_cast<std::uint32_t>(random.next());
  state.pse36 = features.pse36;
  state.page1gb = features.page1gb;
  state.maxphyaddr = features.maxphyaddr;
  return state;
}

void fill_tables(Random& random, const PagingState& state, bool amd, GuestMemory& memory) {
  const Shape shape = shape_of(state.mode);
  EntryGenerator generator(random, state, amd);
  const auto fill = [&](std::uint64_t table, unsigned level) {
    for (std::uint64_t at = table; at != table + 0x1000; at += shape.entry_size) {
      const std::uint64_t entry = generator.entry(level);
      if (shape.entry_size == 4) {
        memory.store(at, static_cast<std::uint32_t>(entry));
      } else {
        memory.store(at, entry);
      }
    }
  };
  if (state.mode == PagingMode::kPae) fill(Layout::kScaffoldTables, 2);
  for (std::uint64_t index = 0; index != Layout::kTableCount; ++index) {
    fill(Layout::kTables + index * 0x1000, made_for_level(shape, index));
  }
  link_scaffold(memory, state.mode);
}

void load_pdptes(PagingState& state, GuestMemory& memory) {
  if (state.mode == PagingMode::kPae) (void)ept::read_pdptes(memory, state.cr3, state.pdptes);
}

std::uint64_t random_linear(Random& random, const PagingState& state) {
  const unsigned width = shape_of(state.mode).linear_bits;
  const std::uint64_t low = random.next() & ept::low_bits(width);
  if (width == 32) return low;
  const bool high_half = (low >> (width - 1) & 1) != 0;
  const std::uint64_t sign = high_half ? ~ept::low_bits(width) : 0;
  if (!random.chance(2)) return low | sign;
  return low | (sign ^ ept::bit(width + static_cast<unsigned>(random.below(64 - width))));
}

}  // namespace nestor::emu::native
