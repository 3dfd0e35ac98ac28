// SPDX-License-Identifier: GPL-2.0-or-later
//
// Programs that know nothing of the model, and find its caches, its TLBs and its latencies by
// RDTSC.
#include <cmath>
#include <string>

#include "emu/timing/processor.h"
#include "tests/emu/l0/nested_machine_fixture.h"

namespace nestor::emu {
namespace {

using vmx::Generation;

// What is published of the processors (emu/timing/processor.cc has the sources), or a parameter.
struct Published {
  Generation generation;
  uint32_t first_lines, second_lines, third_lines;
  unsigned first_ways, second_ways, third_ways;
  double first, second, third, memory;  // cycles of a load
  uint32_t second_tlb;
};
constexpr Published kPublished[] = {
    {Generation::kHaswell, 512, 4096, 327680, 8, 8, 20, 4, 12, 50, 180, 1024},
    {Generation::kBroadwell, 512, 4096, 327680, 8, 8, 20, 4, 12, 50, 180, 1536},
    {Generation::kSkylake, 512, 16384, 180224, 8, 16, 11, 4, 14, 55, 180, 1536},
    {Generation::kIceLake, 768, 20480, 196608, 12, 20, 12, 5, 14, 70, 133, 2048},
};

class DetailedTiming : public NestedMachineTest {
 protected:
  static constexpr uint32_t kMega = 1 << 20;
  // Large pages from here on; and small ones, in the tables at kSmallTables.
  static constexpr uint32_t kLargePages = 4 * kMega, kSmallPages = 40 * kMega;
  static constexpr uint64_t kSmallTables = 0x40000, kSmallEptTables = 0x50000;
  static constexpr unsigned kTables = 8;

  DetailedTiming() {
    config_.processor.timing = TimingModel::kDetailed;
    config_.memory_bytes = 64 * kMega;
    config_.max_instructions = 1'000'000'000;
    config_.processor.type = vmx::processor_of(Generation::kSkylake);
    for (uint64_t i = 0; i < kTables; ++i) {
      const uint64_t place = (kSmallPages >> 21) + i;
      put(kPml4 + 0x2000 + 8 * place, (kSmallTables + i * kPage) | kAll);
      for (uint64_t j = 0; j < 512; ++j) {
        const uint64_t page = (place << 21) + j * kPage;
        put(kSmallTables + i * kPage + 8 * j, page | kAll);
        put(kSmallEptTables + i * kPage + 8 * j, page | kEptAll | kEptUserExecute);
      }
    }
  }
  void use_small_ept_pages(bool small) {
    for (uint64_t i = 0; i < kTables; ++i) {
      const uint64_t place = (kSmallPages >> 21) + i;
      put(kEpt + 0x2000 + 8 * place,
          (small ? kSmallEptTables + i * kPage : place << 21 | 0x80) | kEptAll | kEptUserExecute);
    }
  }
  void use_small_guest_pages(bool small) {
    for (uint64_t i = 0; i < kTables; ++i) {
      const uint64_t place = (kSmallPages >> 21) + i;
      put(kPml4 + 0x2000 + 8 * place,
          (small ? kSmallTables + i * kPage : place << 21 | 0x80) | kAll);
    }
  }

