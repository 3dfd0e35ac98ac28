// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/native/nested_state.h"

#include <linux/kvm.h>
#include <spdlog/fmt/fmt.h>

#include <array>
#include <cstring>

namespace nestor::emu::native {
namespace {

using vmx::Field;

constexpr std::size_t kHeaderSize = 128;
constexpr std::uint64_t kNone = ~std::uint64_t{0};

/// Where KVM keeps the fields: one behind the other from these offsets on, each as wide as it is.
constexpr std::size_t kFields64 = 40;
constexpr std::array k64{
    Field::kIoBitmapA,
    Field::kIoBitmapB,
    Field::kMsrBitmaps,
    Field::kVmExitMsrStoreAddress,
    Field::kVmExitMsrLoadAddress,
    Field::kVmEntryMsrLoadAddress,
    Field::kTscOffset,
    Field::kVirtualApicAddress,
    Field::kApicAccessAddress,
    Field::kPostedInterruptDescriptorAddress,
    Field::kEptPointer,
    Field::kEoiExitBitmap0,
    Field::kEoiExitBitmap1,
    Field::kEoiExitBitmap2,
    Field::kEoiExitBitmap3,
    Field::kXssExitingBitmap,
    Field::kGuestPhysicalAddress,
    Field::kVmcsLinkPointer,
    Field::kGuestIa32Debugctl,
    Field::kGuestIa32Pat,
    Field::kGuestIa32Efer,
    Field::kGuestIa32PerfGlobalCtrl,
    Field::kGuestPdpte0,
    Field::kGuestPdpte1,
    Field::kGuestPdpte2,
    Field::kGuestPdpte3,
    Field::kGuestIa32Bndcfgs,
    Field::kHostIa32Pat,
    Field::kHostIa32Efer,
    Field::kHostIa32PerfGlobalCtrl,
    Field::kVmreadBitmap,
    Field::kVmwriteBitmap,
    Field::kVmFunctionControls,
    Field::kEptpListAddress,
    Field::kPmlAddress,
};
static_assert(kFields64 + 8 * k64.size() == 320);

constexpr std::size_t kFieldsNatural = 344;
constexpr std::array kNatural{
    Field::kCr0GuestHostMask,
    Field::kCr4GuestHostMask,
    Field::kCr0ReadShadow,
    Field::kCr4ReadShadow,
    Field::kCr3TargetValue0,
    Field::kCr3TargetValue1,
    Field::kCr3TargetValue2,
    Field::kCr3TargetValue3,
    Field::kExitQualification,
    Field::kGuestLinearAddress,
    Field::kGuestCr0,
    Field::kGuestCr3,
    Field::kGuestCr4,
    Field::kGuestEsBase,
    Field::kGuestCsBase,
    Field::kGuestSsBase,
    Field::kGuestDsBase,
    Field::kGuestFsBase,
    Field::kGuestGsBase,
    Field::kGuestLdtrBase,
    Field::kGuestTrBase,
    Field::kGuestGdtrBase,
    Field::kGuestIdtrBase,
    Field::kGuestDr7,
    Field::kGuestRsp,
    Field::kGuestRip,
    Field::kGuestRflags,
    Field::kGuestPendingDebugExceptions,
    Field::kGuestIa32SysenterEsp,
    Field::kGuestIa32SysenterEip,
    Field::kHostCr0,
    Field::kHostCr3,
    Field::kHostCr4,
    Field::kHostFsBase,
    Field::kHostGsBase,
    Field::kHostTrBase,
    Field::kHostGdtrBase,
    Field::kHostIdtrBase,
    Field::kHostIa32SysenterEsp,
    Field::kHostIa32SysenterEip,
    Field::kHostRsp,
    Field::kHostRip,
};
static_assert(kFieldsNatural + 8 * kNatural.size() == 680);

constexpr std::size_t kFields32 = 744;
constexpr std::array k32{
    Field::kPinBasedControls,
    Field::kPrimaryProcBasedControls,
    Field::kExceptionBitmap,
    Field::kPageFaultErrorCodeMask,
    Field::kPageFaultErrorCodeMatch,
    Field::kCr3TargetCount,
    Field::kVmExitControls,
    Field::kVmExitMsrStoreCount,
    Field::kVmExitMsrLoadCount,
    Field::kVmEntryControls,
    Field::kVmEntryMsrLoadCount,
    Field::kVmEntryInterruptionInformation,
    Field::kVmEntryExceptionErrorCode,
    Field::kVmEntryInstructionLength,
    Field::kTprThreshold,
    Field::kSecondaryProcBasedControls,
    Field::kVmInstructionError,
    Field::kExitReason,
    Field::kVmExitInterruptionInformation,
    Field::kVmExitInterruptionErrorCode,
    Field::kIdtVectoringInformation,
    Field::kIdtVectoringErrorCode,
    Field::kVmExitInstructionLength,
    Field::kVmExitInstructionInformation,
    Field::kGuestEsLimit,
    Field::kGuestCsLimit,
    Field::kGuestSsLimit,
    Field::kGuestDsLimit,
    Field::kGuestFsLimit,
    Field::kGuestGsLimit,
    Field::kGuestLdtrLimit,
    Field::kGuestTrLimit,
    Field::kGuestGdtrLimit,
    Field::kGuestIdtrLimit,
    Field::kGuestEsAccessRights,
    Field::kGuestCsAccessRights,
    Field::kGuestSsAccessRights,
    Field::kGuestDsAccessRights,
    Field::kGuestFsAccessRights,
    Field::kGuestGsAccessRights,
    Field::kGuestLdtrAccessRights,
    Field::kGuestTrAccessRights,
    Field::kGuestInterruptibilityState,
    Field::kGuestActivityState,
    Field::kGuestIa32SysenterCs,
    Field::kHostIa32SysenterCs,
    Field::kVmxPreemptionTimerValue,
};
static_assert(kFields32 + 4 * k32.size() == 932);

constexpr std::size_t kFields16 = 960;
constexpr std::array k16{
    Field::kVirtualProcessorIdentifier,
    Field::kPostedInterruptNotificationVector,
    Field::kGuestEsSelector,
    Field::kGuestCsSelector,
    Field::kGuestSsSelector,
    Field::kGuestDsSelector,
    Field::kGuestFsSelector,
    Field::kGuestGsSelector,
    Field::kGuestLdtrSelector,
    Field::kGuestTrSelector,
    Field::kGuestInterruptStatus,
    Field::kHostEsSelector,
    Field::kHostCsSelector,
    Field::kHostSsSelector,
    Field::kHostDsSelector,
    Field::kHostFsSelector,
    Field::kHostGsSelector,
    Field::kHostTrSelector,
    Field::kPmlIndex,
};
static_assert(kFields16 + 2 * k16.size() == 998);

struct Run {
  std::size_t offset;
  std::span<const Field> fields;
};
constexpr std::array kRuns{Run{kFields64, k64}, Run{kFieldsNatural, kNatural}, Run{kFields32, k32},
                           Run{kFields16, k16}};

constexpr std::size_t bytes_of(Field field) { return vmx::bits_of(field) / 8; }
// Each run has fields of one width.
static_assert([] {
  for (const Run& run : kRuns) {
    for (const Field field : run.fields) {
      if (bytes_of(field) != bytes_of(run.fields.front())) return false;
    }
  }
  return true;
}());

std::uint64_t load(std::span<const std::byte> bytes, std::size_t at, std::size_t size) {
  std::uint64_t value = 0;
  std::memcpy(&value, bytes.data() + at, size);
  return value;
}

vmx::Vmcs read_vmcs(std::span<const std::byte> bytes) {
  constexpr std::size_t kAbort = 4, kLaunchState = 8;
  vmx::Vmcs vmcs;
  vmcs.revision_id = kKvmsVmcsRevision;
  vmcs.abort_indicator = static_cast<std::uint32_t>(load(bytes, kAbort, 4));
  vmcs.launch_state = load(bytes, kLaunchState, 4) != 0 ? vmx::Vmcs::LaunchState::kLaunched
                                                        : vmx::Vmcs::LaunchState::kClear;
  for (const Run& run : kRuns) {
    std::size_t at = run.offset;
    for (const Field field : run.fields) {
      vmcs.write(field, load(bytes, at, bytes_of(field)));
      at += bytes_of(field);
    }
  }
  return vmcs;
}

}  // namespace

std::variant<NestedState, std::string> parse_nested_state(std::span<const std::byte> bytes) {
  constexpr std::size_t kFlags = 0, kFormat = 2, kSize = 4, kVmcsAddress = 16;
  static_assert(offsetof(kvm_nested_state, flags) == kFlags);
  static_assert(offsetof(kvm_nested_state, format) == kFormat);
  static_assert(offsetof(kvm_nested_state, size) == kSize);
  static_assert(offsetof(kvm_nested_state, hdr) + offsetof(kvm_vmx_nested_state_hdr, vmcs12_pa) ==
                kVmcsAddress);
  if (bytes.size() < kHeaderSize) return "KVM's nested state is shorter than its header";
  const std::uint64_t format = load(bytes, kFormat, 2), size = load(bytes, kSize, 4);
  if (format != KVM_STATE_NESTED_FORMAT_VMX) {
    return fmt::format("KVM's nested state has format {}, which is not that of VMX", format);
  }
  NestedState state;
  state.guest_mode = (load(bytes, kFlags, 2) & KVM_STATE_NESTED_GUEST_MODE) != 0;
  state.vmcs_address = load(bytes, kVmcsAddress, 8);
  if (state.vmcs_address == kNone || size < kHeaderSize + vmx::kVmcsRegionSize) return state;
  if (bytes.size() < kHeaderSize + vmx::kVmcsRegionSize) return "KVM's nested state is cut off";
  const auto vmcs = bytes.subspan(kHeaderSize, vmx::kVmcsRegionSize);
  const std::uint64_t revision = load(vmcs, 0, 4);
  if (revision != kKvmsVmcsRevision) {
    return fmt::format(
        "KVM's VMCS has revision identifier {:#x}, not {:#x}: its layout is not known here",
        revision, kKvmsVmcsRevision);
  }
  state.vmcs = read_vmcs(vmcs);
  return state;
}

std::optional<std::size_t> offset_in_kvms_vmcs(Field field) {
  for (const Run& run : kRuns) {
    for (std::size_t i = 0; i != run.fields.size(); ++i) {
      if (run.fields[i] == field) return run.offset + i * bytes_of(field);
    }
  }
  return std::nullopt;
}

}  // namespace nestor::emu::native
