// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/timing/accumulator.h"

#include <algorithm>
#include <span>
#include <utility>

namespace nestor::emu::timing {

namespace {

// The edges of dependencies, by when what they lead to is ready.
class GroupedEdges {
 public:
  explicit GroupedEdges(const std::vector<Edge>& edges) {
    std::span<const Edge> done;
    for (size_t i = 0; i < edges.size();) {
      size_t end = i;
      while (end < edges.size() && edges[end].to == edges[i].to) ++end;
      const auto run = std::span(edges).subspan(i, end - i);
      if (edges[i].to == kDone) {
        done = run;
      } else {
        add(run);
      }
      i = end;
    }
    // The code is over when the last result is there; what only that waits for is a group of its
    // own.
    std::vector<Edge> rest;
    for (const Edge& edge : done)
      if (!is_waited_for(edge)) rest.push_back(edge);
    if (!rest.empty()) groups_.push_back({rest, {}});
  }

  void put_into(Piece& piece) const {
    for (const auto& [waits, results] : groups_) {
      Piece::Group group;
      for (const Edge& wait : waits) {
        const auto ticks = static_cast<uint32_t>(wait.cycles * kTicksPerCycle);
        if (wait.from == kStart) {
          group.after_start = ticks;
        } else {
          piece.waits.push_back({wait.from, ticks});
          ++group.waits;
        }
      }
      group.results = static_cast<uint8_t>(results.size());
      piece.results.insert(piece.results.end(), results.begin(), results.end());
      piece.groups.push_back(group);
    }
    piece.groups.shrink_to_fit();
    piece.waits.shrink_to_fit();
    piece.results.shrink_to_fit();
  }

 private:
  struct Together {
    std::vector<Edge> waits;
    std::vector<uint8_t> results;
  };

  void add(std::span<const Edge> run) {
    const auto same = [run](const Together& group) {
      return std::ranges::equal(group.waits, run, [](const Edge& a, const Edge& b) {
        return a.from == b.from && a.cycles == b.cycles;
      });
    };
    const auto found = std::ranges::find_if(groups_, same);
    Together& group = found != groups_.end() ? *found : groups_.emplace_back();
    if (group.waits.empty()) group.waits.assign(run.begin(), run.end());
    group.results.push_back(run.front().to);
  }
  bool is_waited_for(const Edge& done) const {
    return std::ranges::any_of(groups_, [&done](const Together& group) {
      return std::ranges::any_of(group.waits, [&done](const Edge& edge) {
        return edge.from == done.from && edge.cycles >= done.cycles;
      });
    });
  }

