// SPDX-License-Identifier: MIT
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "ept/bits.h"

namespace nestor::ept {

/// SDM, "Information That May Be Cached".
enum class MappingKind : std::uint8_t {
  kLinear,         ///< Linear to physical address, made while EPT is not in use.
  kGuestPhysical,  ///< Guest-physical to physical address.
  kCombined,       ///< Linear to physical address, through guest paging and EPT.
};

/// Whose mapping it is. Members that a kind does not have are 0: a linear mapping has no
/// `ept_root`, a guest-physical mapping nothing else.
struct MappingTag {
  MappingKind kind = MappingKind::kLinear;
  /// CR0.PG is 1. No sentence of the manual tells mappings made with paging off from the others,
  /// but processors do: no operation is required that would remove them when paging is enabled.
  bool paging = true;
  std::uint16_t vpid = 0;
  std::uint16_t pcid = 0;      ///< 0 while CR4.PCIDE is 0.
  std::uint64_t ept_root = 0;  ///< Bits 51:12 of the EPTP, in place.

  constexpr bool operator==(const MappingTag&) const = default;
  template <class Archive>
  constexpr void fields(Archive& archive) {
    archive(kind, paging, vpid, pcid, ept_root);
    archive.require(kind <= MappingKind::kCombined);
  }
};

/// What is cached: a translation of a page, or the place of the paging structure that translates a
/// region ("paging-structure-cache entry").
enum class MappingRole : std::uint8_t { kTranslation, kTable };

/// The identity of a cached mapping.
struct MappingKey {
  MappingTag tag{};
  MappingRole role = MappingRole::kTranslation;
  bool global = false;          ///< A translation used with any PCID.
  std::uint8_t size_bits = 12;  ///< log2 of the size of the page or region.
  std::uint64_t input = 0;      ///< Its first address: linear, or guest-physical.

  [[nodiscard]] constexpr bool covers(std::uint64_t address) const {
    return (address ^ input) >> size_bits == 0;
  }
  template <class Archive>
  constexpr void fields(Archive& archive) {
    archive(tag, role, global, size_bits, input);
    archive.require(role <= MappingRole::kTable && size_bits < 64);
  }
};

/// Which cached mappings must go. A processor may always drop more.
struct Invalidation {
  /// The operations of the SDM's "Operations that Invalidate Cached Mappings" (of VMX) and
  /// "Operations that Invalidate TLBs and Paging-Structure Caches" (volume 3A), by effect.
  enum class Kind : std::uint8_t {
    kLinearAddress,         ///< INVLPG: `linear` in `vpid` and `pcid`.
    kPcidAddress,           ///< INVPCID type 0: the same without global translations.
    kPcid,                  ///< INVPCID type 1, MOV to CR3, task switch: `vpid` and `pcid`.
    kPcidAndGlobals,        ///< MOV to CR4 that changes PAE, or SMEP from 0 to 1.
    kVpidAddress,           ///< INVVPID type 0: `linear` in `vpid`.
    kLinearVpid,            ///< INVVPID type 1, INVPCID type 2, MOV to CR0 that clears PG, MOV to
                            ///< CR4 that changes PGE or clears PCIDE: all of `vpid`. VM entries and
                            ///< VM exits without "enable VPID", with VPID 0.
    kVpidRetainingGlobals,  ///< INVVPID type 3, INVPCID type 3: `vpid` without global translations.
    kAllVpids,              ///< INVVPID type 2: all VPIDs but 0.
    kPageFault,             ///< A page fault at `linear` in `vpid` and `pcid`.
    kEptViolation,          ///< At `guest_physical` in `eptp`; and, if `linear_translated`, what
                            ///< translates `linear` in `vpid`, `pcid` and `eptp`.
    kGuestPhysicalEptp,     ///< INVEPT type 1: `eptp`.
    kAllEptps,              ///< INVEPT type 2.
    kAll,                   ///< Power-up, reset.
    kAccessRights,          ///< Nothing cached must go, but control bits that decide what cached
                            ///< rights permit have changed.
  } kind = Kind::kAll;
  std::uint16_t vpid = 0;
  std::uint64_t linear = 0;
  std::uint64_t eptp = 0;  ///< Bits 51:12 count.
  std::uint16_t pcid = 0;
  bool linear_translated = false;
  std::uint64_t guest_physical = 0;

