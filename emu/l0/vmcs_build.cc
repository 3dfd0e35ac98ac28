// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/l0/vmcs_build.h"

#include "vmx/cpu_state.h"
#include "vmx/msr_index.h"

namespace nestor::emu {
namespace {

using vmx::Field;
using vmx::mask;
using vmx::PinBased;
using vmx::PrimaryProcBased;
using vmx::SecondaryProcBased;
using vmx::Vmcs;
using vmx::VmEntryControl;
using vmx::VmExitControl;

constexpr uint32_t kCodeSelector = 0x08, kTaskSelector = 0x18;
constexpr uint32_t kPageFaultBit = 1u << vmx::kPf;
constexpr uint64_t kNoLink = ~0ull;

// L0 is no program: what VM exits load only has to be valid.
void write_host_state(Vmcs& vmcs) {
  vmcs.write(Field::kHostCr0, vmx::cr0::kPe | vmx::cr0::kNe | vmx::cr0::kPg | vmx::cr0::kEt);
  vmcs.write(Field::kHostCr3, 0);
  vmcs.write(Field::kHostCr4, vmx::cr4::kPae | vmx::cr4::kVmxe);
  vmcs.write(Field::kHostIa32Efer, vmx::efer::kLme | vmx::efer::kLma);
  vmcs.write(Field::kHostIa32Pat, vmx::CpuState{}.pat);
  vmcs.write(Field::kHostCsSelector, kCodeSelector);
  vmcs.write(Field::kHostTrSelector, kTaskSelector);
}

// The controls that L0 has in every VMCS, joined with those that it wants in this one.
struct Wanted {
  uint64_t pin = 0, primary = 0, secondary = 0, exit = 0, entry = 0;
};
void write_controls(Vmcs& vmcs, const vmx::Capabilities& processor, Wanted wanted) {
  wanted.primary |= mask(PrimaryProcBased::kActivateSecondaryControls);
  wanted.secondary |= mask(SecondaryProcBased::kEnableVpid);
  wanted.exit |= VmExitControl::kHostAddressSpaceSize | VmExitControl::kSaveDebugControls |
                 VmExitControl::kSavePat | VmExitControl::kLoadPat | VmExitControl::kSaveEfer |
                 VmExitControl::kLoadEfer;
  wanted.entry |=
      VmEntryControl::kLoadDebugControls | VmEntryControl::kLoadPat | VmEntryControl::kLoadEfer;
  vmcs.write(Field::kPinBasedControls, wanted.pin | processor.pin.must_be_one());
  vmcs.write(Field::kPrimaryProcBasedControls, wanted.primary | processor.primary.must_be_one());
  vmcs.write(Field::kSecondaryProcBasedControls, wanted.secondary);
  vmcs.write(Field::kVmExitControls, wanted.exit | processor.exit.must_be_one());
  vmcs.write(Field::kVmEntryControls, wanted.entry | processor.entry.must_be_one());
}

// What L0 adds for a guest that runs on shadow page tables.
void add_shadow_paging(Wanted& wanted) {
  wanted.primary |= PrimaryProcBased::kCr3LoadExiting | PrimaryProcBased::kCr3StoreExiting |
                    PrimaryProcBased::kInvlpgExiting;
}

// Instructions that exist only where a control enables them: L1 has them all, so its guest may.
constexpr uint32_t kEnabling = SecondaryProcBased::kEnableRdtscp |
                               SecondaryProcBased::kEnableInvpcid |
                               SecondaryProcBased::kEnableXsavesXrstors;

}  // namespace

std::optional<std::string_view> l0_misses(const vmx::ProcessorType& processor, L0Mode mode) {
  using enum vmx::Feature;
  constexpr vmx::Feature kAlways[] = {kVmx,
                                      kVmxSecondaryControls,
                                      kVmxVpid,
                                      kVmxMsrBitmaps,
                                      kVmxInvlpgExiting,
                                      kVmxHostAddressSpaceSize,
                                      kVmxIa32eModeGuest,
                                      kVmxExitSavePat,
                                      kVmxExitLoadPat,
                                      kVmxExitSaveEfer,
                                      kVmxExitLoadEfer,
                                      kVmxEntryLoadPat,
                                      kVmxEntryLoadEfer};
  constexpr vmx::Feature kForEpt[] = {kVmxEpt,          kVmxUnrestrictedGuest, kVmxEptWalkLength4,
                                      kVmxEptWriteBack, kVmxEptPages2M,        kVmxEptPages1G};
  if (!info_of(mode).has_l0) return std::nullopt;
  for (const vmx::Feature feature : kAlways)
    if (!processor.has(feature)) return vmx::named(feature).name;
  for (const vmx::Feature feature : kForEpt)
    if (info_of(mode).l0_uses_ept && !processor.has(feature)) return vmx::named(feature).name;
  // L1's RAM is in the upper half.
  if (processor.model().physical_address_bits < vmx::kPhysicalAddressBits)
    return "physical addresses of 46 bits";
  return std::nullopt;
}

vmx::Capabilities l0_offered_capabilities(const vmx::Capabilities& processor, L0Mode mode) {
  vmx::Capabilities c = processor;
  const auto without = [](auto& offered, auto... controls) { ((offered &= ~mask(controls)), ...); };
  without(c.pin.offered, PinBased::kProcessPostedInterrupts);
  without(c.primary.offered, PrimaryProcBased::kUseTprShadow,
          PrimaryProcBased::kActivateTertiaryControls);
  constexpr uint32_t kKept =
      SecondaryProcBased::kEnableEpt | SecondaryProcBased::kDescriptorTableExiting |
      SecondaryProcBased::kEnableRdtscp | SecondaryProcBased::kEnableVpid |
      SecondaryProcBased::kWbinvdExiting | SecondaryProcBased::kUnrestrictedGuest |
      SecondaryProcBased::kPauseLoopExiting | SecondaryProcBased::kEnableInvpcid |
      SecondaryProcBased::kUseTscScaling | SecondaryProcBased::kRdrandExiting |
      SecondaryProcBased::kRdseedExiting | SecondaryProcBased::kModeBasedExecuteControl;
  c.secondary &= kKept;
  if (!info_of(mode).offers_ept) {
    without(c.secondary, SecondaryProcBased::kEnableEpt, SecondaryProcBased::kUnrestrictedGuest,
            SecondaryProcBased::kModeBasedExecuteControl);
  }
  c.tertiary = c.secondary_exit = c.vm_functions = 0;
  c.exit.offered &= VmExitControl::kHostAddressSpaceSize |
                    VmExitControl::kAcknowledgeInterruptOnExit | VmExitControl::kSavePat |
                    VmExitControl::kLoadPat | VmExitControl::kSaveEfer | VmExitControl::kLoadEfer |
                    VmExitControl::kSavePreemptionTimerValue;
  c.entry.offered &=
      VmEntryControl::kIa32eModeGuest | VmEntryControl::kLoadPat | VmEntryControl::kLoadEfer;
  namespace cap = vmx::ept_vpid_cap;
  constexpr uint64_t kInvvpid = cap::kInvvpid | cap::kInvvpidAddress | cap::kInvvpidSingle |
                                cap::kInvvpidAll | cap::kInvvpidSingleRetainingGlobals;
  constexpr uint64_t kEpt = cap::kExecuteOnly | cap::kWalkLength4 | cap::kUncacheable |
                            cap::kWriteBack | cap::kPages2M | cap::kPages1G | cap::kInvept |
                            cap::kAccessedDirty | cap::kAdvancedExitInformation |
                            cap::kInveptSingle | cap::kInveptAll;
  c.ept_vpid &= info_of(mode).offers_ept ? kInvvpid | kEpt : kInvvpid;
  return c;
}

bool l0_intercepts_msr(uint32_t index, L0Mode mode) {
  return index == vmx::kIa32FeatureControl ||
         (index >= vmx::kFirstVmxMsr && index <= vmx::kLastVmxMsr) ||
         (index == vmx::kIa32Efer && mode == L0Mode::kShadowOnShadow);
}

void build_vmcs01(Vmcs& vmcs, const vmx::Capabilities& processor, const L0Config& config,
                  const L0Structures& structures, uint64_t eptp01) {
  Wanted wanted;
  wanted.primary = mask(PrimaryProcBased::kUseMsrBitmaps);
  wanted.secondary = kEnabling & processor.secondary;
  if (info_of(config.mode).l0_uses_ept) {
    wanted.secondary |= SecondaryProcBased::kEnableEpt | SecondaryProcBased::kUnrestrictedGuest;
  } else {
    add_shadow_paging(wanted);
    vmcs.write(Field::kExceptionBitmap, kPageFaultBit);
  }
  if (config.vmcs_shadowing) wanted.secondary |= mask(SecondaryProcBased::kVmcsShadowing);
  write_controls(vmcs, processor, wanted);
  write_host_state(vmcs);
  vmcs.write(Field::kMsrBitmaps, structures.msr_bitmap01);
  vmcs.write(Field::kVmreadBitmap, structures.vmread_bitmap);
  vmcs.write(Field::kVmwriteBitmap, structures.vmwrite_bitmap);
  vmcs.write(Field::kVmcsLinkPointer, kNoLink);
  vmcs.write(Field::kVirtualProcessorIdentifier, kVpid01);
  vmcs.write(Field::kEptPointer, eptp01);
}

void build_vmcs02(Vmcs& vmcs, const Vmcs& vmcs12, const vmx::Capabilities& processor,
                  const L0Config& config, const L0Structures& structures, const MachineMap& map) {
  Wanted wanted;
  wanted.pin = vmcs12[Field::kPinBasedControls];
  wanted.primary = vmcs12[Field::kPrimaryProcBasedControls];
  if (vmcs12.has(PrimaryProcBased::kActivateSecondaryControls)) {
    wanted.secondary = vmcs12[Field::kSecondaryProcBasedControls];
  }
  wanted.exit = vmcs12[Field::kVmExitControls] & mask(VmExitControl::kAcknowledgeInterruptOnExit);
  if (vmcs12.has(PinBased::kActivatePreemptionTimer)) {
    wanted.exit |= mask(VmExitControl::kSavePreemptionTimerValue);
  }
  wanted.entry = vmcs12[Field::kVmEntryControls] & mask(VmEntryControl::kIa32eModeGuest);
  vmcs.write(Field::kExceptionBitmap, vmcs12[Field::kExceptionBitmap]);
  vmcs.write(Field::kPageFaultErrorCodeMask, vmcs12[Field::kPageFaultErrorCodeMask]);
  vmcs.write(Field::kPageFaultErrorCodeMatch, vmcs12[Field::kPageFaultErrorCodeMatch]);
  vmcs.write(Field::kCr3TargetCount, vmcs12[Field::kCr3TargetCount]);
  if (info_of(config.mode).l0_uses_ept) {
    wanted.secondary |= mask(SecondaryProcBased::kEnableEpt);
  } else {
    // L0 decides of every #PF and every CR3 whether L1 is to have it.
    add_shadow_paging(wanted);
    vmcs.write(Field::kExceptionBitmap, vmcs12[Field::kExceptionBitmap] | kPageFaultBit);
    vmcs.write(Field::kPageFaultErrorCodeMask, 0);
    vmcs.write(Field::kPageFaultErrorCodeMatch, 0);
    vmcs.write(Field::kCr3TargetCount, 0);
  }
  write_controls(vmcs, processor, wanted);
  write_host_state(vmcs);

  // L1's own, where L0 wants nothing else.
  constexpr Field kTaken[] = {
      Field::kTscOffset,        Field::kTscMultiplier,    Field::kPleGap,
      Field::kPleWindow,        Field::kCr0GuestHostMask, Field::kCr0ReadShadow,
      Field::kCr4GuestHostMask, Field::kCr4ReadShadow,    Field::kCr3TargetValue0,
      Field::kCr3TargetValue1,  Field::kCr3TargetValue2,  Field::kCr3TargetValue3,
      Field::kXssExitingBitmap,
  };
  for (const Field field : kTaken) vmcs.write(field, vmcs12[field]);
  for (const Field bitmap : {Field::kIoBitmapA, Field::kIoBitmapB}) {
    vmcs.write(bitmap, map.machine({vmcs12[bitmap]}).value);
  }
  vmcs.write(Field::kMsrBitmaps, structures.msr_bitmap02);
  vmcs.write(Field::kVmcsLinkPointer, kNoLink);
  vmcs.write(Field::kVirtualProcessorIdentifier, kVpid02);
}

}  // namespace nestor::emu
