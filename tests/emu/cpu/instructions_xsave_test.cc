// SPDX-License-Identifier: GPL-2.0-or-later
//
// XSAVE and its relatives, XGETBV and XSETBV; RDPKRU and WRPKRU.
#include <gmock/gmock.h>

#include "tests/emu/cpu/instruction_fixture.h"

namespace nestor::emu::test {
namespace {

using vmx::kRax;
using vmx::kRcx;
using vmx::kRdi;
using vmx::kRdx;

// With the area at [RDI]; with REX.W the pointers have 64 bits.
const Bytes kXsave = ASM64("xsave [rdi]"), kXsave64 = ASM64("xsave64 [rdi]"),
            kXrstor = ASM64("xrstor [rdi]"), kXrstor64 = ASM64("xrstor64 [rdi]"),
            kXsaveopt = ASM64("xsaveopt [rdi]"), kXsavec = ASM64("xsavec [rdi]"),
            kXsaves = ASM64("xsaves [rdi]"), kXrstors = ASM64("xrstors [rdi]"),
            kXgetbv = ASM64("xgetbv"), kXsetbv = ASM64("xsetbv");
const std::vector<Bytes> kAll = {kXsave,  kXrstor,  kXsaveopt, kXsavec,
                                 kXsaves, kXrstors, kXgetbv,   kXsetbv};

class XsaveTest : public InstructionTest {
 protected:
  static constexpr uint64_t kArea = 0x9000, kCompacted = 1ull << 63;

