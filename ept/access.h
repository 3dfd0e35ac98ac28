// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>

namespace nestor::ept {

/// One access to a linear address. A read-modify-write is a write.
struct Access {
  enum Kind : std::uint8_t { kRead, kWrite, kFetch };

  Kind kind = kRead;
  /// CPL is 3.
  bool user = false;
  /// The processor itself reads or writes a system structure (a descriptor table, the TSS). Such an
  /// access is a supervisor-mode access at any CPL, and EFLAGS.AC does not exempt it from SMAP.
  bool implicit_supervisor = false;
  /// Bytes from the address on, as far as they lie in the page; only sub-page write permissions
  /// look at it. 0: these permissions are not applied, and allow nothing.
  std::uint16_t size = 1;

  [[nodiscard]] constexpr bool user_mode() const { return user && !implicit_supervisor; }
};

/// Why a guest-physical address is accessed: decides what an EPT violation reports.
enum class EptPurpose : std::uint8_t {
  /// The guest-physical address is the translation of a linear address.
  kLinear,
  /// A guest paging-structure entry, as part of a page walk. A write, once EPTP bit 6 is 1.
  kPagingEntry,
  /// No linear address belongs to the access: PDPTEs loaded by MOV to CR. Never counts as a write.
  kPdpteLoad,
};

/// One access to a guest-physical address. The members from `linear_user` on have a meaning only
/// with `EptPurpose::kLinear`; the three `linear_` members describe the linear address's own
/// translation. All initial values are the ones of CR0.PG = 0.
struct EptAccess {
  bool read = false;
  bool write = false;
  bool fetch = false;
  EptPurpose purpose = EptPurpose::kLinear;
  /// Paging maps the linear address as a user-mode address (U/S is 1 in all its entries).
  bool linear_user = true;
  /// Paging maps the linear address to a read/write page.
  bool linear_writable = true;
  /// Paging maps the linear address to an execute-disable page.
  bool linear_execute_disable = false;
  /// Some guest paging-structure entry that translated the linear address lies in a page without
  /// `EptWalk::paging_write_bit`: guest-paging verification fails.
  bool unverified_paging = false;
  /// Bytes from the address on, as in `Access`.
  std::uint16_t size = 1;
};

}  // namespace nestor::ept
