// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/timing/resources.h"

#include <bit>

namespace nestor::emu::timing {
namespace {

// The ports that execute, in all four processors.
constexpr unsigned kExecutionPorts[] = {0, 1, 5, 6};
constexpr unsigned kExecutionSets = 15;  // all but the empty one

constexpr auto kExecutionSet = [] {
  std::array<uint16_t, kExecutionSets> sets{};
  for (unsigned i = 0; i < kExecutionSets; ++i) {
    for (unsigned port = 0; port < std::size(kExecutionPorts); ++port)
      if (((i + 1) >> port & 1) != 0) sets[i] |= static_cast<uint16_t>(1u << kExecutionPorts[port]);
  }
  return sets;
}();

}  // namespace

uint16_t port_set(const Processor& processor, unsigned set) {
  if (set < kExecutionSets) return kExecutionSet[set];
  const std::array<uint16_t, kPortSets - kExecutionSets> others = {
      processor.load_ports, processor.store_address_ports, processor.store_data_ports,
      kIntegerDivider,      kFloatingPointDivider,         kSerial,
      // Loads and store addresses that share ports are together in the set of the latter.
  };
  return others[set - kExecutionSets];
}

void add_port_times(PortTimes& times, const InstructionPrice& price, const Processor& processor) {
  for (const PortUse& use : price.uses()) {
    for (unsigned set = 0; set < kPortSets; ++set) {
      const uint16_t ports = port_set(processor, set);
      if (ports == 0 || (use.ports & ~ports) != 0) continue;
      const auto shared = static_cast<unsigned>(std::popcount(ports));
      times[set] += static_cast<uint32_t>(use.cycles * kTicksPerCycle / shared);
    }
  }
}

}  // namespace nestor::emu::timing
