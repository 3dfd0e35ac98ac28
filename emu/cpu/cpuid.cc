// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/cpu/cpuid.h"

#include <algorithm>
#include <array>
#include <bit>
#include <string_view>

#include "emu/cpu/core.h"
#include "emu/cpu/msr_storage.h"
#include "emu/cpu/performance_monitor.h"
#include "emu/cpu/xsave_area.h"
#include "emu/devices/apic/local_apic.h"
#include "emu/time/clock.h"
#include "emu/timing/processor.h"
#include "vmx/cpu_state.h"
#include "vmx/features.h"

namespace nestor::emu {
namespace {

constexpr uint32_t kExtended = 0x80000000;

constexpr std::string_view kVendor = "GenuineIntel";
constexpr uint32_t kHighestExtended = kExtended + 8;

constexpr uint32_t text(std::string_view string, size_t position) {
  uint32_t word = 0;
  for (size_t i = 0; i < 4 && position + i < string.size(); ++i) {
    word |= uint32_t{static_cast<uint8_t>(string[position + i])} << (8 * i);
  }
  return word;
}

constexpr CpuidRegisters brand(std::string_view brand, size_t position) {
  return {text(brand, position), text(brand, position + 4), text(brand, position + 8),
          text(brand, position + 12)};
}

// Leaf 4, one private cache: `type` 1 data, 2 instruction, 3 unified.
constexpr CpuidRegisters cache(uint32_t type, uint32_t level, uint32_t ways, uint32_t sets) {
  constexpr uint32_t kSelfInitializing = 1u << 8;
  return {type | level << 5 | kSelfInitializing, (kLineSize - 1) | (ways - 1) << 22, sets - 1, 0};
}

// What is neither a feature flag nor the model's. A leaf without `subleaf_matters` answers alike
// for each of them.
struct Leaf {
  uint32_t leaf, subleaf;
  bool subleaf_matters;
  CpuidRegisters value;
};

constexpr auto kMegahertz = static_cast<uint32_t>(Clock::kFrequency / 1'000'000);

// Leaf 0AH: EAX[31:24] is the length of the vector of architectural events in EBX, where a bit says
// that its event is not available. The first three are cycles, instructions and reference cycles.
constexpr uint32_t kEventsOfClock = 3u << 24, kEventsOfCore = 7u << 24, kCacheEvents = 3u << 3;

constexpr Leaf kLeaves[] = {
    {0, 0, false, {0, text(kVendor, 0), text(kVendor, 8), text(kVendor, 4)}},
    {1, 0, false, {0, kLineSize / 8 << 8, 0, 0}},
    {2, 0, false, {0xff01, 0, 0, 0}},  // the caches are in leaf 4
    {4, 0, true, cache(1, 1, 8, 64)},
    {4, 1, true, cache(2, 1, 8, 64)},
    {4, 2, true, cache(3, 2, 16, 1024)},
    // MONITOR range; the extensions are enumerated, masked interrupts may end MWAIT; one sub-state
    // of C1.
    {5, 0, false, {kLineSize, kLineSize, 3, 0x10}},
    // What no model of the core counts is beyond the vector.
    {0xa,
     0,
     false,
     {PerformanceMonitor::kVersion | vmx::kGeneralCounters << 8 |
          PerformanceMonitor::kCounterWidth << 16 | kEventsOfClock,
      0, 0, vmx::kFixedCounters | PerformanceMonitor::kCounterWidth << 5}},
    // One thread a core: EBX processors at the level, ECX[15:8] the level's type. How many cores
    // there are, topology() says.
    {0xb, 0, true, {0, 1, 0x100, 0}},
    {0xb, 1, true, {0, 1, 0x201, 0}},
    // The core crystal clock, which is also the APIC timer's, runs at the frequency of the TSC.
    {0x15, 0, false, {1, 1, static_cast<uint32_t>(LocalApic::kTimerFrequency), 0}},
    {0x16, 0, false, {kMegahertz, kMegahertz, 100, 0}},
    {kExtended, 0, false, {kHighestExtended, 0, 0, 0}},
    // The second-level cache: its size in KiB, 16 ways.
    {kExtended + 6, 0, false, {0, 0, 1024 << 16 | 8 << 12 | kLineSize, 0}},
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
    case kPkeSet:
      return state.pke;
    case k64BitMode:
      return state.code_64bit;
    case kSeveralProcessors:
      return state.processors > 1;
  }
  return false;
}

// Leaf 0DH. IA32_XSS has no bit that can be set.
void add_extended_state(CpuidRegisters& out, const CpuidState& state, uint32_t subleaf) {
  if (!state.type.has(vmx::Feature::kXsave)) return;
  const uint64_t components = extended_components(state.type);
  if (subleaf == 0) {
    out.eax = static_cast<uint32_t>(components);
    out.ebx = xsave_area_size(state.xcr0, false);
    out.ecx = xsave_area_size(components, false);
  } else if (subleaf == 1) {
    if (state.type.has(vmx::Feature::kXsavec)) out.ebx = xsave_area_size(state.xcr0, true);
  } else if (subleaf == kPkruNumber && (components & kPkruComponent) != 0) {
    out.eax = kPkruSize;
    out.ebx = kPkruOffset;
  }
}

// The caches as they are modelled; in leaf 80000006H the second level.
CpuidRegisters modelled_cache(const CpuidState& state, uint32_t leaf, uint32_t subleaf) {
  const timing::Processor* found = timing::find_processor(state.type.generation);
  if (found == nullptr) found = timing::find_processor(timing::kStandIn);
  const timing::Processor::Memory& memory = found->memory;
  const timing::CacheSize sizes[] = {memory.first_cache, memory.code_cache, memory.second_cache,
                                     memory.third_cache};
  const uint32_t types[] = {1, 2, 3, 3}, levels[] = {1, 1, 2, 3};
  if (leaf == 4 && subleaf < std::size(sizes))
    return cache(types[subleaf], levels[subleaf], sizes[subleaf].ways, sizes[subleaf].sets);
  if (leaf == 4) return {};
  const uint32_t kibibytes = memory.second_cache.ways * memory.second_cache.sets * kLineSize / 1024;
  // 6: 8 ways, 8: 16 ways, FH: as leaf 4 says.
  const uint32_t ways = memory.second_cache.ways == 8 ? 6 : memory.second_cache.ways == 16 ? 8 : 15;
  return {0, 0, kibibytes << 16 | ways << 12 | kLineSize, 0};
}

// What the model says, and what the state of the processor does.
void add_state(CpuidRegisters& out, const CpuidState& state, uint32_t leaf, uint32_t subleaf) {
  const vmx::ProcessorModel& model = state.type.model();
  switch (leaf) {
    case 0:
      out.eax = state.misc_enable & vmx::misc_enable::kLimitCpuid ? 2 : model.highest_leaf;
      break;
    case 1:
      out.eax = model.signature;
      out.ebx |= (state.apic_id & 0xff) << 24;
      break;
    case 0xa:
      if (!state.counts_core_events) break;
      out.eax = (out.eax & 0xff'ffff) | kEventsOfCore;
      out.ebx = state.counts_caches ? 0 : kCacheEvents;
      break;
    case 4:
    case kExtended + 6:
      if (state.counts_caches) out = modelled_cache(state, leaf, subleaf);
      break;
    case 0xb:
      out.edx = state.apic_id;
      if (subleaf > 1) out.ecx = subleaf & 0xff;  // a level of type 0: there are no more
      break;
    case 0xd:
      add_extended_state(out, state, subleaf);
      break;
    case kExtended + 2:
    case kExtended + 3:
    case kExtended + 4:
      out = brand(model.brand, (leaf - kExtended - 2) * 16);
      break;
    case kExtended + 8:
      out.eax = model.physical_address_bits | state.type.linear_address_bits() << 8;
      break;
    default:
      break;
  }
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
  const uint32_t highest = state.type.model().highest_leaf;
  const bool exists = leaf <= highest || (leaf >= kExtended && leaf <= kHighestExtended);
  if (!exists) leaf = highest;

  CpuidRegisters out;
  for (const Leaf& row : kLeaves) {
    if (row.leaf == leaf && (!row.subleaf_matters || row.subleaf == subleaf)) out = row.value;
  }
  const bool subleaf_matters = leaf == 7 || leaf == 0xd;
  for (const vmx::FeatureInfo& flag : vmx::kFeatures) {
    if (flag.leaf != leaf || (subleaf_matters && flag.subleaf() != subleaf)) continue;
    if (!state.type.has(flag.feature) || !shows(state, flag.shows)) continue;
    out.*kRegisters[static_cast<size_t>(flag.reg)] |= 1u << flag.bit;
  }
  add_state(out, state, leaf, subleaf);
  add_topology(out, state.processors, leaf, subleaf);
  return out;
}

namespace {

CpuidState cpuid_state(Core& core) {
  const vmx::CpuState& state = core.state();
  return {core.apic().base_msr(),
          state.misc_enable,
          core.apic().initial_id(),
          state.code_64bit(),
          core.processors(),
          (state.cr4 & vmx::cr4::kOsxsave) != 0,
          (state.cr4 & vmx::cr4::kPke) != 0,
          core.msr_storage().xcr0,
          core.type()};
}

}  // namespace

CpuidRegisters cpuid(Core& core, uint32_t leaf, uint32_t subleaf) {
  CpuidState state = cpuid_state(core);
  if (leaf == 4 || leaf == 0xa || leaf == kExtended + 6) {
    const PerformanceMonitor& counters = core.performance_monitor();
    state.counts_core_events = counters.counts_core_events();
    state.counts_caches = counters.counts_cache_events();
  }
  return cpuid(state, leaf, subleaf);
}

bool offers(Core& core, vmx::Feature feature) {
  return core.type().has(feature) && shows(cpuid_state(core), vmx::info_of(feature).shows);
}

}  // namespace nestor::emu
