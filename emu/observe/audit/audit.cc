// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/observe/audit/audit.h"

#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <array>
#include <vector>

#include "vmx/exit_reasons.h"
#include "vmx/instruction_errors.h"

namespace nestor::emu {
namespace {

using vmx::CheckContext;
using vmx::CheckGroup;
using vmx::EntryCheck;
using vmx::Field;

constexpr std::array kGroups = {CheckGroup::kControls, CheckGroup::kHostState,
                                CheckGroup::kGuestState};

template <class Visit>
void for_each_check(const Visit& visit) {
  for (const CheckGroup group : kGroups)
    for (const vmx::CheckTable& table : check_tables(group))
      for (const EntryCheck& check : table.checks) visit(check, group);
}

// Stands for memory that is there, to learn which checks would ask for it.
class AnyMemory final : public vmx::MemoryReader {
 public:
  bool read(ept::PhysicalAddress, std::span<uint8_t> out) const override {
    std::ranges::fill(out, uint8_t{0xff});
    return false;
  }
};

constexpr std::string_view kMemory = "it depends on the content of memory";
constexpr std::string_view kPointer = "it depends on the address of the current VMCS";
constexpr std::string_view kMode = "it depends on IA32_EFER.LMA at the time of VM entry";
constexpr std::string_view kMsrList = "the entries are in memory";

std::vector<NotJudged> not_judged(const CheckContext& context) {
  std::vector<NotJudged> list;
  const AnyMemory memory;
  CheckContext with_memory = context, with_pointer = context;
  with_memory.memory = &memory;
  with_pointer.current_vmcs = ept::PhysicalAddress{0};
  CheckContext other_mode = context;
  other_mode.long_mode = !context.long_mode;
  for_each_check([&](const EntryCheck& check, CheckGroup) {
    const auto applies = [&](const CheckContext& c) { return check.applies(c, check.field); };
    if (applies(context) != applies(other_mode)) {
      if (!applies(context)) return;
      list.push_back({check.id, info_of(check.field).name, kMode});
    } else if (!applies(context) && applies(with_memory)) {
      list.push_back({check.id, info_of(check.field).name, kMemory});
    } else if (!applies(context) && applies(with_pointer)) {
      list.push_back({check.id, info_of(check.field).name, kPointer});
    }
  });
  struct MsrArea {
    Field count;
    std::string_view id, name;
  };
  constexpr std::array kAreas = {
      MsrArea{Field::kVmEntryMsrLoadCount, "vm-entry-msr-load", "VM-entry MSR-load area"},
      MsrArea{Field::kVmExitMsrStoreCount, "vm-exit-msr-store", "VM-exit MSR-store area"},
      MsrArea{Field::kVmExitMsrLoadCount, "vm-exit-msr-load", "VM-exit MSR-load area"},
  };
  for (const MsrArea& area : kAreas)
    if (context[area.count] != 0) list.push_back({area.id, area.name, kMsrList});
  return list;
}

// Tries every single bit of each absent field, and all of them.
std::vector<AbsentField> absent_fields(const VmcsDocument& document, const CheckContext& context) {
  std::vector<bool> before;
  for_each_check(
      [&](const EntryCheck& check, CheckGroup) { before.push_back(check.passes(context)); });
  std::vector<AbsentField> list;
  for (const vmx::FieldInfo& info : vmx::kFields) {
    if (document.given.contains(info.field) || !context.capabilities.has_field(info.field))
      continue;
    vmx::Vmcs vmcs = document.vmcs;
    CheckContext changed{.vmcs = vmcs,
                         .capabilities = context.capabilities,
                         .memory = nullptr,
                         .current_vmcs = std::nullopt,
                         .long_mode = context.long_mode};
    std::vector<bool> differs(before.size());
    for (unsigned bit = 0; bit <= vmx::bits_of(info.field); ++bit) {
      const uint64_t value =
          bit == vmx::bits_of(info.field) ? vmx::value_mask(info.field) : uint64_t{1} << bit;
      vmcs.write(info.field, value);
      size_t i = 0;
      for_each_check([&](const EntryCheck& check, CheckGroup) {
        if (check.passes(changed) != before[i]) differs[i] = true;
        ++i;
      });
    }
    AbsentField absent{info.field, {}};
    size_t i = 0;
    for_each_check([&](const EntryCheck& check, CheckGroup) {
      // A field that must not be 0 may need more than one bit to be right.
      const bool fails_itself = check.field == info.field && !before[i];
      if (differs[i++] || fails_itself) absent.checks.push_back(check.id);
    });
    if (!absent.checks.empty()) list.push_back(std::move(absent));
  }
  return list;
}

// The fields whose bits the capability MSRs fix.
struct FixedField {
  Field field;
  vmx::ControlGroup group;
};
constexpr std::array kFixedFields = {
    FixedField{Field::kPinBasedControls, vmx::ControlGroup::kPinBased},
    FixedField{Field::kPrimaryProcBasedControls, vmx::ControlGroup::kPrimaryProcBased},
    FixedField{Field::kSecondaryProcBasedControls, vmx::ControlGroup::kSecondaryProcBased},
    FixedField{Field::kTertiaryProcBasedControls, vmx::ControlGroup::kTertiaryProcBased},
    FixedField{Field::kVmExitControls, vmx::ControlGroup::kVmExit},
    FixedField{Field::kSecondaryVmExitControls, vmx::ControlGroup::kSecondaryVmExit},
    FixedField{Field::kVmEntryControls, vmx::ControlGroup::kVmEntry},
    FixedField{Field::kVmFunctionControls, vmx::ControlGroup::kVmFunction},
};

std::string bit_list(uint64_t bits, std::span<const vmx::ControlName> names) {
  std::string text;
  for (unsigned bit = 0; bit < 64; ++bit) {
    const uint64_t mask = uint64_t{1} << bit;
    if ((bits & mask) == 0) continue;
    text += fmt::format("{}{}", text.empty() ? "" : ", ", bit);
    for (const vmx::ControlName& name : names)
      if (name.mask == mask) text += fmt::format(" ({})", name.name);
  }
  return text;
}

std::string wrong_bits(const EntryCheck& check, const CheckContext& context) {
  const uint64_t value = context[check.field];
  uint64_t zero = 0, one = 0;  // wrongly 0, wrongly 1
  std::span<const vmx::ControlName> names;
  if (check.id.ends_with("-reserved")) {
    for (const FixedField& fixed : kFixedFields) {
      if (fixed.field != check.field) continue;
      zero = ~value & context.capabilities.allowed0(fixed.group);
      one = value & ~context.capabilities.allowed1(fixed.group);
      names = vmx::control_names(fixed.group);
    }
  } else if (check.id.ends_with("-cr0-fixed")) {
    const uint64_t wrong = context.capabilities.cr0_violations(value);
    zero = wrong & ~value;
    one = wrong & value;
  } else if (check.id.ends_with("-cr4-fixed")) {
    const uint64_t wrong = context.capabilities.cr4_violations(value);
    zero = wrong & ~value;
    one = wrong & value;
  }
  std::string text;
  if (zero != 0) text = "must be 1 and are 0: bits " + bit_list(zero, names);
  if (one != 0)
    text += (text.empty() ? "" : "; ") + ("must be 0 and are 1: bits " + bit_list(one, names));
  return text;
}

}  // namespace

Audit audit(const VmcsDocument& document, const vmx::Capabilities& otherwise) {
  Audit result;
  StatedCapabilities stated{otherwise, {}};
  if (document.capabilities) stated = capabilities_from(*document.capabilities, otherwise);
  result.assumed = std::move(stated.assumed);
  const CheckContext context{
      .vmcs = document.vmcs,
      .capabilities = stated.capabilities,
      .memory = nullptr,
      .current_vmcs = std::nullopt,
      .long_mode = document.vmcs.has(vmx::VmExitControl::kHostAddressSpaceSize)};
  for_each_check([&](const EntryCheck& check, CheckGroup group) {
    if (!check.passes(context))
      result.violations.push_back(
          {failure_of(check, group, context), check.field, wrong_bits(check, context)});
  });
  result.not_judged = not_judged(context);
  result.absent = absent_fields(document, context);
  return result;
}

EntryFailure entry_failure(const vmx::FailedCheck& failure) {
  using vmx::InstructionError;
  switch (failure.group) {
    case CheckGroup::kControls:
      return {static_cast<uint32_t>(InstructionError::kEntryInvalidControls), 0, 0};
    case CheckGroup::kHostState:
      return {static_cast<uint32_t>(InstructionError::kEntryInvalidHostState), 0, 0};
    case CheckGroup::kGuestState:
      break;
  }
  const auto reason = static_cast<uint32_t>(vmx::ExitReason::kEntryFailureGuestState);
  return {std::nullopt, vmx::kExitReasonEntryFailure | reason, failure.qualification};
}

}  // namespace nestor::emu
