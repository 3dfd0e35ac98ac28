// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/events/kinds.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "vmx/exceptions.h"
#include "vmx/exit_reasons.h"
#include "vmx/injection.h"
#include "vmx/instruction_errors.h"
#include "vmx/msr_bitmap.h"
#include "vmx/vmcs.h"
#include "vmx/vmx_aborts.h"

namespace nestor::emu {
namespace {

// Parts of a decoded field that are addresses or selectors, and those that are numbers even when
// they are 1; any other part that has no name and is 1 is a flag.
constexpr std::array<std::string_view, 6> kHexParts = {"linear", "displacement", "offset",
                                                       "port",   "selector",     "source"};
constexpr std::array<std::string_view, 12> kNumberParts = {"access",    "armed", "check", "cr",
                                                           "direction", "dr",    "entry", "operand",
                                                           "register",  "size",  "type",  "vector"};

bool contains(std::span<const std::string_view> keys, std::string_view key) {
  return std::ranges::find(keys, key) != keys.end();
}

Value number(uint64_t value) { return value; }
Value flag(bool value) { return value; }
Value hex(uint64_t value) { return Hex{value}; }
Value word(std::string_view value) { return value; }
Value absent() { return {}; }
Value level(bool non_root) { return word(non_root ? "L2" : "L1"); }

Value parts(const vmx::QualificationItems& items) {
  Parts parts;
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

Value interruption(uint32_t information) {
  if (!vmx::interruption::is_valid(information)) return absent();
  return parts(vmx::decode_interruption_information(information));
}

Value text(std::string_view text) { return text.empty() ? absent() : word(text); }

// An exception that the delivery of another event met.
Value met(const vmx::Event& event) {
  Parts parts = {{"name", vmx::exception_info(event.vector).mnemonic}};
  if (event.error_code) parts.push_back({"error_code", Hex{*event.error_code}});
  if (event.vector == vmx::kPf) parts.push_back({"linear", Hex{event.payload}});
  return parts;
}

// What a VM exit was for: the MSR, or the leaf of CPUID.
Value register_of(const vmx::VmExitEvent& exit, std::initializer_list<vmx::ExitReason> reasons,
                  vmx::Gpr gpr) {
  const auto basic = vmx::basic_reason(exit.reason);
  const bool failed = (exit.reason & vmx::kExitReasonEntryFailure) != 0;
  if (exit.state == nullptr || failed || std::ranges::find(reasons, basic) == reasons.end())
    return absent();
  return hex(exit.state->gpr[gpr] & 0xffffffff);
}

// What of the VM-execution controls decided on the VM exit.
Value decided_by(const vmx::VmExitEvent& exit) {
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
  const bool covered = vmx::msr_bitmap_bit(index, vmx::MsrAccess::kRead).has_value();
  return word(covered ? "MSR bitmap" : "outside both ranges of the MSR bitmaps");
}

Value error_code(uint32_t information, uint32_t code) {
  const bool has_code =
      vmx::interruption::is_valid(information) && vmx::interruption::has_error_code(information);
  return has_code ? hex(code) : absent();
}

const vmx::ExitReasonInfo* reason_of(const vmx::VmExitEvent& exit) {
  return vmx::find_exit_reason(static_cast<uint16_t>(exit.reason & vmx::kExitReasonBasicMask));
}

// Whether the reason of a VM exit defines these fields.
bool defines(const vmx::VmExitEvent& exit, unsigned fields) {
  const vmx::ExitReasonInfo* info = reason_of(exit);
  return info != nullptr && (info->defines & fields) != 0;
}

bool has_guest_linear(const vmx::VmExitEvent& exit) {
  const vmx::ExitReasonInfo* info = reason_of(exit);
  return info != nullptr && info->defines_guest_linear(exit.qualification);
}

Value outcome(WalkOutcome outcome) {
  constexpr std::array<std::string_view, 5> kNames = {"translated", "page fault", "EPT violation",
                                                      "EPT misconfiguration", "SPP-related event"};
  return word(kNames[static_cast<size_t>(outcome)]);
}

constexpr std::string_view kWhereVmcs = "where L1 put its VMCS";
constexpr std::string_view kWhereEpt = "where L1 put its EPT; memory type and flags count";
constexpr uint64_t kEptpFlags = 0xfff;

template <class E>
struct Field {
  std::string_view name, meaning;
  Value (*value)(const E&);
  uint64_t compared = ~0ull;
  std::string_view why = {};
};

// One for each kind of event.
template <class E>
struct Row;

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
         return defines(e, vmx::kDefinesInformation) ? hex(e.instruction_information) : absent();
       }},
      {"msr", "of RDMSR and WRMSR: ECX",
       [](const E& e) {
         return register_of(e, {vmx::ExitReason::kRdmsr, vmx::ExitReason::kWrmsr}, vmx::kRcx);
       }},
      {"leaf", "of CPUID: EAX",
       [](const E& e) { return register_of(e, {vmx::ExitReason::kCpuid}, vmx::kRax); }},
      {"subleaf", "of CPUID: ECX",
       [](const E& e) { return register_of(e, {vmx::ExitReason::kCpuid}, vmx::kRcx); }},
      {"decided_by", "of RDMSR, WRMSR and I/O instructions: bitmap, range or control",
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
      {"requirement", "what it must be", [](const E& e) { return word(e.requirement); }},
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

template <>
struct Row<ExceptionEvent> {
  using E = ExceptionEvent;
  static constexpr std::string_view kName = "exception";
  static constexpr std::string_view kMeaning =
      "exception or software interrupt, delivered through the IDT";
  static constexpr Field<E> kFields[] = {
      {"vector", "", [](const E& e) { return number(e.vector); }},
      {"software", "of INT n, INT3, INTO and INT1: yes",
       [](const E& e) { return e.software ? flag(true) : absent(); }},
      {"name", "mnemonic of an exception",
       [](const E& e) {
         const std::string_view name = vmx::exception_info(e.vector).mnemonic;
         return e.software || name.empty() ? absent() : word(name);
       }},
      {"level", "L1 or L2", [](const E& e) { return level(e.non_root); }},
      {"rip", "of the instruction that raised it", [](const E& e) { return hex(e.rip); }},
      {"error_code", "where the exception has one",
       [](const E& e) { return e.error_code ? hex(*e.error_code) : absent(); }},
      {"cr2", "of #PF: the linear address",
       [](const E& e) { return e.vector == vmx::kPf && !e.software ? hex(e.cr2) : absent(); }},
      {"why", "its reason, where the fields before do not tell it",
       [](const E& e) { return text(e.why); }},
      {"met", "where the delivery of the event before failed: what it met",
       [](const E& e) { return e.met ? met(*e.met) : absent(); }},
      {"met_when", "and what that was at, or its reason",
       [](const E& e) { return e.met ? text(e.met->why) : absent(); }},
  };
};

template <>
struct Row<InterruptEvent> {
  using E = InterruptEvent;
  static constexpr std::string_view kName = "interrupt";
  static constexpr std::string_view kMeaning =
      "external interrupt or NMI, delivered through the IDT";
  static constexpr Field<E> kFields[] = {
      {"vector", "", [](const E& e) { return number(e.vector); }},
      {"nmi", "yes or no", [](const E& e) { return flag(e.nmi); }},
      {"level", "L1 or L2", [](const E& e) { return level(e.non_root); }},
      {"rip", "where the program was interrupted", [](const E& e) { return hex(e.rip); }},
  };
};

template <>
struct Row<WalkEvent> {
  using E = WalkEvent;
  static constexpr std::string_view kName = "walk";
  static constexpr std::string_view kMeaning =
      "page walk through EPT; with `--l0` what the processor walks, EPT01 and EPT02";
  static constexpr Field<E> kFields[] = {
      {"outcome",
       "translated, page fault, EPT violation, EPT misconfiguration or SPP-related event",
       [](const E& e) { return outcome(e.outcome); }},
      {"eptp", "", [](const E& e) { return hex(e.eptp); }, kEptpFlags, kWhereEpt},
      {"linear", "the address that was to be translated", [](const E& e) { return hex(e.linear); }},
      {"guest_physical", "not for a page fault",
       [](const E& e) {
         return e.outcome != WalkOutcome::kPageFault ? hex(e.guest_physical) : absent();
       }},
      {"physical", "only if translated",
       [](const E& e) {
         return e.outcome == WalkOutcome::kTranslated ? hex(e.physical) : absent();
       }},
      {"rule", "which rule of the manual the last entry breaks",
       [](const E& e) { return e.rule.empty() ? absent() : word(e.rule); }},
      {"steps", "one for each memory reference; see below",
       [](const E& e) { return Value(e.steps); }},
  };
};

template <>
struct Row<StaleTranslationEvent> {
  using E = StaleTranslationEvent;
  static constexpr std::string_view kName = "stale-translation";
  static constexpr std::string_view kMeaning =
      "with `--tlb keep`: first use of a cached translation that the tables no longer hold";
  static constexpr Field<E> kFields[] = {
      {"linear", "", [](const E& e) { return hex(e.linear); }},
      {"access", "read, write or fetch",
       [](const E& e) {
         constexpr std::array<std::string_view, 3> kAccesses = {"read", "write", "fetch"};
         return word(kAccesses[e.access]);
       }},
      {"level", "L1 or L2", [](const E& e) { return level(e.non_root); }},
      {"vpid", "", [](const E& e) { return number(e.vpid); }},
      {"pcid", "", [](const E& e) { return number(e.pcid); }},
      {"ept_root", "under EPT: bits 51:12 of the EPTP",
       [](const E& e) { return e.ept_root ? hex(*e.ept_root) : absent(); }},
      {"cached_guest_physical", "under EPT: what was used",
       [](const E& e) { return e.ept_root ? hex(e.cached_guest_physical) : absent(); }},
      {"cached_physical", "what was used", [](const E& e) { return hex(e.cached_physical); }},
      {"tables", "outcome of a walk now", [](const E& e) { return outcome(e.tables); }},
      {"tables_guest_physical", "under EPT: from this walk",
       [](const E& e) {
         const bool has = e.ept_root && e.tables != WalkOutcome::kPageFault;
         return has ? hex(e.tables_guest_physical) : absent();
       }},
      {"tables_physical", "from this walk",
       [](const E& e) {
         return e.tables == WalkOutcome::kTranslated ? hex(e.tables_physical) : absent();
       }},
      {"dirty_flag_cleared", "yes: a write relied on a dirty flag that is clear in the tables",
       [](const E& e) { return e.dirty_flag_cleared ? flag(true) : absent(); }},
      {"missing", "the instructions that would have helped",
       [](const E& e) { return word(e.missing); }},
  };
};

template <>
struct Row<UnclaimedAccess> {
  using E = UnclaimedAccess;
  static constexpr std::string_view kName = "unclaimed-access";
  static constexpr std::string_view kMeaning = "access that no device answers";
  static constexpr Field<E> kFields[] = {
      {"space", "memory or port", [](const E& e) { return word(e.memory ? "memory" : "port"); }},
      {"direction", "read or write", [](const E& e) { return word(e.write ? "write" : "read"); }},
      {"address", "", [](const E& e) { return hex(e.address); }},
      {"size", "in bytes", [](const E& e) { return number(e.size); }},
      {"value", "", [](const E& e) { return hex(e.value); }},
  };
};

template <>
struct Row<ZeroCodeEvent> {
  using E = ZeroCodeEvent;
  static constexpr std::string_view kName = "zero-code";
  static constexpr std::string_view kMeaning =
      "L1 executes a page of zeros, for the first time on its processor: nobody has loaded that "
      "code";
  static constexpr Field<E> kFields[] = {
      {"linear", "of the page", [](const E& e) { return hex(e.linear); }},
  };
};

template <>
struct Row<OutsideRamEvent> {
  using E = OutsideRamEvent;
  static constexpr std::string_view kName = "outside-ram";
  static constexpr std::string_view kMeaning =
      "stack or interrupt table used where there is no RAM, for the first time on its processor";
  static constexpr Field<E> kFields[] = {
      {"what", "stack, IVT or IDT",
       [](const E& e) {
         if (e.what == ImplicitMemory::kStack) return word("stack");
         return word(e.real_mode ? "IVT" : "IDT");
       }},
      {"linear", "", [](const E& e) { return hex(e.linear); }},
      {"level", "L1 or L2", [](const E& e) { return level(e.non_root); }},
      {"rip", "where the processor was when that was noticed",
       [](const E& e) { return hex(e.rip); }},
  };
};

template <>
struct Row<TripleFaultEvent> {
  using E = TripleFaultEvent;
  static constexpr std::string_view kName = "triple-fault", kMeaning = "triple fault";
  static constexpr Field<E> kFields[] = {
      {"level", "L1 or L2", [](const E& e) { return level(e.non_root); }},
      {"rip", "", [](const E& e) { return hex(e.rip); }},
      {"met", "what the delivery of #DF met",
       [](const E& e) { return e.met ? met(*e.met) : absent(); }},
      {"met_when", "and what that was at, or its reason",
       [](const E& e) { return e.met ? text(e.met->why) : absent(); }},
  };
};

template <>
struct Row<VmxAbortEvent> {
  using E = VmxAbortEvent;
  static constexpr std::string_view kName = "vmx-abort", kMeaning = "VMX abort";
  static constexpr Field<E> kFields[] = {
      {"indicator", "VMX-abort indicator", [](const E& e) { return number(e.indicator); }},
      {"meaning", "in words", [](const E& e) { return word(vmx::vmx_abort_text(e.indicator)); }},
  };
};

template <>
struct Row<DebugExitEvent> {
  using E = DebugExitEvent;
  static constexpr std::string_view kName = "debug-exit";
  static constexpr std::string_view kMeaning = "the guest ends the run";
  static constexpr Field<E> kFields[] = {
      {"value", "as the guest wrote it to port 0xf4", [](const E& e) { return hex(e.value); }},
  };
};

template <>
struct Row<WorkloadEvent> {
  using E = WorkloadEvent;
  static constexpr std::string_view kName = "workload";
  static constexpr std::string_view kMeaning = "mark of an image that measures";
  static constexpr Field<E> kFields[] = {
      {"number",
       "of the workload that begins, as the guest wrote it to port 0xf8; 0: the last ends",
       [](const E& e) { return number(e.number); }},
  };
};

template <class E>
EventKind kind() {
  EventKind kind{Row<E>::kName, Row<E>::kMeaning, {}};
  for (const Field<E>& field : Row<E>::kFields)
    kind.fields.push_back({field.name, field.meaning, field.compared, field.why});
  return kind;
}

template <size_t... I>
std::array<EventKind, kEventKindCount> kinds(std::index_sequence<I...> /*all*/) {
  return {kind<std::variant_alternative_t<I, MachineEvent>>()...};
}

}  // namespace

const std::array<EventKind, kEventKindCount>& event_kinds() {
  static const auto all = kinds(std::make_index_sequence<kEventKindCount>());
  return all;
}

std::vector<NamedValue> values_of(const MachineEvent& event) {
  return std::visit(
      []<class E>(const E& one) {
        std::vector<NamedValue> values;
        values.reserve(std::size(Row<E>::kFields));
        for (const Field<E>& field : Row<E>::kFields) {
          Value value = field.value(one);
          if (!std::holds_alternative<std::monostate>(value))
            values.push_back({field.name, std::move(value)});
        }
        return values;
      },
      event);
}

}  // namespace nestor::emu
