// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "emu/devices/disk.h"
#include "emu/loaders/image.h"

namespace nestor::emu {

// A boot module as a user names it.
struct ModuleFile {
  std::string path;
  std::optional<std::string> command_line{};  // std::nullopt: the file's name without folders
  bool initrd = false;                        // given with --initrd
  bool operator==(const ModuleFile&) const = default;
};

// "FILE" or "FILE,ARGS": what follows the first comma is the command line. ",," is a comma of the
// file's name.
ModuleFile parse_module(std::string_view text);

// The files of which a run is made.
struct Inputs {
  ImageFile image;
  std::vector<Module> modules;
};

// Firmware that is a name or a file, ready for its machine.
[[nodiscard]] std::variant<LoadedImage, LoadError> read_firmware(const std::string& firmware);

// Whether the file of a flash can be used; `bytes` are known afterwards. One of the originals that
// all use is refused where it would be written.
[[nodiscard]] std::optional<LoadError> open_flash(DiskConfig& flash);

// Firmware for a machine with this flash, of which `bytes` become known. Errors: also of the flash.
[[nodiscard]] std::variant<LoadedImage, LoadError> read_firmware(const std::string& firmware,
                                                                 DiskConfig& flash);

// The ROM of the standard VGA for a machine that it starts; empty: it needs none, or there is none,
// which the log says.
[[nodiscard]] std::variant<std::vector<uint8_t>, LoadError> read_vga_bios(
    const std::string& firmware);

// Reads them; none may be larger than the guest's memory.
[[nodiscard]] std::variant<Inputs, LoadError> read_inputs(const std::string& image,
                                                          const std::vector<ModuleFile>& modules,
                                                          uint64_t memory_bytes);

}  // namespace nestor::emu
