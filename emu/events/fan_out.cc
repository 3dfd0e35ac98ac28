// SPDX-License-Identifier: GPL-2.0-or-later
#include <algorithm>

#include "emu/events/events.h"

namespace nestor::emu {

void FanOut::attach(const Clock& clock, const uint64_t& instructions) {
  for (MachineEventSink* sink : sinks_) sink->attach(clock, instructions);
}

void FanOut::processor(unsigned number) {
  for (MachineEventSink* sink : sinks_) sink->processor(number);
}

bool FanOut::wants_walks() const {
  return std::ranges::any_of(sinks_, &MachineEventSink::wants_walks);
}

void FanOut::vm_entry(const vmx::VmEntryEvent& event) {
  for (MachineEventSink* sink : sinks_) sink->vm_entry(event);
}

void FanOut::vm_exit(const vmx::VmExitEvent& event) {
  for (MachineEventSink* sink : sinks_) sink->vm_exit(event);
}

void FanOut::check_failed(const vmx::CheckFailure& failure) {
  for (MachineEventSink* sink : sinks_) sink->check_failed(failure);
}

void FanOut::vm_instruction_error(const vmx::VmInstructionErrorEvent& event) {
  for (MachineEventSink* sink : sinks_) sink->vm_instruction_error(event);
}

void FanOut::l0_exit(const vmx::VmExitEvent& event, int from) {
  for (MachineEventSink* sink : sinks_) sink->l0_exit(event, from);
}

void FanOut::exception(const ExceptionEvent& event) {
  for (MachineEventSink* sink : sinks_) sink->exception(event);
}

void FanOut::interrupt(const InterruptEvent& event) {
  for (MachineEventSink* sink : sinks_) sink->interrupt(event);
}

void FanOut::walk(const WalkEvent& event) {
  for (MachineEventSink* sink : sinks_) sink->walk(event);
}

void FanOut::stale_translation(const StaleTranslationEvent& event) {
  for (MachineEventSink* sink : sinks_) sink->stale_translation(event);
}

void FanOut::translations(const TranslationCounts& counts) {
  for (MachineEventSink* sink : sinks_) sink->translations(counts);
}

void FanOut::unclaimed_access(const UnclaimedAccess& access) {
  for (MachineEventSink* sink : sinks_) sink->unclaimed_access(access);
}

void FanOut::triple_fault(uint64_t rip, bool non_root) {
  for (MachineEventSink* sink : sinks_) sink->triple_fault(rip, non_root);
}

void FanOut::vmx_abort(uint32_t indicator) {
  for (MachineEventSink* sink : sinks_) sink->vmx_abort(indicator);
}

void FanOut::debug_exit(uint32_t value) {
  for (MachineEventSink* sink : sinks_) sink->debug_exit(value);
}

void FanOut::workload(uint8_t number) {
  for (MachineEventSink* sink : sinks_) sink->workload(number);
}

}  // namespace nestor::emu
