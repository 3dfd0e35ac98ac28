// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/loaders/read_file.h"

#include <fcntl.h>
#include <spdlog/fmt/fmt.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
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

// What a device would give without end.
bool can_be_read(mode_t mode) { return S_ISREG(mode) || S_ISFIFO(mode); }

}  // namespace

std::variant<std::vector<uint8_t>, LoadError> read_file(const std::string& path,
                                                        std::string_view what, uint64_t limit,
                                                        std::string_view advice) {
  const auto too_long = [&] {
    return LoadError{fmt::format("{} {} has more than the {} bytes that can be loaded; {}", what,
                                 path, limit, advice)};
  };
  const Descriptor file(path == "-" ? ::fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 0)
                                    : ::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (file.get() < 0) return cannot_read(what, path, errno);
  struct stat status {};
  if (::fstat(file.get(), &status) != 0) return cannot_read(what, path, errno);
  if (S_ISDIR(status.st_mode)) {
    return LoadError{fmt::format("{} {} is a directory; name the file in it", what, path)};
  }
  if (!can_be_read(status.st_mode)) {
    return LoadError{
        fmt::format("{} {} is neither a file nor a pipe; copy it into a file", what, path)};
  }
  if (S_ISREG(status.st_mode) && static_cast<uint64_t>(status.st_size) > limit) return too_long();
  // A byte more than may be there tells that it is too long.
  constexpr size_t kPart = 1 << 20;
  std::vector<uint8_t> bytes;
  size_t filled = 0;
  for (;;) {
    bytes.resize(std::min<uint64_t>(std::max<uint64_t>(2 * filled, kPart), limit + 1));
    const ssize_t got = ::read(file.get(), bytes.data() + filled, bytes.size() - filled);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return cannot_read(what, path, errno);
    if (got == 0) break;
    filled += static_cast<size_t>(got);
    if (filled > limit) return too_long();
  }
  bytes.resize(filled);
  if (bytes.empty())
    return LoadError{fmt::format("{} {} is empty; build or copy it again", what, path)};
  return bytes;
}

std::string file_name(std::string_view path) {
  return std::string(path.substr(path.find_last_of('/') + 1));
}

}  // namespace nestor::emu
