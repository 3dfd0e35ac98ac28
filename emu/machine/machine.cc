// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/machine/machine.h"

#include <stdexcept>

#include "emu/cpu/cpu.h"
#include "emu/cpu/turns.h"
#include "emu/devices/apic/apic_network.h"
#include "emu/devices/apic/local_apic.h"
#include "emu/devices/bus.h"
#include "emu/devices/display/display_function.h"
#include "emu/l0/hypervisor.h"
#include "emu/machine/board.h"
#include "emu/machine/firmware.h"
#include "emu/machine/firmware_memory.h"
#include "emu/machine/inspection.h"
#include "emu/machine/pci_slots.h"
#include "emu/machine/ram_of_devices.h"
#include "emu/machine/ram_of_display.h"
#include "emu/machine/round_robin.h"
#include "emu/memory/ram.h"
#include "emu/timing/core.h"

namespace nestor::emu {

namespace {

using Kind = RunEnd::Kind;

// Shadow page tables have no protection keys: what runs on them is not offered any.
MachineConfig without_unshadowed(MachineConfig config) {
  const L0ModeInfo& l0 = info_of(config.l0.mode);
  if (!l0.has_l0 || l0.l0_uses_ept) return config;
  config.processor.type.features.remove(vmx::Feature::kPku);
  config.processor.type.features.remove(vmx::Feature::kPks);
  return config;
}

uint64_t video_bytes(const MachineConfig& config) {
  return config.standard_vga ? StandardVga::kMemoryBytes : 0;
}

class Pc final : public Machine {
 public:
  Pc(const MachineConfig& config, const MachineOutputs& outputs)
      : config_(without_unshadowed(config)),
        outputs_(outputs),
        ram_(config.memory_bytes,
             info_of(config.l0.mode).has_l0
                 ? L0Memory::placement(config.processor.count)
                 : Ram::Placement{.rom = config.rom_bytes, .video = video_bytes(config)}) {
    turns_.max_instructions = config.max_instructions;
    turns_.output_failed = outputs.output_failed;
    turns_.progress = outputs.progress;
    turns_.idle = outputs.idle;
  }

  std::optional<HostError> power_up(const EngineFactory& create_engine);

  MemoryMap memory_map() const override { return usable_memory(ram_); }
  FirmwareInformation firmware() const override { return firmware_information(facts()); }

  void load(const LoadedImage& image) override {
    const bool is_firmware = image.format == ImageFormat::kFirmware;
    fill_memory(ram_, image);
    for (const auto& cpu : cpus_) {
      cpu->wait_for_start_up();
      if (cpu != cpus_.front()) continue;
      if (is_firmware) {
        cpu->core().state().activity = vmx::ActivityState::kActive;
      } else {
        cpu->start(image.cpu);
      }
    }
    if (is_firmware) return;  // the rest is its own to do
    for (const auto& cpu : cpus_) {
      HardwareCore& core = cpu->core();
      set_memory_types(core.msr_storage(),
                       core.vmx().capabilities().registers.physical_address_width);
    }
    if (!vmx_is_enabled()) return;
    for (const auto& cpu : cpus_) cpu->core().vmx().lock_feature_control();
    for (const auto& l0 : l0_) l0->l1_processor().vmx().lock_feature_control();
  }

  std::optional<Pause> run_until(const Until& until) override {
    turns_.go_on(until);
    round_robin_->run();
    if (!turns_.end()) return turns_.pause();
    if (outputs_.events != nullptr) tell_end(*outputs_.events);
    return std::nullopt;
  }

  uint64_t instructions() const override { return prices_.instructions(); }

  RunResult result() const override {
    RunResult result{*turns_.end(), prices_.instructions(), clock_.cycles()};
    for (const auto& cpu : cpus_) {
      if (const auto counts = cpu->core().translation_counts()) {
        result.stale_translations += counts->stale;
      }
      const auto outside = [&](std::optional<uint64_t>& first, ImplicitMemory what) {
        if (!first) first = cpu->core().outside_ram(what);
      };
      outside(result.stack_outside_ram, ImplicitMemory::kStack);
      outside(result.interrupt_table_outside_ram, ImplicitMemory::kInterruptTable);
    }
    return result;
  }

