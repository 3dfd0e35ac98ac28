// SPDX-License-Identifier: GPL-2.0-or-later
#include <spdlog/fmt/fmt.h>

#include <algorithm>

#include "emu/loaders/image.h"

namespace nestor::emu {

std::variant<LoadedImage, LoadError> load_firmware(const ImageFile& rom) {
  const uint64_t size = rom.bytes.size();
  if (!is_rom_size(size)) {
    return LoadError{fmt::format(
        "{}: {} bytes are no firmware: a ROM has a multiple of 4 KiB, from {} KiB to {} MiB",
        rom.name, size, kLeastRomBytes >> 10, kMostRomBytes >> 20)};
  }
  constexpr uint64_t kBelow1Mib = 0xc0000, kEnd = 0x100000, kShown = 0x20000, k4Gib = 1ull << 32;
  std::vector<uint8_t> below(kEnd - kBelow1Mib, 0xff);
  const auto shown = static_cast<std::ptrdiff_t>(std::min(size, kShown));
  std::copy(rom.bytes.end() - shown, rom.bytes.end(), below.end() - shown);
  LoadedImage image{.format = ImageFormat::kFirmware, .pieces = {}, .rom_bytes = size};
  image.pieces.push_back({kBelow1Mib, below.size(), below});
  image.pieces.push_back({k4Gib - size, size, rom.bytes});
  return image;
}

}  // namespace nestor::emu
