// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/cpu/instructions/instruction_table.h"

#include <iterator>

namespace nestor::emu::instructions {
namespace {

using vmx::ExitReason;
using vmx::Feature;

constexpr auto kNone = std::nullopt;

Outcome undefined(Core&, const Instruction&) { return vmx::exception(vmx::kUd); }

// The formats, by the titles of the manual: "Format of the VM-Exit Instruction-Information Field as
// Used for ...".
using enum InformationFormat::Kind;
constexpr uint8_t kNoReg = InformationFormat::kNone;
constexpr InformationFormat kNoInformation{};
constexpr InformationFormat kInvForm{kOperands, 0, 1};  // INVEPT, INVPCID, INVVPID
constexpr InformationFormat kMemory{kOperands};
constexpr InformationFormat kVmreadForm{kOperands, 1, 0};
constexpr InformationFormat kVmwriteForm{kOperands, 0, 1};
// The number tells the instructions apart: SGDT, SIDT, LGDT, LIDT; SLDT, STR, LLDT, LTR.
constexpr InformationFormat table_form(uint8_t identity) {
  return {kOperands, kNoReg, 0, identity, true};
}
constexpr InformationFormat selector_form(uint8_t identity) {
  return {kOperands, kNoReg, 0, identity};
}
constexpr InformationFormat kStringForm{kStringIo};
constexpr InformationFormat kRandomForm{kRandomNumber};

constexpr InstructionInfo kInstructions[] = {
    {undefined, kNone, kNone, kNoInformation},  // Operation::kOther
#define NESTOR_INSTRUCTION(operation, handler, feature, exit_reason, information, ...) \
  {handler, feature, exit_reason, information},
#include "emu/decode/instructions.inc"
};
static_assert(std::size(kInstructions) == static_cast<size_t>(Operation::kCount));

}  // namespace

const InstructionInfo& info_of(Operation operation) {
  return kInstructions[static_cast<size_t>(operation)];
}

}  // namespace nestor::emu::instructions
