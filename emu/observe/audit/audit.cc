// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/observe/audit/audit.h"

#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <array>
#include <bit>
#include <utility>
#include <vector>

#include "vmx/checks/wrong_bits.h"
#include "vmx/cpu_state.h"
#include "vmx/exit_reasons.h"
#include "vmx/field_bits.h"
#include "vmx/instruction_errors.h"
#include "vmx/msr_index.h"

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

// Of the checks for whose field and group `judged` is true.
template <class Judged>
std::vector<NotJudged> not_judged(const CheckContext& context, const Judged& judged) {
  std::vector<NotJudged> list;
  const AnyMemory memory;
  CheckContext with_memory = context, with_pointer = context;
  with_memory.memory = &memory;
  with_pointer.current_vmcs = ept::PhysicalAddress{0};
  CheckContext other_mode = context;
  other_mode.long_mode = !context.long_mode;
  for_each_check([&](const EntryCheck& check, CheckGroup group) {
    if (!judged(check.field, group)) return;
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
    if (context[area.count] != 0 && judged(area.count, CheckGroup::kGuestState))
      list.push_back({area.id, area.name, kMsrList});
  return list;
}

// The VM-instruction error of a VM entry.
std::optional<uint32_t> stated_error(const VmcsDocument& document) {
  const auto error = static_cast<uint32_t>(document.vmcs[Field::kVmInstructionError]);
  const auto known = static_cast<vmx::InstructionError>(error);
  return known == vmx::InstructionError::kEntryInvalidControls ||
                 known == vmx::InstructionError::kEntryInvalidHostState
             ? std::optional(error)
             : std::nullopt;
}

// What a document says of a VM entry that failed in or after the checks on guest state. A
// VM-instruction error of the other checks may be of a later VM entry.
std::optional<uint32_t> failed_entry(const VmcsDocument& document) {
  if (!document.given.contains(Field::kExitReason) || stated_error(document)) return std::nullopt;
  const auto reason = static_cast<uint32_t>(document.vmcs[Field::kExitReason]);
  return means_failed_entry(reason) ? std::optional(reason | vmx::kExitReasonEntryFailure)
                                    : std::nullopt;
}

// Does the document say that the VMCS passed the checks on host state? Then the processor has the
// features of the host's CR4. Exit reason 0 of a complete document may have never been written.
bool has_entered(const VmcsDocument& document) {
  return document.given.contains(Field::kExitReason) && !stated_error(document) &&
         (document.partial || document.vmcs[Field::kExitReason] != 0);
}

// The processors by which a document is judged.
struct Judges {
  // A check that fails on `possible` is violated. One that fails on `usual` alone is a note.
  vmx::Capabilities possible, usual;
  bool width_stated = false;  // of linear addresses; else `possible` has 48 bits
};

// The physical-address width of the processors with the narrowest one that have had `host_cr3`.
uint8_t narrow_width(uint64_t host_cr3) {
  constexpr int kNarrowest = 39;
  constexpr uint64_t kAddress = (uint64_t{1} << 52) - 1;
  return static_cast<uint8_t>(
      std::max(kNarrowest, static_cast<int>(std::bit_width(host_cr3 & kAddress))));
}

Judges judges_of(const VmcsDocument& document, const AuditTerms& terms, Audit& result) {
  const CapabilityValues values = document.capabilities.value_or(CapabilityValues{});
  if (terms.processor) {
    StatedCapabilities stated = capabilities_from(values, *terms.processor);
    if (document.capabilities) result.assumed = std::move(stated.assumed);
    return {stated.capabilities, stated.capabilities, true};
  }
  Judges judges{capabilities_from(values, any_processor()).capabilities,
                capabilities_from(values, vmx::nestor_capabilities()).capabilities,
                values.rules.contains("linear_address_width")};
  // Old processors refuse what new ones have learnt.
  if (!values.msrs.contains(vmx::kIa32VmxMisc))
    judges.usual.misc &= ~vmx::vmx_misc::kInjectionLength0;
  if (!values.msrs.contains(vmx::kIa32VmxMisc)) judges.usual.cr3_target_count = 0;
  const bool entered = has_entered(document);
  if (!values.rules.contains("physical_address_width"))
    judges.usual.registers.physical_address_width =
        narrow_width(entered ? document.vmcs[Field::kHostCr3] : 0);
  const uint64_t proved = entered ? document.vmcs[Field::kHostCr4] : 0;
  if (!values.msrs.contains(vmx::kIa32VmxCr4Fixed1)) judges.usual.registers.cr4_writable |= proved;
  judges.width_stated = judges.width_stated || (proved & vmx::cr4::kLa57) != 0;
  if (!judges.width_stated)
    judges.possible.registers.linear_address_width = judges.usual.registers.linear_address_width =
        vmx::kNarrowLinearAddressBits;
  return judges;
}

// A document and the values that its absent fields may have: 0 if they are known to be, or else 0
// and 1 in every bit.
class Readings {
 public:
  Readings(const VmcsDocument& document, bool partial) : document_(document), partial_(partial) {
    vmcs_.push_back(document.vmcs);
    if (!partial) return;
    if (!document.given.contains(Field::kVmcsLinkPointer))
      vmcs_[0].write(Field::kVmcsLinkPointer, ~uint64_t{0});
    vmcs_.push_back(vmcs_[0]);
    for (const vmx::FieldInfo& info : vmx::kFields)
      if (!document.given.contains(info.field))
        vmcs_[1].write(info.field, vmx::value_mask(info.field));
  }

  CheckContext context(const vmx::Vmcs& vmcs, const vmx::Capabilities& capabilities) const {
    return {.vmcs = vmcs,
            .capabilities = capabilities,
            .memory = nullptr,
            .current_vmcs = std::nullopt,
            .long_mode = vmcs.has(vmx::VmExitControl::kHostAddressSpaceSize)};
  }
  // The first reading: absent fields are 0.
  CheckContext context(const vmx::Capabilities& capabilities) const {
    return context(vmcs_.front(), capabilities);
  }

  // `visit` takes a const CheckContext& and returns whether to go on: the readings, and each of
  // them with another bit in one absent field.
  template <class Visit>
  bool visit_all(const vmx::Capabilities& capabilities, const Visit& visit) const {
    for (const vmx::Vmcs& vmcs : vmcs_)
      if (!visit(context(vmcs, capabilities))) return false;
    if (!partial_) return true;
    for (const vmx::Vmcs& vmcs : vmcs_)
      for (const vmx::FieldInfo& info : vmx::kFields)
        if (!document_.given.contains(info.field) && !visit_bits(vmcs, info, capabilities, visit))
          return false;
    return true;
  }
  template <class Visit>
  bool visit_bits(const vmx::Vmcs& base, const vmx::FieldInfo& info,
                  const vmx::Capabilities& capabilities, const Visit& visit) const {
    vmx::Vmcs vmcs = base;
    for (unsigned bit = 0; bit <= vmx::bits_of(info.field); ++bit) {
      vmcs.write(info.field, bit == vmx::bits_of(info.field)
                                 ? vmx::value_mask(info.field) ^ base[info.field]
                                 : base[info.field] ^ uint64_t{1} << bit);
      if (!visit(context(vmcs, capabilities))) return false;
    }
    return true;
  }

  // Does the check fail whatever the absent fields are?
  bool fails(const EntryCheck& check, const vmx::Capabilities& capabilities) const {
    if (partial_ && !document_.given.contains(check.field)) return false;
    return visit_all(capabilities, [&](const CheckContext& c) { return !check.passes(c); });
  }
  vmx::WrongBits wrong(const EntryCheck& check, const vmx::Capabilities& capabilities) const {
    vmx::WrongBits bits{~uint64_t{0}, ~uint64_t{0}};
    for (const vmx::Vmcs& vmcs : vmcs_)
      bits = bits & vmx::wrong_bits(check, context(vmcs, capabilities));
    return bits;
  }

  // The absent fields that decide a check for which `judged` is true.
  template <class Judged>
  std::vector<AbsentField> absent(const vmx::Capabilities& capabilities,
                                  const Judged& judged) const {
    std::vector<AbsentField> list;
    for (const vmx::FieldInfo& info : vmx::kFields) {
      if (document_.given.contains(info.field) || document_.never.contains(info.field) ||
          !capabilities.has_field(info.field))
        continue;
      AbsentField absent{info.field, {}};
      for_each_check([&](const EntryCheck& check, CheckGroup group) {
        if (judged(group) && decides(info, check, capabilities)) absent.checks.push_back(check.id);
      });
      if (!absent.checks.empty()) list.push_back(std::move(absent));
    }
    return list;
  }

 private:
  bool decides(const vmx::FieldInfo& info, const EntryCheck& check,
               const vmx::Capabilities& capabilities) const {
    const CheckContext base = context(capabilities);
    const bool before = check.passes(base);
    // A field that must not be 0 may need more than one bit to be right.
    if (check.field == info.field && !before) return true;
    return !visit_bits(base.vmcs, info, capabilities, [&](const CheckContext& changed) {
      CheckContext same_mode = changed;
      if (!partial_) same_mode.long_mode = base.long_mode;
      return check.passes(same_mode) == before;
    });
  }

  const VmcsDocument& document_;
  const bool partial_;
  std::vector<vmx::Vmcs> vmcs_;
};

// The VM-instruction error of a failed check; std::nullopt: VM entry ends with a VM exit.
std::optional<uint32_t> error_of_group(CheckGroup group) {
  using vmx::InstructionError;
  switch (group) {
    case CheckGroup::kControls:
      return static_cast<uint32_t>(InstructionError::kEntryInvalidControls);
    case CheckGroup::kHostState:
      return static_cast<uint32_t>(InstructionError::kEntryInvalidHostState);
    case CheckGroup::kGuestState:
      break;
  }
  return std::nullopt;
}

std::vector<OpenCheck> checks_left_open(const VmcsDocument& document,
                                        const std::vector<AbsentField>& absent) {
  std::vector<OpenCheck> list;
  for_each_check([&](const EntryCheck& check, CheckGroup group) {
    if (group != CheckGroup::kGuestState || !document.given.contains(check.field)) return;
    OpenCheck open{check.id, check.field, document.vmcs[check.field], check.requirement, {}, {}};
    for (const AbsentField& field : absent)
      if (std::ranges::find(field.checks, check.id) != field.checks.end())
        open.decided_by.push_back(info_of(field.field).name);
    if (!open.decided_by.empty()) list.push_back(std::move(open));
  });
  return list;
}

// Where a VM entry failed and no check is violated, what some processors refuse may be the cause.
void open_notes(Audit& result) {
  const auto may_be = [&](const AuditNote& note) {
    return !result.stated_error || error_of_group(note.group) == result.stated_error;
  };
  for (const AuditNote& note : result.notes)
    if (may_be(note))
      result.open.push_back({note.check, note.field, note.value, note.requirement, {}, note.text});
  std::erase_if(result.notes, may_be);
}

std::string detail_of(const EntryCheck& check, const Judges& judges, const Readings& readings) {
  const vmx::WrongBits bits = readings.wrong(check, judges.possible);
  if (!bits.empty()) return vmx::requirement_of(check.field, bits);
  if (judges.width_stated) return {};
  vmx::Capabilities wide = judges.possible;
  wide.registers.linear_address_width = vmx::kLinearAddressBits;
  if (readings.fails(check, wide)) return {};
  return "with 48-bit linear addresses; with 57 bits (a processor that has LA57) it passes";
}

std::string note_of(const EntryCheck& check, const Judges& judges, const Readings& readings) {
  const vmx::WrongBits bits = readings.wrong(check, judges.usual);
  if (bits.one != 0) return "not on a processor without " + vmx::bit_list(check.field, bits.one);
  return fmt::format("not on every processor: {}", check.requirement);
}

}  // namespace

Audit audit(const VmcsDocument& document, const AuditTerms& terms) {
  Audit result;
  result.failed_entry = failed_entry(document);
  if (document.partial) result.stated_error = stated_error(document);
  result.entry_failed = document.entry_failed || result.failed_entry || result.stated_error;
  result.remarks = document.remarks;
  result.registers = document.registers;
  result.qualification = document.vmcs[Field::kExitQualification];
  result.passed_over = document.passed_over;
  result.absent_unknown = document.partial || terms.only_stated;
  const Judges judges = judges_of(document, terms, result);
  const Readings readings(document, result.absent_unknown);
  const auto judged = [&](CheckGroup group) {
    return !result.failed_entry || group == CheckGroup::kGuestState;
  };
  const CheckContext first = readings.context(judges.possible);
  result.judged = !result.absent_unknown;
  for_each_check([&](const EntryCheck& check, CheckGroup group) {
    if (!judged(group)) return;
    result.judged = result.judged || document.given.contains(check.field);
    if (readings.fails(check, judges.possible)) {
      result.violations.push_back(
          {failure_of(check, group, first), check.field, detail_of(check, judges, readings)});
    } else if (readings.fails(check, judges.usual)) {
      result.notes.push_back({check.id, check.field, first[check.field],
                              note_of(check, judges, readings), group, check.requirement});
    }
  });
  const CheckContext context = readings.context(judges.possible);
  result.not_judged = not_judged(context, [&](Field field, CheckGroup group) {
    return judged(group) && (!result.absent_unknown || document.given.contains(field));
  });
  if (result.absent_unknown)
    std::erase_if(result.not_judged, [](const NotJudged& item) { return item.why == kMode; });
  // A VM-instruction error says where the check is that failed.
  result.absent = readings.absent(judges.possible, [&](CheckGroup group) {
    return result.stated_error ? error_of_group(group) == result.stated_error : judged(group);
  });
  constexpr uint32_t kInvalidGuestState =
      vmx::kExitReasonEntryFailure |
      static_cast<uint32_t>(vmx::ExitReason::kEntryFailureGuestState);
  if (!result.violations.empty()) return result;
  if (result.failed_entry == kInvalidGuestState && result.absent_unknown)
    result.open = checks_left_open(document, result.absent);
  if (result.entry_failed && result.failed_entry.value_or(kInvalidGuestState) == kInvalidGuestState)
    open_notes(result);
  return result;
}

EntryFailure entry_failure(const vmx::FailedCheck& failure) {
  if (const auto error = error_of_group(failure.group)) return {error, 0, 0};
  const auto reason = static_cast<uint32_t>(vmx::ExitReason::kEntryFailureGuestState);
  return {std::nullopt, vmx::kExitReasonEntryFailure | reason, failure.qualification};
}

}  // namespace nestor::emu
