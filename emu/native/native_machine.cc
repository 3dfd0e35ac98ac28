// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/native/native_machine.h"

#include <spdlog/fmt/fmt.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstring>
#include <optional>
#include <span>
#include <stdexcept>
#include <utility>

#include "emu/devices/bus.h"
#include "emu/machine/board.h"
#include "emu/machine/firmware.h"
#include "emu/machine/ram_of_devices.h"
#include "emu/memory/page_size.h"
#include "emu/memory/ram.h"
#include "emu/native/alarm.h"
#include "emu/native/native_processor.h"
#include "emu/native/nested_observer.h"

namespace nestor::emu::native {
namespace {

using Kind = RunResult::Kind;
using HostTime = std::chrono::steady_clock;

class NativePc final : public Machine {
 public:
  NativePc(const NativeOptions& options, const MachineConfig& config, const MachineOutputs& outputs)
      : options_(options),
        config_(config),
        outputs_(outputs),
        ram_(config.memory_bytes),
        processor_(options.device, ram_.ranges(), options.needs_vmx) {
    wire();
  }

  MemoryMap memory_map() const override { return usable_memory(ram_); }
  FirmwareInformation firmware() const override { return firmware_information(facts()); }

  void load(const LoadedImage& image) override {
    fill_memory(ram_, image);
    processor_.start(image.cpu);
  }

  std::optional<Pause> run_until(const Until& until) override;
  RunResult result() const override;
  const Screen& screen() const override { return *board_->inputs().screen; }

 private:
  BoardFacts facts() const {
    return {.memory_bytes = config_.memory_bytes,
            .random_seed = config_.processor.random_seed,
            .disks = config_.disks,
            .cd = config_.cd,
            .virtio_console = config_.virtio_console,
            .debug_exit_port = config_.debug_exit_port};
  }
  void wire();
  BoardOutputs board_outputs();
  void end(Kind kind, std::uint32_t code = 0) {
    if (!result_) result_ = RunResult{{kind, code}};
  }
  void follow_host_time();
  void interrupted();
  void check_limits();
  bool run_on();
  NestedObserver::Place place();
  std::span<const std::uint8_t> code(const NestedObserver::Place& place);
  void handle(kvm_run& stop);
  void port(kvm_run& stop);
  void memory(kvm_run& stop);

