// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/observe/trace/perfetto_trace.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdio>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "tests/emu/events/sample_events.h"

namespace nestor::emu {
namespace {

class PerfettoTraceTest : public ::testing::Test {
 protected:
  PerfettoTraceTest() {
    auto opened = OutputFile::open(path_);
    file_ = std::get<std::unique_ptr<OutputFile>>(std::move(opened));
    trace_ = create_trace(*file_, TraceFormat::kPerfetto);
    trace_->attach(clock_, instructions_);
  }
  ~PerfettoTraceTest() override { std::remove(path_.c_str()); }

  void exit_at(uint32_t reason) {
    vmx::VmExitEvent event;
    event.reason = reason;
    trace_->vm_exit(event);
  }
  // The events of the file, those with this "ph".
  std::vector<nlohmann::json> written(const std::string& phase) {
    trace_->finish();
    file_->close();
    std::ifstream in(path_);
    const auto all = nlohmann::json::parse(in);
    std::vector<nlohmann::json> found;
    for (const auto& event : all)
      if (event.at("ph") == phase) found.push_back(event);
    return found;
  }

  const std::string path_ = ::testing::TempDir() + "perfetto-" + std::to_string(::getpid());
  std::unique_ptr<OutputFile> file_;
  std::unique_ptr<TraceWriter> trace_;
  Clock clock_;
  uint64_t instructions_ = 0;
};

TEST_F(PerfettoTraceTest, ExitsAndRunsOfL2AreSlices) {
  clock_.charge(2000);
  trace_->vm_entry({});
  clock_.charge(1);
  exit_at(10);
  clock_.charge(4000);
  trace_->vm_entry({});
  const auto slices = written("X");
  ASSERT_EQ(slices.size(), 3u);
  EXPECT_EQ(slices[0].at("name"), "L2");
  EXPECT_EQ(slices[0].at("tid"), 2);
  EXPECT_DOUBLE_EQ(slices[0].at("ts"), 1.0);
  EXPECT_DOUBLE_EQ(slices[0].at("dur"), 0.0005);
  EXPECT_EQ(slices[1].at("name"), "CPUID");
  EXPECT_EQ(slices[1].at("tid"), 1);
  EXPECT_DOUBLE_EQ(slices[1].at("dur"), 2.0);
  EXPECT_EQ(slices[1].at("args").at("reason_field"), "0xa");
  EXPECT_DOUBLE_EQ(slices[2].at("dur"), 0.0) << "what has not ended ends with the trace";
}

TEST_F(PerfettoTraceTest, AProcessorIsAProcess) {
  trace_->processor(0);
  trace_->vm_entry({});
  trace_->processor(1);
  exit_at(12);
  trace_->processor(0);
  trace_->debug_exit(1);
  const auto instants = written("i");
  ASSERT_EQ(instants.size(), 1u);
  EXPECT_EQ(instants[0].at("pid"), 1);
  EXPECT_EQ(instants[0].at("tid"), 2) << "L2 runs there";
  const auto slices = written("X");
  ASSERT_EQ(slices.size(), 2u);
  EXPECT_EQ(slices[1].at("pid"), 2);
}

TEST_F(PerfettoTraceTest, EveryEventIsValidJson) {
  for (const MachineEvent& event : sample_events()) trace_->on(event);
  EXPECT_GT(written("i").size(), 10u);
}

TEST_F(PerfettoTraceTest, WithoutEventsItIsAnEmptyArray) { EXPECT_TRUE(written("X").empty()); }

TEST_F(PerfettoTraceTest, GoesOnInL2) {
  clock_.charge(100);
  trace_->resumed(7, {true});
  clock_.charge(2000);
  exit_at(18);
  const auto slices = written("X");
  ASSERT_EQ(slices.size(), 2u);
  EXPECT_EQ(slices[0].at("name"), "L2");
  EXPECT_DOUBLE_EQ(slices[0].at("dur"), 1.0);
}

}  // namespace
}  // namespace nestor::emu
