// SPDX-License-Identifier: GPL-2.0-or-later
//
// What comes out of prices of code, VMCS accesses and transitions where hypervisors are nested,
// beside what is published of processors; docs/timing.md has the figures.
#include <gtest/gtest.h>

#include <filesystem>
#include <map>
#include <sstream>
#include <string>

#include "emu/engine/unicorn/unicorn_engine.h"
#include "emu/events/events.h"
#include "emu/loaders/image.h"
#include "emu/loaders/read_file.h"
#include "emu/machine/machine.h"
#include "guest-images/abi/machine_ports.h"

namespace nestor::emu {
namespace {

constexpr uint64_t kNestedExitsMemory = 64 << 20;
constexpr L0Config kAlone = {};
constexpr L0Config kNestedEpt = {.mode = L0Mode::kNestedEpt};
constexpr L0Config kWithoutShadowing = {.mode = L0Mode::kNestedEpt, .vmcs_shadowing = false};

// Cycles between the marks of workloads.
class Workloads final : public EventHandler<Workloads> {
 public:
  void attach(const Clock& clock, const uint64_t& /*instructions*/) override { clock_ = &clock; }
  void handle(const WorkloadEvent& event) {
    if (event.number != NESTOR_WORKLOAD_END) {
      number_ = event.number;
      begin_ = clock_->cycles();
    } else {
      cycles[number_] += clock_->cycles() - begin_;
    }
  }
  std::map<uint8_t, uint64_t> cycles;

 private:
  const Clock* clock_ = nullptr;
  uint8_t number_ = 0;
  uint64_t begin_ = 0;
};

struct Ran {
  std::string serial;
  std::map<uint8_t, uint64_t> workloads;
};

Ran run_image(const std::string& folder, const std::string& name, TimingModel timing,
              const L0Config& l0) {
  Ran ran;
  const auto path = std::filesystem::path(NESTOR_GUEST_IMAGES) / folder / name / (name + ".elf");
  auto bytes = read_file(path.string(), "image", kNestedExitsMemory);
  if (const auto* bad = std::get_if<LoadError>(&bytes)) {
    ADD_FAILURE() << bad->message;
    return ran;
  }
  const ImageFile image{name, std::get<std::vector<uint8_t>>(std::move(bytes))};
  Workloads workloads;
  MachineOutputs outputs;
  outputs.serial = [&ran](uint8_t byte) { ran.serial += static_cast<char>(byte); };
  outputs.console = outputs.serial;
  outputs.events = &workloads;
  MachineConfig config{.memory_bytes = kNestedExitsMemory};
  config.processor.timing = timing;
  config.processor.type = vmx::processor_of(vmx::Generation::kSkylake);
  config.l0 = l0;
  auto created = Machine::create(config, outputs, create_unicorn_engine);
  auto* const machine = std::get_if<std::unique_ptr<Machine>>(&created);
  if (machine == nullptr) {
    ADD_FAILURE() << "there is no machine";
    return ran;
  }
  const auto loaded = load_image(image, {}, "", (*machine)->memory_map(), (*machine)->firmware());
  if (const auto* bad = std::get_if<LoadError>(&loaded)) {
    ADD_FAILURE() << bad->message;
    return ran;
  }
  (*machine)->load(std::get<LoadedImage>(loaded));
  EXPECT_EQ((*machine)->run().code, uint32_t{NESTOR_DEBUG_EXIT_STATUS(NESTOR_EXIT_PASS)});
  ran.workloads = workloads.cycles;
  return ran;
}

struct ExitCycles {
  double vmcall = 0, cpuid = 0;
};
ExitCycles exit_cycles(TimingModel timing, const L0Config& l0) {
  std::istringstream serial(run_image("bench", "nested-exits", timing, l0).serial);
  std::map<std::string, double> found;
  std::string name;
  for (double cycles = 0; serial >> name >> cycles;) found[name] = cycles;
  return {found["vmcall"], found["cpuid"]};
}

class NestedExits : public testing::TestWithParam<TimingModel> {};
INSTANTIATE_TEST_SUITE_P(Timing, NestedExits,
                         testing::Values(TimingModel::kBlocks, TimingModel::kDetailed));

// Published for VMCALL: 1529 to 1559 cycles.
TEST_P(NestedExits, AHandlerLikeKvmsTakesAsLongAsKvm) {
  const ExitCycles alone = exit_cycles(GetParam(), kAlone);
  EXPECT_GT(alone.vmcall, 1300);
  EXPECT_LT(alone.vmcall, 1700);
}

// Published: 8 to 10 times with VMCS shadowing, 22 without, and up to 40 % off by it.
TEST_P(NestedExits, AreSoManyTimesAsLongAsThoseOfOneLevel) {
  const ExitCycles alone = exit_cycles(GetParam(), kAlone);
  const ExitCycles shadowing = exit_cycles(GetParam(), kNestedEpt);
  const ExitCycles without = exit_cycles(GetParam(), kWithoutShadowing);
  EXPECT_GT(shadowing.cpuid, 8 * alone.cpuid);
  EXPECT_LT(without.cpuid, 31 * alone.cpuid);
  EXPECT_LT(shadowing.cpuid, 0.8 * without.cpuid);
  EXPECT_GT(shadowing.cpuid, 0.5 * without.cpuid);
}

TEST_P(NestedExits, NestedEptIsFarAheadOfShadowPagingWherePagesAreMapped) {
  const auto page_faults = [](const L0Config& l0) {
    return run_image("", "mmu-modes", GetParam(), l0).workloads.at(NESTOR_WORKLOAD_PAGE_FAULTS);
  };
  EXPECT_LT(3 * page_faults(kNestedEpt), page_faults({.mode = L0Mode::kShadowOnEpt}));
}

}  // namespace
}  // namespace nestor::emu
