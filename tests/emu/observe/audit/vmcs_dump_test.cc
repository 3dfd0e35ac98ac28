// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/observe/audit/vmcs_dump.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "emu/observe/audit/audit.h"
#include "emu/observe/audit/vmcs_decoding.h"
#include "tests/emu/observe/audit/valid_vmcs.h"
#include "vmx/exit_reasons.h"

namespace nestor::emu {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using vmx::Field;

constexpr VmcsOccasion kOccasion{"VM exit", 17, 0x5000};

VmcsDocument read_back(const std::string& json) {
  auto result = read_vmcs_documents(json);
  if (const auto* error = std::get_if<std::string>(&result)) {
    ADD_FAILURE() << *error;
    return {};
  }
  return std::get<std::vector<VmcsDocument>>(result).at(0);
}

// A value of its own in every field.
vmx::Vmcs full_vmcs() {
  vmx::Vmcs vmcs;
  for (const vmx::FieldInfo& info : vmx::kFields)
    vmcs.write(info.field, 0x0123456789abcdefull * (vmx::encoding_of(info.field) + 1));
  return vmcs;
}

TEST(VmcsDumps, TheJsonGivesBackEveryFieldAndTheProcessor) {
  const vmx::Capabilities own = vmx::nestor_capabilities();
  const vmx::Vmcs vmcs = full_vmcs();
  const VmcsDocument document = read_back(vmcs_json(vmcs, own, kOccasion));
  for (const vmx::FieldInfo& info : vmx::kFields) {
    EXPECT_EQ(document.given.contains(info.field), own.has_field(info.field)) << info.name;
    EXPECT_EQ(document.vmcs[info.field], own.has_field(info.field) ? vmcs[info.field] : 0)
        << info.name;
  }
  ASSERT_TRUE(document.capabilities);
  EXPECT_EQ(document.capabilities->msrs, values_of(own).msrs);
  EXPECT_EQ(document.capabilities->rules, values_of(own).rules);
}

TEST(VmcsDumps, TheAuditOfAValidDumpFindsNothingAndAssumesNothing) {
  const VmcsDocument document =
      read_back(vmcs_json(valid_vmcs(), vmx::nestor_capabilities(), kOccasion));
  const Audit result = audit(document, {});
  EXPECT_THAT(result.violations, IsEmpty());
  EXPECT_THAT(result.absent, IsEmpty());
  EXPECT_THAT(result.assumed, IsEmpty());
}

TEST(VmcsDumps, TheTextHasGroupsEncodingsValuesAndWords) {
  const std::string text = vmcs_text(valid_vmcs(), vmx::nestor_capabilities(), kOccasion);
  EXPECT_THAT(text, HasSubstr("VM exit at cycle 17, VMCS at 0x5000\n  Guest state\n"));
  EXPECT_THAT(text, HasSubstr("  VM-exit information\n"));
  EXPECT_THAT(text, HasSubstr("0x6800 Guest CR0 "));
  EXPECT_THAT(text, HasSubstr("0x80000031 (PE, ET, NE, PG)\n"));
  EXPECT_THAT(text, HasSubstr("0xa09b (execute/read, accessed, DPL 0, P, L, G)\n"));
  EXPECT_THAT(text, Not(HasSubstr("Guest IA32_LBR_CTL")));  // the processor has no such field
}

TEST(VmcsDecoding, SaysWhatValuesMean) {
  vmx::Vmcs vmcs;
  vmcs.write(Field::kExitReason, 48);
  vmcs.write(Field::kExitQualification, 0x181 | 1u << 3);
  vmcs.write(Field::kVmEntryInterruptionInformation, 0x80000b0d);
  vmcs.write(Field::kGuestInterruptibilityState, 9);
  vmcs.write(Field::kGuestActivityState, 1);
  vmcs.write(Field::kVmInstructionError, 7);
  vmcs.write(Field::kGuestTrAccessRights, 0x1008b);
  vmcs.write(Field::kSecondaryProcBasedControls, 0x22);
  EXPECT_EQ(decode(vmcs, Field::kExitReason), "EPT violation");
  EXPECT_EQ(decode(vmcs, Field::kExitQualification),
            "read 0x1, readable 0x1, linear-valid 0x1, translation 0x1");
  EXPECT_EQ(decode(vmcs, Field::kVmEntryInterruptionInformation),
            "vector 0xd, type hardware exception, error-code 0x1");
  EXPECT_EQ(decode(vmcs, Field::kGuestInterruptibilityState), "blocking by STI, blocking by NMI");
  EXPECT_EQ(decode(vmcs, Field::kGuestActivityState), "HLT");
  EXPECT_EQ(decode(vmcs, Field::kVmInstructionError), "VM entry with invalid control field(s)");
  EXPECT_EQ(decode(vmcs, Field::kGuestTrAccessRights), "unusable");
  EXPECT_EQ(decode(vmcs, Field::kSecondaryProcBasedControls), "Enable EPT, Enable VPID");
  EXPECT_EQ(decode(vmcs, Field::kGuestRip), "");
  vmcs.write(Field::kExitReason, 0x80000021);
  EXPECT_EQ(decode(vmcs, Field::kExitReason),
            "VM-entry failure due to invalid guest state, VM entry failed");
}

TEST(VmcsDecoding, PutsEveryFieldIntoTheGroupOfItsEncoding) {
  int count[kVmcsGroupCount] = {};
  for (const vmx::FieldInfo& info : vmx::kFields) {
    const VmcsGroup group = group_of(info.field);
    ++count[static_cast<int>(group)];
    const bool control = vmx::type_of(info.field) == vmx::FieldType::kControl;
    EXPECT_EQ(control, group == VmcsGroup::kExecutionControls ||
                           group == VmcsGroup::kExitControls || group == VmcsGroup::kEntryControls)
        << info.name;
    if (info.name.starts_with("VM-entry ")) {
      EXPECT_EQ(group, VmcsGroup::kEntryControls) << info.name;
    }
  }
  for (const int fields : count) EXPECT_GT(fields, 5);
}

}  // namespace
}  // namespace nestor::emu
