// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string_view>

#include "emu/decode/decoder.h"
#include "emu/events/events.h"
#include "emu/native/nested_state.h"

namespace nestor::emu::native {

/// Finds the VM entries and VM exits of a virtual machine that KVM runs with VMX.
///
/// KVM handles them in the kernel and tells nobody. But user space can make it stop: L1 is stepped,
/// one instruction after the other. Before VMLAUNCH and VMRESUME a breakpoint is set at the host
/// RIP of the VMCS, as stepping ends with the VM entry. L2 runs freely up to there. At each such
/// stop KVM tells the whole VMCS, with all that the VM exit left in it.
class NestedObserver {
 public:
  /// Where the processor stands between two instructions.
  struct Place {
    std::uint64_t rip = 0;
    std::uint64_t rflags = 0;
    CodeMode mode = CodeMode::k64;
    std::array<std::uint64_t, 16> gpr{};  ///< In the order of `vmx::CpuState`.
  };
  /// How the processor is to run until the next stop.
  struct Plan {
    bool step = false;
    std::optional<std::uint64_t> breakpoint{};  ///< A linear address.
    bool operator==(const Plan&) const = default;
  };
  using ReadState = std::function<NestedState()>;

  /// `read_state` tells the state of the moment; asking costs time, and is done when it matters.
  NestedObserver(MachineEventSink& sink, ReadState read_state)
      : sink_(sink), read_state_(std::move(read_state)) {}

  /// Before the processor goes on. `code` are the bytes at its RIP, as far as they can be read.
  [[nodiscard]] Plan before(const Place& place, std::span<const std::uint8_t> code);
  /// After it has stopped, for whatever reason.
  void after(const Place& place);

  [[nodiscard]] bool in_guest() const { return in_guest_; }
  /// A VM exit was not noticed at L1's first instruction: entries and exits may be missing.
  [[nodiscard]] bool missed() const { return missed_; }

 private:
  /// A VMX instruction of L1 that is about to be executed.
  struct Pending {
    std::string_view name;
    std::uint64_t rip = 0;
    std::uint8_t length = 0;
    bool enters = false;
    bool launch = false;
    NestedState state{};  ///< Before it; for those that enter.
  };

  [[nodiscard]] bool failed_unnoticed(const Place& place);
  void report_entry();
  void report_exit(const Place& place, const NestedState& state);

  MachineEventSink& sink_;
  ReadState read_state_;
  Decoder decoder_;
  std::optional<Pending> pending_;
  std::uint64_t host_rip_ = 0;
  bool in_guest_ = false;
  bool missed_ = false;
};

}  // namespace nestor::emu::native