  enum Register : uint8_t { kEax = 0xb8, kEcx, kEdx, kEbp = 0xbd, kEsi, kEdi };
  static Code set(Register reg, uint32_t value) {
    Code code{reg, 0, 0, 0, 0};
    std::memcpy(&code[1], &value, 4);
    return code;
  }
  // Puts pointers into memory, `stride` bytes apart, each to the next and the last to the first,
  // follows them once around, and then measures.
  static Code chase(uint32_t base, uint32_t count, uint32_t stride, uint32_t steps) {
    const Code follow = ASM64("mov rax, rsi; 2: mov rax, [rax]; dec ecx; jne 2b");
    return set(kEdi, base) + set(kEcx, count) + set(kEdx, stride) +
           ASM64(
               "mov rsi, rdi; 2: lea rax, [rdi + rdx]; mov [rdi], rax; mov r9, rdi; "
               "mov rdi, rax; dec ecx; jne 2b; mov [r9], rsi") +
           set(kEcx, count) + follow + ASM64("rdtsc; mov r8d, eax") + set(kEcx, steps) + follow +
           ASM64("rdtsc; sub eax, r8d; out 0xf4, eax");
  }
  static uint32_t steps_of(uint32_t count) { return std::max(count, 4096u); }
  // Cycles of one load.
  double load(uint32_t count, uint32_t stride, uint32_t base = kLargePages) {
    return (run(chase(base, count, stride, steps_of(count))).code >> 1) / double(steps_of(count));
  }
  double load_in_l2(uint32_t count, uint32_t stride, uint32_t base) {
    return (run_guest(chase(base, count, stride, steps_of(count))).code >> 1) /
           double(steps_of(count));
  }
  // The largest number from `from` on for which it holds, to one part of so many.
  template <typename Holds>
  static uint32_t largest(uint32_t from, const Holds& holds, uint32_t parts = 32) {
    uint32_t to = 2 * from;
    while (holds(to)) {
      from = to;
      to *= 2;
    }
    while (to - from > from / parts + 1) {
      const uint32_t middle = from + (to - from) / 2;
      (holds(middle) ? from : to) = middle;
    }
    return from;
  }
  // Cycles of a round of a loop, by RDTSC.
  double round_of(const Code& before, const Code& body) {
    const auto loop = [&](uint32_t rounds) {
      const auto back = -static_cast<int32_t>(body.size() + 2 + 6);
      Code end = ASM64("dec ebp");
      end.insert(end.end(), {0x0f, 0x85});
      for (unsigned i = 0; i < 4; ++i) end.push_back(static_cast<uint8_t>(back >> 8 * i));
      return double(run(before + ASM64("rdtsc; mov r8d, eax") + set(kEbp, rounds) + body + end +
                        ASM64("rdtsc; sub eax, r8d; out 0xf4, eax"))
                        .code >>
                    1);
    };
    return (loop(3000) - loop(1000)) / 2000;
  }
};

#define EXPECT_WITHIN_TENTH(actual, expected) EXPECT_NEAR(actual, expected, 0.1 * (expected))

class DetailedProcessors : public DetailedTiming, public testing::WithParamInterface<Published> {
 protected:
  DetailedProcessors() { config_.processor.type = vmx::processor_of(GetParam().generation); }
};
INSTANTIATE_TEST_SUITE_P(All, DetailedProcessors, testing::ValuesIn(kPublished),
                         [](const auto& published) {
                           return std::string("Generation") +
                                  std::to_string(static_cast<int>(published.param.generation));
                         });

TEST_P(DetailedProcessors, SizesAndLatenciesOfCaches) {
  const Published& published = GetParam();
  const double first = load(64, 64);
  EXPECT_WITHIN_TENTH(first, published.first);
  const uint32_t first_lines =
      largest(64, [&](uint32_t lines) { return load(lines, 64) < 1.05 * first; });
  EXPECT_WITHIN_TENTH(first_lines, published.first_lines);
  const double second = load(first_lines * 3 / 2, 64);
  EXPECT_WITHIN_TENTH(second, published.second);
  const uint32_t second_lines =
      largest(first_lines * 3 / 2, [&](uint32_t lines) { return load(lines, 64) < 1.1 * second; });
  EXPECT_WITHIN_TENTH(second_lines, published.second_lines);
  const double third = load(second_lines * 3 / 2, 64);
  EXPECT_WITHIN_TENTH(third, published.third);
  const uint32_t third_lines = largest(
      second_lines * 2, [&](uint32_t lines) { return load(lines, 64) < 1.1 * third; }, 12);
  EXPECT_WITHIN_TENTH(third_lines, published.third_lines);
  EXPECT_WITHIN_TENTH(load(third_lines * 6 / 5, 64), published.memory);
}

TEST_P(DetailedProcessors, WaysOfCaches) {
  const Published& published = GetParam();
  // All in one set of each level.
  const auto ways_below = [&](double cycles) {
    unsigned ways = 1;
    while (load(ways + 1, kMega) < 0.9 * cycles) ++ways;
    return ways;
  };
  EXPECT_EQ(ways_below(published.second), published.first_ways);
  EXPECT_EQ(ways_below(published.memory), std::max(published.third_ways, published.second_ways));
  // A set of the second level, and several of the third.
  const uint32_t stride = published.second_lines / published.second_ways * 64;
  unsigned ways = 1;
  while (load(ways + 1, stride) < 0.9 * published.third) ++ways;
  EXPECT_EQ(ways, published.second_ways);
}

TEST_P(DetailedProcessors, SizeOfTheSecondLevelTlb) {
  const auto translation = [&](uint32_t pages) {
    return load(pages, kPage, kSmallPages) - load(pages, kPage, kLargePages);
  };
  EXPECT_NEAR(translation(48), 0, 1) << "in the first level";
  EXPECT_NEAR(translation(400), 7, 1);
  const uint32_t pages = largest(256, [&](uint32_t n) { return translation(n) < 10; });
  EXPECT_WITHIN_TENTH(pages, GetParam().second_tlb);
}

TEST_P(DetailedProcessors, CpuidSaysWhatTheCachesAre) {
  const Published& published = GetParam();
  const auto lines = [&](uint32_t subleaf) {
    const Code code = set(kEax, 4) + set(kEcx, subleaf) +
                      ASM64(
                          "cpuid; shr ebx, 22; inc ebx; inc ecx; mov eax, ebx; imul eax, ecx; "
                          "out 0xf4, eax");
    return run(code).code >> 1;
  };
  EXPECT_EQ(lines(0), published.first_lines);
  EXPECT_EQ(lines(1), 512u);
  EXPECT_EQ(lines(2), published.second_lines);
  EXPECT_EQ(lines(3), published.third_lines);
}

TEST_P(DetailedProcessors, LatenciesOfInstructions) {
  const timing::Processor& core = *timing::find_processor(GetParam().generation);
  const auto of = [&](const Code& body) { return round_of(set(kEsi, 0x80000), body); };
  const Code four_adds = ASM64("add rax, rcx; add rax, rcx; add rax, rcx; add rax, rcx");
  EXPECT_WITHIN_TENTH(of(four_adds + four_adds), 8);
  EXPECT_WITHIN_TENTH(of(ASM64("imul rax, rcx; imul rax, rcx; imul rax, rcx")), 9);
  EXPECT_WITHIN_TENTH(of(ASM64("popcnt rax, rax; popcnt rax, rax; popcnt rax, rax")), 9);
  EXPECT_WITHIN_TENTH(of(ASM64("mov [rsi], rax; mov rax, [rsi]")), core.forwarding);
}

TEST_F(DetailedTiming, LatencyOfDivision) {
  // The dividend is made anew from the quotient.
  const double cycles = round_of(set(kEcx, 1), ASM64("xor edx, edx; div ecx"));
  EXPECT_WITHIN_TENTH(cycles, 26);
}

TEST_F(DetailedTiming, SystemInstructions) {
  // With what the core needs to fill anew, which is some cycles in each round.
  const double empty = round_of({}, ASM64("mov rax, cr8")) - 10;
  EXPECT_NEAR(round_of({}, kCpuid) - empty, 100, 15);
  EXPECT_NEAR(round_of({}, ASM64("mov ecx, 0x174; rdmsr")) - empty, 89, 9);
  EXPECT_NEAR(round_of({}, ASM64("invlpg [0x7000]")) - empty, 225, 25);
}

TEST_F(DetailedTiming, AMispredictionCosts) {
  // 32 random bits at a time.
  const Code rest = ASM64(
      "imul rax, rax, 0x41c64e6d; add rax, 12345; mov rdx, rax; shr rdx, 20; mov ecx, 16; "
      "3: shr rdx, 1; jc 4f; nop; 4: dec ecx; jne 3b");
  const Code never = ASM64(
      "imul rax, rax, 0x41c64e6d; add rax, 12345; mov rdx, rax; mov edx, 0; mov ecx, 16; "
      "3: shr rdx, 1; jc 4f; nop; 4: dec ecx; jne 3b");
  const double branches = 16, share = 0.5;
  const double cost = (round_of({}, rest) - round_of({}, never)) / (branches * share);
  EXPECT_GT(cost, 14);
  EXPECT_LT(cost, 20);
}

TEST_F(DetailedTiming, IndependentMissesOverlap) {
  // 24 MBytes, beyond all caches: a chain of pointers, and loads that need not wait.
  const double waiting = load(24 * kMega / 64, 64);
  const Code walk = set(kEsi, kLargePages) + set(kEcx, 24 * kMega / 64);
  const Code code = walk + ASM64("2: mov rax, [rsi]; add rsi, 64; dec ecx; jne 2b") +
                    ASM64("rdtsc; mov r8d, eax") + walk +
                    ASM64(
                        "2: mov rax, [rsi]; add rsi, 64; dec ecx; jne 2b; "
                        "rdtsc; sub eax, r8d; out 0xf4, eax");
  const double independent = (run(code).code >> 1) / (24.0 * kMega / 64);
  EXPECT_WITHIN_TENTH(waiting, 180);
  EXPECT_WITHIN_TENTH(independent, 180.0 / 12) << "as many as there are fill buffers";
}

TEST_F(DetailedTiming, StoresThatMissWaitForTheStoreBuffer) {
  // Cycles of a store, from the third time on.
  const auto store = [this](uint32_t bytes) {
    const auto passes = [&](uint32_t count) {
      return double(run(set(kEbp, count) + ASM64("rdtsc; mov r8d, eax") + set(kEsi, kLargePages) +
                        set(kEcx, bytes / 64) +
                        ASM64("2: mov [rsi], rax; add rsi, 64; dec ecx; jne 2b; dec ebp; "
                              "jne 2b - 10; rdtsc; sub eax, r8d; out 0xf4, eax"))
                        .code >>
                    1);
    };
    return (passes(4) - passes(2)) / (2 * bytes / 64.0);
  };
  EXPECT_LT(store(16 << 10), 2);
  EXPECT_GT(store(24 * kMega), 10);
}

TEST_F(DetailedTiming, LargerPagesAndOneDimensionWalkFaster) {
  constexpr uint32_t kPages = 3000;
  enable_ept();
  const double without = load(kPages, kPage, kLargePages);
  const double native = load(kPages, kPage, kSmallPages) - without;
  const auto nested = [&](bool small_guest, bool small_ept) {
    use_small_guest_pages(small_guest);
    use_small_ept_pages(small_ept);
    return load_in_l2(kPages, kPage, kSmallPages) - without;
  };
  const double both = nested(true, true), guest = nested(true, false), ept = nested(false, true),
               none = nested(false, false);
  EXPECT_GT(native, 14) << "each is a walk";
  EXPECT_GT(both, native);
  EXPECT_LT(guest, both);
  EXPECT_LT(ept, both);
  EXPECT_LT(none, ept);
  EXPECT_LT(none, guest);
  EXPECT_LT(both / native, 4);
  RecordProperty("cycles", std::to_string(native) + " " + std::to_string(both) + " " +
                               std::to_string(guest) + " " + std::to_string(ept) + " " +
                               std::to_string(none));
}

TEST_F(DetailedTiming, EmptyCachesAreSlow) {
  const auto load_after = [this](const Code& code) {
    return run(set(kEsi, kLargePages) + ASM64("mov rax, [rsi]") + code +
               ASM64("rdtsc; mov r8d, eax; mov rax, [rsi]; and eax, 0; add eax, esi; rdtsc; "
                     "sub eax, r8d; out 0xf4, eax"))
               .code >>
           1;
  };
  const uint32_t held = load_after(kNop);
  EXPECT_NEAR(load_after(ASM64("clflush [rsi]")) - held, 176, 10);
  EXPECT_GE(load_after(ASM64("wbinvd")) - held, 170u);
}

}  // namespace
}  // namespace nestor::emu
