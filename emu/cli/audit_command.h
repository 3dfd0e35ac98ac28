// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <optional>
#include <string>

#include "vmx/processor_type.h"

namespace nestor::emu {

struct AuditOptions {
  std::string file;  // "-": the standard input
  bool json = false;
  bool only_stated = false;
  // Where the file does not state the capabilities; std::nullopt: any.
  std::optional<vmx::ProcessorType> processor;
};

// `nestor audit`: judges the VMCSs of a file and prints what it finds on the standard output.
// Returns the exit status of the process. Complaints go to the standard error, one line each.
[[nodiscard]] int audit_command(const AuditOptions& options);

}  // namespace nestor::emu
