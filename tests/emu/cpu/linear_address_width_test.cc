// SPDX-License-Identifier: GPL-2.0-or-later
//
// How wide the linear addresses are that the processor itself holds and uses. Registers hold 57
// bits in any paging mode; RIP and what accesses memory have 48 bits unless CR4.LA57 is 1.
#include "tests/emu/cpu/instruction_fixture.h"
#include "tests/emu/machine/machine_fixture.h"

namespace nestor::emu {
namespace {

using test::enter_64bit_mode;
using vmx::kRax;
using vmx::kRcx;
using vmx::kRdi;
using vmx::kRdx;

// Canonical at 48 bits, at 57 bits only, and at neither.
constexpr uint64_t kNarrow[] = {0x7fff'ffff'f000, 0xffff'8000'0000'0000},
                   kWide[] = {0x0000'8000'0000'0000, 0x00ff'ffff'ffff'f000, 0xff00'0000'0000'0000,
                              0xffff'7fff'ffff'f000},
                   kNever[] = {0x0100'0000'0000'0000, 0xfeff'ffff'ffff'f000};

class LinearAddressWidth : public test::InstructionTest {
 protected:
  static constexpr uint64_t kOperand = 0x9000;

  enum class Width : uint8_t { kOfThePaging, kOfTheProcessor };

  // `code` with `prepare(address)` done before: #GP unless the address is as wide as it may be.
  template <class Prepare>
  void expect_width(const test::Bytes& code, Width width, uint32_t error, const Prepare& prepare) {
    for (const bool la57 : {false, true}) {
      const auto faults = [&](uint64_t address) {
        enter_64bit_mode(core);
        cpu.cr4 |= vmx::cr4::kFsgsbase | vmx::cr4::kPcide | (la57 ? vmx::cr4::kLa57 : 0);
        cpu.gpr[kRdi] = kOperand;
        prepare(address);
        const Outcome outcome = run(code);
        const auto* event = std::get_if<vmx::Event>(&outcome);
        if (event != nullptr) {
          EXPECT_EQ(int{event->vector}, int{vmx::kGp});
          EXPECT_EQ(event->error_code, error);
        }
        return event != nullptr;
      };
      const bool wide = la57 || width == Width::kOfTheProcessor;
      SCOPED_TRACE(testing::PrintToString(code) + (la57 ? " in 5-level paging" : ""));
      for (const uint64_t address : kNarrow) EXPECT_FALSE(faults(address)) << std::hex << address;
      for (const uint64_t address : kWide) EXPECT_EQ(faults(address), !wide) << std::hex << address;
      for (const uint64_t address : kNever) EXPECT_TRUE(faults(address)) << std::hex << address;
    }
  }
};

TEST_F(LinearAddressWidth, OfRegistersIsTheProcessors) {
  constexpr Width kWidth = Width::kOfTheProcessor;
  const auto table = [&](uint64_t address) { core.poke(kOperand + 2, address); };
  expect_width(ASM64("lgdt [rdi]"), kWidth, 0, table);
  expect_width(ASM64("lidt [rdi]"), kWidth, 0, table);
  const auto rax = [&](uint64_t address) { cpu.gpr[kRax] = address; };
  expect_width(ASM64("wrfsbase rax"), kWidth, 0, rax);
  expect_width(ASM64("wrgsbase rax"), kWidth, 0, rax);
  const auto descriptor = [&](uint64_t address) {
    cpu.gpr[kRax] = test::kOtherTss;
    core.poke(test::kGdt + test::kOtherTss,
              test::descriptor(static_cast<uint32_t>(address), 0x67, 0x89, 0));
    core.poke(test::kGdt + test::kOtherTss + 8, address >> 32);
  };
  expect_width(ASM64("ltr ax"), kWidth, test::kOtherTss, descriptor);
  const auto local = [&](uint64_t address) {
    descriptor(address);
    core.poke<uint8_t>(test::kGdt + test::kOtherTss + 5, 0x82);
  };
  expect_width(ASM64("lldt ax"), kWidth, test::kOtherTss, local);
}

TEST_F(LinearAddressWidth, OfInvpcidIsTheProcessors) {
  expect_width(ASM64("invpcid rax, [rdi]"), Width::kOfTheProcessor, 0, [&](uint64_t address) {
    cpu.gpr[kRax] = 0;
    core.poke<uint64_t>(kOperand, 0);
    core.poke(kOperand + 8, address);
  });
}

TEST_F(LinearAddressWidth, OfReturnsIsThePagings) {
  constexpr Width kWidth = Width::kOfThePaging;
  expect_width(ASM64("sysretq"), kWidth, 0, [&](uint64_t address) { cpu.gpr[kRcx] = address; });
  const auto sysexit = [&](uint64_t rip, uint64_t rsp) {
    cpu.sysenter_cs = 8;
    cpu.gpr[kRdx] = rip;
    cpu.gpr[kRcx] = rsp;
  };
  expect_width(ASM64("sysexitq"), kWidth, 0, [&](uint64_t address) { sysexit(address, 0x1000); });
  expect_width(ASM64("sysexitq"), kWidth, 0, [&](uint64_t address) { sysexit(0x1000, address); });
}

// What is no address to the processor, or is looked at 32 bits wide.
TEST_F(LinearAddressWidth, IsNotAskedEverywhere) {
  for (const uint64_t address : kNever) {
    enter_64bit_mode(core);
    cpu.gpr[kRax] = address;
    expect_completed(ASM64("mov dr0, rax"));
    EXPECT_EQ(cpu.dr[0], address);
    expect_completed(ASM64("invlpg [rax]"));
    cpu.gpr[kRcx] = cpu.gpr[kRdx] = address;
    expect_jumped({0x0f, 0x07});  // sysretl
    EXPECT_EQ(cpu.rip, address & 0xffffffff);
  }
}

// --- with paging

class LinearAddressWidthOfTables : public MachineTest {
 protected:
  static constexpr uint64_t kPml5 = 0x30000, kWideBase = 0x00ab'0000'0000'0000;

  LinearAddressWidthOfTables() {
    for (const uint64_t index : {0, 0xab}) put(kPml5 + 8 * index, kPml4 | kAll);
  }
  void use_five_levels() {
    cpu_.cr3 = kPml5;
    cpu_.cr4 |= vmx::cr4::kLa57;
  }
};

// The registers hold such a base; the access to the table is one to a non-canonical address.
TEST_F(LinearAddressWidthOfTables, CountsWhenTheyAreUsed) {
  handle(vmx::kUd, exit_with(6));
  cpu_.idtr.base = kWideBase + kIdt;
  const RunResult four = run(ASM64("ud2"));
  EXPECT_EQ(four.kind, RunResult::Kind::kShutdown);
  ASSERT_GE(record_.exceptions.size(), 2u);
  EXPECT_EQ(record_.exceptions[1], (Exception{vmx::kGp, 0, kCode, 0}));
  use_five_levels();
  EXPECT_EQ(run(ASM64("ud2")).code, status(6));
}

// SYSCALL goes where WRMSR has let it, and the fetch faults.
TEST_F(LinearAddressWidthOfTables, SyscallGoesToAnyTarget) {
  cpu_.star = uint64_t{kCode64} << 32;
  cpu_.lstar = kWideBase + kHandlers + 0x4000;
  put_code(kHandlers + 0x4000, exit_with(7));
  handle(vmx::kGp, exit_with(13));
  EXPECT_EQ(run(ASM64("syscall")).code, status(13));
  EXPECT_THAT(record_.exceptions, testing::ElementsAre(Exception{vmx::kGp, 0, cpu_.lstar, 0}));
  use_five_levels();
  EXPECT_EQ(run(ASM64("syscall")).code, status(7));
}

TEST_F(LinearAddressWidthOfTables, OfAGatesTargetIsThePagings) {
  handle(vmx::kUd, exit_with(6));
  put<uint32_t>(kIdt + 16 * vmx::kUd + 8, kWideBase >> 32);
  handle(vmx::kGp, exit_with(13));
  EXPECT_EQ(run(ASM64("ud2")).code, status(13));
  use_five_levels();
  EXPECT_EQ(run(ASM64("ud2")).code, status(6));
}

// A 64-bit system in the upper half of the address space, and 32-bit code below.
TEST_F(MachineTest, EventsOfCompatibilityModeUseTablesAndStacksBeyond4GBytes) {
  constexpr uint64_t kHigh = 0xffff800000000000;
  put<uint64_t>(kPml4 + 8 * 256, (kPml4 + 0x1000) | kAll);
  cpu_.segment[vmx::kCs] = {0x08, vmx::AccessRights{0xc09b}, 0xffffffff, 0};
  map(kIdt, 0);
  map(0x1ff000, kIdt | kAll);
  cpu_.idtr.base = kHigh + 0x1ff000;
  cpu_.gdtr.base += kHigh;
  cpu_.segment[vmx::kTr].base += kHigh;
  put<uint64_t>(kTss + 0x24, kHigh + kKernelStack);
  handle(vmx::kUd, ASM64("mov rax, rsp; shr rax, 32; out 0xf4, eax"));  // RSP[63:32]
  put<uint8_t>(kIdt + 16 * vmx::kUd + 4, 1);
  put<uint32_t>(kIdt + 16 * vmx::kUd + 8, kHigh >> 32);
  EXPECT_EQ(run(ASM64("ud2")).code, status(kHigh >> 32));
  EXPECT_THAT(record_.exceptions,
              testing::ElementsAre(Exception{vmx::kUd, std::nullopt, kCode, 0}));
}

}  // namespace
}  // namespace nestor::emu
