// SPDX-License-Identifier: GPL-2.0-or-later
//
// EPT features with a guest that really executes: virtualization exceptions, sub-page write
// permissions, 5-level EPT, and loads of PDPTEs through EPT.
#include "tests/emu/l0/nested_machine_fixture.h"

namespace nestor::emu {
namespace {

using testing::ElementsAre;
using testing::Pair;
using vmx::ExitReason;
using vmx::Field;
using vmx::SecondaryProcBased;

constexpr uint64_t kReadExecute = 5 | 1u << 10;

// --- "Virtualization Exceptions"

class VirtualizationException : public NestedMachineTest {
 protected:
  static constexpr uint64_t kArea = kScratch, kEptpList = kScratch + kPage;
  static constexpr uint64_t kSuppress = 1ull << 63;
  static constexpr unsigned kVe = 20;

  VirtualizationException() {
    enable_ept();
    enable(SecondaryProcBased::kEptViolationVe);
    vmcs_.write(Field::kVirtualizationExceptionInformationAddress, kArea);
    vmcs_.write(Field::kEptpIndex, 0x1234);
    map_guest(kData, kData | kReadExecute);
    handle(kVe, exit_with(kVe));
  }
  // What the handler finds in the information area.
  uint32_t saved(uint32_t offset, const Code& guest = store(kData + 0x10) + kCpuid) {
    handle(kVe, exit_with_memory(kArea + offset));
    return run_guest(guest).code;
  }
};

TEST_F(VirtualizationException, ReplacesTheExitAndSavesWhatItWouldHaveReported) {
  EXPECT_EQ(saved(0), status(48));
  EXPECT_THAT(exits(), ElementsAre());
  EXPECT_THAT(record_.exceptions, ElementsAre(Exception{kVe, std::nullopt, kGuest, 0}));
  EXPECT_EQ(saved(4), status(0xffffffff));
  EXPECT_EQ(saved(8), status(0x7aa));
  EXPECT_EQ(saved(12), status(0));
  EXPECT_EQ(saved(16), status(kData + 0x10));
  EXPECT_EQ(saved(24), status(kData + 0x10));
  EXPECT_EQ(saved(32), status(0x1234));
}

TEST_F(VirtualizationException, AnAreaInUseMakesItAnExit) {
  put<uint32_t>(kArea + 4, 1);
  run_guest(store(kData) + kCpuid);
  EXPECT_THAT(exits(), ElementsAre(Pair(ExitReason::kEptViolation, kGuest)));
  EXPECT_EQ(record_.exits[0].qualification, 0x7aau);
}

// The first handler leaves the area in use; with the dword cleared there is a second exception.
TEST_F(VirtualizationException, OccursAgainOnceSoftwareHasClearedTheDword) {
  handle(kVe, store(kData) + exit_with(1));
  run_guest(store(kData) + kCpuid);
  EXPECT_THAT(exits(), ElementsAre(Pair(ExitReason::kEptViolation, kHandlers + 0x40 * kVe)));
  // Clears the dword at kArea + 4 and returns behind the store.
  Code handler = ASM64("mov dword ptr [0], 0; add qword ptr [rsp], 7; iretq");
  const auto dword = static_cast<uint32_t>(kArea + 4);
  std::memcpy(handler.data() + 3, &dword, 4);
  handle(kVe, handler);
  run_guest(store(kData) + store(kData) + kCpuid);
  EXPECT_EQ(record_.exceptions.size(), 2u);
  EXPECT_THAT(exits(), ElementsAre(Pair(ExitReason::kCpuid, kGuest + 14)));
}

TEST_F(VirtualizationException, SuppressedByTheEntryThatEndsTheTranslation) {
  for (const uint64_t entry : {kData | kReadExecute, uint64_t{0}}) {
    for (const bool suppress : {false, true}) {
      map_guest(kData, entry | (suppress ? kSuppress : 0));
      const RunResult result = run_guest(store(kData) + kCpuid, exit_with(1));
      EXPECT_EQ(result.code, status(suppress ? 1 : kVe));
      EXPECT_EQ(exits().size(), suppress ? 1u : 0u);
    }
  }
}

TEST_F(VirtualizationException, NotByAMisconfigurationAndNotWithoutTheControl) {
  map_guest(kData, kData | 2);
  run_guest(store(kData) + kCpuid);
  EXPECT_THAT(exits(), ElementsAre(Pair(ExitReason::kEptMisconfiguration, kGuest)));
  map_guest(kData, kData | kReadExecute);
  vmcs_.write(Field::kSecondaryProcBasedControls, mask(SecondaryProcBased::kEnableEpt));
  run_guest(store(kData) + kCpuid);
  EXPECT_THAT(exits(), ElementsAre(Pair(ExitReason::kEptViolation, kGuest)));
}

TEST_F(VirtualizationException, TheExceptionBitmapIsAskedAboutVector20) {
  vmcs_.write(Field::kExceptionBitmap, 1u << kVe);
  EXPECT_EQ(run_guest(store(kData) + kCpuid, exit_with_memory(kArea + 4)).code, status(0xffffffff));
  EXPECT_THAT(exits(), ElementsAre(Pair(ExitReason::kExceptionOrNmi, kGuest)));
  EXPECT_EQ(record_.exits[0].interruption_information, 0x80000314u);
}

// INT 40H pushes onto a stack that EPT maps read-only.
TEST_F(VirtualizationException, NeverDuringTheDeliveryOfAnEvent) {
  constexpr unsigned kVector = 0x40;
  handle(kVector, exit_with(1));
  const uint64_t page = kKernelStack - kPage;
  map_guest(page, page | kReadExecute);
  run_guest({0xcd, kVector});
  EXPECT_THAT(exits(), ElementsAre(Pair(ExitReason::kEptViolation, kGuest)));
  EXPECT_EQ(record_.exits[0].idt_vectoring_information, 0x80000400u | kVector);
}

// The same stack: the exception is under delivery when the push is refused.
TEST_F(VirtualizationException, AnExitDuringItsOwnDeliveryReportsIt) {
  const uint64_t page = kKernelStack - kPage;
  map_guest(page, page | kReadExecute);
  run_guest(store(kData) + kCpuid);
  EXPECT_THAT(exits(), ElementsAre(Pair(ExitReason::kEptViolation, kGuest)));
  EXPECT_EQ(record_.exits[0].idt_vectoring_information, 0x80000314u);
  EXPECT_EQ(record_.exits[0].guest_linear, kKernelStack - 8);
}

// Not-present gate: a contributory exception. A stack that is not present: a page fault.
TEST_F(VirtualizationException, IsOfTheClassOfPageFaults) {
  handle(8, exit_with(8));
  put<uint64_t>(kIdt + 16 * kVe, 0);
  EXPECT_EQ(run_guest(store(kData) + kCpuid).code, status(8));
  handle(kVe, exit_with(kVe));
  put<uint8_t>(kIdt + 16 * 8 + 4, 1);  // #DF has a stack of its own
  put<uint64_t>(kTss + 36, kStack);
  map(kKernelStack - kPage, 0);
  EXPECT_EQ(run_guest(store(kData) + kCpuid).code, status(8));
}

TEST_F(VirtualizationException, AfterEptpSwitchingTheIndexIsTheNewOne) {
  enable(SecondaryProcBased::kEnableVmFunctions);
  vmcs_.write(Field::kVmFunctionControls, mask(vmx::VmFunction::kEptpSwitching));
  vmcs_.write(Field::kEptpListAddress, kEptpList);
  put(kEptpList + 8 * 3, vmcs_[Field::kEptPointer]);
  const Code switching = ASM64("xor eax, eax; mov ecx, 3; vmfunc");
  EXPECT_EQ(saved(32, switching + store(kData) + kCpuid), status(3));
}

// --- "Sub-Page Write Permissions"

class SubPageWrites : public NestedMachineTest {
 protected:
  static constexpr uint64_t kTables = kScratch, kVectors = kScratch + 3 * kPage;
  static constexpr uint64_t kSubPage = 1ull << 61;

