// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/cpu/memory_type_msrs.h"

#include <algorithm>
#include <array>

#include "emu/cpu/core.h"
#include "emu/cpu/msr_storage.h"
#include "vmx/msr_index.h"

namespace nestor::emu {
namespace {

using enum vmx::MsrStatus;

// Whether each byte of `value` is a member of `types`, one bit a memory type.
bool memory_types(uint64_t value, uint32_t types) {
  for (unsigned i = 0; i < 64; i += 8) {
    const unsigned type = value >> i & 0xff;
    if (type > 7 || !(types >> type & 1)) return false;
  }
  return true;
}
// UC, WC, WT, WP, WB; the PAT has UC- (7) too.
constexpr uint32_t kMtrrTypes = 0x73, kPatTypes = kMtrrTypes | 0x80;

constexpr uint64_t kMtrrCap = kVariableMtrrs | 1u << 8 | 1u << 10;  // fixed ranges, WC

// The fixed-range MTRRs, in the order of their storage.
constexpr std::array<uint32_t, kFixedMtrrs> kFixedIndices = {
    vmx::kIa32MtrrFix64k00000,    vmx::kIa32MtrrFix16k80000,    vmx::kIa32MtrrFix16k80000 + 1,
    vmx::kIa32MtrrFix4kC0000,     vmx::kIa32MtrrFix4kC0000 + 1, vmx::kIa32MtrrFix4kC0000 + 2,
    vmx::kIa32MtrrFix4kC0000 + 3, vmx::kIa32MtrrFix4kC0000 + 4, vmx::kIa32MtrrFix4kC0000 + 5,
    vmx::kIa32MtrrFix4kC0000 + 6, vmx::kIa32MtrrFix4kC0000 + 7};

bool is_variable(uint32_t index) { return index - vmx::kIa32MtrrPhysbase0 < 2 * kVariableMtrrs; }

uint64_t& mtrr_of(Core& core, uint32_t index) {
  MsrStorage& storage = core.msr_storage();
  if (index == vmx::kIa32MtrrDefType) return storage.mtrr_def_type;
  if (is_variable(index)) return storage.mtrr_variable[index - vmx::kIa32MtrrPhysbase0];
  const auto place = std::find(kFixedIndices.begin(), kFixedIndices.end(), index);
  return storage.mtrr_fixed[static_cast<size_t>(place - kFixedIndices.begin())];
}

bool mtrr_can_hold(Core& core, uint32_t index, uint64_t value) {
  constexpr uint64_t kType = 0xff, kFixedEnable = 1u << 10, kValid = 1u << 11, kEnable = kValid;
  if (index == vmx::kIa32MtrrDefType)
    return !(value & ~(kType | kFixedEnable | kEnable)) && memory_types(value & kType, kMtrrTypes);
  if (!is_variable(index)) return memory_types(value, kMtrrTypes);
  const unsigned width = core.vmx().capabilities().registers.physical_address_width;
  const uint64_t address = ((1ull << width) - 1) & ~0xfffull;
  const bool mask = index & 1;
  if (mask) return !(value & ~(address | kValid));
  return !(value & ~(address | kType)) && memory_types(value & kType, kMtrrTypes);
}

}  // namespace

vmx::MsrStatus read_mtrr(Core& core, uint32_t index, uint64_t& value) {
  value = index == vmx::kIa32Mtrrcap ? kMtrrCap : mtrr_of(core, index);
  return kOk;
}

vmx::MsrStatus write_mtrr(Core& core, uint32_t index, uint64_t value) {
  if (!mtrr_can_hold(core, index, value)) return kGeneralProtection;
  mtrr_of(core, index) = value;
  return kOk;
}

bool are_pat_types(uint64_t value) { return memory_types(value, kPatTypes); }

}  // namespace nestor::emu
