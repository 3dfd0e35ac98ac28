// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/timing/access_slices.h"

#include <cstring>
#include <map>
#include <vector>

#include "emu/timing/core.h"
#include "tests/emu/timing/priced_code.h"

namespace nestor::emu::timing::test {
namespace {

// Memory that is all there, each linear address at itself, and remembers what it was asked.
class FlatMemory final : public MemoryView {
 public:
  std::optional<Page> find(uint64_t linear, TranslationFor reason) override {
    if (linear == missing) return std::nullopt;
    if (reason != TranslationFor::kFetch) seen.push_back(linear);
    return Page{linear, true};
  }
  uint64_t walk(uint64_t, TranslationFor) override { return 0; }
  bool read(uint64_t physical, std::span<uint8_t> out) override {
    const uint64_t value = memory[physical];
    std::memcpy(out.data(), &value, out.size());
    return true;
  }

  std::map<uint64_t, uint64_t> memory;
  std::vector<uint64_t> seen;
  uint64_t missing = 1;
};

class AccessSlicesTest : public testing::Test {
 protected:
  // The addresses of the accesses of a block, in order. No address is asked for that makes none.
  std::vector<uint64_t> addresses(const Code& code, CodeMode mode = CodeMode::k64) {
    Core core(prices_);
    std::vector<uint8_t> lengths;
    for (const InstructionPrice& price : priced(code, Generation::kSkylake, mode))
      lengths.push_back(price.length);
    view_.seen.clear();
    const PricedBlock& block = core.price(code, lengths, 0x40'1000, mode);
    core.enter(block, {registers_.data(), bases_}, view_);
    unknown_ = core.counts()[0].code.unknown_accesses;
    std::vector<uint64_t> result = view_.seen;
    return result;
  }

  BlockPrices prices_{core_of(Generation::kSkylake), true};
  FlatMemory view_;
  std::array<uint64_t, kGprs> registers_ = {0x1000,  0x2000,  0x3000,  0x4000,
                                            0x80000, 0x90000, 0x60000, 0x70000};
  std::array<uint64_t, 6> bases_ = {0x100, 0x200, 0x300, 0x400, 0x5'0000, 0x6'0000};
  uint64_t unknown_ = 0;
};

using Addresses = std::vector<uint64_t>;

TEST_F(AccessSlicesTest, FollowsSumsOfRegisters) {
  EXPECT_EQ(addresses(ASM64("mov rax, [rbx + 8]; add rbx, 0x10; mov [rbx + rcx * 4 - 1], rdx")),
            (Addresses{0x4008, 0x4010 + 0x8000 - 1}));
  EXPECT_EQ(addresses(ASM64("mov eax, [rip + 0x100]")), (Addresses{0x40'1000 + 6 + 0x100}));
  EXPECT_EQ(addresses(ASM64("lea rax, [rbx + rcx * 2 + 7]; add dword ptr [rax], 1")),
            (Addresses{0x4000 + 0x4000 + 7}));
  EXPECT_EQ(addresses(ASM64("nop; lea rax, [rbx]; imul rcx, rdx")), Addresses{});
  EXPECT_EQ(unknown_, 0u);
}

TEST_F(AccessSlicesTest, FollowsTheStack) {
  EXPECT_EQ(addresses(ASM64("push rax; push rbx; pop rcx; mov rdx, [rsp + 8]")),
            (Addresses{0x7fff8, 0x7fff0, 0x7fff0, 0x7fff8 + 8}));
  EXPECT_EQ(addresses(ASM64("push rbx; pop rsi; mov rax, [rsi]")),
            (Addresses{0x7fff8, 0x7fff8, 0x4000}));
  EXPECT_EQ(addresses(ASM64("pop r12; pop r12; mov rax, [rsp]")),
            (Addresses{0x80000, 0x80008, 0x80010}));
  EXPECT_EQ(addresses(ASM64("call qword ptr [rbx]")), (Addresses{0x4000, 0x7fff8}));
  EXPECT_EQ(addresses(ASM64("ret")), Addresses{0x80000});
  view_.memory[0x90000] = 0x12340;
  EXPECT_EQ(addresses(ASM64("leave; mov rax, [rbp]; ret")), (Addresses{0x90000}))
      << "what LEAVE leads to is not followed";
  EXPECT_EQ(unknown_, 2u);
}

TEST_F(AccessSlicesTest, DoesNotFollowABitThatARegisterNumbers) {
  EXPECT_EQ(addresses(ASM64("bts dword ptr [rbx], 3; bts dword ptr [rbx], ecx; bt [rbx], rcx")),
            (Addresses{0x4000}));
  EXPECT_EQ(unknown_, 2u);
}

TEST_F(AccessSlicesTest, FollowsPointersThroughMemory) {
  view_.memory[0x4000] = 0xffff'ffff'1234'5678;
  view_.memory[0x1234'5678] = 0x9000;
  EXPECT_EQ(addresses(ASM64("mov ecx, [rbx]; mov rdx, [rcx]; mov [rdx + 4], al")),
            (Addresses{0x4000, 0x4000, 0x1234'5678, 0x1234'5678, 0x9004}))
      << "each is asked for twice, to be counted and to be read";
  view_.missing = 0x4000;
  addresses(ASM64("mov rcx, [rbx]; mov rdx, [rcx]"));
  EXPECT_EQ(unknown_, 1u);
}

TEST_F(AccessSlicesTest, FollowsArithmetic) {
  EXPECT_EQ(addresses(ASM64("mov eax, ebx; and eax, 0x4000; shl eax, 3; mov rcx, [rax]")),
            Addresses{0x20000});
  EXPECT_EQ(addresses(ASM64("xor eax, eax; mov rcx, [rax + 0x55]")), Addresses{0x55});
  EXPECT_EQ(addresses(ASM64("sub rbx, rcx; imul rbx, rbx, 3; mov al, [rbx]")), Addresses{0x6000});
  EXPECT_EQ(addresses(ASM64("mov eax, 0xfffffff0; movsxd rax, eax; mov rcx, [rax + 0x20]")),
            Addresses{0x10});
  EXPECT_EQ(addresses(ASM64("sub ebx, 0x5000; mov rax, [rbx]")), Addresses{0xffff'f000});
  EXPECT_EQ(addresses(ASM64("mul rbx; mov rcx, [rax]")), Addresses{});
  EXPECT_EQ(unknown_, 1u);
}

TEST_F(AccessSlicesTest, FollowsStringsAndSegments) {
  EXPECT_EQ(addresses(ASM64("movsb")), (Addresses{0x60000, 0x70000}));
  EXPECT_EQ(addresses(ASM64("rep stosq")), Addresses{0x70000});
  EXPECT_EQ(addresses(ASM64("mov rax, gs:[0x10]; mov rax, fs:[rbx]; mov rax, [rbx]")),
            (Addresses{0x6'0010, 0x5'4000, 0x4000}));
  EXPECT_EQ(addresses(ASM16("mov ax, [bx + 2]; mov [bp], ax; push ax"), CodeMode::k16),
            (Addresses{0x4402, 0x300, 0xfffe + 0x300}));
}

TEST_F(AccessSlicesTest, KnowsWhatCachesShallNotKeep) {
  Core core(prices_);
  const auto enter = [&](const Code& code) {
    std::vector<uint8_t> lengths;
    for (const InstructionPrice& price : priced(code)) lengths.push_back(price.length);
    core.enter(core.price(code, lengths, 0x40'1000, CodeMode::k64), {registers_.data(), bases_},
               view_);
  };
  const auto memory_loads = [&] {
    return core.counts()[0].code.loads[static_cast<size_t>(LoadedFrom::kMemory)];
  };
  enter(ASM64("mov rax, [rbx]"));
  enter(ASM64("mov rax, [rbx]"));
  EXPECT_EQ(memory_loads(), 1u);
  enter(ASM64("clflush [rbx]"));
  enter(ASM64("mov rax, [rbx]"));
  EXPECT_EQ(memory_loads(), 2u);
  enter(ASM64("movnti [rbx], rax"));
  enter(ASM64("mov rax, [rbx]"));
  EXPECT_EQ(memory_loads(), 3u);
  enter(ASM64("prefetcht0 [rcx]"));
  enter(ASM64("mov rax, [rcx]"));
  EXPECT_EQ(memory_loads(), 3u);
}

// What is known instruction by instruction gives the same times as what was made of it before.
TEST(AccumulatorStepsTest, AreThePieceIfNothingIsLate) {
  const Code codes[] = {
      ASM64("mov rax, [rbx]; add rax, rcx; mov [rbx], rax; mov rdx, [rbx]; imul rdx, rdx"),
      ASM64("push rax; pop rbx; add rbx, [rsp]; cmp rbx, rcx; cmove rax, rbx; mulss xmm0, xmm1"),
      ASM64("xor eax, eax; add eax, [rdi + 8]; mov [rdi + 8], eax; lea rdi, [rdi + 4]; div rcx"),
      ASM64("addps xmm0, [rsi]; movaps [rsi], xmm0; lock add [rdi], rax; adc rax, rdx")};
  for (const Generation generation : {Generation::kHaswell, Generation::kIceLake}) {
    Accumulator fast(core_of(generation)), stepped(core_of(generation));
    std::array<uint64_t, kGprs> registers{};
    for (int round = 0; round < 40; ++round) {
      for (const Code& code : codes) {
        const auto prices = priced(code, generation);
        const Piece piece = piece_of(prices, core_of(generation), 0x1000);
        registers[3] = registers[7] = static_cast<uint64_t>(round / 3) * 8;
        fast.add(piece, registers.data(), FrontEnd::kDsb);
        stepped.add(piece, dependency_steps(prices), registers.data(), FrontEnd::kDsb,
                    [](size_t, Ticks) { return Ticks{0}; });
        ASSERT_EQ(fast.time(), stepped.time());
        for (unsigned value = 0; value < kValues; ++value)
          ASSERT_EQ(fast.ready(value), stepped.ready(value)) << value;
      }
    }
  }
}

TEST(MemoryTimingTest, MissesOverlapAsFarAsThereAreFillBuffers) {
  const Processor& processor = core_of(Generation::kSkylake);
  MemoryTiming timing(processor.memory);
  const Ticks miss = 180 * kTicksPerCycle, hit = 4 * kTicksPerCycle;
  MemoryAccess access{.level = CacheLevel::kMemory, .cached = true};
  for (unsigned i = 0; i < 12; ++i) {
    access.line = i;
    EXPECT_EQ(timing.access(access, 0).ticks, miss - hit);
  }
  access.line = 12;
  EXPECT_EQ(timing.access(access, 0).ticks, 2 * miss - hit) << "all buffers are taken";
  // A second load of the line waits for the same.
  access = {.cached = true, .line = 5};
  EXPECT_TRUE(timing.is_waiting(0));
  const MemoryTiming::Wait wait = timing.access({.cached = true, .line = 7}, 0);
  EXPECT_TRUE(wait.fill_buffer);
  EXPECT_EQ(wait.ticks, miss - hit);
  access.line = 99;
  EXPECT_EQ(timing.access(access, 0).ticks, 0u);
}

TEST(MemoryTimingTest, WalksTakeTurns) {
  const Processor& processor = core_of(Generation::kSkylake);
  MemoryTiming timing(processor.memory);
  const MemoryAccess walk{.cached = true, .walks = true, .translation = 30};
  EXPECT_EQ(timing.access(walk, 0).ticks, 30 * kTicksPerCycle);
  EXPECT_EQ(timing.access(walk, 0).ticks, 30 * kTicksPerCycle) << "there are two walkers";
  EXPECT_EQ(timing.access(walk, 0).ticks, 60 * kTicksPerCycle);
}

TEST(MemoryTimingTest, StoresWaitUntilTheBufferIsFull) {
  const Processor& processor = core_of(Generation::kSkylake);
  MemoryTiming timing(processor.memory);
  EXPECT_EQ(timing.store_room(1), 0u);
  timing.store(5000, 100);
  EXPECT_EQ(timing.store_room(55), 0u);
  EXPECT_EQ(timing.store_room(1), 5000u) << "the place of the one that waits";
}

TEST(CachesTest, TheOldestLineOfASetMakesRoom) {
  LineCache cache({2, 3});
  for (const uint64_t line : {0, 2, 4, 1}) EXPECT_FALSE(cache.use(line));
  EXPECT_TRUE(cache.use(0));
  EXPECT_FALSE(cache.use(6));
  EXPECT_FALSE(cache.holds(2));
  EXPECT_TRUE(cache.holds(0));
  EXPECT_TRUE(cache.holds(1));
  cache.drop(0);
  EXPECT_FALSE(cache.holds(0));
  EXPECT_TRUE(cache.holds(4));
}

}  // namespace
}  // namespace nestor::emu::timing::test
