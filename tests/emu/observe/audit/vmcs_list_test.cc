// SPDX-License-Identifier: GPL-2.0-or-later
//
// Lists of fields, and HAXM's dump.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "emu/observe/audit/vmcs_dump.h"
#include "tests/emu/observe/audit/documents.h"
#include "tests/emu/observe/audit/valid_vmcs.h"

namespace nestor::emu {
namespace {

using ::testing::HasSubstr;
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

TEST(HaxmDump, IsEncodingNameAndHexadecimalValue) {
  const auto documents = read_all(
      "haxm_warning: 4000 VMX_PIN_CONTROLS: 3f\n"
      "haxm_warning: 6800 GUEST_CR0: 30\n"
      "something else: 5\n"
      "haxm_warning: 2800 GUEST_VMCS_LINK_PTR: ffffffffffffffff\n"
      "haxm_warning: 4000 VMX_PIN_CONTROLS: 16\n");
  ASSERT_EQ(documents.size(), 2u);
  EXPECT_EQ(documents[0].vmcs[Field::kPinBasedControls], 0x3f);
  EXPECT_EQ(documents[0].vmcs[Field::kGuestCr0], 0x30);
  EXPECT_EQ(documents[0].vmcs[Field::kVmcsLinkPointer], ~0ull);
  EXPECT_EQ(documents[0].given.size(), 3u);
  EXPECT_TRUE(documents[0].partial);
  EXPECT_TRUE(documents[0].never.contains(Field::kHostIa32Efer));
  EXPECT_EQ(documents[1].vmcs[Field::kPinBasedControls], 0x16);
  EXPECT_THAT(error_of("4000 A: 1\n4002 B: 2\n0800 C: 12345\n"),
              HasSubstr("line 3: Guest ES selector: 0x12345 is too wide"));
}

}  // namespace
}  // namespace nestor::emu
