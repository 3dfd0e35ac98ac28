// SPDX-License-Identifier: GPL-2.0-or-later
//
// How far the accesses that `detailed` finds out when a block is entered are those that the engine
// makes: both ways on the same images; docs/timing.md has the figures of longer runs.
#include <gtest/gtest.h>

#include <filesystem>
#include <numeric>
#include <string>

#include "emu/engine/unicorn/unicorn_engine.h"
#include "emu/loaders/image.h"
#include "emu/loaders/read_file.h"
#include "emu/machine/machine.h"
#include "guest-images/abi/machine_ports.h"

namespace nestor::emu {
namespace {

constexpr uint64_t kReferenceMemory = 256 << 20;

struct ComparedRun {
  std::string serial;
  uint64_t cycles = 0, instructions = 0;
  timing::Core::LevelCounts counts;  // of L1 and L2

  uint64_t loads() const {
    return std::accumulate(counts.code.loads.begin(), counts.code.loads.end(), uint64_t{0});
  }
  uint64_t loads(timing::LoadedFrom place) const {
    return counts.code.loads[static_cast<size_t>(place)];
  }
};

ComparedRun run_with(TimingModel timing, const std::string& folder, const std::string& name,
                     const std::string& arguments) {
  ComparedRun ran;
  const auto path = std::filesystem::path(NESTOR_GUEST_IMAGES) / folder / name / (name + ".elf");
  auto bytes = read_file(path.string(), "image", kReferenceMemory);
  if (const auto* bad = std::get_if<LoadError>(&bytes)) {
    ADD_FAILURE() << bad->message;
    return ran;
  }
  const ImageFile image{name, std::get<std::vector<uint8_t>>(std::move(bytes))};
  MachineOutputs outputs;
  outputs.serial = [&ran](uint8_t byte) { ran.serial += static_cast<char>(byte); };
  MachineConfig config{.memory_bytes = kReferenceMemory};
  config.processor.timing = timing;
  config.processor.type = vmx::processor_of(vmx::Generation::kSkylake);
  auto created = Machine::create(config, outputs, create_unicorn_engine);
  auto* const machine = std::get_if<std::unique_ptr<Machine>>(&created);
  if (machine == nullptr) {
    ADD_FAILURE() << "there is no machine";
    return ran;
  }
  const auto loaded =
      load_image(image, {}, arguments, (*machine)->memory_map(), (*machine)->firmware());
  if (const auto* bad = std::get_if<LoadError>(&loaded)) {
    ADD_FAILURE() << bad->message;
    return ran;
  }
  (*machine)->load(std::get<LoadedImage>(loaded));
  const RunResult result = (*machine)->run();
  EXPECT_EQ(result.code, uint32_t{NESTOR_DEBUG_EXIT_STATUS(NESTOR_EXIT_PASS)});
  ran.cycles = result.cycles;
  ran.instructions = result.instructions;
  const auto counts = (*machine)->timing_counts();
  if (!counts) {
    ADD_FAILURE() << "nothing was counted";
    return ran;
  }
  for (const timing::Core::LevelCounts& level : *counts) ran.counts += level;
  return ran;
}

// At most so much of `reference`, and a few.
void expect_near(uint64_t detailed, uint64_t reference, double share, const std::string& what) {
  EXPECT_NEAR(static_cast<double>(detailed), static_cast<double>(reference),
              share * static_cast<double>(reference) + 8)
      << what;
}

void expect_agreement(const std::string& folder, const std::string& name,
                      const std::string& arguments) {
  SCOPED_TRACE(name + " " + arguments);
  const ComparedRun detailed = run_with(TimingModel::kDetailed, folder, name, arguments);
  const ComparedRun reference = run_with(TimingModel::kReference, folder, name, arguments);
  EXPECT_EQ(detailed.instructions, reference.instructions);
  EXPECT_EQ(reference.counts.code.unknown_accesses, 0u) << "each was where its operand says";
  EXPECT_GT(reference.loads(), 10'000u);
  EXPECT_GT(reference.counts.code.stores, 10'000u);
  // The same branches in the same blocks.
  EXPECT_EQ(detailed.counts.code.executed_branches, reference.counts.code.executed_branches);
  EXPECT_EQ(detailed.counts.code.mispredicted, reference.counts.code.mispredicted);
  EXPECT_EQ(detailed.counts.code.code_misses, reference.counts.code.code_misses);
  EXPECT_EQ(detailed.counts.translations.first_level_misses,
            reference.counts.translations.first_level_misses);
  EXPECT_EQ(detailed.counts.translations.walks, reference.counts.translations.walks);
  expect_near(detailed.counts.translations.cycles, reference.counts.translations.cycles, 0.001,
              "cycles of page walks");
  expect_near(detailed.loads(), reference.loads(), 0.001, "loads");
  expect_near(detailed.counts.code.stores, reference.counts.code.stores, 0.001, "stores");
  using enum timing::LoadedFrom;
  expect_near(detailed.loads(kFirst), reference.loads(kFirst), 0.002, "loads from L1");
  expect_near(detailed.loads(kSecond), reference.loads(kSecond), 0.001, "loads from L2");
  expect_near(detailed.loads(kThird), reference.loads(kThird), 0.001, "loads from L3");
  expect_near(detailed.loads(kMemory), reference.loads(kMemory), 0.001, "loads from memory");
  expect_near(detailed.counts.caches.second, reference.counts.caches.second, 0.001, "L2 requests");
  expect_near(detailed.counts.caches.third, reference.counts.caches.third, 0.001, "L3 requests");
  expect_near(detailed.counts.caches.memory, reference.counts.caches.memory, 0.001, "L3 misses");
  expect_near(detailed.cycles, reference.cycles, 0.0002, "cycles");
}

TEST(ReferenceTiming, AgreesWithDetailedOnGuestsOfWhichEachHasItsOwnPageTables) {
  expect_agreement("", "mmu-modes", "");
}

TEST(ReferenceTiming, AgreesWithDetailedOnLoops) {
  for (const char* item : {"compute", "sieve", "touch"})
    expect_agreement("bench", "speed", std::string("where=L1 divide=20 item=") + item);
}

}  // namespace
}  // namespace nestor::emu
