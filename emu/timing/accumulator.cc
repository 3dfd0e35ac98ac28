// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/timing/accumulator.h"

#include <algorithm>

namespace nestor::emu::timing {

Piece piece_of(Prices prices, const Processor& processor, uint64_t address) {
  Piece piece;
  uint32_t decoded = 0;
  for (const InstructionPrice& price : prices) {
    add_port_times(piece.ports, price, processor);
    if (price.fused_into_previous) continue;
    piece.issued_uops += price.issued_uops;
    decoded += price.decoded_uops;
  }
  piece.predecode = predecode_use(prices, processor, address);
  piece.decode = decode_use(prices, processor);
  piece.dsb = static_cast<uint32_t>(decoded * kTicksPerCycle / processor.dsb_width);
  piece.issue = static_cast<uint32_t>(piece.issued_uops * kTicksPerCycle / processor.issue_width);
  piece.dependencies = dependencies_of(prices);
  return piece;
}

Accumulator::Accumulator(const Processor& processor)
    : window_(processor.reorder_window), predecode_width_(processor.predecode_width) {
  static_assert((kStores & (kStores - 1)) == 0);
}

Ticks Accumulator::room_for(uint32_t uops) {
  const uint64_t end = issued_uops_ + uops;
  while (first_ != end_ && retirements_[first_ % kRetirements].uops + window_ < end) {
    room_ = retirements_[first_ % kRetirements].time;
    ++first_;
  }
  return room_;
}

Ticks Accumulator::predecode_time(const PredecodeUse& use) {
  constexpr uint64_t kWindow = 16;
  uint32_t cycles = use.cycles, before = 0;
  if (use.begin == code_end_ && use.begin % kWindow != 0) {
    // Both are in one window.
    const auto cycles_for = [&](uint32_t instructions) {
      return (instructions + predecode_width_ - 1) / predecode_width_;
    };
    before = in_window_;
    cycles += cycles_for(before + use.first) - cycles_for(before) - cycles_for(use.first);
  }
  in_window_ = use.one_window ? before + use.last : use.last;
  code_end_ = use.end;
  return cycles * kTicksPerCycle;
}

Ticks Accumulator::decode_time(const DecodeUse& use) {
  const DecodeUse::Step& step = use.from[decoder_state_];
  decoder_state_ = step.after;
  return step.cycles * kTicksPerCycle;
}

void Accumulator::add(const Piece& piece, const RegisterValues& registers, FrontEnd front_end) {
  const Ticks room = room_for(piece.issued_uops);
  Ticks start = std::max(issued_, room);
  if (front_end == FrontEnd::kLegacy) {
    start = std::max({start, predecoded_, decoded_});
    decoded_ = std::max({decoded_, predecoded_, room}) + decode_time(piece.decode);
    predecoded_ = std::max(predecoded_, room) + predecode_time(piece.predecode);
    decoded_ = std::max(decoded_, predecoded_);
  } else {
    start = std::max(start, decoded_);
    decoded_ = std::max(decoded_, room) + piece.dsb;
    predecoded_ = decoded_;
    // The decoders start anew after it.
    code_end_ = kNowhere;
    decoder_state_ = 0;
  }
  issued_ = std::max(start + piece.issue, decoded_);

  Ticks finished = issued_;
  for (unsigned set = 0; set < kPortSets; ++set) {
    ports_[set] = std::max(ports_[set], start) + piece.ports[set];
    if (piece.ports[set] != 0) finished = std::max(finished, ports_[set]);
  }

  const Dependencies& dependencies = piece.dependencies;
  std::array<Ticks, kNodes> after;
  ready_[kStart] = start;
  for (size_t i = 0; i < dependencies.loaded.size(); ++i) {
    const uint64_t address = evaluate(dependencies.loaded[i], registers);
    const Store& store = stores_[slot_of(address)];
    ready_[kFirstPlace + i] = store.address == address ? store.ready : 0;
  }
  const std::vector<Edge>& edges = dependencies.edges;
  for (auto edge = edges.begin(); edge != edges.end();) {
    const uint8_t to = edge->to;
    // Nothing of the piece is executed before it starts.
    Ticks ready = start;
    for (; edge != edges.end() && edge->to == to; ++edge)
      ready = std::max(ready, ready_[edge->from] + edge->cycles * kTicksPerCycle);
    after[to] = ready;
  }
  for (auto edge = edges.begin(); edge != edges.end();) {
    const uint8_t to = edge->to;
    while (edge != edges.end() && edge->to == to) ++edge;
    ready_[to] = after[to];
  }
  for (size_t i = 0; i < dependencies.stored.size(); ++i) {
    const uint64_t address = evaluate(dependencies.stored[i], registers);
    stores_[slot_of(address)] = {address, ready_[kFirstPlace + i]};
  }
  finished = std::max(finished, ready_[kDone]);

  retired_ = std::max(retired_, finished);
  issued_uops_ += piece.issued_uops;
  if (end_ - first_ == kRetirements) ++first_;
  retirements_[end_++ % kRetirements] = {issued_uops_, retired_};
}

double price_in_pieces(Prices prices, const Processor& processor, Repetition repetition,
                       size_t instructions) {
  if (prices.empty() || instructions == 0) return 0;
  // Long enough for the window to fill, and for copies to be at all offsets from 16 bytes.
  constexpr size_t kUops = 2000, kLeast = 16;
  const size_t executions = std::max(kLeast, kUops / prices.size() / kLeast * kLeast);
  const bool unrolled = repetition == Repetition::kUnrolled;
  const FrontEnd front_end =
      unrolled || has_jcc_erratum(prices, processor) ? FrontEnd::kLegacy : FrontEnd::kDsb;
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
      accumulator.add(piece_of(cut, processor, address), state.registers(), front_end);
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
