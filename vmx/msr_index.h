// SPDX-License-Identifier: GPL-2.0-or-later
//
// MSRs by index ("Architectural MSRs"). Of a run, the first; its others follow without gaps.
#pragma once

#include <cstdint>

namespace nestor::vmx {

enum MsrIndex : uint32_t {
  kIa32P5McAddr = 0x0,  // and IA32_P5_MC_TYPE
  kIa32MonitorFilterSize = 0x6,
  kIa32TimeStampCounter = 0x10,
  kIa32PlatformId = 0x17,
  kIa32ApicBase = 0x1b,
  kMsrSmiCount = 0x34,
  kMsrCoreThreadCount = 0x35,
  kIa32FeatureControl = 0x3a,
  kIa32TscAdjust = 0x3b,
  kIa32BiosUpdtTrig = 0x79,
  kIa32BiosSignId = 0x8b,
  kIa32SmmMonitorCtl = 0x9b,
  kIa32Smbase = 0x9e,
  kIa32Pmc0 = 0xc1,
  kMsrPlatformInfo = 0xce,
  kMsrPkgCstConfigControl = 0xe2,
  kIa32Mtrrcap = 0xfe,
  kIa32ArchCapabilities = 0x10a,
  kMsrFeatureConfig = 0x13c,
  kMsrMiscFeatureEnables = 0x140,
  kIa32SysenterCs = 0x174,
  kIa32SysenterEsp = 0x175,
  kIa32SysenterEip = 0x176,
  kIa32McgCap = 0x179,
  kIa32McgStatus = 0x17a,
  kIa32Perfevtsel0 = 0x186,
  kIa32PerfStatus = 0x198,
  kIa32PerfCtl = 0x199,
  kIa32MiscEnable = 0x1a0,
  kMsrTemperatureTarget = 0x1a2,
  kMsrMiscFeatureControl = 0x1a4,
  kMsrMiscPwrMgmt = 0x1aa,
  kMsrTurboRatioLimit = 0x1ad,
  kMsrLbrSelect = 0x1c8,
  kMsrLastbranchTos = 0x1c9,
  kIa32Debugctl = 0x1d9,
  kMsrLerFromLip = 0x1dd,  // and MSR_LER_TO_LIP
  kMsrPowerCtl = 0x1fc,
  kIa32MtrrPhysbase0 = 0x200,  // base and mask by turns
  kIa32MtrrFix64k00000 = 0x250,
  kIa32MtrrFix16k80000 = 0x258,
  kIa32MtrrFix4kC0000 = 0x268,
  kIa32Pat = 0x277,
  kIa32MtrrDefType = 0x2ff,
  kIa32FixedCtr0 = 0x309,
  kIa32FixedCtrCtrl = 0x38d,
  kIa32PerfGlobalStatus = 0x38e,
  kIa32PerfGlobalCtrl = 0x38f,
  kIa32PerfGlobalOvfCtrl = 0x390,
  kMsrPkgC3Residency = 0x3f8,   // and C6, C7
  kMsrCoreC3Residency = 0x3fc,  // and C6, C7
  kIa32VmxBasic = 0x480,
  kIa32VmxPinbasedCtls = 0x481,
  kIa32VmxProcbasedCtls = 0x482,
  kIa32VmxExitCtls = 0x483,
  kIa32VmxEntryCtls = 0x484,
  kIa32VmxMisc = 0x485,
  kIa32VmxCr0Fixed0 = 0x486,
  kIa32VmxCr0Fixed1 = 0x487,
  kIa32VmxCr4Fixed0 = 0x488,
  kIa32VmxCr4Fixed1 = 0x489,
  kIa32VmxVmcsEnum = 0x48a,
  kIa32VmxProcbasedCtls2 = 0x48b,
  kIa32VmxEptVpidCap = 0x48c,
  kIa32VmxTruePinbasedCtls = 0x48d,
  kIa32VmxTrueProcbasedCtls = 0x48e,
  kIa32VmxTrueExitCtls = 0x48f,
  kIa32VmxTrueEntryCtls = 0x490,
  kIa32VmxVmfunc = 0x491,
  kIa32VmxProcbasedCtls3 = 0x492,
  kIa32VmxExitCtls2 = 0x493,
  kMsrRaplPowerUnit = 0x606,
  kMsrPkgC2Residency = 0x60d,
  kMsrPkgEnergyStatus = 0x611,
  kMsrDramEnergyStatus = 0x619,
  kMsrLastbranchFrom0 = 0x680,
  kMsrLastbranchTo0 = 0x6c0,
  kIa32TscDeadline = 0x6e0,
  kIa32Pkrs = 0x6e1,
  kFirstX2apicMsr = 0x800,
  kLastX2apicMsr = 0x8ff,
  kIa32Xss = 0xda0,
  kMsrLbrInfo0 = 0xdc0,
  kIa32Efer = 0xc0000080,
  kIa32Star = 0xc0000081,
  kIa32Lstar = 0xc0000082,
  kIa32Cstar = 0xc0000083,
  kIa32Fmask = 0xc0000084,
  kIa32FsBase = 0xc0000100,
  kIa32GsBase = 0xc0000101,
  kIa32KernelGsBase = 0xc0000102,
  kIa32TscAux = 0xc0000103,
};

// The VMX capability MSRs are a run.
inline constexpr uint32_t kFirstVmxMsr = kIa32VmxBasic, kLastVmxMsr = kIa32VmxExitCtls2;

}  // namespace nestor::vmx
