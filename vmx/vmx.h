// SPDX-License-Identifier: GPL-2.0-or-later
//
// VMX of one logical processor: the face that the emulator sees.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

#include "vmx/capabilities.h"
#include "vmx/controls.h"
#include "vmx/cpu_state.h"
#include "vmx/events.h"
#include "vmx/exit_reasons.h"
#include "vmx/injection.h"
#include "vmx/instruction_errors.h"
#include "vmx/processor.h"
#include "vmx/vmcs.h"
#include "vmx/vmx_aborts.h"

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
  // The fault of that check (segment limit, unusable segment, non-canonical address). It is raised
  // when the operand is accessed, after the checks that come before: mode, VM exit, CPL, VMfail.
  std::optional<Event> memory_fault;
  uint8_t reg = 0;             // ModRM.reg with REX.R
  uint8_t rm_reg = 0;          // ModRM.rm with REX.B when it names a register
  bool long_operands = false;  // 64-bit mode: register operands are 64 bits
};

// Everything that an exit saves beside the guest state.
struct ExitInformation {
  ExitReason reason{};
  uint64_t qualification = 0;
  std::optional<uint64_t> guest_linear, guest_physical;
  uint32_t instruction_length = 0, instruction_information = 0;
  std::optional<Event>
      interruption;  // what caused the exit (exception, NMI, acknowledged interrupt)
};

// I/O instruction, as the exit qualification describes it.
struct IoAccess {
  uint16_t port = 0;
  uint8_t size = 1;  // bytes
  bool in = false, string = false, rep = false, immediate = false;
  uint64_t linear = 0;  // string instructions: guest-linear address of the memory operand
};

// Event::why of a VMX instruction.
inline constexpr std::string_view kOutsideVmx = "the processor is not in VMX operation",
                                  kWrongMode =
                                      "VMX instructions need protected mode, and 64-bit code "
                                      "where IA32_EFER.LMA is 1";

// IA32_FEATURE_CONTROL.
inline constexpr uint64_t kFeatureControlLock = 1u << 0, kFeatureControlVmxOutsideSmx = 1u << 2;

class Vmx {
 public:
  Vmx(const Capabilities& capabilities, Processor& processor, EventSink& sink);

  // --- where the processor stands
  bool in_vmx_operation() const { return in_vmx_operation_; }
  bool in_non_root() const { return in_non_root_; }
  const Capabilities& capabilities() const { return capabilities_; }
  // IA32_FEATURE_CONTROL is part of VMX's state; writable until locked. Cleared by reset only.
  uint64_t feature_control = 0;
  // WRMSR of it: #GP once the lock bit is set, and for bits that this processor does not have.
  MsrStatus write_feature_control(uint64_t value);
  // As firmware leaves it: locked, with VMX outside SMX enabled.
  void lock_feature_control();
  // std::nullopt: there is no current VMCS.
  std::optional<ept::PhysicalAddress> current_vmcs_pointer() const;

  // --- VMX instructions; all checks of mode, CPL and operation included, VM exits from non-root
  // too. Completed: VMsucceed or VMfail, RFLAGS says which. A VM entry or VM exit is Transferred.
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

  // --- VM exits. Each `..._exits` function is called in non-root operation, after the faults that
  // take priority over the exit; true: the VM exit has happened and the state is L1's. `reason`
  // must be one of the unconditional or control-governed instruction exits ("Instructions That
  // Cause VM Exits"): CPUID, HLT, INVD, XSETBV, RDTSC, RDTSCP, RDPMC, PAUSE, MWAIT, MONITOR,
  // WBINVD, INVLPG (qualification: linear), INVPCID, RDRAND, RDSEED, GETSEC, descriptor-table
  // accesses, ENCLS ...
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
  // `memory`: guest-linear address of a memory operand. On false `value` is the new CR0 after
  // masks.
  bool lmsw_exits(uint16_t source, std::optional<uint64_t> memory, uint64_t& value,
                  const InstructionContext&);
  // What CLTS makes of CR0 when it does not exit: TS stays where the CR0 guest/host mask owns it.
  uint64_t cr0_after_clts() const;
  // What MOV from CR0/CR4 and SMSW see: the shadow where the mask says so; outside non-root the
  // value itself.
  uint64_t visible_cr0(uint64_t cr0) const;
  uint64_t visible_cr4(uint64_t cr4) const;

  // A PAUSE is over that has not caused a VM exit: from here PLE_Gap counts, as a PAUSE takes
  // longer than the gaps that hypervisors choose.
  void end_pause() {
    if (last_pause_) last_pause_ = cpu_.tsc_increments();
  }

