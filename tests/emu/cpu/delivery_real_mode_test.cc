// SPDX-License-Identifier: GPL-2.0-or-later
//
// "Interrupt and Exception Handling in Real-Address Mode".
#include "tests/emu/cpu/delivery_fixture.h"

namespace nestor::emu::test {
namespace {

using RealModeDelivery = DeliveryTest;

TEST_F(RealModeDelivery, InterruptUsesTheVectorTable) {
  enter_real_mode(core);
  cpu.rflags = 0x202 | vmx::rflags::kTf;
  core.poke<uint32_t>(0x21 * 4, 0x2000'5678);
  deliver(external(0x21));
  EXPECT_EQ(cpu.segment[vmx::kCs].selector, 0x2000);
  EXPECT_EQ(cpu.segment[vmx::kCs].base, 0x20000u);
  EXPECT_EQ(cpu.rip, 0x5678u);
  EXPECT_EQ(cpu.rflags, 2u);
  EXPECT_EQ(cpu.gpr[vmx::kRsp], 0xfau);
  EXPECT_EQ(stack<uint16_t>(0x80fa, 3), (Values{0x1234, 0x100, 0x302}));
}

TEST_F(RealModeDelivery, ExceptionPushesNoErrorCode) {
  enter_real_mode(core);
  core.poke<uint32_t>(vmx::kGp * 4, 0x2000'0000);
  deliver(vmx::exception(vmx::kGp, 0));
  EXPECT_EQ(cpu.gpr[vmx::kRsp], 0xfau);
}

TEST_F(RealModeDelivery, SoftwareInterruptReturnsBehindItself) {
  enter_real_mode(core);
  cpu.rip = 0xffff;
  deliver(software(0x10));
  EXPECT_EQ(core.peek<uint16_t>(0x80fa), 1);
}

TEST_F(RealModeDelivery, Faults) {
  enter_real_mode(core);
  cpu.idtr.limit = 0x86;
  expect_fault(external(0x21), vmx::kGp, 0x21 * 8 + 3);
  cpu.idtr.limit = 0x3ff;
  cpu.gpr[vmx::kRsp] = 1;
  expect_fault(external(0x21), vmx::kSs12, 0);
  cpu.gpr[vmx::kRsp] = 0x100;
  core.poke<uint32_t>(0x21 * 4, 0x2000'5678);
  cpu.segment[vmx::kCs].limit = 0x5677;
  expect_fault(external(0x21), vmx::kGp, 0);
  cpu.segment[vmx::kCs].limit = 0x5678;
  deliver(external(0x21));
}

TEST_F(RealModeDelivery, StackWraps) {
  enter_real_mode(core);
  cpu.gpr[vmx::kRsp] = 0xabcd0002;
  deliver(external(0x21));
  EXPECT_EQ(cpu.gpr[vmx::kRsp], 0xabcdfffcu);
}

}  // namespace
}  // namespace nestor::emu::test
