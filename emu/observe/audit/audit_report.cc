// SPDX-License-Identifier: GPL-2.0-or-later
#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <functional>
#include <iterator>
#include <nlohmann/json.hpp>
#include <set>

#include "emu/observe/audit/audit.h"
#include "emu/observe/audit/vmcs_decoding.h"
#include "vmx/exit_reasons.h"
#include "vmx/instruction_errors.h"

namespace nestor::emu {
namespace {

using Json = nlohmann::ordered_json;

constexpr size_t kNamesShown = 4;
constexpr std::ptrdiff_t kOpenChecksShown = 8;  // more are no help

std::string consequence(const EntryFailure& failure) {
  if (failure.instruction_error) {
    return fmt::format("VM-instruction error {}, {}", *failure.instruction_error,
                       vmx::instruction_error_text(*failure.instruction_error));
  }
  return fmt::format("exit reason {:#x}, {}, qualification {}", failure.exit_reason,
                     vmx::exit_reason_name(failure.exit_reason), failure.qualification);
}

Json to_json(const EntryFailure& failure) {
  if (failure.instruction_error) {
    return {{"result", "VMfailValid"},
            {"vm_instruction_error", *failure.instruction_error},
            {"text", vmx::instruction_error_text(*failure.instruction_error)}};
  }
  return {{"result", "VM exit"},
          {"exit_reason", hex(failure.exit_reason)},
          {"text", vmx::exit_reason_name(failure.exit_reason)},
          {"qualification", failure.qualification}};
}

std::string some_of(const std::vector<std::string_view>& names) {
  std::string text;
  for (size_t i = 0; i < names.size() && i < kNamesShown; ++i)
    text += fmt::format("{}{}", i == 0 ? "" : ", ", names[i]);
  if (names.size() > kNamesShown) text += fmt::format(" and {} more", names.size() - kNamesShown);
  return text;
}

// What becomes of a VM entry without a violation, as far as can be said.
std::string_view outlook(const Audit& audit) {
  if (audit.entry_failed) return "the text says that VM entry failed";
  if (audit.registers) return "these are registers of a guest, the VMCS itself is not stated";
  if (!audit.judged) return "no check is about the stated fields";
  return audit.absent_unknown ? "VM entry would pass the checks on the stated fields"
                              : "VM entry would pass these checks";
}

// What was stated of it, or else what the first violation leads to.
Json entry_result(const Audit& audit) {
  if (!audit.violations.empty()) return to_json(entry_failure(audit.violations.front().failure));
  if (audit.stated_error) return to_json(EntryFailure{audit.stated_error, 0, 0});
  if (audit.failed_entry)
    return to_json(EntryFailure{std::nullopt, *audit.failed_entry, audit.qualification});
  return {{"result", audit.entry_failed                 ? "fails"
                     : audit.judged && !audit.registers ? "passes"
                                                        : "unknown"}};
}

std::string verdict(const Audit& audit) {
  const size_t count = audit.violations.size();
  const std::string number =
      count == 0 ? "no violation" : fmt::format("{} violation{}", count, count == 1 ? "" : "s");
  if (audit.stated_error) {
    return fmt::format("{}; the VMCS states {}", number, consequence({audit.stated_error, 0, 0}));
  }
  if (!audit.failed_entry) {
    if (count != 0)
      return fmt::format("{}; VM entry would end with {}", number,
                         consequence(entry_failure(audit.violations.front().failure)));
    return fmt::format("{}; {}", number, outlook(audit));
  }
  const std::string reason = fmt::format("exit reason {:#x}, {}", *audit.failed_entry,
                                         vmx::exit_reason_name(*audit.failed_entry));
  const auto basic = static_cast<vmx::ExitReason>(*audit.failed_entry & 0xffff);
  if (basic == vmx::ExitReason::kEntryFailureMsrLoading) {
    return fmt::format(
        "{} of guest state; the VMCS states {}: entry {} of the VM-entry MSR-load area", number,
        reason, audit.qualification);
  }
  return fmt::format("{} of guest state; the VMCS states {}", number, reason);
}

// What the exit qualification of a VM-entry failure due to invalid guest state names.
std::string_view qualification_text(const Audit& audit) {
  if (audit.failed_entry.value_or(0) !=
      (vmx::kExitReasonEntryFailure |
       static_cast<uint32_t>(vmx::ExitReason::kEntryFailureGuestState)))
    return {};
  switch (audit.qualification) {
    case vmx::kEntryFailurePdpte:
      return "the exit qualification, 2, says: PDPTEs";
    case vmx::kEntryFailureNmi:
      return "the exit qualification, 3, says: an NMI injected under blocking by STI";
    case vmx::kEntryFailureLinkPointer:
      return "the exit qualification, 4, says: the VMCS link pointer";
    default:
      return {};
  }
}

// The absent fields that leave checks open, as one line; those of most checks first.
std::string open_checks(const Audit& audit) {
  std::vector<std::string_view> fields;
  std::set<std::string_view> checks;
  std::vector<AbsentField> list = audit.absent;
  std::ranges::stable_sort(list, std::greater{},
                           [](const AbsentField& absent) { return absent.checks.size(); });
  for (const AbsentField& absent : list) {
    fields.push_back(vmx::info_of(absent.field).name);
    checks.insert(absent.checks.begin(), absent.checks.end());
  }
  return fmt::format("{} check{} not judged, for want of {}", checks.size(),
                     checks.size() == 1 ? "" : "s", some_of(fields));
}

}  // namespace

std::string to_text(const Audit& audit, std::string_view name) {
  fmt::memory_buffer out;
  const auto line = [&](std::string_view text) {
    out.append(text);
    out.push_back('\n');
  };
  line(fmt::format("{}: {}", name, verdict(audit)));
  if (const auto text = qualification_text(audit); !text.empty()) line(fmt::format("  {}", text));
  size_t number = 0;
  for (const Violation& violation : audit.violations) {
    const vmx::FailedCheck& failure = violation.failure;
    line(fmt::format("{:>3}. {}", ++number, failure.id));
    line(fmt::format("     {} ({:#06x}) = {:#x}", failure.field, vmx::encoding_of(violation.field),
                     failure.value));
    line(fmt::format("     {}", failure.requirement));
    if (!violation.detail.empty()) line("     " + violation.detail);
    line(fmt::format("     SDM, \"{}\"{}", failure.section,
                     audit.failed_entry ? "" : "; " + consequence(entry_failure(failure))));
  }
  const auto by_fields = std::ranges::count_if(audit.open, &std::string::empty, &OpenCheck::note);
  for (const OpenCheck& open : audit.open)
    if (!open.note.empty() || by_fields <= kOpenChecksShown)
      line(fmt::format("  may be: {}: {} ({:#06x}) = {:#x}: {}", open.check,
                       vmx::info_of(open.field).name, vmx::encoding_of(open.field), open.value,
                       open.note.empty() ? fmt::format("{}; it depends on {}", open.requirement,
                                                       some_of(open.decided_by))
                                         : open.note));
  for (const AuditNote& note : audit.notes)
    line(fmt::format("  note: {}: {} ({:#06x}) = {:#x}: {}", note.check,
                     vmx::info_of(note.field).name, vmx::encoding_of(note.field), note.value,
                     note.text));
  for (const NotJudged& item : audit.not_judged)
    line(fmt::format("  not judged: {} ({}): {}", item.check, item.field, item.why));
  if (audit.absent_unknown) {
    if (!audit.absent.empty()) line("  " + open_checks(audit));
  } else {
    for (const AbsentField& absent : audit.absent)
      line(fmt::format("  warning: {} is absent and taken as 0; it decides {}",
                       vmx::info_of(absent.field).name, some_of(absent.checks)));
  }
  for (const std::string& text : audit.assumed) line("  warning: " + text);
  if (!audit.passed_over.empty())
    line("  passed over, for they are no fields, or have no number: " +
         some_of({audit.passed_over.begin(), audit.passed_over.end()}));
  for (const std::string& text : audit.remarks) line("  " + text);
  return fmt::to_string(out);
}

std::string to_json(const Audit& audit, std::string_view name) {
  Json json;
  json["name"] = name;
  if (audit.stated_error) json["stated_vm_instruction_error"] = *audit.stated_error;
  if (audit.failed_entry) json["stated_exit_reason"] = hex(*audit.failed_entry);
  json["vm_entry"] = entry_result(audit);
  json["violations"] = Json::array();
  for (const Violation& violation : audit.violations) {
    const vmx::FailedCheck& failure = violation.failure;
    Json item = {{"check", failure.id},
                 {"field", failure.field},
                 {"encoding", hex(vmx::encoding_of(violation.field))},
                 {"value", hex(failure.value)},
                 {"requirement", failure.requirement}};
    if (!violation.detail.empty()) item["detail"] = violation.detail;
    item["section"] = failure.section;
    item["vm_entry"] = to_json(entry_failure(failure));
    json["violations"].push_back(std::move(item));
  }
  json["notes"] = Json::array();
  for (const AuditNote& note : audit.notes)
    json["notes"].push_back({{"check", note.check},
                             {"field", vmx::info_of(note.field).name},
                             {"value", hex(note.value)},
                             {"text", note.text}});
  json["not_judged"] = Json::array();
  for (const NotJudged& item : audit.not_judged)
    json["not_judged"].push_back({{"check", item.check}, {"field", item.field}, {"why", item.why}});
  json["absent_fields"] = Json::array();
  for (const AbsentField& absent : audit.absent)
    json["absent_fields"].push_back(
        {{"field", vmx::info_of(absent.field).name}, {"checks", absent.checks}});
  json["open_checks"] = Json::array();
  for (const OpenCheck& open : audit.open) {
    Json item = {{"check", open.check},
                 {"field", vmx::info_of(open.field).name},
                 {"value", hex(open.value)},
                 {"requirement", open.requirement},
                 {"decided_by", open.decided_by}};
    if (!open.note.empty()) item["text"] = open.note;
    json["open_checks"].push_back(std::move(item));
  }
  json["absent_fields_are"] = audit.absent_unknown ? "unknown" : "0";
  json["assumed"] = audit.assumed;
  json["passed_over"] = audit.passed_over;
  json["remarks"] = audit.remarks;
  return json.dump(2, ' ', false, nlohmann::json::error_handler_t::replace);
}

}  // namespace nestor::emu
