// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/observe/trace/trace.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>
#include <vector>

namespace nestor::emu {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

class TraceTest : public ::testing::Test {
 protected:
  TraceTest() {
    std::array<char, 32> name{"/tmp/nestor-trace-XXXXXX"};
    const int descriptor = ::mkstemp(name.data());
    EXPECT_GE(descriptor, 0);
    ::close(descriptor);
    path_ = name.data();
  }
  ~TraceTest() override { std::remove(path_.c_str()); }

  // What a trace in `format` writes for the events that `emit` gives it.
  template <class Emit>
  std::string traced(TraceFormat format, Emit emit) {
    auto file = OutputFile::open(path_);
    auto& output = std::get<std::unique_ptr<OutputFile>>(file);
    Clock clock;
    uint64_t instructions = 56;
    Trace trace(*output, format);
    trace.attach(clock, instructions);
    clock.charge(1234);
    emit(trace);
    trace.finish();
    output->close();
    EXPECT_EQ(output->error(), std::nullopt);
    std::ifstream in(path_);
    std::ostringstream text;
    text << in.rdbuf();
    return text.str();
  }
  template <class Emit>
  std::string text(Emit emit) {
    return traced(TraceFormat::kText, emit);
  }
  template <class Emit>
  std::string json(Emit emit) {
    return traced(TraceFormat::kJsonLines, emit);
  }

