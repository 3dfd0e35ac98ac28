// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/cli/qemu/drives.h"

#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <array>
#include <fstream>
#include <optional>

#include "emu/cli/numbers.h"

namespace nestor::emu::qemu {
namespace {

// Formats that QEMU recognises by their first bytes.
struct Format {
  std::string_view name, magic;
};
constexpr Format kFormats[] = {{"qcow2", "QFI\xfb"},
                               {"vmdk", "KDMV"},
                               {"vdi", "<<< "},
                               {"vhdx", "vhdxfile"},
                               {"vpc", "conectix"}};

std::string_view format_of(const std::string& path) {
  std::array<char, 8> start{};
  std::ifstream(path, std::ios::binary).read(start.data(), start.size());
  for (const Format& format : kFormats)
    if (std::string_view(start.data(), start.size()).starts_with(format.magic)) return format.name;
  return "raw";
}

Complaint check_file(const std::string& file, bool has_format) {
  if (file.empty()) return "the name of the file is empty";
  if (file.starts_with("fat:"))
    return missing(
        "there are no disks made of folders; make an image with mkfs.fat and mcopy, or an ISO with "
        "xorriso");
  const std::string_view format = has_format ? "raw" : format_of(file);
  if (format != "raw") {
    return missing(
        fmt::format("'{}' is {}, and disks are raw files; qemu-img convert -O raw", file, format));
  }
  return {};
}

struct Reading {
  Drive drive;
  std::string format;
  std::optional<uint64_t> index{}, bus{}, unit{};
};

template <std::string Drive::*kMember>
Complaint take_text(const std::string& value, Reading& to) {
  to.drive.*kMember = value;
  return {};
}

Complaint take_format(const std::string& value, Reading& to) {
  to.format = value;
  if (value == "raw") return {};
  return missing("disks are raw files; qemu-img convert -O raw");
}

Complaint take_media(const std::string& value, Reading& to) {
  if (!is_one_of(value, "disk|cdrom")) return "it is disk or cdrom";
  to.drive.cd = value == "cdrom";
  return {};
}

Complaint take_read_only(const std::string& value, Reading& to) {
  to.drive.read_only |= parse_boolean(value) == true;
  return {};
}

template <std::optional<uint64_t> Reading::*kMember>
Complaint take_place(const std::string& value, Reading& to) {
  constexpr uint64_t kMost = 255;
  to.*kMember = parse_count(value);
  if (!(to.*kMember) || *(to.*kMember) > kMost)
    return fmt::format("it is a number up to {}", kMost);
  return {};
}

// Two drives are at a bus of IDE.
std::optional<uint64_t> index_of(const Reading& reading) {
  if (reading.index || (!reading.bus && !reading.unit)) return reading.index;
  return reading.bus.value_or(0) * 2 + reading.unit.value_or(0);
}

Complaint add_drive(Drive drive, std::optional<uint64_t> index, Wanted& wanted) {
  const auto has_order = [&wanted](uint64_t order) {
    return std::ranges::any_of(wanted.drives, [order](const Drive& other) {
      return other.attached && other.order == order;
    });
  };
  if (!drive.id.empty() &&
      std::ranges::find(wanted.drives, drive.id, &Drive::id) != wanted.drives.end())
    return fmt::format("there is a drive with id={} already", drive.id);
  if (drive.attached) {
    if (index && has_order(order_by_index(*index)))
      return fmt::format("there is a drive with index={} already", *index);
    drive.order = order_by_index(index.value_or(0));
    while (has_order(drive.order)) ++drive.order;
  }
  wanted.drives.push_back(std::move(drive));
  return {};
}

// As -pflash, in any order where `unit` says which it is.
Complaint add_flash(const Drive& drive, std::optional<uint64_t> unit, Wanted& wanted) {
  constexpr uint64_t kFirmware = 0, kVariables = 1;
  const uint64_t which = unit.value_or(wanted.code ? kVariables : kFirmware);
  if (which > kVariables) return missing("there are two flash memories, unit=0 and unit=1");
  auto& place = which == kFirmware ? wanted.code : wanted.variables;
  if (place) return fmt::format("there is a flash memory with unit={} already", which);
  place = drive.file;
  if (which == kVariables) wanted.variables_read_only = drive.read_only;
  return {};
}

constexpr const char* kHostOnly = "it is how QEMU uses the host's file";
constexpr Row<Reading> kKeys[] = {
    {"file", "FILE", Treatment::kTaken, "", {}, take_text<&Drive::file>},
    {"id", "ID", Treatment::kTaken, "", {}, take_text<&Drive::id>},
    {"if", "NAME", Treatment::kTaken, "", {}, take_text<&Drive::interface>},
    {"format", "raw", Treatment::kTaken, "", {}, take_format},
    {"driver", "raw", Treatment::kTaken, "", {}, take_format},
    {"media", "disk|cdrom", Treatment::kTaken, "", {}, take_media},
    {"readonly", "on", Treatment::kTaken, "", {}, take_read_only},
    {"read-only", "on", Treatment::kTaken, "", {}, take_read_only},
    {"snapshot", "on", Treatment::kTaken, "", {}, take_read_only},
    {"index", "N", Treatment::kTaken, "", {}, take_place<&Reading::index>},
    {"bus", "N", Treatment::kTaken, "", {}, take_place<&Reading::bus>},
    {"unit", "N", Treatment::kTaken, "", {}, take_place<&Reading::unit>},
    {"cache", "none|writeback|writethrough|directsync|unsafe", Treatment::kMet, kHostOnly},
    {"cache.*", "on", Treatment::kMet, kHostOnly},
    {"aio", "threads|native|io_uring", Treatment::kMet, kHostOnly},
    {"discard", "ignore|unmap|on|off", Treatment::kMet, kHostOnly},
    {"detect-zeroes", "on|off|unmap", Treatment::kMet, kHostOnly},
    {"file.locking", "auto|on|off", Treatment::kMet, kHostOnly},
    {"werror", "ignore|stop|report|enospc|auto", Treatment::kIgnored,
     "the guest gets an I/O error"},
    {"rerror", "ignore|stop|report|auto", Treatment::kIgnored, "the guest gets an I/O error"},
    {"serial", "TEXT", Treatment::kIgnored, "a disk has a serial number of its own"},
    {"throttling.*", "N", Treatment::kIgnored, "a disk has a speed of its own"},
    {"*", "VALUE", Treatment::kMissing,
     "of -drive Nestor has file, id, if, format, media, readonly"},
};

}  // namespace

Complaint read_drive(const std::string& text, Wanted& wanted) {
  Reading reading;
  const std::vector<Pair> pairs = split_keys(text, "file");
  if (Complaint bad = apply_keys<Reading>("-drive", pairs, kKeys, reading, wanted.report);
      !bad.empty())
    return bad;
  Drive& drive = reading.drive;
  if (Complaint bad = check_file(drive.file, !reading.format.empty()); !bad.empty()) return bad;
  if (drive.interface == "pflash")
    return add_flash(drive, reading.unit ? reading.unit : reading.index, wanted);
  if (is_one_of(drive.interface, "floppy|sd|mtd"))
    return missing(fmt::format("there is no drive of if={}", drive.interface));
  if (!is_one_of(drive.interface, "ide|scsi|virtio|none"))
    return fmt::format("there is no if={}; use virtio", drive.interface);
  drive.attached = drive.interface != "none";
  drive.ahci = drive.interface == "ide";
  return add_drive(std::move(drive), index_of(reading), wanted);
}

Complaint read_disk(const std::string& file, unsigned index, Wanted& wanted) {
  if (Complaint bad = check_file(file, false); !bad.empty()) return bad;
  return add_drive({.file = file, .id = {}, .attached = true, .ahci = true}, index, wanted);
}

Complaint read_cdrom(const std::string& file, Wanted& wanted) {
  constexpr unsigned kIndex = 2;
  if (Complaint bad = check_file(file, true); !bad.empty()) return bad;
  return add_drive({.file = file, .id = {}, .cd = true, .attached = true}, kIndex, wanted);
}

Complaint read_flash(const std::string& file, Wanted& wanted) {
  if (Complaint bad = check_file(file, true); !bad.empty()) return bad;
  return add_flash({.file = file, .id = {}}, std::nullopt, wanted);
}

}  // namespace nestor::emu::qemu