  const Screen& screen() const override { return *board_->inputs().screen; }

  void request_pause() override { turns_.stop({Pause::Reason::kRequest, 0}); }

  Inspection* inspection() override { return &*inspection_; }

  void serialize(Archive& archive) override;

  std::optional<timing::Core::LevelsCounts> timing_counts() const override {
    if (!block_prices_) return std::nullopt;
    timing::Core::LevelsCounts sum;
    for (const auto& cpu : cpus_) {
      const timing::Core::LevelsCounts& counts = cpu->core().timing()->counts();
      for (size_t level = 0; level < sum.size(); ++level) sum[level] += counts[level];
    }
    return sum;
  }

  L0Counters l0_counters() const override {
    L0Counters counters;
    for (const auto& hypervisor : l0_) counters += hypervisor->counters();
    for (const auto& cpu : cpus_) counters.walk_references += cpu->core().mmu().walk_references();
    return counters;
  }

 private:
  BoardFacts facts() const {
    return {config_.memory_bytes,
            static_cast<uint16_t>(config_.processor.count),
            config_.processor.random_seed,
            config_.disks,
            config_.cd,
            config_.virtio_console,
            config_.network,
            config_.rom_bytes,
            vmx_is_enabled() ? vmx::kFeatureControlLock | vmx::kFeatureControlVmxOutsideSmx : 0,
            config_.debug_exit_port,
            config_.keyboard,
            config_.vga_bios,
            cpuid_state(),
            config_.flash};
  }
  // What CPUID says of each processor, whatever software does to it.
  CpuidState cpuid_state() const {
    const bool counts_caches = config_.processor.timing == TimingModel::kDetailed ||
                               config_.processor.timing == TimingModel::kReference;
    constexpr uint64_t kApicEnabled = 1u << 11;
    return {.apic_base = LocalApic::kDefaultBase | kApicEnabled,
            .processors = config_.processor.count,
            .type = config_.processor.type,
            .counts_caches = counts_caches};
  }
  // IA32_FEATURE_CONTROL is to be locked with VMX.
  bool vmx_is_enabled() const {
    return config_.processor.lock_feature_control && config_.processor.type.has(vmx::Feature::kVmx);
  }
  void tell_resumed();
  void tell_end(MachineEventSink& events) const;
  void wire();
  BoardOutputs board_outputs();
  void wire(LocalApic& apic, Cpu& cpu);
  LocalApic& bootstrap_apic() { return *apics_.front(); }
  void forget_memory() {
    for (const auto& cpu : cpus_) cpu->core().context().forget();
    engine_->flush_tlb();
  }
  void end_run(Kind kind, uint32_t code) { turns_.finish({kind, code}); }

  const MachineConfig config_;
  const MachineOutputs outputs_;
  Clock clock_;
  Prices prices_{clock_};
  std::optional<timing::BlockPrices> block_prices_;
  Ram ram_;
  Bus bus_;

  ApicNetwork network_;
  std::vector<std::unique_ptr<LocalApic>> apics_;  // by APIC ID
  std::optional<RamOfDevices<PhysicalMemory>> ram_of_devices_;
  std::optional<FirmwareMemory> firmware_memory_;
  std::optional<RamOfDisplay> ram_of_display_;
  std::optional<Board> board_;

