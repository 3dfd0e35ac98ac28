// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/decode/memory_use.h"

#include <capstone/capstone.h>

#include <algorithm>
#include <iterator>

namespace nestor::emu {
namespace {

// Directions of memory operands that Capstone has wrong.
struct Direction {
  x86_insn id;
  bool read, written;
};
constexpr Direction kDirections[] = {
    // The address alone is used.
    {X86_INS_LEA, false, false},         {X86_INS_NOP, false, false},
    {X86_INS_PREFETCH, false, false},    {X86_INS_PREFETCHW, false, false},
    {X86_INS_PREFETCHNTA, false, false}, {X86_INS_PREFETCHT0, false, false},
    {X86_INS_PREFETCHT1, false, false},  {X86_INS_PREFETCHT2, false, false},
    {X86_INS_MOVNTI, false, true},       {X86_INS_ROL, true, true},
    {X86_INS_ROR, true, true},           {X86_INS_RCL, true, true},
    {X86_INS_RCR, true, true},           {X86_INS_CMPXCHG, true, true},
    {X86_INS_CMPXCHG8B, true, true},     {X86_INS_CMPXCHG16B, true, true},
    {X86_INS_FRSTOR, true, false},       {X86_INS_TEST, true, false},
    {X86_INS_ROUNDSD, true, false},      {X86_INS_ROUNDSS, true, false},
};

// What only writes to memory where that is the first operand, though Capstone says that it reads.
constexpr x86_insn kStores[] = {
    X86_INS_EXTRACTPS, X86_INS_FIST,    X86_INS_FISTP,   X86_INS_FISTTP,  X86_INS_FNSTCW,
    X86_INS_FST,       X86_INS_FSTP,    X86_INS_MOVD,    X86_INS_MOVHPD,  X86_INS_MOVHPS,
    X86_INS_MOVLPD,    X86_INS_MOVLPS,  X86_INS_MOVNTDQ, X86_INS_MOVNTPD, X86_INS_MOVNTPS,
    X86_INS_MOVNTQ,    X86_INS_MOVNTSD, X86_INS_MOVNTSS, X86_INS_MOVQ,    X86_INS_MOVUPD,
    X86_INS_MOVUPS,    X86_INS_PEXTRB,  X86_INS_PEXTRD,  X86_INS_PEXTRQ,  X86_INS_PEXTRW,
    X86_INS_SETA,      X86_INS_SETAE,   X86_INS_SETB,    X86_INS_SETBE,   X86_INS_SETE,
    X86_INS_SETG,      X86_INS_SETGE,   X86_INS_SETL,    X86_INS_SETLE,   X86_INS_SETNE,
    X86_INS_SETNO,     X86_INS_SETNP,   X86_INS_SETNS,   X86_INS_SETO,    X86_INS_SETP,
    X86_INS_SETS,      X86_INS_STMXCSR,
};

// Sizes that Capstone has wrong: in bytes, with operands of 16 bits and of more.
struct Size {
  x86_insn id;
  uint16_t narrow, wide;
};
constexpr Size kSizes[] = {
    {X86_INS_FXSAVE, 512, 512},    {X86_INS_FXSAVE64, 512, 512}, {X86_INS_FXRSTOR, 512, 512},
    {X86_INS_FXRSTOR64, 512, 512}, {X86_INS_FNSAVE, 94, 108},    {X86_INS_FRSTOR, 94, 108},
    {X86_INS_FNSTENV, 14, 28},     {X86_INS_FLDENV, 14, 28},     {X86_INS_COMISD, 8, 8},
};

// Operands of 16 bytes that need not be aligned.
constexpr x86_insn kUnaligned[] = {
    X86_INS_MOVUPS,    X86_INS_MOVUPD,    X86_INS_MOVDQU,    X86_INS_LDDQU,
    X86_INS_PCMPESTRI, X86_INS_PCMPESTRM, X86_INS_PCMPISTRI, X86_INS_PCMPISTRM,
};

StackUse stack_use(unsigned id) {
  switch (id) {
    case X86_INS_PUSH:
    case X86_INS_PUSHF:
    case X86_INS_PUSHFD:
    case X86_INS_PUSHFQ:
    case X86_INS_CALL:
      return StackUse::kPush;
    case X86_INS_POP:
    case X86_INS_POPF:
    case X86_INS_POPFD:
    case X86_INS_POPFQ:
    case X86_INS_RET:
      return StackUse::kPop;
    case X86_INS_PUSHAL:
    case X86_INS_PUSHAW:
      return StackUse::kPushAll;
    case X86_INS_POPAL:
    case X86_INS_POPAW:
      return StackUse::kPopAll;
    case X86_INS_ENTER:
      return StackUse::kEnter;
    case X86_INS_LEAVE:
      return StackUse::kLeave;
    default:
      return StackUse::kNone;
  }
}

bool is_string(uint8_t opcode) {
  return (opcode >= 0xa4 && opcode <= 0xa7) || (opcode >= 0xaa && opcode <= 0xaf) ||
         (opcode >= 0x6c && opcode <= 0x6f);
}

Operand implied_operand(const Instruction& instruction, vmx::Gpr base, uint16_t size) {
  Operand operand;
  operand.kind = Operand::Kind::kMemory;
  operand.size = size;
  operand.memory.base = base;
  operand.memory.address_size = instruction.address_size;
  operand.memory.segment = instruction.prefixes.segment.value_or(vmx::kDs);
  operand.memory.instruction_length = instruction.length;
  return operand;
}

void add_implied_operand(Instruction& instruction, unsigned id) {
  if (id == X86_INS_XLATB) {
    Operand operand = implied_operand(instruction, vmx::kRbx, 1);
    operand.memory.index = vmx::kRax;
    operand.memory.byte_index = true;
    operand.read = true;
    instruction.operand[instruction.operand_count++] = operand;
  } else if (id == X86_INS_MASKMOVQ || id == X86_INS_MASKMOVDQU) {
    Operand operand = implied_operand(instruction, vmx::kRdi, id == X86_INS_MASKMOVQ ? 8 : 16);
    operand.written = true;
    instruction.operand[instruction.operand_count++] = operand;
  }
}

void correct(Operand& operand, const Instruction& instruction, unsigned id) {
  if (operand.kind != Operand::Kind::kMemory) return;
  if (&operand == instruction.operand.data() &&
      std::ranges::find(kStores, id) != std::end(kStores)) {
    operand.read = false;
    operand.written = true;
  }
  // Of strings; the SSE instruction of the same name has one operand in memory.
  if (id == X86_INS_CMPSD) operand.read = true;
  const auto* direction = std::ranges::find(kDirections, id, &Direction::id);
  if (direction != std::end(kDirections)) {
    operand.read = direction->read;
    operand.written = direction->written;
  }
  const auto* size = std::ranges::find(kSizes, id, &Size::id);
  if (size != std::end(kSizes)) {
    operand.size = instruction.operand_size == 2 ? size->narrow : size->wide;
  }
  operand.aligned = instruction.technology == Technology::kSse && operand.size == 16 &&
                    std::ranges::find(kUnaligned, id) == std::end(kUnaligned);
}

}  // namespace

void complete_memory_use(Instruction& instruction, const cs_insn& decoded, uint8_t opcode) {
  const unsigned id = decoded.id;
  for (unsigned i = 0; i < instruction.operand_count; ++i) {
    correct(instruction.operand[i], instruction, id);
  }
  add_implied_operand(instruction, id);
  const Prefixes& prefixes = instruction.prefixes;
  instruction.repeated = (prefixes.rep || prefixes.repne) && is_string(opcode);
  instruction.bit_offset =
      (id == X86_INS_BT || id == X86_INS_BTS || id == X86_INS_BTR || id == X86_INS_BTC) &&
      instruction.operand[1].kind == Operand::Kind::kRegister;
  instruction.stack = stack_use(id);
  instruction.stack_width = instruction.operand_size;
  if (instruction.mode == CodeMode::k64) {
    const bool near = id == X86_INS_CALL || id == X86_INS_RET;
    instruction.stack_width = !near && prefixes.operand_size && !prefixes.rex_w ? 2 : 8;
  }
}

}  // namespace nestor::emu
