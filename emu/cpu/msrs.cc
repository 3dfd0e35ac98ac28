// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/cpu/msrs.h"

#include <algorithm>

#include "emu/cpu/core.h"
#include "emu/cpu/cpuid.h"
#include "emu/cpu/memory_type_msrs.h"
#include "emu/cpu/msr_storage.h"
#include "emu/cpu/performance_monitor.h"
#include "emu/cpu/segments.h"
#include "emu/devices/apic/local_apic.h"
#include "vmx/cpu_state.h"
#include "vmx/msr_index.h"

namespace nestor::emu {
namespace {

using vmx::CpuState;
using vmx::MsrStatus;
using enum vmx::MsrStatus;
using vmx::Feature;
using vmx::Generation;

constexpr uint64_t kLow32 = 0xffffffff;

const vmx::RegisterRules& rules(Core& core) { return core.vmx().capabilities().registers; }

MsrStatus accept(bool condition) { return condition ? kOk : kGeneralProtection; }

// --- one function an access; `index` is for rows of several MSRs

MsrStatus read_tsc(Core& core, uint32_t, uint64_t& value) {
  value = core.tsc();
  return kOk;
}

// "Time-Stamp Counter Adjustment": each of the two registers follows a write to the other.
MsrStatus write_tsc(Core& core, uint32_t, uint64_t value) {
  core.msr_storage().tsc_adjust += value - core.tsc();
  core.set_tsc(value);
  return kOk;
}

MsrStatus write_tsc_adjust(Core& core, uint32_t, uint64_t value) {
  uint64_t& adjust = core.msr_storage().tsc_adjust;
  core.set_tsc(core.tsc() + (value - adjust));
  adjust = value;
  return kOk;
}

MsrStatus read_apic(Core& core, uint32_t index, uint64_t& value) {
  return core.apic().read_msr(index, value);
}

MsrStatus write_apic_base(Core& core, uint32_t index, uint64_t value) {
  constexpr uint64_t kExtd = 1u << 10;
  if (!rules(core).physical(value)) return kGeneralProtection;
  if ((value & kExtd) && !core.type().has(Feature::kX2apic)) return kGeneralProtection;
  return core.apic().write_msr(index, value);
}

MsrStatus write_apic(Core& core, uint32_t index, uint64_t value) {
  return core.apic().write_msr(index, value);
}

MsrStatus read_feature_control(Core& core, uint32_t, uint64_t& value) {
  value = core.vmx().feature_control;
  return kOk;
}

MsrStatus write_feature_control(Core& core, uint32_t, uint64_t value) {
  return core.vmx().write_feature_control(value);
}

MsrStatus read_vmx(Core& core, uint32_t index, uint64_t& value) {
  const std::optional<uint64_t> capability = core.vmx().capabilities().msr(index);
  value = capability.value_or(0);
  return accept(capability.has_value());
}

template <uint64_t kValue>
MsrStatus read_constant(Core&, uint32_t, uint64_t& value) {
  value = kValue;
  return kOk;
}

MsrStatus read_nothing(Core&, uint32_t, uint64_t&) { return kGeneralProtection; }

MsrStatus ignore_write(Core&, uint32_t, uint64_t) { return kOk; }

// For an MSR of which no bit can be 1.
MsrStatus write_nothing(Core&, uint32_t, uint64_t value) { return accept(value == 0); }

template <uint64_t CpuState::*kMember>
MsrStatus read_state(Core& core, uint32_t, uint64_t& value) {
  value = core.state().*kMember;
  return kOk;
}

template <uint64_t CpuState::*kMember>
MsrStatus write_canonical(Core& core, uint32_t, uint64_t value) {
  if (!rules(core).canonical(value)) return kGeneralProtection;
  core.state().*kMember = value;
  return kOk;
}

template <uint64_t CpuState::*kMember, uint64_t kValid>
MsrStatus write_valid(Core& core, uint32_t, uint64_t value) {
  if (value & ~kValid) return kGeneralProtection;
  core.state().*kMember = value;
  return kOk;
}

template <vmx::SegmentRegister kSegment>
MsrStatus read_segment_base(Core& core, uint32_t, uint64_t& value) {
  value = core.state().segment[kSegment].base;
  return kOk;
}

template <vmx::SegmentRegister kSegment>
MsrStatus write_segment_base(Core& core, uint32_t, uint64_t value) {
  if (!rules(core).canonical(value)) return kGeneralProtection;
  core.state().segment[kSegment].base = value;
  return kOk;
}

// The upper half of IA32_SYSENTER_CS is not used.
MsrStatus write_sysenter_cs(Core& core, uint32_t, uint64_t value) {
  core.state().sysenter_cs = value & kLow32;
  return kOk;
}

MsrStatus write_debugctl(Core& core, uint32_t, uint64_t value) {
  if (value & ~rules(core).debugctl_writable) return kGeneralProtection;
  core.state().debugctl = value;
  return kOk;
}

// IA32_MISC_ENABLE. There are performance counters, and neither branch trace storage nor precise
// event-based sampling.
namespace misc = vmx::misc_enable;
constexpr uint64_t kMiscReadOnly =
    misc::kPerformanceMonitoring | misc::kBranchTraceUnavailable | misc::kPebsUnavailable;
constexpr uint64_t kMiscReset = misc::kFastStrings | misc::kMonitor | kMiscReadOnly;
constexpr uint64_t kMiscWritable = misc::kFastStrings | misc::kThermalControl | misc::kSpeedStep |
                                   misc::kMonitor | misc::kLimitCpuid | misc::kXtprDisable |
                                   misc::kExecuteDisableDisable;

MsrStatus read_misc_enable(Core& core, uint32_t, uint64_t& value) {
  value = core.state().misc_enable | kMiscReadOnly;
  return kOk;
}

MsrStatus write_misc_enable(Core& core, uint32_t, uint64_t value) {
  if (value & ~(kMiscWritable | kMiscReadOnly)) return kGeneralProtection;
  core.state().misc_enable = value | kMiscReadOnly;
  return kOk;
}

MsrStatus write_efer(Core& core, uint32_t, uint64_t value) {
  CpuState& state = core.state();
  if (value & ~rules(core).efer_writable) return kGeneralProtection;
  if (((value ^ state.efer) & vmx::efer::kLme) && (state.cr0 & vmx::cr0::kPg)) {
    return kGeneralProtection;
  }
  const bool translation = (value ^ state.efer) & vmx::efer::kNxe;
  // LMA is read-only.
  state.efer = (value & ~vmx::efer::kLma) | (state.efer & vmx::efer::kLma);
  if (translation) core.invalidate({vmx::Invalidation::Kind::kAccessRights});
  return kOk;
}

MsrStatus write_pat(Core& core, uint32_t, uint64_t value) {
  if (!are_pat_types(value)) return kGeneralProtection;
  core.state().pat = value;
  return kOk;
}

template <uint64_t MsrStorage::*kMember>
MsrStatus read_storage(Core& core, uint32_t, uint64_t& value) {
  value = core.msr_storage().*kMember;
  return kOk;
}

template <uint64_t MsrStorage::*kMember, uint64_t kValid>
MsrStatus write_storage(Core& core, uint32_t, uint64_t value) {
  if (value & ~kValid) return kGeneralProtection;
  core.msr_storage().*kMember = value;
  return kOk;
}

// --- performance counters

MsrStatus read_general_counter(Core& core, uint32_t index, uint64_t& value) {
  value = core.performance_monitor().general_counter(index - vmx::kIa32Pmc0);
  return kOk;
}

MsrStatus write_general_counter(Core& core, uint32_t index, uint64_t value) {
  core.performance_monitor().write_general_counter(index - vmx::kIa32Pmc0, value);
  return kOk;
}

MsrStatus read_event_select(Core& core, uint32_t index, uint64_t& value) {
  value = core.performance_monitor().event_select(index - vmx::kIa32Perfevtsel0);
  return kOk;
}

MsrStatus write_event_select(Core& core, uint32_t index, uint64_t value) {
  return core.performance_monitor().write_event_select(index - vmx::kIa32Perfevtsel0, value);
}

MsrStatus read_fixed_counter(Core& core, uint32_t index, uint64_t& value) {
  value = core.performance_monitor().fixed_counter(index - vmx::kIa32FixedCtr0);
  return kOk;
}

MsrStatus write_fixed_counter(Core& core, uint32_t index, uint64_t value) {
  core.performance_monitor().write_fixed_counter(index - vmx::kIa32FixedCtr0, value);
  return kOk;
}

MsrStatus read_fixed_control(Core& core, uint32_t, uint64_t& value) {
  value = core.performance_monitor().fixed_control();
  return kOk;
}

MsrStatus write_fixed_control(Core& core, uint32_t, uint64_t value) {
  return core.performance_monitor().write_fixed_control(value);
}

MsrStatus read_global_status(Core& core, uint32_t, uint64_t& value) {
  value = core.performance_monitor().global_status();
  return kOk;
}

MsrStatus write_global_ctrl(Core& core, uint32_t, uint64_t value) {
  if (value & ~vmx::kCounterEnables) return kGeneralProtection;
  (void)core.performance_monitor();  // what was counted until now was so under the old value
  core.state().perf_global_ctrl = value;
  return kOk;
}

MsrStatus write_overflow_control(Core& core, uint32_t, uint64_t value) {
  return core.performance_monitor().write_overflow_control(value);
}

// --- constants

// IA32_ARCH_CAPABILITIES: nothing is executed speculatively, so none of these attacks exists.
// RDCL_NO, SKIP_L1DFL_VMENTRY, SSB_NO, MDS_NO, IF_PSCHANGE_MC_NO, TAA_NO, SBDR_SSDP_NO, FBSDP_NO,
// PSDP_NO.
constexpr uint64_t kArchCapabilities =
    1u << 0 | 1u << 3 | 1u << 4 | 1u << 5 | 1u << 6 | 1u << 8 | 1u << 13 | 1u << 14 | 1u << 15;

// --- what is the model's own

MsrStatus read_microcode_revision(Core& core, uint32_t, uint64_t& value) {
  value = uint64_t{core.type().model().microcode} << 32;
  return kOk;
}

// Cores in bits 31:16, threads in 15:0.
MsrStatus read_core_thread_count(Core& core, uint32_t, uint64_t& value) {
  value = uint64_t{core.processors()} << 16 | core.processors();
  return kOk;
}

// The ratio of the TSC to the bus clock is the lowest, the highest and the one of the moment.
MsrStatus read_platform_info(Core& core, uint32_t, uint64_t& value) {
  constexpr uint64_t kCpuidFaulting = 1ull << 31;
  const uint64_t ratio = core.type().model().ratio;
  value = ratio << 8 | ratio << 40;
  if (core.type().generation >= Generation::kIvyBridge) value |= kCpuidFaulting;
  return kOk;
}

MsrStatus read_perf_status(Core& core, uint32_t, uint64_t& value) {
  value = uint64_t{core.type().model().ratio} << 8;
  return kOk;
}

// The highest ratio with 1 to 8 active cores, a byte each.
MsrStatus read_turbo_ratio_limit(Core& core, uint32_t, uint64_t& value) {
  value = uint64_t{core.type().model().ratio} * 0x0101010101010101;
  return kOk;
}

MsrStatus write_pkrs(Core& core, uint32_t, uint64_t value) {
  if (value & ~kLow32) return kGeneralProtection;
  core.state().pkrs = static_cast<uint32_t>(value);
  core.invalidate({vmx::Invalidation::Kind::kAccessRights});
  return kOk;
}

MsrStatus read_pkrs(Core& core, uint32_t, uint64_t& value) {
  value = core.state().pkrs;
  return kOk;
}

// The bits that software may change; nothing follows from them.
constexpr uint64_t kPkgCstWritable = 0x1e008407, kPerfCtlWritable = 0x1'0000'ffff,
                   kMiscPwrMgmtWritable = 0x401b41, kPowerCtlWritable = 0xffffffff;

// --- the table

struct Msr {
  uint32_t first, count;
  std::string_view name;
  MsrStatus (*read)(Core&, uint32_t index, uint64_t& value);
  MsrStatus (*write)(Core&, uint32_t index, uint64_t value);  // nullptr: read-only
  Feature needs = Feature::kNone;                             // without which it does not exist
  Generation since = Generation::kWestmere;                   // the first model that has it
};

using S = CpuState;
using M = MsrStorage;
constexpr uint32_t kPairs = LastBranches::kMostPairs;

// Sorted by index.
constexpr Msr kMsrs[] = {
    {vmx::kIa32P5McAddr, 2, "IA32_P5_MC", read_constant<0>, nullptr},
    {vmx::kIa32MonitorFilterSize, 1, "IA32_MONITOR_FILTER_SIZE", read_constant<kLineSize>, nullptr,
     Feature::kMonitor},
    {vmx::kIa32TimeStampCounter, 1, "IA32_TIME_STAMP_COUNTER", read_tsc, write_tsc},
    {vmx::kIa32PlatformId, 1, "IA32_PLATFORM_ID", read_constant<0>, nullptr},
    {vmx::kIa32ApicBase, 1, "IA32_APIC_BASE", read_apic, write_apic_base},
    {vmx::kMsrSmiCount, 1, "MSR_SMI_COUNT", read_constant<0>, nullptr},
    {vmx::kMsrCoreThreadCount, 1, "MSR_CORE_THREAD_COUNT", read_core_thread_count, nullptr},
    {vmx::kIa32FeatureControl, 1, "IA32_FEATURE_CONTROL", read_feature_control,
     write_feature_control, Feature::kVmx},
    {vmx::kIa32TscAdjust, 1, "IA32_TSC_ADJUST", read_storage<&M::tsc_adjust>, write_tsc_adjust,
     Feature::kTscAdjust},
    // Write-only. No update is for this processor, so none is loaded; nor is any in non-root
    // operation.
    {vmx::kIa32BiosUpdtTrig, 1, "IA32_BIOS_UPDT_TRIG", read_nothing, ignore_write},
    // Software writes 0 before it asks for the revision; no update can be loaded.
    {vmx::kIa32BiosSignId, 1, "IA32_BIOS_SIGN_ID", read_microcode_revision, ignore_write},
    // There is no SMM, and no MSEG then.
    {vmx::kIa32SmmMonitorCtl, 1, "IA32_SMM_MONITOR_CTL", read_constant<0>, nullptr, Feature::kVmx},
    {vmx::kIa32Pmc0, vmx::kGeneralCounters, "IA32_PMC", read_general_counter,
     write_general_counter},
    {vmx::kMsrPlatformInfo, 1, "MSR_PLATFORM_INFO", read_platform_info, nullptr},
    {vmx::kMsrPkgCstConfigControl, 1, "MSR_PKG_CST_CONFIG_CONTROL",
     read_storage<&M::pkg_cst_config>, write_storage<&M::pkg_cst_config, kPkgCstWritable>},
    {vmx::kIa32Mtrrcap, 1, "IA32_MTRRCAP", read_mtrr, nullptr},
    {vmx::kIa32ArchCapabilities, 1, "IA32_ARCH_CAPABILITIES", read_constant<kArchCapabilities>,
     nullptr, Feature::kArchCapabilities},
    {vmx::kMsrFeatureConfig, 1, "MSR_FEATURE_CONFIG", read_constant<0>, nullptr, Feature::kAesni},
    {vmx::kMsrMiscFeatureEnables, 1, "MSR_MISC_FEATURE_ENABLES",
     read_storage<&M::misc_feature_enables>,
     write_storage<&M::misc_feature_enables, MsrStorage::kCpuidFaulting>, Feature::kNone,
     Generation::kIvyBridge},
    {vmx::kIa32SysenterCs, 1, "IA32_SYSENTER_CS", read_state<&S::sysenter_cs>, write_sysenter_cs},
    {vmx::kIa32SysenterEsp, 1, "IA32_SYSENTER_ESP", read_state<&S::sysenter_esp>,
     write_canonical<&S::sysenter_esp>},
    {vmx::kIa32SysenterEip, 1, "IA32_SYSENTER_EIP", read_state<&S::sysenter_eip>,
     write_canonical<&S::sysenter_eip>},
    {vmx::kIa32McgCap, 1, "IA32_MCG_CAP", read_constant<0>, nullptr},  // no banks
    {vmx::kIa32McgStatus, 1, "IA32_MCG_STATUS", read_storage<&M::mcg_status>,
     write_storage<&M::mcg_status, 7>},
    {vmx::kIa32Perfevtsel0, vmx::kGeneralCounters, "IA32_PERFEVTSEL", read_event_select,
     write_event_select},
    {vmx::kIa32PerfStatus, 1, "IA32_PERF_STATUS", read_perf_status, nullptr},
    {vmx::kIa32PerfCtl, 1, "IA32_PERF_CTL", read_storage<&M::perf_ctl>,
     write_storage<&M::perf_ctl, kPerfCtlWritable>},
    {vmx::kIa32MiscEnable, 1, "IA32_MISC_ENABLE", read_misc_enable, write_misc_enable},
    {vmx::kMsrTemperatureTarget, 1, "MSR_TEMPERATURE_TARGET", read_constant<100 << 16>, nullptr},
    {vmx::kMsrMiscFeatureControl, 1, "MSR_MISC_FEATURE_CONTROL",
     read_storage<&M::misc_feature_control>, write_storage<&M::misc_feature_control, 0xf>},
    {vmx::kMsrMiscPwrMgmt, 1, "MSR_MISC_PWR_MGMT", read_storage<&M::misc_pwr_mgmt>,
     write_storage<&M::misc_pwr_mgmt, kMiscPwrMgmtWritable>},
    {vmx::kMsrTurboRatioLimit, 1, "MSR_TURBO_RATIO_LIMIT", read_turbo_ratio_limit, nullptr},
    {vmx::kMsrLbrSelect, 1, "MSR_LBR_SELECT", read_last_branch, write_last_branch},
    {vmx::kMsrLastbranchTos, 1, "MSR_LASTBRANCH_TOS", read_last_branch, write_last_branch},
    {vmx::kIa32Debugctl, 1, "IA32_DEBUGCTL", read_state<&S::debugctl>, write_debugctl},
    {vmx::kMsrLerFromLip, 2, "MSR_LER_LIP", read_last_branch, nullptr},
    {vmx::kMsrPowerCtl, 1, "MSR_POWER_CTL", read_storage<&M::power_ctl>,
     write_storage<&M::power_ctl, kPowerCtlWritable>},
    {vmx::kIa32MtrrPhysbase0, 2 * kVariableMtrrs, "IA32_MTRR_PHYS", read_mtrr, write_mtrr},
    {vmx::kIa32MtrrFix64k00000, 1, "IA32_MTRR_FIX64K_00000", read_mtrr, write_mtrr},
    {vmx::kIa32MtrrFix16k80000, 2, "IA32_MTRR_FIX16K", read_mtrr, write_mtrr},
    {vmx::kIa32MtrrFix4kC0000, 8, "IA32_MTRR_FIX4K", read_mtrr, write_mtrr},
    {vmx::kIa32Pat, 1, "IA32_PAT", read_state<&S::pat>, write_pat},
    {vmx::kIa32MtrrDefType, 1, "IA32_MTRR_DEF_TYPE", read_mtrr, write_mtrr},
    {vmx::kIa32FixedCtr0, vmx::kFixedCounters, "IA32_FIXED_CTR", read_fixed_counter,
     write_fixed_counter},
    {vmx::kIa32FixedCtrCtrl, 1, "IA32_FIXED_CTR_CTRL", read_fixed_control, write_fixed_control},
    {vmx::kIa32PerfGlobalStatus, 1, "IA32_PERF_GLOBAL_STATUS", read_global_status, nullptr},
    {vmx::kIa32PerfGlobalCtrl, 1, "IA32_PERF_GLOBAL_CTRL", read_state<&S::perf_global_ctrl>,
     write_global_ctrl},
    {vmx::kIa32PerfGlobalOvfCtrl, 1, "IA32_PERF_GLOBAL_OVF_CTRL", read_constant<0>,
     write_overflow_control},
    // No core and no package was ever in such a state.
    {vmx::kMsrPkgC3Residency, 3, "MSR_PKG_C_RESIDENCY", read_constant<0>, ignore_write},
    {vmx::kMsrCoreC3Residency, 3, "MSR_CORE_C_RESIDENCY", read_constant<0>, ignore_write},
    {vmx::kFirstVmxMsr, vmx::kLastVmxMsr - vmx::kFirstVmxMsr + 1, "IA32_VMX", read_vmx, nullptr,
     Feature::kVmx},
    // Units of 1/8 W, 61 uJ, 976 us; nothing takes energy.
    {vmx::kMsrRaplPowerUnit, 1, "MSR_RAPL_POWER_UNIT", read_constant<0xa0e03>, nullptr,
     Feature::kNone, Generation::kSandyBridge},
    {vmx::kMsrPkgC2Residency, 1, "MSR_PKG_C2_RESIDENCY", read_constant<0>, ignore_write,
     Feature::kNone, Generation::kSandyBridge},
    {vmx::kMsrPkgEnergyStatus, 1, "MSR_PKG_ENERGY_STATUS", read_constant<0>, nullptr,
     Feature::kNone, Generation::kSandyBridge},
    {vmx::kMsrDramEnergyStatus, 1, "MSR_DRAM_ENERGY_STATUS", read_constant<0>, nullptr,
     Feature::kNone, Generation::kSandyBridge},
    {vmx::kMsrLastbranchFrom0, kPairs, "MSR_LASTBRANCH_FROM_IP", read_last_branch,
     write_last_branch},
    {vmx::kMsrLastbranchTo0, kPairs, "MSR_LASTBRANCH_TO_IP", read_last_branch, write_last_branch},
    {vmx::kIa32TscDeadline, 1, "IA32_TSC_DEADLINE", read_apic, write_apic, Feature::kTscDeadline},
    {vmx::kIa32Pkrs, 1, "IA32_PKRS", read_pkrs, write_pkrs, Feature::kPks},
    {vmx::kFirstX2apicMsr, vmx::kLastX2apicMsr - vmx::kFirstX2apicMsr + 1, "IA32_X2APIC", read_apic,
     write_apic, Feature::kX2apic},
    {vmx::kIa32Xss, 1, "IA32_XSS", read_constant<0>, write_nothing, Feature::kXsaves},
    {vmx::kMsrLbrInfo0, kPairs, "MSR_LBR_INFO", read_last_branch, write_last_branch, Feature::kNone,
     Generation::kSkylake},
    {vmx::kIa32Efer, 1, "IA32_EFER", read_state<&S::efer>, write_efer},
    {vmx::kIa32Star, 1, "IA32_STAR", read_state<&S::star>, write_valid<&S::star, ~0ull>},
    {vmx::kIa32Lstar, 1, "IA32_LSTAR", read_state<&S::lstar>, write_canonical<&S::lstar>},
    {vmx::kIa32Cstar, 1, "IA32_CSTAR", read_state<&S::cstar>, write_canonical<&S::cstar>},
    {vmx::kIa32Fmask, 1, "IA32_FMASK", read_state<&S::fmask>, write_valid<&S::fmask, kLow32>},
    {vmx::kIa32FsBase, 1, "IA32_FS_BASE", read_segment_base<vmx::kFs>,
     write_segment_base<vmx::kFs>},
    {vmx::kIa32GsBase, 1, "IA32_GS_BASE", read_segment_base<vmx::kGs>,
     write_segment_base<vmx::kGs>},
    {vmx::kIa32KernelGsBase, 1, "IA32_KERNEL_GS_BASE", read_state<&S::kernel_gs_base>,
     write_canonical<&S::kernel_gs_base>},
    {vmx::kIa32TscAux, 1, "IA32_TSC_AUX", read_state<&S::tsc_aux>, write_valid<&S::tsc_aux, kLow32>,
     Feature::kRdtscp},
};
static_assert(std::adjacent_find(std::begin(kMsrs), std::end(kMsrs),
                                 [](const Msr& a, const Msr& b) {
                                   return a.first + a.count > b.first;
                                 }) == std::end(kMsrs),
              "in order, and no index twice");

const Msr* find(uint32_t index) {
  const auto* above =
      std::upper_bound(std::begin(kMsrs), std::end(kMsrs), index,
                       [](uint32_t value, const Msr& row) { return value < row.first; });
  if (above == std::begin(kMsrs)) return nullptr;
  const Msr& row = *(above - 1);
  return index - row.first < row.count ? &row : nullptr;
}

// nullptr: this processor does not have it.
const Msr* find(const vmx::ProcessorType& type, uint32_t index) {
  const Msr* row = find(index);
  if (row == nullptr || type.generation < row->since) return nullptr;
  return row->needs == Feature::kNone || type.has(row->needs) ? row : nullptr;
}

}  // namespace

vmx::MsrStatus read_msr(Core& core, uint32_t index, uint64_t& value) {
  const Msr* row = find(core.type(), index);
  return row ? row->read(core, index, value) : kGeneralProtection;
}

vmx::MsrStatus write_msr(Core& core, uint32_t index, uint64_t value) {
  const Msr* row = find(core.type(), index);
  return row && row->write ? row->write(core, index, value) : kGeneralProtection;
}

std::string_view msr_name(uint32_t index) {
  const Msr* row = find(index);
  return row ? row->name : std::string_view{};
}

void reset_msrs(Core& core) {
  CpuState& state = core.state();
  const CpuState power_up;
  state.efer = power_up.efer;
  state.pat = power_up.pat;
  state.star = state.lstar = state.cstar = state.fmask = state.kernel_gs_base = 0;
  state.sysenter_cs = state.sysenter_esp = state.sysenter_eip = 0;
  state.debugctl = state.tsc_aux = 0;
  state.misc_enable = kMiscReset;
  state.perf_global_ctrl = PerformanceMonitor::kGlobalCtrlReset;
  core.performance_monitor().reset();
  core.msr_storage() = {};
  core.vmx().feature_control = 0;
}

}  // namespace nestor::emu
