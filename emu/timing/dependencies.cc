// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/timing/dependencies.h"

#include <algorithm>
#include <bit>
#include <unordered_map>
#include <utility>

namespace nestor::emu::timing {
namespace {

constexpr int32_t kNever = -1;
// Beyond this a path is cut, so that it fits an edge.
constexpr int32_t kLongestPath = UINT16_MAX;

// When something is ready, after each source; kNever: it does not depend on it.
struct Ready {
  std::array<int32_t, kNodes> after{};

  Ready() { after.fill(kNever); }
  static Ready source(unsigned node) {
    Ready ready;
    ready.after[node] = 0;
    return ready;
  }
  void wait(const Ready& other, int32_t latency) {
    for (unsigned i = 0; i < kNodes; ++i) {
      if (other.after[i] != kNever)
        after[i] = std::max(after[i], std::min(other.after[i] + latency, kLongestPath));
    }
  }
};

using Source = DependencyStep::Source;

DependencyStep step_of(const InstructionPrice& price) {
  DependencyStep step;
  step.address_read = price.address_read;
  step.operand_read = price.operand_read;
  step.written = price.written;
  step.latency = price.latency;
  step.operand_latency = price.operand_latency;
  step.memory_latency = price.memory_latency;
  step.only_address = price.operand_read == 0 && !price.breaks_dependency;
  step.loads = price.loads;
  return step;
}

class Walk {
 public:
  explicit Walk(size_t stores) : stores_(stores) {
    for (unsigned i = 0; i < kValues; ++i) values_[i] = Ready::source(i);
    done_ = Ready::source(kStart);
  }

  void execute(const DependencyStep& step) {
    Ready ready;
    ready.after[kStart] =
        step.only_address ? step.latency : std::min(step.latency, step.operand_latency);
    wait_for(ready, step.address_read, step.latency);
    wait_for(ready, step.operand_read, step.operand_latency);
    if (step.source == Source::kHere) {
      ready.wait(stores_[step.place], step.memory_latency);
    } else if (step.source == Source::kBefore) {
      ready.wait(Ready::source(kFirstPlace + step.place), step.memory_latency);
    }
    if (step.stored != kMaxPlaces) stores_[step.stored] = step.loads ? ready : stored_data(step);
    for (Values left = step.written; left != 0; left &= left - 1)
      values_[static_cast<size_t>(std::countr_zero(left))] = ready;
    written_ |= step.written;
    done_.wait(ready, 0);
  }

  std::vector<Edge> edges() const {
    std::vector<Edge> edges;
    for (uint8_t value = 0; value < kValues; ++value)
      if ((written_ >> value & 1) != 0) add_edges(edges, values_[value], value);
    add_edges(edges, done_, kDone);
    for (size_t i = 0; i < stores_.size(); ++i)
      add_edges(edges, stores_[i], static_cast<uint8_t>(kFirstPlace + i));
    return edges;
  }

 private:
  void wait_for(Ready& ready, Values read, uint16_t latency) const {
    for (; read != 0; read &= read - 1)
      ready.wait(values_[static_cast<size_t>(std::countr_zero(read))], latency);
  }

  // It is stored when the operands are ready, whenever the address is.
  Ready stored_data(const DependencyStep& step) const {
    Ready data;
    data.after[kStart] = step.operand_latency;
    wait_for(data, step.operand_read, step.operand_latency);
    return data;
  }

  static void add_edges(std::vector<Edge>& edges, const Ready& ready, uint8_t to) {
    for (unsigned from = 0; from < kNodes; ++from) {
      if (ready.after[from] != kNever) {
        edges.push_back({static_cast<uint8_t>(from), to, static_cast<uint16_t>(ready.after[from])});
      }
    }
  }

  std::array<Ready, kValues> values_;
  std::vector<Ready> stores_;
  Ready done_;
  Values written_ = 0;
};

// A place in `list`, where there is room for it.
std::optional<uint8_t> find_or_add(std::vector<Address>& list, const Address& address) {
  const auto found = std::ranges::find(list, address);
  if (found != list.end()) return static_cast<uint8_t>(found - list.begin());
  if (list.size() == kMaxPlaces) return std::nullopt;
  list.push_back(address);
  return static_cast<uint8_t>(list.size() - 1);
}

// Where the loads of code that is executed over and over find what it has stored.
class Forwarding {
 public:
  Forwarding(Prices prices, bool looped) : sources_(prices.size()), places_(prices.size()) {
    // The third execution finds what the second one left; the first may differ.
    constexpr unsigned kExecutions = 3;
    SymbolicState state;
    const uint64_t start = state.registers()[Address::kRip];
    Stores stored;
    for (unsigned execution = 0; execution < kExecutions; ++execution) {
      if (looped) state.jump(start);
      for (size_t i = 0; i < prices.size(); ++i) {
        const InstructionPrice& price = prices[i];
        const uint64_t address = price.has_address ? state.address_of(price) : 0;
        if (price.has_address && price.loads && execution + 1 == kExecutions)
          find_source(i, address, stored, execution);
        if (price.has_address && price.stores) stored[address] = {i, execution};
        state.execute(price);
      }
    }
  }

