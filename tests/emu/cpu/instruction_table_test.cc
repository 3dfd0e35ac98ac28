// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/cpu/instructions/instruction_table.h"

#include <gtest/gtest.h>

namespace nestor::emu::instructions {
namespace {

TEST(InstructionTable, ExitReasonsHaveControls) {
  unsigned with_reason = 0;
  for (unsigned i = 0; i < static_cast<unsigned>(Operation::kCount); ++i) {
    const InstructionInfo& info = info_of(static_cast<Operation>(i));
    if (!info.exit_reason) continue;
    ++with_reason;
    const vmx::ExitReasonInfo* reason =
        vmx::find_exit_reason(static_cast<uint16_t>(*info.exit_reason));
    ASSERT_NE(reason, nullptr) << i;
    EXPECT_TRUE(reason->intercept.exists) << reason->name;
    // What has information has a format for it.
    EXPECT_EQ((reason->defines & vmx::kDefinesInformation) != 0,
              info.information.kind != InformationFormat::Kind::kNothing)
        << reason->name;
  }
  EXPECT_GT(with_reason, 20u);
}

// Each row has one of its own; what has no row is undefined.
TEST(InstructionTable, Handlers) {
  const Handler nothing = info_of(Operation::kOther).handler;
  for (unsigned i = 1; i < static_cast<unsigned>(Operation::kCount); ++i) {
    EXPECT_NE(info_of(static_cast<Operation>(i)).handler, nothing) << i;
  }
}

TEST(InstructionTable, Features) {
  EXPECT_EQ(info_of(Operation::kRdseed).feature, vmx::Feature::kRdseed);
  EXPECT_EQ(info_of(Operation::kMwait).feature, vmx::Feature::kMonitor);
  EXPECT_EQ(info_of(Operation::kHlt).feature, std::nullopt);
  EXPECT_EQ(info_of(Operation::kVmread).handler, vmx_instruction);
}

}  // namespace
}  // namespace nestor::emu::instructions
