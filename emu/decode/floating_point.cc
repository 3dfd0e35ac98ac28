// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/decode/floating_point.h"

#include <algorithm>
#include <iterator>

namespace nestor::emu {
namespace {

// x87 instructions that are no arithmetic: the first byte of the opcode, and a range of the
// second, or of its bits 5:3 where they are an operand in memory.
struct X87Row {
  uint8_t opcode;
  bool memory;
  uint8_t first, last;
  X87Use use;
  bool waits;
};
constexpr X87Row kX87Rows[] = {
    {0xd8, true, 2, 3, X87Use::kComparison, true},           // FCOM, FCOMP
    {0xd8, false, 0xd0, 0xdf, X87Use::kComparison, true},    //
    {0xd9, true, 4, 4, X87Use::kControl, true},              // FLDENV
    {0xd9, true, 5, 5, X87Use::kLoadControl, true},          // FLDCW
    {0xd9, true, 6, 7, X87Use::kControl, false},             // FNSTENV, FNSTCW
    {0xd9, false, 0xd0, 0xd0, X87Use::kControl, true},       // FNOP
    {0xd9, false, 0xe4, 0xe5, X87Use::kComparison, true},    // FTST, FXAM
    {0xd9, false, 0xf5, 0xf5, X87Use::kComparison, true},    // FPREM1: whether it is complete
    {0xd9, false, 0xf8, 0xf8, X87Use::kComparison, true},    // FPREM
    {0xda, true, 2, 3, X87Use::kComparison, true},           // FICOM, FICOMP
    {0xda, false, 0xe9, 0xe9, X87Use::kComparison, true},    // FUCOMPP
    {0xdb, false, 0xe0, 0xe1, X87Use::kControl, false},      // FNENI, FNDISI: no operation
    {0xdb, false, 0xe2, 0xe3, X87Use::kClearStatus, false},  // FNCLEX, FNINIT
    {0xdb, false, 0xe4, 0xe4, X87Use::kControl, false},      // FNSETPM: no operation
    {0xdc, true, 2, 3, X87Use::kComparison, true},           // FCOM, FCOMP
    {0xdd, true, 4, 4, X87Use::kControl, true},              // FRSTOR
    {0xdd, true, 6, 6, X87Use::kControl, false},             // FNSAVE
    {0xdd, true, 7, 7, X87Use::kReadStatus, false},          // FNSTSW
    {0xdd, false, 0xe0, 0xef, X87Use::kComparison, true},    // FUCOM, FUCOMP
    {0xde, true, 2, 3, X87Use::kComparison, true},           // FICOM, FICOMP
    {0xde, false, 0xd9, 0xd9, X87Use::kComparison, true},    // FCOMPP
    {0xdf, false, 0xe0, 0xe0, X87Use::kReadStatus, false},   // FNSTSW AX
};

void set_x87(Instruction& instruction, uint8_t opcode, uint8_t modrm) {
  const bool memory = modrm < 0xc0;
  const uint8_t selects = memory ? modrm >> 3 & 7 : modrm;
  const auto* row = std::ranges::find_if(kX87Rows, [=](const X87Row& one) {
    return one.opcode == opcode && one.memory == memory && one.first <= selects &&
           selects <= one.last;
  });
  const bool ordinary = row == std::end(kX87Rows);
  instruction.x87 = ordinary ? X87Use::kArithmetic : row->use;
  instruction.waits = ordinary || row->waits;
  instruction.fop = static_cast<uint16_t>((opcode & 7) << 8 | modrm);
}

// The last of 66, F3 and F2 selects, F3 and F2 before 66.
enum Form : uint8_t { kNp = 1, k66 = 2, kF3 = 4, kF2 = 8 };
constexpr uint8_t kAllForms = kNp | k66 | kF3 | kF2;

struct SimdRow {
  uint16_t opcode;  // behind 0F; behind 0F 3A with 100H added
  uint8_t forms;
  SimdArithmetic::Kind kind;
  // 0: as the form says, with single precision for NP and F3 and one element for F3 and F2.
  uint8_t size = 0, count = 0;
  bool two_sources = false;
  uint8_t result_size = 0;  // kAsSource: as in the source
};
constexpr uint8_t kAsSource = 1;
using Kind = SimdArithmetic::Kind;
constexpr SimdRow kSimdRows[] = {
    {0x2a, kNp | kF3 | kF2, Kind::kConversion},  // CVTPI2PS, CVTSI2SS, CVTSI2SD
    {0x2c, kAllForms, Kind::kConversion},        // CVTT... to integers
    {0x2d, kAllForms, Kind::kConversion},
    {0x2e, kNp | k66, Kind::kOrdinary, 0, 1, true},  // UCOMIS
    {0x2f, kNp | k66, Kind::kOrdinary, 0, 1, true},  // COMIS
    {0x51, kAllForms, Kind::kSquareRoot},
    {0x58, kAllForms, Kind::kOrdinary, 0, 0, true, kAsSource},  // ADD
    {0x59, kAllForms, Kind::kOrdinary, 0, 0, true, kAsSource},  // MUL
    {0x5a, kNp, Kind::kOrdinary, 4, 2},                         // CVTPS2PD
    {0x5a, k66 | kF2, Kind::kOrdinary, 8, 0, false, 4},         // CVTPD2PS, CVTSD2SS
    {0x5a, kF3, Kind::kOrdinary, 4, 1},                         // CVTSS2SD
    {0x5b, kNp | k66 | kF3, Kind::kConversion},                 // CVTDQ2PS, CVTPS2DQ, CVTTPS2DQ
    {0x5c, kAllForms, Kind::kOrdinary, 0, 0, true, kAsSource},  // SUB
    {0x5d, kAllForms, Kind::kOrdinary, 0, 0, true},             // MIN
    {0x5e, kAllForms, Kind::kDivide, 0, 0, true, kAsSource},
    {0x5f, kAllForms, Kind::kOrdinary, 0, 0, true},       // MAX
    {0x7c, k66, Kind::kOrdinary, 8, 2, true, kAsSource},  // HADD
    {0x7c, kF2, Kind::kOrdinary, 4, 4, true, kAsSource},
    {0x7d, k66, Kind::kOrdinary, 8, 2, true, kAsSource},  // HSUB
    {0x7d, kF2, Kind::kOrdinary, 4, 4, true, kAsSource},
    {0xc2, kAllForms, Kind::kOrdinary, 0, 0, true},       // CMP
    {0xd0, k66, Kind::kOrdinary, 8, 2, true, kAsSource},  // ADDSUB
    {0xd0, kF2, Kind::kOrdinary, 4, 4, true, kAsSource},
    {0xe6, k66 | kF2, Kind::kConversion},  // CVTTPD2DQ, CVTPD2DQ
    {0x108, k66, Kind::kConversion},       // ROUND
    {0x109, k66, Kind::kConversion},
    {0x10a, k66, Kind::kConversion},
    {0x10b, k66, Kind::kConversion},
    {0x140, k66, Kind::kOrdinary, 4, 4, true, kAsSource},  // DPPS
    {0x141, k66, Kind::kOrdinary, 8, 2, true, kAsSource},  // DPPD
};

Form form_of(const Prefixes& prefixes) {
  return prefixes.repne ? kF2 : prefixes.rep ? kF3 : prefixes.operand_size ? k66 : kNp;
}

void set_simd(Instruction& instruction, uint16_t opcode, uint8_t modrm, uint8_t rex) {
  const Form form = form_of(instruction.prefixes);
  const auto* row = std::ranges::find_if(kSimdRows, [=](const SimdRow& one) {
    return one.opcode == opcode && (one.forms & form) != 0;
  });
  if (row == std::end(kSimdRows)) return;
  const bool narrow = form == kNp || form == kF3, scalar = form == kF3 || form == kF2;
  SimdArithmetic& simd = instruction.simd;
  simd.kind = row->kind;
  simd.size = row->size != 0 ? row->size : narrow ? 4 : 8;
  const int packed = 16 / simd.size;
  simd.count = row->count != 0 ? row->count : static_cast<uint8_t>(scalar ? 1 : packed);
  simd.two_sources = row->two_sources;
  simd.result_size = row->result_size == kAsSource ? simd.size : row->result_size;
  simd.destination = static_cast<uint8_t>((modrm >> 3 & 7) | (rex & 4) << 1);
  simd.source = static_cast<uint8_t>((modrm & 7) | (rex & 1) << 3);
}

}  // namespace

void set_floating_point(Instruction& instruction, std::span<const uint8_t> bytes, size_t opcode) {
  constexpr uint8_t kWait = 0x9b, kFirstX87 = 0xd8, kLastX87 = 0xdf;
  const auto code = bytes.subspan(opcode);
  if (code.empty()) return;
  if (code[0] == kWait) instruction.waits = true;
  if (code.size() < 2) return;
  if (code[0] >= kFirstX87 && code[0] <= kLastX87) set_x87(instruction, code[0], code[1]);
  if (code[0] != 0x0f || code.size() < 3) return;
  const bool has_rex =
      instruction.mode == CodeMode::k64 && opcode != 0 && (bytes[opcode - 1] & 0xf0) == 0x40;
  const uint8_t rex = has_rex ? bytes[opcode - 1] : uint8_t{0};
  if (code[1] != 0x3a) {
    set_simd(instruction, code[1], code[2], rex);
  } else if (code.size() >= 4) {
    set_simd(instruction, static_cast<uint16_t>(0x100 + code[2]), code[3], rex);
  }
}

}  // namespace nestor::emu
