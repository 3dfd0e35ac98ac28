// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/cpu/virtual_interrupts.h"

#include "emu/cpu/core.h"
#include "emu/cpu/segments.h"
#include "vmx/exceptions.h"

namespace nestor::emu {

// "Software Interrupt Handling Methods": the 32 bytes below the I/O permission bitmap.
Result<bool> redirects_interrupt(Core& core, uint8_t vector) {
  const vmx::CpuState& state = core.state();
  if (!state.virtual_8086() || (state.cr4 & vmx::cr4::kVme) == 0) return false;
  constexpr uint32_t kBitmapBase = 102, kBytes = 32;
  const vmx::Segment& tr = state.segment[vmx::kTr];
  const vmx::Event refused = vmx::exception(vmx::kGp, 0);
  const bool tss32 = !tr.rights.unusable() && (tr.rights.type() & 8);
  if (!tss32 || tr.limit < kBitmapBase + 1) return refused;
  const auto base = read_value<uint16_t>(core, tr.base + kBitmapBase);
  if (!base) return base.fault();
  const uint32_t offset = *base - kBytes + vector / 8;
  if (*base < kBytes || offset > tr.limit) return refused;
  const auto bits = read_value<uint8_t>(core, tr.base + offset);
  if (!bits) return bits.fault();
  return (*bits >> (vector % 8) & 1) == 0;
}

}  // namespace nestor::emu
