// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>

#include "ept/access.h"
#include "ept/address.h"
#include "ept/descent.h"
#include "ept/flags.h"
#include "ept/memory.h"
#include "ept/pae.h"
#include "ept/paging_mode.h"
#include "ept/pt32.h"
#include "ept/pt64.h"
#include "ept/recorder.h"

namespace nestor::ept {

/// Bits of a page-fault error code: SDM volume 3A, "Interrupt 14--Page-Fault Exception (#PF)".
struct PageFaultCode {
  static constexpr std::uint32_t kPresent = 1U << 0;
  static constexpr std::uint32_t kWrite = 1U << 1;
  static constexpr std::uint32_t kUser = 1U << 2;
  static constexpr std::uint32_t kReserved = 1U << 3;
  static constexpr std::uint32_t kFetch = 1U << 4;
  static constexpr std::uint32_t kProtectionKey = 1U << 5;
};

/// What the paging structures, taken together, allow. Its initial values are those of CR0.PG = 0.
struct LinearRights {
  bool writable = true;    ///< R/W is 1 in every entry.
  bool user = true;        ///< U/S is 1 in every entry: a user-mode address.
  bool executable = true;  ///< XD is 0 in every entry.
  std::uint8_t protection_key = 0;

  constexpr bool operator==(const LinearRights&) const = default;
  template <class Archive>
  constexpr void fields(Archive& archive) {
    archive(writable, user, executable, protection_key);
    archive.require(protection_key < 16);
  }
};

/// Whether a protection key forbids the access: SDM volume 3A, "Protection Keys".
[[nodiscard]] constexpr bool protection_key_denies(const LinearRights& rights,
                                                   const PagingState& state, Access access) {
  if (state.mode != PagingMode::k4Level && state.mode != PagingMode::k5Level) return false;
  if (access.kind == Access::kFetch || !(rights.user ? state.pke : state.pks)) return false;
  const std::uint32_t key = (rights.user ? state.pkru : state.pkrs) >> (2 * rights.protection_key);
  const bool access_disabled = (key & 1) != 0;
  const bool write_disabled = (key & 2) != 0;
  return access_disabled || (write_disabled && access.kind == Access::kWrite &&
                             (state.wp || (rights.user && access.user_mode())));
}

/// Whether the mode, SMEP, SMAP, WP, XD and protection keys permit the access. A caller that caches
/// a translation asks this again for another kind of access. With paging off everything is allowed.
/// Source: SDM volume 3A, "Determination of Access Rights".
[[nodiscard]] constexpr bool permits(const LinearRights& rights, const PagingState& state,
                                     Access access) {
  if (state.mode == PagingMode::kNone) return true;
  if (protection_key_denies(rights, state, access)) return false;
  if (access.user_mode()) {
    if (!rights.user) return false;
    switch (access.kind) {
      case Access::kRead:
        return true;
      case Access::kWrite:
        return rights.writable;
      case Access::kFetch:
        return rights.executable;
    }
  }
  if (access.kind == Access::kFetch) return rights.executable && !(rights.user && state.smep);
  const bool exempt_from_smap = state.ac && !access.implicit_supervisor;
  if (rights.user && state.smap && !exempt_from_smap) return false;
  return access.kind == Access::kRead || rights.writable || !state.wp;
}

enum class LinearOutcome : std::uint8_t {
  kTranslated,
  kPageFault,
  /// Memory could not deliver or update the entry at `entry_address`.
  kUnreachable,
};

/// A translation of a linear address to an address of type `Output`, or why there is none.
template <AnyAddress Output>
struct LinearWalk {
  LinearOutcome outcome = LinearOutcome::kUnreachable;
  /// log2 of the page size: 12, 21, 22 or 30; 30 with paging off. 0: no translation.
  std::uint8_t page_bits = 0;
  /// A write would not have to set the dirty flag: a cached translation may grant writes.
  bool dirty = false;
  bool global = false;         ///< G of the entry that maps the page.
  std::uint8_t pat_index = 0;  ///< PAT, PCD and PWT of that entry.
  LinearRights rights{};
  std::uint32_t error_code = 0;  ///< Of the page fault; see `PageFaultCode`.
  WalkCounts counts{};
  Output address{};        ///< kTranslated: what the linear address translates to.
  Output entry_address{};  ///< The last entry used; zero if there was none.

