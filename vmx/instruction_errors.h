// SPDX-License-Identifier: GPL-2.0-or-later
//
// What the VM-instruction error field says after VMfailValid ("VM Instruction Error Numbers").
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

namespace nestor::vmx {

enum class InstructionError : uint32_t {
  kNone = 0,
  kVmcallInRootOperation = 1,
  kVmclearInvalidAddress = 2,
  kVmclearVmxonPointer = 3,
  kVmlaunchNonClear = 4,
  kVmresumeNonLaunched = 5,
  kVmresumeAfterVmxoff = 6,
  kEntryInvalidControls = 7,
  kEntryInvalidHostState = 8,
  kVmptrldInvalidAddress = 9,
  kVmptrldVmxonPointer = 10,
  kVmptrldIncorrectRevision = 11,
  kUnsupportedComponent = 12,
  kVmwriteReadOnly = 13,
  kVmxonInRootOperation = 15,
  kEntryInvalidExecutivePointer = 16,
  kEntryNonLaunchedExecutive = 17,
  kEntryExecutiveNotVmxon = 18,
  kVmcallNonClear = 19,
  kVmcallInvalidExitControls = 20,
  kVmcallIncorrectMsegRevision = 22,
  kVmxoffDualMonitor = 23,
  kVmcallInvalidMonitorFeatures = 24,
  kEntryInvalidExecutiveControls = 25,
  kEntryBlockedByMovSs = 26,
  kInvalidInveptInvvpidOperand = 28,
};

struct InstructionErrorInfo {
  InstructionError number{};
  std::string_view identifier;  // the enumerator without its k
  std::string_view text;
};

// In the order of the numbers, without kNone.
std::span<const InstructionErrorInfo> instruction_errors();
// "unknown error" for a number that the SDM does not define.
std::string_view instruction_error_text(uint32_t number);

}  // namespace nestor::vmx
