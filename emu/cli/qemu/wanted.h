// SPDX-License-Identifier: GPL-2.0-or-later
//
// What a command line of QEMU asks for, as far as Nestor has it.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "emu/cli/qemu/row.h"

namespace nestor::emu::qemu {

struct Drive {
  std::string file, id;
  std::string interface = "ide";  // if=
  bool cd = false, read_only = false;
  bool attached = false;  // a device has it, for which the interface is "none"
  bool ahci = false;      // it is a SATA disk; else a virtio disk
  // Firmware starts from the lowest: those with a bootindex, by index, by -device.
  uint64_t order = 0;
};

// Drive::order.
constexpr uint64_t order_by_index(uint64_t index) { return (1ull << 32) + index; }
constexpr uint64_t order_by_device(uint64_t devices) { return (2ull << 32) + devices; }

struct WantedNetwork {
  std::string text;     // as nestor's --net takes it
  std::string way_out;  // what is said of it if there is a card; may be empty
};

struct Wanted {
  static constexpr uint64_t kDefaultMemory = 128ull << 20;
  static constexpr uint16_t kDebugConsolePort = 0xe9, kFirmwareLogPort = 0x402;

  Report report;
  std::optional<std::string> kernel{}, append{}, initrd{}, bios{};
  std::optional<std::string> code{};       // firmware in a flash memory, as -bios has it otherwise
  std::optional<std::string> variables{};  // of firmware, as nestor's --firmware-vars takes it
  std::vector<Drive> drives{};
  bool variables_read_only = false;
  bool snapshot = false, boots_from_cd = false;
  uint64_t memory_bytes = kDefaultMemory;
  unsigned cpus = 1;
  std::optional<std::string> processor{};  // as nestor's --cpu takes it
  std::optional<std::string> random_seed{};
  // Where bytes go, as QEMU says it ("file:x", "chardev:ID"); docs/qemu.md has them.
  std::vector<std::string> serials{};
  std::optional<std::string> debug_console{}, virtio_console{};
  uint16_t debug_console_port = kDebugConsolePort;
  std::optional<uint16_t> debug_exit_port{};
  std::map<std::string, std::string> chardevs{};    // by id: as nestor says it
  std::map<std::string, WantedNetwork> networks{};  // by id
  std::optional<WantedNetwork> network{};           // of the card
  std::string network_id{};                         // the card's, if it is one of `networks`
  std::optional<std::string> vga{};                 // as nestor's --vga takes it
  bool has_defaults = true, has_graphic = true, has_display = true, has_screen = true;
  bool stopped = false, ends_at_reset = false;
  std::optional<std::string> gdb{};        // as nestor says it
  std::vector<std::string> event_kinds{};  // of the trace, for -d
  std::optional<std::string> log_file{};
  std::vector<std::string> nestor{};  // arguments of nestor's own
  bool print = false;                 // the command that this becomes, instead of running it
};

}  // namespace nestor::emu::qemu
