// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/observe/trace/trace.h"

#include <algorithm>
#include <array>
#include <span>
#include <utility>

#include "vmx/exceptions.h"
#include "vmx/exit_reasons.h"
#include "vmx/injection.h"
#include "vmx/instruction_errors.h"
#include "vmx/vmx_aborts.h"

namespace nestor::emu {
namespace {

using Fields = std::vector<std::pair<std::string_view, Value>>;

std::string_view level(bool non_root) { return non_root ? "L2" : "L1"; }

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

Parts to_parts(const vmx::QualificationItems& items) {
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

void add_event(Fields& fields, std::string_view key, uint32_t information) {
  fields.emplace_back(key, to_parts(vmx::decode_interruption_information(information)));
}

std::string_view dimension_name(ept::Dimension dimension) {
  constexpr std::array<std::string_view, 3> kNames = {"guest", "EPT", "SPP"};
  return kNames[static_cast<size_t>(dimension)];
}

std::string_view outcome_name(WalkOutcome outcome) {
  constexpr std::array<std::string_view, 5> kNames = {"translated", "page fault", "EPT violation",
                                                      "EPT misconfiguration", "SPP-related event"};
  return kNames[static_cast<size_t>(outcome)];
}

}  // namespace

void Trace::attach(const Clock& clock, const uint64_t& /*instructions*/) { clock_ = &clock; }

void Trace::write(Record record) {
  record.cycle = clock_ ? clock_->cycles() : 0;
  record.sequence = sequence_++;
  record.processor = processor_;
  std::string line = format_ == TraceFormat::kText ? to_text(record) : to_json_line(record);
  line += '\n';
  output_.write(line);
}

void Trace::vm_entry(const vmx::VmEntryEvent& event) {
  Fields fields = {
      {"instruction", std::string_view(event.launch ? "VMLAUNCH" : "VMRESUME")},
      {"vmcs", Hex{event.vmcs}},
      {"rip", Hex{event.guest_rip}},
      {"cr3", Hex{event.guest_cr3}},
      {"eptp", Hex{event.eptp}},
      {"vpid", uint64_t{event.vpid}},
  };
  if (vmx::interruption::is_valid(event.interruption_information)) {
    add_event(fields, "injected", event.interruption_information);
  }
  write({.kind = "vm-entry", .fields = std::move(fields)});
}

void Trace::vm_exit(const vmx::VmExitEvent& event) {
  const vmx::ExitReasonInfo* info =
      vmx::find_exit_reason(static_cast<uint16_t>(event.reason & vmx::kExitReasonBasicMask));
  const unsigned defines = info ? info->defines : 0;
  Fields fields = {
      {"reason", vmx::exit_reason_name(event.reason)},
      {"reason_field", Hex{event.reason}},
      {"vmcs", Hex{event.vmcs}},
      {"rip", Hex{event.guest_rip}},
  };
  if (defines & vmx::kDefinesQualification) {
    fields.emplace_back("qualification", Hex{event.qualification});
    fields.emplace_back("decoded",
                        to_parts(vmx::decode_qualification(
                            event.reason, event.qualification,
                            vmx::interruption::vector_of(event.interruption_information))));
  }
  if (info != nullptr && info->defines_guest_linear(event.qualification)) {
    fields.emplace_back("guest_linear", Hex{event.guest_linear});
  }
  if (defines & vmx::kDefinesGuestPhysical) {
    fields.emplace_back("guest_physical", Hex{event.guest_physical});
  }
  if (vmx::interruption::is_valid(event.interruption_information)) {
    add_event(fields, "interruption", event.interruption_information);
    if (vmx::interruption::has_error_code(event.interruption_information)) {
      fields.emplace_back("error_code", Hex{event.interruption_error_code});
    }
  }
  if (vmx::interruption::is_valid(event.idt_vectoring_information)) {
    add_event(fields, "idt_vectoring", event.idt_vectoring_information);
    if (vmx::interruption::has_error_code(event.idt_vectoring_information)) {
      fields.emplace_back("idt_vectoring_error_code", Hex{event.idt_vectoring_error_code});
    }
  }
  if ((defines & vmx::kDefinesLength) && event.instruction_length != 0) {
    fields.emplace_back("instruction_length", uint64_t{event.instruction_length});
  }
  if (defines & vmx::kDefinesInformation) {
    fields.emplace_back("instruction_information", Hex{event.instruction_information});
  }
  write({.kind = "vm-exit", .fields = std::move(fields)});
}

void Trace::check_failed(const vmx::CheckFailure& failure) {
  write({.kind = "check-failed",
         .fields = {{"check", failure.id},
                    {"field", failure.field},
                    {"value", Hex{failure.value}},
                    {"requirement", failure.requirement},
                    {"section", failure.section}}});
}

void Trace::vm_instruction_error(const vmx::VmInstructionErrorEvent& event) {
  Fields fields = {
      {"instruction", event.instruction},
      {"result", std::string_view(event.error == 0 ? "VMfailInvalid" : "VMfailValid")}};
  if (event.error != 0) {
    fields.emplace_back("error", uint64_t{event.error});
    fields.emplace_back("text", vmx::instruction_error_text(event.error));
  }
  write({.kind = "vm-instruction-error", .fields = std::move(fields)});
}

void Trace::l0_exit(const vmx::VmExitEvent& event, int from) {
  write({.kind = "l0-exit",
         .fields = {{"from", from == 1 ? std::string_view("L1") : std::string_view("L2")},
                    {"reason", vmx::exit_reason_name(event.reason)},
                    {"reason_field", Hex{event.reason}},
                    {"rip", Hex{event.guest_rip}},
                    {"qualification", Hex{event.qualification}}}});
}

void Trace::exception(const ExceptionEvent& event) {
  Fields fields = {{"vector", uint64_t{event.vector}}};
  if (event.software) {
    fields.emplace_back("software", true);
  } else if (const auto name = vmx::exception_info(event.vector).mnemonic; !name.empty()) {
    fields.emplace_back("name", name);
  }
  fields.emplace_back("level", level(event.non_root));
  fields.emplace_back("rip", Hex{event.rip});
  if (event.error_code) fields.emplace_back("error_code", Hex{*event.error_code});
  if (event.vector == vmx::kPf && !event.software) fields.emplace_back("cr2", Hex{event.cr2});
  write({.kind = "exception", .fields = std::move(fields)});
}

void Trace::interrupt(const InterruptEvent& event) {
  write({.kind = "interrupt",
         .fields = {{"vector", uint64_t{event.vector}},
                    {"nmi", event.nmi},
                    {"level", level(event.non_root)},
                    {"rip", Hex{event.rip}}}});
}

void Trace::walk(const WalkEvent& event) {
  WalkSteps steps;
  steps.reserve(event.steps.size());
  for (const ept::Step& step : event.steps) {
    steps.push_back({dimension_name(step.dimension), step.level, step.address, step.machine_address,
                     step.entry, step.written_back});
  }
  Fields fields = {{"outcome", outcome_name(event.outcome)},
                   {"eptp", Hex{event.eptp}},
                   {"linear", Hex{event.linear}}};
  if (event.outcome != WalkOutcome::kPageFault) {
    fields.emplace_back("guest_physical", Hex{event.guest_physical});
  }
  if (event.outcome == WalkOutcome::kTranslated) {
    fields.emplace_back("physical", Hex{event.physical});
  }
  if (!event.rule.empty()) fields.emplace_back("rule", event.rule);
  fields.emplace_back("steps", std::move(steps));
  write({.kind = "walk", .fields = std::move(fields)});
}

void Trace::stale_translation(const StaleTranslationEvent& event) {
  constexpr std::array<std::string_view, 3> kAccesses = {"read", "write", "fetch"};
  Fields fields = {{"linear", Hex{event.linear}},
                   {"access", kAccesses[event.access]},
                   {"level", level(event.non_root)},
                   {"vpid", uint64_t{event.vpid}},
                   {"pcid", uint64_t{event.pcid}}};
  if (event.ept_root) {
    fields.emplace_back("ept_root", Hex{*event.ept_root});
    fields.emplace_back("cached_guest_physical", Hex{event.cached_guest_physical});
  }
  fields.emplace_back("cached_physical", Hex{event.cached_physical});
  fields.emplace_back("tables", outcome_name(event.tables));
  if (event.ept_root && event.tables != WalkOutcome::kPageFault) {
    fields.emplace_back("tables_guest_physical", Hex{event.tables_guest_physical});
  }
  if (event.tables == WalkOutcome::kTranslated) {
    fields.emplace_back("tables_physical", Hex{event.tables_physical});
  }
  if (event.dirty_flag_cleared) fields.emplace_back("dirty_flag_cleared", true);
  fields.emplace_back("missing", event.missing);
  write({.kind = "stale-translation", .fields = std::move(fields)});
}

void Trace::unclaimed_access(const UnclaimedAccess& access) {
  write({.kind = "unclaimed-access",
         .fields = {{"space", std::string_view(access.memory ? "memory" : "port")},
                    {"direction", std::string_view(access.write ? "write" : "read")},
                    {"address", Hex{access.address}},
                    {"size", uint64_t{access.size}},
                    {"value", Hex{access.value}}}});
}

void Trace::triple_fault(uint64_t rip, bool non_root) {
  write({.kind = "triple-fault", .fields = {{"level", level(non_root)}, {"rip", Hex{rip}}}});
}

void Trace::vmx_abort(uint32_t indicator) {
  write({.kind = "vmx-abort",
         .fields = {{"indicator", uint64_t{indicator}},
                    {"meaning", vmx::vmx_abort_text(indicator)}}});
}

void Trace::debug_exit(uint32_t value) {
  write({.kind = "debug-exit", .fields = {{"value", Hex{value}}}});
}

void Trace::workload(uint8_t number) {
  write({.kind = "workload", .fields = {{"number", uint64_t{number}}}});
}

}  // namespace nestor::emu
