// SPDX-License-Identifier: GPL-2.0-or-later
//
// What one instruction costs, as the bounds of emu/timing/ count it.
#pragma once

#include <array>
#include <cstdint>
#include <span>

#include "emu/decode/instruction.h"
#include "emu/timing/encoding.h"
#include "emu/timing/processor.h"
#include "emu/timing/table_types.h"

namespace nestor::emu::timing {

// What an instruction may wait for, a bit each: general registers, flags, the x87 stack as a whole,
// vector registers, MMX registers.
using Values = uint64_t;
inline constexpr unsigned kFirstGpr = 0, kCarry = 16, kOtherFlags = 17, kX87 = 18,
                          kFirstVector = 19, kFirstMmx = 35, kValues = 43;

// base + index * scale + offset.
struct Address {
  static constexpr uint8_t kNone = 0xff, kRip = 16;  // of the code's start
  uint8_t base = kNone, index = kNone, scale = 1;    // general registers, or kRip
  int64_t offset = 0;
  bool operator==(const Address&) const = default;
};

// What becomes of a general register whose next value is a sum.
struct RegisterSum {
  uint8_t reg = Address::kNone;  // kNone: of none
  Address sum;
};

struct InstructionPrice {
  uint8_t length = 0;         // bytes
  uint8_t opcode_offset = 0;  // of the last byte of its opcode
  bool length_changing_prefix = false;

  uint8_t decoded_uops = 0;  // fused, as the decoders and the decoded ICache have them
  uint8_t issued_uops = 0;   // fused, as they are issued: some are taken apart before
  uint8_t uops = 0;          // as they are executed
  bool complex_decoder = false;
  bool branches = false;
  bool may_fuse = false;             // with a conditional jump: not for the last decoder
  bool fuses_with_next = false;      // macro-fusion: the pair is the price of this one,
  bool fused_into_previous = false;  // and that one costs nothing
  bool eliminated = false;           // a move, or a zeroing idiom, that is not executed
  bool breaks_dependency = false;    // does not wait for the registers that it names
  bool default_priced = false;       // the table has no row for it

  uint8_t use_count = 0;
  std::array<PortUse, TablePrice::kMaxUses + 2> use{};

  // Cycles to what it writes: from addresses, from other registers and flags, and from a store to
  // the place that it loads from.
  uint16_t latency = 0, operand_latency = 0, memory_latency = 0;
  Values address_read = 0, operand_read = 0, written = 0;
  bool loads = false, stores = false;
  bool has_address = false;  // false: of a load or store: nobody knows where
  Address address;           // before it; with kRip, from its own end
  uint32_t identity = 0;     // the same for the same bytes
  RegisterSum sum;           // after it; other registers that it writes hold anything

  std::span<const PortUse> uses() const { return {use.data(), use_count}; }
};

// Of an instruction without a row in the table: one micro-operation of any execution port, which
// waits for nothing, and this many cycles: LLVM's price of simple integer instructions.
inline constexpr uint16_t kDefaultLatency = 1;
// Beyond it a latency or a number of micro-operations is cut, so that no price is unbounded.
inline constexpr uint16_t kMaxLatency = 1000;

// `bytes`: one valid instruction, whole.
InstructionPrice price_instruction(std::span<const uint8_t> bytes, CodeMode mode,
                                   const Processor& processor);

// Whether `first` and `second`, which follow each other, are fused into one micro-operation.
bool macro_fuses(std::span<const uint8_t> first, std::span<const uint8_t> second, CodeMode mode);

}  // namespace nestor::emu::timing
