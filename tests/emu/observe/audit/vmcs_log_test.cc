// SPDX-License-Identifier: GPL-2.0-or-later
//
// Dumps in the form of KVM's and Xen's logs.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/emu/observe/audit/documents.h"

namespace nestor::emu {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using vmx::Field;

// A valid VMCS of a 64-bit guest, as KVM prints it.
constexpr std::string_view kKvm =
    R"(VMCS 00000000c0ffee00, last attempted VM-entry on CPU 3
*** Guest State ***
CR0: actual=0x0000000080000031, shadow=0x0000000060000010, gh_mask=fffffffffffffff7
CR4: actual=0x0000000000002020, shadow=0x0000000000000020, gh_mask=fffffffffffef871
CR3 = 0x0000000000001000
RSP = 0x0000000000002000  RIP = 0x0000000000003000
RFLAGS=0x00000202         DR7 = 0x0000000000000400
Sysenter RSP=0000000000004000 CS:RIP=0010:0000000000005000
CS:   sel=0x0010, attr=0x0a09b, limit=0xffffffff, base=0x0000000000000000
DS:   sel=0x0018, attr=0x0c093, limit=0xffffffff, base=0x0000000000000000
SS:   sel=0x0018, attr=0x0c093, limit=0xffffffff, base=0x0000000000000000
ES:   sel=0x0018, attr=0x0c093, limit=0xffffffff, base=0x0000000000000000
FS:   sel=0x0000, attr=0x10000, limit=0x00000000, base=0x0000000000000000
GS:   sel=0x0000, attr=0x10000, limit=0x00000000, base=0x0000000000006000
GDTR:                           limit=0x0000007f, base=0x0000000000007000
LDTR: sel=0x0000, attr=0x10000, limit=0x00000000, base=0x0000000000000000
IDTR:                           limit=0x00000fff, base=0x0000000000008000
TR:   sel=0x0040, attr=0x0008b, limit=0x00000067, base=0x0000000000009000
EFER= 0x0000000000000500
PAT = 0x0007040600070406
DebugCtl = 0x0000000000000000  DebugExceptions = 0x0000000000000000
Interruptibility = 00000000  ActivityState = 00000000
*** Host State ***
RIP = 0xffffffff81000000  RSP = 0xffffc90000000000
CS=0010 SS=0018 DS=0000 ES=0000 FS=0000 GS=0000 TR=0040
FSBase=0000000000000000 GSBase=ffff888000000000 TRBase=fffffe0000003000
GDTBase=fffffe0000001000 IDTBase=fffffe0000000000
CR0=0000000080050033 CR3=0000000000010000 CR4=00000000000626e0
Sysenter RSP=fffffe0000003000 CS:RIP=0010:ffffffff82000000
EFER= 0x0000000000000d01
PAT = 0x0407050600070106
*** Control State ***
CPUBased=0xb5986dfa SecondaryExec=0x000000ea TertiaryExec=0x0000000000000000
PinBased=0x0000007f EntryControls=0000d3ff ExitControls=002befff
ExceptionBitmap=00060042 PFECmask=00000000 PFECmatch=00000000
VMEntry: intr_info=00000000 errcode=00000001 ilen=00000002
VMExit: intr_info=00000003 errcode=00000004 ilen=00000005
        reason=00000030 qualification=0000000000000184
IDTVectoring: info=00000006 errcode=00000007
TSC Offset = 0xffffffff00000000
SVI|RVI = 00|2f TPR Threshold = 0x02
APIC-access addr = 0x0000000000011000 virt-APIC addr = 0x0000000000012000
EPT pointer = 0x000000000001305e
PLE Gap=00000080 Window=00001000
Virtual processor ID = 0x0001
)";

// The same guest, as Xen prints it.
constexpr std::string_view kXen =
    R"((XEN) *** Guest State ***
