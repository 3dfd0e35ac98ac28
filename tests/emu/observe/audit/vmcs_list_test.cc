// SPDX-License-Identifier: GPL-2.0-or-later
//
// Lists of fields.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "emu/observe/audit/vmcs_dump.h"
#include "tests/emu/observe/audit/documents.h"
#include "tests/emu/observe/audit/valid_vmcs.h"

namespace nestor::emu {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using vmx::Field;

TEST(VmcsList, ReadsNamesAndValuesInLines) {
  const auto documents = read_all(
      "Guest state:\n"
      "# a comment: 5\n"
      "  GUEST_CR0 = 0x80000031 (PG, NE)\n"
      "Guest RIP: fffff804`59c61fb0\n"
      "VMCS_GUEST_RSP 0x1000,\n"
      "[   12.345678] hv: GUEST_CS_AR_BYTES: 0a09bH\n"
      "(XEN) Exit reason = 0xaULL\n"
      "GUEST_CR4: 0x2020, GUEST_DR7: 0x400 (bit 10, as always), and so on\n"
      "0x6820 = 2\r\n");
  ASSERT_EQ(documents.size(), 1u);
  const vmx::Vmcs& vmcs = documents[0].vmcs;
  EXPECT_EQ(vmcs[Field::kGuestCr0], 0x80000031);
  EXPECT_EQ(vmcs[Field::kGuestRip], 0xfffff80459c61fb0);
  EXPECT_EQ(vmcs[Field::kGuestRsp], 0x1000);
  EXPECT_EQ(vmcs[Field::kGuestCsAccessRights], 0xa09b);
  EXPECT_EQ(vmcs[Field::kExitReason], 0xa);
  EXPECT_EQ(vmcs[Field::kGuestRflags], 2);
  EXPECT_EQ(vmcs[Field::kGuestCr4], 0x2020);
  EXPECT_EQ(vmcs[Field::kGuestDr7], 0x400);
  EXPECT_EQ(documents[0].given.size(), 8u);
  EXPECT_TRUE(documents[0].partial);
}

TEST(VmcsList, DoesNotGuessTheBaseOfANumber) {
  for (const char* number : {"80000031", "10", "0010", "1f"})
    EXPECT_THAT(error_of(std::string("GUEST_CR0 = ") + number), HasSubstr("Write 0x before it"))
        << number;
}

TEST(VmcsList, NamesTheLineOfWhatIsWrong) {
  EXPECT_THAT(
      error_of("GUEST_CR0 = 0x1\nGUEST_CR9 = 0x1\n"),
      HasSubstr("line 2: \"GUEST_CR9\" is no field of a VMCS; did you mean \"Guest CR0\"?"));
  EXPECT_THAT(error_of("GUEST_CR0 = 0x1\nGUEST_CR4 = 0x1\nGUEST_CR4 = 0x1\n"),
              HasSubstr("line 3: \"GUEST_CR4\": the value was given before, in line 2"));
  EXPECT_THAT(error_of("GUEST_ES_SELECTOR = 0x10000\n"),
              HasSubstr("line 1: \"GUEST_ES_SELECTOR\""));
}

TEST(VmcsList, BeginsAnotherVmcsWhereTheFirstFieldComesAgain) {
  const auto documents = read_all("GUEST_CR0 = 1\nGUEST_CR4 = 2\nGUEST_CR0 = 3\nGUEST_CR4 = 4\n");
  ASSERT_EQ(documents.size(), 2u);
  EXPECT_EQ(documents[1].vmcs[Field::kGuestCr0], 3);
  EXPECT_EQ(documents[1].vmcs[Field::kGuestCr4], 4);
}

TEST(VmcsList, ReadsTheDumpsOfARun) {
  const vmx::Vmcs vmcs = valid_vmcs();
  const std::string text = vmcs_text(vmcs, vmx::nestor_capabilities(), {"VM exit", 7, 0x1000});
  const auto documents = read_all(text + text);
  ASSERT_EQ(documents.size(), 2u);
  for (const vmx::FieldInfo& info : vmx::kFields)
    EXPECT_EQ(documents[1].vmcs[info.field], vmcs[info.field]) << info.name;
}

TEST(VmcsList, ReadsSeveralValuesOfALine) {
  const auto documents = read_all(
      "PIN_CTRL=0x16 PRIM_CTRL=0x401e172   SEC_CTRL=0x82\n"
      "G_CS=0x10 G_CS_BASE=0x1000 (flat = 0) G_CS_AR=0xa09b PE=1\n"
      "guest_SS_base/limit=0x2000/0xffff\n"
      "HOST_SS / DS / ES: 0x18\n");
  ASSERT_EQ(documents.size(), 1u);
  const vmx::Vmcs& vmcs = documents[0].vmcs;
  EXPECT_EQ(vmcs[Field::kPinBasedControls], 0x16);
  EXPECT_EQ(vmcs[Field::kPrimaryProcBasedControls], 0x401e172);
  EXPECT_EQ(vmcs[Field::kSecondaryProcBasedControls], 0x82);
  EXPECT_EQ(vmcs[Field::kGuestCsSelector], 0x10);
  EXPECT_EQ(vmcs[Field::kGuestCsBase], 0x1000);
  EXPECT_EQ(vmcs[Field::kGuestCsAccessRights], 0xa09b);
  EXPECT_EQ(vmcs[Field::kGuestSsBase], 0x2000);
  EXPECT_EQ(vmcs[Field::kGuestSsLimit], 0xffff);
  EXPECT_EQ(vmcs[Field::kHostSsSelector], 0x18);
  EXPECT_EQ(vmcs[Field::kHostDsSelector], 0x18);
  EXPECT_EQ(vmcs[Field::kHostEsSelector], 0x18);
  EXPECT_THAT(documents[0].passed_over, ElementsAre("\"PE\""));
  EXPECT_THAT(error_of("PIN_CTRL=0x16 PRM_CTRL=0x401e172\n"), HasSubstr("\"PRM_CTRL\""));
}

TEST(VmcsList, ReadsRowsOfASegmentAndOfRegisters) {
  const auto documents = read_all(
      "[hv] Guest TR Segment - Selector: 0x40\t Access-Rights: 0x8B\t Limit: 0x67\t Base: 0x1000\n"
      "[hv] Guest LDT Register - Selector: 0x8  Access-Rights: 0x82  Limit: 0xF  Base: 0x5000\n"
      "[hv] Guest GDTR Limit: 0x57  Base: 0x2000  Guest IDTR Limit: 0xFFF  Base: 0x3000\n"
      "[hv] Guest control registers - CR0: 0x80050033  CR3: 0x4000\n"
      "GUEST_CS: sel=0x10 base=0x0 limit=0xfff ar=0x9b\n");
  ASSERT_EQ(documents.size(), 1u);
  const vmx::Vmcs& vmcs = documents[0].vmcs;
  EXPECT_EQ(vmcs[Field::kGuestTrSelector], 0x40);
  EXPECT_EQ(vmcs[Field::kGuestTrAccessRights], 0x8b);
  EXPECT_EQ(vmcs[Field::kGuestTrLimit], 0x67);
  EXPECT_EQ(vmcs[Field::kGuestTrBase], 0x1000);
  EXPECT_EQ(vmcs[Field::kGuestLdtrSelector], 8);
  EXPECT_EQ(vmcs[Field::kGuestLdtrBase], 0x5000);
  EXPECT_EQ(vmcs[Field::kGuestGdtrLimit], 0x57);
  EXPECT_EQ(vmcs[Field::kGuestGdtrBase], 0x2000);
  EXPECT_EQ(vmcs[Field::kGuestIdtrLimit], 0xfff);
  EXPECT_EQ(vmcs[Field::kGuestIdtrBase], 0x3000);
  EXPECT_EQ(vmcs[Field::kGuestCr0], 0x80050033);
  EXPECT_EQ(vmcs[Field::kGuestCr3], 0x4000);
  EXPECT_EQ(vmcs[Field::kGuestCsSelector], 0x10);
  EXPECT_EQ(vmcs[Field::kGuestCsAccessRights], 0x9b);
  EXPECT_THAT(documents[0].passed_over, IsEmpty());
}

TEST(VmcsList, TakesTheEncodingInALog) {
  const auto documents = read_all(
      "CPU(0x00): (0x0000) VMCS02.control_vpid = 0x0001\n"
      "CPU(0x00): (0x4016) VMCS02.what_is_injected = 0x80000603\n"
      "CPU(0x00): (0x4020) VMCS02.control_PLE_gap = unavailable\n"
      "CPU(0x00): @vmcs02@guest_paddr = 0x1000\n"
      "CPU(0x00): temperature = 0x30\n"
      "CPU(0x01): (0x0000) VMCS02.control_vpid = 0x0002\n");
  ASSERT_EQ(documents.size(), 2u);
  EXPECT_EQ(documents[0].vmcs[Field::kVmEntryInterruptionInformation], 0x80000603);
  EXPECT_EQ(documents[0].vmcs[Field::kGuestPhysicalAddress], 0x1000);
  EXPECT_EQ(documents[0].given.size(), 3u);
  EXPECT_THAT(documents[0].passed_over, ElementsAre("\"temperature\""));
  EXPECT_EQ(documents[1].vmcs[Field::kVirtualProcessorIdentifier], 2);
}

TEST(VmcsList, ReadsWhatAHypervisorSaysOfTheFailure) {
  const auto error_in = [](std::string_view line) {
    return audit(read_all(std::string(line) + "\nGUEST_CR3 = 0x1000\n")[0], {}).stated_error;
  };
  EXPECT_EQ(error_in("CPU(0x00): VMLAUNCH error; code=0x7. HALT!"), 7u);
  EXPECT_EQ(error_in("[hv] VM-Entry failed due to invalid control fields!"), 7u);
  EXPECT_EQ(error_in("panic: VM entry with invalid host-state field(s)"), 8u);
  // Only what leads to that error is missed.
  const std::string text =
      to_text(audit(read_all("hv: VMLAUNCH error; code=0x7\nguest_CR3=0x1000\n")[0], {}), "x");
  EXPECT_THAT(text, HasSubstr("for want of Pin-based VM-execution controls, "));
  EXPECT_THAT(text, Not(HasSubstr("Host")));
  const auto documents = read_all(
      "VM-ENTRY error: reason=0x80000021, qualification=0x0000000000000004\nguest_CR3=0x1000\n");
  const Audit result = audit(documents[0], {});
  EXPECT_EQ(result.failed_entry, 0x80000021u);
  EXPECT_EQ(result.qualification, 4u);
  EXPECT_THAT(error_of("disk: reset, reason=0x5\n"), HasSubstr("there is no VMCS in it"));
}

TEST(VmcsList, ReadsTables) {
  const auto documents = read_all(
      "| Field | Encoding | Value | What it is |\n"
      "| :--- | :--- | :--- | :--- |\n"
      "| **GUEST_CR4** | `0x00006804` | `0x0000000000000660` | `PAE=1, VMXE=0` |\n"
      "| - Limit | `0x00004802` | `0xFFFFFFFF` | 4 GB |\n"
      "| GUEST_TR | `0x0000080E` | `Sel = 0x0028` | RPL = 0 |\n"
      "| - Base / Lim | `...` | `Base=0` | none |\n"
      "| GUEST_CR3 | 0x0 | 0x1000 is the other one |\n"
      "- `HOST_CR0`: `0x80050033` (PE, MP).\n");
  ASSERT_EQ(documents.size(), 1u);
  const vmx::Vmcs& vmcs = documents[0].vmcs;
  EXPECT_EQ(vmcs[Field::kGuestCr4], 0x660);
  EXPECT_EQ(vmcs[Field::kGuestCsLimit], 0xffffffff);
  EXPECT_EQ(vmcs[Field::kGuestTrSelector], 0x28);
  EXPECT_EQ(vmcs[Field::kGuestCr3], 0);
  EXPECT_EQ(vmcs[Field::kHostCr0], 0x80050033);
  EXPECT_EQ(documents[0].given.size(), 5u);
}

// A field whose value is not understood is not passed over in silence.
TEST(VmcsList, SaysWhichValueIsNoNumber) {
  struct Case {
    const char* text;
    const char* error;
  };
  for (const Case& one :
       {Case{"\nGUEST_TR_SELECTOR = -1\n", "line 2: \"GUEST_TR_SELECTOR\" is \"-1\", which is no"},
        Case{"GUEST_DR7 =\n", "\"GUEST_DR7\" has no value"},
        Case{"GUEST_CR0 = 0x31zzz\n", "\"0x31zzz\", which is no number"},
        Case{"GUEST_CR0 = 0x1ffffffffffffffff\n", "is no number of 64 bits"},
        Case{"| Guest CR3 | 4096 |\n| Guest CR0 | 0x31 |\n", "Write 0x before it"}}) {
    const auto read = read_vmcs_documents(one.text);
    ASSERT_TRUE(std::holds_alternative<std::string>(read)) << one.text;
    EXPECT_THAT(std::get<std::string>(read), HasSubstr(one.error));
  }
  const auto documents = read_all("GUEST_CR0 = 0x31\nGUEST_RFLAGS = 0x0000_0000\n");
  EXPECT_THAT(documents.at(0).passed_over, ElementsAre("\"GUEST_RFLAGS\""));
}

TEST(VmcsList, TakesNoEncodingAndNoHalfForAValue) {
  const auto documents = read_all(
      "| Guest RFLAGS | 0x6820 | 0x2 |\n"
      "| Guest CR0 | 0x6800 | unknown |\n"
      "VMCS_LINK_POINTER_HIGH = 0xffffffff\n"
      "\x1b[31mGUEST_DR7 = 0x400\x1b[0m\n");
  ASSERT_EQ(documents.size(), 1u);
  EXPECT_THAT(documents[0].given, ElementsAre(Field::kGuestDr7, Field::kGuestRflags));
}

// As of somebody's log; "#" begins a comment where other lines are fields.
TEST(VmcsList, ReadsCommentsIfAllFieldsAreInThem) {
  const auto documents =
      read_all("# GUEST_CS_SEL = 0x8\n  # vmread(0x2) failed\n# VPID = 0x1\n#   RFLAGS: 0x242\n");
  ASSERT_EQ(documents.size(), 1u);
  EXPECT_THAT(documents[0].given,
              ElementsAre(Field::kVirtualProcessorIdentifier, Field::kGuestCsSelector));
  EXPECT_THAT(documents[0].passed_over, ElementsAre("\"RFLAGS\""));
  EXPECT_THAT(read_all("# GUEST_CR3 = 0x1000\nGUEST_CR4 = 0x2020\n")[0].given,
              ElementsAre(Field::kGuestCr4));
}

TEST(VmcsList, ReadsRegistersWithoutTheGuest) {
  const auto documents = read_all(
      "# Guest segments\nVMCS_GUEST_CR3: 0x0\n- es selector: 0x2b\n  - es.index: 5\n"
      "es base address: 0x1000\nes limit: 0xffff\nes rights: 0x93\n\t- es_rights.type: 3\n"
      "fs base: 0x2000\nfs base (from rdmsr): 0x3000\nguest fs base (from rdmsr): 0x3000\n"
      "ldt selector: 0x28\ngdt limit: 0x7f\n"
      "Bits 3:0 of the type\n"
      "## Host segments\ntr selector: 0x40\nfs base: 0x4000\n");
  ASSERT_EQ(documents.size(), 1u);
  const vmx::Vmcs& vmcs = documents[0].vmcs;
  EXPECT_EQ(vmcs[Field::kGuestEsSelector], 0x2b);
  EXPECT_EQ(vmcs[Field::kGuestEsBase], 0x1000);
  EXPECT_EQ(vmcs[Field::kGuestEsLimit], 0xffff);
  EXPECT_EQ(vmcs[Field::kGuestEsAccessRights], 0x93);
  EXPECT_EQ(vmcs[Field::kGuestFsBase], 0x2000);
  EXPECT_EQ(vmcs[Field::kGuestLdtrSelector], 0x28);
  EXPECT_EQ(vmcs[Field::kGuestGdtrLimit], 0x7f);
  EXPECT_EQ(vmcs[Field::kHostTrSelector], 0x40);
  EXPECT_EQ(vmcs[Field::kHostFsBase], 0x4000);
  EXPECT_EQ(documents[0].given.size(), 10u);
  EXPECT_THAT(documents[0].passed_over,
              ElementsAre("\"fs base (from rdmsr\"", "\"guest fs base (from rdmsr\""));
  EXPECT_THAT(error_of("GUEST_CR3 = 0x1000\nes selektor: 0x10\n"), HasSubstr("is no field"));
}

TEST(VmcsList, ReadsUnionsOfBitsAndWhatTheyMayBe) {
  const std::string_view text =
      "- pinbased_ctls.nmi_exiting: 0\n  - pinbased_ctls.flags: 0x56\n"
      "  - IA32_VMX_TRUE_PINBASED_CTLS high bits mask: 0x3f\n"
      "  - IA32_VMX_TRUE_PINBASED_CTLS low bits mask: 0x16\n"
      "IA32_VMX_TRUE_PINBASED_CTLS high bits mask: 0b00111111\n"
      "- procbased_ctls2.flags: 0x8\n- IA32_VMX_PROCBASED_CTLS2 high bits mask: 0xfe\n"
      "[i] IA32_VMX_MISC = 0x10000\n[i] IA32_VMX_BASIC = 1000\n";
  const auto documents = read_all(text);
  ASSERT_EQ(documents.size(), 1u);
  EXPECT_THAT(documents[0].given,
              ElementsAre(Field::kPinBasedControls, Field::kSecondaryProcBasedControls));
  EXPECT_THAT(documents[0].passed_over, IsEmpty());
  ASSERT_TRUE(documents[0].capabilities);
  // Half of an MSR says nothing.
  EXPECT_EQ(documents[0].capabilities->msrs,
            (std::map<uint32_t, uint64_t>{{0x485, 0x10000}, {0x48d, 0x3f00000016}}));
  const Audit result = audit(documents[0], {});
  EXPECT_THAT(failing(result), ElementsAre("pin-based-reserved"));
  EXPECT_EQ(result.violations[0].detail, "\"Activate VMX-preemption timer\" (bit 6) must be 0");
  EXPECT_THAT(error_of("IA32_VMX_MISC = 0x10000\n"), HasSubstr("there is no VMCS in it"));
}

TEST(VmcsList, PassesOverANumberThatIsCutOff) {
  const std::string text =
      "GUEST_CR3:  0x0000000000001000\nGUEST_RIP:  0x0000000000007c00\nGUEST_CR0:  0x00000000000";
  const auto cut = read_all(text);
  EXPECT_THAT(cut[0].given, ElementsAre(Field::kGuestCr3, Field::kGuestRip));
  EXPECT_THAT(cut[0].remarks, ElementsAre("GUEST_CR0 counts as not stated: 0x00000000000, at the "
                                          "end of the text, is cut off"));
  EXPECT_EQ(read_all(text + "\nGUEST_CR4: 0x0000000000002020")[0].given.size(), 4u);
  EXPECT_EQ(read_all("GUEST_CR3: 0x1000\nGUEST_RIP: 0x7c00\nGUEST_CR0: 0x31")[0].given.size(), 3u);
}

// What is in parentheses says where a value is from.
TEST(VmcsList, ReadsNamesWithAnExplanation) {
  const auto documents = read_all(
      "(01:02:03.4 - core : 0 - root? no)\t[+] Information (Setup:3) | Cpu Based VM Exec Controls "
      "(Based on MSR_IA32_VMX_TRUE_PROCBASED_CTLS) : 0x96006172\n"
      "(01:02:03.4 - core : 0 - root? no)\t[+] Information (Setup:5) | Secondary Proc Based VM "
      "Exec "
      "Controls (MSR_IA32_VMX_PROCBASED_CTLS2) : 0x10102a\n");
  ASSERT_EQ(documents.size(), 1u);
  EXPECT_EQ(documents[0].vmcs[Field::kPrimaryProcBasedControls], 0x96006172);
  EXPECT_EQ(documents[0].vmcs[Field::kSecondaryProcBasedControls], 0x10102a);
  EXPECT_THAT(error_of("Checking 4 (00100000 - 00200000):6 for overlap\n"),
              HasSubstr("there is no VMCS in it"));
}

// Nothing is passed over in silence where nothing else can be read.
TEST(VmcsList, SaysThatNothingCouldBeRead) {
  EXPECT_THAT(
      error_of("[ 2.5] GUEST_CR0: 31\n"),
      HasSubstr("line 1: \"GUEST_CR0\": \"31\" is hexadecimal or decimal? Write 0x before"));
  EXPECT_THAT(error_of("booting\n[ 2.5] hv: GUEST_RFLAGS = 0x\n"),
              HasSubstr("line 2: \"GUEST_RFLAGS\": \"0x\" is no number of 64 bits"));
  const auto documents = read_all("[ 2.5] GUEST_CR0: 31\n[ 2.5] GUEST_CR3: 0x1000\n");
  EXPECT_THAT(documents[0].given, ElementsAre(Field::kGuestCr3));
  EXPECT_THAT(documents[0].passed_over, ElementsAre("\"GUEST_CR0\""));
}

TEST(VmcsList, ReadsTheExitReasonAsItIsPrinted) {
  for (const char* number : {"80000021", "ffffffff80000021", "ffffffff00000021", "0x80000021",
                             "0xffffffff80000021", "33", "2147483681", "80000021h"}) {
    const Audit result =
        audit(read_all(std::string("[7:42] VM-entry failure exit reason: ") + number)[0], {});
    EXPECT_EQ(result.failed_entry, 0x80000021u) << number;
  }
  const Audit exit = audit(read_all("[7:42] exit reason: 48\n")[0], {});
  EXPECT_EQ(exit.failed_entry, std::nullopt);
  EXPECT_THAT(to_text(exit, "x"), HasSubstr("no violation; no check is about the stated fields"));
  EXPECT_THAT(to_json(exit, "x"), HasSubstr("\"result\": \"unknown\""));
}

TEST(VmcsList, NeverSaysThatAFailedEntryWouldPass) {
  struct Case {
    const char* line;
    const char* verdict;
  };
  for (const Case& one :
       {Case{"hv: VMRESUME failed on CPU 2", "no violation; the text says that VM entry failed"},
        Case{"hv: vmexit reason is 33", "the VMCS states exit reason 0x80000021"},
        Case{"\texit_reason\t34", "the VMCS states exit reason 0x80000022"},
        Case{"hv: invalid guest state", "the VMCS states exit reason 0x80000021"},
        Case{"KVM: entry failed, hardware error 0x8", "VM-instruction error 8"}}) {
    const Audit result = audit(read_all(std::string(one.line) + "\nGUEST_DR7: 0x400\n")[0], {});
    EXPECT_THAT(to_text(result, "x"), HasSubstr(one.verdict)) << one.line;
    EXPECT_THAT(to_text(result, "x"), Not(HasSubstr("would pass"))) << one.line;
    EXPECT_THAT(to_json(result, "x"), Not(HasSubstr("\"passes\""))) << one.line;
  }
  // What follows the fields of one that has failed is of the next one.
  const auto documents = read_all(
      "hv: vmexit reason is 33\nGUEST_DR7 = 0x400\nGUEST_CR3 = 0x1000\n"
      "hv: vmexit reason is 41\nGUEST_DR7 = 0x400\n");
  ASSERT_EQ(documents.size(), 2u);
  EXPECT_EQ(documents[0].vmcs[Field::kExitReason], 0x80000021);
  EXPECT_EQ(documents[1].vmcs[Field::kExitReason], 0x80000029);
}

}  // namespace
}  // namespace nestor::emu