  void start(unsigned cpl = 0) {
    enter_64bit_mode(core, cpl);
    cpu.cr4 |= vmx::cr4::kOsxsave;
    core.msr_storage().xcr0 = 3;
    cpu.gpr[kRdi] = kArea;
    cpu.gpr[kRax] = 3;
    cpu.gpr[kRdx] = 0;
    cpu.gpr[kRcx] = 0;
    for (uint64_t at = kArea; at < kArea + 0x400; at += 8) core.poke<uint64_t>(at, kOld);
    for (uint64_t at = kArea + 512; at < kArea + 576; at += 8) core.poke<uint64_t>(at, 0);
    core.extended = used_state();
  }
  static ExtendedState used_state() {
    ExtendedState s;
    s.fcw = 0x27f;
    s.fsw = 0x3800;
    s.ftw = 0x80;
    s.fop = 0x123;
    s.fip = 0x11112222'33334444;
    s.fdp = s.exception_fdp = 0x55556666'77778888;
    s.fcs = 0x99;
    s.fds = 0xaa;
    for (uint8_t i = 0; i < 8; ++i) s.st[i].fill(static_cast<uint8_t>(0x10 + i));
    s.mxcsr = 0x1fa0;
    for (uint64_t i = 0; i < 16; ++i) s.xmm[i] = {0x100 + i, 0x200 + i};
    return s;
  }
  uint64_t xstate_bv() { return core.peek<uint64_t>(kArea + 512); }
  uint64_t xcomp_bv() { return core.peek<uint64_t>(kArea + 520); }
  static constexpr uint64_t kOld = 0xeeee'eeee'eeee'eeee;
};

TEST_F(XsaveTest, LegacyRegion) {
  start();
  expect_completed(kXsave);
  EXPECT_EQ(core.peek<uint16_t>(kArea), 0x27f);
  EXPECT_EQ(core.peek<uint16_t>(kArea + 2), 0x3800);
  EXPECT_EQ(core.peek<uint16_t>(kArea + 4), 0x80) << "the byte behind the tags is 0";
  EXPECT_EQ(core.peek<uint16_t>(kArea + 6), 0x123);
  EXPECT_EQ(core.peek<uint64_t>(kArea + 8), 0x33334444u);
  EXPECT_EQ(core.peek<uint64_t>(kArea + 16), 0x77778888u);
  EXPECT_EQ(core.peek<uint64_t>(kArea + 24), 0xffff'00001fa0u);
  EXPECT_EQ(core.peek<uint64_t>(kArea + 32 + 7 * 16), 0x1717171717171717u);
  EXPECT_EQ(core.peek<uint64_t>(kArea + 32 + 7 * 16 + 8), 0x1717u);
  EXPECT_EQ(core.peek<uint64_t>(kArea + 160 + 15 * 16), 0x10fu);
  EXPECT_EQ(core.peek<uint64_t>(kArea + 160 + 15 * 16 + 8), 0x20fu);
  EXPECT_EQ(core.peek<uint64_t>(kArea + 416), kOld) << "available to software";
  EXPECT_EQ(core.peek<uint64_t>(kArea + 576), kOld);
  EXPECT_EQ(xstate_bv(), 3u);
  EXPECT_EQ(xcomp_bv(), 0u);
  expect_completed(kXsave64);
  EXPECT_EQ(core.peek<uint64_t>(kArea + 8), 0x11112222'33334444u);
  EXPECT_EQ(core.peek<uint64_t>(kArea + 16), 0x55556666'77778888u);
}

// "x87 FPU Instruction and Data (Operand) Pointers": what CPUID.7.0:EBX bits 6 and 13 say.
TEST_F(XsaveTest, PointersOfEachModel) {
  struct Model {
    vmx::Generation generation;
    bool selectors, exceptions_only;
  };
  for (const Model& model : {Model{vmx::Generation::kSandyBridge, true, false},
                             Model{vmx::Generation::kIvyBridge, true, false},
                             Model{vmx::Generation::kHaswell, false, false},
                             Model{vmx::Generation::kBroadwell, false, false},
                             Model{vmx::Generation::kSkylake, false, true},
                             Model{vmx::Generation::kSapphireRapids, false, true}}) {
    start();
    core.processor = vmx::processor_of(model.generation);
    core.extended.exception_fdp = 0x4321;
    for (const Bytes& bytes : {kXsave, ASM64("fxsave [rdi]")}) {
      expect_completed(bytes);
      EXPECT_EQ(core.peek<uint16_t>(kArea + 12), model.selectors ? 0x99 : 0);
      EXPECT_EQ(core.peek<uint16_t>(kArea + 20), model.selectors ? 0xaa : 0);
      EXPECT_EQ(core.peek<uint32_t>(kArea + 16), model.exceptions_only ? 0x4321u : 0x77778888u);
      EXPECT_EQ(core.peek<uint32_t>(kArea + 8), 0x33334444u);
    }
    expect_completed(ASM64("fnstenv [rdi]"));
    EXPECT_EQ(core.peek<uint32_t>(kArea + 12), 0x33334444u);
    EXPECT_EQ(core.peek<uint32_t>(kArea + 16), 0x01230000u | (model.selectors ? 0x99 : 0));
    EXPECT_EQ(core.peek<uint32_t>(kArea + 20), model.exceptions_only ? 0x4321u : 0x77778888u);
    EXPECT_EQ(core.peek<uint32_t>(kArea + 24), 0xffff0000u | (model.selectors ? 0xaa : 0));
  }
}

// "Saving the x87 FPU's State": linear addresses in real-address mode.
TEST_F(XsaveTest, EnvironmentInRealAddressMode) {
  core.processor = vmx::processor_of(vmx::Generation::kIvyBridge);
  core.extended = used_state();
  core.extended.fip = 0xabcd;
  core.extended.fdp = 0x1234;
  core.extended.fcs = 0x9000;
  core.extended.fds = 0x8000;
  enter_real_mode(core);
  cpu.segment[vmx::kDs].base = 0;
  cpu.gpr[kRdi] = 0x800;
  expect_completed(ASM16("fnstenv [di]"));
  const uint16_t kNarrow[] = {0x27f, 0x3800, 0xbfff, 0xabcd, 0x9123, 0x1234, 0x8000};
  for (unsigned i = 0; i < 7; ++i) EXPECT_EQ(core.peek<uint16_t>(0x800 + 2 * i), kNarrow[i]) << i;
  core.extended.fcw = 0x27f;
  expect_completed(ASM16("data32 fnstenv [di]"));
  const uint32_t kWide[] = {0xffff027f, 0xffff3800, 0xffffbfff, 0xffffabcd,
                            0x9123,     0xffff1234, 0x8000};
  for (unsigned i = 0; i < 7; ++i) EXPECT_EQ(core.peek<uint32_t>(0x800 + 4 * i), kWide[i]) << i;
  expect_completed(ASM16("data32 fldenv [di]"));
  EXPECT_EQ(core.extended.fip, 0x9abcdu);
  EXPECT_EQ(core.extended.fdp, 0x81234u);
  EXPECT_EQ(core.extended.fop, 0x123u);
}

TEST_F(XsaveTest, OnlyWhatIsRequestedAndEnabled) {
  start();
  core.poke<uint64_t>(kArea + 512, 2);
  cpu.gpr[kRax] = 1;
  expect_completed(kXsave);
  EXPECT_EQ(xstate_bv(), 3u) << "what is not requested stays";
  EXPECT_EQ(core.peek<uint64_t>(kArea + 24), kOld);
  EXPECT_EQ(core.peek<uint64_t>(kArea + 160), kOld);
  start();
  core.msr_storage().xcr0 = 1;
  expect_completed(kXsave);
  EXPECT_EQ(xstate_bv(), 1u);
  EXPECT_EQ(core.peek<uint64_t>(kArea + 160), kOld);
  start();
  cpu.gpr[kRax] = 2;
  expect_completed(kXsave);
  EXPECT_EQ(core.peek<uint64_t>(kArea), kOld);
  EXPECT_EQ(core.peek<uint64_t>(kArea + 160), 0x100u);
}

TEST_F(XsaveTest, InitialStateIsMarked) {
  start();
  core.extended = ExtendedState{};
  core.extended.mxcsr = 0x1fa0;
  expect_completed(kXsave);
  EXPECT_EQ(xstate_bv(), 0u) << "MXCSR does not count";
  EXPECT_EQ(core.peek<uint64_t>(kArea + 160), 0u) << "but XSAVE writes what it is asked for";
  start();
  core.extended = ExtendedState{};
  expect_completed(kXsaveopt);
  EXPECT_EQ(core.peek<uint64_t>(kArea), kOld) << "XSAVEOPT does not";
  EXPECT_EQ(core.peek<uint32_t>(kArea + 24), 0x1f80u) << "but for MXCSR";
  start();
  core.extended = ExtendedState{};
  expect_completed(kXsavec);
  EXPECT_EQ(xstate_bv(), 0u);
  EXPECT_EQ(core.peek<uint64_t>(kArea + 24), kOld);
  core.extended.mxcsr = 0x1fa0;
  expect_completed(kXsavec);
  EXPECT_EQ(xstate_bv(), 2u) << "in the compacted format MXCSR belongs to SSE";
  EXPECT_EQ(core.peek<uint32_t>(kArea + 24), 0x1fa0u);
}

TEST_F(XsaveTest, CompactedFormat) {
  for (const Bytes& bytes : {kXsavec, kXsaves}) {
    start();
    core.poke<uint64_t>(kArea + 512, ~0ull);
    cpu.gpr[kRax] = 2;
    expect_completed(bytes);
    EXPECT_EQ(xstate_bv(), 2u) << "the old value does not matter";
    EXPECT_EQ(xcomp_bv(), 2 | kCompacted);
    EXPECT_EQ(core.peek<uint64_t>(kArea + 160), 0x100u);
    EXPECT_EQ(core.peek<uint64_t>(kArea), kOld);
  }
}

TEST_F(XsaveTest, WhatIsSavedIsRestored) {
  struct Pair {
    Bytes save, restore;
  };
  for (const Pair& pair : {Pair{kXsave64, kXrstor64}, Pair{kXsaveopt, kXrstor},
                           Pair{kXsavec, kXrstor}, Pair{kXsaves, kXrstors}}) {
    start();
    expect_completed(pair.save);
    core.extended = ExtendedState{};
    expect_completed(pair.restore);
    ExtendedState expected = used_state();
    expected.fcs = expected.fds = 0;
    if (pair.save != kXsave64) {
      expected.fip &= 0xffffffff;
      expected.fdp = expected.exception_fdp = expected.fdp & 0xffffffff;
    }
    EXPECT_EQ(core.extended, expected);
  }
}

TEST_F(XsaveTest, AbsentComponentsAreInitialized) {
  start();
  core.poke<uint32_t>(kArea + 24, 0x1fbf);
  expect_completed(kXrstor);
  ExtendedState expected;
  expected.mxcsr = 0x1fbf;
  EXPECT_EQ(core.extended, expected) << "MXCSR is loaded all the same";
  start();
  core.poke<uint64_t>(kArea + 520, kCompacted | 3);
  expect_completed(kXrstor);
  EXPECT_EQ(core.extended, ExtendedState{}) << "but not in the compacted format";
  start();
  cpu.gpr[kRax] = 1;
  core.poke<uint32_t>(kArea + 24, ~0u);
  expect_completed(kXrstor);
  EXPECT_EQ(core.extended.xmm, used_state().xmm);
  EXPECT_EQ(core.extended.mxcsr, used_state().mxcsr);
  EXPECT_EQ(core.extended.fcw, 0x37f);
}

TEST_F(XsaveTest, EightRegistersOutside64BitMode) {
  start();
  cpu.segment[vmx::kCs].rights.value = 0xc09b;
  expect_completed(kXsave);
  EXPECT_EQ(core.peek<uint64_t>(kArea + 160 + 7 * 16), 0x107u);
  EXPECT_EQ(core.peek<uint64_t>(kArea + 160 + 8 * 16), kOld);
  core.poke<uint64_t>(kArea + 512, 0);
  core.poke<uint32_t>(kArea + 24, 0x1f80);
  expect_completed(kXrstor);
  EXPECT_EQ(core.extended.xmm[7], (std::array<uint64_t, 2>{0, 0}));
  EXPECT_EQ(core.extended.xmm[8], (std::array<uint64_t, 2>{0x108, 0x208}));
}

TEST_F(XsaveTest, HeadersThatFault) {
  struct Case {
    uint64_t xstate_bv, xcomp_bv, third;
    bool standard, compacted;  // XRSTOR, XRSTORS
  };
  const Case kCases[] = {
      {3, 0, 0, true, false},
      {4, 0, 0, false, false},
      {0, 1, 0, false, false},
      {0, 0, 1, false, false},
      {3, kCompacted | 3, 0, true, true},
      {1, kCompacted | 1, 0, true, true},
      {2, kCompacted | 1, 0, false, false},
      {0, kCompacted | 4, 0, false, false},
      {0, kCompacted | 3, 1, false, false},
      {1ull << 63, kCompacted | 3, 0, false, false},
  };
  for (const Case& c : kCases) {
    for (const bool supervisor : {false, true}) {
      start();
      core.poke<uint32_t>(kArea + 24, 0x1f80);
      core.poke<uint64_t>(kArea + 512, c.xstate_bv);
      core.poke<uint64_t>(kArea + 520, c.xcomp_bv);
      core.poke<uint64_t>(kArea + 528, c.third);
      const Bytes& bytes = supervisor ? kXrstors : kXrstor;
      SCOPED_TRACE(testing::PrintToString(std::vector<uint64_t>{c.xstate_bv, c.xcomp_bv, c.third}));
      if (supervisor ? c.compacted : c.standard) {
        expect_completed(bytes);
      } else {
        expect_gp(bytes);
        EXPECT_EQ(core.extended, used_state());
      }
    }
  }
  // The last bytes of the header are looked at in the compacted format only.
  start();
  core.poke<uint32_t>(kArea + 24, 0x1f80);
  core.poke<uint64_t>(kArea + 568, 1);
  expect_completed(kXrstor);
  core.poke<uint64_t>(kArea + 520, kCompacted);
  expect_gp(kXrstor);
}

TEST_F(XsaveTest, ReservedBitsOfMxcsrFault) {
  start();
  core.poke<uint32_t>(kArea + 24, 0x10000);
  expect_gp(kXrstor);
  core.poke<uint64_t>(kArea + 520, kCompacted | 3);
  expect_completed(kXrstor);
  core.poke<uint64_t>(kArea + 512, 2);
  expect_gp(kXrstor);
}

TEST_F(XsaveTest, TheOperatingSystemMustWantIt) {
  start();
  cpu.cr4 &= ~vmx::cr4::kOsxsave;
  cpu.cr0 |= vmx::cr0::kTs;
  for (const Bytes& bytes : kAll) expect_ud(bytes);
  cpu.cr4 |= vmx::cr4::kOsxsave;
  for (const Bytes& bytes : {kXsave, kXrstor, kXsaveopt, kXsavec, kXsaves, kXrstors})
    expect_fault(bytes, vmx::kNm);
  expect_completed(kXgetbv);
  expect_completed(kXsetbv);
}

TEST_F(XsaveTest, AlignmentPrivilegeAndPageFaults) {
  start(3);
  for (const Bytes& bytes : {kXsaves, kXrstors, kXsetbv}) expect_gp(bytes);
  expect_completed(kXsave);
  cpu.gpr[kRdi] = kArea + 16;
  expect_gp(kXsave);
  expect_gp(kXrstor);
  // The header lies on a page that cannot be written: nothing is.
  start();
  cpu.gpr[kRdi] = 0xae00;
  core.poke<uint64_t>(0xae00, kOld);
  core.unwritable.insert(0xb);
  expect_fault(kXsave, vmx::kPf, 2);
  EXPECT_EQ(core.peek<uint64_t>(0xae00), kOld);
  core.unreadable.insert(0xb);
  expect_fault(kXrstor, vmx::kPf, 0);
  EXPECT_EQ(core.extended, used_state());
}

TEST_F(XsaveTest, Xcr0) {
  start();
  const auto set = [&](uint64_t value, uint64_t index = 0) {
    cpu.gpr[kRax] = value & 0xffffffff;
    cpu.gpr[kRdx] = value >> 32;
    cpu.gpr[kRcx] = index;
  };
  set(1);
  expect_completed(kXsetbv);
  expect_completed(kXgetbv);
  EXPECT_EQ(cpu.gpr[kRax], 1u);
  EXPECT_EQ(cpu.gpr[kRdx], 0u);
  for (const uint64_t bad : {0ull, 2ull, 7ull, 0x401ull, 1ull << 63}) {
    set(bad);
    expect_gp(kXsetbv);
  }
  set(3, 1);
  expect_gp(kXsetbv);
  set(3);
  expect_completed(kXsetbv);
  cpu.gpr[kRcx] = 1;
  core.extended = ExtendedState{};
  core.extended.xmm[3][1] = 1;
  expect_completed(kXgetbv);
  EXPECT_EQ(cpu.gpr[kRax], 2u) << "what is in use";
  cpu.gpr[kRcx] = 2;
  expect_gp(kXgetbv);
}

class PkruTest : public XsaveTest {
 protected:
  static constexpr uint64_t kPkruAt = kArea + 2688, kPkruCompactedAt = kArea + 576;
  const Bytes kRdpkru = ASM64("rdpkru"), kWrpkru = ASM64("wrpkru");

  void start(unsigned cpl = 0) {
    XsaveTest::start(cpl);
    cpu.cr4 |= vmx::cr4::kPke;
    core.msr_storage().xcr0 = 0x203;
    cpu.gpr[kRax] = 0x200;
    core.poke<uint64_t>(kPkruAt, kOld);
    core.poke<uint64_t>(kPkruAt - 8, kOld);
    core.poke<uint64_t>(kPkruAt + 8, kOld);
    core.invalidations.clear();
  }
};

TEST_F(PkruTest, ReadAndWritten) {
  for (const unsigned cpl : {0u, 3u}) {
    start(cpl);
    cpu.gpr[kRax] = 0xffff'ffff'1234'5678;
    cpu.gpr[kRcx] = cpu.gpr[kRdx] = 0xffff'ffff'0000'0000;
    expect_completed(kWrpkru);
    EXPECT_EQ(cpu.pkru, 0x12345678u);
    EXPECT_EQ(core.invalidations.size(), 1u) << "cached rights";
    expect_completed(kWrpkru);
    EXPECT_EQ(core.invalidations.size(), 1u) << "nothing has changed";
    cpu.gpr[kRax] = cpu.gpr[kRdx] = ~0ull;
    expect_completed(kRdpkru);
    EXPECT_EQ(cpu.gpr[kRax], 0x12345678u);
    EXPECT_EQ(cpu.gpr[kRdx], 0u);
  }
}

TEST_F(PkruTest, Faults) {
  start();
  cpu.gpr[kRcx] = 1;
  expect_gp(kRdpkru);
  expect_gp(kWrpkru);
  cpu.gpr[kRcx] = 0;
  cpu.gpr[kRdx] = 1;
  expect_gp(kWrpkru);
  expect_completed(kRdpkru);
  cpu.cr4 &= ~vmx::cr4::kPke;
  expect_ud(kRdpkru);
  expect_ud(kWrpkru);
  start();
  core.processor.features.remove(vmx::Feature::kPku);
  expect_ud(kRdpkru);
  EXPECT_EQ(cpu.pkru, 0u);
}

TEST_F(PkruTest, IsComponent9OfTheStandardForm) {
  start();
  cpu.pkru = 0x55;
  expect_completed(kXsave);
  EXPECT_EQ(core.peek<uint64_t>(kPkruAt), 0x55u);
  EXPECT_EQ(core.peek<uint64_t>(kPkruAt - 8), kOld) << "what is between stays";
  EXPECT_EQ(core.peek<uint64_t>(kPkruAt + 8), kOld);
  EXPECT_EQ(core.peek<uint64_t>(kArea), kOld) << "x87 was not asked for";
  EXPECT_EQ(xstate_bv(), 0x200u);
  cpu.pkru = 0x77;
  expect_completed(kXrstor);
  EXPECT_EQ(cpu.pkru, 0x55u);
  EXPECT_EQ(core.invalidations.size(), 1u);
  core.poke<uint64_t>(kArea + 512, 0);
  expect_completed(kXrstor);
  EXPECT_EQ(cpu.pkru, 0u) << "its initial state";
}

TEST_F(PkruTest, InTheCompactedFormItFollowsTheHeader) {
  start();
  cpu.pkru = 0x99;
  expect_completed(kXsavec);
  EXPECT_EQ(core.peek<uint64_t>(kPkruCompactedAt), 0x99u);
  EXPECT_EQ(core.peek<uint64_t>(kPkruAt), kOld);
  EXPECT_EQ(xcomp_bv(), kCompacted | 0x200);
  cpu.pkru = 0;
  expect_completed(kXrstor);
  EXPECT_EQ(cpu.pkru, 0x99u);
  cpu.gpr[kRax] = 3;
  expect_completed(kXrstor);
  EXPECT_EQ(cpu.pkru, 0x99u) << "it was not asked for";
}

TEST_F(PkruTest, InUseOnceItIsNotZero) {
  start();
  expect_completed(kXsaveopt);
  EXPECT_EQ(xstate_bv(), 0u);
  EXPECT_EQ(core.peek<uint64_t>(kPkruAt), kOld);
  cpu.gpr[kRcx] = 1;
  expect_completed(kXgetbv);
  EXPECT_EQ(cpu.gpr[kRax] & 0x200, 0u);
  cpu.pkru = 1;
  expect_completed(kXgetbv);
  EXPECT_EQ(cpu.gpr[kRax] & 0x200, 0x200u);
}

TEST_F(PkruTest, ItsPageMayFaultAndNothingIsWritten) {
  start();
  cpu.gpr[kRdi] = 0x9600;  // PKRU is at A080H
  core.poke<uint64_t>(0x9600 + 520, 0);
  core.poke<uint64_t>(0x9600 + 512, 0x200);
  cpu.gpr[kRax] = 0x203;
  cpu.pkru = 3;
  core.unwritable = {0xa};
  expect_fault(kXsave, vmx::kPf, 2);
  EXPECT_EQ(core.peek<uint16_t>(0x9600), 0) << "FCW";
  core.unreadable = {0xa};
  expect_fault(kXrstor, vmx::kPf, 0);
  EXPECT_EQ(cpu.pkru, 3u);
}

TEST_F(PkruTest, Xcr0TakesItsBitWhereThereAreKeys) {
  start();
  cpu.gpr[kRax] = 0x201;
  expect_completed(kXsetbv);
  EXPECT_EQ(core.msr_storage().xcr0, 0x201u);
  core.processor.features.remove(vmx::Feature::kPku);
  expect_gp(kXsetbv);
}

// Each form of XSAVE exists with its flag alone.
TEST_F(XsaveTest, FormsGoWithTheirFeatures) {
  start();
  core.processor.features.remove(vmx::Feature::kXsavec);
  core.poke<uint64_t>(kArea + 520, kCompacted | 3);
  expect_ud(kXsavec);
  expect_ud(kXsaves);
  expect_ud(kXrstors);
  expect_gp(kXrstor);
  core.poke<uint64_t>(kArea + 520, 0);
  core.poke<uint32_t>(kArea + 24, 0x1f80);
  expect_completed(kXrstor);
  expect_completed(kXsaveopt);
  core.processor.features.remove(vmx::Feature::kXsaveopt);
  expect_ud(kXsaveopt);
  cpu.gpr[kRcx] = 1;
  expect_completed(kXgetbv);
  core.processor.features.remove(vmx::Feature::kXgetbv1);
  expect_gp(kXgetbv);
}

TEST_F(XsaveTest, XsetbvExitsAlwaysAndBeforeItsOperands) {
  NestedGuest guest(core);
  guest.enter();
  start();
  cpu.gpr[kRcx] = 5;
  expect_transferred(kXsetbv);
  guest.expect_exit(vmx::ExitReason::kXsetbv);
  EXPECT_EQ(guest[vmx::Field::kVmExitInstructionLength], 3u);
  EXPECT_EQ(guest[vmx::Field::kExitQualification], 0u);
}

TEST_F(XsaveTest, XsetbvFaultsBeforeItExits) {
  NestedGuest guest(core);
  guest.enter();
  start(3);
  expect_gp(kXsetbv);
  start();
  cpu.cr4 &= ~vmx::cr4::kOsxsave;
  expect_ud(kXsetbv);
  EXPECT_TRUE(core.vmx().in_non_root());
}

TEST_F(XsaveTest, XsavesAndXrstorsNeedTheirControl) {
  NestedGuest guest(core);
  guest.enter();
  start();
  core.poke<uint64_t>(kArea + 520, kCompacted | 3);
  expect_ud(kXsaves);
  expect_ud(kXrstors);
  expect_completed(kXsavec);
}

class XssExit : public XsaveTest, public testing::WithParamInterface<bool> {};

// IA32_XSS of this processor is always 0; on one that has state for it, the bitmap decides.
TEST_P(XssExit, FollowsTheBitmap) {
  NestedGuest guest(core);
  guest.enable(vmx::SecondaryProcBased::kEnableXsavesXrstors);
  guest.set(vmx::Field::kXssExitingBitmap, 0x100);
  guest.enter();
  start();
  cpu.gpr[kRax] = 0x103;
  core.poke<uint64_t>(kArea + 520, kCompacted | 3);
  core.msrs[0xda0] = 0;
  // xsaves or xrstors [rdi + 0x40]
  const Bytes bytes = GetParam() ? ASM64("xrstors [rdi + 0x40]") : ASM64("xsaves [rdi + 0x40]");
  core.poke<uint64_t>(kArea + 0x40 + 520, kCompacted | 3);
  core.poke<uint64_t>(kArea + 0x40 + 512, 0);
  for (unsigned at = 528; at < 576; at += 8) core.poke<uint64_t>(kArea + 0x40 + at, 0);
  expect_completed(bytes);
  core.msrs[0xda0] = 0x100;
  cpu.gpr[kRdi] = 0x8000'0000'0000;
  expect_transferred(bytes);
  guest.expect_exit(GetParam() ? vmx::ExitReason::kXrstors : vmx::ExitReason::kXsaves);
  EXPECT_EQ(guest[vmx::Field::kExitQualification], 0x40u) << "the displacement";
  EXPECT_EQ(guest[vmx::Field::kVmExitInstructionLength], 4u);
  EXPECT_EQ(guest[vmx::Field::kVmExitInstructionInformation],
            2u << 7 | 3u << 15 | 1u << 22 | 7u << 23);
}

INSTANTIATE_TEST_SUITE_P(Both, XssExit, testing::Bool());

}  // namespace
}  // namespace nestor::emu::test
