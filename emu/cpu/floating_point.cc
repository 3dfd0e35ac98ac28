// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/cpu/floating_point.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <span>

#include "emu/cpu/entry_conditions.h"
#include "emu/cpu/memory_accesses.h"

namespace nestor::emu {
namespace {

// Exception flags of FSW and MXCSR. Those of the first group are found before anything is computed,
// and leave the operands as they are.
constexpr uint16_t kInvalid = 1, kDenormal = 2, kZeroDivide = 4, kUnderflow = 16;
constexpr uint16_t kBeforeComputation = kInvalid | kDenormal | kZeroDivide;

enum class Number { kZero, kTiny, kOrdinary, kNan };

Number number_of(uint64_t bits, unsigned size) {
  const unsigned fraction_bits = size == 4 ? 23 : 52;
  const uint64_t exponents = size == 4 ? 0xff : 0x7ff;
  const uint64_t exponent = bits >> fraction_bits & exponents;
  const uint64_t fraction = bits & ((uint64_t{1} << fraction_bits) - 1);
  if (exponent == exponents && fraction != 0) return Number::kNan;
  if (exponent != 0) return Number::kOrdinary;
  return fraction != 0 ? Number::kTiny : Number::kZero;
}

bool is_negative(uint64_t bits, unsigned size) { return bits >> (8 * size - 1) & 1; }

using Register = std::array<uint64_t, 2>;

uint64_t element(const Register& value, unsigned size, unsigned index) {
  uint64_t bits = 0;
  std::memcpy(&bits, reinterpret_cast<const uint8_t*>(value.data()) + index * size, size);
  return bits;
}

// Of an x87 register.
Number number_of(const std::array<uint8_t, 10>& value) {
  uint64_t significand;
  uint16_t exponent;
  std::memcpy(&significand, value.data(), sizeof significand);
  std::memcpy(&exponent, value.data() + sizeof significand, sizeof exponent);
  exponent &= 0x7fff;
  if (exponent == 0) return significand != 0 ? Number::kTiny : Number::kZero;
  const bool nan = exponent == 0x7fff && significand << 1 != 0;
  return nan ? Number::kNan : Number::kOrdinary;
}

// Instructions that move, compare signs or classify, and look at no value: FOP, without what names
// a register.
bool looks_at_values(const Instruction& instruction) {
  const unsigned opcode = instruction.fop >> 8, modrm = instruction.fop & 0xff;
  const unsigned reg = modrm >> 3 & 7;
  const bool memory = modrm < 0xc0;
  switch (opcode) {
    case 0:
    case 4:
      return true;  // arithmetic and FCOM
    case 2:
    case 6:
      return memory || opcode == 6 || modrm == 0xe9;  // of integers, or FUCOMPP; not FCMOV
    case 1:
      if (memory) return reg == 0;  // FLD of 32 bits
      return modrm == 0xe4 || (modrm >= 0xf0 && modrm != 0xf6 && modrm != 0xf7);
    case 5:
      return memory ? reg == 0 : reg == 4 || reg == 5;  // FLD of 64 bits, FUCOM
    default:
      return !memory && (reg == 5 || reg == 6);  // FUCOMI, FCOMI
  }
}

}  // namespace

bool reports_x87_exception(Core& core, const Instruction& instruction) {
  const vmx::CpuState& state = core.state();
  if (!instruction.waits || !(state.cr0 & vmx::cr0::kNe)) return false;
  if (!is_available(state, instruction)) return false;
  ExtendedState extended;
  core.read_extended_state(extended);
  return (extended.fsw & ~extended.fcw & kFloatingPointExceptions) != 0;
}

std::optional<FloatingPointStep> FloatingPointStep::begin(Core& core,
                                                          const Instruction& instruction) {
  const bool simd = instruction.simd.kind != SimdArithmetic::Kind::kNone;
  const bool x87 = instruction.x87 == X87Use::kComparison || instruction.x87 == X87Use::kArithmetic;
  if (!simd && !x87) return std::nullopt;
  if (!is_available(core.state(), instruction)) return std::nullopt;
  FloatingPointStep step(core, instruction);
  core.read_extended_state(step.before_);
  const ExtendedState& before = step.before_;
  if (simd && !has_simd_exceptions(before.mxcsr)) return std::nullopt;
  if (!simd && !(~before.fcw & kFloatingPointExceptions)) return std::nullopt;
  if (!simd) step.overwritten_ = step.operand_in_memory(true);
  ExtendedState cleared = before;
  if (simd) {
    cleared.mxcsr &= ~uint32_t{kFloatingPointExceptions};
  } else {
    cleared.fsw &= static_cast<uint16_t>(~kFloatingPointExceptions);
  }
  core.write_extended_state(cleared);
  return step;
}

std::optional<vmx::Event> FloatingPointStep::finish() {
  ExtendedState after;
  core_->read_extended_state(after);
  if (instruction_.simd.kind != SimdArithmetic::Kind::kNone) return finish_simd(after);
  finish_x87(after);
  return std::nullopt;
}

// Empty: there is none, or it cannot be read.
std::vector<uint8_t> FloatingPointStep::operand_in_memory(bool written) {
  for (const MemoryAccess& access : memory_accesses(state_, instruction_)) {
    if (!(written ? access.written : access.read)) continue;
    std::vector<uint8_t> bytes(access.size);
    if (core_->read(linear_address_of(state_, access), bytes, Privilege::kCurrent)) return {};
    return bytes;
  }
  return {};
}

// An element counts unless something of higher priority happens to it ("Priority Among
// Simultaneous Exceptions and Interrupts", in volume 1).
bool FloatingPointStep::has_denormal_operand() {
  if (instruction_.simd.kind != SimdArithmetic::Kind::kNone) {
    const SimdArithmetic& simd = instruction_.simd;
    constexpr uint32_t kDenormalsAreZeros = 1 << 6;
    if (simd.kind == SimdArithmetic::Kind::kConversion || (before_.mxcsr & kDenormalsAreZeros)) {
      return false;
    }
    Register source = before_.xmm[simd.source];
    const std::vector<uint8_t> memory = operand_in_memory(false);
    if (!memory.empty()) {
      std::memcpy(source.data(), memory.data(), std::min(memory.size(), sizeof source));
    }
    for (unsigned i = 0; i < simd.count; ++i) {
      const uint64_t bits = element(source, simd.size, i);
      const Number second = number_of(bits, simd.size);
      const Number first =
          simd.two_sources
              ? number_of(element(before_.xmm[simd.destination], simd.size, i), simd.size)
              : Number::kOrdinary;
      if (first == Number::kNan || second == Number::kNan) continue;
      if (simd.kind == SimdArithmetic::Kind::kDivide && second == Number::kZero) continue;
      if (simd.kind == SimdArithmetic::Kind::kSquareRoot && is_negative(bits, simd.size)) continue;
      if (first == Number::kTiny || second == Number::kTiny) return true;
    }
    return false;
  }
  if (!looks_at_values(instruction_)) return false;
  const unsigned opcode = instruction_.fop >> 8, modrm = instruction_.fop & 0xff;
  const bool load = opcode == 1 || opcode == 5;
  const std::vector<uint8_t> memory = operand_in_memory(false);
  const bool real = opcode == 0 || opcode == 1 || opcode == 4 || opcode == 5;
  Number operands[] = {Number::kOrdinary, Number::kOrdinary};
  if (modrm >= 0xc0 || !load) operands[0] = number_of(before_.st[0]);
  if (!memory.empty() && real && memory.size() <= 8) {
    uint64_t bits = 0;
    std::memcpy(&bits, memory.data(), memory.size());
    operands[1] = number_of(bits, static_cast<unsigned>(memory.size()));
  } else if (modrm >= 0xc0 && opcode != 1) {
    operands[1] = number_of(before_.st[modrm & 7]);
  }
  return std::ranges::find(operands, Number::kNan) == std::end(operands) &&
         std::ranges::find(operands, Number::kTiny) != std::end(operands);
}

// Unmasked, underflow does not ask whether the result is inexact.
bool FloatingPointStep::has_tiny_result(const ExtendedState& after) const {
  const SimdArithmetic& simd = instruction_.simd;
  if (simd.result_size == 0) return false;
  for (unsigned i = 0; i < simd.count; ++i) {
    const uint64_t bits = element(after.xmm[simd.destination], simd.result_size, i);
    if (number_of(bits, simd.result_size) == Number::kTiny) return true;
  }
  return false;
}

std::optional<vmx::Event> FloatingPointStep::finish_simd(ExtendedState& after) {
  const uint32_t unmasked = ~before_.mxcsr >> 7 & kFloatingPointExceptions;
  uint32_t flags = after.mxcsr & kFloatingPointExceptions;
  if (has_denormal_operand()) flags |= kDenormal;
  if ((unmasked & kUnderflow) != 0 && has_tiny_result(after)) flags |= kUnderflow;
  if (flags & kBeforeComputation & unmasked) flags &= kBeforeComputation;
  const uint32_t sticky = before_.mxcsr & kFloatingPointExceptions;
  if (!(flags & unmasked)) {
    after.mxcsr |= sticky | flags;
    core_->write_extended_state(after);
    return std::nullopt;
  }
  before_.mxcsr |= flags;
  core_->write_extended_state(before_);
  core_->state() = state_;
  const bool reported = (state_.cr4 & vmx::cr4::kOsxmmexcpt) != 0;
  return vmx::exception(reported ? vmx::kXm : vmx::kUd);
}

// The exception is pending then, and the instruction over.
void FloatingPointStep::finish_x87(ExtendedState& after) {
  const uint16_t unmasked = ~before_.fcw & kFloatingPointExceptions;
  const uint16_t sticky = before_.fsw & kFloatingPointExceptions;
  uint16_t flags = after.fsw & kFloatingPointExceptions;
  if (has_denormal_operand() && !(flags & (kInvalid | kZeroDivide))) flags |= kDenormal;
  const bool undone = (flags & kBeforeComputation & unmasked) != 0;
  if (undone) flags &= kBeforeComputation;
  const uint16_t caused = flags & unmasked;
  ExtendedState& result = undone ? before_ : after;
  result.fsw |= sticky | flags;
  const MemoryAccesses accesses = memory_accesses(state_, instruction_);
  if (undone) {
    result.fip = after.fip;
    result.fdp = after.fdp;
    result.fcs = after.fcs;
    result.fds = after.fds;
    core_->state().rflags = state_.rflags;
    core_->state().rflags &= ~uint64_t{vmx::rflags::kRf};
    if (!overwritten_.empty()) {
      const uint64_t at = linear_address_of(state_, *accesses.begin());
      (void)core_->write(at, overwritten_, Privilege::kCurrent);
    }
  }
  if (caused != 0) {
    result.fop = instruction_.fop;
    result.exception_fdp =
        accesses.begin() != accesses.end() ? accesses.begin()->offset : before_.fdp;
  }
  core_->write_extended_state(result);
}

}  // namespace nestor::emu
