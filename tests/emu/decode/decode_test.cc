// SPDX-License-Identifier: GPL-2.0-or-later
#include <gtest/gtest.h>

#include <vector>

#include "emu/decode/decoder.h"

namespace nestor::emu::test {
namespace {

using Bytes = std::vector<uint8_t>;
using Kind = Operand::Kind;

struct OperationCase {
  Bytes bytes;
  Operation operation;
  unsigned modes = 7;  // bit 0: 16-bit, bit 1: 32-bit, bit 2: 64-bit code
};
constexpr unsigned k64Only = 4, kNot64 = 3;

const OperationCase kCases[] = {
    {{0x0f, 0x22, 0xc0}, Operation::kMovToCr},
    {{0x0f, 0x22, 0x00}, Operation::kMovToCr},  // ModRM.mod is ignored
    {{0x0f, 0x20, 0xe1}, Operation::kMovFromCr},
    {{0x44, 0x0f, 0x22, 0xc0}, Operation::kMovToCr, k64Only},
    {{0x0f, 0x23, 0xf8}, Operation::kMovToDr},
    {{0x0f, 0x21, 0xe0}, Operation::kMovFromDr},
    {{0x0f, 0x06}, Operation::kClts},
    {{0x0f, 0x01, 0xf0}, Operation::kLmsw},
    {{0x0f, 0x01, 0x37}, Operation::kLmsw},
    {{0x0f, 0x01, 0xe0}, Operation::kSmsw},
    {{0x0f, 0x32}, Operation::kRdmsr},
    {{0x0f, 0x30}, Operation::kWrmsr},
    {{0x0f, 0x31}, Operation::kRdtsc},
    {{0x0f, 0x01, 0xf9}, Operation::kRdtscp},
    {{0x0f, 0x33}, Operation::kRdpmc},
    {{0x0f, 0x01, 0xd0}, Operation::kXgetbv},
    {{0x0f, 0x01, 0xd1}, Operation::kXsetbv},
    {{0x0f, 0xa2}, Operation::kCpuid},
    {{0xf4}, Operation::kHlt},
    {{0xf3, 0x90}, Operation::kPause},
    {{0x0f, 0x01, 0x3f}, Operation::kInvlpg},
    {{0x66, 0x0f, 0x38, 0x82, 0x07}, Operation::kInvpcid},
    {{0x0f, 0x09}, Operation::kWbinvd},
    {{0xf3, 0x0f, 0x09}, Operation::kWbnoinvd},
    {{0x0f, 0x08}, Operation::kInvd},
    {{0x0f, 0x01, 0xc8}, Operation::kMonitor},
    {{0x0f, 0x01, 0xc9}, Operation::kMwait},
    {{0x0f, 0x01, 0xca}, Operation::kClac},
    {{0x0f, 0x01, 0xcb}, Operation::kStac},
    {{0xf3, 0x0f, 0xae, 0xc0}, Operation::kRdfsbase, k64Only},
    {{0xf3, 0x48, 0x0f, 0xae, 0xc8}, Operation::kRdgsbase, k64Only},
    {{0xf3, 0x0f, 0xae, 0xd0}, Operation::kWrfsbase, k64Only},
    {{0xf3, 0x48, 0x0f, 0xae, 0xd8}, Operation::kWrgsbase, k64Only},
    {{0x0f, 0x01, 0x07}, Operation::kSgdt},
    {{0x0f, 0x01, 0x0f}, Operation::kSidt},
    {{0x0f, 0x01, 0x17}, Operation::kLgdt},
    {{0x0f, 0x01, 0x1f}, Operation::kLidt},
    {{0x0f, 0x00, 0xc0}, Operation::kSldt},
    {{0x0f, 0x00, 0xc8}, Operation::kStr},
    {{0x0f, 0x00, 0xd0}, Operation::kLldt},
    {{0x0f, 0x00, 0xd8}, Operation::kLtr},
    {{0xcd, 0x80}, Operation::kInt},
    {{0xf1}, Operation::kInt1},
    {{0xcc}, Operation::kInt3},
    {{0xce}, Operation::kInto, kNot64},
    {{0x0f, 0x05}, Operation::kSyscall},
    {{0x0f, 0x07}, Operation::kSysret},
    {{0x48, 0x0f, 0x07}, Operation::kSysret, k64Only},
    {{0x0f, 0x34}, Operation::kSysenter},
    {{0x0f, 0x35}, Operation::kSysexit},
    {{0x48, 0x0f, 0x35}, Operation::kSysexit, k64Only},
    {{0xe4, 0x60}, Operation::kIn},
    {{0xed}, Operation::kIn},
    {{0xe7, 0x60}, Operation::kOut},
    {{0xee}, Operation::kOut},
    {{0x6c}, Operation::kIns},
    {{0x6d}, Operation::kIns},
    {{0xf3, 0x6e}, Operation::kOuts},
    {{0x6f}, Operation::kOuts},
    {{0xcf}, Operation::kIret},
    {{0x66, 0xcf}, Operation::kIret},
    {{0x48, 0xcf}, Operation::kIret, k64Only},
    {{0xf3, 0xcf}, Operation::kIret},
    {{0x48, 0xff, 0x28}, Operation::kFarJump, k64Only},
    {{0xff, 0x28}, Operation::kFarJump},
    {{0x66, 0xff, 0x28}, Operation::kFarJump},
    {{0xf2, 0xff, 0x28}, Operation::kFarJump},
    {{0xff, 0x18}, Operation::kFarCall},
    {{0x66, 0xff, 0x18}, Operation::kFarCall},
    {{0x48, 0xff, 0x18}, Operation::kFarCall, k64Only},
    {{0xff, 0x10}, Operation::kOther},  // near
    {{0xff, 0x20}, Operation::kOther},
    {{0xff, 0xd0}, Operation::kOther},
    {{0xff, 0xe0}, Operation::kOther},
    {{0xff, 0x30}, Operation::kOther},  // PUSH
    {{0xcb}, Operation::kFarReturn},
    {{0x66, 0xcb}, Operation::kFarReturn},
    {{0x48, 0xcb}, Operation::kFarReturn, k64Only},
    {{0xca, 0xf0, 0xff}, Operation::kFarReturn},
    {{0x48, 0xca, 0xf0, 0xff}, Operation::kFarReturn, k64Only},
    {{0xc3}, Operation::kOther},
    {{0x9d}, Operation::kPopf},
    {{0x66, 0x9d}, Operation::kPopf},
    {{0x8e, 0xd0}, Operation::kMoveToSegment},
    {{0x8e, 0x18}, Operation::kMoveToSegment},
    {{0x66, 0x8e, 0xe0}, Operation::kMoveToSegment},
    {{0x48, 0x8e, 0xe8}, Operation::kMoveToSegment, k64Only},
    {{0x8c, 0xd8}, Operation::kOther},  // from one
    {{0x07}, Operation::kPopSegment, kNot64},
    {{0x17}, Operation::kPopSegment, kNot64},
    {{0x1f}, Operation::kPopSegment, kNot64},
    {{0x0f, 0xa1}, Operation::kPopSegment},
    {{0x66, 0x0f, 0xa9}, Operation::kPopSegment},
    {{0x58}, Operation::kOther},
    {{0xc5, 0x00}, Operation::kLds, kNot64},
    {{0xc4, 0x00}, Operation::kLes, kNot64},
    {{0x66, 0xc4, 0x00}, Operation::kLes, kNot64},
    {{0x0f, 0xb4, 0x00}, Operation::kLfs},
    {{0x0f, 0xb5, 0x00}, Operation::kLgs},
    {{0x4c, 0x0f, 0xb5, 0x00}, Operation::kLgs, k64Only},
    {{0x0f, 0xb2, 0x00}, Operation::kLss},
    {{0x0f, 0x02, 0xc8}, Operation::kLar},
    {{0x0f, 0x02, 0x08}, Operation::kLar},
    {{0x48, 0x0f, 0x02, 0xc8}, Operation::kLar, k64Only},
    {{0x0f, 0x03, 0xc8}, Operation::kLsl},
    {{0x0f, 0x03, 0x08}, Operation::kLsl},
    {{0x0f, 0x00, 0xe0}, Operation::kVerr},
    {{0x0f, 0x00, 0x28}, Operation::kVerw},
    {{0x0f, 0x01, 0xc1}, Operation::kVmcall},
    {{0x66, 0x0f, 0xc7, 0x37}, Operation::kVmclear},
    {{0x0f, 0x01, 0xd4}, Operation::kVmfunc},
    {{0x0f, 0x01, 0xc2}, Operation::kVmlaunch},
    {{0x0f, 0xc7, 0x37}, Operation::kVmptrld},
    {{0x0f, 0xc7, 0x3f}, Operation::kVmptrst},
    {{0x0f, 0x78, 0xc1}, Operation::kVmread},
    {{0x0f, 0x78, 0x07}, Operation::kVmread},
    {{0x0f, 0x01, 0xc3}, Operation::kVmresume},
    {{0x0f, 0x79, 0xc1}, Operation::kVmwrite},
    {{0x0f, 0x01, 0xc4}, Operation::kVmxoff},
    {{0xf3, 0x0f, 0xc7, 0x37}, Operation::kVmxon},
    {{0xf3, 0x66, 0x0f, 0xc7, 0x37}, Operation::kVmxon},  // F3 counts, in any order
    {{0x66, 0x0f, 0x38, 0x80, 0x07}, Operation::kInvept},
    {{0x66, 0x0f, 0x38, 0x81, 0x07}, Operation::kInvvpid},
    {{0x0f, 0xae, 0x27}, Operation::kXsave},
    {{0x48, 0x0f, 0xae, 0x27}, Operation::kXsave, k64Only},
    {{0x0f, 0xae, 0x2f}, Operation::kXrstor},
    {{0x48, 0x0f, 0xae, 0x2f}, Operation::kXrstor, k64Only},
    {{0x0f, 0xae, 0x37}, Operation::kXsaveopt},
    {{0x48, 0x0f, 0xae, 0x37}, Operation::kXsaveopt, k64Only},
    {{0x0f, 0xc7, 0x27}, Operation::kXsavec},
    {{0x48, 0x0f, 0xc7, 0x27}, Operation::kXsavec, k64Only},
    {{0x0f, 0xc7, 0x2f}, Operation::kXsaves},
    {{0x48, 0x0f, 0xc7, 0x2f}, Operation::kXsaves, k64Only},
    {{0x0f, 0xc7, 0x1f}, Operation::kXrstors},
    {{0x48, 0x0f, 0xc7, 0x1f}, Operation::kXrstors, k64Only},
    {{0x0f, 0xc7, 0xf0}, Operation::kRdrand},
    {{0x66, 0x0f, 0xc7, 0xf0}, Operation::kRdrand},
    {{0x0f, 0xc7, 0xf8}, Operation::kRdseed},
    {{0xf3, 0x0f, 0xc7, 0xf8}, Operation::kRdpid},
    {{0x0f, 0x01, 0xd9}, Operation::kOther},  // VMMCALL
    {{0x90}, Operation::kOther},
};

TEST(Decoder, KnowsEverySystemInstructionInEveryMode) {
  Decoder decoder;
  for (const OperationCase& c : kCases) {
    for (unsigned mode = 0; mode < 3; ++mode) {
      if (!(c.modes >> mode & 1)) continue;
      // What follows the instruction does not matter.
      Bytes bytes = c.bytes;
      bytes.resize(20, 0xcc);
      const auto instruction = decoder.decode(bytes, static_cast<CodeMode>(mode));
      ASSERT_TRUE(instruction) << testing::PrintToString(c.bytes) << " mode " << mode;
      EXPECT_EQ(instruction->operation, c.operation)
          << instruction->text.data() << " mode " << mode;
      EXPECT_EQ(instruction->length, c.bytes.size())
          << instruction->text.data() << " mode " << mode;
    }
  }
}

TEST(Decoder, RejectsWhatIsNoInstruction) {
  Decoder decoder;
  EXPECT_FALSE(decoder.decode(Bytes{0xce, 0x90}, CodeMode::k64));              // INTO
  EXPECT_FALSE(decoder.decode(Bytes{0xf0, 0x0f, 0x22, 0xc0}, CodeMode::k32));  // LOCK MOV CR
  EXPECT_FALSE(decoder.decode(Bytes{0xf3, 0x0f, 0x78, 0xc1}, CodeMode::k32));
  EXPECT_FALSE(decoder.decode(Bytes{0x0f, 0x22}, CodeMode::k64));  // cut off
  for (const CodeMode mode : {CodeMode::k16, CodeMode::k32, CodeMode::k64}) {
    // Far pointers in registers; a segment register that does not exist.
    for (const Bytes& bytes : {Bytes{0xff, 0xd8}, Bytes{0xff, 0xe8}, Bytes{0x0f, 0xb2, 0xc0},
                               Bytes{0x0f, 0xb4, 0xc0}, Bytes{0x8e, 0xf0}, Bytes{0x8e, 0xf8}}) {
      EXPECT_FALSE(decoder.decode(bytes, mode)) << testing::PrintToString(bytes);
    }
  }
  for (const Bytes& bytes : {Bytes{0x9a, 1, 2, 3, 4, 5, 6}, Bytes{0xea, 1, 2, 3, 4, 5, 6},
                             Bytes{0x07}, Bytes{0x17}, Bytes{0x1f}, Bytes{0xc4, 0x00}}) {
    EXPECT_FALSE(decoder.decode(bytes, CodeMode::k64)) << testing::PrintToString(bytes);
  }
  EXPECT_FALSE(decoder.decode(Bytes{}, CodeMode::k64));
  EXPECT_FALSE(decoder.decode(Bytes(16, 0x66), CodeMode::k64));
}

// What 66, F2 and F3 before a VMX instruction make of it. Where the opcode has "NP" in the manual,
// nothing or another instruction; where it has none of the three, they are ignored.
TEST(Decoder, PrefixesOfVmxInstructions) {
  constexpr auto kNone = Operation::kCount;
  struct Row {
    Bytes opcode;
    Operation by_66, by_f2, by_f3;
  };
  const Row kRows[] = {
      {{0x0f, 0x01, 0xc1}, Operation::kVmcall, Operation::kVmcall, Operation::kVmcall},
      {{0x0f, 0x01, 0xc2}, Operation::kVmlaunch, Operation::kVmlaunch, Operation::kVmlaunch},
      {{0x0f, 0x01, 0xc3}, Operation::kVmresume, Operation::kVmresume, Operation::kVmresume},
      {{0x0f, 0x01, 0xc4}, Operation::kVmxoff, Operation::kVmxoff, Operation::kVmxoff},
      {{0x0f, 0x01, 0xd4}, kNone, kNone, kNone},                            // NP: VMFUNC
      {{0x0f, 0xc7, 0x37}, Operation::kVmclear, kNone, Operation::kVmxon},  // NP: VMPTRLD
      {{0x0f, 0xc7, 0x3f}, kNone, kNone, kNone},                            // NP: VMPTRST
      {{0x0f, 0x78, 0x07}, kNone, kNone, kNone},                            // NP: VMREAD
      {{0x0f, 0x79, 0x07}, kNone, kNone, kNone},                            // NP: VMWRITE
  };
  Decoder decoder;
  const auto operation = [&](uint8_t prefix, const Row& row, CodeMode mode) {
    Bytes bytes = row.opcode;
    bytes.insert(bytes.begin(), prefix);
    const size_t length = bytes.size();
    bytes.resize(20, 0xcc);
    const auto instruction = decoder.decode(bytes, mode);
    if (!instruction) return kNone;
    EXPECT_EQ(instruction->length, length);
    return instruction->operation;
  };
  for (const Row& row : kRows) {
    for (const CodeMode mode : {CodeMode::k16, CodeMode::k32, CodeMode::k64}) {
      SCOPED_TRACE(testing::PrintToString(row.opcode) + " mode " +
                   std::to_string(static_cast<int>(mode)));
      EXPECT_EQ(operation(0x66, row, mode), row.by_66);
      EXPECT_EQ(operation(0xf2, row, mode), row.by_f2);
      EXPECT_EQ(operation(0xf3, row, mode), row.by_f3);
    }
  }
}

// An instruction decoded by hand-made bytes alone.
Instruction decode(const Bytes& bytes, CodeMode mode) {
  Decoder decoder;
  const auto instruction = decoder.decode(bytes, mode);
  EXPECT_TRUE(instruction);
  return instruction.value_or(Instruction{});
}

TEST(Decoder, MemoryOperands) {
  // vmptrld fs:[rbp + rsi*8 - 0x5b]
  Instruction i = decode({0x64, 0x0f, 0xc7, 0x74, 0xf5, 0xa5}, CodeMode::k64);
  ASSERT_NE(i.memory(), nullptr);
  EXPECT_EQ(i.memory()->base, vmx::kRbp);
  EXPECT_EQ(i.memory()->index, vmx::kRsi);
  EXPECT_EQ(i.memory()->scale, 8);
  EXPECT_EQ(i.memory()->displacement, static_cast<uint64_t>(-0x5b));
  EXPECT_EQ(i.memory()->segment, vmx::kFs);
  EXPECT_EQ(i.memory()->address_size, 8);
  // lgdt [rip + 0x10]
  i = decode({0x0f, 0x01, 0x15, 0x10, 0, 0, 0}, CodeMode::k64);
  EXPECT_TRUE(i.memory()->rip_relative);
  EXPECT_FALSE(i.memory()->base);
  EXPECT_EQ(i.memory()->instruction_length, 7);
  EXPECT_EQ(i.memory()->segment, vmx::kDs);
  // SS is the default segment of ESP, EBP and BP.
  EXPECT_EQ(decode({0x0f, 0xc7, 0x74, 0x24, 0}, CodeMode::k32).memory()->segment, vmx::kSs);
  EXPECT_EQ(decode({0x0f, 0xc7, 0x75, 0}, CodeMode::k32).memory()->segment, vmx::kSs);
  i = decode({0x0f, 0xc7, 0x33}, CodeMode::k16);  // [bp + di]
  EXPECT_EQ(i.memory()->segment, vmx::kSs);
  EXPECT_EQ(i.memory()->base, vmx::kRbp);
  EXPECT_EQ(i.memory()->index, vmx::kRdi);
  EXPECT_EQ(i.memory()->address_size, 2);
}

// "Segmentation in 64-Bit Mode": prefixes for ES, CS, SS and DS are ignored.
TEST(Decoder, SegmentPrefixes) {
  const struct {
    uint8_t prefix;
    vmx::SegmentRegister segment;
    bool in_64bit_mode;
  } kPrefixes[] = {{0x26, vmx::kEs, false}, {0x2e, vmx::kCs, false}, {0x36, vmx::kSs, false},
                   {0x3e, vmx::kDs, false}, {0x64, vmx::kFs, true},  {0x65, vmx::kGs, true}};
  for (const auto& [prefix, segment, in_64bit_mode] : kPrefixes) {
    SCOPED_TRACE(static_cast<unsigned>(prefix));
    using Segment = std::optional<vmx::SegmentRegister>;
    const std::vector<uint8_t> by_rcx = {prefix, 0x8b, 0x01};        // mov eax, [rcx]
    const std::vector<uint8_t> by_rsp = {prefix, 0x8b, 0x04, 0x24};  // mov eax, [rsp]
    for (const CodeMode mode : {CodeMode::k32, CodeMode::k64}) {
      const bool counts = mode == CodeMode::k32 || in_64bit_mode;
      Instruction i = decode(by_rcx, mode);
      EXPECT_EQ(i.prefixes.segment, counts ? Segment(segment) : std::nullopt);
      EXPECT_EQ(i.memory()->segment, counts ? segment : vmx::kDs);
      i = decode(by_rsp, mode);
      EXPECT_EQ(i.memory()->segment, counts ? segment : vmx::kSs);
    }
  }
}

TEST(Decoder, SixteenBitCodeWithMandatoryPrefixes) {
  // invept eax, [bx + di + 0x12]
  Instruction i = decode({0x66, 0x0f, 0x38, 0x80, 0x41, 0x12}, CodeMode::k16);
  EXPECT_EQ(i.operation, Operation::kInvept);
  EXPECT_EQ(i.length, 6);
  EXPECT_EQ(i.operand[0].number, vmx::kRax);
  EXPECT_EQ(i.memory()->address_size, 2);
  EXPECT_EQ(i.memory()->base, vmx::kRbx);
  EXPECT_EQ(i.memory()->index, vmx::kRdi);
  EXPECT_EQ(i.memory()->displacement, 0x12u);
  // The same with a 32-bit address: invept eax, es:[ecx]
  i = decode({0x26, 0x67, 0x66, 0x0f, 0x38, 0x80, 0x01}, CodeMode::k16);
  EXPECT_EQ(i.length, 7);
  EXPECT_EQ(i.memory()->address_size, 4);
  EXPECT_EQ(i.memory()->base, vmx::kRcx);
  EXPECT_EQ(i.memory()->segment, vmx::kEs);
}

TEST(Decoder, FarPointers) {
  struct Case {
    Bytes bytes;
    CodeMode mode;
    uint8_t length, operand_size;
    uint64_t selector, offset;
  };
  const Case cases[] = {
      {{0xea, 1, 2, 3, 4, 5, 6}, CodeMode::k16, 5, 2, 0x403, 0x201},
      {{0xea, 1, 2, 3, 4, 5, 6}, CodeMode::k32, 7, 4, 0x605, 0x4030201},
      {{0x66, 0xea, 1, 2, 3, 4, 5, 6}, CodeMode::k16, 8, 4, 0x605, 0x4030201},
      {{0x66, 0xea, 1, 2, 3, 4, 5, 6}, CodeMode::k32, 6, 2, 0x403, 0x201},
      {{0x9a, 1, 2, 0xff, 0xff, 5, 6}, CodeMode::k16, 5, 2, 0xffff, 0x201},
      {{0x9a, 1, 2, 3, 0x84, 5, 0x86}, CodeMode::k32, 7, 4, 0x8605, 0x84030201},
  };
  for (const Case& c : cases) {
    SCOPED_TRACE(testing::PrintToString(c.bytes));
    const Instruction i = decode(c.bytes, c.mode);
    EXPECT_EQ(i.length, c.length);
    EXPECT_EQ(i.operand_size, c.operand_size);
    EXPECT_EQ(i.memory(), nullptr);
    ASSERT_GE(i.operand_count, 2);
    EXPECT_EQ(i.operand[0].immediate & 0xffff, c.selector);
    EXPECT_EQ(i.operand[1].immediate & (c.operand_size == 2 ? 0xffff : 0xffffffff), c.offset);
  }
}

TEST(Decoder, SegmentRegistersAndWhatIsLoadedBesideThem) {
  Instruction i = decode({0x45, 0x8e, 0xe1}, CodeMode::k64);  // mov fs, r9d; REX.R is ignored
  EXPECT_EQ(i.operand[0].kind, Kind::kSegment);
  EXPECT_EQ(i.operand[0].number, vmx::kFs);
  EXPECT_EQ(i.operand[1].number, vmx::kR9);
  i = decode({0x17}, CodeMode::k32);
  EXPECT_EQ(i.operand[0].number, vmx::kSs);
  for (const auto& [bytes, size] : {std::pair<Bytes, int>{{0x66, 0x0f, 0xb5, 0x08}, 2},
                                    {{0x0f, 0xb5, 0x08}, 4},
                                    {{0x48, 0x0f, 0xb5, 0x08}, 8}}) {
    i = decode(bytes, CodeMode::k64);
    EXPECT_EQ(i.operand_size, size);
    EXPECT_EQ(i.operand[0].size, size);
    EXPECT_EQ(i.operand[0].number, vmx::kRcx);
  }
  i = decode({0x48, 0x0f, 0x02, 0xc8}, CodeMode::k64);  // lar rcx, eax
  EXPECT_EQ(i.operand[0].size, 8);
  EXPECT_EQ(i.operand[1].number, vmx::kRax);
}

TEST(Decoder, StringIoOperands) {
  Instruction i = decode({0x64, 0xf3, 0x6f}, CodeMode::k32);  // rep outsd dx, fs:[esi]
  EXPECT_TRUE(i.prefixes.rep);
  EXPECT_EQ(i.operand[1].size, 4);
  EXPECT_EQ(i.operand[1].memory.segment, vmx::kFs);
  EXPECT_EQ(i.operand[1].memory.base, vmx::kRsi);
  i = decode({0x64, 0x6d}, CodeMode::k64);  // INS ignores overrides
  EXPECT_EQ(i.operand[0].memory.segment, vmx::kEs);
  EXPECT_EQ(i.operand[0].memory.base, vmx::kRdi);
  EXPECT_EQ(i.operand[0].size, 4);
}

TEST(Decoder, RegistersAndSizes) {
  Instruction i = decode({0x45, 0x0f, 0x22, 0xc1}, CodeMode::k64);  // mov cr8, r9
  EXPECT_EQ(i.operand[0].kind, Kind::kControlRegister);
  EXPECT_EQ(i.operand[0].number, 8);
  EXPECT_EQ(i.operand[1].number, vmx::kR9);
  EXPECT_EQ(i.operand[1].size, 8);
  i = decode({0x0f, 0x01, 0xe3}, CodeMode::k16);  // smsw bx
  EXPECT_EQ(i.operand[0].size, 2);
  EXPECT_EQ(i.operand_size, 2);
  i = decode({0x66, 0x0f, 0x01, 0x17}, CodeMode::k32);
  EXPECT_EQ(i.operand_size, 2);
  EXPECT_STREQ(decode({0x0f, 0x20, 0xc0}, CodeMode::k64).text.data(), "mov rax, cr0");
}

TEST(Decoder, RemembersBytesModeAndLength) {
  Decoder decoder;
  const Bytes call = {0x9a, 1, 0, 2,
                      0,    3, 0};  // call far: 5 bytes in 16-bit code, 7 in 32-bit code
  for (int round = 0; round < 2; ++round) {
    EXPECT_EQ(decoder.decode(call, CodeMode::k16)->length, 5);
    EXPECT_EQ(decoder.decode(call, CodeMode::k32)->length, 7);
    EXPECT_FALSE(decoder.decode(call, CodeMode::k64));
    EXPECT_FALSE(decoder.decode(std::span(call).first(6), CodeMode::k32));
  }
  for (int i = 0; i < 2000; ++i) {
    const Bytes in = {0xe4, static_cast<uint8_t>(i), static_cast<uint8_t>(i >> 8)};
    ASSERT_EQ(decoder.decode(in, CodeMode::k64)->operand[1].immediate & 0xff, i & 0xffu);
  }
}

TEST(Decoder, InstructionStarts) {
  Decoder decoder;
  // mov eax, 5; cpuid; nop; jmp short; then half of an instruction
  const Bytes code = {0xb8, 5, 0, 0, 0, 0x0f, 0xa2, 0x90, 0xeb, 0xfe, 0xb8, 1};
  std::vector<uint16_t> offsets(8);
  EXPECT_EQ(decoder.instruction_starts(code, CodeMode::k32, offsets), 5u);
  offsets.resize(5);
  EXPECT_EQ(offsets, (std::vector<uint16_t>{0, 5, 7, 8, 10}));
  offsets.resize(2);
  EXPECT_EQ(decoder.instruction_starts(code, CodeMode::k32, offsets), 2u);
  EXPECT_EQ(decoder.instruction_starts({}, CodeMode::k32, offsets), 0u);
}

}  // namespace
}  // namespace nestor::emu::test
