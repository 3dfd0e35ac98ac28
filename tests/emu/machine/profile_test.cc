// SPDX-License-Identifier: GPL-2.0-or-later
//
// Profiles of whole runs: every cycle counts once, in the calls that led there.
#include <map>
#include <string>

#include "emu/memory/archive.h"
#include "emu/profile/profiler.h"
#include "tests/emu/l0/nested_machine_fixture.h"

namespace nestor::emu {
namespace {

using profile::CallTree;
using profile::Cost;
using testing::AllOf;
using testing::Contains;
using testing::HasSubstr;
using testing::Key;
using testing::Not;

class ProfiledRuns : public NestedMachineTest, public testing::WithParamInterface<TimingModel> {
 protected:
  static constexpr uint64_t kOuter = kCode + 0x400, kInner = kCode + 0x800;
  using Stacks = std::map<std::string, Cost>;

  ProfiledRuns() {
    config_.processor.timing = GetParam();
    config_.processor.type = vmx::processor_of(vmx::Generation::kSkylake);
    wrap_ = [this](MachineOutputs outputs) {
      using profile::Symbol;
      const auto table = [] {
        return profile::SymbolTable({{kCode, kCode + 0x400, "main"},
                                     {kOuter, kOuter + 0x400, "outer"},
                                     {kInner, kInner + 0x400, "inner"},
                                     {kHandlers, kHandlers + 0x4000, "handler"},
                                     {kExitHandler, kExitHandler + 0x1000, "exits"}});
      };
      profiler_.emplace(table(), profile::SymbolTable({{kGuest, kGuest + 0x1000, "guest"}}));
      outputs.profiler = &*profiler_;
      return outputs;
    };
  }

  // What is called three times, with an interrupt now and then.
  void put_calls() {
    handle(0x40, end_of_interrupt() + ASM64("iretq"));
    put_code(kOuter, ASM64("imul rax, rax; mov edx, 0x100800; call rdx; add rax, 3; ret"));
    put_code(kInner, ASM64("mov [0x80000], rax; imul rax, rcx; ret"));
    put_code(kCode, enable_apic() + apic_write(0x3e0, 0xb) + apic_write(0x320, 0x20040) +
                        apic_write(0x380, 997) +
                        ASM64("sti; mov ecx, 300; 2: mov edx, 0x100400; call rdx; dec ecx; "
                              "jne 2b; mov edx, 0x100800; call rdx") +
                        exit_with(7));
  }

  Stacks stacks() {
    const CallTree& tree = profiler_->tree();
    Stacks stacks;
    for (const CallTree::Node& node : tree.nodes()) {
      if (node.self == Cost{}) continue;
      std::string name = tree.functions()[node.function].name;
      for (profile::NodeId up = node.parent; up != CallTree::kRoot; up = tree.node(up).parent)
        name = tree.functions()[tree.node(up).function].name + ";" + name;
      stacks[name] += node.self;
    }
    return stacks;
  }
  static Cost total(const Stacks& stacks) {
    Cost sum;
    for (const auto& [name, cost] : stacks) sum += cost;
    return sum;
  }
  Cost whole_run() const {
    const RunResult result = machine_->result();
    return {result.cycles, result.instructions};
  }

