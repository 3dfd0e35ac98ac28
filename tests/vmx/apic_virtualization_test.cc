// SPDX-License-Identifier: GPL-2.0-or-later
//
// "APIC Virtualization and Virtual Interrupts".
#include "tests/vmx/apic_fixture.h"

namespace nestor::vmx::test {
namespace {

TEST_F(ApicVirtualization, WithoutTheShadowNothingIsVirtual) {
  start();
  EXPECT_EQ(vmx.virtual_cr8(), std::nullopt);
  EXPECT_FALSE(vmx.write_virtual_cr8(1));
  EXPECT_EQ(vmx.read_virtual_apic_msr(0x808), std::nullopt);
  EXPECT_EQ(vmx.write_virtual_apic_msr(0x808, 0), std::nullopt);
  EXPECT_FALSE(vmx.is_apic_access_page(0));
  EXPECT_FALSE(vmx.virtualizes_apic_access(kTpr, 4, false));
  EXPECT_FALSE(vmx.apic_exits());
  EXPECT_FALSE(vmx.virtual_interrupt_recognized());
}

TEST_F(ApicVirtualization, Cr8AndTheThreshold) {
  prepare_shadow();
  page(kTpr, 0xffffff57);
  set(Field::kTprThreshold, 5);
  launch();
  EXPECT_EQ(vmx.virtual_cr8(), 5);
  EXPECT_FALSE(vmx.apic_exits()) << "not at VM entry without an APIC-access page";
  EXPECT_TRUE(vmx.write_virtual_cr8(5));
  EXPECT_EQ(page(kTpr), 0x50u);
  EXPECT_FALSE(vmx.apic_exits());
  EXPECT_TRUE(vmx.write_virtual_cr8(4));
  EXPECT_EQ(page(kTpr), 0x40u);
  cpu.cpu.pending_debug_exceptions = 0x4000;
  expect_apic_exit(ExitReason::kTprBelowThreshold);
  EXPECT_EQ(get(Field::kGuestPendingDebugExceptions), 0x4000u);
  EXPECT_FALSE(vmx.apic_exits()) << "once";
  EXPECT_EQ(vmx.virtual_cr8(), std::nullopt) << "outside non-root operation";
}

TEST_F(ApicVirtualization, TheThresholdAtVmEntry) {
  prepare_shadow();
  enable(SecondaryProcBased::kVirtualizeApicAccesses);
  set(Field::kApicAccessAddress, kAccessPage);
  page(kTpr, 0x30);
  set(Field::kTprThreshold, 4);
  set(Field::kGuestActivityState, 2);
  launch();
  EXPECT_FALSE(vmx.apic_exits()) << "in shutdown";
  cpu.cpu.activity = ActivityState::kActive;
  expect_apic_exit(ExitReason::kTprBelowThreshold);
  set(Field::kGuestActivityState, 0);
  set(Field::kTprThreshold, 3);
  resume();
  EXPECT_FALSE(vmx.apic_exits());
}

TEST_F(ApicVirtualization, WhatOfTheAccessPageIsVirtualized) {
  prepare_shadow();
  enable(SecondaryProcBased::kVirtualizeApicAccesses);
  set(Field::kApicAccessAddress, kAccessPage);
  launch();
  EXPECT_TRUE(vmx.is_apic_access_page(kAccessPage + 0xfff));
  EXPECT_FALSE(vmx.is_apic_access_page(kAccessPage - 1));
  EXPECT_TRUE(vmx.virtualizes_apic_access(kTpr, 4, true));
  EXPECT_TRUE(vmx.virtualizes_apic_access(kTpr, 1, false));
  EXPECT_FALSE(vmx.virtualizes_apic_access(kTpr, 8, false));
  EXPECT_FALSE(vmx.virtualizes_apic_access(kTpr + 1, 1, false)) << "needs register virtualization";
  EXPECT_FALSE(vmx.virtualizes_apic_access(kEoi, 4, true));
  vmx.triple_fault_exits();
  enable(SecondaryProcBased::kApicRegisterVirtualization);
  resume();
  EXPECT_TRUE(vmx.virtualizes_apic_access(kTpr + 1, 1, false));
  EXPECT_TRUE(vmx.virtualizes_apic_access(kTpr + 2, 2, true));
  EXPECT_FALSE(vmx.virtualizes_apic_access(kTpr + 2, 4, true)) << "beyond the register";
  EXPECT_FALSE(vmx.virtualizes_apic_access(kTpr + 4, 1, true));
  // Offsets that can be read, and those that can be written.
  unsigned readable = 0, writable = 0;
  for (unsigned offset = 0; offset < 0x1000; offset += 16) {
    readable += vmx.virtualizes_apic_access(static_cast<uint16_t>(offset), 4, false);
    writable += vmx.virtualizes_apic_access(static_cast<uint16_t>(offset), 4, true);
  }
  EXPECT_EQ(readable, 42u);
  EXPECT_EQ(writable, 17u);
  for (const uint16_t offset :
       std::initializer_list<uint16_t>{0x30, 0x100, 0x170, 0x180, 0x200, 0x270}) {
    EXPECT_TRUE(vmx.virtualizes_apic_access(offset, 4, false)) << offset;
    EXPECT_FALSE(vmx.virtualizes_apic_access(offset, 4, true)) << offset;
  }
  for (const uint16_t offset : std::initializer_list<uint16_t>{0x00, 0x90, 0xa0, 0xc0, 0x290, 0x2f0,
                                                               0x390, 0x3d0, 0x3f0, 0x400})
    EXPECT_FALSE(vmx.virtualizes_apic_access(offset, 4, false)) << offset;
}

TEST_F(ApicVirtualization, WritesToTheAccessPage) {
  prepare_shadow();
  enable(SecondaryProcBased::kVirtualizeApicAccesses);
  enable(SecondaryProcBased::kApicRegisterVirtualization);
  set(Field::kApicAccessAddress, kAccessPage);
  set(Field::kTprThreshold, 2);
  page(kTpr, 0x20);
  launch();
  page(kTpr, 0x12345678);
  vmx.apic_written(kTpr);
  EXPECT_EQ(page(kTpr), 0x78u);
  EXPECT_FALSE(vmx.apic_exits());
  page(kIcrHigh, 0x12345678);
  vmx.apic_written(kIcrHigh);
  EXPECT_EQ(page(kIcrHigh), 0x12000000u);
  EXPECT_FALSE(vmx.apic_exits());
  vmx.apic_written(kEoi);
  expect_apic_exit(ExitReason::kApicWrite, kEoi);
  resume();
  page(kIcr, 0x40055);
  vmx.apic_written(kIcr);
  expect_apic_exit(ExitReason::kApicWrite, kIcr);
  resume();
  page(kTpr, 0x10);
  vmx.apic_written(kTpr);
  expect_apic_exit(ExitReason::kTprBelowThreshold);
}

TEST_F(ApicVirtualization, AccessesThatExit) {
  prepare_shadow();
  launch();
  using Access = Vmx::ApicAccess;
  const auto expect = [&](Access access, uint64_t qualification) {
    vmx.apic_access(0x123, access, 3);
    expect_exit(ExitReason::kApicAccess);
    EXPECT_EQ(get(Field::kExitQualification), qualification);
    EXPECT_EQ(get(Field::kVmExitInstructionLength), 3u);
    resume();
  };
  expect(Access::kRead, 0x0123);
  expect(Access::kWrite, 0x1123);
  expect(Access::kFetch, 0x2123);
  expect(Access::kGuestPhysical, 0xf000);
  vmx.set_vectoring(exception(kPf, 0));
  vmx.apic_access(0x123, Access::kWrite, 3);
  EXPECT_EQ(get(Field::kExitQualification), 0x3123u);
  EXPECT_EQ(get(Field::kIdtVectoringInformation), 0x80000b0eu);
  resume();
  vmx.set_vectoring(exception(kPf, 0));
  vmx.apic_access(0x123, Access::kGuestPhysical, 3);
  EXPECT_EQ(get(Field::kExitQualification), 0xa000u);
}

TEST_F(ApicVirtualization, X2apicMode) {
  prepare_shadow();
  enable(SecondaryProcBased::kVirtualizeX2apicMode);
  page(kTpr, 0x60);
  page(kTpr + 4, 0x1234);
  launch();
  EXPECT_EQ(vmx.read_virtual_apic_msr(0x808), 0x1234'00000060u);
  EXPECT_EQ(vmx.read_virtual_apic_msr(0x80b), std::nullopt);
  EXPECT_EQ(vmx.read_virtual_apic_msr(0x7ff), std::nullopt);
  EXPECT_EQ(vmx.write_virtual_apic_msr(0x808, 0x100), MsrStatus::kGeneralProtection);
  EXPECT_EQ(vmx.write_virtual_apic_msr(0x808, 1ull << 32), MsrStatus::kGeneralProtection);
  EXPECT_EQ(page(kTpr), 0x60u);
  EXPECT_EQ(vmx.write_virtual_apic_msr(0x808, 0x72), MsrStatus::kOk);
  EXPECT_EQ(page(kTpr), 0x72u);
  EXPECT_EQ(page(kTpr + 4), 0u);
  EXPECT_EQ(vmx.write_virtual_apic_msr(0x80b, 0), std::nullopt);
  EXPECT_EQ(vmx.write_virtual_apic_msr(0x83f, 0x55), std::nullopt);
  vmx.triple_fault_exits();
  enable(SecondaryProcBased::kApicRegisterVirtualization);
  resume();
  page(0xff0, 0x99);
  EXPECT_EQ(vmx.read_virtual_apic_msr(0x8ff), 0x99u);
  EXPECT_EQ(vmx.read_virtual_apic_msr(0x900), std::nullopt);
}

TEST_F(ApicVirtualization, VirtualInterruptsComeByPriority) {
  prepare_delivery();
  set(Field::kGuestInterruptStatus, 0x3045);
  page(kIrr + 0x20, 1u << 5 | 1u << 3);  // 45H, 43H
  page(kTpr, 0x20);
  launch();
  EXPECT_EQ(page(kPpr), 0x30u);
  ASSERT_TRUE(vmx.virtual_interrupt_recognized());
  const Event event = vmx.take_virtual_interrupt();
  EXPECT_EQ(event.type, EventType::kExternalInterrupt);
  EXPECT_EQ(event.vector, 0x45);
  EXPECT_FALSE(vmx.virtual_interrupt_recognized());
  EXPECT_EQ(page(kIrr + 0x20), 1u << 3);
  EXPECT_EQ(page(kIsr + 0x20), 1u << 5);
  EXPECT_EQ(page(kPpr), 0x40u);
  EXPECT_EQ(get(Field::kGuestInterruptStatus), 0x4543u);
  // EOI, with nothing else in service: the other one is of a higher class than VTPR.
  EXPECT_EQ(vmx.write_virtual_apic_msr(0x80b, 0), std::nullopt) << "no x2APIC mode";
  page(kEoi, 0x1234);
  vmx.apic_written(kEoi);
  EXPECT_EQ(page(kEoi), 0u);
  EXPECT_EQ(page(kIsr + 0x20), 0u);
  EXPECT_EQ(page(kPpr), 0x20u);
  EXPECT_EQ(get(Field::kGuestInterruptStatus), 0x0043u);
  EXPECT_TRUE(vmx.virtual_interrupt_recognized());
  // A TPR of the same class holds it back.
  EXPECT_TRUE(vmx.write_virtual_cr8(4));
  EXPECT_EQ(page(kPpr), 0x40u);
  EXPECT_FALSE(vmx.virtual_interrupt_recognized());
  EXPECT_FALSE(vmx.apic_exits()) << "the TPR threshold does not count";
}

TEST_F(ApicVirtualization, AnInterruptWindowKeepsVirtualInterruptsBack) {
  prepare_delivery();
  enable(PrimaryProcBased::kInterruptWindowExiting);
  set(Field::kGuestInterruptStatus, 0x45);
  launch();
  EXPECT_FALSE(vmx.virtual_interrupt_recognized());
}

TEST_F(ApicVirtualization, AnEoiOfTheBitmapExits) {
  prepare_delivery();
  enable(SecondaryProcBased::kVirtualizeX2apicMode);
  set(Field::kEoiExitBitmap2, 1ull << 5);
  set(Field::kGuestInterruptStatus, 0x8500);
  page(kIsr + 0x40, 1u << 5);
  page(kIsr, 1u << 31);
  launch();
  EXPECT_EQ(vmx.write_virtual_apic_msr(0x80b, 1), MsrStatus::kGeneralProtection);
  EXPECT_EQ(vmx.write_virtual_apic_msr(0x80b, 0), MsrStatus::kOk);
  expect_apic_exit(ExitReason::kVirtualizedEoi, 0x85);
  EXPECT_EQ(get(Field::kGuestInterruptStatus), 0x1f00u);
  EXPECT_EQ(page(kIsr + 0x40), 0u);
}

TEST_F(ApicVirtualization, SelfIpis) {
  prepare_delivery();
  enable(SecondaryProcBased::kVirtualizeX2apicMode);
  launch();
  EXPECT_EQ(vmx.write_virtual_apic_msr(0x83f, 0x141), MsrStatus::kGeneralProtection);
  EXPECT_EQ(vmx.write_virtual_apic_msr(0x83f, 0x41), MsrStatus::kOk);
  EXPECT_EQ(page(kIrr + 0x20), 1u << 1);
  EXPECT_EQ(get(Field::kGuestInterruptStatus), 0x41u);
  EXPECT_TRUE(vmx.virtual_interrupt_recognized());
  page(kIcr, 0x40033);
  vmx.apic_written(kIcr);
  EXPECT_EQ(page(kIrr + 0x10), 1u << 19);
  EXPECT_EQ(get(Field::kGuestInterruptStatus), 0x41u) << "the higher one stays";
  EXPECT_EQ(vmx.write_virtual_apic_msr(0x83f, 0x0f), MsrStatus::kOk);
  expect_apic_exit(ExitReason::kApicWrite, 0x3f0);
  // Not fixed, not to itself, level-triggered, pending, reserved bits, a reserved vector.
  for (const uint32_t icr :
       {0x40433u, 0x33u, 0x80033u, 0x48033u, 0x41033u, 0x42033u, 0x60033u, 0x140033u, 0x4000fu}) {
    resume();
    page(kIcr, icr);
    vmx.apic_written(kIcr);
    expect_apic_exit(ExitReason::kApicWrite, kIcr);
  }
}

TEST_F(ApicVirtualization, PostedInterrupts) {
  prepare_delivery();
  enable(PinBased::kProcessPostedInterrupts);
  set(Field::kVmExitControls,
      get(Field::kVmExitControls) | mask(VmExitControl::kAcknowledgeInterruptOnExit));
  set(Field::kPostedInterruptNotificationVector, 0xf2);
  set(Field::kPostedInterruptDescriptorAddress, kDescriptor);
  cpu.poke<uint32_t>(kDescriptor + 4 * 2, 1u << 7);  // 47H
  cpu.poke<uint32_t>(kDescriptor + 4 * 1, 1u << 8);  // 28H
  cpu.poke<uint64_t>(kDescriptor + 32, 0xff);
  launch();
  cpu.interrupt_vector = 0xf2;
  EXPECT_FALSE(vmx.external_interrupt_exits());
  EXPECT_EQ(cpu.acknowledged, 1);
  EXPECT_EQ(cpu.ended, 1);
  EXPECT_EQ(page(kIrr + 0x20), 1u << 7);
  EXPECT_EQ(page(kIrr + 0x10), 1u << 8);
  EXPECT_EQ(get(Field::kGuestInterruptStatus), 0x47u);
  EXPECT_EQ(cpu.peek<uint32_t>(kDescriptor + 4 * 2), 0u);
  EXPECT_EQ(cpu.peek<uint64_t>(kDescriptor + 32), 0xfeu);
  EXPECT_TRUE(vmx.virtual_interrupt_recognized());
  cpu.interrupt_vector = 0xf1;
  EXPECT_TRUE(vmx.external_interrupt_exits());
  expect_exit(ExitReason::kExternalInterrupt);
  EXPECT_EQ(get(Field::kVmExitInterruptionInformation), 0x800000f1u);
}

}  // namespace
}  // namespace nestor::vmx::test
