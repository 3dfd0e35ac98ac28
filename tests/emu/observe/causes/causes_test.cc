// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/observe/causes/causes.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/emu/l0/nested_machine_fixture.h"
#include "vmx/msr_index.h"

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
  EXPECT_THAT(
      told_, ElementsAre(AllOf(HasSubstr("VMLAUNCH at RIP 0x10002a failed: VM-instruction error 7"),
                               HasSubstr("\n  Pin-based VM-execution controls = 0x0"))));
}

// Without a current VMCS there is no VM-instruction error that would say it.
TEST_F(CausesTest, VmclearAndVmptrldSayWhatIsWrongWithTheirOperand) {
  struct Case {
    uint64_t pointer;
    const char* reason;
  };
  for (const Case& one : {Case{kVmcsRegion + 8, "must be 4-KByte aligned"},
                          Case{1ull << 60, "within the physical-address width"},
                          Case{kVmxonRegion, "must not be the VMXON pointer"}}) {
    for (const Code& instruction :
         {Code(ASM64("vmclear [0xb008]")), Code(ASM64("vmptrld [0xb008]"))}) {
      put_guest({}, {});
      put(0xb008, one.pointer);
      told_.clear();
      Causes causes([this](const std::string& text) { told_.push_back(text); });
      listener_ = &causes;
      (void)run(ASM64("mov ecx, 0x3a; mov eax, 5; xor edx, edx; wrmsr; mov rax, cr4; "
                      "or eax, 0x2000; mov cr4, rax; vmxon [0xb000]") +
                instruction + exit_with(1));
      EXPECT_THAT(told_, ElementsAre(AllOf(HasSubstr("failed: VMfailInvalid\n  VMCS pointer"),
                                           HasSubstr(one.reason))));
    }
  }
}

TEST_F(CausesTest, AnErrorThatNoCurrentVmcsHolds) {
  put_guest({}, {});
  Causes causes([this](const std::string& text) { told_.push_back(text); });
  listener_ = &causes;
  (void)run(Code(ASM64("mov ecx, 0x3a; mov eax, 5; xor edx, edx; wrmsr; mov rax, cr4; "
                       "or eax, 0x2000; mov cr4, rax; vmxon [0xb000]; vmxon [0xb000]")) +
            exit_with(1));
  EXPECT_THAT(told_,
              ElementsAre(HasSubstr("failed: VMfailInvalid: VMXON executed in VMX root operation; "
                                    "there is no current VMCS to hold VM-instruction error 15")));
}

TEST_F(CausesTest, AFailureInAnMsrAreaNamesTheEntry) {
  constexpr uint64_t kArea = kScratch;
  put<uint64_t>(kArea, vmx::kIa32KernelGsBase);
  put<uint64_t>(kArea + 16, 0x5'0000'0000);
  vmcs_.write(Field::kVmExitMsrLoadAddress, kArea);
  vmcs_.write(Field::kVmExitMsrLoadCount, 32);
  EXPECT_EQ(run_guest(ASM64("cpuid")).kind, RunResult::Kind::kVmxAbort);
  EXPECT_THAT(
      told_,
      ElementsAre(AllOf(HasSubstr("VMX abort: indicator 4, failure in loading host MSRs\n"),
                        HasSubstr("  VM-exit MSR-load area, entry 2 of 32 = 0x500000000: bits "))));
}

// The double fault of a stack that is not there would come at the second exception only.
TEST_F(CausesTest, WhatL1MeetsOnTheWayToAHandlerNamesTheStack) {
  constexpr uint64_t kNotMapped = 0xffff'ff00'0000'0000;
  vmcs_.write(Field::kHostTrBase, kScratch);
  put<uint64_t>(kScratch + 0x24 + 8, kNotMapped);  // IST2
  handle(vmx::kGp, exit_with(3));
  put<uint8_t>(kIdt + 16 * vmx::kGp + 4, 2);
  handle(vmx::kPf, exit_with(4));
  EXPECT_EQ(run_guest(ASM64("cpuid"), ASM64("mov ecx, 0x12345; rdmsr")).code, status(4));
  EXPECT_THAT(
      told_,
      ElementsAre(HasSubstr("RDMSR of 0x12345"),
                  AllOf(HasSubstr("L1: #PF(0x2) for linear address 0xfffffefffffffff8 at RIP "),
                        HasSubstr("\n  #GP(0x0) at RIP "), HasSubstr("stack of IST2 in the TSS)"),
                        HasSubstr("Host TR base 0x20000"))));
}

