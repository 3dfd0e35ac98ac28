// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/cli/file_roles.h"

#include <poll.h>
#include <spdlog/fmt/fmt.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <string_view>
#include <vector>

namespace nestor::emu {
namespace {

namespace fs = std::filesystem;

struct Role {
  std::string_view option;
  std::string path;
  bool written = false;
  bool standard_input = path == "-" && !written;
};

std::vector<Role> image_roles(const ImageRun& run) {
  std::vector<Role> roles;
  if (!run.image.empty()) roles.push_back({"IMAGE", run.image});
  if (run.firmware) roles.push_back({"--firmware", *run.firmware});
  for (const ModuleFile& module : run.modules)
    roles.push_back({module.initrd ? "--initrd" : "--module", module.path});
  for (const DiskConfig& disk : run.machine.disks)
    roles.push_back({"--disk", disk.path, disk.writable, false});
  if (run.machine.cd) roles.push_back({"--cdrom", run.machine.cd->path});
  return roles;
}

std::vector<Role> roles_of(const RunOptions& options) {
  std::vector<Role> roles = image_roles(options);
  if (options.serial_input) roles.push_back({"--serial-input", *options.serial_input});
  if (options.gdb && options.gdb->kind == GdbAddress::Kind::kStdio)
    roles.push_back({"--gdb stdio", "-"});
  if (options.serial != "stdio" && options.serial != "none")
    roles.push_back({"--serial", options.serial, true});
  for (size_t i = 0; i < options.further_serial.size(); ++i) {
    constexpr std::string_view kOptions[] = {"--serial2", "--serial3", "--serial4"};
    const std::string& path = options.further_serial[i];
    if (path != "stdio" && path != "none") roles.push_back({kOptions[i], path, true});
  }
  if (const auto& path = options.virtio_console; path && *path != "stdio" && *path != "none")
    roles.push_back({"--virtio-console", *path, true});
  if (const auto& path = options.firmware_log; path && *path != "stdio" && *path != "none")
    roles.push_back({"--firmware-log", *path, true});
  if (options.trace && *options.trace != "-") roles.push_back({"--trace", *options.trace, true});
  if (options.dump_vmcs && *options.dump_vmcs != "-")
    roles.push_back({"--dump-vmcs", *options.dump_vmcs, true});
  if (options.profile && *options.profile != "-")
    roles.push_back({"--profile", *options.profile, true});
  for (const std::string& path : options.symbols) roles.push_back({"--symbols", path});
  for (const std::string& path : options.l2_symbols) roles.push_back({"--l2-symbols", path});
  if (options.screen && *options.screen != "-")
    roles.push_back({"--screen", *options.screen, true});
  if (options.load_state) roles.push_back({"--load-state", *options.load_state});
  if (options.save_state) roles.push_back({"--save-state", options.save_state->file, true});
  return roles;
}

// A pipe that somebody holds open counts: what he writes comes later.
bool standard_input_has_data() {
  struct stat status {};
  if (::fstat(STDIN_FILENO, &status) != 0) return false;
  if (S_ISREG(status.st_mode)) return ::lseek(STDIN_FILENO, 0, SEEK_CUR) < status.st_size;
  pollfd descriptor{STDIN_FILENO, POLLIN, 0};
  return S_ISFIFO(status.st_mode) &&
         (::poll(&descriptor, 1, 0) == 0 || (descriptor.revents & POLLIN) != 0);
}

bool is_same_file(const std::string& one, const std::string& other) {
  std::error_code error;
  if (fs::exists(one, error) && !fs::is_regular_file(one, error)) return false;
  if (fs::equivalent(one, other, error)) return true;
  // Files that are yet to be made.
  const auto place = [&](const std::string& path) {
    return fs::weakly_canonical(fs::absolute(path, error), error);
  };
  return place(one) == place(other);
}

std::optional<std::string> find_shared(const std::vector<Role>& roles) {
  for (size_t i = 0; i < roles.size(); ++i) {
    for (size_t j = 0; j < i; ++j) {
      const Role &first = roles[j], &second = roles[i];
      if (first.standard_input && second.standard_input) {
        return fmt::format("{} and {} both read the standard input; give one of them a file",
                           first.option, second.option);
      }
      if (!first.written && !second.written) continue;
      if (first.option == "--load-state" && second.option == "--save-state") continue;
      if (!is_same_file(first.path, second.path)) continue;
      return first.written && second.written
                 ? fmt::format("{} and {} both write to '{}'; give each a file of its own",
                               first.option, second.option, second.path)
                 : fmt::format("{} and {} both name '{}', which would be overwritten", first.option,
                               second.option, second.path);
    }
  }
  return std::nullopt;
}

}  // namespace

std::optional<std::string> shared_file(const RunOptions& options) {
  return find_shared(roles_of(options));
}

std::optional<std::string> unread_input(const RunOptions& options) {
  // Where a terminal would be the guest's keyboard.
  const bool expected = options.serial == "stdio" || options.virtio_console == "stdio";
  if (!expected || options.serial_input || !standard_input_has_data()) return std::nullopt;
  const auto reads = [](const Role& role) {
    return role.standard_input || role.path == "/dev/stdin";
  };
  if (std::ranges::any_of(roles_of(options), reads)) return std::nullopt;
  return "the standard input is no terminal and is not read; --serial-input - gives it to the "
         "guest";
}

std::optional<std::string> shared_file(const CompareMmuOptions& options) {
  std::vector<Role> roles = image_roles(options);
  if (options.json && *options.json != "-") roles.push_back({"--json", *options.json, true});
  return find_shared(roles);
}

std::optional<std::string> shared_file(const ViewOptions& options) {
  std::vector<Role> roles = {{"TRACE", options.trace}};
  if (options.out != "-") roles.push_back({"--out", options.out, true});
  return find_shared(roles);
}

}  // namespace nestor::emu
