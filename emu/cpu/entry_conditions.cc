// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/cpu/entry_conditions.h"

#include <algorithm>
#include <array>
#include <bit>

#include "emu/cpu/memory_accesses.h"
#include "emu/cpu/segments.h"
#include "emu/cpu/stack.h"
#include "emu/decode/plain_code.h"
#include "emu/engine/extended_state.h"
#include "emu/memory/page_size.h"

namespace nestor::emu {
namespace {

using vmx::CpuState;
using vmx::Segment;

// A register as it was at the entry of the block and a constant, as far as the lowest `bits` go.
struct Value {
  uint8_t reg = EntryCondition::kNoRegister;
  uint64_t constant = 0;
  unsigned bits = 64;
};

class Registers {
 public:
  Registers() {
    for (size_t i = 0; i < values_.size(); ++i) values_[i].reg = static_cast<uint8_t>(i);
  }
  const Value& operator[](size_t gpr) const { return values_[gpr]; }
  // What becomes of them.
  void execute(const Instruction& instruction, const CpuState& state);

 private:
  void forget(size_t gpr) { values_[gpr] = {EntryCondition::kNoRegister, 0, 0}; }
  void move_stack_pointer(uint64_t distance, const CpuState& state);
  std::optional<Value> source(const Instruction& instruction) const;

  std::array<Value, 16> values_;
};

unsigned bits_of(uint64_t mask) { return mask == 0xffff ? 16 : mask == 0xffffffff ? 32 : 64; }

void Registers::move_stack_pointer(uint64_t distance, const CpuState& state) {
  Value& rsp = values_[vmx::kRsp];
  rsp.constant += distance;
  rsp.bits = std::min(rsp.bits, bits_of(stack_pointer_mask(state)));
}

// Of operand 1, or 1 for INC and DEC.
std::optional<Value> Registers::source(const Instruction& instruction) const {
  constexpr uint8_t kNone = EntryCondition::kNoRegister;
  if (instruction.operand_count == 1) return Value{kNone, 1, 64};
  const Operand& operand = instruction.operand[1];
  switch (operand.kind) {
    case Operand::Kind::kImmediate:
      return Value{kNone, operand.immediate, 64};
    case Operand::Kind::kRegister:
      if (operand.high_byte) return std::nullopt;
      return values_[operand.number];
    case Operand::Kind::kMemory: {
      // The address itself, as LEA has it.
      const MemoryOperand& memory = operand.memory;
      if (operand.read || memory.index || memory.rip_relative) return std::nullopt;
      Value value = memory.base ? values_[*memory.base] : Value{kNone, 0, 64};
      value.constant += memory.displacement;
      value.bits = std::min(value.bits, 8u * memory.address_size);
      return value;
    }
    default:
      return std::nullopt;
  }
}

void Registers::execute(const Instruction& instruction, const CpuState& state) {
  const std::array<Value, 16> before = values_;
  const Operand& target = instruction.operand[0];
  const bool to_register = instruction.operand_count != 0 && target.written &&
                           target.kind == Operand::Kind::kRegister && !target.high_byte;
  const auto value = to_register ? source(instruction) : std::nullopt;
  for (size_t i = 0; i < values_.size(); ++i) {
    if (instruction.changed_registers >> i & 1) forget(i);
  }
  const uint64_t width = instruction.stack_width;
  switch (instruction.stack) {
    case StackUse::kPush:
    case StackUse::kPop:
      values_[vmx::kRsp] = before[vmx::kRsp];
      move_stack_pointer(instruction.stack == StackUse::kPop ? width : -width, state);
      if (to_register && target.number == vmx::kRsp) forget(vmx::kRsp);  // POP RSP
      return;
    case StackUse::kPushAll:
      values_[vmx::kRsp] = before[vmx::kRsp];
      move_stack_pointer(-8 * width, state);
      return;
    case StackUse::kPopAll:
    case StackUse::kEnter:
    case StackUse::kLeave:
      for (size_t i = 0; i < values_.size(); ++i) forget(i);
      return;
    case StackUse::kNone:
      break;
  }
  if (!value || instruction.effect == RegisterEffect::kUnknown) return;
  constexpr uint8_t kNone = EntryCondition::kNoRegister;
  Value result = before[target.number];
  if (instruction.effect == RegisterEffect::kMove) {
    result = *value;
  } else if (value->reg != kNone) {
    return;
  } else if (instruction.effect == RegisterEffect::kAdd) {
    result.constant += value->constant;
  } else if (instruction.effect == RegisterEffect::kSubtract) {
    result.constant -= value->constant;
  } else {
    // Bits that AND clears are known.
    const auto cleared = static_cast<unsigned>(std::countr_zero(value->constant));
    result = {kNone, 0, cleared};
  }
  result.bits = std::min({result.bits, value->bits, 8u * target.size});
  values_[target.number] = result;
}

// --- the conditions of a block

class Conditions {
 public:
  Conditions(const CpuState& state, uint64_t linear, EntryConditions& conditions)
      : state_(state), linear_(linear), conditions_(conditions) {}

