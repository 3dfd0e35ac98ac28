// SPDX-License-Identifier: GPL-2.0-or-later
//
// From the bytes of an image to what memory and the processor hold when it starts. docs/boot.md is
// the contract with the image. Nothing here reads files or touches RAM.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "vmx/cpu_state.h"

namespace nestor::emu {

// Physical addresses first .. first + size - 1.
struct MemoryRange {
  uint64_t first = 0;
  uint64_t size = 0;  // bytes
  constexpr bool operator==(const MemoryRange&) const = default;
};

// The RAM of the machine: ascending, neither empty nor overlapping nor adjacent.
using MemoryMap = std::vector<MemoryRange>;

// What firmware tells a loader, beside the RAM.
struct FirmwareInformation {
  std::vector<MemoryRange> reserved;  // what it keeps for itself, ascending; not in the MemoryMap
  std::vector<uint8_t> rsdp;          // the RSDP of ACPI, version 2; empty: there is no ACPI
  uint64_t rsdp_address = 0;          // where it lies
};

struct ImageFile {
  std::string name;  // argv[0] of the guest, and what messages call the file
  std::vector<uint8_t> bytes;
};

// A bzImage takes initrds alone, one with PVH both, and all other images modules alone.
struct Module {
  std::string name;  // what messages call the file
  std::vector<uint8_t> bytes;
  std::optional<std::string> command_line{};  // std::nullopt: the name
  bool initrd = false;                        // then it has no command line
};

enum class ImageFormat : uint8_t { kMultiboot1, kMultiboot2, kElf64, kLinux, kPvh, kFirmware };

// "Multiboot 1", "Multiboot 2", "ELF64", "Linux bzImage", "PVH", "firmware".
std::string_view to_string(ImageFormat format);

// What one place in RAM holds: `bytes`, then zeros up to `size`.
struct Piece {
  uint64_t address = 0;
  uint64_t size = 0;  // at least bytes.size()
  std::vector<uint8_t> bytes;
};

// Every piece lies wholly inside one range of the memory map, or with firmware inside its ROM or
// what that shows below 1 MiB; no two overlap.
struct LoadedImage {
  ImageFormat format = ImageFormat::kMultiboot1;
  std::vector<Piece> pieces;
  vmx::CpuState cpu{};     // with firmware it is as after a reset, whatever this says
  uint64_t rom_bytes = 0;  // of firmware; the machine has such a ROM
};

// One sentence that names what is wrong and what to do about it; no newline.
struct LoadError {
  std::string message;
};

// `command_line` is what follows the image's name, without the name; it must not contain NUL.
// Everything in `image` is checked before use. Pure: the same arguments give the same result.
[[nodiscard]] std::variant<LoadedImage, LoadError> load_image(const ImageFile& image,
                                                              const std::vector<Module>& modules,
                                                              std::string_view command_line,
                                                              const MemoryMap& memory,
                                                              const FirmwareInformation& = {});

// The image of a ROM: a multiple of 4 KiB that ends at 4 GiB, where a processor begins after a
// reset.
inline constexpr uint64_t kLeastRomBytes = 64 << 10, kMostRomBytes = 8 << 20;
constexpr bool is_rom_size(uint64_t bytes) {
  return bytes >= kLeastRomBytes && bytes <= kMostRomBytes && bytes % 4096 == 0;
}
[[nodiscard]] std::variant<LoadedImage, LoadError> load_firmware(const ImageFile& rom);

}  // namespace nestor::emu
