// SPDX-License-Identifier: GPL-2.0-or-later
//
// HAXM's dump.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "emu/observe/audit/vmcs_formats.h"
#include "tests/emu/observe/audit/documents.h"

namespace nestor::emu {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using vmx::Field;

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

// The name that belongs to the encoding is no accident.
TEST(HaxmDump, MayBeOneLine) {
  const auto documents = read_all("haxm_warning: 6802 GUEST_CR3: ffff000000000000\n");
  EXPECT_THAT(failing(audit(documents[0], {})), ElementsAre("guest-cr3-width"));
}

TEST(HaxmDump, HasAnEncodingBeforeEachName) {
  for (const char* text :
       {"Range 0: 0000000000000000 -> 0000000000070000 : 6\n"
        "Range 1: 0000000000100000 -> 0000000000800000 : 6\n"
        "Range 2: 0000000000900000 -> 0000000000a00000 : 6\n",
        "a 10004000 PIN: 1\nb 10004002 CPU: 2\nc 1000401e SEC: 3\n", "6800 GUEST_CR3: 10\n"})
    EXPECT_FALSE(is_haxm_dump(text)) << text;
}

TEST(HaxmDump, BelongsToTheFailureThatIsStatedBeforeIt) {
  const auto documents = read_all(
      "haxm_error: 4000 VMX_PIN_CONTROLS: 1f\nhaxm_error: 681e GUEST_RIP: 7c00\n"
      "haxm_error: exit_invalid_guest_state(): the vmexit counter is 9.\n"
      "haxm_error: vmentry failed\n"
      "haxm_error: 4000 VMX_PIN_CONTROLS: 1f\nhaxm_error: 681e GUEST_RIP: 7c00\n");
  ASSERT_EQ(documents.size(), 2u);
  EXPECT_EQ(audit(documents[0], {}).failed_entry, std::nullopt);
  EXPECT_FALSE(documents[0].entry_failed);
  EXPECT_EQ(audit(documents[1], {}).failed_entry, 0x80000021u);
}

}  // namespace
}  // namespace nestor::emu
