// SPDX-License-Identifier: GPL-2.0-or-later
//
// What events say of why something happened, and that nothing is left out.
#include <gmock/gmock.h>

#include "emu/events/kinds.h"
#include "tests/emu/l0/nested_machine_fixture.h"

namespace nestor::emu {
namespace {

using testing::HasSubstr;
using vmx::Field;

class ExplainedEvents : public NestedMachineTest {
 protected:
  // Copies of what a trace would have.
  struct Listener final : EventHandler<Listener> {
    bool wants_walks() const override { return true; }
    bool wants_all_walks() const override { return all_walks; }
    void handle(const WalkEvent& event) {
      steps += event.steps.size();
      walks.push_back(event);
      walks.back().steps = {};
    }
    void handle(const vmx::CheckFailure& failure) { failures.push_back(failure); }
    void handle(const RunEndEvent& event) { ends.push_back(event); }
    void handle(const TripleFaultEvent& event) { triple_faults.push_back(event); }
    void handle(const ExceptionEvent& event) { exceptions.push_back(event); }

    void clear() {
      steps = 0;
      walks.clear();
      failures.clear();
      ends.clear();
      triple_faults.clear();
      exceptions.clear();
    }

    bool all_walks = true;
    uint64_t steps = 0;
    std::vector<WalkEvent> walks;
    std::vector<vmx::CheckFailure> failures;
    std::vector<RunEndEvent> ends;
    std::vector<TripleFaultEvent> triple_faults;
    std::vector<ExceptionEvent> exceptions;
  };

  ExplainedEvents() { listener_ = &heard_; }
  // The last walk that did not translate.
  const WalkEvent& refused() const {
    for (size_t i = heard_.walks.size(); i-- != 0;)
      if (heard_.walks[i].outcome != WalkOutcome::kTranslated) return heard_.walks[i];
    throw std::out_of_range("every walk translates");
  }

