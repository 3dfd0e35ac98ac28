// SPDX-License-Identifier: GPL-2.0-or-later
//
// Blocks whose bounds are computed by hand.
#include "emu/timing/block_price.h"

#include <gtest/gtest.h>

#include "tests/emu/timing/priced_code.h"

namespace nestor::emu::timing::test {
namespace {

TEST(PredecodeBound, TakesFiveInstructionsACycle) {
  // A window of 16 one-byte instructions takes 4 cycles; 5 of them are 5/16 of it.
  EXPECT_DOUBLE_EQ(bound(repeated(ASM64("nop"), 16), Bound::kPredecode), 4);
  EXPECT_DOUBLE_EQ(bound(repeated(ASM64("nop"), 5), Bound::kPredecode), 1.25);
}

TEST(PredecodeBound, TakesSixteenBytesACycle) {
  // Of 7 bytes: 16 copies are in 7 windows.
  EXPECT_DOUBLE_EQ(bound(ASM64("mov eax, dword ptr [rsp + 0x100]"), Bound::kPredecode), 7.0 / 16);
}

TEST(PredecodeBound, CountsWhatCrossesWindowsTwice) {
  // Two windows of four bytes and 14, each: NOPs and one that ends in the next.
  const Code crossing =
      repeated(ASM64("nop"), 12) + ASM64("mov rax, 0x12345678") + repeated(ASM64("nop"), 13);
  ASSERT_EQ(crossing.size(), 32u);
  // 12 and the opcode, then its end and 13: 13/5 and 14/5, each 3.
  EXPECT_DOUBLE_EQ(bound(crossing, Bound::kPredecode), 6);
}

TEST(PredecodeBound, LengthChangingPrefixesTakeThreeMore) {
  // Four of 4 bytes in a window: 1 + 4 * 3 cycles.
  EXPECT_DOUBLE_EQ(bound(ASM64("add ax, 0x1234"), Bound::kPredecode), 13.0 / 4);
}

TEST(DecodeBound, TakesFourSimpleInstructionsACycle) {
  EXPECT_DOUBLE_EQ(bound(repeated(ASM64("mov eax, ecx"), 6), Bound::kDecode), 1.5);
}

TEST(DecodeBound, TakesOneComplexInstructionACycle) {
  const Code complex = ASM64("add dword ptr [rdi], eax");
  EXPECT_EQ(priced(complex)[0].decoded_uops, 2);
  EXPECT_DOUBLE_EQ(bound(complex, Bound::kDecode), 1);
  EXPECT_DOUBLE_EQ(bound(complex + complex, Bound::kDecode), 2);
  EXPECT_DOUBLE_EQ(bound(complex + repeated(ASM64("nop"), 3), Bound::kDecode), 1);
  // Of 5 micro-operations a cycle, 2 are the first one's.
  EXPECT_DOUBLE_EQ(bound(complex + repeated(ASM64("nop"), 4), Bound::kDecode), 2);
  // Haswell's decoders make 4.
  EXPECT_DOUBLE_EQ(bound(complex + repeated(ASM64("nop"), 3), Bound::kDecode, Generation::kHaswell),
                   2);
}

TEST(DecodeBound, MicrocodeIsIssuedFourACycle) {
  // 57 micro-operations.
  EXPECT_DOUBLE_EQ(bound(ASM64("idiv rcx"), Bound::kDecode), 15);
}

TEST(DecodeBound, SomeProcessorsWaitForAJumpAtTheLastDecoder) {
  // CMOV is always the first.
  const Code code = ASM64("cmovz eax, ecx; nop; nop; cmp eax, ecx");
  EXPECT_DOUBLE_EQ(bound(code, Bound::kDecode, Generation::kSkylake), 1);
  EXPECT_DOUBLE_EQ(bound(code, Bound::kDecode, Generation::kBroadwell), 2);
}

TEST(DecodeBound, CmovIsComplex) {
  EXPECT_DOUBLE_EQ(bound(ASM64("cmovz eax, ecx"), Bound::kDecode), 1);
  EXPECT_EQ(priced(ASM64("cmovz eax, ecx"))[0].decoded_uops, 1);
}

TEST(IssueBound, CountsFusedMicroOperations) {
  EXPECT_DOUBLE_EQ(bound(repeated(ASM64("nop"), 6), Bound::kIssue), 1.5);
  EXPECT_DOUBLE_EQ(bound(repeated(ASM64("nop"), 6), Bound::kIssue, Generation::kIceLake), 1.2);
  EXPECT_DOUBLE_EQ(bound(ASM64("add eax, dword ptr [rdi]"), Bound::kIssue), 0.25);
  EXPECT_DOUBLE_EQ(bound(ASM64("mov dword ptr [rdi], eax"), Bound::kIssue), 0.25);
  EXPECT_DOUBLE_EQ(bound(ASM64("add dword ptr [rdi], eax"), Bound::kIssue), 0.5);
  EXPECT_DOUBLE_EQ(bound(ASM64("setz byte ptr [rdi]"), Bound::kIssue), 0.5);
  EXPECT_DOUBLE_EQ(bound(ASM64("push rax; pop rcx"), Bound::kIssue), 0.5);
}

TEST(IssueBound, TakesIndexedMicroOperationsApart) {
  const auto issued = [](const Code& code) { return priced(code)[0].issued_uops; };
  EXPECT_EQ(issued(ASM64("add eax, dword ptr [rdi + rsi]")), 1);
  EXPECT_EQ(issued(ASM64("mov eax, dword ptr [rdi + rsi]")), 1);
  EXPECT_EQ(issued(ASM64("cmp eax, dword ptr [rdi + rsi]")), 2);
  EXPECT_EQ(issued(ASM64("test dword ptr [rdi + rsi], eax")), 2);
  EXPECT_EQ(issued(ASM64("mov dword ptr [rdi + rsi], eax")), 2);
  EXPECT_EQ(issued(ASM64("adc eax, dword ptr [rdi + rsi]")), 2);
  EXPECT_EQ(issued(ASM64("addps xmm0, [rdi + rsi]")), 1);
  EXPECT_EQ(issued(ASM64("vaddps xmm0, xmm0, [rdi + rsi]")), 2);
  EXPECT_EQ(issued(ASM64("pabsd xmm0, [rdi + rsi]")), 2);
}

TEST(PortsBound, IsTheBusiestSetOfPorts) {
  EXPECT_DOUBLE_EQ(bound(ASM64("imul rax, rcx, 3; imul rdx, rcx, 3"), Bound::kPorts), 2);
  EXPECT_DOUBLE_EQ(bound(ASM64("mov eax, [rdi]; mov ecx, [rdi]; mov edx, [rdi]"), Bound::kPorts),
                   1.5);
  EXPECT_DOUBLE_EQ(bound(ASM64("mov [rdi], eax; mov [rdi + 4], ecx"), Bound::kPorts), 2);
  EXPECT_DOUBLE_EQ(
      bound(ASM64("mov [rdi], eax; mov [rdi + 4], ecx"), Bound::kPorts, Generation::kIceLake), 1);
  // Port 6 or 0 for three, port 1 for one, any of 0, 1, 5 and 6 for four: the first are the bound,
  const Code shifts = ASM64("shl rax, 1; shl rcx, 1; shl rdx, 1; imul rsi, rdi, 3");
  EXPECT_DOUBLE_EQ(bound(shifts, Bound::kPorts), 1.5);
  EXPECT_EQ(block_price(shifts).busiest_ports, 1u << 0 | 1u << 6);
  // until all eight are.
  const Code more = shifts + repeated(ASM64("add r8, 1"), 4);
  EXPECT_DOUBLE_EQ(bound(more, Bound::kPorts), 2);
}

TEST(PortsBound, IndexedStoresTakeALoadPort) {
  const Code store = ASM64("mov [rdi + rsi], eax; mov ecx, [rdi]; mov edx, [rdi]");
  EXPECT_DOUBLE_EQ(bound(store, Bound::kPorts), 1.5);
  EXPECT_DOUBLE_EQ(bound(store, Bound::kPorts, Generation::kIceLake), 1);
}

TEST(PortsBound, LockedInstructionsDoNotOverlap) {
  EXPECT_DOUBLE_EQ(bound(ASM64("lock add [rdi], eax"), Bound::kPorts), 18);
  EXPECT_DOUBLE_EQ(bound(ASM64("xchg [rdi], eax"), Bound::kPorts), 18);
  EXPECT_DOUBLE_EQ(bound(ASM64("pause"), Bound::kPorts), 140);
}

TEST(LatencyBound, IsTheLongestCycle) {
  EXPECT_DOUBLE_EQ(latency(ASM64("add rax, rcx")), 1);
  EXPECT_DOUBLE_EQ(latency(ASM64("imul rax, rax")), 3);
  EXPECT_DOUBLE_EQ(latency(ASM64("imul rax, rcx; imul rcx, rax")), 6);
  EXPECT_DOUBLE_EQ(latency(ASM64("lea rax, [rcx + 1]")), 0);
  // A list through its own base register: the shortest latency, where the processor has one.
  EXPECT_DOUBLE_EQ(latency(ASM64("mov rax, [rax]")), 4);
  EXPECT_DOUBLE_EQ(latency(ASM64("mov rax, [rax]"), Generation::kIceLake), 5);
  EXPECT_DOUBLE_EQ(latency(ASM64("mov rax, [rax + rcx]")), 5);
  // Two executions go round: a register goes to the other one and back.
  EXPECT_DOUBLE_EQ(latency(ASM64("imul rdx, rax, 3; imul rax, rcx, 3; lea rcx, [rdx + 0]")), 3.5);
}

TEST(LatencyBound, GoesThroughFlagsOneByOne) {
  EXPECT_DOUBLE_EQ(latency(ASM64("adc rax, rcx")), 1);
  EXPECT_DOUBLE_EQ(latency(ASM64("adc rax, rcx"), Generation::kHaswell), 2);
  // INC leaves CF alone, which ADC goes on with; ADD writes it.
  EXPECT_DOUBLE_EQ(latency(ASM64("imul rdx, rdx; adc rax, 0; inc rcx; adc rbx, 0")), 3);
  EXPECT_DOUBLE_EQ(latency(ASM64("lea rax, [rax + 1]; cmovb rcx, rdx; inc rax")), 2);
  EXPECT_DOUBLE_EQ(latency(ASM64("setz al; cmp al, 1")), 2);
}

TEST(LatencyBound, PartialWritesWaitForTheRest) {
  EXPECT_DOUBLE_EQ(latency(ASM64("mov al, cl")), 1);
  EXPECT_DOUBLE_EQ(latency(ASM64("mov eax, 1")), 0);
}

TEST(LatencyBound, LoadsWaitForStoresToTheSameAddress) {
  EXPECT_DOUBLE_EQ(latency(ASM64("mov [rdi], rax; mov rax, [rdi]")), 4);
  EXPECT_DOUBLE_EQ(latency(ASM64("mov [rdi], rax; mov rax, [rdi]"), Generation::kHaswell), 5);
  EXPECT_DOUBLE_EQ(latency(ASM64("mov [rdi], rax; mov rax, [rdi + 8]")), 0);
  EXPECT_DOUBLE_EQ(latency(ASM64("mov [rdi], rax; mov rax, [rsi]")), 0);
  EXPECT_DOUBLE_EQ(latency(ASM64("add dword ptr [rdi], 1")), 5);
  // The next execution is elsewhere.
  EXPECT_DOUBLE_EQ(latency(ASM64("add dword ptr [rdi], 1; add rdi, 4")), 1);
  // The same address by another way: sums of registers are followed,
  EXPECT_DOUBLE_EQ(latency(ASM64("lea rsi, [rdi + 8]; mov [rsi], rax; mov rax, [rdi + 8]")), 4);
  EXPECT_DOUBLE_EQ(latency(ASM64("push rax; pop rax")), 4);
  EXPECT_DOUBLE_EQ(latency(ASM64("push rax; push rcx; pop rcx; pop rax")), 4);
  // and a pointer that is loaded is the same as long as nothing is stored there.
  EXPECT_DOUBLE_EQ(latency(ASM64("mov rdx, [rsp]; add dword ptr [rdx], 1")), 5);
}

TEST(Idioms, ZeroingIsNotExecuted) {
  for (const Code& code : {ASM64("xor eax, eax"), ASM64("sub r9, r9"), ASM64("pxor xmm3, xmm3"),
                           ASM64("vxorps ymm1, ymm2, ymm2"), ASM64("psubd xmm0, xmm0")}) {
    const InstructionPrice price = priced(code)[0];
    EXPECT_TRUE(price.eliminated);
    EXPECT_EQ(price.use_count, 0);
    EXPECT_EQ(price.issued_uops, 1);
    EXPECT_DOUBLE_EQ(latency(code), 0);
  }
  EXPECT_DOUBLE_EQ(latency(ASM64("imul rax, rax; xor eax, eax")), 0);
  for (const Code& code : {ASM64("xor eax, ecx"), ASM64("xor al, al"), ASM64("pxor xmm0, xmm1"),
                           ASM64("vxorps ymm1, ymm1, ymm2"), ASM64("and eax, eax")}) {
    EXPECT_FALSE(priced(code)[0].eliminated);
  }
}

TEST(Idioms, SomeBreakTheDependencyAlone) {
  const Code ones = ASM64("pcmpeqd xmm1, xmm1");
  EXPECT_TRUE(priced(ones)[0].breaks_dependency);
  EXPECT_EQ(priced(ones)[0].use_count, 1);
  EXPECT_DOUBLE_EQ(latency(ones), 0);
}

TEST(Idioms, MovesAreEliminated) {
  const auto eliminated = [](const Code& code, Generation generation) {
    return priced(code, generation)[0].eliminated;
  };
  for (const Code& code : {ASM64("mov rax, rcx"), ASM64("mov eax, r9d"), ASM64("movzx eax, cl"),
                           ASM64("movzx eax, sil")}) {
    EXPECT_TRUE(eliminated(code, Generation::kSkylake));
    EXPECT_FALSE(eliminated(code, Generation::kIceLake));  // erratum ICL065
  }
  for (const Code& code :
       {ASM64("movaps xmm0, xmm1"), ASM64("movdqu xmm0, xmm9"), ASM64("vmovdqa ymm0, ymm1")}) {
    EXPECT_TRUE(eliminated(code, Generation::kHaswell));
    EXPECT_TRUE(eliminated(code, Generation::kIceLake));
  }
  for (const Code& code : {ASM64("mov rax, rax"), ASM64("mov ax, cx"), ASM64("movzx eax, ch"),
                           ASM64("movzx eax, cx"), ASM64("movss xmm0, xmm1")}) {
    EXPECT_FALSE(eliminated(code, Generation::kSkylake));
  }
}

TEST(Idioms, SomeWaitForADestinationThatTheyDoNotRead) {
  EXPECT_DOUBLE_EQ(latency(ASM64("popcnt rax, rcx"), Generation::kSkylake), 3);
  EXPECT_DOUBLE_EQ(latency(ASM64("popcnt rax, rcx"), Generation::kIceLake), 0);
  EXPECT_DOUBLE_EQ(latency(ASM64("tzcnt rax, rcx"), Generation::kHaswell), 3);
  EXPECT_DOUBLE_EQ(latency(ASM64("tzcnt rax, rcx"), Generation::kSkylake), 0);
}

TEST(Idioms, LeaOfThreeComponentsIsSlow) {
  const Code three = ASM64("lea rax, [rax + rcx + 8]");
  EXPECT_DOUBLE_EQ(latency(three), 3);
  EXPECT_EQ(ports_of(priced(three)[0]), "1");
  EXPECT_DOUBLE_EQ(latency(three, Generation::kIceLake), 1);
  EXPECT_DOUBLE_EQ(latency(ASM64("lea rax, [rax + rcx]")), 1);
  EXPECT_DOUBLE_EQ(latency(ASM64("lea rax, [rax + 8]")), 1);
  EXPECT_EQ(priced(ASM64("lea rax, [rip + 8]"))[0].latency, 3);
}

TEST(MacroFusion, PairsAreOneMicroOperation) {
  const auto fused = [](const Code& code) { return priced(code)[0].fuses_with_next; };
  EXPECT_TRUE(fused(ASM64("2: cmp rax, rcx; jne 2b")));
  EXPECT_TRUE(fused(ASM64("2: test eax, eax; js 2b")));
  EXPECT_TRUE(fused(ASM64("2: dec rcx; jnz 2b")));
  EXPECT_TRUE(fused(ASM64("2: cmp rax, [rdi]; ja 2b")));
  EXPECT_TRUE(fused(ASM64("2: sub eax, 4; jb 2b")));
  EXPECT_FALSE(fused(ASM64("2: cmp rax, rcx; js 2b")));
  EXPECT_FALSE(fused(ASM64("2: dec rcx; jb 2b")));
  EXPECT_FALSE(fused(ASM64("2: cmp dword ptr [rdi], 4; jne 2b")));
  EXPECT_FALSE(fused(ASM64("2: add [rdi], eax; jne 2b")));
  EXPECT_FALSE(fused(ASM64("2: or eax, ecx; jne 2b")));
  EXPECT_FALSE(fused(ASM64("2: cmp rax, rcx; jmp 2b")));

  const Code pair = ASM64("2: cmp rax, rcx; jne 2b");
  EXPECT_DOUBLE_EQ(bound(pair, Bound::kIssue), 0.25);
  EXPECT_DOUBLE_EQ(bound(pair, Bound::kDecode), 1);  // nothing is decoded after a jump
  EXPECT_EQ(ports_of(priced(pair)[0]), "06");
  EXPECT_EQ(priced(pair)[1].use_count, 0);
}

TEST(Loops, ComeFromTheDecodedICache) {
  const Code loop = ASM64("2: dec rcx; jnz 2b");
  const BlockPrice skylake = block_price(loop, Generation::kSkylake, Repetition::kLooped);
  EXPECT_TRUE(skylake.applies[static_cast<size_t>(Bound::kDsb)]);
  EXPECT_FALSE(skylake.applies[static_cast<size_t>(Bound::kDecode)]);
  EXPECT_DOUBLE_EQ(skylake.cycles(), 1);
  // 12 of 3 bytes: 2 cycles of 6 where they are delivered from several lines.
  const Code longer = repeated(ASM64("mov eax, [rdi]; add ecx, 1"), 6) + ASM64("2: jmp 2b");
  EXPECT_DOUBLE_EQ(bound(longer, Bound::kDsb, Generation::kSkylake, Repetition::kLooped), 13.0 / 6);
  EXPECT_DOUBLE_EQ(bound(longer, Bound::kDsb, Generation::kHaswell, Repetition::kLooped), 13.0 / 4);
}

TEST(Loops, ComeFromTheLoopStreamDetectorWhereThereIsOne) {
  // 5 micro-operations, unrolled 8 times: 40 in 10 cycles.
  const Code loop = repeated(ASM64("mov eax, ecx"), 4) + ASM64("2: jmp 2b");
  const BlockPrice haswell = block_price(loop, Generation::kHaswell, Repetition::kLooped);
  EXPECT_TRUE(haswell.applies[static_cast<size_t>(Bound::kLsd)]);
  EXPECT_DOUBLE_EQ(haswell.bound[static_cast<size_t>(Bound::kLsd)], 1.25);
  const BlockPrice skylake = block_price(loop, Generation::kSkylake, Repetition::kLooped);
  EXPECT_FALSE(skylake.applies[static_cast<size_t>(Bound::kLsd)]);
}

TEST(Loops, AJumpAtTheEndOfThirtyTwoBytesIsDecodedAgain) {
  const auto legacy = [](const Code& code, Generation generation) {
    return block_price(code, generation, Repetition::kLooped)
        .applies[static_cast<size_t>(Bound::kDecode)];
  };
  const Code crossing = repeated(ASM64("nop"), 29) + ASM64("2: cmp rax, rcx; jne 2b");
  const Code within = repeated(ASM64("nop"), 20) + ASM64("2: cmp rax, rcx; jne 2b");
  EXPECT_TRUE(legacy(crossing, Generation::kSkylake));
  EXPECT_FALSE(legacy(within, Generation::kSkylake));
  EXPECT_FALSE(legacy(crossing, Generation::kIceLake));
}

TEST(BlockPrices, OtherModesArePriced) {
  const auto price =
      priced(ASM32("push eax; inc ecx; mov eax, [ebx + 4]"), Generation::kSkylake, CodeMode::k32);
  ASSERT_EQ(price.size(), 3u);
  for (const InstructionPrice& one : price) EXPECT_FALSE(one.default_priced);
  EXPECT_EQ(price[0].address.offset, -4);
}

TEST(BlockPrices, TheBottleneckIsTheLargestThatApplies) {
  const BlockPrice price = block_price(ASM64("imul rax, rax"));
  EXPECT_EQ(price.bottleneck(), Bound::kLatency);
  EXPECT_DOUBLE_EQ(price.cycles(), 3);
  EXPECT_EQ(name_of(Bound::kLatency), "latency");
}

}  // namespace
}  // namespace nestor::emu::timing::test
