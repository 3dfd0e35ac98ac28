// SPDX-License-Identifier: GPL-2.0-or-later
//
// A VMCS that passes every VM-entry check on a processor that offers every control, to be broken in
// one place at a time.
#pragma once

#include <algorithm>
#include <cstring>
#include <optional>
#include <string>
#include <vector>

#include "vmx/checks/entry_checks.h"
#include "vmx/cpu_state.h"

namespace nestor::vmx {

class TestMemory : public MemoryReader {
 public:
  bool read(ept::PhysicalAddress address, std::span<uint8_t> out) const override {
    const bool inside =
        address.value < bytes_.size() && out.size() <= bytes_.size() - address.value;
    if (inside) {
      std::copy_n(bytes_.begin() + static_cast<ptrdiff_t>(address.value), out.size(), out.begin());
    } else {
      std::fill(out.begin(), out.end(), uint8_t{0xff});
    }
    return inside;
  }
  template <typename T>
  void write(uint64_t address, T value) {
    std::memcpy(&bytes_.at(address), &value, sizeof value);
  }

 private:
  std::vector<uint8_t> bytes_ = std::vector<uint8_t>(0x10000);
};

inline uint64_t every_control(ControlGroup group) {
  uint64_t all = 0;
  for (const ControlName& control : control_names(group)) all |= control.mask;
  return all;
}

inline Capabilities every_capability() {
  Capabilities c = nestor_capabilities();
  c.pin.offered = static_cast<uint32_t>(every_control(ControlGroup::kPinBased));
  c.primary.offered = static_cast<uint32_t>(every_control(ControlGroup::kPrimaryProcBased));
  c.secondary = static_cast<uint32_t>(every_control(ControlGroup::kSecondaryProcBased));
  c.tertiary = every_control(ControlGroup::kTertiaryProcBased);
  c.exit.offered = static_cast<uint32_t>(every_control(ControlGroup::kVmExit));
  c.secondary_exit = every_control(ControlGroup::kSecondaryVmExit);
  c.entry.offered = static_cast<uint32_t>(every_control(ControlGroup::kVmEntry));
  c.vm_functions = every_control(ControlGroup::kVmFunction);
  c.misc |= vmx_misc::kHlt | vmx_misc::kShutdown | vmx_misc::kWaitForSipi;
  c.registers.physical_address_width = 40;
  c.registers.linear_address_width = 48;
  c.registers.cr4_writable = 0xffffff & ~uint64_t{1u << 15 | 1u << 19};
  c.registers.rtit_ctl_writable = 0xff;
  c.registers.lbr_ctl_writable = 0xff;
  c.registers.s_cet_writable = ~uint64_t{0x3c0};
  c.registers.bndcfgs_writable = ~uint64_t{0xffc};
  c.registers.sgx = c.registers.rtm = true;
  return c;
}

struct Machine {
  static constexpr uint64_t kPat = 0x0007040600070406;
  static constexpr uint64_t kNonCanonical = 0x0000800000000000;
  static constexpr uint64_t kBeyondWidth = uint64_t{1} << 45;
  static constexpr uint64_t kLastPage = (uint64_t{1} << 40) - 0x1000;
  static constexpr uint32_t kValid = 1u << 31;

  Capabilities capabilities = every_capability();
  Vmcs vmcs;
  TestMemory memory;
  std::optional<ept::PhysicalAddress> current_vmcs = ept::PhysicalAddress{0x1000};
  bool long_mode = true, in_smm = false, intel_pt_on = false;

  Machine() {
    set(Field::kPinBasedControls, capabilities.pin.must_be_one());
    set(Field::kPrimaryProcBasedControls, capabilities.primary.must_be_one());
    set(Field::kVmExitControls, capabilities.exit.must_be_one());
    set(Field::kVmEntryControls, capabilities.entry.must_be_one());
    on(PrimaryProcBased::kActivateSecondaryControls);
    on(PrimaryProcBased::kActivateTertiaryControls);
    on(VmExitControl::kActivateSecondaryControls);
    on(VmExitControl::kHostAddressSpaceSize);
    on(VmEntryControl::kIa32eModeGuest);

    const uint64_t cr0 = cr0::kPe | cr0::kNe | cr0::kWp | cr0::kPg;
    const uint64_t cr4 = cr4::kPae | cr4::kVmxe;
    set(Field::kHostCr0, cr0);
    set(Field::kHostCr4, cr4);
    set(Field::kHostCr3, 0x2000);
    set(Field::kHostCsSelector, 0x8);
    set(Field::kHostTrSelector, 0x18);
    for (const Field field :
         {Field::kHostEsSelector, Field::kHostSsSelector, Field::kHostDsSelector,
          Field::kHostFsSelector, Field::kHostGsSelector})
      set(field, 0x10);
    set(Field::kHostRip, 0x400000);

    set(Field::kGuestCr0, cr0);
    set(Field::kGuestCr4, cr4);
    set(Field::kGuestCr3, 0x4000);
    for (uint8_t segment = kEs; segment <= kGs; ++segment) {
      set(guest_selector(segment), segment == kCs ? 0x8 : 0x10);
      set(guest_limit(segment), 0xffffffff);
      set(guest_access_rights(segment), segment == kCs ? 0xa09b : 0xc093);
    }
    set(guest_access_rights(kLdtr), AccessRights::kUnusable);
    set(guest_selector(kTr), 0x18);
    set(guest_limit(kTr), 0x67);
    set(guest_access_rights(kTr), 0x8b);
    set(Field::kGuestGdtrLimit, 0xffff);
    set(Field::kGuestIdtrLimit, 0xfff);
    set(Field::kGuestDr7, 0x400);
    set(Field::kGuestRip, 0x1000);
    set(Field::kGuestRflags, rflags::kFixed1);
    set(Field::kVmcsLinkPointer, ~uint64_t{0});
  }

