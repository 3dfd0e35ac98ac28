// SPDX-License-Identifier: GPL-2.0-or-later
//
// The engine executes guest code, and stops precisely wherever the processor model must look.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <variant>
#include <vector>

#include "emu/engine/extended_state.h"
#include "emu/memory/code_cache.h"
#include "emu/memory/ram.h"
#include "emu/time/clock.h"
#include "vmx/cpu_state.h"

namespace nestor::emu {

enum class FillAccess : uint8_t { kRead, kWrite, kFetch };

// What a page-miss handler grants: one 4-KByte page.
struct TlbGrant {
  uint64_t physical = 0;  // page aligned
  bool device = false;    // not RAM: accesses reach EngineClient::read_device, fetches read ones
  bool read = false, write = false, execute = false;
};

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

  // The deadline set by Engine::set_deadline has passed. true: stop before the next block.
  virtual bool deadline_passed() = 0;

  // Instructions in the `size` bytes of code at `linear`, an instruction's first byte.
  virtual unsigned count_instructions(uint64_t linear, unsigned size) = 0;
  // The offset of the first instruction in the same code that the engine must not begin unless
  // Engine::allow_unsafe says so; it stops there. std::nullopt: there is none. The engine writes
  // zeros to the destination of INS before anything stops it.
  virtual std::optional<unsigned> find_unsafe(uint64_t linear, unsigned size) = 0;
};

enum class StopKind : uint8_t {
  kDeadline,     // EngineClient::deadline_passed, or request_stop()
  kInstruction,  // an instruction that the model emulates; state is that before it
  kException,    // an exception was recognised; state is that before its delivery
  kRefusedFill,  // the page-miss handler refused; state is that before the instruction
  kIret,         // IRET is about to execute (only when intercepted)
  kPopf,         // POPF is about to execute (only when intercepted)
  kUnsafeAhead,  // a block follows that must be executed one instruction at a time: find_unsafe
};

struct Stop {
  StopKind kind = StopKind::kDeadline;
  uint8_t vector = 0;       // kException
  uint32_t error_code = 0;  // kException
  uint64_t linear = 0;      // kRefusedFill: the address itself, not only the page
  FillAccess access = FillAccess::kRead;
};

// The host's Unicorn cannot be used: one line that says why.
struct HostError {
  std::string message;
};

class Engine : public CodeCache {
 public:
  virtual void set_client(EngineClient& client) = 0;

  // One engine executes for all processors of a machine by turns: the code it has translated is
  // known by physical address, so a store by one of them is seen by all. load() to save() are about
  // the selected processor, number 0 at first. Cached translations stay: flush_tlb() must follow.
  virtual void select_processor(unsigned number) = 0;

  // Exchanges the architectural state with the engine: general and segment registers, RIP, RFLAGS,
  // CR0, CR4, EFER, GDTR, IDTR, IA32_KERNEL_GS_BASE and blocking by STI or MOV SS. x87 and SSE
  // state stays inside.
  virtual void load(const vmx::CpuState& state) = 0;
  virtual void save(vmx::CpuState& state) = 0;
  // x87 and SSE state, while no guest code runs.
  virtual void read_extended(ExtendedState& state) const = 0;
  virtual void write_extended(const ExtendedState& state) = 0;
  // From a client call: RIP, CS, SS and RFLAGS as they are now.
  virtual void peek(vmx::CpuState& state) = 0;

  // Runs from the loaded state until something stops it. Cycles and instructions are charged block
  // by block, and exactly: on return both count what was completed.
  virtual Stop run() = 0;

  // Before the first block that starts at or after this time, EngineClient::deadline_passed is
  // called.
  virtual void set_deadline(uint64_t cycles) = 0;
  // From a client call: stop before the next block.
  virtual void request_stop() = 0;

  // Completed instructions so far; the reference stays valid.
  virtual const uint64_t& instructions() const = 0;
  // One instruction emulated by the model.
  virtual void count_emulated() = 0;

  // The code at a linear address means something else in another context (address space); the value
  // only tells them apart.
  virtual void set_context(uint64_t context) = 0;

  // Drops all cached translations.
  virtual void flush_tlb() = 0;
  // Runs one instruction at a time, each ending in kException with vector 1 (#DB), RFLAGS.TF aside.
  virtual void set_single_step(bool on) = 0;
  // Whether it executes what EngineClient::find_unsafe tells of.
  virtual void allow_unsafe(bool on) = 0;
  // Stops before IRET with StopKind::kIret.
  virtual void set_intercept_iret(bool on) = 0;
  // Stops before POPF with StopKind::kPopf.
  virtual void set_intercept_popf(bool on) = 0;

  // Live registers while a client call is under way.
  virtual uint16_t live_cs() const = 0;
  virtual uint64_t live_rflags() const = 0;
};

// Makes an engine. `ram` must stay mapped as long as it lives; the ranges must not overlap.
// `processors`: at least 1.
using EngineFactory = std::function<std::variant<std::unique_ptr<Engine>, HostError>(
    const std::vector<RamRange>& ram, Clock& clock, const CostModel& cost, unsigned processors)>;

}  // namespace nestor::emu
