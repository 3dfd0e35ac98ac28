// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/loaders/read_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <thread>

namespace nestor::emu {
namespace {

class ReadFile : public ::testing::Test {
 protected:
  ReadFile() {
    std::array<char, 32> name{"/tmp/nestor-read-XXXXXX"};
    EXPECT_NE(::mkdtemp(name.data()), nullptr);
    folder_ = name.data();
  }
  ~ReadFile() override { std::filesystem::remove_all(folder_); }

  std::string create(const std::string& name, const std::string& content) {
    std::ofstream(folder_ + "/" + name) << content;
    return folder_ + "/" + name;
  }
  std::string error(const std::string& path, uint64_t limit = 100) {
    auto result = read_file(path, "image", limit);
    if (auto* bad = std::get_if<LoadError>(&result)) return bad->message;
    ADD_FAILURE() << "the file was read";
    return "";
  }

  std::string folder_;
};

TEST_F(ReadFile, ReadsAllBytes) {
  const auto result = read_file(create("a", std::string("x\0y", 3)), "image", 3);
  ASSERT_TRUE(std::holds_alternative<std::vector<uint8_t>>(result));
  EXPECT_EQ(std::get<std::vector<uint8_t>>(result), (std::vector<uint8_t>{'x', 0, 'y'}));
}

TEST_F(ReadFile, NamesWhatIsWrong) {
  const std::string missing = folder_ + "/missing";
  EXPECT_EQ(error(missing), "cannot read image " + missing + ": No such file or directory");
  EXPECT_EQ(error(folder_), "image " + folder_ + " is a directory; name the file in it");
  EXPECT_EQ(error("/dev/zero"),
            "image /dev/zero is neither a file nor a pipe; copy it into a file");
  const std::string empty = create("empty", "");
  EXPECT_EQ(error(empty), "image " + empty + " is empty; build or copy it again");
  const std::string large = create("large", std::string(101, 'x'));
  EXPECT_EQ(
      error(large),
      "image " + large + " has more than the 100 bytes that can be loaded; use a smaller file");
  // Without reading up to the limit, for which there is no memory.
  constexpr uint64_t kHuge = 1ull << 40;
  std::filesystem::resize_file(large, kHuge + 1);
  EXPECT_THAT(error(large, kHuge), ::testing::HasSubstr("more than the 1099511627776 bytes"));
}

TEST_F(ReadFile, ReadsAPipeToItsEnd) {
  const std::string fifo = folder_ + "/fifo";
  ASSERT_EQ(::mkfifo(fifo.c_str(), 0600), 0);
  const std::string content(200000, 'x');
  std::thread writer([&] { std::ofstream(fifo, std::ios::binary) << content; });
  const auto result = read_file(fifo, "image", content.size());
  writer.join();
  ASSERT_TRUE(std::holds_alternative<std::vector<uint8_t>>(result));
  EXPECT_EQ(std::get<std::vector<uint8_t>>(result).size(), content.size());
}

TEST_F(ReadFile, RefusesWhatMayNotBeRead) {
  const std::string secret = create("secret", "x");
  ASSERT_EQ(::chmod(secret.c_str(), 0), 0);
  ASSERT_EQ(::chmod(folder_.c_str(), 0755), 0);
  // Root may read every file, and somebody else stands in for the moment.
  constexpr uid_t kNobody = 65534;
  const uid_t before = ::geteuid();
  ASSERT_EQ(::seteuid(before == 0 ? kNobody : before), 0);
  const std::string said = error(secret);
  ASSERT_EQ(::seteuid(before), 0);
  EXPECT_EQ(said, "cannot read image " + secret + ": Permission denied");
}

TEST(FileName, IsWhatFollowsTheLastSlash) {
  EXPECT_EQ(file_name("a/b/c.elf"), "c.elf");
  EXPECT_EQ(file_name("c.elf"), "c.elf");
  EXPECT_EQ(file_name("/"), "");
}

}  // namespace
}  // namespace nestor::emu
