// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/observe/trace/line_reader.h"

#include <fcntl.h>
#include <spdlog/fmt/fmt.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

namespace nestor::emu {
namespace {

constexpr size_t kReadBuffer = 1 << 16;
const std::string kStandardInput = "the standard input";

std::string cannot_read(const std::string& path, int error) {
  return fmt::format("cannot read {}: {}", path, std::strerror(error));
}

}  // namespace

std::variant<LineReader, std::string> LineReader::open(const std::string& path) {
  const bool standard = path == "-";
  const int descriptor = standard ? ::fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 0)
                                  : ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (descriptor < 0) return cannot_read(standard ? kStandardInput : path, errno);
  return LineReader(standard ? kStandardInput : path, descriptor);
}

LineReader::LineReader(std::string path, int descriptor)
    : path_(std::move(path)), descriptor_(descriptor), buffer_(kReadBuffer) {}

LineReader::LineReader(LineReader&& other) noexcept
    : path_(std::move(other.path_)),
      descriptor_(std::exchange(other.descriptor_, -1)),
      line_(other.line_),
      complete_(other.complete_),
      buffer_(std::move(other.buffer_)),
      first_(other.first_),
      end_(other.end_),
      error_(std::move(other.error_)) {}

LineReader::~LineReader() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

bool LineReader::fill() {
  ssize_t got = 0;
  do {
    got = ::read(descriptor_, buffer_.data(), buffer_.size());
  } while (got < 0 && errno == EINTR);
  if (got < 0) error_ = cannot_read(path_, errno);
  first_ = 0;
  end_ = got > 0 ? static_cast<size_t>(got) : 0;
  return end_ != 0;
}

bool LineReader::next(std::string& line) {
  line.clear();
  complete_ = false;
  if (error_) return false;
  for (bool any = false;; any = true) {
    if (first_ == end_ && !fill()) {
      if (error_ || !any) return false;
      break;
    }
    const char* const from = buffer_.data() + first_;
    const auto* const newline = static_cast<const char*>(std::memchr(from, '\n', end_ - first_));
    const size_t size = newline ? static_cast<size_t>(newline - from) : end_ - first_;
    if (line.size() + size > kLongestLine) {
      error_ = fmt::format("{}:{}: a line of more than {} bytes is not a trace's", path_, line_ + 1,
                           kLongestLine);
      return false;
    }
    line.append(from, size);
    first_ += size + (newline ? 1 : 0);
    complete_ = newline != nullptr;
    if (complete_) break;
  }
  ++line_;
  return true;
}

}  // namespace nestor::emu
