// SPDX-License-Identifier: GPL-2.0-or-later
//
// guest-images/mmu-modes in every way of virtualizing memory: the same results, and the prices that
// each way is known for.
#include "emu/observe/compare/mmu_modes.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>

#include "emu/engine/unicorn/unicorn_engine.h"
#include "emu/loaders/read_file.h"
#include "guest-images/abi/machine_ports.h"

namespace nestor::emu {
namespace {

auto create_machine(const MachineConfig& config, const MachineOutputs& outputs) {
  return Machine::create(config, outputs, create_unicorn_engine);
}

using ::testing::HasSubstr;
using Verdict = ModeRun::Verdict;

constexpr uint64_t kMemory = 64 << 20;

ImageFile read_image(const std::string& name) {
  const auto path = std::filesystem::path(NESTOR_GUEST_IMAGES) / name / (name + ".elf");
  auto bytes = read_file(path.string(), "image", kMemory);
  if (const auto* bad = std::get_if<LoadError>(&bytes)) throw std::runtime_error(bad->message);
  return {name, std::get<std::vector<uint8_t>>(std::move(bytes))};
}

MmuComparison compare(const std::string& name) {
  auto compared =
      compare_mmu_modes(read_image(name), {}, "", {.memory_bytes = kMemory}, create_machine);
  EXPECT_TRUE(std::holds_alternative<MmuComparison>(compared));
  return std::get<MmuComparison>(std::move(compared));
}

const WorkloadCost& cost(const MmuComparison& comparison, L0Mode mode, uint8_t workload,
                         bool vmcs_shadowing = true) {
  for (const ModeRun& run : comparison.runs) {
    if (run.l0.mode == mode && run.l0.vmcs_shadowing == vmcs_shadowing)
      return run.costs.at(workload);
  }
  throw std::out_of_range("no such run");
}

void expect_the_same_results(const MmuComparison& comparison) {
  ASSERT_EQ(comparison.runs.size(), 9u) << "five modes, and four without VMCS shadowing";
  EXPECT_TRUE(comparison.same());
  const std::string& serial = comparison.runs.front().serial;
  EXPECT_THAT(serial, HasSubstr("mmu-modes: PASS"));
  for (const ModeRun& run : comparison.runs) {
    SCOPED_TRACE(info_of(run.l0.mode).name);
    EXPECT_EQ(run.verdict, Verdict::kSame) << run.reason;
    EXPECT_EQ(run.result.kind, RunResult::Kind::kDebugExit);
    EXPECT_EQ(run.result.code, uint32_t{NESTOR_DEBUG_EXIT_STATUS(NESTOR_EXIT_PASS)});
    EXPECT_EQ(run.serial, serial);
  }
}

void expect_nested_ept_far_ahead_on_page_faults(const MmuComparison& comparison) {
  const uint8_t load = NESTOR_WORKLOAD_PAGE_FAULTS;
  const WorkloadCost& nested = cost(comparison, L0Mode::kNestedEpt, load);
  const WorkloadCost& shadow = cost(comparison, L0Mode::kShadowOnEpt, load);
  const WorkloadCost& double_shadow = cost(comparison, L0Mode::kShadowOnShadow, load);
  EXPECT_LT(3 * nested.cycles, shadow.cycles);
  EXPECT_LT(shadow.cycles, double_shadow.cycles);
  EXPECT_EQ(nested.l1_exits, 0u) << "L2's page faults are its own";
  EXPECT_GT(shadow.l1_exits, 700u) << "two VM exits for each of 350 page faults";
}

void expect_nested_ept_ahead_on_tlb_misses(const MmuComparison& comparison) {
  const uint8_t load = NESTOR_WORKLOAD_TLB_MISSES;
  EXPECT_LT(cost(comparison, L0Mode::kNestedEpt, load).cycles,
            cost(comparison, L0Mode::kShadowOnEpt, load).cycles);
  EXPECT_LT(cost(comparison, L0Mode::kShadowOnEpt, load).cycles,
            cost(comparison, L0Mode::kShadowOnShadow, load).cycles);
  EXPECT_LT(cost(comparison, L0Mode::kNestedEpt, load).l0.walk_references,
            cost(comparison, L0Mode::kTwoLevel, load).l0.walk_references);
}

void expect_near_parity_on_computation(const MmuComparison& comparison) {
  const uint64_t nested = cost(comparison, L0Mode::kNestedEpt, NESTOR_WORKLOAD_COMPUTATION).cycles;
  for (const L0ModeInfo& info : kL0Modes) {
    const uint64_t cycles = cost(comparison, info.mode, NESTOR_WORKLOAD_COMPUTATION).cycles;
    EXPECT_LT(cycles * 10, nested * 11) << info.name;
    EXPECT_GT(cycles * 11, nested * 10) << info.name;
  }
}

// 7 VMREADs, 4 VMWRITEs, VMRESUME, and the VM exit of L2 itself; with a shadow VMCS the last two.
void expect_exact_exits_for_each_cpuid(const MmuComparison& comparison) {
  for (const L0ModeInfo& info : kL0Modes) {
    if (!info.has_l0) continue;
    for (const bool shadowing : {true, false}) {
      SCOPED_TRACE(std::string(info.name) + (shadowing ? " with" : " without") + " VMCS shadowing");
      const WorkloadCost& load =
          cost(comparison, info.mode, NESTOR_WORKLOAD_CPUID_EXITS, shadowing);
      ASSERT_EQ(load.cpuid_exits, 256u);
      EXPECT_EQ(load.l1_exits, load.cpuid_exits);
      const uint64_t each = shadowing ? 2 : 13;
      EXPECT_EQ(load.l0.all_exits(), each * load.cpuid_exits);
      EXPECT_EQ(load.l0.entries, each * load.cpuid_exits);
      EXPECT_EQ(load.l0.vmcs_accesses, (each - 2) * load.cpuid_exits);
    }
  }
}

void expect_reports(const MmuComparison& comparison) {
  const auto json = nlohmann::json::parse(to_json(comparison));
  EXPECT_EQ(json.at("image"), "mmu-modes");
  EXPECT_EQ(json.at("same"), true);
  const auto& last = json.at("modes").back();
  EXPECT_EQ(last.at("mode"), "shadow-on-shadow");
  EXPECT_EQ(last.at("vmcs_shadowing"), false);
  EXPECT_EQ(last.at("verdict"), "same");
  EXPECT_EQ(last.at("exit_status"), 1);
  EXPECT_EQ(last.at("workloads").size(), 5u);
  EXPECT_EQ(last.at("workloads").at(4).at("per_cpuid_exit").at("exits"), 13.0);
  const std::string text = to_text(comparison);
  EXPECT_THAT(text, HasSubstr("the same results in all modes in which it runs"));
  EXPECT_THAT(text, HasSubstr("\npage faults "));
  EXPECT_THAT(text, HasSubstr("\nper CPUID exit "));
}

// One test, as nine runs are enough.
TEST(MmuModes, GiveTheSameResultsAtThePricesThatEachIsKnownFor) {
  const MmuComparison comparison = compare("mmu-modes");
  expect_the_same_results(comparison);
  expect_nested_ept_far_ahead_on_page_faults(comparison);
  expect_nested_ept_ahead_on_tlb_misses(comparison);
  expect_near_parity_on_computation(comparison);
  expect_exact_exits_for_each_cpuid(comparison);
  expect_reports(comparison);
}

TEST(MmuModesOfImages, AnImageThatNeedsEptCannotRunWithoutIt) {
  const MmuComparison comparison = compare("ept-violation");
  ASSERT_EQ(comparison.runs.size(), kL0Modes.size());
  for (const ModeRun& run : comparison.runs) {
    const L0ModeInfo& info = info_of(run.l0.mode);
    EXPECT_EQ(run.verdict, info.offers_ept ? Verdict::kSame : Verdict::kCannotRun) << info.name;
    EXPECT_THAT(run.reason, HasSubstr(info.offers_ept ? "" : "needs EPT"));
  }
  EXPECT_TRUE(comparison.same());
}

// It forgets INVEPT, and EPT02 holds what the processor alone would not have kept.
TEST(MmuModesOfImages, ADifferenceIsNamedWithWhatLedThere) {
  const MmuComparison comparison = compare("missing-invept");
  EXPECT_FALSE(comparison.same());
  const ModeRun& nested = comparison.runs.at(static_cast<size_t>(L0Mode::kNestedEpt));
  ASSERT_EQ(nested.verdict, Verdict::kDiffers);
  EXPECT_EQ(nested.reference.mode, L0Mode::kHardware);
  ASSERT_TRUE(nested.line);
  EXPECT_THAT(nested.line->reference, HasSubstr("L2 sees the new page"));
  EXPECT_THAT(nested.line->other, HasSubstr("L2 sees the old page"));
  ASSERT_TRUE(nested.parting);
  EXPECT_FALSE(nested.parting->event) << "what L2 reads is no event";
  EXPECT_THAT(nested.parting->stale, HasSubstr("missing=INVEPT"));
  const std::string text = to_text(comparison);
  EXPECT_THAT(text, HasSubstr("      nested-ept: " + nested.line->other + "\n"));
  EXPECT_THAT(text, HasSubstr("with --tlb keep: " + nested.parting->stale));
  const auto json = nlohmann::json::parse(to_json(comparison)).at("modes").at(2);
  EXPECT_EQ(json.at("compared_with"), "hardware");
  EXPECT_EQ(json.at("first_line").at("here"), nested.line->other);
  EXPECT_EQ(json.at("stale_translation"), nested.parting->stale);
}

ModeRun ended(L0Mode mode, uint32_t value, const std::string& serial) {
  ModeRun run;
  run.l0.mode = mode;
  run.result.kind = RunResult::Kind::kDebugExit;
  run.result.code = NESTOR_DEBUG_EXIT_STATUS(value);
  run.serial = serial;
  return run;
}

TEST(MmuModes, EndsWithoutAVerdictWhenTheBudgetIsSpent) {
  const auto compared =
      compare_mmu_modes(read_image("mmu-modes"), {}, "",
                        {.memory_bytes = kMemory, .max_instructions = 1000}, create_machine);
  const auto& comparison = std::get<MmuComparison>(compared);
  EXPECT_FALSE(comparison.same());
  for (const ModeRun& run : comparison.runs) {
    EXPECT_EQ(run.result.kind, RunResult::Kind::kBudgetSpent);
    EXPECT_EQ(run.verdict, Verdict::kDiffers);
    EXPECT_THAT(run.reason, HasSubstr("budget"));
  }
}

TEST(MmuModesJudge, FindsWhatDiffers) {
  MmuComparison comparison;
  comparison.runs = {
      ended(L0Mode::kHardware, NESTOR_EXIT_MACHINE_LACKS_FEATURE, "no such thing\n"),
      ended(L0Mode::kTwoLevel, 0, "a\nb\n"),
      ended(L0Mode::kNestedEpt, 0, "a\nc\n"),
      ended(L0Mode::kShadowOnEpt, 1, "a\nb\n"),
      ended(L0Mode::kShadowOnShadow, 0, "a\nb\n"),
  };
  judge(comparison.runs);
  EXPECT_FALSE(comparison.same());
  EXPECT_EQ(comparison.runs[0].verdict, Verdict::kCannotRun);
  EXPECT_THAT(comparison.runs[0].reason, HasSubstr("no such thing"));
  EXPECT_EQ(comparison.runs[1].verdict, Verdict::kSame);
  EXPECT_EQ(comparison.runs[2].verdict, Verdict::kDiffers);
  EXPECT_THAT(comparison.runs[2].reason, HasSubstr("line 2"));
  EXPECT_EQ(comparison.runs[3].verdict, Verdict::kDiffers);
  EXPECT_EQ(comparison.runs[4].verdict, Verdict::kSame);
  EXPECT_THAT(to_text(comparison), HasSubstr("nested-ept: differs"));
}

}  // namespace
}  // namespace nestor::emu
