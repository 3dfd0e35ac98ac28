// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/observe/trace/perfetto_trace.h"

#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <utility>

#include "emu/events/kinds.h"
#include "vmx/exit_reasons.h"

namespace nestor::emu {
namespace {

// Readers take process 0 for the idle task of an operating system.
constexpr unsigned process_of(unsigned processor) { return processor + 1; }

constexpr std::string_view kTrackNames[] = {"L0", "L1", "L2"};

// Microseconds of the virtual clock, exactly.
std::string microseconds(uint64_t cycles) {
  constexpr uint64_t kCycles = Clock::kFrequency / 1'000'000, kFraction = 10'000;
  static_assert(Clock::kFrequency % 1'000'000 == 0 && kFraction % kCycles == 0);
  return fmt::format("{}.{:04}", cycles / kCycles, cycles % kCycles * (kFraction / kCycles));
}

// The fields of an event, as Record has them: each after a comma.
std::string arguments(std::string_view fields) {
  return fmt::format("{{{}}}", fields.substr(std::min<size_t>(fields.size(), 1)));
}

}  // namespace

void PerfettoTrace::attach(const Clock& clock, const uint64_t& /*instructions*/) {
  clock_ = &clock;
}

void PerfettoTrace::resumed(uint64_t /*exits*/, const std::vector<bool>& in_l2) {
  latest_ = clock_ != nullptr ? clock_->cycles() : 0;
  for (unsigned i = 0; i < in_l2.size(); ++i) {
    processors_[i].in_l2 = in_l2[i];
    if (in_l2[i]) processors_[i].slice = {"L2", "", latest_};
  }
}

void PerfettoTrace::write(std::string_view event) {
  output_.write(begun_ ? ",\n" : "[\n");
  output_.write(event);
  begun_ = true;
}

void PerfettoTrace::name_track(Processor& processor, Track track) {
  constexpr std::string_view kNames =
      R"({{"ph":"M","pid":{},"tid":{},"name":"{}","args":{{"{}":{}}}}})";
  const auto name = [&](std::string_view what, std::string_view key, const std::string& value) {
    write(fmt::format(kNames, process_of(processor_), static_cast<int>(track), what, key, value));
  };
  if (std::ranges::find(processor.named, true) == std::end(processor.named))
    name("process_name", "name", fmt::format("\"processor {}\"", processor_));
  if (std::exchange(processor.named[track], true)) return;
  name("thread_name", "name", fmt::format("\"{}\"", kTrackNames[track]));
  name("thread_sort_index", "sort_index", std::to_string(static_cast<int>(track)));
}

void PerfettoTrace::end_slice(unsigned number, uint64_t now) {
  processor_ = number;
  Processor& processor = processors_[number];
  if (!processor.slice) return;
  const Track track = processor.in_l2 ? kL2 : kL1;
  name_track(processor, track);
  write(fmt::format(R"({{"ph":"X","pid":{},"tid":{},"ts":{},"dur":{},"name":"{}","args":{}}})",
                    process_of(number), static_cast<int>(track),
                    microseconds(processor.slice->since),
                    microseconds(now - processor.slice->since), processor.slice->name,
                    arguments(processor.slice->fields)));
  processor.slice.reset();
}

void PerfettoTrace::instant(Track track, std::string_view name, std::string_view fields,
                            uint64_t now) {
  name_track(processors_[processor_], track);
  write(fmt::format(R"({{"ph":"i","s":"t","pid":{},"tid":{},"ts":{},"name":"{}","args":{}}})",
                    process_of(processor_), static_cast<int>(track), microseconds(now), name,
                    arguments(fields)));
}

void PerfettoTrace::on(const MachineEvent& event) {
  const uint64_t now = clock_ != nullptr ? clock_->cycles() : 0;
  latest_ = now;
  std::string fields = to_record(event, std::nullopt, TraceFormat::kJsonLines).fields;
  Processor& processor = processors_[processor_];
  if (const auto* exit = std::get_if<vmx::VmExitEvent>(&event)) {
    end_slice(processor_, now);
    processor.in_l2 = false;
    processor.slice = {std::string(vmx::exit_reason_name(exit->reason)), std::move(fields), now};
  } else if (std::holds_alternative<vmx::VmEntryEvent>(event)) {
    end_slice(processor_, now);
    processor.in_l2 = true;
    processor.slice = {"L2", std::move(fields), now};
  } else if (const auto* exit_to_l0 = std::get_if<L0ExitEvent>(&event)) {
    instant(kL0, vmx::exit_reason_name(exit_to_l0->exit.reason), fields, now);
  } else {
    instant(processor.in_l2 ? kL2 : kL1, event_kinds()[event.index()].name, fields, now);
  }
}

void PerfettoTrace::finish() {
  if (std::exchange(finished_, true)) return;
  for (const auto& [number, processor] : processors_) end_slice(number, latest_);
  output_.write(begun_ ? "\n]\n" : "[]\n");
}

}  // namespace nestor::emu
