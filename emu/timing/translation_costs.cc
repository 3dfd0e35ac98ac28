// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/timing/translation_costs.h"

#include <algorithm>

namespace nestor::emu::timing {
namespace {

using ept::MappingKey;
using ept::MappingRole;
using ept::MappingTag;

constexpr unsigned kLevelBits = 9, kPageBits = 12, kLargeBits = 21;
constexpr unsigned kPageSizes[] = {12, 21, 22, 30};

// log2 of what an entry of this level covers.
constexpr unsigned bits_of_level(unsigned level) { return kPageBits + kLevelBits * (level - 1); }

MappingKey key_of(const MappingTag& tag, MappingRole role, bool global, unsigned size_bits,
                  uint64_t address) {
  return {tag, role, global, static_cast<uint8_t>(size_bits),
          address & ~((uint64_t{1} << size_bits) - 1)};
}

MappingTag guest_physical_tag(const MappingTag& tag) {
  return {.kind = ept::MappingKind::kGuestPhysical, .ept_root = tag.ept_root};
}

TranslationFor reason_of(const TimedWalk& walked) {
  if (walked.fetch) return TranslationFor::kFetch;
  return walked.write ? TranslationFor::kStore : TranslationFor::kLoad;
}

// A walk that has led to a page of this size.
TranslationEvent completed_event(unsigned page_bits) {
  if (page_bits >= 30) return TranslationEvent::kWalked1G;
  return page_bits > kPageBits ? TranslationEvent::kWalked2M : TranslationEvent::kWalked4K;
}

// A global translation belongs to all PCIDs.
bool is_for(const MappingKey& key, const MappingTag& tag) {
  MappingTag other = tag;
  if (key.global) other.pcid = key.tag.pcid;
  return key.tag == other;
}

}  // namespace

TranslationCosts::TranslationCosts(const Processor& processor, Caches& caches)
    : processor_(processor),
      caches_(caches),
      instructions_{Tlb(processor.memory.instruction_tlb),
                    Tlb(processor.memory.large_instruction_tlb), Tlb({1, 0})},
      data_{Tlb(processor.memory.data_tlb), Tlb(processor.memory.large_data_tlb),
            Tlb(processor.memory.huge_data_tlb)},
      second_(processor.memory.second_tlb),
      huge_second_(processor.memory.huge_second_tlb),
      tables_(processor.memory),
      guest_tables_(processor.memory),
      guest_pages_(processor.memory.nested_tlb) {}

TranslationCosts::Entry* TranslationCosts::find(Tlb& tlb, const MappingTag& tag, uint64_t address,
                                                unsigned size_bits) {
  return tlb.find(address >> size_bits, [&](const Entry& entry) {
    return entry.key.size_bits == size_bits && entry.key.covers(address) && is_for(entry.key, tag);
  });
}

TranslationCosts::Entry* TranslationCosts::find_first(Level& level, const MappingTag& tag,
                                                      uint64_t address) {
  for (const unsigned size_bits : kPageSizes) {
    if (Entry* entry = find(level.of(size_bits), tag, address, size_bits)) {
      note_used(level, *entry, address);
      return entry;
    }
  }
  return nullptr;
}

TranslationCosts::Entry* TranslationCosts::find_second(const MappingTag& tag, uint64_t address) {
  for (const unsigned size_bits : kPageSizes) {
    Tlb& tlb = size_bits >= 30 ? huge_second_ : second_;
    if (Entry* entry = find(tlb, tag, address, size_bits)) return entry;
  }
  return nullptr;
}

void TranslationCosts::keep(Tlb& tlb, const MappingKey& key, bool dirty, uint64_t physical) {
  if (Entry* entry = find(tlb, key.tag, key.input, key.size_bits)) {
    entry->dirty = dirty;
    entry->physical = physical;
    return;
  }
  tlb.insert(key.input >> key.size_bits, {key, dirty, physical});
}

// Whatever was used last in the same set before is not any more.
void TranslationCosts::note_used(const Level& level, const Entry& entry, uint64_t address) {
  if (&level != &data_ || entry.key.size_bits > kLargeBits + 1) return;
  const bool small = entry.key.size_bits == kPageBits;
  const uint64_t page = address >> entry.key.size_bits;
  Recent& recent = (small ? recent_ : recent_large_)[page % kRecent];
  const bool usable = entry.key.size_bits != kLargeBits + 1 && is_for(entry.key, selected_) &&
                      entry.physical != kOutsideRam;
  recent = usable ? Recent{page, entry.physical} : Recent{};
}

void TranslationCosts::keep_first(Level& level, const Entry& entry) {
  keep(level.of(entry.key.size_bits), entry.key, entry.dirty, entry.physical);
  note_used(level, entry, entry.key.input);
}

std::optional<TranslationCosts::Found> TranslationCosts::look_up(uint64_t linear,
                                                                 TranslationFor reason) {
  Level& first = reason == TranslationFor::kFetch ? instructions_ : data_;
  const auto found = [linear](const Entry& entry, uint16_t cycles) {
    const uint64_t offset = linear & ((uint64_t{1} << entry.key.size_bits) - 1);
    return Found{entry.physical == kOutsideRam ? kOutsideRam : entry.physical | offset, cycles};
  };
  if (const Entry* entry = find_first(first, selected_, linear)) return found(*entry, 0);
  const Entry* entry = find_second(selected_, linear);
  if (entry == nullptr) return std::nullopt;
  ++counts_->first_level_misses;
  ++counts_->events.of(reason, TranslationEvent::kSecondLevelHit);
  keep_first(first, *entry);
  return found(*entry, processor_.memory.second_tlb_cycles);
}

uint64_t TranslationCosts::translate(const TimedWalk& walked) {
  // A processor walks once more before it faults.
  if (walked.page_bits == 0) return count_walk(walked);
  Level& first = walked.fetch ? instructions_ : data_;
  const auto serves = [&walked](const Entry* entry) {
    return entry != nullptr && (!walked.write || entry->dirty);
  };
  if (serves(find_first(first, walked.tag, walked.linear))) return 0;
  ++counts_->first_level_misses;
  if (const Entry* entry = find_second(walked.tag, walked.linear); serves(entry)) {
    ++counts_->events.of(reason_of(walked), TranslationEvent::kSecondLevelHit);
    keep_first(first, *entry);
    return processor_.memory.second_tlb_cycles;
  }
  const uint64_t cycles = count_walk(walked);
  const MappingKey key =
      key_of(walked.tag, MappingRole::kTranslation, walked.global, walked.page_bits, walked.linear);
  const uint64_t offset = walked.linear - key.input;
  const uint64_t physical = walked.physical == kOutsideRam ? kOutsideRam : walked.physical - offset;
  keep_first(first, {key, walked.dirty, physical});
  keep(walked.page_bits >= 30 ? huge_second_ : second_, key, walked.dirty, physical);
  return cycles;
}

uint64_t TranslationCosts::count_walk(const TimedWalk& walked) {
  const uint64_t cycles = walk(walked);
  ++counts_->walks;
  counts_->cycles += cycles;
  const TranslationFor reason = reason_of(walked);
  ++counts_->events.of(reason, TranslationEvent::kWalk);
  counts_->events.of(reason, TranslationEvent::kWalkCycles) += cycles;
  if (walked.page_bits != 0) ++counts_->events.of(reason, completed_event(walked.page_bits));
  return cycles;
}

// The level at which a walk goes on from the lowest table that is cached.
unsigned TranslationCosts::cached_level(Structures& tables, const MappingTag& tag, uint64_t address,
                                        unsigned top) {
  for (unsigned level = 1; level < top; ++level) {
    Tlb* const cache = tables.of(level + 1);
    if (cache != nullptr && find(*cache, tag, address, bits_of_level(level + 1)) != nullptr)
      return level;
  }
  return top;
}

// An entry of this level was read, and has led to another table.
void TranslationCosts::keep_table(Structures& tables, const MappingTag& tag, uint64_t address,
                                  unsigned level) {
  Tlb* const cache = tables.of(level);
  if (cache == nullptr) return;
  keep(*cache, key_of(tag, MappingRole::kTable, false, bits_of_level(level), address));
}

uint64_t TranslationCosts::reference(uint64_t machine_address) {
  ++counts_->references;
  return cycles_of(caches_.use_data(machine_address >> kLineBits), processor_.memory);
}

// `steps` translate the guest-physical address.
uint64_t TranslationCosts::walk_ept(const MappingTag& tag, std::span<const ept::Step> steps,
                                    uint64_t address, bool completed) {
  if (steps.empty()) return 0;
  for (const unsigned size_bits : kPageSizes)
    if (find(guest_pages_, tag, address, size_bits) != nullptr) return 0;
  const unsigned from = cached_level(guest_tables_, tag, address, steps.front().level);
  const unsigned leaf = steps.back().level;
  uint64_t cycles = 0;
  for (const ept::Step& step : steps) {
    if (step.level > from) continue;
    cycles += reference(step.machine_address);
    if (step.level > leaf) keep_table(guest_tables_, tag, address, step.level);
  }
  counts_->events.ept_walk_cycles += cycles;
  if (completed)
    keep(guest_pages_, key_of(tag, MappingRole::kTranslation, false, bits_of_level(leaf), address));
  return cycles;
}

uint64_t TranslationCosts::walk(const TimedWalk& walked) {
  const MappingTag guest_tag = guest_physical_tag(walked.tag);
  const auto is_guest = [](const ept::Step& step) {
    return step.dimension == ept::Dimension::kGuest;
  };
  uint64_t cycles = processor_.memory.walk_cycles;
  std::span<const ept::Step> rest = walked.steps;
  const auto first = std::ranges::find_if(rest, is_guest);
  unsigned from = 0, leaf = 0, top = 0;
  if (first != rest.end()) {
    top = first->level;
    from = cached_level(tables_, walked.tag, walked.linear, first->level);
    for (const ept::Step& step : rest)
      if (is_guest(step)) leaf = step.level;
  }
  for (;;) {
    const auto at = static_cast<size_t>(std::ranges::find_if(rest, is_guest) - rest.begin());
    if (at == rest.size()) break;
    const ept::Step& entry = rest[at];
    if (entry.level <= from) {
      // Combined paging-structure-cache entries have the physical address of the table, so that no
      // walk of EPT leads to it ("Information That May Be Cached", combined mappings).
      const bool known = entry.level == from && from != top;
      if (!known) cycles += walk_ept(guest_tag, rest.first(at), entry.address, true);
      cycles += reference(entry.machine_address);
      if (entry.level > leaf) keep_table(tables_, walked.tag, walked.linear, entry.level);
    }
    rest = rest.subspan(at + 1);
  }
  return cycles + walk_ept(guest_tag, rest, walked.guest_physical, walked.page_bits != 0);
}

void TranslationCosts::invalidate(const ept::Invalidation& what) {
  if (what.kind == ept::Invalidation::Kind::kAccessRights) return;
  const auto goes = [&what](const Entry& entry) { return ept::invalidates(what, entry.key); };
  for (Tlb* tlb : all()) tlb->erase(goes);
  forget_recent();
}

}  // namespace nestor::emu::timing
