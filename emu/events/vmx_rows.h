// SPDX-License-Identifier: GPL-2.0-or-later
//
// The rows of what VMX reports. For kinds.cc.
#pragma once

#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <array>
#include <initializer_list>
#include <span>

#include "emu/events/row.h"
#include "vmx/exit_reasons.h"
#include "vmx/field_bits.h"
#include "vmx/injection.h"
#include "vmx/instruction_errors.h"
#include "vmx/msr_bitmap.h"
#include "vmx/vmcs.h"

namespace nestor::emu::rows {

// Parts of a decoded field that are addresses or selectors, and those that are numbers even when
// they are 1; any other part that has no name and is 1 is a flag.
inline constexpr std::array<std::string_view, 6> kHexParts = {"linear", "displacement", "offset",
                                                              "port",   "selector",     "source"};
inline constexpr std::array<std::string_view, 12> kNumberParts = {
    "access", "armed",   "check",    "cr",   "direction", "dr",
    "entry",  "operand", "register", "size", "type",      "vector"};

inline bool contains(std::span<const std::string_view> keys, std::string_view key) {
  return std::ranges::find(keys, key) != keys.end();
}

inline Value parts(const vmx::QualificationItems& items) {
  Parts parts;
  if (items.begin() == items.end()) return absent();
  for (const vmx::QualificationItem& item : items) {
    if (!item.text.empty()) {
      parts.push_back({item.key, item.text});
    } else if (contains(kHexParts, item.key)) {
      parts.push_back({item.key, Hex{item.value}});
    } else if (item.value == 1 && !contains(kNumberParts, item.key)) {
      parts.push_back({item.key, true});
    } else {
      parts.push_back({item.key, item.value});
    }
  }
  return parts;
}

inline Value interruption(uint32_t information) {
  if (!vmx::interruption::is_valid(information)) return absent();
  return parts(vmx::decode_interruption_information(information));
}

// What a VM exit was for: the MSR, or the leaf of CPUID.
inline Value register_of(const vmx::VmExitEvent& exit,
                         std::initializer_list<vmx::ExitReason> reasons, vmx::Gpr gpr) {
  const auto basic = vmx::basic_reason(exit.reason);
  const bool failed = (exit.reason & vmx::kExitReasonEntryFailure) != 0;
  if (exit.state == nullptr || failed || std::ranges::find(reasons, basic) == reasons.end())
    return absent();
  return hex(exit.state->gpr[gpr] & 0xffffffff);
}

// What of the VM-execution controls decided on the VM exit.
inline Value decided_by(const vmx::VmExitEvent& exit) {
  if (exit.data == nullptr || exit.state == nullptr) return absent();
  const vmx::Vmcs& vmcs = *exit.data;
  const auto basic = vmx::basic_reason(exit.reason);
  if (basic == vmx::ExitReason::kIoInstruction) {
    return word(vmcs.has(vmx::PrimaryProcBased::kUseIoBitmaps) ? "I/O bitmap"
                                                               : "unconditional I/O exiting");
  }
  if (basic != vmx::ExitReason::kRdmsr && basic != vmx::ExitReason::kWrmsr) return absent();
  if (!vmcs.has(vmx::PrimaryProcBased::kUseMsrBitmaps)) return word("no MSR bitmaps");
  const auto index = static_cast<uint32_t>(exit.state->gpr[vmx::kRcx]);
  const auto access =
      basic == vmx::ExitReason::kWrmsr ? vmx::MsrAccess::kWrite : vmx::MsrAccess::kRead;
  const auto bit = vmx::msr_bitmap_bit(index, access);
  if (!bit) return word("outside both ranges of the MSR bitmaps");
  return fmt::format("bit {} of byte {:#x} of the MSR bitmaps", *bit % 8, *bit / 8);
}

inline Value not_activated(const vmx::Vmcs* vmcs) {
  if (vmcs == nullptr || vmcs->has(vmx::PrimaryProcBased::kActivateSecondaryControls))
    return absent();
  const uint64_t controls = (*vmcs)[vmx::Field::kSecondaryProcBasedControls];
  return controls != 0 ? hex(controls) : absent();
}

inline Value wrong_bits(const vmx::CheckFailure& failure) {
  if (!failure.component || failure.wrong.empty()) return absent();
  return vmx::requirement_of(*failure.component, failure.wrong);
}

inline Value error_code(uint32_t information, uint32_t code) {
  const bool has_code =
      vmx::interruption::is_valid(information) && vmx::interruption::has_error_code(information);
  return has_code ? hex(code) : absent();
}

inline const vmx::ExitReasonInfo* reason_of(const vmx::VmExitEvent& exit) {
  return vmx::find_exit_reason(static_cast<uint16_t>(exit.reason & vmx::kExitReasonBasicMask));
}

// Whether the reason of a VM exit defines these fields.
inline bool defines(const vmx::VmExitEvent& exit, unsigned fields) {
  const vmx::ExitReasonInfo* info = reason_of(exit);
  return info != nullptr && (info->defines & fields) != 0;
}

inline bool has_guest_linear(const vmx::VmExitEvent& exit) {
  const vmx::ExitReasonInfo* info = reason_of(exit);
  return info != nullptr && info->defines_guest_linear(exit.qualification);
}

template <>
struct Row<vmx::VmEntryEvent> {
  using E = vmx::VmEntryEvent;
  static constexpr std::string_view kName = "vm-entry", kMeaning = "VM entry";
  static constexpr Field<E> kFields[] = {
      {"instruction", "VMLAUNCH or VMRESUME",
       [](const E& e) { return word(e.launch ? "VMLAUNCH" : "VMRESUME"); }},
      {"vmcs", "physical address", [](const E& e) { return hex(e.vmcs); }, 0, kWhereVmcs},
      {"rip", "of the guest", [](const E& e) { return hex(e.guest_rip); }},
      {"cr3", "of the guest", [](const E& e) { return hex(e.guest_cr3); }},
      {"eptp", "0 without EPT", [](const E& e) { return hex(e.eptp); }, kEptpFlags, kWhereEpt},
      {"vpid", "0 without VPIDs", [](const E& e) { return number(e.vpid); }},
      {"injected", "the event that is injected, if one is; decoded",
       [](const E& e) { return interruption(e.interruption_information); }},
      {"never_cleared", "yes: VMCLEAR has not initialized the VMCS, what is in it is undefined",
       [](const E& e) { return e.data && !e.data->cleared ? flag(true) : absent(); }},
      {"not_activated",
       "secondary controls that are set while \"activate secondary controls\" is 0",
       [](const E& e) { return not_activated(e.data); }},
  };
};

template <>
struct Row<vmx::VmExitEvent> {
  using E = vmx::VmExitEvent;
  static constexpr std::string_view kName = "vm-exit";
  static constexpr std::string_view kMeaning =
      "VM exit, or a VM entry that failed after the checks of controls and host state";
  static constexpr Field<E> kFields[] = {
      {"reason", "in words", [](const E& e) { return word(vmx::exit_reason_name(e.reason)); }},
      {"reason_field", "the whole exit reason", [](const E& e) { return hex(e.reason); }},
      {"vmcs", "physical address", [](const E& e) { return hex(e.vmcs); }, 0, kWhereVmcs},
      {"rip", "of the guest", [](const E& e) { return hex(e.guest_rip); }},
      {"qualification", "this and the following only where the reason defines it",
       [](const E& e) {
         return defines(e, vmx::kDefinesQualification) ? hex(e.qualification) : absent();
       }},
      {"decoded", "what the qualification says",
       [](const E& e) {
         if (!defines(e, vmx::kDefinesQualification)) return absent();
         return parts(vmx::decode_qualification(
             e.reason, e.qualification, vmx::interruption::vector_of(e.interruption_information)));
       }},
      {"guest_linear", "guest-linear address",
       [](const E& e) { return has_guest_linear(e) ? hex(e.guest_linear) : absent(); }},
      {"guest_physical", "guest-physical address",
       [](const E& e) {
         return defines(e, vmx::kDefinesGuestPhysical) ? hex(e.guest_physical) : absent();
       }},
      {"interruption", "VM-exit interruption information, decoded",
       [](const E& e) { return interruption(e.interruption_information); }},
      {"error_code", "of that event",
       [](const E& e) {
         return error_code(e.interruption_information, e.interruption_error_code);
       }},
      {"idt_vectoring", "the event that was being delivered, decoded",
       [](const E& e) { return interruption(e.idt_vectoring_information); }},
      {"idt_vectoring_error_code", "of that event",
       [](const E& e) {
         return error_code(e.idt_vectoring_information, e.idt_vectoring_error_code);
       }},
      {"instruction_length", "in bytes",
       [](const E& e) {
         const bool has = defines(e, vmx::kDefinesLength) && e.instruction_length != 0;
         return has ? number(e.instruction_length) : absent();
       }},
      {"instruction_information", "VM-exit instruction information",
       [](const E& e) {
         const vmx::ExitReasonInfo* info = reason_of(e);
         const bool has = info != nullptr && info->defines_information(e.qualification);
         return has ? hex(e.instruction_information) : absent();
       }},
      {"msr", "of RDMSR and WRMSR: ECX",
       [](const E& e) {
         return register_of(e, {vmx::ExitReason::kRdmsr, vmx::ExitReason::kWrmsr}, vmx::kRcx);
       }},
      {"leaf", "of CPUID: EAX",
       [](const E& e) { return register_of(e, {vmx::ExitReason::kCpuid}, vmx::kRax); }},
      {"subleaf", "of CPUID: ECX",
       [](const E& e) { return register_of(e, {vmx::ExitReason::kCpuid}, vmx::kRcx); }},
      {"decided_by", "of RDMSR, WRMSR and I/O instructions: bit of a bitmap, range or control",
       [](const E& e) { return decided_by(e); }},
      {"why", "of an exception: its reason, where the fields before do not tell it",
       [](const E& e) { return text(e.why); }},
      {"host_rip", "where L1 goes on",
       [](const E& e) { return e.data ? hex((*e.data)[vmx::Field::kHostRip]) : absent(); }},
      {"host_rsp", "its stack",
       [](const E& e) { return e.data ? hex((*e.data)[vmx::Field::kHostRsp]) : absent(); }},
  };
};

template <>
struct Row<vmx::CheckFailure> {
  using E = vmx::CheckFailure;
  static constexpr std::string_view kName = "check-failed";
  static constexpr std::string_view kMeaning =
      "failed check of a VM entry, of a VM exit or of a VMX instruction";
  static constexpr Field<E> kFields[] = {
      {"check", "a stable name", [](const E& e) { return word(e.id); }},
      {"field", "of the VMCS, or the operand", [](const E& e) { return word(e.field); }},
      {"value", "of the field", [](const E& e) { return hex(e.value); }},
      {"entry", "of an MSR area: number of the entry, from 1",
       [](const E& e) { return e.entry != 0 ? number(e.entry) : absent(); }},
      {"entries", "of an MSR area: how many it has",
       [](const E& e) { return e.entry != 0 ? number(e.entries) : absent(); }},
      {"requirement", "what it must be", [](const E& e) { return word(e.requirement); }},
      {"wrong_bits", "which bits must be otherwise, by name",
       [](const E& e) { return wrong_bits(e); }},
      {"section", "title of the section of the Intel SDM",
       [](const E& e) { return word(e.section); }},
  };
};

template <>
struct Row<vmx::VmInstructionErrorEvent> {
  using E = vmx::VmInstructionErrorEvent;
  static constexpr std::string_view kName = "vm-instruction-error";
  static constexpr std::string_view kMeaning = "VMX instruction that failed";
  static constexpr Field<E> kFields[] = {
      {"instruction", "its mnemonic", [](const E& e) { return word(e.instruction); }},
      {"result", "VMfailInvalid or VMfailValid",
       [](const E& e) { return word(e.error == 0 ? "VMfailInvalid" : "VMfailValid"); }},
      {"error", "VMfailValid: the number of the error",
       [](const E& e) { return e.error != 0 ? number(e.error) : absent(); }},
      {"text", "VMfailValid: what the number means",
       [](const E& e) {
         return e.error != 0 ? word(vmx::instruction_error_text(e.error)) : absent();
       }},
      {"rip", "of the instruction", [](const E& e) { return hex(e.rip); }},
  };
};

template <>
struct Row<vmx::PageModificationEvent> {
  using E = vmx::PageModificationEvent;
  static constexpr std::string_view kName = "page-modification";
  static constexpr std::string_view kMeaning = "entry in L1's page-modification log";
  static constexpr Field<E> kFields[] = {
      {"guest_physical", "of the page that L2 writes for the first time",
       [](const E& e) { return hex(e.guest_physical); }},
      {"index", "of the entry; from 511 down to 0", [](const E& e) { return number(e.index); }},
  };
};

template <>
struct Row<L0ExitEvent> {
  using E = L0ExitEvent;
  static constexpr std::string_view kName = "l0-exit";
  static constexpr std::string_view kMeaning = "with `--l0`: VM exit to L0";
  static constexpr Field<E> kFields[] = {
      {"from", "L1 or L2", [](const E& e) { return word(e.from == 1 ? "L1" : "L2"); }},
      {"reason", "in words", [](const E& e) { return word(vmx::exit_reason_name(e.exit.reason)); }},
      {"reason_field", "the whole exit reason", [](const E& e) { return hex(e.exit.reason); }},
      {"rip", "of L1 or L2", [](const E& e) { return hex(e.exit.guest_rip); }},
      {"qualification", "", [](const E& e) { return hex(e.exit.qualification); }},
  };
};

// The fields by their identifiers, with what `value` takes of each change.
inline Value changes(const VmcsChangeEvent& event, uint64_t VmcsFieldChange::*value) {
  Parts parts;
  for (const VmcsFieldChange& change : event.changes)
    parts.push_back({vmx::info_of(change.field).identifier, Hex{change.*value}});
  return parts;
}

template <>
struct Row<VmcsChangeEvent> {
  using E = VmcsChangeEvent;
  static constexpr std::string_view kName = "vmcs-change";
  static constexpr std::string_view kMeaning =
      "with `--trace-vmcs`: what has changed in a VMCS since the last VM entry or VM exit with it";
  static constexpr Field<E> kFields[] = {
      {"vmcs", "physical address", [](const E& e) { return hex(e.vmcs); }, 0, kWhereVmcs},
      {"by", "L1, before a VM entry, or VM exit",
       [](const E& e) { return word(e.by_vm_exit ? "VM exit" : "L1"); }},
      {"before", "the fields by name, with what they held",
       [](const E& e) { return changes(e, &VmcsFieldChange::before); }},
      {"after", "the same fields, with what they hold now",
       [](const E& e) { return changes(e, &VmcsFieldChange::after); }},
  };
};

}  // namespace nestor::emu::rows
