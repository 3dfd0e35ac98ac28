// SPDX-License-Identifier: GPL-2.0-or-later
//
// Addresses in code as sums of the registers at its start.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <unordered_map>

#include "emu/timing/instruction_price.h"

namespace nestor::emu::timing {

inline constexpr unsigned kGprs = 16;
// The general registers, and where the code starts.
using RegisterValues = std::array<uint64_t, kGprs + 1>;

// `registers`: as RegisterValues has them; the last one is not needed where the address has none.
inline uint64_t evaluate(const Address& address, const uint64_t* registers) {
  auto value = static_cast<uint64_t>(address.offset);
  if (address.base != Address::kNone) value += registers[address.base];
  if (address.index != Address::kNone) value += registers[address.index] * address.scale;
  return value;
}

// What the general registers hold, from instruction to instruction.
class RegisterSums {
 public:
  RegisterSums();

  // Of the next instruction's memory operand, from the registers at the start. std::nullopt: it is
  // no such sum.
  std::optional<Address> address_of(const InstructionPrice& price) const;
  // Goes on after the instruction.
  void apply(const InstructionPrice& price);

  // std::nullopt: anything.
  const std::optional<Address>& of(unsigned gpr) const { return sums_[gpr]; }

 private:
  std::optional<Address> from_start(const Address& address) const;

  std::array<std::optional<Address>, kGprs> sums_;
  int64_t position_ = 0;  // bytes from the start
};

// What code computes, without knowing what is in registers and memory: numbers that are the same
// where the same instructions are executed on the same numbers. Sums are true sums, so that the
// distances of addresses are right. Two numbers that no such rule makes the same are different.
class SymbolicState {
 public:
  SymbolicState();

  const RegisterValues& registers() const { return registers_; }
  // The address of the next instruction's memory operand.
  uint64_t address_of(const InstructionPrice& price) const;
  void execute(const InstructionPrice& price);
  // Goes on with code elsewhere.
  void jump(uint64_t rip) { registers_[Address::kRip] = rip; }

 private:
  uint64_t memory_at(uint64_t address) const;

  RegisterValues registers_{};
  std::array<uint64_t, kValues> others_{};         // the values that are no general registers
  std::unordered_map<uint64_t, uint64_t> memory_;  // what was stored, by the address
};

}  // namespace nestor::emu::timing