(XEN) CR0: actual=0x0000000080000031, shadow=0x0000000080000031, gh_mask=ffffffffffffffff
(XEN) CR4: actual=0x0000000000002020, shadow=0x0000000000000020, gh_mask=ffffffffffe8f860
(XEN) CR3 = 0x0000000000001000
(XEN) RSP = 0x0000000000002000 (0x000000000000ffff)  RIP = 0x0000000000003000 (0x000000000000ffff)
(XEN) RFLAGS=0x00000202 (0x00000246)  DR7 = 0x0000000000000400
(XEN) Sysenter RSP=0000000000004000 CS:RIP=0010:0000000000005000
(XEN)        sel  attr  limit   base
(XEN)   CS: 0010 0a09b ffffffff 0000000000000000
(XEN)   SS: 0018 0c093 ffffffff 0000000000000000
(XEN) GDTR:            0000007f 0000000000007000
(XEN) LDTR: 0000 1c000 ffffffff 0000000000000000
(XEN) IDTR:            00000fff 0000000000008000
(XEN)   TR: 0040 0008b 00000067 0000000000009000
(XEN) EFER(VMCS) = 0x0000000000000500  PAT = 0x0007040600070406
(XEN) PreemptionTimer = 0x00000000  SM Base = 0x00000000
(XEN) *** Host State ***
(XEN) RIP = 0xffff82d080300000 (vmx_asm_vmexit_handler)  RSP = 0xffff830000000f70
(XEN) CS=e008 SS=0000 DS=0000 ES=0000 FS=0000 GS=0000 TR=e040
(XEN) *** Control State ***
(XEN) PinBased=000000bf CPUBased=b62065fa
(XEN) SecondaryExec=000017eb TertiaryExec=0000000000000000
(XEN) EntryControls=0000d3ff ExitControls=002fefff
(XEN) VMEntry: intr_info=00000000 errcode=00000000 ilen=00000001
(XEN)         reason=80000021 qualification=0000000000000000
(XEN) TPR Threshold = 0x00  PostedIntrVec = 0xf5
(XEN) EPT pointer = 0x000000000001301e  EPTP index = 0x0000
(XEN) Virtual processor ID = 0x5a02 VMfunc controls = 0000000000000000
)";

std::string replaced(std::string_view text, std::string_view what, std::string_view with) {
  std::string out(text);
  const size_t at = out.find(what);
  EXPECT_NE(at, std::string::npos) << what;
  return at == std::string::npos ? out : out.replace(at, what.size(), with);
}
std::string each_line(std::string_view text, std::string_view prefix) {
  std::string out;
  while (!text.empty()) {
    const size_t end = text.find('\n') + 1;
    out.append(prefix).append(text.substr(0, end));
    text.remove_prefix(end);
  }
  return out;
}
Audit audit_of(std::string_view text) { return audit(read_all(text).front(), {}); }

void expect_kvm(const VmcsDocument& document) {
  const vmx::Vmcs& vmcs = document.vmcs;
  const std::pair<Field, uint64_t> fields[] = {
      {Field::kGuestCr0, 0x80000031},
      {Field::kCr0ReadShadow, 0x60000010},
      {Field::kCr0GuestHostMask, 0xfffffffffffffff7},
      {Field::kGuestRip, 0x3000},
      {Field::kGuestRsp, 0x2000},
      {Field::kGuestIa32SysenterEsp, 0x4000},
      {Field::kGuestIa32SysenterCs, 0x10},
      {Field::kGuestIa32SysenterEip, 0x5000},
      {Field::kGuestCsAccessRights, 0xa09b},
      {Field::kGuestGsBase, 0x6000},
      {Field::kGuestGdtrLimit, 0x7f},
      {Field::kGuestIdtrBase, 0x8000},
      {Field::kGuestTrLimit, 0x67},
      {Field::kGuestIa32Efer, 0x500},
      {Field::kHostRip, 0xffffffff81000000},
      {Field::kHostCsSelector, 0x10},
      {Field::kHostIa32SysenterEip, 0xffffffff82000000},
      {Field::kHostIa32Efer, 0xd01},
      {Field::kPinBasedControls, 0x7f},
      {Field::kSecondaryProcBasedControls, 0xea},
      {Field::kVmEntryExceptionErrorCode, 1},
      {Field::kVmEntryInstructionLength, 2},
      {Field::kVmExitInterruptionInformation, 3},
      {Field::kVmExitInstructionLength, 5},
      {Field::kExitReason, 0x30},
      {Field::kIdtVectoringErrorCode, 7},
      {Field::kTprThreshold, 2},
      {Field::kApicAccessAddress, 0x11000},
      {Field::kVirtualApicAddress, 0x12000},
      {Field::kPleWindow, 0x1000},
      {Field::kVirtualProcessorIdentifier, 1},
  };
  for (const auto& [field, value] : fields) {
    EXPECT_TRUE(document.given.contains(field)) << vmx::info_of(field).name;
    EXPECT_EQ(vmcs[field], value) << vmx::info_of(field).name;
  }
  EXPECT_TRUE(document.partial);
  EXPECT_TRUE(document.never.contains(Field::kVmcsLinkPointer));
  EXPECT_FALSE(document.never.contains(Field::kGuestCr0));
}

