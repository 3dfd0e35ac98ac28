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
  const auto& content = std::get<std::vector<uint8_t>>(bytes);
  const auto read =
      read_vmcs_documents({reinterpret_cast<const char*>(content.data()), content.size()});
  if (const auto* bad = std::get_if<std::string>(&read))
    return complain(ExitStatus::kBadImage, fmt::format("{}: {}", file_name(options.file), *bad));
  const auto& documents = std::get<std::vector<VmcsDocument>>(read);

  const vmx::Capabilities own = vmx::capabilities_of(options.processor);
  bool violated = false, written = true;
  size_t number = 0;
  for (const VmcsDocument& document : documents) {
    ++number;
    const std::string name = documents.size() == 1
                                 ? file_name(options.file)
                                 : fmt::format("{} #{}", file_name(options.file), number);
    const Audit result = audit(document, own);
    violated = violated || !result.violations.empty();
    const std::string text = options.json ? to_json(result, name) + "\n" : to_text(result, name);
    written = written && std::fwrite(text.data(), 1, text.size(), stdout) == text.size();
  }
  if (std::fflush(stdout) != 0 || !written)
    return complain(ExitStatus::kOutputError, "cannot write the standard output");
  return static_cast<int>(violated ? ExitStatus::kVmcsViolation : ExitStatus::kSuccess);
}

}  // namespace nestor::emu
