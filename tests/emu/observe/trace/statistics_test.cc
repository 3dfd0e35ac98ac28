// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/observe/trace/statistics.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <sstream>
#include <string>
#include <vector>

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

  void spend(uint64_t instructions, uint64_t cycles) {
    instructions_ += instructions;
    clock_.charge(cycles);
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
  // What is not known is not shown as if it were free.
  for (const std::string& report : {statistics_.report(), statistics_.report_times()}) {
    std::istringstream lines(report);
    for (std::string line; std::getline(lines, line);) {
      const bool unknown = line.find(" - ") != std::string::npos;
      EXPECT_EQ(unknown, line.find("EPT violation") != std::string::npos) << report;
    }
  }
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

TEST_F(StatisticsTest, LevelsAddUpToTheRun) {
  spend(5, 50);
  statistics_.vm_entry({});
  spend(100, 1000);
  handled_exit(kCpuid, 10, 300);
  spend(7, 70);
  const auto levels = statistics_.levels();
  EXPECT_EQ(levels[0].instructions, 15u);
  EXPECT_EQ(levels[0].cycles, 350u);
  EXPECT_EQ(levels[1].instructions, 107u);
  EXPECT_EQ(levels[1].cycles, 1070u);
}

TEST_F(StatisticsTest, AfterALoadALevelGoesOn) {
  spend(5, 50);
  statistics_.resumed(3, {true});
  spend(7, 70);
  EXPECT_EQ(statistics_.levels()[1].cycles, 70u);
  EXPECT_EQ(statistics_.levels()[0].cycles, 0u);
}

TEST_F(StatisticsTest, WhatProcessorsHadBeforeALoadDoesNotCount) {
  statistics_.processor(0);
  spend(5, 50);
  statistics_.processor(1);
  spend(3, 30);
  statistics_.resumed(3, {false, true});
  spend(7, 70);
  statistics_.processor(0);
  spend(1, 10);
  EXPECT_EQ(statistics_.levels()[0].cycles, 10u);
  EXPECT_EQ(statistics_.levels()[1].cycles, 70u);
}

TEST_F(StatisticsTest, TimesOfExitsPutTheLongestInAllFirst) {
  handled_exit(kCpuid, 1, 10);
  handled_exit(kCpuid, 1, 20);
  handled_exit(kEptViolation, 1, 90);
  EXPECT_EQ(statistics_.report_times(),
            "      VM-EXIT    Samples     Time%   Min cycles     Avg cycles   Max cycles   "
            "Total cycles\n"
            "EPT violation          1    75.00%           90          90.00           90   "
            "          90\n"
            "        CPUID          2    25.00%           10          15.00           20   "
            "          30\n");
}

// --- several processors: each has its own instructions and cycles

TEST_F(StatisticsTest, ATurnOfAnotherCountsForNoSpan) {
  statistics_.processor(0);
  exit_at(kCpuid);
  spend(10, 100);
  statistics_.processor(1);
  exit_at(kEptViolation);
  spend(20, 200);
  statistics_.processor(0);
  spend(1, 10);
  statistics_.vm_entry({});
  statistics_.processor(1);
  spend(2, 20);
  statistics_.vm_entry({});
  const auto& cpuid = statistics_.exits().at(kCpuid);
  EXPECT_EQ(cpuid.instructions, 11u);
  EXPECT_EQ(cpuid.cycles, 110u);
  EXPECT_EQ(cpuid.min_cycles, 110u);
  EXPECT_EQ(cpuid.max_cycles, 110u);
  const auto& violation = statistics_.exits().at(kEptViolation);
  EXPECT_EQ(violation.instructions, 22u);
  EXPECT_EQ(violation.cycles, 220u);
  EXPECT_NE(
      statistics_.report().find("33 of 33 instructions (100.00%), 330 of 330 cycles (100.00%)"),
      std::string::npos)
      << statistics_.report();
}

// What all wait together each of them waits.
TEST_F(StatisticsTest, WaitingCountsForEach) {
  statistics_.processor(0);
  exit_at(kCpuid);
  statistics_.processor(1);
  spend(5, 50);
  statistics_.all_wait();
  spend(0, 1000);
  statistics_.processor(0);
  spend(1, 10);
  statistics_.vm_entry({});
  EXPECT_EQ(statistics_.exits().at(kCpuid).cycles, 1010u);
  EXPECT_NE(statistics_.report().find("1 of 6 instructions (16.67%), 1010 of 2060 cycles (49.03%)"),
            std::string::npos)
      << statistics_.report();
}

// Whatever the turns, the spans are no more than there was.
TEST_F(StatisticsTest, SharesNeverPassTheWhole) {
  for (unsigned processors = 1; processors <= 4; ++processors) {
    Clock clock;
    uint64_t instructions = 0, random = 12345;
    Statistics statistics;
    statistics.attach(clock, instructions);
    std::vector<bool> in_guest(processors, true);
    for (unsigned turn = 0; turn < 2000; ++turn) {
      random = random * 6364136223846793005 + 1442695040888963407;
      const auto number = static_cast<unsigned>((random >> 33) % processors);
      if (processors > 1) statistics.processor(number);
      if ((random >> 40) % 4 != 0) {
        vmx::VmExitEvent event;
        event.reason = kCpuid;
        if (in_guest[number]) {
          statistics.vm_exit(event);
        } else {
          statistics.vm_entry({});
        }
        in_guest[number] = !in_guest[number];
      }
      instructions += random >> 45 & 0xff;
      clock.charge(random >> 50 & 0xff);
      if (processors > 1 && (random >> 60) == 0) {
        statistics.all_wait();
        clock.charge(777);
      }
    }
    const Statistics::Samples& all = statistics.exits().at(kCpuid);
    EXPECT_GT(all.cycles, 0u);
    EXPECT_LE(all.instructions, instructions);
    const std::string report = statistics.report();
    unsigned percentages = 0;
    for (size_t at = report.find('('); at != std::string::npos; at = report.find('(', at + 1)) {
      EXPECT_LE(std::strtod(report.c_str() + at + 1, nullptr), 100.0) << report;
      ++percentages;
    }
    EXPECT_EQ(percentages, 2u);
  }
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
