// SPDX-License-Identifier: GPL-2.0-or-later
#include "tests/fuzz/vmx/compare.h"

#include <algorithm>
#include <array>
#include <cstdio>
#include <map>
#include <vector>

#include "tests/fuzz/vmx/decided.h"
#include "tests/fuzz/vmx/differences.h"
#include "tests/fuzz/vmx/outputs.h"

namespace nestor::fuzz {
namespace {

std::string hex(uint64_t value) {
  std::array<char, 24> text{};
  std::snprintf(text.data(), text.size(), "%#llx", static_cast<unsigned long long>(value));
  return text.data();
}

// The differences of one kind: the cases that have one.
class Kinds {
 public:
  void add(const std::string& name, uint64_t seed, const Difference& difference) {
    Kind& kind = kinds_[name];
    if (kind.count != 0 && kind.last == seed) return;
    kind.last = seed;
    ++kind.count;
    if (kind.samples.size() == kSamples) return;
    std::string sample = std::to_string(seed);
    sample += ": ";
    sample += hex(difference.left);
    sample += ' ';
    sample += hex(difference.right);
    kind.samples.push_back(std::move(sample));
  }
  void report(std::string& text) const {
    std::vector<const std::pair<const std::string, Kind>*> sorted;
    for (const auto& kind : kinds_) sorted.push_back(&kind);
    std::ranges::stable_sort(sorted, std::ranges::greater(),
                             [](const auto* kind) { return kind->second.count; });
    for (const auto* kind : sorted) {
      text += std::to_string(kind->second.count);
      text += "  ";
      text += kind->first;
      text += '\n';
      for (const std::string& sample : kind->second.samples) {
        text += "        ";
        text += sample;
        text += '\n';
      }
    }
  }

 private:
  static constexpr size_t kSamples = 4;
  struct Kind {
    size_t count = 0;
    uint64_t last = 0;
    std::vector<std::string> samples;
  };
  std::map<std::string, Kind> kinds_;
};

std::string name_of(const DecidedKind& kind) {
  constexpr std::array<std::string_view, 3> kRight = {"Nestor", "Bochs", "both"};
  std::string name(kRight[static_cast<size_t>(kind.right)]);
  name += ": ";
  name += kind.name;
  name += " (\"";
  name += kind.section;
  name += "\")";
  return name;
}

}  // namespace

Comparison compare_outputs(std::string_view left, std::string_view right, const Case& base,
                           const std::function<Case(uint64_t seed)>& make) {
  const auto a = parse_output(left), b = parse_output(right);
  Kinds decided, undecided;
  Comparison comparison;
  for (const auto& [seed, output] : a) {
    const auto found = b.find(seed);
    if (found == b.end()) continue;
    ++comparison.compared;
    const Case change = make(seed);
    const vmx::Vmcs entry = vmcs_of(base, change);
    const ArenaMemory memory(base, change);
    bool differs = false, open = false;
    for_each_difference(entry, memory, output, found->second, [&](const Difference& difference) {
      differs = true;
      const DecidedKind* kind = find_decided_kind(difference);
      open = kind == nullptr;
      if (open)
        undecided.add(difference.words, seed, difference);
      else
        decided.add(name_of(*kind), seed, difference);
      return !open && !kind->parts;
    });
    comparison.different += differs;
    comparison.undecided += open;
  }
  comparison.report = "decided, and who is right:\n";
  decided.report(comparison.report);
  comparison.report += "undecided:\n";
  undecided.report(comparison.report);
  return comparison;
}

}  // namespace nestor::fuzz
