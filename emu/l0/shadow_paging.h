// SPDX-License-Identifier: GPL-2.0-or-later
//
// Shadow page tables of one guest: SPT01 or SPT02.
#pragma once

#include <cstdint>
#include <optional>

#include "emu/l0/guest_core.h"
#include "emu/l0/machine_map.h"
#include "ept/shadow_fill.h"

namespace nestor::emu {

// The processor runs the guest on these with CR0.PG, CR0.WP and CR4.PAE set, whatever the guest
// believes: 4-level paging while it is in IA-32e mode, else PAE paging.
class ShadowPaging {
 public:
  // `low` pages lie below 4 GiB, where CR3 finds the PDPTEs of PAE paging.
  ShadowPaging(L0Pages& pages, L0Pages& low) : long_mode_(pages), pae_(low) {}

  // What CR3 must hold for `state`. std::nullopt: no page is left.
  std::optional<uint64_t> root(const vmx::CpuState& state);
  // Maps the page of an access by the guest on `core`, through its own paging structures;
  // kNoTables: no page is left.
  ept::Fill fill(GuestCore& core, const MachineMap& map, uint64_t linear, ept::Access access);
  // Unmaps everything; the roots stay where they are.
  void clear();
  // Gives every page back.
  void destroy();
  void serialize(Archive& archive) {
    long_mode_.serialize(archive);
    pae_.serialize(archive);
  }

 private:
  ept::ShadowTables<ept::ShadowPt64Format, L0Pages> long_mode_;
  ept::ShadowTables<ept::ShadowPaeFormat, L0Pages> pae_;
};

}  // namespace nestor::emu
