// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/observe/debugger/stop_on.h"

#include <spdlog/fmt/fmt.h>

#include <charconv>

#include "emu/observe/audit/vmcs_names.h"
#include "vmx/exceptions.h"
#include "vmx/exit_reasons.h"
#include "vmx/instruction_errors.h"

namespace nestor::emu {
namespace {

std::string exit_line(const vmx::VmExitEvent& exit) {
  std::string text =
      fmt::format("VM exit: {} ({}) at RIP {:#x}", vmx::exit_reason_name(exit.reason),
                  exit.reason & vmx::kExitReasonBasicMask, exit.guest_rip);
  const auto* info = vmx::find_exit_reason(static_cast<uint16_t>(exit.reason));
  if (info == nullptr) return text;
  if ((info->defines & vmx::kDefinesQualification) != 0)
    text += fmt::format(", qualification {:#x}", exit.qualification);
  if ((info->defines & vmx::kDefinesGuestPhysical) != 0)
    text += fmt::format(", guest-physical address {:#x}", exit.guest_physical);
  return text;
}

}  // namespace

std::optional<uint64_t> parse_argument(std::string_view text, uint64_t most) {
  int base = 10;
  if (text.starts_with("0x") || text.starts_with("0X")) {
    base = 16;
    text.remove_prefix(2);
  }
  uint64_t value = 0;
  const char* const end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, value, base);
  if (text.empty() || error != std::errc() || stop != end || value > most) return std::nullopt;
  return value;
}

std::optional<uint16_t> parse_exit_reason(std::string_view text) {
  if (const auto number = parse_argument(text, 0xffff)) {
    const auto reason = static_cast<uint16_t>(*number);
    return vmx::find_exit_reason(reason) != nullptr ? std::optional(reason) : std::nullopt;
  }
  const std::string wanted = normalized_name(text);
  for (const vmx::ExitReasonInfo& info : vmx::exit_reasons()) {
    if (wanted == normalized_name(info.name) || wanted == normalized_name(info.identifier))
      return static_cast<uint16_t>(info.reason);
  }
  return std::nullopt;
}

std::string_view StopOn::help() {
  return "stop-on vm-exit [REASON...]|vm-entry|check-failed|exception N|msr N|io PORT|end|off";
}

std::optional<std::string> StopOn::set_exits(const std::vector<std::string_view>& words) {
  std::set<uint16_t> reasons;
  for (size_t i = 1; i < words.size(); ++i) {
    const auto reason = parse_exit_reason(words[i]);
    if (!reason) {
      return fmt::format(
          "'{}' is no exit reason: give its number, or its name as the manual has it\n", words[i]);
    }
    reasons.insert(*reason);
  }
  if (reasons.empty()) {
    reasons_.clear();
  } else if (!exits_ || !reasons_.empty()) {
    reasons_.insert(reasons.begin(), reasons.end());
  }
  exits_ = true;
  return std::nullopt;
}

std::string StopOn::set(const std::vector<std::string_view>& words) {
  if (words.empty()) return list();
  const std::string_view what = words[0];
  const auto number = [&](uint64_t most) {
    return words.size() == 2 ? parse_argument(words[1], most) : std::nullopt;
  };
  if (what == "vm-exit") {
    if (const auto bad = set_exits(words)) return *bad;
    return list();
  }
  const bool alone = words.size() == 1;
  if (what == "off" && alone) {
    *this = {};
  } else if (what == "vm-entry" && alone) {
    entries_ = true;
  } else if (what == "check-failed" && alone) {
    failures_ = true;
  } else if (what == "end" && alone) {
    end_ = true;
  } else if (const auto vector = number(31); what == "exception" && vector) {
    exceptions_.insert(static_cast<uint8_t>(*vector));
  } else if (const auto msr = number(0xffffffff); what == "msr" && msr) {
    msrs_.insert(static_cast<uint32_t>(*msr));
  } else if (const auto port = number(0xffff); what == "io" && port) {
    ports_.insert(static_cast<uint16_t>(*port));
  } else {
    return fmt::format("usage: {}; exceptions are 0 to 31, ports up to 0xffff\n", help());
  }
  return list();
}

std::string StopOn::list() const {
  std::string text;
  const auto add = [&](const std::string& what) { text += "stops on " + what + "\n"; };
  if (exits_ && reasons_.empty()) add("vm-exit");
  for (const uint16_t reason : reasons_)
    add(fmt::format("vm-exit {} ({})", reason, vmx::exit_reason_name(reason)));
  if (entries_) add("vm-entry");
  if (failures_) add("check-failed");
  for (const uint8_t vector : exceptions_) add(fmt::format("exception {}", vector));
  for (const uint32_t msr : msrs_) add(fmt::format("msr {:#x}", msr));
  for (const uint16_t port : ports_) add(fmt::format("io {:#x}", port));
  if (end_) add("end");
  return text.empty() ? "stops on nothing\n" : text;
}

std::optional<std::string> StopOn::met(const MachineEvent& event) const {
  if (const auto* exit = std::get_if<vmx::VmExitEvent>(&event)) {
    const bool failed = failures_ && (exit->reason & vmx::kExitReasonEntryFailure) != 0;
    const bool counts =
        exits_ && (reasons_.empty() || reasons_.contains(static_cast<uint16_t>(exit->reason)));
    if (failed || counts) return exit_line(*exit);
  } else if (const auto* entry = std::get_if<vmx::VmEntryEvent>(&event)) {
    if (entries_) return fmt::format("VM entry: to RIP {:#x}", entry->guest_rip);
  } else if (const auto* failure = std::get_if<vmx::CheckFailure>(&event)) {
    if (failures_) {
      return fmt::format("check failed: {} = {:#x}: {} (check {})", failure->field, failure->value,
                         failure->requirement, failure->id);
    }
  } else if (const auto* error = std::get_if<vmx::VmInstructionErrorEvent>(&event)) {
    if (failures_) {
      const uint32_t known = error->error != 0 ? error->error : error->unsaved_error;
      return fmt::format("{} at RIP {:#x} failed: {}", error->instruction, error->rip,
                         known == 0 ? "VMfailInvalid" : vmx::instruction_error_text(known));
    }
  } else if (const auto* exception = std::get_if<ExceptionEvent>(&event)) {
    if (!exceptions_.contains(exception->vector)) return std::nullopt;
    std::string text = fmt::format("exception {} ({}) at RIP {:#x}", exception->vector,
                                   vmx::exception_info(exception->vector).mnemonic, exception->rip);
    if (exception->error_code) text += fmt::format(", error code {:#x}", *exception->error_code);
    if (exception->vector == vmx::kPf) text += fmt::format(", CR2 {:#x}", exception->cr2);
    return text;
  }
  return std::nullopt;
}

}  // namespace nestor::emu
