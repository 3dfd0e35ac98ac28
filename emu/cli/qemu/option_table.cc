// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/cli/qemu/option_table.h"

#include <spdlog/fmt/fmt.h>

#include <utility>

#include "emu/cli/numbers.h"
#include "emu/cli/qemu/devices.h"
#include "emu/cli/qemu/drives.h"
#include "emu/cli/qemu/log_items.h"
#include "emu/cli/qemu/machine.h"
#include "emu/cli/qemu/network.h"
#include "emu/cli/qemu/processor.h"
#include "emu/cli/qemu/reasons.h"
#include "emu/cli/qemu/streams.h"

namespace nestor::emu::qemu {
namespace {

using enum Treatment;

template <auto kMember>
Complaint take(const std::string& value, Wanted& to) {
  if (value.empty()) return "the argument is empty";
  to.*kMember = value;
  return {};
}

// What may be empty: text for the guest.
Complaint take_append(const std::string& value, Wanted& to) {
  to.append = value;
  return {};
}

template <auto kMember>
Complaint append(const std::string& value, Wanted& to) {
  (to.*kMember).push_back(value);
  return {};
}

template <auto kMember, bool kValue>
Complaint set(const std::string&, Wanted& to) {
  to.*kMember = kValue;
  return {};
}

template <unsigned kIndex>
Complaint read_hard_disk(const std::string& file, Wanted& to) {
  return read_disk(file, kIndex, to);
}

Complaint take_nographic(const std::string&, Wanted& to) {
  to.has_graphic = to.has_screen = false;
  return {};
}

Complaint take_display(const std::string& value, Wanted& to) {
  const std::string name = value.substr(0, value.find_first_of(",="));
  if (is_one_of(name, "help|?")) return {"none\ngtk\nsdl\ncurses\n", ExitStatus::kSuccess};
  if (!is_one_of(name, "none|gtk|sdl|curses|egl-headless|spice-app|dbus|cocoa|vnc"))
    return fmt::format("there is no display '{}'", name);
  to.has_display = name != "none";
  if (!to.has_display) to.has_screen = false;
  return {};
}

Complaint take_vga(const std::string& value, Wanted& to) {
  if (is_one_of(value, "help|?"))
    return {"none  a text screen that is not shown\nstd  the standard VGA\n", ExitStatus::kSuccess};
  if (!is_one_of(value, "none|std|cirrus|vmware|qxl|xenfb|virtio"))
    return fmt::format("there is no '{}'; choose std or none", value);
  to.vga = value == "none" ? "text" : "std";
  if (value == "none") to.has_screen = false;
  return {};
}

Complaint listen_for_gdb(const std::string&, Wanted& to) {
  to.gdb = ":1234";
  return {};
}

Complaint take_seed(const std::string& value, Wanted& to) {
  if (!parse_count(value)) return fmt::format("'{}' is no number", value);
  to.random_seed = value;
  return {};
}

Complaint take_action(const std::string& value, Wanted& to) {
  for (const Pair& pair : split_keys(value, {})) {
    if (!is_one_of(pair.key, "reboot|shutdown|panic|watchdog"))
      return fmt::format("there is no such key as '{}'", pair.key);
    if (pair.key != "reboot") continue;
    if (!is_one_of(pair.value, "reset|shutdown")) return "reboot is reset or shutdown";
    to.ends_at_reset = pair.value == "shutdown";
  }
  return {};
}

constexpr const char *kSoftware = "the processor is software, whatever accelerates QEMU",
                     *kNoMonitor =
                         "there is no monitor; --gdb stops and looks, --trace writes down",
                     *kNoSockets = "there is no QMP; --gdb controls a run",
                     *kText = "there is no window; --screen=FILE.png writes a picture",
                     *kNoFloppy = "there is no floppy drive",
                     *kQemusOwn = "it is of QEMU's own process",
                     *kSaved = "use nestor's --save-state and --load-state",
                     *kNoFolders = "folders of the host are not there; make a disk image",
                     *kOneRam = "memory is one piece of RAM",
                     *kOfTheHost = "it is of the host alone";

// clang-format off
constexpr Row<Wanted> kOptions[] = {
    // What to start.
    {"kernel", "FILE", kTaken, "IMAGE", {}, take<&Wanted::kernel>},
    {"append", "TEXT", kTaken, "--append", {}, take_append},
    {"initrd", "FILE", kTaken, "--initrd of a Linux kernel; --module, one for each file between commas", {}, take<&Wanted::initrd>},
    {"bios", "FILE", kTaken, "--firmware", {}, take<&Wanted::bios>},
    {"pflash", "FILE", kTaken, "--firmware, then --firmware-vars", {}, read_flash},
    {"drive", "KEY=VALUE,...", kTaken, "--disk, --cdrom, --firmware or --firmware-vars", {}, read_drive},
    {"hda", "FILE", kTaken, "--disk", {}, read_hard_disk<0>},
    {"hdb", "FILE", kTaken, "--disk", {}, read_hard_disk<1>},
    {"hdc", "FILE", kTaken, "--disk", {}, read_hard_disk<2>},
    {"hdd", "FILE", kTaken, "--disk", {}, read_hard_disk<3>},
    {"cdrom", "FILE", kTaken, "--cdrom", {}, read_cdrom},
    {"snapshot", "", kTaken, "disks stay as they are", {}, set<&Wanted::snapshot, true>},
    {"boot", "ORDER", kTaken, "what firmware starts from", {}, read_boot},
    {"L", "FOLDER", kMet, "firmware is looked for where Debian has it"},
    // The machine.
    {"machine", "NAME,...", kTaken, "the machine is a PC; q35 is the same", {}, read_machine},
    {"M", "NAME,...", kTaken, "as -machine", {}, read_machine},
    {"cpu", "MODEL,...", kTaken, "--cpu", {}, read_cpu},
    {"smp", "N,...", kTaken, "--cpus", {}, read_smp},
    {"m", "SIZE", kTaken, "--memory", {}, read_memory},
    {"device", "NAME,...", kTaken, "a device that is there, --disk, --serial2 ...", {}, read_device},
    {"global", "NAME.KEY=VALUE", kTaken, "isa-debugcon.iobase; others are ignored", {}, read_global},
    {"seed", "N", kTaken, "--random-seed", {}, take_seed},
    {"rtc", "KEY=VALUE,...", kTaken, "ignored, where it is not so anyway", {}, read_rtc},
    {"accel", "NAME", kTaken, kSoftware, {}, read_accel},
    {"enable-kvm", "", kMet, kSoftware},
    {"icount", "SHIFT", kTaken, "the clock follows the instructions in any case", {}, read_icount},
    {"overcommit", "KEY=VALUE", kMet, kOfTheHost},
    {"mem-path", "FILE", kMet, kOfTheHost},
    {"mem-prealloc", "", kMet, kOfTheHost},
    {"no-hpet", "", kIgnored, "the HPET is there in any case"},
    {"no-acpi", "", kIgnored, "ACPI's tables are there in any case"},
    {"no-fd-bootchk", "", kMet, kNoFloppy},
    {"usb", "", kIgnored, kNoUsb},
    {"usbdevice", "NAME", kIgnored, kNoUsb},
    {"smbios", "KEY=VALUE,...", kIgnored, "SMBIOS names Nestor in any case"},
    {"numa", "KEY=VALUE,...", kIgnored, kOneRam},
    {"uuid", "UUID", kIgnored, "SMBIOS names Nestor in any case"},
    {"watchdog", "NAME", kIgnored, "there is no watchdog"},
    {"watchdog-action", "NAME", kMet, "there is no watchdog"},
    {"acpitable", "KEY=VALUE,...", kMissing, "ACPI's tables are those of the machine"},
    {"fw_cfg", "KEY=VALUE,...", kMissing, "fw_cfg has the files of docs/boot.md alone"},
    {"option-rom", "FILE", kMissing, "there are no option ROMs"},
    {"dtb", "FILE", kMissing, "a PC has no device tree"},
    {"tpmdev", "NAME,...", kMissing, "there is no TPM"},
    {"fda", "FILE", kMissing, kNoFloppy},
    {"fdb", "FILE", kMissing, kNoFloppy},
    {"sd", "FILE", kMissing, "there is no card reader"},
    {"mtdblock", "FILE", kMissing, "there is no such memory"},
    {"blockdev", "KEY=VALUE,...", kMissing, "use -drive file=FILE,format=raw,if=virtio"},
    {"fsdev", "KEY=VALUE,...", kMissing, kNoFolders},
    {"virtfs", "KEY=VALUE,...", kMissing, kNoFolders},
    {"iscsi", "KEY=VALUE,...", kMissing, "disks are raw files"},
    {"object", "NAME,...", kIgnored, "objects of QEMU's have no meaning here"},
    {"set", "GROUP.ID.KEY=VALUE", kMissing, "write it where the option is"},
    // What comes out.
    {"serial", "WHERE", kTaken, "--serial, --serial2 ...", {}, append<&Wanted::serials>},
    {"chardev", "NAME,id=ID,...", kTaken, "where bytes go: stdio, file or null", {}, read_chardev},
    {"debugcon", "WHERE", kTaken, "--debug-console, or --firmware-log", {}, take<&Wanted::debug_console>},
    {"nographic", "", kTaken, "--serial stdio", {}, take_nographic},
    {"display", "NAME", kTaken, "none, or else --screen", {}, take_display},
    {"vga", "NAME", kTaken, "--vga", {}, take_vga},
    {"curses", "", kIgnored, kText},
    {"sdl", "", kIgnored, kText},
    {"vnc", "ADDRESS", kIgnored, kText, "none"},
    {"spice", "KEY=VALUE,...", kIgnored, kText},
    {"full-screen", "", kIgnored, kText},
    {"g", "SIZE", kIgnored, kText},
    {"k", "LANGUAGE", kIgnored, "the layout of nestor's --keyboard is the US one"},
    {"monitor", "WHERE", kIgnored, kNoMonitor, "none|null"},
    {"parallel", "WHERE", kIgnored, "there is no parallel port", "none|null"},
    {"nodefaults", "", kTaken, "without -serial nothing is shown", {}, set<&Wanted::has_defaults, false>},
    {"net", "NAME,...", kIgnored, "use -nic user,model=virtio-net-pci", "none"},
    {"nic", "NAME,...", kTaken, "--net, with model=virtio-net-pci", {}, read_nic},
    {"netdev", "NAME,...", kTaken, "the network of a virtio-net-pci", {}, read_netdev},
    {"audio", "NAME,...", kIgnored, kNoSound, "none|driver=none"},
    {"audiodev", "NAME,...", kIgnored, kNoSound},
    {"soundhw", "NAME", kIgnored, kNoSound},
    // How it runs and ends.
    {"s", "", kTaken, "--gdb :1234", {}, listen_for_gdb},
    {"gdb", "ADDRESS", kTaken, "--gdb", {}, read_gdb},
    {"S", "", kTaken, "--stopped", {}, set<&Wanted::stopped, true>},
    {"d", "ITEM,...", kTaken, "--trace-events; -d help", {}, read_log_items},
    {"D", "FILE", kTaken, "--trace", {}, take<&Wanted::log_file>},
    {"dfilter", "RANGE,...", kIgnored, "use nestor's --trace-from"},
    {"no-reboot", "", kTaken, "a reset ends the run with status 0", {}, set<&Wanted::ends_at_reset, true>},
    {"no-shutdown", "", kIgnored, "a run ends when the guest turns the machine off"},
    {"action", "KEY=VALUE,...", kTaken, "reboot=shutdown as -no-reboot", {}, take_action},
    {"singlestep", "", kMet, "what is executed is the same"},
    {"qmp", "WHERE", kMissing, kNoSockets},
    {"qmp-pretty", "WHERE", kMissing, kNoSockets},
    {"mon", "KEY=VALUE,...", kMissing, kNoSockets},
    {"incoming", "WHERE", kMissing, kSaved},
    {"loadvm", "NAME", kMissing, kSaved},
    {"only-migratable", "", kMet, "runs are not migrated"},
    {"preconfig", "", kMissing, kNoSockets},
    {"plugin", "FILE,...", kMissing, "there are no plugins; --trace and --profile say what happens"},
    {"trace", "KEY=VALUE,...", kIgnored, "these are events of QEMU's own"},
    {"semihosting", "", kMissing, "x86 has none"},
    {"xen-domid", "ID", kMissing, kNoXen},
    {"xen-attach", "", kMissing, kNoXen},
    {"daemonize", "", kMissing, "use the shell's &"},
    {"chroot", "FOLDER", kMissing, "use chroot"},
    {"runas", "USER", kMissing, "use setpriv"},
    {"add-fd", "KEY=VALUE,...", kMissing, "name the file"},
    {"readconfig", "FILE", kMissing, "write the options on the command line"},
    {"writeconfig", "FILE", kMissing, "-nestor-print shows what is run"},
    {"pidfile", "FILE", kIgnored, "the shell's $! has the number"},
    {"name", "TEXT", kMet, "the name is shown nowhere"},
    {"msg", "KEY=VALUE", kMet, kQemusOwn},
    {"sandbox", "on|off,...", kMet, kQemusOwn},
    {"compat", "KEY=VALUE", kMet, kQemusOwn},
    {"no-user-config", "", kMet, kQemusOwn},
    {"nodefconfig", "", kMet, kQemusOwn},
    {"echr", "CODE", kMet, kNoMonitor},
    {"async-teardown", "", kMet, kQemusOwn},
    {"enable-fips", "", kMet, kQemusOwn},
    {"enable-sync-profile", "", kMet, kQemusOwn},
    {"win2k-hack", "", kMet, "no disk needs it"},
    // Nestor's own.
    {"nestor", "ARGUMENT", kTaken, "this argument of nestor run, as --stats or --trace=FILE", {}, append<&Wanted::nestor>},
    {"nestor-print", "", kTaken, "print the command of nestor that this is, and end", {}, set<&Wanted::print, true>},
};
// clang-format on

}  // namespace

std::span<const Row<Wanted>> option_table() { return kOptions; }

}  // namespace nestor::emu::qemu
