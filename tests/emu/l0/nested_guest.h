// SPDX-License-Identifier: GPL-2.0-or-later
//
// Takes a FakeCore into VMX non-root operation, with a VMCS that the tests can change beforehand.
#pragma once

#include <gtest/gtest.h>

#include <map>

#include "tests/emu/cpu/fake_core.h"
#include "vmx/fields.h"

namespace nestor::emu::test {

class NestedGuest {
 public:
  static constexpr uint64_t kVmxonRegion = 0x40000, kVmcsRegion = 0x41000, kPointer = 0x42000,
                            kMsrBitmaps = 0x43000, kIoBitmapA = 0x44000, kIoBitmapB = 0x45000;
  static constexpr uint64_t kHostRip = 0xffff800000100000;

  explicit NestedGuest(FakeCore& core) : core_(core) {}

  // Further bits of control fields.
  void enable(vmx::PinBased control) { add(vmx::Field::kPinBasedControls, mask(control)); }
  void enable(vmx::PrimaryProcBased control) {
    add(vmx::Field::kPrimaryProcBasedControls, mask(control));
  }
  void enable(vmx::SecondaryProcBased control) {
    enable(vmx::PrimaryProcBased::kActivateSecondaryControls);
    add(vmx::Field::kSecondaryProcBasedControls, mask(control));
  }
  void set(vmx::Field field, uint64_t value) { extra_[field] = value; }

  // VMXON to VMLAUNCH. Afterwards the state is the guest's, to be replaced at will.
  void enter() {
    become_host();
    core_.vmx().feature_control = 5;
    core_.poke<uint32_t>(kVmxonRegion, revision());
    core_.poke<uint32_t>(kVmcsRegion, revision());
    with_pointer(&vmx::Vmx::vmxon, kVmxonRegion);
    with_pointer(&vmx::Vmx::vmclear, kVmcsRegion);
    with_pointer(&vmx::Vmx::vmptrld, kVmcsRegion);
    fill();
    for (const auto& [field, value] : extra_) write(field, core_value(field) | value);
    ASSERT_TRUE(std::holds_alternative<vmx::Transferred>(core_.vmx().vmlaunch(no_operand())));
    ASSERT_TRUE(core_.vmx().in_non_root())
        << "entry failed, exit reason " << std::hex << (*this)[vmx::Field::kExitReason];
  }
  uint64_t operator[](vmx::Field field) const { return core_.vmx().current_vmcs()[field]; }

  void expect_exit(vmx::ExitReason reason) const {
    EXPECT_FALSE(core_.vmx().in_non_root());
    EXPECT_EQ((*this)[vmx::Field::kExitReason], static_cast<uint64_t>(reason));
    EXPECT_EQ(core_.cpu.rip, kHostRip);
  }

 private:
  void add(vmx::Field field, uint64_t bits) { extra_[field] |= bits; }
  uint32_t revision() const { return core_.vmx().capabilities().revision_id; }
  static vmx::InstructionContext no_operand() {
    vmx::InstructionContext context;
    context.length = 3;
    return context;
  }
  void with_pointer(vmx::Outcome (vmx::Vmx::*method)(const vmx::InstructionContext&),
                    uint64_t pointer) {
    core_.poke<uint64_t>(kPointer, pointer);
    vmx::InstructionContext context = no_operand();
    context.memory = kPointer;
    const vmx::Outcome outcome = (core_.vmx().*method)(context);
    ASSERT_TRUE(std::holds_alternative<vmx::Completed>(outcome));
    ASSERT_EQ(core_.cpu.rflags & (vmx::rflags::kCf | vmx::rflags::kZf), 0u);
  }
  uint64_t core_value(vmx::Field field) const { return (*this)[field]; }
  void write(vmx::Field field, uint64_t value) {
    vmx::InstructionContext context = no_operand();
    context.reg = vmx::kRdx;
    context.rm_reg = vmx::kRax;
    context.long_operands = true;
    core_.cpu.gpr[vmx::kRdx] = vmx::encoding_of(field);
    core_.cpu.gpr[vmx::kRax] = value;
    ASSERT_TRUE(std::holds_alternative<vmx::Completed>(core_.vmx().vmwrite(context)));
    ASSERT_EQ(core_.cpu.rflags & (vmx::rflags::kCf | vmx::rflags::kZf), 0u);
  }
  void become_host() {
    enter_64bit_mode(core_);
    core_.cpu.cr4 |= vmx::cr4::kVmxe;
  }
  void fill();

  FakeCore& core_;
  std::map<vmx::Field, uint64_t> extra_;
};

inline void NestedGuest::fill() {
  using vmx::Field;
  const vmx::Capabilities& capabilities = core_.vmx().capabilities();
  write(Field::kPinBasedControls, capabilities.pin.must_be_one());
  write(Field::kPrimaryProcBasedControls, capabilities.primary.must_be_one());
  write(Field::kVmExitControls,
        capabilities.exit.must_be_one() | mask(vmx::VmExitControl::kHostAddressSpaceSize));
  write(Field::kVmEntryControls,
        capabilities.entry.must_be_one() | mask(vmx::VmEntryControl::kIa32eModeGuest));
  write(Field::kIoBitmapA, kIoBitmapA);
  write(Field::kIoBitmapB, kIoBitmapB);
  write(Field::kMsrBitmaps, kMsrBitmaps);
  write(Field::kVmcsLinkPointer, ~0ull);
  write(Field::kHostCr0, core_.cpu.cr0);
  write(Field::kHostCr3, core_.cpu.cr3);
  write(Field::kHostCr4, core_.cpu.cr4);
  for (const Field field : {Field::kHostEsSelector, Field::kHostSsSelector, Field::kHostDsSelector,
                            Field::kHostFsSelector, Field::kHostGsSelector}) {
    write(field, kData0);
  }
  write(Field::kHostCsSelector, kCode64);
  write(Field::kHostTrSelector, kTss);
  write(Field::kHostTrBase, kTssBase);
  write(Field::kHostGdtrBase, kGdt);
  write(Field::kHostIdtrBase, kIdt);
  write(Field::kHostRip, kHostRip);
  write(Field::kHostRsp, kStack0);

  write(Field::kGuestCr0, core_.cpu.cr0);
  write(Field::kGuestCr4, core_.cpu.cr4);
  write(Field::kGuestDr7, 0x400);
  for (uint8_t i = vmx::kEs; i <= vmx::kGs; ++i) {
    write(vmx::guest_selector(i), kData0);
    write(vmx::guest_limit(i), 0xffffffff);
    write(vmx::guest_access_rights(i), 0xc093);
  }
  write(Field::kGuestCsSelector, kCode64);
  write(Field::kGuestCsAccessRights, 0xa09b);
  write(Field::kGuestLdtrAccessRights, vmx::AccessRights::kUnusable);
  write(Field::kGuestTrSelector, kTss);
  write(Field::kGuestTrLimit, 0x67);
  write(Field::kGuestTrAccessRights, 0x8b);
  write(Field::kGuestTrBase, kTssBase);
  write(Field::kGuestRip, 0x401000);
  write(Field::kGuestRsp, kStack0);
  write(Field::kGuestRflags, 2);
}

}  // namespace nestor::emu::test
