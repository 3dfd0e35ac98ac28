// SPDX-License-Identifier: GPL-2.0-or-later
//
// Why a VM exit could not be completed: the VMX-abort indicators ("VMX Aborts").
#pragma once

#include <cstdint>
#include <iterator>
#include <string_view>

namespace nestor::vmx {

enum class VmxAbort : uint32_t {
  kSavingGuestMsrs = 1,
  kHostPdptes = 2,
  kCorruptedVmcs = 3,
  kLoadingHostMsrs = 4,
  kMachineCheck = 5,
  kHostNotIa32e = 6,
};

// "unknown" for an indicator that the SDM does not define.
constexpr std::string_view vmx_abort_text(uint32_t indicator) {
  constexpr std::string_view kTexts[] = {
      "failure in saving guest MSRs",
      "failure in host checking of the page-directory-pointer-table entries",
      "current VMCS corrupted",
      "failure in loading host MSRs",
      "machine-check event during VM exit",
      "VM exit from 64-bit mode to a host that is not",
  };
  return indicator - 1 < std::size(kTexts) ? kTexts[indicator - 1] : "unknown";
}

}  // namespace nestor::vmx
