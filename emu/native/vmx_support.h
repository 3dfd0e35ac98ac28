// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <string>

#include "emu/native/device.h"

namespace nestor::emu::native {

/// KVM works, but offers no VMX to its virtual machines; `what()` is one line that says why and
/// what helps.
class NoVmx : public Unavailable {
 public:
  using Unavailable::Unavailable;
};

/// Whether the processor that `cpuid` describes has VMX.
[[nodiscard]] bool has_vmx(const Cpuid& cpuid);

/// Why there is no VMX and what helps, from the processor's vendor in `cpuid` and from the kernel's
/// modules as `modules` ("/sys/module") shows them.
[[nodiscard]] std::string explain_missing_vmx(const Cpuid& cpuid, const std::string& modules);

}  // namespace nestor::emu::native
