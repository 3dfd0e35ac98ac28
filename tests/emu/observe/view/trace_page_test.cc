// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/observe/view/trace_page.h"

#include <gtest/gtest.h>
#include <unistd.h>
#include <zlib.h>

#include <cstdio>
#include <cstring>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>
#include <vector>

#include "emu/observe/view/facts.h"
#include "emu/observe/view/packed.h"

namespace nestor::emu {
namespace {

std::string unpacked(const std::string& letters) {
  std::string bytes;
  uint32_t bits = 0;
  int count = 0;
  for (const char c : letters) {
    static const std::string kLetters =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const size_t value = kLetters.find(c);
    if (value == std::string::npos) break;
    bits = bits << 6 | static_cast<uint32_t>(value);
    if ((count += 6) >= 8) bytes += static_cast<char>(bits >> (count -= 8));
  }
  std::string text(64 << 20, '\0');
  uLongf size = text.size();
  EXPECT_EQ(::uncompress(reinterpret_cast<Bytef*>(text.data()), &size,
                         reinterpret_cast<const Bytef*>(bytes.data()), bytes.size()),
            Z_OK);
  text.resize(size);
  return text;
}

TEST(Packed, IsZlibInBase64) {
  for (const std::string text : {"", "a", "ab", "abc", "abcd"}) {
    EXPECT_EQ(unpacked(pack(text)), text);
    EXPECT_EQ(pack(text).size() % 4, 0u);
  }
}

TEST(PageFacts, HaveTheBitsOfQualificationsAndEntries) {
  const auto facts = nlohmann::json::parse(page_facts());
  const auto& violation = facts.at("qualifications").at("48").at(0).at("parts");
  EXPECT_EQ(violation.size(), 17u);
  EXPECT_EQ(violation.at(7).at("key"), "linear-valid");
  EXPECT_EQ(violation.at(7).at("low"), 7);
  // MOV to CR names a register, CLTS does not.
  const auto& control = facts.at("qualifications").at("28");
  EXPECT_EQ(control.at(0).at("parts").size(), 3u);
  EXPECT_EQ(control.at(0).at("parts").at(2).at("names").at(4), "RSP");
  EXPECT_EQ(control.at(2).at("parts").size(), 2u);
  EXPECT_EQ(facts.at("eptBits").at(0).at("name"), "read");
  EXPECT_EQ(facts.at("vmcsFields").at("GuestRip"), "Guest RIP");
  EXPECT_EQ(facts.at("kinds").at("vm-exit").at("fields").at("rip"), "of the guest");
}

class TracePageTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (page_template().empty()) GTEST_SKIP() << "this build has no page";
  }
  ~TracePageTest() override { std::remove(path_.c_str()); }

  // What an element of the page has in it.
  static std::string element(const std::string& page, const std::string& id) {
    const size_t from = page.find('>', page.find("id=\"" + id + "\"")) + 1;
    return page.substr(from, page.find("</script>", from) - from);
  }
  std::string page_of(const std::vector<std::pair<std::string, EventLine>>& events,
                      const TracePage::Limits& limits = {}, const std::string& name = "trace") {
    auto opened = OutputFile::open(path_);
    OutputFile& file = *std::get<std::unique_ptr<OutputFile>>(opened);
    TracePage page(file, limits);
    for (const auto& [line, event] : events)
      if (!page.full()) page.add(line, event);
    page.finish(name, {"A note."});
    file.close();
    std::ifstream in(path_);
    std::ostringstream text;
    text << in.rdbuf();
    return text.str();
  }

  const std::string path_ = ::testing::TempDir() + "page-" + std::to_string(::getpid());
};

TEST_F(TracePageTest, HasColumnsAndLines) {
  EventLine one{.cycle = 100, .rip = 0x123456789abcdef0, .kind = "vm-exit", .what = "CPUID"};
  EventLine two{.cycle = 200, .count = 1ull << 40, .processor = 3, .kind = "walk", .what = "x"};
  const std::string page = page_of({{"{1}", one}, {"{2}", two}});
  EXPECT_EQ(unpacked(element(page, "pieces").substr(1)), "{1}\n{2}\n");
  const std::string columns = unpacked(element(page, "columns"));
  ASSERT_EQ(columns.size(), 2 * (8 + 3 * 4 + 2 + 2));
  double cycle = 0;
  uint32_t low = 0, high = 0, count = 0;
  std::memcpy(&cycle, columns.data() + 8, sizeof cycle);
  std::memcpy(&low, columns.data() + 16, sizeof low);
  std::memcpy(&high, columns.data() + 24, sizeof high);
  std::memcpy(&count, columns.data() + 36, sizeof count);
  EXPECT_EQ(cycle, 200.0);
  EXPECT_EQ(low, 0x9abcdef0u);
  EXPECT_EQ(high, 0x12345678u);
  EXPECT_EQ(count, ~0u) << "as many as the column can say";
  const auto trace = nlohmann::json::parse(element(page, "trace"));
  EXPECT_EQ(trace.at("events"), 2);
  EXPECT_EQ(trace.at("kinds").at(1), "walk");
  EXPECT_EQ(trace.at("whats").at(0), "CPUID");
  EXPECT_EQ(trace.at("notes").at(0), "A note.");
}

TEST_F(TracePageTest, NamesAreNoMarkup) {
  const std::string evil = "</script><script>alert(1)</script>";
  EventLine event{.kind = evil, .what = evil};
  const std::string page = page_of({{evil, event}}, {}, evil + "\xff");
  EXPECT_EQ(page.find("alert(1)</script>"), std::string::npos);
  EXPECT_EQ(nlohmann::json::parse(element(page, "trace")).at("kinds").at(0), evil);
}

TEST_F(TracePageTest, TakesNoMoreThanItsLimits) {
  std::vector<std::pair<std::string, EventLine>> events;
  for (uint64_t i = 0; i < 5000; ++i)
    events.emplace_back(std::to_string(i),
                        EventLine{.cycle = i, .kind = "k" + std::to_string(i), .what = {}});
  const auto trace = nlohmann::json::parse(element(page_of(events, {.events = 3000}), "trace"));
  EXPECT_EQ(trace.at("events"), 3000);
  EXPECT_EQ(trace.at("pieces").size(), 2u);
  EXPECT_EQ(trace.at("kinds").size(), 256u) << "what has no number of its own is one of the others";
  EXPECT_EQ(trace.at("kinds").at(255), "(others)");
  const auto none = nlohmann::json::parse(element(page_of(events, {.bytes = 1}), "trace"));
  EXPECT_EQ(none.at("events"), 0);
}

}  // namespace
}  // namespace nestor::emu
