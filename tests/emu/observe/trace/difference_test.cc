// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/observe/trace/difference.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>
#include <ostream>
#include <sstream>

#include "emu/observe/trace/trace.h"
#include "tests/emu/events/sample_events.h"

namespace nestor::emu {
namespace {

using ::testing::ElementsAre;
using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

// Writes what a test gives into files that vanish with it.
class Traces : public ::testing::Test {
 protected:
  Traces() {
    std::string name = testing::TempDir() + "nestor-traces-XXXXXX";
    folder_ = ::mkdtemp(name.data());
  }
  ~Traces() override {
    for (const std::string& path : paths_) ::unlink(path.c_str());
    ::rmdir(folder_.c_str());
  }

  std::string file(const std::string& text) {
    paths_.push_back(folder_ + "/" + std::to_string(paths_.size()));
    std::ofstream(paths_.back(), std::ios::binary) << text;
    return paths_.back();
  }
  std::unique_ptr<TraceReader> reader(const std::string& text) {
    auto opened = TraceReader::open(file(text));
    if (auto* bad = std::get_if<std::string>(&opened)) throw std::runtime_error(*bad);
    return std::get<std::unique_ptr<TraceReader>>(std::move(opened));
  }
  DiffResult compare(const std::string& left, const std::string& right,
                     const DiffRules& rules = {}) {
    return compare_traces(*reader(left), *reader(right), rules);
  }

