// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/observe/trace/trace_statistics.h"

#include <algorithm>
#include <array>
#include <string_view>

#include "emu/cpu/processor_config.h"
#include "emu/observe/trace/text_scanner.h"

namespace nestor::emu {
namespace {

// They happen in the midst of a block of code. It may be left there: then time goes back a little.
constexpr std::array<std::string_view, 3> kAtAccesses = {"walk", "page-modification",
                                                         "stale-translation"};

const std::string* find_field(const TraceEvent& event, std::string_view key) {
  for (const TraceField& field : event.fields)
    if (field.key == key) return &field.value;
  return nullptr;
}

bool is_whole_number(TextScanner text, uint64_t& value, bool hexadecimal) {
  return (hexadecimal ? text.hexadecimal(value) : text.decimal(value)) && text.rest.empty();
}

}  // namespace

bool TraceStatistics::add(const TraceEvent& event) {
  uint64_t processor = 0, reason = 0;
  const std::string* const named = find_field(event, "cpu");
  if (named != nullptr &&
      (!is_whole_number({*named}, processor, false) || processor >= ProcessorConfig::kMaxCount)) {
    return false;
  }
  if (event.kind == "vm-exit") {
    const std::string* const field = find_field(event, "reason_field");
    if (field == nullptr || !is_whole_number({*field}, reason, true) || reason > ~uint32_t{0})
      return false;
  }
  const std::string* const counted = find_field(event, "instructions");
  uint64_t instructions = 0;
  if (counted != nullptr && !is_whole_number({*counted}, instructions, false)) return false;
  if (std::ranges::find(kAtAccesses, event.kind) != kAtAccesses.end()) return true;
  clock_.advance_to(event.cycle);
  several_processors_ = several_processors_ || named != nullptr;
  if (counted != nullptr && !several_processors_) {
    if (!instructions_) statistics_.attach(clock_, instructions_.emplace());
    *instructions_ = std::max(*instructions_, instructions);
  }
  if (several_processors_) statistics_.processor(static_cast<unsigned>(processor));
  handle(event, static_cast<uint32_t>(reason));
  // Whose turn it is until the next event is not in a trace: time passes for all.
  if (several_processors_) statistics_.all_wait();
  return true;
}

void TraceStatistics::handle(const TraceEvent& event, uint32_t reason) {
  if (event.kind == "vm-exit") {
    vmx::VmExitEvent exit;
    exit.reason = reason;
    statistics_.handle(exit, event.count);
  } else if (event.kind == "vm-entry") {
    statistics_.handle(vmx::VmEntryEvent{}, event.count);
  } else if (event.kind == "check-failed") {
    statistics_.handle(vmx::CheckFailure{}, event.count);
  } else if (event.kind == "exception") {
    statistics_.handle(ExceptionEvent{}, event.count);
  } else if (event.kind == "interrupt") {
    statistics_.handle(InterruptEvent{}, event.count);
  } else if (event.kind == "unclaimed-access") {
    statistics_.handle(UnclaimedAccess{}, event.count);
  }
}

std::string TraceStatistics::report() const {
  std::string text = statistics_.report();
  text += "Not in a trace: what --tlb keep, --l0 and --timing add to --stats\n";
  if (several_processors_)
    text += "Nor are turns of processors: the time of each includes that of the others\n";
  else if (!instructions_)
    text += "Nor are instructions: they are in JSON lines alone\n";
  if (!statistics_.exits().empty() && statistics_.entries() == 0)
    text += "This trace has no vm-entry event: there are no times\n";
  return text;
}

}  // namespace nestor::emu
