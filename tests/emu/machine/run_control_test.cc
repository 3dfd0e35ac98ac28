// SPDX-License-Identifier: GPL-2.0-or-later
//
// Runs that stop, are looked at and go on.
#include <array>

#include "emu/machine/inspection.h"
#include "tests/emu/l0/nested_machine_fixture.h"

namespace nestor::emu {
namespace {

using vmx::Field;
using Reason = Pause::Reason;

class RunControl : public NestedMachineTest {
 protected:
  Machine& start_guest(const Code& guest, const Code& handler) {
    put_guest(guest, handler);
    put_code(kCode, launch());
    return start();
  }
  Inspection& look() { return *machine_->inspection(); }
  uint64_t rip() { return look().state(0).rip; }

  // L1 counts down with the APIC timer interrupting it: blocks of several instructions.
  void put_timer_loop() {
    handle(0x40, end_of_interrupt() + ASM64("iretq"));
    put_code(kCode, enable_apic() + apic_write(0x3e0, 0xb) +  // divide by 1
                        apic_write(0x320, 0x20040) +          // periodic, vector 40H
                        apic_write(0x380, 997) +
                        ASM64("sti; mov ecx, 3000; 2: nop; nop; nop; dec ecx; jne 2b") +
                        exit_with(7));
  }
  void expect_stops_to_change_nothing();
  static constexpr uint64_t kLoop = kCode + 10 * 4 + 1 + 5;
};

TEST_F(RunControl, StopsDoNotChangeTheRun) {
  put_timer_loop();
  expect_stops_to_change_nothing();
}

TEST_F(RunControl, StopsDoNotChangeARunWhoseBlocksArePriced) {
  config_.processor.timing = TimingModel::kBlocks;
  put_timer_loop();
  expect_stops_to_change_nothing();
}

void RunControl::expect_stops_to_change_nothing() {
  EXPECT_EQ(run().code, status(7));
  const Seen unbroken = seen();
  ASSERT_GT(unbroken.interrupts.size(), 2u);

  uint64_t stops = 0;
  start();
  while (machine_->run_until({.step = true})) ++stops;
  EXPECT_EQ(seen(), unbroken);
  EXPECT_GT(stops, unbroken.instructions * 9 / 10);

  stops = 0;
  start();
  while (machine_->run_until({.breakpoints = {kLoop + 1, kLoop + 3}})) ++stops;
  EXPECT_EQ(seen(), unbroken);
  EXPECT_EQ(stops, 6000u);

  start();
  uint64_t limit = 0;
  while (machine_->run_until({.instructions = limit})) limit += 37;
  EXPECT_EQ(seen(), unbroken);
  EXPECT_GT(limit, unbroken.instructions);
}

TEST_F(RunControl, ABreakpointStopsBeforeItsInstructionAndIsPassedAfterwards) {
  put_code(kCode, ASM64("xor eax, eax; inc eax; inc eax; inc eax") + exit_with(1));
  start();
  const auto pause = machine_->run_until({.breakpoints = {kCode + 4}});
  ASSERT_TRUE(pause);
  EXPECT_EQ(pause->reason, Reason::kBreakpoint);
  EXPECT_EQ(rip(), kCode + 4);
  EXPECT_EQ(look().state(0).gpr[vmx::kRax], 1u);
  EXPECT_EQ(look().instructions(0), 2u);
  EXPECT_FALSE(machine_->run_until({.breakpoints = {kCode + 4}}));
  EXPECT_EQ(machine_->result().code, status(1));
}

TEST_F(RunControl, AStepIsOneInstructionEvenOneThatTheModelExecutes) {
  put_code(kCode, ASM64("nop; cpuid; nop") + exit_with(1));
  start();
  for (const uint64_t next : {1, 3, 4}) {
    const auto pause = machine_->run_until({.step = true});
    ASSERT_TRUE(pause);
    EXPECT_EQ(pause->reason, Reason::kStep);
    EXPECT_EQ(rip(), kCode + next);
  }
  EXPECT_EQ(look().instructions(0), 3u);
}

TEST_F(RunControl, RegistersAndMemoryCanBeChanged) {
  put_code(kCode, ASM64("nop; nop; movabs eax, [0x80000]; out 0xf4, eax"));  // kData
  start();
  ASSERT_TRUE(machine_->run_until({.step = true}));
  const std::array<uint8_t, 4> value = {0x55, 0, 0, 0};
  EXPECT_EQ(look().write(0, View::kL1Linear, kData, value), value.size());
  look().edit_state(0).rip = kCode + 2;
  EXPECT_FALSE(machine_->run_until({}));
  EXPECT_EQ(machine_->result().code, status(0x55));
  EXPECT_EQ(machine_->result().instructions, 3u);
}

TEST_F(RunControl, StopsAtVmEntriesAndExitsAndSeesBothLevels) {
  enable_ept();
  // L2's page at kData lies elsewhere in L1's memory.
  map_guest(kData, kScratch | kEptAll | kEptUserExecute);
  put(kScratch, 0x1122334455667788);
  put(kData, 0x99);
  start_guest(ASM64("nop; cpuid"), resume_until(2));
  const auto entry = machine_->run_until({.vm_exit = true, .vm_entry = true});
  ASSERT_TRUE(entry);
  EXPECT_EQ(entry->reason, Reason::kVmEntry);
  EXPECT_EQ(look().level(0), 2);
  EXPECT_EQ(rip(), kGuest);
  EXPECT_EQ(look().last_exit(0), std::nullopt);
  uint64_t value = 0;
  const std::span<uint8_t> bytes(reinterpret_cast<uint8_t*>(&value), sizeof value);
  const auto at = [&](View view) {
    value = 0;
    return look().read(0, view, kData, bytes) == bytes.size() ? value : ~0ull;
  };
  EXPECT_EQ(at(View::kL2Linear), 0x1122334455667788u);
  EXPECT_EQ(at(View::kL2Physical), 0x1122334455667788u);
  EXPECT_EQ(at(View::kL1Linear), 0x99u);
  EXPECT_EQ(at(View::kL1Physical), 0x99u);

  const auto exit = machine_->run_until({.vm_exit = true});
  ASSERT_TRUE(exit);
  EXPECT_EQ(exit->reason, Reason::kVmExit);
  EXPECT_EQ(look().level(0), 1);
  EXPECT_EQ(rip(), kExitHandler);
  ASSERT_NE(look().vmcs(0), nullptr);
  EXPECT_EQ((*look().vmcs(0))[Field::kGuestRip], kGuest + 1);
  EXPECT_EQ(at(View::kL2Linear), 0x1122334455667788u);
  EXPECT_EQ(at(View::kL1Linear), 0x99u);
  EXPECT_EQ(look().read(0, View::kL2Physical, 1ull << 40, bytes), 0u);
  ASSERT_TRUE(look().last_exit(0));
  EXPECT_EQ(look().last_exit(0)->times, 1u);
  // The same instruction exits again.
  EXPECT_FALSE(machine_->run_until({}));
  EXPECT_EQ(look().last_exit(0)->times, 2u);
}

// The VM exit has loaded L1's state when it cannot go on.
TEST_F(RunControl, AVmxAbortIsSeenAtL1) {
  put<uint64_t>(kScratch, 0x1'0000'0174);  // reserved bits of an entry
  vmcs_.write(Field::kVmExitMsrLoadCount, 1);
  vmcs_.write(Field::kVmExitMsrLoadAddress, kScratch);
  for (const L0Mode mode : {L0Mode::kHardware, L0Mode::kTwoLevel, L0Mode::kNestedEpt}) {
    config_.l0.mode = mode;
    EXPECT_EQ(run_guest(kCpuid).kind, RunResult::Kind::kVmxAbort);
    EXPECT_EQ(look().level(0), 1);
    EXPECT_EQ(rip(), vmcs_[Field::kHostRip]);
  }
}

TEST_F(RunControl, StopsOfAGuestDoNotChangeTheRunEither) {
  enable_ept();
  const Code guest = ASM64("mov ecx, 9; 2: nop; dec ecx; jne 2b; cpuid");
  start_guest(guest, resume_until(3)).run();
  const Seen unbroken = seen();
  start_guest(guest, resume_until(3));
  while (machine_->run_until(
      {.step = true, .vm_exit = true, .vm_entry = true, .breakpoints = {kGuest + 6}})) {
  }
  EXPECT_EQ(seen(), unbroken);
}

// The first instruction of the handler faults: none is completed any more.
TEST_F(RunControl, ARunOfNothingButExceptionsSpendsItsBudget) {
  constexpr uint64_t kStackOfTss = 0x24;  // IST1
  put<uint64_t>(kTss + kStackOfTss, kStack);
  handle(vmx::kPf, {});
  put<uint8_t>(kIdt + 16 * vmx::kPf + 4, 1);
  map(kHandlers, 0);
  put_code(kCode, ASM64("mov eax, [0x80000000000]"));
  config_.max_instructions = 3000;
  start();
  const RunResult result = machine_->run();
  EXPECT_EQ(result.kind, RunResult::Kind::kBudgetSpent);
  EXPECT_LT(result.instructions, 3000u);
  EXPECT_NE(result.detail.find("3000 exceptions in a row"), std::string::npos) << result.detail;
}

// The engine ends a block in the midst of an instruction that it calls undefined, and counts it.
TEST_F(RunControl, ABlockThatEndsWithAnUndefinedInstructionTakesTheSameTime) {
  handle(vmx::kUd, ASM64("mov eax, ebx; out 0xf4, eax"));
  put_code(kCode, enable_apic() + apic_write(0x3e0, 0xb) + apic_write(0x320, 0x10040) +
                      apic_write(0x380, 0x10000000) +
                      ASM64("mov edx, 0xfee00390; jmp 2f; 2: mov ebx, [rdx]; vmread [rsp], rcx"));
  run();
  const Seen unbroken = seen();
  ASSERT_FALSE(unbroken.exceptions.empty());
  start();
  while (machine_->run_until({.step = true})) {
  }
  EXPECT_EQ(seen(), unbroken);
}

// The store to its own bytes makes the engine translate it anew, which is looked at again.
TEST_F(RunControl, AnInstructionOnItsOwnUnderABreakpointIsExecuted) {
  enable_ept();
  enable(vmx::PrimaryProcBased::kMonitorTrapFlag);
  // What an unmasked exception makes of x87 instructions.
  const Code guest = ASM64(
      "fninit; push 0x37e; fldcw [rsp]; lea rax, [rip + 2f]; fild word ptr [rax]; "
      "2: fistp word ptr [rax]; nop; hlt");
  start_guest(guest, resume_until(7)).run();
  const Seen unbroken = seen();
  EXPECT_EQ(unbroken.code, status(0));
  start_guest(guest, resume_until(7));
  std::vector<uint64_t> everywhere;
  for (uint64_t at = 0; at != guest.size(); ++at) everywhere.push_back(kGuest + at);
  while (machine_->run_until({.breakpoints = everywhere})) {
    ASSERT_LT(machine_->inspection()->instructions(0), 1000u);
  }
  EXPECT_EQ(seen(), unbroken);
}

TEST_F(RunControl, RepetitionBehindBlockingByStiTakesTheSameTime) {
  enable_ept();
  vmcs_.write(Field::kGuestRflags, 2 | vmx::rflags::kIf);
  vmcs_.write(Field::kGuestInterruptibilityState, 1);
  const Code guest = ASM64("rep movsb; cpuid");
  put_guest(guest, exit_with(0));
  put_code(kCode, ASM64("mov ecx, 40; mov esi, 0x20000; mov edi, 0x21000; push rcx") +
                      ASM64("mov ecx, 0x3a; mov eax, 5; xor edx, edx; wrmsr; "
                            "mov rax, cr4; or eax, 0x2000; mov cr4, rax; vmxon [0xb000]; "
                            "vmptrld [0xb008]; pop rcx; vmlaunch") +
                      exit_with(99));
  start().run();
  const Seen unbroken = seen();
  EXPECT_EQ(unbroken.code, status(0));
  start();
  while (machine_->run_until({.step = true})) {
  }
  EXPECT_EQ(seen(), unbroken);
}

// Such a store is begun again, and so is each iteration that makes one.
TEST_F(RunControl, AStoreOverItselfIsOneInstruction) {
  put_code(kCode, ASM64("lea rdi, [rip + 2f]; mov al, [rdi]; mov ecx, 1; jmp 2f; "
                        "2: mov [rip + 2b], al; jmp 4f; 4: nop; 2: mov [rip + 2b], al; jmp 2f; "
                        "2: mov edx, 3; "
                        "3: lea rdi, [rip + 2f]; mov al, [rdi]; mov ecx, 1; jmp 2f; "
                        "2: rep stosb; dec edx; jne 3b") +
                      exit_with(1));
  EXPECT_EQ(run().code, status(1));
  const Seen unbroken = seen();
  // RCX = 0 is one more for a repetition.
  EXPECT_EQ(unbroken.instructions, 4u + 2 + 3 + 1 + 3 * (4 + 2 + 2) + 2);
  start();
  while (machine_->run_until({.step = true})) {
  }
  EXPECT_EQ(seen(), unbroken);
}

// RFLAGS.TF ends the run of the engine that the repetition began.
TEST_F(RunControl, RepetitionBeforeSingleSteppingTakesTheSameTime) {
  handle(vmx::kDb, exit_with(5));
  put_code(kCode,
           ASM64("mov ecx, 40; mov esi, 0x20000; mov edi, 0x21000; push 0x102; out 0x80, al; "
                 "rep movsb; popf; nop; nop"));
  run();
  const Seen unbroken = seen();
  EXPECT_EQ(unbroken.code, status(5));
  start();
  while (machine_->run_until({.step = true})) {
  }
  EXPECT_EQ(seen(), unbroken);
}

TEST_F(RunControl, AWatchpointStopsAfterTheInstructionAndChangesNothing) {
  put_timer_loop();
  run();
  const Seen unbroken = seen();
  start();
  uint64_t stops = 0;
  // What the interrupt handler of the timer writes is an APIC register; nothing writes here.
  while (machine_->run_until({.watchpoints = {{.address = kData, .size = 8, .written = true}}}))
    ++stops;
  EXPECT_EQ(seen(), unbroken);
  EXPECT_EQ(stops, 0u);

  put_code(kCode, ASM64("mov ecx, 3; mov edi, 0x80000; mov eax, [rdi + 4]; mov [rdi + 8], eax; "
                        "push rax; mov [rdi + 6], ax; rep stosb; cpuid; mov [rsp], rax") +
                      exit_with(1));
  start();
  std::vector<uint64_t> places;
  const Watchpoint written{.address = kData, .size = 8, .written = true};
  while (const auto pause = machine_->run_until({.watchpoints = {written}})) {
    EXPECT_EQ(pause->reason, Reason::kWatchpoint);
    EXPECT_EQ(pause->address, kData);
    places.push_back(rip() - kCode);
  }
  // After the store of two bytes, and after each iteration of STOSB.
  ASSERT_EQ(places.size(), 4u);
  EXPECT_EQ(places[0], 21u);
  EXPECT_EQ(places[1], 21u);
  EXPECT_EQ(places[3], 23u);

  start();
  const Watchpoint stack{.address = kStack - 8, .size = 8, .read = true, .written = true};
  stops = 0;
  while (machine_->run_until({.watchpoints = {stack}})) ++stops;
  EXPECT_EQ(stops, 2u);  // PUSH, and the MOV after CPUID
}

// L0 handles a VM exit before the run stops.
TEST_F(RunControl, StepsLeadToTheSamePlacesWithL0) {
  enable_ept();
  std::vector<std::vector<std::pair<int, uint64_t>>> places;
  for (const L0Mode mode : {L0Mode::kHardware, L0Mode::kTwoLevel, L0Mode::kNestedEpt}) {
    config_.l0.mode = mode;
    start_guest(ASM64("nop; nop; cpuid; nop; cpuid"), resume_until(2));
    auto& seen = places.emplace_back();
    while (machine_->run_until({.step = true})) seen.emplace_back(look().level(0), rip());
  }
  EXPECT_GT(places[0].size(), 20u);
  EXPECT_EQ(places[1], places[0]);
  EXPECT_EQ(places[2], places[0]);
}

// L1 knows the page by another address than L2.
// The block is entered twice, without a stop in between.
TEST_F(RunControl, ABreakpointBehindAFaultIsReached) {
  handle(vmx::kPf, ASM64("add rsp, 8; mov edi, 0x80000; iretq"));
  put_code(kCode,
           ASM64("mov rdi, 0x80000000000; jmp 2f; 2: mov al, [rdi]; nop; nop") + exit_with(1));
  run();
  const Seen unbroken = seen();
  start();
  const auto pause = machine_->run_until({.breakpoints = {kCode + 15}});
  ASSERT_TRUE(pause);
  EXPECT_EQ(rip(), kCode + 15);
  EXPECT_FALSE(machine_->run_until({.breakpoints = {kCode + 15}}));
  EXPECT_EQ(seen(), unbroken);
}

TEST_F(RunControl, AWatchpointByPhysicalAddressFindsWhoeverUsesTheMemory) {
  enable_ept();
  map_guest(kData, kScratch | kEptAll | kEptUserExecute);
  start_guest(ASM64("mov byte ptr [0x80000], 1; cpuid"),
              ASM64("mov byte ptr [0x20000], 2; mov byte ptr [0x80000], 3") + exit_with(0));
  const Watchpoint memory{.address = kScratch, .physical = true, .written = true};
  std::vector<int> levels;
  while (machine_->run_until({.watchpoints = {memory}})) levels.push_back(look().level(0));
  EXPECT_EQ(levels, (std::vector<int>{2, 1}));

  start_guest(ASM64("mov byte ptr [0x80000], 1; cpuid"),
              ASM64("mov byte ptr [0x80000], 3") + exit_with(0));
  Watchpoint linear{.address = kData, .written = true};
  linear.level = 2;
  levels.clear();
  while (machine_->run_until({.watchpoints = {linear}})) levels.push_back(look().level(0));
  EXPECT_EQ(levels, (std::vector<int>{2}));
}

TEST_F(RunControl, StopsAfterMsrsAndPorts) {
  put_code(kCode, ASM64("mov ecx, 0x10; rdmsr; mov ecx, 0x1b; rdmsr; wrmsr; in al, 0x80; "
                        "mov edx, 0x80; out dx, al; out 0x81, al") +
                      exit_with(0));
  start();
  std::vector<std::pair<Reason, uint64_t>> stops;
  while (const auto pause = machine_->run_until({.msrs = {0x1b}, .ports = {0x80}}))
    stops.emplace_back(pause->reason, pause->address);
  using Stops = std::vector<std::pair<Reason, uint64_t>>;
  EXPECT_EQ(stops, (Stops{{Reason::kMsr, 0x1b},
                          {Reason::kMsr, 0x1b},
                          {Reason::kPort, 0x80},
                          {Reason::kPort, 0x80}}));
}

}  // namespace
}  // namespace nestor::emu
