// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/cpu/alignment.h"

#include <bit>

#include "emu/cpu/segments.h"

namespace nestor::emu {

std::optional<uint64_t> misaligned_operand(const vmx::CpuState& state,
                                           const Instruction& instruction) {
  for (unsigned i = 0; i < instruction.operand_count; ++i) {
    const Operand& operand = instruction.operand[i];
    if (operand.kind != Operand::Kind::kMemory || operand.size < 2 || operand.size > 10) continue;
    const uint64_t offset = effective_address(state, operand.memory);
    const uint64_t linear = unchecked_linear_address(state, operand.memory.segment, offset);
    if ((linear & (std::bit_floor(unsigned{operand.size}) - 1)) != 0) return linear;
  }
  return std::nullopt;
}

}  // namespace nestor::emu
