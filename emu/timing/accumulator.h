// SPDX-License-Identifier: GPL-2.0-or-later
//
// Puts pieces of code together as they are executed: the time that a run takes, block after block.
//
// What pieces take of the front end and of ports adds up. When values are ready moves on from piece
// to piece along their dependencies. No more micro-operations than the reorder window holds are
// under way: a piece starts when those before the window have retired.
#pragma once

#include <array>
#include <cstdint>
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
  PortTimes ports{};
  PredecodeUse predecode;  // by the legacy decoders,
  DecodeUse decode;
  uint32_t dsb = 0;  // or from the decoded ICache
  uint32_t issue = 0;
  uint32_t issued_uops = 0;
  Dependencies dependencies;
};

// Of instructions at `address`. A block that is left early is the piece of those that it completed:
// piece_of(prices.first(n), ...).
Piece piece_of(Prices prices, const Processor& processor, uint64_t address);

enum class FrontEnd : uint8_t { kLegacy, kDsb };

class Accumulator {
 public:
  explicit Accumulator(const Processor& processor);

  // Executes the piece, with what the registers hold when it starts.
  void add(const Piece& piece, const RegisterValues& registers, FrontEnd front_end);

  // When everything up to now has retired; never less than before. In ticks.
  Ticks time() const { return retired_; }

 private:
  // The last store to each place that loads may wait for; others are forgotten.
  struct Store {
    uint64_t address = 0;
    Ticks ready = 0;
  };
  // How many micro-operations were issued up to a piece, and when it retired.
  struct Retirement {
    uint64_t uops = 0;
    Ticks time = 0;
  };
  static constexpr size_t kStores = 64;        // a power of 2
  static constexpr size_t kRetirements = 512;  // not less than any reorder window

  // When there is room in the window for the next `uops`.
  Ticks room_for(uint32_t uops);
  static size_t slot_of(uint64_t address) { return (address >> 2 ^ address >> 8) % kStores; }

  Ticks predecode_time(const PredecodeUse& use);
  Ticks decode_time(const DecodeUse& use);

  uint32_t window_, predecode_width_;
  Ticks predecoded_ = 0, decoded_ = 0, issued_ = 0, retired_ = 0;
  std::array<Ticks, kPortSets> ports_{};  // when each set is free
  std::array<Ticks, kNodes> ready_{};
  std::array<Store, kStores> stores_{};
  std::array<Retirement, kRetirements> retirements_{};
  uint64_t issued_uops_ = 0;
  size_t first_ = 0, end_ = 0;  // of retirements_, modulo its size
  Ticks room_ = 0;
  static constexpr uint64_t kNowhere = ~uint64_t{0};
  uint64_t code_end_ = kNowhere;  // where the last piece ended,
  uint32_t in_window_ = 0;        // and how many instructions its last window holds
  uint8_t decoder_state_ = 0;
};

// The cycles for one execution of code that is executed over and over, as pieces of so many
// instructions. A pair that is fused stays together.
double price_in_pieces(Prices prices, const Processor& processor, Repetition repetition,
                       size_t instructions);

}  // namespace nestor::emu::timing
