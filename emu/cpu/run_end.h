// SPDX-License-Identifier: GPL-2.0-or-later
//
// Why a run ended.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace nestor::emu {

struct RunEnd {
  enum class Kind {
    kDebugExit,      // code: the exit status, (value << 1) | 1
    kShutdown,       // triple fault
    kVmxAbort,       // code: the VMX-abort indicator
    kBudgetSpent,    // max_instructions were executed
    kHaltedForever,  // HLT or MWAIT, and nothing is left that could wake a processor
    kReset,          // the guest pulsed the reset line
    kPowerOff,       // the guest turned the machine off, by ACPI
    kOutputError,    // MachineOutputs::output_failed
    kUnsupported,    // the guest needs what the chosen way of running it has not
  } kind = Kind::kDebugExit;
  uint32_t code = 0;
  std::string detail{};  // one line for the user; may be empty
};

// "debug exit".
constexpr std::string_view run_end_name(RunEnd::Kind kind) {
  switch (kind) {
    case RunEnd::Kind::kDebugExit:
      return "debug exit";
    case RunEnd::Kind::kShutdown:
      return "triple fault";
    case RunEnd::Kind::kVmxAbort:
      return "VMX abort";
    case RunEnd::Kind::kBudgetSpent:
      return "instruction budget";
    case RunEnd::Kind::kHaltedForever:
      return "halt for good";
    case RunEnd::Kind::kReset:
      return "reset";
    case RunEnd::Kind::kPowerOff:
      return "power off";
    case RunEnd::Kind::kOutputError:
      return "interrupted";
    case RunEnd::Kind::kUnsupported:
      return "not supported";
  }
  return {};
}

}  // namespace nestor::emu
