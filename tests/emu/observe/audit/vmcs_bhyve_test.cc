// SPDX-License-Identifier: GPL-2.0-or-later
//
// The dumps of bhyve's children, xhyve and hyperkit.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/emu/observe/audit/documents.h"

namespace nestor::emu {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using vmx::Field;

constexpr std::string_view kDump =
    R"(vm exit[1]
	reason		VMX
	rip		0x0000000000007c00
	inst_length	2
	status		0
	exit_reason	33
	qualification	0x0000000000000000
	inst_error		0
VMCS_PIN_BASED_CTLS:           0x000000000000003f
VMCS_PRI_PROC_BASED_CTLS:      0x00000000b5186dfa
VMCS_SEC_PROC_BASED_CTLS:      0x00000000000000aa
VMCS_ENTRY_CTLS:               0x00000000000093ff
VMCS_GUEST_LDTR_SELECTOR:      0x0000000000000000
VMCS_GUEST_LDTR_LIMIT:         0x00000000ffffffff
VMCS_GUEST_LDTR_ACCESS_RIGHTS: 0x0000000000010000
VMCS_GUEST_LDTR_BASE:          0x0000000000000000
VMCS_GUEST_IDTR_LIMIT:         0x00000000ffffffff
VMCS_GUEST_IDTR_BASE:          0x0000000000000000
VMCS_GUEST_CR0:                0x0000000000000031
VMCS_GUEST_CR4:                0x0000000000002020

rip: 0x0000000000007c00 rfl: 0x0000000000000046 cr2: 0x0000000000001000
rax: 0x0000000000000001 rbx: 0x0000000000000002 rsp: 0x0000000000006000 r15: 0x0000000000000003
)";

std::string replaced(std::string_view what, std::string_view with) {
  std::string out(kDump);
  const size_t at = out.find(what);
  EXPECT_NE(at, std::string::npos) << what;
  return at == std::string::npos ? out : out.replace(at, what.size(), with);
}

TEST(BhyveDump, IsReadWithTheRegistersAroundIt) {
  const auto documents = read_all(kDump);
  ASSERT_EQ(documents.size(), 1u);
  const vmx::Vmcs& vmcs = documents[0].vmcs;
  EXPECT_EQ(vmcs[Field::kSecondaryProcBasedControls], 0xaa);
  EXPECT_EQ(vmcs[Field::kGuestRip], 0x7c00);
  EXPECT_EQ(vmcs[Field::kGuestRflags], 0x46);
  EXPECT_EQ(vmcs[Field::kGuestRsp], 0x6000);
  EXPECT_THAT(documents[0].passed_over, ElementsAre("\"cr2\"", "\"rax\"", "\"rbx\"", "\"r15\""));
  const Audit result = audit(documents[0], {});
  EXPECT_EQ(result.failed_entry, 0x80000021u);
  EXPECT_THAT(failing(result), ElementsAre("guest-cr0-pg-ia32e"));
}

TEST(BhyveDump, IsReadBehindTheTimeOfALog) {
  std::string log;
  std::string_view text = kDump;
  while (!text.empty()) {
    const size_t end = text.find('\n') + 1;
    log += "I0101 01:02:33.286159   22261 main.go:110] DBG | 2021/01/01 01:02:33 ";
    log += text.substr(0, end);
    text.remove_prefix(end);
  }
  const auto documents = read_all(log);
  ASSERT_EQ(documents.size(), 1u);
  EXPECT_EQ(documents[0].vmcs[Field::kGuestRip], 0x7c00);
  EXPECT_THAT(documents[0].passed_over, ElementsAre("\"cr2\"", "\"rax\"", "\"rbx\"", "\"r15\""));
  EXPECT_THAT(failing(audit(documents[0], {})), ElementsAre("guest-cr0-pg-ia32e"));
  // The name that is passed over is not the time's.
  const auto others = read_all("09:08:07 GUEST_DR7: 0x400\n09:08:07 weather: 0x5\n");
  EXPECT_THAT(others[0].passed_over, ElementsAre("\"weather\""));
}

// They print LDTR's limit and base under the names of IDTR's.
TEST(BhyveDump, HasNoIdtr) {
  const Audit result = audit(read_all(kDump)[0], {});
  EXPECT_THAT(to_text(result, "x"), HasSubstr("\n  Guest IDTR counts as not stated: xhyve and"));
  EXPECT_THAT(to_json(result, "x"), HasSubstr("\"Guest IDTR counts as not stated"));
  // An excerpt without LDTR.
  const auto excerpt = read_all(
      "Docker[3]: VMCS_GUEST_IDTR_LIMIT:         0x00000000ffffffff\n"
      "Docker[3]: VMCS_GUEST_CR3:                0x0000000000001000\n");
  EXPECT_THAT(excerpt[0].given, ElementsAre(Field::kGuestCr3));
  // One that prints IDTR.
  const auto mended = read_all(replaced("VMCS_GUEST_IDTR_LIMIT:         0x00000000ffffffff",
                                        "VMCS_GUEST_IDTR_LIMIT:         0x0000000000010000"));
  EXPECT_THAT(failing(audit(mended[0], {})), ElementsAre("guest-cr0-pg-ia32e", "guest-idtr-limit"));
  EXPECT_THAT(mended[0].remarks, IsEmpty());
  // Other programs.
  const auto other =
      read_all("GUEST_LDTR_LIMIT = 0xffffffff\nGUEST_IDTR_LIMIT = 0xffffffff\nGUEST_CR3 = 0x0\n");
  EXPECT_THAT(failing(audit(other[0], {})), ElementsAre("guest-idtr-limit"));
}

TEST(BhyveDump, AloneHasSuchRegisters) {
  EXPECT_THAT(error_of("GUEST_CR3 = 0x1000\nrip: 0x7c00\n"), HasSubstr("did you mean \"Guest RIP"));
  EXPECT_THAT(read_all("GUEST_CR3 = 0x1000\nRAX = 0x7c00\n")[0].passed_over,
              ElementsAre("\"RAX\""));
}

}  // namespace
}  // namespace nestor::emu
