// SPDX-License-Identifier: GPL-2.0-or-later
//
// The event stream, written as readable text or as JSON lines. Both formats show the same events
// with the same fields; docs/trace.md describes them.
#pragma once

#include <cstdint>
#include <optional>

#include "emu/events/events.h"
#include "emu/observe/trace/output_file.h"
#include "emu/observe/trace/record.h"

namespace nestor::emu {

// Equal events in a row become one line, at the time of the first, with their count. So the latest
// event is written when another one comes, or at the end.
class Trace final : public MachineEventSink {
 public:
  // `output` outlives the trace.
  Trace(OutputFile& output, TraceFormat format) : output_(output), format_(format) {}
  ~Trace() override { finish(); }

  // Writes the latest event. To be called before the output is closed.
  void finish();

  // True once a write has failed: what follows is not written, and the run should stop with
  // kOutputError.
  bool failed() const { return output_.error().has_value(); }

  void attach(const Clock& clock, const uint64_t& instructions) override;
  void processor(unsigned number) override { processor_ = number; }
  bool wants_walks() const override { return true; }
  void on(const MachineEvent& event) override;

 private:
  OutputFile& output_;
  const TraceFormat format_;
  const Clock* clock_ = nullptr;
  uint64_t sequence_ = 0;
  std::optional<unsigned> processor_;  // none: the machine has one only
  std::optional<Record> latest_;       // not yet written
  Occasion occasion_;                  // of it
};

}  // namespace nestor::emu
