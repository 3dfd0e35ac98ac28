// SPDX-License-Identifier: GPL-2.0-or-later
//
// The processor that Nestor is: its CPUID feature flags, its widths, its performance counters. What
// its registers can hold follows from these.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "vmx/cpu_state.h"

namespace nestor::vmx {

enum class Feature : uint8_t {
#define NESTOR_FEATURE(enumerator, leaf, reg, bit, shows, cr4_bits, efer_bits) enumerator,
#include "vmx/features.inc"
#undef NESTOR_FEATURE
};

enum class CpuidRegister : uint8_t { kEax, kEbx, kEcx, kEdx };

// When a feature flag shows. All but kAlways are dynamic.
enum class FeatureShows : uint8_t {
  kAlways,
  kApicEnabled,            // IA32_APIC_BASE[11]
  kMonitorEnabled,         // IA32_MISC_ENABLE[18]
  kExecuteDisableAllowed,  // IA32_MISC_ENABLE[34] is 0
  kOsxsaveSet,             // CR4.OSXSAVE
  k64BitMode,          // Intel processors have SYSCALL in 64-bit mode only, and say so there only
  kSeveralProcessors,  // in the package
};

struct FeatureInfo {
  Feature feature;
  uint32_t leaf;  // subleaf 0
  CpuidRegister reg;
  uint8_t bit;
  FeatureShows shows;
  uint64_t cr4, efer;  // the bits of CR4 and IA32_EFER that exist because of it
};

// In the order of the enumerators.
inline constexpr auto kFeatures = [] {
  using enum CpuidRegister;
  using enum FeatureShows;
  return std::to_array<FeatureInfo>({
#define NESTOR_FEATURE(enumerator, leaf, reg, bit, shows, cr4_bits, efer_bits) \
  {Feature::enumerator, leaf, reg, bit, shows, cr4_bits, efer_bits},
#include "vmx/features.inc"
#undef NESTOR_FEATURE
  });
}();

constexpr const FeatureInfo& info_of(Feature feature) {
  return kFeatures[static_cast<size_t>(feature)];
}

// CPUID.80000008H:EAX.
inline constexpr uint8_t kPhysicalAddressBits = 46;
inline constexpr uint8_t kLinearAddressBits = 57;

// Bits 63:`width`-1 of the linear address are identical. `width`: 1 to 64.
constexpr bool is_canonical(uint64_t linear, unsigned width) {
  const unsigned unused = 64 - width;
  return static_cast<uint64_t>(static_cast<int64_t>(linear << unused) >> unused) == linear;
}

// The performance counters (CPUID.0AH), and the bits of IA32_PERF_GLOBAL_CTRL that enable one.
inline constexpr unsigned kGeneralCounters = 4, kFixedCounters = 3;
inline constexpr uint64_t kCounterEnables =
    ((1ull << kGeneralCounters) - 1) | ((1ull << kFixedCounters) - 1) << 32;

// The bits that software may set; all others are reserved.
inline constexpr uint64_t kSupportedCr4 = [] {
  uint64_t bits = 0;
  for (const FeatureInfo& info : kFeatures) bits |= info.cr4;
  return bits;
}();
inline constexpr uint64_t kSupportedEfer = [] {
  uint64_t bits = 0;
  for (const FeatureInfo& info : kFeatures) bits |= info.efer;
  return bits;
}();
inline constexpr uint64_t kSupportedDebugctl = debugctl::kLbr | debugctl::kBtf;

}  // namespace nestor::vmx
