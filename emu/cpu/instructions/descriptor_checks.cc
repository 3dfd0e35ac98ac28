// SPDX-License-Identifier: GPL-2.0-or-later
//
// LAR, LSL, VERR, VERW: what a program may learn of a descriptor. ZF says whether it may.
#include <algorithm>
#include <optional>

#include "emu/cpu/instructions/handlers.h"
#include "emu/cpu/instructions/operands.h"

namespace nestor::emu::instructions {
namespace {

using vmx::CpuState;
using Found = std::optional<Descriptor>;

// Bit n: LAR or LSL accepts system descriptors of type n; first in IA-32e mode, then outside.
struct AcceptedTypes {
  uint16_t long_mode, legacy;
};
constexpr uint16_t bits(std::initializer_list<SystemType> types) {
  uint16_t set = 0;
  for (const SystemType type : types) set |= static_cast<uint16_t>(1u << type);
  return set;
}
constexpr AcceptedTypes kLarTypes{bits({kLdt, kTss32Available, kTss32Busy, kCallGate32}),
                                  bits({kTss16Available, kLdt, kTss16Busy, kCallGate16, kTaskGate,
                                        kTss32Available, kTss32Busy, kCallGate32})};
constexpr AcceptedTypes kLslTypes{
    bits({kLdt, kTss32Available, kTss32Busy}),
    bits({kTss16Available, kLdt, kTss16Busy, kTss32Available, kTss32Busy})};
constexpr AcceptedTypes kNoSystemTypes{0, 0};

// The descriptor, if it exists and the program may know it. A fault of the memory that it lies in
// is one, all else clears ZF.
Result<Found> find(Core& core, const Operand& operand, AcceptedTypes accepted) {
  const CpuState& state = core.state();
  const auto word = load_word(core, operand);
  if (!word) return word.fault();
  const uint16_t selector = *word;
  if (is_null(selector) || !is_inside_table(state, selector, 8)) return Found{};
  const auto descriptor = read_descriptor(core, selector, vmx::kGp);
  if (!descriptor) return descriptor.fault();
  if (!descriptor->code_or_data()) {
    const bool long_mode = state.long_mode_active();
    const uint16_t types = long_mode ? accepted.long_mode : accepted.legacy;
    if (!(types >> descriptor->type() & 1)) return Found{};
    if (long_mode && !is_inside_table(state, selector, 16)) return Found{};
  }
  const auto rpl = static_cast<uint8_t>(selector & 3);
  const bool visible =
      descriptor->is_conforming_code() || descriptor->dpl() >= std::max(state.cpl(), rpl);
  return visible ? Found{*descriptor} : Found{};
}

void set_zf(CpuState& state, bool value) {
  state.rflags = value ? state.rflags | vmx::rflags::kZf : state.rflags & ~vmx::rflags::kZf;
}

bool is_readable(const Descriptor& descriptor) {
  return !descriptor.is_code() || (descriptor.type() & 2);
}

// The value that LAR or LSL gives into its register.
template <class Value>
Outcome load_part(Core& core, const Instruction& instruction, AcceptedTypes accepted,
                  const Value& value) {
  CpuState& state = core.state();
  if (!has_descriptors(state)) return undefined_opcode();
  const auto found = find(core, instruction.operand[1], accepted);
  if (!found) return to_outcome(found.fault());
  set_zf(state, found->has_value());
  if (*found) write_register(state, instruction.operand[0], value(**found));
  return vmx::Completed{};
}

template <class Allowed>
Outcome verify(Core& core, const Instruction& instruction, const Allowed& allowed) {
  CpuState& state = core.state();
  if (!has_descriptors(state)) return undefined_opcode();
  const auto found = find(core, instruction.operand[0], kNoSystemTypes);
  if (!found) return to_outcome(found.fault());
  set_zf(state, found->has_value() && allowed(**found));
  return vmx::Completed{};
}

}  // namespace

Outcome lar(Core& core, const Instruction& instruction) {
  constexpr uint64_t kVisible = 0x00f0ff00;  // bits 19:16 are undefined
  return load_part(core, instruction, kLarTypes,
                   [](const Descriptor& descriptor) { return descriptor.low >> 32 & kVisible; });
}

Outcome lsl(Core& core, const Instruction& instruction) {
  return load_part(core, instruction, kLslTypes,
                   [](const Descriptor& descriptor) { return descriptor.limit(); });
}

Outcome verr(Core& core, const Instruction& instruction) {
  return verify(core, instruction, is_readable);
}

Outcome verw(Core& core, const Instruction& instruction) {
  return verify(core, instruction,
                [](const Descriptor& descriptor) { return descriptor.is_writable_data(); });
}

}  // namespace nestor::emu::instructions
