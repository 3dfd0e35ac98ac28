// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <cstdint>

#include "ept/access.h"
#include "ept/address.h"
#include "ept/descent.h"
#include "ept/ept_walk.h"
#include "ept/flags.h"
#include "ept/linear_walk.h"
#include "ept/memory.h"
#include "ept/paging_mode.h"
#include "ept/recorder.h"

namespace nestor::ept {

/// Memory seen through EPT: the paging structures of a guest, addressed by `Input`, lie in `M`
/// behind the EPT of `state`. It is itself memory for a walk, so walks compose to any depth.
///
/// A read or update that EPT forbids ends the walk above as unreachable; `refusal` then says why.
template <AnyAddress Input, class Effects, EntryReader M, Recorder R>
class TranslatedMemory {
 public:
  using Address = Input;

  /// The three references must outlive this object.
  constexpr TranslatedMemory(M& memory, const EptState& state, R& recorder,
                             EptPurpose purpose = EptPurpose::kPagingEntry)
      : memory_(memory), state_(state), recorder_(recorder), purpose_(purpose) {}

  [[nodiscard]] constexpr bool read32(Input address, std::uint32_t& out) {
    return translate(address) && memory_.read32(last_.address, out);
  }
  [[nodiscard]] constexpr bool read64(Input address, std::uint64_t& out) {
    return translate(address) && memory_.read64(last_.address, out);
  }
  [[nodiscard]] constexpr Exchange compare_exchange(Input, std::uint32_t expected,
                                                    std::uint32_t desired) requires EntryMemory<M> {
    if (!may_update()) return Exchange::kUnreachable;
    return memory_.compare_exchange(last_.address, expected, desired);
  }
  [[nodiscard]] constexpr Exchange compare_exchange(Input, std::uint64_t expected,
                                                    std::uint64_t desired) requires EntryMemory<M> {
    if (!may_update()) return Exchange::kUnreachable;
    return memory_.compare_exchange(last_.address, expected, desired);
  }

  /// Tables that a walk above has reached are remembered where those of `M` are.
  template <class F>
  requires CachesTables<M, F>
  constexpr void resume(std::uint64_t input, WalkPosition& position) {
    memory_.template resume<F>(input, position);
  }
  template <class F>
  requires CachesTables<M, F>
  constexpr void reached(std::uint64_t input, const WalkPosition& position) {
    memory_.template reached<F>(input, position);
  }

  /// Where the entry read last lies after every translation.
  [[nodiscard]] constexpr std::uint64_t machine_address(Input) const {
    return ept::machine_address(memory_, last_.address);
  }

  /// Every translation so far ended at a page with `EptWalk::paging_write_bit`: guest-paging
  /// verification succeeds. True before the first.
  [[nodiscard]] constexpr bool verified() const { return verified_; }
  /// The latest translation; its outcome is not kTranslated if it refused an access.
  [[nodiscard]] constexpr const EptWalk<typename M::Address>& last() const { return last_; }
  /// The address of the latest access.
  [[nodiscard]] constexpr Input last_input() const { return last_input_; }
  /// References and updates of all EPT walks so far.
  [[nodiscard]] constexpr const WalkCounts& counts() const { return counts_; }

 private:
  constexpr bool translate(Input address) {
    EptAccess access;
    access.read = true;
    access.purpose = purpose_;
    last_input_ = address;
    last_ = walk_ept<Effects>(memory_, state_, address, access, recorder_);
    counts_ += last_.counts;
    verified_ = verified_ && last_.paging_write_bit;
    return last_.translated();
  }

  /// Setting a flag writes to the page of the entry. With EPTP bit 6 the read was already treated
  /// as a write; otherwise the write permission is asked for now.
  constexpr bool may_update() {
    if (last_.paging_write) return true;
    EptAccess access;
    access.read = true;
    access.write = true;
    access.purpose = purpose_;
    last_.outcome = EptOutcome::kViolation;
    last_.exit_qualification =
        violation_qualification(state_, access, internal::entry_bits(last_.rights));
    return false;
  }

  M& memory_;
  const EptState& state_;
  R& recorder_;
  EptPurpose purpose_;
  Input last_input_{};
  EptWalk<typename M::Address> last_{};
  WalkCounts counts_{};
  bool verified_ = true;
};

enum class NestedOutcome : std::uint8_t {
  kTranslated,
  kPageFault,            ///< The guest's own: a #PF in the guest.
  kEptViolation,         ///< At `guest_physical`.
  kEptMisconfiguration,  ///< At `guest_physical`.
  /// Memory could not deliver or update an entry of either dimension.
  kUnreachable,
  kSubPageEvent,  ///< An SPP-related event at `guest_physical`.
};

/// A translation of a linear address through guest paging and EPT, or why there is none.
template <AnyAddress Output>
struct NestedWalk {
  NestedOutcome outcome = NestedOutcome::kUnreachable;
  /// log2 of the smaller of the two page sizes: what a cached translation may cover. 0: there is
  /// no translation.
  std::uint8_t page_bits = 0;
  /// A write would set no dirty flag in either dimension.
  bool dirty = false;
  /// A write would set no dirty flag of the guest's.
  bool guest_dirty = false;
  bool global = false;
  std::uint8_t pat_index = 0;
  MemoryType ept_memory_type = MemoryType::kUncacheable;
  bool ignore_pat = false;
  /// The linear address was translated: `guest_physical` is its translation, and `rights` are
  /// valid. Otherwise `guest_physical` is that of a paging-structure entry.
  bool linear_translated = false;
  bool by_sub_page = false;              ///< As in `EptWalk`: another write may not be allowed.
  bool convertible = false;              ///< As in `EptWalk`, of the access that EPT refused.
  LinearRights rights{};                 ///< What guest paging allows; see `permits`. Also valid
                                         ///< for a page fault on a present page.
  EptRights ept_rights{};                ///< What EPT allows at `guest_physical`.
  std::uint32_t error_code = 0;          ///< kPageFault: its error code.
  std::uint64_t exit_qualification = 0;  ///< kEptViolation, kSubPageEvent: as in `EptWalk`.
  WalkCounts guest_counts{};             ///< Entries of the guest's paging structures.
  WalkCounts ept_counts{};               ///< Entries of the EPT paging structures.
  /// The final guest-physical address, or the one whose access EPT refused.
  GuestPhysicalAddress guest_physical{};
  Output address{};  ///< kTranslated: what the linear address translates to.

