// SPDX-License-Identifier: GPL-2.0-or-later
//
// The event stream, written as readable text, as JSON lines or for Perfetto. All formats show the
// same events with the same fields; docs/trace.md describes them.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>

#include "emu/events/events.h"
#include "emu/observe/trace/output_file.h"
#include "emu/observe/trace/record.h"

namespace nestor::emu {

// A trace in one of the formats.
class TraceWriter : public MachineEventSink {
 public:
  // Writes what is left. To be called before the output is closed.
  virtual void finish() = 0;

  // True once a write has failed: what follows is not written, and the run should stop with
  // kOutputError.
  bool failed() const { return output_.error().has_value(); }

  bool wants_walks() const override { return true; }

 protected:
  // `output` outlives the trace.
  explicit TraceWriter(OutputFile& output) : output_(output) {}
  OutputFile& output_;
};

// `output` outlives the trace.
[[nodiscard]] std::unique_ptr<TraceWriter> create_trace(OutputFile& output, TraceFormat format);

// Equal events in a row become one line, at the time of the first, with their count. So the latest
// event is written when another one comes, or at the end.
class Trace final : public TraceWriter {
 public:
  Trace(OutputFile& output, TraceFormat format) : TraceWriter(output), format_(format) {}
  ~Trace() override { finish(); }

  void finish() override;

  void attach(const Clock& clock, const uint64_t& instructions) override;
  void processor(unsigned number) override { processor_ = number; }
  void on(const MachineEvent& event) override;

 private:
  const TraceFormat format_;
  const Clock* clock_ = nullptr;
  const uint64_t* instructions_ = nullptr;
  uint64_t sequence_ = 0;
  std::optional<unsigned> processor_;  // none: the machine has one only
  std::optional<Record> latest_;       // not yet written
  Occasion occasion_;                  // of it
};

}  // namespace nestor::emu
