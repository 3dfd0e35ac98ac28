// SPDX-License-Identifier: GPL-2.0-or-later
//
// The stack of last-branch records: SDM volume 3B, "Last Branch, Interrupt, and Exception
// Recording".
#pragma once

#include <array>
#include <cstdint>

#include "vmx/processor.h"

namespace nestor::emu {

class Core;
class HardwareCore;

// What the MSRs hold.
struct LastBranches {
  static constexpr unsigned kMostPairs = 32;

  struct Pair {
    uint64_t from = 0, to = 0;  // linear
    template <class Archive>
    void fields(Archive& archive) {
      archive(from, to);
    }
  };
  std::array<Pair, kMostPairs> stack{};
  std::array<uint64_t, kMostPairs> info{};
  uint64_t top = 0;       // MSR_LASTBRANCH_TOS: of the latest
  uint64_t select = 0;    // MSR_LBR_SELECT: what is not recorded
  Pair before_exception;  // the latest when an exception or interrupt arrived
  uint64_t recorded = 0;  // so far, by this processor

  // `pairs`: how many the model has, a power of two.
  void record(unsigned pairs, const Pair& branch) {
    top = (top + 1) % pairs;
    stack[top] = branch;
    info[top] = 0;
    ++recorded;
  }
  template <class Archive>
  void fields(Archive& archive) {
    archive(stack, info, top, select, before_exception, recorded);
    archive.require(top < kMostPairs);
  }
};

// Whether IA32_DEBUGCTL.LBR is 1. Branches are found an instruction at a time then.
inline bool records_branches(const vmx::CpuState& state) {
  return (state.debugctl & vmx::debugctl::kLbr) != 0;
}

// One instruction, about to be executed while branches are recorded.
class BranchRecording {
 public:
  BranchRecording(HardwareCore& core, const vmx::CpuState& state) : core_(core) {
    if (records_branches(state)) begin();
  }
  // It is over; records where it has branched to.
  void finish() {
    if (recording_) record();
  }

 private:
  void begin();
  void record();

  HardwareCore& core_;
  bool recording_ = false, non_root_ = false, always_ = false;
  uint64_t from_ = 0, next_ = 0, instructions_ = 0, recorded_ = 0;
  uint8_t kind_ = 0;  // the bit of MSR_LBR_SELECT that suppresses it
};

// An event was delivered to its handler; what the processor executed next was at `from`.
void record_event(HardwareCore& core, uint64_t from);

// As read_msr() and write_msr(), of the MSRs of the stack.
vmx::MsrStatus read_last_branch(Core& core, uint32_t index, uint64_t& value);
vmx::MsrStatus write_last_branch(Core& core, uint32_t index, uint64_t value);

}  // namespace nestor::emu
