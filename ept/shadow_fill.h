// SPDX-License-Identifier: MIT
//
// Filling shadow tables: one page at a time, when an access has missed it.
#pragma once

#include <algorithm>
#include <concepts>
#include <cstdint>

#include "ept/access.h"
#include "ept/address.h"
#include "ept/ept_walk.h"
#include "ept/linear_walk.h"
#include "ept/memory.h"
#include "ept/shadow_tables.h"

namespace nestor::ept {

/// Machine memory behind a page of the memory that a hypervisor gave its guest.
struct BackingPage {
  HostPhysicalAddress address{};  ///< Of the byte asked for.
  std::uint8_t page_bits = 12;    ///< log2 of the size of the page around it: 12, 21 or 30.
  bool write = true;              ///< The page may be written; it can always be read and executed.
  MemoryType memory_type = MemoryType::kWriteBack;
};

/// Where the guest's physical memory lies in the machine: EPT01, or what stands for it.
/// `backing(address, write, page)` finds the page of an access; false: there is none, or it must
/// not be written.
template <class B>
concept Backing = requires(B& b, PhysicalAddress address, bool write, BackingPage& page) {
  { b.backing(address, write, page) } -> std::same_as<bool>;
};

enum class FillOutcome : std::uint8_t {
  kFilled,
  kPageFault,         ///< Linear: the guest's own #PF, with `error_code`.
  kViolation,         ///< EPT: the guest's EPT forbids the access; `exit_qualification` says how.
  kMisconfiguration,  ///< EPT: an entry of the guest's EPT is malformed.
  kNotBacked,         ///< No memory, or none that may be written, behind `unbacked`.
  kNoTables,          ///< The pool is empty: clear some tables and fill again.
};

/// What became of one fill.
struct Fill {
  FillOutcome outcome = FillOutcome::kFilled;
  std::uint8_t page_bits = 12;           ///< kFilled: size of the page that was mapped.
  bool newly_dirty = false;              ///< The guest's entry got its dirty flag by this access.
  std::uint32_t error_code = 0;          ///< kPageFault
  std::uint64_t exit_qualification = 0;  ///< kViolation: bits 11:0.
  PhysicalAddress unbacked{};            ///< kNotBacked
  WalkCounts counts{};                   ///< Entries of the guest's tables that were read.
};

/// The stricter of two EPT memory types: of a page that one dimension wants uncacheable nothing is
/// cached; otherwise what the guest asks for holds.
[[nodiscard]] constexpr MemoryType combined_ept_type(MemoryType guest, MemoryType backing) {
  return backing == MemoryType::kUncacheable ? MemoryType::kUncacheable : guest;
}

/// One page of EPT02 = EPT12 over EPT01: walks the guest's EPT (EPT12, in `guest_memory`, with the
/// state `ept12`) for an access to `input`, sets its accessed and dirty flags, and maps the page
/// in `tables` with the rights of both dimensions. Write access waits for the dirty flag.
///
/// A read or update of `guest_memory` that fails is reported as kNotBacked at `input`'s entry.
template <EntryMemory M, Backing B, TablePool P>
requires std::same_as<typename M::Address, PhysicalAddress>
[[nodiscard]] constexpr Fill fill_shadow_ept(M& guest_memory, const EptState& ept12, B& machine,
                                             ShadowTables<ShadowEptFormat, P>& tables,
                                             GuestPhysicalAddress input, EptAccess access) {
  using E = EptEntry;
  Fill fill;
  const EptWalk<PhysicalAddress> walk = walk_ept(guest_memory, ept12, input, access);
  fill.counts = walk.counts;
  switch (walk.outcome) {
    case EptOutcome::kTranslated:
      break;
    case EptOutcome::kViolation:
      fill.outcome = FillOutcome::kViolation;
      fill.exit_qualification = walk.exit_qualification;
      return fill;
    case EptOutcome::kUnreachable:
      fill.outcome = FillOutcome::kNotBacked;
      fill.unbacked = walk.entry_address;
      return fill;
    case EptOutcome::kSubPageEvent:  // such permissions cannot be shadowed, and are not offered
    case EptOutcome::kMisconfiguration:
      fill.outcome = FillOutcome::kMisconfiguration;
      return fill;
  }
  fill.newly_dirty = walk.newly_dirty;
  const bool writes = effective_access(ept12, access).write;
  BackingPage page;
  if (!machine.backing(walk.address, writes, page)) {
    fill.outcome = FillOutcome::kNotBacked;
    fill.unbacked = walk.address;
    return fill;
  }
  fill.page_bits = std::min(walk.page_bits, page.page_bits);
  const bool write = walk.rights.write && walk.dirty && page.write;
  const MemoryType type = combined_ept_type(walk.memory_type, page.memory_type);
  const std::uint64_t leaf =
      page.address.page_base(fill.page_bits).value | (walk.rights.read ? E::kRead : 0) |
      (write ? E::kWrite : 0) | (walk.rights.execute ? E::kExecute : 0) |
      (walk.rights.execute_user ? E::kExecuteUser : 0) |
      static_cast<std::uint64_t>(type) << E::kMemoryTypeShift |
      (walk.ignore_pat ? E::kIgnorePat : 0) | (fill.page_bits > 12 ? E::kPageSize : 0);
  if (!tables.map(input.value, fill.page_bits, leaf)) fill.outcome = FillOutcome::kNoTables;
  return fill;
}

/// One page of shadow page tables: walks the guest's paging structures (in `guest_memory`, with the
/// state `paging`) for an access to `linear`, sets their accessed and dirty flags, and maps the
/// page in `tables`.
///
/// The processor runs on the shadow tables with CR0.WP = 1, whatever the guest's is. A supervisor
/// write to a read-only page with CR0.WP = 0 gets a writable page that user mode cannot reach (and
/// that cannot be executed, if SMEP forbids it of the user's page); the user's own access brings
/// the read-only page back. Until then SMAP does not guard the page.
template <class F, EntryMemory M, Backing B, TablePool P>
requires std::same_as<typename M::Address, PhysicalAddress>
[[nodiscard]] constexpr Fill fill_shadow_paging(M& guest_memory, const PagingState& paging,
                                                B& machine, ShadowTables<F, P>& tables,
                                                LinearAddress linear, Access access) {
  Fill fill;
  const LinearWalk<PhysicalAddress> walk = walk_linear(guest_memory, paging, linear, access);
  fill.counts = walk.counts;
  if (!walk.translated()) {
    fill.outcome = walk.outcome == LinearOutcome::kPageFault ? FillOutcome::kPageFault
                                                             : FillOutcome::kNotBacked;
    fill.error_code = walk.error_code;
    fill.unbacked = walk.entry_address;
    return fill;
  }
  const bool writes = access.kind == Access::kWrite;
  BackingPage page;
  if (!machine.backing(walk.address, writes, page)) {
    fill.outcome = FillOutcome::kNotBacked;
    fill.unbacked = walk.address;
    return fill;
  }
  // 4-MByte pages of 32-bit paging are mapped in halves; with paging off there is no size.
  fill.page_bits = std::min(walk.page_bits, page.page_bits);
  if (fill.page_bits > 12 && fill.page_bits < 21) fill.page_bits = 12;
  if (fill.page_bits > 21) fill.page_bits = 21;

  const bool overrides_wp = writes && !walk.rights.writable && !access.user_mode();
  const bool writable = (walk.rights.writable && walk.dirty) || overrides_wp;
  const bool user = walk.rights.user && !overrides_wp;
  const bool executable =
      walk.rights.executable && !(overrides_wp && walk.rights.user && paging.smep);
  const bool uncached = page.memory_type == MemoryType::kUncacheable;
  const std::uint64_t leaf = page.address.page_base(fill.page_bits).value | F::kPresent |
                             F::Flags::kAccessed | F::Flags::kDirty |
                             (writable && page.write ? F::kWritable : 0) | (user ? F::kUser : 0) |
                             (executable ? 0 : F::kExecuteDisable) |
                             (uncached || (walk.pat_index & 1) != 0 ? F::kWriteThrough : 0) |
                             (uncached || (walk.pat_index & 2) != 0 ? F::kCacheDisable : 0) |
                             (fill.page_bits > 12 ? F::kPageSize : 0);
  if (!tables.map(linear.value, fill.page_bits, leaf)) fill.outcome = FillOutcome::kNoTables;
  return fill;
}

}  // namespace nestor::ept
