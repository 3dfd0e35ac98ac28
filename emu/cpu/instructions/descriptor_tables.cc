// SPDX-License-Identifier: GPL-2.0-or-later
//
// LGDT, LIDT, SGDT, SIDT, LLDT, LTR, SLDT, STR.
#include <array>
#include <cstring>

#include "emu/cpu/instructions/handlers.h"
#include "emu/cpu/instructions/operands.h"

namespace nestor::emu::instructions {
namespace {

using vmx::CpuState;

bool is_global(const Instruction& instruction) {
  return instruction.operation == Operation::kLgdt || instruction.operation == Operation::kSgdt;
}
bool is_local(const Instruction& instruction) {
  return instruction.operation == Operation::kLldt || instruction.operation == Operation::kSldt;
}

// The pseudo-descriptor: 16 bits of limit, then the base.
size_t table_bytes(CodeMode mode) { return mode == CodeMode::k64 ? 10 : 6; }

}  // namespace

Outcome load_table(Core& core, const Instruction& instruction) {
  CpuState& state = core.state();
  if (state.cpl() != 0) return general_protection();
  if (exits(core, instruction)) return vmx::Transferred{};
  std::array<uint8_t, 10> bytes{};
  if (auto fault = load(core, instruction.operand[0].memory,
                        std::span(bytes).first(table_bytes(instruction.mode)))) {
    return to_outcome(*fault);
  }
  vmx::DescriptorTable table;
  std::memcpy(&table.limit, bytes.data(), sizeof table.limit);
  std::memcpy(&table.base, bytes.data() + sizeof table.limit, sizeof table.base);
  if (instruction.mode == CodeMode::k64) {
    if (!rules(core).canonical(table.base)) return general_protection();
  } else if (instruction.operand_size == 2) {
    table.base &= 0xffffff;
  }
  (is_global(instruction) ? state.gdtr : state.idtr) = table;
  return vmx::Completed{};
}

Outcome store_table(Core& core, const Instruction& instruction) {
  const CpuState& state = core.state();
  if ((state.cr4 & vmx::cr4::kUmip) && state.cpl() != 0) return general_protection();
  if (exits(core, instruction)) return vmx::Transferred{};
  const vmx::DescriptorTable& table = is_global(instruction) ? state.gdtr : state.idtr;
  std::array<uint8_t, 10> bytes{};
  std::memcpy(bytes.data(), &table.limit, sizeof table.limit);
  std::memcpy(bytes.data() + sizeof table.limit, &table.base, sizeof table.base);
  if (auto fault = store(core, instruction.operand[0].memory,
                         std::span(bytes).first(table_bytes(instruction.mode)))) {
    return to_outcome(*fault);
  }
  return vmx::Completed{};
}

Outcome load_system_segment(Core& core, const Instruction& instruction) {
  CpuState& state = core.state();
  if (!has_descriptors(state)) return undefined_opcode();
  if (state.cpl() != 0) return general_protection();
  if (exits(core, instruction)) return vmx::Transferred{};
  const auto selector = load_word(core, instruction.operand[0]);
  if (!selector) return to_outcome(selector.fault());

  const bool ldt = is_local(instruction);
  if (is_null(*selector)) {
    if (!ldt) return general_protection();
    state.segment[vmx::kLdtr] = null_segment(*selector);
    return vmx::Completed{};
  }
  if (*selector & 4) return general_protection(selector_error(*selector));
  const bool long_mode = state.long_mode_active();
  const auto read = read_descriptor(core, *selector, vmx::kGp, false, long_mode ? 16 : 8);
  if (!read) return to_outcome(read.fault());
  Descriptor descriptor = *read;

  const uint8_t type = descriptor.type();
  const bool available_tss = type == kTss32Available || (type == kTss16Available && !long_mode);
  const bool right_type = !descriptor.code_or_data() && (ldt ? type == kLdt : available_tss);
  const bool upper_type = descriptor.high >> 40 & 0x1f;
  if (!right_type || upper_type) return general_protection(selector_error(*selector));
  if (!descriptor.present()) return vmx::exception(vmx::kNp, selector_error(*selector));
  descriptor.high &= 0xffffffff;
  if (long_mode && !rules(core).canonical(descriptor.base())) {
    return general_protection(selector_error(*selector));
  }
  if (!ldt) {
    if (auto fault = mark_busy(core, descriptor, true)) return to_outcome(*fault);
  }
  state.segment[ldt ? vmx::kLdtr : vmx::kTr] = to_segment(*selector, descriptor);
  return vmx::Completed{};
}

Outcome store_system_segment(Core& core, const Instruction& instruction) {
  const CpuState& state = core.state();
  if (!has_descriptors(state)) return undefined_opcode();
  if ((state.cr4 & vmx::cr4::kUmip) && state.cpl() != 0) return general_protection();
  if (exits(core, instruction)) return vmx::Transferred{};
  const auto segment = is_local(instruction) ? vmx::kLdtr : vmx::kTr;
  if (auto fault = store_word(core, instruction.operand[0], state.segment[segment].selector)) {
    return to_outcome(*fault);
  }
  return vmx::Completed{};
}

}  // namespace nestor::emu::instructions
