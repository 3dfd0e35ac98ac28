// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/cpu/core_with_port.h"

#include "emu/cpu/msrs.h"
#include "ept/pae.h"
#include "vmx/features.h"

namespace nestor::emu {

vmx::MsrStatus CoreWithPort::read_msr(uint32_t index, uint64_t& value) {
  return emu::read_msr(*this, index, value);
}

vmx::MsrStatus CoreWithPort::write_msr(uint32_t index, uint64_t value) {
  return emu::write_msr(*this, index, value);
}

std::optional<Fault> CoreWithPort::set_pdptes(const std::array<uint64_t, 4>& pdptes) {
  const unsigned width = vmx().capabilities().registers.physical_address_width;
  if (!ept::pdptes_are_valid(pdptes, width)) return vmx::exception(vmx::kGp, 0);
  state().pdptes = pdptes;
  return std::nullopt;
}

}  // namespace nestor::emu
