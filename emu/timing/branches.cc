// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/timing/branches.h"

#include "emu/timing/encoding.h"

namespace nestor::emu::timing {

BranchKind branch_kind_of(std::span<const uint8_t> last, CodeMode mode) {
  const Encoding encoding = parse_encoding(last, mode);
  const EncodingKey& key = encoding.key;
  if (!encoding.known || key.space > 1) return BranchKind::kNone;
  const uint8_t opcode = key.opcode;
  if (key.space == 1) {
    return (opcode & 0xf0) == 0x80 ? BranchKind::kConditional : BranchKind::kNone;  // Jcc rel32
  }
  if ((opcode & 0xf0) == 0x70) return BranchKind::kConditional;           // Jcc rel8
  if (opcode >= 0xe0 && opcode <= 0xe3) return BranchKind::kConditional;  // LOOPcc, JrCXZ
  if (opcode == 0xe9 || opcode == 0xeb) return BranchKind::kJump;         // JMP rel
  if (opcode == 0xe8) return BranchKind::kCall;                           // CALL rel32
  if (opcode == 0xc2 || opcode == 0xc3) return BranchKind::kReturn;       // RET
  if (opcode == 0xff && key.reg == 2) return BranchKind::kIndirectCall;   // CALL r/m
  if (opcode == 0xff && key.reg == 4) return BranchKind::kIndirect;       // JMP r/m
  return BranchKind::kNone;
}

bool BranchPredictor::foresees_direction(uint64_t end, bool taken) {
  uint8_t& counter = taken_[(end ^ end >> 14 ^ history_) % kCounters];
  const bool foreseen = (counter >= 2) == taken;
  if (taken && counter != kMostTaken) ++counter;
  if (!taken && counter != 0) --counter;
  history_ = (history_ << 1 | (taken ? 1u : 0u)) % kCounters;
  return foreseen;
}

bool BranchPredictor::foresees_target(uint64_t end, uint64_t target) {
  uint64_t& last = targets_[(end ^ end >> 10 ^ history_) % kTargets];
  const bool foreseen = last == target;
  last = target;
  return foreseen;
}

bool BranchPredictor::foresees(BranchKind kind, uint64_t end, uint64_t target) {
  const auto push = [&] {
    top_ = static_cast<uint8_t>((top_ + 1) % kReturns);
    returns_[top_] = end;
  };
  switch (kind) {
    case BranchKind::kNone:
    case BranchKind::kJump:
      return true;
    case BranchKind::kConditional:
      return foresees_direction(end, target != end);
    case BranchKind::kIndirect:
      return foresees_target(end, target);
    case BranchKind::kCall:
      push();
      return true;
    case BranchKind::kIndirectCall:
      push();
      return foresees_target(end, target);
    case BranchKind::kReturn: {
      const uint64_t foreseen = returns_[top_];
      top_ = static_cast<uint8_t>((top_ + kReturns - 1) % kReturns);
      return foreseen == target;
    }
  }
  return true;
}

}  // namespace nestor::emu::timing
