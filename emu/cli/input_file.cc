// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/cli/input_file.h"

#include <sys/stat.h>

#include <cerrno>
#include <system_error>

namespace nestor::emu {

std::variant<std::unique_ptr<InputFile>, std::string> InputFile::open(const std::string& option,
                                                                      const std::string& path) {
  const auto refuse = [&option, &path](int error) {
    const std::string why = std::generic_category().message(error);
    return path == "-" ? option + " -: cannot read the standard input: " + why +
                             "; make it a file or a pipe"
                       : option + ": cannot read '" + path + "': " + why +
                             "; name a file, or - for the standard input";
  };
  File file(path == "-" ? stdin : std::fopen(path.c_str(), "rb"));
  if (!file) return refuse(errno);
  struct stat status {};
  if (::fstat(::fileno(file.get()), &status) != 0) return refuse(errno);
  if (S_ISDIR(status.st_mode)) return refuse(EISDIR);
  return std::unique_ptr<InputFile>(new InputFile(std::move(file)));
}

std::optional<uint8_t> InputFile::next() {
  const int byte = std::getc(file_.get());
  return byte == EOF ? std::nullopt : std::optional(static_cast<uint8_t>(byte));
}

}  // namespace nestor::emu
