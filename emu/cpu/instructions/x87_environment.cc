// SPDX-License-Identifier: GPL-2.0-or-later
//
// FNINIT, FNSTENV, FNSAVE, FLDENV, FRSTOR; LDMXCSR and STMXCSR. "Saving the x87 FPU's State with
// FSTENV/FNSTENV and FSAVE/FNSAVE" in SDM volume 1 has the four formats of the environment.
#include <cstring>

#include "emu/cpu/floating_point.h"
#include "emu/cpu/instructions/handlers.h"
#include "emu/cpu/instructions/operands.h"
#include "emu/cpu/x87_pointers.h"

namespace nestor::emu::instructions {
namespace {

using vmx::CpuState;

constexpr size_t kFields = 7, kRegisterSize = 10, kRegisters = 8;

// FCW, FSW, the tag word and the pointers, each in a field of 2 or 4 bytes.
using Fields = std::array<uint32_t, kFields>;

// Real-address and virtual-8086 mode have linear addresses instead of far pointers.
bool has_linear_pointers(const CpuState& state) { return !has_descriptors(state); }

unsigned top_of(const ExtendedState& state) { return state.fsw >> 11 & 7; }

// Two bits for each physical register: valid, zero, special, empty.
uint16_t tag_word(const ExtendedState& state) {
  constexpr uint32_t kZero = 1, kSpecial = 2, kEmpty = 3;
  uint32_t word = 0;
  for (unsigned i = 0; i < kRegisters; ++i) {
    const unsigned physical = (top_of(state) + i) % kRegisters;
    uint64_t significand;
    uint16_t exponent;
    std::memcpy(&significand, state.st[i].data(), sizeof significand);
    std::memcpy(&exponent, state.st[i].data() + sizeof significand, sizeof exponent);
    exponent &= 0x7fff;
    uint32_t tag = 0;
    if (!(state.ftw >> physical & 1)) {
      tag = kEmpty;
    } else if (exponent == 0 && significand == 0) {
      tag = kZero;
    } else if (exponent == 0 || exponent == 0x7fff || !(significand >> 63)) {
      tag = kSpecial;
    }
    word |= tag << (2 * physical);
  }
  return static_cast<uint16_t>(word);
}

Fields environment(const Core& core, const CpuState& cpu, const ExtendedState& state,
                   unsigned width) {
  const X87Pointers pointers = x87_pointers(core.type(), state);
  Fields fields{state.fcw, state.fsw, tag_word(state)};
  const auto ip = static_cast<uint32_t>(pointers.fip), dp = static_cast<uint32_t>(pointers.fdp);
  if (!has_linear_pointers(cpu)) {
    fields[3] = ip;
    fields[4] = pointers.fcs | (width == 4 ? uint32_t{pointers.fop} << 16 : 0);
    fields[5] = dp;
    fields[6] = pointers.fds;
    return fields;
  }
  const uint32_t linear_ip = ip + (uint32_t{pointers.fcs} << 4);
  const uint32_t linear_dp = dp + (uint32_t{pointers.fds} << 4);
  fields[3] = linear_ip & 0xffff;
  fields[4] = linear_ip >> 16 << 12 | pointers.fop;
  fields[5] = linear_dp & 0xffff;
  fields[6] = linear_dp >> 16 << 12;
  return fields;
}

void load_environment(const CpuState& cpu, ExtendedState& state, const Fields& fields,
                      unsigned width) {
  state.fcw = static_cast<uint16_t>(fields[0]);
  state.fsw = static_cast<uint16_t>(fields[1]);
  state.ftw = 0;
  constexpr uint32_t kEmpty = 3;
  for (unsigned i = 0; i < kRegisters; ++i)
    if ((fields[2] >> (2 * i) & 3) != kEmpty) state.ftw |= static_cast<uint8_t>(1u << i);
  X87Pointers pointers{.fip = fields[3], .fdp = fields[5]};
  if (has_linear_pointers(cpu)) {
    pointers.fop = static_cast<uint16_t>(fields[4]);
    pointers.fip = (fields[3] & 0xffff) | fields[4] >> 12 << 16;
    pointers.fdp = (fields[5] & 0xffff) | fields[6] >> 12 << 16;
  } else {
    pointers.fop = static_cast<uint16_t>(width == 4 ? fields[4] >> 16 : 0);
    pointers.fcs = static_cast<uint16_t>(fields[4]);
    pointers.fds = static_cast<uint16_t>(fields[6]);
  }
  set_x87_pointers(state, pointers);
}

// Environment and registers, in bytes.
struct Image {
  std::array<uint8_t, 4 * kFields + kRegisters * kRegisterSize> bytes{};
  unsigned width;
  bool registers;
  std::span<uint8_t> used() {
    return std::span(bytes).first(width * kFields + (registers ? kRegisters * kRegisterSize : 0));
  }
};

Image image_of(const Instruction& instruction, bool registers) {
  return {.width = instruction.operand_size == 2 ? 2u : 4u, .registers = registers};
}

bool is_unavailable(const CpuState& state) {
  return (state.cr0 & (vmx::cr0::kEm | vmx::cr0::kTs)) != 0;
}

Outcome save(Core& core, const Instruction& instruction, bool registers) {
  const CpuState& cpu = core.state();
  if (is_unavailable(cpu)) return vmx::exception(vmx::kNm);
  ExtendedState state;
  core.read_extended_state(state);
  Image image = image_of(instruction, registers);
  const Fields fields = environment(core, cpu, state, image.width);
  // Of the fields of 4 bytes some have 2 that count; the others are ones.
  for (size_t i = 0; i < kFields; ++i) {
    const bool narrow = i < 3 || i == 6 || (has_linear_pointers(cpu) && (i == 3 || i == 5));
    const bool filled = narrow && !(has_linear_pointers(cpu) && i == 6);
    const uint32_t field = fields[i] | (filled ? 0xffff0000 : 0);
    std::memcpy(&image.bytes[i * image.width], &field, image.width);
  }
  for (size_t i = 0; registers && i < kRegisters; ++i) {
    std::memcpy(&image.bytes[image.width * kFields + i * kRegisterSize], state.st[i].data(),
                kRegisterSize);
  }
  if (auto fault = store(core, *instruction.memory(), image.used())) return to_outcome(*fault);
  if (registers) {
    initialize_x87(state);
  } else {
    state.fcw |= kFloatingPointExceptions;
  }
  core.write_extended_state(state);
  return vmx::Completed{};
}

Outcome restore(Core& core, const Instruction& instruction, bool registers) {
  const CpuState& cpu = core.state();
  if (is_unavailable(cpu)) return vmx::exception(vmx::kNm);
  if (reports_x87_exception(core, instruction)) return vmx::exception(vmx::kMf);
  Image image = image_of(instruction, registers);
  if (auto fault = load(core, *instruction.memory(), image.used())) return to_outcome(*fault);
  ExtendedState state;
  core.read_extended_state(state);
  Fields fields{};
  for (size_t i = 0; i < kFields; ++i) {
    std::memcpy(&fields[i], &image.bytes[i * image.width], image.width);
  }
  const auto st = state.st;
  const unsigned top = top_of(state);
  load_environment(cpu, state, fields, image.width);
  for (unsigned i = 0; i < kRegisters; ++i) {
    if (registers) {
      std::memcpy(state.st[i].data(), &image.bytes[image.width * kFields + i * kRegisterSize],
                  kRegisterSize);
    } else {
      state.st[i] = st[(top_of(state) + i - top) % kRegisters];  // another one is the top
    }
  }
  core.write_extended_state(state);
  return vmx::Completed{};
}

// What comes before the operand of LDMXCSR and STMXCSR is looked at.
std::optional<vmx::Event> mxcsr_refused(const CpuState& state) {
  if ((state.cr0 & vmx::cr0::kEm) || !(state.cr4 & vmx::cr4::kOsfxsr)) return undefined_opcode();
  if (state.cr0 & vmx::cr0::kTs) return vmx::exception(vmx::kNm);
  return std::nullopt;
}

}  // namespace

Outcome fninit(Core& core, const Instruction&) {
  if (is_unavailable(core.state())) return vmx::exception(vmx::kNm);
  ExtendedState state;
  core.read_extended_state(state);
  const auto st = state.st;
  const unsigned top = top_of(state);
  initialize_x87(state);
  for (unsigned i = 0; i < kRegisters; ++i) state.st[i] = st[(i - top) % kRegisters];
  core.write_extended_state(state);
  return vmx::Completed{};
}

Outcome fnstenv(Core& core, const Instruction& instruction) {
  return save(core, instruction, false);
}
Outcome fnsave(Core& core, const Instruction& instruction) { return save(core, instruction, true); }
Outcome fldenv(Core& core, const Instruction& instruction) {
  return restore(core, instruction, false);
}
Outcome frstor(Core& core, const Instruction& instruction) {
  return restore(core, instruction, true);
}

Outcome ldmxcsr(Core& core, const Instruction& instruction) {
  if (const auto event = mxcsr_refused(core.state())) return *event;
  uint32_t mxcsr = 0;
  const std::span bytes(reinterpret_cast<uint8_t*>(&mxcsr), sizeof mxcsr);
  if (auto fault = load(core, *instruction.memory(), bytes)) return to_outcome(*fault);
  if (mxcsr & ~kMxcsrMask) return general_protection();
  ExtendedState state;
  core.read_extended_state(state);
  state.mxcsr = mxcsr;
  core.write_extended_state(state);
  return vmx::Completed{};
}

Outcome stmxcsr(Core& core, const Instruction& instruction) {
  if (const auto event = mxcsr_refused(core.state())) return *event;
  ExtendedState state;
  core.read_extended_state(state);
  const std::span bytes(reinterpret_cast<const uint8_t*>(&state.mxcsr), sizeof state.mxcsr);
  if (auto fault = store(core, *instruction.memory(), bytes)) return to_outcome(*fault);
  return vmx::Completed{};
}

}  // namespace nestor::emu::instructions