  Listener heard_;
};

// Exceptions that L0 injects into L1 say the same as those that the processor raises. Where shadow
// page tables are filled in the midst of the delivery it begins anew, without its reason.
TEST_F(ExplainedEvents, AnExceptionOfL1HasItsReasonBelowL0) {
  handle(vmx::kUd, exit_with(6));
  handle(vmx::kGp, exit_with(7));
  const Code instructions[] = {ASM64("vmwrite rcx, rax"), ASM64("vmxoff"),
                               ASM64("mov ecx, 0x12345678; rdmsr")};
  for (const Code& code : instructions) {
    std::string expected;
    for (const L0ModeInfo& mode : kL0Modes) {
      SCOPED_TRACE(mode.name);
      if (mode.has_l0 && !mode.l0_uses_ept) continue;
      config_.l0.mode = mode.mode;
      heard_.clear();
      ASSERT_EQ(run(code).kind, RunEnd::Kind::kDebugExit);
      ASSERT_FALSE(heard_.exceptions.empty());
      const std::string why(heard_.exceptions.back().why);
      if (mode.mode == L0Mode::kHardware) expected = why;
      EXPECT_EQ(why, expected);
      EXPECT_FALSE(why.empty());
    }
  }
}

// Faults of the guest and of EPT, walks of the model and of the engine, L1's own.
TEST_F(ExplainedEvents, TheStepsOfAllWalksAreTheReferencesThatWereCounted) {
  handle(vmx::kPf, ASM64("mov qword ptr [0xa000 + 8 * 0x90], 0x90007; add rsp, 8; iretq"));
  const Code guest = ASM64(
      "mov eax, [0x80000]; mov [0x81000], eax; mov rax, cr3; mov cr3, rax; "
      "mov qword ptr [0xa000 + 8 * 0x90], 0; invlpg [0x90000]; mov eax, [0x90000]; "
      "mov ax, ds; mov ds, ax; push rax; pop rax; cpuid");
  for (const L0ModeInfo& mode : kL0Modes) {
    SCOPED_TRACE(mode.name);
    config_.l0.mode = mode.mode;
    if (mode.offers_ept) enable_ept();
    heard_.clear();
    const RunResult result = run_guest(guest, resume_until(2));
    ASSERT_EQ(result.kind, RunEnd::Kind::kDebugExit);
    EXPECT_GT(heard_.steps, 100u);
    EXPECT_EQ(heard_.steps, machine_->l0_counters().walk_references);
    if (!mode.offers_ept) continue;
    // By default those through EPT alone: L1 has none without L0.
    const uint64_t all = heard_.steps;
    heard_.clear();
    heard_.all_walks = false;
    (void)run_guest(guest, resume_until(2));
    heard_.all_walks = true;
    EXPECT_EQ(heard_.steps < all, mode.mode == L0Mode::kHardware);
    vmcs_.write(Field::kSecondaryProcBasedControls, 0);
  }
}

// A fault of a walk that cached paging structures had a part in is walked for again.
TEST_F(ExplainedEvents, TheyAreWhereTranslationsAreKeptToo) {
  config_.processor.tlb = TlbModel::kKeep;
  enable_ept();
  map_guest(0x81000, 0);
  const Code guest = ASM64("mov eax, [0x80000]; mov eax, [0x82000]; mov eax, [0x81000]");
  for (const L0ModeInfo& mode : kL0Modes) {
    if (!mode.offers_ept) continue;
    SCOPED_TRACE(mode.name);
    config_.l0.mode = mode.mode;
    heard_.clear();
    (void)run_guest(guest);
    EXPECT_EQ(refused().outcome, WalkOutcome::kEptViolation);
    EXPECT_EQ(heard_.steps, machine_->l0_counters().walk_references);
  }
}

TEST_F(ExplainedEvents, AWalkSaysWhoWantedWhatAndWhatRefusedIt) {
  enable_ept();
  map(0x80000, kData | 1);  // read-only
  vmcs_.write(Field::kExceptionBitmap, 1u << vmx::kPf);
  run_guest(ASM64("mov [0x80000], eax"));
  EXPECT_EQ(refused().outcome, WalkOutcome::kPageFault);
  EXPECT_EQ(refused().linear, 0x80000u);
  EXPECT_EQ(refused().paging, ept::PagingMode::k4Level);
  EXPECT_EQ(refused().access.kind, ept::Access::kWrite);
  EXPECT_EQ(refused().cpl, 0);
  EXPECT_EQ(refused().why, "write to a read-only page");

  map_guest(0x81000, 0);
  run_guest(ASM64("mov eax, [0x81000]"));
  EXPECT_EQ(refused().outcome, WalkOutcome::kEptViolation);
  EXPECT_EQ(refused().guest_physical, 0x81000u);
  EXPECT_EQ(refused().why, "the level 1 EPT entry is not present");
}

// A guest whose tables are for 64-bit mode, entered without "IA-32e mode guest".
TEST_F(ExplainedEvents, PaePagingInThePlaceOf4LevelPagingIsExplained) {
  enable_ept();
  vmcs_.write(Field::kVmEntryControls, vmcs_[Field::kVmEntryControls] &
                                           ~uint64_t{mask(vmx::VmEntryControl::kIa32eModeGuest)});
  vmcs_.write(Field::kGuestCsAccessRights, 0xc09b);
  vmcs_.write(Field::kExceptionBitmap, 1u << vmx::kPf);
  run_guest(kNop);
  EXPECT_EQ(refused().paging, ept::PagingMode::kPae);
  EXPECT_EQ(refused().access.kind, ept::Access::kFetch);
  EXPECT_EQ(refused().why, "the PDPTE is not present (\"IA-32e mode guest\" is 0)");
}

// Whoever translates for L1: its CR3, and nothing of L0's tables.
TEST_F(ExplainedEvents, ATripleFaultHasTheCr3OfWhoFaults) {
  put<uint64_t>(kScratch + 8, 0);
  for (const L0ModeInfo& mode : kL0Modes) {
    SCOPED_TRACE(mode.name);
    config_.l0.mode = mode.mode;
    heard_.clear();
    EXPECT_EQ(run(ASM64("lidt [0x20008]; mov rax, 0x8000000000; mov eax, [rax]")).kind,
              RunEnd::Kind::kShutdown);
    ASSERT_EQ(heard_.triple_faults.size(), 1u);
    EXPECT_EQ(heard_.triple_faults[0].cr3, kPml4);
    EXPECT_EQ(heard_.triple_faults[0].page_fault.empty(), mode.has_l0);
  }
}

TEST_F(ExplainedEvents, AFailedCheckNamesTheWrongBits) {
  vmcs_.write(Field::kGuestCr0, vmcs_[Field::kGuestCr0] & ~uint64_t{vmx::cr0::kNe});
  run_guest(kNop);
  ASSERT_FALSE(heard_.failures.empty());
  std::string text;
  for (const auto& [name, value] : values_of(heard_.failures.front()))
    if (name == "wrong_bits") text = std::get<std::string>(value);
  EXPECT_EQ(text, "CR0.NE must be 1");
}

TEST_F(ExplainedEvents, TheEndOfARunIsOneEventForEachProcessor) {
  const RunResult looping = run_guest(ASM64("1: jmp 1b"));
  ASSERT_EQ(looping.kind, RunEnd::Kind::kBudgetSpent);
  ASSERT_EQ(heard_.ends.size(), 1u);
  EXPECT_EQ(heard_.ends[0].by, "instruction budget");
  EXPECT_TRUE(heard_.ends[0].non_root);
  EXPECT_EQ(heard_.ends[0].rip, kGuest);

  heard_.clear();
  config_.processor.count = 2;
  (void)run(exit_with(1));
  ASSERT_EQ(heard_.ends.size(), 2u);
  EXPECT_EQ(heard_.ends[0].by, "debug exit");
  EXPECT_FALSE(heard_.ends[0].non_root);
}

TEST_F(ExplainedEvents, SecondaryControlsThatAreNotActivatedAreNoted) {
  vmcs_.write(Field::kSecondaryProcBasedControls, mask(vmx::SecondaryProcBased::kEnableEpt));
  const vmx::VmEntryEvent event{.data = &vmcs_};
  const auto noted = [&] {
    return std::ranges::any_of(values_of(event), [](const NamedValue& value) {
      return value.name == "not_activated" && std::get<Hex>(value.value).value == 2;
    });
  };
  EXPECT_TRUE(noted());
  enable(vmx::PrimaryProcBased::kActivateSecondaryControls);
  EXPECT_FALSE(noted());
}

}  // namespace
}  // namespace nestor::emu
