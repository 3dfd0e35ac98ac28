// SPDX-License-Identifier: GPL-2.0-or-later
#include <array>

#include "vmx/vmx.h"

namespace nestor::vmx {
namespace {
constexpr std::string_view kInvvpidName = "INVVPID";

enum InvvpidType : uint64_t { kAddress = 0, kAllContexts = 2 };

// By type: the capability that it needs, and what it does.
struct TypeInfo {
  uint64_t needed;
  Invalidation::Kind kind;
};
constexpr std::array<TypeInfo, 4> kTypes = {{
    {ept_vpid_cap::kInvvpidAddress, Invalidation::Kind::kVpidAddress},
    {ept_vpid_cap::kInvvpidSingle, Invalidation::Kind::kLinearVpid},
    {ept_vpid_cap::kInvvpidAll, Invalidation::Kind::kAllVpids},
    {ept_vpid_cap::kInvvpidSingleRetainingGlobals, Invalidation::Kind::kVpidRetainingGlobals},
}};
}  // namespace

Outcome Vmx::invvpid(const InstructionContext& context) {
  const bool register_operand = !context.memory && !context.memory_fault;
  if (register_operand || !capabilities_.offers(SecondaryProcBased::kEnableVpid) ||
      !capabilities_.has_ept_vpid(ept_vpid_cap::kInvvpid))
    return exception(kUd);
  if (const auto over = begin_instruction(ExitReason::kInvvpid, context, context.displacement))
    return *over;

  const uint64_t type = cpu_.state().gpr[context.reg] & operand_mask();
  if (type >= kTypes.size() || !capabilities_.has_ept_vpid(kTypes[type].needed))
    return vm_fail(kInvvpidName, InstructionError::kInvalidInveptInvvpidOperand);

  std::array<uint64_t, 2> descriptor{};
  if (const auto fault = read_operand(
          context, std::span(reinterpret_cast<uint8_t*>(descriptor.data()), sizeof descriptor)))
    return *fault;
  const auto vpid = static_cast<uint16_t>(descriptor[0]);
  const uint64_t linear = descriptor[1];
  const bool invalid = (descriptor[0] >> 16) != 0 || (type != kAllContexts && vpid == 0) ||
                       (type == kAddress && !capabilities_.registers.canonical(linear));
  if (invalid) return vm_fail(kInvvpidName, InstructionError::kInvalidInveptInvvpidOperand);

  cpu_.invalidate({.kind = kTypes[type].kind, .vpid = vpid, .linear = linear});
  return vm_succeed();
}

}  // namespace nestor::vmx
