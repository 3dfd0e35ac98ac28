// SPDX-License-Identifier: GPL-2.0-or-later
//
// What happens in a run, as one closed set of event types. Emitters hold a pointer to a sink that
// is null when nobody listens, so that an event that is off costs one test.
//
// A new kind of event is its struct and its place in MachineEvent here, and its row in kinds.cc:
// name and fields for the text, for JSON, for filters and for docs/trace.md. It is emitted with
// sink->on(event).
#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "emu/events/unclaimed_access.h"
#include "emu/time/clock.h"
#include "ept/access.h"
#include "ept/paging_mode.h"
#include "ept/recorder.h"
#include "vmx/cpu_state.h"
#include "vmx/events.h"
#include "vmx/fields.h"

namespace nestor::emu {

// A VM exit to L0, where there is one. The other events are L1's own.
struct L0ExitEvent {
  vmx::VmExitEvent exit;
  int from = 1;  // L1 or L2
};

// An exception or software interrupt that is delivered through the IDT.
struct ExceptionEvent {
  uint8_t vector = 0;
  bool software = false;  // INT n, INT3, INTO, INT1
  std::optional<uint32_t> error_code;
  uint64_t rip = 0;  // of the instruction that raised it
  uint64_t cr2 = 0;  // #PF: the faulting linear address
  bool non_root = false;
  std::string_view why = {};  // Event::why; may be empty
  // #DF, or what takes the place of an event whose delivery failed: what that met.
  std::optional<vmx::Event> met = {};
  std::optional<vmx::RefusedMsr> msr = {};  // Event::msr
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

// One page walk.
struct WalkEvent {
  WalkOutcome outcome = WalkOutcome::kTranslated;
  std::optional<uint64_t> eptp = {};    // std::nullopt: EPT is not in use
  std::optional<uint64_t> linear = {};  // to be translated; std::nullopt: PDPTEs are loaded
  uint64_t guest_physical = 0;  // under EPT: its translation, or the address that EPT refused
  uint64_t physical = 0;        // kTranslated: the result
  ept::PagingMode paging = ept::PagingMode::kNone;
  ept::Access access{};
  uint8_t cpl = 0;
  // Which rule the last entry breaks, from a static table; empty when it breaks none.
  std::string_view rule = {};
  std::string_view why = {};  // what refused the access, where no rule is broken
  std::span<const ept::Step>
      steps{};  // in the order of the memory references; valid during the call
};

// A cached translation was used that the tables in memory no longer hold: an invalidation is
// missing. Emitted once for each mapping.
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

// Zeros are executed up to the end of a page that holds nothing else, for the first time at that
// level on its processor: nobody has loaded that code.
struct ZeroCodeEvent {
  uint64_t linear = 0;  // of the page
  bool non_root = false;
};

// What a processor uses without an operand that names it.
enum class ImplicitMemory : uint8_t { kStack, kInterruptTable };

// The stack, or the table of interrupt vectors, is used where there is no RAM, for the first time
// on its processor.
struct OutsideRamEvent {
  ImplicitMemory what = ImplicitMemory::kStack;
  uint64_t linear = 0;
  uint64_t rip = 0;  // where the processor was when that was noticed
  bool real_mode = false;
  bool non_root = false;
};

struct TripleFaultEvent {
  uint64_t rip = 0;
  bool non_root = false;
  std::optional<vmx::Event> met = {};  // what the delivery of #DF met
  uint64_t cr3 = 0, idtr_base = 0, gdtr_base = 0;
  // Of the last page fault among what led here: what refused the access; may be empty.
  std::string_view page_fault = {};
};

struct VmxAbortEvent {
  uint32_t indicator = 0;
};

// The guest wrote `value` to the debug-exit port.
struct DebugExitEvent {
  uint32_t value = 0;
};

// The end of a run; one for each processor.
struct RunEndEvent {
  std::string_view by;  // from a static table
  bool non_root = false;
  uint64_t rip = 0;
};

// The guest's workload `number` begins; 0: the last one has ended.
struct WorkloadEvent {
  uint8_t number = 0;
};

// One field of a VMCS that no longer holds what it held.
struct VmcsFieldChange {
  vmx::Field field{};
  uint64_t before = 0, after = 0;
};

// What a VM exit has changed in the current VMCS, or L1 since the last VM exit or VM entry with it.
// Not of a machine: see VmcsChanges in emu/observe/trace/.
struct VmcsChangeEvent {
  uint64_t vmcs = 0;  // physical address
  bool by_vm_exit = false;
  std::span<const VmcsFieldChange> changes{};
};

// What spans and pointers in an event refer to is valid during the call of the sink.
using MachineEvent =
    std::variant<vmx::VmEntryEvent, vmx::VmExitEvent, vmx::CheckFailure,
                 vmx::VmInstructionErrorEvent, vmx::PageModificationEvent, L0ExitEvent,
                 ExceptionEvent, InterruptEvent, WalkEvent, StaleTranslationEvent, UnclaimedAccess,
                 ZeroCodeEvent, OutsideRamEvent, TripleFaultEvent, VmxAbortEvent, DebugExitEvent,
                 RunEndEvent, WorkloadEvent, VmcsChangeEvent>;

// What a processor that keeps translations made of them.
struct TranslationCounts {
  uint64_t hits = 0, misses = 0;
  uint64_t stale = 0;  // hits of mappings that the tables no longer hold

