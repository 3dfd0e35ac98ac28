// SPDX-License-Identifier: GPL-2.0-or-later
//
// The registers of a guest in the words of programs that use KVM, and of DBVM.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/emu/observe/audit/documents.h"

namespace nestor::emu {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using vmx::Field;

// One guest as three programs print it.
constexpr std::string_view kLines =
    R"(== registers ==
RAX: 0x1                RSP: 0x6000
RIP: 0x7c00     RFLAGS: 0x46
0x7c00    : 0x55 0x48 0x89
== system registers ==
CS  base: 0x10000             limit:0xfffffff selector: 0x8 type: 0xb present: 0x1
    dpl:0x0 db:0x0 s:0x1 l:0x1 g:0x1 avl:0x1 unusable:0x0
LDT base: 0x0                 limit:0x0 selector: 0x0 type: 0x0 present: 0x0
    dpl:0x0 db:0x0 s:0x0 l:0x0 g:0x0 avl:0x0 unusable:0x1
GDT base: 0x3000 limit: 0x7f
CR0: 0x80000011 CR2: 0x5 CR3: 0x1000 CR4: 0x20 EFER: 0x500
)";
constexpr std::string_view kBraces =
    "state: {\n  CS:{base:65536 limit:268435455 selector:8 typ:11 present:1 DPL:0 DB:0 S:1 L:1 G:1 "
    "AVL:1 unusable:0 _:0}\n  LDT:{base:0 limit:0 selector:0 typ:0 present:0 DPL:0 DB:0 S:0 L:0 "
    "G:0 AVL:0 unusable:1 _:0}\n  GDT:{base:0x3000 limit:127 _:[0 0 0]}\n  CR0:2147483665\n"
    "  CR2:5 CR3:4096\n  CR4:32\n  EFER:1280 RIP:31744 RSP:24576 RFLAGS:70}\n";
constexpr std::string_view kStructs =
    "kvm_regs { rax: 1, rsp: 24576, rip: 31744, rflags: 70 }\n"
    "kvm_sregs { cs: kvm_segment { base: 65536, limit: 268435455, selector: 8, type_: 11, present: "
    "1, dpl: 0, db: 0, s: 1, l: 1, g: 1, avl: 1, unusable: 0, padding: 0 }, ldt: kvm_segment { "
    "base: 0, limit: 0, selector: 0, type_: 0, present: 0, dpl: 0, db: 0, s: 0, l: 0, g: 0, avl: "
    "0, unusable: 0, padding: 0 }, gdt: kvm_dtable { base: 12288, limit: 127, padding: [0, 0, 0] "
    "}, cr0: 2147483665, cr2: 5, cr3: 4096, cr4: 32, cr8: 0, efer: 1280, apic_base: 4276095232 }\n";

TEST(GuestRegisters, AreReadAsProgramsPrintThem) {
  for (const std::string_view text : {kLines, kBraces, kStructs}) {
    SCOPED_TRACE(text);
    const auto documents = read_all(text);
    ASSERT_EQ(documents.size(), 1u);
    const vmx::Vmcs& vmcs = documents[0].vmcs;
    const std::pair<Field, uint64_t> fields[] = {
        {Field::kGuestCsSelector, 8},
        {Field::kGuestCsBase, 0x10000},
        {Field::kGuestCsLimit, 0xfffffff},
        {Field::kGuestCsAccessRights, 0xb09b},
        {Field::kGuestLdtrAccessRights, 0x10000},
        {Field::kGuestGdtrBase, 0x3000},
        {Field::kGuestGdtrLimit, 0x7f},
        {Field::kGuestCr0, 0x80000031},  // KVM adds NE
        {Field::kGuestCr3, 0x1000},
        {Field::kGuestCr4, 0x2020},  // and VMXE
        {Field::kGuestIa32Efer, 0x500},
        {Field::kGuestRip, 0x7c00},
        {Field::kGuestRsp, 0x6000},
        {Field::kGuestRflags, 0x46},
    };
    for (const auto& [field, value] : fields) {
      EXPECT_TRUE(documents[0].given.contains(field)) << vmx::info_of(field).name;
      EXPECT_EQ(vmcs[field], value) << vmx::info_of(field).name;
    }
    const Audit result = audit(documents[0], {});
    EXPECT_THAT(failing(result), IsEmpty());
    EXPECT_THAT(to_text(result, "x"), HasSubstr("x: no violation; these are registers of a guest"));
    EXPECT_THAT(to_json(result, "x"), HasSubstr("\"result\": \"unknown\""));
    // Controls and host state are not missed.
    EXPECT_THAT(to_text(result, "x"), Not(HasSubstr("VM-entry controls")));
  }
}

TEST(GuestRegisters, AreAudited) {
  std::string wide(kLines);
  wide.replace(wide.find("0x10000 "), 8, "0x7f0000000000");
  EXPECT_THAT(failing(audit(read_all(wide)[0], {})), ElementsAre("guest-cs-base-high"));
  const Audit failed = audit(read_all("vm: KVM_EXIT_FAIL_ENTRY\n" + std::string(kLines))[0], {});
  EXPECT_THAT(to_text(failed, "x"), HasSubstr("no violation; the text says that VM entry failed"));
  const Audit reason =
      audit(read_all("hardware_entry_failure_reason = 0x80000021\n" + std::string(kLines))[0], {});
  EXPECT_EQ(reason.failed_entry, 0x80000021u);
  std::string selector(kLines);
  selector.replace(selector.find("selector: 0x8"), 13, "selector: 0x12345");
  EXPECT_THAT(error_of(selector), HasSubstr("Guest CS selector: 0x12345 is too wide"));
}

// Access rights need all their parts.
TEST(GuestRegisters, AreUnknownWhereAPartIsMissing) {
  const auto documents =
      read_all("CS base: 0x1000 limit: 0xffff selector: 0x8 type: 0xb present: 0x1 dpl: 0x0\n");
  EXPECT_THAT(documents[0].given,
              ElementsAre(Field::kGuestCsSelector, Field::kGuestCsLimit, Field::kGuestCsBase));
  EXPECT_THAT(error_of("CS base: 0x1000 limit: 0xffff\n"), HasSubstr("there is no VMCS in it"));
}

TEST(GuestRegisters, AreWhatDbvmFound) {
  const auto documents = read_all(
      "Range 0: 0000000000000000 -> 00000000000a0000 : 6\nAPs=0\noriginalstate->cpucount=1\n"
      "originalstate->cr0=0000000080050013\noriginalstate->cr4=00000000000006f8\n"
      "originalstate->cs=10\noriginalstate->ldt=0\noriginalstate->gdtlimit=57\n"
      "originalstate->rflags=0000000000000040\n");
  ASSERT_EQ(documents.size(), 1u);
  const vmx::Vmcs& vmcs = documents[0].vmcs;
  EXPECT_EQ(vmcs[Field::kGuestCr0], 0x80050033);
  EXPECT_EQ(vmcs[Field::kGuestCr4], 0x26f8);
  EXPECT_EQ(vmcs[Field::kGuestCsSelector], 0x10);
  EXPECT_EQ(vmcs[Field::kGuestGdtrLimit], 0x57);
  EXPECT_THAT(failing(audit(documents[0], {})), ElementsAre("guest-rflags-reserved"));
  EXPECT_THAT(documents[0].given, Contains(Field::kGuestLdtrSelector));
}

}  // namespace
}  // namespace nestor::emu
