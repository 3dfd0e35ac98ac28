// SPDX-License-Identifier: GPL-2.0-or-later
//
// The processors' state in Unicorn, and the way of a state of ours into it and back. That of the
// selected processor is where Unicorn executes; the others wait, each in a saved context.
#pragma once

#include <unicorn/unicorn.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <optional>
#include <vector>

#include "emu/engine/engine.h"
#include "emu/engine/extended_state.h"
#include "emu/engine/unicorn/calibration.h"
#include "emu/engine/unicorn/layout.h"
#include "vmx/cpu_state.h"

namespace nestor::emu {

class ProcessorContexts {
 public:
  // Of `uc`, which outlives them. Takes over the context of `calibrated`, for the first processor.
  // Null: out of memory.
  static std::unique_ptr<ProcessorContexts> create(uc_engine* uc, const Calibrated& calibrated,
                                                   unsigned processors);
  ~ProcessorContexts();
  ProcessorContexts(const ProcessorContexts&) = delete;
  ProcessorContexts& operator=(const ProcessorContexts&) = delete;

  // The processor that what follows is about, but for its x87 and SSE state.
  void select(unsigned processor) {
    if (processor == selected_) return;
    uc_context_save(uc_, contexts_[selected_]);
    uc_context_restore(uc_, contexts_[processor]);
    selected_ = processor;
    held_segments_.valid = false;
  }

  // x87 and SSE state is left alone. `hidden_flags`: svm::hidden_flags() of `state`.
  void load(const vmx::CpuState& state, uint32_t hidden_flags, const RunMode& mode);
  // What became since the last load() of `state`, which is as it was then. `completed`: an
  // instruction was. `within`: Unicorn has not returned, and has status flags and DF elsewhere.
  void save(vmx::CpuState& state, bool completed, bool within);
  // After a load() within a run of Unicorn: puts status flags and DF there.
  void resume_flags();

  uint64_t rip() const { return get<uint64_t>(layout_.rip); }
  vmx::Segment segment(size_t index) const;
  uint16_t selector(size_t index) const {
    return static_cast<uint16_t>(get<uint32_t>(layout_.segments + index * Layout::kSegmentSize));
  }
  // What the conditions of blocks are about. x87 exceptions until now are then in FSW.
  EntryValues entry_values() {
    fold_x87_exceptions(live_state_, selected_);
    EntryValues values;
    std::memcpy(values.data(), live_state_ + layout_.gpr, 16 * sizeof values[0]);
    values[EntryCondition::kRflags] = get<uint64_t>(layout_.rflags);
    values[EntryCondition::kFcw] = get<uint16_t>(layout_.fcw);
    values[EntryCondition::kFop] = get<uint16_t>(layout_.fop);
    return values;
  }
  // The 16 general registers, which stay where they are.
  const uint64_t* general_registers() const {
    return reinterpret_cast<const uint64_t*>(live_state_ + layout_.gpr);
  }
  SegmentBases segment_bases() const {
    SegmentBases bases;
    for (size_t i = 0; i < bases.size(); ++i)
      bases[i] = get<uint64_t>(layout_.segments + i * Layout::kSegmentSize + Layout::kBaseAt);
    return bases;
  }
  uint32_t mxcsr() const { return get<uint32_t>(layout_.mxcsr); }
  // Where RIP is relative to.
  uint64_t code_base() const {
    return get<uint64_t>(layout_.segments + vmx::kCs * Layout::kSegmentSize + Layout::kBaseAt);
  }
  // The flags that are in their place while code runs, too.
  uint64_t steady_rflags() const { return get<uint64_t>(layout_.rflags) & ~kUnsteadyFlags; }
  uint32_t error_code() const { return get<uint32_t>(layout_.error_code); }

  void read_extended(unsigned processor, ExtendedState& state);
  void write_extended(unsigned processor, const ExtendedState& state);

 private:
  ProcessorContexts(uc_engine* uc, const Calibrated& calibrated)
      : uc_(uc),
        layout_(calibrated.layout),
        hidden_flags_rest_(calibrated.hidden_flags_rest),
        contexts_{calibrated.context},
        live_state_(calibrated.live_state) {}

  static constexpr uint64_t kUnsteadyFlags = vmx::rflags::kCf | vmx::rflags::kPf |
                                             vmx::rflags::kAf | vmx::rflags::kZf |
                                             vmx::rflags::kSf | vmx::rflags::kOf | vmx::rflags::kDf;

  // Of each processor, what the engine does not keep.
  struct X87Rest {
    uint8_t exceptions = 0;  // in FSW since they were folded in last
    uint64_t exception_fdp = 0;
  };

  template <class T>
  T get(size_t at) const {
    T value;
    std::memcpy(&value, live_state_ + at, sizeof value);
    return value;
  }
  template <class T>
  void put(size_t at, T value) {
    std::memcpy(live_state_ + at, &value, sizeof value);
  }
  void put_segment(size_t index, const vmx::Segment& segment);
  void load_segments(const vmx::CpuState& state);
  void save_segment(size_t index, vmx::Segment& segment) const;
  // The engine's arithmetic keeps the exceptions it has met to itself.
  void fold_x87_exceptions(uint8_t* state, unsigned processor);
  void put_arithmetic(uint8_t* state, uint32_t mxcsr) const;
  uint8_t* saved_state(unsigned processor) const {
    return reinterpret_cast<uint8_t*>(contexts_[processor]);
  }

  uc_engine* const uc_;
  const Layout layout_;
  const uint32_t hidden_flags_rest_;   // hidden flags that no state of ours decides
  std::vector<uc_context*> contexts_;  // of each processor; out of date for the selected one
  std::vector<X87Rest> x87_rest_;
  unsigned selected_ = 0;
  uint8_t* const live_state_;  // of the selected one

  // What load() was given, and how the engine holds the segments, to tell what the guest changed.
  uint64_t loaded_rip_ = 0, loaded_rf_ = 0;
  using EngineSegment = std::array<uint8_t, Layout::kSegmentSize>;
  std::array<EngineSegment, vmx::kSegmentCount> loaded_segments_{};
  // What the engine's segments were made of, as long as they are those.
  struct HeldSegments {
    std::array<vmx::Segment, vmx::kSegmentCount> segment;
    bool code_64bit = false, valid = false;
  };
  HeldSegments held_segments_;
};

}  // namespace nestor::emu
