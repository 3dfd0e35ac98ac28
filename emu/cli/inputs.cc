// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/cli/inputs.h"

#include <spdlog/fmt/fmt.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <filesystem>
#include <utility>

#include "emu/devices/display/display_function.h"
#include "emu/devices/legacy/parallel_flash.h"
#include "emu/loaders/read_file.h"

namespace nestor::emu {
namespace {

// Nothing larger fits below 4 GiB with room to spare; it keeps a wrong file from filling the host's
// memory.
constexpr uint64_t kLargestImage = 1ull << 30;

struct KnownFirmware {
  std::string_view name, file, package;
  bool runs_vga_bios;
};
constexpr KnownFirmware kKnownFirmware[] = {
    {"seabios", "/usr/share/seabios/bios-256k.bin", "seabios", true},
    {"ovmf", "/usr/share/ovmf/OVMF.fd", "ovmf", false},
};
// OVMF without its variables, by the size of what they are kept in.
struct OvmfInFlash {
  uint64_t bytes;
  const char *code, *variables;
};
constexpr OvmfInFlash kOvmfInFlash[] = {
    {128 << 10, "/usr/share/OVMF/OVMF_CODE.fd", "/usr/share/OVMF/OVMF_VARS.fd"},
    {528 << 10, "/usr/share/OVMF/OVMF_CODE_4M.fd", "/usr/share/OVMF/OVMF_VARS_4M.fd"},
};
constexpr const char* kOvmfFolder = "/usr/share/OVMF";

constexpr const char* kVgaBios = "/usr/share/seabios/vgabios-stdvga.bin";

LoadError bad_flash(const DiskConfig& flash, std::string_view why) {
  return {fmt::format("--firmware-vars: '{}' {}", flash.path, why)};
}

// Firmware that waits forever in a loop and says nothing, or that makes nothing of this flash.
void warn_of_firmware(const std::string& path, const DiskConfig* flash) {
  namespace fs = std::filesystem;
  std::error_code error;
  const std::string name = fs::canonical(path, error).filename();
  if (name.ends_with(".secboot.fd")) {
    spdlog::warn(
        "'{}' needs system management mode, which the machine has not, and will come to a "
        "standstill; name one without 'secboot'",
        path);
  }
  if (flash == nullptr) return;
  for (const KnownFirmware& known : kKnownFirmware) {
    if (fs::equivalent(path, known.file, error))
      spdlog::warn("'{}' does not use --firmware-vars; name {}", path, kOvmfInFlash[0].code);
  }
  for (const auto& [bytes, code, variables] : kOvmfInFlash) {
    if (flash->bytes != bytes && fs::equivalent(path, code, error))
      spdlog::warn("'{}' needs variables of {} bytes; copy {}", path, bytes, variables);
  }
}

std::variant<LoadedImage, LoadError> read_rom(const std::string& path) {
  auto rom = read_file(path, "firmware", kMostRomBytes, "a ROM has no more");
  if (auto* bad = std::get_if<LoadError>(&rom)) return std::move(*bad);
  return load_firmware({file_name(path), std::get<std::vector<uint8_t>>(std::move(rom))});
}

}  // namespace

std::optional<LoadError> open_flash(DiskConfig& flash) {
  namespace fs = std::filesystem;
  const fs::path path = flash.path;
  std::error_code error;
  if (flash.bytes == 0 && fs::status(path, error).type() == fs::file_type::not_found) {
    return bad_flash(flash, fmt::format("is not there; make it with cp {} {}",
                                        kOvmfInFlash[0].variables, flash.path));
  }
  const fs::path folder = fs::canonical(path, error).parent_path();
  if (flash.writable && fs::equivalent(folder, kOvmfFolder, error))
    return bad_flash(flash, "is the original for all; copy it, and name the copy");
  try {
    flash.bytes = Disk(flash, Disk::Kind::kFlash).bytes();
  } catch (const DiskError& bad) {
    return LoadError{bad.what()};
  }
  if (flash.bytes % ParallelFlash::kSectorBytes == 0) return std::nullopt;
  return bad_flash(flash, fmt::format("has {} bytes; it needs a multiple of 4 KiB", flash.bytes));
}

ModuleFile parse_module(std::string_view text) {
  ModuleFile module;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == ',') {
      if (!text.substr(i + 1).starts_with(',')) {
        module.command_line = text.substr(i + 1);
        break;
      }
      ++i;
    }
    module.path += text[i];
  }
  return module;
}

