// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/observe/audit/vmcs_decoding.h"

#include <spdlog/fmt/fmt.h>

#include <array>
#include <span>

#include "vmx/cpu_state.h"
#include "vmx/exit_reasons.h"
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

constexpr ControlName kCr0Bits[] = {
    {vmx::cr0::kPe, "PE"}, {vmx::cr0::kMp, "MP"}, {vmx::cr0::kEm, "EM"}, {vmx::cr0::kTs, "TS"},
    {vmx::cr0::kEt, "ET"}, {vmx::cr0::kNe, "NE"}, {vmx::cr0::kWp, "WP"}, {vmx::cr0::kAm, "AM"},
    {vmx::cr0::kNw, "NW"}, {vmx::cr0::kCd, "CD"}, {vmx::cr0::kPg, "PG"},
};
constexpr ControlName kCr4Bits[] = {
    {vmx::cr4::kVme, "VME"},
    {vmx::cr4::kPvi, "PVI"},
    {vmx::cr4::kTsd, "TSD"},
    {vmx::cr4::kDe, "DE"},
    {vmx::cr4::kPse, "PSE"},
    {vmx::cr4::kPae, "PAE"},
    {vmx::cr4::kMce, "MCE"},
    {vmx::cr4::kPge, "PGE"},
    {vmx::cr4::kPce, "PCE"},
    {vmx::cr4::kOsfxsr, "OSFXSR"},
    {vmx::cr4::kOsxmmexcpt, "OSXMMEXCPT"},
    {vmx::cr4::kUmip, "UMIP"},
    {vmx::cr4::kLa57, "LA57"},
    {vmx::cr4::kVmxe, "VMXE"},
    {vmx::cr4::kSmxe, "SMXE"},
    {vmx::cr4::kFsgsbase, "FSGSBASE"},
    {vmx::cr4::kPcide, "PCIDE"},
    {vmx::cr4::kOsxsave, "OSXSAVE"},
    {vmx::cr4::kSmep, "SMEP"},
    {vmx::cr4::kSmap, "SMAP"},
    {vmx::cr4::kPke, "PKE"},
    {vmx::cr4::kCet, "CET"},
    {vmx::cr4::kPks, "PKS"},
    {1ull << 19, "KL"},
    {1ull << 25, "UINTR"},
    {1ull << 27, "LASS"},
    {1ull << 28, "LAM_SUP"},
    {1ull << 32, "FRED"},
};
constexpr ControlName kEferBits[] = {
    {vmx::efer::kSce, "SCE"},
    {vmx::efer::kLme, "LME"},
    {vmx::efer::kLma, "LMA"},
    {vmx::efer::kNxe, "NXE"},
};
constexpr ControlName kRflagsBits[] = {
    {vmx::rflags::kCf, "CF"}, {vmx::rflags::kPf, "PF"},   {vmx::rflags::kAf, "AF"},
    {vmx::rflags::kZf, "ZF"}, {vmx::rflags::kSf, "SF"},   {vmx::rflags::kTf, "TF"},
    {vmx::rflags::kIf, "IF"}, {vmx::rflags::kDf, "DF"},   {vmx::rflags::kOf, "OF"},
    {vmx::rflags::kNt, "NT"}, {vmx::rflags::kRf, "RF"},   {vmx::rflags::kVm, "VM"},
    {vmx::rflags::kAc, "AC"}, {vmx::rflags::kVif, "VIF"}, {vmx::rflags::kVip, "VIP"},
    {vmx::rflags::kId, "ID"},
};
// "Format of Interruptibility State".
constexpr ControlName kInterruptibilityBits[] = {
    {1u << 0, "blocking by STI"}, {1u << 1, "blocking by MOV SS"},   {1u << 2, "blocking by SMI"},
    {1u << 3, "blocking by NMI"}, {1u << 4, "enclave interruption"},
};
// "Format of Pending-Debug-Exceptions".
constexpr ControlName kPendingDebugBits[] = {
    {1u << 0, "B0"},  {1u << 1, "B1"},   {1u << 2, "B2"},
    {1u << 3, "B3"},  {1u << 11, "BLD"}, {1u << 12, "enabled breakpoint"},
    {1u << 14, "BS"}, {1u << 16, "RTM"},
};

struct BitField {
  Field field;
  std::span<const ControlName> names;
};
// The control fields take their names from vmx::control_names.
constexpr BitField kBitFields[] = {
    {Field::kGuestCr0, kCr0Bits},
    {Field::kHostCr0, kCr0Bits},
    {Field::kCr0GuestHostMask, kCr0Bits},
    {Field::kCr0ReadShadow, kCr0Bits},
    {Field::kGuestCr4, kCr4Bits},
    {Field::kHostCr4, kCr4Bits},
    {Field::kCr4GuestHostMask, kCr4Bits},
    {Field::kCr4ReadShadow, kCr4Bits},
    {Field::kGuestIa32Efer, kEferBits},
    {Field::kHostIa32Efer, kEferBits},
    {Field::kGuestRflags, kRflagsBits},
    {Field::kGuestInterruptibilityState, kInterruptibilityBits},
    {Field::kGuestPendingDebugExceptions, kPendingDebugBits},
};
struct ControlField {
  Field field;
  vmx::ControlGroup group;
};
constexpr ControlField kControlFields[] = {
    {Field::kPinBasedControls, vmx::ControlGroup::kPinBased},
    {Field::kPrimaryProcBasedControls, vmx::ControlGroup::kPrimaryProcBased},
    {Field::kSecondaryProcBasedControls, vmx::ControlGroup::kSecondaryProcBased},
    {Field::kTertiaryProcBasedControls, vmx::ControlGroup::kTertiaryProcBased},
    {Field::kVmExitControls, vmx::ControlGroup::kVmExit},
    {Field::kSecondaryVmExitControls, vmx::ControlGroup::kSecondaryVmExit},
    {Field::kVmEntryControls, vmx::ControlGroup::kVmEntry},
    {Field::kVmFunctionControls, vmx::ControlGroup::kVmFunction},
};

std::span<const ControlName> bit_names(Field field) {
  for (const BitField& known : kBitFields)
    if (known.field == field) return known.names;
  for (const ControlField& known : kControlFields)
    if (known.field == field) return vmx::control_names(known.group);
  return {};
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

std::optional<vmx::ControlGroup> control_group_of(Field field) {
  for (const ControlField& known : kControlFields)
    if (known.field == field) return known.group;
  return std::nullopt;
}

std::string_view bit_name(Field field, unsigned bit) {
  for (const ControlName& name : bit_names(field))
    if (name.mask == uint64_t{1} << bit) return name.name;
  return {};
}

std::string decode(const vmx::Vmcs& vmcs, Field field) {
  const uint64_t value = vmcs[field];
  if (const auto names = bit_names(field); !names.empty()) return bits(value, names);
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
