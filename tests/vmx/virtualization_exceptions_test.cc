// SPDX-License-Identifier: GPL-2.0-or-later
//
// "Convertible EPT Violations" and "Virtualization-Exception Information"; SPP-related events.
#include "tests/vmx/vmx_fixture.h"

namespace nestor::vmx::test {
namespace {

class VirtualizationExceptions : public VmxTest {
 protected:
  static constexpr uint64_t kArea = 0xc000;

  void start() {
    prepare();
    enable(SecondaryProcBased::kEnableEpt);
    set(Field::kEptPointer, kEpt);
    enable(SecondaryProcBased::kEptViolationVe);
    set(Field::kVirtualizationExceptionInformationAddress, kArea);
    set(Field::kEptpIndex, 7);
    ASSERT_EQ(vmlaunch(), "transfer");
  }
  bool converted(uint64_t qualification = 0x182) {
    const auto event = vmx.virtualization_exception(qualification, 0x5000, 0x1'2345'6000);
    if (!event) return false;
    EXPECT_EQ(event->vector, kVe);
    EXPECT_EQ(event->type, EventType::kHardwareException);
    EXPECT_FALSE(event->error_code);
    return true;
  }
  uint64_t area(uint64_t offset) { return cpu.peek<uint64_t>(kArea + offset); }
};

TEST_F(VirtualizationExceptions, SaveTheInformation) {
  start();
  cpu.poke(kArea + 34, uint16_t{0xaaaa});
  ASSERT_TRUE(converted());
  EXPECT_EQ(area(0), 0xffffffff'00000030u);
  EXPECT_EQ(area(8), 0x182u);
  EXPECT_EQ(area(16), 0x1'2345'6000u);
  EXPECT_EQ(area(24), 0x5000u);
  EXPECT_EQ(area(32) & 0xffffffff, 0xaaaa0007u) << "34 bytes and no more";
  EXPECT_TRUE(vmx.in_non_root());
}

TEST_F(VirtualizationExceptions, TheLinearAddressHas32BitsOutside64BitMode) {
  start();
  cpu.cpu.segment[kCs].rights.value = 0xc09b;
  ASSERT_TRUE(converted());
  EXPECT_EQ(area(16), 0x2345'6000u);
}

TEST_F(VirtualizationExceptions, AnyBitOfTheDwordForbidsThem) {
  start();
  for (unsigned bit = 0; bit != 32; ++bit) {
    cpu.poke(kArea + 4, uint32_t{1} << bit);
    EXPECT_FALSE(converted()) << bit;
  }
  cpu.poke(kArea + 4, uint32_t{0});
  EXPECT_TRUE(converted());
  EXPECT_FALSE(converted()) << "the dword is in use now";
}

TEST_F(VirtualizationExceptions, NeedTheControlProtectedModeAndNoDelivery) {
  start();
  vmx.set_vectoring(exception(kPf, 0));
  EXPECT_FALSE(converted());
  vmx.set_vectoring(std::nullopt);
  cpu.cpu.cr0 &= ~cr0::kPe;
  EXPECT_FALSE(converted());
  cpu.cpu.cr0 |= cr0::kPe;
  EXPECT_TRUE(converted());
}

TEST_F(VirtualizationExceptions, WithoutTheControlThereAreNone) {
  prepare();
  enable(SecondaryProcBased::kEnableEpt);
  set(Field::kEptPointer, kEpt);
  ASSERT_EQ(vmlaunch(), "transfer");
  EXPECT_FALSE(converted());
}

TEST_F(VirtualizationExceptions, ReportNmiUnblockingAsTheExitWould) {
  prepare();
  enable(PinBased::kNmiExiting);
  enable(PinBased::kVirtualNmis);
  enable(SecondaryProcBased::kEnableEpt);
  set(Field::kEptPointer, kEpt);
  enable(SecondaryProcBased::kEptViolationVe);
  set(Field::kVirtualizationExceptionInformationAddress, kArea);
  set(Field::kGuestInterruptibilityState, 8);
  set(Field::kExceptionBitmap, 1u << kVe);
  ASSERT_EQ(vmlaunch(), "transfer");
  vmx.begin_iret();
  ASSERT_TRUE(converted());
  EXPECT_EQ(area(8), 0x1182u);
  EXPECT_TRUE(vmx.exception_exits(exception(kVe)));
  EXPECT_EQ(get(Field::kVmExitInterruptionInformation), 0x80001314u);
}

TEST_F(VirtualizationExceptions, SubPageEventsReportBothAddresses) {
  start();
  vmx.sub_page_event(0x800, 0x5080, 0x7'0000'0080);
  EXPECT_FALSE(vmx.in_non_root());
  EXPECT_EQ(get(Field::kExitReason), 66u);
  EXPECT_EQ(get(Field::kExitQualification), 0x800u);
  EXPECT_EQ(get(Field::kGuestPhysicalAddress), 0x5080u);
  EXPECT_EQ(get(Field::kGuestLinearAddress), 0x7'0000'0080u);
  EXPECT_TRUE(get(Field::kGuestRflags) & rflags::kRf);
}

}  // namespace
}  // namespace nestor::vmx::test
