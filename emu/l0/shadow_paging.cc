// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/l0/shadow_paging.h"

namespace nestor::emu {

std::optional<uint64_t> ShadowPaging::root(const vmx::CpuState& state) {
  L0Pages::Address root;
  if (state.long_mode_active() ? long_mode_.root(root) : pae_.root(root)) return root.value;
  return std::nullopt;
}

ept::Fill ShadowPaging::fill(GuestCore& core, const MachineMap& map, uint64_t linear,
                             ept::Access access) {
  const auto fill = [&](auto& tables) {
    return ept::fill_shadow_paging(core.memory(), core.paging_state(), map, tables,
                                   ept::LinearAddress{linear}, access);
  };
  return core.state().long_mode_active() ? fill(long_mode_) : fill(pae_);
}

void ShadowPaging::clear() {
  long_mode_.clear();
  pae_.clear();
}

void ShadowPaging::destroy() {
  long_mode_.destroy();
  pae_.destroy();
}

}  // namespace nestor::emu
