// SPDX-License-Identifier: GPL-2.0-or-later
#include <array>

#include "vmx/vmx.h"

namespace nestor::vmx {
namespace {
constexpr std::string_view kInveptName = "INVEPT";
enum : uint64_t { kSingleEptp = 1, kAllEptps = 2 };
}  // namespace

Outcome Vmx::invept(const InstructionContext& context) {
  const bool register_operand = !context.memory && !context.memory_fault;
  if (register_operand || !capabilities_.offers(SecondaryProcBased::kEnableEpt) ||
      !capabilities_.has_ept_vpid(ept_vpid_cap::kInvept))
    return exception(kUd);
  if (const auto over = begin_instruction(ExitReason::kInvept, context, context.displacement))
    return *over;

  const uint64_t type = cpu_.state().gpr[context.reg] & operand_mask();
  const bool supported =
      (type == kSingleEptp && capabilities_.has_ept_vpid(ept_vpid_cap::kInveptSingle)) ||
      (type == kAllEptps && capabilities_.has_ept_vpid(ept_vpid_cap::kInveptAll));
  if (!supported) return vm_fail(kInveptName, InstructionError::kInvalidInveptInvvpidOperand);

  std::array<uint64_t, 2> descriptor{};
  if (const auto fault = read_operand(
          context, std::span(reinterpret_cast<uint8_t*>(descriptor.data()), sizeof descriptor)))
    return *fault;
  if (type == kSingleEptp) {
    if (!valid_eptp(descriptor[0]))
      return vm_fail(kInveptName, InstructionError::kInvalidInveptInvvpidOperand);
    cpu_.invalidate({.kind = Invalidation::Kind::kGuestPhysicalEptp, .eptp = descriptor[0]});
  } else {
    cpu_.invalidate({.kind = Invalidation::Kind::kAllEptps});
  }
  return vm_succeed();
}

}  // namespace nestor::vmx