TEST(VmcsLog, ReadsADumpOfKvmWhateverIsBeforeTheText) {
  for (const char* prefix : {"", "kernel: ", "[7011807.029742] ", "[  673.853454] kvm_intel: ",
                             "Jan  1 00:00:00 host kernel: [   12.345678] ", "> "}) {
    SCOPED_TRACE(prefix);
    const auto documents = read_all(each_line(kKvm, prefix));
    ASSERT_EQ(documents.size(), 1u);
    expect_kvm(documents.front());
  }
}

TEST(VmcsLog, ReadsTheFormsOfOldAndNewKernels) {
  // PAT beside EFER; controls in one line; PDPTRs; lines broken after a comma by a mail program.
  std::string old = replaced(kKvm, "EFER= 0x0000000000000500\nPAT =", "EFER =     0x0500  PAT =");
  old = replaced(old,
                 "CPUBased=0xb5986dfa SecondaryExec=0x000000ea TertiaryExec=0x0000000000000000\n"
                 "PinBased=0x0000007f",
                 "PinBased=0000007f CPUBased=b5986dfa SecondaryExec=000000ea\n");
  old = replaced(old, "RSP = 0x", "PDPTR0 = 0x0001  PDPTR1 = 0x0000\nRSP = 0x");
  old = replaced(old, ", shadow=0x0000000060000010", ",\nshadow=0x0000000060000010");
  old = replaced(old, "virt-APIC addr = 0x", "virt-APIC addr =\n>> 0x");
  const VmcsDocument document = read_all(old).front();
  expect_kvm(document);
  EXPECT_EQ(document.vmcs[Field::kGuestPdpte0], 1);
}

TEST(VmcsLog, ReadsADumpOfXen) {
  const VmcsDocument document = read_all(kXen).front();
  const vmx::Vmcs& vmcs = document.vmcs;
  EXPECT_EQ(vmcs[Field::kGuestRsp], 0x2000);
  EXPECT_EQ(vmcs[Field::kGuestRip], 0x3000);
  EXPECT_EQ(vmcs[Field::kGuestRflags], 0x202);
  EXPECT_EQ(vmcs[Field::kGuestDr7], 0x400);
  EXPECT_EQ(vmcs[Field::kGuestCsAccessRights], 0xa09b);
  EXPECT_EQ(vmcs[Field::kGuestSsSelector], 0x18);
  EXPECT_EQ(vmcs[Field::kGuestLdtrLimit], 0xffffffff);
  EXPECT_EQ(vmcs[Field::kGuestGdtrLimit], 0x7f);
  EXPECT_EQ(vmcs[Field::kGuestIdtrBase], 0x8000);
  EXPECT_EQ(vmcs[Field::kGuestTrBase], 0x9000);
  EXPECT_EQ(vmcs[Field::kGuestIa32Efer], 0x500);
  EXPECT_EQ(vmcs[Field::kHostRsp], 0xffff830000000f70);
  EXPECT_EQ(vmcs[Field::kHostTrSelector], 0xe040);
  EXPECT_EQ(vmcs[Field::kPostedInterruptNotificationVector], 0xf5);
  EXPECT_EQ(vmcs[Field::kVirtualProcessorIdentifier], 0x5a02);
  EXPECT_THAT(failing(audit(document, {})), IsEmpty());
}