  const NativeOptions options_;
  const MachineConfig config_;
  const MachineOutputs outputs_;
  std::uint64_t instructions_ = 0;  // those of L1 that were stepped
  Clock clock_;
  Ram ram_;
  RamOfDevices<Ram> ram_of_devices_{ram_, ram_};
  Bus bus_;
  NativeProcessor processor_;
  HostTime::time_point start_{}, next_check_{};
  std::optional<Board> board_;
  std::optional<NestedObserver> observer_;  // if VM entries and VM exits are to be found
  std::array<std::uint8_t, Instruction::kMaxLength> code_{};
  bool halted_ = false;  // at the latest interruption, with nothing to wake it
  std::optional<RunResult> result_;
};

void NativePc::wire() {
  if (outputs_.events != nullptr) {
    outputs_.events->attach(clock_, instructions_);
    if (options_.step && (!options_.needs_vmx || processor_.tells_nested_state())) {
      observer_.emplace(*outputs_.events, [this] {
        return processor_.tells_nested_state() ? processor_.nested_state() : NestedState{};
      });
    }
    bus_.on_unclaimed = [this](const UnclaimedAccess& access) {
      outputs_.events->unclaimed_access(access);
    };
  }
  board_.emplace(pc_board(), BoardKind::kNative, facts(), board_outputs(), bus_, clock_);
  board_->lines().lead_to([this](unsigned line, bool level) { processor_.set_line(line, level); });
}

BoardOutputs NativePc::board_outputs() {
  BoardOutputs outputs;
  outputs.serial = outputs_.serial;
  outputs.serial_input = outputs_.serial_input;
  outputs.further_serial = outputs_.further_serial;
  outputs.virtio_console = outputs_.virtio_console;
  outputs.virtio_console_input = outputs_.virtio_console_input;
  outputs.console = outputs_.console;
  outputs.debug_exit = [this](std::uint32_t status) {
    if (outputs_.events != nullptr) outputs_.events->debug_exit(status >> 1);
    end(Kind::kDebugExit, status);
  };
  outputs.reset = [this] { end(Kind::kReset); };
  outputs.power_off = [this] { end(Kind::kPowerOff); };
  outputs.interrupt_message = [this](const Ipi& message) { processor_.send_message(message); };
  outputs.memory = &ram_of_devices_;
  return outputs;
}

void NativePc::follow_host_time() {
  static_assert(Clock::kFrequency % 1'000'000'000 == 0);
  constexpr std::uint64_t kCyclesPerNanosecond = Clock::kFrequency / 1'000'000'000;
  const auto passed = std::chrono::nanoseconds(HostTime::now() - start_).count();
  clock_.advance_to(static_cast<std::uint64_t>(passed) * kCyclesPerNanosecond);
  if (bus_.deadline() <= clock_.cycles()) bus_.expire(clock_.cycles());
}

std::optional<Pause> NativePc::run_until(const Until& /*until*/) {
  start_ = HostTime::now();
  Alarm alarm;
  std::uint64_t deadline = Device::kNever;
  while (!result_) {
    if (const std::uint64_t next = bus_.deadline(); next != deadline) {
      deadline = next;
      const std::uint64_t cycles = next - std::min(next, clock_.cycles());
      // Beyond the alarm's period anything is the same.
      alarm.set(std::chrono::nanoseconds(std::min<std::uint64_t>(cycles, Clock::kFrequency)));
    }
    const bool stopped = run_on();
    follow_host_time();
    if (observer_) observer_->after(place());
    if (stopped) {
      handle(processor_.stop());
    } else {
      interrupted();
    }
    // A guest that talks to devices all the time is seldom interrupted in KVM_RUN.
    if (HostTime::now() >= next_check_) check_limits();
  }
  if (outputs_.events != nullptr) {
    const bool in_guest = observer_ && observer_->in_guest();
    outputs_.events->run_end({run_end_name(result_->kind), in_guest, processor_.regs().rip});
  }
  if (observer_ && observer_->missed()) {
    spdlog::warn("the trace may lack VM entries and VM exits: a VM exit was noticed late");
  }
  return std::nullopt;
}

RunResult NativePc::result() const {
  RunResult result = *result_;
  result.cycles = clock_.cycles();
  result.instructions = instructions_;
  return result;
}

bool NativePc::run_on() {
  if (!observer_) return processor_.run();
  const NestedObserver::Place from = place();
  const bool in_guest = observer_->in_guest();
  // Each time anew: POPF and the like end the stepping, and so does a VM entry.
  processor_.debug(
      observer_->before(from, in_guest ? std::span<const std::uint8_t>() : code(from)));
  instructions_ += !in_guest;
  return processor_.run();
}

NestedObserver::Place NativePc::place() {
  const kvm_segment& cs = processor_.sregs().cs;
  const CodeMode mode = cs.l != 0 ? CodeMode::k64 : cs.db != 0 ? CodeMode::k32 : CodeMode::k16;
  const std::uint64_t base = mode == CodeMode::k64 ? 0 : cs.base;
  const kvm_regs& regs = processor_.regs();
  return {base + regs.rip,
          regs.rflags,
          mode,
          {regs.rax, regs.rcx, regs.rdx, regs.rbx, regs.rsp, regs.rbp, regs.rsi, regs.rdi, regs.r8,
           regs.r9, regs.r10, regs.r11, regs.r12, regs.r13, regs.r14, regs.r15}};
}

// The bytes at the place, up to the longest instruction, as far as they are in memory.
std::span<const std::uint8_t> NativePc::code(const NestedObserver::Place& place) {
  std::size_t size = 0;
  while (size != code_.size()) {
    const std::uint64_t linear = place.rip + size;
    const std::uint64_t chunk =
        std::min<std::uint64_t>(code_.size() - size, kPageSize - linear % kPageSize);
    const auto physical = processor_.translate(linear);
    if (!physical || !ram_.read(*physical, std::span(code_).subspan(size, chunk))) break;
    size += chunk;
  }
  return std::span(code_).first(size);
}

void NativePc::check_limits() {
  next_check_ = HostTime::now() + Alarm::kPeriod;
  if (outputs_.output_failed && outputs_.output_failed()) end(Kind::kOutputError);
  if (options_.max_seconds != 0 &&
      HostTime::now() - start_ >= std::chrono::seconds(options_.max_seconds)) {
    end(Kind::kBudgetSpent);
  }
}

void NativePc::interrupted() {
  const bool halted = bus_.deadline() == Device::kNever && processor_.halts_for_good();
  // A timer of KVM that has just run down reaches the local APIC with the next KVM_RUN.
  if (halted && halted_) end(Kind::kHaltedForever);
  halted_ = halted;
}

void NativePc::handle(kvm_run& stop) {
  switch (stop.exit_reason) {
    case KVM_EXIT_IO:
      return port(stop);
    case KVM_EXIT_MMIO:
      return memory(stop);
    case KVM_EXIT_DEBUG:
      if (observer_) return;
      break;
    case KVM_EXIT_SHUTDOWN:
      if (outputs_.events != nullptr) {
        const kvm_sregs& registers = processor_.sregs();
        outputs_.events->triple_fault({processor_.regs().rip, observer_ && observer_->in_guest(),
                                       std::nullopt, registers.cr3, registers.idt.base,
                                       registers.gdt.base});
      }
      return end(Kind::kShutdown);
    default:
      break;
  }
  throw Failure(fmt::format("{} at RIP {:#x}: see the kernel's log", describe_exit(stop),
                            processor_.regs().rip));
}

void NativePc::port(kvm_run& stop) {
  auto* data = reinterpret_cast<std::uint8_t*>(&stop) + stop.io.data_offset;
  // A string instruction brings several at once.
  for (std::uint32_t i = 0; i != stop.io.count; ++i, data += stop.io.size) {
    std::uint32_t value = 0;
    if (stop.io.direction == KVM_EXIT_IO_OUT) {
      std::memcpy(&value, data, stop.io.size);
      bus_.write_port(stop.io.port, stop.io.size, value);
    } else {
      value = bus_.read_port(stop.io.port, stop.io.size);
      std::memcpy(data, &value, stop.io.size);
    }
  }
}

void NativePc::memory(kvm_run& stop) {
  // KVM tells 1 to 8 bytes, the bus takes 1, 2, 4 or 8.
  std::uint64_t address = stop.mmio.phys_addr;
  for (unsigned done = 0; done != stop.mmio.len;) {
    unsigned size = 8;
    while (size > stop.mmio.len - done) size /= 2;
    std::uint64_t value = 0;
    if (stop.mmio.is_write != 0) {
      std::memcpy(&value, stop.mmio.data + done, size);
      bus_.write_memory(address, size, value);
    } else {
      value = bus_.read_memory(address, size);
      std::memcpy(stop.mmio.data + done, &value, size);
    }
    address += size;
    done += size;
  }
}

}  // namespace

std::unique_ptr<Machine> create_native_machine(const NativeOptions& options,
                                               const MachineConfig& config,
                                               const MachineOutputs& outputs) {
  return std::make_unique<NativePc>(options, config, outputs);
}

}  // namespace nestor::emu::native
