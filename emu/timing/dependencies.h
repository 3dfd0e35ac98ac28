// SPDX-License-Identifier: GPL-2.0-or-later
//
// How long values take through code: when each is ready is the latest of what it is made from, plus
// a latency (max-plus algebra). A load waits for the last store to the same address, as far as the
// addresses are sums of registers at the start of the code; other loads wait for no store.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <vector>

#include "emu/timing/addresses.h"
#include "emu/timing/front_end.h"
#include "emu/timing/instruction_price.h"

namespace nestor::emu::timing {

// What an edge may come from and go to beside the values: the code's start, and that all of it is
// completed; and places in memory: loaded from before any store there, and stored to.
inline constexpr uint8_t kStart = kValues, kDone = kValues, kFirstPlace = kValues + 1;
// Code with more of them: the others are as if nothing had stored there.
inline constexpr unsigned kMaxPlaces = 12;
inline constexpr unsigned kNodes = kFirstPlace + kMaxPlaces;

// What `to` holds after the code is ready `cycles` after `from` was, before it.
struct Edge {
  uint8_t from = 0, to = 0;
  uint16_t cycles = 0;
  bool operator==(const Edge&) const = default;
};

struct Dependencies {
  std::vector<Edge> edges;  // in the order of `to`; values that the code does not write have none
  // The addresses of kFirstPlace and so on, from the registers at the start.
  std::vector<Address> loaded, stored;
};

// One instruction as dependencies see it.
struct DependencyStep {
  // Where what it loads was stored: by the code itself, or before it.
  enum class Source : uint8_t { kNowhere, kHere, kBefore };

  Values address_read = 0, operand_read = 0, written = 0;
  uint16_t latency = 0, operand_latency = 0, memory_latency = 0;
  bool only_address = false;  // waits for nothing else
  bool loads = false;
  Source source = Source::kNowhere;
  uint8_t place = 0;            // kHere: of the stores, kBefore: of what is loaded
  uint8_t stored = kMaxPlaces;  // the place of what it stores; kMaxPlaces: nobody loads it
};

// Of code that is executed once. Addresses that are no sums of registers at the start are unknown:
// nothing waits for them.
Dependencies dependencies_of(Prices prices);
// The same, instruction by instruction.
std::vector<DependencyStep> dependency_steps(Prices prices);

// The cycles for one execution of code that is executed over and over and never waits for anything
// but its own values: the largest mean of a cycle of edges. `looped`: it is the same code, not
// copies that follow each other. Which load follows which store is found by SymbolicState.
double latency_bound(Prices prices, bool looped);

}  // namespace nestor::emu::timing