std::variant<LoadedImage, LoadError> read_firmware(const std::string& firmware) {
  std::string path = firmware;
  for (const auto& [name, file, package, runs_vga_bios] : kKnownFirmware) {
    if (firmware != name) continue;
    path = file;
    if (!std::filesystem::exists(path)) {
      return LoadError{fmt::format(
          "--firmware {}: there is no '{}'; install Debian's package {}, or name a file", name,
          file, package)};
    }
  }
  warn_of_firmware(path, nullptr);
  return read_rom(path);
}

std::variant<LoadedImage, LoadError> read_firmware(const std::string& firmware, DiskConfig& flash) {
  if (const auto bad = open_flash(flash)) return *bad;
  std::string path = firmware;
  if (firmware == "ovmf") {
    const auto* const found = std::ranges::find(kOvmfInFlash, flash.bytes, &OvmfInFlash::bytes);
    if (found == std::end(kOvmfInFlash)) {
      return bad_flash(
          flash,
          fmt::format("has {} bytes, and OVMF's variables have {} or {}; copy {}", flash.bytes,
                      kOvmfInFlash[0].bytes, kOvmfInFlash[1].bytes, kOvmfInFlash[0].variables));
    }
    path = found->code;
    if (!std::filesystem::exists(path)) {
      return LoadError{fmt::format(
          "--firmware ovmf: there is no '{}'; install Debian's package ovmf, or name a file",
          path)};
    }
  }
  warn_of_firmware(path, &flash);
  auto loaded = read_rom(path);
  const auto* const code = std::get_if<LoadedImage>(&loaded);
  if (code != nullptr && flash.bytes > kMostRomBytes - code->rom_bytes) {
    return bad_flash(flash, fmt::format("has {} KiB; with the {} KiB of firmware that is more than "
                                        "8 MiB",
                                        flash.bytes >> 10, code->rom_bytes >> 10));
  }
  return loaded;
}

std::variant<std::vector<uint8_t>, LoadError> read_vga_bios(const std::string& firmware) {
  const auto* const known = std::ranges::find(kKnownFirmware, firmware, &KnownFirmware::name);
  if (known != std::end(kKnownFirmware) && !known->runs_vga_bios) return std::vector<uint8_t>();
  if (!std::filesystem::exists(kVgaBios)) {
    spdlog::warn(
        "there is no '{}', so that a BIOS shows nothing on the screen; install Debian's "
        "package seabios",
        kVgaBios);
    return std::vector<uint8_t>();
  }
  return read_file(kVgaBios, "VGA BIOS", DisplayFunction::kMostRomBytes, "a ROM has no more");
}

std::variant<Inputs, LoadError> read_inputs(const std::string& image_path,
                                            const std::vector<ModuleFile>& modules,
                                            uint64_t memory_bytes) {
  const uint64_t limit = std::min(memory_bytes, kLargestImage);
  const std::string_view advice =
      memory_bytes < kLargestImage
          ? "give the machine more with --memory or use a smaller file"
          : "use a smaller file: this is the limit of all, whatever --memory says";
  auto image = read_file(image_path, "image", limit, advice);
  if (auto* bad = std::get_if<LoadError>(&image)) return std::move(*bad);
  Inputs inputs{{file_name(image_path), std::get<std::vector<uint8_t>>(std::move(image))}, {}};
  for (const auto& [path, command_line, initrd] : modules) {
    auto module = read_file(path, initrd ? "initrd" : "module", limit, advice);
    if (auto* bad = std::get_if<LoadError>(&module)) return std::move(*bad);
    inputs.modules.push_back(
        {file_name(path), std::get<std::vector<uint8_t>>(std::move(module)), command_line, initrd});
  }
  return inputs;
}

}  // namespace nestor::emu
