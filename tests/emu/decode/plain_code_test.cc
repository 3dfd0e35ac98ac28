// SPDX-License-Identifier: GPL-2.0-or-later
//
// Plain code is what the decoder finds it to be.
#include "emu/decode/plain_code.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <random>
#include <string>
#include <vector>

#include "emu/decode/decoder.h"
#include "tests/emu/assembled_code.h"

namespace nestor::emu {
namespace {

using Code = std::vector<uint8_t>;

std::string hex(std::span<const uint8_t> bytes) {
  std::string text;
  for (const uint8_t byte : bytes) {
    constexpr char kDigits[] = "0123456789abcdef";
    text += {kDigits[byte >> 4], kDigits[byte & 15], ' '};
  }
  return text;
}

// The length of the plain instruction at the start of `bytes`; 0: there is none.
unsigned plain_length(std::span<const uint8_t> bytes, CodeMode mode) {
  for (unsigned length = 1; length <= bytes.size(); ++length) {
    if (count_plain_instructions(bytes.first(length), mode) == 1u) return length;
  }
  return 0;
}

class PlainCode : public testing::Test {
 protected:
  void expect_agreement(std::span<const uint8_t> bytes, unsigned length, CodeMode mode) {
    const auto instruction = decoder_.decode(bytes, mode);
    ASSERT_TRUE(instruction) << hex(bytes);
    EXPECT_EQ(unsigned{instruction->length}, length) << hex(bytes) << instruction->text.data();
    EXPECT_EQ(instruction->operation, Operation::kOther) << hex(bytes) << instruction->text.data();
    EXPECT_EQ(instruction->technology, Technology::kOther)
        << hex(bytes) << instruction->text.data();
    EXPECT_FALSE(instruction->repeated) << hex(bytes);
    const auto operands = std::span(instruction->operand).first(instruction->operand_count);
    EXPECT_TRUE(std::ranges::none_of(operands, &Operand::aligned)) << hex(bytes);
    EXPECT_TRUE(std::ranges::none_of(operands, [](const Operand& operand) {
      return operand.written && operand.kind != Operand::Kind::kRegister &&
             operand.kind != Operand::Kind::kMemory;
    })) << hex(bytes);
  }
  // Every opcode of a map behind `prefixes`, with every ModR/M byte. Returns how many were plain.
  unsigned sweep(const Code& prefixes, bool two_bytes, CodeMode mode) {
    unsigned plain = 0;
    for (unsigned opcode = 0; opcode < 256; ++opcode) {
      for (unsigned modrm = 0; modrm < 256; ++modrm) {
        for (const uint8_t sib : {uint8_t{0x25}, uint8_t{0x98}}) {
          Code bytes = prefixes;
          if (two_bytes) bytes.push_back(0x0f);
          bytes.push_back(static_cast<uint8_t>(opcode));
          const size_t behind = bytes.size();
          bytes.insert(bytes.end(), {static_cast<uint8_t>(modrm), sib});
          while (bytes.size() < Instruction::kMaxLength)
            bytes.push_back(static_cast<uint8_t>(random_()));
          const unsigned length = plain_length(bytes, mode);
          if (length != 0) expect_agreement(bytes, length, mode);
          if (HasFatalFailure() || HasNonfatalFailure()) return 0;
          plain += length != 0;
          if ((length != 0 && length <= behind) || (modrm & 7) != 4 || modrm >= 0xc0) break;
        }
      }
    }
    return plain;
  }

