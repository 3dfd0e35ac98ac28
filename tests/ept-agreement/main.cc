// SPDX-License-Identifier: MIT

// ept-agreement [--walks N] [--seed S]: random walks in every format and combination, the walker
// against the naive reader. Prints what it met; a disagreement is shrunk, printed, and ends the
// program with status 1.

#include <array>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <optional>
#include <string>
#include <string_view>

#include "tests/ept/agreement.h"
#include "tests/ept/random_tables.h"

namespace {

using namespace nestor::ept;
using namespace nestor::ept::testing;

constexpr std::uint64_t kWalksInWorld = 4000;

struct Options {
  std::uint64_t walks = 1'000'000;
  std::uint64_t seed = 1;
};

std::optional<std::uint64_t> number(const char* text) {
  char* end = nullptr;
  const std::uint64_t value = std::strtoull(text, &end, 0);
  return *text != '\0' && *text != '-' && *end == '\0' ? std::optional(value) : std::nullopt;
}

std::optional<Options> parse(int count, char** arguments) {
  Options options;
  for (int i = 1; i < count; i += 2) {
    const std::string_view name = arguments[i];
    const auto value = i + 1 < count ? number(arguments[i + 1]) : std::nullopt;
    if (!value) return std::nullopt;
    if (name == "--walks") {
      options.walks = *value;
    } else if (name == "--seed") {
      options.seed = *value;
    } else {
      return std::nullopt;
    }
  }
  return options;
}

/// World `index` of a run: each mode alone and over EPT in turn.
struct World {
  World(std::uint64_t seed, std::uint64_t index)
      : nested(index / kAllModes.size() % 2 != 0),
        tables(seed + index, kAllModes[index % kAllModes.size()]),
        random(~(seed + index)) {}

  Question next() {
    return {tables.state, tables.ept, nested, tables.random_linear(random),
            RandomWorld::random_access(random)};
  }

  bool nested;
  RandomWorld tables;
  Random random;
};

/// Walk `walk` of a world once more, up to the tables that it met; then as small as it gets.
void show(std::uint64_t seed, std::uint64_t index, std::uint64_t walk, const std::string& why) {
  World world(seed, index);
  for (std::uint64_t i = 0; i != walk; ++i) {
    NaiveMemory& memory = world.tables.memory;
    const Question question = world.next();
    (void)naive_linear(memory, question.state, question.nested ? &question.ept : nullptr,
                       question.linear, question.access);
  }
  Case failing{world.next(), world.tables.memory};
  std::printf("disagreement in world %llu (seed %llu), walk %llu: %s\nshrunk to\n",
              static_cast<unsigned long long>(index), static_cast<unsigned long long>(seed + index),
              static_cast<unsigned long long>(walk), why.c_str());
  shrink(failing, naive_linear);
  std::printf("%s%s\n", describe(failing).c_str(), failing.disagreement(naive_linear).c_str());
}

}  // namespace

int main(int count, char** arguments) {
  const auto options = parse(count, arguments);
  if (!options) {
    std::fprintf(stderr, "usage: ept-agreement [--walks N] [--seed S]\n");
    return 2;
  }
  const auto begin = std::chrono::steady_clock::now();
  std::array<std::uint64_t, 6> outcomes{};
  std::uint64_t updates = 0, done = 0, index = 0;
  for (; done != options->walks; ++index) {
    World world(options->seed, index);
    NaiveMemory read = world.tables.memory;
    for (std::uint64_t i = 0; i != kWalksInWorld && done != options->walks; ++i, ++done) {
      Asked asked;
      const std::string difference =
          disagreement(world.next(), world.tables.memory, read, naive_linear, &asked);
      if (!difference.empty()) {
        show(options->seed, index, i, difference);
        return 1;
      }
      ++outcomes[asked.answer.what];
      updates += asked.updates;
    }
  }
  const std::chrono::duration<double> taken = std::chrono::steady_clock::now() - begin;
  std::printf("%llu walks agree, seeds %llu to %llu, %.1f s\n",
              static_cast<unsigned long long>(done), static_cast<unsigned long long>(options->seed),
              static_cast<unsigned long long>(options->seed + index - (index != 0 ? 1 : 0)),
              taken.count());
  constexpr std::array kNames = {"translated",           "page fault",  "EPT violation",
                                 "EPT misconfiguration", "unreachable", "SPP-related event"};
  for (std::size_t i = 0; i != kNames.size(); ++i) {
    std::printf("%12llu %s\n", static_cast<unsigned long long>(outcomes[i]), kNames[i]);
  }
  std::printf("%12llu entries written back\n", static_cast<unsigned long long>(updates));
  return 0;
}