  void complete(size_t instruction, DependencyStep& step) const {
    step.source = sources_[instruction].first;
    step.place = sources_[instruction].second;
    step.stored = places_[instruction].value_or(uint8_t{kMaxPlaces});
  }
  size_t places() const { return count_; }

 private:
  struct Stored {
    size_t instruction = 0;
    unsigned execution = 0;
  };
  using Stores = std::unordered_map<uint64_t, Stored>;  // by the address

  void find_source(size_t load, uint64_t address, const Stores& stored, unsigned execution) {
    const auto found = stored.find(address);
    if (found == stored.end() || found->second.execution + 1 < execution) return;
    auto& place = places_[found->second.instruction];
    if (!place) {
      if (count_ == kMaxPlaces) return;
      place = count_++;
    }
    const bool here = found->second.execution == execution;
    sources_[load] = {here ? Source::kHere : Source::kBefore, *place};
  }

  std::vector<std::pair<Source, uint8_t>> sources_;
  std::vector<std::optional<uint8_t>> places_;
  uint8_t count_ = 0;
};

// Karp: the largest mean is the largest over nodes of the least over k of (d(n) - d(k)) / (n - k),
// where d(k) is the longest walk of k edges to the node.
double largest_cycle_mean(const std::vector<Edge>& edges) {
  std::vector<std::array<double, kNodes>> walks(kNodes + 1);
  walks[0].fill(0);
  for (unsigned k = 1; k <= kNodes; ++k) {
    walks[k].fill(-1);
    for (const Edge& edge : edges) {
      const double before = walks[k - 1][edge.from];
      if (before >= 0) walks[k][edge.to] = std::max(walks[k][edge.to], before + edge.cycles);
    }
  }
  double largest = 0;
  for (unsigned node = 0; node < kNodes; ++node) {
    if (walks[kNodes][node] < 0) continue;
    double least = -1;
    for (unsigned k = 0; k < kNodes; ++k) {
      if (walks[k][node] < 0) continue;
      const double mean = (walks[kNodes][node] - walks[k][node]) / (kNodes - k);
      least = least < 0 ? mean : std::min(least, mean);
    }
    largest = std::max(largest, least);
  }
  return largest;
}

}  // namespace

namespace {

std::vector<DependencyStep> find_steps(Prices prices, std::vector<Address>& loaded,
                                       std::vector<Address>& stored) {
  std::vector<DependencyStep> steps;
  RegisterSums sums;
  for (const InstructionPrice& price : prices) {
    const std::optional<Address> address = sums.address_of(price);
    DependencyStep& step = steps.emplace_back(step_of(price));
    if (price.loads && address) {
      const auto found = std::ranges::find(stored, *address);
      if (found != stored.end()) {
        step.source = Source::kHere;
        step.place = static_cast<uint8_t>(found - stored.begin());
      } else if (const auto place = find_or_add(loaded, *address)) {
        step.source = Source::kBefore;
        step.place = *place;
      }
    }
    if (price.stores && address)
      step.stored = find_or_add(stored, *address).value_or(uint8_t{kMaxPlaces});
    sums.apply(price);
  }
  return steps;
}

}  // namespace

Dependencies dependencies_of(Prices prices) {
  Walk walk(kMaxPlaces);
  Dependencies result;
  for (const DependencyStep& step : find_steps(prices, result.loaded, result.stored))
    walk.execute(step);
  result.edges = walk.edges();
  return result;
}

std::vector<DependencyStep> dependency_steps(Prices prices) {
  std::vector<Address> loaded, stored;
  return find_steps(prices, loaded, stored);
}

double latency_bound(Prices prices, bool looped) {
  const Forwarding forwarding(prices, looped);
  Walk walk(forwarding.places());
  for (size_t i = 0; i < prices.size(); ++i) {
    DependencyStep step = step_of(prices[i]);
    forwarding.complete(i, step);
    walk.execute(step);
  }
  std::vector<Edge> edges = walk.edges();
  std::erase_if(edges, [](const Edge& edge) { return edge.from == kStart || edge.to == kDone; });
  return largest_cycle_mean(edges);
}

}  // namespace nestor::emu::timing
