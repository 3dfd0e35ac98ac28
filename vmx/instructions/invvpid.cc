// SPDX-License-Identifier: GPL-2.0-or-later
#include <array>

#include "vmx/vmx.h"

namespace nestor::vmx {
namespace {
constexpr std::string_view kName = "INVVPID";

enum InvvpidType : uint64_t { kAddress, kSingleContext, kAllContexts, kSingleRetainingGlobals };

// The capability that each type needs, by type.
constexpr std::array<uint64_t, 4> kNeeds = {
    ept_vpid_cap::kInvvpidAddress,
    ept_vpid_cap::kInvvpidSingle,
    ept_vpid_cap::kInvvpidAll,
    ept_vpid_cap::kInvvpidSingleRetainingGlobals,
};
}  // namespace

Outcome Vmx::invvpid(const InstructionContext& context) {
  const bool register_operand = !context.memory && !context.memory_fault;
  if (register_operand || !capabilities_.offers(SecondaryProcBased::kEnableVpid) ||
      !capabilities_.has_ept_vpid(ept_vpid_cap::kInvvpid))
    return exception(kUd);
  if (const auto over = begin_instruction(ExitReason::kInvvpid, context, context.displacement))
    return *over;

  const uint64_t type = cpu_.state().gpr[context.reg] & operand_mask();
  if (type >= kNeeds.size() || !capabilities_.has_ept_vpid(kNeeds[type]))
    return vm_fail(kName, InstructionError::kInvalidInveptInvvpidOperand);

  std::array<uint64_t, 2> descriptor{};
  if (const auto fault = read_operand(
          context, std::span(reinterpret_cast<uint8_t*>(descriptor.data()), sizeof descriptor)))
    return *fault;
  const auto vpid = static_cast<uint16_t>(descriptor[0]);
  const uint64_t linear = descriptor[1];
  const bool invalid = (descriptor[0] >> 16) != 0 || (type != kAllContexts && vpid == 0) ||
                       (type == kAddress && !capabilities_.registers.canonical(linear));
  if (invalid) return vm_fail(kName, InstructionError::kInvalidInveptInvvpidOperand);

  using Kind = Invalidation::Kind;
  if (type == kAddress)
    cpu_.invalidate({Kind::kVpidAddress, vpid, linear, 0});
  else if (type == kAllContexts)
    cpu_.invalidate({Kind::kAllVpids, 0, 0, 0});
  else if (type == kSingleContext)
    cpu_.invalidate({Kind::kLinearVpid, vpid, 0, 0});
  else
    cpu_.invalidate({Kind::kVpidRetainingGlobals, vpid, 0, 0});
  return vm_succeed();
}

}  // namespace nestor::vmx
