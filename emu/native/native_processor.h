// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "emu/devices/apic/local_apic.h"
#include "emu/memory/ram.h"
#include "emu/native/device.h"
#include "emu/native/nested_observer.h"
#include "vmx/cpu_state.h"

namespace nestor::emu::native {

/// A virtual machine of KVM with one processor, and with KVM's own local APIC, I/O APIC and 8259s,
/// wired as those of emu/machine/.
class NativeProcessor {
 public:
  /// The ranges are the machine's memory, and outlive it. Throws `Unavailable`; `NoVmx` if
  /// `needs_vmx` and there is none.
  NativeProcessor(const std::string& device, const std::vector<RamRange>& ram, bool needs_vmx);

  /// Throws `Unavailable` if KVM refuses the state.
  void start(const vmx::CpuState& state);
  /// KVM_RUN. False: a signal interrupted it. Throws `Failure`.
  [[nodiscard]] bool run();
  /// Why the latest `run` returned.
  [[nodiscard]] kvm_run& stop();
  /// The registers at the latest stop.
  [[nodiscard]] const kvm_regs& regs();
  [[nodiscard]] const kvm_sregs& sregs();

  /// The level of an interrupt line, as `InterruptLines::set` has it.
  void set_line(unsigned line, bool level);
  /// A message-signalled interrupt. Throws `Failure` if KVM refuses it.
  void send_message(const Ipi& message);
  /// It halts, and its local APIC has nothing that would wake it.
  [[nodiscard]] bool halts_for_good();
  /// How the processor runs from now on. Throws `Failure` if KVM refuses it.
  void debug(const NestedObserver::Plan& plan);
  /// Whether KVM tells the state of VMX.
  [[nodiscard]] bool tells_nested_state() const;
  /// Throws `Failure` if KVM does not tell it, or tells something unknown.
  [[nodiscard]] NestedState nested_state();
  /// The physical address at which KVM's own walk finds `linear`.
  [[nodiscard]] std::optional<std::uint64_t> translate(std::uint64_t linear);

 private:
  void add_memory(const std::vector<RamRange>& ram);
  void set_features(bool needs_vmx);
  void route_lines();
  void enter_virtual_wire_mode();

  Descriptor device_;
  Descriptor machine_;
  Descriptor processor_;
  Mapping run_;
};

}  // namespace nestor::emu::native
