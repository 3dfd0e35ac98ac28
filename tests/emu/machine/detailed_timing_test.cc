// SPDX-License-Identifier: GPL-2.0-or-later
//
// Programs that know nothing of the model, and find its caches and its TLBs by RDTSC.
#include <string>

#include "emu/timing/processor.h"
#include "tests/emu/machine/detailed_timing_fixture.h"

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

class DetailedProcessors : public DetailedTiming, public testing::WithParamInterface<Published> {
 protected:
  DetailedProcessors() { config_.processor.type = vmx::processor_of(GetParam().generation); }
};
INSTANTIATE_TEST_SUITE_P(All, DetailedProcessors, testing::ValuesIn(kPublished),
                         [](const auto& published) {
                           return name_of_core(published.param.generation);
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
