// SPDX-License-Identifier: GPL-2.0-or-later
#include <array>

#include "vmx/vmx.h"

namespace nestor::vmx {

Outcome Vmx::vmfunc(const InstructionContext& context) {
  const auto function = static_cast<uint32_t>(cpu_.state().gpr[kRax]);
  if (!secondary(SecondaryProcBased::kEnableVmFunctions))
    return because("\"enable VM functions\" is 0", exception(kUd));
  if (function > 63) return exception(kUd);
  const bool enabled = (field(Field::kVmFunctionControls) >> function) & 1;
  if (enabled && function == 0) return switch_eptp(context);
  return instruction_exit(ExitReason::kVmfunc, context);
}

// "EPTP Switching".
Outcome Vmx::switch_eptp(const InstructionContext& context) {
  constexpr uint64_t kEntries = 512, kWalkLength = 7ull << 3;
  const auto index = static_cast<uint32_t>(cpu_.state().gpr[kRcx]);
  if (index >= kEntries) return instruction_exit(ExitReason::kVmfunc, context);
  uint64_t eptp = 0;
  const bool readable =
      cpu_.read_physical({field(Field::kEptpListAddress) + 8 * uint64_t{index}},
                         std::span(reinterpret_cast<uint8_t*>(&eptp), sizeof eptp));
  const bool same_length = ((eptp ^ field(Field::kEptPointer)) & kWalkLength) == 0;
  if (!readable || !same_length || !valid_eptp(eptp))
    return instruction_exit(ExitReason::kVmfunc, context);

  vmcs_.write(Field::kEptPointer, eptp);
  if (capabilities_.offers(SecondaryProcBased::kEptViolationVe))
    vmcs_.write(Field::kEptpIndex, index);
  if (vpid() == 0) cpu_.invalidate({.kind = Invalidation::Kind::kLinearVpid});
  return Completed{};
}

}  // namespace nestor::vmx
