// SPDX-License-Identifier: GPL-2.0-or-later
//
// The board of the PC as data: which devices are on it, where they are, which interrupt line they
// drive and how they are made. A device is its files in emu/devices/ and one row of this table.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "emu/cpu/cpuid.h"
#include "emu/devices/apic/local_apic.h"
#include "emu/devices/bus.h"
#include "emu/devices/device_memory.h"
#include "emu/devices/disk.h"
#include "emu/devices/display/standard_vga.h"
#include "emu/devices/emulator/debug_exit.h"
#include "emu/devices/interrupt_lines.h"
#include "emu/devices/legacy/key_stroke.h"
#include "emu/devices/legacy/serial.h"
#include "emu/devices/legacy/shadow_memory.h"
#include "emu/devices/network_port.h"
#include "emu/time/clock.h"

namespace nestor::emu {

inline constexpr uint32_t kIoApicBase = 0xfec00000;
inline constexpr uint32_t kHpetBase = 0xfed00000;
// Where what is on the PCI bus has no place any more, and up to 4 GiB.
inline constexpr uint32_t kFixedDevices = kIoApicBase;
inline constexpr uint32_t kPciConfigurationBase = 0xfef00000;
// The fixed hardware of ACPI.
inline constexpr uint16_t kPmEventPort = 0x600, kPmControlPort = 0x604, kPmTimerPort = 0x608;
inline constexpr unsigned kSciLine = 9;
inline constexpr uint16_t kCom1Port = 0x3f8;

// What is particular to one machine. Firmware passes on its size.
struct BoardFacts {
  uint64_t memory_bytes = 0;
  uint16_t processors = 1;
  uint64_t random_seed = 1;         // of virtio-rng
  std::vector<DiskConfig> disks{};  // at most kMaxDisks
  std::optional<DiskConfig> cd{};   // the disc in the drive; else there is no drive
  bool virtio_console = false;      // there is one
  bool network = false;             // there is a virtio-net
  uint64_t rom_bytes = 0;           // of the ROM with firmware; 0: Nestor stands for it
  uint64_t feature_control = 0;     // what that is to write to the MSR; 0: nothing
  uint16_t debug_exit_port = kDebugExitPort;
  bool keyboard = false;                  // there is one
  std::vector<uint8_t> vga_bios{};        // the ROM of the standard VGA, if there is one
  std::optional<CpuidState> processor{};  // what CPUID says of it; else that is the host's
  std::optional<DiskConfig> flash{};      // right below the ROM, if there is one
};

// What devices do to the world around the board, and what comes from there. An empty function is a
// connection that is not there.
struct BoardOutputs {
  std::function<void(uint8_t)> serial;  // a byte that COM1 transmits
  SerialInput serial_input;             // what COM1 receives
  // What COM2 to COM4 transmit; an empty one has nothing at its other end.
  std::array<std::function<void(uint8_t)>, 3> further_serial;
  KeyInput keyboard_input;                          // what is typed, where there is a keyboard
  std::function<void(uint8_t)> virtio_console;      // a byte that virtio-console transmits
  SerialInput virtio_console_input;                 // what it receives
  NetworkPort* network = nullptr;                   // where virtio-net is plugged in; null: nowhere
  std::function<void(uint8_t)> console;             // a byte written to the debug console
  std::function<void(uint32_t status)> debug_exit;  // see DebugExit
  std::function<void(uint8_t number)> workload;     // see WorkloadMarks
  std::function<void()> reset;                      // the guest pulsed the reset line
  std::function<void()> power_off;                  // the guest entered S5
  std::function<void(bool level)> intr;             // INTR of the 8259s, when it changes
  std::function<void(const Ipi&)> interrupt_message;  // of the I/O APIC and of MSI-X
  DeviceMemory* memory = nullptr;  // what devices access by themselves; outlives the board
  // Where firmware is in ROM. Null: Nestor stands for it. It outlives the board.
  VisibleMemory* firmware_memory = nullptr;
  // Of the standard VGA. Null: there is a text screen instead. It outlives the board.
  VideoMemory* video_memory = nullptr;
  std::function<void(uint8_t)> firmware_log;  // a byte that firmware writes to its debug console
};

// What the machine asks of the board. Rows fill it in; without them functions are empty and
// pointers null.
struct BoardInputs {
  std::function<uint8_t()> acknowledge;                  // INTA: the vector from the 8259s
  std::function<void(uint8_t vector)> end_of_interrupt;  // the EOI broadcast
  const Screen* screen = nullptr;
  StandardVga* standard_vga = nullptr;  // null: there is none
  HostBridge::Shadow shadow;            // the host bridge tells it; may be empty
};

struct BoardRow;

// All that a device may be given.
struct DeviceContext {
  const BoardRow& row;
  const BoardFacts& facts;
  const BoardOutputs& outputs;
  BoardInputs& inputs;
  const Clock& clock;
  Bus& bus;  // for what moves on it; the board claims the places of the row
  EventQueue& timers;
  InterruptLines& lines;

  // The device's end of the line in its row.
  InterruptSource interrupt() const;
  // The same, of a device whose place the HPET may take.
  InterruptSource replaceable_interrupt() const;
};

// The machines that there are: with our processor, and with the host's, where the kernel has the
// interrupt controllers.
enum class BoardKind : uint8_t { kSoftware, kNative, kBoth };

struct BoardRow {
  std::string_view name;        // unique; saved state knows the device by it
  BoardKind on;                 // the machines that have it
  std::vector<uint64_t> bases;  // of Device::regions(), by index
  std::optional<unsigned> line;
  // Null: the device is not on this machine.
  std::unique_ptr<Device> (*make)(const DeviceContext&);
  uint16_t BoardFacts::*port = nullptr;  // chosen for this machine, instead of the first base
  // Where that depends on the machine, and the device.
  uint64_t (*first_base)(const BoardFacts&, const Device&) = nullptr;
};

// The PC.
std::span<const BoardRow> pc_board();

// A port that was chosen for a device is another device's. what() is one line.
class PortError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// The devices of one machine, made and in their places.
class Board {
 public:
  // The rows of `machine`, and of both. Throws std::logic_error that names the row if its device
  // does not fit into its place, PortError if that was chosen, and DiskError. `facts` and `rows`
  // are read here only; `bus` and `clock` outlive the board.
  Board(std::span<const BoardRow> rows, BoardKind machine, const BoardFacts& facts,
        BoardOutputs outputs, Bus& bus, const Clock& clock);
  Board(const Board&) = delete;
  Board& operator=(const Board&) = delete;

  struct Placed {
    std::string_view name;  // of its row
    std::unique_ptr<Device> device;
    std::vector<Claim> claims;  // of its regions, by index; they may be moved
  };

  const BoardInputs& inputs() const { return inputs_; }
  InterruptLines& lines() { return lines_; }
  std::span<Placed> devices() { return devices_; }  // in the order of the rows
  // Saves or loads the devices and where they are; a load is into a board of the same rows.
  void serialize(Archive& archive);

 private:
  const BoardOutputs outputs_;
  BoardInputs inputs_;
  InterruptLines lines_;
  std::vector<Placed> devices_;
};

}  // namespace nestor::emu
