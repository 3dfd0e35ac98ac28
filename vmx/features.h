// SPDX-License-Identifier: GPL-2.0-or-later
//
// Features of processors by name: the flags that CPUID shows, and what VMX offers. What registers
// can hold follows from these.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "vmx/cpu_state.h"

namespace nestor::vmx {

// The models of processors by their age. A model has every feature of the older ones.
enum class Generation : uint8_t {
  kWestmere,
  kSandyBridge,
  kIvyBridge,
  kHaswell,
  kBroadwell,
  kSkylake,
  kIceLake,
  kSapphireRapids,
};
inline constexpr Generation kDefaultGeneration = Generation::kIceLake;

enum class Feature : uint8_t {
#define NESTOR_FEATURE(enumerator, ...) enumerator,
#define NESTOR_VMX_FEATURE(enumerator, ...) enumerator,
#include "vmx/features.inc"
  kNone,
};
inline constexpr size_t kFeatureCount = static_cast<size_t>(Feature::kNone);

// A feature as users name it.
struct NamedFeature {
  std::string_view name;
  Generation since;  // the first model that has it
  Feature needs;     // is not there without this one; kNone: needs no other
};

// In the order of the enumerators.
inline constexpr auto kNamedFeatures = [] {
  using enum Generation;
  using enum Feature;
  return std::to_array<NamedFeature>({
#define NESTOR_FEATURE(enumerator, name, since, needs, ...) {name, since, needs},
#define NESTOR_VMX_FEATURE(enumerator, name, since, needs, ...) {name, since, needs},
#include "vmx/features.inc"
  });
}();

constexpr const NamedFeature& named(Feature feature) {
  return kNamedFeatures[static_cast<size_t>(feature)];
}

class FeatureSet {
 public:
  constexpr bool has(Feature feature) const {
    return (words_[static_cast<size_t>(feature) / 64] >> static_cast<size_t>(feature) % 64 & 1) !=
           0;
  }
  constexpr void add(Feature feature) {
    words_[static_cast<size_t>(feature) / 64] |= uint64_t{1} << static_cast<size_t>(feature) % 64;
  }
  // And all that need it.
  constexpr void remove(Feature feature) {
    words_[static_cast<size_t>(feature) / 64] &=
        ~(uint64_t{1} << static_cast<size_t>(feature) % 64);
    for (size_t i = 0; i < kFeatureCount; ++i) {
      const auto other = static_cast<Feature>(i);
      if (named(other).needs == feature && has(other)) remove(other);
    }
  }
  constexpr bool operator==(const FeatureSet&) const = default;
  template <class Archive>
  void fields(Archive& archive) {
    archive(words_);
  }

 private:
  std::array<uint64_t, kFeatureCount / 64 + 1> words_{};
};

constexpr FeatureSet features_of(Generation generation) {
  FeatureSet features;
  for (size_t i = 0; i < kFeatureCount; ++i) {
    const auto feature = static_cast<Feature>(i);
    if (named(feature).since <= generation) features.add(feature);
  }
  return features;
}

enum class CpuidRegister : uint8_t { kEax, kEbx, kEcx, kEdx };

// When a feature flag shows. All but kAlways are dynamic.
enum class FeatureShows : uint8_t {
  kAlways,
  kApicEnabled,            // IA32_APIC_BASE[11]
  kMonitorEnabled,         // IA32_MISC_ENABLE[18]
  kExecuteDisableAllowed,  // IA32_MISC_ENABLE[34] is 0
  kOsxsaveSet,             // CR4.OSXSAVE
  kPkeSet,                 // CR4.PKE
  k64BitMode,          // Intel processors have SYSCALL in 64-bit mode only, and say so there only
  kSeveralProcessors,  // in the package
};

// A feature flag of CPUID.
struct FeatureInfo {
  Feature feature;
  uint32_t leaf;
  CpuidRegister reg;
  uint8_t bit;
  FeatureShows shows;
  uint64_t cr4, efer;  // the bits of CR4 and IA32_EFER that exist because of it

  constexpr uint32_t subleaf() const { return leaf == 0xd ? 1 : 0; }
};

// In the order of the enumerators, of which they are the first.
inline constexpr auto kFeatures = [] {
  using enum CpuidRegister;
  using enum FeatureShows;
  return std::to_array<FeatureInfo>({
#define NESTOR_FEATURE(enumerator, name, since, needs, leaf, reg, bit, shows, cr4_bits, efer_bits) \
  {Feature::enumerator, leaf, reg, bit, shows, cr4_bits, efer_bits},
#include "vmx/features.inc"
  });
}();

// Of a flag of CPUID.
constexpr const FeatureInfo& info_of(Feature feature) {
  return kFeatures[static_cast<size_t>(feature)];
}

// Widths of addresses on most models: CPUID.80000008H:EAX. A linear address is wide with LA57.
inline constexpr uint8_t kPhysicalAddressBits = 46;
inline constexpr uint8_t kLinearAddressBits = 57, kNarrowLinearAddressBits = 48;

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
constexpr uint64_t cr4_bits(const FeatureSet& features) {
  uint64_t bits = 0;
  for (const FeatureInfo& info : kFeatures)
    if (features.has(info.feature)) bits |= info.cr4;
  return bits;
}
constexpr uint64_t efer_bits(const FeatureSet& features) {
  uint64_t bits = 0;
  for (const FeatureInfo& info : kFeatures)
    if (features.has(info.feature)) bits |= info.efer;
  return bits;
}
// Those of the default model.
inline constexpr uint64_t kSupportedCr4 = cr4_bits(features_of(kDefaultGeneration));
inline constexpr uint64_t kSupportedEfer = efer_bits(features_of(kDefaultGeneration));
inline constexpr uint64_t kSupportedDebugctl = debugctl::kLbr | debugctl::kBtf;

}  // namespace nestor::vmx
