// SPDX-License-Identifier: GPL-2.0-or-later
//
// The data of a virtual-machine control structure, and its form in memory.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>

#include "vmx/capabilities.h"
#include "vmx/fields.h"

namespace nestor::vmx {

inline constexpr size_t kVmcsRegionSize = 4096;
using VmcsRegion = std::span<uint8_t, kVmcsRegionSize>;
using ConstVmcsRegion = std::span<const uint8_t, kVmcsRegionSize>;

// "Format of the VMCS Region": bits 30:0 of the first 4 bytes, bit 31 apart; then the VMX-abort
// indicator.
inline constexpr uint32_t kShadowVmcsIndicator = 1u << 31;
inline constexpr size_t kVmxAbortIndicatorOffset = 4;

class Vmcs {
 public:
  enum class LaunchState : uint32_t { kClear = 0, kLaunched = 1 };

  uint32_t revision_id = 0;      // 31 bits
  bool shadow = false;           // shadow-VMCS indicator
  uint32_t abort_indicator = 0;  // VMX-abort indicator
  LaunchState launch_state = LaunchState::kClear;
  // VMCLEAR has initialized the region: what is in it is not what happened to be there.
  bool cleared = true;

  // The value, zero-extended.
  uint64_t read(Field field) const { return values_[slot_of(field)]; }
  uint64_t operator[](Field field) const { return read(field); }
  // Bits beyond the field's width are dropped.
  void write(Field field, uint64_t value) { values_[slot_of(field)] = value & value_mask(field); }
  template <Control C>
  bool has(Field controls, C control) const {
    return is_set(read(controls), control);
  }

  // VMREAD: std::nullopt: the processor has no such field.
  std::optional<uint64_t> vmread(uint32_t encoding, const Capabilities&) const;
  enum class WriteResult { kOk, kUnsupported, kReadOnly };
  // VMWRITE: the high half of a 64-bit field, or all of it (with a 32-bit operand the caller passes
  // the value zero-extended, as the instruction does).
  WriteResult vmwrite(uint32_t encoding, uint64_t value, const Capabilities&);

  // The effective controls: secondary and tertiary ones are 0 unless they are activated.
  bool has(PinBased control) const { return has(Field::kPinBasedControls, control); }
  bool has(PrimaryProcBased control) const {
    return has(Field::kPrimaryProcBasedControls, control);
  }
  bool has(SecondaryProcBased control) const {
    return has(PrimaryProcBased::kActivateSecondaryControls) &&
           has(Field::kSecondaryProcBasedControls, control);
  }
  bool has(TertiaryProcBased control) const {
    return has(PrimaryProcBased::kActivateTertiaryControls) &&
           has(Field::kTertiaryProcBasedControls, control);
  }
  bool has(VmExitControl control) const { return has(Field::kVmExitControls, control); }
  bool has(SecondaryVmExitControl control) const {
    return has(VmExitControl::kActivateSecondaryControls) &&
           has(Field::kSecondaryVmExitControls, control);
  }
  bool has(VmEntryControl control) const { return has(Field::kVmEntryControls, control); }
  bool has(VmFunction control) const {
    return has(SecondaryProcBased::kEnableVmFunctions) && has(Field::kVmFunctionControls, control);
  }

  // The whole region, revision identifier and indicators included. Position-independent: a copy of
  // the region is a copy of the VMCS.
  void store(VmcsRegion region) const;
  // Any content is accepted; bits beyond a field's width are dropped.
  void load(ConstVmcsRegion region);

  bool operator==(const Vmcs&) const = default;

  // Saved state has the region.
  template <class Archive>
  void fields(Archive& archive) {
    std::array<uint8_t, kVmcsRegionSize> region{};
    store(region);
    archive.bytes(region);
    load(region);
  }

 private:
  std::array<uint64_t, kFieldCount> values_{};
};

}  // namespace nestor::vmx
