// SPDX-License-Identifier: GPL-2.0-or-later
//
// Last-branch records: what the processor remembers of branches while IA32_DEBUGCTL.LBR is 1.
#include "emu/cpu/last_branches.h"

#include "tests/emu/l0/nested_machine_fixture.h"

namespace nestor::emu {
namespace {

constexpr uint32_t kSelect = 0x1c8, kTop = 0x1c9, kFrom = 0x680, kTo = 0x6c0;

class LastBranchRecords : public NestedMachineTest {
 protected:
  static Code wrmsr(uint32_t index, uint8_t value) {
    Code code = ASM64("mov ecx, 0; mov eax, 0; xor edx, edx; wrmsr");
    std::memcpy(code.data() + 1, &index, sizeof index);
    code[6] = value;
    return code;
  }
  static Code record() { return wrmsr(0x1d9, 1); }
  static Code stop() { return wrmsr(0x1d9, 0); }
  static Code exit_with_msr(uint32_t index) {
    Code code = ASM64("mov ecx, 0; rdmsr; out 0xf4, eax");
    std::memcpy(code.data() + 1, &index, sizeof index);
    return code;
  }
  // The bits of the value that the exit code keeps.
  static uint32_t code_of(uint64_t value) { return static_cast<uint32_t>(value << 1 | 1); }
  // Runs `code` with records, and then reads MSRs.
  uint32_t read_after(const Code& code, uint32_t msr) {
    return run(record() + code + stop() + exit_with_msr(msr)).code;
  }
  const uint64_t begin_ = kCode + record().size();
};

TEST_F(LastBranchRecords, HoldWhereABranchWasAndWhereItLed) {
  const Code jump = ASM64("nop; jmp 2f; nop; nop; 2:");
  EXPECT_EQ(read_after(jump, kTop), code_of(1));
  EXPECT_EQ(read_after(jump, kFrom + 1), code_of(begin_ + 1));
  EXPECT_EQ(read_after(jump, kTo + 1), code_of(begin_ + 5));
  EXPECT_EQ(read_after(jump, kFrom + 2), code_of(0));
}

TEST_F(LastBranchRecords, AreOfTakenBranchesOfAnyKind) {
  EXPECT_EQ(read_after(nops(5), kTop), code_of(0));
  EXPECT_EQ(read_after(ASM64("cmp eax, eax; jne 2f; 2: nop"), kTop), code_of(0)) << "not taken";
  EXPECT_EQ(read_after(ASM64("cmp eax, eax; je 2f; nop; 2:"), kTop), code_of(1));
  EXPECT_EQ(read_after(ASM64("call 2f; jmp 3f; 2: ret; 3:"), kTop), code_of(3));
  EXPECT_EQ(read_after(ASM64("call 2f; jmp 3f; 2: rep ret; 3:"), kTop), code_of(3));
  EXPECT_EQ(read_after(ASM64("mov ecx, 5; 2: nop; loop 2b"), kTop), code_of(4));
  EXPECT_EQ(read_after(ASM64("mov ecx, 5; mov edi, 0x80000; rep stosb"), kTop), code_of(0));
  EXPECT_EQ(read_after(ASM64("cpuid; in al, 0x80"), kTop), code_of(0));
}

TEST_F(LastBranchRecords, TheStackIsARing) {
  EXPECT_EQ(read_after(ASM64("mov ecx, 36; 2: nop; loop 2b"), kTop), code_of(3));
  config_.processor.type = vmx::processor_of(vmx::Generation::kWestmere);
  EXPECT_EQ(read_after(ASM64("mov ecx, 20; 2: nop; loop 2b"), kTop), code_of(3)) << "of 16";
  handle(vmx::kGp, exit_with(13));
  EXPECT_EQ(run(exit_with_msr(kFrom + 16)).code, status(13));
  EXPECT_EQ(run(exit_with_msr(0xdc0)).code, status(13)) << "MSR_LBR_INFO came later";
}

TEST_F(LastBranchRecords, HoldExceptionsAndInterrupts) {
  // The handler returns behind UD2: the exception and IRETQ.
  handle(vmx::kUd, ASM64("add qword ptr [rsp], 2; iretq"));
  const Code undefined = ASM64("ud2");
  EXPECT_EQ(read_after(undefined, kTop), code_of(2));
  EXPECT_EQ(read_after(undefined, kFrom + 1), code_of(begin_));
  EXPECT_EQ(read_after(undefined, kTo + 1), code_of(kHandlers + 0x40 * vmx::kUd));
  EXPECT_EQ(read_after(undefined, kTo + 2), code_of(begin_ + 2));
  handle(0x50, ASM64("iretq"));
  EXPECT_EQ(read_after(ASM64("int 0x50"), kTop), code_of(2));
  EXPECT_EQ(read_after(ASM64("int 0x50"), kFrom + 1), code_of(begin_));
  // The branch before the exception.
  EXPECT_EQ(read_after(ASM64("jmp 2f; 2: ud2"), 0x1dd), code_of(begin_));
  EXPECT_EQ(read_after(ASM64("jmp 2f; 2: ud2"), 0x1de), code_of(begin_ + 2));
}

TEST_F(LastBranchRecords, ADebugExceptionEndsThem) {
  handle(vmx::kDb, ASM64("mov ecx, 0x1d9; rdmsr; out 0xf4, eax"));
  EXPECT_EQ(run(record() + ASM64("pushfq; or dword ptr [rsp], 0x100; popfq; nop; nop")).code,
            status(0));
}

TEST_F(LastBranchRecords, AreFiltered) {
  const Code all = ASM64("call 2f; jmp 3f; 2: ret; 3: cmp eax, eax; je 4f; nop; 4:");
  const auto left = [&](uint8_t select) { return read_after(wrmsr(kSelect, select) + all, kTop); };
  EXPECT_EQ(left(0), code_of(4));
  EXPECT_EQ(left(1), code_of(0)) << "what ends in ring 0";
  EXPECT_EQ(left(2), code_of(4));
  EXPECT_EQ(left(4), code_of(3)) << "conditional";
  EXPECT_EQ(left(8), code_of(3)) << "near calls";
  EXPECT_EQ(left(0x20), code_of(3)) << "near returns";
  EXPECT_EQ(left(0x80), code_of(3)) << "near jumps";
  EXPECT_EQ(left(0xac), code_of(0));
}

// "VM entries and VM exits are not logged"; a VM exit clears IA32_DEBUGCTL.
TEST_F(LastBranchRecords, OfL2) {
  enable(vmx::PrimaryProcBased::kUseMsrBitmaps);
  vmcs_.write(vmx::Field::kMsrBitmaps, kBitmaps);
  vmcs_.write(vmx::Field::kVmEntryControls,
              vmcs_[vmx::Field::kVmEntryControls] | mask(vmx::VmEntryControl::kLoadDebugControls));
  vmcs_.write(vmx::Field::kGuestIa32Debugctl, 1);
  const Code jump = ASM64("jmp 2f; 2: vmcall");
  EXPECT_EQ(run_guest(jump, exit_with_msr(kTop)).code, code_of(1));
  EXPECT_EQ(run_guest(jump, exit_with_msr(kFrom + 1)).code, code_of(kGuest));
  EXPECT_EQ(run_guest(jump, exit_with_msr(0x1d9)).code, code_of(0));
}

}  // namespace
}  // namespace nestor::emu
