// SPDX-License-Identifier: GPL-2.0-or-later
//
// The stack, as instructions that the model executes and the delivery of events use it.
#pragma once

#include <cstdint>
#include <optional>
#include <variant>

#include "emu/cpu/core.h"
#include "emu/cpu/memory_fault.h"
#include "emu/cpu/result.h"

namespace nestor::emu {

// The bits of RSP that are the stack pointer: 64, or as SS says ("Address-Size Attribute for Stack
// Accesses").
uint64_t stack_pointer_mask(const vmx::CpuState& state);
// Writes it. A stack pointer of 16 bits leaves the rest of RSP alone, one of 32 bits clears it.
void set_stack_pointer(vmx::CpuState& state, uint64_t value);

// `size` bytes, at most 8, at `offset` above the stack pointer, as the running code reads them.
// #SS(0): not all of them lie in the stack segment.
Result<uint64_t> read_stack(Core& core, uint64_t offset, unsigned size);

// Pushes values onto the stack of a state that is in preparation.
class PushedValues {
 public:
  // `next` has SS and RSP, and its RSP moves. Each value has `width` bytes. `error_code`: that of
  // #SS where a value does not fit into the segment.
  PushedValues(Core& core, vmx::CpuState& next, unsigned width, Privilege privilege,
               uint32_t error_code = 0)
      : core_(core), next_(next), width_(width), privilege_(privilege), error_code_(error_code) {}

  // Whether so many values fit into the segment. Once this or a push has failed, what follows does
  // nothing.
  void check_room(unsigned count);
  void push(uint64_t value);
  const std::optional<Fault>& fault() const { return fault_; }

 private:
  std::variant<uint64_t, vmx::Event> linear_below(uint64_t size) const;

  Core& core_;
  vmx::CpuState& next_;
  const unsigned width_;
  const Privilege privilege_;
  const uint32_t error_code_;
  std::optional<Fault> fault_;
};

}  // namespace nestor::emu
