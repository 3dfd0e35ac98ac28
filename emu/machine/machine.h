// SPDX-License-Identifier: GPL-2.0-or-later
//
// A whole PC: the processor, RAM, interrupt controllers and devices, ready to boot an image.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "emu/cpu/pause.h"
#include "emu/cpu/processor_config.h"
#include "emu/cpu/run_end.h"
#include "emu/devices/disk.h"
#include "emu/devices/display/screen.h"
#include "emu/devices/emulator/debug_exit.h"
#include "emu/devices/legacy/key_stroke.h"
#include "emu/devices/legacy/serial.h"
#include "emu/devices/network_port.h"
#include "emu/engine/engine.h"
#include "emu/events/events.h"
#include "emu/l0/counters.h"
#include "emu/l0/mode.h"
#include "emu/loaders/image.h"
#include "emu/memory/archive.h"
#include "emu/profile/profiler.h"
#include "emu/timing/core.h"

namespace nestor::emu {

struct MachineConfig {
  uint64_t memory_bytes = 512ull << 20;  // see Ram for the limits
  uint64_t max_instructions = 0;         // of all processors together; 0: no limit
  ProcessorConfig processor{};
  L0Config l0{};
  std::vector<DiskConfig> disks{};
  std::optional<DiskConfig> cd{};
  bool virtio_console = false;                // there is one
  bool network = false;                       // there is a virtio-net
  uint16_t debug_exit_port = kDebugExitPort;  // a saved state has it with the device
  // Of the ROM that firmware is in; 0: Nestor stands for firmware. See load_firmware().
  uint64_t rom_bytes = 0;
  bool keyboard = false;      // there is one at the keyboard controller
  bool standard_vga = false;  // there is one, and not a text screen alone
  // Its ROM, DisplayFunction::kMostRomBytes at most; empty: it has none.
  std::vector<uint8_t> vga_bios{};

  std::optional<DiskConfig> flash{};  // below the ROM, for firmware's variables

  // What saved state belongs to: all but the limit and the port.
  void fields(Archive& archive);
};

struct MachineOutputs {
  std::function<void(uint8_t)> serial;  // what COM1 transmits
  SerialInput serial_input{};           // what COM1 receives
  // What COM2 to COM4 transmit; an empty one has nothing at its other end.
  std::array<std::function<void(uint8_t)>, 3> further_serial{};
  KeyInput keyboard_input{};                      // what is typed, where there is a keyboard
  std::function<void(uint8_t)> virtio_console{};  // what virtio-console transmits
  SerialInput virtio_console_input{};             // what it receives
  // Where virtio-net is plugged in; null: nowhere. It outlives the machine.
  NetworkPort* network = nullptr;
  std::function<void(uint8_t)> console;         // what is written to port 0xe9
  std::function<void(uint8_t)> firmware_log{};  // what firmware writes to its debug console
  MachineEventSink* events = nullptr;           // may be null; outlives the machine
  profile::Profiler* profiler = nullptr;        // the same
  // Asked now and then while the guest runs; true ends the run with kOutputError.
  std::function<bool()> output_failed;
  // Called now and then while the guest runs, with the instructions executed so far.
  std::function<void(uint64_t)> progress;
  // All processors wait: the clock goes from `now` to `until` when it returns.
  std::function<void(uint64_t now, uint64_t until)> idle;
};

struct RunResult : RunEnd {
  uint64_t instructions = 0, cycles = 0;
  uint64_t stale_translations = 0;  // uses of them, with TlbModel::kKeep
  // Linear addresses: where the stack and the interrupt table were used outside RAM.
  std::optional<uint64_t> stack_outside_ram{}, interrupt_table_outside_ram{};
};

class Inspection;
class Machine;

using MachineFactory = std::function<std::variant<std::unique_ptr<Machine>, HostError>(
    const MachineConfig&, const MachineOutputs&)>;

class Machine {
 public:
  // Throws RamError when the memory cannot be had, DiskError when a disk cannot be used.
  static std::variant<std::unique_ptr<Machine>, HostError> create(const MachineConfig&,
                                                                  const MachineOutputs&,
                                                                  const EngineFactory&);
  virtual ~Machine() = default;

  // What a loader may use.
  virtual MemoryMap memory_map() const = 0;
  virtual FirmwareInformation firmware() const = 0;
  // Copies what firmware leaves and the pieces of an image to memory and sets the processor to its
  // initial state.
  virtual void load(const LoadedImage& image) = 0;
  // Runs until something ends the run (std::nullopt: result() says what), or stops where `until`
  // says; then it can be called again. A machine without inspection() does not stop.
  virtual std::optional<Pause> run_until(const Until& until) = 0;
  // From an output or an event of a run: it stops before the next instruction.
  virtual void request_pause() {}
  // Executed so far, by all processors.
  virtual uint64_t instructions() const { return 0; }
  // As it is now.
  virtual const Screen& screen() const = 0;
  // Once the run has ended.
  virtual RunResult result() const = 0;
  RunResult run() {
    while (run_until({})) continue;
    return result();
  }
  // What can be seen and changed of it while it stands still; null: its processors are the host's.
  virtual Inspection* inspection() { return nullptr; }
  // Saves the machine, which has stopped, or loads it, whatever it was before: it has the same
  // memory_bytes, `processor` and `l0`, and goes on as the saved one would. When a load fails, it
  // cannot be used. Throws std::logic_error without inspection().
  virtual void serialize(Archive& archive);
  // What L0 did so far; all zeros where there is none.
  virtual L0Counters l0_counters() const { return {}; }
  // What the models of all processors' cores have counted; std::nullopt: there are none.
  virtual std::optional<timing::Core::LevelsCounts> timing_counts() const { return std::nullopt; }
};

}  // namespace nestor::emu
