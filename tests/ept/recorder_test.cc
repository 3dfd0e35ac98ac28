// SPDX-License-Identifier: MIT

#include "ept/recorder.h"

#include <gtest/gtest.h>

#include <cstdint>

namespace nestor::ept::testing {
namespace {

Step step_of(std::uint64_t entry) {
  Step step;
  step.entry = step.written_back = entry;
  return step;
}

TEST(RecordSteps, KeepsTheFirstAndCountsAll) {
  RecordSteps<2> recorder;
  recorder.wrote_back(9);
  EXPECT_EQ(recorder.total(), 0U);
  EXPECT_TRUE(recorder.steps().empty());
  for (std::uint64_t entry = 1; entry != 5; ++entry) {
    recorder.record(step_of(entry));
    recorder.wrote_back(entry + 10);
    EXPECT_EQ(recorder.total(), entry);
    ASSERT_EQ(recorder.steps().size(), entry < 2 ? entry : 2U);
    EXPECT_EQ(recorder.steps()[0].entry, 1U);
    EXPECT_EQ(recorder.steps()[0].written_back, 11U);
    if (entry < 2) continue;
    EXPECT_EQ(recorder.steps()[1].entry, 2U);
    EXPECT_EQ(recorder.steps()[1].written_back, 12U) << "later updates are not of this step";
  }
  recorder.clear();
  EXPECT_EQ(recorder.total(), 0U);
  EXPECT_TRUE(recorder.steps().empty());
  recorder.record(step_of(7));
  EXPECT_EQ(recorder.steps()[0].entry, 7U);
  EXPECT_EQ(recorder.steps()[0].written_back, 7U);
}

TEST(RecordSteps, AStepSaysNothingBeforeItIsFilled) {
  const Step step;
  EXPECT_EQ(step.dimension, Dimension::kGuest);
  EXPECT_EQ(step.level, 0);
  EXPECT_EQ(step.address + step.machine_address + step.entry + step.written_back, 0U);
}

}  // namespace
}  // namespace nestor::ept::testing
