// SPDX-License-Identifier: GPL-2.0-or-later
//
// RFLAGS as IRET and POPF may change them; IRET to and from virtual-8086 mode; NT, and blocking by
// NMI.
#include "tests/emu/cpu/transfer_fixture.h"

namespace nestor::emu::test {
namespace {

using vmx::kGp;
using vmx::kRsp;
namespace rflags = vmx::rflags;

constexpr uint64_t kStatus = rflags::kCf | rflags::kPf | rflags::kAf | rflags::kZf | rflags::kSf |
                             rflags::kOf | rflags::kDf,
                   kDefined = 0x3f7fd5;

class ReturnFlags : public TransferTest {
 protected:
  // What code at `cpl` with this IOPL may change, by an instruction of this width.
  static uint64_t changeable(unsigned cpl, unsigned iopl, unsigned width, bool iret) {
    uint64_t mask = kStatus | rflags::kTf | rflags::kNt;
    if (cpl <= iopl) mask |= rflags::kIf;
    if (cpl == 0) mask |= rflags::kIopl;
    if (width == 2) return mask;
    mask |= rflags::kAc | rflags::kId;
    if (iret) mask |= rflags::kRf;
    if (iret && cpl == 0) mask |= rflags::kVif | rflags::kVip;
    return mask;
  }
  void set_flags(uint64_t flags, unsigned iopl) {
    cpu.rflags = (flags & kDefined & ~(rflags::kIopl | rflags::kNt | rflags::kVm)) | 2 |
                 uint64_t{iopl} << 12;
  }
};

TEST_F(ReturnFlags, OfIret) {
  for (const Mode at : kModes) {
    for (unsigned cpl = 0; cpl < 4; ++cpl) {
      for (unsigned iopl = 0; iopl < 4; ++iopl) {
        for (unsigned to = cpl; to < 4; ++to) {
          for (const unsigned width : {2u, 4u, 8u}) {
            enter(at, cpl);
            if (!prefix(width)) continue;
            SCOPED_TRACE(testing::Message() << name_of(at) << " CPL " << cpl << " IOPL " << iopl
                                            << " to " << to << " width " << width);
            const auto code =
                static_cast<uint16_t>(add(segment(kExecuteRead, to, flags_of(at))) | to);
            const auto stack = static_cast<uint16_t>(add(segment(kReadWrite, to)) | to);
            // VM in the image means virtual-8086 mode here, and nothing elsewhere.
            const bool to_v86 = cpl == 0 && !is_long(at) && width == 4;
            for (const uint64_t image : {0ull, ~0ull}) {
              enter(at, cpl);
              add(entry(code));
              cpu.gdtr.limit = static_cast<uint16_t>((stack & ~7u) + 7);
              core.poke(kTable + (code & ~7u), segment(kExecuteRead, to, flags_of(at)));
              core.poke(kTable + (stack & ~7u), segment(kReadWrite, to));
              set_flags(~image, iopl);
              const uint64_t before = cpu.rflags;
              const uint64_t flags = to_v86 ? image & ~uint64_t{rflags::kVm} : image;
              expect_jumped(returning(kIret, {kTarget, code, flags, 0x7000, stack}, width));
              const uint64_t mask = changeable(cpl, iopl, width, true);
              EXPECT_EQ(cpu.rflags, (before & ~mask) | (image & mask));
              EXPECT_EQ(cpu.cpl(), to);
            }
          }
        }
      }
    }
  }
}

TEST_F(ReturnFlags, OfIretWithoutDescriptors) {
  for (const bool virtual_8086 : {false, true}) {
    for (const unsigned width : {2u, 4u}) {
      for (const uint64_t image : {0ull, ~0ull}) {
        SCOPED_TRACE(testing::Message() << virtual_8086 << " " << width);
        mode = Mode::k16;
        virtual_8086 ? enter_virtual_8086_mode(core) : enter_real_mode(core);
        cpu.segment[vmx::kSs].base = 0;
        cpu.gpr[kRsp] = 0x8000;
        // NT does not matter here.
        cpu.rflags = (~image & kDefined & ~uint64_t{rflags::kVm}) | 2 | rflags::kIopl |
                     (virtual_8086 ? rflags::kVm : 0);
        const uint64_t before = cpu.rflags;
        const vmx::Segment cs = cpu.segment[vmx::kCs];
        expect_jumped(returning(kIret, {0x1234, 0x5678, image}, width));
        uint64_t mask = kStatus | rflags::kTf | rflags::kNt | rflags::kIf;
        if (!virtual_8086) mask |= rflags::kIopl;
        if (width == 4) mask |= rflags::kAc | rflags::kId | rflags::kRf;
        EXPECT_EQ(cpu.rflags, (before & ~mask) | (image & mask));
        EXPECT_EQ(cpu.rip, 0x1234u);
        EXPECT_EQ(cpu.segment[vmx::kCs], (vmx::Segment{0x5678, cs.rights, 0xffff, 0x56780}));
        EXPECT_EQ(cpu.gpr[kRsp], 0x8000 + 3 * width);
      }
    }
    cpu.gpr[kRsp] = 0x8000;
    expect_no_effect(returning(kIret, {0x10000, 0x5678, 2}, 4), kGp, 0);
  }
}

TEST_F(ReturnFlags, OfPopf) {
  for (const Mode at : kModes) {
    for (unsigned cpl = 0; cpl < 4; ++cpl) {
      for (unsigned iopl = 0; iopl < 4; ++iopl) {
        for (const bool other : {false, true}) {
          for (const uint64_t image : {0ull, ~0ull}) {
            enter(at, cpl);
            SCOPED_TRACE(testing::Message() << name_of(at) << " CPL " << cpl << " IOPL " << iopl);
            const unsigned usual = at == Mode::k64 ? 8 : usual_width(),
                           width = other ? (at == Mode::k16 ? 4 : 2) : usual;
            set_flags(~image, iopl);
            cpu.rflags &= ~uint64_t{rflags::kRf};
            const uint64_t before = cpu.rflags, rsp = cpu.gpr[kRsp];
            core.poke(rsp, image);
            expect_completed((other ? Bytes{0x66} : Bytes{}) + Bytes{0x9d});
            const uint64_t mask = changeable(cpl, iopl, width, false);
            EXPECT_EQ(cpu.rflags, (before & ~mask) | (image & mask));
            EXPECT_EQ(cpu.gpr[kRsp], rsp + width);
          }
        }
      }
    }
  }
}

TEST_F(ReturnFlags, Virtual8086ModeNeedsIopl3) {
  for (unsigned iopl = 0; iopl < 4; ++iopl) {
    for (const uint8_t opcode : {uint8_t{kIret}, uint8_t{0x9d}}) {
      mode = Mode::k16;
      enter_virtual_8086_mode(core);
      cpu.segment[vmx::kSs].base = 0;
      cpu.rflags |= uint64_t{iopl} << 12;
      const Bytes bytes = returning(opcode, {0x1234, 0x5678, 2}, 2);
      if (iopl != 3) {
        expect_no_effect(bytes, kGp, 0);
      } else if (opcode == kIret) {
        expect_jumped(bytes);
      } else {
        expect_completed(bytes);
      }
    }
  }
}

// --- to virtual-8086 mode

TEST_F(ReturnFlags, ToVirtual8086Mode) {
  for (const Mode at : {Mode::k16, Mode::k32}) {
    SCOPED_TRACE(name_of(at));
    enter(at, 0);
    const auto image = [&](uint64_t rip, uint64_t flags) {
      return returning(
          kIret, {rip, 0x1111'1000, flags, 0x1234'5678, 0x2001, 0x3002, 0x4003, 0x5004, 0x6005}, 4);
    };
    expect_no_effect(image(0x10000, rflags::kVm), kGp, 0);
    expect_jumped(image(0xfff0, ~0ull));
    EXPECT_EQ(cpu.rflags, kDefined | 2);
    EXPECT_EQ(cpu.rip, 0xfff0u);
    EXPECT_EQ(cpu.gpr[kRsp], 0x1234'5678u);
    EXPECT_EQ(cpu.cpl(), 3);
    const std::pair<vmx::SegmentRegister, uint16_t> kLoaded[] = {
        {vmx::kCs, 0x1000}, {vmx::kSs, 0x2001}, {vmx::kEs, 0x3002},
        {vmx::kDs, 0x4003}, {vmx::kFs, 0x5004}, {vmx::kGs, 0x6005}};
    for (const auto& [register_, selector] : kLoaded) {
      EXPECT_EQ(cpu.segment[register_],
                (vmx::Segment{selector, {0xf3}, 0xffff, uint64_t{selector} << 4}));
    }
  }
  // All of it must be inside the stack segment.
  enter(Mode::k32, 0);
  cpu.segment[vmx::kSs].limit = 0xffff;
  cpu.gpr[kRsp] = 0x10000 - 32;
  expect_no_effect(returning(kIret, {0, 0, rflags::kVm}, 4), vmx::kSs12, 0);
}

TEST_F(ReturnFlags, OnlyIretdAtLevel0GoesToVirtual8086Mode) {
  struct Case {
    Mode mode;
    unsigned cpl, width;
  };
  for (const auto& [at, cpl, width] :
       {Case{Mode::k32, 0, 2}, Case{Mode::k32, 3, 4}, Case{Mode::k16, 1, 4},
        Case{Mode::kCompatibility, 0, 4}, Case{Mode::k64, 0, 4}, Case{Mode::k64, 0, 8}}) {
    enter(at, cpl);
    SCOPED_TRACE(testing::Message() << name_of(at) << " " << cpl << " " << width);
    const auto code = static_cast<uint16_t>(add(segment(kExecuteRead, cpl, flags_of(at))) | cpl);
    const auto stack = static_cast<uint16_t>(add(segment(kReadWrite, cpl)) | cpl);
    expect_jumped(returning(kIret, {kTarget, code, rflags::kVm | 2, 0x7000, stack}, width));
    EXPECT_EQ(cpu.rflags, 2u);
    EXPECT_EQ(cpu.rip, kTarget);
  }
}

// --- NT

TEST_F(ReturnFlags, NestedTasksDoNotExistInIa32eMode) {
  for (const Mode at : {Mode::kCompatibility, Mode::k64}) {
    enter(at, 0);
    cpu.rflags |= rflags::kNt;
    cpu.gpr[kRsp] = 0x8000'0000'0000;  // not looked at
    expect_no_effect({kIret}, kGp, 0);
  }
}

TEST_F(ReturnFlags, TheLinkOfANestedTaskIsChecked) {
  enter(Mode::k32, 0);
  cpu.rflags |= rflags::kNt;
  const uint16_t available = add(system(9, 0)), busy = add(system(11, 0)),
                 absent = add(system(11, 0, false)), code = add(segment(kExecuteRead, 0));
  const auto expect_link = [&](uint16_t link, uint8_t vector) {
    core.poke(kTask, link);
    expect_no_effect({kIret}, vector, link & ~3u);
  };
  for (const uint16_t link : {uint16_t{0}, available, code, static_cast<uint16_t>(busy | 4),
                              static_cast<uint16_t>(cpu.gdtr.limit + 1)}) {
    expect_link(link, vmx::kTs);
  }
  expect_link(absent, vmx::kNp);
  core.unreadable = {kTask / FakeCore::kPage};
  const Outcome outcome = run({kIret});
  ASSERT_TRUE(std::holds_alternative<vmx::Event>(outcome));
  EXPECT_EQ(std::get<vmx::Event>(outcome).vector, vmx::kPf);
}

// --- blocking by NMI

TEST_F(ReturnFlags, IretEndsBlockingByNmiWhateverComesOfIt) {
  for (const Mode at : kModes) {
    enter(at, 0);
    const uint16_t code = add(segment(kExecuteRead, 0, flags_of(at))),
                   stack = add(segment(kReadWrite, 0));
    cpu.blocking_by_nmi = true;
    expect_fault(returning(kIret, {kTarget, 0, 2, 0x7000, stack}, usual_width()), kGp, 0);
    EXPECT_FALSE(cpu.blocking_by_nmi);
    cpu.blocking_by_nmi = cpu.blocking_by_sti = cpu.blocking_by_mov_ss = true;
    expect_jumped(returning(kIret, {kTarget, code, 2, 0x7000, stack}, usual_width()));
    EXPECT_FALSE(cpu.blocking_by_nmi || cpu.blocking_by_sti || cpu.blocking_by_mov_ss);
  }
}

TEST_F(ReturnFlags, TheTrapFlagThatIretFindsDecidesOnTheTrap) {
  enter(Mode::k32, 0);
  const uint16_t code = add(segment(kExecuteRead, 0));
  const auto iret = decoder.decode(Bytes{kIret}, CodeMode::k32);
  ASSERT_TRUE(iret);
  for (const bool before : {false, true}) {
    for (const bool after : {false, true}) {
      cpu.rflags = 2 | (before ? rflags::kTf : 0);
      cpu.gpr[kRsp] = stack_of(0);
      returning(kIret, {kTarget, code, after ? rflags::kTf | 2ull : 2ull}, 4);
      const Executed executed = execute(core, *iret);
      EXPECT_TRUE(executed.at_boundary);
      EXPECT_EQ(executed.single_step, before);
      EXPECT_EQ((cpu.rflags & rflags::kTf) != 0, after);
    }
  }
}

}  // namespace
}  // namespace nestor::emu::test
