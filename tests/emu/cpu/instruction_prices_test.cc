// SPDX-License-Identifier: GPL-2.0-or-later
//
// What emulated instructions cost on the virtual clock, by L1 and by L2.
#include "emu/cpu/instruction_prices.h"

#include "tests/emu/l0/nested_machine_fixture.h"

namespace nestor::emu {
namespace {

TEST(PriceTable, MostHaveNone) {
  EXPECT_EQ(price_of(Operation::kOther), nullptr);
  EXPECT_EQ(price_of(Operation::kLgdt), nullptr);
  EXPECT_EQ(price_of(Operation::kRdmsr), nullptr);
  EXPECT_EQ(price_of(Operation::kOut), &PriceList::port_access);
  EXPECT_EQ(price_of(Operation::kRdtscp), &PriceList::rdtsc);
}

class InstructionPrices : public NestedMachineTest {
 protected:
  // Cycles of `code` once, beside those of instructions: a run with it twice less one with it once.
  uint64_t cost(const Code& code, unsigned instructions = 1) {
    const uint64_t once = run(code + exit_with(0)).cycles;
    return run(code + code + exit_with(0)).cycles - once - instructions;
  }
  uint64_t cost_in_l2(const Code& code) {
    const uint64_t once = run_guest(code + ASM64("vmcall")).cycles;
    return run_guest(code + code + ASM64("vmcall")).cycles - once - 1;
  }
  static constexpr PriceList kList{};
};

TEST_F(InstructionPrices, OfPortAccesses) {
  EXPECT_EQ(kList.port_access, 2000u);
  cpu_.gpr[vmx::kRdx] = 0x80;
  for (const Code& code :
       {ASM64("in al, 0x80"), ASM64("in eax, dx"), ASM64("out 0x80, al"), ASM64("out dx, ax")}) {
    EXPECT_EQ(cost(code), kList.port_access) << testing::PrintToString(code);
  }
}

TEST_F(InstructionPrices, OfStringInstructionsByIteration) {
  cpu_.gpr[vmx::kRdx] = 0x80;
  cpu_.gpr[vmx::kRsi] = cpu_.gpr[vmx::kRdi] = kData;
  const Code kFive = ASM64("mov ecx, 5");
  for (const Code& code : {ASM64("rep outsb"), ASM64("rep insb")}) {
    // And the walks of their operands.
    EXPECT_EQ(cost(kFive + code, 2) / kList.port_access, 5u) << testing::PrintToString(code);
    EXPECT_EQ(cost(ASM64("xor ecx, ecx") + code, 2), 0u) << "no iteration";
  }
  EXPECT_EQ(cost(ASM64("outsb")) / kList.port_access, 1u);
}

TEST_F(InstructionPrices, OfDeviceMemory) {
  EXPECT_EQ(kList.device_load, 2000u);
  cpu_.gpr[vmx::kRsi] = 0xfec00000;  // the I/O APIC
  EXPECT_EQ(cost(ASM64("mov eax, [rsi]")), kList.device_load);
  EXPECT_EQ(cost(ASM64("lmsw word ptr [rsi + 2]")), kList.device_load) << "the model's";
  EXPECT_EQ(cost(ASM64("mov [rsi], eax")), 0u);
  EXPECT_EQ(cost(ASM64("mov eax, [rbx + 0x20]")), 0u) << "the local APIC";
}

TEST_F(InstructionPrices, OfRegisters) {
  EXPECT_EQ(cost(ASM64("pause")), 139u);
  EXPECT_EQ(cost(ASM64("rdtsc")), 25u);
  EXPECT_EQ(cost(ASM64("rdtscp")), 25u);
  EXPECT_EQ(cost(ASM64("cpuid")), 100u);
  cpu_.gpr[vmx::kRcx] = 0x174;
  cpu_.gpr[vmx::kRax] = cpu_.gpr[vmx::kRdx] = 0;
  EXPECT_EQ(cost(ASM64("wrmsr")), 130u);
  EXPECT_EQ(cost(ASM64("rdmsr")), 0u);
}

TEST_F(InstructionPrices, AreTheSameForL2) {
  enable(vmx::PrimaryProcBased::kUseMsrBitmaps);
  vmcs_.write(vmx::Field::kMsrBitmaps, kBitmaps);
  EXPECT_EQ(cost_in_l2(ASM64("in al, 0x80")), kList.port_access);
  EXPECT_EQ(cost_in_l2(ASM64("rdtsc")), kList.rdtsc);
}

// What faults or causes a VM exit costs what that costs.
TEST_F(InstructionPrices, OfOneThatDoesNotCompleteIsNotCharged) {
  // The handler skips the two bytes of the instruction.
  handle(vmx::kGp, ASM64("add qword ptr [rsp + 8], 2; add rsp, 8; iretq"));
  cpu_.gpr[vmx::kRcx] = 0x12345678;  // no MSR
  const uint64_t faulting = cost(ASM64("wrmsr"), 4);
  EXPECT_GE(faulting, kList.exception);
  EXPECT_LT(faulting, kList.exception + kList.wrmsr) << "and the walks of the delivery";
  const auto exit_on = [this](const Code& code) {
    return run_guest(code, resume_until(2)).cycles - run_guest(code, resume_until(1)).cycles;
  };
  // The second VM exit is the first one again, at the same RIP.
  enable(vmx::PrimaryProcBased::kUnconditionalIoExiting);
  EXPECT_EQ(exit_on(ASM64("in al, 0x80")), exit_on(ASM64("vmcall")));
  EXPECT_EQ(exit_on(ASM64("cpuid")), exit_on(ASM64("vmcall")));
}

}  // namespace
}  // namespace nestor::emu
