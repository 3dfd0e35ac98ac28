// SPDX-License-Identifier: GPL-2.0-or-later
//
// Prefixes of branches in 64-bit mode that the processor ignores.
#include "tests/emu/machine/machine_fixture.h"

namespace nestor::emu {
namespace {

class NearBranches : public MachineTest {
 protected:
  // Two branches to each case: one with the prefix 66 and one without go to the same place.
  void expect_same(const Code& before, const Code& branch) {
    SCOPED_TRACE(testing::PrintToString(branch));
    std::array<uint64_t, 2> codes{};
    for (const bool prefixed : {false, true}) {
      // One byte more or less before it, so that the targets are the same.
      const Code lead = before + (prefixed ? Code{0x66} : kNop) + branch;
      codes[prefixed] = run(lead + exit_with(1) + nops(16) + exit_with(2)).code;
    }
    EXPECT_EQ(codes[0], codes[1]);
    seen_.push_back(static_cast<uint32_t>(codes[1]));
  }
  std::vector<uint32_t> seen_;
};

TEST_F(NearBranches, OperandSizePrefixesAreIgnored) {
  // To exit_with(2), which lies 23 bytes behind.
  constexpr uint8_t kDistance = 23;
  expect_same({}, {0xe9, kDistance, 0, 0, 0});
  expect_same({}, {0xe8, kDistance, 0, 0, 0});
  expect_same({}, {0xeb, kDistance});
  for (const Code& flags :
       {ASM64("cmp eax, eax"), ASM64("mov edx, 1; cmp edx, 2"),
        ASM64("mov edx, 0x80000000; cmp edx, 1"), ASM64("mov al, 3; test al, al")}) {
    for (uint8_t condition = 0; condition < 16; ++condition) {
      expect_same(flags, {static_cast<uint8_t>(0x70 | condition), kDistance});
      expect_same(flags, {0x0f, static_cast<uint8_t>(0x80 | condition), kDistance, 0, 0, 0});
    }
  }
  for (const Code& count : {ASM64("mov rcx, 1; cmp eax, eax"), ASM64("mov rcx, 0; cmp eax, eax"),
                            ASM64("mov rcx, 2; cmp rsp, 0")}) {
    for (uint8_t opcode = 0xe0; opcode < 0xe4; ++opcode) {
      expect_same(count, {opcode, kDistance});
      expect_same(count + Code{0x67}, {opcode, kDistance});
    }
  }
  EXPECT_GT(std::ranges::count(seen_, status(1)), 10);
  EXPECT_GT(std::ranges::count(seen_, status(2)), 10);
}

TEST_F(NearBranches, CallsPushEightBytes) {
  const Code call = {0x66, 0xe8, 0, 0, 0, 0};
  EXPECT_EQ(run(call + ASM64("pop rax; out 0xf4, eax")).code,
            status(static_cast<uint32_t>(kCode + call.size())));
  EXPECT_EQ(run(call + ASM64("mov eax, esp; out 0xf4, eax")).code, status(kStack - 8));
  cpu_.gpr[vmx::kRsp] = 0x8000000000000000;
  handle(vmx::kSs12, exit_with(12));
  put(kTss + 36, kKernelStack);  // IST1
  put<uint8_t>(kIdt + 16 * vmx::kSs12 + 4, 1);
  EXPECT_EQ(run(call + exit_with(1)).code, status(12));
}

}  // namespace
}  // namespace nestor::emu