TEST_F(CausesTest, Cr3IsChangedAndThePdptesAreNot) {
  enable_ept();
  vmcs_.write(Field::kVmEntryControls, vmcs_[Field::kVmEntryControls] &
                                           ~uint64_t{mask(vmx::VmEntryControl::kIa32eModeGuest)});
  const auto enter_after_exit = [&](Field changed) {
    vmx::VmExitEvent exit;
    exit.vmcs = kVmcsRegion;
    exit.data = &vmcs_;
    causes_.on(exit);
    vmcs_.write(changed, vmcs_[changed] + 0x1000);
    if (changed == Field::kGuestPdpte1) vmcs_.write(Field::kGuestCr3, vmcs_[Field::kGuestCr3] + 32);
    causes_.on(vmx::VmEntryEvent{.vmcs = kVmcsRegion, .data = &vmcs_});
  };
  enter_after_exit(Field::kGuestRip);
  enter_after_exit(Field::kGuestPdpte1);
  EXPECT_THAT(told_, IsEmpty());
  enter_after_exit(Field::kGuestCr3);
  enter_after_exit(Field::kGuestCr3);
  EXPECT_THAT(told_, ElementsAre(AllOf(HasSubstr("VM entry with Guest CR3 0x"),
                                       HasSubstr("and the same PDPTEs"))));
}

TEST_F(CausesTest, AVmcsThatWasNeverCleared) {
  vmcs_.cleared = false;
  EXPECT_EQ(run_guest(ASM64("cpuid")).code, status(0));
  EXPECT_THAT(told_, ElementsAre(HasSubstr("the VMCS at 0xd000 was never VMCLEARed")));
  told_.clear();
  vmcs_.write(Field::kPinBasedControls, 0);
  run_guest(ASM64("cpuid"));
  EXPECT_THAT(told_, ElementsAre(HasSubstr("was never VMCLEARed")));
}

TEST_F(CausesTest, VmxonNamesTheBitOfCr0) {
  put(0xb000, kVmxonRegion);
  handle(vmx::kGp, exit_with(3));
  EXPECT_EQ(run(ASM64("mov rax, cr0; and eax, 0xffffffdf; mov cr0, rax; mov rax, cr4; "
                      "or eax, 0x2000; mov cr4, rax; vmxon [0xb000]"))
                .code,
            status(3));
  EXPECT_THAT(told_, ElementsAre(HasSubstr("CR0.NE must be 1 (check vmxon-cr0")));
}

TEST_F(CausesTest, AnMsrThatIsRefused) {
  handle(vmx::kGp, exit_with(3));
  EXPECT_EQ(run(ASM64("mov ecx, 0x12345; rdmsr")).code, status(3));
  EXPECT_THAT(told_, ElementsAre(HasSubstr(": RDMSR of 0x12345: this processor has no such MSR")));
  config_.processor.lock_feature_control = true;
  told_.clear();
  EXPECT_EQ(run(ASM64("mov ecx, 0x3a; mov eax, 5; xor edx, edx; wrmsr")).code, status(3));
  EXPECT_THAT(told_, ElementsAre(HasSubstr(": WRMSR of IA32_FEATURE_CONTROL (0x3a), value 0x5: "
                                           "IA32_FEATURE_CONTROL is locked")));
}

// What L1 goes on with comes from its VMCS.
TEST_F(CausesTest, ATripleFaultBehindAVmExitShowsTheHostState) {
  vmcs_.write(Field::kHostRsp, 0);
  vmcs_.write(Field::kHostIdtrBase, 0);
  run_guest(ASM64("cpuid"), ASM64("push rax"));
  ASSERT_THAT(told_, testing::SizeIs(1));
  EXPECT_THAT(told_[0], AllOf(HasSubstr("L1: triple fault at RIP 0x118000"),
                              HasSubstr("Host RIP 0x118000, Host RSP 0x0"),
                              HasSubstr("IDTR base 0x0, GDTR base")));
}

