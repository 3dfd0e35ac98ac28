// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <optional>
#include <string>

#include "emu/cli/options.h"

namespace nestor::emu {

// A complaint if the run would write to one file twice, or over one that it reads, or read the
// standard input twice. Links and other names of one file are seen; devices and pipes may be
// shared. A state may take the place of the one that was loaded.
[[nodiscard]] std::optional<std::string> shared_file(const RunOptions& options);
[[nodiscard]] std::optional<std::string> shared_file(const CompareMmuOptions& options);
[[nodiscard]] std::optional<std::string> shared_file(const ViewOptions& options);

// Something waits on the standard input, a pipe or a file, that the run does not read: a sentence
// that says how it would.
[[nodiscard]] std::optional<std::string> unread_input(const RunOptions& options);

}  // namespace nestor::emu
