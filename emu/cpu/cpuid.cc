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
#include "vmx/features.h"

namespace nestor::emu {
namespace {

constexpr uint32_t kExtended = 0x80000000;

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
     {PerformanceMonitor::kVersion | vmx::kGeneralCounters << 8 |
          PerformanceMonitor::kCounterWidth << 16 | 7 << 24,
      0x78, 0, vmx::kFixedCounters | PerformanceMonitor::kCounterWidth << 5}},
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
    {kExtended + 8, 0, false, {vmx::kPhysicalAddressBits | vmx::kLinearAddressBits << 8, 0, 0, 0}},
};
static_assert(LocalApic::kTimerFrequency == Clock::kFrequency);
static_assert(Clock::kFrequency <= 0xffffffff);

// By vmx::CpuidRegister.
constexpr uint32_t CpuidRegisters::*kRegisters[] = {&CpuidRegisters::eax, &CpuidRegisters::ebx,
                                                    &CpuidRegisters::ecx, &CpuidRegisters::edx};

bool shows(const CpuidState& state, vmx::FeatureShows when) {
  using enum vmx::FeatureShows;
  switch (when) {
    case kAlways:
      return true;
    case kApicEnabled:
      return state.apic_base >> 11 & 1;
    case kMonitorEnabled:
      return state.misc_enable & vmx::misc_enable::kMonitor;
    case kExecuteDisableAllowed:
      return !(state.misc_enable & vmx::misc_enable::kExecuteDisableDisable);
    case kOsxsaveSet:
      return state.osxsave;
    case k64BitMode:
      return state.code_64bit;
    case kSeveralProcessors:
      return state.processors > 1;
  }
  return false;
}

// What tells of a package with several cores; nothing changes for one.
void add_topology(CpuidRegisters& out, unsigned processors, uint32_t leaf, uint32_t subleaf) {
  if (processors == 1) return;
  const auto id_bits = static_cast<uint32_t>(std::bit_width(processors - 1));
  if (leaf == 1) {
    out.ebx |= processors << 16;
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
    for (const vmx::FeatureInfo& feature : vmx::kFeatures) {
      if (feature.leaf == leaf && shows(state, feature.shows)) {
        out.*kRegisters[static_cast<size_t>(feature.reg)] |= 1u << feature.bit;
      }
    }
  }
  switch (leaf) {
    case 0:
      if (state.misc_enable & vmx::misc_enable::kLimitCpuid) out.eax = 2;
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

bool offers(Core& core, vmx::Feature feature) {
  const vmx::FeatureInfo& info = vmx::info_of(feature);
  const CpuidRegisters registers = cpuid(core, info.leaf, 0);
  return registers.*kRegisters[static_cast<size_t>(info.reg)] >> info.bit & 1;
}

}  // namespace nestor::emu
