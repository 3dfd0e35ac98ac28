// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <variant>

#include "emu/loaders/image.h"

namespace nestor::emu {

// The whole of a file or a pipe, or of the standard input for "-". Errors: it cannot be read, is
// empty, or is longer than `limit` bytes. `what` names its part in messages: "VMCS".
[[nodiscard]] std::variant<std::string, LoadError> read_text(const std::string& path,
                                                             std::string_view what, uint64_t limit);

}  // namespace nestor::emu
