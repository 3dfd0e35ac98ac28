// SPDX-License-Identifier: GPL-2.0-or-later
//
// Runs the engine for a processor, from one instruction boundary to another, and does itself what
// the engine stops for.
#pragma once

#include <cstdint>
#include <optional>

#include "emu/cpu/access_view.h"
#include "emu/cpu/event_delivery.h"
#include "emu/cpu/floating_point.h"
#include "emu/cpu/hardware_core.h"
#include "emu/cpu/last_branches.h"
#include "emu/cpu/memory_accesses.h"
#include "emu/cpu/tlb_filler.h"
#include "emu/engine/engine.h"

namespace nestor::emu {

// What comes between two runs of the engine.
class BetweenRuns {
 public:
  virtual ~BetweenRuns() = default;
  // The engine has run, or something came up instead. Does what is due then; whether code is to be
  // executed next.
  virtual bool comes_to_code() = 0;
};

class EngineDriver final : private EngineClient {
 public:
  // All references outlive this object.
  EngineDriver(HardwareCore& core, EventDelivery& delivery, BetweenRuns& between);

  // Runs the engine until no code is to be executed next; each run until `turn_end`, in cycles, or
  // until something comes up.
  void run(uint64_t turn_end);
  // The engine has begun an instruction, or a block of them, that it must not leave unfinished:
  // run() must follow, and nothing is taken before.
  bool is_in_the_middle() const;
  // A PAUSE gave the rest of the turn away since the last call.
  bool take_pause();

  // What lasts from one run of the engine to the next.
  void serialize(Archive& archive);

 private:
  // --- EngineClient
  bool fill(uint64_t linear, FillAccess access, TlbGrant& grant) override {
    return filler_.fill(linear, access, grant);
  }
  uint64_t read_device(uint64_t physical, unsigned size) override;
  void write_device(uint64_t physical, unsigned size, uint64_t value) override;
  bool deadline_passed() override;
  unsigned count_instructions(uint64_t linear, unsigned size) override;
  bool may_follow_itself(uint64_t linear, unsigned size) override;
  std::optional<unsigned> find_unsafe(uint64_t linear, unsigned size,
                                      EntryConditions& conditions) override;
  bool goes_on(const Stop& stop) override;
  timing::PricedBlock* price_block(uint64_t linear, unsigned size,
                                   timing::PricedBlock* place) override;
  void enter_block(const timing::PricedBlock& block, const uint64_t* registers) override;
  void follow_block(const timing::PricedBlock& block, const uint64_t* registers,
                    const SegmentBases& bases) override;
  void profile_block(const timing::PricedBlock& block, const uint64_t* registers) override;
  void observe_access(uint64_t linear, uint64_t physical, bool writes, const uint64_t* registers,
                      const SegmentBases& bases) override;
  void leave_block(unsigned instructions) override;
  void drop_prices() override;
  // Of all instructions in the code.
  std::vector<uint8_t> instruction_lengths(std::span<const uint8_t> code);
  // Prices and executes it, where blocks are priced, though the engine does not enter it.
  void charge_code(uint64_t linear, std::span<const uint8_t> code);
  void refund_code(int64_t cycles);
  // The same for a profile, where there is one.
  void profile_code(uint64_t linear, std::span<const uint8_t> code);
  std::optional<unsigned> find_breakpoint(std::span<const uint8_t> code, uint64_t linear);
  void note_device_access(uint64_t physical, unsigned size, bool read);
  void look_for_stack_outside_ram();
  void look_for_zero_code(uint64_t linear, std::span<const uint8_t> code);
  // The bytes of code that could be read, into `buffer`.
  std::span<uint8_t> code_at(uint64_t linear, std::span<uint8_t> buffer);

  // --- before a run
  bool is_within_instruction() const { return filler_.grants_instruction(); }
  // The run is to stop before the instruction at RIP, where it did not stop last.
  bool at_breakpoint() const;
  // The same, and it does.
  bool stops_here();
  // A block in which the run may have to stop is executed one instruction at a time, and nothing
  // else may come of that: no event is taken where none would be taken otherwise.
  struct WatchedBlock {
    uint64_t linear = 0;
    uint32_t size = 0;
    // As everywhere else the whole block is charged before its first instruction; these have been
    // and are yet to be executed.
    uint64_t prepaid = 0;
    uint64_t entered_after = 0;  // instructions of this processor
    bool holds(uint64_t address) const { return address - linear < size; }
    void fields(Archive& archive) { archive(linear, size, prepaid, entered_after); }
  };
  bool is_watched(const WatchedBlock& block) const;
  bool enter_watched_block();
  void leave_watched_block();
  // The instruction at RIP writes to the block that is stepped through. The engine leaves a block
  // there, executes that instruction alone and begins another block.
  bool writes_to_watched_block();
  uint64_t deadline();
  bool is_past_deadline() const;
  // An instruction breakpoint raises #DB here; or what it takes to execute beyond one is set.
  bool breaks_here();
  // Instruction breakpoints that raise #DB at RIP: bits as in DR6.
  uint64_t due_breakpoints() const;
  // false: something came up instead.
  bool begin();
  bool prepare();
  // begin() after an instruction that has changed nothing of what the run before depended on, if
  // nothing that is due can have come up. false: nothing was done.
  bool begin_as_before();
  void note_beginning();
  // Of the instruction at RIP, which is about to be executed alone.
  std::optional<FloatingPointStep> begin_arithmetic();
  struct TracedBranch {
    bool always, conditional;
    uint8_t length;
  };
  // Of the instruction at RIP; std::nullopt: there is none.
  std::optional<TracedBranch> branch_at_rip();
  // The instruction at RIP accesses memory that is not aligned, and no page fault comes before.
  bool misaligned();