  // INVPCID, RDTSCP and RDPID, XSAVES and XRSTORS: #UD in non-root operation unless a control
  // enables them. This #UD takes priority over everything else.
  bool invpcid_enabled() const;
  bool rdtscp_enabled() const;
  bool xsaves_enabled() const;

  // Events. An exception is asked for before delivery; true: VM exit.
  bool exception_exits(const Event&);
  // false: to be delivered, or it was the notification of posted interrupts and is over.
  bool external_interrupt_exits();
  bool nmi_exits();
  bool init_exits();
  bool sipi_exits(uint8_t vector);
  bool triple_fault_exits();
  bool task_switch_exits(uint16_t selector, uint8_t source, const InstructionContext&);
  // At an instruction boundary: VM exits due to a window or the preemption timer, in the manual's
  // priority. `nmi_window_open`: but for virtual-NMI blocking. Pending debug exceptions go before,
  // but after monitor_trap_flag_exits(). An NMI that is about to be delivered closes the interrupt
  // window, as it has the higher priority.
  bool boundary_exits(bool interrupt_window_open, bool nmi_window_open);
  // The MTF VM exit that is pending, if one is. boundary_exits asks too.
  bool monitor_trap_flag_exits();
  // With "monitor trap flag" 1 the caller executes one instruction or delivers one event, and then
  // makes the MTF VM exit pending.
  bool monitor_trap_flag() const;
  void set_monitor_trap_flag_pending() { mtf_pending_ = true; }
  // `instruction_length`: 0 where it is not known; the SDM leaves the field undefined for these
  // exits, but hypervisors use what processors put there.
  void ept_violation(uint64_t qualification, uint64_t guest_physical,
                     std::optional<uint64_t> linear, uint8_t instruction_length = 0);
  void ept_misconfiguration(uint64_t guest_physical, uint8_t instruction_length = 0);
  // "Virtualization Exceptions": for an EPT violation that the EPT entries allow to be converted.
  // An event: it has been, and the exception is to be delivered; nullopt: it causes its VM exit.
  std::optional<Event> virtualization_exception(uint64_t qualification, uint64_t guest_physical,
                                                std::optional<uint64_t> linear);
  // "Sub-Page Write Permissions": an SPP miss or misconfiguration, as the qualification says.
  void sub_page_event(uint64_t qualification, uint64_t guest_physical, uint64_t linear,
                      uint8_t instruction_length = 0);
  // "Page-Modification Logging", with "enable PML" 1. While the log is full no accessed or dirty
  // flag of EPT may be set: the access causes the VM exit instead. Otherwise each page whose dirty
  // flag has been set is logged.
  bool page_modification_log_is_full() const;
  void log_page_modification(uint64_t guest_physical);
  void page_modification_log_full();
  // The event under delivery through the IDT, for IDT-vectoring information; nullopt when delivery
  // ends. `injected`: by VM entry.
  void set_vectoring(const std::optional<Event>& event, bool injected = false) {
    vectoring_ = event;
    vectoring_injected_ = injected;
    if (event) unblocking_iret_.reset();
  }
  void vm_exit(const ExitInformation&);

  // --- "APIC Virtualization and Virtual Interrupts"
  // CR8 with "use TPR shadow"; without it nullopt or false: the local APIC's TPR is meant.
  std::optional<uint8_t> virtual_cr8() const;
  bool write_virtual_cr8(uint64_t value);
  // RDMSR and WRMSR with "virtualize x2APIC mode"; nullopt: an ordinary access.
  std::optional<uint64_t> read_virtual_apic_msr(uint32_t index) const;
  std::optional<MsrStatus> write_virtual_apic_msr(uint32_t index, uint64_t value);
  // Is the physical address on the APIC-access page, and "virtualize APIC accesses" 1?
  bool is_apic_access_page(uint64_t physical) const;
  // Is a data access of `size` bytes at this page offset virtualized? Then it goes to the
  // virtual-APIC page, and after the operation apic_written() follows if it wrote. Otherwise it
  // causes a VM exit.
  bool virtualizes_apic_access(uint16_t offset, unsigned size, bool write) const;
  uint64_t virtual_apic_page() const;  // physical address
  void apic_written(uint16_t offset);
  enum class ApicAccess : uint8_t { kRead = 0, kWrite = 1, kFetch = 2, kGuestPhysical };
  void apic_access(uint16_t offset, ApicAccess access, uint8_t instruction_length);
  // At an instruction boundary, before all else: the VM exit that APIC virtualization left pending.
  bool apic_exits();
  bool apic_exit_pending() const { return in_non_root_ && apic_exit_.has_value(); }
  // A virtual interrupt is recognized, and to be delivered where an external interrupt could be.
  bool virtual_interrupt_recognized() const {
    return in_non_root_ && virtual_interrupt_recognized_;
  }
  Event take_virtual_interrupt();

