// SPDX-License-Identifier: GPL-2.0-or-later
//
// Loading an image that must be accepted, or refused.
#pragma once

#include <gtest/gtest.h>

#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "emu/loaders/image.h"
#include "tests/emu/loaders/image_builder.h"

namespace nestor::emu::testing {

inline const MemoryMap kMemory = {{0, 0xa0000},
                                  {0x100000, 0xf00000}};  // 16 MiB with the legacy hole

inline LoadedImage load_ok(ByteVector bytes, const std::vector<Module>& modules = {},
                           std::string_view line = "", const MemoryMap& memory = kMemory,
                           const FirmwareInformation& firmware = {}) {
  auto result = load_image({"image", std::move(bytes)}, modules, line, memory, firmware);
  if (auto* bad = std::get_if<LoadError>(&result)) {
    ADD_FAILURE() << bad->message;
    return {};
  }
  return std::get<LoadedImage>(std::move(result));
}

inline std::string load_bad(ByteVector bytes, const std::vector<Module>& modules = {},
                            std::string_view line = "", const MemoryMap& memory = kMemory) {
  auto result = load_image({"image", std::move(bytes)}, modules, line, memory);
  if (auto* bad = std::get_if<LoadError>(&result)) return bad->message;
  ADD_FAILURE() << "the image was accepted";
  return "";
}

}  // namespace nestor::emu::testing
