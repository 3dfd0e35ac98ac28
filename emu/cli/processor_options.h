// SPDX-License-Identifier: GPL-2.0-or-later
//
// The options that choose how processors behave, and the hypervisor below L1.
#pragma once

#include <cstdint>
#include <string>

#include "emu/machine/machine.h"

namespace CLI {
class App;
}

namespace nestor::emu {

// --timing, of each command that runs a machine to see what it costs.
class TimingOption {
 public:
  // As for ProcessorOptions.
  void add_to(CLI::App& command);
  [[nodiscard]] std::string read(ProcessorConfig& processor) const;

 private:
  std::string timing_ = "fast";
};

// Warns if the prices are those of another model than the processor that was asked for.
void tell_stand_in(const ProcessorConfig& processor);

class ProcessorOptions {
 public:
  // This object outlives the parsing.
  void add_to(CLI::App& run);
  // After the parsing. A complaint, or the empty string and the parts of the machine.
  [[nodiscard]] std::string read(const CLI::App& run, MachineConfig& machine) const;

 private:
  std::string read_seed(const CLI::App& run, ProcessorConfig& processor) const;
  std::string read_l0(const CLI::App& run, const vmx::ProcessorType& type, L0Config& l0) const;
  std::string read_tlb(ProcessorConfig& processor) const;

  TimingOption timing_;
  std::string tlb_ = "tagged", seed_;
  std::string l0_mode_ = "hardware", vmcs_shadowing_ = "on";
  uint64_t shadow_page_limit_ = L0Config{}.shadow_page_limit;
};

}  // namespace nestor::emu
