// SPDX-License-Identifier: GPL-2.0-or-later
//
// Far CALL, far JMP and IRET in 32-bit protected mode without paging: within a task, and to another
// one. In VMX non-root operation all that would switch tasks causes VM exits.
#include "tests/emu/l0/nested_machine_fixture.h"

namespace nestor::emu {
namespace {

using testing::ElementsAre;
using testing::Pair;
using vmx::ExitReason;
using vmx::Field;

constexpr uint16_t kCode32 = 0x08, kData32 = 0x10, kFirstTask = 0x18, kSecondTask = 0x20,
                   kTaskGateSelector = 0x28, kAbsentGate = 0x30, kUserGate = 0x38;
const Code kIretd = ASM32("iretd"), kSetNt = ASM32("pushfd; or dword ptr [esp], 0x4000; popfd");

class FarTransfer : public NestedMachineTest {
 protected:
  //   20000 GDT   21000 TSS of the first task   22000 of the second   23000 a far pointer
  //   110000 the second task's code, or the guest
  static constexpr uint64_t kTables = kScratch, kFirstTss = kScratch + 0x1000,
                            kSecondTss = kScratch + 0x2000, kPointer = kScratch + 0x3000,
                            kSecondCode = kGuest;

  FarTransfer() {
    const auto descriptor = [](uint64_t base, uint64_t limit, uint64_t type, uint64_t flags) {
      return (limit & 0xffff) | (base & 0xffffff) << 16 | type << 40 | (limit >> 16 & 0xf) << 48 |
             flags << 52 | (base >> 24 & 0xff) << 56;
    };
    const auto task_gate = [](uint64_t selector, uint64_t type) {
      return selector << 16 | type << 40;
    };
    const uint64_t descriptors[] = {
        0,
        descriptor(0, 0xfffff, 0x9b, 0xc),
        descriptor(0, 0xfffff, 0x93, 0xc),
        descriptor(kFirstTss, 0x67, 0x8b, 0),
        descriptor(kSecondTss, 0x67, 0x89, 0),
        task_gate(kSecondTask, 0x85),
        task_gate(kSecondTask, 0x05),
        task_gate(kSecondTask, 0xe5),
    };
    for (size_t i = 0; i < std::size(descriptors); ++i) put(kTables + 8 * i, descriptors[i]);
    put<uint32_t>(kSecondTss + 32, kSecondCode);
    put<uint32_t>(kSecondTss + 36, 2);
    put<uint32_t>(kSecondTss + 56, kKernelStack);
    for (uint32_t i = 0; i < 6; ++i) put<uint16_t>(kSecondTss + 72 + 4 * i, kData32);
    put<uint16_t>(kSecondTss + 76, kCode32);
  }

  static vmx::CpuState in_protected_mode(vmx::CpuState cpu) {
    using vmx::AccessRights;
    cpu.cr0 = vmx::cr0::kPe | vmx::cr0::kEt | vmx::cr0::kNe;
    cpu.cr3 = cpu.cr4 = cpu.efer = 0;
    for (auto data : {vmx::kEs, vmx::kSs, vmx::kDs, vmx::kFs, vmx::kGs})
      cpu.segment[data] = {kData32, AccessRights{0xc093}, 0xffffffff, 0};
    cpu.segment[vmx::kCs] = {kCode32, AccessRights{0xc09b}, 0xffffffff, 0};
    cpu.segment[vmx::kTr] = {kFirstTask, AccessRights{0x8b}, 0x67, kFirstTss};
    cpu.gdtr = {kTables, 0x3f};
    cpu.idtr = {0, 0};
    return cpu;
  }

