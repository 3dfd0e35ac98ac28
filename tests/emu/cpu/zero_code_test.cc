// SPDX-License-Identifier: GPL-2.0-or-later
//
// L1 that runs through a page of zeros is told of.
#include "emu/machine/state_file.h"
#include "tests/emu/l0/nested_machine_fixture.h"

namespace nestor::emu {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

constexpr uint64_t kZeros = 0x102000;  // that page and the next

class ZeroCode : public NestedMachineTest {
 protected:
  ZeroCode() {
    cpu_.gpr[vmx::kRax] = kData;  // add [rax], al
    put_code(kZeros + 2 * kPage, exit_with(5));
  }
  // Jumps to `address` of the lowest 2 GiB.
  static Code jump_to(uint64_t address) {
    Code code = ASM64("mov ecx, 0; jmp rcx");
    const auto target = static_cast<uint32_t>(address);
    std::memcpy(code.data() + 1, &target, sizeof target);
    return code;
  }
};

TEST_F(ZeroCode, IsToldOnce) {
  const RunResult result = run(jump_to(kZeros));
  EXPECT_EQ(result.code, status(5));
  EXPECT_EQ(result.instructions, 2 + kPage + 2);
  EXPECT_THAT(record_.zero_code, ElementsAre(kZeros));
}

TEST_F(ZeroCode, IsToldWhereverItBegins) {
  for (const uint64_t first : {kZeros + 1, kZeros + 0x800, kZeros + kPage - 2}) {
    SCOPED_TRACE(first);
    // What is entered at an odd address takes the first byte behind the zeros.
    put_code(kZeros + 2 * kPage, first % 2 != 0 ? Code{0x00} + exit_with(5) : exit_with(5));
    EXPECT_EQ(run(jump_to(first)).code, status(5));
    EXPECT_THAT(record_.zero_code, ElementsAre(kZeros));
  }
}

TEST_F(ZeroCode, HasNothingElseInItsPage) {
  put<uint8_t>(kZeros + 0x10, 0x90);
  put<uint8_t>(kZeros + 2 * kPage - 0x10, 0x90);
  put<uint8_t>(kZeros + 2 * kPage - 0x0f, 0x90);
  const RunResult result = run(jump_to(kZeros + 0x20));
  EXPECT_EQ(result.code, status(5));
  EXPECT_THAT(record_.zero_code, IsEmpty());
}

TEST_F(ZeroCode, IsNotToldWhereItEndsInTheMiddle) {
  put_code(kZeros + 0x700, exit_with(6));
  EXPECT_EQ(run(jump_to(kZeros)).code, status(6));
  EXPECT_THAT(record_.zero_code, IsEmpty());
}

TEST_F(ZeroCode, OfL2IsToldToo) {
  put_code(kZeros + 2 * kPage, ASM64("vmcall"));
  const RunResult result = run_guest(ASM64("mov eax, 0x80000") + jump_to(kZeros), exit_with(7));
  EXPECT_EQ(result.code, status(7)) << result.detail;
  EXPECT_EQ(record_.exits.size(), 1u);
  EXPECT_THAT(record_.zero_code, ElementsAre(kZeros));
}

TEST_F(ZeroCode, IsRememberedInSavedState) {
  put_code(kCode, jump_to(kZeros));
  start().run_until({.instructions = 3000});
  EXPECT_THAT(record_.zero_code, ElementsAre(kZeros));
  const auto state = saved_bytes([this](Archive& archive) { machine_->serialize(archive); });
  const auto other = create();
  ASSERT_TRUE(load_bytes(state, [&](Archive& archive) { other->serialize(archive); }));
  const RunResult result = other->run();
  EXPECT_EQ(result.code, status(5));
  EXPECT_THAT(record_.zero_code, ElementsAre(kZeros));
}

}  // namespace
}  // namespace nestor::emu
