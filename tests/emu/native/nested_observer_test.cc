// SPDX-License-Identifier: GPL-2.0-or-later

// How VM entries and VM exits are found by stepping, with a processor that the test plays.

#include "emu/native/nested_observer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <optional>
#include <string>
#include <vector>

#include "tests/emu/assembled_code.h"
#include "vmx/exit_reasons.h"

namespace nestor::emu::native {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using vmx::Field;
using Plan = NestedObserver::Plan;
using Code = std::vector<std::uint8_t>;

const Code kNop = ASM64("nop"), kVmlaunch = ASM64("vmlaunch"), kVmresume = ASM64("vmresume");
const Code kVmclear = ASM64("vmclear [rax]"), kVmptrld = ASM64("vmptrld [rax]");
constexpr std::uint64_t kCf = 1, kPf = 4, kZf = 0x40;
constexpr std::uint64_t kL1 = 0x1000, kHost = 0x2000, kL2 = 0x7000;

class Events final : public EventHandler<Events> {
 public:
  std::vector<std::string> list;
  vmx::VmEntryEvent entry;
  vmx::VmExitEvent exit;
  vmx::VmInstructionErrorEvent error;

  void handle(const vmx::VmEntryEvent& event) {
    list.emplace_back(event.launch ? "launch" : "resume");
    entry = event;
  }
  std::optional<std::array<std::uint64_t, 16>> exit_gpr;  // if the event has the registers
  void handle(const vmx::VmExitEvent& event) {
    list.push_back("exit " + std::to_string(event.reason & vmx::kExitReasonBasicMask));
    exit = event;
    exit_gpr.reset();
    if (event.state != nullptr) exit_gpr = event.state->gpr;
  }
  void handle(const vmx::VmInstructionErrorEvent& event) {
    list.push_back(std::string(event.instruction) + " error " + std::to_string(event.error));
    error = event;
  }
};

class Observer : public testing::Test {
 protected:
  Observer() {
    state.vmcs.emplace();
    state.vmcs_address = 0x5000;
    state.vmcs->write(Field::kHostRip, kHost);
    state.vmcs->write(Field::kGuestRip, kL2);
  }
  Plan before(std::uint64_t rip, const Code& code) { return observer.before(place(rip), code); }
  void after(std::uint64_t rip, std::uint64_t rflags = 2) { observer.after(place(rip, rflags)); }
  [[nodiscard]] NestedObserver::Place place(std::uint64_t rip, std::uint64_t rflags = 2) const {
    return {rip, rflags, CodeMode::k64, gpr};
  }
  void exit_to_l1(vmx::ExitReason reason, std::uint64_t l2_rip) {
    state.guest_mode = false;
    state.vmcs->write(Field::kExitReason, static_cast<std::uint32_t>(reason));
    state.vmcs->write(Field::kGuestRip, l2_rip);
  }

