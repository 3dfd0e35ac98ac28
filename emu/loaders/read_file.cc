// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/loaders/read_file.h"

#include <fcntl.h>
#include <spdlog/fmt/fmt.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>

namespace nestor::emu {
namespace {

// Closes the descriptor that it holds.
class Descriptor {
 public:
  explicit Descriptor(int descriptor) : descriptor_(descriptor) {}
  ~Descriptor() {
    if (descriptor_ >= 0) ::close(descriptor_);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  int get() const { return descriptor_; }

 private:
  int descriptor_;
};

LoadError cannot_read(std::string_view what, const std::string& path, int error_number) {
  return LoadError{fmt::format("cannot read {} {}: {}", what, path,
                               std::generic_category().message(error_number))};
}

}  // namespace

std::variant<std::vector<uint8_t>, LoadError> read_file(const std::string& path,
                                                        std::string_view what, uint64_t limit) {
  // A FIFO without a writer would block in open(), before its type is known.
  const Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (file.get() < 0) return cannot_read(what, path, errno);
  struct stat status {};
  if (::fstat(file.get(), &status) != 0) return cannot_read(what, path, errno);
  if (S_ISDIR(status.st_mode)) {
    return LoadError{fmt::format("{} {} is a directory; name the file in it", what, path)};
  }
  if (!S_ISREG(status.st_mode)) {
    return LoadError{fmt::format("{} {} is not a regular file; copy it into one", what, path)};
  }
  const uint64_t size = static_cast<uint64_t>(status.st_size);
  if (size == 0)
    return LoadError{fmt::format("{} {} is empty; build or copy it again", what, path)};
  if (size > limit) {
    return LoadError{fmt::format(
        "{} {} has {} bytes, more than the {} that can be loaded; give the machine more with "
        "--memory or use a smaller file",
        what, path, size, limit)};
  }
  std::vector<uint8_t> bytes(size);
  size_t filled = 0;
  while (filled < bytes.size()) {
    const ssize_t got = ::read(file.get(), bytes.data() + filled, bytes.size() - filled);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return cannot_read(what, path, errno);
    if (got == 0) {
      return LoadError{
          fmt::format("{} {} became shorter while it was read; try again", what, path)};
    }
    filled += static_cast<size_t>(got);
  }
  return bytes;
}

std::string file_name(std::string_view path) {
  return std::string(path.substr(path.find_last_of('/') + 1));
}

}  // namespace nestor::emu