TEST(VmcsLog, ReadsWhatXenSaysBeforeADump) {
  const std::string heading = "(XEN) *** Guest State ***\n(XEN) RFLAGS=0x00000000 (0x0)\n";
  const std::string failure =
      "(XEN) d2v0 vmentry failure (reason 0x80000021): Invalid guest state\n";
  const auto documents = read_all(failure + heading + "(XEN) d2v0 VMLAUNCH error: 0x7\n" + heading);
  ASSERT_EQ(documents.size(), 2u);
  EXPECT_EQ(documents[0].vmcs[Field::kExitReason], 0x80000021);
  EXPECT_EQ(audit(documents[0], {}).failed_entry, 0x80000021);
  EXPECT_FALSE(documents[0].given.contains(Field::kVmInstructionError));
  EXPECT_EQ(documents[1].vmcs[Field::kVmInstructionError], 7);
  EXPECT_THAT(to_text(audit(documents[1], {}), "x"),
              HasSubstr("x: 1 violation; the VMCS states VM-instruction error 7, VM entry with"));
}

TEST(VmcsLog, ReadsSeveralDumpsAndPassesOverTheRestOfTheLog) {
  const std::string log = "[1.0] systemd[1]: GUEST_CR0 = nonsense\n" + std::string(kKvm) +
                          "EAX=00000000 EBX=00000001\nCR0=00000011 CR3=00000000\nsome text\n" +
                          replaced(kKvm, "RFLAGS=0x00000202", "RFLAGS=0x00000002");
  const auto documents = read_all(log);
  ASSERT_EQ(documents.size(), 2u);
  expect_kvm(documents[0]);
  EXPECT_EQ(documents[0].vmcs[Field::kHostCr0], 0x80050033);
  EXPECT_EQ(documents[1].vmcs[Field::kGuestRflags], 2);
}

TEST(VmcsLog, NamesTheLineOfAValueThatCannotBe) {
  const auto wide = read_vmcs_documents(replaced(kKvm, "sel=0x0010", "sel=0x12345"));
  ASSERT_TRUE(std::holds_alternative<std::string>(wide));
  EXPECT_THAT(std::get<std::string>(wide),
              HasSubstr("line 9: Guest CS selector: 0x12345 is too wide"));
  const auto empty = read_vmcs_documents("*** Guest State ***\n");
  EXPECT_TRUE(std::holds_alternative<std::string>(empty));
}

TEST(VmcsLog, AnAuditOfAValidDumpIsSilent) {
  const Audit result = audit_of(kKvm);
  EXPECT_EQ(to_text(result, "x"),
            "x: no violation; VM entry would pass the checks on the stated fields\n");
}

TEST(VmcsLog, AnAuditFindsTheCause) {
  const std::string failed = replaced(kKvm, "reason=00000030 qualification=0000000000000184",
                                      "reason=80000021 qualification=0");
  EXPECT_THAT(failing(audit_of(failed)), IsEmpty());
  EXPECT_THAT(
      failing(audit_of(replaced(replaced(failed, "RFLAGS=0x00000202", "RFLAGS=0x00000002"),
                                "Interruptibility = 00000000", "Interruptibility = 00000001"))),
      ElementsAre("guest-sti-needs-if"));
  EXPECT_THAT(failing(audit_of(replaced(failed, "attr=0x0c093", "attr=0x0c092"))),
              ElementsAre("guest-ds-accessed"));
  const Audit wide =
      audit_of(replaced(failed, "base=0x0000000000007000", "base=0x001f000000000200"));
  ASSERT_THAT(failing(wide), ElementsAre("guest-gdtr-base-canonical"));
  EXPECT_THAT(wide.violations[0].detail, HasSubstr("with 57 bits"));
  // #DB by ICEBP under blocking by MOV SS with RFLAGS.TF = 1.
  std::string icebp = replaced(kXen, "RFLAGS=0x00000202", "RFLAGS=0x00000302");
  icebp = replaced(icebp, "(XEN) *** Host",
                   "(XEN) DebugCtl = 0x0  DebugExceptions = 0x0\n"
                   "(XEN) Interruptibility = 00000002  ActivityState = 0\n"
                   "(XEN) *** Host");
  icebp = replaced(icebp, "VMEntry: intr_info=00000000", "VMEntry: intr_info=80000501");
  EXPECT_THAT(failing(audit_of(icebp)), ElementsAre("guest-pending-debug-bs-missing"));
}

