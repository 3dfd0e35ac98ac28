// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "emu/observe/trace/trace.h"

namespace nestor::emu {

// A trace for Perfetto and other readers of Chrome's "Trace Event Format", as a JSON array: a
// process for each processor, with a track for each level. A slice of L1 is what it does from a VM
// exit to the next VM entry, a slice of L2 its run from a VM entry to the next VM exit. All else is
// an instant on the track of the level that runs.
class PerfettoTrace final : public TraceWriter {
 public:
  explicit PerfettoTrace(OutputFile& output) : TraceWriter(output) {}
  ~PerfettoTrace() override { finish(); }

  // Ends what has not ended at the time of the latest event, and the array.
  void finish() override;
  void attach(const Clock& clock, const uint64_t& instructions) override;
  void resumed(uint64_t exits, const std::vector<bool>& in_l2) override;
  void processor(unsigned number) override { processor_ = number; }
  void on(const MachineEvent& event) override;

 private:
  // Tracks, in the order in which they are shown.
  enum Track : uint8_t { kL0 = 0, kL1 = 1, kL2 = 2 };
  struct Slice {
    std::string name, fields;
    uint64_t since = 0;  // cycles
  };
  struct Processor {
    bool in_l2 = false;
    std::optional<Slice> slice;  // that has not ended, on the track of the level
    bool named[3] = {};          // by track
  };

  void write(std::string_view event);
  void name_track(Processor& processor, Track track);
  void end_slice(unsigned number, uint64_t now);
  void instant(Track track, std::string_view name, std::string_view fields, uint64_t now);

  const Clock* clock_ = nullptr;
  uint64_t latest_ = 0;  // cycles
  unsigned processor_ = 0;
  std::map<unsigned, Processor> processors_;
  bool begun_ = false, finished_ = false;
};

}  // namespace nestor::emu
