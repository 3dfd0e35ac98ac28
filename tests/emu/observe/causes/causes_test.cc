// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/observe/causes/causes.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/emu/l0/nested_machine_fixture.h"

namespace nestor::emu {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using vmx::Field;

class CausesTest : public NestedMachineTest {
 protected:
  CausesTest() { listener_ = &causes_; }

  std::vector<std::string> told_;
  Causes causes_{[this](const std::string& text) { told_.push_back(text); }};
};

TEST_F(CausesTest, NothingWhereNothingIsWrong) {
  EXPECT_EQ(run_guest(ASM64("cpuid")).code, status(0));
  EXPECT_THAT(told_, IsEmpty());
}

TEST_F(CausesTest, AFailedVmEntryNamesFieldValueAndRequirement) {
  vmcs_.write(Field::kGuestRflags, 0);
  run_guest(ASM64("cpuid"));
  EXPECT_THAT(told_, ElementsAre(AllOf(HasSubstr("VM entry failed: exit reason 0x80000021"),
                                       HasSubstr("Guest RFLAGS = 0x0: "),
                                       HasSubstr("check guest-rflags"))));
}

TEST_F(CausesTest, AFailedVmLaunchNamesTheControl) {
  vmcs_.write(Field::kPinBasedControls, 0);
  run_guest(ASM64("cpuid"));
  EXPECT_THAT(told_, ElementsAre(AllOf(HasSubstr("VMLAUNCH failed: VM-instruction error 7"),
                                       HasSubstr("\n  Pin-based VM-execution controls = 0x0"))));
}

TEST_F(CausesTest, EachIsToldOnceAndNotWithoutEnd) {
  for (uint32_t i = 0; i != 3 * Causes::kMost; ++i)
    causes_.on(TripleFaultEvent{i / 2, false, vmx::exception(vmx::kGp, 0)});
  ASSERT_EQ(told_.size(), Causes::kMost + 1);
  EXPECT_THAT(told_.back(), HasSubstr("--trace FILE"));
}

TEST_F(CausesTest, VmxonWithoutCr4Vmxe) {
  put(0xb000, kVmxonRegion);
  handle(vmx::kUd, exit_with(3));
  EXPECT_EQ(run(ASM64("mov rax, cr4; and eax, 0xffffdfff; mov cr4, rax; vmxon [0xb000]")).code,
            status(3));
  EXPECT_THAT(told_, ElementsAre(AllOf(HasSubstr("L1: #UD at RIP"), HasSubstr("CR4.VMXE is 0"))));
}

TEST_F(CausesTest, AnEptMisconfigurationNamesEntryAndRule) {
  enable_ept();
  map_guest(kGuest, kGuest | 2);  // writable and not readable
  run_guest(ASM64("cpuid"));
  ASSERT_THAT(told_, testing::SizeIs(1));
  EXPECT_THAT(told_[0], AllOf(HasSubstr("EPT misconfiguration for guest-physical address 0x110000"),
                              HasSubstr("the level 1 entry at 0x16880 is 0x110002: ")));
}

TEST_F(CausesTest, ATripleFaultNamesWhatEachDeliveryMet) {
  vmcs_.write(Field::kGuestIdtrLimit, 0x6f);  // up to #TS... and #DF, not #GP
  put<uint64_t>(kIdt + 16 * vmx::kDf, 0);
  run_guest(ASM64("ud2"));
  ASSERT_THAT(told_, testing::SizeIs(1));
  EXPECT_THAT(told_[0], AllOf(HasSubstr("L2: triple fault at RIP 0x110000"),
                              HasSubstr("#UD at RIP 0x110000"), HasSubstr("its delivery met")));
}

}  // namespace
}  // namespace nestor::emu
