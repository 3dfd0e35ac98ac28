// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/native/ept_generator.h"

#include "ept/bits.h"
#include "ept/ept_format.h"
#include "ept/ordinary_entry.h"
#include "vmx/capabilities.h"

namespace nestor::emu::native {
namespace {

using ept::bit;
using ept::bits;
using ept::EptEntry;
using ept::OrdinaryEntry;

constexpr std::uint64_t kWriteBackType = 6;

class EptEntryGenerator {
 public:
  EptEntryGenerator(Random& random, const ept::EptState& state) : random_(random), state_(state) {}

  std::uint64_t entry(unsigned level) {
    std::uint64_t entry = rights() | random_.bit(8, 50) | random_.bit(9, 50) |
                          (random_.next() & bits(11, 10)) | (random_.next() & bits(63, 52));
    const bool page = level == 1 || (level <= 3 && random_.chance(25));
    if (page) {
      entry |= (random_.chance(94) ? kWriteBackType : random_.below(8))
               << EptEntry::kMemoryTypeShift;
      entry |= random_.bit(6, 50) | (level != 1 || random_.chance(30) ? EptEntry::kPageSize : 0);
    } else if (random_.chance(2)) {
      entry |= bit(3 + static_cast<unsigned>(random_.below(5)));
    }
    entry |= page ? frame(level) : table(level);
    if (random_.chance(2)) entry |= reserved_bit(level, page);
    return entry;
  }

  /// For L2's paging.
  std::uint64_t ordinary() {
    std::uint64_t entry = random_.bit(0, 92) | random_.bit(1, 80) | random_.bit(2, 80) |
                          random_.bit(5, 60) | random_.bit(6, 60) | random_.bit(7, 10);
    entry |= random_.next() & (bits(11, 9) | bits(62, 52));
    entry |= guest_physical() & ~bits(11, 0);
    if (random_.chance(2)) entry |= reserved_bit(1, false);
    return entry;
  }

  /// Any guest-physical address but the scaffold's.
  std::uint64_t guest_physical() {
    const std::uint64_t any = random_.next() & ept::low_bits(state_.maxphyaddr);
    return any >> 30 == scaffold_base(state_.maxphyaddr) >> 30 ? any ^ bit(30) : any;
  }

 private:
  std::uint64_t rights() {
    if (random_.chance(85)) {
      return EptEntry::kRead | random_.bit(1, 85) | random_.bit(2, 85);
    }
    return random_.chance(30) ? 0 : random_.next() & bits(2, 0);
  }
  std::uint64_t reserved_bit(unsigned level, bool page) {
    if (page && level > 1 && random_.chance(50)) {
      return bit(12 + static_cast<unsigned>(random_.below(9 * (level - 1))));
    }
    if (state_.maxphyaddr > 51) return 0;
    return bit(state_.maxphyaddr + static_cast<unsigned>(random_.below(52U - state_.maxphyaddr)));
  }
  std::uint64_t table(unsigned level) {
    if (random_.chance(1)) return data_page();
    const bool any = random_.chance(10);
    std::uint64_t index = 0;
    do {
      index = random_.below(NestedLayout::kTableCount);
    } while (!any && level_of_table(state_, index) != level - 1);
    return address_of_table(index);
  }
  std::uint64_t data_page() {
    constexpr std::uint64_t kPages = (NestedLayout::kMemorySize - NestedLayout::kData) >> 12;
    return NestedLayout::kData + (random_.below(kPages) << 12);
  }
  std::uint64_t frame(unsigned level) {
    if (random_.chance(10)) {
      // Outside memory, and above all that is below 4 GBytes.
      return (bit(32) | (random_.next() & ept::low_bits(state_.maxphyaddr))) &
             ~ept::low_bits(ept::Ept<5>::page_bits(level));
    }
    if (level == 3) return 0;
    if (level == 2) return random_.bit(21, 70);
    if (random_.chance(5)) return random_.below(NestedLayout::kTables >> 12) << 12;
    if (random_.chance(10)) return address_of_table(random_.below(NestedLayout::kTableCount));
    if (random_.chance(10)) return NestedLayout::kPagingData + (random_.below(8) << 12);
    return data_page();
  }

  Random& random_;
  const ept::EptState& state_;
};

}  // namespace

ept::EptState random_ept_state(Random& random, std::uint64_t capabilities, std::uint8_t width) {
  namespace cap = vmx::ept_vpid_cap;
  ept::EptState state;
  state.maxphyaddr = width;
  state.execute_only = (capabilities & cap::kExecuteOnly) != 0;
  state.page2mb = (capabilities & cap::kPages2M) != 0;
  state.page1gb = (capabilities & cap::kPages1G) != 0;
  state.advanced_exit_information = (capabilities & cap::kAdvancedExitInformation) != 0;
  const std::uint64_t levels = (capabilities & cap::kWalkLength5) != 0 && random.chance(50) ? 5 : 4;
  const bool flags = (capabilities & cap::kAccessedDirty) != 0 && random.chance(70);
  state.eptp.value =
      NestedLayout::kTables | (flags ? bit(6) : 0) | (levels - 1) << 3 | kWriteBackType;
  return state;
}

void fill_ept_tables(Random& random, const ept::EptState& state, GuestMemory& memory) {
  EptEntryGenerator generator(random, state);
  for (std::uint64_t index = 0; index != kAllTables; ++index) {
    const unsigned level = level_of_table(state, index);
    for (std::uint64_t offset = 0; offset != 0x1000; offset += 8) {
      memory.store(address_of_table(index) + offset, level == 0 ? 0 : generator.entry(level));
    }
  }
  for (std::uint64_t at = NestedLayout::kPagingData; at != NestedLayout::kMemorySize; at += 8) {
    memory.store(at, generator.ordinary());
  }
  link_nested_scaffold(memory, state);
}

EptQuestion random_ept_question(Random& random, const EptQuestion& about, bool execute) {
  EptEntryGenerator generator(random, about.ept);
  EptQuestion question = about;
  question.path.table = random.chance(20);
  question.path.level = question.path.table ? 2 + static_cast<unsigned>(random.below(2))
                        : random.chance(70) ? 1
                                            : 2 + static_cast<unsigned>(random.below(2));
  const std::uint64_t address = generator.guest_physical();
  const bool large = !question.path.table && question.path.level != 1;
  const unsigned page_bits = ept::Ept<4>::page_bits(question.path.table ? 1 : question.path.level);
  question.path.entry = OrdinaryEntry::kPresent | random.bit(1, 85) | random.bit(2, 85) |
                        random.bit(5, 50) | random.bit(6, 50) |
                        (large ? OrdinaryEntry::kPageSize : 0) |
                        (address & ~ept::low_bits(page_bits));
  question.linear = path_linear(random.next());
  if (large) {
    question.linear =
        (question.linear & ~ept::low_bits(page_bits)) | (address & ept::low_bits(page_bits));
  }
  if (execute) {
    question.linear &= ~std::uint64_t{3};
    if ((question.linear & 0xfff) > 0xfe0) question.linear &= ~std::uint64_t{0x1f};
    question.access =
        ept::Access{random.one_of({ept::Access::kRead, ept::Access::kWrite, ept::Access::kFetch}),
                    about.user, false};
  }
  return question;
}

}  // namespace nestor::emu::native
