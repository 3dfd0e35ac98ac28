// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/timing/block_price.h"

#include <algorithm>

#include "emu/timing/dependencies.h"
#include "emu/timing/resources.h"

namespace nestor::emu::timing {
namespace {

// The pair is one micro-operation: what the first one does, on the ports of jumps.
void fuse(InstructionPrice& first, InstructionPrice& second, const Processor& processor) {
  first.fuses_with_next = true;
  second.fused_into_previous = true;
  second.use_count = 0;
  second.decoded_uops = second.issued_uops = second.uops = 0;
  constexpr uint16_t kAnyExecutionPort = 1u << 0 | 1u << 1 | 1u << 5 | 1u << 6;
  for (PortUse& use : first.use)
    if (use.ports == kAnyExecutionPort) use.ports = processor.branch_ports;
}

}  // namespace

std::string_view name_of(Bound bound) {
  constexpr std::string_view kNames[kBounds] = {"predecode", "decode", "DSB",    "LSD",
                                                "issue",     "ports",  "latency"};
  return kNames[static_cast<size_t>(bound)];
}

double BlockPrice::cycles() const { return bound[static_cast<size_t>(bottleneck())]; }

Bound BlockPrice::bottleneck() const {
  size_t largest = 0;
  for (size_t i = 1; i < kBounds; ++i)
    if (applies[i] && (!applies[largest] || bound[i] > bound[largest])) largest = i;
  return static_cast<Bound>(largest);
}

std::vector<InstructionPrice> price_instructions(std::span<const uint8_t> code,
                                                 std::span<const uint8_t> lengths, CodeMode mode,
                                                 const Processor& processor) {
  std::vector<InstructionPrice> prices;
  prices.reserve(lengths.size());
  std::span<const uint8_t> previous;
  for (const uint8_t length : lengths) {
    const auto bytes = code.first(length);
    code = code.subspan(length);
    prices.push_back(price_instruction(bytes, mode, processor));
    if (!previous.empty() && macro_fuses(previous, bytes, mode))
      fuse(prices[prices.size() - 2], prices.back(), processor);
    previous = bytes;
  }
  return prices;
}

BlockPrice price_block(Prices prices, const Processor& processor, Repetition repetition) {
  BlockPrice price;
  const auto set = [&](Bound bound, double cycles, bool applies) {
    price.bound[static_cast<size_t>(bound)] = cycles;
    price.applies[static_cast<size_t>(bound)] = applies;
  };
  const bool looped = repetition == Repetition::kLooped;
  const bool legacy = !looped || has_jcc_erratum(prices, processor, 0);
  const bool lsd = !legacy && fits_lsd(prices, processor);
  set(Bound::kPredecode, predecode_bound(prices, processor, repetition), legacy);
  set(Bound::kDecode, decode_bound(prices, processor), legacy);
  set(Bound::kDsb, dsb_bound(prices, processor), !legacy && !lsd);
  set(Bound::kLsd, lsd_bound(prices, processor), lsd);
  set(Bound::kIssue, issue_bound(prices, processor, repetition), true);
  PortTimes times{};
  for (const InstructionPrice& instruction : prices) add_port_times(times, instruction, processor);
  const auto* busiest_set = std::ranges::max_element(times);
  set(Bound::kPorts, static_cast<double>(*busiest_set) / kTicksPerCycle, true);
  if (*busiest_set != 0)
    price.busiest_ports = port_set(processor, static_cast<unsigned>(busiest_set - times.begin()));
  set(Bound::kLatency, latency_bound(prices, looped), true);
  return price;
}

}  // namespace nestor::emu::timing
