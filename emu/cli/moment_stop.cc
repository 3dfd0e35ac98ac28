// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/cli/moment_stop.h"

namespace nestor::emu {

void MomentStop::on(const MachineEvent& event) {
  watch_.event(event);
  if (due() && machine_ != nullptr) machine_->request_pause();
}

void MomentStop::output(MomentWatch::Stream stream, uint8_t byte) {
  watch_.output(stream, byte);
  if (due() && machine_ != nullptr) machine_->request_pause();
}

Until MomentStop::until() const {
  Until until;
  if (!reached() && at_.kind == Moment::Kind::kInstructions) until.instructions = at_.number;
  return until;
}

}  // namespace nestor::emu
