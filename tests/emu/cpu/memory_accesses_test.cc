// SPDX-License-Identifier: GPL-2.0-or-later
//
// Which memory instructions access, as the decoder tells it, against what the engine asks for when
// it executes them.
#include "emu/cpu/memory_accesses.h"

#include <algorithm>
#include <optional>
#include <string_view>

#include "emu/cpu/modelled_code.h"
#include "tests/emu/engine/unicorn/engine_fixture.h"

namespace nestor::emu {
namespace {

// Where the engine departs from the manual: it does not touch all of an area, reads more of an
// operand than it uses, or does nothing at all.
bool is_exempt(std::string_view text) {
  constexpr std::string_view kNames[] = {
      "bnd",    "clflush", "cvtdq2pd", "cvtps2pd", "cvtps2pi", "cvttps2pi",
      "fldenv", "fxrstor", "fxsave",   "punpckl",  "rounds",
  };
  return std::ranges::any_of(kNames, [&](auto name) { return text.starts_with(name); });
}

class MemoryAccessesOfTheEngine : public EngineTest {
 protected:
  static constexpr uint64_t kOperand = 0x40000;

  MemoryAccessesOfTheEngine() { prepare(long_mode()); }

  void prepare(vmx::CpuState state) {
    state_ = state;
    for (uint64_t& value : state_.gpr) value = 0;
    state_.gpr[vmx::kRsp] = state_.gpr[vmx::kRbp] = kStack;
  }
  // Each general register that the instruction may use for an address.
  void point_to(uint64_t address) {
    for (const auto gpr : {vmx::kRax, vmx::kRsi, vmx::kRdi}) state_.gpr[gpr] = address;
    state_.gpr[vmx::kRbx] = address - (address & 0xff);  // XLAT adds AL
    state_.gpr[vmx::kRcx] = 0;
    state_.gpr[vmx::kRdx] = 0;
  }

  std::optional<Instruction> decode(const Code& code) {
    const auto instruction = decoder_.decode(code, code_mode(state_));
    if (!instruction || instruction->operation != Operation::kOther) return std::nullopt;
    if (instruction->branch != NearBranch::kNone) return std::nullopt;  // it would leave
    return instruction;
  }

  // What the engine is refused, if anything.
  std::optional<Fill> first_refusal(const Code& code) {
    vmx::CpuState state = state_;
    put_code(then_hlt(code));
    engine_->flush_tlb();
    context_.request_flush();
    const Stop stop = run(state);
    if (stop.kind != StopKind::kRefusedFill || stop.access == FillAccess::kFetch) {
      return std::nullopt;
    }
    return Fill{stop.linear, stop.access};
  }
  // Not executed at all: an instruction that this engine does not have.
  bool is_undefined(const Code& code) {
    pages_.clear();
    vmx::CpuState state = state_;
    const Stop stop = run(state, then_hlt(code));
    return stop.kind == StopKind::kException;
  }

  // Of the instruction that these begin with.
  void expect_agreement(const Code& bytes);

  static Code then_hlt(Code code) {
    code.push_back(0xf4);
    return code;
  }

