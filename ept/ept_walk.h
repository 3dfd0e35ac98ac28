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
};

enum class EptOutcome : std::uint8_t {
  kTranslated,
  kViolation,
  kMisconfiguration,
  /// Memory could not deliver or update the entry at `entry_address`.
  kUnreachable,
};

/// A translation of a guest-physical address to an address of type `Output`, or why there is none.
template <AnyAddress Output>
struct EptWalk {
  EptOutcome outcome = EptOutcome::kUnreachable;
  std::uint8_t page_bits = 0;  ///< log2 of the page size: 12, 21 or 30.
  /// A write would not have to set the dirty flag, or flags are disabled: a cached translation may
  /// grant writes.
  bool dirty = false;
  /// The access changed the dirty flag from 0 to 1: a page-modification log records it.
  bool newly_dirty = false;
  MemoryType memory_type = MemoryType::kUncacheable;  ///< EPT memory type of the page.
  bool ignore_pat = false;                            ///< Bit 6 of the entry that maps the page.
  EptRights rights{};
  WalkCounts counts{};
  /// kViolation: bits 11:0 of the exit qualification. Otherwise 0.
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
  std::uint64_t page_entry = 0;
  const auto allows = [needed, &page_entry](std::uint64_t combined, std::uint64_t entry) {
    page_entry = entry;
    return (combined & needed) == needed;
  };
  const Descent end = descend<F, Effects>(memory, state.eptp.root(), input.value, rules,
                                          access.write, allows, walk.counts, recorder);
  walk.entry_address = Output{end.address};
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
      walk.exit_qualification = violation_qualification(state, access, 0);
      break;
    case DescentEnd::kDenied:
      walk.outcome = EptOutcome::kViolation;
      walk.exit_qualification = violation_qualification(state, access, end.rights);
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

/// Translates `input` through the EPT paging structures in `memory`, and sets their accessed and
/// dirty flags where EPTP bit 6 asks for it (with `ProbeOnly`: writes nothing).
/// `input` lies in a space of its own, never in that of `memory`.
template <class Effects = UpdateFlags, AnyAddress Input, EntryReader M, Recorder R>
requires(!std::same_as<Input, typename M::Address>)
    [[nodiscard]] constexpr EptWalk<typename M::Address> walk_ept(M& memory, const EptState& state,
                                                                  Input input, EptAccess access,
                                                                  R& recorder) {
  access = effective_access(state, access);
  if (state.eptp.walk_length() == 5) {
    return internal::walk_ept_format<Ept<5>, Effects>(memory, state, input, access, recorder);
  }
  return internal::walk_ept_format<Ept<4>, Effects>(memory, state, input, access, recorder);
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
