// SPDX-License-Identifier: GPL-2.0-or-later
//
// A VMCS that somebody wrote down: JSON, a dump of KVM, Xen or HAXM, or a list of fields.
// docs/audit.md describes the formats.
#pragma once

#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "emu/observe/audit/capability_values.h"
#include "emu/observe/audit/stated_failure.h"
#include "vmx/vmcs.h"

namespace nestor::emu {

struct VmcsDocument {
  vmx::Vmcs vmcs;
  std::set<vmx::Field> given;                    // the fields that the document names
  std::optional<CapabilityValues> capabilities;  // when it states them
  bool partial = false;                          // what is absent is unknown, else it is 0
  std::set<vmx::Field> never;                    // fields that no document of its format has
  std::vector<std::string> passed_over;          // quoted names in a log that are no fields
  std::vector<std::string> remarks;              // what counts as not stated, and why
  bool registers = false;                        // of a guest, and no VMCS
  bool entry_failed = false;                     // the text says so, in whatever words

  // The error, or the empty string: the value is too wide, or the halves of a field contradict each
  // other.
  [[nodiscard]] std::string set(vmx::FieldAccess access, uint64_t number);
  // What the text says in words; a field that was given counts more.
  void state(const StatedFailure& failure);
  // Makes the field absent; was it there?
  bool forget(vmx::Field field);
  // Where absent fields are unknown: a field of which only the high half is stated is absent.
  void forget_high_halves();

 private:
  std::set<vmx::Field> high_only_;
};

using VmcsDocuments = std::variant<std::vector<VmcsDocument>, std::string>;

// The documents of a text, one after another; the content says which format it has. The error is
// one line that names the line of the text, the key, and what is wrong.
[[nodiscard]] VmcsDocuments read_vmcs_documents(std::string_view text);

}  // namespace nestor::emu
