// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/observe/audit/vmcs_names.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <map>
#include <vector>

#include "vmx/msr_index.h"

namespace nestor::emu {
namespace {

using vmx::Field;
using vmx::FieldAccess;
using Names = std::map<std::string, Field, std::less<>>;

// Words that hypervisors write in another way; an empty one says nothing.
struct Synonym {
  std::string_view word, meaning;
};
constexpr std::array kSynonyms = {
    Synonym{"addr", "address"},
    Synonym{"ar", "accessrights"},
    Synonym{"bitmaps", "bitmap"},
    Synonym{"bytes", ""},
    Synonym{"control", "controls"},
    Synonym{"cpu", "processor"},
    Synonym{"ctls", "controls"},
    Synonym{"ctrl", ""},
    Synonym{"desc", "descriptor"},
    Synonym{"exec", "execution"},
    Synonym{"field", ""},
    Synonym{"g", "guest"},
    Synonym{"h", "host"},
    Synonym{"ia32", ""},
    Synonym{"info", "information"},
    Synonym{"intr", "interrupt"},
    Synonym{"inst", "instruction"},
    Synonym{"interruption", "interrupt"},
    Synonym{"ldt", "ldtr"},
    Synonym{"len", "length"},
    Synonym{"pdptr0", "pdpte0"},
    Synonym{"pdptr1", "pdpte1"},
    Synonym{"pdptr2", "pdpte2"},
    Synonym{"pdptr3", "pdpte3"},
    Synonym{"pri", "primary"},
    Synonym{"proc", "processor"},
    Synonym{"ptr", "pointer"},
    Synonym{"qual", "qualification"},
    Synonym{"register", ""},
    Synonym{"sec", "secondary"},
    Synonym{"segment", ""},
    Synonym{"sel", "selector"},
    Synonym{"task", "tr"},
    Synonym{"vmcs", ""},
    Synonym{"vmx", ""},
};

// Names that are not the SDM's, of Linux, Xen, HAXM, ia32-doc, bhyve and its children.
struct Alias {
  std::string_view name;
  Field field;
};
constexpr std::array kAliases = {
    Alias{"VIRTUAL_PROCESSOR_ID", Field::kVirtualProcessorIdentifier},
    Alias{"POSTED_INTR_NV", Field::kPostedInterruptNotificationVector},
    Alias{"GUEST_INTR_STATUS", Field::kGuestInterruptStatus},
    Alias{"GUEST_PML_INDEX", Field::kPmlIndex},
    Alias{"IO_BITMAP_A", Field::kIoBitmapA},
    Alias{"IO_BITMAP_A_ADDRESS", Field::kIoBitmapA},
    Alias{"IO_BITMAP_B", Field::kIoBitmapB},
    Alias{"IO_BITMAP_B_ADDRESS", Field::kIoBitmapB},
    Alias{"MSR_BITMAP", Field::kMsrBitmaps},
    Alias{"MSR_BITMAP_ADDRESS", Field::kMsrBitmaps},
    Alias{"EXIT_MSR_STORE_ADDRESS", Field::kVmExitMsrStoreAddress},
    Alias{"EXIT_MSR_LOAD_ADDRESS", Field::kVmExitMsrLoadAddress},
    Alias{"ENTRY_MSR_LOAD_ADDRESS", Field::kVmEntryMsrLoadAddress},
    Alias{"VIRTUAL_APIC_PAGE_ADDR", Field::kVirtualApicAddress},
    Alias{"VAPIC_PAGE", Field::kVirtualApicAddress},
    Alias{"APIC_ACCESS_PAGE", Field::kApicAccessAddress},
    Alias{"PI_DESC_ADDR", Field::kPostedInterruptDescriptorAddress},
    Alias{"POSTED_INTR_DESC_ADDR", Field::kPostedInterruptDescriptorAddress},
    Alias{"VMFUNC_CONTROLS", Field::kVmFunctionControls},
    Alias{"EPT_POINTER_LIST_ADDRESS", Field::kEptpListAddress},
    Alias{"VMREAD_BITMAP", Field::kVmreadBitmap},
    Alias{"VMWRITE_BITMAP", Field::kVmwriteBitmap},
    Alias{"VE_INFORMATION_ADDRESS", Field::kVirtualizationExceptionInformationAddress},
    Alias{"VIRT_EXCEPTION_INFO", Field::kVirtualizationExceptionInformationAddress},
    Alias{"XSS_EXIT_BITMAP", Field::kXssExitingBitmap},
    Alias{"TERTIARY_VM_EXEC_CONTROL", Field::kTertiaryProcBasedControls},
    Alias{"HLAT_POINTER", Field::kHlatPointer},
    Alias{"PID_POINTER_TABLE", Field::kPidPointerTableAddress},
    Alias{"VM_EXIT_INFO_GUEST_PHYSICAL_ADDRESS", Field::kGuestPhysicalAddress},
    Alias{"GUEST_VMCS_LINK_POINTER", Field::kVmcsLinkPointer},
    Alias{"PIN_CONTROLS", Field::kPinBasedControls},
    Alias{"CPU_BASED_VM_EXEC_CONTROL", Field::kPrimaryProcBasedControls},
    Alias{"PRIMARY_PROCESSOR_CONTROLS", Field::kPrimaryProcBasedControls},
    Alias{"VM_EXIT_CONTROLS", Field::kVmExitControls},
    Alias{"EXIT_CONTROLS", Field::kVmExitControls},
    Alias{"EXIT_MSR_STORE_COUNT", Field::kVmExitMsrStoreCount},
    Alias{"EXIT_MSR_LOAD_COUNT", Field::kVmExitMsrLoadCount},
    Alias{"ENTRY_CONTROLS", Field::kVmEntryControls},
    Alias{"ENTRY_MSR_LOAD_COUNT", Field::kVmEntryMsrLoadCount},
    Alias{"ENTRY_INTERRUPT_INFO", Field::kVmEntryInterruptionInformation},
    Alias{"ENTRY_EXCEPTION_ERROR_CODE", Field::kVmEntryExceptionErrorCode},
    Alias{"ENTRY_INSTRUCTION_LENGTH", Field::kVmEntryInstructionLength},
    Alias{"SECONDARY_VM_EXEC_CONTROL", Field::kSecondaryProcBasedControls},
    Alias{"SECONDARY_PROCESSOR_CONTROLS", Field::kSecondaryProcBasedControls},
    Alias{"NOTIFY_WINDOW", Field::kInstructionTimeoutControl},
    Alias{"INSTRUCTION_ERROR_CODE", Field::kVmInstructionError},
    Alias{"VM_EXIT_REASON", Field::kExitReason},
    Alias{"VM_EXIT_INFO_REASON", Field::kExitReason},
    Alias{"VM_EXIT_INFO_INTERRUPT_INFO", Field::kVmExitInterruptionInformation},
    Alias{"VM_EXIT_INFO_EXCEPTION_ERROR_CODE", Field::kVmExitInterruptionErrorCode},
    Alias{"VM_EXIT_INFO_IDT_VECTORING", Field::kIdtVectoringInformation},
    Alias{"VM_EXIT_INFO_IDT_VECTORING_ERROR_CODE", Field::kIdtVectoringErrorCode},
    Alias{"VM_EXIT_INFO_INSTRUCTION_LENGTH", Field::kVmExitInstructionLength},
    Alias{"VMX_INSTRUCTION_INFO", Field::kVmExitInstructionInformation},
    Alias{"VM_EXIT_INFO_INSTRUCTION_INFO", Field::kVmExitInstructionInformation},
    Alias{"GUEST_INTERRUPTIBILITY", Field::kGuestInterruptibilityState},
    Alias{"GUEST_INTERRUPTIBILITY_INFO", Field::kGuestInterruptibilityState},
    Alias{"PREEMPTION_TIMER", Field::kVmxPreemptionTimerValue},
    Alias{"GUEST_PREEMPTION_TIMER", Field::kVmxPreemptionTimerValue},
    Alias{"GUEST_PREEMPTION_TIMER_VALUE", Field::kVmxPreemptionTimerValue},
    Alias{"CR0_MASK", Field::kCr0GuestHostMask},
    Alias{"CR4_MASK", Field::kCr4GuestHostMask},
    Alias{"CR3_TARGET_VAL_BASE", Field::kCr3TargetValue0},
    Alias{"VM_EXIT_INFO_QUALIFICATION", Field::kExitQualification},
    Alias{"VM_EXIT_INFO_IO_ECX", Field::kIoRcx},
    Alias{"VM_EXIT_INFO_IO_ESI", Field::kIoRsi},
    Alias{"VM_EXIT_INFO_IO_EDI", Field::kIoRdi},
    Alias{"VM_EXIT_INFO_IO_EIP", Field::kIoRip},
    Alias{"EXIT_GUEST_LINEAR_ADDRESS", Field::kGuestLinearAddress},
    Alias{"VM_EXIT_INFO_GUEST_LINEAR_ADDRESS", Field::kGuestLinearAddress},
    Alias{"GUEST_PENDING_DBE", Field::kGuestPendingDebugExceptions},
    Alias{"GUEST_PENDING_DBG_EXCEPTIONS", Field::kGuestPendingDebugExceptions},
    Alias{"GUEST_INTR_SSP_TABLE", Field::kGuestIa32InterruptSspTableAddr},
    Alias{"HOST_INTR_SSP_TABLE", Field::kHostIa32InterruptSspTableAddr},
    Alias{"VMLAUNCH_ERROR_CODE", Field::kVmInstructionError},
    Alias{"VMRESUME_ERROR_CODE", Field::kVmInstructionError},
    Alias{"INSTRUCTION_ERROR", Field::kVmInstructionError},
    Alias{"VMINSTR_ERROR", Field::kVmInstructionError},
    Alias{"PIN_CTRL", Field::kPinBasedControls},
    Alias{"PIN_BASED", Field::kPinBasedControls},
    Alias{"PIN_BASED_VM_EXEC_CONTROL", Field::kPinBasedControls},
    Alias{"PRIM_CTRL", Field::kPrimaryProcBasedControls},
    Alias{"CPU_BASED", Field::kPrimaryProcBasedControls},
    Alias{"SEC_CTRL", Field::kSecondaryProcBasedControls},
    Alias{"SECCPU_BASED", Field::kSecondaryProcBasedControls},
    Alias{"TERTIARY_PROC_BASED_VMEXEC_CTLS", Field::kTertiaryProcBasedControls},
    Alias{"ENTRY_CTRL", Field::kVmEntryControls},
    Alias{"EXIT_CTRL", Field::kVmExitControls},
    Alias{"IDT_VEC", Field::kIdtVectoringInformation},
    Alias{"IDT_ERR", Field::kIdtVectoringErrorCode},
    Alias{"INSTR_LEN", Field::kVmExitInstructionLength},
    Alias{"POST_INTERRUPT_NOTIFICATION_VEC", Field::kPostedInterruptNotificationVector},
    Alias{"VIRT_EXCEPTION_INFO_ADDRESS", Field::kVirtualizationExceptionInformationAddress},
    Alias{"SUBPAGE_PERMISSION_TABLE_POINTER", Field::kSubPagePermissionTablePointer},
    Alias{"TASK_PRIORITY_THRESHOLD", Field::kTprThreshold},
    Alias{"TASK_PRIVILEGE_THRESHOLD", Field::kTprThreshold},
    Alias{"GUEST_PADDR", Field::kGuestPhysicalAddress},
    Alias{"GUEST_PENDING_DEBUG_X", Field::kGuestPendingDebugExceptions},
    Alias{"CR0_SHADOW", Field::kCr0ReadShadow},
    Alias{"CR4_SHADOW", Field::kCr4ReadShadow},
    Alias{"CR3_TARGET0", Field::kCr3TargetValue0},
    Alias{"CR3_TARGET1", Field::kCr3TargetValue1},
    Alias{"CR3_TARGET2", Field::kCr3TargetValue2},
    Alias{"CR3_TARGET3", Field::kCr3TargetValue3},
    Alias{"PIR_VECTOR", Field::kPostedInterruptNotificationVector},
    Alias{"PIR_DESC", Field::kPostedInterruptDescriptorAddress},
    Alias{"EXIT_MSR_STORE", Field::kVmExitMsrStoreAddress},
    Alias{"EXIT_MSR_LOAD", Field::kVmExitMsrLoadAddress},
    Alias{"ENTRY_MSR_LOAD", Field::kVmEntryMsrLoadAddress},
    Alias{"EXECUTIVE_VMCS", Field::kExecutiveVmcsPointer},
    Alias{"VIRTUAL_APIC", Field::kVirtualApicAddress},
    Alias{"APIC_ACCESS", Field::kApicAccessAddress},
    Alias{"PRI_PROC_BASED_CTLS", Field::kPrimaryProcBasedControls},
    Alias{"SEC_PROC_BASED_CTLS", Field::kSecondaryProcBasedControls},
    Alias{"PF_ERROR_MASK", Field::kPageFaultErrorCodeMask},
    Alias{"PF_ERROR_MATCH", Field::kPageFaultErrorCodeMatch},
    Alias{"ENTRY_EXCEPTION_ERROR", Field::kVmEntryExceptionErrorCode},
    Alias{"EXIT_INTR_INFO", Field::kVmExitInterruptionInformation},
    Alias{"EXIT_INTR_ERRCODE", Field::kVmExitInterruptionErrorCode},
    Alias{"IDT_VECTORING_ERROR", Field::kIdtVectoringErrorCode},
    Alias{"EXIT_INSTRUCTION_LENGTH", Field::kVmExitInstructionLength},
    Alias{"EXIT_INSTRUCTION_INFO", Field::kVmExitInstructionInformation},
    Alias{"GUEST_ACTIVITY", Field::kGuestActivityState},
};

// Words that say to which area a field belongs, "control_CR0_mask"; a name may do without.
constexpr std::array<std::string_view, 2> kAreas = {"control", "info"};

bool is_letter_or_digit(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

// The words of a name, each by its usual one, without what is between them.
std::string plain_name(std::string_view name) {
  std::string out;
  for (size_t at = 0; at < name.size();) {
    size_t end = at;
    while (end < name.size() && is_letter_or_digit(name[end])) ++end;
    std::string word = normalized_name(name.substr(at, end - at));
    for (const Synonym& synonym : kSynonyms)
      if (synonym.word == word) word = synonym.meaning;
    out += word;
    at = end + 1;
  }
  return out;
}

Names make_names() {
  Names names;
  const auto add = [&](std::string_view name, Field field) {
    names.emplace(normalized_name(name), field);
    // A word that is left alone, "pin" of PIN_CTRL, says too little.
    constexpr size_t kShortest = 6;
    if (std::string plain = plain_name(name); plain.size() >= kShortest)
      names.emplace(std::move(plain), field);
  };
  for (const vmx::FieldInfo& info : vmx::kFields) {
    add(info.name, info.field);
    add(info.identifier, info.field);
    const size_t open = info.name.find('('), close = info.name.find(')');
    if (open == std::string_view::npos || close == std::string_view::npos) continue;
    add(info.name.substr(0, open), info.field);
    add(info.name.substr(open + 1, close - open - 1), info.field);
  }
  for (const Alias& alias : kAliases) add(alias.name, alias.field);
  for (const vmx::FieldInfo& info : vmx::kFields)
    if (constexpr std::string_view kSelector = " selector"; info.name.ends_with(kSelector))
      add(info.name.substr(0, info.name.size() - kSelector.size()), info.field);
  return names;
}
const Names& field_names() {
  static const Names names = make_names();
  return names;
}

// Insertions, deletions and exchanges of a character that make one name of the other.
size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<size_t> row(b.size() + 1);
  for (size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (size_t i = 1; i <= a.size(); ++i) {
    size_t diagonal = row[0];
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t exchanged = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
      diagonal = row[j];
      row[j] = std::min({exchanged, row[j] + 1, row[j - 1] + 1});
    }
  }
  return row[b.size()];
}

struct MsrName {
  vmx::MsrIndex index;
  std::string_view name;
};
constexpr std::array kMsrs = {
    MsrName{vmx::kIa32VmxBasic, "IA32_VMX_BASIC"},
    MsrName{vmx::kIa32VmxPinbasedCtls, "IA32_VMX_PINBASED_CTLS"},
    MsrName{vmx::kIa32VmxProcbasedCtls, "IA32_VMX_PROCBASED_CTLS"},
    MsrName{vmx::kIa32VmxExitCtls, "IA32_VMX_EXIT_CTLS"},
    MsrName{vmx::kIa32VmxEntryCtls, "IA32_VMX_ENTRY_CTLS"},
    MsrName{vmx::kIa32VmxMisc, "IA32_VMX_MISC"},
    MsrName{vmx::kIa32VmxCr0Fixed0, "IA32_VMX_CR0_FIXED0"},
    MsrName{vmx::kIa32VmxCr0Fixed1, "IA32_VMX_CR0_FIXED1"},
    MsrName{vmx::kIa32VmxCr4Fixed0, "IA32_VMX_CR4_FIXED0"},
    MsrName{vmx::kIa32VmxCr4Fixed1, "IA32_VMX_CR4_FIXED1"},
    MsrName{vmx::kIa32VmxVmcsEnum, "IA32_VMX_VMCS_ENUM"},
    MsrName{vmx::kIa32VmxProcbasedCtls2, "IA32_VMX_PROCBASED_CTLS2"},
    MsrName{vmx::kIa32VmxEptVpidCap, "IA32_VMX_EPT_VPID_CAP"},
    MsrName{vmx::kIa32VmxTruePinbasedCtls, "IA32_VMX_TRUE_PINBASED_CTLS"},
    MsrName{vmx::kIa32VmxTrueProcbasedCtls, "IA32_VMX_TRUE_PROCBASED_CTLS"},
    MsrName{vmx::kIa32VmxTrueExitCtls, "IA32_VMX_TRUE_EXIT_CTLS"},
    MsrName{vmx::kIa32VmxTrueEntryCtls, "IA32_VMX_TRUE_ENTRY_CTLS"},
    MsrName{vmx::kIa32VmxVmfunc, "IA32_VMX_VMFUNC"},
    MsrName{vmx::kIa32VmxProcbasedCtls3, "IA32_VMX_PROCBASED_CTLS3"},
    MsrName{vmx::kIa32VmxExitCtls2, "IA32_VMX_EXIT_CTLS2"},
};

}  // namespace

std::string normalized_name(std::string_view name) {
  std::string out;
  for (const char c : name) {
    if ((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9')) out += c;
    if (c >= 'A' && c <= 'Z') out += static_cast<char>(c - 'A' + 'a');
  }
  return out;
}

std::optional<uint64_t> parse_number(std::string_view text) {
  const bool hexadecimal = text.starts_with("0x") || text.starts_with("0X");
  if (hexadecimal) text.remove_prefix(2);
  // Somebody's "00000042" is rather 42H.
  if (!hexadecimal && text.size() > 1 && text.front() == '0') return std::nullopt;
  uint64_t value = 0;
  const char* const end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, value, hexadecimal ? 16 : 10);
  if (text.empty() || error != std::errc{} || stop != end) return std::nullopt;
  return value;
}

std::optional<FieldAccess> find_vmcs_field(std::string_view name) {
  if (const auto encoding = parse_number(name))
    return *encoding <= 0xffffffff ? vmx::decode_field(static_cast<uint32_t>(*encoding))
                                   : std::nullopt;
  const std::string normalized = normalized_name(name);
  // IA32_VMX_PIN_BASED_CTLS
  if (normalized.starts_with("ia32vmx") && find_capability_msr(name)) return std::nullopt;
  const Names& names = field_names();
  constexpr size_t kSuffix = 4;
  for (const std::string& wanted : {normalized, plain_name(name)}) {
    if (const auto found = names.find(wanted); found != names.end())
      return FieldAccess{found->second, false};
    const bool high = wanted.ends_with("high");
    if (!high && !wanted.ends_with("full")) continue;
    const auto found = names.find(std::string_view(wanted).substr(0, wanted.size() - kSuffix));
    if (found != names.end() && vmx::width_of(found->second) == vmx::FieldWidth::k64)
      return FieldAccess{found->second, high};
  }
  for (const std::string_view area : kAreas)
    if (normalized_name(name.substr(0, area.size())) == area && name.size() > area.size() + 1 &&
        !is_letter_or_digit(name[area.size()]))
      return find_vmcs_field(name.substr(area.size() + 1));
  return std::nullopt;
}

std::string_view nearest_field_name(std::string_view name) {
  const std::string wanted = plain_name(name), written = normalized_name(name);
  size_t nearest = std::max<size_t>(2, wanted.size() / 4) + 1;
  std::string_view best;
  const auto consider = [&](std::string_view candidate) {
    const std::string plain = plain_name(candidate);
    // Who leaves out "guest" means it.
    const size_t distance = wanted.size() > 2 && plain == "guest" + wanted
                                ? 1
                                : std::min(edit_distance(wanted, plain),
                                           edit_distance(written, normalized_name(candidate)));
    if (distance >= nearest) return;
    nearest = distance;
    best = candidate;
  };
  for (const vmx::FieldInfo& info : vmx::kFields) consider(info.name);
  for (const Alias& alias : kAliases) consider(alias.name);
  return best;
}

std::optional<uint32_t> find_capability_msr(std::string_view name) {
  const auto index = parse_number(name);
  const std::string wanted = normalized_name(name);
  for (const MsrName& msr : kMsrs) {
    const auto number = static_cast<uint32_t>(msr.index);
    if (index ? *index == number : normalized_name(msr.name) == wanted) return number;
  }
  return std::nullopt;
}

std::string_view capability_msr_name(uint32_t index) {
  for (const MsrName& msr : kMsrs)
    if (static_cast<uint32_t>(msr.index) == index) return msr.name;
  return {};
}

}  // namespace nestor::emu