  [[nodiscard]] constexpr bool translated() const { return outcome == NestedOutcome::kTranslated; }
  /// All memory references of the walk.
  [[nodiscard]] constexpr unsigned references() const {
    return guest_counts.references + unsigned{ept_counts.references};
  }
  /// All updates of accessed and dirty flags.
  [[nodiscard]] constexpr unsigned updates() const {
    return guest_counts.updates + unsigned{ept_counts.updates};
  }
};

namespace internal {

[[nodiscard]] constexpr NestedOutcome nested_outcome(EptOutcome outcome) {
  switch (outcome) {
    case EptOutcome::kTranslated:
      return NestedOutcome::kTranslated;
    case EptOutcome::kViolation:
      return NestedOutcome::kEptViolation;
    case EptOutcome::kMisconfiguration:
      return NestedOutcome::kEptMisconfiguration;
    case EptOutcome::kSubPageEvent:
      return NestedOutcome::kSubPageEvent;
    case EptOutcome::kUnreachable:
      break;
  }
  return NestedOutcome::kUnreachable;
}

}  // namespace internal

/// The EPT access that `access` makes to the translation of a linear address with `rights`.
[[nodiscard]] constexpr EptAccess final_access(Access access, const LinearRights& rights) {
  EptAccess result;
  result.read = access.kind == Access::kRead;
  result.write = access.kind == Access::kWrite;
  result.fetch = access.kind == Access::kFetch;
  result.linear_user = rights.user;
  result.linear_writable = rights.writable;
  result.linear_execute_disable = !rights.executable;
  result.size = access.size;
  return result;
}

/// Translates `linear` through guest paging whose structures, and whose result, EPT translates in
/// turn. Sets accessed and dirty flags in both dimensions (with `ProbeOnly`: writes nothing, and
/// does not ask EPT whether a guest's flag could be written).
///
/// PDPTEs come from `state`; the walk does not reload them. Flags of the guest entry that maps the
/// page are set before the final guest-physical address is translated.
template <class Effects = UpdateFlags, EntryReader M, Recorder R>
[[nodiscard]] constexpr NestedWalk<typename M::Address> walk_nested(M& memory,
                                                                    const PagingState& state,
                                                                    const EptState& ept,
                                                                    LinearAddress linear,
                                                                    Access access, R& recorder) {
  NestedWalk<typename M::Address> nested;
  TranslatedMemory<GuestPhysicalAddress, Effects, M, R> tables(memory, ept, recorder);
  const auto guest = walk_linear<Effects>(tables, state, linear, access, recorder);
  nested.guest_counts = guest.counts;
  nested.ept_counts = tables.counts();
  switch (guest.outcome) {
    case LinearOutcome::kTranslated:
      break;
    case LinearOutcome::kPageFault:
      nested.outcome = NestedOutcome::kPageFault;
      nested.error_code = guest.error_code;
      nested.rights = guest.rights;
      return nested;
    case LinearOutcome::kUnreachable:
      nested.guest_physical = tables.last_input();
      nested.exit_qualification = tables.last().exit_qualification;
      nested.convertible = tables.last().convertible;
      if (!tables.last().translated()) {
        nested.outcome = internal::nested_outcome(tables.last().outcome);
      }
      return nested;
  }
  nested.linear_translated = true;
  nested.guest_physical = guest.address;
  nested.rights = guest.rights;
  nested.global = guest.global;
  nested.pat_index = guest.pat_index;
  EptAccess to_page = final_access(access, guest.rights);
  to_page.unverified_paging = !tables.verified();
  const auto last = walk_ept<Effects>(memory, ept, guest.address, to_page, recorder);
  nested.ept_counts += last.counts;
  nested.outcome = internal::nested_outcome(last.outcome);
  nested.exit_qualification = last.exit_qualification;
  nested.by_sub_page = last.by_sub_page;
  nested.convertible = last.convertible;
  nested.ept_rights = last.rights;
  nested.ept_memory_type = last.memory_type;
  nested.ignore_pat = last.ignore_pat;
  nested.address = last.address;
  nested.page_bits = std::min(guest.page_bits, last.page_bits);
  nested.guest_dirty = guest.dirty;
  nested.dirty = guest.dirty && last.dirty;
  return nested;
}

/// The same without a recorder.
template <class Effects = UpdateFlags, EntryReader M>
[[nodiscard]] constexpr NestedWalk<typename M::Address> walk_nested(
    M& memory, const PagingState& state, const EptState& ept, LinearAddress linear, Access access) {
  NoSteps none;
  return walk_nested<Effects>(memory, state, ept, linear, access, none);
}

}  // namespace nestor::ept
