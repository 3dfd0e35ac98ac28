// SPDX-License-Identifier: GPL-2.0-or-later
//
// Far RET and IRET: each check with its exception, in each mode, in the order of the manual; and
// what becomes of the data segments.
#include "tests/emu/cpu/transfer_fixture.h"

namespace nestor::emu::test {
namespace {

using vmx::kGp;
using vmx::kNp;
using vmx::kSs12;

class FarReturnChecks : public TransferTest {
 protected:
  // The instruction with its image on the stack: RIP, CS, for IRET RFLAGS, then RSP and SS.
  Bytes image(bool iret, uint64_t rip, uint16_t cs, uint64_t rsp, uint16_t ss, unsigned width) {
    return iret ? returning(kIret, {rip, cs, 2, rsp, ss}, width)
                : returning(kRetf, {rip, cs, rsp, ss}, width);
  }
  Bytes image(bool iret, uint16_t cs, uint16_t ss) {
    return image(iret, kTarget, cs, 0x7000, ss, usual_width());
  }
  template <class Check>
  void for_both(const Check& check) {
    for (const bool iret : {false, true}) {
      SCOPED_TRACE(iret ? "IRET" : "RET");
      check(iret);
    }
  }
  // Of the whole image.
  static unsigned size_of(bool iret, unsigned width) { return (iret ? 5 : 4) * width; }
};

TEST_F(FarReturnChecks, OfTheCodeSegment) {
  constexpr SelectorCase kCases[] = {
      {kExecuteRead, 0, 0, 0, true, std::nullopt},
      {kExecuteOnly, 3, 3, 0, true, std::nullopt},
      {kExecuteRead, 1, 1, 0, true, std::nullopt},
      {kExecuteRead, 3, 3, 3, true, std::nullopt},
      {kExecuteRead, 3, 2, 3, true, kGp},  // inward
      {kExecuteRead, 0, 0, 3, true, kGp},
      {kExecuteRead, 0, 3, 0, true, kGp},  // DPL differs from RPL
      {kExecuteRead, 3, 2, 0, true, kGp},
      {kConformingCode, 0, 3, 0, true, std::nullopt},
      {kConformingCode, 2, 3, 1, true, std::nullopt},
      {kConformingCode, 3, 2, 1, true, kGp},  // DPL above RPL
      {kConformingCode, 1, 0, 0, true, kGp},
      {kReadWrite, 3, 3, 0, true, kGp},
      {kReadWrite, 3, 3, 0, false, kGp},
      {kExecuteRead, 0, 3, 0, false, kGp},
      {kExecuteRead, 3, 3, 0, false, kNp},
      {kExecuteRead, 0, 0, 0, false, kNp},
      {kConformingCode, 0, 3, 0, false, kNp},
  };
  for (const Mode at : kModes) {
    for_both([&](bool iret) {
      for (const SelectorCase& c : kCases) {
        SCOPED_TRACE(testing::Message() << name_of(at) << " case " << &c - kCases);
        enter(at, c.cpl);
        const uint16_t ss = static_cast<uint16_t>(add(segment(kReadWrite, c.rpl)) | c.rpl);
        const auto cs =
            static_cast<uint16_t>(add(segment(c.type, c.dpl, flags_of(at), c.present)) | c.rpl);
        const Bytes bytes = image(iret, cs, ss);
        if (c.vector) {
          expect_no_effect(bytes, *c.vector, cs & ~3u);
          continue;
        }
        const uint64_t rsp = cpu.gpr[vmx::kRsp];
        expect_jumped(bytes);
        EXPECT_EQ(cpu.rip, kTarget);
        EXPECT_EQ(cpu.segment[vmx::kCs].selector, cs);
        EXPECT_EQ(cpu.cpl(), c.rpl);
        const bool popped = c.rpl != c.cpl || (iret && at == Mode::k64);
        EXPECT_EQ(cpu.gpr[vmx::kRsp], popped ? 0x7000u : rsp + (iret ? 3 : 2) * usual_width());
        if (popped) {
          EXPECT_EQ(cpu.segment[vmx::kSs].selector, ss);
        }
      }
    });
  }
}

TEST_F(FarReturnChecks, OfTheSelectorAndTheOffset) {
  for (const Mode at : kModes) {
    for_both([&](bool iret) {
      SCOPED_TRACE(name_of(at));
      enter(at, 0);
      const uint16_t ss = add(segment(kReadWrite, 0));
      for (uint16_t null = 0; null < 4; ++null) expect_no_effect(image(iret, null, ss), kGp, 0);
      const auto beyond = static_cast<uint16_t>(cpu.gdtr.limit + 1);
      expect_no_effect(image(iret, beyond, ss), kGp, beyond);
      expect_no_effect(image(iret, 7, ss), kGp, 4);
      const uint16_t gate = add(system(12, 0), 0);
      expect_no_effect(image(iret, gate, ss), kGp, gate);
      if (at == Mode::k64) {
        const uint16_t code = add(segment(kExecuteRead, 0, kFlags64));
        expect_no_effect(image(iret, 0x8000'0000'0000, code, 0x7000, ss, 8), kGp, 0);
        expect_jumped(image(iret, 0xffff'8000'0000'0000, code, 0x7000, ss, 8));
        EXPECT_EQ(cpu.rip, 0xffff'8000'0000'0000);
        return;
      }
      for (const unsigned rpl : {0u, 3u}) {
        const auto outer = static_cast<uint16_t>(add(segment(kReadWrite, rpl)) | rpl);
        const auto small = static_cast<uint16_t>(
            add(descriptor(0, 0xfff, static_cast<uint8_t>(0x9a | rpl << 5), flags_of(at) & 4)) |
            rpl);
        expect_no_effect(image(iret, 0x1000, small, 0x7000, outer, usual_width()), kGp, 0);
        // The checks of SS come first.
        if (rpl != 0) {
          expect_no_effect(image(iret, 0x1000, small, 0x7000, 0, usual_width()), kGp, 0);
          expect_no_effect(image(iret, 0x1000, small, 0x7000, ss, usual_width()), kGp, ss);
        }
      }
    });
  }
  enter(Mode::k64, 0);
  const uint16_t both = add(segment(kExecuteRead, 0, kFlagsBoth)), ss = add(segment(kReadWrite, 0));
  for_both([&](bool iret) { expect_no_effect(image(iret, both, ss), kGp, both); });
}

TEST_F(FarReturnChecks, OfTheOuterStackSegment) {
  for (const Mode at : kModes) {
    for_both([&](bool iret) {
      SCOPED_TRACE(name_of(at));
      enter(at, 0);
      const uint16_t cs = add(segment(kExecuteRead, 2, flags_of(at))) | 2;
      const auto stack = [&](uint8_t type, unsigned dpl, unsigned rpl, bool present = true) {
        return static_cast<uint16_t>(add(segment(type, dpl, kFlags32, present)) | rpl);
      };
      const uint16_t beyond = 0xffe8 | 2;
      const uint16_t refused[] = {
          beyond,
          stack(kReadWrite, 2, 1),  // RPL
          stack(kReadWrite, 2, 3),  //
          stack(kReadWrite, 3, 2),  // DPL
          stack(kReadWrite, 0, 2),  //
          stack(kReadOnlyData, 2, 2),
          stack(kExecuteRead, 2, 2),
          stack(kConformingCode, 2, 2),
          static_cast<uint16_t>(add(system(2, 2), 0) | 2),
          stack(kReadOnlyData, 2, 2, false),
          stack(kReadWrite, 3, 2, false),
      };
      for (const uint16_t ss : refused) expect_no_effect(image(iret, cs, ss), kGp, ss & ~3u);
      const uint16_t absent = stack(kReadWrite, 2, 2, false);
      expect_no_effect(image(iret, cs, absent), kSs12, absent & ~3u);
      const uint16_t down = stack(kExpandDown, 2, 2);
      core.poke<uint64_t>(kTable + (down & ~3u), descriptor(0, 0, 0xd6, 0xc));
      expect_jumped(image(iret, cs, down));
      EXPECT_EQ(cpu.segment[vmx::kSs].rights.value, 0xc0d7u);
    });
  }
}

TEST_F(FarReturnChecks, OfANullOuterStackSegment) {
  for (const Mode at : kModes) {
    for_both([&](bool iret) {
      for (unsigned rpl = 1; rpl < 4; ++rpl) {
        for (uint16_t null = 0; null < 4; ++null) {
          for (const uint8_t flags : {kFlags32, kFlags64}) {
            if (flags == kFlags64 && !is_long(at)) continue;
            SCOPED_TRACE(testing::Message() << name_of(at) << " " << rpl << " " << null);
            enter(at, 0);
            const auto cs = static_cast<uint16_t>(add(segment(kExecuteRead, rpl, flags)) | rpl);
            const Bytes bytes = image(iret, cs, null);
            if (flags == kFlags32 || rpl == 3 || null != rpl) {
              expect_no_effect(bytes, kGp, 0);
              continue;
            }
            expect_jumped(bytes);
            EXPECT_EQ(cpu.segment[vmx::kSs].selector, null);
            EXPECT_TRUE(cpu.segment[vmx::kSs].rights.unusable());
            EXPECT_EQ(cpu.cpl(), rpl);
          }
        }
      }
    });
  }
}

TEST_F(FarReturnChecks, OfTheStackThatIsPopped) {
  for (const Mode at : {Mode::k16, Mode::k32, Mode::kCompatibility}) {
    for_both([&](bool iret) {
      SCOPED_TRACE(name_of(at));
      enter(at, 0);
      const unsigned width = usual_width(), same = (iret ? 3 : 2) * width;
      const uint16_t inside = add(segment(kExecuteRead, 0, flags_of(at))),
                     cs = add(segment(kExecuteRead, 3, flags_of(at))) | 3,
                     ss = add(segment(kReadWrite, 3)) | 3;
      cpu.segment[vmx::kSs].limit = 0x7fff;
      cpu.gpr[vmx::kRsp] = 0x8001 - same;
      // Before anything is said of the selector.
      expect_no_effect(image(iret, 0, 0), kSs12, 0);
      cpu.gpr[vmx::kRsp] = 0x8000 - same;
      expect_jumped(image(iret, inside, 0));
      cpu.gpr[vmx::kRsp] = 0x8001 - size_of(iret, width);
      expect_no_effect(image(iret, cs, ss), kSs12, 0);
      // The checks of the code segment come before the outer stack is read.
      expect_no_effect(image(iret, 0, ss), kGp, 0);
      cpu.gpr[vmx::kRsp] = 0x8000 - size_of(iret, width);
      expect_jumped(image(iret, cs, ss));
    });
  }
  enter(Mode::k64, 0);
  cpu.gpr[vmx::kRsp] = 0x7fff'ffff'fffc;
  for (const uint8_t opcode : {kRetf, kIret}) expect_no_effect({opcode}, kSs12, 0);
}

TEST_F(FarReturnChecks, PageFaultsChangeNothing) {
  for (const Mode at : kModes) {
    for_both([&](bool iret) {
      for (const unsigned rpl : {0u, 3u}) {
        enter(at, 0);
        const auto cs = static_cast<uint16_t>(add(segment(kExecuteRead, rpl, flags_of(at))) | rpl);
        const auto ss = static_cast<uint16_t>(add(segment(kReadWrite, rpl)) | rpl);
        const Bytes bytes = image(iret, cs, ss);
        for (const uint64_t page : {kTable, stack_of(0)}) {
          core.unreadable = {page / FakeCore::kPage};
          const vmx::CpuState before = cpu;
          const Outcome outcome = run(bytes);
          ASSERT_TRUE(std::holds_alternative<vmx::Event>(outcome));
          EXPECT_EQ(std::get<vmx::Event>(outcome).vector, vmx::kPf);
          expect_unchanged(before);
        }
        core.unreadable.clear();
        expect_jumped(bytes);
      }
    });
  }
}

TEST_F(FarReturnChecks, AnOuterLevelLosesTheSegmentsThatItMayNotAccess) {
  struct Case {
    uint8_t type;
    unsigned dpl, to;
    bool kept;
  };
  constexpr Case kCases[] = {
      {kReadWrite, 3, 3, true},    {kReadWrite, 0, 3, false},     {kReadWrite, 2, 3, false},
      {kReadWrite, 2, 2, true},    {kReadWrite, 1, 2, false},     {kReadOnlyData, 3, 3, true},
      {kExecuteRead, 0, 1, false}, {kExecuteRead, 3, 3, true},    {kConformingCode, 0, 3, true},
      {kExpandDown, 0, 3, false},  {kConformingCode, 1, 2, true}, {kReadOnlyData, 0, 1, false},
  };
  constexpr vmx::SegmentRegister kData[] = {vmx::kEs, vmx::kDs, vmx::kFs, vmx::kGs};
  for (const Mode at : kModes) {
    for_both([&](bool iret) {
      for (const Case& c : kCases) {
        SCOPED_TRACE(testing::Message() << name_of(at) << " case " << &c - kCases);
        enter(at, 0);
        const auto cs =
            static_cast<uint16_t>(add(segment(kExecuteRead, c.to, flags_of(at))) | c.to);
        const auto ss = static_cast<uint16_t>(add(segment(kReadWrite, c.to)) | c.to);
        const uint16_t data = add(segment(c.type | 1, c.dpl, kFlags32, true, 0x12345000));
        for (const auto register_ : kData) load(register_, data);
        // The base that an MSR gave it.
        const uint64_t base = is_long(at) ? 0xffff'8000'0000'1000 : 0x12345000;
        cpu.segment[vmx::kFs].base = cpu.segment[vmx::kGs].base = base;
        const vmx::Segment before = cpu.segment[vmx::kDs];
        expect_jumped(image(iret, cs, ss));
        for (const auto register_ : kData) {
          const vmx::Segment& now = cpu.segment[register_];
          EXPECT_EQ(now.selector, c.kept ? data : 0);
          EXPECT_EQ(now.rights.unusable(), !c.kept);
          if (c.kept) {
            EXPECT_EQ(now.rights, before.rights);
          }
        }
        EXPECT_EQ(cpu.segment[vmx::kFs].base, base);
        EXPECT_EQ(cpu.segment[vmx::kGs].base, base);
      }
    });
  }
}

TEST_F(FarReturnChecks, NullSelectorsBecomeZeroAtAnOuterLevelOnly) {
  for (const Mode at : kModes) {
    for_both([&](bool iret) {
      for (const unsigned to : {0u, 3u}) {
        SCOPED_TRACE(testing::Message() << name_of(at) << " " << to);
        enter(at, 0);
        const auto cs = static_cast<uint16_t>(add(segment(kExecuteRead, to, flags_of(at))) | to);
        const auto ss = static_cast<uint16_t>(add(segment(kReadWrite, to)) | to);
        for (const auto register_ : {vmx::kEs, vmx::kDs, vmx::kFs, vmx::kGs}) {
          cpu.segment[register_] = null_segment(3);
        }
        expect_jumped(image(iret, cs, ss));
        for (const auto register_ : {vmx::kEs, vmx::kDs, vmx::kFs, vmx::kGs}) {
          EXPECT_EQ(cpu.segment[register_].selector, to == 0 ? 3 : 0);
          EXPECT_TRUE(cpu.segment[register_].rights.unusable());
        }
      }
    });
  }
}

}  // namespace
}  // namespace nestor::emu::test
