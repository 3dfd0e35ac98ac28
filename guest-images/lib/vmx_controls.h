// SPDX-License-Identifier: GPL-2.0-or-later
//
// Bits of the VMX control fields and capability MSRs that the images use.
// Source: Intel SDM, "VM-Execution Control Fields" to "VM-Entry Control Fields" and appendix "VMX
// Capability Reporting Facility".
#pragma once

enum {
  kMsrVmxBasic = 0x480,
  kMsrVmxPinBasedControls = 0x481,
  kMsrVmxProcessorBasedControls = 0x482,
  kMsrVmxExitControls = 0x483,
  kMsrVmxEntryControls = 0x484,
  kMsrVmxMisc = 0x485,
  kMsrVmxCr0Fixed0 = 0x486,
  kMsrVmxCr0Fixed1 = 0x487,
  kMsrVmxCr4Fixed0 = 0x488,
  kMsrVmxCr4Fixed1 = 0x489,
  kMsrVmxProcessorBasedControls2 = 0x48b,
  kMsrVmxEptVpidCapabilities = 0x48c,
  kMsrVmxTruePinBasedControls = 0x48d,
  kMsrVmxTrueProcessorBasedControls = 0x48e,
  kMsrVmxTrueExitControls = 0x48f,
  kMsrVmxTrueEntryControls = 0x490,
};

enum {
  kFeatureControlLock = 1 << 0,
  kFeatureControlVmxOutsideSmx = 1 << 2,
};

#define VMX_BASIC_REVISION(msr) ((uint32_t)(msr)&0x7fffffff)
#define VMX_BASIC_REGION_BYTES(msr) ((uint32_t)((msr) >> 32) & 0x1fff)
#define VMX_BASIC_MEMORY_TYPE(msr) ((uint32_t)((msr) >> 50) & 0xf)
#define VMX_BASIC_32BIT_ADDRESSES(msr) ((msr) >> 48 & 1)
#define VMX_BASIC_TRUE_CONTROLS(msr) ((msr) >> 55 & 1)

#define VMX_MISC_WAIT_FOR_SIPI(msr) ((msr) >> 8 & 1)

enum {
  kPinExternalInterruptExiting = 1 << 0,
  kPinNmiExiting = 1 << 3,
  kPinVirtualNmis = 1 << 5,
  kPinPreemptionTimer = 1 << 6,
  kPinPostedInterrupts = 1 << 7,
};

enum {
  kCpuHltExiting = 1 << 7,
  kCpuInvlpgExiting = 1 << 9,
  kCpuCr3LoadExiting = 1 << 15,
  kCpuCr3StoreExiting = 1 << 16,
  kCpuTprShadow = 1 << 21,
  kCpuNmiWindowExiting = 1 << 22,
  kCpuUnconditionalIoExiting = 1 << 24,
  kCpuUseIoBitmaps = 1 << 25,
  kCpuUseMsrBitmaps = 1 << 28,
};
#define CPU_ACTIVATE_SECONDARY (1u << 31)

enum {
  kCpu2VirtualizeApicAccesses = 1 << 0,
  kCpu2Ept = 1 << 1,
  kCpu2VirtualizeX2apic = 1 << 4,
  kCpu2Vpid = 1 << 5,
  kCpu2UnrestrictedGuest = 1 << 7,
  kCpu2ApicRegisterVirtualization = 1 << 8,
  kCpu2VirtualInterruptDelivery = 1 << 9,
  kCpu2EnablePml = 1 << 17,
};

enum {
  kExitHostAddressSpaceSize = 1 << 9,
  kExitAcknowledgeInterrupt = 1 << 15,
  kExitSavePat = 1 << 18,
  kExitLoadPat = 1 << 19,
  kExitSaveEfer = 1 << 20,
  kExitLoadEfer = 1 << 21,
  kExitSavePreemptionTimer = 1 << 22,
};

enum {
  kEntryLoadDebugControls = 1 << 2,
  kEntryIa32eGuest = 1 << 9,
  kEntryToSmm = 1 << 10,
  kEntryDeactivateDualMonitor = 1 << 11,
  kEntryLoadPat = 1 << 14,
  kEntryLoadEfer = 1 << 15,
};

// VM-entry interruption information; the vector is in bits 7:0. VM-exit interruption information
// and IDT-vectoring information have the same bits.
#define EVENT_VALID (1u << 31)
#define EVENT_ERROR_CODE (1u << 11)  // "deliver error code"
#define EVENT_EXCEPTION (3u << 8)    // hardware exception
#define EVENT_EXTERNAL_INTERRUPT (0u << 8)

// IA32_VMX_EPT_VPID_CAP.
#define EPT_CAP_EXECUTE_ONLY (1ull << 0)
#define EPT_CAP_WALK_LENGTH_4 (1ull << 6)
#define EPT_CAP_UNCACHEABLE (1ull << 8)
#define EPT_CAP_WRITE_BACK (1ull << 14)
#define EPT_CAP_2M_PAGES (1ull << 16)
#define EPT_CAP_1G_PAGES (1ull << 17)
#define EPT_CAP_INVEPT (1ull << 20)
#define EPT_CAP_ACCESSED_DIRTY (1ull << 21)
#define EPT_CAP_INVEPT_SINGLE (1ull << 25)
#define EPT_CAP_INVEPT_ALL (1ull << 26)
#define VPID_CAP_INVVPID (1ull << 32)
#define VPID_CAP_INVVPID_ADDRESS (1ull << 40)
#define VPID_CAP_INVVPID_SINGLE (1ull << 41)

// Segment access rights as the VMCS holds them.
enum {
  kRightsCode64 = 0xa09b,   // G, L, P, S, execute/read, accessed
  kRightsCode16 = 0x009b,   // P, S, execute/read, accessed
  kRightsData32 = 0xc093,   // G, D/B, P, S, read/write, accessed
  kRightsData16 = 0x0093,   // P, S, read/write, accessed
  kRightsTssBusy = 0x008b,  // P, busy 64-bit (or 32-bit) TSS
  kRightsUnusable = 0x10000,
};