  // false: one of the instruction's accesses depends on what is not known.
  bool add(const Instruction& instruction, const Registers& registers, uint64_t at);
  // false: the block must end before it.
  bool add_floating_point(const Instruction& instruction, bool simd_exceptions);
  void add_interrupt_flag(const Instruction& instruction, uint8_t opcode);
  void add_never() { add({.mask = 0, .least = 1, .most = 0}); }
  bool breaks_code_limit(uint64_t at, unsigned length) const {
    if (state_.code_64bit()) return false;
    const Segment& cs = state_.segment[vmx::kCs];
    return ((linear_ + at - cs.base) & 0xffffffff) + length - 1 > cs.limit;
  }

 private:
  void add(const EntryCondition& condition) {
    if (std::ranges::find(conditions_, condition) == conditions_.end()) {
      conditions_.push_back(condition);
    }
  }
  bool add_operand(const Instruction& instruction, const Operand& operand,
                   const Registers& registers, uint64_t at);
  bool add_stack(const Instruction& instruction, const Registers& registers);
  bool add_access(vmx::SegmentRegister segment, const EntryCondition& offset, unsigned bits,
                  uint32_t size, bool read, bool written);
  uint64_t base_of(vmx::SegmentRegister segment) const {
    return unchecked_linear_address(state_, segment, 0);
  }