// A guest that is entered without "IA-32e mode guest", whose tables are for 64-bit mode.
TEST_F(CausesTest, ATripleFaultSaysWhatRefusedTheAccess) {
  enable_ept();
  vmcs_.write(Field::kVmEntryControls, vmcs_[Field::kVmEntryControls] &
                                           ~uint64_t{mask(vmx::VmEntryControl::kIa32eModeGuest)});
  vmcs_.write(Field::kGuestCsAccessRights, 0xc09b);
  vmcs_.write(Field::kGuestIdtrLimit, 0);
  run_guest(kNop);
  ASSERT_THAT(told_, testing::SizeIs(1));
  EXPECT_THAT(told_[0], HasSubstr("the PDPTE is not present (\"IA-32e mode guest\" is 0)"));
}

TEST_F(CausesTest, ZerosAreToldWhenTheyAreExecuted) {
  put<uint8_t>(kExitHandler, 0);
  (void)run_guest(ASM64("cpuid"), Code(kPage));
  ASSERT_FALSE(told_.empty());
  EXPECT_THAT(told_[0], AllOf(HasSubstr("L1 executes a page of zeros at 0x118000"),
                              HasSubstr("Host RIP 0x118000")));
}

// Whatever else was told.
TEST_F(CausesTest, EachKindHasALimitOfItsOwn) {
  for (uint32_t i = 0; i != 3 * Causes::kMost; ++i)
    causes_.on(TripleFaultEvent{i, false, vmx::exception(vmx::kGp, 0)});
  told_.clear();
  vmcs_.write(Field::kGuestRflags, 0);
  run_guest(ASM64("cpuid"));
  EXPECT_THAT(told_, ElementsAre(HasSubstr("VM entry failed")));
}

// One cause at many addresses leaves room for the others.
TEST_F(CausesTest, FailedVmEntriesAreToldByTheirCause) {
  const auto fail = [&](uint64_t vmcs, std::string_view check) {
    causes_.on(vmx::CheckFailure{check, "Guest RIP", vmcs, "must not be so", "Checks"});
    vmx::VmExitEvent exit;
    exit.vmcs = vmcs;
    exit.reason = vmx::kExitReasonEntryFailure | 33;
    causes_.on(exit);
  };
  for (uint64_t i = 0; i != 3 * Causes::kMost; ++i) fail(i, "one");
  fail(0x1000, "another");
  EXPECT_THAT(told_, ElementsAre(HasSubstr("(check one;"), HasSubstr("(check another;")));
}

TEST_F(CausesTest, EptMisconfigurationsAreToldByTheirEntry) {
  const auto refuse = [&](uint64_t entry_at, uint64_t entry, uint64_t address) {
    ept::Step step{};
    step.address = entry_at;
    step.entry = entry;
    WalkEvent walk;
    walk.outcome = WalkOutcome::kEptMisconfiguration;
    walk.guest_physical = address;
    walk.steps = {&step, 1};
    causes_.on(walk);
    vmx::VmExitEvent exit;
    exit.reason = static_cast<uint32_t>(vmx::ExitReason::kEptMisconfiguration);
    exit.guest_physical = address;
    causes_.on(exit);
  };
  constexpr uint64_t kWriteOnly = 2, kMarkedByKvm = 6;
  for (uint64_t i = 0; i != 3 * Causes::kMost; ++i) refuse(0x1000, kWriteOnly, i);
  EXPECT_THAT(told_, ElementsAre(HasSubstr("the level 0 entry at 0x1000 is 0x2")));
  told_.clear();
  for (uint64_t i = 0; i != 3 * Causes::kMost; ++i) refuse(0x2000 + 8 * i, kMarkedByKvm, i << 12);
  EXPECT_THAT(told_, ElementsAre(HasSubstr("nothing is wrong if L1 is KVM")));
  told_.clear();
  for (uint64_t i = 0; i != 3 * Causes::kMost; ++i) refuse(0x3000 + 8 * i, kWriteOnly, i << 12);
  EXPECT_THAT(told_.back(), HasSubstr("more EPT entries are misconfigured"));
}

