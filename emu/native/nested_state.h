// SPDX-License-Identifier: GPL-2.0-or-later
//
// What KVM_GET_NESTED_STATE tells of VMX in a virtual machine.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <variant>

#include "vmx/vmcs.h"

namespace nestor::emu::native {

struct NestedState {
  bool guest_mode = false;  ///< The processor is in VMX non-root operation.
  /// The current VMCS and its physical address; nothing if there is none.
  std::optional<vmx::Vmcs> vmcs{};
  std::uint64_t vmcs_address = 0;
};

/// The size of what KVM_GET_NESTED_STATE may tell, in bytes.
inline constexpr std::size_t kNestedStateSize = 128 + 2 * 4096;

/// From the bytes that KVM_GET_NESTED_STATE filled. The error is one line that says why they cannot
/// be understood. KVM keeps the VMCS of a virtual machine in a layout of its own, which does not
/// change as long as its VMCS revision identifier does not, because saved machines contain it.
[[nodiscard]] std::variant<NestedState, std::string> parse_nested_state(
    std::span<const std::byte> bytes);

/// Where KVM keeps a field in its VMCS; nothing if it keeps none. For tests.
[[nodiscard]] std::optional<std::size_t> offset_in_kvms_vmcs(vmx::Field field);
inline constexpr std::uint32_t kKvmsVmcsRevision = 0x11e5'7ed0;

}  // namespace nestor::emu::native
