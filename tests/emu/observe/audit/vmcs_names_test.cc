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

TEST(VmcsNames, FindsTheNameThatIsMeant) {
  EXPECT_EQ(nearest_field_name("GUEST_CRO"), "Guest CR0");
  EXPECT_EQ(nearest_field_name("HOST_IA32_EFFER"), "Host IA32_EFER");
  EXPECT_EQ(nearest_field_name("SECONDARY_VM_EXE_CONTROL"), "SECONDARY_VM_EXEC_CONTROL");
  EXPECT_EQ(nearest_field_name("RFLAGS"), "Guest RFLAGS");
  EXPECT_EQ(nearest_field_name("temperature"), "");
}

TEST(VmcsNames, RefusesWhatIsNoField) {
  for (const char* name :
       {"", "high", "pin", "entry", "control", "Guest CR9", "0x7ffe", "0x1000006800", "0x"})
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
