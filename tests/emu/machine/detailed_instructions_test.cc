// SPDX-License-Identifier: GPL-2.0-or-later
//
// Programs that know nothing of the model, and find by RDTSC what instructions and mispredicted
// branches cost, on each processor that has prices.
#include <functional>
#include <string>

#include "emu/decode/decoder.h"
#include "emu/timing/block_price.h"
#include "emu/timing/system_prices.h"
#include "tests/emu/machine/detailed_timing_fixture.h"

namespace nestor::emu {
namespace {

using timing::Processor;
using timing::SystemCost;

class MeasuredInstructions : public EachPricedCore {
 protected:
  static Code times(const Code& code, unsigned count) {
    Code all;
    for (unsigned i = 0; i < count; ++i) all = all + code;
    return all;
  }
  // Cycles of the code among copies of itself: loops of more and of fewer copies differ by them.
  double cycles_of(const Code& before, const Code& code, unsigned copies, uint32_t rounds) {
    return (round_of(before, times(code, 3 * copies), rounds) -
            round_of(before, times(code, copies), rounds)) /
           (2 * copies);
  }
  // What the tables say of the code, over and over.
  static double price(const Code& code, const Processor& processor) {
    Decoder decoder;
    std::vector<uint8_t> lengths;
    for (size_t at = 0; at < code.size(); at += lengths.back()) {
      const auto decoded = decoder.decode(std::span(code).subspan(at), CodeMode::k64);
      lengths.push_back(decoded.value().length);
    }
    const auto prices = timing::price_instructions(code, lengths, CodeMode::k64, processor);
    return timing::price_block(prices, processor, timing::Repetition::kUnrolled).cycles();
  }
};
INSTANTIATE_TEST_SUITE_P(All, MeasuredInstructions, testing::ValuesIn(EachPricedCore::all()),
                         EachPricedCore::name);

// What the core executes by itself. Each waits for the one before it.
TEST_P(MeasuredInstructions, LatenciesAreThoseOfTheTables) {
  struct Row {
    const char* name;
    Code code;
    std::function<double(const Processor&)> published = nullptr;  // else as the tables say
  };
  const Row rows[] = {
      {"ADD", ASM64("add rax, rcx")},
      {"IMUL", ASM64("imul rax, rcx")},
      {"POPCNT", ASM64("popcnt rax, rax")},
      // The dividend is made anew from the quotient.
      {"DIV r32", ASM64("xor edx, edx; div ecx")},
      {"IDIV r32", ASM64("xor edx, edx; idiv ecx")},
      {"DIV r64", ASM64("xor edx, edx; div rcx")},
      {"IDIV r64", ASM64("xor edx, edx; idiv rcx")},
      {"load", ASM64("mov rdi, [rdi]"),
       [](const Processor& core) { return double(core.memory.first_cache_cycles); }},
      {"store to load", ASM64("mov [rsi], rax; mov rax, [rsi]"),
       [](const Processor& core) { return double(core.forwarding); }},
      {"MFENCE", ASM64("mfence")},
      {"LFENCE", ASM64("lfence")},
  };
  put<uint64_t>(kData, kData);
  const Code before = set(kEcx, 1) + set(kEdi, kData) + set(kEsi, kData + 0x40);
  for (const Row& row : rows) {
    SCOPED_TRACE(row.name);
    const double expected = row.published ? row.published(core()) : price(row.code, core());
    const double measured = cycles_of(before, row.code, 8, 200);
    EXPECT_WITHIN_TENTH(measured, expected);
    RecordProperty(row.name, std::to_string(measured));
  }
}

// What the model executes.
TEST_P(MeasuredInstructions, SystemInstructionsTakeTheirRows) {
  struct Row {
    SystemCost cost;
    const char* name;
    Code code;
    Code before = {};
  };
  const Code msr = set(kEcx, 0x174);
  const Row rows[] = {
      {SystemCost::kCpuid, "CPUID", kCpuid},
      {SystemCost::kRdtsc, "RDTSC", ASM64("rdtsc")},
      {SystemCost::kRdtscp, "RDTSCP", ASM64("rdtscp")},
      {SystemCost::kRdpmc, "RDPMC", ASM64("rdpmc"), set(kEcx, 0)},
      {SystemCost::kRdmsr, "RDMSR", ASM64("rdmsr"), msr},
      {SystemCost::kWrmsr, "WRMSR", ASM64("wrmsr"), msr + ASM64("rdmsr")},
      {SystemCost::kInvlpg, "INVLPG", ASM64("invlpg [0x7000]")},
      {SystemCost::kPause, "PAUSE", ASM64("pause")},
      {SystemCost::kLoadDescriptorTable, "LGDT", ASM64("lgdt [0x80000]")},
      {SystemCost::kClts, "CLTS", ASM64("clts")},
      {SystemCost::kInterruptFlag, "STI", ASM64("sti")},
      {SystemCost::kClearInterruptFlag, "CLI", ASM64("cli")},
      {SystemCost::kXsetbv, "XSETBV", ASM64("xsetbv"),
       ASM64("mov rax, cr4; or eax, 0x40000; mov cr4, rax; mov ecx, 0; xgetbv")},
      {SystemCost::kPopf, "POPF", ASM64("popfq")},
      {SystemCost::kRandomNumber, "RDRAND", ASM64("rdrand rax")},
  };
  put<uint16_t>(kData, 0x37);
  put<uint64_t>(kData + 2, kGdt);
  for (const Row& row : rows) {
    SCOPED_TRACE(row.name);
    const double measured = cycles_of(row.before, row.code, 4, 100);
    const double expected = timing::system_price(core(), row.cost);
    EXPECT_WITHIN_TENTH(measured, expected);
    RecordProperty(row.name, std::to_string(measured));
  }
}

// 32 branches of a round each go one way or the other, by a bit that is known long before.
TEST_P(MeasuredInstructions, AMispredictedBranchCostsWhatIsPublished) {
  constexpr unsigned kBranches = 32, kRounds = 1000;
  Code round = ASM64(
      "mov rdx, r13; imul rax, r11; add rax, r12; mov r13, rax; shr r13, 32; and r13, r9; "
      "xor r13, r10");
  while (round.size() % 16 != 0) round.push_back(0x90);
  for (unsigned i = 0; i < kBranches; ++i) {
    Code branch = ASM64("test edx, 0x7fffffff; jne 2f; nop; 2: nop dword ptr [rax + 0x200]");
    const uint32_t bit = 1u << i;
    std::memcpy(&branch[2], &bit, sizeof bit);
    round = round + branch;
  }
  struct Counts {
    double cycles, mispredicted;
  };
  // The bits are `mask` of random ones, with those of `flip` turned.
  const auto measure = [&](int64_t mask, int64_t flip) {
    const auto counted = [&](const Code& read) {
      const auto value = [](uint64_t number) {
        return with_number(ASM64("movabs rcx, 0x1122334455667788"), number);
      };
      // IA32_PERFEVTSEL0: BR_MISP_RETIRED; IA32_PERF_GLOBAL_CTRL.
      Code code = ASM64(
          "mov ecx, 0x186; mov eax, 0x4300c5; xor edx, edx; wrmsr; "
          "mov ecx, 0x38f; mov eax, 1; wrmsr");
      code = code + value(6364136223846793005u) + ASM64("mov r11, rcx") +
             value(1442695040888963407u) + ASM64("mov r12, rcx") +
             value(static_cast<uint64_t>(mask)) + ASM64("mov r9, rcx") +
             value(static_cast<uint64_t>(flip)) +
             ASM64("mov r10, rcx; mov r13, r10; mov r14, 1; xor ecx, ecx") + read +
             ASM64("mov r8d, eax; mov rax, r14") + set(kEbp, kRounds);
      while (code.size() % 32 != 0) code.push_back(0x90);
      code = code + while_not_zero(round + ASM64("dec ebp"));
      return double(
          run(code + ASM64("xor ecx, ecx") + read + ASM64("sub eax, r8d; out 0xf4, eax")).code >>
          1);
    };
    return Counts{counted(ASM64("rdtsc")), counted(ASM64("rdpmc"))};
  };
  const Counts random = measure(-1, 0), never = measure(0, 0), always = measure(0, -1);
  EXPECT_NEAR(random.mispredicted, kRounds * kBranches / 2, kRounds * kBranches / 20);
  EXPECT_LT(never.mispredicted + always.mispredicted, 300);
  const double cost = (random.cycles - (never.cycles + always.cycles) / 2) /
                      (random.mispredicted - (never.mispredicted + always.mispredicted) / 2);
  EXPECT_WITHIN_TENTH(cost, core().misprediction);
  RecordProperty("cycles", std::to_string(cost));
}

}  // namespace
}  // namespace nestor::emu
