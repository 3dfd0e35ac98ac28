// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/observe/trace/statistics.h"

#include <gtest/gtest.h>

#include <string>

namespace nestor::emu {
namespace {

constexpr uint32_t kCpuid = 10, kEptViolation = 48;

class StatisticsTest : public ::testing::Test {
 protected:
  StatisticsTest() { statistics_.attach(clock_, instructions_); }

  void exit_at(uint32_t reason) {
    vmx::VmExitEvent event;
    event.reason = reason;
    statistics_.vm_exit(event);
  }
  // The exit, then its handling, then the next entry.
  void handled_exit(uint32_t reason, uint64_t instructions, uint64_t cycles) {
    exit_at(reason);
    instructions_ += instructions;
    clock_.charge(cycles);
    statistics_.vm_entry({});
  }

  Clock clock_;
  uint64_t instructions_ = 0;
  Statistics statistics_;
};

TEST_F(StatisticsTest, MeasuresFromExitToEntry) {
  statistics_.vm_entry({});
  clock_.charge(1000);
  instructions_ += 1000;
  handled_exit(kCpuid, 10, 100);
  clock_.charge(1000);
  handled_exit(kCpuid, 30, 300);
  exit_at(kEptViolation);  // no entry follows

  EXPECT_EQ(statistics_.entries(), 3u);
  const auto& cpuid = statistics_.exits().at(kCpuid);
  EXPECT_EQ(cpuid.count, 2u);
  EXPECT_EQ(cpuid.handled, 2u);
  EXPECT_EQ(cpuid.instructions, 40u);
  EXPECT_EQ(cpuid.cycles, 400u);
  EXPECT_EQ(cpuid.min_cycles, 100u);
  EXPECT_EQ(cpuid.max_cycles, 300u);
  EXPECT_EQ(statistics_.exits().at(kEptViolation).handled, 0u);
}

TEST_F(StatisticsTest, ReportPutsTheMostFrequentReasonFirst) {
  handled_exit(kEptViolation, 5, 100);
  handled_exit(kCpuid, 10, 100);
  handled_exit(kCpuid, 5, 200);
  EXPECT_EQ(statistics_.report(),
            "      VM-EXIT    Samples  Samples%    Instr%     Time%   Min cycles   Max cycles     "
            "Avg cycles\n"
            "        CPUID          2    66.67%    75.00%    75.00%          100          200      "
            "   150.00\n"
            "EPT violation          1    33.33%    25.00%    25.00%          100          100      "
            "   100.00\n"
            "Total: 3 VM exits, 3 VM entries, 0 failed checks\n"
            "From a VM exit to the next VM entry: 20 of 20 instructions (100.00%), 400 of 400 "
            "cycles (100.00%)\n"
            "Delivered: 0 exceptions, 0 interrupts; unclaimed accesses: 0\n");
}

TEST_F(StatisticsTest, CachedTranslationsOfAllProcessors) {
  EXPECT_EQ(statistics_.report().find("Cached translations"), std::string::npos);
  statistics_.translations({1, 20, 300});
  statistics_.translations({1, 2, 3});
  EXPECT_NE(statistics_.report().find(
                "Cached translations: 2 hits, 22 misses; uses of stale ones: 303\n"),
            std::string::npos);
}

TEST_F(StatisticsTest, ReportWithoutExitsDividesByNothing) {
  statistics_.exception({});
  statistics_.interrupt({});
  statistics_.check_failed({});
  statistics_.unclaimed_access({});
  const std::string report = statistics_.report();
  EXPECT_NE(report.find("Total: 0 VM exits, 0 VM entries, 1 failed checks\n"), std::string::npos);
  EXPECT_NE(report.find("0 of 0 instructions (0.00%)"), std::string::npos);
  EXPECT_NE(report.find("Delivered: 1 exceptions, 1 interrupts; unclaimed accesses: 1\n"),
            std::string::npos);
}

}  // namespace
}  // namespace nestor::emu
