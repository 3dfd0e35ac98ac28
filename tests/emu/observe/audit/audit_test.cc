// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/observe/audit/audit.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/emu/observe/audit/valid_vmcs.h"

namespace nestor::emu {
namespace {

using ::testing::Contains;
using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using vmx::Field;

VmcsDocument complete(const vmx::Vmcs& vmcs) {
  VmcsDocument document{vmcs, {}, std::nullopt};
  for (const vmx::FieldInfo& info : vmx::kFields) document.given.insert(info.field);
  return document;
}
std::vector<std::string_view> failing(const Audit& audit) {
  std::vector<std::string_view> ids;
  for (const Violation& violation : audit.violations) ids.push_back(violation.failure.id);
  return ids;
}
std::vector<std::string_view> open_checks(const Audit& audit) {
  std::vector<std::string_view> ids;
  for (const NotJudged& item : audit.not_judged) ids.push_back(item.check);
  return ids;
}

TEST(Audit, FindsNothingInAValidVmcs) {
  const Audit result = audit(complete(valid_vmcs()), vmx::nestor_capabilities());
  EXPECT_THAT(failing(result), IsEmpty());
  EXPECT_THAT(result.absent, IsEmpty());
  EXPECT_THAT(result.assumed, IsEmpty());
  EXPECT_THAT(to_text(result, "x"), HasSubstr("x: no violation"));
  EXPECT_THAT(to_json(result, "x"), HasSubstr("\"result\": \"passes\""));
}

TEST(Audit, ReportsEveryViolationInTheProcessorsOrder) {
  vmx::Vmcs vmcs = valid_vmcs();
  vmcs.write(Field::kVmcsLinkPointer, 0x1001);
  vmcs.write(Field::kHostCsSelector, 9);
  vmcs.write(Field::kPinBasedControls, 0);
  const Audit result = audit(complete(vmcs), vmx::nestor_capabilities());
  EXPECT_THAT(failing(result),
              ElementsAre("pin-based-reserved", "host-cs-selector", "guest-link-alignment"));
  EXPECT_EQ(entry_failure(result.violations[0].failure).instruction_error, 7u);
  EXPECT_EQ(entry_failure(result.violations[1].failure).instruction_error, 8u);
  const EntryFailure guest = entry_failure(result.violations[2].failure);
  EXPECT_EQ(guest.instruction_error, std::nullopt);
  EXPECT_EQ(guest.exit_reason, 0x80000021u);
  EXPECT_EQ(guest.qualification, 4u);
  EXPECT_EQ(result.violations[0].detail, "must be 1 and are 0: bits 1, 2, 4");
  EXPECT_THAT(to_text(result, "x"),
              HasSubstr("3 violations; VM entry would end with VM-instruction error 7"));
  EXPECT_THAT(to_json(result, "x"), HasSubstr("\"exit_reason\": \"0x80000021\""));
}

TEST(Audit, NamesControlsThatAreNotOffered) {
  vmx::Vmcs vmcs = valid_vmcs();
  vmcs.write(Field::kVmEntryControls, vmcs[Field::kVmEntryControls] | 1u << 22);
  const Audit result = audit(complete(vmcs), vmx::nestor_capabilities());
  ASSERT_THAT(failing(result), Contains("entry-reserved"));
  EXPECT_EQ(result.violations[0].detail, "must be 0 and are 1: bits 22 (Load PKRS)");
}

TEST(Audit, ListsWhatOnlyMemoryOrTheProcessorCouldTell) {
  vmx::Vmcs vmcs = valid_vmcs();
  EXPECT_THAT(open_checks(audit(complete(vmcs), vmx::nestor_capabilities())),
              ElementsAre("host-size-in-long-mode"));
  vmcs.write(Field::kVmcsLinkPointer, 0x1000);
  vmcs.write(Field::kVmEntryMsrLoadCount, 1);
  EXPECT_THAT(open_checks(audit(complete(vmcs), vmx::nestor_capabilities())),
              ElementsAre("host-size-in-long-mode", "guest-link-revision", "guest-link-shadow",
                          "guest-link-current", "vm-entry-msr-load"));
}

TEST(Audit, WarnsOfAbsentFieldsThatDecideSomething) {
  VmcsDocument document = complete(valid_vmcs());
  document.given.erase(Field::kHostRsp);  // no check asks for it
  document.given.erase(Field::kHostRip);
  document.given.erase(Field::kPinBasedControls);
  document.vmcs.write(Field::kPinBasedControls, 0);
  const Audit result = audit(document, vmx::nestor_capabilities());
  ASSERT_EQ(result.absent.size(), 2u);
  EXPECT_EQ(result.absent[0].field, Field::kPinBasedControls);
  EXPECT_THAT(result.absent[0].checks, Contains("pin-based-reserved"));
  EXPECT_EQ(result.absent[1].field, Field::kHostRip);
  EXPECT_THAT(result.absent[1].checks, ElementsAre("host-rip-canonical"));
  EXPECT_THAT(to_text(result, "x"), HasSubstr("warning: Host RIP is absent and taken as 0"));
}

TEST(Audit, JudgesByTheCapabilitiesThatTheDocumentStates) {
  VmcsDocument document = complete(valid_vmcs());
  document.capabilities = values_of(vmx::nestor_capabilities());
  EXPECT_THAT(failing(audit(document, {})), IsEmpty());
  // A machine whose pin-based controls have another bit fixed, and narrower addresses.
  document.capabilities->msrs[0x48d] = 0x17ull | 0xffull << 32;
  document.capabilities->rules["physical_address_width"] = 36;
  document.vmcs.write(Field::kGuestCr3, 1ull << 36);
  const Audit result = audit(document, vmx::nestor_capabilities());
  EXPECT_THAT(failing(result), ElementsAre("pin-based-reserved", "guest-cr3-width"));
  EXPECT_EQ(result.violations[0].detail,
            "must be 1 and are 0: bits 0 (External-interrupt exiting)");
}

TEST(Audit, SaysWhatItAssumesOfAMachine) {
  VmcsDocument document = complete(valid_vmcs());
  document.capabilities = values_of(vmx::nestor_capabilities());
  document.capabilities->msrs.erase(0x48b);
  document.capabilities->rules.erase("physical_address_width");
  const Audit result = audit(document, vmx::nestor_capabilities());
  ASSERT_EQ(result.assumed.size(), 2u);
  EXPECT_THAT(result.assumed[0], HasSubstr("IA32_VMX_PROCBASED_CTLS2 is not stated"));
  EXPECT_THAT(result.assumed[1], HasSubstr("physical_address_width is not stated, taken as 52"));
}

TEST(CapabilityValues, SayACapabilityCompletely) {
  const vmx::Capabilities own = vmx::nestor_capabilities();
  const CapabilityValues values = values_of(own);
  const StatedCapabilities again = capabilities_from(values, {});
  EXPECT_THAT(again.assumed, IsEmpty());
  EXPECT_EQ(values_of(again.capabilities).msrs, values.msrs);
  EXPECT_EQ(values_of(again.capabilities).rules, values.rules);
  for (const vmx::FieldInfo& info : vmx::kFields)
    EXPECT_EQ(again.capabilities.has_field(info.field), own.has_field(info.field)) << info.name;
}

TEST(CapabilityValues, TheTrueMsrDecidesAndThePlainOneDoesWithoutIt) {
  CapabilityValues values = values_of(vmx::nestor_capabilities());
  const uint32_t plain = static_cast<uint32_t>(values.msrs.at(0x482));
  const uint32_t truly = static_cast<uint32_t>(values.msrs.at(0x48e));
  ASSERT_NE(plain, truly);
  EXPECT_EQ(capabilities_from(values, {}).capabilities.primary.must_be_one(), truly);
  values.msrs.erase(0x48e);
  EXPECT_EQ(capabilities_from(values, {}).capabilities.primary.must_be_one(), plain);
}

}  // namespace
}  // namespace nestor::emu
