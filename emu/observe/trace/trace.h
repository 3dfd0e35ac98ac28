// SPDX-License-Identifier: GPL-2.0-or-later
//
// The event stream, written as readable text or as JSON lines. Both formats show the same events
// with the same fields; docs/trace.md describes them.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "emu/events/events.h"
#include "emu/observe/trace/output_file.h"
#include "emu/observe/trace/record.h"

namespace nestor::emu {

enum class TraceFormat : uint8_t { kText, kJsonLines };

class Trace final : public MachineEventSink {
 public:
  // `output` outlives the trace.
  Trace(OutputFile& output, TraceFormat format) : output_(output), format_(format) {}

  // True once a write has failed: what follows is not written, and the run should stop with
  // kOutputError.
  bool failed() const { return output_.error().has_value(); }

  void attach(const Clock& clock, const uint64_t& instructions) override;
  void processor(unsigned number) override { processor_ = number; }
  bool wants_walks() const override { return true; }
  void vm_entry(const vmx::VmEntryEvent& event) override;
  void vm_exit(const vmx::VmExitEvent& event) override;
  void l0_exit(const vmx::VmExitEvent& event, int from) override;
  void check_failed(const vmx::CheckFailure& failure) override;
  void vm_instruction_error(const vmx::VmInstructionErrorEvent& event) override;
  void exception(const ExceptionEvent& event) override;
  void interrupt(const InterruptEvent& event) override;
  void walk(const WalkEvent& event) override;
  void stale_translation(const StaleTranslationEvent& event) override;
  void unclaimed_access(const UnclaimedAccess& access) override;
  void triple_fault(uint64_t rip, bool non_root) override;
  void vmx_abort(uint32_t indicator) override;
  void debug_exit(uint32_t value) override;
  void workload(uint8_t number) override;

 private:
  void write(Record record);

  OutputFile& output_;
  const TraceFormat format_;
  const Clock* clock_ = nullptr;
  uint64_t sequence_ = 0;
  std::optional<unsigned> processor_;  // none: the machine has one only
};

}  // namespace nestor::emu
