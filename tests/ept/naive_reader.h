// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>

#include "ept/access.h"
#include "ept/paging_mode.h"
#include "tests/ept/table_memory.h"

namespace nestor::ept::testing {

/// What the manual's tables say about one access, found by reading them slowly and literally. It
/// shares no code with the walker: no formats, no masks, no permission rules.
struct NaiveAnswer {
  enum What {
    kAddress,
    kPageFault,
    kEptViolation,
    kEptMisconfiguration,
    kUnreachable,  ///< The naive reader's memory reaches everywhere: never the answer.
    kSubPageEvent,
  };

  What what = kAddress;
  std::uint64_t address = 0;         ///< kAddress: where the access goes.
  std::uint64_t guest_physical = 0;  ///< Translation of the linear address, or what EPT refused.
  std::uint32_t error_code = 0;
  std::uint64_t qualification = 0;
  std::uint64_t linear_page_size = 0;  ///< Bytes.
  std::uint64_t ept_page_size = 0;     ///< Bytes.
  bool user = true;
  bool writable = true;
  bool executable = true;
  bool global = false;
  bool linear_dirty = true;
  bool ept_dirty = true;
  unsigned pat_index = 0;
  unsigned protection_key = 0;
  bool ept_read = false;
  bool ept_write = false;
  bool ept_execute = false;
  bool ept_execute_user = false;
  unsigned ept_memory_type = 0;
  bool ept_ignore_pat = false;
  bool ept_paging_write = false;      ///< Accessed and dirty flags may be written to the page.
  bool ept_paging_write_bit = false;  ///< Bit 58, if it has a meaning.
  bool convertible = false;
  bool by_sub_page = false;
  unsigned guest_reads = 0;
  unsigned ept_reads = 0;
};

using NaiveMemory = TableMemory<PhysicalAddress>;

/// Translates a linear address; `ept` is null when EPT is not in use.
NaiveAnswer naive_linear(NaiveMemory& memory, const PagingState& state, const EptState* ept,
                         std::uint64_t linear, Access access);

/// Translates a guest-physical address.
NaiveAnswer naive_guest_physical(NaiveMemory& memory, const EptState& ept,
                                 std::uint64_t guest_physical, EptAccess access);

}  // namespace nestor::ept::testing
