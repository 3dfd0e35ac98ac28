// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <array>
#include <string>
#include <string_view>

namespace nestor::emu {

// What the process returns. A guest that exits through the debug-exit port returns (value << 1) |
// 1, which is odd; all the others are even, so that the two never collide.
enum class ExitStatus : int {
  kSuccess = 0,
  kBadUsage = 2,
  kBadImage = 4,
  kUnsupportedHost = 6,
  kGuestShutdown = 8,
  kVmxAbort = 10,
  kBudgetSpent = 12,
  kOutputError = 14,
  kInternalError = 16,
  kHaltedForever = 18,
  kReset = 20,
  kTracesDiffer = 22,
  kVmcsViolation = 24,
  kNoKvm = 26,
  kNoVmx = 28,
  kKvmFailed = 30,
  kNotSupported = 32,
  kModesDiffer = 34,
  kNoSuchProcessor = 36,
  kEndedByDebugger = 38,
  kMomentMissed = 40,
  kTestsFailed = 42,
  kNotInNestor = 44,
};

struct ExitStatusEntry {
  ExitStatus status;
  std::string_view meaning;
};

// The table that --help prints and docs/exit-status.md explains.
inline constexpr std::array kExitStatusTable = {
    ExitStatusEntry{
        ExitStatus::kSuccess,
        "nothing went wrong: L1 turned the machine off; help, equal traces, clean audits"},
    ExitStatusEntry{ExitStatus::kBadUsage, "bad usage: an unknown option or a bad value"},
    ExitStatusEntry{
        ExitStatus::kBadImage,
        "bad image, module, saved state, trace, VMCS or code file: unreadable or malformed"},
    ExitStatusEntry{ExitStatus::kUnsupportedHost,
                    "unsupported host library; nestor view: this build has no page"},
    ExitStatusEntry{ExitStatus::kGuestShutdown, "L1 shut down after a triple fault"},
    ExitStatusEntry{ExitStatus::kVmxAbort, "VMX abort"},
    ExitStatusEntry{ExitStatus::kBudgetSpent, "instruction budget spent"},
    ExitStatusEntry{ExitStatus::kOutputError, "an output could not be written"},
    ExitStatusEntry{ExitStatus::kInternalError, "internal error"},
    ExitStatusEntry{ExitStatus::kHaltedForever, "L1 halted with nothing that could wake it"},
    ExitStatusEntry{ExitStatus::kReset, "L1 reset the machine"},
    ExitStatusEntry{ExitStatus::kTracesDiffer, "the traces that nestor diff compared differ"},
    ExitStatusEntry{ExitStatus::kVmcsViolation, "nestor audit: the VMCS violates checks"},
    ExitStatusEntry{ExitStatus::kNoKvm, "nestor-kvm run: the host has no KVM that can be used"},
    ExitStatusEntry{ExitStatus::kNoVmx, "nestor-kvm run: the host's KVM offers no VMX"},
    ExitStatusEntry{ExitStatus::kKvmFailed, "nestor-kvm run: KVM failed in the middle"},
    ExitStatusEntry{ExitStatus::kNotSupported, "L1 needs what the chosen --l0 mode does not have"},
    ExitStatusEntry{ExitStatus::kModesDiffer,
                    "nestor compare-mmu: the results differ from mode to mode"},
    ExitStatusEntry{ExitStatus::kNoSuchProcessor,
                    "--cpu: no such model or feature, one that is not implemented, or no prices"},
    ExitStatusEntry{ExitStatus::kEndedByDebugger, "GDB has ended the run, with kill"},
    ExitStatusEntry{ExitStatus::kMomentMissed,
                    "nestor walk: the run ended before the moment of --at"},
    ExitStatusEntry{ExitStatus::kTestsFailed,
                    "--report: tests failed, and L1 ended the run as if none had"},
    ExitStatusEntry{ExitStatus::kNotInNestor,
                    "nestor-qemu: what QEMU was asked for and Nestor does not have"},
};

constexpr bool guest_cannot_return(ExitStatus status) { return static_cast<int>(status) % 2 == 0; }

static_assert([] {
  for (const ExitStatusEntry& entry : kExitStatusTable) {
    if (!guest_cannot_return(entry.status)) return false;
    unsigned same = 0;
    for (const ExitStatusEntry& other : kExitStatusTable) same += other.status == entry.status;
    if (same != 1) return false;
  }
  return true;
}());

// The table as text: the end of what --help prints.
std::string exit_status_help();

}  // namespace nestor::emu
