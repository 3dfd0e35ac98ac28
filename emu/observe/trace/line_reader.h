// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

namespace nestor::emu {

// A file of any size, or a pipe, read line by line.
class LineReader {
 public:
  // No line of a trace comes near it; what is longer is some other file.
  static constexpr size_t kLongestLine = 1 << 20;

  // "-" is the standard input. The error is one sentence that names the path and the reason.
  [[nodiscard]] static std::variant<LineReader, std::string> open(const std::string& path);
  LineReader(LineReader&& other) noexcept;
  LineReader& operator=(LineReader&&) = delete;
  ~LineReader();

  // The next line without its newline; false at the end, and after an error. A last line without a
  // newline is a line.
  [[nodiscard]] bool next(std::string& line);
  // One sentence that names the path and the reason.
  const std::optional<std::string>& error() const { return error_; }
  uint64_t line() const { return line_; }      // the number of the latest one, from 1
  bool complete() const { return complete_; }  // the latest one ends in a newline
  const std::string& path() const { return path_; }

 private:
  LineReader(std::string path, int descriptor);
  bool fill();

  std::string path_;
  int descriptor_;
  uint64_t line_ = 0;
  bool complete_ = true;
  std::vector<char> buffer_;
  size_t first_ = 0, end_ = 0;  // what of the buffer has not been returned
  std::optional<std::string> error_;
};

}  // namespace nestor::emu
