// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/observe/compare/mmu_modes.h"

#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <array>
#include <memory>
#include <optional>
#include <utility>

#include "emu/events/events.h"
#include "guest-images/abi/machine_ports.h"
#include "vmx/exit_reasons.h"

namespace nestor::emu {
namespace {

using Kind = RunResult::Kind;
using Verdict = ModeRun::Verdict;

// Cuts a run into its workloads.
class WorkloadMeter final : public EventHandler<WorkloadMeter> {
 public:
  void watch(const Machine& machine) { machine_ = &machine; }

  void attach(const Clock& clock, const uint64_t& /*instructions*/) override { clock_ = &clock; }
  void handle(const vmx::VmExitEvent&) { ++l1_exits_; }
  void handle(const L0ExitEvent& event) {
    if (event.from == 2 && vmx::basic_reason(event.exit.reason) == vmx::ExitReason::kCpuid)
      ++cpuid_exits_;
  }
  void handle(const WorkloadEvent& event) {
    end();
    if (event.number != NESTOR_WORKLOAD_END) current_.emplace(event.number, reading());
  }

  // At the end of the run.
  std::map<uint8_t, WorkloadCost> take() {
    end();
    costs_[kWholeRun] = reading();
    return std::move(costs_);
  }

 private:
  WorkloadCost reading() const {
    WorkloadCost cost;
    cost.cycles = clock_->cycles();
    cost.l1_exits = l1_exits_;
    cost.cpuid_exits = cpuid_exits_;
    const L0Counters counters = machine_->l0_counters();
    for (const auto counter : kL0Counts) cost.l0.*counter = counters.*counter;
    return cost;
  }

  void end() {
    if (!current_) return;
    const auto& [number, begin] = *current_;
    WorkloadCost cost = reading();
    cost.cycles -= begin.cycles;
    cost.l1_exits -= begin.l1_exits;
    cost.cpuid_exits -= begin.cpuid_exits;
    for (const auto counter : kL0Counts) cost.l0.*counter -= begin.l0.*counter;
    costs_[number] += cost;
    current_.reset();
  }