  std::optional<profile::Profiler> profiler_;
};

INSTANTIATE_TEST_SUITE_P(Timing, ProfiledRuns,
                         testing::Values(TimingModel::kFast, TimingModel::kBlocks),
                         [](const auto& each) {
                           return each.param == TimingModel::kFast ? "Fast" : "Blocks";
                         });

TEST_P(ProfiledRuns, FollowCallsAndInterrupts) {
  put_calls();
  EXPECT_EQ(run().code, status(7));
  const Stacks found = stacks();
  EXPECT_EQ(total(found), whole_run());
  ASSERT_THAT(found, AllOf(Contains(Key("L1;main")), Contains(Key("L1;main;outer")),
                           Contains(Key("L1;main;outer;inner")), Contains(Key("L1;main;inner")),
                           Contains(Key(HasSubstr("[interrupt 0x40];handler")))));
  EXPECT_EQ(found.at("L1;main;outer").instructions, 300u * 5);
  EXPECT_EQ(found.at("L1;main;outer;inner").instructions, 300u * 3);
  EXPECT_EQ(found.at("L1;main;inner").instructions, 3u);
  for (const auto& [name, cost] : found)
    EXPECT_THAT(name, Not(HasSubstr("handler;"))) << "the handler has returned";
  const CallTree& tree = profiler_->tree();
  Cost by_line;
  for (const CallTree::Line& line : tree.lines()) by_line += line.self;
  EXPECT_EQ(by_line, whole_run());
}

TEST_P(ProfiledRuns, AreTheSameHoweverTheRunStops) {
  put_calls();
  EXPECT_EQ(run().code, status(7));
  const Stacks unbroken = stacks();
  start();
  while (machine_->run_until({.step = true})) continue;
  EXPECT_EQ(stacks(), unbroken);
  start();
  for (uint64_t limit = 100; machine_->run_until({.instructions = limit}); limit += 100) continue;
  EXPECT_EQ(stacks(), unbroken);
}

TEST_P(ProfiledRuns, TakeNoTime) {
  put_calls();
  run();
  const Cost with = whole_run();
  wrap_ = {};
  run();
  EXPECT_EQ(whole_run(), with);
}

TEST_P(ProfiledRuns, ALoadIsNoTime) {
  put_calls();
  start();
  ASSERT_TRUE(machine_->run_until({.instructions = 1000}));
  const auto state = saved_bytes([this](Archive& archive) { machine_->serialize(archive); });
  const Cost until_then = total(stacks());
  ASSERT_TRUE(load_bytes(state, [this](Archive& archive) { machine_->serialize(archive); }));
  EXPECT_EQ(total(stacks()), until_then);
  while (machine_->run_until({})) continue;
  EXPECT_EQ(total(stacks()), whole_run());
  // Another machine, whose clock was at 0.
  machine_ = create();
  ASSERT_TRUE(load_bytes(state, [this](Archive& archive) { machine_->serialize(archive); }));
  EXPECT_EQ(total(stacks()), Cost{});
  while (machine_->run_until({})) continue;
  EXPECT_EQ(total(stacks()).cycles + until_then.cycles, whole_run().cycles);
}

TEST_P(ProfiledRuns, LevelsAreApart) {
  enable_ept(kEptAccessedDirty);
  put_guest(ASM64("mov ecx, 40; 2: imul rax, rcx; push rax; pop rdx; dec ecx; jne 2b; cpuid"),
            resume_until(8, exit_with(8)));
  put_code(kCode, launch());
  EXPECT_EQ(run().code, status(8));
  const Stacks found = stacks();
  EXPECT_EQ(total(found), whole_run());
  EXPECT_THAT(
      found, AllOf(Contains(Key("L2;guest")), Contains(Key("L1;main")), Contains(Key("L1;exits")),
                   Contains(Key("L1;main;[VM entry]")), Contains(Key("L1;main;[VM exit: CPUID]"))));
}

TEST_P(ProfiledRuns, OfSeveralProcessorsAreByProcessor) {
  config_.processor.count = 2;
  put_code(0x30000, ASM16("2: mov cx, 9; 3: add ax, cx; loop 3b; jmp 2b"));
  put_code(kCode, enable_apic() + apic_write(0x310, 1u << 24) + apic_write(0x300, 0x4500) +
                      apic_write(0x300, 0x4630) +
                      ASM64("mov ecx, 30000; 2: imul rax, rcx; nop; dec ecx; jne 2b") +
                      exit_with(7));
  EXPECT_EQ(run().code, status(7));
  const Stacks found = stacks();
  EXPECT_EQ(total(found), whole_run());
  ASSERT_THAT(found,
              AllOf(Contains(Key("L1 processor 0;main")), Contains(Key("L1 processor 1;0x30000"))));
  EXPECT_GE(found.at("L1 processor 0;main").instructions, 4u * 30'000);
}

TEST_P(ProfiledRuns, WaitingIsNoFunction) {
  handle(0x40, end_of_interrupt() + exit_with(7));
  put_code(kCode, enable_apic() + apic_write(0x3e0, 0xb) + apic_write(0x320, 0x40) +
                      apic_write(0x380, 100'000) + ASM64("sti; hlt"));
  EXPECT_EQ(run().code, status(7));
  const Stacks found = stacks();
  EXPECT_EQ(total(found), whole_run());
  ASSERT_THAT(found, Contains(Key("[waiting]")));
  EXPECT_GT(found.at("[waiting]").cycles, 90'000u);
}

}  // namespace
}  // namespace nestor::emu
