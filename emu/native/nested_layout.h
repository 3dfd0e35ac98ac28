// SPDX-License-Identifier: GPL-2.0-or-later
//
// A virtual machine whose L1 is a few instructions of ours: it enters an L2 that makes one access,
// so that KVM's nested EPT translates what L2 accesses.
#pragma once

#include <cstdint>
#include <optional>

#include "emu/native/guest_memory.h"
#include "emu/native/virtual_machine.h"
#include "ept/access.h"
#include "ept/paging_mode.h"

namespace nestor::emu::native {

/// Where things lie in the virtual machine's physical memory:
///
///     0x00'1000  L1: code, VMXON region, VMCS, lists of fields, page tables (an identity map)
///     0x00'8000  L2: code, and page tables
///     0x01'0000  the EPT tables that map L2's code and page tables, at `scaffold_base`
///     0x01'4000  the EPT tables under test; the first of them is the top one
///     0x02'c000  data: every aligned word is VMCALL
///     0x3f'8000  data: page tables for L2 that the generator fills
struct NestedLayout {
  static constexpr std::uint64_t kMemorySize = 4U << 20;
  static constexpr std::uint64_t kGuestCode = 0x8000;
  static constexpr std::uint64_t kGuestTables = 0x9000;
  static constexpr std::uint64_t kScaffoldTables = 0x1'0000;
  static constexpr std::uint64_t kTables = 0x1'4000;
  static constexpr std::uint64_t kTableCount = 24;
  static constexpr std::uint64_t kData = kTables + kTableCount * 0x1000;
  static constexpr std::uint64_t kPagingData = 0x3f'8000;
};
static_assert(NestedLayout::kData == 0x2'c000);

/// Of guest-physical addresses of `width` bits, as far as 4-level EPT has them, the last GByte:
/// there L2 finds at `scaffold_base + x` what lies at physical address x.
[[nodiscard]] constexpr std::uint64_t scaffold_base(std::uint8_t width) {
  return (std::uint64_t{1} << (width < 48 ? width : 48)) - (std::uint64_t{1} << 30);
}

/// Where L2's paging leads a linear address to: to a page at a guest-physical address, or to a page
/// table there, which translates the rest of the linear address.
struct GuestPath {
  bool table = false;
  unsigned level = 1;  ///< Of the entry of L2 that has the address: 1 to 3; 2 or 3 for a table.
  std::uint64_t entry = 0;  ///< That entry: the guest-physical address with its flags.
};

/// Every aligned word of the data: VMCALL, and NOP.
inline constexpr std::uint32_t kVmcallWord = 0x90c1'010f;

/// Code, page tables of L1, and the fixed part of those of L2.
void write_nested_scaffold(GuestMemory& memory, std::uint8_t width);
/// Links the EPT tables of the scaffold, below those under test.
void link_nested_scaffold(GuestMemory& memory, const ept::EptState& state);
/// The table at `index` of those under test or, from `kTableCount` on, of the scaffold's that have
/// entries under test. Returns its level, 0 if all its entries are the scaffold's.
[[nodiscard]] unsigned level_of_table(const ept::EptState& state, std::uint64_t index);
[[nodiscard]] std::uint64_t address_of_table(std::uint64_t index);
inline constexpr std::uint64_t kAllTables = NestedLayout::kTableCount + 4;

/// Writes the entry of L2's paging structures that leads `linear` on `path`.
void write_path(GuestMemory& memory, std::uint64_t linear, const GuestPath& path);
/// A linear address that goes through L2's entry for paths; the other bits are those of `bits`.
[[nodiscard]] std::uint64_t path_linear(std::uint64_t bits);
/// The state of L2's paging.
[[nodiscard]] ept::PagingState guest_paging(std::uint8_t width, bool wp);

/// What L1 finds in the VMCS after a VM exit.
struct NestedExit {
  std::uint32_t reason = 0;
  std::uint64_t qualification = 0;
  std::uint64_t guest_physical = 0;
  std::uint64_t guest_linear = 0;
  std::uint32_t interruption_information = 0;
  std::uint32_t error_code = 0;
  std::uint64_t rip = 0;

  bool operator==(const NestedExit&) const = default;
};

/// What L2 does: an access with `Access`, or nothing but to halt.
struct NestedStart {
  std::optional<ept::Access> access{};
  std::uint64_t linear = 0;
  std::uint32_t value = 0;  ///< What is written.
};
/// Linear address of L2's code for it, and the length of the instruction.
[[nodiscard]] std::uint64_t nested_code(const std::optional<ept::Access>& access);
inline constexpr std::uint64_t kNestedAccessLength = 2;

/// L1 of a machine, with a VMCS.
class NestedGuest {
 public:
  /// Throws `Unavailable` if the machine has no nested EPT.
  explicit NestedGuest(VirtualMachine& machine);

  /// IA32_VMX_EPT_VPID_CAP of L1.
  [[nodiscard]] std::uint64_t ept_capabilities() const { return ept_capabilities_; }
  /// Makes a new VMCS. Throws `Failure` if L1 cannot.
  void load(const ept::EptState& state, bool wp, bool user);
  /// Enters L2 and returns at its VM exit, or, if it shall halt, there: then KVM_TRANSLATE
  /// translates L2's linear addresses, and `leave` causes the VM exit.
  [[nodiscard]] Stop enter(const NestedStart& start);
  [[nodiscard]] Stop leave();
  /// After a VM exit.
  [[nodiscard]] NestedExit exit() const;

 private:
  void run_l1(std::uint64_t rip);

  VirtualMachine& machine_;
  std::uint64_t ept_capabilities_;
  bool launched_ = false;
};

}  // namespace nestor::emu::native
