// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/cli/input_text.h"

#include <spdlog/fmt/fmt.h>

#include <array>
#include <cerrno>
#include <cstdio>
#include <memory>
#include <system_error>

namespace nestor::emu {

std::variant<std::string, LoadError> read_text(const std::string& path, std::string_view what,
                                               uint64_t limit) {
  const bool standard = path == "-";
  const std::string name = standard ? "the standard input" : path;
  const auto fail = [&](int error_number) {
    return LoadError{fmt::format("cannot read {} {}: {}", what, name,
                                 std::generic_category().message(error_number))};
  };
  const std::unique_ptr<std::FILE, int (*)(std::FILE*)> owned(
      standard ? nullptr : std::fopen(path.c_str(), "rbe"),
      [](std::FILE* file) { return std::fclose(file); });
  if (!standard && owned == nullptr) return fail(errno);
  std::FILE* const file = standard ? stdin : owned.get();
  std::string text;
  std::array<char, 65536> chunk;
  while (const size_t got = std::fread(chunk.data(), 1, chunk.size(), file)) {
    text.append(chunk.data(), got);
    if (text.size() > limit)
      return LoadError{fmt::format("{} {} has more than {} bytes", what, name, limit)};
  }
  if (std::ferror(file) != 0) return fail(errno);
  if (text.empty()) return LoadError{fmt::format("{} {} is empty", what, name)};
  return text;
}

}  // namespace nestor::emu
