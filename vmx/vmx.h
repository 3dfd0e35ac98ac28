// SPDX-License-Identifier: GPL-2.0-or-later
//
// VMX of one logical processor: the face that the emulator sees.
#pragma once

#include <array>
#include <cstdint>
#include <optional>

#include "vmx/capabilities.h"
#include "vmx/controls.h"
#include "vmx/cpu_state.h"
#include "vmx/events.h"
#include "vmx/exit_reasons.h"
#include "vmx/processor.h"
#include "vmx/vmcs.h"

namespace nestor::vmx {

// What the decoder knows of an instruction that VMX looks at.
struct InstructionContext {
  uint8_t length = 0;
  // "VM-Exit Instruction-Information Field" for the instruction, without what depends on VMX.
  uint32_t information = 0;
  // Exit qualification of instructions with a memory operand: the displacement.
  uint64_t displacement = 0;
  // Memory operand, if there is one: linear address, already checked against its segment.
  std::optional<uint64_t> memory;
  uint8_t reg = 0;        // ModRM.reg with REX.R
  uint8_t rm_reg = 0;     // ModRM.rm with REX.B when it names a register
  bool long_operands = false;  // 64-bit mode: register operands are 64 bits
};

// Everything that an exit saves beside the guest state.
struct ExitInformation {
  ExitReason reason{};
  uint64_t qualification = 0;
  std::optional<uint64_t> guest_linear, guest_physical;
  uint32_t instruction_length = 0, instruction_information = 0;
  std::optional<Event> interruption;           // what caused the exit (exception, NMI, acknowledged interrupt)
  bool nmi_unblocking_due_to_iret = false;
};

// I/O instruction, as the exit qualification describes it.
struct IoAccess {
  uint16_t port = 0;
  uint8_t size = 1;  // bytes
  bool in = false, string = false, rep = false, immediate = false;
  uint64_t linear = 0;  // string instructions: guest-linear address of the memory operand
};

class Vmx {
 public:
  Vmx(const Capabilities& capabilities, Processor& processor, EventSink& sink);

  // --- where the processor stands
  bool in_vmx_operation() const { return in_vmx_operation_; }
  bool in_non_root() const { return in_non_root_; }
  const Capabilities& capabilities() const { return capabilities_; }
  // IA32_FEATURE_CONTROL is part of VMX's state; writable until locked.
  uint64_t feature_control = 0;

  // --- VMX instructions; all checks of mode, CPL and operation included, VM exits from non-root too.
  Outcome vmxon(const InstructionContext&);
  Outcome vmxoff(const InstructionContext&);
  Outcome vmclear(const InstructionContext&);
  Outcome vmptrld(const InstructionContext&);
  Outcome vmptrst(const InstructionContext&);
  Outcome vmread(const InstructionContext&);
  Outcome vmwrite(const InstructionContext&);
  Outcome vmlaunch(const InstructionContext&);
  Outcome vmresume(const InstructionContext&);
  Outcome vmcall(const InstructionContext&);
  Outcome vmfunc(const InstructionContext&);
  Outcome invept(const InstructionContext&);
  Outcome invvpid(const InstructionContext&);

  // --- VM exits. Each `..._exits` function is called in non-root operation, after the faults that take
  // priority over the exit; true: the VM exit has happened and the state is L1's.
  // `reason` must be one of the unconditional or control-governed instruction exits ("Instructions That Cause VM
  // Exits"): CPUID, HLT, INVD, XSETBV, RDTSC, RDTSCP, RDPMC, PAUSE, MWAIT, MONITOR, WBINVD, INVLPG (qualification: linear), INVPCID,
  // RDRAND, RDSEED, GETSEC, descriptor-table accesses, ENCLS ...
  bool instruction_exits(ExitReason reason, const InstructionContext&, uint64_t qualification = 0);
  bool read_msr_exits(uint32_t index, const InstructionContext&);
  bool write_msr_exits(uint32_t index, const InstructionContext&);
  bool io_exits(const IoAccess&, const InstructionContext&);
  bool mov_dr_exits(uint8_t dr, bool from_dr, uint8_t gpr, const InstructionContext&);
  // MOV to CR0/CR3/CR4/CR8: true: VM exit. Otherwise `value` is changed to what the register gets
  // (guest/host masks applied); the caller then does the ordinary checks and the load.
  bool mov_to_cr_exits(uint8_t cr, uint8_t gpr, uint64_t& value, const InstructionContext&);
  bool mov_from_cr_exits(uint8_t cr, uint8_t gpr, const InstructionContext&);
  bool clts_exits(const InstructionContext&);
  // `memory`: guest-linear address of a memory operand. On false `value` is the new CR0 after masks.
  bool lmsw_exits(uint16_t source, std::optional<uint64_t> memory, uint64_t& value,
                  const InstructionContext&);
  // What MOV from CR0/CR4 and SMSW see: the shadow where the mask says so; outside non-root the value itself.
  uint64_t visible_cr0(uint64_t cr0) const;
  uint64_t visible_cr4(uint64_t cr4) const;

  // Events. An exception is asked for before delivery; true: VM exit.
  bool exception_exits(const Event&);
  bool external_interrupt_exits();
  bool nmi_exits();
  bool triple_fault_exits();
  bool task_switch_exits(uint16_t selector, uint8_t source, const InstructionContext&);
  // At an instruction boundary: VM exits due to a window or the preemption timer, in the manual's priority.
  bool boundary_exits(bool interrupt_window_open, bool nmi_window_open);
  void ept_violation(uint64_t qualification, uint64_t guest_physical, std::optional<uint64_t> linear);
  void ept_misconfiguration(uint64_t guest_physical);
  // The event under delivery through the IDT, for IDT-vectoring information; nullopt when delivery ends.
  void set_vectoring(const std::optional<Event>& event) { vectoring_ = event; }
  void vm_exit(const ExitInformation&);

  // --- what VMX changes in other parts of the processor, in non-root operation
  bool pin(PinBased control) const;
  bool primary(PrimaryProcBased control) const;
  bool secondary(SecondaryProcBased control) const;
  uint16_t vpid() const;                 // 0: none
  std::optional<uint64_t> eptp() const;  // when EPT is on
  uint64_t tsc_offset() const;           // what RDTSC, RDTSCP and RDMSR of IA32_TIME_STAMP_COUNTER add
  // The TSC value (unoffset) at which the preemption timer expires.
  std::optional<uint64_t> preemption_deadline() const;
  // "NMIs blocked": in non-root operation virtual-NMI blocking where virtual NMIs are on.

  // CR0 and CR4 bits that VMX operation fixes: MOV to CR faults when they are violated.
  bool cr0_allowed(uint64_t value) const;
  bool cr4_allowed(uint64_t value) const;

  // For dumps and the trace.
  const Vmcs& current_vmcs() const { return vmcs_; }

 private:
  const Capabilities capabilities_;
  Processor& cpu_;
  EventSink& sink_;
  bool in_vmx_operation_ = false, in_non_root_ = false;
  uint64_t vmxon_pointer_ = ~0ull;
  Vmcs vmcs_;
  std::optional<Event> vectoring_;
};

}  // namespace nestor::vmx
