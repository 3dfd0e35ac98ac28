// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/cli/image_options.h"

#include <spdlog/fmt/fmt.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <span>

#include "emu/cli/numbers.h"
#include "emu/machine/pci_slots.h"
#include "emu/memory/page_size.h"
#include "emu/memory/ram.h"

namespace nestor::emu {
namespace {

constexpr const char *kFirmwareOption = "--firmware", *kApplicationOption = "--efi-application",
                     *kVgaOption = "--vga", *kVariablesOption = "--firmware-vars";

std::string check_memory(const std::string& text) {
  const auto bytes = parse_size(text);
  if (!bytes)
    return fmt::format("--memory: '{}' is no size; write a number with K, M or G, like 512M", text);
  if (*bytes < Ram::kMinimumSize || *bytes > Ram::kMaximumSize || *bytes % kPageSize != 0) {
    return fmt::format("--memory: {} is not possible; choose a multiple of 4K from {}M to {}G",
                       text, Ram::kMinimumSize >> 20, Ram::kMaximumSize >> 30);
  }
  return {};
}

std::string check_cpus(const std::string& text) {
  const uint64_t processors = parse_count(text).value_or(0);
  if (processors >= 1 && processors <= ProcessorConfig::kMaxCount) return {};
  return fmt::format("--cpus: '{}' is not possible; choose a number from 1 to {}", text,
                     ProcessorConfig::kMaxCount);
}

std::string check_path(std::string_view option, const std::string& path) {
  if (path.empty()) return fmt::format("{}: the name of the file is empty", option);
  if (path.size() > DiskConfig::kMaxPathBytes)
    return fmt::format("{}: the name of the file is too long", option);
  return {};
}

// What may follow the file of a disk.
struct DiskKey {
  std::string_view unset, set;  // the first one is the default
  bool DiskConfig::*member;
};
constexpr DiskKey kDiskKeys[] = {{"writable=off", "writable=on", &DiskConfig::writable},
                                 {"interface=virtio", "interface=ahci", &DiskConfig::ahci}};

constexpr std::span<const DiskKey> kFlashKeys = std::span(kDiskKeys).first(1);

// "KEY=VALUE,..." of an option that has these keys.
Complaint read_disk_keys(std::string_view option, std::span<const DiskKey> keys,
                         std::string_view text, DiskConfig& disk) {
  std::vector<const DiskKey*> seen;
  for (;;) {
    const size_t comma = text.find(',');
    const std::string_view pair = text.substr(0, comma);
    const auto key = std::ranges::find_if(
        keys, [pair](const DiskKey& each) { return pair == each.unset || pair == each.set; });
    if (key == keys.end()) {
      std::string names;
      for (const DiskKey& each : keys)
        names += fmt::format("{}{} nor {}", names.empty() ? "" : ", nor ", each.set, each.unset);
      return fmt::format(
          "{}: '{}' is neither {}; write FILE or FILE,KEY=VALUE, and a comma in FILE as ,,", option,
          pair, names);
    }
    if (std::ranges::count(seen, &*key) != 0)
      return fmt::format("{}: '{}' comes after another value of the same key", option, pair);
    seen.push_back(&*key);
    disk.*(key->member) = pair == key->set;
    if (comma == std::string_view::npos) return {};
    text.remove_prefix(comma + 1);
  }
}

std::string check_count(const std::string& text) {
  if (parse_count(text).value_or(0) != 0) return {};
  return fmt::format("--max-instructions: '{}' is no count; write a decimal number of at least 1",
                     text);
}

}  // namespace

void ImageOptions::add_to(CLI::App& command) {
  command.add_option("IMAGE", image_, "The image")->type_name("");
  command.add_option("--append", append_, "Command line of the image, after its name")
      ->type_name("ARGS");
  command.add_option("--memory", memory_, "RAM in bytes, or with suffix K, M or G")
      ->type_name("SIZE")
      ->capture_default_str();
  command
      .add_option("--module", modules_,
                  "A boot module and its command line [its name]; may be repeated; a comma in FILE "
                  "is written ,,")
      ->type_name("FILE[,ARGS]")
      ->expected(1)
      ->allow_extra_args(false)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  command
      .add_option("--initrd", initrds_,
                  "The initramfs of a Linux kernel; of several the kernel reads one after another")
      ->type_name("FILE")
      ->expected(1)
      ->allow_extra_args(false)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  command
      .add_option("--disk", disks_,
                  "A raw file as a virtio disk, or with interface=ahci as a SATA disk; may be "
                  "repeated. It stays as it is, unless writable=on; a comma in FILE is written ,,")
      ->type_name("FILE[,KEY=VALUE]")
      ->expected(1)
      ->allow_extra_args(false)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  command.add_option("--cdrom", cdrom_, "A file, as an ISO image, in a CD drive")
      ->type_name("FILE");
  command.add_option("--max-instructions", count_, "Stop after so many instructions")
      ->type_name("N");
  add_processor_option(command, cpu_);
  command
      .add_option("--cpus", cpus_,
                  fmt::format("Logical processors, 1 to {}", ProcessorConfig::kMaxCount))
      ->type_name("N")
      ->capture_default_str();
  command
      .add_option("--feature-control", feature_control_,
                  "IA32_FEATURE_CONTROL at the start: locked with VMX enabled, as firmware leaves "
                  "it, or unlocked (0)")
      ->type_name("locked|unlocked")
      ->capture_default_str();
  command.add_option("--debug-exit", debug_exit_, "The port by which a guest ends the run")
      ->type_name("PORT")
      ->capture_default_str();
}

void ImageOptions::add_firmware_to(CLI::App& run) {
  run.add_option(kFirmwareOption, firmware_,
                 "Firmware that starts the machine from its disks: seabios, ovmf, or the file of a "
                 "ROM [seabios, when there is no IMAGE]")
      ->type_name("NAME|FILE");
  run.add_option(kVariablesOption, firmware_vars_,
                 "A copy of OVMF_VARS.fd or OVMF_VARS_4M.fd as a flash memory, in which UEFI keeps "
                 "variables; --firmware is ovmf then. A comma in FILE is written ,,")
      ->type_name("FILE[,writable=off]");
  run.add_option(kApplicationOption, efi_application_,
                 "A disk with this UEFI application, before all others; --firmware is ovmf then")
      ->type_name("FILE.efi");
  run.add_option(
         kVgaOption, vga_,
         "The display: QEMU's standard VGA, with graphics, or a text screen alone [std with "
         "firmware, else text]")
      ->type_name("std|text");
}

Complaint ImageOptions::read_vga(const CLI::App& run, ImageRun& to) const {
  if (run.count(kVgaOption) == 0) {
    to.machine.standard_vga = to.firmware.has_value();
    return {};
  }
  if (vga_ != "std" && vga_ != "text")
    return fmt::format("--vga: '{}' is neither std nor text", vga_);
  to.machine.standard_vga = vga_ == "std";
  return {};
}

Complaint ImageOptions::read_firmware(const CLI::App& run, ImageRun& to) const {
  const bool has_firmware = run.count(kFirmwareOption) != 0;
  const bool has_application = run.count(kApplicationOption) != 0;
  const bool has_variables = run.count(kVariablesOption) != 0;
  if (run.count("IMAGE") != 0) {
    for (const char* option : {kFirmwareOption, kApplicationOption, kVariablesOption}) {
      if (run.count(option) != 0)
        return fmt::format("IMAGE and {} exclude each other; leave one out", option);
    }
    return {};
  }
  // Where there is none nothing is said of it.
  if (run.get_option(kFirmwareOption)->get_group().empty()) return "IMAGE is required";
  if (!has_firmware && !has_application && !has_variables && disks_.empty() && !to.machine.cd)
    return "IMAGE is required, or a --disk, --cdrom or --efi-application to start from, or "
           "--firmware, or --load-state FILE";
  if (has_firmware && firmware_.empty()) return "--firmware: the name of the file is empty";
  for (const char* option : {"--append", "--module", "--initrd"}) {
    if (run.count(option) != 0)
      return fmt::format("{} has no effect without IMAGE: firmware starts the machine", option);
  }
  if (has_application && firmware_ == "seabios")
    return "--efi-application: SeaBIOS starts none; leave --firmware out";
  if (has_variables && firmware_ == "seabios")
    return "--firmware-vars: SeaBIOS has no variables; leave --firmware out";
  const char* const usual = has_application || has_variables ? "ovmf" : "seabios";
  to.firmware = has_firmware ? firmware_ : usual;
  return {};
}

Complaint ImageOptions::read_disks(const CLI::App& command, ImageRun& run) const {
  const CLI::Option* const application = command.get_option_no_throw(kApplicationOption);
  if (application != nullptr && application->count() != 0) {
    if (std::string bad = check_path(kApplicationOption, efi_application_); !bad.empty())
      return bad;
    run.machine.disks.push_back({.path = efi_application_, .efi_application = true});
  }
  for (const std::string& text : disks_) {
    // Written as a module and its command line are.
    const ModuleFile disk = parse_module(text);
    if (disk.path.empty())
      return "--disk: the name of the file is empty; name a raw file; a comma in it is written ,,";
    if (std::string bad = check_path("--disk", disk.path); !bad.empty()) return bad;
    DiskConfig config{.path = disk.path};
    if (disk.command_line) {
      if (Complaint bad = read_disk_keys("--disk", kDiskKeys, *disk.command_line, config);
          !bad.empty())
        return bad;
    }
    run.machine.disks.push_back(std::move(config));
  }
  const auto ahci = std::ranges::count_if(run.machine.disks, &DiskConfig::ahci);
  if (ahci > kMaxAhciDisks)
    return fmt::format("--disk: at most {} with interface=ahci are possible", kMaxAhciDisks);
  if (run.machine.disks.size() - static_cast<size_t>(ahci) > kMaxVirtioDisks)
    return fmt::format("--disk: at most {} virtio disks are possible, and {} with interface=ahci",
                       kMaxVirtioDisks, kMaxAhciDisks);
  return {};
}

Complaint ImageOptions::read_flash(const CLI::App& command, ImageRun& run) const {
  const CLI::Option* const option = command.get_option_no_throw(kVariablesOption);
  if (option == nullptr || option->count() == 0) return {};
  const ModuleFile file = parse_module(firmware_vars_);
  if (std::string bad = check_path(kVariablesOption, file.path); !bad.empty()) return bad;
  // Variables are to last.
  DiskConfig config{.path = file.path, .writable = true};
  if (file.command_line) {
    if (Complaint bad = read_disk_keys(kVariablesOption, kFlashKeys, *file.command_line, config);
        !bad.empty())
      return bad;
  }
  run.machine.flash = std::move(config);
  return {};
}

Complaint ImageOptions::read(const CLI::App& command, ImageRun& run) const {
  if (image_.empty() && command.count("IMAGE") != 0)
    return "IMAGE: the name of the file is empty; name an image";
  run.image = image_;
  run.append = append_;
  for (const std::string& module : modules_) run.modules.push_back(parse_module(module));
  if (std::ranges::any_of(run.modules,
                          [](const ModuleFile& module) { return module.path.empty(); }))
    return "--module: the name of the file is empty; a comma in it is written ,,";
  for (const std::string& path : initrds_) {
    if (path.empty()) return "--initrd: the name of the file is empty";
    run.modules.push_back({.path = path, .initrd = true});
  }
  if (Complaint bad = read_disks(command, run); !bad.empty()) return bad;
  if (Complaint bad = read_flash(command, run); !bad.empty()) return bad;
  if (command.count("--cdrom") != 0) {
    if (std::string bad = check_path("--cdrom", cdrom_); !bad.empty()) return bad;
    run.machine.cd = DiskConfig{.path = cdrom_};
  }
  if (std::string bad = check_memory(memory_); !bad.empty()) return bad;
  run.machine.memory_bytes = *parse_size(memory_);
  if (std::string bad = check_cpus(cpus_); !bad.empty()) return bad;
  run.machine.processor.count = static_cast<unsigned>(*parse_count(cpus_));
  auto processor = read_processor(cpu_);
  if (auto* bad = std::get_if<Complaint>(&processor)) return std::move(*bad);
  run.machine.processor.type = std::get<vmx::ProcessorType>(processor);
  if (feature_control_ != "locked" && feature_control_ != "unlocked")
    return fmt::format("--feature-control: '{}' is neither locked nor unlocked", feature_control_);
  run.machine.processor.lock_feature_control = feature_control_ == "locked";
  const auto port = parse_address(debug_exit_);
  constexpr uint64_t kLastPort = 0xfffc;  // it has four
  if (!port || *port > kLastPort)
    return fmt::format("--debug-exit: '{}' is no port; write 0x and digits", debug_exit_);
  run.machine.debug_exit_port = static_cast<uint16_t>(*port);
  if (command.count("--max-instructions") != 0) {
    if (std::string bad = check_count(count_); !bad.empty()) return bad;
    run.machine.max_instructions = *parse_count(count_);
  }
  return {};
}

}  // namespace nestor::emu