  [[nodiscard]] constexpr bool translated() const { return outcome == LinearOutcome::kTranslated; }
};

namespace internal {

[[nodiscard]] constexpr std::uint32_t page_fault_code(const PagingState& state, Access access,
                                                      std::uint32_t cause) {
  const bool reports_fetch = state.smep || (state.nxe && state.mode != PagingMode::k32Bit);
  return cause | (access.kind == Access::kWrite ? PageFaultCode::kWrite : 0) |
         (access.user_mode() ? PageFaultCode::kUser : 0) |
         (access.kind == Access::kFetch && reports_fetch ? PageFaultCode::kFetch : 0);
}

template <class F>
[[nodiscard]] constexpr LinearRights linear_rights(std::uint64_t combined, std::uint64_t entry) {
  LinearRights rights{(combined & F::kWritable) != 0, (combined & F::kUser) != 0,
                      (combined & F::kExecuteDisable) != 0, 0};
  if constexpr (requires { F::protection_key(entry); }) {
    rights.protection_key = F::protection_key(entry);
  }
  return rights;
}
static_assert((OrdinaryEntry::kInverted & OrdinaryEntry::kExecuteDisable) != 0,
              "combined rights hold execute permission in the place of execute disable");

template <class F, class Effects, EntryReader M, Recorder R>
[[nodiscard]] constexpr LinearWalk<typename M::Address> walk_format(M& memory,
                                                                    const PagingState& state,
                                                                    std::uint64_t root,
                                                                    LinearAddress linear,
                                                                    Access access, R& recorder) {
  using Output = typename M::Address;
  LinearWalk<Output> walk;
  const typename F::Rules rules(state);
  const auto allows = [&](const Descent& at, std::uint64_t) {
    return permits(linear_rights<F>(at.rights, at.entry), state, access);
  };
  const Descent end =
      descend<F, Effects>(memory, root, linear.value, rules, access.kind == Access::kWrite, allows,
                          walk.counts, recorder);
  walk.entry_address = Output{end.address};
  switch (end.end) {
    case DescentEnd::kPage: {
      const unsigned size = F::page_bits(end.level);
      walk.outcome = LinearOutcome::kTranslated;
      walk.address = Output{F::page_address(end.entry, end.level) | linear.page_offset(size)};
      walk.page_bits = static_cast<std::uint8_t>(size);
      walk.rights = linear_rights<F>(end.rights, end.entry);
      walk.dirty = (end.entry & F::Flags::kDirty) != 0;
      walk.global = (end.entry & F::kGlobal) != 0;
      walk.pat_index = F::pat_index(end.entry, end.level);
      break;
    }
    case DescentEnd::kDenied: {
      walk.outcome = LinearOutcome::kPageFault;
      walk.rights = linear_rights<F>(end.rights, end.entry);
      const bool by_key = protection_key_denies(walk.rights, state, access);
      walk.error_code = page_fault_code(
          state, access, PageFaultCode::kPresent | (by_key ? PageFaultCode::kProtectionKey : 0));
      break;
    }
    case DescentEnd::kNotPresent:
      walk.outcome = LinearOutcome::kPageFault;
      walk.error_code = page_fault_code(state, access, 0);
      break;
    case DescentEnd::kMalformed:
      walk.outcome = LinearOutcome::kPageFault;
      walk.error_code =
          page_fault_code(state, access, PageFaultCode::kPresent | PageFaultCode::kReserved);
      break;
    case DescentEnd::kUnreachable:
      break;
  }
  return walk;
}

}  // namespace internal

/// Translates `linear` through the paging structures in `memory`, and sets their accessed and dirty
/// flags as the access requires (with `ProbeOnly`: writes nothing).
///
/// The caller has checked segment limits and that `linear` is canonical; outside 64-bit modes bits
/// 63:32 are ignored.
template <class Effects = UpdateFlags, EntryReader M, Recorder R>
[[nodiscard]] constexpr LinearWalk<typename M::Address> walk_linear(M& memory,
                                                                    const PagingState& state,
                                                                    LinearAddress linear,
                                                                    Access access, R& recorder) {
  using Output = typename M::Address;
  switch (state.mode) {
    case PagingMode::k4Level:
      return internal::walk_format<Pt64<4>, Effects>(memory, state, Pt64<4>::root(state.cr3),
                                                     linear, access, recorder);
    case PagingMode::k5Level:
      return internal::walk_format<Pt64<5>, Effects>(memory, state, Pt64<5>::root(state.cr3),
                                                     linear, access, recorder);
    case PagingMode::kPae: {
      const std::uint64_t pdpte = state.pdptes[Pae::pdpte_index(linear.value)];
      if ((pdpte & Pae::kPresent) != 0) {
        return internal::walk_format<Pae, Effects>(memory, state, Pae::table_address(pdpte), linear,
                                                   access, recorder);
      }
      LinearWalk<Output> walk;
      walk.outcome = LinearOutcome::kPageFault;
      walk.error_code = internal::page_fault_code(state, access, 0);
      return walk;
    }
    case PagingMode::k32Bit:
      return internal::walk_format<Pt32, Effects>(memory, state, Pt32::root(state.cr3), linear,
                                                  access, recorder);
    case PagingMode::kNone:
      break;
  }
  LinearWalk<Output> walk;
  walk.outcome = LinearOutcome::kTranslated;
  walk.address = Output{linear.value & bits(31, 0)};
  walk.page_bits = 30;
  walk.dirty = true;
  return walk;
}

/// The same without a recorder.
template <class Effects = UpdateFlags, EntryReader M>
[[nodiscard]] constexpr LinearWalk<typename M::Address> walk_linear(M& memory,
                                                                    const PagingState& state,
                                                                    LinearAddress linear,
                                                                    Access access) {
  NoSteps none;
  return walk_linear<Effects>(memory, state, linear, access, none);
}

}  // namespace nestor::ept
