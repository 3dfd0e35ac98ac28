// SPDX-License-Identifier: GPL-2.0-or-later
#include "vmx/capabilities.h"

#include <algorithm>
#include <type_traits>

#include "vmx/msr_index.h"
#include "vmx/vmcs.h"

namespace nestor::vmx {
namespace {

constexpr uint64_t kMemoryTypeWriteBack = 6;

uint64_t basic_msr(const Capabilities& c) {
  return c.revision_id | uint64_t{kVmcsRegionSize} << 32 | uint64_t{c.addresses_32bit} << 48 |
         kMemoryTypeWriteBack << 50 | uint64_t{c.ins_outs_information} << 54 |
         uint64_t{1} << 55 |  // the MSRs of the TRUE controls exist
         uint64_t{c.error_code_for_any_vector} << 56;
}

uint64_t misc_msr(const Capabilities& c) {
  return c.misc | c.preemption_timer_shift | uint64_t{c.cr3_target_count} << 16 |
         uint64_t{c.msr_list_size / 512u - 1} << 25;
}

uint64_t vmcs_enum_msr(const Capabilities& c) {
  uint64_t highest = 0;
  for (const FieldInfo& info : kFields)
    if (c.has_field(info.field)) highest = std::max<uint64_t>(highest, index_of(info.field));
  return highest << 1;
}

// A control, or the bits of a capability MSR.
template <class Bit>
constexpr auto mask_of(Bit bit) {
  if constexpr (std::is_enum_v<Bit>) {
    return mask(bit);
  } else {
    return bit;
  }
}

std::optional<uint64_t> if_any(uint64_t condition, uint64_t value) {
  return condition != 0 ? std::optional(value) : std::nullopt;
}

}  // namespace

std::optional<uint64_t> Capabilities::msr(uint32_t index) const {
  switch (index) {
    case kIa32VmxBasic:
      return basic_msr(*this);
    case kIa32VmxPinbasedCtls:
      return pin.msr();
    case kIa32VmxProcbasedCtls:
      return primary.msr();
    case kIa32VmxExitCtls:
      return exit.msr();
    case kIa32VmxEntryCtls:
      return entry.msr();
    case kIa32VmxMisc:
      return misc_msr(*this);
    case kIa32VmxCr0Fixed0:
      return cr0_fixed0;
    case kIa32VmxCr0Fixed1:
      return cr0_fixed1;
    case kIa32VmxCr4Fixed0:
      return cr4_fixed0;
    case kIa32VmxCr4Fixed1:
      return cr4_fixed1();
    case kIa32VmxVmcsEnum:
      return vmcs_enum_msr(*this);
    case kIa32VmxProcbasedCtls2:
      return if_any(offers(PrimaryProcBased::kActivateSecondaryControls),
                    uint64_t{secondary} << 32);
    case kIa32VmxEptVpidCap:
      return if_any(
          offers(SecondaryProcBased::kEnableEpt) | offers(SecondaryProcBased::kEnableVpid),
          ept_vpid);
    case kIa32VmxTruePinbasedCtls:
      return pin.true_msr();
    case kIa32VmxTrueProcbasedCtls:
      return primary.true_msr();
    case kIa32VmxTrueExitCtls:
      return exit.true_msr();
    case kIa32VmxTrueEntryCtls:
      return entry.true_msr();
    case kIa32VmxVmfunc:
      return if_any(offers(SecondaryProcBased::kEnableVmFunctions), vm_functions);
    case kIa32VmxProcbasedCtls3:
      return if_any(offers(PrimaryProcBased::kActivateTertiaryControls), tertiary);
    case kIa32VmxExitCtls2:
      return if_any(offers(VmExitControl::kActivateSecondaryControls), secondary_exit);
    default:
      return std::nullopt;
  }
}

uint64_t Capabilities::allowed1(ControlGroup group) const {
  switch (group) {
    case ControlGroup::kPinBased:
      return pin.may_be_one();
    case ControlGroup::kPrimaryProcBased:
      return primary.may_be_one();
    case ControlGroup::kSecondaryProcBased:
      return secondary;
    case ControlGroup::kTertiaryProcBased:
      return tertiary;
    case ControlGroup::kVmExit:
      return exit.may_be_one();
    case ControlGroup::kSecondaryVmExit:
      return secondary_exit;
    case ControlGroup::kVmEntry:
      return entry.may_be_one();
    case ControlGroup::kVmFunction:
      return vm_functions;
  }
  return 0;
}

uint64_t Capabilities::allowed0(ControlGroup group) const {
  switch (group) {
    case ControlGroup::kPinBased:
      return pin.must_be_one();
    case ControlGroup::kPrimaryProcBased:
      return primary.must_be_one();
    case ControlGroup::kVmExit:
      return exit.must_be_one();
    case ControlGroup::kVmEntry:
      return entry.must_be_one();
    default:
      return 0;
  }
}

bool Capabilities::has_field(Field field) const {
  const FieldCondition& condition = info_of(field).condition;
  return condition.always() || meets(condition.first) || meets(condition.second);
}

Capabilities capabilities_of(const ProcessorType& processor) {
  Capabilities c;
  c.revision_id = 0x4e455354;  // "NEST"; changes with the layout of the VMCS region
  c.pin.default1 = kPinDefault1;
  c.primary.default1 = kPrimaryDefault1;
  c.primary.flexible = PrimaryProcBased::kCr3LoadExiting | PrimaryProcBased::kCr3StoreExiting;
  c.exit.default1 = kExitDefault1;
  c.exit.flexible = mask(VmExitControl::kSaveDebugControls);
  c.entry.default1 = kEntryDefault1;
  c.entry.flexible = mask(VmEntryControl::kLoadDebugControls);
  c.preemption_timer_shift = 5;  // as all processors have it
#define NESTOR_VMX_FEATURE(enumerator, name, since, needs, part, bit) \
  if (processor.has(Feature::enumerator)) c.part |= mask_of(bit);
#include "vmx/features.inc"
  if (!processor.has(Feature::kVmxSecondaryControls)) c.secondary = 0;

  c.registers.physical_address_width = processor.model().physical_address_bits;
  c.registers.linear_address_width = processor.linear_address_bits();
  c.registers.cr4_writable = cr4_bits(processor.features);
  c.registers.efer_writable = efer_bits(processor.features);
  return c;
}

}  // namespace nestor::vmx
