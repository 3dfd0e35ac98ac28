// SPDX-License-Identifier: GPL-2.0-or-later
//
// What the processor knows of an instruction beside its handler's code: the columns of
// emu/decode/instructions.inc.
#pragma once

#include <cstdint>
#include <optional>

#include "emu/cpu/instructions/handlers.h"
#include "vmx/exit_reasons.h"
#include "vmx/features.h"

namespace nestor::emu::instructions {

// The VM-exit instruction-information field, and where an instruction's operands stand in it.
struct InformationFormat {
  enum class Kind : uint8_t { kNothing, kOperands, kStringIo, kRandomNumber } kind = Kind::kNothing;
  static constexpr uint8_t kNone = 0xff;
  uint8_t reg = kNone;        // index of the operand in ModRM.reg: Reg2
  uint8_t rm = 0;             // index of the operand in ModRM.rm: memory, or Reg1
  uint8_t identity = kNone;   // bits 29:28
  bool operand_size = false;  // bit 11
};

struct InstructionInfo {
  Handler handler = nullptr;
  std::optional<vmx::Feature> feature;         // without which it is #UD
  std::optional<vmx::ExitReason> exit_reason;  // of the VM exit on which exits() decides
  InformationFormat information;
};

const InstructionInfo& info_of(Operation operation);

}  // namespace nestor::emu::instructions
