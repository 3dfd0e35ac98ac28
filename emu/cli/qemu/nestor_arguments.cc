// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/cli/qemu/nestor_arguments.h"

#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <system_error>

#include "emu/cli/qemu/streams.h"
#include "emu/devices/emulator/debug_exit.h"
#include "emu/loaders/elf.h"
#include "emu/loaders/linux_kernel.h"
#include "emu/loaders/multiboot_header.h"
#include "emu/machine/pci_slots.h"

namespace nestor::emu::qemu {
namespace {

using Arguments = std::vector<std::string>;

// Arguments as they come, or the first complaint.
class Writer {
 public:
  explicit Writer(const Wanted& wanted) : wanted_(wanted) {}

  void add(std::string argument) { arguments_.push_back(std::move(argument)); }
  void add(std::string option, std::string value) {
    if (value.starts_with('-')) return add(option + "=" + value);  // it is no option
    add(std::move(option));
    add(std::move(value));
  }
  // An option whose value is where bytes go, as QEMU says it.
  void add_stream(const std::string& option, const std::string& qemu_option,
                  const std::string& text) {
    auto found = find_stream(text, wanted_);
    if (auto* bad = std::get_if<Complaint>(&found)) {
      if (bad_.empty()) bad_ = {qemu_option + ": " + bad->text, bad->status};
      return;
    }
    add(option, std::get<std::string>(found));
  }
  void fail(Complaint bad) {
    if (bad_.empty()) bad_ = std::move(bad);
  }
  std::variant<Arguments, Complaint> take() && {
    if (!bad_.empty()) return std::move(bad_);
    return std::move(arguments_);
  }

