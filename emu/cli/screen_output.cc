// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/cli/screen_output.h"

#include <png.h>
#include <spdlog/fmt/fmt.h>
#include <spdlog/spdlog.h>

#include <utility>

namespace nestor::emu {
namespace {

std::string graphics_line(const GraphicsMode& mode) {
  return fmt::format("the screen shows graphics, {} by {} dots", mode.width, mode.height);
}

// As a PNG file with 8 bits a colour. std::nullopt: there is no memory for it.
std::optional<std::string> png_of(const Picture& picture) {
  png_image image{};
  image.version = PNG_IMAGE_VERSION;
  image.width = picture.width;
  image.height = picture.height;
  image.format = PNG_FORMAT_RGB;
  png_alloc_size_t size = 0;
  if (png_image_write_to_memory(&image, nullptr, &size, 0, picture.dots.data(), 0, nullptr) == 0)
    return std::nullopt;
  std::string bytes(size, '\0');
  if (png_image_write_to_memory(&image, bytes.data(), &size, 0, picture.dots.data(), 0, nullptr) ==
      0) {
    return std::nullopt;
  }
  bytes.resize(size);
  return bytes;
}

}  // namespace

std::string describe_screen(const Screen& screen) {
  const auto shown = screen.text();
  if (const auto* mode = std::get_if<GraphicsMode>(&shown)) {
    return fmt::format("nestor: {}; --screen=FILE.png has them written\n", graphics_line(*mode));
  }
  const std::string& text = std::get<std::string>(shown);
  return text.empty() ? "nestor: the screen is blank\n" : text;
}

std::variant<std::unique_ptr<ScreenOutput>, std::string> ScreenOutput::open(
    const std::string& path) {
  auto file = OutputFile::open_whole(path);
  if (auto* bad = std::get_if<std::string>(&file)) return std::move(*bad);
  return std::unique_ptr<ScreenOutput>(
      new ScreenOutput(path, std::get<std::unique_ptr<OutputFile>>(std::move(file))));
}

ScreenOutput::ScreenOutput(std::string path, std::unique_ptr<OutputFile> file)
    : path_(std::move(path)), is_picture_(path_.ends_with(".png")), file_(std::move(file)) {}

ScreenOutput::Content ScreenOutput::content_of(const Screen& screen) const {
  if (!is_picture_) {
    auto shown = screen.text();
    if (auto* text = std::get_if<std::string>(&shown)) return {std::move(*text)};
    return {{},
            fmt::format("--screen: {}; --screen=FILE.png writes them",
                        graphics_line(std::get<GraphicsMode>(shown)))};
  }
  const auto shown = screen.picture();
  if (const auto* none = std::get_if<NoPicture>(&shown)) {
    return {{},
            fmt::format("--screen: there is no picture for '{}': {}; --screen=FILE.txt writes the "
                        "text",
                        path_, none->reason)};
  }
  auto png = png_of(std::get<Picture>(shown));
  if (!png) return {{}, fmt::format("cannot write {}: there is no memory for the picture", path_)};
  return {std::move(*png)};
}

void ScreenOutput::take(const Screen& screen) { content_ = content_of(screen); }

void ScreenOutput::finish() {
  if (content_.error) {
    // Where no file is missed it is no error.
    if (!is_file()) return spdlog::warn("{}", *content_.error);
    error_ = content_.error;
    return;
  }
  file_->write(content_.bytes);
  file_->close();
  error_ = file_->error();
}

std::string ScreenOutput::write_now(const Screen& screen) const {
  const Content content = content_of(screen);
  if (content.error) return *content.error;
  auto opened = OutputFile::open_whole(path_);
  if (const auto* bad = std::get_if<std::string>(&opened)) return *bad;
  OutputFile& file = *std::get<std::unique_ptr<OutputFile>>(opened);
  file.write(content.bytes);
  file.close();
  return file.error().value_or(fmt::format("the screen is in '{}'", path_));
}

}  // namespace nestor::emu
