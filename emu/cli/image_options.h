// SPDX-License-Identifier: GPL-2.0-or-later
//
// The options that all commands have that run an image.
#pragma once

#include <spdlog/fmt/fmt.h>

#include <optional>
#include <string>
#include <vector>

#include "emu/cli/complaint.h"
#include "emu/cli/inputs.h"
#include "emu/cli/processor_choice.h"
#include "emu/machine/machine.h"

namespace CLI {
class App;
}

namespace nestor::emu {

// An image to run, and the machine to run it on.
struct ImageRun {
  std::string image;
  std::optional<std::string> firmware{};  // a name or a file; it starts the machine, not an image
  std::string append;                     // arguments of the image, without its name
  std::vector<ModuleFile> modules;
  MachineConfig machine{};
};

class ImageOptions {
 public:
  // This object outlives the parsing. Whether the image is required is the command's to say.
  void add_to(CLI::App& command);
  // The options of a command that can start without an image.
  void add_firmware_to(CLI::App& run);
  // After the parsing, without a saved state: what starts the machine.
  [[nodiscard]] Complaint read_firmware(const CLI::App& run, ImageRun& to) const;
  // After that: the display.
  [[nodiscard]] Complaint read_vga(const CLI::App& run, ImageRun& to) const;
  // After the parsing. A complaint, or none and the image, the size of the machine, its processor
  // and its instruction budget.
  [[nodiscard]] Complaint read(const CLI::App& command, ImageRun& run) const;

 private:
  [[nodiscard]] Complaint read_disks(const CLI::App& command, ImageRun& run) const;
  [[nodiscard]] Complaint read_flash(const CLI::App& command, ImageRun& run) const;

  std::string image_, append_, firmware_, firmware_vars_, vga_, cdrom_, efi_application_;
  std::vector<std::string> modules_, initrds_, disks_;
  std::string memory_ = "512M", count_, cpus_ = "1", cpu_ = default_processor_name();
  std::string feature_control_ = "locked", debug_exit_ = fmt::format("{:#x}", kDebugExitPort);
};

}  // namespace nestor::emu
