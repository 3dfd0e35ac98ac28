// SPDX-License-Identifier: GPL-2.0-or-later
#include "tests/images/manifest.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

namespace nestor::tests {
namespace {

namespace fs = std::filesystem;
using testing::ElementsAre;
using testing::IsEmpty;

TEST(ImageManifest, IsReadWholly) {
  const auto parsed = parse_manifest(
      "name",
      "# A comment.\n\nboot elf64\noptions --cpus 2\nstale-translations yes\ntested-by a\n");
  ASSERT_TRUE(std::holds_alternative<Manifest>(parsed)) << std::get<std::string>(parsed);
  const auto& manifest = std::get<Manifest>(parsed);
  EXPECT_EQ(manifest.name, "name");
  EXPECT_TRUE(manifest.elf64);
  EXPECT_THAT(manifest.options, ElementsAre("--cpus", "2"));
  EXPECT_TRUE(manifest.stale_translations);
  EXPECT_EQ(manifest.tested_by, "a");
}

TEST(ImageManifest, RefusesWhatItDoesNotKnow) {
  for (const char* text :
       {"", "boot\n", "boot linux\n", "boot multiboot elf64\n", "boot elf64\nboot elf64\n",
        "boot elf64\noptions\n", "boot elf64\nstale-translations no\n", "boot elf64\ncpus 2\n"}) {
    EXPECT_TRUE(std::holds_alternative<std::string>(parse_manifest("name", text))) << text;
  }
}

// An image without an expectation would go untested.
TEST(ImageManifest, EveryImageHasATest) {
  const fs::path root(NESTOR_SOURCE_DIR);
  EXPECT_GT(image_manifests().size(), images_with_expected_exits().size());
  for (const Manifest& manifest : image_manifests()) {
    const fs::path folder = root / "guest-images" / manifest.name;
    const bool expected = fs::exists(folder / "expected-exits.txt");
    EXPECT_NE(expected, !manifest.tested_by.empty()) << manifest.name;
    EXPECT_TRUE(expected || fs::is_regular_file(root / manifest.tested_by)) << manifest.tested_by;
    EXPECT_TRUE(fs::exists(folder / "README.md")) << manifest.name;
  }
}

// A folder with code and without a manifest would not even be built.
TEST(ImageManifest, EveryImageHasOne) {
  std::vector<std::string> missing;
  for (const auto& folder : fs::directory_iterator(fs::path(NESTOR_SOURCE_DIR) / "guest-images")) {
    if (fs::exists(folder.path() / "main.c") && !fs::exists(folder.path() / "image.txt"))
      missing.push_back(folder.path().filename());
  }
  EXPECT_THAT(missing, IsEmpty());
}

// Nor would a problem without a solution.
TEST(ImageManifest, EveryProblemHasASolution) {
  std::vector<std::string> missing;
  for (const auto& set : fs::directory_iterator(fs::path(NESTOR_SOURCE_DIR) / "guest-images")) {
    if (!set.is_directory()) continue;
    for (const auto& problem : fs::directory_iterator(set)) {
      if (!fs::exists(problem.path() / "main.c")) continue;
      const fs::path solution = set.path() / "solutions" / problem.path().filename();
      for (const fs::path& file : {problem.path() / "README.md", solution / "README.md",
                                   solution / "fix.patch", solution / "symptoms.txt"})
        if (!fs::exists(file)) missing.push_back(file.string());
    }
  }
  EXPECT_THAT(missing, IsEmpty());
}

}  // namespace
}  // namespace nestor::tests
