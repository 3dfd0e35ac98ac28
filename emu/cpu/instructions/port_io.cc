// SPDX-License-Identifier: GPL-2.0-or-later
//
// IN, OUT, INS, OUTS: SDM volume 1, "Input/Output".
#include "emu/cpu/breakpoints.h"
#include "emu/cpu/instructions/handlers.h"
#include "emu/cpu/instructions/operands.h"
#include "vmx/guest_state_formats.h"

namespace nestor::emu::instructions {
namespace {

using vmx::CpuState;

// Iterations of one REP INS or OUTS between two looks at interrupts.
constexpr unsigned kBatch = 64;

// "I/O Permission Bit Map". nullopt: the access is allowed.
std::optional<Fault> check_bitmap(Core& core, uint16_t port, unsigned size) {
  constexpr uint32_t kBitmapBase = 102;
  const vmx::Segment& tr = core.state().segment[vmx::kTr];
  const Fault refused = vmx::exception(vmx::kGp, 0);
  const bool tss32 = !tr.rights.unusable() && (tr.rights.type() & 8);
  if (!tss32 || tr.limit < kBitmapBase + 1) return refused;
  const auto base = read_value<uint16_t>(core, tr.base + kBitmapBase);
  if (!base) return base.fault();
  // Always two bytes: the ports of one access may straddle a byte.
  const uint32_t offset = *base + port / 8u;
  if (offset + 1 > tr.limit) return refused;
  const auto bits = read_value<uint16_t>(core, tr.base + offset);
  if (!bits) return bits.fault();
  const unsigned wanted = ((1u << size) - 1) << (port & 7);
  if (*bits & wanted) return refused;
  return std::nullopt;
}

std::optional<Fault> check_permission(Core& core, uint16_t port, unsigned size) {
  const CpuState& state = core.state();
  const unsigned iopl = (state.rflags & vmx::rflags::kIopl) >> 12;
  const bool free = !state.protected_mode() || (!state.virtual_8086() && state.cpl() <= iopl);
  return free ? std::nullopt : check_bitmap(core, port, size);
}

bool io_exits(Core& core, const Instruction& instruction, const vmx::IoAccess& access) {
  return core.vmx().in_non_root() &&
         core.vmx().io_exits(access, context_of(core.state(), instruction));
}

// One iteration. nullopt: done, nothing but memory or the device has changed.
std::optional<Outcome> transfer(Core& core, const Instruction& instruction,
                                const MemoryOperand& memory, vmx::IoAccess& access) {
  const CpuState& state = core.state();
  if (auto fault = check_permission(core, access.port, access.size)) return to_outcome(*fault);
  access.linear = unchecked_linear_address(state, memory.segment, effective_address(state, memory));
  if (io_exits(core, instruction, access)) return vmx::Transferred{};

  const auto linear = linear_address(state, memory, access.size,
                                     access.in ? SegmentAccess::kWrite : SegmentAccess::kRead);
  if (const auto* event = std::get_if<vmx::Event>(&linear)) return *event;
  const uint64_t address = std::get<uint64_t>(linear);
  uint32_t value = 0;
  const std::span bytes(reinterpret_cast<uint8_t*>(&value), access.size);
  if (access.in) {
    // The device must not be read when the memory cannot be written.
    if (auto fault = core.probe_write(address, access.size, Privilege::kCurrent)) {
      return to_outcome(*fault);
    }
    value = core.bus().read_port(access.port, access.size);
    if (auto fault = core.write(address, bytes, Privilege::kCurrent)) return to_outcome(*fault);
  } else {
    if (auto fault = core.read(address, bytes, Privilege::kCurrent)) return to_outcome(*fault);
    core.bus().write_port(access.port, access.size, value);
  }
  return std::nullopt;
}

// The debug trap behind the instruction.
void break_on_port(CpuState& state, const vmx::IoAccess& access) {
  if (!has_breakpoints(state)) return;
  const uint64_t met = port_breakpoints(state, access.port, access.size);
  if (met != 0) {
    state.pending_debug_exceptions |= met | vmx::pending_debug::kEnabledBreakpoint;
  }
}

}  // namespace

Outcome in_or_out(Core& core, const Instruction& instruction) {
  CpuState& state = core.state();
  const bool in = instruction.operation == Operation::kIn;
  const Operand& data = instruction.operand[in ? 0 : 1];
  const Operand& port = instruction.operand[in ? 1 : 0];
  vmx::IoAccess access;
  access.in = in;
  access.immediate = port.kind == Operand::Kind::kImmediate;
  access.port =
      static_cast<uint16_t>(access.immediate ? port.immediate & 0xff : state.gpr[vmx::kRdx]);
  access.size = static_cast<uint8_t>(data.size);
  if (auto fault = check_permission(core, access.port, access.size)) return to_outcome(*fault);
  if (io_exits(core, instruction, access)) return vmx::Transferred{};
  if (in) {
    write_register(state, data, core.bus().read_port(access.port, access.size));
  } else {
    core.bus().write_port(access.port, access.size,
                          static_cast<uint32_t>(read_register(state, data)));
  }
  break_on_port(state, access);
  return vmx::Completed{};
}

Outcome ins_or_outs(Core& core, const Instruction& instruction) {
  CpuState& state = core.state();
  const bool in = instruction.operation == Operation::kIns;
  const Operand& data = instruction.operand[in ? 0 : 1];
  const MemoryOperand& memory = data.memory;
  const unsigned width = memory.address_size;
  const vmx::Gpr pointer = in ? vmx::kRdi : vmx::kRsi;
  const bool rep = instruction.repeated;

  vmx::IoAccess access;
  access.port = static_cast<uint16_t>(state.gpr[vmx::kRdx]);
  access.size = static_cast<uint8_t>(data.size);
  access.in = in;
  access.string = true;
  access.rep = rep;

  const bool stepping = (state.rflags & vmx::rflags::kTf) != 0 || core.vmx().monitor_trap_flag() ||
                        has_breakpoints(state);
  const unsigned batch = stepping ? 1 : kBatch;
  for (unsigned i = 0; i < batch; ++i) {
    const uint64_t count = state.gpr[vmx::kRcx] & value_mask(width);
    if (rep && count == 0) return vmx::Completed{};
    if (auto outcome = transfer(core, instruction, memory, access)) return *outcome;
    break_on_port(state, access);
    const uint64_t step = state.rflags & vmx::rflags::kDf ? -uint64_t{access.size} : access.size;
    write_register(state, pointer, width, state.gpr[pointer] + step);
    if (!rep) return vmx::Completed{};
    write_register(state, vmx::kRcx, width, count - 1);
    if (count == 1) return vmx::Completed{};
    // An iteration ends at an instruction boundary.
    state.blocking_by_sti = state.blocking_by_mov_ss = false;
  }
  // So that a breakpoint at the instruction is not met again (SDM, "Instruction-Breakpoint
  // Exception Condition").
  state.rflags |= vmx::rflags::kRf;
  return Jumped{};
}

}  // namespace nestor::emu::instructions
