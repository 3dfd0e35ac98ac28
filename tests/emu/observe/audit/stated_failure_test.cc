// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/observe/audit/stated_failure.h"

#include <gtest/gtest.h>

namespace nestor::emu {
namespace {

using vmx::Field;

TEST(StatedFailure, IsAnExitReasonOrAnErrorWithItsNumber) {
  struct Case {
    std::string_view line;
    Field field;
    uint32_t value;
  };
  for (const Case& one : {
           Case{"the last vmexit reason is 33.", Field::kExitReason, 0x80000021},
           Case{"exit_reason\t\t41", Field::kExitReason, 0x80000029},
           Case{"Exit reason: 0x80000022", Field::kExitReason, 0x80000022},
           Case{"KVM: entry failed, hardware error 0x80000021", Field::kExitReason, 0x80000021},
           Case{"KVM: entry failed, hardware error 0x7", Field::kVmInstructionError, 7},
           Case{"it ends with VM_INSTRUCTION_ERROR = 7, which", Field::kVmInstructionError, 7},
           Case{"VM instruction error: 8", Field::kVmInstructionError, 8},
       }) {
    const auto failure = stated_failure(one.line, FailureWords::kNumbers);
    ASSERT_TRUE(failure) << one.line;
    EXPECT_EQ(failure->field, one.field) << one.line;
    EXPECT_EQ(failure->value, one.value) << one.line;
  }
  for (const char* line :
       {"vmexit reason is 48", "EXIT_REASON = 0x4402", "VM_INSTRUCTION_ERROR = 0x4400",
        "if (exit_reason == 33) return;", "instruction error 12", "EXIT_REASON_INVALID = 33"})
    EXPECT_FALSE(stated_failure(line, FailureWords::kAll)) << line;
}

TEST(StatedFailure, IsSaidInWords) {
  const auto of = [](std::string_view line) { return stated_failure(line, FailureWords::kAll); };
  EXPECT_EQ(of("hax: exit_invalid_guest_state(): counter 3")->value, 0x80000021u);
  EXPECT_EQ(of("VM entry: Invalid Guest State")->value, 0x80000021u);
  EXPECT_EQ(of("due to invalid control fields!")->value, 7u);
  EXPECT_EQ(of("invalid host-state field(s)")->value, 8u);
  for (const char* line : {"VM entry failed", "VMLAUNCH error; code", "x: KVM_EXIT_FAIL_ENTRY",
                           "KVM: entry failed, hardware error 0x0"}) {
    ASSERT_TRUE(of(line)) << line;
    EXPECT_FALSE(of(line)->field) << line;
  }
  // Source text has words of all failures.
  EXPECT_FALSE(stated_failure("vmlaunch failed: invalid guest state", FailureWords::kNumbers));
}

TEST(StatedFailure, TakesExitReasonsAsTheyArePrinted) {
  const std::pair<std::string_view, uint32_t> numbers[] = {{"33", 33},
                                                           {"48", 48},
                                                           {"0x30", 0x30},
                                                           {"00000030", 0x30},
                                                           {"30h", 0x30},
                                                           {"80000021", 0x80000021},
                                                           {"0x80000021U", 0x80000021},
                                                           {"2147483681", 0x80000021},
                                                           {"ffffffff00000021", 0x21},
                                                           {"0xffffffff80000021", 0x80000021}};
  for (const auto& [text, value] : numbers) EXPECT_EQ(exit_reason_number(text), value) << text;
  for (const char* text :
       {"", "0x", "99x", "0x4402", "c0000021", "12345678900000021", "0x180000021"})
    EXPECT_EQ(exit_reason_number(text), std::nullopt) << text;
}

TEST(StatedFailure, MeansThatEntryFailedWithAndWithoutBit31) {
  for (const uint32_t reason : {33u, 34u, 41u, 0x80000021u, 0x80000030u})
    EXPECT_TRUE(means_failed_entry(reason)) << reason;
  for (const uint32_t reason : {0u, 32u, 35u, 48u, 0x08000030u})
    EXPECT_FALSE(means_failed_entry(reason)) << reason;
}

}  // namespace
}  // namespace nestor::emu
