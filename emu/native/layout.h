// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <cstddef>
#include <cstdint>

#include "emu/native/guest_memory.h"
#include "emu/native/virtual_machine.h"
#include "ept/access.h"
#include "ept/paging_mode.h"
#include "vmx/cpu_state.h"

namespace nestor::emu::native {

/// Where things lie in the virtual machine's physical memory:
///
///     0x00'1000  descriptor tables, task state, handlers, code, stack: the scaffold
///     0x00'6000  the page tables that map the scaffold
///     0x01'0000  the tables under test; the first of them is the top one
///     0x02'8000  data up to the end; every byte is HLT
///
/// The scaffold is mapped by the last entry of the top table (PAE: of the page directory that the
/// last PDPTE references), at `scaffold_base`. Everything else of the tables is under test.
struct Layout {
  static constexpr std::uint64_t kMemorySize = 4U << 20;
  static constexpr std::uint64_t kScaffoldEnd = 0x6000;
  static constexpr std::uint64_t kScaffoldTables = 0x6000;
  static constexpr std::uint64_t kScaffoldTableCount = 4;
  static constexpr std::uint64_t kTables = 0x1'0000;
  static constexpr std::uint64_t kTableCount = 24;
  static constexpr std::uint64_t kData = kTables + kTableCount * 0x1000;
  static constexpr std::uint64_t kStackTop = 0x5000;
};
static_assert(Layout::kData == 0x2'8000);

/// What differs between the paging modes in the shape of their tables.
struct Shape {
  std::size_t entry_size;
  unsigned top_level;    ///< Level of the table at CR3; 3 for the PDPTEs of PAE.
  unsigned index_bits;   ///< Per level below the top one.
  unsigned linear_bits;  ///< Width of a linear address.
  std::uint64_t scaffold_base;
};
[[nodiscard]] Shape shape_of(ept::PagingMode mode);

/// Whether bits 63 down to the highest one of a linear address are equal; always in 32-bit modes.
[[nodiscard]] bool is_canonical(ept::PagingMode mode, std::uint64_t linear);
/// Whether the address goes through an entry that maps the scaffold.
[[nodiscard]] bool is_scaffold(ept::PagingMode mode, std::uint64_t linear);

/// Writes the parts of the scaffold that no test changes: all but the entry that maps it.
void write_scaffold(GuestMemory& memory, ept::PagingMode mode);
/// Writes the entry that maps the scaffold. To be done after the tables under test are written.
void link_scaffold(GuestMemory& memory, ept::PagingMode mode);

/// Registers for the paging state at CPL 0 with nothing to run: what KVM_TRANSLATE needs.
void set_paging(VirtualMachine& machine, const ept::PagingState& state);
/// Registers that make one access to `linear` when the machine runs, after `set_paging`. A write
/// writes the 32 bits `value`. An implicit supervisor access is a read of the 8 bytes of a
/// descriptor: `linear` is aligned to them.
void set_access(VirtualMachine& machine, const ept::PagingState& state, std::uint64_t linear,
                ept::Access access, std::uint32_t value);
/// Registers that load `state.pkru` into PKRU when the machine runs, after `set_paging`.
void set_pkru_load(VirtualMachine& machine, const ept::PagingState& state);

/// What the guest saw: how the access ended. A completed access ends at an HLT, which halts the
/// processor at CPL 0 and causes #GP(0) at CPL 3.
struct Observation {
  static constexpr unsigned kGeneralProtection = vmx::kGp;
  static constexpr unsigned kPageFault = vmx::kPf;
  static constexpr unsigned kHalted = 32;  ///< Halted, and not in a handler.

  unsigned vector = 0;
  std::uint32_t error_code = 0;  ///< For vectors that push one.
  std::uint64_t cr2 = 0;
  std::uint64_t saved_pointer = 0;  ///< RIP that the exception saved, or that of the HLT.

  bool operator==(const Observation&) const = default;
};
/// Reads it from a machine that has halted.
[[nodiscard]] Observation observe(VirtualMachine& machine, const ept::PagingState& state);

/// What every byte of the data is, and every access ends with.
inline constexpr std::uint8_t kHalt = 0xf4;
/// Length of the instruction that makes the access; HLT follows.
[[nodiscard]] constexpr std::uint64_t access_length(ept::Access access) {
  return access.implicit_supervisor ? 3 : 2;
}

/// Where the code that makes the access lies.
[[nodiscard]] std::uint64_t access_code(const ept::PagingState& state, ept::Access access);

}  // namespace nestor::emu::native
