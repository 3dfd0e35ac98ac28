// SPDX-License-Identifier: GPL-2.0-or-later
//
// The source text of hypervisors.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/emu/observe/audit/documents.h"

namespace nestor::emu {
namespace {

using ::testing::HasSubstr;
using vmx::Field;

TEST(VmcsWrites, AreCallsOfAFieldAndANumber) {
  const auto documents = read_all(
      "void setup(void) {\n"
      "  uint32_t count = 5;\n"
      "  vmwrite(GUEST_CS_SELECTOR, 0x10);\n"
      "  __vmx_vmwrite(VMCS_GUEST_CR0, 0x80000031ULL); // PG\n"
      "  err |= vmcs_write( GUEST_DR7 , 1024 );\n"
      "  ok = ok && hv::vmx::write<u64>(vmcs::guest::RIP, 0x1000);\n"
      "  vmwrite(vmcs::guest::CR4, 0x2020)?;\n"
      "  vmwrite(VMCS_LINK_POINTER, ~0ULL);\n"
      "  vmwrite(EXCEPTION_BITMAP, -1);\n"
      "  // vmwrite(GUEST_CR3, 0x5000);\n"
      "  vmwrite(GUEST_GDTR_BASE, get_gdt_base());\n"
      "  vmwrite(0x6820, 2);\n"
      "  vmwrite(HOST_CR0, read_cr0());\n"
      "  vmwrite(GUEST_TR_SELECTOR, 0x8); vmwrite_all(1, 2, 3);\n"
      "}\n");
  ASSERT_EQ(documents.size(), 1u);
  const vmx::Vmcs& vmcs = documents[0].vmcs;
  EXPECT_EQ(vmcs[Field::kGuestCsSelector], 0x10);
  EXPECT_EQ(vmcs[Field::kGuestCr0], 0x80000031);
  EXPECT_EQ(vmcs[Field::kGuestDr7], 0x400);
  EXPECT_EQ(vmcs[Field::kGuestRip], 0x1000);
  EXPECT_EQ(vmcs[Field::kGuestCr4], 0x2020);
  EXPECT_EQ(vmcs[Field::kVmcsLinkPointer], ~0ull);
  EXPECT_EQ(vmcs[Field::kExceptionBitmap], 0xffffffff);
  EXPECT_EQ(vmcs[Field::kGuestRflags], 2);
  EXPECT_EQ(vmcs[Field::kGuestTrSelector], 8);
  EXPECT_FALSE(documents[0].given.contains(Field::kGuestCr3));
  EXPECT_FALSE(documents[0].given.contains(Field::kGuestGdtrBase));
  EXPECT_FALSE(documents[0].given.contains(Field::kHostCr0));
  EXPECT_TRUE(documents[0].partial);
}

TEST(VmcsWrites, TheLastOneOfAFieldCounts) {
  const auto documents = read_all(
      "vmwrite(GUEST_CR0, 0x31);\nvmwrite(GUEST_CR4, 0x2000);\n"
      "vmwrite(GUEST_CR0, 0x21);\nvmwrite(GUEST_CR4, cr4);\n");
  EXPECT_EQ(documents[0].vmcs[Field::kGuestCr0], 0x21);
  EXPECT_FALSE(documents[0].given.contains(Field::kGuestCr4));
}

TEST(VmcsWrites, AreAudited) {
  const auto documents = read_all(
      "vmwrite(VM_ENTRY_CONTROLS, 0x13fb);\nvmwrite(GUEST_TR_AR_BYTES, 0x83);\n"
      "vmwrite(GUEST_RFLAGS, 2);\n");
  EXPECT_THAT(failing(audit(documents[0], {})), ::testing::Contains("guest-tr-type"));
  EXPECT_THAT(error_of("vmwrite(GUEST_ES_SELECTOR, 0x10000);\n"), HasSubstr("line 1: Guest ES"));
  EXPECT_THAT(error_of("vmwrite(GUEST_CR0, cr0);\n"), HasSubstr("no field"));
}

// What is said before the source text, but not what it says itself.
TEST(VmcsWrites, MayFollowTheErrorThatTheyLedTo) {
  const auto documents = read_all(
      "Sometimes VMLAUNCH ends with VM_INSTRUCTION_ERROR = 7, so here is the code:\n"
      "vmwrite(GUEST_CR3, 0x1000);\n");
  EXPECT_EQ(audit(documents[0], {}).stated_error, 7u);
  const auto others = read_all(
      "enum { VM_INSTRUCTION_ERROR = 0x4400, kInvalid = 7 };\n"
      "puts(\"instruction error = 7\");  // instruction error = 7\n"
      "if (vmlaunch_failed()) report(\"invalid guest state\");\nvmwrite(GUEST_CR3, 0x1000);\n");
  EXPECT_FALSE(others[0].entry_failed);
  EXPECT_THAT(error_of("VM_INSTRUCTION_ERROR = 7\nvmwrite(GUEST_CR3, cr3);\n"),
              HasSubstr("no field"));
}

// Comments and strings write nothing; calls may share a line, or take several.
TEST(VmcsWrites, AreReadAsACompilerReadsThem) {
  const auto documents = read_all(
      "vmwrite(GUEST_RFLAGS, 2);\n"
      "/* vmwrite(GUEST_CR0, 0);\n"
      " * vmwrite(GUEST_CR3, 1); */\n"
      "printf(\"vmwrite(GUEST_CR4, 0) \\\" failed\"); /* as was */ vmwrite(GUEST_DR7, 0x400);\n"
      "vmwrite(GUEST_RSP, 0x10); vmwrite(GUEST_RIP, 0x20);\n"
      "vmwrite(GUEST_TR_SELECTOR,\n"
      "        (u16)(0x4));\n"
      "vmwrite(GUEST_CS_SELECTOR, 0x8_u16); vmwrite(GUEST_GDTR_BASE, 0x8000_0031u64);\n"
      "vmwrite(HOST_CR3, 0x1000); vmwrite(HOST_CR3, regs->cr3);\n"
      "vmwrite(VMCS_LINK_POINTER_HIGH, 0xffffffff); vmwrite(VMCS_LINK_POINTER, low);\n");
  ASSERT_EQ(documents.size(), 1u);
  const auto& [vmcs, given] = std::tie(documents[0].vmcs, documents[0].given);
  EXPECT_EQ(given,
            (std::set{Field::kGuestRflags, Field::kGuestDr7, Field::kGuestRsp, Field::kGuestRip,
                      Field::kGuestTrSelector, Field::kGuestCsSelector, Field::kGuestGdtrBase}));
  EXPECT_EQ(vmcs[Field::kGuestRip], 0x20);
  EXPECT_EQ(vmcs[Field::kGuestTrSelector], 4);
  EXPECT_EQ(vmcs[Field::kGuestCsSelector], 8);
  EXPECT_EQ(vmcs[Field::kGuestGdtrBase], 0x80000031);
  EXPECT_EQ(vmcs[Field::kVmcsLinkPointer], 0);
}

}  // namespace
}  // namespace nestor::emu
