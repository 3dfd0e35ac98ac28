// SPDX-License-Identifier: GPL-2.0-or-later
#include "guest-images/lib/vmcs.h"

#include "guest-images/lib/console.h"
#include "guest-images/lib/descriptor_tables.h"
#include "guest-images/lib/processor.h"
#include "guest-images/lib/selectors.h"
#include "guest-images/lib/vmx_instructions.h"
#include "guest-images/lib/vmx_names.h"

enum { kCpuid1EcxVmx = 1 << 5 };

void vmx_operation_enter(void* region) {
  if (!(cpuid(1, 0).ecx & kCpuid1EcxVmx)) machine_lacks("VMX (CPUID.1:ECX.VMX)");

  const uint64_t enabled = kFeatureControlLock | kFeatureControlVmxOutsideSmx;
  uint64_t feature_control = read_msr(kMsrFeatureControl);
  if (!(feature_control & kFeatureControlLock)) {
    write_msr(kMsrFeatureControl, feature_control | enabled);
    feature_control = read_msr(kMsrFeatureControl);
  }
  if ((feature_control & enabled) != enabled) {
    machine_lacks("VMX outside SMX (IA32_FEATURE_CONTROL is locked without it)");
  }

  write_cr0((read_cr0() | read_msr(kMsrVmxCr0Fixed0)) & read_msr(kMsrVmxCr0Fixed1));
  write_cr4((read_cr4() | read_msr(kMsrVmxCr4Fixed0)) & read_msr(kMsrVmxCr4Fixed1));

  *(uint32_t*)region = VMX_BASIC_REVISION(read_msr(kMsrVmxBasic));
  if (vmx_on((uint64_t)region) != kVmSucceed) give_up("VMXON failed");
}

void vmcs_make_current(void* region) {
  *(uint32_t*)region = VMX_BASIC_REVISION(read_msr(kMsrVmxBasic));
  if (vmx_clear((uint64_t)region) != kVmSucceed) give_up("VMCLEAR failed");
  if (vmx_load_pointer((uint64_t)region) != kVmSucceed) give_up("VMPTRLD failed");
}

uint64_t vmcs_read(VmcsField field) {
  uint64_t value;
  if (vmx_read(field, &value) != kVmSucceed) give_up("VMREAD of field %#x failed", field);
  return value;
}

void vmcs_write(VmcsField field, uint64_t value) {
  switch (vmx_write(field, value)) {
    case kVmSucceed:
      return;
    case kVmFailInvalid:
      give_up("VMWRITE of %#lx to field %#x failed: no current VMCS", value, field);
    case kVmFailValid:
      give_up("VMWRITE of %#lx to field %#x failed: %s", value, field,
              vm_instruction_error_name(vmcs_read(kVmInstructionError)));
  }
}

static const struct {
  VmcsField field;
  uint32_t msr, true_msr;
} kControlFields[] = {
    [kControlsPinBased] = {kPinBasedControls, kMsrVmxPinBasedControls, kMsrVmxTruePinBasedControls},
    [kControlsProcessorBased] = {kPrimaryProcessorBasedControls, kMsrVmxProcessorBasedControls,
                                 kMsrVmxTrueProcessorBasedControls},
    [kControlsProcessorBased2] = {kSecondaryProcessorBasedControls, kMsrVmxProcessorBasedControls2,
                                  kMsrVmxProcessorBasedControls2},
    [kControlsExit] = {kPrimaryVmExitControls, kMsrVmxExitControls, kMsrVmxTrueExitControls},
    [kControlsEntry] = {kVmEntryControls, kMsrVmxEntryControls, kMsrVmxTrueEntryControls},
};

AllowedSettings controls_allowed(ControlField field) {
  if (field == kControlsProcessorBased2 &&
      !controls_offered(kControlsProcessorBased, CPU_ACTIVATE_SECONDARY)) {
    return (AllowedSettings){0, 0};
  }
  const bool true_controls = VMX_BASIC_TRUE_CONTROLS(read_msr(kMsrVmxBasic));
  const uint64_t msr =
      read_msr(true_controls ? kControlFields[field].true_msr : kControlFields[field].msr);
  return (AllowedSettings){.must_be_one = (uint32_t)msr, .may_be_one = (uint32_t)(msr >> 32)};
}

uint32_t controls_adjust(ControlField field, uint32_t wanted) {
  const AllowedSettings allowed = controls_allowed(field);
  return (wanted | allowed.must_be_one) & allowed.may_be_one;
}

bool controls_offered(ControlField field, uint32_t bits) {
  return (controls_allowed(field).may_be_one & bits) == bits;
}

void controls_write(ControlField field, uint32_t needed, uint32_t optional, const char* purpose) {
  if (!controls_offered(field, needed)) machine_lacks(purpose);
  vmcs_write(kControlFields[field].field, controls_adjust(field, needed | optional));
}

void vmcs_write_no_exceptions_and_lists(void) {
  vmcs_write(kExceptionBitmap, 0);
  vmcs_write(kPageFaultErrorCodeMask, 0);
  vmcs_write(kPageFaultErrorCodeMatch, 0);
  vmcs_write(kCr3TargetCount, 0);
  vmcs_write(kVmExitMsrStoreCount, 0);
  vmcs_write(kVmExitMsrLoadCount, 0);
  vmcs_write(kVmEntryMsrLoadCount, 0);
  vmcs_write(kVmEntryInterruptionInformation, 0);
}

