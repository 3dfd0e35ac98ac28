// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/cpu/memory_accesses.h"

#include <algorithm>
#include <bit>

#include "emu/cpu/segments.h"
#include "emu/cpu/stack.h"

namespace nestor::emu {
namespace {

using vmx::CpuState;

// How many bytes the bit that operand 1 names lies from the operand: whole units of its size.
uint64_t bit_offset_bytes(const CpuState& state, const Instruction& instruction) {
  const Operand& index = instruction.operand[1];
  const unsigned bits = 8u * index.size;
  const unsigned unused = 64 - bits;
  const auto offset =
      static_cast<int64_t>(state.gpr[index.number] << unused) >> unused;  // sign-extended
  const auto unit = static_cast<int64_t>(bits);
  const int64_t units = (offset - ((offset % unit + unit) % unit)) / unit;
  return static_cast<uint64_t>(units * index.size);
}

uint8_t alignment_unit(const Operand& operand) {
  // Operands of 16 bytes have a rule of their own, with #GP; areas are made of small fields.
  if (operand.size > 10) return 1;
  return static_cast<uint8_t>(std::bit_floor(std::max<unsigned>(operand.size, 1)));
}

MemoryAccess access_of(const CpuState& state, const Instruction& instruction,
                       const Operand& operand) {
  MemoryOperand memory = operand.memory;
  if (instruction.bit_offset) memory.displacement += bit_offset_bytes(state, instruction);
  // POP computes its destination with the stack pointer behind what it has popped.
  if (instruction.stack == StackUse::kPop && memory.base == vmx::kRsp) {
    memory.displacement += instruction.stack_width;
  }
  MemoryAccess access;
  access.segment = memory.segment;
  access.offset = effective_address(state, memory);
  access.size = operand.size;
  access.unit = alignment_unit(operand);
  access.read = operand.read;
  access.written = operand.written;
  access.aligned = operand.aligned;
  return access;
}

void add_stack(MemoryAccesses& accesses, const CpuState& state, const Instruction& instruction) {
  for (const StackAccess& stack : stack_accesses(instruction)) {
    MemoryAccess access;
    access.segment = vmx::kSs;
    access.offset = (state.gpr[stack.pointer] + stack.distance) & stack_pointer_mask(state);
    access.size = stack.size;
    access.unit = instruction.stack_width;
    access.read = !stack.written;
    access.written = stack.written;
    accesses.add(access);
  }
}

}  // namespace

StackAccesses stack_accesses(const Instruction& instruction) {
  constexpr uint32_t kAllRegisters = 8;
  const uint32_t width = instruction.stack_width;
  StackAccesses accesses;
  const auto push = [&](uint32_t values) {
    accesses.add({vmx::kRsp, -uint64_t{values * width}, values * width, true});
  };
  const auto pop = [&](vmx::Gpr pointer, uint32_t values) {
    accesses.add({pointer, 0, values * width, false});
  };
  switch (instruction.stack) {
    case StackUse::kNone:
      break;
    case StackUse::kPush:
      push(1);
      break;
    case StackUse::kPop:
      pop(vmx::kRsp, 1);
      break;
    case StackUse::kPushAll:
      push(kAllRegisters);
      break;
    case StackUse::kPopAll:
      pop(vmx::kRsp, kAllRegisters);
      break;
    case StackUse::kLeave:
      pop(vmx::kRbp, 1);
      break;
    case StackUse::kEnter: {
      // The frame pointers of the enclosing levels are copied from the old frame.
      const auto level = static_cast<uint32_t>(instruction.operand[1].immediate & 31);
      const uint32_t size = level > 1 ? (level - 1) * width : 0;
      if (size != 0) accesses.add({vmx::kRbp, -uint64_t{size}, size, false});
      push(level + 1);
      break;
    }
  }
  return accesses;
}

MemoryAccesses memory_accesses(const CpuState& state, const Instruction& instruction) {
  MemoryAccesses accesses;
  const uint64_t count = state.gpr[vmx::kRcx] & value_mask(instruction.address_size);
  if (instruction.repeated && count == 0) return accesses;
  // What is pushed is read first, and what is popped is written last.
  const bool pops = instruction.stack == StackUse::kPop;
  if (pops) add_stack(accesses, state, instruction);
  // Of two operands in memory the source comes second, and is read first.
  for (const bool source : {true, false}) {
    for (unsigned i = 0; i < instruction.operand_count; ++i) {
      const Operand& operand = instruction.operand[i];
      if (operand.kind != Operand::Kind::kMemory || operand.written == source) continue;
      accesses.add(access_of(state, instruction, operand));
    }
  }
  if (!pops) add_stack(accesses, state, instruction);
  return accesses;
}

uint64_t linear_address_of(const CpuState& state, const MemoryAccess& access) {
  return unchecked_linear_address(state, access.segment, access.offset);
}

bool is_part_of(const CpuState& state, const MemoryAccess& access, uint64_t linear) {
  uint64_t distance = linear - linear_address_of(state, access);
  if (!state.code_64bit()) distance &= 0xffffffff;
  return distance < access.size;
}

}  // namespace nestor::emu
