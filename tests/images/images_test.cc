// SPDX-License-Identifier: GPL-2.0-or-later
//
// Every image of guest-images, from end to end: the program itself runs it, as a user would.
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>
#include <string_view>
#include <tuple>
#include <vector>

#include "emu/cli/exit_status.h"
#include "guest-images/abi/machine_ports.h"
#include "tests/images/expected_exits.h"
#include "tests/images/manifest.h"

namespace nestor::tests {
namespace {

namespace fs = std::filesystem;

std::string contents(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  EXPECT_TRUE(file) << "cannot read " << path;
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

// A folder that goes away with the test.
class Scratch {
 public:
  Scratch() {
    std::string name = (fs::temp_directory_path() / "nestor-images-XXXXXX").string();
    if (mkdtemp(name.data()) == nullptr) throw std::runtime_error("cannot make a scratch folder");
    path_ = name;
  }
  ~Scratch() {
    std::error_code ignored;
    fs::remove_all(path_, ignored);
  }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
  fs::path operator/(const char* name) const { return path_ / name; }

 private:
  fs::path path_;
};

struct Outcome {
  int status = -1;  // exit status of the process, -1: it did not exit
  std::string serial, trace, errors;
};

std::vector<std::string> own_options(std::string_view name) {
  for (const Manifest& manifest : image_manifests())
    if (manifest.name == name) return manifest.options;
  return {};
}

// Runs an image with the options of its manifest, and `options` after them.
Outcome run_image(const std::string& name, const std::vector<std::string>& options = {}) {
  const Scratch scratch;
  const fs::path image = fs::path(NESTOR_GUEST_IMAGES) / name / (name + ".elf");
  std::vector<std::string> words = {
      NESTOR_EXECUTABLE,
      "run",
      image.string(),
      "--serial",
      (scratch / "serial").string(),
      "--trace",
      (scratch / "trace").string(),
      "--trace-format",
      "jsonl",
      // An image that loops must not hang the tests; none comes near.
      "--max-instructions",
      "100000000",
  };
  for (const auto& more : {own_options(name), options})
    words.insert(words.end(), more.begin(), more.end());
  std::vector<char*> arguments;
  for (const std::string& word : words) arguments.push_back(const_cast<char*>(word.c_str()));
  arguments.push_back(nullptr);
  const fs::path errors = scratch / "errors";
  const pid_t child = fork();
  if (child == 0) {
    if (freopen(errors.c_str(), "w", stderr) == nullptr) _exit(127);
    execv(arguments[0], arguments.data());
    _exit(127);
  }
  Outcome run;
  int status = 0;
  if (child > 0 && waitpid(child, &status, 0) == child && WIFEXITED(status)) {
    run.status = WEXITSTATUS(status);
  }
  run.errors = contents(errors);
  run.serial = contents(scratch / "serial");
  run.trace = contents(scratch / "trace");
  return run;
}

// Events of one kind in a trace.
std::vector<nlohmann::json> events_of_kind(const std::string& trace, std::string_view kind) {
  std::vector<nlohmann::json> found;
  std::istringstream lines(trace);
  for (std::string line; std::getline(lines, line);) {
    auto event = nlohmann::json::parse(line);
    if (event.at("event") == kind) found.push_back(std::move(event));
  }
  return found;
}

// The image, and how translations are cached.
class Images : public testing::TestWithParam<std::tuple<Manifest, const char*>> {};

TEST_P(Images, PassesWithExactlyTheExpectedExitsAndAlwaysTheSameBytes) {
  const auto& [manifest, tlb] = GetParam();
  const std::string& name = manifest.name;
  const auto parsed = parse_expected(
      contents(fs::path(NESTOR_SOURCE_DIR) / "guest-images" / name / "expected-exits.txt"));
  ASSERT_TRUE(std::holds_alternative<std::vector<ExpectedEvent>>(parsed))
      << std::get<std::string>(parsed);
  const auto& expected = std::get<std::vector<ExpectedEvent>>(parsed);
  ASSERT_FALSE(expected.empty());

  const Outcome first = run_image(name, {"--tlb", tlb});
  EXPECT_EQ(first.status, NESTOR_DEBUG_EXIT_STATUS(NESTOR_EXIT_PASS))
      << first.serial << first.errors;
  EXPECT_NE(first.serial.find(name + ": PASS"), first.serial.npos) << first.serial;
  const bool forgets = manifest.stale_translations && tlb == std::string_view("keep");
  const bool told =
      first.errors.find("translations that the tables no longer hold") != std::string::npos;
  EXPECT_EQ(told, forgets) << first.errors;
  EXPECT_EQ(events_of_kind(first.trace, "stale-translation").empty(), !forgets);
  ASSERT_FALSE(first.trace.empty());
  const size_t last = first.trace.rfind('\n', first.trace.size() - 2);
  const auto end = nlohmann::json::parse(first.trace.substr(last + 1));
  EXPECT_EQ(end.at("event"), "run-end");
  EXPECT_EQ(end.at("by"), "debug exit");
  const auto value = events_of_kind(first.trace, "debug-exit");
  ASSERT_EQ(value.size(), 1u);
  EXPECT_EQ(value[0].at("value"), "0x0");

  const auto actual = events_of_trace(first.trace);
  const auto skipped = skipped_cases(first.serial);
  EXPECT_EQ(first_difference(expected, skipped, actual).value_or("none"), "none");

  // The expectation must be able to fail: without its last event it does.
  auto shorter = expected;
  shorter.pop_back();
  EXPECT_NE(first_difference(shorter, skipped, actual), std::nullopt);

  const Outcome second = run_image(name, {"--tlb", tlb});
  EXPECT_TRUE(first.trace == second.trace) << "two runs gave different traces";
  EXPECT_EQ(first.serial, second.serial);
}

INSTANTIATE_TEST_SUITE_P(All, Images,
                         testing::Combine(testing::ValuesIn(images_with_expected_exits()),
                                          testing::Values("flush", "keep")),
                         [](const auto& image) {
                           std::string name = std::get<0>(image.param).name;
                           std::erase(name, '-');
                           return name + "_" + std::get<1>(image.param);
                         });

// Below an L0 an image sees the same: the same exits, but for what L0 does not offer.
struct Below {
  std::string image;
  const char* mode;
  const char* vmcs_shadowing;
};

class ImagesBelowL0 : public testing::TestWithParam<Below> {};

TEST_P(ImagesBelowL0, PassWithTheirExpectedExits) {
  const Below& below = GetParam();
  const auto parsed = parse_expected(
      contents(fs::path(NESTOR_SOURCE_DIR) / "guest-images" / below.image / "expected-exits.txt"));
  const auto& expected = std::get<std::vector<ExpectedEvent>>(parsed);
  const std::vector<std::string> options = {"--l0", below.mode, "--vmcs-shadowing",
                                            below.vmcs_shadowing};
  const Outcome run = run_image(below.image, options);
  EXPECT_EQ(run.status, NESTOR_DEBUG_EXIT_STATUS(NESTOR_EXIT_PASS)) << run.serial << run.errors;
  const auto actual = events_of_trace(run.trace);
  EXPECT_EQ(first_difference(expected, skipped_cases(run.serial), actual).value_or("none"), "none");
  EXPECT_NE(run.trace.find("\"event\":\"l0-exit\""), run.trace.npos);
  EXPECT_TRUE(run.trace == run_image(below.image, options).trace) << "two runs differ";
}

std::vector<Below> every_image_below() {
  std::vector<Below> all;
  for (const Manifest& image : images_with_expected_exits())
    for (const char* mode : {"two-level", "nested-ept"})
      for (const char* shadowing : {"on", "off"}) all.push_back({image.name, mode, shadowing});
  return all;
}
INSTANTIATE_TEST_SUITE_P(All, ImagesBelowL0, testing::ValuesIn(every_image_below()),
                         [](const auto& below) {
                           std::string name = below.param.image + "_" + below.param.mode +
                                              "_shadowing_" + below.param.vmcs_shadowing;
                           std::erase(name, '-');
                           return name;
                         });

// What an L0 mode does not offer, an image that needs it finds missing.
TEST(ImagesBelowShadowPaging, SayThatShadowModesHaveNoEpt) {
  for (const char* mode : {"shadow-on-ept", "shadow-on-shadow"}) {
    const Outcome run = run_image("ept-violation", {"--l0", mode});
    EXPECT_EQ(run.status, NESTOR_DEBUG_EXIT_STATUS(NESTOR_EXIT_MACHINE_LACKS_FEATURE)) << mode;
    EXPECT_NE(run.serial.find("does not offer EPT"), run.serial.npos) << run.serial;
  }
}

// L0 starts afresh whenever its tables are full; where one instruction needs more than there is,
// the run ends and says so.
TEST(FewShadowPages, LoseNothing) {
  struct Case {
    const char* mode;
    const char* pages;
    bool enough;
  };
  for (const Case& c :
       {Case{"nested-ept", "4", false}, Case{"nested-ept", "6", true},
        Case{"shadow-on-shadow", "4", false}, Case{"shadow-on-shadow", "6", true}}) {
    SCOPED_TRACE(std::string(c.mode) + " with " + c.pages);
    const Outcome free = run_image("mmu-modes", {"--l0", c.mode});
    const Outcome tight = run_image("mmu-modes", {"--l0", c.mode, "--shadow-pages", c.pages});
    if (c.enough) {
      EXPECT_EQ(tight.status, free.status);
      EXPECT_EQ(tight.serial, free.serial);
    } else {
      EXPECT_EQ(tight.status, static_cast<int>(emu::ExitStatus::kNotSupported));
      EXPECT_NE(tight.errors.find("raise --shadow-pages"), tight.errors.npos) << tight.errors;
      // Where L2 is, though L0 has the processor.
      EXPECT_NE(tight.errors.find("L2, 64-bit mode, RIP 0x101"), tight.errors.npos) << tight.errors;
    }
  }
}

// What L0's tables still hold is used like what a processor has cached.
TEST(MissingInvept, IsSeenBelowL0Too) {
  for (const char* mode : {"two-level", "nested-ept"}) {
    SCOPED_TRACE(mode);
    const Outcome kept = run_image("missing-invept", {"--tlb", "keep", "--l0", mode});
    EXPECT_EQ(kept.status, NESTOR_DEBUG_EXIT_STATUS(NESTOR_EXIT_PASS)) << kept.errors;
    const auto stale = events_of_kind(kept.trace, "stale-translation");
    ASSERT_FALSE(stale.empty());
    for (const auto& event : stale) {
      EXPECT_EQ(event.at("missing"), "INVEPT");
      EXPECT_EQ(event.at("level"), "L2");
      EXPECT_EQ(event.at("linear"), "0x20000000");
      EXPECT_EQ(event.at("cached_guest_physical"), event.at("tables_guest_physical"));
      EXPECT_NE(event.at("cached_physical"), event.at("tables_physical"));
    }
    const Outcome flushed = run_image("missing-invept", {"--l0", mode});
    EXPECT_TRUE(events_of_kind(flushed.trace, "stale-translation").empty());
  }
}

// An image that forgets nothing is told of nothing, whoever shadows its tables.
TEST(MmuModesImage, UsesNothingStaleInAnyMode) {
  for (const char* mode : {"two-level", "nested-ept", "shadow-on-ept", "shadow-on-shadow"}) {
    SCOPED_TRACE(mode);
    const Outcome kept = run_image(
        "mmu-modes", {"--tlb", "keep", "--l0", mode, "--trace-events", "stale-translation"});
    EXPECT_EQ(kept.status, NESTOR_DEBUG_EXIT_STATUS(NESTOR_EXIT_PASS)) << kept.serial;
    EXPECT_EQ(kept.trace, "");
  }
}

TEST(MissingInvept, IsSeenAndExplainedWhereTranslationsAreKept) {
  const Outcome kept = run_image("missing-invept", {"--tlb", "keep"});
  EXPECT_NE(kept.errors.find("translations that the tables no longer hold"), kept.errors.npos)
      << kept.errors;
  for (const char* when : {"after a VM exit and a VM entry", "after INVVPID",
                           "with the first EPTP again", "after INVEPT of the other EPTP"}) {
    EXPECT_NE(kept.serial.find(std::string(when) + ": L2 sees the old page"), kept.serial.npos)
        << when << "\n"
        << kept.serial;
  }
  const auto stale = events_of_kind(kept.trace, "stale-translation");
  ASSERT_FALSE(stale.empty());
  for (const auto& event : stale) {
    EXPECT_EQ(event.at("missing"), "INVEPT");
    EXPECT_EQ(event.at("linear"), "0x20000000");
    EXPECT_EQ(event.at("cached_guest_physical"), event.at("tables_guest_physical"));
    EXPECT_NE(event.at("cached_physical"), event.at("tables_physical"));
  }
  const Outcome tagged = run_image("missing-invept", {});
  EXPECT_NE(tagged.serial.find("after a VM exit and a VM entry: L2 sees the old page"),
            tagged.serial.npos);
  EXPECT_NE(tagged.serial.find("after INVVPID: L2 sees the new page"), tagged.serial.npos);
  const Outcome flushed = run_image("missing-invept", {"--tlb", "flush"});
  EXPECT_EQ(flushed.serial.find("kept the translation"), flushed.serial.npos);
}

}  // namespace
}  // namespace nestor::tests
