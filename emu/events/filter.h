// SPDX-License-Identifier: GPL-2.0-or-later
//
// Which events a sink gets: by kind, by level and from a moment on.
#pragma once

#include <bitset>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "emu/events/kinds.h"
#include "emu/events/moment.h"

namespace nestor::emu {

using EventKinds = std::bitset<kEventKindCount>;  // by MachineEvent::index()

// "vm-entry,vm-exit": these; "-walk": all but these; "all" and "none" start again. Names count from
// left to right. The error lists the names.
std::variant<EventKinds, std::string> parse_event_kinds(std::string_view text);

struct EventFilter {
  EventKinds kinds = EventKinds().set();
  // 1: what happens while L1 runs, 2: while L2 runs. VM entries and VM exits are of both.
  std::optional<int> level = std::nullopt;
  std::optional<Moment> from = std::nullopt;
  bool all_walks = false;  // not only those through EPT
};

// Hands the events that pass the filter to the next sink, which outlives this one.
class FilteredEvents final : public MachineEventSink {
 public:
  FilteredEvents(const EventFilter& filter, MachineEventSink& next)
      : kinds_(filter.kinds), level_(filter.level), all_walks_(filter.all_walks), next_(next) {
    if (filter.from) from_.emplace(*filter.from);
  }

  // A byte that the guest writes to COM1 or to port 0xe9.
  void output(MomentWatch::Stream stream, uint8_t byte) {
    if (from_) from_->output(stream, byte);
  }
  // The moment from which on events pass is there.
  bool started() const { return !from_ || from_->reached(); }

  void attach(const Clock& clock, const uint64_t& instructions) override;
  void resumed(uint64_t exits, const std::vector<bool>& in_l2) override;
  void processor(unsigned number) override;
  void all_wait() override { next_.all_wait(); }
  bool wants_walks() const override;
  bool wants_all_walks() const override { return all_walks_ && wants_walks(); }
  void on(const MachineEvent& event) override;
  void translations(const TranslationCounts& counts) override { next_.translations(counts); }

 private:
  bool at_level() const { return !level_ || *level_ == (in_l2_[processor_] ? 2 : 1); }

  const EventKinds kinds_;
  const std::optional<int> level_;
  const bool all_walks_;
  std::optional<MomentWatch> from_;
  MachineEventSink& next_;
  size_t processor_ = 0;
  std::vector<bool> in_l2_ = {false};  // by processor
};

}  // namespace nestor::emu
