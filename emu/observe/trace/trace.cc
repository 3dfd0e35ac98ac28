// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/observe/trace/trace.h"

#include <utility>

#include "emu/observe/trace/perfetto_trace.h"

namespace nestor::emu {

std::unique_ptr<TraceWriter> create_trace(OutputFile& output, TraceFormat format) {
  if (format == TraceFormat::kPerfetto) return std::make_unique<PerfettoTrace>(output);
  return std::make_unique<Trace>(output, format);
}

void Trace::attach(const Clock& clock, const uint64_t& instructions) {
  clock_ = &clock;
  instructions_ = &instructions;
}

void Trace::on(const MachineEvent& event) {
  const uint64_t sequence = sequence_++;
  Record record = to_record(event, processor_, format_);
  if (latest_ == record) {
    ++occasion_.count;
    return;
  }
  finish();
  latest_ = std::move(record);
  occasion_ = {.cycle = clock_ != nullptr ? clock_->cycles() : 0,
               .instructions = instructions_ != nullptr ? *instructions_ : 0,
               .sequence = sequence};
}

void Trace::finish() {
  if (latest_) output_.write(to_line(*latest_, occasion_, format_));
  latest_.reset();
}

}  // namespace nestor::emu