TEST(VmcsLog, NotesWhatOldProcessorsRefuse) {
  const Audit result = audit_of(
      replaced(replaced(kKvm, "VMEntry: intr_info=00000000", "VMEntry: intr_info=80000603"),
               "ilen=00000002", "ilen=00000000"));
  EXPECT_THAT(failing(result), IsEmpty());
  ASSERT_EQ(result.notes.size(), 1u);
  EXPECT_EQ(result.notes[0].check, "injection-instruction-length");
}

TEST(VmcsLog, ReadsLinesThatSomebodyPickedOut) {
  const Audit result = audit_of(
      "[  1.0] VMCS 00000000c0ffee00, last attempted VM-entry on CPU 3\n... ...\n"
      "[  1.1] RFLAGS=0x00000002         DR7 = 0x0000000000000400\n... ...\n"
      "[  1.2] Interruptibility = 00000009  ActivityState = 00000000\n");
  EXPECT_THAT(failing(result), ElementsAre("guest-sti-needs-if"));
}

TEST(VmcsLog, ReadsLinesWithoutAHeading) {
  const Audit xen = audit_of(
      "  (XEN) d3v0 vmentry failure (reason 0x80000021): Invalid guest state (0)\n  ...\n"
      "  (XEN) RFLAGS=0x00000002 (0x00000002)  DR7 = 0x8000000000000400\n");
  EXPECT_EQ(xen.failed_entry, 0x80000021u);
  EXPECT_THAT(to_text(xen, "x"), HasSubstr("may be: guest-dr7-high: Guest DR7 (0x681a) = "));
  const Audit pdpte =
      audit_of("(XEN) d3v0 vmentry failure (reason 0x80000021): Invalid guest state (2)");
  EXPECT_THAT(to_text(pdpte, "x"), HasSubstr("says: PDPTEs"));
  const Audit kvm = audit_of(
      "VMExit: intr_info=00000000 errcode=00000000 ilen=00000003\n"
      "         reason=80000021 qualification=0000000000000003\n"
      "EPT pointer = 0x000000000001005e\n");
  EXPECT_THAT(to_text(kvm, "x"), HasSubstr("says: an NMI injected under blocking by STI"));
}

TEST(VmcsLog, SaysWhatMayBeWrongWithALinePickedOut) {
  const Audit result = audit_of(
      "KVM: entry failed, hardware error 0x80000021\n"
      "Interruptibility = 00000002\nDebugExceptions = 0x0000000000000000\n");
  EXPECT_EQ(result.failed_entry, 0x80000021u);
  const std::string text = to_text(result, "x");
  EXPECT_THAT(text, HasSubstr("may be: guest-pending-debug-bs-missing: Guest pending debug"));
  EXPECT_THAT(text, HasSubstr("it depends on Guest RFLAGS"));
  EXPECT_THAT(to_json(result, "x"), HasSubstr("\"decided_by\""));
}

// The dump may be cut off before its exit reason.
TEST(VmcsLog, ReadsWhatQemuSaysBesideADump) {
  const std::string cut(kKvm.substr(0, kKvm.find("*** Control State")));
  EXPECT_EQ(audit_of("qemu: KVM: entry failed, hardware error 0x80000021\n" + cut).failed_entry,
            0x80000021u);
  const std::string unknown =
      to_text(audit_of(cut + "KVM: entry failed, hardware error 0x0\n"), "x");
  EXPECT_THAT(unknown, HasSubstr("no violation; the text says that VM entry failed"));
}

TEST(VmcsLog, JoinsALabelThatBeginsOnTheLineBefore) {
  const std::string wrapped = replaced(
      replaced(replaced(kKvm, "CR3 = 0x0000000000001000", "trace: dump_vmcs: CR3\n\n= 0x5000"),
               "TSC Offset =", "trace: dump_vmcs: TSC\nOffset ="),
      "*** Host State ***", "trace: dump_vmcs: ***\nHost State ***");
  const auto documents = read_all(wrapped);
  ASSERT_EQ(documents.size(), 1u);
  EXPECT_EQ(documents[0].vmcs[Field::kGuestCr3], 0x5000);
  EXPECT_EQ(documents[0].vmcs[Field::kTscOffset], 0xffffffff00000000);
  EXPECT_EQ(documents[0].vmcs[Field::kHostCr0], 0x80050033);
}

