// SPDX-License-Identifier: GPL-2.0-or-later
#include "vmx/field_bits.h"

#include "vmx/cpu_state.h"

namespace nestor::vmx {
namespace {

constexpr ControlName kCr0Bits[] = {
    {cr0::kPe, "PE"}, {cr0::kMp, "MP"}, {cr0::kEm, "EM"}, {cr0::kTs, "TS"},
    {cr0::kEt, "ET"}, {cr0::kNe, "NE"}, {cr0::kWp, "WP"}, {cr0::kAm, "AM"},
    {cr0::kNw, "NW"}, {cr0::kCd, "CD"}, {cr0::kPg, "PG"},
};
constexpr ControlName kCr4Bits[] = {
    {cr4::kVme, "VME"},
    {cr4::kPvi, "PVI"},
    {cr4::kTsd, "TSD"},
    {cr4::kDe, "DE"},
    {cr4::kPse, "PSE"},
    {cr4::kPae, "PAE"},
    {cr4::kMce, "MCE"},
    {cr4::kPge, "PGE"},
    {cr4::kPce, "PCE"},
    {cr4::kOsfxsr, "OSFXSR"},
    {cr4::kOsxmmexcpt, "OSXMMEXCPT"},
    {cr4::kUmip, "UMIP"},
    {cr4::kLa57, "LA57"},
    {cr4::kVmxe, "VMXE"},
    {cr4::kSmxe, "SMXE"},
    {cr4::kFsgsbase, "FSGSBASE"},
    {cr4::kPcide, "PCIDE"},
    {cr4::kOsxsave, "OSXSAVE"},
    {cr4::kSmep, "SMEP"},
    {cr4::kSmap, "SMAP"},
    {cr4::kPke, "PKE"},
    {cr4::kCet, "CET"},
    {cr4::kPks, "PKS"},
    {1ull << 19, "KL"},
    {1ull << 25, "UINTR"},
    {1ull << 27, "LASS"},
    {1ull << 28, "LAM_SUP"},
    {1ull << 32, "FRED"},
};
constexpr ControlName kEferBits[] = {
    {efer::kSce, "SCE"},
    {efer::kLme, "LME"},
    {efer::kLma, "LMA"},
    {efer::kNxe, "NXE"},
};
constexpr ControlName kRflagsBits[] = {
    {rflags::kCf, "CF"}, {rflags::kPf, "PF"},   {rflags::kAf, "AF"},   {rflags::kZf, "ZF"},
    {rflags::kSf, "SF"}, {rflags::kTf, "TF"},   {rflags::kIf, "IF"},   {rflags::kDf, "DF"},
    {rflags::kOf, "OF"}, {rflags::kNt, "NT"},   {rflags::kRf, "RF"},   {rflags::kVm, "VM"},
    {rflags::kAc, "AC"}, {rflags::kVif, "VIF"}, {rflags::kVip, "VIP"}, {rflags::kId, "ID"},
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
// The control fields take their names from control_names.
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
  ControlGroup group;
};
constexpr ControlField kControlFields[] = {
    {Field::kPinBasedControls, ControlGroup::kPinBased},
    {Field::kPrimaryProcBasedControls, ControlGroup::kPrimaryProcBased},
    {Field::kSecondaryProcBasedControls, ControlGroup::kSecondaryProcBased},
    {Field::kTertiaryProcBasedControls, ControlGroup::kTertiaryProcBased},
    {Field::kVmExitControls, ControlGroup::kVmExit},
    {Field::kSecondaryVmExitControls, ControlGroup::kSecondaryVmExit},
    {Field::kVmEntryControls, ControlGroup::kVmEntry},
    {Field::kVmFunctionControls, ControlGroup::kVmFunction},
};

}  // namespace

std::span<const ControlName> bit_names(Field field) {
  for (const BitField& known : kBitFields)
    if (known.field == field) return known.names;
  for (const ControlField& known : kControlFields)
    if (known.field == field) return control_names(known.group);
  return {};
}

std::optional<ControlGroup> control_group_of(Field field) {
  for (const ControlField& known : kControlFields)
    if (known.field == field) return known.group;
  return std::nullopt;
}

std::string bit_list(Field field, uint64_t bits) {
  const std::string_view name = info_of(field).name;
  const std::string_view owner = name.substr(name.rfind(' ') + 1);  // "CR0" of "Guest CR0"
  const bool control = control_group_of(field).has_value();
  std::string text;
  for (unsigned i = 0; i < 64; ++i) {
    if ((bits >> i & 1) == 0) continue;
    std::string_view bit;
    for (const ControlName& known : bit_names(field))
      if (known.mask == uint64_t{1} << i) bit = known.name;
    const std::string number = "bit " + std::to_string(i);
    if (!text.empty()) text += ", ";
    if (bit.empty()) {
      text += number;
    } else if (control || bit.find(' ') != std::string_view::npos) {
      text += '"' + std::string(bit) + "\" (" + number + ")";
    } else {
      text += std::string(owner) + "." + std::string(bit);
    }
  }
  return text;
}

std::string requirement_of(Field field, const WrongBits& bits) {
  std::string text;
  if (bits.zero != 0) text = bit_list(field, bits.zero) + " must be 1";
  if (bits.one != 0) text += (text.empty() ? "" : "; ") + bit_list(field, bits.one) + " must be 0";
  return text;
}

}  // namespace nestor::vmx
