// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/observe/profile/profile_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <sstream>

namespace nestor::emu {
namespace {

using profile::CallTree;
using profile::Cost;
using profile::FunctionId;
using profile::NodeId;

class ProfileFile : public testing::Test {
 protected:
  // main calls fact, which calls itself; and there is a VM exit.
  ProfileFile() {
    const FunctionId l1 = tree_.pseudo_function(1, 0, "L1"),
                     main = tree_.function_at(1, 0x1000, "main"),
                     fact = tree_.function_at(1, 0x2000, "fact; \"n\""),
                     exit = tree_.pseudo_function(1, 5, "[VM exit: CPUID]");
    const NodeId level = tree_.child(CallTree::kRoot, l1), outermost = tree_.child(level, main),
                 first = tree_.child(outermost, fact), second = tree_.child(first, fact),
                 pseudo = tree_.child(outermost, exit);
    for (const NodeId node : {first, second, pseudo}) tree_.count_call(node);
    tree_.charge(outermost, tree_.line(main, 0x1000), {10, 7});
    tree_.charge(outermost, tree_.line(main, 0x1040), {5, 5});
    tree_.charge(first, tree_.line(fact, 0x2000), {100, 50});
    tree_.charge(second, tree_.line(fact, 0x2000), {30, 20});
    tree_.charge(pseudo, tree_.line(exit, 0), {1000, 0});
  }
  std::string written(ProfileFormat format) {
    const std::string path =
        std::filesystem::temp_directory_path() / ("profile." + std::to_string(::getpid()));
    auto opened = OutputFile::open(path);
    auto& file = std::get<std::unique_ptr<OutputFile>>(opened);
    write_profile(tree_, format, "image.elf", *file);
    file->close();
    std::stringstream text;
    text << std::ifstream(path).rdbuf();
    std::filesystem::remove(path);
    return text.str();
  }

  CallTree tree_;
};

TEST_F(ProfileFile, FoldedIsALineForEachStack) {
  EXPECT_EQ(written(ProfileFormat::kFolded),
            "L1;main 15\n"
            "L1;main;[VM exit: CPUID] 1000\n"
            "L1;main;fact: \"n\" 100\n"
            "L1;main;fact: \"n\";fact: \"n\" 30\n");
}

// As callgrind_annotate reads it.
TEST_F(ProfileFile, CallgrindSumsUp) {
  std::istringstream text(written(ProfileFormat::kCallgrind));
  std::map<std::string, Cost> self, called;
  std::map<std::string, std::string> names;
  std::string line, function, callee, summary;
  bool is_call = false;
  const auto named = [&](const std::string& value) {
    const size_t space = value.find(' ');
    if (space != std::string::npos) names[value.substr(0, space)] = value.substr(space + 1);
    return names.at(value.substr(0, space));
  };
  std::getline(text, line);
  EXPECT_EQ(line, "# callgrind format");
  while (std::getline(text, line)) {
    if (line.starts_with("fn=")) function = named(line.substr(3));
    if (line.starts_with("cfn=")) callee = named(line.substr(4));
    if (line.starts_with("summary: ")) summary = line;
    if (line.starts_with("calls=")) is_call = true;
    if (!line.starts_with("0x")) continue;
    std::istringstream numbers(line);
    std::string address;
    Cost cost;
    numbers >> address >> cost.cycles >> cost.instructions;
    EXPECT_FALSE(numbers.fail()) << line;
    (is_call ? called[function + " > " + callee] : self[function]) += cost;
    is_call = false;
  }
  const std::string fact = "fact; \"n\"";
  EXPECT_EQ(summary, "summary: 1145 82");
  EXPECT_EQ(self, (std::map<std::string, Cost>{
                      {"main", {15, 12}}, {fact, {130, 70}}, {"[VM exit: CPUID]", {1000, 0}}}));
  EXPECT_EQ(called, (std::map<std::string, Cost>{{"L1 > main", {1145, 82}},
                                                 {"main > " + fact, {130, 70}},
                                                 {fact + " > " + fact, {30, 20}},
                                                 {"main > [VM exit: CPUID]", {1000, 0}}}));
}

TEST_F(ProfileFile, JsonHasItAll) {
  const auto json = nlohmann::json::parse(written(ProfileFormat::kJson));
  EXPECT_EQ(json["cycles"], 1145);
  EXPECT_EQ(json["command"], "image.elf");
  EXPECT_EQ(json["complete"], true);
  uint64_t cycles = 0, in_blocks = 0;
  for (const auto& stack : json["stacks"]) {
    cycles += stack["cycles"].get<uint64_t>();
    EXPECT_LT(stack["parent"].get<size_t>(), json["stacks"].size());
    EXPECT_LT(stack["function"].get<size_t>(), json["functions"].size());
  }
  for (const auto& block : json["blocks"]) in_blocks += block["cycles"].get<uint64_t>();
  EXPECT_EQ(cycles, 1145u);
  EXPECT_EQ(in_blocks, 1145u);
}

}  // namespace
}  // namespace nestor::emu
