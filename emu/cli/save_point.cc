// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/cli/save_point.h"

namespace nestor::emu {

void SavePoint::on(const MachineEvent& event) {
  watch_.event(event);
  if (due() && machine_ != nullptr) machine_->request_pause();
}

void SavePoint::output(MomentWatch::Stream stream, uint8_t byte) {
  watch_.output(stream, byte);
  if (due() && machine_ != nullptr) machine_->request_pause();
}

Until SavePoint::until() const {
  Until until;
  if (!saved_ && at_.kind == Moment::Kind::kInstructions) until.instructions = at_.number;
  return until;
}

bool SavePoint::save_if_due(const MachineConfig& config) {
  if (!due()) return false;
  saved_ = true;
  error_ = file_->save(*machine_, config);
  return true;
}

std::optional<std::string> SavePoint::unsaved() const {
  if (saved_) return std::nullopt;
  return "nothing was saved to '" + file_->path() +
         "': the run ended before the moment of --save-at";
}

}  // namespace nestor::emu
