// SPDX-License-Identifier: GPL-2.0-or-later
//
// Waits for the moment at which a run is to be saved, and saves it then.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "emu/events/moment.h"
#include "emu/machine/machine.h"
#include "emu/machine/state_file.h"

namespace nestor::emu {

class SavePoint final : public MachineEventSink {
 public:
  SavePoint(const Moment& at, std::unique_ptr<StateOutput> file)
      : at_(at), watch_(at), file_(std::move(file)) {}

  // The machine whose events and outputs are heard here; it outlives the run.
  void watch(Machine& machine) { machine_ = &machine; }
  // A byte that the guest writes to COM1 or to port 0xe9.
  void output(MomentWatch::Stream stream, uint8_t byte);

  // Until when the machine may run.
  Until until() const;
  // The machine has not begun to run, or has stopped: saves it if the moment is there. Returns
  // whether it has tried to.
  bool save_if_due(const MachineConfig& config);
  const std::string& path() const { return file_->path(); }
  // Why the state could not be written.
  const std::optional<std::string>& error() const { return error_; }
  // Why there was nothing to write.
  std::optional<std::string> unsaved() const;

  void attach(const Clock&, const uint64_t& instructions) override { watch_.attach(instructions); }
  void resumed(uint64_t exits, const std::vector<bool>&) override { watch_.resumed(exits); }
  void on(const MachineEvent& event) override;

 private:
  bool due() const { return !saved_ && watch_.reached(); }

  const Moment at_;
  MomentWatch watch_;
  const std::unique_ptr<StateOutput> file_;
  Machine* machine_ = nullptr;
  bool saved_ = false;
  std::optional<std::string> error_;
};

}  // namespace nestor::emu