  // --- after a run
  void finish(const Stop& stop);
  void conclude(const Stop& stop);
  // The last part of finish(), which is due if prepare() has failed, too.
  void close();
  // It has met a fault; the state is that before it.
  std::optional<vmx::Event> finish_arithmetic(const Stop& stop);
  void handle(const Stop& stop);
  // The instruction at RIP is none that the engine must not execute.
  bool is_written_over();
  // Between two iterations of a repeated string instruction RF is 1.
  void mark_iteration(const Stop& stop, uint64_t from);
  // What was at `linear`, with `count` in RCX, is over. A repeated string instruction that is not
  // stepped through begins once more to find that nothing is left, but not if it is a comparison
  // that ends it: that is counted here, too.
  void count_last_iteration(uint64_t linear, uint64_t count);
  void undo_last_instruction();
  // The last instruction of the block that was completed, a near branch, has led where no code can
  // be: it has not been executed. false: it is no near branch.
  bool undo_branch(const Stop& stop);
  void handle_condition();
  void handle_exception(const Stop& stop);
  // Whether the instruction is begun again; it has caused an event or a VM exit otherwise.
  bool handle_refused_fill(const Stop& stop);
  // The same. `accesses`: those of the instruction at RIP; none: it could not be fetched.
  bool access_apic_page(uint64_t linear, FillAccess kind, const MemoryAccesses& accesses);
  // `engine_fault`: what the engine made of the instruction at RIP, if it did not just stop there.
  void emulate_instruction(const std::optional<vmx::Event>& engine_fault);
  void count_emulated();
  // A monitor-trap-flag VM exit is due at the end of each instruction.
  bool traps_each_instruction() const;
  bool selectors_name_descriptors() const;

  HardwareCore& core_;
  Engine& engine_;
  EventDelivery& delivery_;
  BetweenRuns& between_;
  TlbFiller filler_;
  AccessView view_;
  RunMode mode_;
  uint64_t turn_end_ = 0;
  bool finished_ = false;          // the run of the engine, before the engine has returned
  uint64_t deadline_ = 0;          // in cycles; before it nothing is due
  bool watch_interrupts_ = false;  // an interrupt or interrupt-window exit waits for RFLAGS.IF
  bool simd_exceptions_ = false;   // MXCSR leaves some unmasked
  bool trap_due_ = false;          // RFLAGS.TF was 1 when the engine was started
  // Step up to a page that cannot be fetched, or over what the decoder does not know.
  bool approaching_ = false;
  bool paused_ = false;

  std::optional<WatchedBlock> watched_ahead_;  // the engine was not allowed to begin it
  std::optional<WatchedBlock> stepping_through_;
  // Where the run stopped last: RIP, as a linear address, and the instructions completed then.
  struct Place {
    uint64_t linear = ~0ull, instructions = ~0ull;
    bool operator==(const Place&) const = default;
    void fields(Archive& archive) { archive(linear, instructions); }
  };
  // Nothing but the deadline can make the run end between two instructions.
  bool undisturbed_ = false;
  // The instruction that was emulated last is complete, and is_quiet().
  bool quiet_ = false;
  // The run of the engine, as it began.
  struct Begun {
    explicit Begun(HardwareCore& core) : branch(core, core.state()) {}
    Place at;
    uint64_t rip = 0, count = 0;  // RCX
    uint64_t resume_flag = 0;
    uint8_t cpl = 0;
    BranchRecording branch;
    std::optional<TracedBranch> traced;
    std::optional<FloatingPointStep> arithmetic;
    std::optional<uint64_t> watched;  // the watchpoint that the first instruction meets
  };
  std::optional<Begun> begun_;
  uint64_t data_breaks_ = 0;  // that the next instruction meets: bits as in DR6
  Place stopped_at_;
  std::array<std::optional<uint64_t>, 2> zero_code_;  // the first page of zeros, of L1 and L2
  struct DeviceAccess {
    uint64_t physical = 0;
    unsigned size = 0;
    bool read = false;
  };
  std::optional<DeviceAccess> device_access_;  // the last one of this run of the engine
  Place judged_;        // the instruction there breaks no rule of entry_conditions.h
  Place iterating_at_;  // between two iterations of the instruction there, for which RF was set
};

}  // namespace nestor::emu
