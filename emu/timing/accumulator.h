// SPDX-License-Identifier: GPL-2.0-or-later
//
// Puts pieces of code together as they are executed: the time that a run takes, block after block.
//
// What pieces take of the front end and of ports adds up. When values are ready moves on from piece
// to piece along their dependencies. No more micro-operations than the reorder window holds are
// under way: a piece starts when those before the window have retired.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstdint>
#include <span>
#include <vector>

#include "emu/timing/addresses.h"
#include "emu/timing/dependencies.h"
#include "emu/timing/front_end.h"
#include "emu/timing/processor.h"
#include "emu/timing/resources.h"

namespace nestor::emu::timing {

// Code that is executed once, from its first instruction to its last: a block, or the part of one
// that was completed. Made once; all times are in ticks.
struct Piece {
  struct PortTime {
    uint8_t set = 0;
    uint32_t ticks = 0;  // not 0
  };
  // When all of `results` are ready: `after_start` after the code starts, and the latest of so many
  // waits. Each takes the next ones of the lists below.
  struct Group {
    uint8_t waits = 0, results = 0;
    uint32_t after_start = 0;
  };
  struct Wait {
    uint8_t from = 0;
    uint32_t ticks = 0;
  };

  std::vector<PortTime> ports;
  PredecodeUse predecode;  // by the legacy decoders,
  DecodeUse decode;
  uint32_t dsb = 0;  // or from the decoded ICache
  uint32_t issue = 0;
  uint32_t issued_uops = 0;
  std::vector<Group> groups;
  std::vector<Wait> waits;
  std::vector<uint8_t> results;
  std::vector<Address> loaded, stored;  // of Dependencies; none is relative to RIP
};

// Of instructions at `address`. A block that is left early is the piece of those that it completed:
// piece_of(prices.first(n), ...).
Piece piece_of(Prices prices, const Processor& processor, uint64_t address);

enum class FrontEnd : uint8_t { kLegacy, kDsb };

class Accumulator {
 public:
  explicit Accumulator(const Processor& processor);

  // Executes the piece, with what the general registers hold when it starts.
  void add(const Piece& piece, const uint64_t* registers, FrontEnd front_end) {
    for (size_t i = 0; i < piece.loaded.size(); ++i)
      undo_.loaded[i] = evaluate(piece.loaded[i], registers);
    for (size_t i = 0; i < piece.stored.size(); ++i)
      undo_.stored[i] = evaluate(piece.stored[i], registers);
    add_with_addresses(piece, front_end);
  }
  // The same, instruction by instruction: `steps` are those of the piece, and delay(i, ready) is
  // how many ticks later than from the first-level cache the i-th one loads, whose address is ready
  // then.
  template <typename Delay>
  void add(const Piece& piece, std::span<const DependencyStep> steps, const uint64_t* registers,
           FrontEnd front_end, const Delay& delay) {
    for (size_t i = 0; i < piece.loaded.size(); ++i)
      undo_.loaded[i] = evaluate(piece.loaded[i], registers);
    for (size_t i = 0; i < piece.stored.size(); ++i)
      undo_.stored[i] = evaluate(piece.stored[i], registers);
    add_steps(piece, steps, front_end, delay);
  }
  // Of `piece`, which was added last, only `completed` was executed, which is made of its first
  // instructions. To be called once.
  void replace(const Piece& piece, const Piece& completed, FrontEnd front_end);
  template <typename Delay>
  void replace(const Piece& piece, const Piece& completed, std::span<const DependencyStep> steps,
               FrontEnd front_end, const Delay& delay) {
    take_back(piece);
    if (!is_empty(completed)) add_steps(completed, steps, front_end, delay);
  }
  // What follows is executed when everything up to now has retired, and `ticks` later: something
  // that serializes, or a jump that was not foreseen.
  void start_anew(Ticks ticks = 0) { progress_.fetched = progress_.retired + ticks; }
  // Nothing is issued before.
  void wait_for_room(Ticks time) { progress_.room = std::max(progress_.room, time); }
  // The decoders stand still until then, at least.
  void fetch_after(Ticks time) { progress_.fetched = std::max(progress_.fetched, time); }

  // When everything up to now has retired; never less than before. In ticks.
  Ticks time() const { return progress_.retired; }
  // When a general register, flag or other value is ready.
  Ticks ready(unsigned value) const { return ready_[value]; }
  Ticks issued() const { return progress_.issued; }

  template <typename Archive>
  void serialize(Archive& archive) {
    archive(progress_, ports_, ready_, stores_, first_, end_, retirements_);
    archive.require(end_ - first_ <= kRetirements &&
                    progress_.decoder_state < DecoderState::kCount);
    archive(undo_);
  }

