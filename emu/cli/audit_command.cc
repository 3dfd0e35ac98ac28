// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/cli/audit_command.h"

#include <spdlog/fmt/fmt.h>

#include <cstdio>
#include <string>

#include "emu/cli/complain.h"
#include "emu/loaders/read_file.h"
#include "emu/observe/audit/audit.h"
#include "emu/observe/audit/vmcs_document.h"
#include "vmx/capabilities.h"

namespace nestor::emu {
namespace {

// A VMCS takes some 10 KBytes; this is room for the dumps of a long run.
constexpr uint64_t kLargestVmcsFile = 256ull << 20;

}  // namespace

int audit_command(const AuditOptions& options) {
  const auto bytes = read_file(options.file, "VMCS", kLargestVmcsFile);
  if (const auto* bad = std::get_if<LoadError>(&bytes))
    return complain(ExitStatus::kBadImage, bad->message);
  const std::string file = options.file == "-" ? "standard input" : file_name(options.file);
  const auto& content = std::get<std::vector<uint8_t>>(bytes);
  const auto read =
      read_vmcs_documents({reinterpret_cast<const char*>(content.data()), content.size()});
  if (const auto* bad = std::get_if<std::string>(&read))
    return complain(ExitStatus::kBadImage, fmt::format("{}: {}", file, *bad));
  const auto& documents = std::get<std::vector<VmcsDocument>>(read);

  AuditTerms terms;
  if (options.processor) terms.processor = vmx::capabilities_of(*options.processor);
  terms.only_stated = options.only_stated;
  bool violated = false, written = true;
  size_t number = 0;
  for (const VmcsDocument& document : documents) {
    ++number;
    const std::string name = documents.size() == 1 ? file : fmt::format("{} #{}", file, number);
    const Audit result = audit(document, terms);
    violated = violated || !result.violations.empty();
    const std::string report = options.json ? to_json(result, name) + "\n" : to_text(result, name);
    written = written && std::fwrite(report.data(), 1, report.size(), stdout) == report.size();
  }
  if (std::fflush(stdout) != 0 || !written)
    return complain(ExitStatus::kOutputError, "cannot write the standard output");
  return static_cast<int>(violated ? ExitStatus::kVmcsViolation : ExitStatus::kSuccess);
}

}  // namespace nestor::emu
