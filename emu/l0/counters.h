// SPDX-License-Identifier: GPL-2.0-or-later
//
// What L0 did: the numbers by which the modes are compared.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <vector>

#include "emu/memory/archive.h"

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
  void fields(Archive& archive);
  L0Counters& operator+=(const L0Counters& other);
};

// All but `exits`.
inline constexpr std::array kL0Counts = {
    &L0Counters::exits_from_l1,
    &L0Counters::exits_from_l2,
    &L0Counters::entries,
    &L0Counters::reflected,
    &L0Counters::vmcs_accesses,
    &L0Counters::shadow_fills,
    &L0Counters::shadow_tables_built,
    &L0Counters::shadow_tables_zapped,
    &L0Counters::walk_references,
};

inline void L0Counters::fields(Archive& archive) {
  for (const auto count : kL0Counts) archive(this->*count);
  struct Reason {
    uint32_t reason = 0;
    uint64_t count = 0;
    void fields(Archive& nested) { nested(reason, count); }
  };
  std::vector<Reason> reasons;
  for (const auto& [reason, count] : exits) reasons.push_back({reason, count});
  archive.sequence(reasons, 256);
  exits.clear();
  for (const Reason& entry : reasons) exits[entry.reason] = entry.count;
}

inline L0Counters& L0Counters::operator+=(const L0Counters& other) {
  for (const auto count : kL0Counts) this->*count += other.*count;
  for (const auto& [reason, count] : other.exits) exits[reason] += count;
  return *this;
}

}  // namespace nestor::emu
