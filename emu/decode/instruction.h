// SPDX-License-Identifier: GPL-2.0-or-later
//
// A decoded instruction, as far as emulation looks at it.
#pragma once

#include <array>
#include <cstdint>
#include <optional>

#include "vmx/cpu_state.h"

namespace nestor::emu {

// The default operand and address size of the code segment.
enum class CodeMode : uint8_t { k16, k32, k64 };

constexpr CodeMode code_mode(const vmx::CpuState& state) {
  if (state.code_64bit()) return CodeMode::k64;
  const bool big = state.segment[vmx::kCs].rights.default_big();
  return big && !state.virtual_8086() ? CodeMode::k32 : CodeMode::k16;
}

// What is emulated, or known for other reasons: the rows of instructions.inc. Instructions that
// differ in operands only share one operation.
enum class Operation : uint8_t {
  kOther,  // any other valid instruction
#define NESTOR_INSTRUCTION(operation, ...) operation,
#include "emu/decode/instructions.inc"
  kCount,
};

// Whose registers, beside the general ones, an instruction works on.
enum class Technology : uint8_t {
  kOther,
  kX87,  // the x87 FPU's
  kMmx,  // MMX registers alone
  kSse,  // XMM registers or MXCSR
};

// Of an x87 instruction, what it has to do with exceptions.
enum class X87Use : uint8_t {
  kNone,
  kControl,      // causes none
  kReadStatus,   // nor this, which reads those of FSW: FNSTSW
  kClearStatus,  // and clears them: FNCLEX, FNINIT
  kLoadControl,  // FLDCW
  kComparison,   // may cause some, and its result is in FSW
  kArithmetic,   // may cause some
};

// Of an instruction that may cause SIMD floating-point exceptions, what they come from.
struct SimdArithmetic {
  enum class Kind : uint8_t {
    kNone,        // causes none
    kConversion,  // of integers, or to them: no denormal operands, no tiny results
    kOrdinary,
    kDivide,
    kSquareRoot,
  } kind = Kind::kNone;
  uint8_t size = 0, count = 0;  // of floating-point elements in a source: bytes, and how many
  uint8_t result_size = 0;      // bytes, of elements that may be tiny; 0: there are none
  bool two_sources = false;     // the destination is a source, too
  uint8_t destination = 0, source = 0;  // XMM registers; the source may be in memory instead
};

// How control goes elsewhere within the code segment.
enum class NearBranch : uint8_t {
  kNone,
  kConditional,  // LOOP and JCXZ with their kin, too
  kRelativeCall,
  kIndirectCall,
  kReturn,
  kIndirectJump,
  kRelativeJump,
};

constexpr bool is_relative(NearBranch branch) {
  return branch == NearBranch::kConditional || branch == NearBranch::kRelativeCall ||
         branch == NearBranch::kRelativeJump;
}

// What becomes of operand 0, a register, where that is easily said.
enum class RegisterEffect : uint8_t {
  kUnknown,
  kMove,  // the value of operand 1: a register, an immediate, or the address of a memory operand
  kAdd,
  kSubtract,
  kAnd,
};

struct MemoryOperand {
  std::optional<vmx::Gpr> base, index;
  bool rip_relative = false;
  bool byte_index = false;   // XLAT: of the index register the lowest byte counts
  uint8_t scale = 1;         // 1, 2, 4 or 8
  uint8_t address_size = 8;  // bytes: 2, 4 or 8
  // The segment in effect; the default one when there is no override.
  vmx::SegmentRegister segment = vmx::kDs;
  uint64_t displacement = 0;       // sign-extended
  uint8_t instruction_length = 0;  // RIP-relative addresses count from the next instruction
};

struct Operand {
  enum class Kind : uint8_t {
    kNone,
    kRegister,
    kSegment,
    kControlRegister,
    kDebugRegister,
    kMemory,
    kImmediate,
    kOther,
  } kind = Kind::kNone;
  uint16_t size = 0;       // bytes
  uint8_t number = 0;      // of the register; vmx::Gpr for kRegister
  bool high_byte = false;  // AH, CH, DH, BH
  // Of a memory operand: neither is true where only its address is used (LEA, PREFETCH).
  bool read = false, written = false;
  bool aligned = false;    // #GP(0) unless aligned to its size: legacy SSE with 16 bytes
  uint64_t immediate = 0;  // sign-extended
  MemoryOperand memory;    // kMemory only
};

// What an instruction does with the stack beside its operands.
enum class StackUse : uint8_t {
  kNone,
  kPush,
  kPop,
  kPushAll,  // PUSHA, POPA: eight registers
  kPopAll,
  kEnter,  // operands: the size of the frame, and the nesting level
  kLeave,
};

struct Prefixes {
  bool lock = false, repne = false, rep = false;    // F0, F2, F3
  bool operand_size = false, address_size = false;  // 66, 67
  bool rex_w = false;
  std::optional<vmx::SegmentRegister> segment;
};

struct Instruction {
  static constexpr unsigned kMaxLength = 15;
  static constexpr unsigned kMaxOperands = 4;

  Operation operation = Operation::kOther;
  Technology technology = Technology::kOther;
  CodeMode mode = CodeMode::k64;
  uint8_t length = 0;
  uint8_t address_size = 8;  // bytes: 2, 4 or 8
  uint8_t operand_size =
      4;  // bytes: 2, 4 or 8, as prefixes and mode say, before any default of the instruction
  Prefixes prefixes;
  StackUse stack = StackUse::kNone;
  uint8_t stack_width = 0;  // bytes that each push or pop moves
  NearBranch branch = NearBranch::kNone;
  uint8_t branch_opcode = 0;  // of kNearBranch: the last byte of the opcode
  bool waits = false;         // reports an x87 exception that is pending
  X87Use x87 = X87Use::kNone;
  uint16_t fop = 0;  // of an x87 instruction, as FOP has it
  SimdArithmetic simd;
  bool repeated = false;    // a string instruction with a REP prefix
  bool bit_offset = false;  // BT and its kin: operand 1, a register, is a bit offset from operand 0
  RegisterEffect effect = RegisterEffect::kUnknown;
  uint16_t changed_registers = 0;  // bit n: vmx::Gpr n may change
  uint8_t modrm = 0;
  uint8_t operand_count = 0;
  std::array<Operand, kMaxOperands> operand;
  std::array<char, 96> text{};  // mnemonic and operands in Intel syntax, zero-terminated

  bool always_branches() const {
    return branch != NearBranch::kNone && branch != NearBranch::kConditional;
  }
  const MemoryOperand* memory() const {
    for (unsigned i = 0; i < operand_count; ++i) {
      if (operand[i].kind == Operand::Kind::kMemory) return &operand[i].memory;
    }
    return nullptr;
  }
};

}  // namespace nestor::emu
