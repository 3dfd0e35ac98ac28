// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/timing/accumulator.h"

#include <gtest/gtest.h>

#include "tests/emu/timing/priced_code.h"

namespace nestor::emu::timing::test {
namespace {

constexpr uint64_t kAddress = 0x401000;
constexpr RegisterValues kZeros{};

double in_pieces(const Code& code, size_t instructions,
                 Generation generation = Generation::kSkylake,
                 Repetition repetition = Repetition::kUnrolled) {
  return price_in_pieces(priced(code, generation), core_of(generation), repetition, instructions);
}

TEST(Pieces, CutCodeCostsWhatTheWholeDoes) {
  const Code blocks[] = {
      repeated(ASM64("nop"), 14),                                       // predecode, issue
      repeated(ASM64("mov eax, dword ptr [rsp + 0x100]"), 5),           // predecode: bytes
      repeated(ASM64("add ax, 0x1234"), 4),                             // prefixes
      repeated(ASM64("add dword ptr [rdi], eax; nop; add rdi, 8"), 3),  // decode
      repeated(ASM64("cmovz eax, ecx; mov edx, esi"), 4),               // decode
      repeated(ASM64("imul rdx, rcx, 3; mov eax, ecx"), 6),             // a port
      repeated(ASM64("shl rax, 1; shl rcx, 1; imul rsi, rdi, 3; add r8, 1"), 3),
      repeated(ASM64("mov eax, [rdi]; mov ecx, [rsi]"), 5),
      repeated(ASM64("imul rax, rax; nop; nop"), 3),  // latency
      repeated(ASM64("imul rax, rcx; add rcx, rax; mov rdx, rcx"), 3),
      ASM64("mov [rdi], rax; nop; nop; nop; mov rax, [rdi]; nop; nop"),  // through memory
      ASM64("push rax; push rcx; nop; nop; pop rcx; pop rax; imul rax, rcx"),
  };
  for (const Code& code : blocks) {
    const double whole = block_price(code).cycles();
    for (const size_t instructions : {1, 2, 3, 5, 100})
      EXPECT_NEAR(in_pieces(code, instructions), whole, whole * 0.02 + 0.01)
          << "first byte " << int{code[0]} << ", pieces of " << instructions;
  }
}

uint64_t port_ticks(const Piece& piece, unsigned set) {
  uint64_t ticks = 0;
  for (const Piece::PortTime& use : piece.ports) ticks += use.set == set ? use.ticks : 0;
  return ticks;
}

TEST(Pieces, WhatIsTakenOfPortsAddsUp) {
  const auto prices =
      priced(ASM64("shl rax, 1; mov ecx, [rdi]; imul rsi, rdi, 3; mov [rdi], rax; "
                   "add r8, 1; div rcx; addps xmm0, xmm1"));
  const Processor& skylake = core_of(Generation::kSkylake);
  const Piece whole = piece_of(prices, skylake, kAddress);
  for (size_t cut = 0; cut <= prices.size(); ++cut) {
    const Prices all(prices);
    const Piece first = piece_of(all.first(cut), skylake, kAddress);
    const Piece second = piece_of(all.subspan(cut), skylake, kAddress + 7);
    for (unsigned set = 0; set < kPortSets; ++set)
      EXPECT_EQ(port_ticks(first, set) + port_ticks(second, set), port_ticks(whole, set));
    EXPECT_EQ(first.issued_uops + second.issued_uops, whole.issued_uops);
  }
}

TEST(Pieces, EdgesAreTheLongestWays) {
  const auto prices = priced(ASM64("imul rax, rcx; add rax, rdx; mov [rdi + 8], rax"));
  const Dependencies dependencies = dependencies_of(prices);
  const auto cycles = [&](unsigned from, unsigned to) {
    for (const Edge& edge : dependencies.edges)
      if (edge.from == from && edge.to == to) return int{edge.cycles};
    return -1;
  };
  EXPECT_EQ(cycles(vmx::kRax, vmx::kRax), 4);
  EXPECT_EQ(cycles(vmx::kRcx, vmx::kRax), 4);
  EXPECT_EQ(cycles(vmx::kRdx, vmx::kRax), 1);
  EXPECT_EQ(cycles(vmx::kRcx, kCarry), 4);
  EXPECT_EQ(cycles(vmx::kRcx, kFirstPlace), 4);  // what is stored
  EXPECT_EQ(cycles(vmx::kRdi, kFirstPlace), -1);
  EXPECT_EQ(cycles(vmx::kRdx, vmx::kRcx), -1);  // it is not written
  EXPECT_EQ(cycles(kStart, kDone), 4);
  ASSERT_EQ(dependencies.stored.size(), 1u);
  EXPECT_EQ(dependencies.stored[0], (Address{vmx::kRdi, Address::kNone, 1, 8}));
  EXPECT_TRUE(dependencies.loaded.empty());
}

TEST(Pieces, StoresAreForwardedFromPieceToPieceByTheirAddresses) {
  const Processor& skylake = core_of(Generation::kSkylake);
  const auto store = priced(ASM64("imul rax, rcx; mov [rdi], rax"));
  const auto load = priced(ASM64("mov rdx, [rsi + 8]; imul rdx, rdx"));
  const auto time_with = [&](uint64_t stored, uint64_t loaded) {
    Accumulator accumulator(skylake);
    RegisterValues registers{};
    registers[vmx::kRdi] = stored;
    registers[vmx::kRsi] = loaded - 8;
    accumulator.add(piece_of(store, skylake, kAddress), registers.data(), FrontEnd::kDsb);
    accumulator.add(piece_of(load, skylake, kAddress), registers.data(), FrontEnd::kDsb);
    return accumulator.time() / kTicksPerCycle;
  };
  EXPECT_EQ(time_with(0x8000, 0x8000), 3 + 4 + 3u);
  EXPECT_EQ(time_with(0x8000, 0x9000), 5 + 3u);
}

TEST(Pieces, NoMoreThanTheWindowIsUnderWay) {
  // 40 multiplications that wait for each other, 120 cycles; then 400 moves that wait for nothing.
  // While the last multiplication is executed, 39 have retired, and the window is full after it;
  // the rest is issued afterwards.
  const Code code = repeated(ASM64("imul rax, rax"), 40) + repeated(ASM64("mov ecx, edx"), 400);
  EXPECT_DOUBLE_EQ(block_price(code).cycles(), 120);
  EXPECT_NEAR(in_pieces(code, 4), 120 + (440 - 39 - 224) / 4.0, 1);
  EXPECT_NEAR(in_pieces(code, 4, Generation::kHaswell), 120 + (440 - 39 - 192) / 4.0, 1);
}

TEST(Pieces, APrefixCostsNoMoreThanTheWhole) {
  const auto prices =
      priced(ASM64("mov rax, [rdi]; imul rax, rcx; add [rsi], rax; div rcx; nop; "
                   "cmp rax, rdx; jne 2f; 2:"));
  const Processor& skylake = core_of(Generation::kSkylake);
  Ticks before = 0;
  for (size_t n = 0; n <= prices.size(); ++n) {
    Accumulator accumulator(skylake);
    accumulator.add(piece_of(Prices(prices).first(n), skylake, kAddress), kZeros.data(),
                    FrontEnd::kLegacy);
    EXPECT_GE(accumulator.time(), before) << n;
    before = accumulator.time();
  }
  Accumulator whole(skylake);
  whole.add(piece_of(prices, skylake, kAddress), kZeros.data(), FrontEnd::kLegacy);
  EXPECT_EQ(whole.time(), before);
  EXPECT_GT(before, 0u);
}

TEST(Pieces, TheSamePiecesTakeTheSameTime) {
  const Processor& skylake = core_of(Generation::kSkylake);
  const Piece piece =
      piece_of(priced(ASM64("mov rax, [rdi]; imul rax, rcx; mov [rdi], rax")), skylake, kAddress);
  Accumulator first(skylake), second(skylake);
  for (int i = 0; i < 2000; ++i) {
    const Ticks before = first.time();
    RegisterValues registers{};
    registers[vmx::kRdi] = static_cast<uint64_t>(i % 7) * 64;
    first.add(piece, registers.data(), i % 3 == 0 ? FrontEnd::kLegacy : FrontEnd::kDsb);
    second.add(piece, registers.data(), i % 3 == 0 ? FrontEnd::kLegacy : FrontEnd::kDsb);
    EXPECT_GE(first.time(), before);
  }
  EXPECT_EQ(first.time(), second.time());
}

// Of a piece that is left early, what it has not completed leaves no trace.
TEST(Pieces, APieceThatIsReplacedIsForgotten) {
  const Processor& skylake = core_of(Generation::kSkylake);
  const auto prices =
      priced(ASM64("mov rax, [rdi]; imul rax, rcx; mov [rdi + 8], rax; mov [rdi + 0x1008], rcx; "
                   "div rcx; mov [rsi], rdx; addps xmm0, xmm1; add [rsi], rax"));
  const auto piece = [&](size_t count) {
    return piece_of(Prices(prices).first(count), skylake, kAddress);
  };
  RegisterValues registers{};
  registers[vmx::kRdi] = 0x8000;
  registers[vmx::kRsi] = 0x8008;
  Accumulator left(skylake), plain(skylake);
  for (size_t i = 0; i < 3000; ++i) {
    const FrontEnd front_end = i % 3 == 0 ? FrontEnd::kLegacy : FrontEnd::kDsb;
    const size_t completed = i % (prices.size() + 1);
    left.add(piece(prices.size()), registers.data(), front_end);
    left.replace(piece(prices.size()), piece(completed), front_end);
    if (completed != 0) plain.add(piece(completed), registers.data(), front_end);
    ASSERT_EQ(left.time(), plain.time()) << i;
    registers[vmx::kRdi] += 8 * (i % 5);
  }
}

TEST(Pieces, LoopsComeFromTheDecodedICache) {
  // The prefixes cost the predecoder 12 cycles; what is left is the chain through AX.
  const Code loop = repeated(ASM64("add ax, 0x1234"), 4) + ASM64("2: jmp 2b");
  EXPECT_GT(in_pieces(loop, 4), 12);
  EXPECT_NEAR(in_pieces(loop, 4, Generation::kSkylake, Repetition::kLooped), 4, 0.1);
}

TEST(SymbolicState, KnowsSumsAndWhatWasStored) {
  const auto prices =
      priced(ASM64("lea rsi, [rdi + rcx*4 + 8]; add rsi, 4; mov [rsi], rax; "
                   "mov rdx, [rdi + rcx*4 + 12]; mov r8, [rdi + rcx*4 + 12]"));
  SymbolicState state;
  const uint64_t rdi = state.registers()[vmx::kRdi], rcx = state.registers()[vmx::kRcx];
  state.execute(prices[0]);
  state.execute(prices[1]);
  EXPECT_EQ(state.registers()[vmx::kRsi], rdi + rcx * 4 + 12);
  EXPECT_EQ(state.address_of(prices[2]), state.address_of(prices[3]));
  for (size_t i = 2; i < prices.size(); ++i) state.execute(prices[i]);
  EXPECT_NE(state.registers()[vmx::kRdx], 0u);
}

}  // namespace
}  // namespace nestor::emu::timing::test
