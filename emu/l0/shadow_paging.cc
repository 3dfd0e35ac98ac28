// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/l0/shadow_paging.h"

namespace nestor::emu {

std::optional<uint64_t> ShadowPaging::root(const vmx::CpuState& state) {
  for (int attempt = 0; attempt != 2; ++attempt) {
    L0Pages::Address root;
    if (state.long_mode_active() ? long_mode_.root(root) : pae_.root(root)) return root.value;
    clear();
  }
  return std::nullopt;
}

template <class Tables>
ept::Fill ShadowPaging::fill(Tables& tables, GuestCore& core, const MachineMap& map,
                             uint64_t linear, ept::Access access) {
  ept::Fill fill;
  for (int attempt = 0; attempt != 2; ++attempt) {
    fill = ept::fill_shadow_paging(core.memory(), core.paging_state(), map, tables,
                                   ept::LinearAddress{linear}, access);
    if (fill.outcome != ept::FillOutcome::kNoTables) break;
    tables.clear();
  }
  return fill;
}

ept::Fill ShadowPaging::fill(GuestCore& core, const MachineMap& map, uint64_t linear,
                             ept::Access access) {
  return core.state().long_mode_active() ? fill(long_mode_, core, map, linear, access)
                                         : fill(pae_, core, map, linear, access);
}

void ShadowPaging::clear() {
  long_mode_.clear();
  pae_.clear();
}

}  // namespace nestor::emu
