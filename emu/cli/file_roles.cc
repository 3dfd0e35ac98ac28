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
  if (const auto& flash = run.machine.flash)
    roles.push_back({"--firmware-vars", flash->path, flash->writable, false});
  for (const ModuleFile& module : run.modules)
    roles.push_back({module.initrd ? "--initrd" : "--module", module.path});
  for (const DiskConfig& disk : run.machine.disks)
    roles.push_back(
        {disk.efi_application ? "--efi-application" : "--disk", disk.path, disk.writable, false});
  if (run.machine.cd) roles.push_back({"--cdrom", run.machine.cd->path});
  return roles;
}

std::vector<Role> roles_of(const RunOptions& options) {
  std::vector<Role> roles = image_roles(options);
  if (options.keyboard != "stdio" && options.keyboard != "none")
    roles.push_back({"--keyboard", options.keyboard});
  if (options.serial_input) roles.push_back({"--serial-input", *options.serial_input});
  if (options.gdb && options.gdb->kind == GdbAddress::Kind::kStdio)
    roles.push_back({"--gdb stdio", "-"});
  // Where bytes go: stdio, none, or a file.
  const auto add_stream = [&roles](std::string_view option, const std::string& where) {
    if (where != "stdio" && where != "none") roles.push_back({option, where, true});
  };
  add_stream("--serial", options.serial);
  add_stream("--serial2", options.further_serial[0]);
  add_stream("--serial3", options.further_serial[1]);
  add_stream("--serial4", options.further_serial[2]);
  add_stream("--virtio-console", options.virtio_console.value_or("none"));
  add_stream("--debug-console", options.debug_console.value_or("none"));
  add_stream("--firmware-log", options.firmware_log.value_or("none"));
  const auto add_output = [&roles](std::string_view option, const std::string& path) {
    if (path != "-") roles.push_back({option, path, true});
  };
  if (options.trace) add_output("--trace", *options.trace);
  if (options.dump_vmcs) add_output("--dump-vmcs", *options.dump_vmcs);
  if (options.profile) add_output("--profile", *options.profile);
  for (const std::string& path : options.symbols) roles.push_back({"--symbols", path});
  for (const std::string& path : options.l2_symbols) roles.push_back({"--l2-symbols", path});
  if (options.screen) add_output("--screen", *options.screen);
  if (options.report) add_output("--report", *options.report);
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
  const bool expected =
      options.serial == "stdio" || options.virtio_console == "stdio" || options.keyboard == "stdio";
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