  const Machine* machine_ = nullptr;
  const Clock* clock_ = nullptr;
  uint64_t l1_exits_ = 0, cpuid_exits_ = 0;
  std::optional<std::pair<uint8_t, WorkloadCost>> current_;
  std::map<uint8_t, WorkloadCost> costs_;
};

// What all runs have in common.
struct Subject {
  const ImageFile& image;
  const std::vector<Module>& modules;
  const std::string& append;
  const MachineConfig& machine;
  const MachineFactory& create;
};

std::variant<std::unique_ptr<Machine>, HostError, LoadError> load(const Subject& subject,
                                                                  const MachineConfig& config,
                                                                  const MachineOutputs& outputs) {
  auto created = subject.create(config, outputs);
  if (auto* bad = std::get_if<HostError>(&created)) return std::move(*bad);
  auto& machine = std::get<std::unique_ptr<Machine>>(created);
  auto loaded = load_image(subject.image, subject.modules, subject.append, machine->memory_map(),
                           machine->firmware());
  if (auto* bad = std::get_if<LoadError>(&loaded)) return std::move(*bad);
  machine->load(std::get<LoadedImage>(loaded));
  return std::move(machine);
}

std::variant<ModeRun, HostError, LoadError> run_mode(const Subject& subject, const L0Config& l0) {
  ModeRun run;
  run.l0 = l0;
  WorkloadMeter meter;
  MachineOutputs outputs;
  outputs.serial = [&run](uint8_t byte) { run.serial += static_cast<char>(byte); };
  outputs.console = outputs.serial;
  outputs.events = &meter;
  MachineConfig config = subject.machine;
  config.l0 = l0;
  auto loaded = load(subject, config, outputs);
  if (auto* bad = std::get_if<HostError>(&loaded)) return std::move(*bad);
  if (auto* bad = std::get_if<LoadError>(&loaded)) return std::move(*bad);
  Machine& machine = *std::get<std::unique_ptr<Machine>>(loaded);
  meter.watch(machine);
  run.result = machine.run();
  run.costs = meter.take();
  return run;
}

// What has run once in this mode runs again.
Rerun rerun(const Subject& subject, const L0Config& l0) {
  return [&subject, l0](MachineEventSink& events, bool keeps) {
    MachineConfig config = subject.machine;
    config.l0 = l0;
    if (keeps) config.processor.tlb = TlbModel::kKeep;
    MachineOutputs outputs;
    outputs.events = &events;
    auto loaded = load(subject, config, outputs);
    if (auto* machine = std::get_if<std::unique_ptr<Machine>>(&loaded)) (*machine)->run();
  };
}

// The first run that went as all should, in a mode that offers L1 the same if there is one.
const ModeRun* reference_of(const std::vector<ModeRun>& runs, const ModeRun& run) {
  const ModeRun* reference = nullptr;
  for (const ModeRun& other : runs) {
    if (other.verdict != Verdict::kSame) continue;
    if (info_of(other.l0.mode).offers_ept == info_of(run.l0.mode).offers_ept) return &other;
    if (reference == nullptr) reference = &other;
  }
  return reference;
}

void find_differences(const Subject& subject, std::vector<ModeRun>& runs) {
  for (ModeRun& run : runs) {
    if (run.verdict != Verdict::kDiffers) continue;
    const ModeRun* reference = reference_of(runs, run);
    if (reference == nullptr) continue;
    run.reference = reference->l0;
    run.line = first_different_line(reference->serial, run.serial);
    if (info_of(reference->l0.mode).offers_ept != info_of(run.l0.mode).offers_ept) continue;
    run.parting = find_parting(rerun(subject, reference->l0), rerun(subject, run.l0));
  }
}

std::string_view last_line(std::string_view text) {
  while (!text.empty() && (text.back() == '\n' || text.back() == '\r')) text.remove_suffix(1);
  const size_t before = text.rfind('\n');
  return before == text.npos ? text : text.substr(before + 1);
}

// Why the image cannot run in this mode; std::nullopt: it can.
std::optional<std::string> obstacle(const ModeRun& run) {
  if (run.result.kind == Kind::kUnsupported) return run.result.detail;
  if (run.result.kind != Kind::kDebugExit ||
      run.result.code != NESTOR_DEBUG_EXIT_STATUS(NESTOR_EXIT_MACHINE_LACKS_FEATURE)) {
    return std::nullopt;
  }
  const std::string said = fmt::format("the image says: {}", last_line(run.serial));
  return info_of(run.l0.mode).offers_ept ? said : "needs EPT; " + said;
}

std::string difference(const ModeRun& reference, const ModeRun& run) {
  if (run.result.kind != reference.result.kind || run.result.code != reference.result.code) {
    return "the run ends in another way";
  }
  const auto line = first_different_line(reference.serial, run.serial);
  return fmt::format("another serial output from line {} on", line ? line->line : 0);
}

}  // namespace

WorkloadCost& WorkloadCost::operator+=(const WorkloadCost& other) {
  cycles += other.cycles;
  l1_exits += other.l1_exits;
  cpuid_exits += other.cpuid_exits;
  l0 += other.l0;
  return *this;
}

bool MmuComparison::same() const {
  return std::ranges::none_of(runs,
                              [](const ModeRun& run) { return run.verdict == Verdict::kDiffers; });
}

void judge(std::vector<ModeRun>& runs) {
  const ModeRun* reference = nullptr;
  for (ModeRun& run : runs) {
    if (auto reason = obstacle(run)) {
      run.verdict = Verdict::kCannotRun;
      run.reason = std::move(*reason);
    } else if (run.result.kind == Kind::kBudgetSpent) {
      run.verdict = Verdict::kDiffers;
      run.reason = "the instruction budget was spent before the end";
    } else if (reference == nullptr) {
      run.verdict = Verdict::kSame;
      reference = &run;
    } else if (run.result.kind == reference->result.kind &&
               run.result.code == reference->result.code && run.serial == reference->serial) {
      run.verdict = Verdict::kSame;
    } else {
      run.verdict = Verdict::kDiffers;
      run.reason = difference(*reference, run);
    }
  }
}

std::variant<MmuComparison, HostError, LoadError> compare_mmu_modes(
    const ImageFile& image, const std::vector<Module>& modules, const std::string& append,
    const MachineConfig& machine, const MachineFactory& create) {
  MmuComparison comparison{.image = image.name, .runs = {}};
  const Subject subject{image, modules, append, machine, create};
  for (const bool vmcs_shadowing : {true, false}) {
    for (const L0ModeInfo& info : kL0Modes) {
      if (!vmcs_shadowing && !info.has_l0) continue;
      auto run = run_mode(subject, {.mode = info.mode, .vmcs_shadowing = vmcs_shadowing});
      if (auto* bad = std::get_if<HostError>(&run)) return std::move(*bad);
      if (auto* bad = std::get_if<LoadError>(&run)) return std::move(*bad);
      comparison.runs.push_back(std::get<ModeRun>(std::move(run)));
    }
    const bool counts_exits = std::ranges::any_of(comparison.runs, [](const ModeRun& run) {
      return run.costs.contains(NESTOR_WORKLOAD_CPUID_EXITS);
    });
    if (!counts_exits) break;
  }
  judge(comparison.runs);
  find_differences(subject, comparison.runs);
  return comparison;
}

}  // namespace nestor::emu
