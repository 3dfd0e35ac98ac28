// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/observe/stopped/places.h"

#include <spdlog/fmt/fmt.h>

#include <array>
#include <string_view>

#include "emu/cpu/instruction_step.h"
#include "emu/decode/decoder.h"
#include "vmx/exit_reasons.h"

namespace nestor::emu {
namespace {

std::string_view mode_of(const vmx::CpuState& state) {
  if (!state.protected_mode()) return "real-address mode";
  if (state.virtual_8086()) return "virtual-8086 mode";
  if (!state.long_mode_active()) {
    return code_mode(state) == CodeMode::k32 ? "32-bit protected mode" : "16-bit protected mode";
  }
  return state.code_64bit() ? "64-bit mode" : "compatibility mode";
}

std::string_view activity_of(const vmx::CpuState& state) {
  switch (state.activity) {
    case vmx::ActivityState::kHlt:
      return ", halted";
    case vmx::ActivityState::kShutdown:
      return ", shut down";
    case vmx::ActivityState::kWaitForSipi:
      return ", waits for a start-up IPI";
    default:
      return "";
  }
}

// The bytes at RIP, and what they say.
std::string instruction_at_rip(const Inspection& machine, unsigned processor, Decoder& decoder) {
  const vmx::CpuState& state = machine.state(processor);
  const View view = machine.level(processor) == 2 ? View::kL2Linear : View::kL1Linear;
  std::array<uint8_t, Instruction::kMaxLength> bytes{};
  const size_t size = machine.read(processor, view, linear_rip(state), bytes);
  if (size == 0) {
    const bool mapped = machine.translate(processor, view, linear_rip(state)).has_value();
    return mapped ? "no memory there"
                  : fmt::format("not mapped, CR3 {:#x}", machine.cr3(processor));
  }
  const auto instruction = decoder.decode(std::span(bytes).first(size), code_mode(state));
  const size_t shown = instruction ? instruction->length : std::min<size_t>(size, 4);
  std::string text;
  for (size_t i = 0; i < shown; ++i) text += fmt::format("{:02x} ", bytes[i]);
  if (!instruction) return text + "no instruction";
  return text + fmt::format("\"{}\"", decoder.text_at(bytes, code_mode(state), state.rip));
}

std::string describe(const LastExit& exit) {
  std::string text =
      fmt::format("{} at RIP {:#x}", vmx::exit_reason_name(exit.reason), exit.guest_rip);
  const auto* info = vmx::find_exit_reason(static_cast<uint16_t>(exit.reason));
  if (info != nullptr && (info->defines & vmx::kDefinesGuestPhysical) != 0) {
    text += fmt::format(", guest-physical address {:#x}", exit.guest_physical);
  }
  return text;
}

// The last one, or those that come by turns.
std::string describe_exits(const LastExit& last, const std::optional<ExitCycle>& cycle) {
  if (!cycle) {
    const std::string times =
        last.times > 1 ? fmt::format(", {} times in a row", last.times) : std::string();
    return "; last VM exit: " + describe(last) + times;
  }
  std::string text = "; last VM exits: ";
  for (const LastExit& exit : cycle->exits) text += describe(exit) + ", then ";
  return text + fmt::format("again, {} times in a row", cycle->times);
}

}  // namespace

std::string describe_mode(const Inspection& machine, unsigned processor) {
  const vmx::CpuState& state = machine.state(processor);
  return fmt::format("L{}, {}{}", machine.level(processor), mode_of(state), activity_of(state));
}

std::string describe_places(const Inspection& machine) {
  Decoder decoder;
  std::string text;
  for (unsigned i = 0; i < machine.processors(); ++i) {
    const vmx::CpuState& state = machine.state(i);
    text += fmt::format("processor {}: {}, RIP {:#x}: {}; RSP {:#x}", i, describe_mode(machine, i),
                        state.rip, instruction_at_rip(machine, i, decoder), state.gpr[vmx::kRsp]);
    if (const auto& exit = machine.last_exit(i))
      text += describe_exits(*exit, machine.exit_cycle(i));
    text += '\n';
  }
  return text;
}

}  // namespace nestor::emu
