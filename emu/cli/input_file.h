// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <cstdint>
#include <cstdio>
#include <memory>
#include <optional>
#include <string>
#include <variant>

namespace nestor::emu {

// A file that is read byte by byte. "-" is the standard input.
class InputFile {
 public:
  // The error is one sentence that names the option, the path and the reason.
  [[nodiscard]] static std::variant<std::unique_ptr<InputFile>, std::string> open(
      const std::string& option, const std::string& path);

  // std::nullopt: the file is at its end, or cannot be read further.
  std::optional<uint8_t> next();

 private:
  struct Close {
    void operator()(std::FILE* file) const {
      if (file != stdin) std::fclose(file);
    }
  };
  using File = std::unique_ptr<std::FILE, Close>;
  explicit InputFile(File file) : file_(std::move(file)) {}

  File file_;
};

}  // namespace nestor::emu
