// SPDX-License-Identifier: GPL-2.0-or-later
//
// The machine of emu/machine/ with the host's processor, by way of KVM, in the place of ours.
#pragma once

#include <memory>
#include <string>

#include "emu/machine/machine.h"

namespace nestor::emu::native {

struct NativeOptions {
  std::string device = "/dev/kvm";
  bool needs_vmx = true;
  unsigned max_seconds = 0;  ///< 0: no limit.
  /// L1 is stepped, so that VM entries and VM exits are found; only with listeners to events.
  bool step = false;
};

/// Throws `Unavailable`, or `NoVmx`, if the host lacks what it needs. Its `load` and `run` may
/// throw these and `Failure`. The time of its clock and devices is the host's.
[[nodiscard]] std::unique_ptr<Machine> create_native_machine(const NativeOptions& options,
                                                             const MachineConfig& config,
                                                             const MachineOutputs& outputs);

}  // namespace nestor::emu::native
