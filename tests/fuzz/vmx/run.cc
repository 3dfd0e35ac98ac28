// SPDX-License-Identifier: GPL-2.0-or-later
#include "tests/fuzz/vmx/run.h"

#include <exception>
#include <memory>
#include <variant>

#include "emu/engine/unicorn/unicorn_engine.h"
#include "emu/machine/machine.h"
#include "tests/fuzz/vmx/judge.h"
#include "vmx/capabilities.h"

namespace nestor::fuzz {
namespace {

constexpr uint64_t kMemory = 80ull << 20;
constexpr uint64_t kBudgetPerCase = 4'000'000, kBudgetOfStart = 20'000'000;

}  // namespace

RunOutcome run_cases(const emu::ImageFile& image, const Case& base, const std::vector<Case>& cases,
                     bool quiet, emu::MachineEventSink* trace) {
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
  try {
    auto created = emu::Machine::create({kMemory, kBudgetOfStart + cases.size() * kBudgetPerCase},
                                        outputs, emu::create_unicorn_engine);
    if (auto* error = std::get_if<emu::HostError>(&created)) {
      lost(error->message);
      return outcome;
    }
    emu::Machine& machine = *std::get<std::unique_ptr<emu::Machine>>(created);
    const auto loaded =
        emu::load_image(image, {module}, quiet ? "quiet" : "", machine.memory_map());
    if (const auto* error = std::get_if<emu::LoadError>(&loaded)) {
      lost(error->message);
      return outcome;
    }
    machine.load(std::get<emu::LoadedImage>(loaded));
    const emu::RunResult result = machine.run();
    if (result.kind != emu::RunResult::Kind::kDebugExit || result.code != 1) {
      lost("the run ended with kind " + std::to_string(static_cast<int>(result.kind)) + ", code " +
           std::to_string(result.code) + " " + result.detail);
    }
  } catch (const std::exception& error) {
    lost(std::string("internal error: ") + error.what());
  }
  outcome.hash = judge.hash();
  outcome.finished = judge.finished();
  outcome.outcomes = judge.outcomes();
  return outcome;
}

}  // namespace nestor::fuzz
