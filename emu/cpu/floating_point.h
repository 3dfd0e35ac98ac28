// SPDX-License-Identifier: GPL-2.0-or-later
//
// Floating-point exceptions that are not masked: #MF and #XM. The engine raises neither; it
// remembers what its arithmetic has met, so that an instruction which may meet an unmasked
// exception is executed alone and judged afterwards.
#pragma once

#include <optional>
#include <vector>

#include "emu/cpu/core.h"
#include "emu/decode/instruction.h"
#include "emu/engine/extended_state.h"

namespace nestor::emu {

// MXCSR leaves SIMD floating-point exceptions unmasked.
constexpr bool has_simd_exceptions(uint32_t mxcsr) {
  constexpr uint32_t kMasks = uint32_t{kFloatingPointExceptions} << 7;
  return (mxcsr & kMasks) != kMasks;
}

// An x87 exception is pending, and the instruction reports it (#MF).
bool reports_x87_exception(Core& core, const Instruction& instruction);

// One instruction that the engine executes.
class FloatingPointStep {
 public:
  // Before the instruction at RIP; std::nullopt: it can meet no unmasked exception. Until finish()
  // or cancel() the processor's exception flags are those of this instruction.
  static std::optional<FloatingPointStep> begin(Core& core, const Instruction& instruction);
  // The instruction is over. An event: it has caused that fault, and the state is that before it.
  std::optional<vmx::Event> finish();
  // It has not been executed.
  void cancel() { core_->write_extended_state(before_); }

 private:
  FloatingPointStep(Core& core, const Instruction& instruction)
      : core_(&core), instruction_(instruction), state_(core.state()) {}

  // The source operand is in memory, or the destination.
  std::vector<uint8_t> operand_in_memory(bool written);
  bool has_denormal_operand();
  bool has_tiny_result(const ExtendedState& after) const;
  std::optional<vmx::Event> finish_simd(ExtendedState& after);
  void finish_x87(ExtendedState& after);

  Core* core_;
  Instruction instruction_;
  vmx::CpuState state_;  // before it
  ExtendedState before_;
  std::vector<uint8_t> overwritten_;  // in memory
};

}  // namespace nestor::emu