  constexpr bool operator==(const Invalidation&) const = default;
};

/// How an operation chooses by one property of a mapping.
enum class Which : std::uint8_t { kNone, kNamed, kAny, kAnyButZero };

/// What an operation drops: mappings that fit in every column.
struct InvalidationRule {
  Invalidation::Kind kind;
  Which linear, combined, guest_physical;  ///< kNamed: those of `Invalidation::eptp`.
  Which vpid, pcid;                        ///< Of linear and combined mappings.
  bool keeps_globals;                      ///< Otherwise global translations fit with any PCID.
  Which translations, tables;              ///< kNamed: those used for the address.
};

/// One row for each kind, in the order of the enumerators.
inline constexpr auto kInvalidationRules = [] {
  using enum Invalidation::Kind;
  using enum Which;
  // clang-format off
  return std::to_array<InvalidationRule>({
      //                     linear combined guest-ph. VPID         PCID    globals translations tables
      {kLinearAddress,        kAny,  kAny,   kNone,  kNamed,      kNamed, false,  kNamed,      kAny},
      {kPcidAddress,          kAny,  kAny,   kNone,  kNamed,      kNamed, true,   kNamed,      kNamed},
      {kPcid,                 kAny,  kAny,   kNone,  kNamed,      kNamed, true,   kAny,        kAny},
      {kPcidAndGlobals,       kAny,  kAny,   kNone,  kNamed,      kNamed, false,  kAny,        kAny},
      {kVpidAddress,          kAny,  kAny,   kNone,  kNamed,      kAny,   false,  kNamed,      kNamed},
      {kLinearVpid,           kAny,  kAny,   kNone,  kNamed,      kAny,   false,  kAny,        kAny},
      {kVpidRetainingGlobals, kAny,  kAny,   kNone,  kNamed,      kAny,   true,   kAny,        kAny},
      {kAllVpids,             kAny,  kAny,   kNone,  kAnyButZero, kAny,   false,  kAny,        kAny},
      {kPageFault,            kAny,  kAny,   kNone,  kNamed,      kNamed, false,  kNamed,      kNamed},
      {kEptViolation,         kNone, kNamed, kNamed, kNamed,      kNamed, false,  kNamed,      kNamed},
      {kGuestPhysicalEptp,    kNone, kNamed, kNamed, kAny,        kAny,   false,  kAny,        kAny},
      {kAllEptps,             kNone, kAny,   kAny,   kAny,        kAny,   false,  kAny,        kAny},
      {kAll,                  kAny,  kAny,   kAny,   kAny,        kAny,   false,  kAny,        kAny},
      {kAccessRights,         kNone, kNone,  kNone,  kNone,       kNone,  true,   kNone,       kNone},
  });
  // clang-format on
}();

static_assert(
    [] {
      for (std::size_t i = 0; i != kInvalidationRules.size(); ++i) {
        if (kInvalidationRules[i].kind != static_cast<Invalidation::Kind>(i)) return false;
      }
      return kInvalidationRules.back().kind == Invalidation::Kind::kAccessRights;
    }(),
    "one row for each kind, in order");

namespace internal {

[[nodiscard]] constexpr bool fits(Which which, std::uint64_t value, std::uint64_t named) {
  switch (which) {
    case Which::kNone:
      return false;
    case Which::kNamed:
      return value == named;
    case Which::kAny:
      return true;
    case Which::kAnyButZero:
      return value != 0;
  }
  return false;
}

}  // namespace internal

/// The bits of an EPTP that tell cached mappings apart (EP4TA, EPTRTA).
[[nodiscard]] constexpr std::uint64_t ept_root_of(std::uint64_t eptp) {
  return eptp & bits(51, 12);
}

/// How `rule` chooses among the mappings of a kind.
[[nodiscard]] constexpr Which which_of(const InvalidationRule& rule, MappingKind kind) {
  switch (kind) {
    case MappingKind::kLinear:
      return rule.linear;
    case MappingKind::kGuestPhysical:
      return rule.guest_physical;
    case MappingKind::kCombined:
      return rule.combined;
  }
  return Which::kNone;
}

/// Which mappings of one tag and role `what` concerns at all; kNamed: those for its address. What
/// it does to a single one is for `invalidates`, as far as the PCID and global translations decide.
[[nodiscard]] constexpr Which concerned(const Invalidation& what, const MappingTag& tag,
                                        MappingRole role) {
  const InvalidationRule& rule = kInvalidationRules[static_cast<std::size_t>(what.kind)];
  if (!internal::fits(which_of(rule, tag.kind), tag.ept_root, ept_root_of(what.eptp))) {
    return Which::kNone;
  }
  if (tag.kind != MappingKind::kGuestPhysical) {
    if (!internal::fits(rule.vpid, tag.vpid, what.vpid)) return Which::kNone;
    if (what.kind == Invalidation::Kind::kEptViolation && !what.linear_translated) {
      return Which::kNone;
    }
  }
  return role == MappingRole::kTable ? rule.tables : rule.translations;
}

/// Whether `what` may concern some translation of `tag`, for those who do not know which of them
/// are global, or how large their pages are. A fault at an address drops what refused the access
/// there, and nothing else: whoever meets the fault knows whether anything did.
[[nodiscard]] constexpr bool may_concern_translations(const Invalidation& what,
                                                      const MappingTag& tag) {
  const InvalidationRule& rule = kInvalidationRules[static_cast<std::size_t>(what.kind)];
  const bool fault =
      what.kind == Invalidation::Kind::kPageFault || what.kind == Invalidation::Kind::kEptViolation;
  if (fault || concerned(what, tag, MappingRole::kTranslation) == Which::kNone) return false;
  return !rule.keeps_globals || internal::fits(rule.pcid, tag.pcid, what.pcid);
}

/// The address, in the input space of mappings of `kind`, that `what` names.
[[nodiscard]] constexpr std::uint64_t named_address(const Invalidation& what, MappingKind kind) {
  return kind == MappingKind::kGuestPhysical ? what.guest_physical : what.linear;
}

/// Whether the mapping `key` must go.
[[nodiscard]] constexpr bool invalidates(const Invalidation& what, const MappingKey& key) {
  const InvalidationRule& rule = kInvalidationRules[static_cast<std::size_t>(what.kind)];
  const MappingTag& tag = key.tag;
  const Which extent = concerned(what, tag, key.role);
  if (extent == Which::kNone) return false;
  if (tag.kind != MappingKind::kGuestPhysical &&
      (key.global ? rule.keeps_globals : !internal::fits(rule.pcid, tag.pcid, what.pcid))) {
    return false;
  }
  return extent == Which::kAny || key.covers(named_address(what, tag.kind));
}

}  // namespace nestor::ept
