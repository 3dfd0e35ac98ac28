// SPDX-License-Identifier: GPL-2.0-or-later
//
// #MF and #XM on the whole machine: which instructions report them, what comes before, what is left
// behind.
#include <bit>

#include "tests/emu/l0/nested_machine_fixture.h"

namespace nestor::emu {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

class FloatingPoint : public MachineTest {
 protected:
  FloatingPoint() {
    for (const unsigned vector : {vmx::kUd, vmx::kNm, vmx::kGp, vmx::kMf, vmx::kXm}) {
      handle(vector, exit_with(1000 + vector));
    }
    cpu_.gpr[vmx::kRcx] = kData;
    cpu_.gpr[vmx::kRsi] = kConstants;
    cpu_.cr4 |= vmx::cr4::kOsfxsr | vmx::cr4::kOsxmmexcpt;
    cpu_.cr0 |= vmx::cr0::kMp;
  }
  // Ends with vector 1000 + `vector` at offset `at`, or with 1.
  void expect(const Code& code, std::optional<vmx::Vector> vector, uint64_t at = 0) {
    SCOPED_TRACE(testing::PrintToString(code));
    const RunResult result = run(code + exit_with(1));
    EXPECT_EQ(result.code, status(vector ? 1000u + *vector : 1u)) << result.detail;
    ASSERT_EQ(record_.exceptions.size(), vector ? 1u : 0u);
    if (!vector) return;
    EXPECT_EQ(record_.exceptions[0].rip, kCode + at);
    EXPECT_EQ(record_.exceptions[0].error_code, std::nullopt);
  }
  // Of what `code` leaves in EAX.
  void expect_value(const Code& code, uint32_t value) {
    SCOPED_TRACE(testing::PrintToString(code));
    EXPECT_EQ(run(code + ASM64("out 0xf4, eax")).code, status(value));
  }
  void set_constant(unsigned index, uint64_t value) { put(kConstants + 16 * index, value); }

