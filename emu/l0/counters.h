// SPDX-License-Identifier: GPL-2.0-or-later
//
// What L0 did: the numbers by which the modes are compared.
#pragma once

#include <cstdint>
#include <map>

namespace nestor::emu {

struct L0Counters {
  uint64_t exits_from_l1 = 0, exits_from_l2 = 0;  // VM exits to L0
  uint64_t entries = 0;                           // VM entries by L0
  uint64_t reflected = 0;                         // VM exits of L2 that L1 got
  uint64_t vmcs_accesses = 0;                     // VMREAD and VMWRITE of L1 that exited
  uint64_t shadow_fills = 0;                      // pages entered into shadow tables
  uint64_t shadow_tables_built = 0, shadow_tables_zapped = 0;
  uint64_t walk_references = 0;        // of the processor's page walks, whoever ran
  std::map<uint32_t, uint64_t> exits;  // by the whole exit-reason field

  uint64_t all_exits() const { return exits_from_l1 + exits_from_l2; }
};

}  // namespace nestor::emu
