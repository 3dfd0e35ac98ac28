// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

namespace nestor::emu {

// What runs in VMX root operation where that is part of the emulator: it is called instead of
// executing instructions outside VMX non-root operation, and brings the processor there, makes it
// wait for a start-up IPI or ends the run.
class RootSoftware {
 public:
  virtual ~RootSoftware() = default;
  virtual void run() = 0;
  // Whether what runs in VMX non-root operation is the guest of a guest.
  virtual bool runs_l2() const = 0;
  // Whether its guest believes to be in VMX operation.
  virtual bool l1_in_vmx_operation() const = 0;
};

}  // namespace nestor::emu
