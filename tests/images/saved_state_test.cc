// SPDX-License-Identifier: GPL-2.0-or-later
//
// A run that is saved and goes on in another machine, again and again, is the same as one without:
// every image, in every mode.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <memory>
#include <random>
#include <span>
#include <string>
#include <vector>

#include "emu/cli/inputs.h"
#include "emu/engine/unicorn/unicorn_engine.h"
#include "emu/l0/mode.h"
#include "emu/loaders/image.h"
#include "emu/machine/machine.h"
#include "emu/observe/trace/record.h"
#include "tests/images/manifest.h"

namespace nestor::tests {
namespace {

namespace fs = std::filesystem;
using namespace emu;

// So many events, and what they were and when.
struct Events final : MachineEventSink {
  void attach(const Clock& machine_clock, const uint64_t&) override { clock = &machine_clock; }
  bool wants_walks() const override { return true; }
  void processor(unsigned number) override { running = number; }
  void on(const MachineEvent& event) override {
    const Record record = to_record(event, running, TraceFormat::kText);
    lines.push_back(std::to_string(clock->cycles()) + " " + record.kind + " " + record.fields);
  }
  void translations(const TranslationCounts& counts) override {
    lines.push_back(std::to_string(counts.hits) + " hits, " + std::to_string(counts.misses));
  }

  const Clock* clock = nullptr;
  unsigned running = 0;
  std::vector<std::string> lines;
};

struct Seen {
  std::string serial;
  std::vector<std::string> events;
  RunResult::Kind end{};
  uint64_t instructions = 0, cycles = 0, stale = 0, l0_exits = 0, references = 0;
  bool operator==(const Seen&) const = default;
};

struct Case {
  std::string image;
  std::vector<std::string> modules;
  ProcessorConfig processor;
  L0Config l0;
  std::string name() const {
    std::string name = image + "_" + std::string(info_of(l0.mode).name);
    if (!modules.empty()) name += "_with_cases";
    if (!l0.vmcs_shadowing) name += "_plain";
    if (processor.tlb != TlbModel::kTagged) name += "_keep";
    if (processor.count != 1) name += "_cpus" + std::to_string(processor.count);
    std::ranges::replace(name, '-', '_');
    return name;
  }
};

class SavedState : public testing::TestWithParam<Case> {
 protected:
  SavedState() {
    config_.memory_bytes = 80 << 20;
    config_.processor = GetParam().processor;
    config_.l0 = GetParam().l0;
    // An image that loops must not hang the tests; none comes near.
    config_.max_instructions = 30'000'000;
  }

  std::unique_ptr<Machine> make() {
    MachineOutputs outputs;
    outputs.serial = [this](uint8_t byte) { serial_ += static_cast<char>(byte); };
    outputs.events = &events_;
    auto made = Machine::create(config_, outputs, create_unicorn_engine);
    return std::move(std::get<std::unique_ptr<Machine>>(made));
  }
  std::unique_ptr<Machine> start() {
    serial_.clear();
    events_.lines.clear();
    const std::string& name = GetParam().image;
    std::vector<std::string> modules;
    for (const std::string& module : GetParam().modules)
      modules.push_back((fs::path(NESTOR_SOURCE_DIR) / module).string());
    const auto inputs =
        read_inputs((fs::path(NESTOR_GUEST_IMAGES) / name / (name + ".elf")).string(), {},
                    config_.memory_bytes);
    auto machine = make();
    const auto& [image, read] = std::get<Inputs>(inputs);
    machine->load(std::get<LoadedImage>(
        load_image(image, read, std::string(), machine->memory_map(), machine->firmware())));
    return machine;
  }
  Seen seen(const Machine& machine) const {
    const RunResult result = machine.result();
    const L0Counters l0 = machine.l0_counters();
    return {serial_,        events_.lines,
            result.kind,    result.instructions,
            result.cycles,  result.stale_translations,
            l0.all_exits(), l0.walk_references};
  }

  MachineConfig config_;
  std::string serial_;
  Events events_;
};

TEST_P(SavedState, GoesOnAsIfNothingHadHappened) {
  auto machine = start();
  machine->run();
  const Seen unbroken = seen(*machine);
  ASSERT_GT(unbroken.instructions, 1000u);

  // More places by hand: NESTOR_SAVED_PLACES=100.
  const char* const asked = std::getenv("NESTOR_SAVED_PLACES");
  const int places = asked != nullptr ? std::atoi(asked) : 3;
  std::mt19937_64 random(std::hash<std::string>{}(GetParam().name()));
  std::vector<uint64_t> at;
  for (int i = 0; i < places; ++i) at.push_back(random() % unbroken.instructions);
  std::ranges::sort(at);

  machine = start();
  for (const uint64_t place : at) {
    if (!machine->run_until({.instructions = place})) break;
    const auto state = saved_bytes([&](Archive& archive) { machine->serialize(archive); });
    auto next = make();
    ASSERT_TRUE(load_bytes(state, [&](Archive& archive) { next->serialize(archive); })) << place;
    ASSERT_EQ(saved_bytes([&](Archive& archive) { next->serialize(archive); }), state) << place;
    machine = std::move(next);
    const size_t events = events_.lines.size();
    ASSERT_LE(events, unbroken.events.size());
    ASSERT_TRUE(std::ranges::equal(events_.lines, std::span(unbroken.events).first(events)))
        << "before instruction " << place;
  }
  machine->run();
  const Seen resumed = seen(*machine);
  const auto [mine, theirs] = std::ranges::mismatch(resumed.events, unbroken.events);
  EXPECT_EQ(mine == resumed.events.end() ? "end" : *mine,
            theirs == unbroken.events.end() ? "end" : *theirs);
  EXPECT_EQ(resumed.cycles, unbroken.cycles);
  EXPECT_EQ(resumed.instructions, unbroken.instructions);
  EXPECT_TRUE(resumed == unbroken);
}

std::vector<Case> all_cases() {
  std::vector<Case> cases;
  for (const Manifest& manifest : image_manifests()) {
    std::vector<std::string> modules;
    if (manifest.name == "vmx-case") modules = {"tests/images/l0-cases.txt"};
    for (const L0ModeInfo& mode : kL0Modes) {
      for (const bool shadowing : {true, false}) {
        for (const unsigned count : {1u, 3u}) {
          if (!shadowing && (!mode.has_l0 || count != 1)) continue;
          cases.push_back({manifest.name, modules, {.count = count}, {mode.mode, shadowing}});
        }
      }
    }
    for (const L0ModeInfo& mode : kL0Modes) {
      const ProcessorConfig keeping = {.count = 2, .tlb = TlbModel::kKeep};
      cases.push_back({manifest.name, modules, keeping, {.mode = mode.mode}});
    }
  }
  return cases;
}

INSTANTIATE_TEST_SUITE_P(All, SavedState, testing::ValuesIn(all_cases()),
                         [](const auto& one) { return one.param.name(); });

}  // namespace
}  // namespace nestor::tests