  Decoder decoder_;
  std::mt19937 random_{12};
};

TEST_F(PlainCode, IsWhatTheDecoderFindsInEachOpcodeMap) {
  const std::vector<Code> kEverywhere = {{}, {0x66}, {0x64}, {0x2e, 0x66}};
  const std::vector<Code> kWithRex = {{0x40}, {0x41}, {0x48}, {0x66, 0x4c}, {0x65, 0x4f}};
  for (const bool two_bytes : {false, true}) {
    for (const Code& prefixes : kEverywhere) {
      EXPECT_GT(sweep(prefixes, two_bytes, CodeMode::k32), 3000u) << hex(prefixes);
      EXPECT_GT(sweep(prefixes, two_bytes, CodeMode::k64), 3000u) << hex(prefixes);
    }
    for (const Code& prefixes : kWithRex)
      EXPECT_GT(sweep(prefixes, two_bytes, CodeMode::k64), 3000u) << hex(prefixes);
  }
}

TEST_F(PlainCode, IsCounted) {
  const Code code = ASM64(
      "push rbx; mov rbx, [rdi + 8*rsi + 0x1234]; movzx eax, byte ptr [rip + 5]; test bl, 1; "
      "movabs r9, 0x1122334455667788; mov word ptr [rax], 0x1234; cmovne eax, ebx; "
      "lea rdx, [rax + rax]; imul rdx, rdx, 77; mov eax, gs:[0x28]; neg rax; sete al; call 2f; "
      "2: jmp rax; ret");
  EXPECT_EQ(count_plain_instructions(code, CodeMode::k64), 15u);
  std::array<uint16_t, 64> starts;
  EXPECT_EQ(decoder_.instruction_starts(code, CodeMode::k64, starts), 15u);
  EXPECT_EQ(count_plain_instructions(Code(4096), CodeMode::k64), 2048u);
  EXPECT_EQ(count_plain_instructions(ASM32("inc eax; dec edi; push 5"), CodeMode::k32), 3u);
}

TEST_F(PlainCode, IsNothingElse) {
  for (const Code& other : {ASM64("mov ds, eax"),
                            ASM64("mov eax, ds"),
                            ASM64("pop fs"),
                            ASM64("iretq"),
                            ASM64("retf"),
                            ASM64("jmp fword ptr [rax]"),
                            ASM64("call fword ptr [rax]"),
                            ASM64("lar eax, ecx"),
                            ASM64("verr ax"),
                            ASM64("lss eax, [rax]"),
                            ASM64("rep movsb"),
                            ASM64("insb"),
                            ASM64("outsb"),
                            ASM64("lock inc dword ptr [rax]"),
                            ASM64("movaps xmm0, [rax]"),
                            ASM64("in al, dx"),
                            ASM64("out dx, al"),
                            ASM64("cli"),
                            ASM64("hlt"),
                            ASM64("syscall"),
                            ASM64("cpuid"),
                            ASM64("mov rax, cr0"),
                            ASM64("vmcall"),
                            ASM64("fld st(0)"),
                            ASM64("int3"),
                            ASM64("popfq"),
                            Code{0x66, 0xe9, 0, 0, 0, 0},
                            Code{0x66, 0xc3},
                            Code{0x8d, 0xc0}}) {
    EXPECT_EQ(count_plain_instructions(other, CodeMode::k64), std::nullopt) << hex(other);
    Code behind = ASM64("nop");
    behind.insert(behind.end(), other.begin(), other.end());
    EXPECT_EQ(count_plain_instructions(behind, CodeMode::k64), std::nullopt) << hex(other);
  }
  EXPECT_EQ(count_plain_instructions({}, CodeMode::k64), std::nullopt);
  EXPECT_EQ(count_plain_instructions(ASM16("nop"), CodeMode::k16), std::nullopt);
}

TEST_F(PlainCode, HasEndbr64) {
  const Code code = ASM64("endbr64");
  EXPECT_EQ(count_plain_instructions(code, CodeMode::k64), 1u);
  expect_agreement(code, 4, CodeMode::k64);
  EXPECT_EQ(count_plain_instructions(code, CodeMode::k32), std::nullopt);
  for (size_t size = 1; size < code.size(); ++size) {
    EXPECT_EQ(count_plain_instructions(std::span(code).first(size), CodeMode::k64), std::nullopt);
  }
  EXPECT_EQ(count_plain_instructions(ASM64("rdsspq rax"), CodeMode::k64), std::nullopt);
}

TEST_F(PlainCode, IsWhole) {
  const Code code = ASM64("mov qword ptr gs:[rax + 8*rcx + 0x12345678], 0x11223344");
  EXPECT_EQ(count_plain_instructions(code, CodeMode::k64), 1u);
  for (size_t size = 1; size < code.size(); ++size) {
    EXPECT_EQ(count_plain_instructions(std::span(code).first(size), CodeMode::k64), std::nullopt)
        << size;
  }
  Code prefixes(16, 0x66);
  prefixes.push_back(0x90);
  EXPECT_EQ(count_plain_instructions(prefixes, CodeMode::k64), std::nullopt);
}

}  // namespace
}  // namespace nestor::emu
