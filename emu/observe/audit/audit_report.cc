// SPDX-License-Identifier: GPL-2.0-or-later
#include <spdlog/fmt/fmt.h>

#include <iterator>
#include <nlohmann/json.hpp>

#include "emu/observe/audit/audit.h"
#include "emu/observe/audit/vmcs_decoding.h"
#include "vmx/exit_reasons.h"
#include "vmx/instruction_errors.h"

namespace nestor::emu {
namespace {

using Json = nlohmann::ordered_json;

constexpr size_t kChecksShown = 4;

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

std::string some_of(const std::vector<std::string_view>& checks) {
  std::string text;
  for (size_t i = 0; i < checks.size() && i < kChecksShown; ++i)
    text += fmt::format("{}{}", i == 0 ? "" : ", ", checks[i]);
  if (checks.size() > kChecksShown)
    text += fmt::format(" and {} more", checks.size() - kChecksShown);
  return text;
}

}  // namespace

std::string to_text(const Audit& audit, std::string_view name) {
  fmt::memory_buffer out;
  const auto line = [&](std::string_view text) {
    out.append(text);
    out.push_back('\n');
  };
  if (audit.violations.empty()) {
    line(fmt::format("{}: no violation; VM entry would pass these checks", name));
  } else {
    line(fmt::format("{}: {} violation{}; VM entry would end with {}", name,
                     audit.violations.size(), audit.violations.size() == 1 ? "" : "s",
                     consequence(entry_failure(audit.violations.front().failure))));
  }
  size_t number = 0;
  for (const Violation& violation : audit.violations) {
    const vmx::FailedCheck& failure = violation.failure;
    line(fmt::format("{:>3}. {}", ++number, failure.id));
    line(fmt::format("     {} ({:#06x}) = {:#x}", failure.field, vmx::encoding_of(violation.field),
                     failure.value));
    line(fmt::format("     {}", failure.requirement));
    if (!violation.detail.empty()) line("     " + violation.detail);
    line(fmt::format("     SDM, \"{}\"; {}", failure.section, consequence(entry_failure(failure))));
  }
  for (const NotJudged& item : audit.not_judged)
    line(fmt::format("  not judged: {} ({}): {}", item.check, item.field, item.why));
  for (const AbsentField& absent : audit.absent)
    line(fmt::format("  warning: {} is absent and taken as 0; it decides {}",
                     vmx::info_of(absent.field).name, some_of(absent.checks)));
  for (const std::string& text : audit.assumed) line("  warning: " + text);
  return fmt::to_string(out);
}

std::string to_json(const Audit& audit, std::string_view name) {
  Json json;
  json["name"] = name;
  json["vm_entry"] = audit.violations.empty()
                         ? Json{{"result", "passes"}}
                         : to_json(entry_failure(audit.violations.front().failure));
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
  json["not_judged"] = Json::array();
  for (const NotJudged& item : audit.not_judged)
    json["not_judged"].push_back({{"check", item.check}, {"field", item.field}, {"why", item.why}});
  json["absent_fields"] = Json::array();
  for (const AbsentField& absent : audit.absent)
    json["absent_fields"].push_back(
        {{"field", vmx::info_of(absent.field).name}, {"checks", absent.checks}});
  json["assumed"] = audit.assumed;
  return json.dump(2);
}

}  // namespace nestor::emu
