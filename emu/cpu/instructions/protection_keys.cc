// SPDX-License-Identifier: GPL-2.0-or-later
//
// RDPKRU and WRPKRU.
#include "emu/cpu/instructions/handlers.h"
#include "emu/cpu/instructions/operands.h"

namespace nestor::emu::instructions {
namespace {

bool keys_enabled(const vmx::CpuState& state) { return (state.cr4 & vmx::cr4::kPke) != 0; }
bool is_zero(uint64_t gpr) { return (gpr & 0xffffffff) == 0; }

}  // namespace

// Cached translations keep the key, and what PKRU says of it is asked anew; the engine's TLB has
// what PKRU said.
void set_pkru(Core& core, uint32_t value) {
  if (core.state().pkru == value) return;
  core.state().pkru = value;
  invalidate(core, vmx::Invalidation::Kind::kAccessRights);
}

Outcome rdpkru(Core& core, const Instruction&) {
  vmx::CpuState& state = core.state();
  if (!keys_enabled(state)) return undefined_opcode();
  if (!is_zero(state.gpr[vmx::kRcx])) return general_protection();
  write_edx_eax(state, state.pkru);
  return vmx::Completed{};
}

Outcome wrpkru(Core& core, const Instruction&) {
  const vmx::CpuState& state = core.state();
  if (!keys_enabled(state)) return undefined_opcode();
  if (!is_zero(state.gpr[vmx::kRcx]) || !is_zero(state.gpr[vmx::kRdx])) return general_protection();
  set_pkru(core, static_cast<uint32_t>(state.gpr[vmx::kRax]));
  return vmx::Completed{};
}

}  // namespace nestor::emu::instructions
