// SPDX-License-Identifier: GPL-2.0-or-later
//
// What L1 sees of its guest below an L0.
#include "tests/emu/l0/nested_machine_fixture.h"

namespace nestor::emu {
namespace {

using vmx::Field;

class BelowL0 : public NestedMachineTest {};

// L0's own time lies between the VM exit and L1, and is in no VM-exit information.
TEST_F(BelowL0, TheMsrStoreAreaHasTheTimeOfTheVmExit) {
  constexpr uint32_t kTimeStampCounter = 0x10;
  put<uint32_t>(kScratch, kTimeStampCounter);
  vmcs_.write(Field::kVmExitMsrStoreAddress, kScratch);
  vmcs_.write(Field::kVmExitMsrStoreCount, 1);
  // The first store pays for the page walk.
  const Code guest = store(kData) + ASM64("rdtsc") + store(kData) + ASM64("cpuid");
  const Code handler = ASM64("mov eax, [0x20008]; sub eax, [0x80000]; out 0xf4, eax");
  const RunResult alone = run_guest(guest, handler);
  ASSERT_EQ(alone.kind, RunResult::Kind::kDebugExit);
  EXPECT_GT(alone.code, status(0));
  for (const L0Mode mode : {L0Mode::kTwoLevel, L0Mode::kNestedEpt, L0Mode::kShadowOnEpt}) {
    config_.l0.mode = mode;
    EXPECT_EQ(run_guest(guest, handler).code, alone.code) << info_of(mode).name;
  }
}

}  // namespace
}  // namespace nestor::emu
