// SPDX-License-Identifier: GPL-2.0-or-later
//
// A machine whose programs measure time by RDTSC, with `detailed` timing.
#pragma once

#include <string>

#include "emu/timing/processor.h"
#include "tests/emu/l0/nested_machine_fixture.h"

namespace nestor::emu {

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
    config_.processor.type = vmx::processor_of(vmx::Generation::kSkylake);
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
  // `movabs` with another number of 64 bits.
  static Code with_number(Code movabs, uint64_t number) {
    std::memcpy(&movabs[2], &number, sizeof number);
    return movabs;
  }
  // Executes the code again while ZF is clear at its end.
  static Code while_not_zero(Code code) {
    code.insert(code.end(), {0x0f, 0x85});
    const auto back = -static_cast<int32_t>(code.size() + 4);
    for (unsigned i = 0; i < 4; ++i) code.push_back(static_cast<uint8_t>(back >> 8 * i));
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
  // Cycles of a round of a loop, by RDTSC; in so many rounds more.
  double round_of(const Code& before, const Code& body, uint32_t rounds = 2000) {
    const auto loop = [&](uint32_t count) {
      return double(run(ASM64("rdtsc; mov r8d, eax") + before + set(kEbp, count) +
                        while_not_zero(body + ASM64("dec ebp")) +
                        ASM64("rdtsc; sub eax, r8d; out 0xf4, eax"))
                        .code >>
                    1);
    };
    return (loop(rounds + rounds / 2) - loop(rounds / 2)) / rounds;
  }
};

#define EXPECT_WITHIN_TENTH(actual, expected) EXPECT_NEAR(actual, expected, 0.1 * (expected))

inline std::string name_of_core(vmx::Generation generation) {
  switch (generation) {
    case vmx::Generation::kHaswell:
      return "Haswell";
    case vmx::Generation::kBroadwell:
      return "Broadwell";
    case vmx::Generation::kSkylake:
      return "SkylakeServer";
    case vmx::Generation::kIceLake:
      return "IcelakeServer";
    default:
      return "Other";
  }
}

// Tests of each processor that has prices.
class EachPricedCore : public DetailedTiming, public testing::WithParamInterface<vmx::Generation> {
 protected:
  EachPricedCore() { config_.processor.type = vmx::processor_of(GetParam()); }
  const timing::Processor& core() const { return *timing::find_processor(GetParam()); }

 public:
  static std::vector<vmx::Generation> all() {
#ifdef __SANITIZE_ADDRESS__
    return {vmx::Generation::kSkylake};  // the others take the same ways through the code
#else
    std::vector<vmx::Generation> cores;
    for (const timing::Processor& core : timing::processors()) cores.push_back(core.generation);
    return cores;
#endif
  }
  static std::string name(const testing::TestParamInfo<vmx::Generation>& core) {
    return name_of_core(core.param);
  }
};

}  // namespace nestor::emu
