// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/cli/qemu/devices.h"

#include <spdlog/fmt/fmt.h>

#include <algorithm>

#include "emu/cli/numbers.h"
#include "emu/cli/qemu/reasons.h"

namespace nestor::emu::qemu {
namespace {

// Keys of one -device after its name, which read() takes what it needs of.
struct Device {
  Wanted& wanted;
  std::vector<Pair> keys;

  std::string get(std::string_view key, const std::string& otherwise = {}) const {
    const auto found = std::ranges::find(keys, key, &Pair::key);
    return found == keys.end() ? otherwise : found->value;
  }
};

std::optional<uint16_t> parse_port(const std::string& text) {
  const auto port = parse_address(text);
  if (!port || *port > 0xffff) return std::nullopt;
  return static_cast<uint16_t>(*port);
}

Complaint add_debug_exit(const std::string&, Device& device) {
  const std::string text = device.get("iobase", "0x501");
  device.wanted.debug_exit_port = parse_port(text);
  if (!device.wanted.debug_exit_port) return fmt::format("iobase={} is no port", text);
  return {};
}

std::string chardev_of(const Device& device) {
  const std::string id = device.get("chardev");
  return id.empty() ? "null" : "chardev:" + id;
}

Complaint add_debug_console(const std::string&, Device& device) {
  const auto port = parse_port(device.get("iobase", "0xe9"));
  if (!port) return fmt::format("iobase={} is no port", device.get("iobase"));
  device.wanted.debug_console_port = *port;
  device.wanted.debug_console = chardev_of(device);
  return {};
}

Complaint add_serial(const std::string&, Device& device) {
  device.wanted.serials.push_back(chardev_of(device));
  return {};
}

Complaint add_console(const std::string&, Device& device) {
  if (device.wanted.virtio_console) return missing("there is one virtio console");
  device.wanted.virtio_console = chardev_of(device);
  return {};
}

Complaint add_vga(const std::string&, Device& device) {
  device.wanted.vga = "std";
  return {};
}

enum class DriveKind : uint8_t { kVirtioDisk, kSataDisk, kCd };

Complaint attach(Device& device, DriveKind kind) {
  const std::string id = device.get("drive");
  if (id.empty()) return "it needs a drive=";
  const auto devices =
      static_cast<uint64_t>(std::ranges::count_if(device.wanted.drives, &Drive::attached));
  const std::string boot = device.get("bootindex", "0");
  const auto boot_index = parse_count(boot);
  if (!boot_index || *boot_index >= order_by_index(0))
    return fmt::format("bootindex={} is no number, or a large one", boot);
  for (Drive& drive : device.wanted.drives) {
    if (drive.id != id) continue;
    if (drive.attached) return fmt::format("the drive {} has a device already", id);
    drive.attached = true;
    drive.cd = kind == DriveKind::kCd;
    drive.ahci = kind == DriveKind::kSataDisk;
    drive.order = device.get("bootindex").empty() ? order_by_device(devices) : *boot_index;
    return {};
  }
  return fmt::format("there is no -drive with id={} before it", id);
}

Complaint attach_virtio(const std::string&, Device& device) {
  return attach(device, DriveKind::kVirtioDisk);
}
Complaint attach_sata(const std::string&, Device& device) {
  return attach(device, DriveKind::kSataDisk);
}
Complaint attach_cd(const std::string&, Device& device) { return attach(device, DriveKind::kCd); }

Complaint attach_other(const std::string& name, Device& device) {
  device.wanted.report.ignored.push_back(
      fmt::format("-device {}: the drive becomes a virtio disk: there is no SCSI", name));
  return attach(device, DriveKind::kVirtioDisk);
}

Complaint add_network(const std::string&, Device& device) {
  if (device.wanted.network || !device.wanted.network_id.empty())
    return missing("there is one network card");
  device.wanted.network_id = device.get("netdev");
  return device.wanted.network_id.empty() ? "it needs a netdev=" : Complaint();
}

constexpr const char *kOneBus = "PCI has one bus", *kNoSlots = "all is in its slot at the start";
using enum Treatment;
constexpr Row<Device> kDevices[] = {
    {"isa-debug-exit", "ISA", kTaken, "--debug-exit", {}, add_debug_exit},
    {"pc-testdev", "ISA", kMet, kIsThere},
    {"isa-debugcon", "ISA", kTaken, "--debug-console or --firmware-log", {}, add_debug_console},
    {"isa-serial", "ISA", kTaken, "--serial and its like", {}, add_serial},
    {"virtio-rng-pci", "PCI", kMet, kIsThere},
    {"virtio-serial", "PCI", kMet, "it comes with its console"},
    {"virtio-serial-pci", "PCI", kMet, "it comes with its console"},
    {"virtconsole", "virtio-serial-bus", kTaken, "--virtio-console", {}, add_console},
    {"virtio-blk", "PCI", kTaken, "--disk", {}, attach_virtio},
    {"virtio-blk-pci", "PCI", kTaken, "--disk", {}, attach_virtio},
    {"virtio-net", "PCI", kTaken, "--net", {}, add_network},
    {"virtio-net-pci", "PCI", kTaken, "--net", {}, add_network},
    {"ide-cd", "IDE", kTaken, "--cdrom", {}, attach_cd},
    {"scsi-cd", "SCSI", kTaken, "--cdrom", {}, attach_cd},
    {"ide-hd", "IDE", kTaken, "--disk", {}, attach_sata},
    {"ide-drive", "IDE", kTaken, "--disk", {}, attach_sata},  // ide-hd before QEMU 6.0
    {"scsi-hd", "SCSI", kTaken, "--disk", {}, attach_other},
    {"ahci", "PCI", kMet, "it comes with its drives"},
    {"ich9-ahci", "PCI", kMet, "it comes with its drives"},
    {"virtio-scsi-pci", "PCI", kIgnored, "disks are virtio-blk or SATA"},
    {"nvme", "PCI", kMissing, "there is no NVMe; use virtio-blk-pci"},
    {"pci-testdev", "PCI", kMissing, "there is no such device"},
    {"testdev", "ISA", kMissing, "there is no such device; there is pc-testdev"},
    {"edu", "PCI", kMissing, "there is no such device"},
    {"hyperv-testdev", "ISA", kMissing, kNoHyperV},
    {"intel-iommu", "System", kMissing, kNoIommu},
    {"amd-iommu", "System", kMissing, kNoIommu},
    {"virtio-iommu*", "PCI", kMissing, kNoIommu},
    {"vfio-*", "PCI", kMissing, kNoIommu},
    {"pvpanic*", "ISA", kIgnored, "there is no such device"},
    {"vmgenid", "System", kIgnored, "there is no such device"},
    {"e1000*", "PCI", kIgnored, kNoNetwork},
    {"rtl8139", "PCI", kIgnored, kNoNetwork},
    {"ne2k_*", "PCI", kIgnored, kNoNetwork},
    {"pcnet", "PCI", kIgnored, kNoNetwork},
    {"vmxnet3", "PCI", kIgnored, kNoNetwork},
    {"i8255*", "PCI", kIgnored, kNoNetwork},
    {"VGA", "PCI", kTaken, "--vga", {}, add_vga},
    {"virtio-vga*", "PCI", kIgnored, kOtherDisplay},
    {"virtio-gpu*", "PCI", kIgnored, kOtherDisplay},
    {"qxl*", "PCI", kIgnored, kOtherDisplay},
    {"bochs-display", "PCI", kIgnored, kOtherDisplay},
    {"ramfb", "System", kIgnored, kOtherDisplay},
    {"secondary-vga", "PCI", kIgnored, kOtherDisplay},
    {"cirrus-vga", "PCI", kIgnored, kOtherDisplay},
    {"vmware-svga", "PCI", kIgnored, kOtherDisplay},
    {"usb-*", "USB", kIgnored, kNoUsb},
    {"qemu-xhci", "PCI", kIgnored, kNoUsb},
    {"nec-usb-xhci", "PCI", kIgnored, kNoUsb},
    {"piix3-usb-uhci", "PCI", kIgnored, kNoUsb},
    {"piix4-usb-uhci", "PCI", kIgnored, kNoUsb},
    {"ich9-usb-*", "PCI", kIgnored, kNoUsb},
    {"virtio-keyboard*", "PCI", kIgnored, "nestor's --keyboard is a PS/2 keyboard"},
    {"virtio-mouse*", "PCI", kIgnored, "there is no mouse"},
    {"virtio-tablet*", "PCI", kIgnored, "there is no mouse"},
    {"virtio-balloon*", "PCI", kIgnored, "memory stays as it is"},
    {"virtserialport", "virtio-serial-bus", kIgnored, "virtio-console has one port"},
    {"AC97", "PCI", kIgnored, kNoSound},
    {"ES1370", "PCI", kIgnored, kNoSound},
    {"sb16", "ISA", kIgnored, kNoSound},
    {"adlib", "ISA", kIgnored, kNoSound},
    {"intel-hda", "PCI", kIgnored, kNoSound},
    {"ich9-intel-hda", "PCI", kIgnored, kNoSound},
    {"hda-*", "HDA", kIgnored, kNoSound},
    {"pcie-root-port", "PCI", kIgnored, kOneBus},
    {"pci-bridge*", "PCI", kIgnored, kOneBus},
    {"ioh3420", "PCI", kIgnored, kOneBus},
    {"i6300esb", "PCI", kIgnored, "there is no watchdog"},
    {"ib700", "ISA", kIgnored, "there is no watchdog"},
    {"tpm-*", "ISA", kMissing, "there is no TPM"},
    {"loader", "System", kMissing, "an image is loaded with -kernel and -initrd"},
    {"pc-dimm", "System", kMissing, kNoSlots},
    {"vhost-*", "PCI", kMissing, "there is no such device"},
    {"virtio-9p*", "PCI", kMissing, "folders of the host are not there; use --disk"},
    {"ivshmem*", "PCI", kMissing, "memory is not shared"},
};

// Those that one can ask for.
std::string device_help() {
  std::string text;
  for (const Row<Device>& row : kDevices) {
    if (row.treatment != kTaken && row.treatment != kMet) continue;
    text += fmt::format("name \"{}\", bus {}, desc \"{}\"\n", row.name, row.argument, row.text);
  }
  return text;
}

}  // namespace

Complaint read_device(const std::string& text, Wanted& wanted) {
  if (is_one_of(text, "help|?")) return {device_help(), ExitStatus::kSuccess};
  if (text.starts_with('{')) return missing("options as JSON are not taken; write NAME,KEY=VALUE");
  Device device{wanted, split_keys(text, "driver")};
  const std::string name = device.get("driver");
  const auto* const row =
      std::ranges::find_if(kDevices, [&](const Row<Device>& each) { return each.is_named(name); });
  // QEMU has hundreds.
  if (row == std::end(kDevices))
    return missing(
        fmt::format("there is no device '{}'; -device help lists those there are", name));
  return apply(*row, {"-device " + text, name}, name, device, wanted.report);
}

Complaint read_global(const std::string& text, Wanted& wanted) {
  constexpr std::string_view kDebugConsole = "isa-debugcon.iobase=";
  if (text.starts_with(kDebugConsole)) {
    const auto port = parse_port(text.substr(kDebugConsole.size()));
    if (!port) return "it is no port";
    wanted.debug_console_port = *port;
    return {};
  }
  if (!text.starts_with("kvm-"))  // those are of KVM's own devices
    wanted.report.ignored.push_back("-global " + text + " is ignored: devices have no such choice");
  return {};
}

}  // namespace nestor::emu::qemu
