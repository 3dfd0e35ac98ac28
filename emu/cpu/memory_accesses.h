// SPDX-License-Identifier: GPL-2.0-or-later
//
// Which memory the instruction at RIP accesses, of those that the engine executes: operands, string
// operands and the stack. The engine tells of pages only, and not whether a read will be followed
// by a write.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "emu/decode/instruction.h"
#include "vmx/cpu_state.h"

namespace nestor::emu {

struct MemoryAccess {
  vmx::SegmentRegister segment = vmx::kDs;
  uint64_t offset = 0;  // in the segment
  uint32_t size = 0;    // bytes
  uint8_t unit = 1;     // alignment checking (#AC) wants the address to be a multiple of this
  bool read = false, written = false;
  bool aligned = false;  // #GP(0) unless aligned to its size
};

// An access to the stack beside the operands, as far as the instruction alone says it.
struct StackAccess {
  vmx::Gpr pointer = vmx::kRsp;  // or RBP
  uint64_t distance = 0;         // from there
  uint32_t size = 0;             // bytes
  bool written = false;
};
// ENTER has two, and others one or none.
class StackAccesses {
 public:
  const StackAccess* begin() const { return accesses_.data(); }
  const StackAccess* end() const { return accesses_.data() + count_; }
  void add(const StackAccess& access) { accesses_[count_++] = access; }

 private:
  std::array<StackAccess, 2> accesses_;
  size_t count_ = 0;
};
StackAccesses stack_accesses(const Instruction& instruction);

// In the order in which they are made; empty for a repeated instruction with nothing left to do.
class MemoryAccesses {
 public:
  const MemoryAccess* begin() const { return accesses_.data(); }
  const MemoryAccess* end() const { return accesses_.data() + count_; }
  void add(const MemoryAccess& access) {
    if (access.read || access.written) accesses_[count_++] = access;
  }

 private:
  // Two operands, or one and the stack; ENTER reads one stack frame and writes another.
  std::array<MemoryAccess, Instruction::kMaxOperands + 2> accesses_;
  size_t count_ = 0;
};

MemoryAccesses memory_accesses(const vmx::CpuState& state, const Instruction& instruction);

// The linear address of an access, unchecked.
uint64_t linear_address_of(const vmx::CpuState& state, const MemoryAccess& access);
// Whether `linear` is one of its bytes.
bool is_part_of(const vmx::CpuState& state, const MemoryAccess& access, uint64_t linear);

}  // namespace nestor::emu