  CheckContext context() const {
    return {vmcs, capabilities, &memory, current_vmcs, long_mode, in_smm, intel_pt_on};
  }
  std::vector<std::string> failures() const {
    std::vector<std::string> ids;
    check_all(context(), [&](const FailedCheck& failure) { ids.emplace_back(failure.id); });
    return ids;
  }

  void set(Field field, uint64_t value) { vmcs.write(field, value); }
  void set_bits(Field field, uint64_t bits) { set(field, vmcs[field] | bits); }
  void clear_bits(Field field, uint64_t bits) { set(field, vmcs[field] & ~bits); }

  template <Control C>
  static constexpr Field field_of() {
    constexpr Field kFieldOf[] = {Field::kPinBasedControls,
                                  Field::kPrimaryProcBasedControls,
                                  Field::kSecondaryProcBasedControls,
                                  Field::kTertiaryProcBasedControls,
                                  Field::kVmExitControls,
                                  Field::kSecondaryVmExitControls,
                                  Field::kVmEntryControls,
                                  Field::kVmFunctionControls};
    return kFieldOf[static_cast<unsigned>(ControlTraits<C>::kGroup)];
  }
  template <Control... C>
  void on(C... controls) {
    (set_bits(field_of<C>(), mask(controls)), ...);
  }
  template <Control... C>
  void off(C... controls) {
    (clear_bits(field_of<C>(), mask(controls)), ...);
  }

  void enable_ept() {
    on(SecondaryProcBased::kEnableEpt);
    set(Field::kEptPointer, 0x8000 | 3 << 3 | 6);
  }
  void make_unrestricted() {
    enable_ept();
    on(SecondaryProcBased::kUnrestrictedGuest);
  }
  void enable_tpr_shadow() {
    on(PrimaryProcBased::kUseTprShadow);
    set(Field::kVirtualApicAddress, 0x6000);
  }
  void enable_virtual_interrupts() {
    enable_tpr_shadow();
    on(PinBased::kExternalInterruptExiting, SecondaryProcBased::kVirtualInterruptDelivery);
  }
  void enable_posted_interrupts() {
    enable_virtual_interrupts();
    on(PinBased::kProcessPostedInterrupts, VmExitControl::kAcknowledgeInterruptOnExit);
    set(Field::kPostedInterruptDescriptorAddress, 0x7000);
  }
  // PAE paging, with PDPTEs that are not present.
  void make_guest_32bit() { off(VmEntryControl::kIa32eModeGuest); }
  void make_host_32bit() {
    make_guest_32bit();
    off(VmExitControl::kHostAddressSpaceSize);
    long_mode = false;
  }
  void make_virtual_8086() {
    make_guest_32bit();
    set_bits(Field::kGuestRflags, rflags::kVm);
    for (uint8_t segment = kEs; segment <= kGs; ++segment) {
      set(guest_selector(segment), 0x1000);
      set(guest_base(segment), 0x10000);
      set(guest_limit(segment), 0xffff);
      set(guest_access_rights(segment), 0xf3);
    }
  }
  void use_ldtr() {
    set(guest_selector(kLdtr), 0x20);
    set(guest_limit(kLdtr), 0xffff);
    set(guest_access_rights(kLdtr), 0x82);
  }
  void enter_smm() {
    in_smm = true;
    on(VmEntryControl::kEntryToSmm);
    set(Field::kGuestInterruptibilityState, 1u << 2);
  }
  void inject(uint32_t information) {
    set(Field::kVmEntryInterruptionInformation, kValid | information);
  }
  void inject_interrupt() {
    set_bits(Field::kGuestRflags, rflags::kIf);
    inject(0x020);
  }
  void inject_nmi() { inject(0x202); }
  void block(uint64_t bits) { set(Field::kGuestInterruptibilityState, bits); }
  void link() {
    memory.write<uint32_t>(0x3000, capabilities.revision_id);
    set(Field::kVmcsLinkPointer, 0x3000);
  }
};

// How to violate one check.
struct Violation {
  std::string id;
  void (*prepare)(Machine&) = nullptr;             // afterwards, all checks still pass
  std::vector<std::pair<Field, uint64_t>> writes;  // then these fields get these values
  void (*violate)(Machine&) = nullptr;             // and this is done
  std::vector<std::string> also;                   // what cannot but fail with it
};

std::vector<Violation> control_violations();
std::vector<Violation> host_violations();
std::vector<Violation> guest_violations();
std::vector<Violation> segment_violations();

}  // namespace nestor::vmx