  static constexpr uint64_t kConstants = 0x81000;
};

// "Emulation of the MMX Instruction Set", "Action Taken for Combinations of OSFXSR, OSXMMEXCPT,
// SSE, SSE2, SSE3, EM, MP, and TS", "x87 FPU Instructions": each instruction in a slot of its own,
// with all values of the bits.
TEST_F(FloatingPoint, AvailabilityFollowsCr0AndCr4) {
  enum Kind { kX87, kWait, kMmx, kSse };
  struct Slot {
    Code code;
    Kind kind;
  };
  const Slot kSlots[] = {
      {ASM64("fninit"), kX87},
      {ASM64("fld1"), kX87},
      {ASM64("fnstsw ax"), kX87},
      {ASM64("fnstcw [rcx]"), kX87},
      {ASM64("fldcw [rcx]"), kX87},
      {ASM64("fxsave [rcx]"), kX87},
      {ASM64("fxrstor [rcx]"), kX87},
      {ASM64("fnstenv [rcx]"), kX87},
      {ASM64("fldenv [rcx]"), kX87},
      {ASM64("fnsave [rcx]"), kX87},
      {ASM64("frstor [rcx]"), kX87},
      {ASM64("fnclex"), kX87},
      {ASM64("wait"), kWait},
      {ASM64("movq mm0, mm1"), kMmx},
      {ASM64("paddb mm0, mm1"), kMmx},
      {ASM64("emms"), kMmx},
      {ASM64("stmxcsr [rcx]"), kSse},
      {ASM64("ldmxcsr [rcx]"), kSse},
      {ASM64("addps xmm0, xmm1"), kSse},
      {ASM64("movaps xmm0, [rcx]"), kSse},
      {ASM64("cvtps2pi mm0, xmm0"), kSse},
      {ASM64("paddb xmm0, xmm1"), kSse},
  };
  constexpr size_t kSlotSize = 16;
  Code all;
  for (const Slot& slot : kSlots) all = all + slot.code + nops(kSlotSize - slot.code.size());
  for (const unsigned vector : {vmx::kUd, vmx::kNm}) {
    handle(vector, ASM64("or qword ptr [rsp], 15; inc qword ptr [rsp]; iretq"));
  }
  for (unsigned bits = 0; bits < 16; ++bits) {
    const bool em = bits & 1, mp = bits & 2, ts = bits & 4, osfxsr = bits & 8;
    SCOPED_TRACE(bits);
    cpu_.cr0 = vmx::cr0::kPe | vmx::cr0::kEt | vmx::cr0::kNe | vmx::cr0::kPg |
               (em ? vmx::cr0::kEm : 0) | (mp ? vmx::cr0::kMp : 0) | (ts ? vmx::cr0::kTs : 0);
    cpu_.cr4 = vmx::cr4::kPae | (osfxsr ? vmx::cr4::kOsfxsr : 0);
    EXPECT_EQ(run(all + exit_with(1)).code, status(1));
    for (size_t i = 0; i < std::size(kSlots); ++i) {
      unsigned expected = 0;
      switch (kSlots[i].kind) {
        case kX87:
          expected = em || ts ? vmx::kNm : 0;
          break;
        case kWait:
          expected = mp && ts ? vmx::kNm : 0;
          break;
        case kMmx:
          expected = em ? vmx::kUd : ts ? vmx::kNm : 0;
          break;
        case kSse:
          expected = em || !osfxsr ? vmx::kUd : ts ? vmx::kNm : 0;
          break;
      }
      const uint64_t rip = kCode + i * kSlotSize;
      const auto seen = std::ranges::find(record_.exceptions, rip, &Exception::rip);
      EXPECT_EQ(seen != record_.exceptions.end() ? seen->vector : 0, expected)
          << testing::PrintToString(kSlots[i].code);
    }
  }
}

// --- x87

class PendingX87Exception : public FloatingPoint {
 protected:
  // The division leaves ZE and ES in FSW.
  const Code kPending =
      ASM64("fninit; mov dword ptr [rcx], 0x37b; fldcw [rcx]; fld1; fldz; fdivp st(1), st");
};

TEST_F(PendingX87Exception, IsReportedByWaitingInstructions) {
  const Code kWaiting[] = {
      ASM64("wait"),
      ASM64("fnop"),
      ASM64("fld1"),
      ASM64("fxch"),
      ASM64("fldcw [rcx]"),
      ASM64("fldenv [rcx]"),
      ASM64("frstor [rcx]"),
      ASM64("fld qword ptr [rcx]"),
      ASM64("fistp dword ptr [rcx]"),
      ASM64("fcomi st, st(1)"),
      ASM64("ffree st(1)"),
      ASM64("fincstp"),
      ASM64("emms"),
      ASM64("movq mm0, mm1"),
      ASM64("movq mm0, [rcx]"),
      ASM64("movd [rcx], mm0"),
      ASM64("paddb mm0, mm1"),
      ASM64("cvtps2pi mm0, xmm0"),
      ASM64("cvtpi2ps xmm0, mm0"),
      ASM64("movdq2q mm0, xmm0"),
      ASM64("movq2dq xmm0, mm0"),
  };
  for (const Code& code : kWaiting) expect(kPending + code, vmx::kMf, kPending.size());
  // In a block that began before.
  expect(kPending + ASM64("nop; mov eax, ebx; wait"), vmx::kMf, kPending.size() + 3);
}

TEST_F(PendingX87Exception, IsNotReportedByOthers) {
  const Code kOthers[] = {
      ASM64("fnclex; wait"),       ASM64("fninit; fld1"),     ASM64("fnstsw ax"),
      ASM64("fnstsw [rcx]"),       ASM64("fnstcw [rcx]"),     ASM64("fnstenv [rcx]; wait"),
      ASM64("fnsave [rcx]; wait"), ASM64("fxsave [rcx]"),     ASM64("fxrstor [rcx]"),
      ASM64("movaps xmm0, xmm1"),  ASM64("addps xmm0, xmm1"), ASM64("cvtpi2pd xmm0, [rcx]"),
      ASM64("mov eax, [rcx]"),     ASM64("stmxcsr [rcx]"),
  };
  for (const Code& code : kOthers) expect(kPending + code, std::nullopt);
}

TEST_F(PendingX87Exception, ComesBehindUndefinedAndUnavailableAndBeforeTheOperand) {
  const Code kSetTs = ASM64("mov rax, cr0; or eax, 8; mov cr0, rax");
  const Code kSetEm = ASM64("mov rax, cr0; or eax, 4; mov cr0, rax");
  const auto size = [&](const Code& more) { return kPending.size() + more.size(); };
  for (const Code& code : {ASM64("wait"), ASM64("fld1"), ASM64("movq mm0, mm1")}) {
    expect(kPending + kSetTs + code, vmx::kNm, size(kSetTs));
  }
  expect(kPending + kSetEm + ASM64("fld1"), vmx::kNm, size(kSetEm));
  expect(kPending + kSetEm + ASM64("wait"), vmx::kMf, size(kSetEm));
  expect(kPending + kSetEm + ASM64("movq mm0, mm1"), vmx::kUd, size(kSetEm));
  // A page that is not present, and an address that is not canonical.
  map(kData + kPage, 0);
  expect(kPending + ASM64("fld qword ptr [rcx + 0x1000]"), vmx::kMf, kPending.size());
  const Code kNowhere = ASM64("mov rdx, 0x8000000000000000");
  expect(kPending + kNowhere + ASM64("fld qword ptr [rdx]"), vmx::kMf, size(kNowhere));
}

TEST_F(PendingX87Exception, IsIgnoredWithoutNumericErrors) {
  cpu_.cr0 &= ~uint64_t{vmx::cr0::kNe};
  expect(kPending + ASM64("wait; fld1; movq mm0, mm1"), std::nullopt);
}

TEST_F(PendingX87Exception, BeginsAlsoWhereTheMaskIsTakenAway) {
  const Code kMasked = ASM64("fninit; fld1; fldz; fdivp st(1), st; wait");
  const Code kUnmask = ASM64("mov dword ptr [rcx], 0x37b; fldcw [rcx]");
  expect(kMasked + kUnmask, std::nullopt);
  expect(kMasked + kUnmask + ASM64("wait"), vmx::kMf, kMasked.size() + kUnmask.size());
  // As FXRSTOR and FLDENV find it.
  expect(kMasked + ASM64("fxsave [rcx]; and byte ptr [rcx], 0xfb; fxrstor [rcx]; fld1"), vmx::kMf,
         kMasked.size() + 9);
  expect(kMasked + ASM64("fnstenv [rcx]; and byte ptr [rcx], 0xfb; fldenv [rcx]; fld1"), vmx::kMf,
         kMasked.size() + 7);
}

TEST_F(PendingX87Exception, OfEachKindLeavesTheOperandsAlone) {
  set_constant(0, 0x7ff0000000000001);  // a signalling NaN
  set_constant(1, 1);                   // denormal
  struct Case {
    Code code;
    uint32_t flags;
    uint32_t top;  // how many are on the stack, -1 for each
  };
  const Case kCases[] = {
      {ASM64("fld qword ptr [rsi]"), 1, 0},
      {ASM64("fldz; fldz; fdivp st(1), st"), 1, 6},
      {ASM64("fldz; fchs; fsqrt"), 0, 7},
      {ASM64("fld1; fchs; fsqrt"), 1, 7},
      {ASM64("fld qword ptr [rsi + 16]"), 2, 0},
      {ASM64("fld1; fadd qword ptr [rsi + 16]"), 2, 7},
      {ASM64("fld1; fldz; fdivp st(1), st"), 4, 6},
      {ASM64("fld1; fldz; fdivrp st(1), st"), 0, 7},
      {ASM64("fldpi; fistp dword ptr [rcx + 64]"), 0x20, 0},
      {ASM64("fld1; fadd st, st; fldpi; fscale; fistp word ptr [rcx + 64]"), 0x20, 7},
  };
  for (const Case& one : kCases) {
    // All are unmasked.
    const Code before = ASM64("fninit; mov dword ptr [rcx], 0x340; fldcw [rcx]");
    const uint32_t summary = one.flags != 0 ? 0x8080 : 0;
    expect_value(before + one.code + ASM64("fnstsw ax; and eax, 0xb8bf"),
                 one.flags | one.top << 11 | summary);
  }
  // What was to be stored has not been.
  expect_value(ASM64("fninit; mov dword ptr [rcx], 0x37e; fldcw [rcx]; mov dword ptr [rcx + 8], 77;"
                     "fldpi; fmul st, st; fmul st, st; fmul st, st; fmul st, st; fmul st, st;"
                     "fistp dword ptr [rcx + 8]; mov eax, [rcx + 8]"),
               77);
}

TEST_F(FloatingPoint, MaskedX87ExceptionsStayInTheStatusWord) {
  set_constant(0, 0x7ff0000000000001);
  const auto flags = [&](const Code& code, uint32_t value) {
    expect_value(ASM64("fninit") + code + ASM64("fnstsw ax; and eax, 0xbf"), value);
  };
  flags(ASM64("fld1; fldz; fdivp st(1), st"), 4);
  flags(ASM64("fldz; fldz; fdivp st(1), st"), 1);
  flags(ASM64("fld qword ptr [rsi]"), 1);
  flags(ASM64("fldpi; fld1; faddp st(1), st; fldpi; fistp dword ptr [rcx]"), 0x20);
  flags(ASM64("fld1; fldz; fdivp st(1), st; fnclex; fld1"), 0);
  flags(ASM64("fldpi; fistp dword ptr [rcx]; fninit"), 0);
  // XSAVE and its like have them, too.
  expect_value(
      ASM64("fninit; fldz; fldz; fdivp st(1), st; fxsave [rcx]; movzx eax, byte ptr [rcx + 2]"), 1);
}

// --- "x87 FPU Instruction and Data (Operand) Pointers"

TEST_F(FloatingPoint, PointersAreThoseOfTheLastUnmaskedException) {
  const Code kPrepare = ASM64("fninit; fld1; fldz; nop");
  const auto field = [&](const Code& code, unsigned offset, uint32_t value) {
    Code read = ASM64("fxsave64 [rcx]; mov eax, [rcx + 1]");
    read.back() = static_cast<uint8_t>(offset);
    expect_value(kPrepare + code + read, value);
  };
  const auto kAt = static_cast<uint32_t>(kCode + kPrepare.size());
  const Code kMasked = ASM64("fdiv qword ptr [rsi]; nop; fnstcw [rcx]");
  field(kMasked, 8, kAt);
  field(kMasked, 16, 0);
  const Code kUnmask = ASM64("mov dword ptr [rcx], 0x37b; fldcw [rcx]");
  const Code kUnmasked = kUnmask + ASM64("fld1; fdiv dword ptr [rsi]; fnclex");
  const auto at = kAt + static_cast<uint32_t>(kUnmask.size()) + 2;
  field(kUnmasked, 8, at);
  field(kUnmasked, 16, kConstants);
  field(kUnmasked + ASM64("fld1; fadd dword ptr [rsi + 8]"), 16, kConstants);
  field(kUnmasked + ASM64("fld1; fadd dword ptr [rsi + 8]"), 8, at + 6);
  field(kUnmasked + ASM64("fninit"), 16, 0);
  field(kUnmasked + ASM64("fninit"), 8, 0);
  const auto fop = [&](const Code& code, uint32_t value) {
    expect_value(kPrepare + code + ASM64("fxsave [rcx]; movzx eax, word ptr [rcx + 6]"), value);
  };
  fop(kMasked, 0);
  fop(kUnmasked, 0x036);  // D8 36
  fop(kUnmasked + ASM64("fld1; fadd dword ptr [rsi + 8]"), 0x036);
  fop(kUnmasked + ASM64("fninit"), 0);
  // Selectors are saved as 0.
  expect_value(kPrepare + kUnmasked +
                   ASM64("fnstenv [rcx]; movzx eax, word ptr [rcx + 16]; or ax, [rcx + 24]"),
               0);
}

TEST_F(FloatingPoint, EnvironmentGoesThereAndBack) {
  const Code kPrepare = ASM64(
      "fninit; mov dword ptr [rcx], 0x37b; fldcw [rcx]; fld1; fldpi; fdiv dword ptr [rsi];"
      "fnsave [rcx]");
  expect_value(kPrepare + ASM64("mov eax, [rcx]"), 0xffff037b);
  expect_value(kPrepare + ASM64("mov eax, [rcx + 4]"), 0xffffb084);
  expect_value(kPrepare + ASM64("mov eax, [rcx + 8]"), 0xffff0fff);
  expect_value(kPrepare + ASM64("mov eax, [rcx + 16]"), 0x00360000);
  expect_value(kPrepare + ASM64("mov eax, [rcx + 20]"), kConstants);
  expect_value(kPrepare + ASM64("fnstcw [rcx + 256]; mov eax, [rcx + 256]"), 0x37f);
  const Code kBack = kPrepare + ASM64("frstor [rcx]; fnsave [rcx + 256]");
  for (const unsigned offset : {0u, 4u, 8u, 12u, 16u, 20u, 24u, 28u, 32u, 38u, 42u}) {
    Code read = ASM64("mov eax, [rcx + 0x100]; sub eax, [rcx + 0x100]");
    put<uint32_t>(kData + 512, 0);
    std::memcpy(read.data() + 2, &offset, 4);
    const uint32_t second = offset + 256;
    std::memcpy(read.data() + 8, &second, 4);
    expect_value(kBack + read, 0);
  }
  // FNSTENV masks all exceptions; the operand size makes the format.
  expect_value(ASM64("fninit; mov dword ptr [rcx], 0x340; fldcw [rcx]; fnstenv [rcx];"
                     "fnstcw [rcx + 64]; movzx eax, word ptr [rcx + 64]"),
               0x37f);
  expect_value(ASM64("fninit; fld1; data16 fnstenv [rcx]; movzx eax, word ptr [rcx + 4]"), 0x3fff);
}

// --- SSE

class SimdExceptions : public FloatingPoint {
 protected:
  // Constants of single and of double precision: 1, 0, a signalling NaN, a quiet one, a denormal
  // number, the greatest number, the least ordinary one, 3.
  SimdExceptions() {
    constexpr uint32_t kSingle[] = {0x3f800000, 0,          0x7f800001, 0x7fc00000,
                                    1,          0x7f7fffff, 0x00800000, 0x40400000};
    constexpr uint64_t kDouble[] = {0x3ff0000000000000,
                                    0,
                                    0x7ff0000000000001,
                                    0x7ff8000000000000,
                                    1,
                                    0x7fefffffffffffff,
                                    0x0010000000000000,
                                    0x4008000000000000};
    for (unsigned i = 0; i < 8; ++i) {
      set_constant(i, kSingle[i]);
      set_constant(8 + i, kDouble[i]);
    }
  }
  // Unmasks the exceptions of `flags`.
  static Code unmask(uint32_t flags) {
    Code code = ASM64("mov dword ptr [rcx], 0x12345678; ldmxcsr [rcx]");
    const uint32_t mxcsr = 0x1f80 & ~(flags << 7);
    std::memcpy(code.data() + 2, &mxcsr, 4);
    return code;
  }
  struct Case {
    Code load, code;
    uint32_t flags;
  };
  static std::vector<Case> cases();
};

// xmm1 and xmm2 are loaded first.
std::vector<SimdExceptions::Case> SimdExceptions::cases() {
  const Code kOne = ASM64("movss xmm1, [rsi]"), kOneD = ASM64("movsd xmm1, [rsi + 0x80]");
  const Code kTiny = ASM64("movss xmm1, [rsi + 0x60]"), kTinyD = ASM64("movsd xmm1, [rsi + 0xe0]");
  const Code kGreat = ASM64("movss xmm1, [rsi + 0x50]"),
             kGreatD = ASM64("movsd xmm1, [rsi + 0xd0]");
  return {
      {kOne, ASM64("addss xmm1, [rsi + 0x20]"), 1},
      {kOneD, ASM64("addsd xmm1, [rsi + 0xa0]"), 1},
      {kOne, ASM64("addps xmm1, [rsi + 0x20]"), 1},
      {kOneD, ASM64("mulpd xmm1, [rsi + 0xa0]"), 1},
      {kOne, ASM64("addss xmm1, [rsi + 0x30]"), 0},
      {kOne, ASM64("minss xmm1, [rsi + 0x30]"), 1},
      {kOne, ASM64("maxps xmm1, [rsi + 0x30]"), 1},
      {kOne, ASM64("comiss xmm1, [rsi + 0x30]"), 1},
      {kOne, ASM64("ucomiss xmm1, [rsi + 0x30]"), 0},
      {kOne, ASM64("ucomiss xmm1, [rsi + 0x20]"), 1},
      {kOne, ASM64("cmpltss xmm1, [rsi + 0x30]"), 1},
      {kOne, ASM64("cmpeqss xmm1, [rsi + 0x30]"), 0},
      {kOneD, ASM64("cmplesd xmm1, [rsi + 0xb0]"), 1},
      {kOne, ASM64("cvttss2si eax, [rsi + 0x50]"), 1},
      {kOne, ASM64("cvtsd2si rax, [rsi + 0xd0]"), 1},
      {kOne, ASM64("cvtps2dq xmm1, [rsi + 0x50]"), 1},
      {kOne, ASM64("subss xmm1, [rsi + 0x40]"), 2 | 0x20},
      {kOneD, ASM64("subsd xmm1, [rsi + 0xc0]"), 2 | 0x20},
      {kOne, ASM64("ucomiss xmm1, [rsi + 0x40]"), 2},
      {kOne, ASM64("cvtss2sd xmm1, [rsi + 0x40]"), 2},
      {kOne + ASM64("movaps xmm2, [rsi + 0x40]"), ASM64("sqrtss xmm1, xmm2"), 2 | 0x20},
      {kOne, ASM64("divss xmm1, [rsi + 0x10]"), 4},
      {kOneD, ASM64("divpd xmm1, [rsi + 0x90]"), 4 | 1},  // and 0 / 0
      {ASM64("movss xmm1, [rsi + 0x40]"), ASM64("divss xmm1, [rsi + 0x10]"), 4},
      {kGreat, ASM64("mulss xmm1, xmm1"), 8 | 0x20},
      {kGreatD, ASM64("mulsd xmm1, xmm1"), 8 | 0x20},
      {kGreatD, ASM64("cvtsd2ss xmm1, xmm1"), 8 | 0x20},
      {kTiny, ASM64("mulss xmm1, xmm1"), 0x10 | 0x20},
      {kTinyD, ASM64("mulsd xmm1, xmm1"), 0x10 | 0x20},
      {kTinyD, ASM64("cvtsd2ss xmm1, xmm1"), 0x10 | 0x20},
      {kOne, ASM64("divss xmm1, [rsi + 0x70]"), 0x20},
      {kOneD, ASM64("divsd xmm1, [rsi + 0xf0]"), 0x20},
      {kOne + ASM64("mov edx, 0x1000001"), ASM64("cvtsi2ss xmm1, edx"), 0x20},
      {kOneD, ASM64("cvtsd2si eax, [rsi + 0xf0]"), 0},
      {kOne, ASM64("roundss xmm1, [rsi + 0x60], 0"), 0x20},
      {kOne, ASM64("addss xmm1, [rsi + 0x70]"), 0},
      {kOne, ASM64("xorps xmm1, [rsi + 0x20]"), 0},
      {kOne, ASM64("movss xmm1, [rsi + 0x20]"), 0},
      {kOne, ASM64("andps xmm1, [rsi + 0x20]; shufps xmm1, xmm1, 0"), 0},
      {ASM64("xorps xmm1, xmm1"), ASM64("haddps xmm1, [rsi + 0x20]"), 1},
      {kOneD, ASM64("addsubpd xmm1, [rsi + 0xa0]"), 1},
  };
}

TEST_F(SimdExceptions, MaskedOnesStayInMxcsr) {
  constexpr uint32_t kDenormal = 2;  // docs/divergences.md
  for (const Case& one : cases()) {
    expect_value(one.load + unmask(0) + one.code + ASM64("stmxcsr [rcx]; mov eax, [rcx]"),
                 0x1f80 | (one.flags & ~kDenormal));
  }
  // They are sticky, until they are cleared.
  expect_value(unmask(0) + ASM64("movss xmm1, [rsi]; divss xmm1, [rsi + 0x10]; divss xmm1, xmm1;"
                                 "stmxcsr [rcx]; mov eax, [rcx]"),
               0x1f85);
  expect_value(unmask(0) + ASM64("movss xmm1, [rsi]; divss xmm1, [rsi + 0x10]") + unmask(0) +
                   ASM64("stmxcsr [rcx]; mov eax, [rcx]"),
               0x1f80);
  expect_value(unmask(0) + ASM64("movss xmm1, [rsi]; divss xmm1, [rsi + 0x10]; fxsave [rcx];"
                                 "mov eax, [rcx + 24]"),
               0x1f84);
}

TEST_F(SimdExceptions, UnmaskedOnesAreFaultsThatChangeNothing) {
  const Code kKeep = ASM64("movaps [rcx + 16], xmm1; mov eax, 77; cmp eax, eax");
  // What #XM finds: whether XMM1, EAX and ZF are as they were, and MXCSR.
  handle(vmx::kXm,
         ASM64("jne 2f; cmp eax, 77; jne 2f; pcmpeqd xmm1, [rcx + 16]; pmovmskb eax, xmm1;"
               "cmp eax, 0xffff; jne 2f; stmxcsr [rcx]; mov eax, [rcx]; out 0xf4, eax;"
               "2: ud2"));
  handle(vmx::kUd, exit_with(1000 + vmx::kUd));
  constexpr uint32_t kEach = 0x3f, kBefore = 7;
  for (const Case& one : cases()) {
    const Code before = one.load + kKeep + unmask(kEach);
    SCOPED_TRACE(testing::PrintToString(one.code));
    const RunResult result = run(before + one.code + exit_with(1));
    if (one.flags == 0) {
      EXPECT_EQ(result.code, status(1));
      continue;
    }
    // Those that are found before the computation come alone.
    const uint32_t flags = one.flags & kBefore ? one.flags & kBefore : one.flags;
    EXPECT_EQ(result.code, status(flags));
    ASSERT_EQ(record_.exceptions.size(), 1u);
    EXPECT_EQ(record_.exceptions[0].rip, kCode + before.size());
  }
}

TEST_F(SimdExceptions, OnlyTheUnmaskedOnesMatter) {
  for (const Case& one : cases()) {
    if (std::popcount(one.flags) < 2) continue;
    // Of those that do not come, one is as good as another.
    const uint32_t other = one.flags & 8 ? 1 : 8;
    for (uint32_t unmasked : {1u, 2u, 4u, 8u, 0x10u, 0x20u}) {
      if (!(one.flags & unmasked) && unmasked != other) continue;
      const Code before = unmask(unmasked) + one.load;
      const bool faults = (one.flags & unmasked) != 0;
      expect(before + one.code, faults ? std::optional(vmx::kXm) : std::nullopt, before.size());
    }
  }
}

TEST_F(SimdExceptions, AreUndefinedOpcodesWithoutOsxmmexcpt) {
  cpu_.cr4 &= ~uint64_t{vmx::cr4::kOsxmmexcpt};
  const Code before = unmask(4) + ASM64("movss xmm1, [rsi]");
  expect(before + ASM64("divss xmm1, [rsi + 0x10]"), vmx::kUd, before.size());
}

TEST_F(SimdExceptions, ComeBehindAllOtherFaults) {
  const Code before = unmask(4) + ASM64("movss xmm1, [rsi]; nop");
  map(kData + kPage * 2, 0);
  handle(vmx::kPf, exit_with(1000 + vmx::kPf));
  const RunResult result = run(before + ASM64("divss xmm1, [rcx + 0x2000]"));
  EXPECT_EQ(result.code, status(1000 + vmx::kPf));
  put<uint32_t>(kData + 64, 0);
  EXPECT_EQ(run(before + ASM64("divps xmm1, [rcx + 0x48]")).code, status(1000 + vmx::kGp));
  expect(before + ASM64("mov rax, cr0; or eax, 8; mov cr0, rax; divss xmm1, [rsi + 0x10]"),
         vmx::kNm, before.size() + 9);
}

TEST_F(SimdExceptions, FlushToZeroAndDenormalsAreZeros) {
  const auto with = [](uint32_t mxcsr) {
    Code code = unmask(0);
    std::memcpy(code.data() + 2, &mxcsr, 4);
    return code;
  };
  const Code kHalf = ASM64("movss xmm1, [rsi + 0x60]; divss xmm1, [rsi + 0x70]; movd eax, xmm1");
  const Code kDouble = ASM64("movss xmm1, [rsi + 0x40]; addss xmm1, xmm1; movd eax, xmm1");
  expect_value(with(0x1f80) + kHalf, 0x002aaaab);
  expect_value(with(0x9f80) + kHalf, 0);
  expect_value(with(0x9f80) + kHalf + ASM64("stmxcsr [rcx]; mov eax, [rcx]"), 0x9fb0);
  expect_value(with(0x1f80) + kDouble, 2);
  expect_value(with(0x1fc0) + kDouble, 0);
  // It is none of x87's business.
  expect_value(
      with(0x9f80) + ASM64("fninit; fld dword ptr [rsi + 0x60]; fdiv dword ptr [rsi + 0x70];"
                           "fstp dword ptr [rcx]; mov eax, [rcx]"),
      0x002aaaab);
}

TEST_F(SimdExceptions, ReservedBitsOfMxcsr) {
  const auto expect_fault = [&](const Code& code) {
    EXPECT_EQ(run(code + exit_with(1)).code, status(1000 + vmx::kGp));
  };
  expect(ASM64("mov dword ptr [rcx], 0xffff; ldmxcsr [rcx]"), std::nullopt);
  expect_fault(ASM64("mov dword ptr [rcx], 0x11f80; ldmxcsr [rcx]"));
  expect_fault(ASM64("mov dword ptr [rcx], 0x80001f80; ldmxcsr [rcx]"));
  expect_fault(ASM64("fxsave [rcx]; or dword ptr [rcx + 24], 0x10000; fxrstor [rcx]"));
  expect_value(ASM64("fxsave [rcx]; mov eax, [rcx + 28]"), 0xffff);
  expect_fault(ASM64("fxsave [rcx + 8]"));
}

// --- the exception bitmap

class FloatingPointExits : public NestedMachineTest {};

TEST_F(FloatingPointExits, SeeTheRightVector) {
  vmcs_.write(vmx::Field::kGuestCr4,
              vmcs_[vmx::Field::kGuestCr4] | vmx::cr4::kOsfxsr | vmx::cr4::kOsxmmexcpt);
  // 0x20000 is kScratch
  const Code kMf = ASM64(
      "mov dword ptr [0x20000], 0x37b; fninit; fldcw [0x20000]; fld1; fldz; fdivp st(1), st; wait");
  const Code kXm = ASM64(
      "mov dword ptr [0x20000], 0x1d80; ldmxcsr [0x20000]; xorps xmm1, xmm1; mov eax, 1;"
      "cvtsi2ss xmm0, eax; divss xmm0, xmm1");
  struct Case {
    Code code;
    unsigned vector, size;
  };
  for (const Case& one : {Case{kMf, vmx::kMf, 1}, Case{kXm, vmx::kXm, 4}}) {
    vmcs_.write(vmx::Field::kExceptionBitmap, 1u << one.vector);
    run_guest(one.code);
    ASSERT_EQ(record_.exits.size(), 1u);
    EXPECT_EQ(record_.exits.front().interruption_information, 0x80000300 | one.vector);
    EXPECT_EQ(record_.exits.front().guest_rip, kGuest + one.code.size() - one.size);
  }
}

}  // namespace
}  // namespace nestor::emu
