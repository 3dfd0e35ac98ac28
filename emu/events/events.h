// SPDX-License-Identifier: GPL-2.0-or-later
//
// What the machine reports beside the events of VMX. Emitters hold a pointer that is null when
// nobody listens, so that an event that is off costs one test.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "emu/events/unclaimed_access.h"
#include "emu/time/clock.h"
#include "ept/access.h"
#include "ept/recorder.h"
#include "vmx/events.h"

namespace nestor::emu {

// An exception or software interrupt that is delivered through the IDT.
struct ExceptionEvent {
  uint8_t vector = 0;
  bool software = false;  // INT n, INT3, INTO, INT1
  std::optional<uint32_t> error_code;
  uint64_t rip = 0;  // of the instruction that raised it
  uint64_t cr2 = 0;  // #PF: the faulting linear address
  bool non_root = false;
};

// An external interrupt or NMI (vector 2) that is delivered through the IDT.
struct InterruptEvent {
  uint8_t vector = 0;
  bool nmi = false;
  uint64_t rip = 0;  // where the program was interrupted
  bool non_root = false;
};

// What a page walk came to.
enum class WalkOutcome : uint8_t {
  kTranslated,
  kPageFault,
  kEptViolation,
  kEptMisconfiguration,
  kSubPageEvent,
};

// One page walk through EPT, with or without guest page tables above it.
struct WalkEvent {
  uint64_t linear = 0;          // the linear address that was to be translated
  uint64_t guest_physical = 0;  // its guest-physical address, or the one that EPT refused
  uint64_t physical = 0;        // kTranslated: the result
  uint64_t eptp = 0;
  WalkOutcome outcome = WalkOutcome::kTranslated;
  std::span<const ept::Step> steps;  // in the order of the memory references; valid during the call
  // Which rule the last entry breaks, from a static table; empty when it breaks none.
  std::string_view rule = {};
};

// A cached translation was used that the tables in memory no longer hold: an invalidation is
// missing. Told once for each mapping.
struct StaleTranslationEvent {
  uint64_t linear = 0;
  ept::Access::Kind access = ept::Access::kRead;
  bool non_root = false;
  uint16_t vpid = 0, pcid = 0;
  std::optional<uint64_t> ept_root;  // bits 51:12 of the EPTP, where EPT is in use
  // As cached, and as a fresh walk has it. Guest-physical addresses only under EPT.
  uint64_t cached_guest_physical = 0, cached_physical = 0;
  WalkOutcome tables = WalkOutcome::kTranslated;
  uint64_t tables_guest_physical = 0;  // kTranslated, or the one that EPT refuses
  uint64_t tables_physical = 0;        // kTranslated only
  bool dirty_flag_cleared = false;     // a write found the dirty flag set in the cache alone
  std::string_view missing;            // the instructions that would have helped
};

// What a processor that keeps translations made of them.
struct TranslationCounts {
  uint64_t hits = 0, misses = 0;
  uint64_t stale = 0;  // hits of mappings that the tables no longer hold
};

class MachineEventSink : public vmx::EventSink {
 public:
  // Called once, before the first event. Both references stay valid until the last event;
  // `instructions` counts the instructions executed so far.
  virtual void attach(const Clock& /*clock*/, const uint64_t& /*instructions*/) {}

  // Of a machine with several processors: what follows happens on the one with this number. Never
  // called when there is one only.
  virtual void processor(unsigned /*number*/) {}

  // Whether walk() does anything: recording the steps of a walk costs time.
  virtual bool wants_walks() const { return false; }

  // A VM exit to L0, where there is one, from L1 (1) or L2 (2). The other events are L1's own.
  virtual void l0_exit(const vmx::VmExitEvent&, int /*from*/) {}

  virtual void exception(const ExceptionEvent&) {}
  virtual void interrupt(const InterruptEvent&) {}
  virtual void walk(const WalkEvent&) {}
  virtual void stale_translation(const StaleTranslationEvent&) {}
  // At the end of the run, from each processor that keeps translations.
  virtual void translations(const TranslationCounts&) {}
  virtual void unclaimed_access(const UnclaimedAccess&) {}
  virtual void triple_fault(uint64_t /*rip*/, bool /*non_root*/) {}
  virtual void vmx_abort(uint32_t /*indicator*/) {}
  // The guest wrote `value` to the debug-exit port.
  virtual void debug_exit(uint32_t /*value*/) {}
  // The guest's workload `number` begins; 0: the last one has ended.
  virtual void workload(uint8_t /*number*/) {}
};

// Hands every event to each of several sinks, in the order in which they were added.
class FanOut final : public MachineEventSink {
 public:
  void add(MachineEventSink& sink) { sinks_.push_back(&sink); }
  bool empty() const { return sinks_.empty(); }

  void attach(const Clock& clock, const uint64_t& instructions) override;
  void processor(unsigned number) override;
  bool wants_walks() const override;
  void vm_entry(const vmx::VmEntryEvent& event) override;
  void vm_exit(const vmx::VmExitEvent& event) override;
  void check_failed(const vmx::CheckFailure& failure) override;
  void vm_instruction_error(const vmx::VmInstructionErrorEvent& event) override;
  void l0_exit(const vmx::VmExitEvent& event, int from) override;
  void exception(const ExceptionEvent& event) override;
  void interrupt(const InterruptEvent& event) override;
  void walk(const WalkEvent& event) override;
  void stale_translation(const StaleTranslationEvent& event) override;
  void translations(const TranslationCounts& counts) override;
  void unclaimed_access(const UnclaimedAccess& access) override;
  void triple_fault(uint64_t rip, bool non_root) override;
  void vmx_abort(uint32_t indicator) override;
  void debug_exit(uint32_t value) override;
  void workload(uint8_t number) override;

 private:
  std::vector<MachineEventSink*> sinks_;
};

}  // namespace nestor::emu
