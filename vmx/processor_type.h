// SPDX-License-Identifier: GPL-2.0-or-later
//
// The processors that Nestor can be, each a real one; and one of them with features more or less.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "vmx/features.h"

namespace nestor::vmx {

struct ProcessorModel {
  Generation generation;
  std::string_view name;   // as --cpu takes it
  std::string_view brand;  // CPUID.80000002H to 80000004H, at most 47 characters
  uint32_t signature;      // CPUID.1:EAX: family, model, stepping
  uint32_t microcode;      // IA32_BIOS_SIGN_ID[63:32]: newer than any that software rejects
  uint8_t physical_address_bits;
  uint8_t highest_leaf;  // CPUID.0:EAX
  uint8_t ratio;         // of the TSC, 2 GHz, to the bus clock: MSR_PLATFORM_INFO[15:8]
  uint8_t lbr_pairs;     // branches that the LBR stack of the real one holds

  constexpr uint8_t family() const { return signature >> 8 & 0xf; }
  constexpr uint8_t number() const {  // display model
    return static_cast<uint8_t>((signature >> 4 & 0xf) | (signature >> 12 & 0xf0));
  }
  constexpr uint8_t stepping() const { return signature & 0xf; }
};

// In the order of the generations. All have a TSC of 2.0 GHz.
inline constexpr auto kProcessorModels = [] {
  using enum Generation;
  return std::to_array<ProcessorModel>({
      {kWestmere, "Westmere", "Intel(R) Xeon(R) CPU           L5638  @ 2.00GHz", 0x000206c2, 0x1f,
       40, 0xb, 15, 16},
      {kSandyBridge, "SandyBridge", "Intel(R) Xeon(R) CPU E5-2620 0 @ 2.00GHz", 0x000206d7, 0x71a,
       46, 0xd, 20, 16},
      {kIvyBridge, "IvyBridge", "Intel(R) Xeon(R) CPU E5-2640 v2 @ 2.00GHz", 0x000306e4, 0x42e, 46,
       0xd, 20, 16},
      {kHaswell, "Haswell", "Intel(R) Xeon(R) CPU E5-2683 v3 @ 2.00GHz", 0x000306f2, 0x49, 46, 0xd,
       20, 16},
      {kBroadwell, "Broadwell", "Intel(R) Xeon(R) CPU E5-2660 v4 @ 2.00GHz", 0x000406f1, 0x0b000040,
       46, 0xd, 20, 16},
      {kSkylake, "Skylake-Server", "Intel(R) Xeon(R) Gold 6138 CPU @ 2.00GHz", 0x00050654,
       0x02007006, 46, 0x16, 20, 32},
      {kIceLake, "Icelake-Server", "Intel(R) Xeon(R) Gold 6330 CPU @ 2.00GHz", 0x000606a6,
       0x0d000410, 46, 0x16, 20, 32},
      {kSapphireRapids, "SapphireRapids", "Intel(R) Xeon(R) CPU Max 9470C", 0x000806f8, 0x2c000401,
       52, 0x16, 20, 32},
  });
}();
static_assert([] {
  for (size_t i = 0; i < kProcessorModels.size(); ++i)
    if (static_cast<size_t>(kProcessorModels[i].generation) != i) return false;
  return true;
}());

// A processor: a model, and its features, which may be others than the model's.
struct ProcessorType {
  Generation generation = kDefaultGeneration;
  FeatureSet features = features_of(kDefaultGeneration);

  constexpr const ProcessorModel& model() const {
    return kProcessorModels[static_cast<size_t>(generation)];
  }
  constexpr bool has(Feature feature) const { return features.has(feature); }
  constexpr uint8_t linear_address_bits() const {
    return has(Feature::kLa57) ? kLinearAddressBits : kNarrowLinearAddressBits;
  }
  constexpr bool operator==(const ProcessorType&) const = default;
  template <class Archive>
  void fields(Archive& archive) {
    archive(generation, features);
    archive.require(static_cast<size_t>(generation) < kProcessorModels.size());
    if (!archive.ok()) generation = kDefaultGeneration;
  }
};

constexpr ProcessorType processor_of(Generation generation) {
  return {generation, features_of(generation)};
}

}  // namespace nestor::vmx
