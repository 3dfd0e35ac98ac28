// SPDX-License-Identifier: GPL-2.0-or-later
#include "tests/fuzz/vmx/draft.h"

#include <utility>

#include "tests/fuzz/vmx/generator.h"

namespace nestor::fuzz {

void Draft::set(vmx::Field field, uint64_t value) {
  if (!own_.has_field(field)) return;
  if (other_ && !other_->has_field(field)) return;
  value &= vmx::value_mask(field);
  if (vmx::type_of(field) != vmx::FieldType::kHostState) {
    result.fields[field] = value;
    return;
  }
  Case without = result;
  without.flips.erase(field);
  const uint64_t bits = vmcs_of(base_, without)[field] ^ value;
  result.flips.erase(field);
  if (bits != 0) result.flips[field] = bits;
}

void Draft::put(uint64_t address, uint64_t value, unsigned size) {
  Patch patch{address, {}};
  for (unsigned i = 0; i < size; ++i) patch.bytes.push_back(static_cast<uint8_t>(value >> (8 * i)));
  result.memory.push_back(std::move(patch));
}

uint64_t Draft::reg(unsigned number) const {
  const auto own = result.registers.find(number);
  return own != result.registers.end() ? own->second : base_.registers.at(number);
}

bool Draft::passes(const vmx::EntryCheck& check) const {
  const vmx::Vmcs now = vmcs();
  const ArenaMemory memory(base_, result);
  return check.passes({.vmcs = now,
                       .capabilities = own_,
                       .memory = &memory,
                       .current_vmcs = ept::PhysicalAddress{1}});
}

std::optional<vmx::CheckGroup> Draft::fails() const {
  const ArenaMemory memory(base_, result);
  return first_failing_group(vmcs(), own_, &memory);
}

}  // namespace nestor::fuzz
