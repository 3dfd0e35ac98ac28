// SPDX-License-Identifier: GPL-2.0-or-later
//
// The Multiboot headers, versions 1 and 2: what an image asks of its loader.
#pragma once

#include <cstdint>
#include <optional>
#include <variant>

#include "emu/loaders/byte_view.h"
#include "emu/loaders/image.h"

namespace nestor::emu {

// The address fields, checked against the file: they replace the ELF headers.
struct FlatLayout {
  uint64_t file_offset = 0, file_size = 0;     // inside the file
  uint64_t load_address = 0, memory_size = 0;  // memory_size >= file_size; may end beyond 4 GiB
};

struct MultibootHeader {
  ImageFormat version = ImageFormat::kMultiboot1;
  std::optional<FlatLayout> flat;
  std::optional<uint64_t> entry;  // physical; always with `flat`
};

struct NoMultibootHeader {};

// Looks for a header, version 2 before version 1. Errors: the header is malformed or asks for what
// this machine does not have. A magic number with a wrong checksum is no header.
[[nodiscard]] std::variant<NoMultibootHeader, MultibootHeader, LoadError> find_multiboot_header(
    Bytes file);

}  // namespace nestor::emu
