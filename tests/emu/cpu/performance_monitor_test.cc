// SPDX-License-Identifier: GPL-2.0-or-later
//
// The performance counters: alone, as MSRs, and on a machine that runs.
#include "emu/cpu/performance_monitor.h"

#include "emu/cpu/cpuid.h"
#include "tests/emu/cpu/instruction_fixture.h"
#include "tests/emu/machine/machine_fixture.h"

namespace nestor::emu {
namespace {

using enum vmx::MsrStatus;
using testing::ElementsAre;

constexpr uint64_t kInUser = 1u << 16, kInSystem = 1u << 17, kEdge = 1u << 18,
                   kInterrupt = 1u << 20, kEnable = 1u << 22, kInvert = 1u << 23;
constexpr uint64_t kInstructions = 0xc0, kCycles = 0x3c, kReferenceCycles = 0x13c;
constexpr uint64_t kAnyLevel = kInUser | kInSystem | kEnable;
constexpr uint64_t kFull = (1ull << 48) - 1;

class PerformanceMonitorTest : public testing::Test {
 protected:
  PerformanceMonitorTest() { monitor.reset(); }
  void pass(uint64_t instructions, uint64_t cycles, uint8_t cpl = 0) {
    now.instructions += instructions;
    now.cycles += cycles;
    monitor.advance(now, cpl, global_ctrl);
  }
  void select(unsigned i, uint64_t value) { EXPECT_EQ(monitor.write_event_select(i, value), kOk); }