TEST_F(CausesTest, EachIsToldOnceAndNotWithoutEnd) {
  for (uint32_t i = 0; i != 3 * Causes::kMost; ++i)
    causes_.on(TripleFaultEvent{i / 2, false, vmx::exception(vmx::kGp, 0)});
  ASSERT_EQ(told_.size(), Causes::kMost + 1);
  EXPECT_THAT(told_.back(), HasSubstr("--trace FILE"));
}

TEST_F(CausesTest, ExceptionsWithoutProgressAreToldOnce) {
  config_.max_instructions = 2 * Causes::kExceptionsWithoutProgress;
  constexpr uint64_t kStackOfTss = 0x24;  // IST1
  put<uint64_t>(kTss + kStackOfTss, kStack);
  handle(vmx::kUd, ASM64("ud2"));
  put<uint8_t>(kIdt + 16 * vmx::kUd + 4, 1);
  EXPECT_EQ(run(ASM64("mov eax, 1; ud2")).kind, RunResult::Kind::kBudgetSpent);
  EXPECT_THAT(told_, ElementsAre(AllOf(HasSubstr("100000 exceptions in a row"),
                                       HasSubstr("the last is #UD at RIP "))));
}

// As a handler does that goes back to the instruction that faults.
TEST_F(CausesTest, OneExceptionOverAndOverIsToldOnce) {
  config_.max_instructions = 3 * Causes::kExceptionsWithoutProgress;
  handle(vmx::kUd, ASM64("nop; iretq"));
  EXPECT_EQ(run(ASM64("ud2")).kind, RunResult::Kind::kBudgetSpent);
  EXPECT_THAT(told_, ElementsAre(HasSubstr("100000 exceptions in a row")));
}

TEST_F(CausesTest, WhatMayStillProgressIsNotTold) {
  uint64_t instructions = 0;
  const Clock clock;
  causes_.attach(clock, instructions);
  for (uint64_t i = 0; i != 2 * Causes::kExceptionsWithoutProgress; ++i) {
    causes_.on(ExceptionEvent{vmx::kUd, false, std::nullopt, 0x1000 + i % 2});
    ++instructions;
  }
  EXPECT_THAT(told_, IsEmpty());
}

// What other processors execute is no progress of this one.
TEST_F(CausesTest, ExceptionsOfAnotherProcessorAreNotThoseOfThisOne) {
  uint64_t instructions = 0;
  const Clock clock;
  causes_.attach(clock, instructions);
  ExceptionEvent event{vmx::kUd, false, std::nullopt, 0};
  for (uint64_t i = 0; i != Causes::kExceptionsWithoutProgress + 1000; ++i) {
    event.rip = 0x1000 + i % 2;
    if (i % 1000 == 0) {
      causes_.processor(1);
      instructions += 50;
      causes_.on(event);
      causes_.processor(0);
    }
    EXPECT_EQ(told_.size(), i < Causes::kExceptionsWithoutProgress ? 0u : 1u);
    causes_.on(event);
  }
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
                              HasSubstr("the level 1 entry at 0x16880 is 0x110002 (write, ")));
}

TEST_F(CausesTest, AnEptMisconfigurationIsToldWhoeverWalks) {
  enable_ept();
  map_guest(kGuest, kGuest | 2);
  for (const bool keep : {false, true}) {
    for (const L0ModeInfo& mode : kL0Modes) {
      if (!mode.offers_ept) continue;
      SCOPED_TRACE(std::string(mode.name) + (keep ? " keep" : ""));
      config_.processor.tlb = keep ? TlbModel::kKeep : TlbModel::kTagged;
      config_.l0.mode = mode.mode;
      told_.clear();
      Causes causes([this](const std::string& text) { told_.push_back(text); });
      listener_ = &causes;
      run_guest(ASM64("cpuid"));
      ASSERT_THAT(told_, testing::SizeIs(1));
      EXPECT_THAT(told_[0], HasSubstr("EPT misconfiguration for guest-physical address 0x110000"));
      // L0 walks EPT12 itself, and its walks are no events.
      const char* entry = mode.mode == L0Mode::kNestedEpt ? "" : "the level 1 entry at ";
      EXPECT_THAT(told_[0], HasSubstr(entry));
    }
  }
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
