// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/cpu/watchpoints.h"

#include <algorithm>

#include "emu/cpu/memory_accesses.h"
#include "emu/memory/page_size.h"

namespace nestor::emu {
namespace {

bool is_met(HardwareCore& core, const Watchpoint& watchpoint, uint64_t linear, uint64_t size) {
  if (watchpoint.level != 0 && watchpoint.level != (core.in_l2() ? 2 : 1)) return false;
  const auto overlaps = [&](uint64_t first, uint64_t bytes) {
    return first - watchpoint.address < watchpoint.size || watchpoint.address - first < bytes;
  };
  if (!watchpoint.physical) return overlaps(linear, size);
  // Page by page.
  constexpr ept::Access kAnyone{ept::Access::kRead, false, false};
  const uint64_t rflags = core.state().rflags | vmx::rflags::kAc;
  for (const uint64_t end = linear + size; linear != end;) {
    const uint64_t part = std::min(end - linear, kPageSize - linear % kPageSize);
    const auto found = core.mmu().probe(linear, kAnyone, rflags);
    const auto* physical = std::get_if<uint64_t>(&found);
    if (physical != nullptr && overlaps(*physical, part)) return true;
    linear += part;
  }
  return false;
}

}  // namespace

std::optional<uint64_t> find_watched(HardwareCore& core) {
  const std::vector<Watchpoint>& watchpoints = core.around().turns.until().watchpoints;
  if (watchpoints.empty()) return std::nullopt;
  const auto instruction = core.instruction_at_rip();
  if (!instruction) return std::nullopt;
  const vmx::CpuState& state = core.state();
  for (const MemoryAccess& access : memory_accesses(state, *instruction)) {
    for (const Watchpoint& watchpoint : watchpoints) {
      const bool counts =
          (access.written && watchpoint.written) || (access.read && watchpoint.read);
      if (counts && is_met(core, watchpoint, linear_address_of(state, access), access.size))
        return watchpoint.address;
    }
  }
  return std::nullopt;
}

std::optional<Pause> watched_register_or_port(HardwareCore& core, const Instruction& instruction) {
  const Until& until = core.around().turns.until();
  const vmx::CpuState& state = core.state();
  const Operation operation = instruction.operation;
  const bool msr = operation == Operation::kRdmsr || operation == Operation::kWrmsr;
  if (msr && !until.msrs.empty()) {
    const auto index = static_cast<uint32_t>(state.gpr[vmx::kRcx]);
    if (std::ranges::find(until.msrs, index) != until.msrs.end())
      return Pause{Pause::Reason::kMsr, core.number(), index};
  }
  const bool in = operation == Operation::kIn, out = operation == Operation::kOut;
  const bool string = operation == Operation::kIns || operation == Operation::kOuts;
  if (until.ports.empty() || !(in || out || string)) return std::nullopt;
  auto port = static_cast<uint16_t>(state.gpr[vmx::kRdx]);
  const Operand& operand = instruction.operand[in ? 1 : 0];
  if (!string && operand.kind == Operand::Kind::kImmediate)
    port = static_cast<uint16_t>(operand.immediate & 0xff);
  if (std::ranges::find(until.ports, port) == until.ports.end()) return std::nullopt;
  return Pause{Pause::Reason::kPort, core.number(), port};
}

}  // namespace nestor::emu
