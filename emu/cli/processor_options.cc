// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/cli/processor_options.h"

#include <spdlog/fmt/fmt.h>
#include <spdlog/spdlog.h>

#include <CLI/CLI.hpp>

#include "emu/cli/numbers.h"
#include "emu/l0/vmcs_build.h"
#include "emu/timing/processor.h"

namespace nestor::emu {

void TimingOption::add_to(CLI::App& command) {
  command
      .add_option(
          "--timing", timing_,
          "What a run's time is made of: fast, a cycle for each instruction; blocks, what the core "
          "of this --cpu takes for each block of code; or detailed, with its caches and TLBs. "
          "reference is a slow detailed, to compare it with")
      ->type_name("fast|blocks|detailed|reference")
      ->capture_default_str();
}

std::string TimingOption::read(ProcessorConfig& processor) const {
  for (const auto& [name, model] : {std::pair("fast", TimingModel::kFast),
                                    {"blocks", TimingModel::kBlocks},
                                    {"detailed", TimingModel::kDetailed},
                                    {"reference", TimingModel::kReference}}) {
    if (timing_ != name) continue;
    processor.timing = model;
    return {};
  }
  return fmt::format("--timing: '{}' is none of fast, blocks, detailed and reference", timing_);
}

void tell_stand_in(const ProcessorConfig& processor) {
  if (processor.timing == TimingModel::kFast) return;
  if (timing::find_processor(processor.type.generation) != nullptr) return;
  spdlog::warn("--timing: there are no prices for {}; those of {} are used",
               processor.type.model().name, vmx::processor_of(timing::kStandIn).model().name);
}

void ProcessorOptions::add_to(CLI::App& run) {
  run.add_option("--tlb", tlb_,
                 "Cached translations: flush drops all at each VM entry, VM exit and MOV to CR3; "
                 "tagged keeps those of other VPIDs and PCIDs, as processors do; keep drops only "
                 "what the manual demands, and reports the use of stale ones")
      ->type_name("flush|tagged|keep")
      ->capture_default_str();
  timing_.add_to(run);
  run.add_option("--random-seed", seed_, "What RDRAND and RDSEED start from [1]")->type_name("N");
  run.add_option("--l0", l0_mode_,
                 "Hypervisor below L1: none (hardware), or one that virtualizes L1's memory: "
                 "two-level, nested-ept, shadow-on-ept or shadow-on-shadow")
      ->type_name("MODE")
      ->capture_default_str();
  run.add_option("--vmcs-shadowing", vmcs_shadowing_,
                 "Whether that hypervisor lets L1 read and write its VMCS without VM exits")
      ->type_name("on|off")
      ->capture_default_str();
  run.add_option("--shadow-pages", shadow_page_limit_,
                 "Pages of each processor that it may use for shadow tables; 0: as many as there "
                 "are")
      ->type_name("N")
      ->capture_default_str();
}

std::string ProcessorOptions::read(const CLI::App& run, MachineConfig& machine) const {
  if (std::string bad = read_seed(run, machine.processor); !bad.empty()) return bad;
  if (std::string bad = read_l0(run, machine.processor.type, machine.l0); !bad.empty()) return bad;
  if (std::string bad = timing_.read(machine.processor); !bad.empty()) return bad;
  return read_tlb(machine.processor);
}

std::string ProcessorOptions::read_seed(const CLI::App& run, ProcessorConfig& processor) const {
  if (run.count("--random-seed") == 0) return {};
  const auto seed = parse_count(seed_);
  if (!seed) {
    return fmt::format("--random-seed: '{}' is no seed; write a decimal number below 2^64", seed_);
  }
  processor.random_seed = *seed;
  return {};
}

std::string ProcessorOptions::read_l0(const CLI::App& run, const vmx::ProcessorType& type,
                                      L0Config& l0) const {
  const auto mode = find_l0_mode(l0_mode_);
  if (!mode) {
    std::string names;
    for (const L0ModeInfo& info : kL0Modes) names += fmt::format(" {}", info.name);
    return fmt::format("--l0: '{}' is no mode; choose one of{}", l0_mode_, names);
  }
  l0.mode = *mode;
  if (const auto missing = l0_misses(type, *mode)) {
    return fmt::format("--l0 {}: the hypervisor needs {}, which this --cpu does not have", l0_mode_,
                       *missing);
  }
  if (vmcs_shadowing_ != "on" && vmcs_shadowing_ != "off") {
    return fmt::format("--vmcs-shadowing: '{}' is neither on nor off", vmcs_shadowing_);
  }
  l0.vmcs_shadowing = vmcs_shadowing_ == "on" && type.has(vmx::Feature::kVmxShadowing);
  if (run.count("--vmcs-shadowing") != 0 && vmcs_shadowing_ == "on" && !l0.vmcs_shadowing)
    return "--vmcs-shadowing: this --cpu does not have it";
  for (const char* option : {"--vmcs-shadowing", "--shadow-pages"}) {
    if (run.count(option) != 0 && !info_of(*mode).has_l0)
      return fmt::format("{} has no effect without --l0 MODE", option);
  }
  if (run.count("--shadow-pages") != 0 && !info_of(*mode).fills_tables) {
    return fmt::format("--shadow-pages has no effect in the mode {}", l0_mode_);
  }
  if (shadow_page_limit_ != 0 && shadow_page_limit_ < kFewestShadowPages) {
    return fmt::format("--shadow-pages: {} are too few; one path of tables takes {}",
                       shadow_page_limit_, kFewestShadowPages);
  }
  l0.shadow_page_limit = shadow_page_limit_;
  return {};
}

std::string ProcessorOptions::read_tlb(ProcessorConfig& processor) const {
  for (const auto& [name, model] : {std::pair("flush", TlbModel::kFlush),
                                    {"tagged", TlbModel::kTagged},
                                    {"keep", TlbModel::kKeep}}) {
    if (tlb_ != name) continue;
    processor.tlb = model;
    return {};
  }
  return fmt::format("--tlb: '{}' is none of flush, tagged and keep", tlb_);
}

}  // namespace nestor::emu