  std::string path_;
};

vmx::VmExitEvent ept_violation() {
  vmx::VmExitEvent event;
  event.vmcs = 0x5000;
  event.reason = 48;
  event.qualification = 0x182;  // write, linear address valid, its translation
  event.guest_rip = 0x1010;
  event.guest_linear = 0x400000;
  event.guest_physical = 0x200000;
  return event;
}

TEST_F(TraceTest, NamesTheProcessorWhereThereAreSeveral) {
  const auto emit = [](Trace& trace) {
    trace.triple_fault({0x10, false});
    trace.processor(3);
    trace.triple_fault({0x20, false});
  };
  EXPECT_EQ(
      traced(TraceFormat::kText, emit),
      "        1234 triple-fault level=L1 rip=0x10 cr3=0x0 idtr_base=0x0 gdtr_base=0x0\n"
      "        1234 triple-fault cpu=3 level=L1 rip=0x20 cr3=0x0 idtr_base=0x0 gdtr_base=0x0\n");
  EXPECT_EQ(
      traced(TraceFormat::kJsonLines, emit),
      R"({"cycle":1234,"instructions":56,"sequence":0,"event":"triple-fault","level":"L1","rip":"0x10","cr3":"0x0","idtr_base":"0x0",)"
      R"("gdtr_base":"0x0"})"
      "\n"
      R"({"cycle":1234,"instructions":56,"sequence":1,"event":"triple-fault","cpu":3,"level":"L1","rip":"0x20","cr3":"0x0","idtr_base":"0x0",)"
      R"("gdtr_base":"0x0"})"
      "\n");
}

TEST_F(TraceTest, VmExit) {
  const auto emit = [](Trace& trace) { trace.vm_exit(ept_violation()); };
  EXPECT_EQ(
      text(emit),
      "        1234 vm-exit reason=\"EPT violation\" reason_field=0x30 vmcs=0x5000 rip=0x1010 "
      "qualification=0x182 decoded=(write linear-valid translation) guest_linear=0x400000 "
      "guest_physical=0x200000\n");
  EXPECT_EQ(
      json(emit),
      R"({"cycle":1234,"instructions":56,"sequence":0,"event":"vm-exit","reason":"EPT violation","reason_field":"0x30",)"
      R"("vmcs":"0x5000","rip":"0x1010","qualification":"0x182",)"
      R"("decoded":{"write":true,"linear-valid":true,"translation":true},"guest_linear":"0x400000",)"
      R"("guest_physical":"0x200000"})"
      "\n");
}

TEST_F(TraceTest, GuestLinearAddressIsShownOnlyWhereItIsDefined) {
  vmx::VmExitEvent event = ept_violation();
  event.qualification = 0x2;
  EXPECT_THAT(json([&](Trace& trace) { trace.vm_exit(event); }), Not(HasSubstr("guest_linear")));
}

TEST_F(TraceTest, VmExitOfAnException) {
  vmx::VmExitEvent event;
  event.reason = 0;
  event.qualification = 0xdead000;
  event.interruption_information = 0x80000b0e;
  event.interruption_error_code = 2;
  event.idt_vectoring_information = 0x80000020;
  EXPECT_EQ(
      json([&](Trace& trace) { trace.vm_exit(event); }),
      R"({"cycle":1234,"instructions":56,"sequence":0,"event":"vm-exit","reason":"Exception or NMI","reason_field":"0x0",)"
      R"("vmcs":"0x0","rip":"0x0","qualification":"0xdead000","decoded":{"linear":"0xdead000"},)"
      R"("interruption":{"vector":14,"type":"hardware exception","error-code":true},"error_code":"0x2",)"
      R"("idt_vectoring":{"vector":32,"type":"external interrupt"}})"
      "\n");
}

TEST_F(TraceTest, NumberOneIsNoFlag) {
  vmx::VmExitEvent event;
  event.reason = 29;            // MOV DR
  event.qualification = 0x111;  // from DR1 to RCX
  EXPECT_THAT(text([&](Trace& trace) { trace.vm_exit(event); }),
              HasSubstr("decoded=(dr=1 access=\"MOV from DR\" register=RCX)"));
}

TEST_F(TraceTest, UndefinedReasonStillHasItsNumber) {
  vmx::VmExitEvent event;
  event.reason = 0xfff;
  EXPECT_THAT(text([&](Trace& trace) { trace.vm_exit(event); }),
              HasSubstr("reason=unknown reason_field=0xfff"));
}

TEST_F(TraceTest, VmEntry) {
  vmx::VmEntryEvent event{true, 0x5000, 0x1000, 0x2000, 0x301e, 7, 0};
  const auto emit = [&](Trace& trace) { trace.vm_entry(event); };
  EXPECT_EQ(
      text(emit),
      "        1234 vm-entry instruction=VMLAUNCH vmcs=0x5000 rip=0x1000 cr3=0x2000 eptp=0x301e "
      "vpid=7\n");
  event.launch = false;
  event.interruption_information = 0x80000020;
  EXPECT_EQ(
      json(emit),
      R"({"cycle":1234,"instructions":56,"sequence":0,"event":"vm-entry","instruction":"VMRESUME","vmcs":"0x5000",)"
      R"("rip":"0x1000","cr3":"0x2000","eptp":"0x301e","vpid":7,)"
      R"("injected":{"vector":32,"type":"external interrupt"}})"
      "\n");
}

TEST_F(TraceTest, WalkNamesTheBrokenRule) {
  const auto emit = [](Trace& trace) {
    WalkEvent event;
    event.outcome = WalkOutcome::kEptMisconfiguration;
    event.rule = "a rule";
    trace.walk(event);
  };
  EXPECT_NE(text(emit).find("outcome=\"EPT misconfiguration\""), std::string::npos);
  EXPECT_NE(text(emit).find(" rule=\"a rule\""), std::string::npos);
  EXPECT_NE(json(emit).find(R"("rule":"a rule")"), std::string::npos);
}

// A value that is quoted itself has its inner quotation marks changed.
TEST_F(TraceTest, QuotedNamesInText) {
  const auto emit = [](Trace& trace) {
    trace.check_failed({"some-check", "Field", 1, "\"use EPT\" must be 1", "Title"});
  };
  EXPECT_EQ(text(emit),
            "        1234 check-failed check=some-check field=Field value=0x1 "
            "requirement=\"'use EPT' must be 1\" section=Title\n");
}

TEST_F(TraceTest, FailedCheck) {
  const auto emit = [](Trace& trace) {
    trace.check_failed({"guest-rflags-fixed", "Guest RFLAGS", 0, "bit 1 must be 1",
                        "Checks on Guest RIP, RFLAGS"});
  };
  EXPECT_EQ(text(emit),
            "        1234 check-failed check=guest-rflags-fixed field=\"Guest RFLAGS\" value=0x0 "
            "requirement=\"bit 1 must be 1\" section=\"Checks on Guest RIP, RFLAGS\"\n");
  EXPECT_EQ(
      json(emit),
      R"({"cycle":1234,"instructions":56,"sequence":0,"event":"check-failed","check":"guest-rflags-fixed",)"
      R"("field":"Guest RFLAGS","value":"0x0","requirement":"bit 1 must be 1",)"
      R"("section":"Checks on Guest RIP, RFLAGS"})"
      "\n");
}

TEST_F(TraceTest, VmInstructionError) {
  EXPECT_EQ(text([](Trace& trace) {
              trace.vm_instruction_error({"VMPTRLD", 0});
              trace.vm_instruction_error({"VMPTRLD", 9});
            }),
            "        1234 vm-instruction-error instruction=VMPTRLD result=VMfailInvalid rip=0x0\n"
            "        1234 vm-instruction-error instruction=VMPTRLD result=VMfailValid error=9 "
            "text=\"VMPTRLD with invalid physical address\" rip=0x0\n");
}

TEST_F(TraceTest, Exceptions) {
  EXPECT_EQ(
      text([](Trace& trace) {
        trace.exception({14, false, 2, 0x10, 0x4000, true});
        trace.exception({3, true, std::nullopt, 0x20, 0, false});
        trace.exception({6, false, std::nullopt, 0x30, 0, false});
      }),
      "        1234 exception vector=14 name=#PF level=L2 rip=0x10 error_code=0x2 cr2=0x4000\n"
      "        1234 exception vector=3 software=yes level=L1 rip=0x20\n"
      "        1234 exception vector=6 name=#UD level=L1 rip=0x30\n");
}

TEST_F(TraceTest, OtherEvents) {
  EXPECT_EQ(
      json([](Trace& trace) {
        trace.interrupt({32, false, 0x10, false});
        trace.unclaimed_access({false, true, 0x80, 1, 0x5a});
        trace.triple_fault({0x30, true});
        trace.vmx_abort(4);
        trace.debug_exit(3);
        trace.workload(2);
      }),
      R"({"cycle":1234,"instructions":56,"sequence":0,"event":"interrupt","vector":32,"nmi":false,"level":"L1","rip":"0x10"})"
      "\n"
      R"({"cycle":1234,"instructions":56,"sequence":1,"event":"unclaimed-access","space":"port","direction":"write",)"
      R"("address":"0x80","size":1,"value":"0x5a"})"
      "\n"
      R"({"cycle":1234,"instructions":56,"sequence":2,"event":"triple-fault","level":"L2","rip":"0x30","cr3":"0x0","idtr_base":"0x0",)"
      R"("gdtr_base":"0x0"})"
      "\n"
      R"({"cycle":1234,"instructions":56,"sequence":3,"event":"vmx-abort","indicator":4,"meaning":"failure in loading host MSRs"})"
      "\n"
      R"({"cycle":1234,"instructions":56,"sequence":4,"event":"debug-exit","value":"0x3"})"
      "\n"
      R"({"cycle":1234,"instructions":56,"sequence":5,"event":"workload","number":2})"
      "\n");
}

constexpr std::array kSteps = {
    ept::Step{ept::Dimension::kEpt, 4, 0x3000, 0x3000, 0x4007, 0x4107},
    ept::Step{ept::Dimension::kGuest, 4, 0x1000, 0x9000, 0x2023, 0x2023},
};

WalkEvent walk_event() {
  WalkEvent event;
  event.linear = 0x400000;
  event.guest_physical = 0x200000;
  event.physical = 0x700000;
  event.eptp = 0x305e;
  event.paging = ept::PagingMode::k4Level;
  event.access.kind = ept::Access::kWrite;
  event.cpl = 3;
  event.steps = kSteps;
  return event;
}

TEST_F(TraceTest, Walk) {
  const auto emit = [](Trace& trace) { trace.walk(walk_event()); };
  EXPECT_EQ(
      text(emit),
      "        1234 walk outcome=translated eptp=0x305e linear=0x400000 guest_physical=0x200000 "
      "physical=0x700000 paging=4-level access=write cpl=3 steps=2\n"
      "              EPT   level 4 entry at 0x3000: 0x4007, written back 0x4107\n"
      "              guest level 4 entry at 0x1000 (machine 0x9000): 0x2023\n");
  EXPECT_EQ(
      json(emit),
      R"({"cycle":1234,"instructions":56,"sequence":0,"event":"walk","outcome":"translated","eptp":"0x305e",)"
      R"("linear":"0x400000","guest_physical":"0x200000","physical":"0x700000","paging":"4-level",)"
      R"("access":"write","cpl":3,"steps":[)"
      R"({"dimension":"EPT","level":4,"address":"0x3000","machine_address":"0x3000","entry":"0x4007",)"
      R"("written_back":"0x4107"},)"
      R"({"dimension":"guest","level":4,"address":"0x1000","machine_address":"0x9000","entry":"0x2023",)"
      R"("written_back":"0x2023"}]})"
      "\n");
}

TEST_F(TraceTest, RefusedWalkHasNoPhysicalAddress) {
  WalkEvent event = walk_event();
  event.outcome = WalkOutcome::kEptViolation;
  const std::string line = json([&](Trace& trace) { trace.walk(event); });
  const auto parsed = nlohmann::json::parse(line);
  EXPECT_EQ(parsed["outcome"], "EPT violation");
  EXPECT_EQ(parsed["guest_physical"], "0x200000");
  EXPECT_FALSE(parsed.contains("physical"));
}

TEST_F(TraceTest, StaleTranslation) {
  StaleTranslationEvent event;
  event.linear = 0x400010;
  event.access = ept::Access::kWrite;
  event.non_root = true;
  event.vpid = 1;
  event.pcid = 2;
  event.ept_root = 0x3000;
  event.cached_guest_physical = event.tables_guest_physical = 0x200010;
  event.cached_physical = 0x700010;
  event.tables_physical = 0x800010;
  event.missing = "INVEPT";
  EXPECT_EQ(text([&](Trace& trace) { trace.stale_translation(event); }),
            "        1234 stale-translation linear=0x400010 access=write level=L2 vpid=1 pcid=2 "
            "ept_root=0x3000 cached_guest_physical=0x200010 cached_physical=0x700010 "
            "tables=translated tables_guest_physical=0x200010 tables_physical=0x800010 "
            "missing=INVEPT\n");
  EXPECT_EQ(text([&](Trace& trace) {
              event.dirty_flag_cleared = true;
              trace.stale_translation(event);
            }).find("dirty_flag_cleared") == std::string::npos,
            false);
  event.tables = WalkOutcome::kPageFault;
  event.ept_root.reset();
  event.non_root = false;
  const auto parsed =
      nlohmann::json::parse(json([&](Trace& trace) { trace.stale_translation(event); }));
  EXPECT_EQ(parsed["event"], "stale-translation");
  EXPECT_EQ(parsed["tables"], "page fault");
  for (const char* absent :
       {"ept_root", "cached_guest_physical", "tables_guest_physical", "tables_physical"}) {
    EXPECT_FALSE(parsed.contains(absent)) << absent;
  }
}

TEST_F(TraceTest, ZeroCode) {
  EXPECT_EQ(text([](Trace& trace) {
              trace.zero_code({0x400000, true});
            }),
            "        1234 zero-code linear=0x400000 level=L2\n");
}

TEST_F(TraceTest, OutsideRam) {
  const auto line = [&](ImplicitMemory what, bool real_mode) {
    return text([&](Trace& trace) { trace.outside_ram({what, 0xa0000, 0x30, real_mode, true}); });
  };
  EXPECT_EQ(line(ImplicitMemory::kStack, true),
            "        1234 outside-ram what=stack linear=0xa0000 level=L2 rip=0x30\n");
  EXPECT_EQ(line(ImplicitMemory::kInterruptTable, true),
            "        1234 outside-ram what=IVT linear=0xa0000 level=L2 rip=0x30\n");
  EXPECT_EQ(line(ImplicitMemory::kInterruptTable, false),
            "        1234 outside-ram what=IDT linear=0xa0000 level=L2 rip=0x30\n");
}

TEST_F(TraceTest, EveryJsonLineParses) {
  const std::string all = json([](Trace& trace) {
    for (uint32_t reason = 0; reason < 80; ++reason) {
      vmx::VmExitEvent event;
      event.reason = reason;
      event.qualification = ~0ull;
      event.interruption_information = event.idt_vectoring_information = ~0u;
      trace.vm_exit(event);
    }
    trace.check_failed({"id", "a \"quoted\" \\ field", 1, "line\nbreak", ""});
    trace.walk(walk_event());
  });
  std::istringstream lines(all);
  uint64_t sequence = 0;
  for (std::string line; std::getline(lines, line); ++sequence) {
    const auto parsed = nlohmann::ordered_json::parse(line, nullptr, false);
    ASSERT_FALSE(parsed.is_discarded()) << line;
    EXPECT_EQ(parsed["sequence"], sequence);
    if (parsed["event"] == "check-failed") {
      EXPECT_EQ(parsed["field"], "a \"quoted\" \\ field");
      EXPECT_EQ(parsed["requirement"], "line\nbreak");
    }
  }
  EXPECT_EQ(sequence, 82u);
}

TEST_F(TraceTest, EqualEventsInARowAreOneLineWithTheirCount) {
  Clock* clock = nullptr;
  const auto emit = [&](Trace& trace) {
    for (uint64_t i = 0; i < 3; ++i) {
      trace.unclaimed_access({false, true, 0x80, 1, 0x5a});
      clock->charge(1);
    }
    trace.unclaimed_access({false, true, 0x80, 1, 0x5b});
    trace.walk(walk_event());
    trace.walk(walk_event());
  };
  for (const TraceFormat format : {TraceFormat::kText, TraceFormat::kJsonLines}) {
    auto file = OutputFile::open(path_);
    auto& output = std::get<std::unique_ptr<OutputFile>>(file);
    Clock time;
    const uint64_t instructions = 0;
    clock = &time;
    {
      Trace trace(*output, format);
      trace.attach(time, instructions);
      emit(trace);
    }
    output->close();
    std::ifstream in(path_);
    std::ostringstream written;
    written << in.rdbuf();
    if (format == TraceFormat::kText) {
      EXPECT_EQ(
          written.str(),
          "           0 unclaimed-access count=3 space=port direction=write address=0x80 size=1 "
          "value=0x5a\n"
          "           3 unclaimed-access space=port direction=write address=0x80 size=1 "
          "value=0x5b\n"
          "           3 walk count=2 outcome=translated eptp=0x305e linear=0x400000 "
          "guest_physical=0x200000 physical=0x700000 paging=4-level access=write cpl=3 steps=2\n"
          "              EPT   level 4 entry at 0x3000: 0x4007, written back 0x4107\n"
          "              guest level 4 entry at 0x1000 (machine 0x9000): 0x2023\n");
    } else {
      EXPECT_THAT(written.str(),
                  testing::StartsWith(
                      R"({"cycle":0,"instructions":0,"sequence":0,"event":"unclaimed-access",)"
                      R"("count":3,"space":"port")"));
      EXPECT_THAT(written.str(), HasSubstr(R"({"cycle":3,"instructions":0,"sequence":3,)"
                                           R"("event":"unclaimed-access","space")"));
      EXPECT_THAT(
          written.str(),
          HasSubstr(R"({"cycle":3,"instructions":0,"sequence":4,"event":"walk","count":2,)"));
    }
  }
}

TEST_F(TraceTest, EqualEventsOfTwoProcessorsAreTwoLines) {
  EXPECT_EQ(text([](Trace& trace) {
              trace.processor(0);
              trace.debug_exit(0);
              trace.processor(1);
              trace.debug_exit(0);
              trace.processor(1);
              trace.debug_exit(0);
            }),
            "        1234 debug-exit cpu=0 value=0x0\n"
            "        1234 debug-exit cpu=1 count=2 value=0x0\n");
}

TEST_F(TraceTest, FanOutReachesEverySinkInOrder) {
  struct Named final : EventHandler<Named> {
    Named(std::string& log, char name) : log_(log), name_(name) {}
    void handle(const vmx::VmEntryEvent&) { log_ += name_; }
    void handle(const DebugExitEvent&) { log_ += name_; }
    void handle(const WorkloadEvent&) { log_ += name_; }
    std::string& log_;
    const char name_;
  };
  std::string log;
  Named one(log, '1'), two(log, '2');
  FanOut fan;
  EXPECT_TRUE(fan.empty());
  fan.add(one);
  fan.add(two);
  fan.vm_entry({});
  fan.debug_exit(0);
  fan.workload(1);
  EXPECT_EQ(log, "121212");
  EXPECT_FALSE(fan.wants_walks());
  auto file = OutputFile::open(path_);
  Trace trace(*std::get<std::unique_ptr<OutputFile>>(file), TraceFormat::kText);
  fan.add(trace);
  EXPECT_TRUE(fan.wants_walks());
}

// --- files that cannot be written

TEST(OutputFile, NamesThePathThatCannotBeOpened) {
  const auto file = OutputFile::open("/nonexistent/trace");
  ASSERT_TRUE(std::holds_alternative<std::string>(file));
  EXPECT_EQ(std::get<std::string>(file),
            "cannot write /nonexistent/trace: No such file or directory");
}

TEST(OutputFile, FullDiskIsReportedOnce) {
  auto file = OutputFile::open("/dev/full");
  auto& output = std::get<std::unique_ptr<OutputFile>>(file);
  Trace trace(*output, TraceFormat::kText);
  EXPECT_FALSE(trace.failed());
  for (uint32_t i = 0; i < 100'000 && !trace.failed(); ++i) trace.debug_exit(i);
  EXPECT_TRUE(trace.failed()) << "an error shows before the end of a long run";
  output->close();
  EXPECT_EQ(output->error(), "cannot write /dev/full: No space left on device");
}

TEST(OutputFile, FullDiskShowsAtTheLatestWhenClosed) {
  auto file = OutputFile::open("/dev/full");
  auto& output = std::get<std::unique_ptr<OutputFile>>(file);
  output->write("one line\n");
  EXPECT_EQ(output->error(), std::nullopt);
  output->close();
  EXPECT_EQ(output->error(), "cannot write /dev/full: No space left on device");
}

}  // namespace
}  // namespace nestor::emu
