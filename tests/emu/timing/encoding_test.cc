// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/timing/encoding.h"

#include <gtest/gtest.h>

#include "emu/timing/tables.h"
#include "tests/emu/timing/priced_code.h"

namespace nestor::emu::timing::test {
namespace {

Encoding encoding_of(const Code& code, CodeMode mode = CodeMode::k64) {
  return parse_encoding(code, mode);
}

TEST(InstructionEncoding, KeysAreNumbersAndBack) {
  EncodingKey key;
  key.space = 1;
  key.opcode = 0xb8;
  key.repeat = EncodingKey::kRep;
  key.operand_size = true;
  key.wide = true;
  key.memory = true;
  key.lock = true;
  key.reg = 5;
  EXPECT_EQ(EncodingKey::from(key.number()).number(), key.number());
  EXPECT_TRUE(EncodingKey::from(key.number()).lock);
  EXPECT_LT(key.number(), EncodingKey::kEnd);
}

TEST(InstructionEncoding, FindsRegistersAndAddresses) {
  const Encoding add = encoding_of(ASM64("add r9, qword ptr [r12 + rsi*4 - 0x48]"));
  EXPECT_EQ(add.key.space, 0);
  EXPECT_EQ(add.key.opcode, 0x03);
  EXPECT_TRUE(add.key.wide);
  EXPECT_TRUE(add.key.memory);
  EXPECT_EQ(add.place[kRegPlace], 9);
  EXPECT_EQ(add.base, 12);
  EXPECT_EQ(add.index, 6);
  EXPECT_EQ(add.scale, 4);
  EXPECT_EQ(add.displacement, -0x48);
  EXPECT_EQ(add.opcode_offset, 1);

  const Encoding relative = encoding_of(ASM64("mov eax, dword ptr [rip + 0x1234]"));
  EXPECT_TRUE(relative.rip_relative);
  EXPECT_EQ(relative.base, Encoding::kNone);
  EXPECT_EQ(relative.displacement, 0x1234);

  const Encoding no_base = encoding_of(ASM64("lea rax, [rcx*8 + 0x10]"));
  EXPECT_EQ(no_base.base, Encoding::kNone);
  EXPECT_EQ(no_base.index, 1);

  const Encoding push = encoding_of(ASM64("push r13"));
  EXPECT_EQ(push.place[kOpcodePlace], 13);
}

TEST(InstructionEncoding, ReadsVex) {
  const Encoding add = encoding_of(ASM64("vaddps ymm9, ymm10, ymm11"));
  EXPECT_EQ(add.key.space, kFirstVexSpace);
  EXPECT_EQ(add.key.opcode, 0x58);
  EXPECT_TRUE(add.key.vector_256);
  EXPECT_EQ(add.place[kRegPlace], 9);
  EXPECT_EQ(add.place[kVvvvPlace], 10);
  EXPECT_EQ(add.place[kRmPlace], 11);

  const Encoding blend = encoding_of(ASM64("vblendvps xmm1, xmm2, [rdi + 8], xmm4"));
  EXPECT_EQ(blend.key.space, kFirstVexSpace + 2);
  EXPECT_EQ(blend.place[kIs4Place], 4);
  EXPECT_EQ(blend.base, 7);

  const Encoding shift = encoding_of(ASM64("shlx rax, rcx, rdx"));
  EXPECT_TRUE(shift.key.wide);
  EXPECT_TRUE(shift.key.operand_size);
  EXPECT_EQ(shift.place[kVvvvPlace], 2);
}

TEST(InstructionEncoding, EvexHasNoPrices) {
  EXPECT_FALSE(encoding_of({0x62, 0xf1, 0x74, 0x48, 0x58, 0xc2}).known);  // VADDPS of ZMM
  EXPECT_TRUE(priced({0x62, 0xf1, 0x74, 0x48, 0x58, 0xc2})[0].default_priced);
}

TEST(InstructionEncoding, LengthChangingPrefixesNeedAnImmediate) {
  EXPECT_TRUE(encoding_of(ASM64("add ax, 0x1234")).length_changing_prefix);
  EXPECT_TRUE(encoding_of(ASM64("test cx, 0x1234")).length_changing_prefix);
  EXPECT_FALSE(encoding_of(ASM64("not cx")).length_changing_prefix);
  EXPECT_FALSE(encoding_of(ASM64("add ax, 4")).length_changing_prefix);
  EXPECT_FALSE(encoding_of(ASM64("add ax, cx")).length_changing_prefix);
  EXPECT_FALSE(encoding_of(ASM64("add rax, 0x1234")).length_changing_prefix);
}

TEST(InstructionEncoding, OtherModesHaveTheSameForms) {
  const auto form_of = [](const Code& code, CodeMode mode) {
    return form_number(encoding_of(code, mode).key);
  };
  EXPECT_EQ(form_of(ASM32("inc ecx"), CodeMode::k32), form_of(ASM64("inc ecx"), CodeMode::k64));
  EXPECT_EQ(form_of(ASM32("dec edi"), CodeMode::k32), form_of(ASM64("dec edi"), CodeMode::k64));
  EXPECT_EQ(form_of(ASM16("add ax, bx"), CodeMode::k16),
            form_of(ASM64("add ax, bx"), CodeMode::k64));
  EXPECT_EQ(form_of(ASM16("add eax, ebx"), CodeMode::k16),
            form_of(ASM64("add eax, ebx"), CodeMode::k64));
  const Encoding address = encoding_of(ASM16("mov ax, word ptr [bx + si + 4]"), CodeMode::k16);
  EXPECT_EQ(address.base, 3);
  EXPECT_EQ(address.index, 6);
  // LES, which would be VEX in 64-bit mode.
  EXPECT_EQ(encoding_of(ASM32("les eax, [ecx]"), CodeMode::k32).key.space, 0);
}

// Whatever the key, the price is one.
TEST(PriceTables, EveryEncodingHasABoundedPrice) {
  size_t priced_keys = 0;
  for (uint32_t number = 0; number < EncodingKey::kEnd; ++number) {
    const uint16_t form = form_number(EncodingKey::from(number));
    if (form == 0) continue;
    for (const Processor& processor : processors()) {
      const TablePrice* price = table_price(processor.table, form);
      if (price == nullptr) continue;
      ++priced_keys;
      ASSERT_LE(price->operand_latency, price->latency) << number;
      ASSERT_LE(price->latency, kMaxLatency) << number;
      for (const PortUse& use : price->use) ASSERT_EQ(use.ports != 0, use.cycles != 0) << number;
    }
  }
  EXPECT_GT(priced_keys, 1'000'000u);
}

TEST(PriceTables, EveryPortIsInASet) {
  for (uint32_t number = 0; number < EncodingKey::kEnd; ++number) {
    const uint16_t form = form_number(EncodingKey::from(number));
    for (const Processor& processor : processors()) {
      const TablePrice* price = table_price(processor.table, form);
      if (price == nullptr) continue;
      for (const PortUse& use : price->use) {
        bool found = use.cycles == 0;
        for (unsigned set = 0; set < kPortSets && !found; ++set)
          found = port_set(processor, set) != 0 && (use.ports & ~port_set(processor, set)) == 0;
        ASSERT_TRUE(found) << "key " << number << ", ports " << use.ports;
      }
    }
  }
}

// What the manuals and Agner Fog's tables publish.
TEST(PriceTables, HasPublishedFigures) {
  const auto one = [](const Code& code, Generation generation) {
    return priced(code, generation)[0];
  };
  for (const Processor& processor : processors()) {
    const Generation generation = processor.generation;
    EXPECT_EQ(one(ASM64("imul rax, rcx"), generation).latency, 3);
    EXPECT_EQ(ports_of(one(ASM64("imul rax, rcx"), generation)), "1");
    EXPECT_EQ(one(ASM64("add rax, rcx"), generation).latency, 1);
    EXPECT_EQ(ports_of(one(ASM64("add rax, rcx"), generation)), "0156");
    EXPECT_EQ(ports_of(one(ASM64("shl rax, 3"), generation)), "06");
    EXPECT_EQ(ports_of(one(ASM64("mov rax, [rcx]"), generation)), "23");
    EXPECT_EQ(one(ASM64("mov rax, [rcx]"), generation).latency, 5);
    EXPECT_EQ(one(ASM64("popcnt rax, rcx"), generation).latency, 3);
    EXPECT_EQ(one(ASM64("nop"), generation).use_count, 0);
  }
  EXPECT_EQ(one(ASM64("div ecx"), Generation::kSkylake).latency, 26);
  EXPECT_EQ(one(ASM64("addps xmm0, xmm1"), Generation::kHaswell).latency, 3);
  EXPECT_EQ(ports_of(one(ASM64("addps xmm0, xmm1"), Generation::kHaswell)), "1");
  EXPECT_EQ(one(ASM64("addps xmm0, xmm1"), Generation::kSkylake).latency, 4);
  EXPECT_EQ(ports_of(one(ASM64("addps xmm0, xmm1"), Generation::kSkylake)), "01");
  EXPECT_EQ(one(ASM64("adc rax, rcx"), Generation::kHaswell).latency, 2);
  EXPECT_EQ(one(ASM64("adc rax, rcx"), Generation::kSkylake).latency, 1);
  EXPECT_EQ(ports_of(one(ASM64("mov [rcx], rax"), Generation::kSkylake)), "4+237");
  EXPECT_EQ(ports_of(one(ASM64("mov [rcx], rax"), Generation::kIceLake)), "78+49");
}

}  // namespace
}  // namespace nestor::emu::timing::test
