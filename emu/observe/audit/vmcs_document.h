// SPDX-License-Identifier: GPL-2.0-or-later
//
// A VMCS that somebody wrote down, read from JSON. docs/audit.md describes the format.
#pragma once

#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "emu/observe/audit/capability_values.h"
#include "vmx/vmcs.h"

namespace nestor::emu {

struct VmcsDocument {
  vmx::Vmcs vmcs;
  std::set<vmx::Field> given;                    // the fields that the document names
  std::optional<CapabilityValues> capabilities;  // when it states them
};

// The documents of a text, one after another. The error is one line that names the line of the
// text, the key, and what is wrong.
[[nodiscard]] std::variant<std::vector<VmcsDocument>, std::string> read_vmcs_documents(
    std::string_view text);

}  // namespace nestor::emu