void vmcs_write_controls_64bit(uint32_t needed2) {
  controls_write(kControlsPinBased, 0, 0, "");
  controls_write(kControlsProcessorBased, kCpuHltExiting | (needed2 ? CPU_ACTIVATE_SECONDARY : 0),
                 0, "secondary processor-based controls");
  if (needed2) controls_write(kControlsProcessorBased2, needed2, 0, "EPT or unrestricted guest");
  controls_write(kControlsExit, kExitHostAddressSpaceSize, kExitSaveEfer | kExitLoadEfer,
                 "64-bit host");
  controls_write(kControlsEntry, kEntryIa32eGuest, kEntryLoadEfer, "64-bit guest");
  vmcs_write_no_exceptions_and_lists();
  vmcs_write(kCr0GuestHostMask, 0);
  vmcs_write(kCr0ReadShadow, 0);
  vmcs_write(kCr4GuestHostMask, 0);
  vmcs_write(kCr4ReadShadow, 0);
}

void vmcs_write_host_state(void) {
  vmcs_write(kHostCr0, read_cr0());
  vmcs_write(kHostCr3, read_cr3());
  vmcs_write(kHostCr4, read_cr4());
  vmcs_write(kHostCsSelector, SELECTOR_CODE64);
  for (VmcsField field = kHostSsSelector; field <= kHostGsSelector; field += 2) {
    vmcs_write(field, SELECTOR_DATA);
  }
  vmcs_write(kHostEsSelector, SELECTOR_DATA);
  vmcs_write(kHostTrSelector, SELECTOR_TSS);
  vmcs_write(kHostFsBase, read_msr(kMsrFsBase));
  vmcs_write(kHostGsBase, read_msr(kMsrGsBase));
  vmcs_write(kHostTrBase, tss_base());
  vmcs_write(kHostGdtrBase, read_gdtr().base);
  vmcs_write(kHostIdtrBase, read_idtr().base);
  vmcs_write(kHostSysenterCs, read_msr(kMsrSysenterCs));
  vmcs_write(kHostSysenterEsp, read_msr(kMsrSysenterEsp));
  vmcs_write(kHostSysenterEip, read_msr(kMsrSysenterEip));
  if (controls_offered(kControlsExit, kExitLoadEfer)) vmcs_write(kHostEfer, read_msr(kMsrEfer));
  vmcs_write(kHostRip, (uint64_t)vm_exit_point);
}

void vmcs_write_guest_state_64bit(uint64_t rip, uint64_t rsp) {
  vmcs_write(kGuestCr0, read_cr0());
  vmcs_write(kGuestCr3, read_cr3());
  vmcs_write(kGuestCr4, read_cr4());
  vmcs_write(kGuestDr7, 0x400);

  // ES, CS, SS, DS, FS, GS: the encodings of each kind of field are 2 apart.
  for (unsigned i = 0; i < 6; i++) {
    const VmcsField selector = kGuestEsSelector + 2 * i;
    const bool code = selector == kGuestCsSelector;
    vmcs_write(selector, code ? SELECTOR_CODE64 : SELECTOR_DATA);
    vmcs_write(kGuestEsBase + 2 * i, 0);
    vmcs_write(kGuestEsLimit + 2 * i, 0xffffffff);
    vmcs_write(kGuestEsAccessRights + 2 * i, code ? kRightsCode64 : kRightsData32);
  }
  vmcs_write(kGuestLdtrSelector, 0);
  vmcs_write(kGuestLdtrBase, 0);
  vmcs_write(kGuestLdtrLimit, 0);
  vmcs_write(kGuestLdtrAccessRights, kRightsUnusable);
  vmcs_write(kGuestTrSelector, SELECTOR_TSS);
  vmcs_write(kGuestTrBase, tss_base());
  vmcs_write(kGuestTrLimit, 103);
  vmcs_write(kGuestTrAccessRights, kRightsTssBusy);

  vmcs_write(kGuestGdtrBase, read_gdtr().base);
  vmcs_write(kGuestGdtrLimit, read_gdtr().limit);
  vmcs_write(kGuestIdtrBase, 0);
  vmcs_write(kGuestIdtrLimit, 0);
  vmcs_write(kGuestRip, rip);
  vmcs_write(kGuestRsp, rsp);
  vmcs_write(kGuestRflags, 0x2);
  vmcs_write(kGuestPendingDebugExceptions, 0);
  vmcs_write(kGuestInterruptibilityState, 0);
  vmcs_write(kGuestActivityState, 0);
  vmcs_write(kGuestSysenterCs, 0);
  vmcs_write(kGuestSysenterEsp, 0);
  vmcs_write(kGuestSysenterEip, 0);
  vmcs_write(kGuestDebugctl, 0);
  if (controls_offered(kControlsEntry, kEntryLoadEfer)) vmcs_write(kGuestEfer, read_msr(kMsrEfer));
  vmcs_write(kVmcsLinkPointer, ~0ull);
}

void vmcs_skip_instruction(void) {
  vmcs_write(kGuestRip, vmcs_read(kGuestRip) + vmcs_read(kVmExitInstructionLength));
}
