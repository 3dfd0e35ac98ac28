// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/observe/trace/trace_statistics.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace nestor::emu {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

TraceEvent traced_event(uint64_t cycle, const std::string& kind,
                        const std::vector<TraceField>& fields = {}, uint64_t count = 1) {
  TraceEvent event;
  event.cycle = cycle;
  event.kind = kind;
  event.fields = fields;
  event.count = count;
  return event;
}

TEST(TraceStatistics, ReportIsThatOfARunWithoutInstructions) {
  TraceStatistics statistics;
  EXPECT_TRUE(statistics.add(traced_event(1000, "vm-entry")));
  EXPECT_TRUE(statistics.add(traced_event(2000, "vm-exit", {{"reason_field", "0xa"}})));
  EXPECT_TRUE(statistics.add(traced_event(2100, "check-failed", {}, 2)));
  EXPECT_TRUE(statistics.add(traced_event(2200, "unclaimed-access", {}, 1ull << 40)));
  EXPECT_TRUE(statistics.add(traced_event(2300, "vm-entry")));
  EXPECT_TRUE(statistics.add(traced_event(2400, "exception")));
  EXPECT_TRUE(statistics.add(traced_event(2500, "run-end")));
  EXPECT_EQ(statistics.report(),
            "VM-EXIT    Samples  Samples%    Instr%     Time%   Min cycles   Max cycles     Avg "
            "cycles\n"
            "  CPUID          1   100.00%         -   100.00%          300          300         "
            "300.00\n"
            "Total: 1 VM exits, 2 VM entries, 2 failed checks\n"
            "From a VM exit to the next VM entry: 300 of 2500 cycles (12.00%)\n"
            "Delivered: 1 exceptions, 0 interrupts; unclaimed accesses: 1099511627776\n"
            "Not in a trace: what --tlb keep, --l0 and --timing add to --stats\n"
            "Nor are instructions: they are in JSON lines alone\n");
}

TEST(TraceStatistics, ReportIsThatOfARunWhereInstructionsAreCounted) {
  TraceStatistics statistics;
  Statistics run;
  Clock clock;
  uint64_t instructions = 0;
  run.attach(clock, instructions);
  const auto at = [&](uint64_t cycle, uint64_t count, const std::string& kind,
                      std::vector<TraceField> fields) {
    clock.advance_to(cycle);
    instructions = count;
    fields.push_back({"instructions", std::to_string(count)});
    EXPECT_TRUE(statistics.add(traced_event(cycle, kind, fields)));
  };
  vmx::VmExitEvent exit;
  exit.reason = 10;
  at(2000, 90, "vm-exit", {{"reason_field", "0xa"}});
  run.handle(exit);
  at(2300, 120, "vm-entry", {});
  run.handle(vmx::VmEntryEvent{});
  exit.reason = 12;
  at(2500, 200, "vm-exit", {{"reason_field", "0xc"}});
  run.handle(exit);
  at(2600, 210, "vm-entry", {});
  run.handle(vmx::VmEntryEvent{});
  at(3000, 400, "run-end", {});
  EXPECT_THAT(run.report(), HasSubstr("40 of 400 instructions (10.00%)"));
  EXPECT_EQ(statistics.report(),
            run.report() + "Not in a trace: what --tlb keep, --l0 and --timing add to --stats\n");
}

TEST(TraceStatistics, TimeOfAProcessorIncludesThatOfTheOthers) {
  TraceStatistics statistics;
  EXPECT_TRUE(
      statistics.add(traced_event(100, "vm-exit", {{"cpu", "0"}, {"reason_field", "0xa"}})));
  EXPECT_TRUE(
      statistics.add(traced_event(200, "vm-exit", {{"cpu", "1"}, {"reason_field", "0xc"}})));
  EXPECT_TRUE(statistics.add(traced_event(400, "vm-entry", {{"cpu", "0"}})));
  EXPECT_TRUE(statistics.add(traced_event(900, "vm-entry", {{"cpu", "1"}})));
  EXPECT_THAT(statistics.report(), HasSubstr("%          300          300"));
  EXPECT_THAT(statistics.report(), HasSubstr("%          700          700"));
  EXPECT_THAT(statistics.report(), HasSubstr("the time of each includes that of the others\n"));
  EXPECT_THAT(statistics.report(), Not(HasSubstr("instructions")));
}

TEST(TraceStatistics, SaysThatAFilteredTraceHasNoTimes) {
  TraceStatistics statistics;
  EXPECT_TRUE(statistics.add(traced_event(100, "vm-exit", {{"reason_field", "0xa"}}, 5)));
  EXPECT_THAT(statistics.report(), HasSubstr("Total: 5 VM exits, 0 VM entries"));
  EXPECT_THAT(statistics.report(), HasSubstr("no vm-entry event: there are no times\n"));
}

TEST(TraceStatistics, RefusesWhatNoMachineHas) {
  TraceStatistics statistics;
  for (const std::vector<TraceField>& fields :
       std::vector<std::vector<TraceField>>{{},
                                            {{"reason_field", "10"}},
                                            {{"reason_field", "0x100000000"}},
                                            {{"reason_field", "0xa "}},
                                            {{"reason_field", "0xa"}, {"cpu", "8"}},
                                            {{"reason_field", "0xa"}, {"cpu", "4294967296"}},
                                            {{"reason_field", "0xa"}, {"cpu", "0x1"}},
                                            {{"reason_field", "0xa"}, {"cpu", "-1"}},
                                            {{"reason_field", "0xa"}, {"instructions", "-1"}},
                                            {{"reason_field", "0xa"}, {"instructions", "many"}}}) {
    EXPECT_FALSE(statistics.add(traced_event(1, "vm-exit", fields)));
  }
  EXPECT_THAT(statistics.report(), HasSubstr("Total: 0 VM exits"));
  EXPECT_THAT(statistics.report(), Not(HasSubstr("turns")));
}

}  // namespace
}  // namespace nestor::emu
