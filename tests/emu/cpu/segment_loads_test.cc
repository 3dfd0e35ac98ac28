// SPDX-License-Identifier: GPL-2.0-or-later
//
// MOV and POP to segment registers, LDS and its kin: the checks of the manual, widths, and modes
// without descriptors.
#include "tests/emu/cpu/transfer_fixture.h"

namespace nestor::emu::test {
namespace {

using vmx::kGp;
using vmx::kNp;
using vmx::kRax;
using vmx::kRsp;
using vmx::kSs12;

enum class Kind : uint8_t { kMov, kMovMemory, kPop, kLoadPointer };
constexpr Kind kKinds[] = {Kind::kMov, Kind::kMovMemory, Kind::kPop, Kind::kLoadPointer};
constexpr vmx::SegmentRegister kData[] = {vmx::kEs, vmx::kDs, vmx::kFs, vmx::kGs};

class SegmentLoads : public TransferTest {
 protected:
  // The instruction that loads `selector`; std::nullopt: there is none in this mode.
  std::optional<Bytes> loading(Kind kind, vmx::SegmentRegister register_, uint16_t selector,
                               uint64_t offset = 0x11223344) {
    const unsigned width = usual_width();
    switch (kind) {
      case Kind::kMov:
        cpu.gpr[kRax] = 0xffff0000u | selector;
        return Bytes{0x8e, static_cast<uint8_t>(0xc0 | register_ << 3)};
      case Kind::kMovMemory:
        core.poke(kPointer, selector);
        return with_memory({0x8e}, register_);
      case Kind::kPop:
        core.poke(cpu.gpr[kRsp], 0xabcd'ef01'2345'0000 | selector);
        return pop(register_);
      case Kind::kLoadPointer:
        put_pointer(selector, offset, width);
        return load_pointer(register_);
    }
    return std::nullopt;
  }
  std::optional<Bytes> pop(vmx::SegmentRegister register_) const {
    if (register_ == vmx::kFs) return Bytes{0x0f, 0xa1};
    if (register_ == vmx::kGs) return Bytes{0x0f, 0xa9};
    if (mode == Mode::k64) return std::nullopt;
    return Bytes{static_cast<uint8_t>(7 | register_ << 3)};
  }
  // With EAX as destination.
  std::optional<Bytes> load_pointer(vmx::SegmentRegister register_) const {
    switch (register_) {
      case vmx::kSs:
        return with_memory({0x0f, 0xb2}, 0);
      case vmx::kFs:
        return with_memory({0x0f, 0xb4}, 0);
      case vmx::kGs:
        return with_memory({0x0f, 0xb5}, 0);
      case vmx::kEs:
        return mode == Mode::k64 ? std::nullopt : std::optional(with_memory({0xc4}, 0));
      default:
        return mode == Mode::k64 ? std::nullopt : std::optional(with_memory({0xc5}, 0));
    }
  }
  // In each mode with each instruction for `register_`, at `cpl`.
  template <class Check>
  void for_each(vmx::SegmentRegister register_, unsigned cpl, const Check& check) {
    for (const Mode at : kModes) {
      for (const Kind kind : kKinds) {
        enter(at, cpl);
        if (!loading(kind, register_, 0)) continue;
        SCOPED_TRACE(testing::Message() << name_of(at) << " register " << unsigned{register_}
                                        << " kind " << static_cast<unsigned>(kind));
        check(kind);
      }
    }
  }
  // Each case with its type, and with that of a segment that has been accessed: it is judged alike.
  template <size_t kCount, class Check>
  static void for_each_case(const SelectorCase (&cases)[kCount], const Check& check) {
    for (const SelectorCase& c : cases) {
      for (uint8_t accessed_flag = 0; accessed_flag < 2; ++accessed_flag) {
        SCOPED_TRACE(testing::Message() << "case " << &c - cases << " " << int{accessed_flag});
        check(c, static_cast<uint8_t>(c.type | accessed_flag));
      }
    }
  }
};

TEST_F(SegmentLoads, OfDataSegments) {
  constexpr SelectorCase kCases[] = {
      {kReadWrite, 0, 0, 0, true, std::nullopt},
      {kReadOnlyData, 3, 3, 3, true, std::nullopt},
      {kReadOnlyData, 3, 0, 0, true, std::nullopt},
      {kReadWrite, 2, 2, 0, true, std::nullopt},
      {kReadWrite, 2, 3, 0, true, kGp},  // RPL
      {kReadWrite, 2, 2, 3, true, kGp},  // CPL
      {kReadWrite, 0, 0, 3, true, kGp},
      {kExpandDown, 1, 1, 1, true, std::nullopt},
      {kExecuteRead, 3, 3, 3, true, std::nullopt},
      {kExecuteRead, 0, 0, 3, true, kGp},
      {kConformingCode, 0, 3, 3, true, std::nullopt},
      {kConformingCode & ~2, 3, 3, 3, true, kGp},  // execute-only
      {kExecuteOnly, 3, 3, 3, true, kGp},
      {kExecuteOnly, 3, 3, 3, false, kGp},
      {kReadWrite, 0, 0, 3, false, kGp},
      {kReadWrite, 3, 3, 3, false, kNp},
      {kConformingCode, 0, 0, 3, false, kNp},
  };
  for_each_case(kCases, [&](const SelectorCase& c, uint8_t type) {
    for (const auto register_ : kData) {
      for_each(register_, c.cpl, [&](Kind kind) {
        const uint64_t written = segment(type, c.dpl, kFlags32, c.present, 0x56789000);
        const auto selector = static_cast<uint16_t>(add(written) | c.rpl);
        const Bytes bytes = *loading(kind, register_, selector);
        if (c.vector) {
          expect_no_effect(bytes, *c.vector, selector & ~3u);
          return;
        }
        expect_completed(bytes);
        const vmx::AccessRights rights{static_cast<uint32_t>(written >> 40 & 0xf0ff) | 1};
        EXPECT_EQ(cpu.segment[register_], (vmx::Segment{selector, rights, 0xffffffff, 0x56789000}));
        EXPECT_TRUE(accessed(selector));
      });
    }
  });
}

TEST_F(SegmentLoads, OfStackSegments) {
  constexpr SelectorCase kCases[] = {
      {kReadWrite, 0, 0, 0, true, std::nullopt}, {kExpandDown, 3, 3, 3, true, std::nullopt},
      {kReadWrite, 2, 2, 2, true, std::nullopt}, {kReadWrite, 0, 1, 0, true, kGp},
      {kReadWrite, 0, 3, 0, true, kGp},          {kReadWrite, 3, 0, 0, true, kGp},
      {kReadWrite, 3, 3, 0, true, kGp},          {kReadWrite, 3, 0, 3, true, kGp},
      {kReadWrite, 0, 0, 3, true, kGp},          {kReadWrite, 0, 3, 3, true, kGp},
      {kReadOnlyData, 0, 0, 0, true, kGp},       {kExecuteRead, 0, 0, 0, true, kGp},
      {kConformingCode, 0, 0, 0, true, kGp},     {kReadOnlyData, 0, 0, 0, false, kGp},
      {kReadWrite, 0, 1, 0, false, kGp},         {kReadWrite, 3, 0, 0, false, kGp},
      {kReadWrite, 0, 0, 0, false, kSs12},       {kExpandDown, 3, 3, 3, false, kSs12},
  };
  for_each_case(kCases, [&](const SelectorCase& c, uint8_t type) {
    for_each(vmx::kSs, c.cpl, [&](Kind kind) {
      const auto selector =
          static_cast<uint16_t>(add(segment(type, c.dpl, kFlags32, c.present)) | c.rpl);
      const Bytes bytes = *loading(kind, vmx::kSs, selector);
      if (c.vector) {
        expect_no_effect(bytes, *c.vector, selector & ~3u);
        return;
      }
      expect_completed(bytes);
      EXPECT_EQ(cpu.segment[vmx::kSs].selector, selector);
      EXPECT_EQ(cpu.cpl(), c.cpl);
      EXPECT_TRUE(accessed(selector));
    });
  });
}

TEST_F(SegmentLoads, OfSelectorsWithoutADescriptor) {
  for (const auto register_ : {vmx::kEs, vmx::kSs, vmx::kDs, vmx::kFs, vmx::kGs}) {
    for_each(register_, 0, [&](Kind kind) {
      const auto beyond = static_cast<uint16_t>(cpu.gdtr.limit + 1);
      expect_no_effect(*loading(kind, register_, beyond), kGp, beyond);
      expect_no_effect(*loading(kind, register_, 4), kGp, 4);
      const uint16_t tss = add(system(9, 0), 0);
      expect_no_effect(*loading(kind, register_, tss), kGp, tss);
    });
  }
}

TEST_F(SegmentLoads, OfNullSelectors) {
  for (const auto register_ : kData) {
    for_each(register_, 3, [&](Kind kind) {
      for (uint16_t null = 0; null < 4; ++null) {
        // DS has the operand.
        cpu.segment[register_] = cpu.segment[vmx::kSs];
        if (register_ != vmx::kDs) cpu.segment[register_].base = 0x1000;
        expect_completed(*loading(kind, register_, null));
        EXPECT_EQ(cpu.segment[register_].selector, null);
        EXPECT_TRUE(cpu.segment[register_].rights.unusable());
        EXPECT_EQ(cpu.segment[register_].base, 0u);
      }
    });
  }
  for (unsigned cpl = 0; cpl < 4; ++cpl) {
    for_each(vmx::kSs, cpl, [&](Kind kind) {
      for (uint16_t null = 0; null < 4; ++null) {
        const Bytes bytes = *loading(kind, vmx::kSs, null);
        if (mode != Mode::k64 || cpl == 3 || null != cpl) {
          expect_no_effect(bytes, kGp, 0);
          continue;
        }
        expect_completed(bytes);
        EXPECT_EQ(cpu.segment[vmx::kSs].selector, null);
        EXPECT_TRUE(cpu.segment[vmx::kSs].rights.unusable());
        EXPECT_EQ(cpu.cpl(), cpl);
      }
    });
  }
}

TEST_F(SegmentLoads, OfTheCodeSegmentAreUndefined) {
  for (const Mode at : kModes) {
    enter(at, 0);
    const auto instruction = decoder.decode(Bytes{0x8e, 0xc8}, code_mode(cpu));
    if (!instruction) continue;  // the engine calls it undefined, too
    expect_no_effect({0x8e, 0xc8}, vmx::kUd, std::nullopt);
  }
}

TEST_F(SegmentLoads, PopsMoveTheStackPointerByTheirWidth) {
  for (const Mode at : kModes) {
    for (const auto register_ : {vmx::kEs, vmx::kSs, vmx::kDs, vmx::kFs, vmx::kGs}) {
      for (const bool narrow : {false, true}) {
        enter(at, 0);
        if (!pop(register_)) continue;
        const uint16_t selector = add(segment(kReadWrite, 0));
        const Bytes bytes = *loading(Kind::kPop, register_, selector);
        const uint64_t rsp = cpu.gpr[kRsp];
        expect_completed((narrow ? Bytes{0x66} : Bytes{}) + bytes);
        const unsigned usual = at == Mode::k64 ? 8 : usual_width(), other = at == Mode::k16 ? 4 : 2;
        EXPECT_EQ(cpu.gpr[kRsp] - rsp, narrow ? other : usual);
        EXPECT_EQ(cpu.segment[register_].selector, selector);
      }
    }
  }
}

TEST_F(SegmentLoads, ThePoppedStackSegmentChangesTheWidthOfTheStackAfterwards) {
  enter(Mode::k32, 0);
  cpu.segment[vmx::kSs].rights.value &= ~0x4000u;
  cpu.gpr[kRsp] = 0x5555'fffc;
  core.poke<uint16_t>(0xfffc, add(segment(kReadWrite, 0)));
  expect_completed({0x17});  // POP SS
  EXPECT_EQ(cpu.gpr[kRsp], 0x5555'0000u);
  EXPECT_TRUE(cpu.segment[vmx::kSs].rights.default_big());
  cpu.gpr[kRsp] = 0xffff'fffc;
  EXPECT_EQ(stack_pointer_mask(cpu), 0xffffffffu);
}

TEST_F(SegmentLoads, PointersHaveTheOperandSize) {
  constexpr uint64_t kOffset = 0x1122'3344'5566'7788;
  for (const Mode at : kModes) {
    for (const unsigned width : {2u, 4u, 8u}) {
      enter(at, 0);
      if (!prefix(width)) continue;
      SCOPED_TRACE(testing::Message() << name_of(at) << " " << width);
      const uint16_t selector = add(segment(kReadWrite, 0));
      put_pointer(selector, kOffset, width);
      cpu.gpr[kRax] = ~0ull;
      expect_completed(*prefix(width) + *load_pointer(vmx::kGs));
      EXPECT_EQ(cpu.segment[vmx::kGs].selector, selector);
      const uint64_t mask = value_mask(width);
      EXPECT_EQ(cpu.gpr[kRax], width == 2 ? (~mask | (kOffset & mask)) : kOffset & mask);
    }
  }
}

TEST_F(SegmentLoads, PageFaultsChangeNothing) {
  for (const auto register_ : {vmx::kDs, vmx::kSs, vmx::kFs}) {
    for_each(register_, 0, [&](Kind kind) {
      const Bytes bytes = *loading(kind, register_, add(segment(kReadWrite, 0)));
      for (const bool write : {false, true}) {
        auto& refused = write ? core.unwritable : core.unreadable;
        refused = {kTable / FakeCore::kPage};
        const vmx::CpuState before = cpu;
        const Outcome outcome = run(bytes);
        ASSERT_TRUE(std::holds_alternative<vmx::Event>(outcome));
        EXPECT_EQ(std::get<vmx::Event>(outcome).vector, vmx::kPf);
        expect_unchanged(before);
        refused.clear();
      }
      core.ept_violations = {kTable / FakeCore::kPage};
      const vmx::CpuState before = cpu;
      EXPECT_TRUE(std::holds_alternative<EptExit>(run(bytes)));
      expect_unchanged(before);
      core.ept_violations.clear();
      expect_completed(bytes);
    });
  }
}

TEST_F(SegmentLoads, WithoutDescriptorsASelectorIsABase) {
  for (const bool virtual_8086 : {false, true}) {
    for (const auto register_ : {vmx::kEs, vmx::kSs, vmx::kDs, vmx::kFs, vmx::kGs}) {
      for (const Kind kind : kKinds) {
        mode = Mode::k16;
        virtual_8086 ? enter_virtual_8086_mode(core) : enter_real_mode(core);
        cpu.segment[vmx::kDs].base = cpu.segment[vmx::kSs].base = 0;
        const vmx::Segment before = cpu.segment[register_];
        expect_completed(*loading(kind, register_, 0xf00f));
        EXPECT_EQ(cpu.segment[register_], (vmx::Segment{0xf00f, before.rights, 0xffff, 0xf00f0}));
        if (kind == Kind::kLoadPointer) {
          EXPECT_EQ(cpu.gpr[kRax] & 0xffff, 0x3344u);
        }
      }
    }
  }
  // What protected mode left behind stays.
  enter_real_mode(core);
  cpu.segment[vmx::kEs] = {8, {0xc093}, 0xffffffff, 0x100000};
  cpu.gpr[kRax] = 0x1000;
  expect_completed({0x8e, 0xc0});
  EXPECT_EQ(cpu.segment[vmx::kEs], (vmx::Segment{0x1000, {0xc093}, 0xffffffff, 0x10000}));
}

// --- blocking of events

TEST_F(SegmentLoads, MovAndPopToSsHoldEventsBackForOneInstruction) {
  for (const auto register_ : {vmx::kSs, vmx::kGs}) {
    for_each(register_, 0, [&](Kind kind) {
      const uint16_t selector = add(segment(kReadWrite, 0));
      const Bytes bytes = *loading(kind, register_, selector);
      const auto load = decoder.decode(bytes, code_mode(cpu)),
                 nop = decoder.decode(Bytes{0x0f, 0xa2}, code_mode(cpu));
      ASSERT_TRUE(load && nop);
      const bool blocks = register_ == vmx::kSs && kind != Kind::kLoadPointer;
      cpu.blocking_by_sti = true;
      cpu.rflags |= vmx::rflags::kTf | vmx::rflags::kRf;
      const uint64_t rip = cpu.rip;
      const Executed executed = execute(core, *load);
      EXPECT_TRUE(executed.at_boundary);
      EXPECT_TRUE(executed.single_step);
      EXPECT_EQ(cpu.rip, rip + bytes.size());
      EXPECT_EQ(cpu.blocking_by_mov_ss, blocks);
      EXPECT_FALSE(cpu.blocking_by_sti);
      EXPECT_EQ(cpu.rflags & vmx::rflags::kRf, 0u);
      execute(core, *nop);
      EXPECT_FALSE(cpu.blocking_by_mov_ss);
    });
  }
}

TEST_F(SegmentLoads, OfSeveralInARowTheFirstHoldsEventsBack) {
  enter(Mode::k32, 0);
  cpu.gpr[kRax] = add(segment(kReadWrite, 0));
  const auto load = decoder.decode(Bytes{0x8e, 0xd0}, CodeMode::k32);
  ASSERT_TRUE(load);
  for (const bool blocked : {true, false, true}) {
    execute(core, *load);
    EXPECT_EQ(cpu.blocking_by_mov_ss, blocked);
  }
}

TEST_F(SegmentLoads, AFaultDoesNotEndTheBlocking) {
  enter(Mode::k32, 0);
  cpu.gpr[kRax] = 0xfff8;
  cpu.blocking_by_mov_ss = true;
  const auto load = decoder.decode(Bytes{0x8e, 0xd0}, CodeMode::k32);
  const Executed executed = execute(core, *load);
  EXPECT_FALSE(executed.at_boundary);
  EXPECT_TRUE(cpu.blocking_by_mov_ss);
}

}  // namespace
}  // namespace nestor::emu::test
