// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/cli/screen_output.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <png.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace nestor::emu {
namespace {

using testing::HasSubstr;

struct FakeScreen final : Screen {
  std::variant<std::string, GraphicsMode> text() const override { return shown; }
  std::variant<Picture, NoPicture> picture() const override { return drawn; }

  std::variant<std::string, GraphicsMode> shown = "hello\n";
  std::variant<Picture, NoPicture> drawn = NoPicture{"there are no dots"};
};

class ScreenOutputTest : public testing::Test {
 protected:
  ScreenOutputTest() { std::filesystem::create_directories(folder_); }
  ~ScreenOutputTest() override { std::filesystem::remove_all(folder_); }

  std::string path(const std::string& name) const { return folder_ + "/" + name; }
  static std::string content(const std::string& path) {
    std::ifstream in(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
  }
  static std::unique_ptr<ScreenOutput> open(const std::string& path) {
    auto opened = ScreenOutput::open(path);
    EXPECT_TRUE(std::holds_alternative<std::unique_ptr<ScreenOutput>>(opened));
    return std::get<std::unique_ptr<ScreenOutput>>(std::move(opened));
  }

  const std::string folder_ = testing::TempDir() + "nestor-screen-" + std::to_string(::getpid());
  FakeScreen screen_;
};

TEST_F(ScreenOutputTest, WritesTextWhenItIsFinished) {
  std::ofstream(path("text")) << "before\n";
  const auto output = open(path("text"));
  output->take(screen_);
  EXPECT_EQ(content(path("text")), "before\n");
  output->finish();
  EXPECT_EQ(output->error(), std::nullopt);
  EXPECT_EQ(content(path("text")), "hello\n");
}

TEST_F(ScreenOutputTest, WritesAPicture) {
  screen_.drawn = Picture{3, 2, {255, 0, 0, 0, 255, 0, 0, 0, 255, 1, 2, 3, 4, 5, 6, 7, 8, 9}};
  const auto output = open(path("it.png"));
  EXPECT_THAT(output->write_now(screen_), HasSubstr("it.png"));
  png_image image{};
  image.version = PNG_IMAGE_VERSION;
  ASSERT_NE(png_image_begin_read_from_file(&image, path("it.png").c_str()), 0) << image.message;
  EXPECT_EQ(image.width, 3u);
  EXPECT_EQ(image.height, 2u);
  EXPECT_EQ(image.format, unsigned{PNG_FORMAT_RGB});
  std::vector<uint8_t> dots(PNG_IMAGE_SIZE(image));
  ASSERT_NE(png_image_finish_read(&image, nullptr, dots.data(), 0, nullptr), 0) << image.message;
  EXPECT_EQ(dots, std::get<Picture>(screen_.drawn).dots);
  std::filesystem::remove(path("it.png"));
  output->take(screen_);
  output->finish();
  EXPECT_EQ(output->error(), std::nullopt);
  EXPECT_TRUE(std::filesystem::exists(path("it.png")));
}

TEST_F(ScreenOutputTest, SaysWhyThereIsNoFile) {
  screen_.shown = GraphicsMode{1024, 768};
  for (const auto& [name, why] :
       {std::pair("text", "graphics, 1024 by 768 dots; --screen=FILE.png"),
        std::pair("it.png", "there are no dots; --screen=FILE.txt")}) {
    const auto output = open(path(name));
    output->take(screen_);
    output->finish();
    EXPECT_THAT(output->error().value_or(""), HasSubstr(why));
    EXPECT_THAT(output->write_now(screen_), HasSubstr(why));
    EXPECT_FALSE(std::filesystem::exists(path(name)));
  }
  EXPECT_THAT(describe_screen(screen_), HasSubstr("1024 by 768"));
  screen_.shown = "";
  EXPECT_EQ(describe_screen(screen_), "nestor: the screen is blank\n");
}

TEST_F(ScreenOutputTest, RefusesAFolderThatIsNotThere) {
  const auto opened = ScreenOutput::open(path("none/it.png"));
  EXPECT_THAT(std::get<std::string>(opened), HasSubstr("cannot write"));
}

}  // namespace
}  // namespace nestor::emu