  SubPageWrites() {
    enable_ept();
    enable(SecondaryProcBased::kSubPageWritePermissions);
    vmcs_.write(Field::kSubPagePermissionTablePointer, kTables);
    for (uint64_t level = 0; level < 3; ++level) {
      put(kTables + level * kPage, (kTables + (level + 1) * kPage) | 1);
    }
    protect(kData, 1u << 4);  // its third 128 bytes
  }
  void protect(uint64_t page, uint64_t vector) {
    map_guest(page, page | kReadExecute | kSubPage);
    put(kVectors + 8 * (page >> 12), vector);
  }
};

TEST_F(SubPageWrites, AllowWhatTheVectorPermits) {
  const Code guest = store(kData + 0x100) + store(kData + 0x17c) + kCpuid;
  // The page is then read by the host.
  const Code value = ASM64("mov eax, 0x77");
  EXPECT_EQ(run_guest(value + guest, exit_with_memory(kData + 0x17c)).code, status(0x77));
  EXPECT_THAT(exits(), ElementsAre(Pair(ExitReason::kCpuid, kGuest + 5 + 14)));
}

TEST_F(SubPageWrites, DenyOtherSubPagesAlsoRightAfterAnAllowedWrite) {
  run_guest(store(kData + 0x100) + store(kData + 0x180) + kCpuid);
  EXPECT_THAT(exits(), ElementsAre(Pair(ExitReason::kEptViolation, kGuest + 7)));
  EXPECT_EQ(record_.exits[0].qualification, 0x7aau);
  EXPECT_EQ(record_.exits[0].guest_physical, kData + 0x180);
  run_guest(store(kData + 0xfc) + kCpuid);
  EXPECT_THAT(exits(), ElementsAre(Pair(ExitReason::kEptViolation, kGuest)));
}

TEST_F(SubPageWrites, JudgeTheWholeOperand) {
  run_guest(store(kData + 0x17d) + kCpuid);
  EXPECT_THAT(exits(), ElementsAre(Pair(ExitReason::kEptViolation, kGuest)));
  run_guest(store(kData + 0xff) + kCpuid);
  EXPECT_THAT(exits(), ElementsAre(Pair(ExitReason::kEptViolation, kGuest)));
}

// lock inc dword [kData + offset]: reads the page before it writes it.
TEST_F(SubPageWrites, JudgeReadModifyWrite) {
  Code increment = ASM64("lock inc dword ptr [0]");
  uint32_t address = kData + 0x104;
  std::memcpy(increment.data() + 4, &address, 4);
  put<uint32_t>(address, 41);
  EXPECT_EQ(run_guest(increment + kCpuid, exit_with_memory(address)).code, status(42));
  address = kData + 0x204;
  std::memcpy(increment.data() + 4, &address, 4);
  run_guest(increment + kCpuid);
  EXPECT_THAT(exits(), ElementsAre(Pair(ExitReason::kEptViolation, kGuest)));
}

TEST_F(SubPageWrites, OfTwoPagesNeedBothVectors) {
  const Code guest = store(kData + 0xffe) + kCpuid;
  for (unsigned permitted = 0; permitted != 4; ++permitted) {
    protect(kData, permitted & 1 ? 1ull << 62 : 0);
    protect(kData + kPage, permitted & 2 ? 1 : 0);
    run_guest(guest);
    const auto reason = permitted == 3 ? ExitReason::kCpuid : ExitReason::kEptViolation;
    EXPECT_THAT(exits(), ElementsAre(Pair(reason, kGuest + (permitted == 3 ? 7 : 0))));
  }
}

// mov edi, kData + 17EH; mov ecx, 4; rep stosb: two iterations are allowed.
TEST_F(SubPageWrites, JudgeEachIterationOfAString) {
  const Code guest = ASM64("mov edi, 0x8017e; mov ecx, 4; rep stosb");
  run_guest(guest + kCpuid);
  EXPECT_THAT(exits(), ElementsAre(Pair(ExitReason::kEptViolation, kGuest + 10)));
  EXPECT_EQ(record_.exits[0].guest_physical, kData + 0x180);
}

// sidt [address]: ten bytes that the processor emulates.
TEST_F(SubPageWrites, JudgeEmulatedInstructions) {
  Code sidt = ASM64("sidt [0]");
  for (const uint32_t offset : {0x100u, 0x176u, 0x177u, 0xf8u}) {
    const auto address = static_cast<uint32_t>(kData + offset);
    std::memcpy(sidt.data() + 4, &address, 4);
    run_guest(sidt + kCpuid);
    const bool inside = offset >= 0x100 && offset + 10 <= 0x180;
    EXPECT_THAT(exits(), ElementsAre(inside ? Pair(ExitReason::kCpuid, kGuest + 8)
                                            : Pair(ExitReason::kEptViolation, kGuest)));
  }
}

TEST_F(SubPageWrites, MissesAndMisconfigurationsExit) {
  struct Case {
    uint64_t address, entry, qualification;
  };
  const Case cases[] = {{kTables, 0, 0x800},
                        {kTables + 2 * kPage, 0, 0x800},
                        {kTables + kPage, (kTables + 2 * kPage) | 3, 0},
                        {kVectors + 8 * (kData >> 12), 2, 0}};
  for (const Case& c : cases) {
    SubPageWrites::put(c.address, c.entry);
    run_guest(store(kData + 0x108) + kCpuid);
    EXPECT_THAT(exits(), ElementsAre(Pair(ExitReason::kSppRelatedEvent, kGuest)));
    EXPECT_EQ(record_.exits[0].qualification, c.qualification);
    EXPECT_EQ(record_.exits[0].guest_physical, kData + 0x108);
    EXPECT_EQ(record_.exits[0].guest_linear, kData + 0x108);
    for (uint64_t level = 0; level < 3; ++level) {
      put(kTables + level * kPage, (kTables + (level + 1) * kPage) | 1);
    }
  }
}

// A denied write is an EPT violation like others.
TEST_F(SubPageWrites, ADenialMayBecomeAVirtualizationException) {
  enable(SecondaryProcBased::kEptViolationVe);
  vmcs_.write(Field::kVirtualizationExceptionInformationAddress, kScratch + 4 * kPage);
  handle(20, exit_with(20));
  EXPECT_EQ(run_guest(store(kData + 0x180) + kCpuid).code, status(20));
}

// --- 5-level EPT

TEST_F(NestedMachineTest, FiveLevelEptTranslates) {
  enable_ept();
  put<uint64_t>(kScratch, kEpt | kEptAll | kEptUserExecute);
  vmcs_.write(Field::kEptPointer, kScratch | 0x26);
  map_guest(kData, kData | kReadExecute);
  run_guest(kCpuid);
  EXPECT_THAT(exits(), ElementsAre(Pair(ExitReason::kCpuid, kGuest)));
  run_guest(store(kData) + kCpuid);
  EXPECT_THAT(exits(), ElementsAre(Pair(ExitReason::kEptViolation, kGuest)));
  EXPECT_EQ(record_.exits[0].qualification, 0x7aau);
  put<uint64_t>(kScratch, 0);
  run_guest(kCpuid);
  EXPECT_EQ(exits()[0].first, ExitReason::kEptViolation);
  EXPECT_EQ(record_.exits[0].qualification, 0x81u);
}

// --- Loads of the PDPTEs

// A 32-bit guest in PAE paging that executes MOV to CR3.
class PdpteLoad : public NestedMachineTest {
 protected:
  static constexpr uint64_t kTable = kScratch, kDirectory = kScratch + kPage;

