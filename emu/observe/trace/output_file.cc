// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/observe/trace/output_file.h"

#include <fcntl.h>
#include <spdlog/fmt/fmt.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <system_error>
#include <utility>

namespace nestor::emu {
namespace {

constexpr size_t kWriteBuffer = 1 << 18;

std::string reason(int error_number) { return std::generic_category().message(error_number); }

}  // namespace

std::variant<std::unique_ptr<OutputFile>, std::string> OutputFile::open(const std::string& path) {
  const bool standard = path == "-";
  const int descriptor = standard
                             ? STDOUT_FILENO
                             : ::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
  if (descriptor < 0) {
    return fmt::format("cannot write {}: {}", path, reason(errno));
  }
  return std::unique_ptr<OutputFile>(
      new OutputFile(standard ? "the standard output" : path, descriptor, !standard));
}

std::variant<std::unique_ptr<OutputFile>, std::string> OutputFile::open_whole(
    const std::string& path) {
  std::error_code ignored;
  const bool is_new = path != "-" && !std::filesystem::exists(path, ignored);
  if (!is_new && !std::filesystem::is_regular_file(path, ignored)) return open(path);
  auto file = NewFile::open(path);
  if (const int* error = std::get_if<int>(&file))
    return fmt::format("cannot write {}: {}", path, reason(*error));
  return std::unique_ptr<OutputFile>(new OutputFile(path, std::get<NewFile>(std::move(file))));
}

OutputFile::OutputFile(std::string path, int descriptor, bool owned)
    : path_(std::move(path)), descriptor_(descriptor), owned_(owned) {
  buffer_.reserve(kWriteBuffer);
}

OutputFile::OutputFile(std::string path, NewFile file)
    : OutputFile(std::move(path), file.descriptor(), false) {
  new_file_.emplace(std::move(file));
}

OutputFile::~OutputFile() {
  if (!new_file_) close();
}

void OutputFile::fail(int error_number) {
  if (error_) return;
  error_ = fmt::format("cannot write {}: {}", path_, reason(error_number));
  buffer_.clear();
}

void OutputFile::write(std::string_view text) {
  if (error_) return;
  if (buffer_.size() + text.size() > kWriteBuffer) flush();
  buffer_.append(text);
}

void OutputFile::flush() {
  std::string_view rest = buffer_;
  while (!error_ && !rest.empty()) {
    const ssize_t written = ::write(descriptor_, rest.data(), rest.size());
    if (written >= 0) {
      rest.remove_prefix(static_cast<size_t>(written));
    } else if (errno != EINTR) {
      fail(errno);
    }
  }
  buffer_.clear();
}

void OutputFile::close() {
  if (descriptor_ < 0) return;
  flush();
  const int descriptor = std::exchange(descriptor_, -1);
  if (owned_ && ::close(descriptor) != 0) fail(errno);
  if (!new_file_) return;
  if (!error_) {
    if (const int error = new_file_->finish(); error != 0) fail(error);
  }
  new_file_.reset();
}

}  // namespace nestor::emu
