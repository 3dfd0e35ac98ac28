// SPDX-License-Identifier: GPL-2.0-or-later
//
// A page of code that is written under another address, which may not be executed: the engine may
// execute what it has written to, and only what paging and EPT let it. Without an L0, and below
// each.
#include "tests/emu/l0/nested_machine_fixture.h"

namespace nestor::emu {
namespace {

using vmx::ExitReason;

class WrittenAliases : public NestedMachineTest, public testing::WithParamInterface<L0Mode> {
 protected:
  // Code, and the same page once more.
  static constexpr uint64_t kPageOfCode = 0x30000, kAlias = 0x31000;

  WrittenAliases() {
    config_.l0.mode = GetParam();
    put_code(kPageOfCode, ASM64("ret"));
    // The error code and CR2.
    handle(vmx::kPf, ASM64("pop rax; mov rcx, cr2; or eax, ecx; out 0xf4, eax"));
  }
  static inline const Code kExecuteWriteAndJump =
      ASM64("mov eax, 0x30000; call rax; mov byte ptr [0x31000], 0xc3; mov eax, 0x31000; jmp rax");
  static constexpr uint32_t kFetchOfPresentPage = 0x11;
};

TEST_P(WrittenAliases, StayWithoutExecutionByPaging) {
  map(kAlias, kPageOfCode | kAll | kNoExecute);
  const uint32_t expected = status(kAlias | kFetchOfPresentPage);
  EXPECT_EQ(run(kExecuteWriteAndJump).code, expected);
  map(kPageOfCode, kPageOfCode | kPresent | kWritable);
  map(kAlias, kPageOfCode | kPresent | kWritable | kNoExecute);
  EXPECT_EQ(run_guest(kExecuteWriteAndJump).code, expected);
  if (!info_of(GetParam()).offers_ept) return;
  enable_ept();
  EXPECT_EQ(run_guest(kExecuteWriteAndJump).code, expected);
}

class WrittenAliasesByEpt : public WrittenAliases {};

TEST_P(WrittenAliasesByEpt, StayWithoutExecution) {
  enable_ept();
  constexpr uint64_t kReadWrite = 3, kFetch = 4, kReadableAndWritable = 3 << 3;
  map_guest(kAlias, kPageOfCode | kReadWrite);
  EXPECT_EQ(run_guest(kExecuteWriteAndJump).code, status(0));
  ASSERT_FALSE(record_.exits.empty());
  EXPECT_EQ(static_cast<ExitReason>(record_.exits[0].reason), ExitReason::kEptViolation);
  EXPECT_EQ(record_.exits[0].qualification & 0x3f, kFetch | kReadableAndWritable);
  EXPECT_EQ(record_.exits[0].guest_linear, kAlias);
}

std::string alias_mode_name(const testing::TestParamInfo<L0Mode>& instance) {
  std::string name(info_of(instance.param).name);
  std::ranges::replace(name, '-', '_');
  return name;
}

std::vector<L0Mode> alias_modes(bool with_ept) {
  std::vector<L0Mode> all;
  for (const L0ModeInfo& mode : kL0Modes) {
    if (mode.offers_ept || !with_ept) all.push_back(mode.mode);
  }
  return all;
}

INSTANTIATE_TEST_SUITE_P(L0, WrittenAliases, testing::ValuesIn(alias_modes(false)),
                         alias_mode_name);
INSTANTIATE_TEST_SUITE_P(L0, WrittenAliasesByEpt, testing::ValuesIn(alias_modes(true)),
                         alias_mode_name);

}  // namespace
}  // namespace nestor::emu
