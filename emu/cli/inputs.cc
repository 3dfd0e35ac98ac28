// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/cli/inputs.h"

#include <algorithm>
#include <utility>

#include "emu/loaders/read_file.h"

namespace nestor::emu {
namespace {

// Nothing larger fits below 4 GiB with room to spare; it keeps a wrong file from filling the host's
// memory.
constexpr uint64_t kLargestImage = 1ull << 30;

}  // namespace

std::variant<Inputs, LoadError> read_inputs(const std::string& image_path,
                                            const std::vector<std::string>& modules,
                                            uint64_t memory_bytes) {
  const uint64_t limit = std::min(memory_bytes, kLargestImage);
  auto image = read_file(image_path, "image", limit);
  if (auto* bad = std::get_if<LoadError>(&image)) return std::move(*bad);
  Inputs inputs{{file_name(image_path), std::get<std::vector<uint8_t>>(std::move(image))}, {}};
  for (const std::string& path : modules) {
    auto module = read_file(path, "module", limit);
    if (auto* bad = std::get_if<LoadError>(&module)) return std::move(*bad);
    inputs.modules.push_back({file_name(path), std::get<std::vector<uint8_t>>(std::move(module))});
  }
  return inputs;
}

}  // namespace nestor::emu
