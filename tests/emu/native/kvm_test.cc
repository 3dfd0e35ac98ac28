// SPDX-License-Identifier: GPL-2.0-or-later

// The walker against KVM of the host. Skipped where KVM is not usable or lacks the paging mode.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <bit>
#include <cstdint>
#include <ostream>
#include <string>

#include "emu/native/campaign.h"
#include "emu/native/comparison.h"
#include "emu/native/ept_campaign.h"
#include "emu/native/layout.h"
#include "emu/native/nested_layout.h"
#include "emu/native/shrink.h"
#include "ept/bits.h"
#include "vmx/capabilities.h"

namespace nestor::emu::native {
namespace {

using ept::bit;
using ept::PagingMode;

struct NamedMode {
  const char* name;
  PagingMode mode;
  friend void PrintTo(const NamedMode& mode, std::ostream* out) { *out << mode.name; }
};

class NativeKvm : public testing::TestWithParam<NamedMode> {};

TEST_P(NativeKvm, AgreesWithTheWalker) {
  CampaignOptions options;
  options.seed = 20130801;
  options.walks = 4000;
  options.accesses = 1000;
  CampaignResult result;
  try {
    result = run_campaign(options, GetParam().mode);
  } catch (const Unavailable& error) {
    GTEST_SKIP() << error.what();
  }
  EXPECT_THAT(result.mismatches, testing::IsEmpty());
  EXPECT_EQ(result.translations.mismatches, 0U);
  EXPECT_EQ(result.accesses.mismatches, 0U);
  // That much was asked, and nothing that can happen was missed.
  EXPECT_EQ(result.translations.asked, options.walks);
  EXPECT_EQ(result.accesses.asked, options.accesses);
  for (const Figures& figures : {result.translations, result.accesses}) {
    EXPECT_GT(figures.small_pages, 0U);
    EXPECT_GT(figures.large_pages, 0U);
    EXPECT_GT(figures.outside, 0U);
    EXPECT_GT(figures.not_present, 0U);
    EXPECT_GT(figures.flags_set, 0U);
  }
  EXPECT_GT(result.accesses.reserved, 0U);
  EXPECT_GT(result.accesses.denied, 0U);
}

INSTANTIATE_TEST_SUITE_P(Modes, NativeKvm,
                         testing::Values(NamedMode{"Pt32", PagingMode::k32Bit},
                                         NamedMode{"Pae", PagingMode::kPae},
                                         NamedMode{"FourLevel", PagingMode::k4Level},
                                         NamedMode{"FiveLevel", PagingMode::k5Level}),
                         [](const auto& parameter) { return parameter.param.name; });

/// Tables of 4-level paging that lead to one page, with more bits set than need be.
Case crowded_case(std::uint64_t leaf) {
  constexpr std::uint64_t kUsed = 0x27 | bit(9) | bit(11) | bit(52) | bit(62);
  Case result;
  result.question.state.mode = PagingMode::k4Level;
  result.question.state.cr3 = Layout::kTables;
  result.question.state.wp = true;
  result.question.state.nxe = true;
  result.question.linear = 0x123;
  for (unsigned level = 4; level != 1; --level) {
    const std::uint64_t table = Layout::kTables + (4 - level) * 0x1000;
    result.entries.push_back({table, (table + 0x1000) | kUsed, level});
  }
  result.entries.push_back({Layout::kTables + 0x3000, Layout::kData | kUsed | leaf, 1});
  return result;
}

/// Nothing where KVM cannot be used.
std::optional<Comparison> comparison() {
  try {
    return Comparison("/dev/kvm", 40, PagingMode::k4Level);
  } catch (const Unavailable&) {
    return std::nullopt;
  }
}

TEST(Comparison, FindsAWrongWalkAndShrinksItsTables) {
  auto machine = comparison();
  if (!machine) GTEST_SKIP() << "KVM is not usable";
  // The walker is told of more address bits than the machine has: it takes bit 45 for an address.
  Case wrong = crowded_case(bit(45));
  wrong.question.state.maxphyaddr = 52;
  const Answer answer = ask(*machine, wrong);
  ASSERT_EQ(answer.verdict, Verdict::kDiffer);
  EXPECT_EQ(answer.kvms, "no translation");

  const Case least = shrink(*machine, wrong);
  EXPECT_EQ(ask(*machine, least).verdict, Verdict::kDiffer);
  ASSERT_EQ(least.entries.size(), 4U);
  EXPECT_EQ(least.entries[3].value, bit(45) | 1);
  EXPECT_EQ(std::popcount(least.entries[0].value & 0xfff), 1);
  EXPECT_FALSE(least.question.state.wp || least.question.state.nxe);
  EXPECT_EQ(least.question.linear, 0U);
  EXPECT_THAT(print(least, answer), testing::HasSubstr("level 1 entry at 0x13000: 0x200000000001"));
}

TEST(Comparison, FindsAWrongErrorCode) {
  auto machine = comparison();
  if (!machine) GTEST_SKIP() << "KVM is not usable";
  if (!machine->features().smaller_maxphyaddr) GTEST_SKIP() << "the host's own width counts";
  Case wrong = crowded_case(bit(45));
  wrong.question.access = ept::Access{ept::Access::kRead, true};
  wrong.question.state.maxphyaddr = 40;
  EXPECT_EQ(ask(*machine, wrong).verdict, Verdict::kAgree);
  wrong.question.state.maxphyaddr = 52;
  EXPECT_EQ(ask(*machine, wrong).verdict, Verdict::kDiffer);
}

TEST(Comparison, FindsAWrongFlag) {
  auto machine = comparison();
  if (!machine) GTEST_SKIP() << "KVM is not usable";
  // Loaded with one memory, asked with another: an entry that the walker's copy has as accessed.
  Case wrong = crowded_case(0);
  wrong.question.state.maxphyaddr = 40;
  ASSERT_EQ(ask(*machine, wrong).verdict, Verdict::kAgree);
  GuestMemory memory = machine->memory();
  memory.store(Layout::kTables + 0x5000, bit(6));
  const Answer answer = machine->ask(wrong.question);
  ASSERT_EQ(answer.verdict, Verdict::kDiffer);
  EXPECT_EQ(answer.kvms, "byte at 0x15000: 0x40, not 0x00");
}

TEST(NativeEpt, AgreesWithTheWalker) {
  CampaignOptions options;
  options.seed = 20130801;
  options.walks = 4000;
  options.accesses = 600;
  EptCampaignResult result;
  try {
    result = run_ept_campaign(options);
  } catch (const Unavailable& error) {
    GTEST_SKIP() << error.what();
  }
  EXPECT_THAT(result.mismatches, testing::IsEmpty());
  for (const EptFigures& figures : {result.translations, result.accesses}) {
    EXPECT_EQ(figures.mismatches, 0U);
    EXPECT_GT(figures.translated, 0U);
    EXPECT_GT(figures.violations, 0U);
    EXPECT_GT(figures.misconfigurations, 0U);
    EXPECT_GT(figures.page_faults, 0U);
    EXPECT_GT(figures.flags_set, 0U);
  }
  EXPECT_EQ(result.translations.asked, options.walks);
  EXPECT_EQ(result.accesses.asked, options.accesses);
}

/// A 4-KByte page that L2 executes, and EPT entries with more bits set than need be; `leaf` has the
/// rights of the last one.
EptCase crowded_ept_case(std::uint8_t width, std::uint64_t leaf) {
  constexpr std::uint64_t kUsed = bit(8) | bit(11) | bit(52) | bit(62);
  constexpr std::uint64_t kAllRights = 7, kWriteBack = 6;
  EptCase result;
  result.question.ept.eptp.value = NestedLayout::kTables | 3U << 3 | kWriteBack;
  result.question.ept.maxphyaddr = width;
  result.question.path.entry = 0x1067;
  result.question.linear = path_linear(0);
  result.question.access = ept::Access{ept::Access::kFetch};
  for (unsigned level = 4; level != 1; --level) {
    const std::uint64_t table = NestedLayout::kTables + (4 - level) * 0x1000;
    result.entries.push_back({table, (table + 0x1000) | kUsed | kAllRights, level});
  }
  result.entries.push_back(
      {NestedLayout::kTables + 0x3008, NestedLayout::kData | kUsed | kWriteBack << 3 | leaf, 1});
  return result;
}

TEST(NativeEpt, FindsAWrongWalkAndShrinksItsTables) {
  std::optional<EptComparison> machine;
  try {
    machine.emplace("/dev/kvm");
  } catch (const Unavailable& error) {
    GTEST_SKIP() << error.what();
  }
  if ((machine->ept_capabilities() & vmx::ept_vpid_cap::kExecuteOnly) == 0) {
    GTEST_SKIP() << "no execute-only translations";
  }
  constexpr std::uint64_t kExecute = 4, kWriteExecute = 6;
  const std::uint8_t width = machine->features().maxphyaddr;
  EptCase wrong = crowded_ept_case(width, kWriteExecute);
  EXPECT_EQ(ask(*machine, wrong).verdict, Verdict::kAgree) << "a misconfiguration";
  wrong = crowded_ept_case(width, kExecute);
  EXPECT_EQ(ask(*machine, wrong).verdict, Verdict::kAgree);
  // The walker is told that the processor has no such translations.
  wrong.question.ept.execute_only = false;
  const EptAnswer answer = ask(*machine, wrong);
  ASSERT_EQ(answer.verdict, Verdict::kDiffer);
  EXPECT_THAT(answer.ours, testing::StartsWith("EPT misconfiguration"));
  EXPECT_THAT(answer.kvms, testing::StartsWith("VMCALL"));

  const EptCase least = shrink(*machine, wrong);
  EXPECT_EQ(ask(*machine, least).verdict, Verdict::kDiffer);
  ASSERT_EQ(least.entries.size(), 4U);
  EXPECT_EQ(least.entries[0].value, (NestedLayout::kTables + 0x1000) | 1);
  EXPECT_EQ(least.entries[3].value, kExecute);
  EXPECT_THAT(print(least, answer), testing::HasSubstr("level 1 EPT entry at 0x17008: 0x4"));
}

TEST(VirtualMachine, SaysWhatIsMissing) {
  try {
    const VirtualMachine machine("/nonexistent/kvm", 0x1000, 0);
    FAIL() << "a machine without KVM";
  } catch (const Unavailable& error) {
    EXPECT_STREQ(error.what(),
                 "cannot open /nonexistent/kvm: No such file or directory; load the kvm module or "
                 "use a host that has KVM");
  }
}

TEST(VirtualMachine, RefusesAnotherDevice) {
  EXPECT_THROW(VirtualMachine("/dev/null", 0x1000, 0), Unavailable);
}

}  // namespace
}  // namespace nestor::emu::native
