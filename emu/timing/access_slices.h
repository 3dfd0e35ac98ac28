// SPDX-License-Identifier: GPL-2.0-or-later
//
// Which memory a block of code will access, found out before it executes: of each address, the
// instructions that compute it from the registers at the start, and nothing else of the block.
// What they load is read from memory as it is at the start.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "emu/decode/instruction.h"
#include "emu/timing/addresses.h"
#include "emu/timing/instruction_price.h"

namespace nestor::emu::timing {

enum class AccessKind : uint8_t {
  kLoad,
  kStore,
  kUpdate,  // both
  kPrefetch,
  kNonTemporal,  // a store that caches shall not keep
  kFlush,        // CLFLUSH: no cache keeps the line
};

struct AccessSlices {
  static constexpr uint8_t kNoSegment = 0xff;
  static constexpr uint16_t kNoValue = 0xffff;

  // values[base] + values[index] * scale + offset, of which so many bits count. Values are the
  // general registers at the start, and then what the steps made.
  struct Sum {
    uint16_t base = kNoValue, index = kNoValue;
    uint8_t scale = 1;
    uint8_t bits = 64;
    uint8_t segment = kNoSegment;  // whose base is added to that
    bool wraps = false;            // an address that is then cut to 32 bits
    int64_t offset = 0;
    bool operator==(const Sum&) const = default;
  };
  enum class Computation : uint8_t {
    kAccess,  // makes no value
    kSum,
    kLoad,  // of `width` bits at the sum
    kSignExtendedLoad,
    // Of the sum and `operand`.
    kAnd,
    kOr,
    kXor,
    kSubtract,
    kShiftLeft,
    kShiftRight,
    kShiftRightSigned,  // `width` bits are shifted
    kMultiply,
    kSignExtend,  // `width` bits of the sum
  };
  // Makes the next value, or is the next access.
  struct Step {
    Computation computation = Computation::kSum;
    AccessKind kind = AccessKind::kLoad;
    uint8_t width = 64, bits = 64;  // `bits`: of the value that is made
    uint16_t operand = kNoValue;    // a value, or else
    int64_t constant = 0;
    Sum sum;
  };
  // By instruction: which accesses it makes. kNoValue: none, or nobody knows where.
  struct OfInstruction {
    uint16_t load = kNoValue, store = kNoValue;
  };

  std::vector<Step> steps;
  // Drops the steps that no access depends on.
  void keep_needed();

  uint16_t values = 0, accesses = 0;
  uint16_t stores = 0;   // of accesses
  uint32_t unknown = 0;  // accesses that are not followed
  std::vector<OfInstruction> of;
};

// Of the instructions of a block, whose code is `code`, at `linear`.
AccessSlices access_slices(std::span<const uint8_t> code, std::span<const uint8_t> lengths,
                           std::span<const InstructionPrice> prices, CodeMode mode,
                           uint64_t linear);

// What a processor has when it enters a block: the 16 general registers, and the bases of ES, CS,
// SS, DS, FS and GS, 0 where they do not count.
struct EntryState {
  const uint64_t* registers = nullptr;
  std::array<uint64_t, 6> bases{};
};

}  // namespace nestor::emu::timing
