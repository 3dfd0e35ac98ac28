// SPDX-License-Identifier: GPL-2.0-or-later
//
// Reads the files that a user names; the only part of the loaders that knows of files.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "emu/loaders/image.h"

namespace nestor::emu {

// The whole of `path`; "-" is the standard input. Waits for who writes into a pipe. Errors: it does
// not exist, may not be read, is neither a file nor a pipe, is empty, or is longer than `limit`
// bytes; of a file it is known before it is read. `what` names its part in messages, for example
// "image" or "module"; `advice` is what to do about one that is too long.
[[nodiscard]] std::variant<std::vector<uint8_t>, LoadError> read_file(
    const std::string& path, std::string_view what, uint64_t limit,
    std::string_view advice = "use a smaller file");

// What follows the last slash of `path`.
std::string file_name(std::string_view path);

}  // namespace nestor::emu
