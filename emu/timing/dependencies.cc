// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/timing/dependencies.h"

#include <algorithm>
#include <bit>
#include <unordered_map>

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

// Where what an instruction loads was stored.
struct Source {
  enum class Kind : uint8_t { kNowhere, kHere, kBefore } kind = Kind::kNowhere;
  size_t place = 0;  // kHere: of the stores before, kBefore: of those before the code
};

class Walk {
 public:
  explicit Walk(size_t stores) : stores_(stores) {
    for (unsigned i = 0; i < kValues; ++i) values_[i] = Ready::source(i);
    done_ = Ready::source(kStart);
  }

  // `stored`: the place of what it stores, if somebody may load it.
  void execute(const InstructionPrice& price, Source source, std::optional<size_t> stored) {
    Ready ready;
    const bool only_address = price.operand_read == 0 && !price.breaks_dependency;
    ready.after[kStart] =
        only_address ? price.latency : std::min(price.latency, price.operand_latency);
    wait_for(ready, price.address_read, price.latency);
    wait_for(ready, price.operand_read, price.operand_latency);
    if (source.kind == Source::Kind::kHere) {
      ready.wait(stores_[source.place], price.memory_latency);
    } else if (source.kind == Source::Kind::kBefore) {
      ready.wait(Ready::source(static_cast<unsigned>(kFirstPlace + source.place)),
                 price.memory_latency);
    }
    if (stored) stores_[*stored] = price.loads ? ready : stored_data(price);
    for (Values left = price.written; left != 0; left &= left - 1)
      values_[static_cast<size_t>(std::countr_zero(left))] = ready;
    written_ |= price.written;
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
  Ready stored_data(const InstructionPrice& price) const {
    Ready data;
    data.after[kStart] = price.operand_latency;
    wait_for(data, price.operand_read, price.operand_latency);
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
std::optional<size_t> find_or_add(std::vector<Address>& list, const Address& address) {
  const auto found = std::ranges::find(list, address);
  if (found != list.end()) return static_cast<size_t>(found - list.begin());
  if (list.size() == kMaxPlaces) return std::nullopt;
  list.push_back(address);
  return list.size() - 1;
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

  Source source(size_t instruction) const { return sources_[instruction]; }
  std::optional<size_t> place(size_t instruction) const { return places_[instruction]; }
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
    sources_[load] = {here ? Source::Kind::kHere : Source::Kind::kBefore, *place};
  }

  std::vector<Source> sources_;
  std::vector<std::optional<size_t>> places_;
  size_t count_ = 0;
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

Dependencies dependencies_of(Prices prices) {
  Walk walk(kMaxPlaces);
  Dependencies result;
  RegisterSums sums;
  for (const InstructionPrice& price : prices) {
    const std::optional<Address> address = sums.address_of(price);
    Source source;
    std::optional<size_t> place;
    if (price.loads && address) {
      const auto stored = std::ranges::find(result.stored, *address);
      if (stored != result.stored.end()) {
        source = {Source::Kind::kHere, static_cast<size_t>(stored - result.stored.begin())};
      } else if (const auto loaded = find_or_add(result.loaded, *address)) {
        source = {Source::Kind::kBefore, *loaded};
      }
    }
    if (price.stores && address) place = find_or_add(result.stored, *address);
    walk.execute(price, source, place);
    sums.apply(price);
  }
  result.edges = walk.edges();
  return result;
}

double latency_bound(Prices prices, bool looped) {
  const Forwarding forwarding(prices, looped);
  Walk walk(forwarding.places());
  for (size_t i = 0; i < prices.size(); ++i)
    walk.execute(prices[i], forwarding.source(i), forwarding.place(i));
  std::vector<Edge> edges = walk.edges();
  std::erase_if(edges, [](const Edge& edge) { return edge.from == kStart || edge.to == kDone; });
  return largest_cycle_mean(edges);
}

}  // namespace nestor::emu::timing
