// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/cpu/instructions/operands.h"

#include <array>
#include <bit>
#include <cstring>

#include "emu/cpu/instructions/instruction_table.h"

namespace nestor::emu::instructions {
namespace {

using vmx::CpuState;

using Kind = InformationFormat::Kind;

uint32_t log2_of(unsigned power) { return static_cast<uint32_t>(std::countr_zero(power)); }

uint32_t memory_information(const MemoryOperand& memory) {
  constexpr uint32_t kNoIndex = 1u << 22, kNoBase = 1u << 27;
  uint32_t information = (log2_of(memory.address_size) - 1) << 7;
  information |= static_cast<uint32_t>(memory.segment) << 15;
  information |=
      memory.index ? log2_of(memory.scale) | static_cast<uint32_t>(*memory.index) << 18 : kNoIndex;
  information |= memory.base ? static_cast<uint32_t>(*memory.base) << 23 : kNoBase;
  return information;
}

// "Format of the VM-Exit Instruction-Information Field as Used for INS and OUTS".
uint32_t string_io_information(const Instruction& instruction) {
  uint32_t information = (log2_of(instruction.address_size) - 1) << 7;
  const MemoryOperand* memory = instruction.memory();
  if (memory != nullptr && instruction.operation == Operation::kOuts) {
    information |= static_cast<uint32_t>(memory->segment) << 15;
  }
  return information;
}

// "Format of the VM-Exit Instruction-Information Field as Used for RDRAND and RDSEED".
uint32_t random_number_information(const Instruction& instruction) {
  const Operand& destination = instruction.operand[0];
  return static_cast<uint32_t>(destination.number) << 3 | (log2_of(destination.size) - 1) << 11;
}

uint32_t instruction_information(const Instruction& instruction) {
  constexpr uint32_t kRegisterForm = 1u << 10, kOperandSize32 = 1u << 11;
  const InformationFormat& format = info_of(instruction.operation).information;
  if (format.kind == Kind::kStringIo) return string_io_information(instruction);
  if (format.kind == Kind::kRandomNumber) return random_number_information(instruction);
  if (format.kind == Kind::kNothing) return 0;
  const Operand& rm = instruction.operand[format.rm];
  uint32_t information = rm.kind == Operand::Kind::kMemory
                             ? memory_information(rm.memory)
                             : kRegisterForm | static_cast<uint32_t>(rm.number) << 3;
  if (format.reg != InformationFormat::kNone) {
    information |= static_cast<uint32_t>(instruction.operand[format.reg].number) << 28;
  }
  if (format.identity != InformationFormat::kNone)
    information |= static_cast<uint32_t>(format.identity) << 28;
  const bool sized = format.operand_size && instruction.mode != CodeMode::k64;
  if (sized && instruction.operand_size == 4) information |= kOperandSize32;
  return information;
}

}  // namespace

uint64_t read_register(const CpuState& state, const Operand& operand) {
  const uint64_t value = state.gpr[operand.number];
  switch (operand.size) {
    case 1:
      return (operand.high_byte ? value >> 8 : value) & 0xff;
    case 2:
      return value & 0xffff;
    case 4:
      return value & 0xffffffff;
    default:
      return value;
  }
}

void write_register(CpuState& state, vmx::Gpr gpr, unsigned size, uint64_t value) {
  uint64_t& target = state.gpr[gpr];
  switch (size) {
    case 1:
      target = (target & ~0xffull) | (value & 0xff);
      break;
    case 2:
      target = (target & ~0xffffull) | (value & 0xffff);
      break;
    case 4:
      target = value & 0xffffffff;
      break;
    default:
      target = value;
      break;
  }
}

void write_register(CpuState& state, const Operand& operand, uint64_t value) {
  write_register(state, static_cast<vmx::Gpr>(operand.number), operand.size, value);
}

std::optional<Fault> load(Core& core, const MemoryOperand& operand, std::span<uint8_t> out) {
  const auto linear = linear_address(core.state(), operand, out.size(), SegmentAccess::kRead);
  if (const auto* event = std::get_if<vmx::Event>(&linear)) return *event;
  return core.read(std::get<uint64_t>(linear), out, Privilege::kCurrent);
}

std::optional<Fault> store(Core& core, const MemoryOperand& operand,
                           std::span<const uint8_t> data) {
  const auto linear = linear_address(core.state(), operand, data.size(), SegmentAccess::kWrite);
  if (const auto* event = std::get_if<vmx::Event>(&linear)) return *event;
  return core.write(std::get<uint64_t>(linear), data, Privilege::kCurrent);
}

Result<uint16_t> load_word(Core& core, const Operand& operand) {
  if (operand.kind != Operand::Kind::kMemory) {
    return static_cast<uint16_t>(core.state().gpr[operand.number]);
  }
  uint16_t word = 0;
  if (auto fault =
          load(core, operand.memory, std::span(reinterpret_cast<uint8_t*>(&word), sizeof word))) {
    return *fault;
  }
  return word;
}

std::optional<Fault> store_word(Core& core, const Operand& operand, uint64_t value) {
  if (operand.kind != Operand::Kind::kMemory) {
    write_register(core.state(), operand, value);
    return std::nullopt;
  }
  return store(core, operand.memory, std::span(reinterpret_cast<const uint8_t*>(&value), 2));
}

Result<FarPointer> read_far_pointer(Core& core, const Instruction& instruction) {
  FarPointer pointer;
  const MemoryOperand* memory = instruction.memory();
  if (memory == nullptr) {
    pointer.selector = static_cast<uint16_t>(instruction.operand[0].immediate);
    pointer.offset = instruction.operand[1].immediate & value_mask(instruction.operand_size);
    return pointer;
  }
  const unsigned offset_size = instruction.operand_size;
  std::array<uint8_t, sizeof pointer.offset + sizeof pointer.selector> bytes{};
  if (auto fault = load(core, *memory, std::span(bytes).first(offset_size + 2))) return *fault;
  std::memcpy(&pointer.offset, bytes.data(), offset_size);
  std::memcpy(&pointer.selector, bytes.data() + offset_size, sizeof pointer.selector);
  return pointer;
}

void write_edx_eax(CpuState& state, uint64_t value) {
  state.gpr[vmx::kRax] = value & 0xffffffff;
  state.gpr[vmx::kRdx] = value >> 32;
}

uint64_t read_edx_eax(const CpuState& state) {
  return (state.gpr[vmx::kRax] & 0xffffffff) | state.gpr[vmx::kRdx] << 32;
}

void invalidate(Core& core, vmx::Invalidation::Kind kind, uint64_t linear) {
  vmx::Invalidation invalidation;
  invalidation.kind = kind;
  invalidation.vpid = core.vmx().vpid();
  invalidation.pcid = core.state().pcid();
  invalidation.linear = linear;
  core.invalidate(invalidation);
}

vmx::InstructionContext context_of(const CpuState& state, const Instruction& instruction) {
  vmx::InstructionContext context;
  context.length = instruction.length;
  context.information = instruction_information(instruction);
  context.long_operands = instruction.mode == CodeMode::k64;
  const InformationFormat& format = info_of(instruction.operation).information;
  if (format.kind == Kind::kOperands) {
    if (format.reg != InformationFormat::kNone)
      context.reg = instruction.operand[format.reg].number;
    const Operand& rm = instruction.operand[format.rm];
    if (rm.kind == Operand::Kind::kRegister) context.rm_reg = rm.number;
  }
  if (const MemoryOperand* memory = instruction.memory()) {
    context.displacement = memory->displacement;
    if (memory->rip_relative) context.displacement += state.rip + instruction.length;
    context.memory =
        unchecked_linear_address(state, memory->segment, effective_address(state, *memory));
  }
  return context;
}

vmx::InstructionContext context_of(const CpuState& state, const Instruction& instruction,
                                   uint64_t size, SegmentAccess access) {
  vmx::InstructionContext context = context_of(state, instruction);
  if (const MemoryOperand* memory = instruction.memory()) {
    const auto linear = linear_address(state, *memory, size, access);
    if (const auto* event = std::get_if<vmx::Event>(&linear)) context.memory_fault = *event;
  }
  return context;
}

bool exits(Core& core, const Instruction& instruction, uint64_t qualification) {
  if (!core.vmx().in_non_root()) return false;
  const vmx::ExitReason reason = info_of(instruction.operation).exit_reason.value();
  return core.vmx().instruction_exits(reason, context_of(core.state(), instruction), qualification);
}

}  // namespace nestor::emu::instructions
