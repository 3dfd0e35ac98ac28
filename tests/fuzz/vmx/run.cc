// SPDX-License-Identifier: GPL-2.0-or-later
#include "tests/fuzz/vmx/run.h"

#include <exception>
#include <functional>
#include <memory>
#include <stdexcept>
#include <utility>
#include <variant>

#include "emu/engine/unicorn/unicorn_engine.h"
#include "emu/machine/inspection.h"
#include "emu/machine/machine.h"
#include "vmx/capabilities.h"

namespace nestor::fuzz {
namespace {

constexpr uint64_t kMemory = 80ull << 20;
constexpr uint64_t kBudgetPerCase = 4'000'000, kBudgetOfStart = 20'000'000;

using Made = std::unique_ptr<emu::Machine>;

// Breakpoints where L2's code is: blocks there are not executed as a whole. The machine stops at
// some, and goes on.
emu::Until stops_of(const Way& way) {
  emu::Until until;
  if (!way.stepped) return until;
  constexpr uint64_t kLongest = 0x100;
  for (const uint64_t page : {kCode - kArena, kHandlers - kArena, kCode, kHandlers})
    for (uint64_t offset = 0; offset < kLongest; ++offset)
      until.breakpoints.push_back(page + offset);
  return until;
}

// `machine`: the one that runs.
emu::RunResult run_in(Made& machine, const std::function<Made()>& make, const Way& way) {
  emu::Until until = stops_of(way);
  if (way.relay != 0) until.instructions = way.relay;
  while (const auto pause = machine->run_until(until)) {
    if (pause->reason != emu::Pause::Reason::kInstructions) continue;
    const auto state =
        emu::saved_bytes([&](emu::Archive& archive) { machine->serialize(archive); });
    machine = make();
    if (!emu::load_bytes(state, [&](emu::Archive& archive) { machine->serialize(archive); })) {
      throw std::logic_error("what was saved cannot be loaded");
    }
    *until.instructions += way.relay;
  }
  return machine->result();
}

}  // namespace

RunOutcome run_cases(const emu::ImageFile& image, const Case& base, const std::vector<Case>& cases,
                     bool quiet, emu::MachineEventSink* trace, const Way& way) {
  RunOutcome outcome;
  Judge judge(base, cases, vmx::nestor_capabilities(), [&](uint64_t seed, const std::string& what) {
    outcome.complaints.emplace_back(seed, what);
  });
  const auto lost = [&](const std::string& what) {
    outcome.complaints.emplace_back(judge.current() != nullptr ? judge.current()->seed : 0, what);
  };
  const std::string text = to_text(base, cases);
  const emu::Module module{"cases", {text.begin(), text.end()}};
  emu::FanOut sinks;
  sinks.add(judge);
  if (trace != nullptr) sinks.add(*trace);
  emu::MachineOutputs outputs;
  outputs.serial = [&](uint8_t byte) {
    judge.serial(byte);
    if (!quiet && byte != '\r') outcome.text += static_cast<char>(byte);
  };
  outputs.console = [](uint8_t) {};
  outputs.events = &sinks;
  const auto make = [&] {
    auto created = emu::Machine::create({kMemory, kBudgetOfStart + cases.size() * kBudgetPerCase},
                                        outputs, emu::create_unicorn_engine);
    if (auto* error = std::get_if<emu::HostError>(&created)) {
      throw std::runtime_error(error->message);
    }
    return std::get<Made>(std::move(created));
  };
  Made machine;
  judge.watch([&](std::span<uint8_t> arena) {
    machine->inspection()->read(0, emu::View::kL1Physical, kArena, arena);
  });
  try {
    machine = make();
    const auto loaded = emu::load_image(image, {module}, quiet ? "quiet" : "",
                                        machine->memory_map(), machine->firmware());
    if (const auto* error = std::get_if<emu::LoadError>(&loaded)) {
      lost(error->message);
      return outcome;
    }
    machine->load(std::get<emu::LoadedImage>(loaded));
    const emu::RunResult result = run_in(machine, make, way);
    outcome.instructions = result.instructions;
    if (result.kind != emu::RunResult::Kind::kDebugExit || result.code != 1) {
      lost("the run ended with kind " + std::to_string(static_cast<int>(result.kind)) + ", code " +
           std::to_string(result.code) + " " + result.detail);
    }
  } catch (const std::exception& error) {
    lost(std::string("internal error: ") + error.what());
  }
  outcome.hash = judge.hash();
  outcome.ends = judge.ends();
  outcome.finished = judge.finished();
  outcome.outcomes = judge.outcomes();
  return outcome;
}

}  // namespace nestor::fuzz
