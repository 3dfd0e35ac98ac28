// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/observe/audit/audit.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/emu/observe/audit/documents.h"
#include "tests/emu/observe/audit/valid_vmcs.h"

namespace nestor::emu {
namespace {

using ::testing::Contains;
using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using vmx::Field;

VmcsDocument complete(const vmx::Vmcs& vmcs) {
  VmcsDocument document;
  document.vmcs = vmcs;
  for (const vmx::FieldInfo& info : vmx::kFields) document.given.insert(info.field);
  return document;
}
std::vector<std::string_view> open_checks(const Audit& audit) {
  std::vector<std::string_view> ids;
  for (const NotJudged& item : audit.not_judged) ids.push_back(item.check);
  return ids;
}

Audit audit_on(const vmx::Capabilities& processor, const VmcsDocument& document) {
  return audit(document, {.processor = processor, .only_stated = false});
}

TEST(Audit, FindsNothingInAValidVmcs) {
  const Audit result = audit_on(vmx::nestor_capabilities(), complete(valid_vmcs()));
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
  const Audit result = audit_on(vmx::nestor_capabilities(), complete(vmcs));
  EXPECT_THAT(failing(result),
              ElementsAre("pin-based-reserved", "host-cs-selector", "guest-link-alignment"));
  EXPECT_EQ(entry_failure(result.violations[0].failure).instruction_error, 7u);
  EXPECT_EQ(entry_failure(result.violations[1].failure).instruction_error, 8u);
  const EntryFailure guest = entry_failure(result.violations[2].failure);
  EXPECT_EQ(guest.instruction_error, std::nullopt);
  EXPECT_EQ(guest.exit_reason, 0x80000021u);
  EXPECT_EQ(guest.qualification, 4u);
  EXPECT_EQ(result.violations[0].detail, "bit 1, bit 2, bit 4 must be 1");
  EXPECT_THAT(to_text(result, "x"),
              HasSubstr("3 violations; VM entry would end with VM-instruction error 7"));
  EXPECT_THAT(to_json(result, "x"), HasSubstr("\"exit_reason\": \"0x80000021\""));
}

TEST(Audit, NamesControlsThatAreNotOffered) {
  vmx::Vmcs vmcs = valid_vmcs();
  vmcs.write(Field::kVmEntryControls, vmcs[Field::kVmEntryControls] | 1u << 22);
  const Audit result = audit_on(vmx::nestor_capabilities(), complete(vmcs));
  ASSERT_THAT(failing(result), Contains("entry-reserved"));
  EXPECT_EQ(result.violations[0].detail, "\"Load PKRS\" (bit 22) must be 0");
}

TEST(Audit, ListsWhatOnlyMemoryOrTheProcessorCouldTell) {
  vmx::Vmcs vmcs = valid_vmcs();
  EXPECT_THAT(open_checks(audit_on(vmx::nestor_capabilities(), complete(vmcs))),
              ElementsAre("host-size-in-long-mode"));
  vmcs.write(Field::kVmcsLinkPointer, 0x1000);
  vmcs.write(Field::kVmEntryMsrLoadCount, 1);
  EXPECT_THAT(open_checks(audit_on(vmx::nestor_capabilities(), complete(vmcs))),
              ElementsAre("host-size-in-long-mode", "guest-link-revision", "guest-link-shadow",
                          "guest-link-current", "vm-entry-msr-load"));
}

TEST(Audit, WarnsOfAbsentFieldsThatDecideSomething) {
  VmcsDocument document = complete(valid_vmcs());
  document.given.erase(Field::kHostRsp);  // no check asks for it
  document.given.erase(Field::kHostRip);
  document.given.erase(Field::kPinBasedControls);
  document.vmcs.write(Field::kPinBasedControls, 0);
  const Audit result = audit_on(vmx::nestor_capabilities(), document);
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
  const Audit result = audit_on(vmx::nestor_capabilities(), document);
  EXPECT_THAT(failing(result), ElementsAre("pin-based-reserved", "guest-cr3-width"));
  EXPECT_EQ(result.violations[0].detail, "\"External-interrupt exiting\" (bit 0) must be 1");
}

TEST(Audit, SaysWhatItAssumesOfAMachine) {
  VmcsDocument document = complete(valid_vmcs());
  document.capabilities = values_of(vmx::nestor_capabilities());
  document.capabilities->msrs.erase(0x48b);
  document.capabilities->rules.erase("physical_address_width");
  const Audit result = audit_on(vmx::nestor_capabilities(), document);
  ASSERT_EQ(result.assumed.size(), 1u);
  EXPECT_THAT(result.assumed[0], HasSubstr("IA32_VMX_PROCBASED_CTLS2 is not stated"));
}

TEST(Audit, NotesWhatOnlySomeProcessorsRefuse) {
  vmx::Vmcs vmcs = valid_vmcs();
  vmcs.write(Field::kHostCr4, vmcs[Field::kHostCr4] | vmx::cr4::kPks | vmx::cr4::kSmxe);
  vmcs.write(Field::kGuestCr3, 1ull << 50);
  const Audit any = audit(complete(vmcs), {});
  EXPECT_THAT(failing(any), IsEmpty());
  ASSERT_EQ(any.notes.size(), 2u);
  EXPECT_EQ(any.notes[0].check, "host-cr4-fixed");
  EXPECT_EQ(any.notes[0].text, "not on a processor without CR4.SMXE, CR4.PKS");
  EXPECT_EQ(any.notes[1].check, "guest-cr3-width");
  EXPECT_THAT(to_text(any, "x"), HasSubstr("x: no violation"));
  EXPECT_THAT(to_text(any, "x"), HasSubstr("note: host-cr4-fixed: Host CR4 (0x6c04)"));
  EXPECT_THAT(to_json(any, "x"), HasSubstr("\"text\": \"not on a processor without CR4.SMXE"));

  const Audit named = audit_on(vmx::nestor_capabilities(), complete(vmcs));
  EXPECT_THAT(failing(named), ElementsAre("host-cr4-fixed", "guest-cr3-width"));
  EXPECT_EQ(named.violations[0].detail, "CR4.SMXE, CR4.PKS must be 0");
  EXPECT_THAT(named.notes, IsEmpty());

  // What no processor has is a violation on any.
  vmcs.write(Field::kHostCr4, vmcs[Field::kHostCr4] | 1u << 15);
  EXPECT_THAT(failing(audit(complete(vmcs), {})), ElementsAre("host-cr4-fixed"));
}

TEST(Audit, NotesWhatProcessorsWithLessRefuse) {
  vmx::Vmcs vmcs = valid_vmcs();
  vmcs.write(Field::kCr3TargetCount, 1);
  vmcs.write(Field::kGuestCr3, 1ull << 39);
  vmcs.write(Field::kHostCr3, 1ull << 38);
  const auto noted = [](const VmcsDocument& document) {
    std::vector<std::string_view> ids;
    for (const AuditNote& note : audit(document, {}).notes) ids.push_back(note.check);
    return ids;
  };
  EXPECT_THAT(noted(complete(vmcs)), ElementsAre("cr3-target-count", "guest-cr3-width"));
  // It is stated that the processor has more, or its host has used more.
  VmcsDocument stated = complete(vmcs);
  stated.capabilities.emplace().rules["physical_address_width"] = 40;
  stated.capabilities->msrs[0x485] = 4ull << 16;
  EXPECT_THAT(noted(stated), IsEmpty());
  vmcs.write(Field::kCr3TargetCount, 0);
  vmcs.write(Field::kHostCr3, 1ull << 39);
  EXPECT_THAT(noted(complete(vmcs)), ElementsAre("host-cr3-width", "guest-cr3-width"));
  vmcs.write(Field::kExitReason, 0x80000021);
  EXPECT_THAT(noted(complete(vmcs)), IsEmpty());
  vmcs.write(Field::kCr3TargetCount, 5);
  vmcs.write(Field::kExitReason, 0);
  EXPECT_THAT(failing(audit(complete(vmcs), {})), ElementsAre("cr3-target-count"));
}

// Where nothing else is wrong, it is what may have failed.
TEST(Audit, LooksForTheCauseAmongItsNotes) {
  VmcsDocument document;
  document.partial = true;
  EXPECT_EQ(document.set({Field::kCr3TargetCount, false}, 1), "");
  EXPECT_EQ(document.set({Field::kGuestCr3, false}, 1ull << 40), "");
  const auto open = [&] {
    std::vector<std::string_view> ids;
    for (const OpenCheck& check : audit(document, {}).open) ids.push_back(check.check);
    return ids;
  };
  EXPECT_THAT(open(), IsEmpty());
  document.state({});
  EXPECT_THAT(open(), ElementsAre("cr3-target-count", "guest-cr3-width"));
  document.state({Field::kVmInstructionError, 7});
  EXPECT_THAT(open(), ElementsAre("cr3-target-count"));
  const Audit result = audit(document, {});
  ASSERT_EQ(result.notes.size(), 1u);  // guest state leads to another error
  EXPECT_THAT(to_text(result, "x"),
              HasSubstr("may be: cr3-target-count: CR3-target count (0x400a) = 0x1: not on every "
                        "processor: must not exceed"));
  EXPECT_THAT(to_json(result, "x"), HasSubstr("\"text\": \"not on every processor: must not"));
  VmcsDocument guest;
  guest.partial = true;
  guest.state({Field::kExitReason, 0x80000021});
  EXPECT_EQ(guest.set({Field::kGuestCr3, false}, 1ull << 40), "");
  EXPECT_THAT(to_text(audit(guest, {}), "x"), HasSubstr("  may be: guest-cr3-width: Guest CR3"));
  // A violation is the cause.
  EXPECT_EQ(guest.set({Field::kGuestRflags, false}, 0), "");
  EXPECT_THAT(audit(guest, {}).open, IsEmpty());
  EXPECT_EQ(audit(guest, {}).notes.size(), 1u);
}

TEST(Audit, TakesBasicExitReasonsOfFailedEntriesWithoutBit31) {
  vmx::Vmcs vmcs = valid_vmcs();
  vmcs.write(Field::kPinBasedControls, 0);
  for (const uint32_t reason : {33u, 34u, 41u}) {
    vmcs.write(Field::kExitReason, reason);
    const Audit result = audit(complete(vmcs), {});
    EXPECT_EQ(result.failed_entry, reason | 0x80000000);
    EXPECT_THAT(failing(result), IsEmpty());
    EXPECT_THAT(to_json(result, "x"), HasSubstr("\"result\": \"VM exit\""));
  }
}

TEST(Audit, NamesOnlyTheBitsOfCr0ThatCount) {
  vmx::Vmcs vmcs = valid_vmcs();
  vmcs.write(Field::kGuestCr0, 0x10);
  vmcs.write(Field::kVmEntryControls, vmx::nestor_capabilities().entry.must_be_one());
  vmcs.write(Field::kGuestCsAccessRights, 0xc09b);
  ASSERT_THAT(failing(audit(complete(vmcs), {})), Contains("guest-cr0-fixed"));
  EXPECT_EQ(audit(complete(vmcs), {}).violations[0].detail, "CR0.PE, CR0.NE, CR0.PG must be 1");
  vmcs.write(Field::kPrimaryProcBasedControls,
             vmcs[Field::kPrimaryProcBasedControls] |
                 mask(vmx::PrimaryProcBased::kActivateSecondaryControls));
  vmcs.write(Field::kSecondaryProcBasedControls,
             mask(vmx::SecondaryProcBased::kEnableEpt) |
                 mask(vmx::SecondaryProcBased::kUnrestrictedGuest));
  vmcs.write(Field::kEptPointer, 0x1000 | 3u << 3 | 6);
  const Audit result = audit(complete(vmcs), {});
  EXPECT_THAT(failing(result), Contains("guest-cr0-fixed"));
  EXPECT_EQ(result.violations[0].failure.id, "guest-cr0-fixed");
  EXPECT_EQ(result.violations[0].detail, "CR0.NE must be 1");
}

TEST(Audit, TriesBothWidthsOfLinearAddresses) {
  vmx::Vmcs vmcs = valid_vmcs();
  vmcs.write(Field::kGuestGdtrBase, 1ull << 52);  // with 57 bits it is canonical
  vmcs.write(Field::kGuestIdtrBase, 1ull << 60);  // never
  const Audit result = audit(complete(vmcs), {});
  ASSERT_THAT(failing(result),
              ElementsAre("guest-gdtr-base-canonical", "guest-idtr-base-canonical"));
  EXPECT_THAT(result.violations[0].detail, HasSubstr("with 57 bits"));
  EXPECT_EQ(result.violations[1].detail, "");

  VmcsDocument stated = complete(vmcs);
  stated.capabilities.emplace().rules["linear_address_width"] = 57;
  EXPECT_THAT(failing(audit(stated, {})), ElementsAre("guest-idtr-base-canonical"));
  // The host runs with LA57, and its state has passed: at a failed VM entry, or before a VM exit.
  VmcsDocument ran = complete(vmcs);
  ran.vmcs.write(Field::kHostCr4, 0x2020 | vmx::cr4::kLa57);
  ran.vmcs.write(Field::kExitReason, 0x80000021);
  EXPECT_THAT(failing(audit(ran, {})), ElementsAre("guest-idtr-base-canonical"));
  ran.vmcs.write(Field::kExitReason, 48);
  EXPECT_THAT(failing(audit(ran, {})), ElementsAre("guest-idtr-base-canonical"));
}

TEST(Audit, AfterAFailedEntryLooksAtGuestStateAlone) {
  vmx::Vmcs vmcs = valid_vmcs();
  vmcs.write(Field::kPinBasedControls, 0);
  vmcs.write(Field::kHostCsSelector, 9);
  vmcs.write(Field::kGuestRflags, 0);
  vmcs.write(Field::kExitReason, 0x80000021);
  Audit result = audit(complete(vmcs), {});
  EXPECT_THAT(failing(result), ElementsAre("guest-rflags-reserved"));
  EXPECT_THAT(to_text(result, "x"),
              HasSubstr("x: 1 violation of guest state; the VMCS states exit reason 0x80000021"));
  EXPECT_THAT(to_json(result, "x"), HasSubstr("\"stated_exit_reason\": \"0x80000021\""));

  vmcs.write(Field::kExitQualification, 4);
  EXPECT_THAT(to_text(audit(complete(vmcs), {}), "x"), HasSubstr("says: the VMCS link pointer"));

  vmcs.write(Field::kGuestRflags, 2);
  vmcs.write(Field::kExitReason, 0x80000022);
  EXPECT_THAT(
      to_text(audit(complete(vmcs), {}), "x"),
      HasSubstr("no violation of guest state; the VMCS states exit reason 0x80000022, VM-entry "
                "failure due to MSR loading: entry 4 of the VM-entry MSR-load area"));

  // An error 7 may be of a later VM entry; an exit without failure says nothing.
  vmcs.write(Field::kVmInstructionError, 7);
  EXPECT_THAT(failing(audit(complete(vmcs), {})),
              ElementsAre("pin-based-reserved", "host-cs-selector"));
  vmcs.write(Field::kVmInstructionError, 0);
  vmcs.write(Field::kExitReason, 10);
  EXPECT_THAT(failing(audit(complete(vmcs), {})),
              ElementsAre("pin-based-reserved", "host-cs-selector"));
}

TEST(Audit, JudgesByTheStatedFieldsAlone) {
  VmcsDocument document;
  const auto state = [&](Field field, uint64_t value) {
    document.vmcs.write(field, value);
    document.given.insert(field);
  };
  state(Field::kGuestCr0, 0x80000001);
  state(Field::kGuestRflags, 2);
  state(Field::kGuestCr4, 0x2020);
  const Audit result = audit(document, {.processor = std::nullopt, .only_stated = true});
  ASSERT_THAT(failing(result), ElementsAre("guest-cr0-fixed"));
  EXPECT_EQ(result.violations[0].detail, "CR0.NE must be 1");
  const std::string text = to_text(result, "x");
  EXPECT_THAT(text, HasSubstr("checks not judged, for want of "));
  EXPECT_THAT(text, Not(HasSubstr("warning")));
  // With "unrestricted guest", which is not stated, PE and PG may be 0.
  document.vmcs.write(Field::kGuestCr0, 0x20);
  EXPECT_THAT(failing(audit(document, {.processor = std::nullopt, .only_stated = true})),
              IsEmpty());
  // By default JSON is complete.
  EXPECT_THAT(failing(audit(document, {})), Contains("pin-based-reserved"));
  // What the format never has is not missed.
  document.partial = true;
  for (const vmx::FieldInfo& info : vmx::kFields) document.never.insert(info.field);
  EXPECT_THAT(audit(document, {}).absent, IsEmpty());
}

TEST(CapabilityValues, AnyProcessorOffersAtLeastWhatNestorsDoes) {
  const vmx::Capabilities any = any_processor();
  for (const vmx::ProcessorModel& model : vmx::kProcessorModels) {
    const vmx::Capabilities c = vmx::capabilities_of(vmx::processor_of(model.generation));
    for (int i = 0; i < vmx::kControlGroupCount; ++i) {
      const auto group = static_cast<vmx::ControlGroup>(i);
      EXPECT_EQ(c.allowed1(group) & ~any.allowed1(group), 0) << model.name << i;
      EXPECT_EQ(any.allowed0(group) & ~c.allowed0(group), 0) << model.name << i;
    }
    EXPECT_EQ(c.registers.cr4_writable & ~any.registers.cr4_writable, 0) << model.name;
  }
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
