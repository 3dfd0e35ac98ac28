// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/observe/audit/vmcs_names.h"

#include <gtest/gtest.h>

#include <map>

namespace nestor::emu {
namespace {

using vmx::Field;

TEST(VmcsNames, TakesAnySpellingOfCaseSpacesDashesAndUnderscores) {
  for (const char* name : {"Guest CR0", "guest cr0", "GUEST_CR0", "guest-cr0", "GuestCr0", "0x6800",
                           "0X6800", "26624"}) {
    const auto access = find_vmcs_field(name);
    ASSERT_TRUE(access) << name;
    EXPECT_EQ(access->field, Field::kGuestCr0) << name;
    EXPECT_FALSE(access->high) << name;
  }
}

TEST(VmcsNames, KnowsAbbreviationsInParentheses) {
  for (const char* name : {"EPT pointer (EPTP)", "EPT_POINTER", "eptp"})
    EXPECT_EQ(find_vmcs_field(name)->field, Field::kEptPointer) << name;
}

TEST(VmcsNames, FindsHighHalvesOf64BitFieldsOnly) {
  for (const char* name : {"VMCS_LINK_POINTER_HIGH", "VMCS link pointer (high)", "0x2801"}) {
    const auto access = find_vmcs_field(name);
    ASSERT_TRUE(access) << name;
    EXPECT_EQ(access->field, Field::kVmcsLinkPointer) << name;
    EXPECT_TRUE(access->high) << name;
  }
  EXPECT_FALSE(find_vmcs_field("VMCS link pointer (full)")->high);
  EXPECT_FALSE(find_vmcs_field("GUEST_CR0_HIGH"));
  EXPECT_FALSE(find_vmcs_field("0x6801"));
}

TEST(VmcsNames, KnowsWhatHypervisorsCallTheFields) {
  const std::pair<std::string_view, Field> names[] = {
      // Linux and Xen
      {"VIRTUAL_PROCESSOR_ID", Field::kVirtualProcessorIdentifier},
      {"GUEST_ES_AR_BYTES", Field::kGuestEsAccessRights},
      {"VM_ENTRY_INTR_INFO_FIELD", Field::kVmEntryInterruptionInformation},
      {"VM_ENTRY_INTR_INFO", Field::kVmEntryInterruptionInformation},
      {"CPU_BASED_VM_EXEC_CONTROL", Field::kPrimaryProcBasedControls},
      {"SECONDARY_VM_EXEC_CONTROL", Field::kSecondaryProcBasedControls},
      {"GUEST_INTERRUPTIBILITY_INFO", Field::kGuestInterruptibilityState},
      {"GUEST_PDPTR2", Field::kGuestPdpte2},
      {"GUEST_SYSENTER_ESP", Field::kGuestIa32SysenterEsp},
      {"VM_EXIT_MSR_LOAD_ADDR", Field::kVmExitMsrLoadAddress},
      {"GUEST_PENDING_DBG_EXCEPTIONS", Field::kGuestPendingDebugExceptions},
      {"VM_EXIT_REASON", Field::kExitReason},
      {"VMX_INSTRUCTION_INFO", Field::kVmExitInstructionInformation},
      // HAXM
      {"VMX_PIN_CONTROLS", Field::kPinBasedControls},
      {"VMX_ENTRY_INTERRUPT_INFO", Field::kVmEntryInterruptionInformation},
      {"VM_EXIT_INFO_QUALIFICATION", Field::kExitQualification},
      {"GUEST_TR_AR", Field::kGuestTrAccessRights},
      {"GUEST_VMCS_LINK_PTR", Field::kVmcsLinkPointer},
      {"GUEST_EFER", Field::kGuestIa32Efer},
      // ia32-doc
      {"VMCS_GUEST_CR0", Field::kGuestCr0},
      {"VMCS_CTRL_PIN_BASED_VM_EXECUTION_CONTROLS", Field::kPinBasedControls},
      {"VMCS_CTRL_PRIMARY_VMEXIT_CONTROLS", Field::kVmExitControls},
      {"VMCS_GUEST_VMCS_LINK_POINTER", Field::kVmcsLinkPointer},
      {"VMCS_CTRL_EPT_POINTER", Field::kEptPointer},
      // hypervisors for teaching and research
      {"G_CR0", Field::kGuestCr0},
      {"H_EFER", Field::kHostIa32Efer},
      {"GUEST_CS", Field::kGuestCsSelector},
      {"Host TR", Field::kHostTrSelector},
      {"PRIM_CTRL", Field::kPrimaryProcBasedControls},
      {"Guest CS Segment - Access-Rights", Field::kGuestCsAccessRights},
      {"Guest Task Register - Limit", Field::kGuestTrLimit},
      {"control_CR0_mask", Field::kCr0GuestHostMask},
      {"control_VMX_seccpu_based", Field::kSecondaryProcBasedControls},
      {"control_VM_entry_interruption_information", Field::kVmEntryInterruptionInformation},
      {"info_vmexit_reason", Field::kExitReason},
      {"info_vminstr_error", Field::kVmInstructionError},
  };
  for (const auto& [name, field] : names) {
    const auto access = find_vmcs_field(name);
    ASSERT_TRUE(access) << name;
    EXPECT_EQ(access->field, field) << name;
    EXPECT_FALSE(access->high) << name;
  }
  EXPECT_TRUE(find_vmcs_field("VM_EXIT_MSR_LOAD_ADDR_HIGH")->high);
}

// Where xhyve and hyperkit have theirs from; the others of its names are the SDM's.
TEST(VmcsNames, KnowsWhatBhyveCallsTheFields) {
  const std::pair<std::string_view, uint32_t> names[] = {
      {"VMCS_VPID", 0x0000},
      {"VMCS_PIR_VECTOR", 0x0002},
      {"VMCS_GUEST_INTR_STATUS", 0x0810},
      {"VMCS_HOST_TR_SELECTOR", 0x0c0c},
      {"VMCS_IO_BITMAP_A", 0x2000},
      {"VMCS_IO_BITMAP_B", 0x2002},
      {"VMCS_MSR_BITMAP", 0x2004},
      {"VMCS_EXIT_MSR_STORE", 0x2006},
      {"VMCS_EXIT_MSR_LOAD", 0x2008},
      {"VMCS_ENTRY_MSR_LOAD", 0x200a},
      {"VMCS_EXECUTIVE_VMCS", 0x200c},
      {"VMCS_TSC_OFFSET", 0x2010},
      {"VMCS_VIRTUAL_APIC", 0x2012},
      {"VMCS_APIC_ACCESS", 0x2014},
      {"VMCS_PIR_DESC", 0x2016},
      {"VMCS_EPTP", 0x201a},
      {"VMCS_EOI_EXIT0", 0x201c},
      {"VMCS_EOI_EXIT1", 0x201e},
      {"VMCS_EOI_EXIT2", 0x2020},
      {"VMCS_EOI_EXIT3", 0x2022},
      {"VMCS_GUEST_PHYSICAL_ADDRESS", 0x2400},
      {"VMCS_LINK_POINTER", 0x2800},
      {"VMCS_GUEST_IA32_DEBUGCTL", 0x2802},
      {"VMCS_GUEST_IA32_PERF_GLOBAL_CTRL", 0x2808},
      {"VMCS_GUEST_PDPTE3", 0x2810},
      {"VMCS_HOST_IA32_PERF_GLOBAL_CTRL", 0x2c04},
      {"VMCS_PIN_BASED_CTLS", 0x4000},
      {"VMCS_PRI_PROC_BASED_CTLS", 0x4002},
      {"VMCS_EXCEPTION_BITMAP", 0x4004},
      {"VMCS_PF_ERROR_MASK", 0x4006},
      {"VMCS_PF_ERROR_MATCH", 0x4008},
      {"VMCS_CR3_TARGET_COUNT", 0x400a},
      {"VMCS_EXIT_CTLS", 0x400c},
      {"VMCS_EXIT_MSR_STORE_COUNT", 0x400e},
      {"VMCS_EXIT_MSR_LOAD_COUNT", 0x4010},
      {"VMCS_ENTRY_CTLS", 0x4012},
      {"VMCS_ENTRY_MSR_LOAD_COUNT", 0x4014},
      {"VMCS_ENTRY_INTR_INFO", 0x4016},
      {"VMCS_ENTRY_EXCEPTION_ERROR", 0x4018},
      {"VMCS_ENTRY_INST_LENGTH", 0x401a},
      {"VMCS_TPR_THRESHOLD", 0x401c},
      {"VMCS_SEC_PROC_BASED_CTLS", 0x401e},
      {"VMCS_PLE_GAP", 0x4020},
      {"VMCS_PLE_WINDOW", 0x4022},
      {"VMCS_INSTRUCTION_ERROR", 0x4400},
      {"VMCS_EXIT_REASON", 0x4402},
      {"VMCS_EXIT_INTR_INFO", 0x4404},
      {"VMCS_EXIT_INTR_ERRCODE", 0x4406},
      {"VMCS_IDT_VECTORING_INFO", 0x4408},
      {"VMCS_IDT_VECTORING_ERROR", 0x440a},
      {"VMCS_EXIT_INSTRUCTION_LENGTH", 0x440c},
      {"VMCS_EXIT_INSTRUCTION_INFO", 0x440e},
      {"VMCS_GUEST_LDTR_ACCESS_RIGHTS", 0x4820},
      {"VMCS_GUEST_INTERRUPTIBILITY", 0x4824},
      {"VMCS_GUEST_ACTIVITY", 0x4826},
      {"VMCS_GUEST_SMBASE", 0x4828},
      {"VMCS_GUEST_IA32_SYSENTER_CS", 0x482a},
      {"VMCS_PREEMPTION_TIMER_VALUE", 0x482e},
      {"VMCS_CR0_MASK", 0x6000},
      {"VMCS_CR4_SHADOW", 0x6006},
      {"VMCS_CR3_TARGET3", 0x600e},
      {"VMCS_EXIT_QUALIFICATION", 0x6400},
      {"VMCS_IO_RCX", 0x6402},
      {"VMCS_IO_RIP", 0x6408},
      {"VMCS_GUEST_LINEAR_ADDRESS", 0x640a},
      {"VMCS_GUEST_PENDING_DBG_EXCEPTIONS", 0x6822},
      {"VMCS_HOST_RIP", 0x6c16},
  };
  for (const auto& [name, encoding] : names) {
    const auto access = find_vmcs_field(name);
    ASSERT_TRUE(access) << name;
    EXPECT_EQ(vmx::encoding_of(access->field), encoding) << name;
    EXPECT_FALSE(access->high) << name;
  }
}

TEST(VmcsNames, FindsTheNameThatIsMeant) {
  EXPECT_EQ(nearest_field_name("GUEST_CRO"), "Guest CR0");
  EXPECT_EQ(nearest_field_name("HOST_IA32_EFFER"), "Host IA32_EFER");
  EXPECT_EQ(nearest_field_name("SECONDARY_VM_EXE_CONTROL"), "SECONDARY_VM_EXEC_CONTROL");
  EXPECT_EQ(nearest_field_name("RFLAGS"), "Guest RFLAGS");
  EXPECT_EQ(nearest_field_name("temperature"), "");
}

TEST(VmcsNames, RefusesWhatIsNoField) {
  for (const char* name :
       {"", "high", "pin", "entry", "control", "Guest CR9", "IA32_VMX_PIN_BASED_CTLS",
        "IA32_VMX_PROCBASED_CTLS2", "0x7ffe", "0x1000006800", "0x"})
    EXPECT_FALSE(find_vmcs_field(name)) << name;
}

TEST(VmcsNames, EveryFieldHasNamesOfItsOwn) {
  std::map<std::string, Field> seen;
  for (const vmx::FieldInfo& info : vmx::kFields) {
    EXPECT_EQ(find_vmcs_field(info.name)->field, info.field) << info.name;
    EXPECT_EQ(find_vmcs_field(info.identifier)->field, info.field) << info.identifier;
    for (const auto& name : {normalized_name(info.name), normalized_name(info.identifier)}) {
      const auto [entry, is_new] = seen.emplace(name, info.field);
      EXPECT_TRUE(is_new || entry->second == info.field) << name;
    }
  }
}

TEST(VmcsNames, FindsEveryCapabilityMsrByNameAndIndex) {
  for (uint32_t index = 0x480; index <= 0x493; ++index) {
    const std::string_view name = capability_msr_name(index);
    ASSERT_FALSE(name.empty()) << index;
    EXPECT_EQ(find_capability_msr(name), index) << name;
    EXPECT_EQ(find_capability_msr(std::to_string(index)), index);
  }
  EXPECT_TRUE(capability_msr_name(0x494).empty());
  EXPECT_EQ(find_capability_msr("IA32_EFER"), std::nullopt);
}

TEST(VmcsNames, ParsesNumbersOfUpTo64Bits) {
  EXPECT_EQ(parse_number("0xffffffffffffffff"), ~0ull);
  EXPECT_EQ(parse_number("18446744073709551615"), ~0ull);
  for (const char* text :
       {"", "0x", "-1", "+1", "1.0", "0x10000000000000000", "12h", " 1", "00", "010"})
    EXPECT_EQ(parse_number(text), std::nullopt) << text;
}

}  // namespace
}  // namespace nestor::emu
