// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/machine/board.h"

#include <spdlog/fmt/fmt.h>

#include <stdexcept>
#include <string>
#include <utility>

#include "emu/devices/acpi/hpet.h"
#include "emu/devices/acpi/power_management.h"
#include "emu/devices/apic/io_apic.h"
#include "emu/devices/display/standard_vga.h"
#include "emu/devices/display/vga_text.h"
#include "emu/devices/emulator/debug_console.h"
#include "emu/devices/emulator/debug_exit.h"
#include "emu/devices/emulator/fw_cfg.h"
#include "emu/devices/emulator/pc_testdev.h"
#include "emu/devices/emulator/rom.h"
#include "emu/devices/emulator/workload_marks.h"
#include "emu/devices/legacy/keyboard_controller.h"
#include "emu/devices/legacy/parallel_flash.h"
#include "emu/devices/legacy/pic.h"
#include "emu/devices/legacy/pit.h"
#include "emu/devices/legacy/rtc.h"
#include "emu/devices/legacy/serial.h"
#include "emu/machine/firmware.h"
#include "emu/machine/pci_slots.h"
#include "emu/memory/ram.h"
#include "guest-images/abi/machine_ports.h"

namespace nestor::emu {
namespace {

using Made = std::unique_ptr<Device>;
using Context = DeviceContext;
using enum BoardKind;

constexpr uint64_t kFirmwareLogPort = 0x402;  // where SeaBIOS and OVMF write it

Made make_pics(const Context& c) {
  auto pics = std::make_unique<PicPair>(c.outputs.intr);
  c.lines.lead_to(
      [&pics = *pics](unsigned line, bool level) {
        if (line < 16) pics.set_irq(line, level);
      },
      [&pics = *pics](unsigned line) { return line < 16 && pics.passes(line); });
  c.inputs.acknowledge = [&pics = *pics] { return pics.acknowledge(); };
  return pics;
}

Made make_io_apic(const Context& c) {
  static_assert(InterruptLines::kCount == IoApic::kPins);
  auto io_apic = std::make_unique<IoApic>(c.outputs.interrupt_message);
  // ISA line 0 meets the I/O APIC at pin 2.
  const auto pin_of = [](unsigned line) { return line == 0 ? 2 : line; };
  c.lines.lead_to(
      [&io_apic = *io_apic, pin_of](unsigned line, bool level) {
        io_apic.set_pin(pin_of(line), level);
      },
      [&io_apic = *io_apic, pin_of](unsigned line) { return io_apic.passes(pin_of(line)); });
  c.inputs.end_of_interrupt = [&io_apic = *io_apic](uint8_t vector) {
    io_apic.end_of_interrupt(vector);
  };
  return io_apic;
}

// COM2 and on.
template <size_t kIndex>
Made make_further_serial(const Context& c) {
  const auto& sink = c.outputs.further_serial[kIndex];
  return std::make_unique<Serial>(c.clock, c.timers, std::string(c.row.name), sink, SerialInput{},
                                  c.interrupt(), sink != nullptr);
}

Made make_keyboard_controller(const Context& c) {
  std::optional<KeyboardController::Typist> typist;
  if (c.facts.keyboard) {
    typist.emplace(KeyboardController::Typist{c.clock, c.timers, c.outputs.keyboard_input,
                                              c.facts.rom_bytes == 0});
  }
  return std::make_unique<KeyboardController>(c.outputs.reset, c.interrupt(), c.lines.source(12),
                                              std::move(typist));
}

// One of the two.
Made make_text_screen(const Context& c) {
  if (c.outputs.video_memory != nullptr) return nullptr;
  auto vga = std::make_unique<VgaText>();
  c.inputs.screen = vga.get();
  return vga;
}

Made make_standard_vga(const Context& c) {
  if (c.outputs.video_memory == nullptr) return nullptr;
  auto vga = std::make_unique<StandardVga>(*c.outputs.video_memory);
  c.inputs.screen = c.inputs.standard_vga = vga.get();
  return vga;
}

// Firmware of Nestor's own is there, or another one and the memory that it hides.
Made make_rom(const Context& c) {
  if (c.outputs.firmware_memory != nullptr) return nullptr;
  return std::make_unique<Rom>(firmware_rom(c.facts));
}

Made make_shadow_memory(const Context& c) {
  if (c.outputs.firmware_memory == nullptr) return nullptr;
  auto shadow = std::make_unique<ShadowMemory>(*c.outputs.firmware_memory);
  c.inputs.shadow = [&shadow = *shadow](unsigned segment, bool reads, bool writes) {
    shadow.set(segment, reads, writes);
  };
  return shadow;
}

Made make_flash(const Context& c) {
  if (!c.facts.flash) return nullptr;
  return std::make_unique<ParallelFlash>(*c.facts.flash);
}

uint64_t below_rom(const BoardFacts& facts, const Device& flash) {
  return Ram::kDeviceHoleEnd - facts.rom_bytes - flash.regions().front().size;
}

Made make_firmware_log(const Context& c) {
  if (c.outputs.firmware_memory == nullptr) return nullptr;
  return std::make_unique<DebugConsole>(c.outputs.firmware_log);
}

}  // namespace

std::span<const BoardRow> pc_board() {
  // clang-format off
  static const BoardRow kRows[] = {
      {"8259A interrupt controllers", kSoftware, {0x20, 0xa0, 0x4d0}, {}, make_pics},
      {"I/O APIC", kSoftware, {kIoApicBase}, {}, make_io_apic},
      {"8254 interval timer", kBoth, {0x40, 0x61}, 0,
       [](const Context& c) -> Made { return std::make_unique<Pit>(c.clock, c.timers, c.replaceable_interrupt()); }},
      {"real-time clock", kBoth, {0x70}, 8,
       [](const Context& c) -> Made { return std::make_unique<Rtc>(c.clock, c.timers, c.facts.memory_bytes, c.replaceable_interrupt()); }},
      {"HPET", kBoth, {kHpetBase}, {},
       [](const Context& c) -> Made { return std::make_unique<Hpet>(c.clock, c.timers, c.lines); }},
      {"ACPI power management", kBoth, {kPmEventPort, kPmControlPort, kPmTimerPort}, kSciLine,
       [](const Context& c) -> Made { return std::make_unique<PowerManagement>(c.clock, c.timers, c.interrupt(), c.outputs.power_off); }},
      {"keyboard controller", kBoth, {0x60, 0x64, 0x92}, 1, make_keyboard_controller},
      {"COM1", kBoth, {kCom1Port}, 4,
       [](const Context& c) -> Made { return std::make_unique<Serial>(c.clock, c.timers, "COM1", c.outputs.serial, c.outputs.serial_input, c.interrupt(), true); }},
      {"COM2", kBoth, {0x2f8}, 3, make_further_serial<0>},
      {"COM3", kBoth, {0x3e8}, 4, make_further_serial<1>},
      {"COM4", kBoth, {0x2e8}, 3, make_further_serial<2>},
      {"VGA text screen", kBoth, {0xb8000, 0x3c0}, {}, make_text_screen},
      {"standard VGA", kSoftware, {0xa0000, 0x3c0, 0x1ce}, {}, make_standard_vga},
      {"ROM", kBoth, {kRomBase}, {}, make_rom},
      {"shadow memory", kSoftware, {ShadowMemory::kBase}, {}, make_shadow_memory},
      {"flash memory", kSoftware, {0}, {}, make_flash, nullptr, below_rom},
      {"debug console of firmware", kSoftware, {kFirmwareLogPort}, {}, make_firmware_log},
      {"debug console", kBoth, {0xe9}, {},
       [](const Context& c) -> Made { return std::make_unique<DebugConsole>(c.outputs.console); }},
      {"debug exit", kBoth, {kDebugExitPort}, {},
       [](const Context& c) -> Made { return std::make_unique<DebugExit>(c.outputs.debug_exit); }, &BoardFacts::debug_exit_port},
      {"fw_cfg", kBoth, {0x510}, {},
       [](const Context& c) -> Made { return std::make_unique<FwCfg>(c.facts.memory_bytes, c.facts.processors, firmware_files(c.facts)); }},
      {"pc-testdev", kBoth, {0xe0, 0xe8, 0xea, 0x2000, 0xff000000}, {},
       [](const Context& c) -> Made { return std::make_unique<PcTestdev>(c.lines); }},
      {"workload marks", kSoftware, {NESTOR_PORT_WORKLOAD}, {},
       [](const Context& c) -> Made { return std::make_unique<WorkloadMarks>(c.outputs.workload); }},
      // The last one: what the guest places on the bus finds the others in their places.
      {"PCI bus", kBoth, {0xcf8, 0xcfc, kPciConfigurationBase}, {}, make_pci},
  };
  // clang-format on
  return kRows;
}

InterruptSource DeviceContext::interrupt() const {
  return row.line ? lines.source(*row.line) : InterruptSource();
}

InterruptSource DeviceContext::replaceable_interrupt() const {
  return row.line ? lines.replaceable_source(*row.line) : InterruptSource();
}

Board::Board(std::span<const BoardRow> rows, BoardKind machine, const BoardFacts& facts,
             BoardOutputs outputs, Bus& bus, const Clock& clock)
    : outputs_(std::move(outputs)) {
  for (const BoardRow& row : rows) {
    if (row.on != BoardKind::kBoth && row.on != machine) continue;
    const DeviceContext context{row, facts, outputs_, inputs_, clock, bus, bus.timers(), lines_};
    std::unique_ptr<Device> device = row.make(context);
    if (!device) continue;
    std::vector<uint64_t> bases = row.bases;
    if (row.port != nullptr) bases.front() = facts.*row.port;
    if (row.first_base != nullptr) bases.front() = row.first_base(facts, *device);
    std::vector<Claim> claims = claim_all(bus, *device, bases);
    if (claims.empty() && row.port != nullptr)
      throw PortError(fmt::format("{}: port {:#x} is another device's", row.name, bases.front()));
    if (claims.empty()) throw std::logic_error("devices overlap: " + std::string(row.name));
    devices_.push_back({row.name, std::move(device), std::move(claims)});
  }
}

void Board::serialize(Archive& archive) {
  if (archive.loads()) {
    // Two regions may have changed places.
    for (Placed& placed : devices_) {
      for (Claim& claim : placed.claims) claim.release();
    }
  }
  for (Placed& placed : devices_) {
    archive.section(placed.name);
    for (Claim& claim : placed.claims) claim.serialize(archive);
    placed.device->serialize(archive);
  }
}

}  // namespace nestor::emu
