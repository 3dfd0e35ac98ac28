// SPDX-License-Identifier: GPL-2.0-or-later
//
// What the instruction families have in common: operands, privilege, and the description for VMX.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <variant>

#include "emu/cpu/core.h"
#include "emu/cpu/result.h"
#include "emu/cpu/segments.h"
#include "emu/decode/instruction.h"

namespace nestor::emu::instructions {

// `why`: Event::why.
inline vmx::Event undefined_opcode(std::string_view why = {}) {
  return vmx::because(why, vmx::exception(vmx::kUd));
}
inline vmx::Event general_protection(uint32_t error = 0) { return vmx::exception(vmx::kGp, error); }

// What the processor's registers can hold.
inline const vmx::RegisterRules& rules(Core& core) { return core.vmx().capabilities().registers; }

// LLDT, LTR and their like, and task switches: not in real-address and virtual-8086 mode.
inline bool has_descriptors(const vmx::CpuState& state) {
  return state.protected_mode() && !state.virtual_8086();
}

// A register operand as wide as it is; writes of 4 bytes clear the upper half, narrower ones keep
// the rest.
uint64_t read_register(const vmx::CpuState& state, const Operand& operand);
void write_register(vmx::CpuState& state, const Operand& operand, uint64_t value);
void write_register(vmx::CpuState& state, vmx::Gpr gpr, unsigned size, uint64_t value);

// A memory operand through its segment and paging, at the current privilege.
std::optional<Fault> load(Core& core, const MemoryOperand& operand, std::span<uint8_t> out);
std::optional<Fault> store(Core& core, const MemoryOperand& operand, std::span<const uint8_t> data);
// A register or memory operand of 16 bits.
Result<uint16_t> load_word(Core& core, const Operand& operand);
// A register operand as wide as it is, or 16 bits of memory: SMSW, SLDT, STR.
std::optional<Fault> store_word(Core& core, const Operand& operand, uint64_t value);

// A pointer in the instruction, or in memory, where the selector lies behind the offset.
struct FarPointer {
  uint16_t selector = 0;
  uint64_t offset = 0;
};
Result<FarPointer> read_far_pointer(Core& core, const Instruction& instruction);

// EDX:EAX.
void write_edx_eax(vmx::CpuState& state, uint64_t value);
uint64_t read_edx_eax(const vmx::CpuState& state);

// Drops what `kind` says of the current VPID and PCID.
void invalidate(Core& core, vmx::Invalidation::Kind kind, uint64_t linear = 0);

// Loads PKRU.
void set_pkru(Core& core, uint32_t value);

// What VMX is told of the instruction; `size` and `access` are those of its memory operand, if it
// has one.
vmx::InstructionContext context_of(const vmx::CpuState& state, const Instruction& instruction);
vmx::InstructionContext context_of(const vmx::CpuState& state, const Instruction& instruction,
                                   uint64_t size, SegmentAccess access);

// Whether the instruction, whose row of instructions.inc names an exit reason, causes that VM exit,
// which has then happened. `qualification`: where it is neither 0 nor the displacement.
bool exits(Core& core, const Instruction& instruction, uint64_t qualification = 0);

}  // namespace nestor::emu::instructions
