// SPDX-License-Identifier: GPL-2.0-or-later
//
// What the processor's VMX offers: the one description from which the VMX capability MSRs, the
// existence of VMCS fields and the VM-entry checks follow ("VMX Capability Reporting Facility").
#pragma once

#include <array>
#include <cstdint>
#include <optional>

#include "vmx/controls.h"
#include "vmx/features.h"
#include "vmx/fields.h"
#include "vmx/processor_type.h"

namespace nestor::vmx {

// IA32_VMX_EPT_VPID_CAP.
namespace ept_vpid_cap {
inline constexpr uint64_t kExecuteOnly = 1ull << 0, kWalkLength4 = 1ull << 6,
                          kWalkLength5 = 1ull << 7, kUncacheable = 1ull << 8,
                          kWriteBack = 1ull << 14, kPages2M = 1ull << 16, kPages1G = 1ull << 17,
                          kInvept = 1ull << 20, kAccessedDirty = 1ull << 21,
                          kAdvancedExitInformation = 1ull << 22,
                          kSupervisorShadowStack = 1ull << 23, kInveptSingle = 1ull << 25,
                          kInveptAll = 1ull << 26, kInvvpid = 1ull << 32,
                          kInvvpidAddress = 1ull << 40, kInvvpidSingle = 1ull << 41,
                          kInvvpidAll = 1ull << 42, kInvvpidSingleRetainingGlobals = 1ull << 43;
}  // namespace ept_vpid_cap

// IA32_VMX_MISC, its single bits.
namespace vmx_misc {
inline constexpr uint64_t kStoresLma = 1ull << 5, kHlt = 1ull << 6, kShutdown = 1ull << 7,
                          kWaitForSipi = 1ull << 8, kIntelPtInVmx = 1ull << 14,
                          kVmwriteAnyField = 1ull << 29, kInjectionLength0 = 1ull << 30;
}  // namespace vmx_misc

// A 32-bit control field of which some bits must be 1.
struct ControlRange {
  uint32_t default1 = 0;  // the class of bits that the MSR without TRUE always reports as 1
  uint32_t flexible = 0;  // those bits of default1 that may nevertheless be 0
  uint32_t offered = 0;   // the further bits that may be 1

  constexpr uint32_t must_be_one() const { return default1 & ~flexible; }
  constexpr uint32_t may_be_one() const { return default1 | offered; }
  constexpr uint64_t msr() const { return uint64_t{may_be_one()} << 32 | default1; }
  constexpr uint64_t true_msr() const { return uint64_t{may_be_one()} << 32 | must_be_one(); }
};

// Bits that a register can hold, and features that VM-entry checks ask for; unless set otherwise,
// those of the default processor.
struct RegisterRules {
  uint8_t physical_address_width = kPhysicalAddressBits;  // 36 to 52
  uint8_t linear_address_width = kLinearAddressBits;      // 48 or 57
  uint64_t cr4_writable = kSupportedCr4;                  // the bits of CR4 that may be 1
  uint64_t efer_writable = kSupportedEfer;  // the bits of IA32_EFER that may be 1, LMA included
  uint64_t debugctl_writable = kSupportedDebugctl;
  uint64_t perf_global_ctrl_writable = kCounterEnables;
  uint64_t rtit_ctl_writable = 0;
  uint64_t lbr_ctl_writable = 0;
  uint64_t s_cet_writable = 0;
  uint64_t bndcfgs_writable = 0;
  bool sgx = false, rtm = false;

  constexpr bool physical(uint64_t address) const { return address >> physical_address_width == 0; }
  constexpr bool canonical(uint64_t address) const {
    return is_canonical(address, linear_address_width);
  }
  // Bits 63:N are identical; bit N-1 is free.
  constexpr bool nearly_canonical(uint64_t address) const {
    if (linear_address_width >= 64) return true;
    const uint64_t high = address >> linear_address_width;
    return high == 0 || high == ~uint64_t{0} >> linear_address_width;
  }
};

struct Capabilities {
  uint32_t revision_id = 0;                // VMCS revision identifier, 31 bits
  bool addresses_32bit = false;            // IA32_VMX_BASIC[48]
  bool ins_outs_information = true;        // IA32_VMX_BASIC[54]
  bool error_code_for_any_vector = false;  // IA32_VMX_BASIC[56]

  ControlRange pin, primary, exit, entry;
  uint32_t secondary = 0;  // the bits that may be 1; none must
  uint64_t tertiary = 0;
  uint64_t secondary_exit = 0;
  uint64_t vm_functions = 0;

  uint64_t ept_vpid = 0;               // IA32_VMX_EPT_VPID_CAP
  uint64_t misc = 0;                   // IA32_VMX_MISC, the bits of vmx_misc
  uint8_t preemption_timer_shift = 0;  // the timer counts when this bit of the TSC changes; 0 to 31
  uint8_t cr3_target_count = 4;        // at most 4
  uint16_t msr_list_size = 512;        // recommended maximum; a multiple of 512, 512 to 4096
  uint64_t cr0_fixed0 = 0x80000021;    // PG, NE, PE must be 1
  uint64_t cr0_fixed1 = 0xffffffff;
  uint64_t cr4_fixed0 = 0x2000;  // VMXE must be 1

  RegisterRules registers;

  // The value of a VMX capability MSR; std::nullopt: not one, or it does not exist (RDMSR faults).
  std::optional<uint64_t> msr(uint32_t index) const;

  // The bits of the group that may be 1, and that must be.
  uint64_t allowed1(ControlGroup group) const;
  uint64_t allowed0(ControlGroup group) const;  // secondary and later groups: 0
  // Can the control be 1?
  template <Control C>
  bool offers(C control) const {
    return (allowed1(ControlTraits<C>::kGroup) & mask(control)) != 0;
  }
  bool meets(const ControlRequirement& requirement) const {
    return (allowed1(requirement.group) & requirement.any_of) != 0;
  }
  bool has_field(Field field) const;
  // Does VMWRITE accept it? (VM-exit information fields unless IA32_VMX_MISC[29].)
  bool field_writable(Field field) const {
    return type_of(field) != FieldType::kVmExitInformation || (misc & vmx_misc::kVmwriteAnyField);
  }
  bool has_misc(uint64_t bit) const { return (misc & bit) != 0; }
  bool has_ept_vpid(uint64_t bit) const { return (ept_vpid & bit) != 0; }

  // CR0 and CR4 in VMX operation ("Restrictions on VMX Operation").
  uint64_t cr4_fixed1() const { return registers.cr4_writable; }
  // Bits of `value` that are 0 but must be 1, or 1 but must be 0.
  uint64_t cr0_violations(uint64_t value) const {
    return (~value & cr0_fixed0) | (value & ~cr0_fixed1);
  }
  uint64_t cr4_violations(uint64_t value) const {
    return (~value & cr4_fixed0) | (value & ~cr4_fixed1());
  }
};

// The classes of default1 bits, the same on every processor.
inline constexpr uint32_t kPinDefault1 = 0x00000016;
inline constexpr uint32_t kPrimaryDefault1 = 0x0401e172;
inline constexpr uint32_t kExitDefault1 = 0x00036dff;
inline constexpr uint32_t kEntryDefault1 = 0x000011ff;

// The VMX of a processor: what is implemented of it, and no more.
Capabilities capabilities_of(const ProcessorType& processor);
// Of the one that Nestor is where nothing else is asked for.
inline Capabilities nestor_capabilities() { return capabilities_of(ProcessorType{}); }

}  // namespace nestor::vmx
