// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/cpu/cpuid.h"

#include <algorithm>
#include <array>
#include <bit>
#include <string_view>

#include "emu/cpu/core.h"
#include "emu/cpu/performance_monitor.h"
#include "emu/devices/apic/local_apic.h"
#include "emu/engine/extended_state.h"
#include "emu/time/clock.h"
#include "vmx/cpu_state.h"

namespace nestor::emu {
namespace {

enum class Register : uint8_t { kEax, kEbx, kEcx, kEdx };
using enum Register;

// When a feature flag shows. All but kAlways are dynamic.
enum class When : uint8_t {
  kAlways,
  kApicEnabled,     // IA32_APIC_BASE[11]
  kMonitorEnabled,  // IA32_MISC_ENABLE[18]
  kExecuteDisable,  // IA32_MISC_ENABLE[34] is 0
  kOsxsave,         // CR4.OSXSAVE
  k64BitMode,       // Intel processors have SYSCALL in 64-bit mode only, and say so there only
};

// A feature flag, and the bits of CR4 and IA32_EFER that exist because of it.
struct Feature {
  uint32_t leaf;
  Register reg;
  uint8_t bit;
  When when = When::kAlways;
  uint64_t cr4 = 0, efer = 0;
};

constexpr uint32_t kExtended = 0x80000000;

constexpr Feature kFeatures[] = {
    {1, kEcx, 0},                                      // SSE3
    {1, kEcx, 1},                                      // PCLMULQDQ
    {1, kEcx, 3, When::kMonitorEnabled},               // MONITOR
    {1, kEcx, 5, When::kAlways, vmx::cr4::kVmxe},      // VMX
    {1, kEcx, 9},                                      // SSSE3
    {1, kEcx, 13},                                     // CMPXCHG16B
    {1, kEcx, 17, When::kAlways, vmx::cr4::kPcide},    // PCID
    {1, kEcx, 19},                                     // SSE4.1
    {1, kEcx, 20},                                     // SSE4.2
    {1, kEcx, 21},                                     // x2APIC
    {1, kEcx, 23},                                     // POPCNT
    {1, kEcx, 24},                                     // TSC-deadline
    {1, kEcx, 25},                                     // AESNI
    {1, kEcx, 26, When::kAlways, vmx::cr4::kOsxsave},  // XSAVE
    {1, kEcx, 27, When::kOsxsave},                     // OSXSAVE
    {1, kEcx, 30},                                     // RDRAND
    {1, kEdx, 0},                                      // FPU
    {1, kEdx, 2, When::kAlways, vmx::cr4::kDe},        // DE
    {1, kEdx, 3, When::kAlways, vmx::cr4::kPse},       // PSE
    {1, kEdx, 4, When::kAlways, vmx::cr4::kTsd},       // TSC
    {1, kEdx, 5, When::kAlways, vmx::cr4::kPce},       // MSR; no flag of its own tells of CR4.PCE
    {1, kEdx, 6, When::kAlways, vmx::cr4::kPae},       // PAE
    {1, kEdx, 7, When::kAlways, vmx::cr4::kMce},       // MCE
    {1, kEdx, 8},                                      // CMPXCHG8B
    {1, kEdx, 9, When::kApicEnabled},                  // APIC
    {1, kEdx, 11},                                     // SEP
    {1, kEdx, 12},                                     // MTRR
    {1, kEdx, 13, When::kAlways, vmx::cr4::kPge},      // PGE
    {1, kEdx, 14},                                     // MCA
    {1, kEdx, 15},                                     // CMOV
    {1, kEdx, 16},                                     // PAT
    {1, kEdx, 17},                                     // PSE-36
    {1, kEdx, 19},                                     // CLFSH
    {1, kEdx, 23},                                     // MMX
    {1, kEdx, 24, When::kAlways, vmx::cr4::kOsfxsr},   // FXSR
    {1, kEdx, 25, When::kAlways, vmx::cr4::kOsxmmexcpt},  // SSE
    {1, kEdx, 26},                                        // SSE2
    {6, kEax, 2},                                         // ARAT: the APIC timer always runs
    {7, kEbx, 0, When::kAlways, vmx::cr4::kFsgsbase},     // FSGSBASE
    {7, kEbx, 1},                                         // IA32_TSC_ADJUST
    {7, kEbx, 7, When::kAlways, vmx::cr4::kSmep},         // SMEP
    {7, kEbx, 10},                                        // INVPCID
    {7, kEbx, 18},                                        // RDSEED
    {7, kEbx, 20, When::kAlways, vmx::cr4::kSmap},        // SMAP
    {7, kEcx, 16, When::kAlways, vmx::cr4::kLa57},        // 5-level paging
    {7, kEcx, 22},                                        // RDPID
    {7, kEdx, 29},                                        // IA32_ARCH_CAPABILITIES
    {kExtended + 1, kEcx, 0},                             // LAHF and SAHF in 64-bit mode
    {kExtended + 1, kEcx, 5},                             // LZCNT
    {kExtended + 1, kEcx, 8},                             // PREFETCHW
    {kExtended + 1, kEdx, 11, When::k64BitMode, 0, vmx::efer::kSce},       // SYSCALL
    {kExtended + 1, kEdx, 20, When::kExecuteDisable, 0, vmx::efer::kNxe},  // Execute Disable
    {kExtended + 1, kEdx, 26},                                             // 1-GByte pages
    {kExtended + 1, kEdx, 27},                                             // RDTSCP, IA32_TSC_AUX
    {kExtended + 1, kEdx, 29, When::kAlways, 0, vmx::efer::kLme | vmx::efer::kLma},  // Intel 64
    {kExtended + 7, kEdx, 8},  // invariant TSC
    {kExtended + 8, kEbx, 9},  // WBNOINVD
};

// Absent, as neither the engine executes them nor anything emulates them: AVX, virtual-8086 mode
// extensions, MOVBE, BMI, UMIP, protection keys.

constexpr std::string_view kVendor = "GenuineIntel";
constexpr std::string_view kBrand = "Nestor virtual CPU";
constexpr uint32_t kHighestBasic = 0x16, kHighestExtended = kExtended + 8;

constexpr uint32_t text(std::string_view string, size_t position) {
  uint32_t word = 0;
  for (size_t i = 0; i < 4 && position + i < string.size(); ++i) {
    word |= uint32_t{static_cast<uint8_t>(string[position + i])} << (8 * i);
  }
  return word;
}

constexpr CpuidRegisters brand(size_t position) {
  return {text(kBrand, position), text(kBrand, position + 4), text(kBrand, position + 8),
          text(kBrand, position + 12)};
}

// Leaf 4, one private cache: `type` 1 data, 2 instruction, 3 unified.
constexpr CpuidRegisters cache(uint32_t type, uint32_t level, uint32_t ways, uint32_t sets) {
  constexpr uint32_t kSelfInitializing = 1u << 8;
  return {type | level << 5 | kSelfInitializing, (kLineSize - 1) | (ways - 1) << 22, sets - 1, 0};
}

// What is not a feature flag. A leaf without `subleaf_matters` answers alike for each of them.
struct Leaf {
  uint32_t leaf, subleaf;
  bool subleaf_matters;
  CpuidRegisters value;
};

constexpr auto kMegahertz = static_cast<uint32_t>(Clock::kFrequency / 1'000'000);

constexpr Leaf kLeaves[] = {
    {0, 0, false, {kHighestBasic, text(kVendor, 0), text(kVendor, 8), text(kVendor, 4)}},
    {1, 0, false, {kProcessorSignature, kLineSize / 8 << 8, 0, 0}},
    {2, 0, false, {0xff01, 0, 0, 0}},  // the caches are in leaf 4
    {4, 0, true, cache(1, 1, 8, 64)},
    {4, 1, true, cache(2, 1, 8, 64)},
    {4, 2, true, cache(3, 2, 16, 1024)},
    // MONITOR range; the extensions are enumerated, masked interrupts may end MWAIT; one sub-state
    // of C1.
    {5, 0, false, {kLineSize, kLineSize, 3, 0x10}},
    // Of the seven architectural events, those of caches and branches (bits 6:3) are not available.
    {0xa,
     0,
     false,
     {PerformanceMonitor::kVersion | PerformanceMonitor::kGeneralCounters << 8 |
          PerformanceMonitor::kCounterWidth << 16 | 7 << 24,
      0x78, 0, PerformanceMonitor::kFixedCounters | PerformanceMonitor::kCounterWidth << 5}},
    // One thread a core: EBX processors at the level, ECX[15:8] the level's type. How many cores
    // there are, topology() says.
    {0xb, 0, true, {0, 1, 0x100, 0}},
    {0xb, 1, true, {0, 1, 0x201, 0}},
    // The core crystal clock, which is also the APIC timer's, runs at the frequency of the TSC.
    // Components that XCR0 may have; the sizes of the area for those enabled, and for all. Whatever
    // XCR0 is, x87 and SSE fit into the legacy region.
    {0xd, 0, true, {kExtendedComponents, kXsaveAreaSize, kXsaveAreaSize, 0}},
    // XSAVEOPT, XSAVEC with the compacted form of XRSTOR, XGETBV with ECX = 1, XSAVES and IA32_XSS,
    // of which no bit can be set.
    {0xd, 1, true, {0xf, kXsaveAreaSize, 0, 0}},
    {0x15, 0, false, {1, 1, static_cast<uint32_t>(LocalApic::kTimerFrequency), 0}},
    {0x16, 0, false, {kMegahertz, kMegahertz, 100, 0}},
    {kExtended, 0, false, {kHighestExtended, 0, 0, 0}},
    {kExtended + 2, 0, false, brand(0)},
    {kExtended + 3, 0, false, brand(16)},
    {kExtended + 4, 0, false, brand(32)},
    // The second-level cache: its size in KiB, 16 ways.
    {kExtended + 6, 0, false, {0, 0, 1024 << 16 | 8 << 12 | kLineSize, 0}},
    {kExtended + 8, 0, false, {kPhysicalAddressBits | kLinearAddressBits << 8, 0, 0, 0}},
};
static_assert(LocalApic::kTimerFrequency == Clock::kFrequency);
static_assert(Clock::kFrequency <= 0xffffffff);

constexpr uint64_t kMonitorEnable = 1ull << 18, kLimitCpuid = 1ull << 22,
                   kDisableExecuteDisable = 1ull << 34;

bool shows(const CpuidState& state, When when) {
  switch (when) {
    case When::kAlways:
      return true;
    case When::kApicEnabled:
      return state.apic_base >> 11 & 1;
    case When::kMonitorEnabled:
      return state.misc_enable & kMonitorEnable;
    case When::kExecuteDisable:
      return !(state.misc_enable & kDisableExecuteDisable);
    case When::kOsxsave:
      return state.osxsave;
    case When::k64BitMode:
      return state.code_64bit;
  }
  return false;
}

uint32_t& select(CpuidRegisters& registers, Register reg) {
  switch (reg) {
    case kEax:
      return registers.eax;
    case kEbx:
      return registers.ebx;
    case kEcx:
      return registers.ecx;
    default:
      return registers.edx;
  }
}

// What tells of a package with several cores; nothing changes for one.
void add_topology(CpuidRegisters& out, unsigned processors, uint32_t leaf, uint32_t subleaf) {
  if (processors == 1) return;
  const auto id_bits = static_cast<uint32_t>(std::bit_width(processors - 1));
  if (leaf == 1) {
    constexpr uint32_t kHtt = 1u << 28;
    out.ebx |= processors << 16;
    out.edx |= kHtt;
  } else if (leaf == 4 && out.eax != 0) {
    out.eax |= ((1u << id_bits) - 1) << 26;
  } else if (leaf == 0xb && subleaf == 1) {
    out.eax = id_bits;
    out.ebx = processors;
  }
}

}  // namespace

CpuidRegisters cpuid(const CpuidState& state, uint32_t leaf, uint32_t subleaf) {
  const bool exists = leaf <= kHighestBasic || (leaf >= kExtended && leaf <= kHighestExtended);
  if (!exists) leaf = kHighestBasic;

  CpuidRegisters out;
  for (const Leaf& row : kLeaves) {
    if (row.leaf == leaf && (!row.subleaf_matters || row.subleaf == subleaf)) out = row.value;
  }
  if (leaf != 7 || subleaf == 0) {
    for (const Feature& feature : kFeatures) {
      if (feature.leaf == leaf && shows(state, feature.when)) {
        select(out, feature.reg) |= 1u << feature.bit;
      }
    }
  }
  switch (leaf) {
    case 0:
      if (state.misc_enable & kLimitCpuid) out.eax = 2;
      break;
    case 1:
      out.ebx |= (state.apic_id & 0xff) << 24;
      break;
    case 0xb:
      out.edx = state.apic_id;
      if (subleaf > 1) out.ecx = subleaf & 0xff;  // a level of type 0: there are no more
      break;
    default:
      break;
  }
  add_topology(out, state.processors, leaf, subleaf);
  return out;
}

CpuidRegisters cpuid(Core& core, uint32_t leaf, uint32_t subleaf) {
  const vmx::CpuState& state = core.state();
  return cpuid(
      CpuidState{core.apic().base_msr(), state.misc_enable, core.apic().initial_id(),
                 state.code_64bit(), core.processors(), (state.cr4 & vmx::cr4::kOsxsave) != 0},
      leaf, subleaf);
}

uint64_t supported_cr4() {
  uint64_t bits = 0;
  for (const Feature& feature : kFeatures) bits |= feature.cr4;
  return bits;
}

uint64_t supported_efer() {
  uint64_t bits = 0;
  for (const Feature& feature : kFeatures) bits |= feature.efer;
  return bits;
}

uint64_t supported_debugctl() {
  constexpr uint64_t kLbr = 1u << 0, kBtf = 1u << 1;
  return kLbr | kBtf;
}

vmx::RegisterRules register_rules() {
  vmx::RegisterRules rules;
  rules.physical_address_width = kPhysicalAddressBits;
  rules.linear_address_width = kLinearAddressBits;
  rules.cr4_writable = supported_cr4();
  rules.efer_writable = supported_efer();
  rules.debugctl_writable = supported_debugctl();
  rules.perf_global_ctrl_writable = PerformanceMonitor::kEnables;
  return rules;
}

vmx::Capabilities offered_capabilities() {
  vmx::Capabilities capabilities = vmx::nestor_capabilities();
  capabilities.registers = register_rules();
  capabilities.preemption_timer_shift = 0;  // it counts as fast as the TSC
  return capabilities;
}

}  // namespace nestor::emu
