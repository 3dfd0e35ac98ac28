// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/cli/ending.h"

#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <array>
#include <string_view>

#include "emu/cli/complain.h"

namespace nestor::emu {
namespace {

constexpr int kPassedStatus = 1;
// What kvm-unit-tests returns (lib/report.c), as the tools of GNU do.
constexpr int kAllSkippedStatus = 77;

// What the user is told of how the run ended, and the exit status.
struct Ending {
  RunResult::Kind kind;
  ExitStatus status;
  std::string_view message;
};

constexpr std::array kEndings = {
    Ending{RunResult::Kind::kShutdown, ExitStatus::kGuestShutdown,
           "L1 shut down after a triple fault; --trace FILE shows the exceptions that led to it"},
    Ending{
        RunResult::Kind::kVmxAbort, ExitStatus::kVmxAbort,
        "VMX abort: a VM exit could not be completed; check the VMCS's host state and MSR areas"},
    Ending{RunResult::Kind::kBudgetSpent, ExitStatus::kBudgetSpent,
           "the instruction budget is spent; raise --max-instructions to go on longer"},
    Ending{RunResult::Kind::kHaltedForever, ExitStatus::kHaltedForever, "L1 halted"},
    Ending{RunResult::Kind::kReset, ExitStatus::kReset, "L1 reset the machine"},
    Ending{RunResult::Kind::kUnsupported, ExitStatus::kNotSupported,
           "L1 needs what this mode of --l0 does not have"},
    Ending{RunResult::Kind::kOutputError, ExitStatus::kOutputError,
           "the run was stopped because an output could not be written"},
};

const Ending* find_ending(RunResult::Kind kind) {
  const auto* found = std::ranges::find(kEndings, kind, &Ending::kind);
  return found != kEndings.end() ? found : nullptr;
}

}  // namespace

int status_of(const RunResult& result) {
  if (result.kind == RunResult::Kind::kDebugExit) return static_cast<int>(result.code & 0xff);
  if (result.kind == RunResult::Kind::kPowerOff) return static_cast<int>(ExitStatus::kSuccess);
  const Ending* const ending = find_ending(result.kind);
  return static_cast<int>(ending != nullptr ? ending->status : ExitStatus::kInternalError);
}

std::string describe(const RunResult& result) {
  if (result.kind == RunResult::Kind::kDebugExit || result.kind == RunResult::Kind::kPowerOff)
    return {};
  const Ending* const ending = find_ending(result.kind);
  if (ending == nullptr) return "internal error: the run ended in an unknown way";
  std::string text(ending->message);
  if (!result.detail.empty()) text += fmt::format(" ({})", result.detail);
  return text;
}

RunVerdict verdict_of(const RunResult& result) {
  if (result.kind == RunResult::Kind::kPowerOff) return {};
  if (result.kind != RunResult::Kind::kDebugExit)
    return {TestOutcome::kFailed, describe(result), {}};
  const int status = status_of(result);
  if (status == kPassedStatus) return {};
  if (status == kAllSkippedStatus)
    return {TestOutcome::kSkipped, "exit status 77: all tests were skipped", {}};
  return {
      TestOutcome::kFailed,
      fmt::format("L1 wrote {} to the port of debug exit (exit status {})", status >> 1, status),
      {}};
}

int report(const RunResult& result) {
  const int status = status_of(result);
  const std::string text = describe(result);
  return text.empty() ? status : complain(static_cast<ExitStatus>(status), text);
}

}  // namespace nestor::emu