 private:
  const Wanted& wanted_;
  Arguments arguments_;
  Complaint bad_;
};

// A comma in a file's name.
std::string escape_commas(const std::string& path) {
  std::string escaped;
  for (const char c : path) escaped += c == ',' ? std::string(",,") : std::string(1, c);
  return escaped;
}

std::string write_size(uint64_t bytes) {
  for (const auto& [shift, suffix] : {std::pair{30, 'G'}, {20, 'M'}, {10, 'K'}})
    if (bytes % (1ull << shift) == 0) return fmt::format("{}{}", bytes >> shift, suffix);
  return fmt::format("{}", bytes);
}

// Whether an initramfs is for it; all other kernels take modules.
bool takes_initrd(const std::vector<uint8_t>& file) {
  if (!std::holds_alternative<NoMultibootHeader>(find_multiboot_header(file))) return false;
  if (has_linux_header(file)) return true;
  if (!has_elf_magic(file)) return false;
  const auto elf = parse_elf(file);
  const auto* parsed = std::get_if<ElfFile>(&elf);
  return parsed != nullptr && parsed->pvh_entry;
}

void add_kernel(const Wanted& wanted, Writer& to) {
  // Scripts know these words of QEMU's: kvm-unit-tests sees by them that all else was taken.
  std::ifstream in(*wanted.kernel, std::ios::binary);
  if (!in || std::filesystem::is_directory(*wanted.kernel)) {
    const int error = in ? EISDIR : errno;
    return to.fail({fmt::format("could not open kernel file '{}': {}", *wanted.kernel,
                                std::generic_category().message(error)),
                    ExitStatus::kBadImage});
  }
  to.add(wanted.kernel->starts_with('-') ? "./" + *wanted.kernel : *wanted.kernel);
  if (wanted.append) to.add("--append=" + *wanted.append);
  if (!wanted.initrd) return;
  const std::vector<uint8_t> file{std::istreambuf_iterator<char>(in), {}};
  if (takes_initrd(file)) return to.add("--initrd", *wanted.initrd);
  // A file and its arguments, which are its command line as a whole; the next one after a comma.
  for (const std::string& line : split_items(*wanted.initrd))
    to.add("--module", escape_commas(line.substr(0, line.find(' '))) + "," + line);
}

void add_firmware(const Wanted& wanted, Writer& to) {
  if (!wanted.bios) return;
  // Names in QEMU's own folder.
  constexpr std::pair<std::string_view, const char*> kNamed[] = {
      {"bios.bin|bios-256k.bin|seabios.bin", "seabios"},
      {"OVMF.fd|edk2-x86_64-code.fd|ovmf-x86_64.bin", "ovmf"}};
  std::string firmware = *wanted.bios;
  if (!std::filesystem::exists(firmware)) {
    for (const auto& [names, nestor] : kNamed)
      if (is_one_of(firmware, names)) firmware = nestor;
  }
  to.add("--firmware", firmware);
  if (!wanted.variables) return;
  const bool kept = wanted.variables_read_only || wanted.snapshot;
  to.add("--firmware-vars", escape_commas(*wanted.variables) + (kept ? ",writable=off" : ""));
}

void add_drives(const Wanted& wanted, Writer& to) {
  std::vector<Drive> drives = wanted.drives;
  std::ranges::stable_sort(drives, {}, &Drive::order);
  for (const Drive& drive : drives) {
    if (!drive.attached) continue;
    if (drive.cd) {
      to.add("--cdrom", drive.file);
      continue;
    }
    const bool writable = !drive.read_only && !wanted.snapshot;
    to.add("--disk", escape_commas(drive.file) + (writable ? ",writable=on" : "") +
                         (drive.ahci ? ",interface=ahci" : ""));
  }
}

// What is without -serial: with a window it would be one of its tabs.
std::string default_serial(const Wanted& wanted) {
  if (!wanted.has_defaults) return "none";
  return wanted.has_graphic && !wanted.has_display ? "none" : "stdio";
}

void add_streams(const Wanted& wanted, Writer& to) {
  for (size_t i = 0; i < wanted.serials.size(); ++i) {
    const std::string number = i == 0 ? "" : fmt::format("{}", i + 1);
    to.add_stream("--serial" + number, "-serial " + wanted.serials[i], wanted.serials[i]);
  }
  if (wanted.serials.empty()) to.add("--serial", default_serial(wanted));
  if (wanted.virtio_console)
    to.add_stream("--virtio-console", "virtconsole", *wanted.virtio_console);
  if (wanted.debug_console) {
    const bool firmware = wanted.debug_console_port == Wanted::kFirmwareLogPort;
    to.add_stream(firmware ? "--firmware-log" : "--debug-console",
                  "-debugcon " + *wanted.debug_console, *wanted.debug_console);
  }
  if (wanted.vga) to.add("--vga", *wanted.vga);
  if (wanted.has_defaults && wanted.has_screen) to.add("--screen");
}

void add_trace(const Wanted& wanted, Writer& to) {
  if (wanted.event_kinds.empty()) return;
  std::string kinds;
  for (const std::string& one : wanted.event_kinds) kinds += (kinds.empty() ? "" : ",") + one;
  to.add("--trace", wanted.log_file.value_or("/dev/stderr"));
  to.add("--trace-events", kinds);
}

size_t count_drives(const Wanted& wanted, bool cd) {
  return static_cast<size_t>(std::ranges::count_if(
      wanted.drives, [cd](const Drive& drive) { return drive.attached && drive.cd == cd; }));
}

}  // namespace

Complaint check_together(Wanted& wanted) {
  const size_t disks = count_drives(wanted, false), cds = count_drives(wanted, true);
  if (!wanted.kernel && wanted.append) return "-append only allowed with -kernel option";
  if (!wanted.kernel && wanted.initrd) return "-initrd only allowed with -kernel option";
  if (wanted.code && wanted.bios)
    return "-bios and the flash memory with unit=0 both have firmware; leave one out";
  if (wanted.code) wanted.bios = wanted.code;
  if (wanted.variables && !wanted.code)
    return "the flash memory with unit=1 has firmware's variables; give the firmware with unit=0";
  if (!wanted.kernel && !wanted.bios && disks + cds == 0)
    return "there is nothing to start; give -kernel FILE, -hda FILE, -cdrom FILE or -bios FILE";
  if (wanted.kernel && wanted.bios)
    return missing(
        "-kernel and -bios: a kernel is started without firmware; leave -bios out, or "
        "put the kernel on a disk");
  if (cds > 1) return missing("there is one CD drive; give the others as disks");
  const auto sata = std::ranges::count_if(
      wanted.drives, [](const Drive& drive) { return drive.attached && drive.ahci && !drive.cd; });
  if (sata > kMaxAhciDisks)
    return missing(
        fmt::format("there are {} IDE disks; give the others as if=virtio", kMaxAhciDisks));
  if (wanted.boots_from_cd && cds == 0) return "-boot d: there is no -cdrom";
  if (!wanted.kernel && wanted.boots_from_cd && disks != 0)
    return missing("-boot d: firmware starts from disks first; leave the disks out");
  if (!wanted.network_id.empty()) {
    const auto network = wanted.networks.find(wanted.network_id);
    if (network == wanted.networks.end())
      return fmt::format("-device virtio-net-pci: there is no -netdev with id={}",
                         wanted.network_id);
    wanted.network = network->second;
  }
  if (wanted.network && !wanted.network->way_out.empty())
    wanted.report.ignored.push_back(wanted.network->way_out);
  for (const auto& [id, network] : wanted.networks) {
    if (id != wanted.network_id) {
      wanted.report.ignored.push_back(
          fmt::format("-netdev with id={} is ignored: no virtio-net-pci has it", id));
    }
  }
  constexpr size_t kSerialPorts = 4;
  if (wanted.serials.size() > kSerialPorts)
    return missing(fmt::format("-serial: there are {} serial ports", kSerialPorts));
  if (wanted.stopped && !wanted.gdb)
    return "-S: nothing would start the machine; give -s or -gdb ADDRESS too";
  if (wanted.debug_console) {
    const uint16_t port = wanted.debug_console_port;
    if (port == Wanted::kFirmwareLogPort && wanted.kernel)
      return missing("-debugcon: port 0x402 is there for firmware; leave -kernel out");
    if (port != Wanted::kFirmwareLogPort && port != Wanted::kDebugConsolePort)
      return missing(fmt::format("-debugcon: it is at port 0xe9 or 0x402, not {:#x}", port));
  }
  return {};
}

std::variant<Arguments, Complaint> nestor_arguments(Wanted& wanted) {
  Writer to(wanted);
  to.add("run");
  add_firmware(wanted, to);
  to.add("--memory", write_size(wanted.memory_bytes));
  if (wanted.cpus != 1) to.add("--cpus", fmt::format("{}", wanted.cpus));
  if (wanted.processor) to.add("--cpu", *wanted.processor);
  if (wanted.random_seed) to.add("--random-seed", *wanted.random_seed);
  if (wanted.debug_exit_port && *wanted.debug_exit_port != kDebugExitPort)
    to.add("--debug-exit", fmt::format("{:#x}", *wanted.debug_exit_port));
  add_drives(wanted, to);
  add_streams(wanted, to);
  if (wanted.network) to.add("--net", wanted.network->text);
  if (wanted.gdb) to.add("--gdb", *wanted.gdb);
  if (wanted.stopped) to.add("--stopped");
  add_trace(wanted, to);
  for (const std::string& argument : wanted.nestor) to.add(argument);
  if (wanted.kernel) add_kernel(wanted, to);
  return std::move(to).take();
}

}  // namespace nestor::emu::qemu
