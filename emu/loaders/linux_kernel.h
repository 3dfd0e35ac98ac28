// SPDX-License-Identifier: GPL-2.0-or-later
//
// Linux kernels as bzImage: Linux, Documentation/arch/x86/boot.rst ("The Linux/x86 Boot Protocol")
// and zero-page.rst.
#pragma once

#include <string_view>
#include <variant>
#include <vector>

#include "emu/loaders/byte_view.h"
#include "emu/loaders/image.h"

namespace nestor::emu {

// Whether the file has the header of a Linux kernel, of whatever version.
bool has_linux_header(Bytes file);

// As load_image(), of a file with such a header. The kernel is entered where the 64-bit boot
// protocol says, or the 32-bit one if it has no 64-bit entry.
[[nodiscard]] std::variant<LoadedImage, LoadError> load_linux(Bytes file,
                                                              const std::vector<Module>& modules,
                                                              std::string_view command_line,
                                                              const MemoryMap& memory,
                                                              const FirmwareInformation& firmware);

}  // namespace nestor::emu
