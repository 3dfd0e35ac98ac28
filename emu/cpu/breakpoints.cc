// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/cpu/breakpoints.h"

#include <array>

#include "emu/cpu/segments.h"
#include "emu/memory/page_size.h"

namespace nestor::emu {
namespace {

using vmx::CpuState;

// DR7.R/Wn.
enum class Condition : uint8_t { kInstruction = 0, kWrite = 1, kPort = 2, kReadOrWrite = 3 };

struct Breakpoint {
  uint64_t bit = 0;  // Bn
  Condition condition = Condition::kInstruction;
  uint64_t address = 0, size = 1;  // aligned to its size

  bool overlaps(uint64_t first, uint64_t bytes) const {
    return first - address < size || address - first < bytes;
  }
};

// Calls `use` for each that is enabled.
template <class Use>
void for_each(const CpuState& state, const Use& use) {
  if (!has_breakpoints(state)) return;
  constexpr std::array<uint64_t, 4> kSizes = {1, 2, 8, 4};  // by DR7.LENn
  for (unsigned n = 0; n < state.dr.size(); ++n) {
    if ((state.dr7 >> (2 * n) & 3) == 0) continue;
    Breakpoint breakpoint;
    breakpoint.bit = 1ull << n;
    breakpoint.condition = static_cast<Condition>(state.dr7 >> (16 + 4 * n) & 3);
    breakpoint.size = kSizes[state.dr7 >> (18 + 4 * n) & 3];
    breakpoint.address = state.dr[n] & ~(breakpoint.size - 1);
    if (!state.long_mode_active()) breakpoint.address &= 0xffffffff;
    use(breakpoint);
  }
}

bool is_data(const Breakpoint& breakpoint) {
  return breakpoint.condition == Condition::kWrite ||
         breakpoint.condition == Condition::kReadOrWrite;
}

}  // namespace

uint64_t instruction_breakpoints(const CpuState& state, uint64_t linear) {
  uint64_t met = 0;
  for_each(state, [&](const Breakpoint& breakpoint) {
    if (breakpoint.condition == Condition::kInstruction && breakpoint.address == linear) {
      met |= breakpoint.bit;
    }
  });
  return met;
}

uint64_t data_breakpoints(const CpuState& state, const MemoryAccesses& accesses) {
  uint64_t met = 0;
  for_each(state, [&](const Breakpoint& breakpoint) {
    if (!is_data(breakpoint)) return;
    for (const MemoryAccess& access : accesses) {
      if (breakpoint.condition == Condition::kWrite && !access.written) continue;
      if (breakpoint.overlaps(linear_address_of(state, access), access.size)) {
        met |= breakpoint.bit;
      }
    }
  });
  return met;
}

uint64_t port_breakpoints(const CpuState& state, uint16_t port, unsigned size) {
  if (!(state.cr4 & vmx::cr4::kDe)) return 0;
  uint64_t met = 0;
  for_each(state, [&](const Breakpoint& breakpoint) {
    if (breakpoint.condition == Condition::kPort && breakpoint.overlaps(port, size)) {
      met |= breakpoint.bit;
    }
  });
  return met;
}

bool has_instruction_breakpoint(const CpuState& state, uint64_t linear, uint64_t size) {
  bool found = false;
  for_each(state, [&](const Breakpoint& breakpoint) {
    found |= breakpoint.condition == Condition::kInstruction && breakpoint.address - linear < size;
  });
  return found;
}

bool has_data_breakpoint(const CpuState& state, uint64_t linear) {
  bool found = false;
  for_each(state, [&](const Breakpoint& breakpoint) {
    found |= is_data(breakpoint) && breakpoint.address / kPageSize == linear / kPageSize;
  });
  return found;
}

uint64_t breakpoint_set(const CpuState& state) {
  if (!has_breakpoints(state)) return 0;
  constexpr uint64_t kMultiplier = 0x9e3779b97f4a7c15;
  uint64_t number = state.dr7 * kMultiplier;
  for (const uint64_t address : state.dr) number = (number ^ address) * kMultiplier;
  return number | 1;
}

}  // namespace nestor::emu
