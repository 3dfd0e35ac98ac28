// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/events/kinds.h"

#include <gtest/gtest.h>

#include <fstream>
#include <set>
#include <sstream>
#include <string>

#include "tests/emu/events/sample_events.h"

namespace nestor::emu {
namespace {

// The table of docs/trace.md.
std::string documented() {
  std::string table = "| event | field | meaning |\n| --- | --- | --- |\n";
  for (const EventKind& kind : event_kinds()) {
    table += "| `" + std::string(kind.name) + "` | | " + std::string(kind.meaning) + " |\n";
    for (const EventField& field : kind.fields)
      table += "| | `" + std::string(field.name) + "` | " + std::string(field.meaning) + " |\n";
  }
  return table;
}

TEST(EventKinds, AreDocumented) {
  std::ifstream file(NESTOR_SOURCE_DIR "/docs/trace.md");
  std::stringstream docs;
  docs << file.rdbuf();
  const std::string table = documented();
  EXPECT_NE(docs.str().find("\n\n" + table + "\n"), std::string::npos)
      << "docs/trace.md must have this table:\n"
      << table;
  std::istringstream lines(table);
  for (std::string line; std::getline(lines, line);) EXPECT_LE(line.size(), 120u) << line;
}

TEST(EventKinds, HaveNamesOfTheirOwnThatReadersTakeApart) {
  std::set<std::string_view> kinds;
  for (const EventKind& kind : event_kinds()) {
    EXPECT_TRUE(kinds.insert(kind.name).second) << kind.name;
    EXPECT_FALSE(kind.meaning.empty()) << kind.name;
    // What every event has.
    std::set<std::string_view> fields = {"cycle", "instructions", "sequence",
                                         "event", "cpu",          "count"};
    for (const EventField& field : kind.fields) {
      EXPECT_TRUE(fields.insert(field.name).second) << kind.name << "." << field.name;
      EXPECT_EQ(field.compared == ~0ull, field.why.empty()) << kind.name << "." << field.name;
    }
  }
}

// Whoever sets a bit of the MSR bitmaps in the wrong place finds the right one here.
TEST(EventKinds, AnExitByTheMsrBitmapsNamesTheBit) {
  vmx::Vmcs vmcs;
  vmcs.write(vmx::Field::kPrimaryProcBasedControls, mask(vmx::PrimaryProcBased::kUseMsrBitmaps));
  vmx::CpuState state;
  vmx::VmExitEvent exit;
  exit.data = &vmcs;
  exit.state = &state;
  const auto decided_by = [&](vmx::ExitReason reason, uint32_t msr) {
    exit.reason = static_cast<uint32_t>(reason);
    state.gpr[vmx::kRcx] = msr;
    for (const NamedValue& field : values_of(exit)) {
      if (field.name != "decided_by") continue;
      if (const auto* text = std::get_if<std::string>(&field.value)) return *text;
      if (const auto* word = std::get_if<std::string_view>(&field.value)) return std::string(*word);
    }
    return std::string();
  };
  using enum vmx::ExitReason;
  EXPECT_EQ(decided_by(kRdmsr, 0x10), "bit 0 of byte 0x2 of the MSR bitmaps");
  EXPECT_EQ(decided_by(kWrmsr, 0xc0000083), "bit 3 of byte 0xc10 of the MSR bitmaps");
  EXPECT_EQ(decided_by(kWrmsr, 0x40000000), "outside both ranges of the MSR bitmaps");
}

TEST(EventKinds, SamplesHaveEveryField) {
  std::set<std::string> seen;
  for (const MachineEvent& event : sample_events()) {
    const EventKind& kind = event_kinds()[event.index()];
    size_t next = 0;
    for (const auto& [name, value] : values_of(event)) {
      while (next < kind.fields.size() && kind.fields[next].name != name) ++next;
      ASSERT_LT(next, kind.fields.size()) << kind.name << "." << name << " is out of order";
      seen.insert(std::string(kind.name) + "." + std::string(name));
    }
  }
  for (const EventKind& kind : event_kinds()) {
    for (const EventField& field : kind.fields) {
      const std::string name = std::string(kind.name) + "." + std::string(field.name);
      EXPECT_TRUE(seen.contains(name)) << name << " is in no event of sample_events.h";
    }
  }
}

}  // namespace
}  // namespace nestor::emu
