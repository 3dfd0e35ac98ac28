// SPDX-License-Identifier: GPL-2.0-or-later
//
// Runs programs that print the marks of the image `speed` in turn, several times, and prints the
// median of each item, the ratios to the first program, and how they stand to the aims.

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <map>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "bench/measurement.h"

namespace {

using nestor::bench::Interval;
using nestor::bench::Intervals;

struct Subject {
  std::string name, command, remarks;
  std::map<std::string, std::vector<Interval>> samples;  // by "ITEM WHERE"

  std::optional<double> median(const std::string& item) const {
    const auto found = samples.find(item);
    if (found == samples.end()) return std::nullopt;
    std::vector<double> costs;
    for (const Interval& interval : found->second) costs.push_back(interval.nanoseconds_each());
    const auto middle = costs.begin() + static_cast<ptrdiff_t>(costs.size() / 2);
    std::nth_element(costs.begin(), middle, costs.end());
    return *middle;
  }
};

// What a unit of each item is, in the order of the report.
struct Row {
  const char* item;
  const char* unit;
  bool in_engine_alone;
};
constexpr Row kRows[] = {
    {"compute L1", "round of a loop", true},
    {"compute L2", "round of a loop", true},
    {"sieve L1", "sieve of 8192", true},
    {"sieve L2", "sieve of 8192", true},
    {"touch L1", "load, TLB miss", true},
    {"touch L2", "load, TLB miss", true},
    {"once L1", "11 instr., new code", true},
    {"vmread L1", "VMREAD", false},
    {"exit L2", "VM exit and entry", false},
    {"exit-resume L2", "VM exit and entry", false},
    {"exit-32-pages L2", "VM exit and entry", false},
    {"ept-violation L2", "VM exit and entry", false},
};

std::string alone(const std::string& item) { return item.substr(0, item.find(' ')) + " alone"; }

// The cost of `row` for a subject: its own, or that of the engine alone, which knows no L1 or L2.
std::optional<double> cost(const Subject& subject, const Row& row) {
  if (const auto own = subject.median(row.item)) return own;
  return row.in_engine_alone ? subject.median(alone(row.item)) : std::nullopt;
}

void print_table(const std::vector<Subject>& subjects) {
  std::printf("%-18s%-20s", "item", "ns for a");
  for (const Subject& subject : subjects) std::printf("%16s", subject.name.c_str());
  for (size_t i = 1; i < subjects.size(); ++i) {
    std::printf("%16s", ("vs " + subjects[i].name).c_str());
  }
  std::printf("\n");
  for (const Row& row : kRows) {
    const auto base = cost(subjects[0], row);
    if (!base) continue;
    std::printf("%-18s%-20s%16.1f", row.item, row.unit, *base);
    for (size_t i = 1; i < subjects.size(); ++i) {
      const auto other = cost(subjects[i], row);
      other ? std::printf("%16.1f", *other) : std::printf("%16s", "-");
    }
    for (size_t i = 1; i < subjects.size(); ++i) {
      const auto other = cost(subjects[i], row);
      other ? std::printf("%15.2fx", *other / *base) : std::printf("%16s", "-");
    }
    std::printf("\n");
  }
  std::printf("\"vs\": how many times as fast %s is.\n", subjects[0].name.c_str());
}

void print_derived(const std::vector<Subject>& subjects) {
  for (const Subject& subject : subjects) {
    if (const auto exit = subject.median("exit L2")) {
      std::printf("%s: %.0f CPUID exits a second, %.2f us a round trip\n", subject.name.c_str(),
                  1e9 / *exit, *exit / 1000);
    }
  }
  for (const Subject& other : subjects) {
    const auto miss = other.median("touch alone");
    if (!miss) continue;
    for (const char* item : {"touch L1", "touch L2"}) {
      if (const auto total = subjects[0].median(item)) {
        std::printf("%s, %s: %.2f us more than a miss of %s, which walks no tables\n",
                    subjects[0].name.c_str(), item, (*total - *miss) / 1000, other.name.c_str());
      }
    }
  }
}

// The same loop with the same count must find the same, whoever runs it.
bool results_agree(const std::vector<Subject>& subjects) {
  std::map<std::pair<std::string, uint64_t>, uint64_t> results;
  bool agree = true;
  for (const Subject& subject : subjects) {
    for (const auto& [name, intervals] : subject.samples) {
      for (const Interval& interval : intervals) {
        const std::string item = name.substr(0, name.find(' '));
        const auto [place, added] = results.try_emplace({item, interval.count}, interval.result);
        if (!added && place->second != interval.result) {
          std::fprintf(stderr, "compare_speed: %s: %s gives %llu, not %llu\n", subject.name.c_str(),
                       name.c_str(), static_cast<unsigned long long>(interval.result),
                       static_cast<unsigned long long>(place->second));
          agree = false;
        }
      }
    }
  }
  return agree;
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app{"Compares programs that print the marks of the image `speed`."};
  unsigned repetitions = 5, limit = 600;
  std::vector<std::string> arguments;
  app.add_option("--repetitions", repetitions, "how often each program runs")
      ->check(CLI::Range(1, 1000));
  app.add_option("--limit", limit, "seconds that one run may take");
  app.add_option("subject", arguments, "NAME=COMMAND; the marks come on file descriptor 3")
      ->required();
  CLI11_PARSE(app, argc, argv);

  std::vector<Subject> subjects;
  for (const std::string& argument : arguments) {
    const size_t equals = argument.find('=');
    if (equals == std::string::npos || equals == 0) {
      std::fprintf(stderr, "compare_speed: '%s' is not NAME=COMMAND\n", argument.c_str());
      return 2;
    }
    subjects.push_back({argument.substr(0, equals), argument.substr(equals + 1), {}, {}});
  }
  for (unsigned i = 0; i < repetitions; ++i) {
    for (Subject& subject : subjects) {
      auto outcome =
          nestor::bench::measure(subject.command, std::chrono::seconds(limit), subject.remarks);
      if (const auto* error = std::get_if<std::string>(&outcome)) {
        std::fprintf(stderr, "compare_speed: %s: %s\n", subject.name.c_str(), error->c_str());
        return 1;
      }
      for (const auto& [name, interval] : std::get<Intervals>(outcome)) {
        subject.samples[name].push_back(interval);
      }
    }
  }
  std::printf("processor time, median of %u repetitions\n", repetitions);
  print_table(subjects);
  print_derived(subjects);
  for (const Subject& subject : subjects) {
    if (!subject.remarks.empty()) {
      std::printf("%s: %s\n", subject.name.c_str(), subject.remarks.c_str());
    }
  }
  return results_agree(subjects) ? 0 : 1;
}