  static Code far(uint8_t opcode, uint16_t selector, uint32_t offset) {
    Code code = {opcode, 0, 0, 0, 0, 0, 0};
    std::memcpy(code.data() + 1, &offset, 4);
    std::memcpy(code.data() + 5, &selector, 2);
    return code;
  }
  static Code jump(uint16_t selector, uint32_t offset = 0) { return far(0xea, selector, offset); }
  static Code call(uint16_t selector, uint32_t offset = 0) { return far(0x9a, selector, offset); }
  // Through the pointer in memory: reg 3 is CALL, 5 is JMP.
  Code through_memory(uint8_t reg, uint16_t selector, uint32_t offset = 0) {
    put(kPointer, offset);
    put(kPointer + 4, selector);
    Code code = {0xff, static_cast<uint8_t>(reg << 3 | 5), 0, 0, 0, 0};
    const auto address = static_cast<uint32_t>(kPointer);
    std::memcpy(code.data() + 2, &address, 4);
    return code;
  }
};

// --- without a guest, alone and below an L0

class TaskSwitches : public FarTransfer, public testing::WithParamInterface<L0Mode> {
 protected:
  TaskSwitches() {
    config_.l0.mode = GetParam();
    cpu_ = in_protected_mode(cpu_);
    cpu_.idtr = {kIdt, 0x7ff};
  }
  // A task gate in the IDT, to the second task.
  void enter_task_by(unsigned vector) {
    put(kIdt + 8 * vector, uint64_t{kSecondTask} << 16 | 0x8500ull << 32);
  }
  // An interrupt gate, and what it leads to.
  void enter_handler_by(unsigned vector, const Code& code) {
    const uint64_t address = kHandlers + 0x40 * vector;
    put(kIdt + 8 * vector,
        (address & 0xffff) | uint64_t{kCode32} << 16 | 0x8e00ull << 32 | (address >> 16) << 48);
    put_code(address, code);
  }
};

TEST_P(TaskSwitches, AJumpLeavesTheTask) {
  put_code(kSecondCode, exit_with_memory(kFirstTss + 32));
  for (const Code& code :
       {jump(kSecondTask), jump(kTaskGateSelector), through_memory(5, kSecondTask)}) {
    const RunResult result = run(code);
    EXPECT_EQ(result.code, status(static_cast<uint32_t>(kCode + code.size()))) << result.detail;
  }
}

TEST_P(TaskSwitches, ACallNestsAndIretReturns) {
  // The second call goes on at the jump, which leads to the INC.
  put_code(kSecondCode, ASM32("2: inc dword ptr [0x23008]; iretd; jmp 2b"));
  const Code flags_and_count =
      ASM32("pushfd; pop eax; and eax, 0x4000; add eax, [0x23008]; out 0xf4, eax");
  const RunResult result =
      run(call(kSecondTask) + through_memory(3, kTaskGateSelector) + flags_and_count);
  EXPECT_EQ(result.kind, RunResult::Kind::kDebugExit) << result.detail;
  EXPECT_EQ(result.code, status(2)) << "two calls, and NT is 0 again";
}

TEST_P(TaskSwitches, IretWithNtThatPopfSetsReturnsToTheTaskOfTheLink) {
  put_code(kSecondCode, exit_with(7));
  put<uint16_t>(kFirstTss, kSecondTask);
  put<uint8_t>(kTables + kSecondTask + 5, 0x8b);
  EXPECT_EQ(run(kSetNt + block_end() + kIretd).code, status(7));
}

// "Task-Switch Exception Condition".
TEST_P(TaskSwitches, TheTrapFlagOfTheNewTssTrapsBeforeTheFirstInstruction) {
  constexpr uint8_t kVector = 0x30;
  enter_task_by(kVector);
  enter_task_by(vmx::kUd);
  enter_handler_by(vmx::kDb, ASM32("mov eax, dr6; and eax, 0xe00f; out 0xf4, eax"));
  put_code(kSecondCode, exit_with(7));
  put<uint16_t>(kFirstTss, kSecondTask);  // the link of IRET
  for (const Code& code : {jump(kSecondTask), call(kSecondTask), jump(kTaskGateSelector), kIretd,
                           ASM32("int 0x30"), ASM32("ud2")}) {
    const bool iret = code == kIretd;
    put<uint8_t>(kTables + kSecondTask + 5, iret ? 0x8b : 0x89);
    cpu_.rflags = iret ? 0x4002 : 2;
    for (const bool trap : {false, true}) {
      put<uint16_t>(kSecondTss + 100, trap ? 1 : 0);
      const RunResult result = run(code);
      EXPECT_EQ(result.code, status(trap ? 0x8000 : 7)) << testing::PrintToString(code);
      if (trap) {
        ASSERT_FALSE(record_.exceptions.empty());
        EXPECT_EQ(record_.exceptions.back().rip, kSecondCode);
      }
    }
  }
}

// "Saving RIP, RSP, RFLAGS, and SSP" says what an L0 finds.
TEST_P(TaskSwitches, TheOldTssHoldsTheResumeFlagForFaultsAlone) {
  constexpr uint8_t kVector = 0x30;
  constexpr uint32_t kRf = 0x1'0000;
  enter_task_by(kVector);
  enter_task_by(vmx::kUd);
  put_code(kSecondCode, exit_with_memory(kFirstTss + 36));
  for (const uint32_t before : {uint32_t{0}, kRf}) {
    cpu_.rflags = 2 | before;
    EXPECT_EQ(run(jump(kSecondTask)).code, status(2));
    EXPECT_EQ(run(call(kSecondTask)).code, status(2));
    EXPECT_EQ(run(ASM32("int 0x30")).code, status(2));
    EXPECT_EQ(run(ASM32("ud2")).code, status(2 | kRf));
  }
}

TEST_P(TaskSwitches, TransfersWithinTheTaskAreTheEnginesOwn) {
  // Twice the same code: call a far RET, and jump behind it.
  put_code(kSecondCode, ASM32("retf"));
  Code code = ASM32("xor edi, edi") + call(kCode32, kSecondCode);
  const auto behind = static_cast<uint32_t>(kCode + code.size() + 7);
  code =
      code + jump(kCode32, behind) + ASM32("2: inc edi; cmp edi, 2; jne 2b - 0xe") + exit_with(3);
  EXPECT_EQ(run(code).code, status(3));
}

INSTANTIATE_TEST_SUITE_P(L0, TaskSwitches,
                         testing::Values(L0Mode::kHardware, L0Mode::kTwoLevel,
                                         L0Mode::kShadowOnShadow),
                         [](const auto& mode) {
                           std::string name(info_of(mode.param).name);
                           std::ranges::replace(name, '-', '_');
                           return name;
                         });

// --- faults

TEST_P(TaskSwitches, ChecksOfGatesAndSegmentsComeFirst) {
  struct Case {
    Code code;
    unsigned vector;
    uint32_t error;
  };
  const Case cases[] = {
      {jump(kFirstTask), vmx::kGp, kFirstTask},  // busy
      {call(kAbsentGate), vmx::kNp, kAbsentGate},
      {jump(0x40), vmx::kGp, 0x40},                    // beyond the GDT
      {call(kSecondTask | 3), vmx::kGp, kSecondTask},  // RPL above DPL
      {call(kTaskGateSelector | 3), vmx::kGp, kTaskGateSelector},
      {jump(0), vmx::kGp, 0},
  };
  for (const Case& c : cases) {
    run(c.code);
    ASSERT_FALSE(record_.exceptions.empty());
    EXPECT_EQ(record_.exceptions[0], (Exception{c.vector, c.error, kCode, 0}));
  }
}

// --- in VMX non-root operation

class TaskSwitchExits : public FarTransfer {
 protected:
  TaskSwitchExits() {
    const vmx::CpuState guest = in_protected_mode(cpu_);
    enable_ept();
    enable(vmx::SecondaryProcBased::kUnrestrictedGuest);
    const auto set = [&](Field field, uint64_t value) { vmcs_.write(field, value); };
    set(Field::kVmEntryControls,
        vmcs_[Field::kVmEntryControls] & ~uint64_t{mask(vmx::VmEntryControl::kIa32eModeGuest)});
    set(Field::kGuestCr0, guest.cr0);
    set(Field::kGuestCr3, 0);
    set(Field::kGuestCr4, vmx::cr4::kVmxe);
    set_guest_segments(guest);
    set(Field::kGuestGdtrBase, guest.gdtr.base);
    set(Field::kGuestGdtrLimit, guest.gdtr.limit);
  }
};

TEST_F(TaskSwitchExits, EachSourceHasItsQualification) {
  enum : uint64_t { kCall, kIret, kJump };
  struct Case {
    Code before, code;
    uint64_t source;
  };
  put<uint16_t>(kFirstTss, kSecondTask);  // the link of IRET
  const Case cases[] = {
      {{}, call(kSecondTask), kCall},
      {kNop, call(kTaskGateSelector), kCall},
      {{}, jump(kSecondTask), kJump},
      {kNop, jump(kUserGate | 3), kJump},
      {{}, through_memory(3, kSecondTask), kCall},
      {kNop, through_memory(5, kSecondTask), kJump},
      {kSetNt, kIretd, kIret},
      {kSetNt + block_end(), kIretd, kIret},
  };
  for (const Case& c : cases) {
    SCOPED_TRACE(testing::Message() << c.source << " " << c.before.size());
    put<uint8_t>(kTables + kSecondTask + 5, c.source == kIret ? 0x8b : 0x89);
    run_guest(c.before + c.code + kCpuid);
    ASSERT_THAT(exits(), ElementsAre(Pair(ExitReason::kTaskSwitch, kGuest + c.before.size())));
    EXPECT_EQ(record_.exits[0].qualification, kSecondTask | c.source << 30);
    EXPECT_EQ(record_.exits[0].instruction_length, c.code.size());
    EXPECT_EQ(record_.exits[0].idt_vectoring_information, 0u);
  }
}

TEST_F(TaskSwitchExits, FaultsComeFirst) {
  vmcs_.write(Field::kExceptionBitmap, ~0u);
  run_guest(jump(kFirstTask));  // busy
  ASSERT_THAT(exits(), ElementsAre(Pair(ExitReason::kExceptionOrNmi, kGuest)));
  EXPECT_EQ(record_.exits[0].interruption_information, 0x80000b00u | vmx::kGp);
  // Not busy: nothing to return to.
  put<uint16_t>(kFirstTss, kSecondTask);
  run_guest(kSetNt + kIretd);
  ASSERT_THAT(exits(), ElementsAre(Pair(ExitReason::kExceptionOrNmi, kGuest + kSetNt.size())));
  EXPECT_EQ(record_.exits[0].interruption_information, 0x80000b00u | vmx::kTs);
}

TEST_F(TaskSwitchExits, TransfersWithinTheTaskCauseNone) {
  const Code over = jump(kCode32, static_cast<uint32_t>(kGuest + 8));
  run_guest(over + ASM32("hlt") + kCpuid);
  EXPECT_THAT(exits(), ElementsAre(Pair(ExitReason::kCpuid, kGuest + 8)));
}

}  // namespace
}  // namespace nestor::emu
