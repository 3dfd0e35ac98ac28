// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/machine/machine.h"

#include <stdexcept>

#include "emu/cpu/cpu.h"
#include "emu/devices/bus.h"
#include "emu/devices/debug_console.h"
#include "emu/devices/debug_exit.h"
#include "emu/devices/fw_cfg.h"
#include "emu/devices/interrupt_lines.h"
#include "emu/devices/io_apic.h"
#include "emu/devices/keyboard_controller.h"
#include "emu/devices/local_apic.h"
#include "emu/devices/pc_testdev.h"
#include "emu/devices/pic.h"
#include "emu/devices/pit.h"
#include "emu/devices/rtc.h"
#include "emu/devices/serial.h"
#include "emu/machine/ram.h"

namespace nestor::emu {

namespace {

using Kind = RunResult::Kind;

class Pc final : public Machine {
 public:
  Pc(const MachineConfig& config, const MachineOutputs& outputs)
      : config_(config), outputs_(outputs), ram_(config.memory_bytes) {}

  std::optional<HostError> power_up();

  MemoryMap memory_map() const override {
    MemoryMap map;
    for (const RamRange& range : ram_.ranges()) map.push_back({range.first, range.size});
    return map;
  }

  void load(const LoadedImage& image) override {
    for (const Piece& piece : image.pieces) {
      // Memory is still all zeros, so only the bytes have to be written.
      if (!ram_.write(piece.address, piece.bytes)) {
        throw std::logic_error("a loaded image does not fit into memory");
      }
    }
    cpu_->start(image.cpu);
  }

  RunResult run() override { return cpu_->run(); }

 private:
  void wire();

  const MachineConfig config_;
  const MachineOutputs outputs_;
  const CostModel cost_;
  Clock clock_;
  Ram ram_;
  Bus bus_;

  LocalApic apic_{clock_, 0, true};
  IoApic io_apic_{[this](const Ipi& message) {
    if (apic_.accepts(message)) apic_.deliver(message);
  }};
  PicPair pics_{[this](bool level) { apic_.set_lint0(level); }};
  InterruptLines lines_{pics_, io_apic_};
  Serial serial_{outputs_.serial, [this](bool level) { lines_.set(Serial::kIrq, level); }};
  DebugConsole console_{outputs_.console};
  DebugExit debug_exit_{[this](uint32_t status) {
    if (outputs_.events != nullptr) outputs_.events->debug_exit(status >> 1);
    cpu_->end_run(Kind::kDebugExit, status);
  }};
  Pit pit_{clock_, [this](bool level) { lines_.set(Pit::kIrq, level); }};
  Rtc rtc_{clock_, config_.memory_bytes};
  KeyboardController keyboard_{[this] { cpu_->end_run(Kind::kReset, 0); }};
  FwCfg fw_cfg_{config_.memory_bytes, 1};
  PcTestdev testdev_{[this](unsigned line, bool level) { lines_.set(line, level); }};

  std::unique_ptr<Engine> engine_;
  std::unique_ptr<Cpu> cpu_;
};

void Pc::wire() {
  apic_.outputs.nmi = [this] { cpu_->raise_nmi(); };
  apic_.outputs.init = [this] { cpu_->raise_init(); };
  apic_.outputs.eoi = [this](uint8_t vector) { io_apic_.end_of_interrupt(vector); };
  apic_.outputs.acknowledge_external = [this] { return pics_.acknowledge(); };
  apic_.outputs.moved = [this](uint64_t from, uint64_t to) {
    // A place that another device holds leaves the registers where they were.
    (void)bus_.move_memory(from, to, apic_);
  };
  if (outputs_.events != nullptr) {
    bus_.on_unclaimed = [this](const UnclaimedAccess& access) {
      outputs_.events->unclaimed_access(access);
    };
  }
  Device* const devices[] = {&apic_, &io_apic_, &pics_,     &serial_, &console_, &debug_exit_,
                             &pit_,  &rtc_,     &keyboard_, &fw_cfg_, &testdev_};
  for (Device* device : devices) {
    if (!device->attach(bus_)) {
      throw std::logic_error("devices overlap: " + std::string(device->name()));
    }
  }
  apic_.enter_virtual_wire_mode();
}

std::optional<HostError> Pc::power_up() {
  auto engine = Engine::create(ram_.ranges(), clock_, cost_);
  if (auto* error = std::get_if<HostError>(&engine)) return std::move(*error);
  engine_ = std::move(std::get<std::unique_ptr<Engine>>(engine));
  cpu_ = std::make_unique<Cpu>(*engine_, ram_, bus_, apic_, clock_, cost_, config_, outputs_);
  wire();
  return std::nullopt;
}

}  // namespace

std::variant<std::unique_ptr<Machine>, HostError> Machine::create(const MachineConfig& config,
                                                                  const MachineOutputs& outputs) {
  auto pc = std::make_unique<Pc>(config, outputs);
  if (auto error = pc->power_up()) return std::move(*error);
  return pc;
}

}  // namespace nestor::emu
