// SPDX-License-Identifier: GPL-2.0-or-later
//
// INT n, INT1, INT3, INTO.
#include "emu/cpu/instructions/handlers.h"
#include "emu/cpu/instructions/operands.h"
#include "emu/cpu/virtual_interrupts.h"

namespace nestor::emu::instructions {
namespace {

vmx::Event software_event(vmx::EventType type, uint8_t vector, const Instruction& instruction) {
  vmx::Event event;
  event.type = type;
  event.vector = vector;
  event.instruction_length = instruction.length;
  return event;
}

}  // namespace

Outcome int_n(Core& core, const Instruction& instruction) {
  const vmx::CpuState& state = core.state();
  const auto vector = static_cast<uint8_t>(instruction.operand[0].immediate);
  const bool iopl3 = (state.rflags & vmx::rflags::kIopl) == vmx::rflags::kIopl;
  if (state.virtual_8086() && !iopl3) {
    const auto redirected = redirects_interrupt(core, vector);
    if (!redirected) return to_outcome(redirected.fault());
    if (!*redirected) return general_protection();
  }
  return software_event(vmx::EventType::kSoftwareInterrupt, vector, instruction);
}

Outcome int1(Core&, const Instruction& instruction) {
  return software_event(vmx::EventType::kPrivilegedSoftwareException, vmx::kDb, instruction);
}

Outcome int3(Core&, const Instruction& instruction) {
  return software_event(vmx::EventType::kSoftwareException, vmx::kBp, instruction);
}

Outcome into(Core& core, const Instruction& instruction) {
  if (!(core.state().rflags & vmx::rflags::kOf)) return vmx::Completed{};
  return software_event(vmx::EventType::kSoftwareException, vmx::kOf, instruction);
}

}  // namespace nestor::emu::instructions
