// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/timing/branches.h"

#include <gtest/gtest.h>

#include "emu/timing/system_prices.h"
#include "tests/emu/timing/priced_code.h"

namespace nestor::emu::timing::test {
namespace {

BranchKind kind_of(const Code& code) { return branch_kind_of(code, CodeMode::k64); }

TEST(Branches, AreToldByTheirEncoding) {
  EXPECT_EQ(kind_of(Code{0x75, 0x00}), BranchKind::kConditional);
  EXPECT_EQ(kind_of(Code{0x0f, 0x84, 0, 0, 0, 0}), BranchKind::kConditional);
  EXPECT_EQ(kind_of(Code{0xe2, 0x00}), BranchKind::kConditional);
  EXPECT_EQ(kind_of(Code{0xeb, 0x00}), BranchKind::kJump);
  EXPECT_EQ(kind_of(Code{0xe9, 0x00, 0x00, 0x00, 0x00}), BranchKind::kJump);
  EXPECT_EQ(kind_of(Code{0xe8, 0, 0, 0, 0}), BranchKind::kCall);
  EXPECT_EQ(kind_of(ASM64("call rax")), BranchKind::kIndirectCall);
  EXPECT_EQ(kind_of(ASM64("jmp [rax + 8]")), BranchKind::kIndirect);
  EXPECT_EQ(kind_of(ASM64("ret")), BranchKind::kReturn);
  EXPECT_EQ(kind_of(ASM64("add rax, rcx")), BranchKind::kNone);
  EXPECT_EQ(kind_of(ASM64("inc dword ptr [rax]")), BranchKind::kNone);
}

TEST(Branches, AreLearned) {
  BranchPredictor predictor;
  const auto wrong = [&](BranchKind kind, unsigned period) {
    unsigned count = 0;
    for (unsigned i = 0; i < 1000; ++i) {
      const uint64_t target = i % period == 0 ? 0x2000 : 0x1010;
      count += predictor.foresees(kind, 0x1010, target) ? 0 : 1;
    }
    return count;
  };
  EXPECT_LT(wrong(BranchKind::kConditional, 1), 30u);
  EXPECT_LT(wrong(BranchKind::kConditional, 2), 60u);
  EXPECT_LT(wrong(BranchKind::kConditional, 5), 100u);
  EXPECT_EQ(wrong(BranchKind::kNone, 3), 0u);
  EXPECT_GT(wrong(BranchKind::kIndirect, 2), 900u) << "alone there is no history";
}

TEST(Branches, ReturnsGoWhereCallsCameFrom) {
  BranchPredictor predictor;
  for (uint64_t depth = 1; depth <= 10; ++depth)
    EXPECT_TRUE(predictor.foresees(BranchKind::kCall, depth * 0x100, 0x9000));
  for (uint64_t depth = 10; depth >= 1; --depth)
    EXPECT_TRUE(predictor.foresees(BranchKind::kReturn, 0x9010, depth * 0x100));
  EXPECT_FALSE(predictor.foresees(BranchKind::kReturn, 0x9010, 0x100));
}

TEST(SystemPrices, DependOnTheProcessor) {
  EXPECT_EQ(system_price(core_of(Generation::kHaswell), SystemCost::kPause), 9);
  EXPECT_EQ(system_price(core_of(Generation::kSkylake), SystemCost::kPause), 140);
  EXPECT_EQ(system_price(core_of(Generation::kIceLake), SystemCost::kCpuid), 105);
  EXPECT_EQ(cost_of(Operation::kMovToCr, 3), SystemCost::kMovToCr3);
  EXPECT_EQ(cost_of(Operation::kMovToCr, 4), SystemCost::kMovToControlRegister);
  EXPECT_EQ(cost_of(Operation::kVmwrite, 0), SystemCost::kVmwrite);
  EXPECT_EQ(cost_of(Operation::kHlt, 0), SystemCost::kOther);
}

TEST(SystemPrices, TransitionsAreMadeOfTheirParts) {
  const Processor& skylake = core_of(Generation::kSkylake);
  vmx::Vmcs vmcs;
  const uint64_t entry = vm_entry_price(skylake, vmcs), exit = vm_exit_price(skylake, vmcs);
  // What is known of processors as old as Sandy Bridge: 784 cycles both.
  EXPECT_GT(entry + exit, 600u);
  EXPECT_LT(entry + exit, 1300u);
  vmcs.write(vmx::Field::kVmEntryMsrLoadCount, 3);
  vmcs.write(vmx::Field::kVmExitMsrStoreCount, 2);
  vmcs.write(vmx::Field::kVmExitMsrLoadCount, 1);
  EXPECT_EQ(vm_entry_price(skylake, vmcs), entry + 3 * 138u);
  EXPECT_EQ(vm_exit_price(skylake, vmcs), exit + 2 * 89u + 138u);
}

}  // namespace
}  // namespace nestor::emu::timing::test
