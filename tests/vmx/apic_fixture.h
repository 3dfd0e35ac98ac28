// SPDX-License-Identifier: GPL-2.0-or-later
//
// A guest with a virtual-APIC page.
#pragma once

#include "tests/vmx/vmx_fixture.h"

namespace nestor::vmx::test {

class ApicVirtualization : public VmxTest {
 protected:
  static constexpr uint64_t kVirtualApic = 0x20000, kAccessPage = 0x21000, kDescriptor = 0x22000;
  static constexpr uint16_t kTpr = 0x80, kPpr = 0xa0, kEoi = 0xb0, kIsr = 0x100, kIrr = 0x200,
                            kIcr = 0x300, kIcrHigh = 0x310;

  void prepare_shadow() {
    prepare();
    enable(PrimaryProcBased::kUseTprShadow);
    set(Field::kVirtualApicAddress, kVirtualApic);
  }
  void prepare_delivery() {
    prepare_shadow();
    enable(PinBased::kExternalInterruptExiting);
    enable(SecondaryProcBased::kVirtualInterruptDelivery);
  }
  void launch() { ASSERT_EQ(vmlaunch(), "transfer"); }
  uint32_t page(unsigned offset) const { return cpu.peek<uint32_t>(kVirtualApic + offset); }
  void page(unsigned offset, uint32_t value) { cpu.poke(kVirtualApic + offset, value); }
  void expect_apic_exit(ExitReason reason, uint64_t qualification = 0) {
    EXPECT_TRUE(vmx.apic_exit_pending());
    EXPECT_TRUE(vmx.apic_exits());
    expect_exit(reason);
    EXPECT_EQ(get(Field::kExitQualification), qualification);
  }
};

}  // namespace nestor::vmx::test