  Events events;
  NestedState state;
  std::array<std::uint64_t, 16> gpr{};
  unsigned asked = 0;
  NestedObserver observer{events, [this] {
                            ++asked;
                            return state;
                          }};
};

TEST_F(Observer, StepsL1WithoutAskingForTheState) {
  EXPECT_EQ(before(kL1, kNop), (Plan{true, std::nullopt}));
  after(kL1 + 1);
  EXPECT_EQ(before(kL1 + 1, {}), (Plan{true, std::nullopt})) << "code that cannot be read";
  after(kL1 + 2, 2 | kCf);
  EXPECT_EQ(asked, 0U);
  EXPECT_THAT(events.list, IsEmpty());
}

TEST_F(Observer, RunsToTheEndOfARepeatedInstruction) {
  EXPECT_EQ(before(kL1, ASM64("rep stosq")), (Plan{false, kL1 + 3}));
  after(kL1 + 3);
  EXPECT_EQ(before(kL1 + 3, ASM64("stosq")), (Plan{true, std::nullopt}));
  EXPECT_THAT(events.list, IsEmpty());
}

TEST_F(Observer, FindsAVmEntryAndItsVmExitAtOneStop) {
  state.vmcs->write(Field::kGuestCr3, 0x9000);
  state.vmcs->write(Field::kEptPointer, 0xa01e);
  state.vmcs->write(Field::kVirtualProcessorIdentifier, 3);
  state.vmcs->write(Field::kPrimaryProcBasedControls, 1U << 31);
  state.vmcs->write(Field::kSecondaryProcBasedControls, 1U << 1 | 1U << 5);
  EXPECT_EQ(before(kL1, kVmlaunch), (Plan{true, kHost}));
  exit_to_l1(vmx::ExitReason::kCpuid, kL2 + 4);
  state.vmcs->write(Field::kExitQualification, 0x11);
  state.vmcs->write(Field::kVmExitInstructionLength, 2);
  after(kHost);
  EXPECT_THAT(events.list, ElementsAre("launch", "exit 10"));
  EXPECT_EQ(events.entry.vmcs, 0x5000U);
  EXPECT_EQ(events.entry.guest_rip, kL2);
  EXPECT_EQ(events.entry.guest_cr3, 0x9000U);
  EXPECT_EQ(events.entry.eptp, 0xa01eU);
  EXPECT_EQ(events.entry.vpid, 3U);
  EXPECT_EQ(events.exit.guest_rip, kL2 + 4);
  EXPECT_EQ(events.exit.qualification, 0x11U);
  EXPECT_EQ(events.exit.instruction_length, 2U);
  EXPECT_EQ(before(kHost, kNop), (Plan{true, std::nullopt}));
  EXPECT_FALSE(observer.missed());
}

TEST_F(Observer, FindsAFailedVmEntryOneInstructionLate) {
  state.vmcs->write(Field::kVmInstructionError, 7);
  (void)before(kL1, kVmlaunch);
  after(kL1 + 8, 2 | kZf);  // over the VMLAUNCH, and a jump
  EXPECT_THAT(events.list, ElementsAre("VMLAUNCH error 7"));
  (void)before(kL1 + 8, kVmlaunch);
  after(kL1 + 0x40, 2 | kZf | kPf);  // flags that VMfail does not leave
  EXPECT_THAT(events.list, ElementsAre("VMLAUNCH error 7"));
  (void)before(kL1, kVmlaunch);
  state.guest_mode = true;
  after(kL2 + 1, 2 | kZf);
  EXPECT_THAT(events.list, ElementsAre("VMLAUNCH error 7", "launch"));
}

TEST_F(Observer, ReportsL2sRegistersAtAVmExit) {
  gpr[vmx::kRax] = 0x4000'0000;
  gpr[vmx::kRsp] = 0x1234;  // L1's, as the VM exit has loaded it
  state.vmcs->write(Field::kGuestRsp, 0x8000);
  (void)before(kL1, kVmlaunch);
  exit_to_l1(vmx::ExitReason::kCpuid, kL2);
  after(kHost);
  ASSERT_TRUE(events.exit_gpr);
  EXPECT_EQ((*events.exit_gpr)[vmx::kRax], 0x4000'0000U);
  EXPECT_EQ((*events.exit_gpr)[vmx::kRsp], 0x8000U);
  (void)before(kHost, kVmresume);
  exit_to_l1(vmx::ExitReason::kCpuid, kL2);
  state.guest_mode = true;
  after(kL2);
  state.guest_mode = false;
  after(kHost + 0x10);  // noticed late: L1 may have changed them
  EXPECT_FALSE(events.exit_gpr);
}

TEST_F(Observer, ControlsThatAreOffReportNoEptpAndNoVpid) {
  state.vmcs->write(Field::kEptPointer, 0xa01e);
  state.vmcs->write(Field::kVirtualProcessorIdentifier, 3);
  state.vmcs->write(Field::kSecondaryProcBasedControls, 1U << 1 | 1U << 5);
  (void)before(kL1, kVmresume);
  exit_to_l1(vmx::ExitReason::kHlt, kL2);
  after(kHost);
  EXPECT_THAT(events.list, ElementsAre("resume", "exit 12"));
  EXPECT_EQ(events.entry.eptp, 0U);
  EXPECT_EQ(events.entry.vpid, 0U);
}

TEST_F(Observer, FollowsL2WhenItStopsForAnotherReason) {
  (void)before(kL1, kVmlaunch);
  state.guest_mode = true;
  after(kL2 + 1);  // an access to a device
  EXPECT_THAT(events.list, ElementsAre("launch"));
  EXPECT_TRUE(observer.in_guest());
  EXPECT_EQ(before(kL2 + 1, {}), (Plan{false, kHost}));
  after(kL2 + 2);
  EXPECT_THAT(events.list, ElementsAre("launch"));
  exit_to_l1(vmx::ExitReason::kVmcall, kL2 + 2);
  after(kHost);
  EXPECT_THAT(events.list, ElementsAre("launch", "exit 18"));
  EXPECT_FALSE(observer.in_guest());
}

TEST_F(Observer, StepsOverABreakpointThatL2Meets) {
  (void)before(kL1, kVmlaunch);
  state.guest_mode = true;
  after(kHost);  // of L2: the same linear address
  EXPECT_THAT(events.list, ElementsAre("launch"));
  EXPECT_EQ(before(kHost, {}), (Plan{true, std::nullopt}));
  after(kHost + 1);
  EXPECT_EQ(before(kHost + 1, {}), (Plan{false, kHost}));
}

TEST_F(Observer, AHostRipBehindTheInstructionIsNoFailure) {
  state.vmcs->write(Field::kHostRip, kL1 + 3);
  (void)before(kL1, kVmlaunch);
  exit_to_l1(vmx::ExitReason::kHlt, kL2);
  after(kL1 + 3);
  EXPECT_THAT(events.list, ElementsAre("launch", "exit 12"));
  (void)before(kL1, kVmlaunch);
  state.vmcs->write(Field::kVmInstructionError, 4);
  after(kL1 + 3, 2 | kZf);
  EXPECT_THAT(events.list, ElementsAre("launch", "exit 12", "VMLAUNCH error 4"));
}

TEST_F(Observer, AFailedVmEntryIsAVmExitAlone) {
  (void)before(kL1, kVmlaunch);
  exit_to_l1(vmx::ExitReason::kEntryFailureGuestState, kL2);
  state.vmcs->write(Field::kExitReason, 0x8000'0021);
  state.vmcs->write(Field::kVmExitInstructionLength, 9);  // of an earlier VM exit
  after(kHost);
  EXPECT_THAT(events.list, ElementsAre("exit 33"));
  EXPECT_EQ(events.exit.reason, 0x8000'0021U);
  EXPECT_EQ(events.exit.instruction_length, 0U);
}

TEST_F(Observer, ReportsInstructionsThatFail) {
  (void)before(kL1, kVmclear);
  state.vmcs->write(Field::kVmInstructionError, 2);
  after(kL1 + 4, 2 | kZf);
  state.vmcs.reset();
  (void)before(kL1, kVmlaunch);
  after(kL1 + 3, 2 | kCf);
  EXPECT_THAT(events.list, ElementsAre("VMCLEAR error 2", "VMLAUNCH error 0"));
}

TEST_F(Observer, ReportsNothingOfInstructionsThatSucceedOrFault) {
  (void)before(kL1, kVmptrld);
  after(kL1 + 3);
  (void)before(kL1, kVmptrld);
  after(0x8000, 2 | kZf);  // the handler of #UD
  (void)before(kL1, kVmlaunch);
  after(0x8000, 2 | kZf);
  EXPECT_THAT(events.list, IsEmpty());
  EXPECT_FALSE(observer.in_guest());
}

TEST_F(Observer, AnInterruptedStepIsDoneAgain) {
  (void)before(kL1, kVmlaunch);
  after(kL1);
  EXPECT_THAT(events.list, IsEmpty());
  EXPECT_EQ(before(kL1, kVmlaunch), (Plan{true, kHost}));
  exit_to_l1(vmx::ExitReason::kHlt, kL2);
  after(kHost);
  EXPECT_THAT(events.list, ElementsAre("launch", "exit 12"));
}

TEST_F(Observer, SaysWhenItCameLate) {
  (void)before(kL1, kVmlaunch);
  state.guest_mode = true;
  after(kL2);
  exit_to_l1(vmx::ExitReason::kHlt, kL2);
  after(kHost + 0x40);
  EXPECT_TRUE(observer.missed());
  EXPECT_THAT(events.list, ElementsAre("launch", "exit 12"));
}

}  // namespace
}  // namespace nestor::emu::native
