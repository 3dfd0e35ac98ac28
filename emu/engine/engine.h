// SPDX-License-Identifier: GPL-2.0-or-later
//
// The engine executes guest code, and stops precisely wherever the processor model must look.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <variant>
#include <vector>

#include "emu/engine/entry_condition.h"
#include "emu/engine/execution_context.h"
#include "emu/engine/extended_state.h"
#include "emu/engine/tlb_grant.h"
#include "emu/memory/code_cache.h"
#include "emu/memory/ram.h"
#include "emu/time/prices.h"
#include "vmx/cpu_state.h"

namespace nestor::emu {

struct Stop;
namespace timing {
struct PricedBlock;
}

// Of ES, CS, SS, DS, FS and GS.
using SegmentBases = std::array<uint64_t, 6>;

// Who runs the engine. Called while guest code runs; only what is said below may be called back.
class EngineClient {
 public:
  virtual ~EngineClient() = default;

  // The page-miss handler; `linear` is page aligned. false refuses: the engine stops with
  // StopKind::kRefusedFill at the instruction that made the access.
  virtual bool fill(uint64_t linear, FillAccess access, TlbGrant& grant) = 0;

  // Accesses outside RAM. May call Engine::request_stop().
  virtual uint64_t read_device(uint64_t physical, unsigned size) = 0;
  virtual void write_device(uint64_t physical, unsigned size, uint64_t value) = 0;

  // RunMode::deadline has passed. true: stop before the next block.
  virtual bool deadline_passed() = 0;

  // Instructions in the `size` bytes of code at `linear`, an instruction's first byte.
  virtual unsigned count_instructions(uint64_t linear, unsigned size) = 0;
  // Whether the instruction of `size` bytes at `linear` may be followed by itself: a branch, or a
  // repeated one.
  virtual bool may_follow_itself(uint64_t linear, unsigned size) = 0;
  // The offset in the same code before which its block must end; std::nullopt: behind it. Where the
  // offset is 0, the engine stops there: Stop::unsafe. `conditions`, empty before, gets what must
  // be so when the rest is entered; if it is not, the engine stops with StopKind::kCondition. The
  // answer depends on the code and on the mode that the engine runs in: that of the code segment,
  // CR0.PE, RFLAGS.VM, and the segments.
  virtual std::optional<unsigned> find_unsafe(uint64_t linear, unsigned size,
                                              EntryConditions& conditions) = 0;
  // Engine::run() is about to return, with the state that it was given up to date. true: the client
  // has done what there was to do, and run() begins again instead, with the state and the mode as
  // they are now: a stop and a start of the engine are saved. Where it can be, not at each stop.
  virtual bool goes_on(const Stop& stop) = 0;

