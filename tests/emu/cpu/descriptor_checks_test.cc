// SPDX-License-Identifier: GPL-2.0-or-later
//
// LAR, LSL, VERR, VERW: the types, privileges and modes of the manual's tables.
#include "tests/emu/cpu/transfer_fixture.h"

namespace nestor::emu::test {
namespace {

using vmx::kRax;
using vmx::kRcx;
using vmx::rflags::kZf;

// The selector is in AX, and what is loaded in ECX.
const Bytes kLar = {0x0f, 0x02, 0xc8}, kLsl = {0x0f, 0x03, 0xc8}, kVerr = {0x0f, 0x00, 0xe0},
            kVerw = {0x0f, 0x00, 0xe8};

class DescriptorChecks : public TransferTest {
 protected:
  static constexpr uint64_t kBefore = 0x1111'2222'3333'4444;

  // Whether the instruction sets ZF; if not, RCX stays. All other flags do.
  bool sets_zf(const Bytes& bytes, uint16_t selector) {
    cpu.gpr[kRax] = 0xffff'ffff'ffff'0000 | selector;
    cpu.gpr[kRcx] = kBefore;
    bool set = false;
    for (const uint64_t flags : {0x8d7ull, 2ull}) {  // all that are arithmetic, and none
      cpu.rflags = flags;
      expect_completed(bytes);
      EXPECT_EQ(cpu.rflags & ~kZf, flags & ~kZf);
      set = (cpu.rflags & kZf) != 0;
    }
    const bool loads = bytes[bytes.size() - 2] != 0;
    if (!set || !loads) {
      EXPECT_EQ(cpu.gpr[kRcx], kBefore);
    }
    return set;
  }
};

TEST_F(DescriptorChecks, SystemTypes) {
  struct Row {
    bool lar, lsl, lar_long, lsl_long;
  };
  constexpr Row kTypes[16] = {
      {},                           // 0
      {true, true, false, false},   // available 16-bit TSS
      {true, true, true, true},     // LDT
      {true, true, false, false},   // busy 16-bit TSS
      {true, false, false, false},  // 16-bit call gate
      {true, false, false, false},  // task gate
      {},
      {},
      {},
      {true, true, true, true},  // available 32-bit or 64-bit TSS
      {},
      {true, true, true, true},    // busy
      {true, false, true, false},  // 32-bit or 64-bit call gate
      {},
      {},
      {},
  };
  for (const Mode at : kModes) {
    for (uint8_t type = 0; type < 16; ++type) {
      SCOPED_TRACE(testing::Message() << name_of(at) << " type " << unsigned{type});
      const Row& row = kTypes[type];
      for (const bool present : {true, false}) {
        enter(at, 0);
        const uint16_t selector = add(system(type, 0, present), 0);
        EXPECT_EQ(sets_zf(kLar, selector), is_long(at) ? row.lar_long : row.lar);
        EXPECT_EQ(sets_zf(kLsl, selector), is_long(at) ? row.lsl_long : row.lsl);
        EXPECT_FALSE(sets_zf(kVerr, selector));
        EXPECT_FALSE(sets_zf(kVerw, selector));
      }
    }
  }
}

TEST_F(DescriptorChecks, SegmentTypes) {
  for (const Mode at : kModes) {
    for (uint8_t type = 0; type < 16; ++type) {
      SCOPED_TRACE(testing::Message() << name_of(at) << " type " << unsigned{type});
      enter(at, 0);
      const uint16_t selector = add(segment(type, 0));
      const bool code = type & 8;
      EXPECT_TRUE(sets_zf(kLar, selector));
      EXPECT_TRUE(sets_zf(kLsl, selector));
      EXPECT_EQ(sets_zf(kVerr, selector), !code || (type & 2) != 0);
      EXPECT_EQ(sets_zf(kVerw, selector), !code && (type & 2) != 0);
    }
  }
}

TEST_F(DescriptorChecks, Privileges) {
  for (unsigned cpl = 0; cpl < 4; ++cpl) {
    for (unsigned dpl = 0; dpl < 4; ++dpl) {
      for (unsigned rpl = 0; rpl < 4; ++rpl) {
        SCOPED_TRACE(testing::Message() << cpl << " " << dpl << " " << rpl);
        enter(Mode::k32, cpl);
        const bool visible = dpl >= cpl && dpl >= rpl;
        const auto with_rpl = [&](uint16_t selector) {
          return static_cast<uint16_t>(selector | rpl);
        };
        const uint16_t data = with_rpl(add(segment(kReadWrite, dpl))),
                       code = with_rpl(add(segment(kExecuteRead, dpl))),
                       conforming = with_rpl(add(segment(kConformingCode, dpl))),
                       ldt = with_rpl(add(system(2, dpl)));
        for (const Bytes& bytes : {kLar, kLsl, kVerr, kVerw}) {
          EXPECT_EQ(sets_zf(bytes, data), visible);
        }
        for (const Bytes& bytes : {kLar, kLsl, kVerr}) {
          EXPECT_EQ(sets_zf(bytes, code), visible);
          EXPECT_TRUE(sets_zf(bytes, conforming));
        }
        EXPECT_FALSE(sets_zf(kVerw, conforming));
        EXPECT_EQ(sets_zf(kLar, ldt), visible);
        EXPECT_EQ(sets_zf(kLsl, ldt), visible);
      }
    }
  }
}

TEST_F(DescriptorChecks, SelectorsWithoutADescriptor) {
  for (const Mode at : kModes) {
    enter(at, 0);
    for (const Bytes& bytes : {kLar, kLsl, kVerr, kVerw}) {
      for (uint16_t null = 0; null < 4; ++null) EXPECT_FALSE(sets_zf(bytes, null));
      EXPECT_FALSE(sets_zf(bytes, static_cast<uint16_t>(cpu.gdtr.limit + 1)));
      EXPECT_FALSE(sets_zf(bytes, 4)) << "no LDT";
    }
    // In IA-32e mode system descriptors have 16 bytes.
    const uint16_t last = add(system(2, 0));
    EXPECT_EQ(sets_zf(kLar, last), !is_long(at));
    EXPECT_EQ(sets_zf(kLsl, last), !is_long(at));
    cpu.segment[vmx::kLdtr] = {0x80, {0x82}, 7, kLdt};
    core.poke(kLdt, segment(kReadWrite, 0));
    for (const Bytes& bytes : {kLar, kLsl, kVerr, kVerw}) {
      EXPECT_TRUE(sets_zf(bytes, 4)) << "the first of the LDT is none";
      EXPECT_FALSE(sets_zf(bytes, 12));
    }
  }
}

TEST_F(DescriptorChecks, WhatIsLoaded) {
  for (const Mode at : kModes) {
    for (const unsigned width : {2u, 4u, 8u}) {
      enter(at, 0);
      if (!prefix(width)) continue;
      SCOPED_TRACE(testing::Message() << name_of(at) << " " << width);
      const auto loaded = [&](const Bytes& bytes, uint16_t selector) {
        EXPECT_TRUE(sets_zf(*prefix(width) + bytes, selector));
        return cpu.gpr[kRcx];
      };
      const auto expected = [&](uint32_t value) {
        return width == 2 ? (kBefore & ~0xffffull) | (value & 0xffff) : value;
      };
      const uint16_t pages = add(descriptor(0xff123456, 0xabcde, 0xf3, 0xd)),
                     bytes = add(descriptor(0xff123456, 0xabcde, 0x93, 0x5));
      EXPECT_EQ(loaded(kLar, pages) & ~0xf0000ull, expected(0xd0f300) & ~0xf0000ull);
      EXPECT_EQ(loaded(kLar, bytes) & ~0xf0000ull, expected(0x509300) & ~0xf0000ull);
      EXPECT_EQ(loaded(kLsl, pages), expected(0xabcdefff));
      EXPECT_EQ(loaded(kLsl, bytes), expected(0xabcde));
    }
  }
}

TEST_F(DescriptorChecks, OperandsInMemoryHave16Bits) {
  for (const Mode at : kModes) {
    enter(at, 3);
    core.poke<uint64_t>(kPointer, 0xffff'ffff'ffff'0000 | add(segment(kReadWrite, 3)));
    cpu.segment[vmx::kDs].limit = kPointer + 1;
    core.accesses.clear();
    for (const Bytes& bytes : {with_memory({0x0f, 0x02}, 1), with_memory({0x0f, 0x03}, 1),
                               with_memory({0x0f, 0x00}, 4), with_memory({0x0f, 0x00}, 5)}) {
      cpu.rflags = 2;
      expect_completed(bytes);
      EXPECT_EQ(cpu.rflags, 2 | kZf);
    }
    expect_privilege(kPointer, kPointer + 2, false, Privilege::kCurrent);
    if (at == Mode::k64) continue;
    cpu.segment[vmx::kDs].limit = kPointer;
    for (const Bytes& bytes : {with_memory({0x0f, 0x02}, 1), with_memory({0x0f, 0x00}, 5)}) {
      expect_no_effect(bytes, vmx::kGp, 0);
    }
  }
}

TEST_F(DescriptorChecks, FaultsOfTheTableAreFaults) {
  enter(Mode::k32, 3);
  cpu.gpr[kRax] = add(segment(kReadWrite, 3));
  for (const Bytes& bytes : {kLar, kLsl, kVerr, kVerw}) {
    core.unreadable = {kTable / FakeCore::kPage};
    const vmx::CpuState before = cpu;
    const Outcome outcome = run(bytes);
    ASSERT_TRUE(std::holds_alternative<vmx::Event>(outcome));
    EXPECT_EQ(std::get<vmx::Event>(outcome).vector, vmx::kPf);
    expect_unchanged(before);
    core.unreadable.clear();
    core.ept_violations = {kTable / FakeCore::kPage};
    EXPECT_TRUE(std::holds_alternative<EptExit>(run(bytes)));
    core.ept_violations.clear();
  }
}

TEST_F(DescriptorChecks, AreUndefinedWithoutDescriptors) {
  for (const Bytes& bytes : {kLar, kLsl, kVerr, kVerw}) {
    enter_real_mode(core);
    expect_ud(bytes);
    enter_virtual_8086_mode(core);
    expect_ud(bytes);
  }
}

}  // namespace
}  // namespace nestor::emu::test
