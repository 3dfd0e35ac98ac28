// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/observe/audit/vmcs_decoding.h"

#include <spdlog/fmt/fmt.h>

#include <array>
#include <span>

#include "vmx/cpu_state.h"
#include "vmx/exit_reasons.h"
#include "vmx/field_bits.h"
#include "vmx/instruction_errors.h"

namespace nestor::emu {
namespace {

using vmx::ControlName;
using vmx::Field;

constexpr std::array kExitControlFields = {
    Field::kVmExitControls,     Field::kSecondaryVmExitControls, Field::kVmExitMsrStoreCount,
    Field::kVmExitMsrLoadCount, Field::kVmExitMsrStoreAddress,   Field::kVmExitMsrLoadAddress,
};
constexpr std::array kEntryControlFields = {
    Field::kVmEntryControls,           Field::kVmEntryMsrLoadCount,
    Field::kVmEntryMsrLoadAddress,     Field::kVmEntryInterruptionInformation,
    Field::kVmEntryExceptionErrorCode, Field::kVmEntryInstructionLength,
};

template <size_t kCount>
bool contains(const std::array<Field, kCount>& fields, Field wanted) {
  for (const Field field : fields)
    if (field == wanted) return true;
  return false;
}

std::string join(std::string_view before, std::string_view item) {
  return before.empty() ? std::string(item) : fmt::format("{}, {}", before, item);
}

std::string bits(uint64_t value, std::span<const ControlName> names) {
  std::string text;
  for (const ControlName& name : names)
    if ((value & name.mask) != 0) text = join(text, name.name);
  return text;
}

// Segment types by bits 3:0: system segments of 32-bit mode, then code and data.
std::string_view segment_type(const vmx::AccessRights& rights) {
  constexpr std::string_view kSystem[] = {"",
                                          "available 16-bit TSS",
                                          "LDT",
                                          "busy 16-bit TSS",
                                          "16-bit call gate",
                                          "task gate",
                                          "16-bit interrupt gate",
                                          "16-bit trap gate",
                                          "",
                                          "available TSS",
                                          "",
                                          "busy TSS",
                                          "call gate",
                                          "",
                                          "interrupt gate",
                                          "trap gate"};
  constexpr std::string_view kCodeOrData[] = {"read-only",
                                              "read-only, accessed",
                                              "read/write",
                                              "read/write, accessed",
                                              "read-only, expand-down",
                                              "read-only, expand-down, accessed",
                                              "read/write, expand-down",
                                              "read/write, expand-down, accessed",
                                              "execute-only",
                                              "execute-only, accessed",
                                              "execute/read",
                                              "execute/read, accessed",
                                              "execute-only, conforming",
                                              "execute-only, conforming, accessed",
                                              "execute/read, conforming",
                                              "execute/read, conforming, accessed"};
  return rights.code_or_data() ? kCodeOrData[rights.type()] : kSystem[rights.type()];
}

std::string access_rights(uint64_t value) {
  const vmx::AccessRights rights{static_cast<uint32_t>(value)};
  if (rights.unusable()) return "unusable";
  std::string text = fmt::format("{}, DPL {}", segment_type(rights), rights.dpl());
  constexpr ControlName kFlags[] = {
      {1u << 7, "P"}, {1u << 12, "AVL"}, {1u << 13, "L"}, {1u << 14, "D/B"}, {1u << 15, "G"}};
  const std::string flags = bits(value, kFlags);
  return flags.empty() ? text : join(text, flags);
}

std::string items(const vmx::QualificationItems& list) {
  std::string text;
  for (const vmx::QualificationItem& item : list) {
    text = join(text, !item.text.empty() ? fmt::format("{} {}", item.key, item.text)
                                         : fmt::format("{} {:#x}", item.key, item.value));
  }
  return text;
}

bool is_access_rights(Field field) {
  return field >= Field::kGuestEsAccessRights && field <= Field::kGuestTrAccessRights;
}

std::string exit_reason(uint32_t reason) {
  std::string text(vmx::exit_reason_name(reason));
  if ((reason & vmx::kExitReasonEntryFailure) != 0) text = join(text, "VM entry failed");
  if ((reason & vmx::kExitReasonPendingMtf) != 0) text = join(text, "MTF VM exit pending");
  if ((reason & vmx::kExitReasonFromRoot) != 0) text = join(text, "from VMX root operation");
  return text;
}

}  // namespace

VmcsGroup group_of(Field field) {
  switch (vmx::type_of(field)) {
    case vmx::FieldType::kGuestState:
      return VmcsGroup::kGuestState;
    case vmx::FieldType::kHostState:
      return VmcsGroup::kHostState;
    case vmx::FieldType::kVmExitInformation:
      return VmcsGroup::kExitInformation;
    case vmx::FieldType::kControl:
      break;
  }
  if (contains(kExitControlFields, field)) return VmcsGroup::kExitControls;
  return contains(kEntryControlFields, field) ? VmcsGroup::kEntryControls
                                              : VmcsGroup::kExecutionControls;
}

std::string_view group_name(VmcsGroup group) {
  constexpr std::string_view kNames[kVmcsGroupCount] = {
      "Guest state",      "Host state",        "VM-execution controls",
      "VM-exit controls", "VM-entry controls", "VM-exit information"};
  return kNames[static_cast<size_t>(group)];
}

std::string hex(uint64_t value) { return fmt::format("{:#x}", value); }

std::string decode(const vmx::Vmcs& vmcs, Field field) {
  const uint64_t value = vmcs[field];
  if (const auto names = vmx::bit_names(field); !names.empty()) return bits(value, names);
  if (is_access_rights(field)) return access_rights(value);
  switch (field) {
    case Field::kGuestActivityState: {
      constexpr std::string_view kNames[] = {"active", "HLT", "shutdown", "wait-for-SIPI"};
      return std::string(value < std::size(kNames) ? kNames[value] : "");
    }
    case Field::kExitReason:
      return exit_reason(static_cast<uint32_t>(value));
    case Field::kExitQualification:
      return items(vmx::decode_qualification(
          static_cast<uint32_t>(vmcs[Field::kExitReason]), value,
          static_cast<uint8_t>(vmcs[Field::kVmExitInterruptionInformation])));
    case Field::kVmEntryInterruptionInformation:
    case Field::kVmExitInterruptionInformation:
    case Field::kIdtVectoringInformation:
      return items(vmx::decode_interruption_information(static_cast<uint32_t>(value)));
    case Field::kVmInstructionError:
      return value == 0 ? ""
                        : std::string(vmx::instruction_error_text(static_cast<uint32_t>(value)));
    default:
      return "";
  }
}

}  // namespace nestor::emu