  PdpteLoad() {
    enable_ept();
    vmcs_.write(Field::kVmEntryControls,
                vmcs_[Field::kVmEntryControls] & ~mask(vmx::VmEntryControl::kIa32eModeGuest));
    vmcs_.write(Field::kGuestCsAccessRights, 0xc09b);
    vmcs_.write(Field::kGuestPdpte0, kDirectory | 1);
    put<uint64_t>(kDirectory, 0x83);  // 2 MBytes, identity
    put<uint64_t>(kTable + 0x20, kDirectory | 1);
  }
  const Code load_ = ASM64("mov eax, 0x20020; mov cr3, rax");

  void expect_exit(ExitReason reason) {
    run_guest(load_ + kCpuid);
    EXPECT_THAT(exits(), ElementsAre(Pair(reason, kGuest + 5)));
  }
};

TEST_F(PdpteLoad, Succeeds) {
  run_guest(load_ + kCpuid);
  EXPECT_THAT(exits(), ElementsAre(Pair(ExitReason::kCpuid, kGuest + 8)));
}

TEST_F(PdpteLoad, ViolationsAreReadsWithoutALinearAddress) {
  for (const uint64_t rights : {0u, 4u}) {  // not present; execute-only
    map_guest(kTable, kTable | rights);
    expect_exit(ExitReason::kEptViolation);
    EXPECT_EQ(record_.exits[0].qualification, 1 | rights << 3);
    EXPECT_EQ(record_.exits[0].guest_physical, kTable + 0x20);
  }
}

// Not even with accessed and dirty flags for EPT are these reads treated as writes.
TEST_F(PdpteLoad, NeedsNoWriteAccess) {
  vmcs_.write(Field::kEptPointer, vmcs_[Field::kEptPointer] | kEptAccessedDirty);
  map_guest(kTable, kTable | 1);
  run_guest(load_ + kCpuid, exit_with_memory(kEptPageTable + 8 * (kTable >> 12)));
  EXPECT_THAT(exits(), ElementsAre(Pair(ExitReason::kCpuid, kGuest + 8)));
}

TEST_F(PdpteLoad, SetsTheAccessedFlagOnly) {
  vmcs_.write(Field::kEptPointer, vmcs_[Field::kEptPointer] | kEptAccessedDirty);
  map_guest(kTable, kTable | 7);
  EXPECT_EQ(run_guest(load_ + kCpuid, exit_with_memory(kEptPageTable + 8 * (kTable >> 12))).code,
            status(kTable | 7 | 1u << 8));
}

TEST_F(PdpteLoad, Misconfiguration) {
  map_guest(kTable, kTable | 2);
  expect_exit(ExitReason::kEptMisconfiguration);
  EXPECT_EQ(record_.exits[0].guest_physical, kTable + 0x20);
}

// Every other page has its flags already.
TEST_F(PdpteLoad, FullPageModificationLog) {
  enable(SecondaryProcBased::kEnablePml);
  vmcs_.write(Field::kPmlAddress, kScratch + 2 * kPage);
  vmcs_.write(Field::kPmlIndex, 512);
  vmcs_.write(Field::kEptPointer, vmcs_[Field::kEptPointer] | kEptAccessedDirty);
  for (uint64_t i = 0; i < 512; ++i) map_guest(i << 12, (i << 12) | kEptAll | 0x300);
  for (const uint64_t above : {kEpt, kEpt + 0x1000, kEpt + 0x2000}) {
    uint64_t entry = 0;
    std::memcpy(&entry, low_.data() + above, sizeof entry);
    put(above, entry | 0x100);
  }
  map_guest(kTable, kTable | kEptAll);
  expect_exit(ExitReason::kPmlFull);
  EXPECT_EQ(record_.exits[0].qualification, 0u);
}

TEST_F(PdpteLoad, ApicAccessPage) {
  enable(vmx::PrimaryProcBased::kUseTprShadow);
  enable(SecondaryProcBased::kVirtualizeApicAccesses);
  vmcs_.write(Field::kVirtualApicAddress, kScratch + 2 * kPage);
  vmcs_.write(Field::kApicAccessAddress, kTable);
  expect_exit(ExitReason::kApicAccess);
  EXPECT_EQ(record_.exits[0].qualification >> 12, 15u);
}

TEST_F(PdpteLoad, AReservedBitIsAFault) {
  put<uint64_t>(kTable + 0x20, kDirectory | 3);
  vmcs_.write(Field::kExceptionBitmap, 1u << vmx::kGp);
  expect_exit(ExitReason::kExceptionOrNmi);
  EXPECT_EQ(record_.exits[0].interruption_information, 0x80000b0du);
}

TEST_F(PdpteLoad, MayBecomeAVirtualizationException) {
  enable(SecondaryProcBased::kEptViolationVe);
  vmcs_.write(Field::kVirtualizationExceptionInformationAddress, kScratch + 4 * kPage);
  vmcs_.write(Field::kExceptionBitmap, 1u << vmx::kVe);
  map_guest(kTable, 0);
  EXPECT_EQ(run_guest(load_ + kCpuid, exit_with_memory(kScratch + 4 * kPage + 8)).code, status(1));
  EXPECT_THAT(exits(), ElementsAre(Pair(ExitReason::kExceptionOrNmi, kGuest + 5)));
}

}  // namespace
}  // namespace nestor::emu