  std::vector<Together> groups_;
};

}  // namespace

Piece piece_of(Prices prices, const Processor& processor, uint64_t address) {
  Piece piece;
  PortTimes ports{};
  uint32_t decoded = 0;
  for (const InstructionPrice& price : prices) {
    add_port_times(ports, price, processor);
    if (price.fused_into_previous) continue;
    piece.issued_uops += price.issued_uops;
    decoded += price.decoded_uops;
  }
  for (uint8_t set = 0; set < kPortSets; ++set)
    if (ports[set] != 0) piece.ports.push_back({set, ports[set]});
  piece.ports.shrink_to_fit();
  piece.predecode = predecode_use(prices, processor, address);
  piece.decode = decode_use(prices, processor);
  piece.dsb = static_cast<uint32_t>(decoded * kTicksPerCycle / processor.dsb_width);
  piece.issue = static_cast<uint32_t>(piece.issued_uops * kTicksPerCycle / processor.issue_width);
  Dependencies dependencies = dependencies_of(prices);
  GroupedEdges(dependencies.edges).put_into(piece);
  for (auto* list : {&dependencies.loaded, &dependencies.stored}) {
    for (Address& place : *list) {
      if (place.base != Address::kRip) continue;
      place.base = Address::kNone;
      place.offset += static_cast<int64_t>(address);
    }
  }
  piece.loaded = std::move(dependencies.loaded);
  piece.stored = std::move(dependencies.stored);
  return piece;
}

Accumulator::Accumulator(const Processor& processor)
    : window_(processor.reorder_window), predecode_width_(processor.predecode_width) {
  static_assert((kStores & (kStores - 1)) == 0);
}

Ticks Accumulator::room_for(uint32_t uops) {
  const uint64_t end = progress_.issued_uops + uops;
  while (first_ != end_ && retirements_[first_ % kRetirements].uops + window_ < end) {
    progress_.room = std::max(progress_.room, retirements_[first_ % kRetirements].time);
    ++first_;
  }
  return progress_.room;
}

Ticks Accumulator::predecode_time(const PredecodeUse& use) {
  constexpr uint64_t kWindow = 16;
  uint32_t cycles = use.cycles, before = 0;
  if (use.begin == progress_.code_end && use.begin % kWindow != 0) {
    // Both are in one window.
    const auto cycles_for = [&](uint32_t instructions) {
      return (instructions + predecode_width_ - 1) / predecode_width_;
    };
    before = progress_.in_window;
    cycles += cycles_for(before + use.first) - cycles_for(before) - cycles_for(use.first);
  }
  progress_.in_window = use.one_window ? before + use.last : use.last;
  progress_.code_end = use.end;
  return cycles * kTicksPerCycle;
}

Ticks Accumulator::decode_time(const DecodeUse& use) {
  const DecodeUse::Step& step = use.from[progress_.decoder_state];
  progress_.decoder_state = step.after;
  return step.cycles * kTicksPerCycle;
}

// When the first micro-operation can be issued. The front end stops while the window is full, and
// begins anew where fetched says.
Ticks Accumulator::fetch(const Piece& piece, FrontEnd front_end, Ticks room) {
  Progress& now = progress_;
  const Ticks from = std::max(room, now.fetched);
  Ticks start = std::max(now.issued, from);
  if (front_end == FrontEnd::kLegacy) {
    start = std::max({start, now.predecoded, now.decoded});
    now.decoded = std::max({now.decoded, now.predecoded, from}) + decode_time(piece.decode);
    now.predecoded = std::max(now.predecoded, from) + predecode_time(piece.predecode);
    now.decoded = std::max(now.decoded, now.predecoded);
  } else {
    start = std::max(start, now.decoded);
    now.decoded = std::max(now.decoded, from) + piece.dsb;
    now.predecoded = now.decoded;
    // The decoders start anew after it.
    now.code_end = kNowhere;
    now.decoder_state = 0;
  }
  now.issued = std::max(start + piece.issue, now.decoded);
  return start;
}

Accumulator::Taken Accumulator::take(const Piece& piece, FrontEnd front_end) {
  undo_.progress = progress_;
  undo_.first = first_;
  undo_.end = end_;
  const Ticks start = fetch(piece, front_end, room_for(piece.issued_uops));
  Ticks finished = progress_.issued;
  Ticks* before = undo_.ports.data();
  for (const Piece::PortTime& use : piece.ports) {
    Ticks& port = ports_[use.set];
    *before++ = port;
    port = std::max(port, start) + use.ticks;
    finished = std::max(finished, port);
  }
  for (size_t i = 0; i < piece.loaded.size(); ++i) {
    const uint64_t address = undo_.loaded[i];
    const Store& store = stores_[slot_of(address)];
    ready_[kFirstPlace + i] = store.address == address ? store.ready : 0;
  }
  return {start, finished};
}

void Accumulator::finish(const Piece& piece, Ticks finished) {
  for (size_t i = 0; i < piece.stored.size(); ++i) {
    const uint64_t address = undo_.stored[i];
    Store& store = stores_[slot_of(address)];
    undo_.stores[i] = store;
    store = {address, ready_[kFirstPlace + i]};
  }
  progress_.retired = std::max(progress_.retired, finished);
  progress_.issued_uops += piece.issued_uops;
  if (end_ - first_ == kRetirements) ++first_;
  Retirement& retirement = retirements_[end_++ % kRetirements];
  undo_.retirement = retirement;
  retirement = {progress_.issued_uops, progress_.retired};
}

void Accumulator::add_with_addresses(const Piece& piece, FrontEnd front_end) {
  auto [start, finished] = take(piece, front_end);
  std::array<Ticks, kNodes> after;
  const Piece::Wait* wait = piece.waits.data();
  size_t count = 0;
  for (const Piece::Group& group : piece.groups) {
    // Nothing of the piece is executed before it starts.
    Ticks ready = start + group.after_start;
    for (const auto* end = wait + group.waits; wait != end; ++wait)
      ready = std::max(ready, ready_[wait->from] + wait->ticks);
    finished = std::max(finished, ready);
    after[count++] = ready;
  }
  const uint8_t* result = piece.results.data();
  Ticks* before = undo_.ready.data();
  count = 0;
  for (const Piece::Group& group : piece.groups) {
    for (const auto* end = result + group.results; result != end; ++result)
      put_result(*result, after[count], before);
    ++count;
  }
  finish(piece, finished);
}

void Accumulator::take_back(const Piece& piece) {
  retirements_[undo_.end % kRetirements] = undo_.retirement;
  first_ = undo_.first;
  end_ = undo_.end;
  progress_ = undo_.progress;
  for (size_t i = 0; i < piece.ports.size(); ++i) ports_[piece.ports[i].set] = undo_.ports[i];
  for (size_t i = 0; i < piece.results.size(); ++i) ready_[piece.results[i]] = undo_.ready[i];
  // Two stores may have shared a slot.
  for (size_t i = piece.stored.size(); i-- != 0;)
    stores_[slot_of(undo_.stored[i])] = undo_.stores[i];
}

// The addresses of `completed` are the first ones of the whole.
void Accumulator::replace(const Piece& piece, const Piece& completed, FrontEnd front_end) {
  take_back(piece);
  if (!is_empty(completed)) add_with_addresses(completed, front_end);
}

double price_in_pieces(Prices prices, const Processor& processor, Repetition repetition,
                       size_t instructions) {
  if (prices.empty() || instructions == 0) return 0;
  // Long enough for the window to fill, and for copies to be at all offsets from 16 bytes.
  constexpr size_t kUops = 2000, kLeast = 16;
  const size_t executions = std::max(kLeast, kUops / prices.size() / kLeast * kLeast);
  const bool unrolled = repetition == Repetition::kUnrolled;
  const FrontEnd front_end =
      unrolled || has_jcc_erratum(prices, processor, 0) ? FrontEnd::kLegacy : FrontEnd::kDsb;
  Accumulator accumulator(processor);
  SymbolicState state;
  uint64_t address = state.registers()[Address::kRip] & ~uint64_t{15};
  Ticks middle = 0;
  for (size_t execution = 0; execution < 2 * executions; ++execution) {
    if (execution == executions) middle = accumulator.time();
    const uint64_t start = address;
    for (size_t first = 0; first < prices.size();) {
      size_t count = std::min(instructions, prices.size() - first);
      if (prices[first + count - 1].fuses_with_next) ++count;
      const Prices cut = prices.subspan(first, count);
      state.jump(address);
      accumulator.add(piece_of(cut, processor, address), state.registers().data(), front_end);
      for (const InstructionPrice& price : cut) {
        state.execute(price);
        address += price.length;
      }
      first += count;
    }
    if (!unrolled) address = start;
  }
  return static_cast<double>(accumulator.time() - middle) / kTicksPerCycle /
         static_cast<double>(executions);
}

}  // namespace nestor::emu::timing