 private:
  std::string folder_;
  std::vector<std::string> paths_;
};

std::vector<std::string> names(const DiffResult& result) {
  std::vector<std::string> fields;
  if (!result.difference) return fields;
  for (const FieldDifference& field : result.difference->fields) fields.push_back(field.field);
  return fields;
}

constexpr const char* kText =
    "          10 vm-entry instruction=VMLAUNCH vmcs=0x1000 rip=0x2000 cr3=0x0 eptp=0x501e vpid=1 "
    "injected=(vector=14 type=\"hardware exception\" error-code)\n"
    "          20 walk outcome=\"EPT violation\" eptp=0x501e linear=0x7000 steps=2\n"
    "              EPT   level 4 entry at 0x5000: 0x6007\n"
    "              guest level 3 entry at 0x6008 (machine 0x16008): 0x3, written back 0x23\n"
    "          30 vm-exit reason=\"I/O instruction\" reason_field=0x1e vmcs=0x1000 rip=0x2004 "
    "qualification=0x3f80009 decoded=(size=2 direction=in port=0x3f8) instruction_length=1\n"
    "          40 interrupt vector=32 nmi=no level=L1 rip=0x9\n";

constexpr const char* kJson =
    R"({"cycle":10,"sequence":0,"event":"vm-entry","instruction":"VMLAUNCH","vmcs":"0x1000","rip":"0x2000","cr3":"0x0","eptp":"0x501e","vpid":1,"injected":{"vector":14,"type":"hardware exception","error-code":true}}
{"cycle":20,"sequence":1,"event":"walk","outcome":"EPT violation","eptp":"0x501e","linear":"0x7000","steps":[{"dimension":"EPT","level":4,"address":"0x5000","machine_address":"0x5000","entry":"0x6007","written_back":"0x6007"},{"dimension":"guest","level":3,"address":"0x6008","machine_address":"0x16008","entry":"0x3","written_back":"0x23"}]}
{"cycle":30,"sequence":2,"event":"vm-exit","reason":"I/O instruction","reason_field":"0x1e","vmcs":"0x1000","rip":"0x2004","qualification":"0x3f80009","decoded":{"size":2,"direction":"in","port":"0x3f8"},"instruction_length":1}
{"cycle":40,"sequence":3,"event":"interrupt","vector":32,"nmi":false,"level":"L1","rip":"0x9"}
)";

std::string changed(std::string text, const std::string& from, const std::string& to) {
  const size_t at = text.find(from);
  EXPECT_NE(at, text.npos) << from;
  return at == text.npos ? text : text.replace(at, from.size(), to);
}

using TraceReaderTest = Traces;

// All that is written in either format is read, and says the same.
TEST_F(TraceReaderTest, EventsOfEveryKindComeBackTheSameFromBothFormats) {
  std::array<std::unique_ptr<TraceReader>, 2> readers;
  const std::vector<MachineEvent> events = sample_events();
  for (const TraceFormat format : {TraceFormat::kText, TraceFormat::kJsonLines}) {
    const std::string path = file("");
    {
      auto output = OutputFile::open(path);
      Trace trace(*std::get<std::unique_ptr<OutputFile>>(output), format);
      for (const MachineEvent& event : events) trace.on(event);
      trace.processor(1);
      for (const MachineEvent& event : events) trace.on(event);
    }
    auto opened = TraceReader::open(path);
    readers[format == TraceFormat::kJsonLines] =
        std::get<std::unique_ptr<TraceReader>>(std::move(opened));
  }
  TraceEvent one, other;
  for (size_t i = 0; i < 2 * events.size();) {
    ASSERT_TRUE(readers[0]->next(one)) << readers[0]->error().value_or("");
    ASSERT_TRUE(readers[1]->next(other)) << readers[1]->error().value_or("");
    const MachineEvent& event = events[i % events.size()];
    EXPECT_EQ(one.kind, event_kinds()[event.index()].name);
    EXPECT_EQ(other.kind, one.kind);
    EXPECT_EQ(one.number, i);
    EXPECT_EQ(other.number, i);
    EXPECT_EQ(one.count, other.count);
    std::erase_if(other.fields, [](const TraceField& field) {
      return field.key == "sequence" || field.key == "instructions";
    });
    ASSERT_EQ(one.fields.size(), other.fields.size()) << one.text << "\n" << other.text;
    for (size_t f = 0; f < one.fields.size(); ++f) {
      EXPECT_EQ(one.fields[f].key, other.fields[f].key) << one.text;
      EXPECT_EQ(one.fields[f].value, other.fields[f].value) << one.text << one.fields[f].key;
    }
    // Each field of the event is there, whole or in parts.
    for (const auto& [name, value] : values_of(event)) {
      const std::string key(name);
      const auto* decoded = std::get_if<Parts>(&value);
      if (decoded != nullptr && decoded->empty()) continue;
      EXPECT_TRUE(std::ranges::any_of(one.fields,
                                      [&](const TraceField& field) {
                                        return field.key == key || field.key.starts_with(key + ".");
                                      }))
          << one.text << ": " << key;
    }
    i += one.count;
  }
  EXPECT_FALSE(readers[0]->next(one) || readers[1]->next(other));
  EXPECT_FALSE(readers[0]->error() || readers[1]->error());
}

TEST_F(TraceReaderTest, BothFormatsGiveTheSameEvents) {
  const auto text = reader(kText), json = reader(kJson);
  TraceEvent one, other;
  for (uint64_t number = 0; number < 4; ++number) {
    ASSERT_TRUE(text->next(one) && json->next(other));
    EXPECT_EQ(one.number, number);
    EXPECT_EQ(one.kind, other.kind);
    EXPECT_EQ(one.cycle, (number + 1) * 10);
    EXPECT_EQ(other.line, number + 1);
    // JSON has the sequence as a field of its own.
    std::erase_if(other.fields, [](const TraceField& field) {
      return field.key == "sequence" || field.key == "instructions";
    });
    ASSERT_EQ(one.fields.size(), other.fields.size());
    for (size_t i = 0; i < one.fields.size(); ++i) {
      EXPECT_EQ(one.fields[i].key, other.fields[i].key);
      EXPECT_EQ(one.fields[i].value, other.fields[i].value) << one.fields[i].key;
    }
  }
  EXPECT_FALSE(text->next(one) || json->next(other));
  EXPECT_FALSE(text->error() || json->error());
}

TEST_F(TraceReaderTest, DecodedFieldsAndStepsAreFieldsOfTheirOwn) {
  const auto text = reader(kText);
  TraceEvent event;
  ASSERT_TRUE(text->next(event));
  EXPECT_EQ(event.fields.back().key, "injected.error-code");
  EXPECT_EQ(event.fields.back().value, "yes");
  ASSERT_TRUE(text->next(event));
  EXPECT_EQ(event.fields.back().key, "steps[1].written_back");
  EXPECT_EQ(event.fields.back().value, "0x23");
  EXPECT_EQ(event.line, 2u);
  ASSERT_TRUE(text->next(event));
  EXPECT_EQ(event.line, 5u);
}

struct Malformed {
  const char* text;
  const char* complaint;
};
void PrintTo(const Malformed& malformed, std::ostream* out) { *out << malformed.text; }

class TraceReaderRefuses : public Traces, public ::testing::WithParamInterface<Malformed> {};

TEST_P(TraceReaderRefuses, WithOneSentence) {
  const auto bad = reader(GetParam().text);
  TraceEvent event;
  EXPECT_FALSE(bad->next(event));
  ASSERT_TRUE(bad->error());
  EXPECT_THAT(*bad->error(), HasSubstr(":1: "));
  EXPECT_THAT(*bad->error(), HasSubstr(GetParam().complaint));
  EXPECT_THAT(*bad->error(), testing::Not(HasSubstr("\n")));
  EXPECT_FALSE(bad->next(event)) << "after an error";
}

INSTANTIATE_TEST_SUITE_P(
    Text, TraceReaderRefuses,
    testing::Values(Malformed{"\n", "not an event"}, Malformed{"hello: PASS\n", "not an event"},
                    Malformed{"12\n", "not an event"}, Malformed{"12 \n", "not an event"},
                    Malformed{"99999999999999999999 walk\n", "not an event"},
                    Malformed{"12 walk  linear=0x1\n", "a malformed field"},
                    Malformed{"12 walk linear\n", "a malformed field"},
                    Malformed{"12 walk =1\n", "a malformed field"},
                    Malformed{"12 walk linear=\n", "malformed field 'linear'"},
                    Malformed{"12 walk linear=\"EPT\n", "malformed field 'linear'"},
                    Malformed{"12 walk decoded=(read\n", "malformed field 'decoded'"},
                    Malformed{"12 walk decoded=(size=)\n", "malformed field 'decoded'"},
                    Malformed{"12 walk decoded=(=1)\n", "malformed field 'decoded'"},
                    Malformed{"12 walk count=0\n", "a malformed count"},
                    Malformed{"12 walk count=x\n", "a malformed count"},
                    Malformed{"12 walk steps=many\n", "number of steps"},
                    Malformed{"12 walk steps=100000\n", "number of steps"},
                    Malformed{"12 walk steps=1\n", "within the steps"},
                    Malformed{"12 walk", "truncated"}));

INSTANTIATE_TEST_SUITE_P(
    Json, TraceReaderRefuses,
    testing::Values(Malformed{"{\n", "not a JSON object"},
                    Malformed{"{\"cycle\":1} x\n", "not a JSON object"},
                    Malformed{"{}\n", "no 'cycle'"},
                    Malformed{R"({"cycle":-1,"event":"walk"})"
                              "\n",
                              "'cycle'"},
                    Malformed{"{\"cycle\":1}\n", "no 'event'"},
                    Malformed{R"({"cycle":1,"event":2})"
                              "\n",
                              "no 'event'"},
                    Malformed{R"({"cycle":1,"event":"walk","rip":null})"
                              "\n",
                              "malformed field 'rip'"},
                    Malformed{R"({"cycle":1,"event":"walk","rip":[1]})"
                              "\n",
                              "malformed field 'rip'"},
                    Malformed{R"({"cycle":1,"event":"walk","rip":{"a":{"b":1}}})"
                              "\n",
                              "field 'rip'"},
                    Malformed{R"({"cycle":1,"event":"walk","count":0})"
                              "\n",
                              "a malformed count"},
                    Malformed{R"({"cycle":1,"event":"walk","count":"2"})"
                              "\n",
                              "a malformed count"},
                    Malformed{R"({"cycle":1,"event":"walk","steps":[1]})"
                              "\n",
                              "malformed field 'steps'"},
                    Malformed{"{\"cycle\":1,\"event\":\"\xff\"}\n", "not a JSON object"},
                    Malformed{R"({"cycle":1,"event":"walk")", "not a JSON object"}));

TEST_F(TraceReaderTest, AnObjectAtTheEndNeedsNoNewline) {
  const auto good = reader("{\"cycle\":1,\"event\":\"walk\"}\n{\"cycle\":2,\"event\":\"walk\"}");
  TraceEvent event;
  EXPECT_TRUE(good->next(event));
  EXPECT_TRUE(good->next(event));
  EXPECT_EQ(event.cycle, 2u);
  EXPECT_FALSE(good->next(event));
  EXPECT_EQ(good->error(), std::nullopt);
}

TEST_F(TraceReaderTest, AnObjectThatIsCutOffIsTruncated) {
  const auto bad = reader("{\"cycle\":1,\"event\":\"walk\"}\n{\"cycle\":2,\"event\":\"wa");
  TraceEvent event;
  EXPECT_TRUE(bad->next(event));
  EXPECT_FALSE(bad->next(event));
  EXPECT_THAT(*bad->error(), HasSubstr("truncated"));
}

TEST_F(TraceReaderTest, AMalformedStepNamesItsLine) {
  const auto bad = reader("1 walk steps=2\n  EPT   level 4 entry at 0x5000: 0x6007\nnonsense\n");
  TraceEvent event;
  EXPECT_FALSE(bad->next(event));
  EXPECT_THAT(*bad->error(), HasSubstr(":3: not a step of a walk"));
}

TEST_F(TraceReaderTest, AnEndlessLineIsRefused) {
  const auto bad = reader(std::string(LineReader::kLongestLine + 1, '1'));
  TraceEvent event;
  EXPECT_FALSE(bad->next(event));
  EXPECT_THAT(*bad->error(), HasSubstr("a line of more than"));
}

TEST_F(TraceReaderTest, AMissingFileIsNamed) {
  const auto opened = TraceReader::open("/nonexistent/trace");
  ASSERT_TRUE(std::holds_alternative<std::string>(opened));
  EXPECT_EQ(std::get<std::string>(opened),
            "cannot read /nonexistent/trace: No such file or directory");
}

using TraceDiff = Traces;

TEST_F(TraceDiff, StepsOfSubPageTablesAreCompared) {
  const std::string left =
      "1 walk outcome=\"SPP-related event\" steps=1\n"
      "              SPP   level 1 entry at 0x6008: 0x55\n";
  EXPECT_FALSE(compare(left, left).error);
  EXPECT_EQ(compare(left, left).compared, 1u);
  EXPECT_THAT(names(compare(left, changed(left, "SPP  ", "EPT  "))),
              ElementsAre("steps[0].dimension"));
  EXPECT_THAT(names(compare(left, changed(left, "0x55", "0x51"))),
              ElementsAre("steps[0].entry", "steps[0].written_back"));
}

TEST_F(TraceDiff, ALineWithACountIsAsManyEvents) {
  const std::string folded = "1 debug-exit count=3 value=0x0\n9 workload number=1\n";
  const std::string single =
      "1 debug-exit value=0x0\n2 debug-exit value=0x0\n3 debug-exit value=0x0\n"
      "9 workload number=1\n";
  const std::string halves =
      "1 debug-exit count=2 value=0x0\n2 debug-exit value=0x0\n9 workload number=1\n";
  for (const std::string& left : {folded, single, halves}) {
    for (const std::string& right : {folded, single, halves}) {
      const DiffResult result = compare(left, right);
      EXPECT_FALSE(result.difference || result.error);
      EXPECT_EQ(result.compared, 4u);
    }
  }
  const DiffResult fewer = compare(folded, changed(folded, "count=3", "count=2"));
  ASSERT_TRUE(fewer.difference);
  EXPECT_EQ(fewer.compared, 2u);
  EXPECT_THAT(names(fewer), ElementsAre("event"));
  EXPECT_EQ(fewer.difference->left->number, 2u);
  EXPECT_EQ(fewer.difference->left->line, 1u);
  EXPECT_EQ(fewer.difference->right->number, 2u);
  EXPECT_EQ(fewer.difference->right->line, 2u);
}

TEST_F(TraceDiff, TheSameEventsAreTheSameInEitherFormat) {
  for (const char* left : {kText, kJson}) {
    for (const char* right : {kText, kJson}) {
      const DiffResult result = compare(left, right);
      EXPECT_FALSE(result.difference || result.error);
      EXPECT_EQ(result.compared, 4u);
    }
  }
}

TEST_F(TraceDiff, EachFieldCounts) {
  const struct {
    const char *from, *to, *field;
  } kChanges[] = {
      {"VMLAUNCH", "VMRESUME", "instruction"},
      {"rip=0x2000", "rip=0x2001", "rip"},
      {"vpid=1", "vpid=2", "vpid"},
      {"type=\"hardware exception\"", "type=NMI", "injected.type"},
      {" error-code)", ")", "injected.error-code"},
      {"interrupt vector", "exception vector", "event"},
      {"outcome=\"EPT violation\"", "outcome=translated", "outcome"},
      {"level 4", "level 5", "steps[0].level"},
      {"guest level 3", "EPT   level 3", "steps[1].dimension"},
      {"machine 0x16008", "machine 0x26008", "steps[1].machine_address"},
      {", written back 0x23", "", "steps[1].written_back"},
      {"port=0x3f8", "port=0x3f9", "decoded.port"},
      {" instruction_length=1", "", "instruction_length"},
      {" instruction_length=1", " instruction_length=1 error_code=0x0", "error_code"},
      {"eptp=0x501e", "eptp=0x505e", "eptp"},
  };
  for (const auto& [from, to, field] : kChanges) {
    EXPECT_THAT(names(compare(kText, changed(kText, from, to))), ElementsAre(field));
    EXPECT_THAT(names(compare(changed(kText, from, to), kJson)), ElementsAre(field));
  }
}

TEST_F(TraceDiff, WhatMayDifferIsIgnored) {
  for (const auto& [from, to] : std::vector<std::pair<const char*, const char*>>{
           {"  10 vm-entry", "  99 vm-entry"},
           {"vmcs=0x1000 rip=0x2000", "vmcs=0x3000 rip=0x2000"},
           {"vmcs=0x1000 rip=0x2004", "vmcs=0x3000 rip=0x2004"},
           {" vmcs=0x1000", ""},
           {"eptp=0x501e vpid", "eptp=0x701e vpid"},
           {"eptp=0x501e linear", "eptp=0x701e linear"}}) {
    EXPECT_THAT(names(compare(kText, changed(kText, from, to))), IsEmpty()) << from;
  }
  EXPECT_FALSE(compare(kJson, changed(kJson, "\"sequence\":2", "\"sequence\":7")).difference);
}

TEST_F(TraceDiff, MoreCanBeIgnored) {
  const std::string other = changed(kText, "rip=0x2004", "rip=0x2005");
  EXPECT_THAT(names(compare(kText, other)), ElementsAre("rip"));
  EXPECT_FALSE(compare(kText, other, {.ignore = {"rip"}}).difference);
  EXPECT_FALSE(compare(kText, other, {.ignore = {"vm-exit.rip"}}).difference);
  EXPECT_TRUE(compare(kText, other, {.ignore = {"vm-entry.rip"}}).difference);
}

TEST_F(TraceDiff, OnlySomeKindsCanBeCompared) {
  const std::string other = changed(kText, "linear=0x7000", "linear=0x8000");
  EXPECT_TRUE(compare(kText, other).difference);
  const DiffResult result = compare(kText, other, {.only = {"vm-entry", "vm-exit"}});
  EXPECT_FALSE(result.difference);
  EXPECT_EQ(result.compared, 2u);
  EXPECT_THAT(result.never_seen, IsEmpty());
  EXPECT_THAT(compare(kText, other, {.only = {"vm-exit", "vm-abort"}}).never_seen,
              ElementsAre("vm-abort"));
}

TEST_F(TraceDiff, TheMessageHasBothEventsAndTheirSurroundings) {
  const std::string right = "5 debug-exit value=0x0\n" + changed(kText, "0x2004", "0x2005");
  const DiffResult result =
      compare(kText, right, {.only = {"walk", "vm-exit", "interrupt"}, .context = 1});
  ASSERT_TRUE(result.difference);
  EXPECT_EQ(result.compared, 1u);
  EXPECT_EQ(to_string(*result.difference, "a", "b"),
            "the traces differ\n"
            "  A: a: event 2, line 5, cycle 30\n"
            "  B: b: event 3, line 6, cycle 30\n"
            "  rip: A 0x2004, B 0x2005\n"
            "the same before it:\n"
            "  A, B  event 1, line 2: 20 walk outcome=\"EPT violation\" eptp=0x501e linear=0x7000 "
            "steps=2\n"
            "then:\n"
            "  A     event 2, line 5: 30 vm-exit reason=\"I/O instruction\" reason_field=0x1e "
            "vmcs=0x1000 rip=0x2004 qualification=0x3f80009 decoded=(size=2 direction=in "
            "port=0x3f8) instruction_length=1\n"
            "  A     event 3, line 6: 40 interrupt vector=32 nmi=no level=L1 rip=0x9\n"
            "  B     event 3, line 6: 30 vm-exit reason=\"I/O instruction\" reason_field=0x1e "
            "vmcs=0x1000 rip=0x2005 qualification=0x3f80009 decoded=(size=2 direction=in "
            "port=0x3f8) instruction_length=1\n"
            "  B     event 4, line 7: 40 interrupt vector=32 nmi=no level=L1 rip=0x9\n");
}

TEST_F(TraceDiff, AShorterTraceDiffers) {
  const std::string longer = std::string(kText) + "50 debug-exit value=0x0\n";
  for (const bool left : {true, false}) {
    const DiffResult result = left ? compare(longer, kText) : compare(kText, longer);
    ASSERT_TRUE(result.difference);
    EXPECT_EQ(result.difference->left.has_value(), left);
    EXPECT_EQ(result.difference->right.has_value(), !left);
    EXPECT_THAT(to_string(*result.difference, "a", "b"),
                HasSubstr(left ? "B: b: no more events" : "A: a: no more events"));
    EXPECT_THAT(to_string(*result.difference, "a", "b"),
                EndsWith("event 4, line 7: 50 debug-exit value=0x0\n"));
  }
}

TEST_F(TraceDiff, ADamagedTraceIsAnErrorUnlessADifferenceComesFirst) {
  const DiffResult damaged = compare(kText, std::string(kText) + "oops\n");
  EXPECT_TRUE(damaged.error);
  EXPECT_FALSE(damaged.difference);
  const DiffResult different =
      compare(kText, changed(kText, "VMLAUNCH", "VMRESUME") + "oops\n", {.context = 10});
  EXPECT_FALSE(different.error);
  EXPECT_TRUE(different.difference);
}

TEST_F(TraceDiff, TwoEmptyTracesAreAnError) {
  const DiffResult result = compare("", "");
  ASSERT_TRUE(result.error);
  EXPECT_NE(result.error->find("has any event"), std::string::npos);
  EXPECT_EQ(result.compared, 0u);
}

TEST(IgnoredFields, AreDocumented) {
  std::ifstream file(NESTOR_SOURCE_DIR "/docs/trace.md");
  std::stringstream text;
  text << file.rdbuf();
  const std::string docs = text.str();
  for (const IgnoredField& ignored : ignored_fields()) {
    const std::string event =
        ignored.event.empty() ? "every event" : "`" + std::string(ignored.event) + "`";
    const std::string row = "| " + event + " | `" + std::string(ignored.field) + "` | " +
                            std::string(ignored.why) + " |";
    EXPECT_THAT(docs, HasSubstr(row));
    EXPECT_THAT(list_ignored_fields(), HasSubstr(std::string(ignored.why) + "\n"));
  }
}

}  // namespace
}  // namespace nestor::emu
