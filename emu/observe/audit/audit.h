// SPDX-License-Identifier: GPL-2.0-or-later
//
// What VM entry would say of a VMCS, judged from the VMCS alone.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "emu/observe/audit/vmcs_document.h"
#include "vmx/checks/entry_checks.h"

namespace nestor::emu {

struct Violation {
  vmx::FailedCheck failure;
  vmx::Field field{};
  // Of fields with fixed or reserved bits: which of them are wrong. May be empty.
  std::string detail;
};

// A check whose answer depends on what the document does not say.
struct NotJudged {
  std::string_view check, field;
  std::string_view why;
};

// An absent field: these checks would come out differently with some other value of it.
struct AbsentField {
  vmx::Field field{};
  std::vector<std::string_view> checks;
};

struct Audit {
  std::vector<Violation> violations;  // in the processor's order
  std::vector<NotJudged> not_judged;
  std::vector<AbsentField> absent;
  std::vector<std::string> assumed;  // about the processor
};

// `otherwise`: the processor, as far as the document does not state its capabilities.
Audit audit(const VmcsDocument& document, const vmx::Capabilities& otherwise);

// What VM entry makes of a violation: VM-instruction error 7 or 8, or exit reason 33.
struct EntryFailure {
  std::optional<uint32_t> instruction_error;
  uint32_t exit_reason = 0;
  uint64_t qualification = 0;
};
EntryFailure entry_failure(const vmx::FailedCheck& failure);

// Text for people, or one JSON object. `name`: what the VMCS is called in it.
std::string to_text(const Audit& audit, std::string_view name);
std::string to_json(const Audit& audit, std::string_view name);

}  // namespace nestor::emu
