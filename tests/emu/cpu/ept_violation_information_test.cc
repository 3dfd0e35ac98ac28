// SPDX-License-Identifier: GPL-2.0-or-later
//
// "Advanced VM-exit information for EPT violations": what the exit qualification says of the linear
// address.
#include "ept/ept_walk.h"
#include "tests/emu/l0/nested_machine_fixture.h"

namespace nestor::emu {
namespace {

using Q = ept::EptQualification;
using vmx::ExitReason;
using vmx::Field;
using vmx::SecondaryProcBased;

class EptViolationInformation : public NestedMachineTest {
 protected:
  EptViolationInformation() {
    enable_ept();
    map_guest(kData, 0);
  }
  // Of the EPT violation that the guest ends with.
  uint64_t qualification(const Code& guest) {
    run_guest(guest);
    if (record_.exits.size() != 1) return 0;
    EXPECT_EQ(record_.exits[0].reason, static_cast<uint32_t>(ExitReason::kEptViolation));
    return record_.exits[0].qualification;
  }
  static Code load() {
    Code code = ASM64("mov eax, [0]");
    const auto address = static_cast<uint32_t>(kData);
    std::memcpy(code.data() + 3, &address, sizeof address);
    return code;
  }
};

TEST_F(EptViolationInformation, TellsWhatPagingSaysOfThePage) {
  vmcs_.write(Field::kGuestCr0, cpu_.cr0 & ~vmx::cr0::kWp);
  for (const uint64_t user : {uint64_t{0}, kUser}) {
    for (const uint64_t writable : {uint64_t{0}, kWritable}) {
      for (const uint64_t no_execute : {uint64_t{0}, kNoExecute}) {
        map(kData, kData | kPresent | user | writable | no_execute);
        const uint64_t expected = (user ? Q::kLinearUser : 0) |
                                  (writable ? Q::kLinearWritable : 0) |
                                  (no_execute ? Q::kLinearExecuteDisable : 0);
        // The rights of the paging structures, whether or not the access needs them.
        EXPECT_EQ(qualification(load()), 0x181 | expected);
        EXPECT_EQ(qualification(store(kData)), 0x182 | expected);
      }
    }
  }
  // All entries count.
  map(kData, kData | kAll);
  put<uint64_t>(kPml4 + 0x2000, kPageTable | kPresent);
  EXPECT_EQ(qualification(load()), 0x181u);
}

TEST_F(EptViolationInformation, WithoutXdEveryPageIsExecutable) {
  vmcs_.write(Field::kVmEntryControls,
              vmcs_[Field::kVmEntryControls] | mask(vmx::VmEntryControl::kLoadEfer));
  vmcs_.write(Field::kGuestIa32Efer, vmx::efer::kLme | vmx::efer::kLma);
  EXPECT_EQ(qualification(load()), 0x181 | Q::kLinearUser | Q::kLinearWritable);
}

TEST_F(EptViolationInformation, OfAPageWalkItTellsNothing) {
  map_guest(kPageTable, 0);
  EXPECT_EQ(qualification(load()), 0x81u);
}

TEST_F(EptViolationInformation, IsTheSameInEventDelivery) {
  map(kKernelStack - kPage, (kKernelStack - kPage) | kPresent | kWritable | kNoExecute);
  map_guest(kKernelStack - kPage, 0);
  handle(0x40, ASM64("hlt"));
  EXPECT_EQ(qualification(ASM64("int 0x40")),
            0x182 | Q::kLinearWritable | Q::kLinearExecuteDisable);
}

TEST_F(EptViolationInformation, WithoutPagingEveryAddressIsUserWritableAndExecutable) {
  enable(SecondaryProcBased::kUnrestrictedGuest);
  vmcs_.write(Field::kVmEntryControls, vmcs_[Field::kVmEntryControls] &
                                           ~uint64_t{mask(vmx::VmEntryControl::kIa32eModeGuest)});
  vmcs_.write(Field::kGuestCr0, cpu_.cr0 & ~vmx::cr0::kPg);
  vmcs_.write(Field::kGuestCsAccessRights, 0xc09b);
  Code code = ASM32("mov eax, [0]");
  const auto address = static_cast<uint32_t>(kData);
  std::memcpy(code.data() + 1, &address, sizeof address);
  EXPECT_EQ(qualification(code), 0x181 | Q::kLinearUser | Q::kLinearWritable);
}

// The exception saves what the VM exit would have.
TEST_F(EptViolationInformation, GoesIntoTheVirtualizationExceptionInformation) {
  constexpr uint64_t kArea = kScratch;
  enable(SecondaryProcBased::kEptViolationVe);
  vmcs_.write(Field::kVirtualizationExceptionInformationAddress, kArea);
  map(kData, kData | kPresent | kUser | kNoExecute);
  handle(20, exit_with_memory(kArea + 8));
  EXPECT_EQ(run_guest(load()).code, status(0x181 | Q::kLinearUser | Q::kLinearExecuteDisable));
}

}  // namespace
}  // namespace nestor::emu
