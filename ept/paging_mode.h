// SPDX-License-Identifier: MIT
#pragma once

#include <array>
#include <cstdint>

#include "ept/bits.h"

namespace nestor::ept {

/// SDM volume 3A, "Paging Modes and Control Bits".
enum class PagingMode : std::uint8_t { kNone, k32Bit, kPae, k4Level, k5Level };

/// The paging mode that the control bits select.
[[nodiscard]] constexpr PagingMode paging_mode(bool cr0_pg, bool cr4_pae, bool efer_lma,
                                               bool cr4_la57) {
  if (!cr0_pg) return PagingMode::kNone;
  if (!cr4_pae) return PagingMode::k32Bit;
  if (!efer_lma) return PagingMode::kPae;
  return cr4_la57 ? PagingMode::k5Level : PagingMode::k4Level;
}

/// Everything besides memory that decides a linear-address translation.
struct PagingState {
  PagingMode mode = PagingMode::kNone;
  std::uint64_t cr3 = 0;
  /// The PDPTE registers; used with `PagingMode::kPae` only. `pdptes_are_valid` says which values
  /// may be loaded. A walk never reloads them.
  std::array<std::uint64_t, 4> pdptes{};
  bool wp = false;               ///< CR0.WP
  bool pse = false;              ///< CR4.PSE
  bool smep = false;             ///< CR4.SMEP
  bool smap = false;             ///< CR4.SMAP
  bool ac = false;               ///< EFLAGS.AC
  bool nxe = false;              ///< IA32_EFER.NXE
  bool pke = false;              ///< CR4.PKE: `pkru` guards user-mode addresses
  bool pks = false;              ///< CR4.PKS: `pkrs` guards supervisor-mode addresses
  std::uint32_t pkru = 0;        ///< PKRU
  std::uint32_t pkrs = 0;        ///< IA32_PKRS
  bool pse36 = true;             ///< CPUID.01H:EDX.PSE-36
  bool page1gb = true;           ///< CPUID.80000001H:EDX.Page1GB
  std::uint8_t maxphyaddr = 52;  ///< CPUID.80000008H:EAX[7:0], 32..52
};

/// The EPTP field: SDM, "Format of Extended-Page-Table Pointer". VM entry has checked it.
struct EptPointer {
  std::uint64_t value = 0;

  /// Memory type of the EPT paging structures: 0 is UC, 6 is WB.
  [[nodiscard]] constexpr unsigned memory_type() const {
    return static_cast<unsigned>(value & low_bits(3));
  }
  /// The number of levels, 4 or 5 in a valid EPTP.
  [[nodiscard]] constexpr unsigned walk_length() const {
    return static_cast<unsigned>(value >> 3 & low_bits(3)) + 1;
  }
  /// Accessed and dirty flags for EPT are enabled.
  [[nodiscard]] constexpr bool accessed_dirty() const { return (value & bit(6)) != 0; }
  /// Physical address of the top table.
  [[nodiscard]] constexpr std::uint64_t root() const { return value & bits(51, 12); }
};

/// Everything besides memory that decides a guest-physical-address translation.
struct EptState {
  EptPointer eptp{};
  /// "Mode-based execute control for EPT".
  bool mode_based_execute = false;
  /// IA32_VMX_EPT_VPID_CAP: execute-only translations (bit 0).
  bool execute_only = true;
  /// IA32_VMX_EPT_VPID_CAP: 2-MByte pages (bit 16) and 1-GByte pages (bit 17).
  bool page2mb = true;
  bool page1gb = true;
  /// IA32_VMX_EPT_VPID_CAP: advanced VM-exit information for EPT violations (bit 22).
  bool advanced_exit_information = false;
  /// "EPT-violation #VE": bit 63 of entries, which makes violations not convertible.
  bool violation_exceptions = false;
  /// "EPT paging-write control": bit 58 of entries that map pages.
  bool paging_write_control = false;
  /// "Guest-paging verification": bit 57 of entries that map pages. Has an effect only together
  /// with `paging_write_control`.
  bool guest_paging_verification = false;
  /// "Sub-page write permissions for EPT": bit 61 of entries that map 4-KByte pages.
  bool sub_page_write = false;
  /// The sub-page-permission-table pointer (SPPTP).
  std::uint64_t sub_page_table = 0;
  std::uint8_t maxphyaddr = 52;  ///< CPUID.80000008H:EAX[7:0], 32..52
};

}  // namespace nestor::ept
