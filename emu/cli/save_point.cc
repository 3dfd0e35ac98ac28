// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/cli/save_point.h"

namespace nestor::emu {

bool SavePoint::save_if_due(const MachineConfig& config) {
  if (!due()) return false;
  saved_ = true;
  error_ = file_->save(*machine(), config);
  return true;
}

std::optional<std::string> SavePoint::unsaved() const {
  if (saved_) return std::nullopt;
  return "nothing was saved to '" + file_->path() +
         "': the run ended before the moment of --save-at";
}

}  // namespace nestor::emu