  PerformanceMonitor monitor;
  PerformanceMonitor::Progress now;
  uint64_t global_ctrl = vmx::kCounterEnables;
};

TEST_F(PerformanceMonitorTest, CountsTheEventsThatItHas) {
  pass(1, 1);  // from now on the fixed counters are enabled
  select(0, kInstructions | kAnyLevel);
  select(1, kCycles | kAnyLevel);
  select(2, kReferenceCycles | kAnyLevel);
  select(3, 0xc4 | kAnyLevel);  // branches: not available
  ASSERT_EQ(monitor.write_fixed_control(0x333), kOk);
  pass(10, 25);
  EXPECT_EQ(monitor.general_counter(0), 10u);
  EXPECT_EQ(monitor.general_counter(1), 25u);
  EXPECT_EQ(monitor.general_counter(2), 25u);
  EXPECT_EQ(monitor.general_counter(3), 0u);
  EXPECT_EQ(monitor.fixed_counter(0), 10u);
  EXPECT_EQ(monitor.fixed_counter(1), 25u);
  EXPECT_EQ(monitor.fixed_counter(2), 25u);
  now.cycles += 1000;
  monitor.skip(now);
  pass(1, 1);
  EXPECT_EQ(monitor.general_counter(1), 26u) << "a halted processor counts no cycles";
}

TEST_F(PerformanceMonitorTest, CountsWhatTheCoreDoesWhereThatIsKnown) {
  using timing::TranslationEvent, timing::TranslationFor;
  monitor.count_core_events();
  pass(1, 1);
  select(0, 0xc4 | kAnyLevel);
  select(1, 0xc5 | kAnyLevel);
  select(2, 0x0e08 | kAnyLevel);  // DTLB_LOAD_MISSES.WALK_COMPLETED
  select(3, 0x104f | kAnyLevel);  // EPT.WALK_PENDING
  now.core.branches += 7;
  now.core.mispredicted += 2;
  now.core.ept_walk_cycles += 90;
  now.core.of(TranslationFor::kLoad, TranslationEvent::kWalk) += 6;
  now.core.of(TranslationFor::kLoad, TranslationEvent::kWalked4K) += 3;
  now.core.of(TranslationFor::kLoad, TranslationEvent::kWalked2M) += 1;
  now.core.of(TranslationFor::kStore, TranslationEvent::kWalkCycles) += 120;
  now.core.of(TranslationFor::kFetch, TranslationEvent::kSecondLevelHit) += 5;
  pass(20, 200);
  EXPECT_EQ(monitor.general_counter(0), 7u);
  EXPECT_EQ(monitor.general_counter(1), 2u);
  EXPECT_EQ(monitor.general_counter(2), 4u);
  EXPECT_EQ(monitor.general_counter(3), 90u);
  select(0, 0x1049 | kAnyLevel);             // DTLB_STORE_MISSES.WALK_PENDING
  select(1, 0x1049 | 1u << 24 | kAnyLevel);  // .WALK_ACTIVE
  select(2, 0x2085 | kAnyLevel);             // ITLB_MISSES.STLB_HIT
  select(3, 0x0108 | kAnyLevel);             // DTLB_LOAD_MISSES.MISS_CAUSES_A_WALK
  now.core.of(TranslationFor::kStore, TranslationEvent::kWalkCycles) += 30;
  now.core.of(TranslationFor::kFetch, TranslationEvent::kSecondLevelHit) += 1;
  now.core.of(TranslationFor::kLoad, TranslationEvent::kWalk) += 1;
  pass(20, 200);
  EXPECT_EQ(monitor.general_counter(0), 7u + 30);
  EXPECT_EQ(monitor.general_counter(1), 2u + 30);
  EXPECT_EQ(monitor.general_counter(2), 4u + 1);
  EXPECT_EQ(monitor.general_counter(3), 90u + 1);
}

TEST_F(PerformanceMonitorTest, EveryEnableIsNeeded) {
  pass(0, 0);
  select(0, kInstructions | kInUser | kInSystem);
  select(1, kInstructions | kEnable);
  EXPECT_FALSE(monitor.counting());
  select(1, kInstructions | kAnyLevel);
  EXPECT_TRUE(monitor.counting());
  global_ctrl = 1;
  pass(5, 5);  // still under the old value
  EXPECT_FALSE(monitor.counting());
  pass(7, 7);
  EXPECT_EQ(monitor.general_counter(0), 0u);
  EXPECT_EQ(monitor.general_counter(1), 5u);
}

TEST_F(PerformanceMonitorTest, TellsPrivilegeLevelsApart) {
  pass(0, 0);
  select(0, kInstructions | kEnable | kInUser);
  select(1, kInstructions | kEnable | kInSystem);
  EXPECT_EQ(monitor.write_fixed_control(0x021), kOk);
  pass(3, 30, 0);
  pass(5, 50, 3);
  EXPECT_EQ(monitor.general_counter(0), 5u);
  EXPECT_EQ(monitor.general_counter(1), 3u);
  EXPECT_EQ(monitor.fixed_counter(0), 3u);
  EXPECT_EQ(monitor.fixed_counter(1), 50u);
}

TEST_F(PerformanceMonitorTest, CounterMask) {
  struct Case {
    uint64_t select, expected;  // of 10 instructions in 25 cycles
  };
  constexpr Case kCases[] = {
      {kInstructions | 1u << 24, 10}, {kInstructions | 1u << 24 | kInvert, 15},
      {kInstructions | 2u << 24, 0},  {kInstructions | 2u << 24 | kInvert, 25},
      {kCycles | 1u << 24, 25},       {kCycles | 1u << 24 | kInvert, 0},
      {kCycles | 0xffu << 24, 0},     {kCycles | 2u << 24 | kInvert, 25},
      {kInstructions | kInvert, 10},  {kCycles | kEdge | 1u << 24, 0},
  };
  pass(0, 0);
  for (const Case& c : kCases) {
    select(0, c.select | kAnyLevel);
    monitor.write_general_counter(0, 0);
    pass(10, 25);
    EXPECT_EQ(monitor.general_counter(0), c.expected) << std::hex << c.select;
  }
}

TEST_F(PerformanceMonitorTest, OverflowsSetTheirBitAndAskForAnInterrupt) {
  pass(0, 0);
  select(0, kInstructions | kAnyLevel);
  select(1, kInstructions | kAnyLevel | kInterrupt);
  EXPECT_EQ(monitor.write_fixed_control(0xb00), kOk);
  monitor.write_general_counter(0, 0xffffffff);  // bits 31:0, sign-extended
  EXPECT_EQ(monitor.general_counter(0), kFull);
  pass(1, 1);
  EXPECT_EQ(monitor.general_counter(0), 0u);
  EXPECT_EQ(monitor.global_status(), 1u);
  EXPECT_FALSE(monitor.take_interrupt());

  monitor.write_general_counter(1, 0xfffffff0);
  monitor.write_fixed_counter(2, kFull - 0x1f);
  EXPECT_EQ(monitor.cycles_to_interrupt(0), 0x10u);
  pass(0x0f, 0x0f);
  EXPECT_EQ(monitor.cycles_to_interrupt(3), 1u);
  pass(1, 1);
  EXPECT_EQ(monitor.global_status(), 3u);
  EXPECT_TRUE(monitor.take_interrupt());
  EXPECT_FALSE(monitor.take_interrupt());
  EXPECT_EQ(monitor.cycles_to_interrupt(0), 0x10u);
  pass(0, 0x10);
  EXPECT_EQ(monitor.global_status(), 3u | 1ull << 34);
  EXPECT_TRUE(monitor.take_interrupt());

  EXPECT_EQ(monitor.write_overflow_control(2), kOk);
  EXPECT_EQ(monitor.global_status(), 1u | 1ull << 34);
  EXPECT_EQ(monitor.write_overflow_control(1ull << 34 | 1ull << 62 | 1ull << 63 | 1), kOk);
  EXPECT_EQ(monitor.global_status(), 0u);
}

TEST_F(PerformanceMonitorTest, ReservedBits) {
  for (unsigned bit = 0; bit < 64; ++bit) {
    const uint64_t value = 1ull << bit;
    EXPECT_EQ(monitor.write_event_select(0, value) == kOk, bit < 32 && bit != 21) << bit;
    EXPECT_EQ(monitor.write_fixed_control(value) == kOk, bit < 12 && bit % 4 != 2) << bit;
    EXPECT_EQ(monitor.write_overflow_control(value) == kOk,
              bit < 4 || (bit >= 32 && bit < 35) || bit >= 62)
        << bit;
  }
}

TEST_F(PerformanceMonitorTest, CountersByTheirIndex) {
  monitor.write_general_counter(3, 33);
  monitor.write_fixed_counter(2, 22);
  EXPECT_EQ(monitor.counter(3), 33u);
  EXPECT_EQ(monitor.counter(4), std::nullopt);
  EXPECT_EQ(monitor.counter(0x40000002), 22u);
  EXPECT_EQ(monitor.counter(0x40000003), std::nullopt);
  EXPECT_EQ(monitor.counter(0x80000000), std::nullopt);
}

// CPUID.0AH says what there is.
TEST(PerformanceMonitorCpuid, AgreesWithTheCounters) {
  const CpuidRegisters leaf = cpuid(CpuidState{}, 0xa, 0);
  EXPECT_EQ(leaf.eax & 0xff, 2u);
  EXPECT_EQ(leaf.eax >> 8 & 0xff, vmx::kGeneralCounters);
  EXPECT_EQ(leaf.eax >> 16 & 0xff, 48u);
  EXPECT_EQ(leaf.eax >> 24, 3u) << "cycles, instructions and reference cycles";
  EXPECT_EQ(leaf.ebx, 0u) << "all three";
  const CpuidRegisters core = cpuid(CpuidState{.counts_core_events = true}, 0xa, 0);
  EXPECT_EQ(core.eax, leaf.eax + (4u << 24));
  EXPECT_EQ(core.ebx, 0x18u) << "branches too, but not caches";
  EXPECT_EQ(leaf.edx, 3u | 48u << 5);
  EXPECT_EQ(cpuid(CpuidState{}, 1, 0).ecx >> 15 & 1, 0u) << "no IA32_PERF_CAPABILITIES";
}

// --- RDPMC

class Rdpmc : public test::InstructionTest {
 protected:
  const test::Bytes kRdpmc = ASM64("rdpmc");
};

TEST_F(Rdpmc, ReadsCountersAndNothingElse) {
  test::enter_64bit_mode(core);
  core.performance_monitor().write_fixed_counter(1, 0x1234'5678'9abc);
  cpu.gpr[vmx::kRcx] = 0x40000001;
  cpu.gpr[vmx::kRax] = cpu.gpr[vmx::kRdx] = ~0ull;
  expect_completed(kRdpmc);
  EXPECT_EQ(cpu.gpr[vmx::kRax], 0x5678'9abcu);
  EXPECT_EQ(cpu.gpr[vmx::kRdx], 0x1234u);
  cpu.gpr[vmx::kRcx] = 4;
  expect_gp(kRdpmc);
}

TEST_F(Rdpmc, UserModeNeedsPce) {
  test::enter_64bit_mode(core, 3);
  cpu.gpr[vmx::kRcx] = 0;
  expect_gp(kRdpmc);
  cpu.cr4 |= vmx::cr4::kPce;
  expect_completed(kRdpmc);
}

TEST_F(Rdpmc, ExitsBeforeItLooksAtTheIndex) {
  test::NestedGuest guest(core);
  guest.enable(vmx::PrimaryProcBased::kRdpmcExiting);
  guest.enter();
  test::enter_64bit_mode(core);
  cpu.gpr[vmx::kRcx] = 4;
  expect_transferred(kRdpmc);
  guest.expect_exit(vmx::ExitReason::kRdpmc);
  EXPECT_EQ(guest[vmx::Field::kVmExitInstructionLength], 2u);
}

// --- on the machine

class CountingMachine : public MachineTest {
 protected:
  static Code write_msr(uint32_t index, uint64_t value) {
    Code code = ASM64("mov ecx, 0; mov eax, 0; mov edx, 0; wrmsr");
    std::memcpy(code.data() + 1, &index, 4);
    std::memcpy(code.data() + 6, &value, 4);
    const auto high = static_cast<uint32_t>(value >> 32);
    std::memcpy(code.data() + 11, &high, 4);
    return code;
  }
  static Code read_counter(uint32_t index) {
    Code code = ASM64("mov ecx, 0; rdpmc");
    std::memcpy(code.data() + 1, &index, 4);
    return code;
  }
  static Code exit_with_eax() { return ASM64("out 0xf4, eax"); }
};

TEST_F(CountingMachine, InstructionsAreCountedExactly) {
  const Code enable = write_msr(0x186, kInstructions | kAnyLevel);
  // 100 NOPs, MOV and RDPMC itself; a loop of 2 instructions, 50 times, behind it.
  const Code straight = enable + nops(100) + read_counter(0);
  EXPECT_EQ(run(straight + exit_with_eax()).code, status(102));
  const Code loop = enable + ASM64("mov ebp, 50; 2: dec ebp; jne 2b") + read_counter(0);
  EXPECT_EQ(run(loop + exit_with_eax()).code, status(1 + 100 + 2));
}

TEST_F(CountingMachine, CyclesAreThoseOfTheTimeStampCounter) {
  // RDTSC, then RDPMC; both again, 1000 cycles or more later; the differences differ by nothing.
  const Code sample = ASM64("rdtsc; mov esi, eax") + read_counter(1);
  const Code code = write_msr(0x187, kCycles | kAnyLevel) + sample +
                    ASM64("sub esi, eax; mov edi, esi") + nops(1000) + sample +
                    ASM64("sub esi, eax; sub esi, edi; mov eax, esi");
  EXPECT_EQ(run(code + exit_with_eax()).code, status(0));
}

TEST_F(CountingMachine, UserAndSystemModeAreToldApart) {
  handle(0x40, read_counter(0) + ASM64("mov esi, eax") + read_counter(1) +
                   ASM64("shl eax, 16; or eax, esi") + exit_with_eax());
  put<uint8_t>(kIdt + 16 * 0x40 + 5, 0xee);  // DPL 3
  constexpr uint64_t kUserCodeAt = 0x110000;
  put_code(kUserCodeAt, nops(200) + ASM64("int 0x40"));
  // SS, RSP, RFLAGS, CS and RIP.
  const Code to_user = ASM64("push 0x23; push 0x8f000; push 2; push 0x2b; push 0x110000; iretq");
  const RunResult result = run(write_msr(0x186, kInstructions | kEnable | kInUser) +
                               write_msr(0x187, kInstructions | kEnable | kInSystem) + to_user);
  // 200 NOPs. The system's: IRET and 5 pushes; behind INT n, which counts as the system's too, MOV,
  // RDPMC, MOV, MOV and RDPMC.
  EXPECT_EQ(result.code, status(200 | (6 + 6) << 16)) << std::hex << (result.code >> 1);
}

TEST_F(CountingMachine, AnOverflowInterruptsAndMasksItsEntry) {
  handle(0x50, ASM64("mov eax, [rbx + 0x340]") + exit_with_eax());
  const Code code = enable_apic() + apic_write(0x340, 0x50) + write_msr(0xc1, 0xffffff00) +
                    write_msr(0x186, kInstructions | kAnyLevel | kInterrupt) +
                    ASM64("sti; 2: jmp 2b");
  const RunResult result = run(code);
  EXPECT_EQ(result.code, status(0x10050));
  ASSERT_EQ(record_.interrupts.size(), 1u);
  EXPECT_EQ(record_.interrupts[0].vector, 0x50u);
}

// Where blocks are priced; IA32_PERFEVTSEL0 selects the event.
class CountingCore : public CountingMachine {
 protected:
  CountingCore() {
    config_.processor.timing = TimingModel::kBlocks;
    config_.processor.type = vmx::processor_of(vmx::Generation::kSkylake);
  }
  // How often the event happens in the code.
  uint32_t count(uint64_t event, const Code& code) {
    const RunResult result =
        run(write_msr(0x186, event | kAnyLevel) + code + read_counter(0) + exit_with_eax());
    return result.code >> 1;
  }
};

TEST_F(CountingCore, Branches) {
  const Code loop = ASM64("mov ebp, 50; 2: jmp 3f; 3: dec ebp; jne 2b");
  EXPECT_EQ(count(0xc4, loop), 100u) << "a jump is one, too";
  EXPECT_EQ(count(0xc4, nops(100)), 0u);
  const Code random = ASM64(
      "mov ebp, 1000; mov eax, 12345; 2: imul eax, eax, 1103515245; add eax, 12345; "
      "test eax, 0x10000; je 3f; nop; 3: dec ebp; jne 2b");
  EXPECT_EQ(count(0xc4, random), 2000u);
  EXPECT_LT(count(0xc5, loop), 20u);
  const uint32_t mispredicted = count(0xc5, random);
  EXPECT_GT(mispredicted, 300u);
  EXPECT_LT(mispredicted, 1000u);
}

// What is loaded is in a page of its own, the lines of which nothing else uses.
TEST_F(CountingCore, LoadsAndCaches) {
  const Code lines =
      ASM64("mov esi, 0x20000; 2: mov eax, [rsi]; add esi, 64; cmp esi, 0x21000; jne 2b");
  EXPECT_EQ(count(0x20d1, lines), 0u) << "there is no model of caches";
  config_.processor.timing = TimingModel::kDetailed;
  EXPECT_EQ(count(0x20d1, lines), 64u) << "L3_MISS";
  EXPECT_EQ(count(0x10d1, lines), 64u) << "L2_MISS";
  EXPECT_EQ(count(0x08d1, lines), 64u) << "L1_MISS";
  EXPECT_EQ(count(0x06d1, lines), 0u) << "L2_HIT and L3_HIT";
  EXPECT_EQ(count(0x20d1, lines + lines), 64u);
  EXPECT_EQ(count(0x41d1, lines + lines) - count(0x41d1, lines), 64u)
      << "L1_HIT; the last lines are on their way still";
  EXPECT_EQ(count(0x40d1, ASM64("mov eax, [0x20000]; mov ecx, [0x20008]")), 1u) << "FB_HIT";
  EXPECT_EQ(count(0x81d0, lines), 64u) << "ALL_LOADS";
  const Code stores =
      ASM64("mov esi, 0x20000; 2: mov [rsi], eax; add esi, 64; cmp esi, 0x21000; jne 2b");
  EXPECT_EQ(count(0x82d0, stores), 64u) << "ALL_STORES";
  EXPECT_EQ(count(0x0151, lines), 64u) << "L1D.REPLACEMENT";
  EXPECT_EQ(count(0x0151, stores), 64u) << "of stores, too";
  EXPECT_EQ(count(0x0151, lines + lines), 64u);
  const Code updates =
      ASM64("mov esi, 0x20000; 2: inc dword ptr [rsi]; add esi, 64; cmp esi, 0x21000; jne 2b");
  EXPECT_EQ(count(0x0151, updates), 64u) << "once for a load and a store";
  // What it counts begins with the next block, at least the one with the loop.
  EXPECT_GE(count(0x0283, ASM64("jmp 2f; .balign 64; 2: nop; jmp 3f; .balign 64; 3: nop")), 1u)
      << "ICACHE_64B.IFTAG_MISS";
  // Code, page walks and stores are requests, too.
  EXPECT_GE(count(0x412e, lines), 64u);
  EXPECT_LE(count(0x412e, lines), 90u);
  EXPECT_EQ(count(0x412e, lines + lines), count(0x4f2e, lines + lines)) << "all miss at first";
  EXPECT_GE(count(0xff24, lines), count(0x3f24, lines));
  const Code say = ASM64("mov eax, 10; cpuid; mov eax, ebx; out 0xf4, eax");
  EXPECT_EQ(run(say).code, status(0));
}

TEST_F(CountingCore, PageWalks) {
  // 64 pages of the first 2 MiB that nothing else uses, and stores to the same.
  const Code loads = ASM64(
      "mov esi, 0x20000; 2: mov eax, [rsi]; add esi, 0x1000; "
      "cmp esi, 0x60000; jne 2b");
  const Code stores = ASM64(
      "mov esi, 0x20000; 2: mov [rsi], eax; add esi, 0x1000; "
      "cmp esi, 0x60000; jne 2b");
  EXPECT_EQ(count(0x0108, loads), 64u);
  EXPECT_EQ(count(0x0208, loads), 64u) << "completed, 4-KByte pages";
  EXPECT_EQ(count(0x0408, loads), 0u);
  EXPECT_EQ(count(0x0149, loads), 0u);
  EXPECT_EQ(count(0x0e49, stores), 64u);
  const uint32_t cycles = count(0x1008, loads);
  EXPECT_GE(cycles, 64u * 10);
  EXPECT_LE(cycles, 64u * 300);
  EXPECT_EQ(count(0x104f, loads), 0u) << "there is no EPT";
  const Code large = ASM64("mov esi, 0x200000; mov eax, [rsi]");
  EXPECT_EQ(count(0x0408, large), 1u) << "a 2-MByte page";
  put_code(0x10d000, ASM64("ret"));
  const Code call = ASM64("mov eax, 0x10d000; call rax");
  EXPECT_EQ(count(0x0e85, call), 1u) << "the page of code";
  const Code load_and_call = ASM64("mov eax, 0x10d000; mov cl, [rax]; call rax");
  EXPECT_EQ(count(0x0e85, load_and_call), 0u);
  EXPECT_EQ(count(0x2085, load_and_call), 1u) << "in the second level, as data";
}

TEST_F(CountingCore, FastHasNoneOfThem) {
  config_.processor.timing = TimingModel::kFast;
  EXPECT_EQ(count(0xc4, ASM64("mov ebp, 50; 2: dec ebp; jne 2b")), 0u);
}

TEST_F(CountingCore, CpuidSaysSo) {
  const Code leaf = ASM64("mov eax, 10; cpuid; shr eax, 24; shl eax, 8; or eax, ebx");
  EXPECT_EQ(run(leaf + exit_with_eax()).code, status(0x718));
  config_.processor.timing = TimingModel::kFast;
  EXPECT_EQ(run(leaf + exit_with_eax()).code, status(0x300));
}

TEST_F(CountingCore, AnOverflowInterrupts) {
  handle(0x50, ASM64("mov eax, [rbx + 0x340]") + exit_with_eax());
  const Code code = enable_apic() + apic_write(0x340, 0x50) + write_msr(0xc1, 0xffffff00) +
                    write_msr(0x186, 0xc4 | kAnyLevel | kInterrupt) + ASM64("sti; 2: jmp 2b");
  EXPECT_EQ(run(code).code, status(0x10050));
}

TEST_F(CountingMachine, AHaltedProcessorCountsNoCycles) {
  // The APIC timer wakes it after a million cycles.
  handle(0x51, read_counter(0) + exit_with_eax());
  const Code code = enable_apic() + apic_write(0x3e0, 0xb) + apic_write(0x320, 0x51) +
                    apic_write(0x380, 1'000'000) + write_msr(0x186, kCycles | kAnyLevel) +
                    ASM64("sti; hlt");
  const RunResult result = run(code);
  ASSERT_EQ(result.kind, RunResult::Kind::kDebugExit) << result.detail;
  EXPECT_GT(result.cycles, 1'000'000u);
  EXPECT_LT(result.code >> 1, 1000u);
}

}  // namespace
}  // namespace nestor::emu
