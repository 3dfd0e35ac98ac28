// SPDX-License-Identifier: GPL-2.0-or-later
//
// --screen: what the guest's screen shows, as text or as a PNG picture. A file takes its place when
// it is complete.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <variant>

#include "emu/devices/display/screen.h"
#include "emu/observe/trace/output_file.h"

namespace nestor::emu {

// The screen as text for who watches: what it shows, or one line that says that it shows a picture.
std::string describe_screen(const Screen& screen);

class ScreenOutput {
 public:
  // "-" is the standard output; a name that ends in .png stands for a picture. The error is one
  // sentence; nothing is written yet.
  [[nodiscard]] static std::variant<std::unique_ptr<ScreenOutput>, std::string> open(
      const std::string& path);

  bool is_file() const { return path_ != "-"; }
  // At the end of the run, while the machine is there: keeps what the screen shows.
  void take(const Screen& screen);
  // Writes what was taken.
  void finish();
  // While the run goes on: writes the file as the screen is now. One sentence for the user.
  std::string write_now(const Screen& screen) const;

  // What could not be written, one sentence.
  const std::optional<std::string>& error() const { return error_; }

 private:
  // What a file is to have, or why it cannot, one sentence.
  struct Content {
    std::string bytes{};
    std::optional<std::string> error{};
  };

  ScreenOutput(std::string path, std::unique_ptr<OutputFile> file);
  Content content_of(const Screen& screen) const;

  const std::string path_;
  const bool is_picture_;
  const std::unique_ptr<OutputFile> file_;
  Content content_;
  std::optional<std::string> error_;
};

}  // namespace nestor::emu
