// SPDX-License-Identifier: GPL-2.0-or-later
//
// Instructions with an operand of 16 bits take it from any register and from memory: all others
// hold something else.
#include "tests/emu/cpu/instruction_fixture.h"

namespace nestor::emu::test {
namespace {

class WordOperands : public InstructionTest {
 protected:
  static constexpr uint64_t kOperand = 0x9000;

  struct Group {
    uint8_t opcode, number;  // 0F, and the field of ModRM that tells the instructions apart
  };
  static constexpr Group kSldt{0, 0}, kStr{0, 1}, kLldt{0, 2}, kLtr{0, 3}, kVerr{0, 4}, kVerw{0, 5},
      kSmsw{1, 4}, kLmsw{1, 6};

  void enter(bool wide) {
    wide ? enter_64bit_mode(core) : enter_protected_mode(core);
    for (unsigned i = 0; i < 16; ++i) cpu.gpr[i] = kOther;
    core.poke(kOperand, kOther);
  }
  static Bytes of_register(Group group, unsigned register_) {
    Bytes bytes;
    if (register_ >= 8) bytes.push_back(0x41);
    const auto modrm = static_cast<uint8_t>(0xc0 | group.number << 3 | (register_ & 7));
    bytes.insert(bytes.end(), {0x0f, group.opcode, modrm});
    return bytes;
  }
  static Bytes of_memory(Group group, bool wide) {
    const auto modrm = static_cast<uint8_t>(group.number << 3 | (wide ? 4 : 5));
    Bytes bytes{0x0f, group.opcode, modrm};
    if (wide) bytes.push_back(0x25);
    bytes.insert(bytes.end(), {kOperand & 0xff, kOperand >> 8, 0, 0});
    return bytes;
  }

  // Executes it with this operand in each place where it can be; then `check` looks.
  template <typename Check>
  void expect_of_each_place(Group group, bool wide, uint16_t operand, const Check& check) {
    for (unsigned i = 0; i < (wide ? 16u : 8u); ++i) {
      SCOPED_TRACE("register " + std::to_string(i));
      enter(wide);
      cpu.gpr[i] = (kOther & ~0xffffull) | operand;
      expect_completed(of_register(group, i));
      check();
    }
    SCOPED_TRACE("memory");
    enter(wide);
    core.poke(kOperand, operand);
    expect_completed(of_memory(group, wide));
    check();
  }
  // It stores `value`, of `register_size` bytes in a register and two in memory.
  void expect_stored(Group group, bool wide, uint64_t value, unsigned register_size) {
    const uint64_t mask = register_size == 2 ? 0xffff : 0xffffffff;
    for (unsigned i = 0; i < (wide ? 16u : 8u); ++i) {
      enter(wide);
      expect_completed(of_register(group, i));
      for (unsigned other = 0; other < 16; ++other) {
        EXPECT_EQ(cpu.gpr[other] & mask, other == i ? value & mask : kOther & mask) << i;
      }
    }
    enter(wide);
    expect_completed(of_memory(group, wide));
    EXPECT_EQ(core.peek<uint32_t>(kOperand), (kOther & 0xffff0000) | (value & 0xffff));
  }

  // A null selector, and a machine status word without TS.
  static constexpr uint64_t kOther = 0x10001;
};

TEST_F(WordOperands, OfLldtAndLtr) {
  expect_of_each_place(kLldt, false, kLdtSelector,
                       [&] { EXPECT_EQ(cpu.segment[vmx::kLdtr].selector, kLdtSelector); });
  expect_of_each_place(kLtr, false, kOtherTss,
                       [&] { EXPECT_EQ(cpu.segment[vmx::kTr].selector, kOtherTss); });
}

TEST_F(WordOperands, OfVerrAndVerw) {
  for (const bool wide : {false, true}) {
    for (const Group group : {kVerr, kVerw}) {
      expect_of_each_place(group, wide, kData0,
                           [&] { EXPECT_TRUE(cpu.rflags & vmx::rflags::kZf); });
    }
  }
}

TEST_F(WordOperands, OfLmsw) {
  for (const bool wide : {false, true}) {
    expect_of_each_place(kLmsw, wide, 9, [&] { EXPECT_TRUE(cpu.cr0 & vmx::cr0::kTs); });
  }
}

TEST_F(WordOperands, OfSldtStrAndSmsw) {
  for (const bool wide : {false, true}) {
    expect_stored(kSldt, wide, 0, 4);
    expect_stored(kStr, wide, kTss, 4);
    expect_stored(kSmsw, wide, wide ? 0x80000031 : 0x31, 4);
  }
}

}  // namespace
}  // namespace nestor::emu::test