  // --- what VMX changes in other parts of the processor, in non-root operation
  bool pin(PinBased control) const { return in_non_root_ && vmcs_.has(control); }
  bool primary(PrimaryProcBased control) const { return in_non_root_ && vmcs_.has(control); }
  bool secondary(SecondaryProcBased control) const { return in_non_root_ && vmcs_.has(control); }
  uint16_t vpid() const;                  // 0: none
  std::optional<uint64_t> eptp() const {  // when EPT is on
    if (!secondary(SecondaryProcBased::kEnableEpt)) return std::nullopt;
    return field(Field::kEptPointer);
  }
  std::optional<uint64_t> sub_page_table() const;  // with "sub-page write permissions for EPT"
  uint64_t tsc_offset() const;  // what RDTSC, RDTSCP and RDMSR of IA32_TIME_STAMP_COUNTER add
  // The number of TSC increments (Processor::tsc_increments) with which the VMX-preemption timer
  // expires.
  std::optional<uint64_t> preemption_deadline() const;
  // The TSC value that RDTSC sees when the counter stands at `tsc`.
  uint64_t guest_tsc(uint64_t tsc) const;
  // Virtual-NMI blocking; false where virtual NMIs are off. CpuState::blocking_by_nmi is about
  // NMIs, and false where they are on.
  bool virtual_nmi_blocking() const { return virtual_nmi_blocking_; }
  // IRET, in any operation, before its first memory access, with RIP at the instruction: takes off
  // the blocking of NMIs or virtual NMIs that IRET takes off. A page fault, #AC, #VE or EPT
  // violation of this IRET is reported with "NMI unblocking due to IRET".
  void begin_iret();
  // IRET has completed. Not needed where RIP has changed before the next event.
  void end_iret() { unblocking_iret_.reset(); }

  // CR0 and CR4 bits that VMX operation fixes: MOV to CR faults when they are violated.
  bool cr0_allowed(uint64_t value) const;
  bool cr4_allowed(uint64_t value) const;

  // For dumps and the trace.
  const Vmcs& current_vmcs() const { return vmcs_; }

  // --- for root software that is part of the emulator, which executes no instructions: what
  // VMXON, VMPTRLD, VMREAD and VMWRITE, VMLAUNCH and VMRESUME do once their operands are known.
  void enter_root_operation() { in_vmx_operation_ = true; }
  void leave_root_operation();
  // Any content of the region is accepted.
  void make_current(ept::PhysicalAddress region);
  Vmcs& edit_current_vmcs() { return vmcs_; }
  // VMLAUNCH or VMRESUME, as the launch state asks. In non-root operation on return, unless a check
  // failed: see the VM-instruction error and the exit reason.
  Outcome enter_guest();
  // Where this processor's non-root operation is itself emulated on another processor's: a VM exit
  // of that one, which `taken` holds, becomes a VM exit here. state() is the guest's, as it was
  // then.
  void reflect_exit(const Vmcs& taken);
  // With virtual NMIs, in non-root operation.
  void set_virtual_nmi_blocking(bool blocked) { virtual_nmi_blocking_ = blocked; }

  // Saves or loads all that an object with the same capabilities needs to go on.
  template <class Archive>
  void serialize(Archive& archive) {
    archive(feature_control, in_vmx_operation_, in_non_root_, vmxon_pointer_, current_vmcs_, vmcs_,
            vectoring_, vectoring_injected_, virtual_nmi_blocking_, unblocking_iret_, mtf_pending_,
            apic_exit_, virtual_interrupt_recognized_, preemption_deadline_, last_pause_,
            first_pause_);
    archive.require(in_vmx_operation_ || !in_non_root_);
  }

