// SPDX-License-Identifier: GPL-2.0-or-later
//
// What the logical processors of a machine share while they take turns.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <utility>

#include "emu/cpu/pause.h"
#include "emu/cpu/run_end.h"
#include "emu/memory/archive.h"

namespace nestor::emu {

class Turns {
 public:
  // A turn ends after so many cycles: before the next block of code, and never within an
  // instruction. Long enough that refilling the TLB at its start is a small part of it, short
  // against the time that software waits for another processor.
  static constexpr uint64_t kQuantum = 20'000;

  // What limits the run and who watches it; see MachineConfig and MachineOutputs.
  uint64_t max_instructions = 0;
  std::function<bool()> output_failed{};
  std::function<void(uint64_t)> progress{};
  std::function<void(uint64_t now, uint64_t until)> idle{};

  // Why the run is over, once it is. The first reason counts.
  const std::optional<RunEnd>& end() const { return end_; }
  void finish(RunEnd end) {
    if (!end_) end_ = std::move(end);
  }

  // The run goes on until one of these.
  void go_on(Until until);
  const Until& until() const { return until_; }
  // Whether some instructions have to be looked at one by one.
  bool watches_instructions() const {
    return watches_all_instructions() || !until_.breakpoints.empty();
  }
  // Whether all of them.
  bool watches_all_instructions() const { return until_.step || !until_.watchpoints.empty(); }
  // Changes whenever blocks that were safe to execute as a whole may no longer be.
  uint64_t watch_generation() const { return watch_generation_; }
  // A block was entered for which that is so: how far it reaches is asked again at the next time.
  void entered_watched_block() { ++watch_generation_; }
  // The first reason counts.
  void stop(const Pause& pause) {
    if (!pause_) pause_ = pause;
  }
  const std::optional<Pause>& pause() const { return pause_; }

  // Nothing is to be executed now.
  bool over() const { return end_.has_value() || pause_.has_value(); }

  // At an instruction boundary of `processor`, with the clock and the instructions completed by all
  // of them: reports progress, and ends or stops the run at its limits.
  void poll(unsigned processor, uint64_t cycles, uint64_t instructions);
  // An exception is delivered. As many in a row as the budget has instructions, and none of these
  // completed, spend it as well.
  void exception_delivered() { ++exceptions_; }
  // In cycles: poll() reports next at this time.
  uint64_t next_report() const { return next_report_; }
  // Instructions after which poll() has something to do; ~0: none.
  uint64_t instruction_limit() const;

  // How often the engine has run, for any processor.
  uint64_t engine_runs = 0;

  // Limits and stops are not part of it; the run is not over after a load.
  void serialize(Archive& archive) {
    archive(engine_runs, next_report_, polls_, exceptions_, completed_);
    if (!archive.loads()) return;
    end_.reset();
    pause_.reset();
  }

 private:
  std::optional<RunEnd> end_;
  Until until_;
  std::optional<Pause> pause_;
  uint64_t watch_generation_ = 0;
  uint64_t next_report_ = 0;
  uint64_t polls_ = 0;
  uint64_t exceptions_ = 0, completed_ = 0;  // since so many instructions were
};

}  // namespace nestor::emu
