// SPDX-License-Identifier: MIT
#pragma once

#include <concepts>
#include <cstdint>

#include "ept/access.h"
#include "ept/address.h"
#include "ept/descent.h"
#include "ept/ept_format.h"
#include "ept/flags.h"
#include "ept/memory.h"
#include "ept/memory_type.h"
#include "ept/paging_mode.h"
#include "ept/recorder.h"
#include "ept/sub_page.h"

namespace nestor::ept {

/// Bits of the exit qualification: SDM, "Exit Qualification for EPT Violations". Bit 12, "NMI
/// unblocking due to IRET", belongs to whoever knows the instruction.
struct EptQualification {
  static constexpr std::uint64_t kRead = bit(0);
  static constexpr std::uint64_t kWrite = bit(1);
  static constexpr std::uint64_t kFetch = bit(2);
  static constexpr std::uint64_t kReadable = bit(3);
  static constexpr std::uint64_t kWriteable = bit(4);
  static constexpr std::uint64_t kExecutable = bit(5);
  static constexpr std::uint64_t kUserExecutable = bit(6);
  static constexpr std::uint64_t kLinearValid = bit(7);
  static constexpr std::uint64_t kLinearTranslated = bit(8);
  static constexpr std::uint64_t kLinearUser = bit(9);
  static constexpr std::uint64_t kLinearWritable = bit(10);
  static constexpr std::uint64_t kLinearExecuteDisable = bit(11);
  static constexpr std::uint64_t kNmiUnblocking = bit(12);
  static constexpr std::uint64_t kGuestPagingVerification = bit(15);
};

/// The exit qualification of an SPP-related event: SDM, "Basic VM-Exit Information". Bit 12 is as
/// in `EptQualification`.
struct SubPageQualification {
  static constexpr std::uint64_t kMiss = bit(11);  ///< 0: an SPP misconfiguration.
};

static_assert(EptQualification::kReadable == EptEntry::kRead << 3 &&
                  EptQualification::kExecutable == EptEntry::kExecute << 3,
              "bits 5:3 are bits 2:0 of the entries");

/// What the EPT paging structures, taken together, allow.
struct EptRights {
  bool read = false;
  bool write = false;
  /// Instruction fetches; with mode-based execute control those from supervisor-mode addresses.
  bool execute = false;
  /// Instruction fetches from user-mode addresses; equals `execute` without that control.
  bool execute_user = false;

  constexpr bool operator==(const EptRights&) const = default;
  template <class Archive>
  constexpr void fields(Archive& archive) {
    archive(read, write, execute, execute_user);
  }
};

enum class EptOutcome : std::uint8_t {
  kTranslated,
  kViolation,
  kMisconfiguration,
  /// Memory could not deliver or update the entry at `entry_address`, or one of the tables of
  /// sub-page write permissions.
  kUnreachable,
  /// An SPP-related event: a miss or a misconfiguration in those tables.
  kSubPageEvent,
};

/// A translation of a guest-physical address to an address of type `Output`, or why there is none.
template <AnyAddress Output>
struct EptWalk {
  EptOutcome outcome = EptOutcome::kUnreachable;
  std::uint8_t page_bits = 0;  ///< log2 of the page size: 12, 21 or 30. 0: no translation.
  /// A write would not have to set the dirty flag, or flags are disabled: a cached translation may
  /// grant writes.
  bool dirty = false;
  /// The access changed the dirty flag from 0 to 1: a page-modification log records it.
  bool newly_dirty = false;
  MemoryType memory_type = MemoryType::kUncacheable;  ///< EPT memory type of the page.
  bool ignore_pat = false;                            ///< Bit 6 of the entry that maps the page.
  /// Guest paging may update its entries in the page: accessed and dirty flags may be written.
  bool paging_write = false;
  /// "EPT paging-write control" is 1, and so is bit 58 of the entry that maps the page.
  bool paging_write_bit = false;
  /// A write that only sub-page write permissions allow: another write may not be.
  bool by_sub_page = false;
  /// An EPT violation, this one or one by another access to the page, may become a virtualization
  /// exception: "EPT-violation #VE" is 1, and the entry that decides does not suppress it. An
  /// address beyond 4-level EPT has no such entry, and is not convertible.
  bool convertible = false;
  EptRights rights{};
  WalkCounts counts{};
  /// kViolation: bits 15:0 of the exit qualification. kSubPageEvent: the whole one. Otherwise 0.
  std::uint64_t exit_qualification = 0;
  Output address{};        ///< kTranslated: what the guest-physical address translates to.
  Output entry_address{};  ///< The last entry used; zero if there was none.

