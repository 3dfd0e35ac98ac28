// SPDX-License-Identifier: GPL-2.0-or-later
//
// What the VMX instructions have in common: the faults they begin with, their operands, and the
// pseudo-functions VMsucceed, VMfail, VMfailInvalid and VMfailValid ("Conventions").
#include <array>

#include "vmx/vmx.h"

namespace nestor::vmx {

bool Vmx::mode_allows_vmx() const {
  const CpuState& s = cpu_.state();
  return s.protected_mode() && !s.virtual_8086() && !(s.long_mode_active() && !s.code_64bit());
}

Outcome Vmx::instruction_exit(ExitReason reason, const InstructionContext& context,
                              uint64_t qualification) {
  ExitInformation exit;
  exit.reason = reason;
  exit.qualification = qualification;
  exit.instruction_length = context.length;
  exit.instruction_information = context.information;
  vm_exit(exit);
  return Transferred{};
}

std::optional<Outcome> Vmx::begin_instruction(ExitReason reason, const InstructionContext& context,
                                              uint64_t qualification) {
  if (!in_vmx_operation_) return because(kOutsideVmx, exception(kUd));
  if (!mode_allows_vmx()) return because(kWrongMode, exception(kUd));
  if (in_non_root_) return instruction_exit(reason, context, qualification);
  if (cpu_.state().cpl() > 0) return exception(kGp, 0);
  return std::nullopt;
}

namespace {
void set_flags(CpuState& state, uint64_t flags) {
  constexpr uint64_t kArithmetic =
      rflags::kCf | rflags::kPf | rflags::kAf | rflags::kZf | rflags::kSf | rflags::kOf;
  state.rflags = (state.rflags & ~kArithmetic) | flags;
}
}  // namespace

Outcome Vmx::vm_succeed() {
  set_flags(cpu_.state(), 0);
  return Completed{};
}

Outcome Vmx::vm_fail_invalid(std::string_view instruction, uint32_t unsaved_error) {
  set_flags(cpu_.state(), rflags::kCf);
  sink_.vm_instruction_error(
      {.instruction = instruction, .rip = cpu_.state().rip, .unsaved_error = unsaved_error});
  return Completed{};
}

Outcome Vmx::vm_fail(std::string_view instruction, InstructionError error) {
  if (!has_current_vmcs()) return vm_fail_invalid(instruction, static_cast<uint32_t>(error));
  set_flags(cpu_.state(), rflags::kZf);
  vmcs_.write(Field::kVmInstructionError, static_cast<uint32_t>(error));
  sink_.vm_instruction_error(
      {instruction, static_cast<uint32_t>(error), &vmcs_, current_vmcs_, cpu_.state().rip});
  return Completed{};
}

std::optional<Event> Vmx::read_operand(const InstructionContext& context, std::span<uint8_t> out) {
  if (context.memory_fault) return context.memory_fault;
  return cpu_.read_linear(*context.memory, out);
}

std::optional<Event> Vmx::read_pointer(const InstructionContext& context, uint64_t& pointer) {
  std::array<uint8_t, 8> bytes{};
  if (const auto fault = read_operand(context, bytes)) return fault;
  pointer = 0;
  for (size_t i = 0; i < bytes.size(); ++i) pointer |= uint64_t{bytes[i]} << (8 * i);
  return std::nullopt;
}

uint64_t Vmx::operand_mask() const {
  return cpu_.state().code_64bit() ? ~uint64_t{0} : 0xffffffffu;
}

// The addresses of VMXON, VMCLEAR and VMPTRLD: 4-KByte aligned and within the physical-address
// width.
bool Vmx::valid_vmx_pointer(uint64_t pointer) const {
  if (pointer & 0xfff) return false;
  if (capabilities_.addresses_32bit && pointer >> 32) return false;
  return capabilities_.registers.physical(pointer);
}

// Of VMCLEAR and VMPTRLD.
bool Vmx::refuses_pointer(std::string_view instruction, uint64_t pointer,
                          InstructionError invalid_address, InstructionError vmxon_pointer) {
  const bool valid = valid_vmx_pointer(pointer);
  if (valid && pointer != vmxon_pointer_) return false;
  sink_.check_failed({valid ? "vmcs-pointer-vmxon" : "vmcs-pointer", "VMCS pointer", pointer,
                      valid ? "must not be the VMXON pointer"
                            : "must be 4-KByte aligned and within the physical-address width",
                      "VMX Instruction Reference"});
  (void)vm_fail(instruction, valid ? vmxon_pointer : invalid_address);
  return true;
}

Vmcs Vmx::load_vmcs(uint64_t pointer) {
  std::array<uint8_t, kVmcsRegionSize> region{};
  cpu_.read_physical({pointer}, region);
  Vmcs vmcs;
  vmcs.load(region);
  return vmcs;
}

void Vmx::store_vmcs(const Vmcs& vmcs, uint64_t pointer) {
  // What lies behind the VMCS data in the region stays as it is.
  std::array<uint8_t, kVmcsRegionSize> region{};
  if (!cpu_.read_physical({pointer}, region)) return;
  vmcs.store(region);
  cpu_.write_physical({pointer}, region);
}

void Vmx::release_current_vmcs() {
  if (has_current_vmcs()) store_vmcs(vmcs_, current_vmcs_);
  current_vmcs_ = kNoPointer;
}

}  // namespace nestor::vmx
