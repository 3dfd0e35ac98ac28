// SPDX-License-Identifier: GPL-2.0-or-later
//
// What instructions have to do with floating-point exceptions, held against their mnemonics.
#include "emu/decode/floating_point.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <string_view>
#include <vector>

#include "emu/decode/decoder.h"

namespace nestor::emu {
namespace {

bool begins_with_any(std::string_view text, const std::vector<std::string_view>& words) {
  return std::ranges::any_of(words, [=](std::string_view word) { return text.starts_with(word); });
}

TEST(FloatingPointDecoding, OfX87InstructionsAgreesWithTheirNames) {
  Decoder decoder;
  unsigned seen = 0;
  for (unsigned opcode = 0xd8; opcode <= 0xdf; ++opcode) {
    for (unsigned modrm = 0; modrm < 0x100; ++modrm) {
      if ((modrm & 7) == 4 && modrm < 0xc0) continue;  // SIB
      const std::vector<uint8_t> bytes = {
          static_cast<uint8_t>(opcode), static_cast<uint8_t>(modrm), 0, 0, 0, 0};
      const auto instruction = decoder.decode(bytes, CodeMode::k64);
      if (!instruction) continue;
      ++seen;
      const std::string_view text = instruction->text.data();
      SCOPED_TRACE(text);
      const bool no_operation = text.find("8087_nop") != text.npos || text.starts_with("fsetpm");
      const bool does_not_wait = (text.starts_with("fn") && !text.starts_with("fnop"));
      EXPECT_EQ(instruction->waits, !does_not_wait && !no_operation);
      EXPECT_EQ(instruction->x87 == X87Use::kReadStatus, text.starts_with("fnstsw"));
      EXPECT_EQ(instruction->x87 == X87Use::kClearStatus,
                begins_with_any(text, {"fnclex", "fninit"}));
      EXPECT_EQ(instruction->x87 == X87Use::kLoadControl, text.starts_with("fldcw"));
      const bool compares =
          begins_with_any(text, {"fcom", "fucom", "ficom", "ftst", "fxam", "fprem"}) &&
          !begins_with_any(text, {"fcomi ", "fcompi", "fucomi ", "fucompi"});
      EXPECT_EQ(instruction->x87 == X87Use::kComparison, compares);
      EXPECT_EQ(instruction->fop, (opcode & 7) << 8 | modrm);
    }
  }
  EXPECT_GT(seen, 1500u);
}

TEST(FloatingPointDecoding, OfSimdInstructionsAgreesWithTheirNames) {
  Decoder decoder;
  const std::vector<std::string_view> kArithmetic = {"add", "sub",  "mul",  "div",   "sqrt",
                                                     "min", "max",  "cmp",  "comis", "ucomis",
                                                     "cvt", "hadd", "hsub", "round", "dpp"};
  const std::vector<std::string_view> kExact = {"cvtdq2pd", "cvtpi2pd"};
  const std::vector<std::vector<uint8_t>> kMaps = {{0x0f}, {0x0f, 0x3a}};
  unsigned seen = 0;
  for (const auto& map : kMaps) {
    for (const int prefix : {0, 0x66, 0xf3, 0xf2}) {
      for (unsigned opcode = 0; opcode < 0x100; ++opcode) {
        std::vector<uint8_t> bytes;
        if (prefix != 0) bytes.push_back(static_cast<uint8_t>(prefix));
        bytes.push_back(0x45);  // REX.R and REX.B
        bytes.insert(bytes.end(), map.begin(), map.end());
        bytes.push_back(static_cast<uint8_t>(opcode));
        bytes.insert(bytes.end(), {0xd1, 0x01, 0, 0, 0, 0});
        const auto instruction = decoder.decode(bytes, CodeMode::k64);
        if (!instruction) continue;
        const std::string_view text = instruction->text.data();
        const std::string_view name = text.substr(0, text.find(' '));
        SCOPED_TRACE(text);
        const bool simd = instruction->technology == Technology::kSse;
        const bool arithmetic =
            simd && begins_with_any(name, kArithmetic) && !begins_with_any(name, kExact);
        EXPECT_EQ(instruction->simd.kind != SimdArithmetic::Kind::kNone, arithmetic);
        if (!arithmetic) continue;
        ++seen;
        EXPECT_EQ(instruction->simd.destination, 10);
        EXPECT_EQ(instruction->simd.source, 9);
        const bool packed = name.ends_with("ps") || name.ends_with("pd");
        if (instruction->simd.kind == SimdArithmetic::Kind::kConversion ||
            name.starts_with("cvt")) {
          continue;
        }
        const bool narrow = name.ends_with("ps") || name.ends_with("ss");
        EXPECT_EQ(instruction->simd.size, narrow ? 4 : 8);
        EXPECT_EQ(instruction->simd.count, !packed ? 1 : narrow ? 4 : 2);
      }
    }
  }
  EXPECT_GT(seen, 60u);
}

// "REX Prefixes": one that does not stand right before the opcode is ignored.
TEST(FloatingPointDecoding, RexPrefixesBeforeOthersAreIgnored) {
  Decoder decoder;
  const auto decode = [&](const std::vector<uint8_t>& bytes) {
    return *decoder.decode(bytes, CodeMode::k64);
  };
  const Instruction ignored = decode({0x48, 0x66, 0x89, 0xc8});
  EXPECT_EQ(ignored.operand_size, 2);
  EXPECT_FALSE(ignored.prefixes.rex_w);
  EXPECT_TRUE(ignored.prefixes.operand_size);
  EXPECT_TRUE(decode({0x66, 0x48, 0x89, 0xc8}).prefixes.rex_w);
  EXPECT_FALSE(decode({0x48, 0x40, 0x89, 0xc8}).prefixes.rex_w) << "the last one counts";
  EXPECT_EQ(decode({0x66, 0xe8, 0, 0, 0, 0}).length, 6);
  EXPECT_EQ(decode({0x66, 0xe8, 0, 0, 0, 0}).operation, Operation::kNearBranch);
  EXPECT_EQ(decode({0x66, 0x48, 0xe8, 0, 0, 0, 0}).operation, Operation::kNearBranch);
  EXPECT_EQ(decode({0xe8, 0, 0, 0, 0}).operation, Operation::kOther);
}

}  // namespace
}  // namespace nestor::emu