  // With Prices::reports_blocks(), and not without. What the block is known by from now on, until
  // drop_prices(); `place`, if not null, is what this was for another block and may be used anew.
  virtual timing::PricedBlock* price_block(uint64_t linear, unsigned size,
                                           timing::PricedBlock* place) {
    (void)linear, (void)size;
    return place;
  }
  // With Prices::profiles_blocks(): it is entered, with these 16 general registers, and nothing was
  // charged for it yet.
  virtual void profile_block(const timing::PricedBlock& block, const uint64_t* registers) {
    (void)block, (void)registers;
  }
  // With Prices::prices_blocks(): the same, and its instructions were charged.
  virtual void enter_block(const timing::PricedBlock& block, const uint64_t* registers) {
    (void)block, (void)registers;
  }
  // With Prices::follows_accesses(), in the place of enter_block(): and with these bases of
  // segments, which count in 64-bit code for FS and GS alone.
  virtual void follow_block(const timing::PricedBlock& block, const uint64_t* registers,
                            const SegmentBases& bases) {
    (void)block, (void)registers, (void)bases;
  }
  // With Prices::observes_accesses(): the instruction at `linear`, with these registers, loads from
  // or stores to this place; pieces of one access come one by one.
  virtual void observe_access(uint64_t linear, uint64_t physical, bool writes,
                              const uint64_t* registers, const SegmentBases& bases) {
    (void)linear, (void)physical, (void)writes, (void)registers, (void)bases;
  }
  // Of the block that was entered last no more than so many instructions were executed.
  virtual void leave_block(unsigned instructions) { (void)instructions; }
  virtual void drop_prices() {}
};

enum class StopKind : uint8_t {
  kDeadline,     // EngineClient::deadline_passed, or request_stop()
  kInstruction,  // an instruction that the model emulates; state is that before it
  kCondition,    // a block follows whose conditions do not hold
  kException,    // an exception was recognised; state is that before its delivery
  kRefusedFill,  // the page-miss handler refused; state is that before the instruction
};

struct Stop {
  StopKind kind = StopKind::kDeadline;
  bool unsafe = false;      // kInstruction: EngineClient::find_unsafe has told so, or it is HLT
  uint8_t vector = 0;       // kException
  uint32_t error_code = 0;  // kException
  uint64_t linear = 0;      // kRefusedFill: the address itself, not only the page
  FillAccess access = FillAccess::kRead;
  // The block that was completed last, in this run: linear address and bytes of code; 0: none, or
  // the last one was not completed.
  uint64_t completed = 0;
  uint32_t completed_size = 0;
};

// The host's Unicorn cannot be used: one line that says why.
struct HostError {
  std::string message;
};

// How the engine runs until it stops.
struct RunMode {
  // In cycles. Before the first block that starts at or after this time,
  // EngineClient::deadline_passed is called.
  uint64_t deadline = ~0ull;
  // The same before the first block that starts when all processors have executed so many
  // instructions. With Prices::prices_blocks() alone, where cycles do not say how many they are.
  uint64_t instruction_deadline = ~0ull;
  // One instruction at a time, each ending in kException with vector 1 (#DB), RFLAGS.TF aside.
  bool single_step = false;
  bool intercept_popf = false;   // stop before POPF, too: kInstruction
  bool conditions_hold = false;  // somebody has looked: no kCondition
  // Answers of EngineClient::find_unsafe hold for the runs with the same number alone.
  uint64_t code_set = 0;
};

// One engine executes for all processors of a machine by turns: the code it has translated is known
// by physical address, so a store by one of them is seen by all.
class Engine : public CodeCache {
 public:
  virtual void set_client(EngineClient& client) = 0;

  // What follows happens in the address space that `context` has selected; it outlives the engine.
  // Drops what is cached of that if the context asks for it.
  virtual void enter(ExecutionContext& context) = 0;
  // Runs from `state` until something stops it; `state` is then the state at that place. IRET stops
  // it at all times. What runs
  // has the general and segment registers, RIP, RFLAGS, CR0, CR4, EFER, GDTR, IDTR,
  // IA32_KERNEL_GS_BASE and blocking by STI or MOV SS from there; x87 and SSE state stays inside.
  // Instructions are charged block by block, and exactly: on return what was completed counts.
  // `mode` is read again whenever EngineClient::goes_on returns true.
  virtual Stop run(vmx::CpuState& state, const RunMode& mode) = 0;
  // From a client call: stop before the next block.
  virtual void request_stop() = 0;

  // x87 and SSE state of the processor with this number, while no guest code runs.
  virtual void read_extended(unsigned processor, ExtendedState& state) = 0;
  virtual void write_extended(unsigned processor, const ExtendedState& state) = 0;
  // Of the context that was entered last, without the exceptions since it was written.
  virtual uint32_t mxcsr() const = 0;

  // From a client call: RFLAGS as it is now, but for the status flags and DF.
  virtual uint64_t live_rflags() const = 0;

  // Drops all cached translations now, of all address spaces.
  virtual void flush_tlb() = 0;
  // RAM that is movable is at `physical` from now on. What is cached of where it was stays.
  virtual void move_ram(uint64_t physical) = 0;

  // The context that was entered last; null: there was none.
  virtual const ExecutionContext* context() const = 0;
  // Memory and processors were changed behind its back, to those of a run in which `context` was
  // entered last: forgets all that it has translated and cached.
  virtual void resume(ExecutionContext* context) = 0;
};

// Makes an engine. `ram` must stay mapped as long as it lives; the ranges must not overlap, and one
// of them may be movable.
// `processors`: at least 1.
using EngineFactory = std::function<std::variant<std::unique_ptr<Engine>, HostError>(
    const std::vector<RamRange>& ram, Prices& prices, unsigned processors)>;

}  // namespace nestor::emu