  template <class Archive>
  void fields(Archive& archive) {
    archive(hits, misses, stale);
  }
};

class MachineEventSink : public vmx::EventSink {
 public:
  // Called once, before the first event. Both references stay valid until the last event;
  // `instructions` counts the instructions executed so far.
  virtual void attach(const Clock& /*clock*/, const uint64_t& /*instructions*/) {}

  // Called behind attach() where a saved run goes on. `exits`: the VM exits that there were;
  // `in_l2`: by processor.
  virtual void resumed(uint64_t /*exits*/, const std::vector<bool>& /*in_l2*/) {}

  // Of a machine with several processors: what follows happens on the one with this number. Never
  // called when there is one only.
  virtual void processor(unsigned /*number*/) {}

  // Of the same: until the next call of processor() time passes for all of them, which wait.
  virtual void all_wait() {}

  // Whether a WalkEvent of a walk through EPT would be used now, and whether those of all others
  // would, too: recording the steps of a walk costs time.
  virtual bool wants_walks() const { return false; }
  virtual bool wants_all_walks() const { return false; }

  virtual void on(const MachineEvent&) {}

  // No event: called at the end of the run for each processor that keeps translations.
  virtual void translations(const TranslationCounts&) {}

  // --- on(), under the names that the emitters use
  void vm_entry(const vmx::VmEntryEvent& event) final { on(event); }
  void vm_exit(const vmx::VmExitEvent& event) final { on(event); }
  void check_failed(const vmx::CheckFailure& failure) final { on(failure); }
  void vm_instruction_error(const vmx::VmInstructionErrorEvent& event) final { on(event); }
  void page_modification(const vmx::PageModificationEvent& event) final { on(event); }
  void l0_exit(const vmx::VmExitEvent& event, int from) { on(L0ExitEvent{event, from}); }
  void exception(const ExceptionEvent& event) { on(event); }
  void interrupt(const InterruptEvent& event) { on(event); }
  void walk(const WalkEvent& event) { on(event); }
  void stale_translation(const StaleTranslationEvent& event) { on(event); }
  void unclaimed_access(const UnclaimedAccess& access) { on(access); }
  void zero_code(const ZeroCodeEvent& event) { on(event); }
  void outside_ram(const OutsideRamEvent& event) { on(event); }
  void triple_fault(const TripleFaultEvent& event) { on(event); }
  void vmx_abort(uint32_t indicator) { on(VmxAbortEvent{indicator}); }
  void debug_exit(uint32_t value) { on(DebugExitEvent{value}); }
  void run_end(const RunEndEvent& event) { on(event); }
  void workload(uint8_t number) { on(WorkloadEvent{number}); }
};

// A sink of some kinds of events: `Sink` has a public function handle(const E&) for each kind E.
template <class Sink>
class EventHandler : public MachineEventSink {
 public:
  void on(const MachineEvent& event) final {
    std::visit(
        [this](const auto& one) {
          if constexpr (requires(Sink & sink) { sink.handle(one); }) {
            static_cast<Sink&>(*this).handle(one);
          }
        },
        event);
  }
};

// Hands every event to each of several sinks, in the order in which they were added.
class FanOut final : public MachineEventSink {
 public:
  void add(MachineEventSink& sink) { sinks_.push_back(&sink); }
  bool empty() const { return sinks_.empty(); }

  void attach(const Clock& clock, const uint64_t& instructions) override {
    for (MachineEventSink* sink : sinks_) sink->attach(clock, instructions);
  }
  void resumed(uint64_t exits, const std::vector<bool>& in_l2) override {
    for (MachineEventSink* sink : sinks_) sink->resumed(exits, in_l2);
  }
  void processor(unsigned number) override {
    for (MachineEventSink* sink : sinks_) sink->processor(number);
  }
  void all_wait() override {
    for (MachineEventSink* sink : sinks_) sink->all_wait();
  }
  bool wants_walks() const override {
    return std::ranges::any_of(sinks_, &MachineEventSink::wants_walks);
  }
  bool wants_all_walks() const override {
    return std::ranges::any_of(sinks_, &MachineEventSink::wants_all_walks);
  }
  void on(const MachineEvent& event) override {
    for (MachineEventSink* sink : sinks_) sink->on(event);
  }
  void translations(const TranslationCounts& counts) override {
    for (MachineEventSink* sink : sinks_) sink->translations(counts);
  }

 private:
  std::vector<MachineEventSink*> sinks_;
};

}  // namespace nestor::emu
