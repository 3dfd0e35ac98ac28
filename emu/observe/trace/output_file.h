// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <variant>

#include "emu/memory/new_file.h"

namespace nestor::emu {

// A file that is written in large chunks and remembers its first error, so that nothing is lost
// unnoticed. "-" is the standard output.
class OutputFile {
 public:
  // Creates or truncates `path`. The error is one sentence that names the path and the reason.
  [[nodiscard]] static std::variant<std::unique_ptr<OutputFile>, std::string> open(
      const std::string& path);
  // The same, but that a regular file keeps what it has until close() succeeds, and for good if
  // there was an error or close() is never called.
  [[nodiscard]] static std::variant<std::unique_ptr<OutputFile>, std::string> open_whole(
      const std::string& path);
  ~OutputFile();
  OutputFile(const OutputFile&) = delete;
  OutputFile& operator=(const OutputFile&) = delete;

  // After an error nothing more is written.
  void write(std::string_view text);
  void flush();
  // Flushes and closes; errors that only closing reveals are kept as well. Idempotent.
  void close();

  // The first error, one sentence; stays until destruction.
  const std::optional<std::string>& error() const { return error_; }

 private:
  OutputFile(std::string path, int descriptor, bool owned);
  OutputFile(std::string path, NewFile file);
  void fail(int error_number);

  const std::string path_;
  int descriptor_;
  const bool owned_;
  std::optional<NewFile> new_file_;  // whose descriptor it is
  std::string buffer_;
  std::optional<std::string> error_;
};

}  // namespace nestor::emu