  vmx::CpuState state_;
  unsigned compared_ = 0;
};

void MemoryAccessesOfTheEngine::expect_agreement(const Code& bytes) {
  point_to(kOperand);
  const auto instruction = decode(bytes);
  if (!instruction) return;
  const Code code(bytes.begin(), bytes.begin() + instruction->length);
  if (is_undefined(code)) return;
  SCOPED_TRACE(instruction->text.data());
  const MemoryAccesses accesses = memory_accesses(state_, *instruction);
  if (is_exempt(instruction->text.data())) return;
  const MemoryAccess* operand = nullptr;
  for (const MemoryAccess& access : accesses) {
    if (operand == nullptr && is_part_of(state_, access, kOperand)) operand = &access;
  }
  ++compared_;
  const uint8_t opcode = code[code[0] == 0x66 ? 1 : 0];
  const bool string = opcode >= 0xa4 && opcode <= 0xaf;
  // Nothing may be read or written.
  pages_ = {{kOperand, {kOperand, false, false, false}}};
  const auto refused = first_refusal(code);
  ASSERT_EQ(refused.has_value(), operand != nullptr);
  if (operand == nullptr) return;
  EXPECT_EQ(refused->access, operand->read ? FillAccess::kRead : FillAccess::kWrite);
  if (string || instruction->bit_offset) return;  // the operands are not where RAX says
  // It may be read.
  pages_ = {{kOperand, {kOperand, true, false, false}}};
  const auto written = first_refusal(code);
  EXPECT_EQ(written.has_value(), operand->written);
  // Its last byte is the last one of a page, and then one byte too many.
  const uint64_t next = kOperand + kPage;
  pages_ = {{next, {next, false, false, false}}};
  const uint64_t alignment = operand->aligned ? 16 : 1;
  point_to(next - operand->size);
  EXPECT_FALSE(first_refusal(code)) << operand->size << " bytes are too few";
  if (alignment != 1) return;
  point_to(next - operand->size + 1);
  EXPECT_TRUE(first_refusal(code)) << operand->size << " bytes are too many";
}

// 0F 0B is UD2, and so on: what the decoder does not know is not compared.
TEST_F(MemoryAccessesOfTheEngine, OfOneByteOpcodes) {
  for (const bool narrow : {false, true}) {
    for (unsigned opcode = 0; opcode < 256; ++opcode) {
      for (uint8_t reg = 0; reg < 8; ++reg) {
        Code code = {static_cast<uint8_t>(opcode), static_cast<uint8_t>(reg << 3), 0, 0, 0, 0};
        if (narrow) code.insert(code.begin(), 0x66);
        const auto instruction = decode(code);
        if (!instruction || instruction->memory() == nullptr) continue;
        const bool counts = (opcode & 0xfe) == 0xf6 && reg >= 6;  // DIV by what is there, 0
        if (!counts) expect_agreement(code);
      }
    }
  }
  EXPECT_GT(compared_, 500u);
}

TEST_F(MemoryAccessesOfTheEngine, OfTwoByteOpcodes) {
  for (const uint8_t prefix : Code{0x00, 0x66, 0xf3, 0xf2}) {
    for (unsigned opcode = 0; opcode < 256; ++opcode) {
      if (opcode == 0x38 || opcode == 0x3a) continue;
      for (uint8_t reg = 0; reg < 8; ++reg) {
        Code code = {0x0f, static_cast<uint8_t>(opcode), static_cast<uint8_t>(reg << 3), 0, 0, 0,
                     0};
        if (prefix != 0) code.insert(code.begin(), prefix);
        expect_agreement(code);
      }
    }
  }
  EXPECT_GT(compared_, 1500u);
}

TEST_F(MemoryAccessesOfTheEngine, OfThreeByteOpcodes) {
  for (const uint8_t prefix : Code{0x00, 0x66, 0xf2}) {
    for (const uint8_t map : Code{0x38, 0x3a}) {
      for (unsigned opcode = 0; opcode < 256; ++opcode) {
        Code code = {0x0f, map, static_cast<uint8_t>(opcode), 0, 0};
        if (prefix != 0) code.insert(code.begin(), prefix);
        expect_agreement(code);
      }
    }
  }
  EXPECT_GT(compared_, 80u);
}

TEST_F(MemoryAccessesOfTheEngine, OfTheX87) {
  for (unsigned opcode = 0xd8; opcode <= 0xdf; ++opcode) {
    for (uint8_t reg = 0; reg < 8; ++reg) {
      expect_agreement({static_cast<uint8_t>(opcode), static_cast<uint8_t>(reg << 3)});
      expect_agreement({0x66, static_cast<uint8_t>(opcode), static_cast<uint8_t>(reg << 3)});
    }
  }
  EXPECT_GT(compared_, 80u);
}

// --- what stands in no operand

class ImpliedAccesses : public MemoryAccessesOfTheEngine {
 protected:
  void expect(const Code& code,
              const std::vector<std::tuple<vmx::SegmentRegister, uint64_t, uint32_t, bool>>& want) {
    const auto instruction = decoder_.decode(code, code_mode(state_));
    ASSERT_TRUE(instruction);
    SCOPED_TRACE(instruction->text.data());
    std::vector<std::tuple<vmx::SegmentRegister, uint64_t, uint32_t, bool>> got;
    for (const MemoryAccess& access : memory_accesses(state_, *instruction)) {
      got.emplace_back(access.segment, access.offset, access.size, access.written);
    }
    EXPECT_EQ(got, want);
  }
};

TEST_F(ImpliedAccesses, StackIn64BitCode) {
  using namespace vmx;
  state_.gpr[kRax] = kOperand;
  expect(ASM64("push rcx"), {{kSs, kStack - 8, 8, true}});
  expect(ASM64("push cx"), {{kSs, kStack - 2, 2, true}});
  expect(ASM64("push fs"), {{kSs, kStack - 8, 8, true}});
  expect(ASM64("pop rcx"), {{kSs, kStack, 8, false}});
  expect(ASM64("push qword ptr [rax]"), {{kDs, kOperand, 8, false}, {kSs, kStack - 8, 8, true}});
  expect(ASM64("pop qword ptr [rax]"), {{kSs, kStack, 8, false}, {kDs, kOperand, 8, true}});
  expect(ASM64("pop qword ptr [rsp + 16]"), {{kSs, kStack, 8, false}, {kSs, kStack + 24, 8, true}});
  expect(ASM64("call qword ptr [rax]"), {{kDs, kOperand, 8, false}, {kSs, kStack - 8, 8, true}});
  expect(ASM64("ret 16"), {{kSs, kStack, 8, false}});
  expect(ASM64("pushfq"), {{kSs, kStack - 8, 8, true}});
  expect(ASM64("popfq"), {{kSs, kStack, 8, false}});
  expect(ASM64("leave"), {{kSs, kStack, 8, false}});
  expect(ASM64("enter 32, 0"), {{kSs, kStack - 8, 8, true}});
  expect(ASM64("enter 32, 3"), {{kSs, kStack - 16, 16, false}, {kSs, kStack - 32, 32, true}});
}

TEST_F(ImpliedAccesses, StackInNarrowCode) {
  using namespace vmx;
  prepare(protected_mode());
  expect(ASM32("pushad"), {{kSs, kStack - 32, 32, true}});
  expect(ASM32("popaw"), {{kSs, kStack, 16, false}});
  expect(ASM32("push es"), {{kSs, kStack - 4, 4, true}});
  state_.segment[kSs].rights = kCode16Rights;  // a stack pointer of 16 bits
  state_.gpr[kRsp] = 0x55550002;
  expect(ASM32("push eax"), {{kSs, 0xfffe, 4, true}});
}

TEST_F(ImpliedAccesses, StringsXlatMasksAndBits) {
  using namespace vmx;
  // The segment means nothing here.
  state_.gpr[kRsi] = 0x1000;
  state_.gpr[kRdi] = 0x2000;
  state_.gpr[kRbx] = 0x3000;
  state_.gpr[kRax] = 0x12345;
  expect(ASM64("movsw"), {{kDs, 0x1000, 2, false}, {kDs, 0x2000, 2, true}});
  expect(ASM64("cmpsb"), {{kDs, 0x1000, 1, false}, {kDs, 0x2000, 1, false}});
  expect(ASM64("rep stosb"), {});  // RCX is 0
  state_.gpr[kRcx] = 5;
  expect(ASM64("rep stosb"), {{kDs, 0x2000, 1, true}});
  expect(ASM64("fs lodsd"), {{kFs, 0x1000, 4, false}});
  expect(ASM64("xlatb"), {{kDs, 0x3045, 1, false}});
  expect(ASM64("maskmovdqu xmm0, xmm1"), {{kDs, 0x2000, 16, true}});
  state_.gpr[kRcx] = 67;
  expect(ASM64("bts [rsi], rcx"), {{kDs, 0x1008, 8, true}});
  expect(ASM64("bt [rsi], ecx"), {{kDs, 0x1008, 4, false}});
  state_.gpr[kRcx] = -1ull;
  expect(ASM64("btr [rsi], rcx"), {{kDs, 0x0ff8, 8, true}});
  expect(ASM64("btc [rsi], cx"), {{kDs, 0x0ffe, 2, true}});
  expect(ASM64("bts dword ptr [rsi], 35"), {{kDs, 0x1000, 4, true}});
  expect(ASM64("lea rax, [rsi]"), {});
  expect(ASM64("prefetcht0 [rsi]"), {});
  expect(ASM64("nop dword ptr [rsi]"), {});
}

}  // namespace
}  // namespace nestor::emu
