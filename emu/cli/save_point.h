// SPDX-License-Identifier: GPL-2.0-or-later
//
// Waits for the moment at which a run is to be saved, and saves it then.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "emu/cli/moment_stop.h"
#include "emu/machine/state_file.h"

namespace nestor::emu {

class SavePoint final : public MomentStop {
 public:
  SavePoint(const Moment& at, std::unique_ptr<StateOutput> file)
      : MomentStop(at), file_(std::move(file)) {}

  // The machine has not begun to run, or has stopped: saves it if the moment is there. Returns
  // whether it has tried to.
  bool save_if_due(const MachineConfig& config);
  const std::string& path() const { return file_->path(); }
  // Why the state could not be written.
  const std::optional<std::string>& error() const { return error_; }
  // Why there was nothing to write.
  std::optional<std::string> unsaved() const;

 private:
  bool due() const override { return !saved_ && reached(); }

  const std::unique_ptr<StateOutput> file_;
  bool saved_ = false;
  std::optional<std::string> error_;
};

}  // namespace nestor::emu
