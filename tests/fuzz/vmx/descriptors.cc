// SPDX-License-Identifier: GPL-2.0-or-later
#include "tests/fuzz/vmx/descriptors.h"

#include <array>

#include "vmx/cpu_state.h"

namespace nestor::fuzz {
namespace {

using vmx::Field;

constexpr uint64_t descriptor(uint64_t base, uint64_t limit, uint64_t rights) {
  return (limit & 0xffff) | (base & 0xffffff) << 16 | (rights & 0xff) << 40 |
         (limit >> 16 & 0xf) << 48 | (rights >> 12 & 0xf) << 52 | (base >> 24 & 0xff) << 56;
}

constexpr uint64_t gate(uint64_t offset, uint16_t selector, uint64_t parameters, uint64_t rights) {
  return (offset & 0xffff) | uint64_t{selector} << 16 | parameters << 32 | (rights & 0xff) << 40 |
         (offset >> 16 & 0xffff) << 48;
}

bool is_long(const Draft& draft) { return draft.vmcs().has(vmx::VmEntryControl::kIa32eModeGuest); }

uint64_t random_level(Random& random) {
  constexpr std::array<uint64_t, 8> kLevels = {0, 0, 0, 3, 3, 3, 1, 2};
  return random.of(kLevels);
}

uint16_t random_rpl(Draft& draft) {
  const auto cpl = draft.get(Field::kGuestSsAccessRights) >> 5 & 3;
  return static_cast<uint16_t>(draft.random.one_in(3) ? draft.random.below(4) : cpl);
}

struct Limit {
  uint64_t value, granularity;
};
constexpr std::array kLimits = {Limit{0xfffff, 1}, Limit{0xfffff, 1}, Limit{0xffff, 0},
                                Limit{0xfffff, 0}, Limit{0x3f, 0},    Limit{0, 0},
                                Limit{0x4001, 1},  Limit{0x4000, 1}};

// P, S, DPL and the type; `type` counts from 0, 8 and more: code.
uint64_t segment(Draft& draft, uint64_t type) {
  Random& random = draft.random;
  const bool code = type >= 8;
  const Limit limit = random.of(kLimits);
  uint64_t rights = 0x10 | random_level(random) << 5 | type | limit.granularity << 15;
  if (!random.one_in(10)) rights |= 0x80;
  if (random.one_in(2)) rights |= 0x4000;
  if (code && is_long(draft) && random.one_in(2)) rights = (rights & ~0x4000ull) | 0x2000;
  if (random.one_in(40)) rights |= 0x6000;
  constexpr std::array<uint64_t, 4> kBases = {kArena, kData, kStack - 0x800, kArena - 0x10000};
  const uint64_t base = random.one_in(4) ? random.of(kBases) : 0;
  return descriptor(base, limit.value, rights);
}

uint64_t call_gate(Draft& draft) {
  Random& random = draft.random;
  const uint64_t type = random.one_in(3) && !is_long(draft) ? 4 : 0xc;
  constexpr std::array<uint64_t, 6> kParameters = {0, 0, 1, 2, 5, 31};
  const uint64_t rights =
      (random.one_in(12) ? 0 : 0x80) | (random.one_in(4) ? random_level(random) : 3) << 5 | type;
  return gate(kHandlers + 8 * random.below(32), choose_code_or_gate(draft).selector,
              is_long(draft) ? (random.one_in(20) ? 1 : 0) : random.of(kParameters), rights);
}

uint64_t system_segment(Draft& draft) {
  Random& random = draft.random;
  constexpr std::array<uint64_t, 7> kTypes = {2, 9, 9, 1, 3, 0xb, 5};
  const uint64_t type = random.of(kTypes);
  const uint64_t rights = (random.one_in(8) ? 0 : 0x80) | random_level(random) << 5 | type;
  if (type == 2) return descriptor(kLdt, 8 * random.below(kLdtCount + 1) + 7, rights);
  if (type == 5) return gate(0, choose_selector(draft), 0, rights);
  return descriptor(kTss, random.one_in(4) ? random.below(0x68) : 0x67, rights);
}

// Two words: the second one is the upper half of what has 16 bytes in IA-32e mode.
std::array<uint64_t, 2> random_descriptors(Draft& draft) {
  Random& random = draft.random;
  const auto another = [&] { return segment(draft, random.below(16)); };
  switch (random.below(8)) {
    case 0:
      return {call_gate(draft),
              is_long(draft) ? (random.one_in(8) ? random.bits() : 0) : another()};
    case 1:
      return {system_segment(draft),
              is_long(draft) ? (random.one_in(8) ? random.bits() : 0) : another()};
    case 2:
      // Any type; reserved ones, too.
      return {descriptor(0, 0xfffff, (random.bits() & 0xff) | 0xc000), another()};
    default:
      return {another(), segment(draft, random.one_in(2) ? 8 + random.below(8) : 2)};
  }
}

uint64_t odd_stack(Draft& draft) {
  constexpr std::array<uint64_t, 14> kStacks = {
      kStack + 0xf00, kStack + 0xf00, kStack + 0xf04,   kStack + 8, kStack + 4, kStack, kGdt + 0x10,
      kGdt,           kIdt + 8,       kFirstSpare + 12, kArenaEnd,  4,          0,      0xffffffff};
  if (is_long(draft) && draft.random.one_in(8)) return 0x800000000008;
  return draft.random.of(kStacks);
}

void change_tss(Draft& draft) {
  Random& random = draft.random;
  const bool long_mode = is_long(draft);
  // It may lie across two pages.
  const uint64_t place = random.one_in(4) ? kFirstSpare + kPage - 8 * random.below(14) : kTss;
  if (place != kTss) draft.set(Field::kGuestTrBase, place);
  for (unsigned level = 0; level < 3; ++level) {
    if (long_mode) {
      draft.put(place + 4 + 8 * level, odd_stack(draft));
    } else {
      draft.put(place + 4 + 8 * level, odd_stack(draft), 4);
      draft.put(place + 8 + 8 * level, choose_data_selector(draft), 2);
    }
  }
  draft.put(place + 0x24, odd_stack(draft));  // IST1
  draft.put(place + 0x66, random.one_in(2) ? 0x68 : random.below(0x100), 2);
  if (random.one_in(4)) draft.set(Field::kGuestTrLimit, random.below(0x70));
  if (!long_mode && random.one_in(4)) draft.set(Field::kGuestTrAccessRights, 0x83);
}

// Some vectors lead elsewhere, and software may cause them.
void change_idt(Draft& draft) {
  Random& random = draft.random;
  const bool long_mode = is_long(draft);
  constexpr std::array<uint64_t, 6> kVectors = {0x80, 0x20, 3, 13, 1, 14};
  for (const uint64_t vector : kVectors) {
    if (random.one_in(2)) continue;
    constexpr std::array<uint64_t, 6> kTypes = {0xe, 0xe, 0xf, 6, 7, 5};
    const uint64_t type =
        long_mode && !random.one_in(16) ? random.below(2) + 0xe : random.of(kTypes);
    const uint64_t rights = (random.one_in(12) ? 0 : 0x80) | (random.one_in(4) ? 0 : 0x60) | type;
    const uint16_t selector = random.one_in(3)   ? choose_code_or_gate(draft).selector
                              : long_mode        ? kCode64
                              : random.one_in(4) ? kCode16
                                                 : kCode32;
    draft.put(kIdt + (long_mode ? 16 : 8) * vector,
              gate(kHandlers + 8 * vector, selector,
                   long_mode && random.one_in(3) ? random.below(3) : 0, rights));
  }
}

}  // namespace

uint16_t choose_selector(Draft& draft) {
  Random& random = draft.random;
  constexpr std::array<uint16_t, 12> kFixed = {
      kCode64, kDataSegment,     kCode32,          kTssSelector, kUserCode & ~3, kUserData & ~3,
      kCode16, kUserCode32 & ~3, kUserData16 & ~3, kData16,      kCode16Arena,   kLdtSelector};
  switch (random.below(16)) {
    case 0:
      return static_cast<uint16_t>(random.below(4));  // null
    case 1:
      return static_cast<uint16_t>(random.one_in(2) ? 0xfff8 : kLdtSelector + 8 * random.below(4)) |
             random_rpl(draft);
    case 2:
    case 3:
      return static_cast<uint16_t>(8 * random.below(kLdtCount + 1) | 4 | random_rpl(draft));
    case 4:
    case 5:
      return static_cast<uint16_t>(random.of(kFixed) | random_rpl(draft));
    default:
      return static_cast<uint16_t>((kFirstRandom + 8 * random.below(kRandomCount)) |
                                   random_rpl(draft));
  }
}

uint16_t choose_data_selector(Draft& draft) {
  constexpr std::array<uint16_t, 4> kUsual = {kDataSegment, kUserData, kUserData16, kData16};
  return draft.random.one_in(3) ? choose_selector(draft) : draft.random.of(kUsual);
}

Choice choose_code_or_gate(Draft& draft) {
  constexpr std::array kFixed = {Choice{kCode64, 0},          Choice{kCode32, 0},
                                 Choice{kCode16, 0},          Choice{kUserCode, 0},
                                 Choice{kUserCode32, 0},      Choice{kUserCode16, kArena},
                                 Choice{kCode16Arena, kArena}};
  if (draft.random.one_in(3)) return draft.random.of(kFixed);
  return {choose_selector(draft), 0};
}

void change_descriptors(Draft& draft) {
  Random& random = draft.random;
  // Without accessed flags, but for one of them.
  const std::array<uint64_t, 5> fixed = {
      descriptor(0, 0xfffff, 0xc0fa), descriptor(kArena, 0xffff, 0xfa),
      descriptor(kArena, 0xffff, 0xf2), descriptor(kArena, 0xffff, 0x93),
      descriptor(kArena, 0xffff, 0x9a)};
  for (size_t i = 0; i < fixed.size(); ++i) draft.put(kGdt + 0x48 + 8 * i, fixed[i]);
  for (unsigned i = 0; i < kRandomCount; i += 2) {
    const auto [first, second] = random_descriptors(draft);
    draft.put(kGdt + kFirstRandom + 8ull * i, first);
    draft.put(kGdt + kFirstRandom + 8ull * i + 8, second);
  }
  for (unsigned i = 0; i < kLdtCount; i += 2) {
    const auto [first, second] = random_descriptors(draft);
    draft.put(kLdt + 8ull * i, first);
    draft.put(kLdt + 8ull * i + 8, second);
  }
  draft.put(kGdt + kLdtSelector, descriptor(kLdt, 8 * kLdtCount - 1, 0x82));
  draft.put(kGdt + kLdtSelector + 8, 0);
  draft.set(Field::kGuestGdtrLimit,
            random.one_in(8) ? random.below(kLdtSelector) : kLdtSelector + 15);
  // Those of the base lose theirs.
  constexpr std::array<uint8_t, 9> kRights = {0, 0x9a, 0x92, 0x9a, 0, 0, 0xfa, 0xf2, 0x9a};
  for (size_t i = 0; i < kRights.size(); ++i)
    if (kRights[i] != 0 && random.one_in(2)) draft.put(kGdt + 8 * i + 5, kRights[i], 1);
  if (random.one_in(2)) {
    draft.set(Field::kGuestLdtrSelector, kLdtSelector);
    draft.set(Field::kGuestLdtrBase, kLdt);
    draft.set(Field::kGuestLdtrLimit, 8 * kLdtCount - 1);
    draft.set(Field::kGuestLdtrAccessRights, 0x82);
  }
  if (random.one_in(2)) change_tss(draft);
  if (random.one_in(2)) change_idt(draft);
}

}  // namespace nestor::fuzz