 private:
  // instructions/: the checks that all VMX instructions but VMXON, VMCALL and VMFUNC begin with.
  // A value: the instruction is over.
  std::optional<Outcome> begin_instruction(ExitReason reason, const InstructionContext&,
                                           uint64_t qualification = 0);
  bool mode_allows_vmx() const;
  Outcome instruction_exit(ExitReason reason, const InstructionContext&,
                           uint64_t qualification = 0);
  Outcome vm_succeed();
  Outcome vm_fail_invalid(std::string_view instruction, uint32_t unsaved_error = 0);
  Outcome vm_fail(std::string_view instruction, InstructionError error);
  // VM-instruction error 12.
  Outcome unsupported_component(std::string_view instruction, uint64_t encoding);
  std::optional<Event> read_operand(const InstructionContext&, std::span<uint8_t> out);
  // What a failed access to an operand in memory makes of the instruction; `was_non_root`: as it
  // was before the access.
  Outcome operand_fault(const Event& fault, bool was_non_root) const {
    return was_non_root && !in_non_root_ ? Outcome(Transferred{}) : Outcome(fault);
  }
  std::optional<Event> read_pointer(const InstructionContext&, uint64_t& pointer);
  // Bits that the register operand or result of VMREAD and its like has.
  uint64_t operand_mask() const;
  // Whether VMCLEAR or VMPTRLD has failed by its operand, with one of the two errors.
  bool refuses_pointer(std::string_view instruction, uint64_t pointer,
                       InstructionError invalid_address, InstructionError vmxon_pointer);
  bool valid_vmx_pointer(uint64_t pointer) const;
  bool has_current_vmcs() const { return current_vmcs_ != kNoPointer; }
  Vmcs load_vmcs(uint64_t pointer);
  void store_vmcs(const Vmcs& vmcs, uint64_t pointer);
  void release_current_vmcs();
  std::optional<CheckFailure> vmxon_refusal() const;
  bool valid_eptp(uint64_t eptp) const;
  // VMREAD and VMWRITE in non-root operation.
  bool shadow_access_exits(uint64_t encoding, bool write);
  Outcome switch_eptp(const InstructionContext&);

  // intercepts.cc
  bool pause_exits();
  bool operands_exit(ExitReason reason);
  bool cr3_is_target(uint64_t value) const;

  // apic_virtualization.cc
  uint32_t virtual_apic(uint16_t offset) const;
  void set_virtual_apic(uint16_t offset, uint32_t value);
  uint8_t highest_virtual(uint16_t set) const;
  void change_virtual(uint16_t set, uint8_t vector, bool value);
  uint8_t rvi() const;
  uint8_t svi() const;
  void set_interrupt_status(uint8_t requesting, uint8_t servicing);
  bool virtual_interrupt_delivery() const;
  void virtualize_tpr();
  void virtualize_ppr();
  void virtualize_eoi();
  void virtualize_self_ipi(uint8_t vector);
  void evaluate_virtual_interrupts();
  void begin_apic_virtualization();
  void process_posted_interrupts();

  // event_exits.cc
  void event_exit(ExitReason reason, uint64_t qualification);
  ExitInformation ept_violation_information(uint64_t qualification, uint64_t guest_physical,
                                            std::optional<uint64_t> linear);

  // entry.cc
  Outcome vm_entry(std::string_view instruction, bool launch);
  bool load_guest_pdptes();
  void load_guest_state();
  void load_guest_segments();
  void load_guest_non_register_state(const Injection&);
  Outcome fail_entry(ExitReason reason, uint64_t qualification);
  void start_guest(bool launch, const Injection&);

  // exit.cc
  void record_exit(const ExitInformation&);
  bool unblocks_nmis(const ExitInformation&) const;
  uint64_t saved_qualification(const ExitInformation&) const;
  void save_guest_state(const ExitInformation&);
  void update_entry_fields();
  bool saves_pdptes() const;
  bool exit_saves(Field guest_field) const;
  void complete_exit(bool was_long_mode);
  uint64_t saved_rflags(const ExitInformation&) const;
  bool keeps_pending_debug_exceptions(const ExitInformation&) const;
  bool occurs_during_delivery(const ExitInformation&) const;
  void load_host();
  bool load_host_state();
  void load_host_segments();
  void report_exit(std::string_view why = {});
  void abort(VmxAbort reason);
  void leave_non_root();

  uint64_t field(Field f) const { return vmcs_[f]; }

  static constexpr uint64_t kNoPointer = ~0ull;

  const Capabilities capabilities_;
  Processor& cpu_;
  EventSink& sink_;
  bool in_vmx_operation_ = false, in_non_root_ = false;
  uint64_t vmxon_pointer_ = kNoPointer;
  uint64_t current_vmcs_ = kNoPointer;
  Vmcs vmcs_;  // the data of the current VMCS; its region is written when it ceases to be current
  std::optional<Event> vectoring_;
  bool vectoring_injected_ = false;
  bool virtual_nmi_blocking_ = false;
  std::optional<uint64_t> unblocking_iret_;  // RIP of the IRET that took off a blocking
  bool mtf_pending_ = false;
  // The trap-like VM exit that APIC virtualization asks for.
  struct ApicExit {
    ExitReason reason{};
    uint64_t qualification = 0;
    template <class Archive>
    void fields(Archive& archive) {
      archive(reason, qualification);
    }
  };
  std::optional<ApicExit> apic_exit_;
  bool virtual_interrupt_recognized_ = false;
  std::optional<uint64_t> preemption_deadline_;
  // PAUSE-loop exiting: TSC increments at the last PAUSE and at the first one of the loop.
  std::optional<uint64_t> last_pause_;
  uint64_t first_pause_ = 0;
};

}  // namespace nestor::vmx
