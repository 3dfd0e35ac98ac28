// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/cpu/instruction_step.h"

#include <array>
#include <span>

#include "emu/cpu/instructions/emulate.h"
#include "emu/cpu/segments.h"
#include "vmx/guest_state_formats.h"

namespace nestor::emu {

uint64_t linear_rip(const vmx::CpuState& state) {
  if (state.code_64bit()) return state.rip;
  return (state.segment[vmx::kCs].base + state.rip) & 0xffffffff;
}

FetchedInstruction fetch_instruction(Core& core, Decoder& decoder) {
  std::array<uint8_t, Instruction::kMaxLength> bytes{};
  size_t fetched = 0;
  const auto fault = core.fetch(linear_rip(core.state()), bytes, fetched);
  return {decoder.decode(std::span(bytes.data(), fetched), code_mode(core.state())), fault};
}

namespace {

// MOV or POP to SS, which holds events back until the instruction behind it is over; LSS does not.
bool blocks_events(const Instruction& instruction) {
  return (instruction.operation == Operation::kMoveToSegment ||
          instruction.operation == Operation::kPopSegment) &&
         instruction.operand[0].number == vmx::kSs;
}

}  // namespace

Executed execute(Core& core, const Instruction& instruction) {
  vmx::CpuState& state = core.state();
  const bool trap_flag = (state.rflags & vmx::rflags::kTf) != 0;
  const bool was_blocked = state.blocking_by_mov_ss;
  const bool could_interrupt = (state.rflags & vmx::rflags::kIf) != 0;
  const bool branches_alone = (state.debugctl & vmx::debugctl::kBtf) != 0;
  Executed executed{.outcome = emulate(core, instruction)};
  if (std::holds_alternative<vmx::Completed>(executed.outcome)) {
    advance_rip(state, instruction.length);
    state.rflags &= ~uint64_t{vmx::rflags::kRf};
    state.blocking_by_sti = instruction.operation == Operation::kSti && !could_interrupt &&
                            (state.rflags & vmx::rflags::kIf) != 0;
    // Of several in a row the first one counts.
    state.blocking_by_mov_ss = blocks_events(instruction) && !was_blocked;
    executed.at_boundary = true;
    executed.single_step = trap_flag && !branches_alone;
  } else if (const auto* jumped = std::get_if<Jumped>(&executed.outcome)) {
    executed.at_boundary = true;
    executed.single_step =
        jumped->traps_by_new_flag ? (state.rflags & vmx::rflags::kTf) != 0 : trap_flag;
    // Not an iteration of INS or OUTS.
    if (branches_alone && instruction.repeated) executed.single_step = false;
  }
  // The trap of what has blocked events is none of its own: it merges with the next one or is lost.
  if (executed.at_boundary && was_blocked && !executed.single_step) {
    state.pending_debug_exceptions &= ~vmx::pending_debug::kSingleStep;
  }
  return executed;
}

namespace {

struct TakeExit {
  Core& core;
  Decoder& decoder;
  vmx::Vmx& vmx = core.vmx();

  // 0: the instruction at RIP cannot be fetched.
  uint8_t instruction_length() const {
    const auto instruction = fetch_instruction(core, decoder).instruction;
    return instruction ? instruction->length : uint8_t{0};
  }

  std::optional<vmx::Event> operator()(const EptViolation& violation) const {
    const auto& [qualification, guest_physical, guest_linear, convertible] = violation;
    if (convertible) {
      if (const auto event =
              vmx.virtualization_exception(qualification, guest_physical, guest_linear)) {
        return event;
      }
    }
    vmx.ept_violation(qualification, guest_physical, guest_linear, instruction_length());
    return std::nullopt;
  }
  std::optional<vmx::Event> operator()(const EptMisconfiguration& misconfiguration) const {
    vmx.ept_misconfiguration(misconfiguration.guest_physical, instruction_length());
    return std::nullopt;
  }
  std::optional<vmx::Event> operator()(const SubPageEvent& event) const {
    vmx.sub_page_event(event.qualification, event.guest_physical, event.guest_linear,
                       instruction_length());
    return std::nullopt;
  }
  std::optional<vmx::Event> operator()(LogFull) const {
    vmx.page_modification_log_full();
    return std::nullopt;
  }
  std::optional<vmx::Event> operator()(const ApicPageAccess& access) const {
    vmx.apic_access(access.offset, access.access, instruction_length());
    return std::nullopt;
  }
};

}  // namespace

std::optional<vmx::Event> settle(Core& core, Decoder& decoder, const Outcome& outcome) {
  if (const auto* exit = std::get_if<EptExit>(&outcome)) return take_ept_exit(core, decoder, *exit);
  const auto* event = std::get_if<vmx::Event>(&outcome);
  return event != nullptr ? std::optional(*event) : std::nullopt;
}

std::optional<vmx::Event> take_ept_exit(Core& core, Decoder& decoder, const EptExit& exit) {
  return std::visit(TakeExit{core, decoder}, exit);
}

}  // namespace nestor::emu