  const CpuState& state_;
  const uint64_t linear_;
  EntryConditions& conditions_;
  bool interrupts_disabled_ = false;
  bool meets_exceptions_ = false, compares_ = false;  // by x87 instructions before
};

bool Conditions::add(const Instruction& instruction, const Registers& registers, uint64_t at) {
  for (unsigned i = 0; i < instruction.operand_count; ++i) {
    const Operand& operand = instruction.operand[i];
    if (operand.kind != Operand::Kind::kMemory || !(operand.read || operand.written)) continue;
    if (!add_operand(instruction, operand, registers, at)) return false;
  }
  return add_stack(instruction, registers);
}

// The engine keeps x87 exceptions to itself until it enters a block with a condition.
bool Conditions::add_floating_point(const Instruction& instruction, bool simd_exceptions) {
  if (simd_exceptions && instruction.simd.kind != SimdArithmetic::Kind::kNone) add_never();
  if (!instruction.waits && instruction.x87 == X87Use::kNone) return true;
  add({.base = EntryCondition::kFcw,
       .mask = kFloatingPointExceptions,
       .least = kFloatingPointExceptions,
       .most = kFloatingPointExceptions});
  if (instruction.operation == Operation::kFninit) add({.base = EntryCondition::kFop});
  switch (instruction.x87) {
    // FNSTSW behind a comparison is for its result; it finds no exception of that comparison.
    case X87Use::kReadStatus:
      return !meets_exceptions_;
    case X87Use::kClearStatus:
      return !meets_exceptions_ && !compares_;
    case X87Use::kComparison:
      compares_ = true;
      return true;
    case X87Use::kArithmetic:
      meets_exceptions_ = true;
      return true;
    default:
      return true;
  }
}

void Conditions::add_interrupt_flag(const Instruction& instruction, uint8_t opcode) {
  constexpr uint8_t kCli = 0xfa;
  if (opcode == kCli) interrupts_disabled_ = true;
  if (instruction.operation != Operation::kSti || interrupts_disabled_) return;
  add({.base = EntryCondition::kRflags, .mask = vmx::rflags::kIf});
}

bool Conditions::add_operand(const Instruction& instruction, const Operand& operand,
                             const Registers& registers, uint64_t at) {
  if (state_.code_64bit() && !operand.aligned) return true;
  const MemoryOperand& memory = operand.memory;
  EntryCondition address;
  address.constant = memory.displacement;
  unsigned bits = 8u * memory.address_size;
  if (memory.rip_relative) address.constant += linear_ + at + instruction.length;
  if (memory.base) {
    const Value& base = registers[*memory.base];
    address.base = base.reg;
    address.constant += base.constant;
    bits = std::min(bits, base.bits);
    if (instruction.stack == StackUse::kPop && memory.base == vmx::kRsp) {
      address.constant += instruction.stack_width;
    }
  }
  if (memory.index) {
    const Value& index = registers[*memory.index];
    address.index = index.reg;
    address.scale = memory.scale;
    address.constant += index.constant * memory.scale;
    bits = std::min(bits, index.bits);
  }
  if (operand.aligned) {
    constexpr unsigned kAlignmentBits = 4;
    if (bits < kAlignmentBits) return false;
    EntryCondition aligned = address;
    aligned.constant = (address.constant + base_of(memory.segment)) & 15;
    aligned.mask = 15;
    add(aligned);
  }
  if (state_.code_64bit()) return true;
  // What these add to the address is not one of its registers.
  const bool hidden = memory.byte_index || instruction.bit_offset;
  const unsigned needed = 8u * memory.address_size;
  address.mask = value_mask(memory.address_size);
  return add_access(memory.segment, address,
                    hidden           ? 0
                    : bits >= needed ? needed
                                     : 0,
                    operand.size, operand.read, operand.written);
}

bool Conditions::add_stack(const Instruction& instruction, const Registers& registers) {
  if (state_.code_64bit() || instruction.stack == StackUse::kNone) return true;
  const uint64_t mask = stack_pointer_mask(state_);
  for (const StackAccess& access : stack_accesses(instruction)) {
    const Value& pointer = registers[access.pointer];
    EntryCondition offset;
    offset.base = pointer.reg;
    offset.constant = pointer.constant + access.distance;
    offset.mask = mask;
    const unsigned bits = pointer.bits >= bits_of(mask) ? bits_of(mask) : 0;
    if (!add_access(vmx::kSs, offset, bits, access.size, !access.written, access.written)) {
      return false;
    }
  }
  return true;
}

// `bits` of the offset are known, 0: too few.
bool Conditions::add_access(vmx::SegmentRegister segment, const EntryCondition& offset,
                            unsigned bits, uint32_t size, bool read, bool written) {
  auto range = allowed_offsets(state_, segment, size,
                               written ? SegmentAccess::kWrite : SegmentAccess::kRead);
  if (read && written && !allowed_offsets(state_, segment, size, SegmentAccess::kRead)) {
    range.reset();
  }
  if (!range) {
    add_never();
    return true;
  }
  // Nothing can lie outside. Of a segment that begins at 0 and has 4 GBytes only an operand that
  // wraps around can, and for that its page is watched.
  constexpr uint64_t kFourGBytes = 1ull << 32;
  const bool whole = range->most == kFourGBytes - size && base_of(segment) == 0;
  if (range->least == 0 && (whole || range->most >= offset.mask)) return true;
  if (bits == 0) return false;
  EntryCondition inside = offset;
  inside.least = range->least;
  inside.most = range->most;
  add(inside);
  return true;
}

// Whether anything in the code may have a condition.
bool may_have_conditions(std::span<const uint8_t> code, const CpuState& state) {
  // Opcodes of two bytes, x87 instructions and WAIT; STI, which ends a block.
  const auto hint = [](uint8_t byte) {
    return byte == 0x0f || (byte >= 0xd8 && byte <= 0xdf) || byte == 0x9b;
  };
  const bool hinted = std::ranges::any_of(code, hint) || (!code.empty() && code.back() == 0xfb);
  if (state.code_64bit()) return hinted && !count_plain_instructions(code, CodeMode::k64);
  if (hinted) return true;
  return std::ranges::any_of(state.segment.begin(), state.segment.begin() + vmx::kLdtr,
                             [](const Segment& segment) {
                               return segment.limit != 0xffffffff || segment.rights.unusable() ||
                                      (segment.rights.type() & 0xe) != 2;
                             });
}

}  // namespace

std::optional<unsigned> find_entry_conditions(Decoder& decoder, std::span<const uint8_t> code,
                                              uint64_t linear, const CpuState& state,
                                              bool simd_exceptions, EntryConditions& conditions) {
  if (!may_have_conditions(code, state)) return std::nullopt;
  const CodeMode mode = code_mode(state);
  Conditions found(state, linear, conditions);
  Registers registers;
  for (unsigned at = 0; at < code.size();) {
    const auto instruction = decoder.decode(code.subspan(at), mode);
    if (!instruction) {
      // What the engine calls undefined, it does not read to its end.
      if (!found.breaks_code_limit(at, 1)) return std::nullopt;
      if (at != 0) return at;
      found.add_never();
      return std::nullopt;
    }
    const bool known = !found.breaks_code_limit(at, instruction->length) &&
                       found.add(*instruction, registers, at) &&
                       found.add_floating_point(*instruction, simd_exceptions);
    if (!known && at != 0) return at;
    if (!known) found.add_never();
    found.add_interrupt_flag(*instruction, code[at]);
    registers.execute(*instruction, state);
    at += instruction->length;
    if (instruction->x87 == X87Use::kLoadControl && at < code.size()) return at;
  }
  return std::nullopt;
}

bool breaks_code_limit(const CpuState& state, const Instruction& instruction) {
  return !state.code_64bit() && state.rip + instruction.length - 1 > state.segment[vmx::kCs].limit;
}

bool is_available(const CpuState& state, const Instruction& instruction) {
  if (instruction.technology == Technology::kOther) {
    const uint64_t needed = instruction.waits ? vmx::cr0::kMp | vmx::cr0::kTs : 0;  // WAIT
    return needed == 0 || (state.cr0 & needed) != needed;
  }
  if (instruction.technology == Technology::kSse && (state.cr4 & vmx::cr4::kOsfxsr) == 0) {
    return false;
  }
  return (state.cr0 & (vmx::cr0::kEm | vmx::cr0::kTs)) == 0;
}

std::optional<vmx::Event> broken_rule(const CpuState& state, const Instruction& instruction) {
  if (!is_available(state, instruction)) return std::nullopt;
  if (breaks_code_limit(state, instruction)) return vmx::exception(vmx::kGp, 0);
  for (const MemoryAccess& access : memory_accesses(state, instruction)) {
    for (const SegmentAccess kind : {SegmentAccess::kRead, SegmentAccess::kWrite}) {
      if (!(kind == SegmentAccess::kRead ? access.read : access.written)) continue;
      const auto linear = linear_address(state, access.segment, access.offset, access.size, kind);
      if (const auto* event = std::get_if<vmx::Event>(&linear)) return *event;
    }
    if (access.aligned && linear_address_of(state, access) % access.size != 0) {
      return vmx::exception(vmx::kGp, 0);
    }
  }
  return std::nullopt;
}

}  // namespace nestor::emu