 private:
  // The last store to each place that loads may wait for; others are forgotten.
  struct Store {
    uint64_t address = 0;
    Ticks ready = 0;
    template <typename Archive>
    void fields(Archive& archive) {
      archive(address, ready);
    }
  };
  // How many micro-operations were issued up to a piece, and when it retired.
  struct Retirement {
    uint64_t uops = 0;
    Ticks time = 0;
    template <typename Archive>
    void fields(Archive& archive) {
      archive(uops, time);
    }
  };
  static constexpr size_t kStores = 64;        // a power of 2
  static constexpr size_t kRetirements = 512;  // not less than any reorder window
  static constexpr uint64_t kNowhere = ~uint64_t{0};
  struct Progress {
    Ticks fetched = 0, predecoded = 0, decoded = 0, issued = 0, retired = 0, room = 0;
    uint64_t issued_uops = 0;
    uint64_t code_end = kNowhere;  // where the last piece ended,
    uint32_t in_window = 0;        // and how many instructions its last window holds
    uint8_t decoder_state = 0;
    template <typename Archive>
    void fields(Archive& archive) {
      archive(fetched, predecoded, decoded, issued, retired, room, issued_uops, code_end, in_window,
              decoder_state);
    }
  };
  // What the last piece has changed, in the order of its lists; and the addresses that it used.
  struct Undo {
    Progress progress;
    uint64_t first = 0, end = 0;
    Retirement retirement;
    std::array<Ticks, kPortSets> ports{};
    std::array<Ticks, kNodes> ready{};
    std::array<Store, kMaxPlaces> stores{};
    std::array<uint64_t, kMaxPlaces> loaded{}, stored{};
    template <typename Archive>
    void fields(Archive& archive) {
      archive(progress, first, end, retirement, ports, ready, stores, loaded, stored);
    }
  };

  static bool is_empty(const Piece& piece) {
    return piece.groups.empty() && piece.issued_uops == 0;
  }
  void add_with_addresses(const Piece& piece, FrontEnd front_end);
  template <typename Delay>
  void add_steps(const Piece& piece, std::span<const DependencyStep> steps, FrontEnd front_end,
                 const Delay& delay);
  // What a piece takes beside its dependencies: when it starts, and when that is over.
  struct Taken {
    Ticks start = 0, finished = 0;
  };
  Taken take(const Piece& piece, FrontEnd front_end);
  void put_result(uint8_t node, Ticks ready, Ticks*& before) {
    *before++ = ready_[node];
    ready_[node] = ready;
  }
  void finish(const Piece& piece, Ticks finished);
  void take_back(const Piece& piece);
  // When there is room in the window for the next `uops`.
  Ticks room_for(uint32_t uops);
  static size_t slot_of(uint64_t address) { return (address >> 2 ^ address >> 8) % kStores; }

  Ticks predecode_time(const PredecodeUse& use);
  Ticks decode_time(const DecodeUse& use);
  Ticks fetch(const Piece& piece, FrontEnd front_end, Ticks room);

  uint32_t window_, predecode_width_;
  Progress progress_;
  std::array<Ticks, kPortSets> ports_{};  // when each set is free
  std::array<Ticks, kNodes> ready_{};
  std::array<Store, kStores> stores_{};
  uint64_t first_ = 0, end_ = 0;  // of retirements_, modulo its size
  Undo undo_;
  std::array<Retirement, kRetirements> retirements_{};
};

template <typename Delay>
void Accumulator::add_steps(const Piece& piece, std::span<const DependencyStep> steps,
                            FrontEnd front_end, const Delay& delay) {
  const auto [start, taken] = take(piece, front_end);
  std::array<Ticks, kNodes> now = ready_;
  std::array<Ticks, kMaxPlaces> stored{};
  Ticks finished = std::max(taken, start);
  const auto latest = [&now](Ticks from, Values read) {
    for (; read != 0; read &= read - 1)
      from = std::max(from, now[static_cast<size_t>(std::countr_zero(read))]);
    return from;
  };
  const auto ticks = [](uint16_t cycles) { return Ticks{cycles} * kTicksPerCycle; };
  for (size_t i = 0; i < steps.size(); ++i) {
    const DependencyStep& step = steps[i];
    const Ticks operands = latest(0, step.operand_read) + ticks(step.operand_latency);
    const Ticks address = latest(0, step.address_read);
    Ticks ready =
        std::max(start + ticks(step.only_address ? step.latency
                                                 : std::min(step.latency, step.operand_latency)),
                 operands);
    ready = std::max(ready, address + ticks(step.latency));
    const bool forwarded = step.source == DependencyStep::Source::kHere;
    if (const Ticks later = delay(i, std::max(start, address)); later != 0 && !forwarded)
      ready = std::max(ready, std::max(start, address) + ticks(step.latency) + later);
    if (forwarded) {
      ready = std::max(ready, stored[step.place] + ticks(step.memory_latency));
    } else if (step.source == DependencyStep::Source::kBefore) {
      ready = std::max(ready, now[kFirstPlace + step.place] + ticks(step.memory_latency));
    }
    if (step.stored != kMaxPlaces) {
      stored[step.stored] =
          step.loads ? ready : std::max(start + ticks(step.operand_latency), operands);
    }
    for (Values left = step.written; left != 0; left &= left - 1)
      now[static_cast<size_t>(std::countr_zero(left))] = ready;
    finished = std::max(finished, ready);
  }
  Ticks* before = undo_.ready.data();
  for (const uint8_t node : piece.results)
    put_result(node, node < kValues ? now[node] : stored[node - kFirstPlace], before);
  finish(piece, finished);
}

// The cycles for one execution of code that is executed over and over, as pieces of so many
// instructions. A pair that is fused stays together.
double price_in_pieces(Prices prices, const Processor& processor, Repetition repetition,
                       size_t instructions);

}  // namespace nestor::emu::timing
