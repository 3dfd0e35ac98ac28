// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/memory/new_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <system_error>
#include <utility>

namespace nestor::emu {

std::variant<NewFile, int> NewFile::open(const std::string& path) {
  std::error_code error;
  const std::string target = std::filesystem::is_symlink(path, error)
                                 ? std::filesystem::weakly_canonical(path, error).string()
                                 : path;
  std::string part = target + "." + std::to_string(::getpid()) + ".part";
  const std::string folder = std::filesystem::path(part).parent_path().string();
  int descriptor =
      ::open(folder.empty() ? "." : folder.c_str(), O_WRONLY | O_TMPFILE | O_CLOEXEC, 0666);
  const bool named = descriptor < 0;
  if (named) descriptor = ::open(part.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
  if (descriptor < 0) return errno;
  return NewFile(target, std::move(part), named, descriptor);
}

NewFile::NewFile(std::string path, std::string part, bool named, int descriptor)
    : path_(std::move(path)), part_(std::move(part)), named_(named), descriptor_(descriptor) {}

NewFile::NewFile(NewFile&& other) noexcept
    : path_(std::move(other.path_)),
      part_(std::move(other.part_)),
      named_(std::exchange(other.named_, false)),
      descriptor_(std::exchange(other.descriptor_, -1)) {}

NewFile::~NewFile() {
  if (descriptor_ >= 0) ::close(descriptor_);
  if (named_) ::unlink(part_.c_str());
}

// A name of its own, as a link does not replace a file.
int NewFile::give_name() {
  const std::string self = "/proc/self/fd/" + std::to_string(descriptor_);
  ::unlink(part_.c_str());
  if (::linkat(AT_FDCWD, self.c_str(), AT_FDCWD, part_.c_str(), AT_SYMLINK_FOLLOW) != 0)
    return errno;
  named_ = true;
  return 0;
}

int NewFile::finish() {
  if (::fsync(descriptor_) != 0) return errno;
  if (!named_) {
    if (const int error = give_name(); error != 0) return error;
  }
  if (::rename(part_.c_str(), path_.c_str()) != 0) return errno;
  named_ = false;
  return 0;
}

}  // namespace nestor::emu
