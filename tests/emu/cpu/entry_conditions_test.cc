// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/cpu/entry_conditions.h"

#include <algorithm>
#include <random>

#include "emu/cpu/memory_accesses.h"
#include "tests/emu/engine/unicorn/engine_fixture.h"

namespace nestor::emu {
namespace {

bool all_hold(const EntryConditions& conditions, const vmx::CpuState& state) {
  EntryValues values{};
  std::ranges::copy(state.gpr, values.begin());
  values[EntryCondition::kRflags] = state.rflags;
  values[EntryCondition::kFcw] = 0x37f;
  return std::ranges::all_of(conditions,
                             [&](const EntryCondition& one) { return one.holds(values); });
}

class ConditionsTest : public EngineTest {
 protected:
  std::optional<unsigned> find(const Code& code, const vmx::CpuState& state,
                               EntryConditions& conditions) {
    return find_entry_conditions(decoder_, code, state.segment[vmx::kCs].base + state.rip, state,
                                 false, conditions);
  }
};

TEST_F(ConditionsTest, FlatSegmentsDemandNothing) {
  for (const vmx::CpuState& state : {long_mode(), compatibility_mode(), protected_mode()}) {
    EntryConditions conditions;
    EXPECT_EQ(find(ASM32("mov eax, [ecx]; push eax; add [esi + 4], edx"), state, conditions),
              std::nullopt);
    EXPECT_TRUE(conditions.empty());
  }
  // With 0F, which an aligned operand would have; in 64-bit mode no segment is asked.
  vmx::CpuState state = long_mode();
  for (vmx::Segment& segment : state.segment) segment.limit = 0;
  EntryConditions conditions;
  EXPECT_EQ(find(ASM64("nop; movzx eax, byte ptr [rcx]; mov [rcx + rsi*2], al; movups [rdi], xmm0"),
                 state, conditions),
            std::nullopt);
  EXPECT_TRUE(conditions.empty());
}

// Of one instruction: the conditions hold exactly where it breaks no rule.
TEST_F(ConditionsTest, OfOneInstructionAgreeWithTheRules) {
  const Code kNarrow[] = {
      ASM32("mov al, [ecx]"),
      ASM32("mov [ecx + 8], ax"),
      ASM32("mov eax, [ecx + esi*2 + 3]"),
      ASM32("add [edi], eax"),
      ASM32("push eax"),
      ASM32("pop ecx"),
      ASM32("pop dword ptr [esp + 4]"),
      ASM32("push dword ptr [ecx]"),
      ASM32("pushad"),
      ASM32("popad"),
      ASM32("leave"),
      ASM32("enter 4, 2"),
      ASM32("movsd"),
      ASM32("cmpsw"),
      ASM32("mov eax, es:[ecx]"),
      ASM32("mov eax, ss:[ecx]"),
      ASM32("mov cs:[ecx], eax"),
      ASM32("mov eax, [si]"),
      ASM32("mov [bp + 2], cx"),
      ASM32("movaps xmm0, [ecx]"),
      ASM32("movups [ecx], xmm0"),
      ASM32("fld tbyte ptr [ecx]"),
      ASM32("call 2f; 2:"),
      ASM32("ret"),
  };
  auto random = [engine = std::mt19937(1)]() mutable { return static_cast<uint32_t>(engine()); };
  unsigned broken = 0, kept = 0;
  for (unsigned round = 0; round < 20'000; ++round) {
    vmx::CpuState state = protected_mode();
    constexpr uint32_t kRights[] = {
        0xc093, 0xc091, 0xc097, 0x4097, 0x97, 0xc09b, 0xc099, 0x93, vmx::AccessRights::kUnusable};
    constexpr uint32_t kLimits[] = {0xf, 0xfff, 0xffff, 0xfffff, 0xffffffff};
    for (auto segment : {vmx::kEs, vmx::kSs, vmx::kDs}) {
      state.segment[segment] = {8, vmx::AccessRights{kRights[random() % std::size(kRights)]},
                                kLimits[random() % std::size(kLimits)],
                                random() % 4 == 0 ? random() : 0};
    }
    for (unsigned i = 0; i < 8; ++i) {
      const uint32_t near = kLimits[random() % std::size(kLimits)] - random() % 24 + 8;
      state.gpr[i] = random() % 3 == 0 ? random() : near;
    }
    const Code& code = kNarrow[random() % std::size(kNarrow)];
    const auto instruction = decoder_.decode(code, CodeMode::k32);
    ASSERT_TRUE(instruction);
    EntryConditions conditions;
    ASSERT_EQ(find(code, state, conditions), std::nullopt);
    const bool holds = all_hold(conditions, state);
    const bool breaks = broken_rule(state, *instruction).has_value();
    // The end of 4 GBytes is watched by its page.
    const MemoryAccesses accesses = memory_accesses(state, *instruction);
    const bool wraps = std::ranges::any_of(accesses, [&](const MemoryAccess& access) {
      return access.offset + access.size > 0x1'0000'0000 && state.segment[access.segment].base == 0;
    });
    ASSERT_TRUE(holds == !breaks || (wraps && breaks))
        << instruction->text.data() << " round " << round;
    ++(breaks ? broken : kept);
  }
  EXPECT_GT(broken, 3000u);
  EXPECT_GT(kept, 3000u);
}

// Of a block: what they say at its entry is what the addresses are once it gets there.
TEST_F(ConditionsTest, FollowTheRegistersThroughABlock) {
  const Code kSteps[] = {
      ASM64("add rcx, 8"),
      ASM64("sub rcx, 24"),
      ASM64("inc rcx"),
      ASM64("dec esi"),
      ASM64("mov rcx, rsi"),
      ASM64("mov ecx, edi"),
      ASM64("mov esi, 0x21010"),
      ASM64("lea rcx, [rsi + 8]"),
      ASM64("lea rdi, [rcx - 16]"),
      ASM64("and rcx, -16"),
      ASM64("and rsi, -32"),
      ASM64("push rax"),
      ASM64("pop rdx"),
      ASM64("nop"),
      ASM64("add cl, 16"),
      ASM64("xor eax, eax"),
      ASM64("lea rcx, [rsi + rdi]"),
      ASM64("shl rcx, 1"),
      ASM64("xchg rcx, rsi"),
      ASM64("mov cl, 0x10"),
      ASM64("mul rcx"),
  };
  const Code kUses[] = {ASM64("movaps xmm0, [rcx]"), ASM64("movaps [rsi + 8], xmm0"),
                        ASM64("addps xmm1, [rcx + rsi*2]"), ASM64("movdqa xmm2, [rsp - 8]"),
                        ASM64("movaps xmm3, [rdi - 24]")};
  auto random = [engine = std::mt19937(2)]() mutable { return static_cast<uint32_t>(engine()); };
  unsigned aligned = 0, misaligned = 0, unknown = 0;
  for (unsigned round = 0; round < 3000; ++round) {
    Code code;
    const unsigned steps = random() % 6;
    for (unsigned i = 0; i < steps; ++i) {
      const Code& step = kSteps[random() % std::size(kSteps)];
      code.insert(code.end(), step.begin(), step.end());
    }
    const auto at = static_cast<unsigned>(code.size());
    const Code& use = kUses[random() % std::size(kUses)];
    code.insert(code.end(), use.begin(), use.end());
    vmx::CpuState state = long_mode();
    for (const auto gpr : {vmx::kRcx, vmx::kRsi, vmx::kRdi}) {
      state.gpr[gpr] = kData + random() % 64 / (random() % 2 ? 1 : 8) * 8;
    }
    state.gpr[vmx::kRsp] = kStack - random() % 4 * 8;
    EntryConditions conditions;
    const auto end = find(code, state, conditions);
    if (end) {
      EXPECT_EQ(*end, at);
      ++unknown;
      continue;
    }
    const bool predicted = all_hold(conditions, state);
    mode_.single_step = true;
    put_code(code);
    for (unsigned i = 0; i < steps; ++i) ASSERT_EQ(run(state).vector, vmx::kDb);
    mode_.single_step = false;
    ASSERT_EQ(state.rip, kCode + at);
    const auto instruction = decoder_.decode(use, CodeMode::k64);
    EXPECT_EQ(predicted, !broken_rule(state, *instruction)) << testing::PrintToString(code);
    ++(predicted ? aligned : misaligned);
  }
  EXPECT_GT(aligned, 200u);
  EXPECT_GT(misaligned, 200u);
  EXPECT_GT(unknown, 200u);
}

// AL of XLAT and the register of a bit offset move the operand, and no condition speaks of them: a
// block ends before such an instruction, and one that begins with it is stepped.
TEST_F(ConditionsTest, HiddenPartsOfAnAddressAreNotKnown) {
  vmx::CpuState state = protected_mode();
  state.segment[vmx::kDs].limit = 0xffff;
  for (const Code& code :
       {Code(ASM32("xlatb")), Code(ASM32("bt [ecx], eax")), Code(ASM32("bts [ecx], eax")),
        Code(ASM32("btr [ecx + 4], cx")), Code(ASM32("btc [ecx], esi"))}) {
    EntryConditions conditions;
    Code behind = ASM32("nop");
    behind.insert(behind.end(), code.begin(), code.end());
    EXPECT_EQ(find(behind, state, conditions), 1u);
    EXPECT_TRUE(conditions.empty());
    EXPECT_EQ(find(code, state, conditions), std::nullopt);
    EXPECT_FALSE(all_hold(conditions, state));
  }
  EntryConditions conditions;
  EXPECT_EQ(find(ASM32("nop; bts dword ptr [ecx], 3"), state, conditions), std::nullopt);
  EXPECT_FALSE(conditions.empty());
}

TEST_F(ConditionsTest, CodeMustNotRunOverTheLimitOfItsSegment) {
  vmx::CpuState state = protected_mode();
  state.segment[vmx::kCs].limit = kCode + 3;
  EntryConditions conditions;
  EXPECT_EQ(find(ASM32("nop; nop; mov ecx, eax; nop"), state, conditions), 4u);
  EXPECT_EQ(find(ASM32("nop; nop; nop; mov ecx, eax"), state, conditions), 3u);
  state.rip = kCode + 3;
  conditions.clear();
  EXPECT_EQ(find(ASM32("mov ecx, eax"), state, conditions), std::nullopt);
  EXPECT_FALSE(all_hold(conditions, state));
}

// --- in the engine

TEST_F(ConditionsTest, TheEngineStopsBeforeABlockWhoseConditionsDoNotHold) {
  add_conditions = [](EntryConditions& conditions) {
    conditions.push_back({.base = vmx::kRcx,
                          .index = vmx::kRdx,
                          .scale = 4,
                          .constant = 1,
                          .mask = 0xff,
                          .least = 0x10,
                          .most = 0x20});
  };
  put_code(ASM64("nop; nop; hlt"));
  const auto stop_with = [&](uint64_t rcx, uint64_t rdx) {
    vmx::CpuState state = long_mode();
    state.gpr[vmx::kRcx] = rcx;
    state.gpr[vmx::kRdx] = rdx;
    const uint64_t before = context_.instructions;
    const StopKind kind = run(state).kind;
    EXPECT_EQ(state.rip, kCode + (kind == StopKind::kCondition ? 0 : 2));
    EXPECT_EQ(context_.instructions - before, kind == StopKind::kCondition ? 0u : 2u);
    return kind;
  };
  for (unsigned round = 0; round < 2; ++round) {
    EXPECT_EQ(stop_with(0xf, 0), StopKind::kInstruction);
    EXPECT_EQ(stop_with(0xe, 0), StopKind::kCondition);
    EXPECT_EQ(stop_with(0xfff0003, 7), StopKind::kInstruction);
    EXPECT_EQ(stop_with(0xfff0003, 8), StopKind::kCondition);
    mode_.conditions_hold = round == 0;
    EXPECT_EQ(stop_with(0xe, 0), round == 0 ? StopKind::kInstruction : StopKind::kCondition);
    mode_.conditions_hold = false;
  }
}

}  // namespace
}  // namespace nestor::emu
