// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/observe/audit/vmcs_document.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/emu/observe/audit/documents.h"

namespace nestor::emu {
namespace {

using ::testing::HasSubstr;
using vmx::Field;

VmcsDocument read_one(std::string_view text) {
  const auto documents = read_all(text);
  EXPECT_EQ(documents.size(), 1u);
  return documents.front();
}

TEST(VmcsDocument, ReadsNumbersAndStrings) {
  const VmcsDocument document =
      read_one(R"({"Guest CR0": 2147483665, "guest_rip": "0x1000", "0x681c": "4096"})");
  EXPECT_EQ(document.vmcs[Field::kGuestCr0], 0x80000011);
  EXPECT_EQ(document.vmcs[Field::kGuestRip], 0x1000);
  EXPECT_EQ(document.vmcs[Field::kGuestRsp], 4096);
  EXPECT_EQ(document.given,
            (std::set<Field>{Field::kGuestCr0, Field::kGuestRip, Field::kGuestRsp}));
  EXPECT_FALSE(document.capabilities);
}

TEST(VmcsDocument, JoinsTheHalvesOf64BitFields) {
  for (const char* text :
       {R"({"VMCS_LINK_POINTER": "0xffffffff", "VMCS_LINK_POINTER_HIGH": 4294967295})",
        R"({"0x2801": "0xffffffff", "0x2800": "0xffffffff"})",
        R"({"VMCS link pointer": "0xffffffffffffffff", "0x2801": "0xffffffff"})"}) {
    EXPECT_EQ(read_one(text).vmcs[Field::kVmcsLinkPointer], ~0ull) << text;
  }
  EXPECT_THAT(error_of(R"({"0x2800": "0x100000000", "0x2801": 2})"), HasSubstr("contradicts"));
  EXPECT_THAT(error_of(R"({"0x2801": 2, "0x2800": "0x100000000"})"), HasSubstr("contradicts"));
}

TEST(VmcsDocument, TakesFieldsFromAnObjectOfTheirOwnAndPassesOverWhatDumpsSayBeside) {
  const VmcsDocument document = read_one(R"({"about": {"event": [1, {"x": null}], "cycle": 7},
    "vmcs": {"Guest CR0": 5}, "decoded": ["anything", true, 1.5],
    "capabilities": {"IA32_VMX_BASIC": "0x1", "0x485": 2, "physical_address_width": 39}})");
  EXPECT_EQ(document.vmcs[Field::kGuestCr0], 5);
  ASSERT_TRUE(document.capabilities);
  EXPECT_EQ(document.capabilities->msrs, (std::map<uint32_t, uint64_t>{{0x480, 1}, {0x485, 2}}));
  EXPECT_EQ(document.capabilities->rules.at("physical_address_width"), 39);
}

TEST(VmcsDocument, TakesTheLow32BitsOfAnExitReason) {
  EXPECT_EQ(read_one(R"({"Exit reason": "0xffffffff80000021"})").vmcs[Field::kExitReason],
            0x80000021);
  EXPECT_THAT(error_of(R"({"Exit reason": "0x180000021"})"), HasSubstr("too wide"));
}

TEST(VmcsDocument, ReadsOneDocumentAfterAnother) {
  const auto result = read_vmcs_documents("{\"Guest CR0\": 1}\n{\"Guest CR0\": 2}{}\n\n");
  ASSERT_TRUE(std::holds_alternative<std::vector<VmcsDocument>>(result));
  const auto& documents = std::get<std::vector<VmcsDocument>>(result);
  ASSERT_EQ(documents.size(), 3u);
  EXPECT_EQ(documents[0].vmcs[Field::kGuestCr0], 1);
  EXPECT_EQ(documents[1].vmcs[Field::kGuestCr0], 2);
  EXPECT_TRUE(documents[2].given.empty());
}

TEST(VmcsDocument, NamesTheLineAndTheKeyOfWhatIsWrong) {
  EXPECT_THAT(error_of("{\n\"Guest CR0\": 1,\n\"Guest CR9\": 1}"),
              ::testing::AllOf(
                  HasSubstr("line 3: "),
                  HasSubstr("\"Guest CR9\" is no field of a VMCS; did you mean \"Guest CR0\"?")));
  EXPECT_THAT(error_of("{\n\"Guest ES selector\": \"0x10000\"\n}"),
              ::testing::AllOf(HasSubstr("line 2: "), HasSubstr("too wide"), HasSubstr("16 bits")));
  EXPECT_THAT(error_of("{\"Guest CR0\": 1,\n\"0x6800\": 1}"),
              ::testing::AllOf(HasSubstr("line 2: "), HasSubstr("given before, in line 1")));
  EXPECT_THAT(error_of("{\"vmcs\":{},\n\n\"vmcs\": {}}"),
              HasSubstr("line 3: \"vmcs\" is there twice"));
}

TEST(VmcsDocument, RefusesWhatIsNoValue) {
  EXPECT_THAT(error_of(R"({"Guest CR0": "five"})"), HasSubstr("\"five\" is no number"));
  EXPECT_THAT(error_of(R"({"Guest CR0": -1})"), HasSubstr("a negative number"));
  EXPECT_THAT(error_of(R"({"Guest CR0": 1.5})"), HasSubstr("no whole number"));
  EXPECT_THAT(error_of(R"({"Guest CR0": 18446744073709551616})"), HasSubstr("beyond 64 bits"));
  EXPECT_THAT(error_of(R"({"Guest CR0": true})"), HasSubstr("a boolean"));
  EXPECT_THAT(error_of(R"({"Guest CR0": null})"), HasSubstr("null"));
  EXPECT_THAT(error_of(R"({"Guest CR0": {}})"), HasSubstr("an object"));
  EXPECT_THAT(error_of(R"({"Guest CR0": []})"), HasSubstr("an array"));
  EXPECT_THAT(error_of(R"({"capabilities": {"IA32_EFER": 1}})"), HasSubstr("no VMX capability"));
  EXPECT_THAT(error_of(R"({"capabilities": {"physical_address_width": 53}})"),
              HasSubstr("not between 32 and 52"));
}

TEST(VmcsDocument, RefusesWhatIsNoJson) {
  EXPECT_THAT(error_of(""), HasSubstr("no VMCS"));
  EXPECT_THAT(error_of("{\n\"Guest CR0\": 1,\n"), HasSubstr("line 3: it is no JSON: "));
  EXPECT_THAT(error_of("{\"Guest CR0\" 1}"), HasSubstr("it is no JSON: "));
  EXPECT_THAT(error_of("[{\"Guest CR0\": 1}]"), HasSubstr("an array, not an object"));
  EXPECT_THAT(error_of("{} x"), HasSubstr("it is no JSON: "));
}

TEST(VmcsDocument, SaysWhatItReadsWhereThereIsNoVmcs) {
  for (const char* text : {"17", "\"17\"", "[1]", "\x80", "hello: world\n", "RIP = 5\n"})
    EXPECT_THAT(error_of(text), HasSubstr("there is no VMCS in it")) << text;
}

TEST(VmcsDocument, RefusesLeadingZerosAndSuggestsNames) {
  for (const char* text :
       {R"({"Guest CR0": "0000016"})", R"({"Guest CR0": "00000042"})", R"({"Guest CR0": "0a"})"})
    EXPECT_THAT(error_of(text), HasSubstr("Write 0x before it, or no leading zeros")) << text;
  EXPECT_EQ(read_one(R"({"Guest CR0": "0"})").vmcs[Field::kGuestCr0], 0);
  EXPECT_THAT(error_of(R"({"GUEST_RFLAG": 1})"), HasSubstr("did you mean \"Guest RFLAGS\"?"));
  EXPECT_THAT(error_of(R"({"VM_EXIT_RESON": 1})"), HasSubstr("did you mean \"VM_EXIT_REASON\"?"));
  EXPECT_THAT(error_of(R"({"IA32_VMX_BASIC": 1})"), HasSubstr("belongs into the object \"capab"));
  EXPECT_THAT(error_of(R"({"the weather": 1})"), HasSubstr("write a name as the SDM's"));
}

}  // namespace
}  // namespace nestor::emu
