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

struct AuditTerms {
  // What the document does not state of the processor's capabilities; std::nullopt: any processor,
  // and what only some would refuse is a note.
  std::optional<vmx::Capabilities> processor;
  bool only_stated = false;  // absent fields are unknown in every format
};

struct Violation {
  vmx::FailedCheck failure;
  vmx::Field field{};
  // Which bits are wrong, by name, or what else is to be said. May be empty.
  std::string detail;
};

// Passes on some processors, which one the document does not say.
struct AuditNote {
  std::string_view check;
  vmx::Field field{};
  uint64_t value = 0;
  std::string text;  // "not on a processor without CR4.UMIP"
  vmx::CheckGroup group{};
  std::string_view requirement;
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

// A check of a stated field that absent fields decide, or the processor.
struct OpenCheck {
  std::string_view check;
  vmx::Field field{};
  uint64_t value = 0;
  std::string_view requirement;
  std::vector<std::string_view> decided_by;  // names of fields
  std::string note;                          // of the processor, as AuditNote::text
};

struct Audit {
  std::vector<Violation> violations;  // in the processor's order
  std::vector<AuditNote> notes;
  std::vector<NotJudged> not_judged;
  std::vector<AbsentField> absent;
  // Of a VM entry that failed without a violation: one of them, or a check of an absent field, has
  // failed.
  std::vector<OpenCheck> open;
  bool absent_unknown = false;  // the checks of `absent` are not judged; else they take it as 0
  std::vector<std::string> assumed;      // about the processor
  std::vector<std::string> passed_over;  // names of the document that are no fields
  std::vector<std::string> remarks;      // what counts as not stated, and why
  bool entry_failed = false;             // the document says so, in whatever way
  bool registers = false;                // the document has those of a guest, and no VMCS
  bool judged = true;                    // some check is about a stated field
  // The exit reason and qualification of the VM-entry failure that the document states. Controls
  // and host state had passed then and are not judged.
  std::optional<uint32_t> failed_entry;
  uint64_t qualification = 0;
  // The VM-instruction error that a dump of a failed VM entry states, 7 or 8.
  std::optional<uint32_t> stated_error;
};

Audit audit(const VmcsDocument& document, const AuditTerms& terms);

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