  [[nodiscard]] constexpr bool translated() const { return outcome == EptOutcome::kTranslated; }
};

/// The access as the permission check sees it: with accessed and dirty flags enabled, an access to
/// a guest paging-structure entry is a write too.
[[nodiscard]] constexpr EptAccess effective_access(const EptState& state, EptAccess access) {
  if (access.purpose == EptPurpose::kPagingEntry && state.eptp.accessed_dirty()) {
    access.write = true;
  }
  return access;
}

/// The entry bits that `access` needs in every entry.
[[nodiscard]] constexpr std::uint64_t needed_rights(const EptState& state,
                                                    const EptAccess& access) {
  const bool user_fetch = state.mode_based_execute && access.linear_user;
  return (access.read ? EptEntry::kRead : 0) | (access.write ? EptEntry::kWrite : 0) |
         (access.fetch ? (user_fetch ? EptEntry::kExecuteUser : EptEntry::kExecute) : 0);
}

/// The exit qualification of a violation by `access`, where `combined` is the AND of the entries
/// used, or 0 if one of them was not present.
[[nodiscard]] constexpr std::uint64_t violation_qualification(const EptState& state,
                                                              const EptAccess& access,
                                                              std::uint64_t combined) {
  using Q = EptQualification;
  const bool linear_valid = access.purpose != EptPurpose::kPdpteLoad;
  const bool linear_translated = access.purpose == EptPurpose::kLinear;
  std::uint64_t q = (access.read ? Q::kRead : 0) | (access.write ? Q::kWrite : 0) |
                    (access.fetch ? Q::kFetch : 0) |
                    (combined & (EptEntry::kRead | EptEntry::kWrite | EptEntry::kExecute)) << 3 |
                    (linear_valid ? Q::kLinearValid : 0) |
                    (linear_translated ? Q::kLinearTranslated : 0);
  if (state.mode_based_execute && (combined & EptEntry::kExecuteUser) != 0) q |= Q::kUserExecutable;
  if (state.advanced_exit_information && linear_translated) {
    q |= (access.linear_user ? Q::kLinearUser : 0) |
         (access.linear_writable ? Q::kLinearWritable : 0) |
         (access.linear_execute_disable ? Q::kLinearExecuteDisable : 0);
  }
  return q;
}

namespace internal {

/// `rights` as entry bits, the inverse of what `walk_ept_format` stores.
[[nodiscard]] constexpr std::uint64_t entry_bits(const EptRights& rights) {
  return (rights.read ? EptEntry::kRead : 0) | (rights.write ? EptEntry::kWrite : 0) |
         (rights.execute ? EptEntry::kExecute : 0) |
         (rights.execute_user ? EptEntry::kExecuteUser : 0);
}

/// Why a page was refused, or allowed although the entries lack a right.
enum class PageVerdict : std::uint8_t {
  kByRights,
  kUnverifiedPaging,
  kAllowedSubPage,
  kSubPageMiss,
  kSubPageMisconfiguration,
  kUnreachable,
};

[[nodiscard]] constexpr PageVerdict page_verdict(SubPageOutcome outcome) {
  switch (outcome) {
    case SubPageOutcome::kAllowed:
      return PageVerdict::kAllowedSubPage;
    case SubPageOutcome::kDenied:
      break;
    case SubPageOutcome::kMiss:
      return PageVerdict::kSubPageMiss;
    case SubPageOutcome::kMisconfiguration:
      return PageVerdict::kSubPageMisconfiguration;
    case SubPageOutcome::kUnreachable:
      return PageVerdict::kUnreachable;
  }
  return PageVerdict::kByRights;
}

/// Whether guest paging may write to the page that `entry` maps, below entries with the rights
/// `above`.
[[nodiscard]] constexpr bool allows_paging_write(const EptState& state, std::uint64_t entry,
                                                 std::uint64_t above) {
  const std::uint64_t any_of =
      EptEntry::kWrite | (state.paging_write_control ? EptEntry::kPagingWrite : 0);
  return (entry & any_of) != 0 && (above & EptEntry::kWrite) != 0;
}

/// Whether sub-page write permissions judge a write by `access` to the page that `at.entry` maps.
[[nodiscard]] constexpr bool eligible_for_sub_pages(const EptState& state, const EptAccess& access,
                                                    const Descent& at) {
  return state.sub_page_write && access.purpose == EptPurpose::kLinear && access.size != 0 &&
         at.level == 1 && (at.entry & EptEntry::kSubPageWrite) != 0;
}

template <class F, class Effects, AnyAddress Input, EntryReader M, Recorder R>
[[nodiscard]] constexpr EptWalk<typename M::Address> walk_ept_format(
    M& memory, const EptState& state, Input input, const EptAccess& access, R& recorder) {
  using Output = typename M::Address;
  if constexpr (requires { memory.begin_ept_walk(input); }) memory.begin_ept_walk(input);
  EptWalk<Output> walk;
  constexpr unsigned kInputBits = F::page_bits(F::kLevels) + F::kIndexBits;
  if ((input.value & ~low_bits(kInputBits)) != 0) [[unlikely]] {
    walk.outcome = EptOutcome::kViolation;
    walk.exit_qualification = violation_qualification(state, access, 0);
    return walk;
  }
  const typename F::Rules rules(state);
  const std::uint64_t needed = needed_rights(state, access);
  const std::uint64_t forbidden =
      access.unverified_paging && state.guest_paging_verification && state.paging_write_control
          ? F::kVerifyGuestPaging
          : 0;
  std::uint64_t page_entry = 0;
  std::uint64_t above_page = 0;
  PageVerdict verdict = PageVerdict::kByRights;
  SubPageSteps<R::kRecords> sub_page;
  const auto allows = [&](const Descent& at, std::uint64_t above) {
    page_entry = at.entry;
    above_page = above;
    const std::uint64_t missing = needed & ~at.rights;
    if (missing != 0) [[unlikely]] {
      verdict = PageVerdict::kByRights;
      if (missing != F::kWrite) return false;
      if (access.purpose == EptPurpose::kPagingEntry) {
        return allows_paging_write(state, at.entry, above);
      }
      if (!eligible_for_sub_pages(state, access, at)) return false;
      sub_page.count = 0;
      verdict = page_verdict(look_up_sub_page(memory, state, input.value, access.size, sub_page));
      if (verdict != PageVerdict::kAllowedSubPage) return false;
    }
    if ((at.entry & forbidden) != 0) [[unlikely]] {
      verdict = PageVerdict::kUnverifiedPaging;
      return false;
    }
    return true;
  };
  const Descent end = descend<F, Effects>(memory, state.eptp.root(), input.value, rules,
                                          access.write, allows, walk.counts, recorder);
  walk.entry_address = Output{end.address};
  if (sub_page.count != 0) [[unlikely]] {
    walk.counts.references = static_cast<std::uint16_t>(walk.counts.references + sub_page.count);
    if constexpr (R::kRecords) {
      for (unsigned i = 0; i != sub_page.count; ++i) {
        recorder.record(
            Step{Dimension::kSubPage, static_cast<std::uint8_t>(SubPageTables::kLevels - i),
                 sub_page.address[i], machine_address(memory, Output{sub_page.address[i]}),
                 sub_page.entry[i], sub_page.entry[i]});
      }
    }
  }
  const bool convertible = state.violation_exceptions && (end.entry & F::kSuppressVe) == 0;
  switch (end.end) {
    case DescentEnd::kPage: {
      const unsigned size = F::page_bits(end.level);
      const bool execute = (end.rights & F::kExecute) != 0;
      walk.outcome = EptOutcome::kTranslated;
      walk.address = Output{F::page_address(end.entry, end.level) | input.page_offset(size)};
      walk.page_bits = static_cast<std::uint8_t>(size);
      walk.rights = {(end.rights & F::kRead) != 0, (end.rights & F::kWrite) != 0, execute,
                     state.mode_based_execute ? (end.rights & F::kExecuteUser) != 0 : execute};
      walk.memory_type = static_cast<MemoryType>(F::memory_type(end.entry));
      walk.ignore_pat = (end.entry & F::kIgnorePat) != 0;
      walk.paging_write_bit = state.paging_write_control && (end.entry & F::kPagingWrite) != 0;
      walk.paging_write = allows_paging_write(state, end.entry, above_page);
      walk.convertible = convertible;
      walk.by_sub_page = verdict == PageVerdict::kAllowedSubPage;
      walk.dirty = true;
      if constexpr (F::Flags::kPresent) {
        if (rules.flags_enabled) {
          walk.dirty = (end.entry & F::Flags::kDirty) != 0;
          walk.newly_dirty = ((end.entry & ~page_entry) & F::Flags::kDirty) != 0;
        }
      }
      break;
    }
    case DescentEnd::kNotPresent:
      walk.outcome = EptOutcome::kViolation;
      walk.convertible = convertible;
      walk.exit_qualification = violation_qualification(state, access, 0);
      break;
    case DescentEnd::kDenied:
      if (verdict == PageVerdict::kUnreachable) break;
      if (verdict == PageVerdict::kSubPageMiss ||
          verdict == PageVerdict::kSubPageMisconfiguration) {
        walk.outcome = EptOutcome::kSubPageEvent;
        walk.exit_qualification =
            verdict == PageVerdict::kSubPageMiss ? SubPageQualification::kMiss : 0;
        break;
      }
      walk.outcome = EptOutcome::kViolation;
      walk.convertible = convertible;
      walk.exit_qualification =
          violation_qualification(state, access, end.rights) |
          (verdict == PageVerdict::kUnverifiedPaging ? EptQualification::kGuestPagingVerification
                                                     : 0);
      break;
    case DescentEnd::kMalformed:
      walk.outcome = EptOutcome::kMisconfiguration;
      break;
    case DescentEnd::kUnreachable:
      break;
  }
  return walk;
}

}  // namespace internal

/// Whether cached `rights` permit `access`; `effective_access` has been applied to it.
[[nodiscard]] constexpr bool permits(const EptRights& rights, const EptState& state,
                                     const EptAccess& access) {
  const std::uint64_t needed = needed_rights(state, access);
  return (internal::entry_bits(rights) & needed) == needed;
}

/// Memory that remembers guest-physical translations. `find_translation` answers an access that a
/// remembered one permits without a walk; a walk that sets flags hands its result to
/// `keep_translation`.
template <class M, class Input>
concept CachesTranslations = requires(M& memory, const EptState& state, Input input,
                                      const EptAccess& access, EptWalk<typename M::Address>& walk) {
  { memory.find_translation(state, input, access, walk) } -> std::same_as<bool>;
  memory.keep_translation(state, input, walk);
};

/// Translates `input` through the EPT paging structures in `memory`, and sets their accessed and
/// dirty flags where EPTP bit 6 asks for it (with `ProbeOnly`: writes nothing).
/// `input` lies in a space of its own, never in that of `memory`.
template <class Effects = UpdateFlags, AnyAddress Input, EntryReader M, Recorder R>
requires(!std::same_as<Input, typename M::Address>)
    [[nodiscard]] constexpr EptWalk<typename M::Address> walk_ept(M& memory, const EptState& state,
                                                                  Input input, EptAccess access,
                                                                  R& recorder) {
  access = effective_access(state, access);
  EptWalk<typename M::Address> walk;
  if constexpr (CachesTranslations<M, Input>) {
    if (memory.find_translation(state, input, access, walk)) return walk;
  }
  if (state.eptp.walk_length() == 5) {
    walk = internal::walk_ept_format<Ept<5>, Effects>(memory, state, input, access, recorder);
  } else {
    walk = internal::walk_ept_format<Ept<4>, Effects>(memory, state, input, access, recorder);
  }
  if constexpr (CachesTranslations<M, Input> && Effects::kUpdates) {
    if (walk.translated()) memory.keep_translation(state, input, walk);
  }
  return walk;
}

/// The same without a recorder.
template <class Effects = UpdateFlags, AnyAddress Input, EntryReader M>
requires(!std::same_as<Input, typename M::Address>)
    [[nodiscard]] constexpr EptWalk<typename M::Address> walk_ept(M& memory, const EptState& state,
                                                                  Input input, EptAccess access) {
  NoSteps none;
  return walk_ept<Effects>(memory, state, input, access, none);
}

}  // namespace nestor::ept
