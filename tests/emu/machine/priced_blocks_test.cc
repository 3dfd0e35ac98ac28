// SPDX-License-Identifier: GPL-2.0-or-later
//
// Runs whose time is made of the prices of blocks: it is the same whatever the engine forgets, and
// wherever the run stops or is saved.
#include <string>
#include <utility>

#include "emu/memory/archive.h"
#include "tests/emu/l0/nested_machine_fixture.h"

namespace nestor::emu {
namespace {

class PricedBlocks : public NestedMachineTest {
 protected:
  PricedBlocks() {
    config_.processor.timing = TimingModel::kBlocks;
    config_.processor.type = vmx::processor_of(vmx::Generation::kSkylake);
  }

  uint64_t cycles_of(const Code& code) {
    EXPECT_EQ(run(code + exit_with(5)).code, status(5));
    return machine_->result().cycles;
  }
  // Of a loop with so many rounds, per round.
  double round_of(const Code& body) {
    const auto loop = [&](uint32_t rounds) {
      Code code = ASM64("mov ebp, 0");
      std::memcpy(&code[1], &rounds, 4);
      Code end = ASM64("dec ebp; 2: jne 2b");
      const auto back = -static_cast<int32_t>(body.size() + 2 + 6);
      end.resize(2);
      end.insert(end.end(), {0x0f, 0x85});
      for (unsigned i = 0; i < 4; ++i) end.push_back(static_cast<uint8_t>(back >> 8 * i));
      return cycles_of(code + body + end);
    };
    return static_cast<double>(loop(3000) - loop(1000)) / 2000;
  }
  // The machine forgets all that its engine has translated and cached.
  void forget() {
    const auto state = saved_bytes([this](Archive& archive) { machine_->serialize(archive); });
    const Clock* const clock = record_.clock;
    ASSERT_TRUE(load_bytes(state, [this](Archive& archive) { machine_->serialize(archive); }));
    record_.clock = clock;
  }
  void expect_the_same_run(uint32_t code) {
    EXPECT_EQ(run().code, status(code));
    const Seen unbroken = seen();
    start();
    while (machine_->run_until({.step = true})) continue;
    EXPECT_EQ(seen(), unbroken) << "stepped";
    for (const uint64_t distance : {7, 100}) {
      start();
      uint64_t limit = distance;
      while (machine_->run_until({.instructions = limit})) {
        limit += distance;
        forget();
      }
      EXPECT_EQ(seen(), unbroken) << "forgotten after each " << distance;
    }
    start();
    while (machine_->run_until({.step = true})) forget();
    EXPECT_EQ(seen(), unbroken) << "stepped and forgotten";
    start();
    ASSERT_TRUE(machine_->run_until({.instructions = unbroken.instructions / 2}));
    while (machine_->run_until({.step = true})) continue;
    EXPECT_EQ(seen(), unbroken) << "stepped from the middle";
  }
};

// By all models of time.
class PricedRuns : public PricedBlocks, public testing::WithParamInterface<TimingModel> {
 protected:
  PricedRuns() { config_.processor.timing = GetParam(); }
};
INSTANTIATE_TEST_SUITE_P(Models, PricedRuns,
                         testing::Values(TimingModel::kBlocks, TimingModel::kDetailed),
                         [](const auto& model) {
                           return model.param == TimingModel::kBlocks ? "Blocks" : "Detailed";
                         });

TEST_F(PricedBlocks, TakeTheTimeOfTheCore) {
  // A chain of multiplications, of 3 cycles each; 8 instructions that wait for nothing, 4 a cycle.
  EXPECT_NEAR(round_of(ASM64("imul rax, rax; imul rax, rax; imul rax, rax")), 9, 0.2);
  EXPECT_NEAR(round_of(ASM64("nop; nop; nop; nop; nop; nop; nop")), 2, 0.2);
  EXPECT_NEAR(round_of(ASM64("mov [0x80000], rax; mov rax, [0x80000]")), 4, 0.5);
}

TEST_F(PricedBlocks, FastStaysWhatItWas) {
  config_.processor.timing = TimingModel::kFast;
  EXPECT_NEAR(round_of(ASM64("imul rax, rax; imul rax, rax; imul rax, rax")), 5, 0.001);
}

TEST_P(PricedRuns, AreTheSameHoweverTheRunStops) {
  handle(0x40, end_of_interrupt() + ASM64("iretq"));
  put_code(kCode, enable_apic() + apic_write(0x3e0, 0xb) +  // divide by 1
                      apic_write(0x320, 0x20040) +          // periodic, vector 40H
                      apic_write(0x380, 997) +
                      ASM64("sti; mov ecx, 90; 2: imul rax, rcx; mov [0x80000], rax; test al, 8; "
                            "jne 3f; add rax, [0x80008]; 3: dec ecx; jne 2b") +
                      exit_with(7));
  expect_the_same_run(7);
}

TEST_P(PricedRuns, AreTheSameForStrings) {
  put_code(kCode, ASM64("mov ecx, 20; mov edi, 0x80000; mov eax, 7; cld; rep stosd; mov ecx, 19; "
                        "mov esi, 0x80000; mov edi, 0x80800; rep movsb; mov ecx, 40; "
                        "mov edi, 0x80000; xor eax, eax; repne scasb") +
                      exit_with(3));
  expect_the_same_run(3);
}

// A block that faults in its midst is charged for what it has completed.
TEST_P(PricedRuns, AreTheSameForFaults) {
  map(0x81000, 0);
  handle(vmx::kPf, ASM64("add rsp, 8; mov rax, cr2; add qword ptr [rsp], 4; iretq"));
  put_code(kCode, ASM64("mov ecx, 20; mov edi, 0x81000; 2: imul rax, rcx; mov [rdi + 8], rax; "
                        "imul rdx, rax; mov rbp, [rdi + 8]; imul rbp, rcx; dec ecx; jne 2b") +
                      exit_with(3));
  expect_the_same_run(3);
  const uint64_t faults = record_.exceptions.size();
  EXPECT_EQ(faults, 40u);
}

TEST_P(PricedRuns, AreTheSameWhereConditionsAreBroken) {
  cpu_.cr4 |= vmx::cr4::kOsfxsr | vmx::cr4::kOsxmmexcpt;
  handle(vmx::kGp, ASM64("add rsp, 8; add qword ptr [rsp], 4; iretq"));
  put_code(kCode, ASM64("mov ecx, 15; 2: lea rdi, [rcx * 4 + 0x80000]; add rax, rdi; "
                        "movaps xmm0, [rdi + 16]; add rax, 3; sti; dec ecx; jne 2b") +
                      exit_with(3));
  expect_the_same_run(3);
}

TEST_P(PricedRuns, AreTheSameForCodeThatWritesToItself) {
  // The store is in the midst of the block that it changes.
  put_code(kCode, ASM64("mov ecx, 15; 2: add eax, 5; lea rdi, [rip + 3f + 1]; mov [rdi], cl; "
                        "imul rax, rax; 3: mov edx, 0; add eax, edx; dec ecx; jne 2b") +
                      exit_with(3));
  expect_the_same_run(3);
}

TEST_P(PricedRuns, AreTheSameForL2) {
  enable_ept(kEptAccessedDirty);
  put_guest(ASM64("mov ecx, 20; 2: imul rax, rcx; mov [0x80000], rax; push rax; pop rdx; "
                  "dec ecx; jne 2b; cpuid"),
            resume_until(8, exit_with(8)));
  put_code(kCode, launch());
  expect_the_same_run(8);
}

TEST_P(PricedRuns, AreTheSameWithSeveralProcessors) {
  config_.processor.count = 2;
  // Real-address mode, with LOOP and a store.
  put_code(0x30000, ASM16("2: mov cx, 9; 3: add ax, cx; loop 3b; mov [0x7000], ax; jmp 2b"));
  put_code(kCode, enable_apic() + apic_write(0x310, 1u << 24) + apic_write(0x300, 0x4500) +
                      apic_write(0x300, 0x4630) +
                      ASM64("mov ecx, 30000; 2: imul rax, rcx; nop; dec ecx; jne 2b") +
                      exit_with(7));
  EXPECT_EQ(run().code, status(7));
  const Seen unbroken = seen();
  EXPECT_GT(unbroken.instructions, 130'000u);
  start();
  uint64_t limit = 10'000;
  while (machine_->run_until({.instructions = limit})) {
    limit += 10'000;
    forget();
  }
  EXPECT_EQ(seen(), unbroken);
}

// What each costs beside the rest of the run.
TEST_F(PricedBlocks, SystemInstructionsHaveTheirPrices) {
  const auto cost = [this](const Code& before, const Code& code) {
    const uint64_t once = cycles_of(before + code);
    return static_cast<double>(cycles_of(before + code + code) - once);
  };
  constexpr double kRoom = 8;  // the core fills anew
  EXPECT_NEAR(cost({}, kCpuid), 100, kRoom);
  EXPECT_NEAR(cost({}, ASM64("rdtsc")), 25, kRoom);
  EXPECT_NEAR(cost(ASM64("mov ecx, 0x174"), ASM64("rdmsr")), 89, kRoom);
  EXPECT_NEAR(cost(ASM64("mov ecx, 0x174; xor eax, eax; xor edx, edx"), ASM64("wrmsr")), 138,
              kRoom);
  EXPECT_NEAR(cost({}, ASM64("pause")), 140, kRoom);
  EXPECT_NEAR(cost({}, ASM64("mov rax, cr0")), 10, kRoom);
  config_.processor.type = vmx::processor_of(vmx::Generation::kHaswell);
  EXPECT_NEAR(cost({}, ASM64("pause")), 9, kRoom);
}

TEST_F(PricedBlocks, LongerMsrListsTakeLonger) {
  const auto cycles = [this](uint32_t entries) {
    for (uint32_t i = 0; i < entries; ++i) {
      put<uint64_t>(kScratch + 16 * i, 0x174);  // IA32_SYSENTER_CS
      put<uint64_t>(kScratch + 16 * i + 8, 0);
    }
    vmcs_.write(vmx::Field::kVmEntryMsrLoadAddress, kScratch);
    vmcs_.write(vmx::Field::kVmEntryMsrLoadCount, entries);
    run_guest(ASM64("vmcall"), resume_until(10));
    return machine_->result().cycles;
  };
  const uint64_t none = cycles(0);
  EXPECT_EQ(cycles(1) - none, 10u * 138);
  EXPECT_EQ(cycles(5) - none, 50u * 138);
}

TEST_F(PricedBlocks, BranchesThatNobodyForeseesCost) {
  const auto branching = [this](const Code& condition) {
    return round_of(ASM64("imul rax, rax, 0x41c64e6d; add rax, 12345; mov rdx, rax; shr rdx, 40") +
                    condition + ASM64("je 2f; add rcx, 1; 2: nop"));
  };
  const double always = branching(ASM64("cmp rdx, -1")), random = branching(ASM64("test dl, 1"));
  EXPECT_GT(random, always + 4);
  EXPECT_LT(random, always + 20);
  // In turns: that is learned.
  EXPECT_LT(branching(ASM64("test bpl, 1")), always + 3);
}

TEST_F(PricedBlocks, ReturnsAreForeseenAndJumpsLearned) {
  const Code call = ASM64("call 3f; jmp 4f; 3: ret; 4: nop");
  EXPECT_LT(round_of(call), 10);
  const Code jump = ASM64("lea rdx, [rip + 3f]; jmp rdx; nop; 3: nop");
  EXPECT_LT(round_of(jump), 10);
}

TEST_F(PricedBlocks, APrefixIsChargedForItself) {
  map(0x81000, 0);
  handle(vmx::kPf, exit_with(5));
  const auto cycles = [&](const Code& before, const Code& after) {
    return static_cast<double>(cycles_of(before + ASM64("mov rax, [0x81000]") + after));
  };
  // What follows the fault is not executed and costs nothing.
  const Code chain = ASM64("imul rax, rax; imul rax, rax; imul rax, rax; imul rax, rax");
  EXPECT_EQ(cycles(kNop, kNop), cycles(kNop, chain + chain + chain));
  EXPECT_NEAR(cycles(chain + chain, kNop), cycles(kNop, kNop) + 24, 2);
}

}  // namespace
}  // namespace nestor::emu