TEST(VmcsLog, ReadsRawMails) {
  const std::string plain(kKvm);
  std::string mail;
  for (size_t i = 0; i < plain.size(); ++i) {
    if (plain[i] == '=') {
      mail += "=3D";
    } else {
      mail += plain[i];
    }
    if (i % 50 == 49) mail += "=\n";
  }
  const auto documents = read_all(mail);
  ASSERT_EQ(documents.size(), 1u);
  expect_kvm(documents[0]);
}

TEST(VmcsLog, SaysWhereTheVmcsIsIfThereIsOnlyQemus) {
  EXPECT_THAT(error_of("KVM: entry failed, hardware error 0x80000021\nEAX=00000000 EBX=00000000\n"),
              HasSubstr("dump_invalid_vmcs"));
  // VMEXIT_INVALID.
  const std::string amd = error_of("KVM: entry failed, hardware error 0xffffffff\nEAX=00000000\n");
  EXPECT_THAT(amd, HasSubstr("kvm_amd/parameters/dump_invalid_vmcb"));
  EXPECT_THAT(amd, Not(HasSubstr("kvm_intel")));
}

TEST(VmcsLog, PassesOverANumberThatIsCutOff) {
  struct Case {
    const char* last;
    Field field;
  };
  for (const Case& one :
       {Case{"CR4=00000000000626e", Field::kHostCr4},
        Case{"GSBase=ffff88800000000", Field::kHostGsBase}, Case{"TR=00", Field::kHostTrSelector},
        Case{"attr=0x0c09", Field::kGuestDsAccessRights},
        Case{"RFLAGS=0x0000020", Field::kGuestRflags},
        Case{"CS:RIP=0010:00000000000050", Field::kGuestIa32SysenterEip}}) {
    const size_t at = kKvm.find(one.last);
    ASSERT_NE(at, std::string_view::npos) << one.last;
    for (const char* end : {"", "\n", " \n\n"}) {
      const auto documents =
          read_all(std::string(kKvm.substr(0, at + std::string_view(one.last).size())) + end);
      EXPECT_FALSE(documents[0].given.contains(one.field)) << one.last;
      ASSERT_EQ(documents[0].remarks.size(), 1u) << one.last;
      EXPECT_THAT(documents[0].remarks[0], HasSubstr("at the end of the text, is cut off"));
      EXPECT_THAT(failing(audit(documents[0], {})), IsEmpty()) << one.last;
    }
  }
  const auto xen = read_all(kXen.substr(0, kXen.find("0000000000000000\n(XEN)   SS") + 9));
  EXPECT_FALSE(xen[0].given.contains(Field::kGuestCsBase));
  EXPECT_TRUE(xen[0].given.contains(Field::kGuestCsLimit));
  // Whoever writes short numbers means them; a dump may end with a whole one.
  for (const std::string_view text :
       {"*** Guest State ***\nCR0: actual=0x31, shadow=0x0, gh_mask=0\nCR4: actual=0x2020",
        "*** Guest State ***\nCR3 = 0x0000000000001000\nCR4: actual=0x0000000000002020\n"})
    EXPECT_EQ(read_all(text)[0].vmcs[Field::kGuestCr4], 0x2020) << text;
  EXPECT_TRUE(read_all("*** Guest State ***\nRFLAGS=0x2\n")[0].given.contains(Field::kGuestRflags));
  EXPECT_THAT(error_of("*** Guest State ***\nRFLAGS=0x0000000\n"), HasSubstr("has no field"));
}

TEST(VmcsLog, AFieldThatADumpShouldHaveIsOneLine) {
  const std::string text = to_text(audit_of(replaced(kKvm, "RFLAGS=0x00000202", "")), "x");
  EXPECT_THAT(text, HasSubstr("not judged, for want of Guest RFLAGS\n"));
  EXPECT_THAT(text, Not(HasSubstr("warning")));
}

}  // namespace
}  // namespace nestor::emu
