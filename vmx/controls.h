// SPDX-License-Identifier: GPL-2.0-or-later
//
// The bits of the control fields of a VMCS ("VM-Execution Control Fields", "VM-Exit Control
// Fields", "VM-Entry Control Fields"), and their names. An enumerator is the bit's mask.
#pragma once

#include <concepts>
#include <cstdint>
#include <span>
#include <string_view>
#include <type_traits>

namespace nestor::vmx {

// "Pin-Based VM-Execution Controls".
enum class PinBased : uint32_t {
  kExternalInterruptExiting = 1u << 0,
  kNmiExiting = 1u << 3,
  kVirtualNmis = 1u << 5,
  kActivatePreemptionTimer = 1u << 6,
  kProcessPostedInterrupts = 1u << 7,
};

// "Processor-Based VM-Execution Controls", primary.
enum class PrimaryProcBased : uint32_t {
  kInterruptWindowExiting = 1u << 2,
  kUseTscOffsetting = 1u << 3,
  kHltExiting = 1u << 7,
  kInvlpgExiting = 1u << 9,
  kMwaitExiting = 1u << 10,
  kRdpmcExiting = 1u << 11,
  kRdtscExiting = 1u << 12,
  kCr3LoadExiting = 1u << 15,
  kCr3StoreExiting = 1u << 16,
  kActivateTertiaryControls = 1u << 17,
  kCr8LoadExiting = 1u << 19,
  kCr8StoreExiting = 1u << 20,
  kUseTprShadow = 1u << 21,
  kNmiWindowExiting = 1u << 22,
  kMovDrExiting = 1u << 23,
  kUnconditionalIoExiting = 1u << 24,
  kUseIoBitmaps = 1u << 25,
  kMonitorTrapFlag = 1u << 27,
  kUseMsrBitmaps = 1u << 28,
  kMonitorExiting = 1u << 29,
  kPauseExiting = 1u << 30,
  kActivateSecondaryControls = 1u << 31,
};

// "Processor-Based VM-Execution Controls", secondary.
enum class SecondaryProcBased : uint32_t {
  kVirtualizeApicAccesses = 1u << 0,
  kEnableEpt = 1u << 1,
  kDescriptorTableExiting = 1u << 2,
  kEnableRdtscp = 1u << 3,
  kVirtualizeX2apicMode = 1u << 4,
  kEnableVpid = 1u << 5,
  kWbinvdExiting = 1u << 6,
  kUnrestrictedGuest = 1u << 7,
  kApicRegisterVirtualization = 1u << 8,
  kVirtualInterruptDelivery = 1u << 9,
  kPauseLoopExiting = 1u << 10,
  kRdrandExiting = 1u << 11,
  kEnableInvpcid = 1u << 12,
  kEnableVmFunctions = 1u << 13,
  kVmcsShadowing = 1u << 14,
  kEnableEnclsExiting = 1u << 15,
  kRdseedExiting = 1u << 16,
  kEnablePml = 1u << 17,
  kEptViolationVe = 1u << 18,
  kConcealVmxFromPt = 1u << 19,
  kEnableXsavesXrstors = 1u << 20,
  kPasidTranslation = 1u << 21,
  kModeBasedExecuteControl = 1u << 22,
  kSubPageWritePermissions = 1u << 23,
  kPtUsesGuestPhysicalAddresses = 1u << 24,
  kUseTscScaling = 1u << 25,
  kEnableUserWaitAndPause = 1u << 26,
  kEnablePconfig = 1u << 27,
  kEnableEnclvExiting = 1u << 28,
  kVmmBusLockDetection = 1u << 30,
  kInstructionTimeout = 1u << 31,
};

// "Processor-Based VM-Execution Controls", tertiary.
enum class TertiaryProcBased : uint64_t {
  kLoadiwkeyExiting = 1u << 0,
  kEnableHlat = 1u << 1,
  kEptPagingWriteControl = 1u << 2,
  kGuestPagingVerification = 1u << 3,
  kIpiVirtualization = 1u << 4,
  kVirtualizeSpecCtrl = 1u << 7,
};

// "VM-Exit Controls", primary.
enum class VmExitControl : uint32_t {
  kSaveDebugControls = 1u << 2,
  kHostAddressSpaceSize = 1u << 9,
  kLoadPerfGlobalCtrl = 1u << 12,
  kAcknowledgeInterruptOnExit = 1u << 15,
  kSavePat = 1u << 18,
  kLoadPat = 1u << 19,
  kSaveEfer = 1u << 20,
  kLoadEfer = 1u << 21,
  kSavePreemptionTimerValue = 1u << 22,
  kClearBndcfgs = 1u << 23,
  kConcealVmxFromPt = 1u << 24,
  kClearRtitCtl = 1u << 25,
  kClearLbrCtl = 1u << 26,
  kClearUinv = 1u << 27,
  kLoadCetState = 1u << 28,
  kLoadPkrs = 1u << 29,
  kSavePerfGlobalCtrl = 1u << 30,
  kActivateSecondaryControls = 1u << 31,
};

// "VM-Exit Controls", secondary.
enum class SecondaryVmExitControl : uint64_t {
  kPrematurelyBusyShadowStack = 1u << 3,
};

// "VM-Entry Controls".
enum class VmEntryControl : uint32_t {
  kLoadDebugControls = 1u << 2,
  kIa32eModeGuest = 1u << 9,
  kEntryToSmm = 1u << 10,
  kDeactivateDualMonitor = 1u << 11,
  kLoadPerfGlobalCtrl = 1u << 13,
  kLoadPat = 1u << 14,
  kLoadEfer = 1u << 15,
  kLoadBndcfgs = 1u << 16,
  kConcealVmxFromPt = 1u << 17,
  kLoadRtitCtl = 1u << 18,
  kLoadUinv = 1u << 19,
  kLoadCetState = 1u << 20,
  kLoadGuestLbrCtl = 1u << 21,
  kLoadPkrs = 1u << 22,
};

// "VM-Function Controls".
enum class VmFunction : uint64_t {
  kEptpSwitching = 1u << 0,
};

// A control field, as a whole.
enum class ControlGroup : uint8_t {
  kPinBased,
  kPrimaryProcBased,
  kSecondaryProcBased,
  kTertiaryProcBased,
  kVmExit,
  kSecondaryVmExit,
  kVmEntry,
  kVmFunction,
};
inline constexpr int kControlGroupCount = 8;

template <typename T>
struct ControlTraits;  // only for the eight enumerations above
template <>
struct ControlTraits<PinBased> {
  static constexpr auto kGroup = ControlGroup::kPinBased;
};
template <>
struct ControlTraits<PrimaryProcBased> {
  static constexpr auto kGroup = ControlGroup::kPrimaryProcBased;
};
template <>
struct ControlTraits<SecondaryProcBased> {
  static constexpr auto kGroup = ControlGroup::kSecondaryProcBased;
};
template <>
struct ControlTraits<TertiaryProcBased> {
  static constexpr auto kGroup = ControlGroup::kTertiaryProcBased;
};
template <>
struct ControlTraits<VmExitControl> {
  static constexpr auto kGroup = ControlGroup::kVmExit;
};
template <>
struct ControlTraits<SecondaryVmExitControl> {
  static constexpr auto kGroup = ControlGroup::kSecondaryVmExit;
};
template <>
struct ControlTraits<VmEntryControl> {
  static constexpr auto kGroup = ControlGroup::kVmEntry;
};
template <>
struct ControlTraits<VmFunction> {
  static constexpr auto kGroup = ControlGroup::kVmFunction;
};

template <typename T>
concept Control = requires {
  ControlTraits<T>::kGroup;
};

template <Control C>
constexpr std::underlying_type_t<C> mask(C control) {
  return static_cast<std::underlying_type_t<C>>(control);
}
template <Control C>
constexpr std::underlying_type_t<C> operator|(C a, C b) {
  return mask(a) | mask(b);
}
template <Control C>
constexpr std::underlying_type_t<C> operator|(std::underlying_type_t<C> a, C b) {
  return a | mask(b);
}
// Is `control` 1 in the field's value?
template <Control C>
constexpr bool is_set(uint64_t field_value, C control) {
  return (field_value & mask(control)) != 0;
}

// Some control of `group` within `any_of` can be 1. An empty mask: no condition.
struct ControlRequirement {
  ControlGroup group = ControlGroup::kPinBased;
  uint64_t any_of = 0;
};
template <Control C>
constexpr ControlRequirement requires_control(C control) {
  return {ControlTraits<C>::kGroup, mask(control)};
}

struct ControlName {
  uint64_t mask = 0;
  std::string_view name;  // as the SDM prints it
};
// Every control of the group that the SDM defines, in bit order.
std::span<const ControlName> control_names(ControlGroup group);
// The field that holds the group, as the SDM prints it.
std::string_view control_group_name(ControlGroup group);

}  // namespace nestor::vmx
