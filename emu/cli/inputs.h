// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <cstdint>
#include <string>
#include <variant>
#include <vector>

#include "emu/loaders/image.h"

namespace nestor::emu {

// The files of which a run is made.
struct Inputs {
  ImageFile image;
  std::vector<Module> modules;
};

// Reads them; none may be larger than the guest's memory.
[[nodiscard]] std::variant<Inputs, LoadError> read_inputs(const std::string& image,
                                                          const std::vector<std::string>& modules,
                                                          uint64_t memory_bytes);

}  // namespace nestor::emu
