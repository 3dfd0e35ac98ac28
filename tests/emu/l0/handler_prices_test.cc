// SPDX-License-Identifier: GPL-2.0-or-later
//
// What L0's handlers cost, against sums by hand; and that runs take so long.
#include "emu/l0/handler_prices.h"

#include "emu/timing/system_prices.h"
#include "tests/emu/l0/nested_machine_fixture.h"
#include "vmx/vmcs.h"

namespace nestor::emu {
namespace {

using timing::SystemCost;
using vmx::Generation;

const timing::Processor& skylake() { return *timing::find_processor(Generation::kSkylake); }

constexpr std::array kAllGenerations = {Generation::kHaswell, Generation::kBroadwell,
                                        Generation::kSkylake, Generation::kIceLake};

// 48 instructions that wait for the decoders, 20 cycles on Skylake; Haswell takes one more.
TEST(HandlerPrices, CodeCostsWhatTheTableOfTheProcessorSays) {
  EXPECT_EQ(handler_code_price(skylake()), 417u);
  EXPECT_EQ(handler_code_price(*timing::find_processor(Generation::kHaswell)), 438u);
}

TEST(HandlerPrices, AStepIsTheSumOfItsParts) {
  const HandlerPrices prices(skylake());
  // 1034 instructions, of which 5 VMREADs, RDMSR, RDTSC and 2 MOVs from control registers.
  EXPECT_EQ(prices[HandlerStep::kExit], 1025u * 417 / 1000 + 5 * 30 + 89 + 25 + 2 * 10);
  // 729, of which 8 VMREADs and 2 VMWRITEs.
  EXPECT_EQ(prices[HandlerStep::kVmread], 719u * 417 / 1000 + 10 * 30);
  // 2996, of which 16 VMREADs, 55 VMWRITEs and a VMPTRLD.
  EXPECT_EQ(prices[HandlerStep::kReflection], 2924u * 417 / 1000 + 71 * 30 + 150);
  // 760, of which 35 VMWRITEs, 2 VMPTRLDs and a VMCLEAR.
  EXPECT_EQ(prices[HandlerStep::kPublish], 722u * 417 / 1000 + 35 * 30 + 3 * 150);
  // 7075, of which 36 VMREADs, 24 VMWRITEs and a VMPTRLD.
  EXPECT_EQ(prices[HandlerStep::kNestedEntry], 7014u * 417 / 1000 + 60 * 30 + 150);
  EXPECT_EQ(prices[HandlerStep::kFlush], 19u * 417 / 1000 + 200);
}

TEST(HandlerPrices, EachStepOfEachProcessorHasAPriceOfTheRightSize) {
  for (const Generation generation : kAllGenerations) {
    const HandlerPrices prices(*timing::find_processor(generation));
    for (size_t i = 0; i < static_cast<size_t>(HandlerStep::kCount); ++i) {
      const auto step = static_cast<HandlerStep>(i);
      const HandlerWork& work = work_of(step);
      EXPECT_GT(work.instructions, work.vmread + work.vmwrite + work.vmptrld + work.vmclear) << i;
      EXPECT_GT(prices[step], work.instructions / 4u) << i;
      EXPECT_LT(prices[step], 10000u) << i;
    }
  }
}

TEST(HandlerPrices, AnInstructionWithoutARowIsAnyInstruction) {
  EXPECT_EQ(step_for(vmx::ExitReason::kVmread), HandlerStep::kVmread);
  EXPECT_EQ(step_for(vmx::ExitReason::kInvvpid), HandlerStep::kInvalidation);
  EXPECT_EQ(step_for(vmx::ExitReason::kCpuid), HandlerStep::kInstruction);
  EXPECT_EQ(step_for(vmx::ExitReason::kXsetbv), HandlerStep::kInstruction);
}

class PricedL0 : public NestedMachineTest {
 protected:
  PricedL0() {
    config_.processor.timing = TimingModel::kBlocks;
    config_.processor.type = vmx::processor_of(Generation::kSkylake);
    enable_ept();
    // Transitions drop no translations, with and without L0.
    enable(vmx::SecondaryProcBased::kEnableVpid);
    vmcs_.write(vmx::Field::kVirtualProcessorIdentifier, 1);
  }
  // Of one CPUID of L2 that L1 handles with VMRESUME and, if so, `accesses`.
  uint64_t cycles_of_an_exit(const L0Config& l0, const Code& accesses = {}) {
    config_.l0 = l0;
    const auto cycles = [&](uint8_t exits) {
      run_guest(kCpuid, accesses + resume_until(exits));
      EXPECT_EQ(machine_->result().kind, RunResult::Kind::kDebugExit);
      return machine_->result().cycles;
    };
    return (cycles(60) - cycles(20)) / 40;
  }
  static uint64_t transitions() {
    return timing::vm_exit_price(skylake(), vmx::Vmcs{}) +
           timing::vm_entry_price(skylake(), vmx::Vmcs{});
  }
};

// L0 gets the VM exit and VMRESUME, and L1's own pair of transitions is no more.
TEST_F(PricedL0, ANestedVmExitTakesTheSumOfItsSteps) {
  const HandlerPrices prices(skylake());
  const uint64_t plain = 2 * prices[HandlerStep::kExit] + prices[HandlerStep::kReflection] +
                         prices[HandlerStep::kNestedEntry] + transitions();
  const uint64_t copies = prices[HandlerStep::kPublish] + prices[HandlerStep::kFetch];
  const uint64_t alone = cycles_of_an_exit({});
  for (const L0Mode mode : {L0Mode::kTwoLevel, L0Mode::kNestedEpt}) {
    SCOPED_TRACE(info_of(mode).name);
    EXPECT_EQ(cycles_of_an_exit({.mode = mode}), alone + plain + copies);
    EXPECT_EQ(cycles_of_an_exit({.mode = mode, .vmcs_shadowing = false}), alone + plain);
  }
}

TEST_F(PricedL0, AVmreadThatExitsTakesItsStepAndTransitions) {
  const HandlerPrices prices(skylake());
  const L0Config l0 = {.mode = L0Mode::kNestedEpt, .vmcs_shadowing = false};
  const Code vmread = ASM64("mov eax, 0x4402; vmread rcx, rax");
  const uint64_t each =
      cycles_of_an_exit(l0, vmread + vmread + vmread) - cycles_of_an_exit(l0, vmread);
  EXPECT_NEAR(static_cast<double>(each) / 2,
              static_cast<double>(prices[HandlerStep::kExit] + prices[HandlerStep::kVmread] +
                                  transitions()),
              10);
}

// Of four entries of EPT12 that L0 walks, and no table: the first page has brought that.
TEST_F(PricedL0, AFilledPageTakesItsStepAndTheWalk) {
  const HandlerPrices prices(skylake());
  config_.l0 = {.mode = L0Mode::kNestedEpt};
  const auto cycles = [this](unsigned pages) {
    Code guest;
    for (uint64_t i = 0; i < pages; ++i)
      guest = guest + store(static_cast<uint32_t>(kData + i * kPage));
    run_guest(guest + kCpuid);
    EXPECT_EQ(machine_->l0_counters().shadow_tables_built, 4u);
    return static_cast<double>(machine_->result().cycles);
  };
  // Beside it the processor walks both dimensions before the VM exit and after it.
  constexpr double kWalks = 200;
  EXPECT_NEAR((cycles(12) - cycles(4)) / 8,
              static_cast<double>(prices[HandlerStep::kExit] + prices[HandlerStep::kEptFill] +
                                  4 * prices[HandlerStep::kWalkedEntry] + transitions()),
              kWalks);
}

// L1's INVEPT flushes what L0 and the processor keep of EPT12.
TEST_F(PricedL0, AnInveptTakesItsStepAndAFlush) {
  const HandlerPrices prices(skylake());
  const L0Config l0 = {.mode = L0Mode::kNestedEpt};
  put<uint64_t>(kScratch, 0);
  put<uint64_t>(kScratch + 8, 0);
  const Code invept = ASM64("mov eax, 2; invept rax, [0x20000]");
  const uint64_t one = cycles_of_an_exit(l0, invept),
                 three = cycles_of_an_exit(l0, invept + invept + invept);
  // Walks for what the flush has dropped come on top.
  constexpr double kWalks = 300;
  EXPECT_NEAR(static_cast<double>(three - one) / 2,
              static_cast<double>(prices[HandlerStep::kExit] + prices[HandlerStep::kInvalidation] +
                                  prices[HandlerStep::kFlush] + transitions()),
              kWalks);
}

TEST_F(PricedL0, WithConstantPricesAVmExitHasOne) {
  config_.processor.timing = TimingModel::kFast;
  const uint64_t alone = cycles_of_an_exit({});
  EXPECT_EQ(cycles_of_an_exit({.mode = L0Mode::kNestedEpt}), alone + 2 * 500 + 1000);
}

}  // namespace
}  // namespace nestor::emu