  std::unique_ptr<Engine> engine_;
  std::optional<PhysicalMemory> memory_;
  Turns turns_;
  std::vector<std::unique_ptr<Cpu>> cpus_;
  std::optional<L0Memory> l0_memory_;
  std::vector<std::unique_ptr<Hypervisor>> l0_;  // on each processor; empty without L0
  std::optional<RoundRobin> round_robin_;
  std::optional<Inspection> inspection_;
};

// L0's tables know what is in memory when they are given up: memory is the last.
void Pc::serialize(Archive& archive) {
  archive.section("time");
  clock_.serialize(archive);
  prices_.serialize(archive);
  // Before it is told whose turn it is.
  if (archive.loads() && outputs_.profiler != nullptr) outputs_.profiler->restart();
  turns_.serialize(archive);
  archive.section("devices");
  board_->serialize(archive);
  for (const auto& apic : apics_) apic->serialize(archive);
  bus_.timers().serialize(archive);
  archive.section("processors");
  for (const auto& cpu : cpus_) cpu->serialize(archive);
  round_robin_->serialize(archive);
  archive.section("L0");
  for (const auto& hypervisor : l0_) hypervisor->serialize(archive);
  archive.section("execution");
  uint64_t entered = cpus_.size();  // whose context
  for (const auto& cpu : cpus_) {
    if (engine_->context() == &cpu->core().context()) entered = cpu->core().number();
  }
  archive(entered);
  archive.require(entered <= cpus_.size());
  archive.section("memory");
  memory_->serialize(archive);
  ram_.serialize(archive);
  archive.section("end");
  if (!archive.loads() || !archive.ok()) return;
  engine_->resume(entered == cpus_.size() ? nullptr : &cpus_[entered]->core().context());
  tell_resumed();
}

void Pc::tell_resumed() {
  if (outputs_.events == nullptr) return;
  std::vector<bool> in_l2;
  for (const auto& cpu : cpus_) in_l2.push_back(cpu->core().in_l2());
  outputs_.events->resumed(inspection_->exits(), in_l2);
}

void Pc::tell_end(MachineEventSink& events) const {
  const std::string_view by = run_end_name(turns_.end()->kind);
  for (const auto& cpu : cpus_) {
    const unsigned number = cpu->core().number();
    if (cpus_.size() > 1) events.processor(number);
    events.run_end({by, inspection_->level(number) == 2, inspection_->state(number).rip});
    if (const auto counts = cpu->core().translation_counts()) events.translations(*counts);
  }
}

void Pc::wire(LocalApic& apic, Cpu& cpu) {
  apic.outputs.nmi = [&cpu] { cpu.signals().raise_nmi(); };
  apic.outputs.init = [&cpu] { cpu.signals().raise_init(); };
  apic.outputs.start_up = [&cpu](uint8_t vector) { cpu.signals().raise_start_up(vector); };
  apic.outputs.send_ipi = [this, &apic](const Ipi& message) { network_.send(message, &apic); };
  apic.outputs.eoi = board_->inputs().end_of_interrupt;
}

BoardOutputs Pc::board_outputs() {
  MachineEventSink* const events = outputs_.events;
  BoardOutputs outputs;
  outputs.serial = outputs_.serial;
  outputs.serial_input = outputs_.serial_input;
  outputs.further_serial = outputs_.further_serial;
  outputs.keyboard_input = outputs_.keyboard_input;
  outputs.virtio_console = outputs_.virtio_console;
  outputs.virtio_console_input = outputs_.virtio_console_input;
  outputs.network = outputs_.network;
  outputs.console = outputs_.console;
  outputs.debug_exit = [this, events](uint32_t status) {
    if (events != nullptr) events->debug_exit(status >> 1);
    end_run(Kind::kDebugExit, status);
  };
  outputs.workload = [events](uint8_t number) {
    if (events != nullptr) events->workload(number);
  };
  outputs.reset = [this] { end_run(Kind::kReset, 0); };
  outputs.power_off = [this] { end_run(Kind::kPowerOff, 0); };
  outputs.intr = [this](bool level) { bootstrap_apic().set_lint0(level); };
  outputs.interrupt_message = [this](const Ipi& message) { network_.send(message, nullptr); };
  outputs.memory = &*ram_of_devices_;
  outputs.firmware_memory = firmware_memory_ ? &*firmware_memory_ : nullptr;
  outputs.video_memory = ram_of_display_ ? &*ram_of_display_ : nullptr;
  outputs.firmware_log = outputs_.firmware_log;
  return outputs;
}

void Pc::wire() {
  board_.emplace(pc_board(), BoardKind::kSoftware, facts(), board_outputs(), bus_, clock_);
  for (size_t i = 0; i < apics_.size(); ++i) wire(*apics_[i], *cpus_[i]);
  // The 8259 is wired to the bootstrap processor alone.
  bootstrap_apic().outputs.acknowledge_external = board_->inputs().acknowledge;
  if (outputs_.events != nullptr) {
    bus_.on_unclaimed = [this](const UnclaimedAccess& access) {
      outputs_.events->unclaimed_access(access);
    };
  }
  bootstrap_apic().enter_virtual_wire_mode();
}

std::optional<HostError> Pc::power_up(const EngineFactory& create_engine) {
  if (config_.processor.timing != TimingModel::kFast) {
    const bool reference = config_.processor.timing == TimingModel::kReference;
    const bool detailed = reference || config_.processor.timing == TimingModel::kDetailed;
    const timing::Processor* core = timing::find_processor(config_.processor.type.generation);
    block_prices_.emplace(core != nullptr ? *core : *timing::find_processor(timing::kStandIn),
                          detailed, reference);
    detailed ? prices_.follow_accesses() : prices_.price_blocks();
    if (reference) prices_.observe_accesses();
  }
  if (outputs_.profiler != nullptr) prices_.profile_blocks();
  auto engine = create_engine(ram_.ranges(), prices_, config_.processor.count);
  if (auto* error = std::get_if<HostError>(&engine)) return std::move(*error);
  engine_ = std::move(std::get<std::unique_ptr<Engine>>(engine));
  if (outputs_.events != nullptr) outputs_.events->attach(clock_, prices_.instructions());
  if (outputs_.profiler != nullptr) {
    outputs_.profiler->attach(clock_, prices_.instructions(), config_.processor.count);
  }
  memory_.emplace(ram_, *engine_);
  ram_of_devices_.emplace(ram_, *memory_);
  if (config_.rom_bytes != 0) {
    firmware_memory_.emplace(ram_, *memory_, [this] { forget_memory(); });
    ram_.set_read_only(Ram::kDeviceHoleEnd - config_.rom_bytes, config_.rom_bytes, true);
  }
  if (config_.standard_vga) {
    ram_of_display_.emplace(ram_, *memory_, [this] {
      engine_->move_ram(ram_.video().first);
      forget_memory();
    });
  }
  const Surroundings around{turns_,           *engine_,
                            *memory_,         bus_,
                            prices_,          config_.processor,
                            outputs_.events,  block_prices_ ? &*block_prices_ : nullptr,
                            outputs_.profiler};
  for (unsigned i = 0; i < config_.processor.count; ++i) {
    LocalApic& apic =
        *apics_.emplace_back(std::make_unique<LocalApic>(clock_, bus_.timers(), i, i == 0));
    cpus_.push_back(std::make_unique<Cpu>(i, around, apic));
    network_.add(apic);
  }
  wire();
  round_robin_.emplace(cpus_, turns_, bus_, clock_, outputs_.events, outputs_.profiler);
  if (info_of(config_.l0.mode).has_l0) {
    l0_memory_.emplace(cpus_.front()->core(), ram_, config_.l0, config_.processor.count);
    for (unsigned i = 0; i < config_.processor.count; ++i)
      l0_.push_back(std::make_unique<Hypervisor>(*cpus_[i], i, *l0_memory_, outputs_.events));
  }
  inspection_.emplace(cpus_, l0_);
  return std::nullopt;
}

}  // namespace

void MachineConfig::fields(Archive& archive) {
  archive(memory_bytes, processor, l0);
  archive.sequence(disks, kMaxDisks);
  archive(cd, virtio_console, network, rom_bytes, keyboard, standard_vga, flash);
  archive.sequence(vga_bios, DisplayFunction::kMostRomBytes);
}

void Machine::serialize(Archive&) { throw std::logic_error("this machine cannot be saved"); }

std::variant<std::unique_ptr<Machine>, HostError> Machine::create(
    const MachineConfig& config, const MachineOutputs& outputs,
    const EngineFactory& create_engine) {
  auto pc = std::make_unique<Pc>(config, outputs);
  if (auto error = pc->power_up(create_engine)) return std::move(*error);
  return pc;
}

}  // namespace nestor::emu
