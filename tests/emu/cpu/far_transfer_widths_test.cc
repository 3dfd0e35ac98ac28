// SPDX-License-Identifier: GPL-2.0-or-later
//
// Far transfers in all operand sizes and on stacks of all sizes: what is pushed, popped and
// copied, and where the stack pointer goes.
#include "tests/emu/cpu/transfer_fixture.h"

namespace nestor::emu::test {
namespace {

using vmx::kRsp;

class FarTransferWidths : public TransferTest {
 protected:
  // Makes the stack segment 16 bits wide.
  void narrow_stack() {
    cpu.segment[vmx::kSs].rights.value &= ~0xc000u;
    cpu.segment[vmx::kSs].limit = 0xffff;
  }
  template <class Check>
  void for_each(const Check& check) {
    for (const Mode at : kModes) {
      for (const unsigned width : {2u, 4u, 8u}) {
        enter(at, 0);
        if (!prefix(width)) continue;
        SCOPED_TRACE(testing::Message() << name_of(at) << " width " << width);
        check(width);
      }
    }
  }
};

TEST_F(FarTransferWidths, OfJumps) {
  for_each([&](unsigned width) {
    const uint16_t code = add(segment(kExecuteRead, 0, flags_of(mode)));
    const uint64_t offset = mode == Mode::k16 ? 0x8765 : 0x7654'3210;
    expect_jumped(far(false, code, offset, width));
    EXPECT_EQ(cpu.rip, offset & value_mask(width));
    EXPECT_EQ(cpu.gpr[kRsp], stack_of(0));
    if (mode == Mode::k64) return;
    expect_jumped(far_direct(false, code, static_cast<uint32_t>(offset + 1), width));
    EXPECT_EQ(cpu.rip, (offset + 1) & value_mask(width));
  });
}

TEST_F(FarTransferWidths, OfCalls) {
  for_each([&](unsigned width) {
    const uint16_t code = add(segment(kExecuteRead, 0, flags_of(mode)));
    const uint16_t caller = cpu.segment[vmx::kCs].selector;
    for (const bool direct : {false, true}) {
      if (direct && mode == Mode::k64) continue;
      enter(mode, 0);
      add(segment(kExecuteRead, 0, flags_of(mode)));
      std::fill_n(&core.memory[stack_of(0) - 32], 32, uint8_t{0xee});
      cpu.rip = mode == Mode::k64 && width != 4 ? 0x7fff'1234'5670 : 0x5670;
      cpu.rflags |= vmx::rflags::kRf;
      cpu.blocking_by_sti = cpu.blocking_by_mov_ss = true;
      const Bytes bytes =
          direct ? far_direct(true, code, kTarget, width) : far(true, code, kTarget, width);
      const uint64_t next = cpu.rip + bytes.size();
      expect_jumped(bytes);
      EXPECT_EQ(cpu.gpr[kRsp], stack_of(0) - 2 * width);
      EXPECT_EQ(pushed(0, width), next & value_mask(width));
      EXPECT_EQ(pushed(1, width), caller);
      EXPECT_EQ(core.peek<uint8_t>(stack_of(0) - 2 * width - 1), 0xee);
      EXPECT_EQ(cpu.rflags, 2u);
      EXPECT_FALSE(cpu.blocking_by_sti || cpu.blocking_by_mov_ss);
    }
  });
}

TEST_F(FarTransferWidths, OfReturnsToTheSameLevel) {
  for_each([&](unsigned width) {
    const uint16_t code = add(segment(kExecuteRead, 0, flags_of(mode)));
    const uint64_t rip = mode == Mode::k16 ? 0x8765 : 0x7654'3210;
    for (const unsigned released : {0u, 1u, 0x18u, 0xfff8u}) {
      SCOPED_TRACE(released);
      cpu.gpr[kRsp] = 0x20000;
      cpu.rflags |= vmx::rflags::kRf;
      // What lies above a selector does not matter.
      Bytes bytes = returning(kRetf, {rip, 0xabcd'1234'5678'0000 | code}, width);
      if (released != 0) {
        bytes.back() = 0xca;
        bytes = bytes + Bytes{static_cast<uint8_t>(released), static_cast<uint8_t>(released >> 8)};
      }
      expect_jumped(bytes);
      EXPECT_EQ(cpu.rip, rip & value_mask(width));
      EXPECT_EQ(cpu.gpr[kRsp], 0x20000 + 2 * width + released);
      EXPECT_EQ(cpu.rflags, 2u);
    }
  });
}

TEST_F(FarTransferWidths, OfReturnsToAnOuterLevel) {
  for_each([&](unsigned width) {
    const uint16_t code = add(segment(kExecuteRead, 3, flags_of(mode))) | 3,
                   stack = add(segment(kReadWrite, 3)) | 3;
    constexpr uint64_t kOuterRsp = 0x1234'5678'9abc;
    for (const unsigned released : {0u, 0x18u}) {
      enter(mode, 0);
      add(segment(kExecuteRead, 3, flags_of(mode)));
      add(segment(kReadWrite, 3));
      // Both stacks have the bytes that are released.
      cpu.gpr[kRsp] = stack_of(0) + released;
      returning(kRetf, {0, 0, kOuterRsp, stack}, width);
      cpu.gpr[kRsp] = stack_of(0);
      Bytes bytes = returning(kRetf, {kTarget, code}, width);
      bytes.back() = 0xca;
      bytes = bytes + Bytes{static_cast<uint8_t>(released), 0};
      expect_jumped(bytes);
      const uint64_t popped = (kOuterRsp & value_mask(width)) + released;
      EXPECT_EQ(cpu.gpr[kRsp], mode == Mode::k64 ? popped : popped & 0xffffffff);
      EXPECT_EQ(cpu.segment[vmx::kSs].selector, stack);
    }
    enter(mode, 0);
    add(segment(kExecuteRead, 3, flags_of(mode)));
    add(segment(kReadWrite, 3));
    expect_jumped(returning(kIret, {kTarget, code, 2, kOuterRsp, stack}, width));
    EXPECT_EQ(cpu.gpr[kRsp],
              kOuterRsp & value_mask(width) & (mode == Mode::k64 ? ~0ull : 0xffffffff));
  });
}

TEST_F(FarTransferWidths, IretIn64BitCodePopsTheStackAtAllTimes) {
  for (const unsigned width : {2u, 4u, 8u}) {
    enter(Mode::k64, 0);
    const uint16_t code = add(segment(kExecuteRead, 0, kFlags64));
    expect_jumped(returning(kIret, {kTarget, code, 2, 0x7654, 0}, width));
    EXPECT_EQ(cpu.gpr[kRsp], 0x7654u);
    EXPECT_TRUE(cpu.segment[vmx::kSs].rights.unusable());
    // In compatibility mode it does not at the same level.
    enter(Mode::kCompatibility, 0);
    if (!prefix(width)) continue;
    const uint16_t same = add(segment(kExecuteRead, 0, kFlags32));
    expect_jumped(returning(kIret, {kTarget, same, 2, 0x7654, 0}, width));
    EXPECT_EQ(cpu.gpr[kRsp], stack_of(0) + 3 * width);
  }
}

TEST_F(FarTransferWidths, ReturnsBetween64BitAndCompatibilityMode) {
  for (const uint8_t opcode : {kRetf, kIret}) {
    for (const bool to_64bit : {false, true}) {
      enter(to_64bit ? Mode::kCompatibility : Mode::k64, 0);
      const uint16_t code = add(segment(kExecuteRead, 3, to_64bit ? kFlags64 : kFlags32)) | 3,
                     stack = add(segment(kReadWrite, 3)) | 3;
      const unsigned width = to_64bit ? 4 : 8;
      const uint64_t rip = to_64bit ? 0x1234 : 0x9'0000'1234,
                     rsp = to_64bit ? 0x7000 : 0x5'0000'7000;
      expect_jumped(opcode == kRetf ? returning(opcode, {rip, code, rsp, stack}, width)
                                    : returning(opcode, {rip, code, 2, rsp, stack}, width));
      EXPECT_EQ(cpu.code_64bit(), to_64bit);
      EXPECT_EQ(cpu.rip, 0x1234u);
      EXPECT_EQ(cpu.gpr[kRsp], 0x7000u);
    }
  }
}

// --- stacks of 16 bits

TEST_F(FarTransferWidths, NarrowStacksWrapAndKeepTheRestOfTheStackPointer) {
  for (const Mode at : {Mode::k16, Mode::k32, Mode::kCompatibility}) {
    enter(at, 0);
    SCOPED_TRACE(name_of(at));
    const unsigned width = usual_width();
    const uint16_t code = add(segment(kExecuteRead, 0, flags_of(at)));
    narrow_stack();
    cpu.gpr[kRsp] = 0x5555'0000 | width;
    expect_jumped(far(true, code));
    EXPECT_EQ(cpu.gpr[kRsp], 0x5555'0000u | (0x10000 - width));
    EXPECT_EQ(core.peek<uint16_t>(0), add(0) - 24) << "the caller's CS";
    const uint64_t rip = 0x4321;
    std::memcpy(&core.memory[0x10000 - width], &rip, width);
    std::memcpy(&core.memory[0], &code, 2);
    expect_jumped({kRetf});
    EXPECT_EQ(cpu.rip, 0x4321u);
    EXPECT_EQ(cpu.gpr[kRsp], 0x5555'0000u | width);
    // A value itself does not wrap.
    cpu.gpr[kRsp] = 0xffff;
    expect_no_effect({kRetf}, vmx::kSs12, 0);
    expect_no_effect({kIret}, vmx::kSs12, 0);
    cpu.gpr[kRsp] = 1;
    expect_no_effect(far(true, code), vmx::kSs12, 0);
  }
}

TEST_F(FarTransferWidths, ANarrowOuterStackGetsTheLow16BitsOnly) {
  for (const Mode at : kModes) {
    for (const uint8_t opcode : {kRetf, kIret}) {
      enter(at, 0);
      SCOPED_TRACE(name_of(at));
      const uint8_t flags = at == Mode::k64 ? kFlags32 : flags_of(at);
      const uint16_t code = add(segment(kExecuteRead, 3, flags)) | 3,
                     stack = add(segment(kReadWrite, 3, kFlags16)) | 3;
      cpu.gpr[kRsp] = 0x3'0000 + stack_of(0);
      const unsigned width = usual_width();
      expect_jumped(opcode == kRetf
                        ? returning(opcode, {kTarget, code, 0x9999'7000, stack}, width)
                        : returning(opcode, {kTarget, code, 2, 0x9999'7000, stack}, width));
      EXPECT_EQ(cpu.gpr[kRsp], 0x3'7000u);
    }
  }
}

// --- call gates

TEST_F(FarTransferWidths, GatesPushTheirOwnWidthAndCopyParameters) {
  struct Case {
    uint8_t type;
    unsigned width;
  };
  for (const auto& [type, width] : {Case{4, 2}, Case{12, 4}}) {
    for (const Mode at : {Mode::k16, Mode::k32}) {
      for (const bool narrow_caller : {false, true}) {
        for (const bool narrow_callee : {false, true}) {
          for (const unsigned parameters : {0u, 1u, 3u, 31u}) {
            SCOPED_TRACE(testing::Message() << name_of(at) << width << narrow_caller
                                            << narrow_callee << " " << parameters);
            enter(at, 3);
            if (narrow_caller) narrow_stack();
            cpu.gpr[kRsp] = (narrow_caller ? 0x7777'0000 : 0) | stack_of(3);
            const auto [cs, ss] =
                std::pair(cpu.segment[vmx::kCs].selector, cpu.segment[vmx::kSs].selector);
            const uint16_t code = add(segment(kExecuteRead, 1)),
                           stack =
                               add(segment(kReadWrite, 1, narrow_callee ? kFlags16 : kFlags32)) | 1,
                           gate = add(call_gate(code, 0xabcd'1234, type, 3, parameters));
            core.poke<uint32_t>(kTask + 12, 0x9000);
            core.poke(kTask + 16, stack);
            for (unsigned i = 0; i < parameters * width; ++i) {
              core.memory[stack_of(3) + i] = static_cast<uint8_t>(i + 1);
            }
            const Bytes bytes = far(true, gate);
            expect_jumped(bytes);
            EXPECT_EQ(cpu.rip, type == 4 ? 0x1234u : 0xabcd'1234u);
            EXPECT_EQ(cpu.cpl(), 1);
            EXPECT_EQ(cpu.gpr[kRsp], 0x9000 - (4 + parameters) * width);
            EXPECT_EQ(pushed(0, width), 0x700 + bytes.size());
            EXPECT_EQ(pushed(1, width), cs);
            for (unsigned i = 0; i < parameters * width; ++i) {
              EXPECT_EQ(core.memory[cpu.gpr[kRsp] + 2 * width + i], i + 1);
            }
            EXPECT_EQ(pushed(2 + parameters, width), stack_of(3));
            EXPECT_EQ(pushed(3 + parameters, width), ss);
          }
        }
      }
    }
  }
}

TEST_F(FarTransferWidths, GatesOfTheSameLevelPushTheReturnAlone) {
  for (const Mode at : kModes) {
    for (const bool wide : {false, true}) {
      if (is_long(at) && !wide) continue;
      enter(at, 0);
      SCOPED_TRACE(name_of(at));
      const uint16_t code = add(segment(kExecuteRead, 0, is_long(at) ? kFlags64 : kFlags32));
      const uint64_t low = call_gate(code, kTarget, wide ? 12 : 4, 0, 5);
      const uint16_t gate = is_long(at) ? add(low, 0) : add(low);
      const unsigned width = is_long(at) ? 8 : wide ? 4 : 2;
      const uint16_t cs = cpu.segment[vmx::kCs].selector;
      const Bytes bytes = far(true, gate);
      expect_jumped(bytes);
      EXPECT_EQ(cpu.gpr[kRsp], stack_of(0) - 2 * width);
      EXPECT_EQ(pushed(0, width), 0x700 + bytes.size());
      EXPECT_EQ(pushed(1, width), cs);
    }
  }
}

TEST_F(FarTransferWidths, InnerGatesOfIa32eModePushFourValuesOf64Bits) {
  for (const Mode at : {Mode::kCompatibility, Mode::k64}) {
    enter(at, 3);
    SCOPED_TRACE(name_of(at));
    const auto [cs, ss] = std::pair(cpu.segment[vmx::kCs].selector, cpu.segment[vmx::kSs].selector);
    const uint16_t code = add(segment(kExecuteRead, 0, kFlags64));
    const uint16_t gate = add(call_gate(code, kTarget, 12, 3, 5), 0xffff'8000);
    set_inner_stacks();
    const Bytes bytes = far(true, gate);
    expect_jumped(bytes);
    EXPECT_EQ(cpu.rip, 0xffff'8000'0000'1234u);
    EXPECT_EQ(cpu.gpr[kRsp], stack_of(0) - 32);
    EXPECT_EQ(pushed(0, 8), 0x700 + bytes.size());
    EXPECT_EQ(pushed(1, 8), cs);
    EXPECT_EQ(pushed(2, 8), stack_of(3));
    EXPECT_EQ(pushed(3, 8), ss);
    EXPECT_EQ(cpu.segment[vmx::kSs].selector, 0);
    EXPECT_EQ(cpu.segment[vmx::kSs].rights.value & vmx::AccessRights::kUnusable,
              uint32_t{vmx::AccessRights::kUnusable});
  }
}

TEST_F(FarTransferWidths, TheInnerStackOfA16BitTss) {
  enter(Mode::k32, 3);
  cpu.segment[vmx::kTr].rights.value = 0x83;
  cpu.segment[vmx::kTr].limit = 9;
  const uint16_t gate = add(call_gate(add(segment(kExecuteRead, 1)), kTarget, 12, 3)),
                 stack = add(segment(kReadWrite, 1)) | 1;
  core.poke<uint32_t>(kTask + 6, 0x9000u | uint32_t{stack} << 16);
  cpu.gpr[kRsp] = 0xa000;
  expect_jumped(far(true, gate));
  EXPECT_EQ(cpu.gpr[kRsp], 0x9000u - 16);
  EXPECT_EQ(cpu.segment[vmx::kSs].selector, stack);
  enter(Mode::k32, 3);
  cpu.segment[vmx::kTr].rights.value = 0x83;
  cpu.segment[vmx::kTr].limit = 8;
  expect_no_effect(far(true, add(call_gate(add(segment(kExecuteRead, 1)), kTarget, 12, 3))),
                   vmx::kTs, 0xf8);
}

// --- without descriptors

TEST_F(FarTransferWidths, WithoutDescriptors) {
  for (const bool virtual_8086 : {false, true}) {
    for (const unsigned width : {2u, 4u}) {
      SCOPED_TRACE(testing::Message() << virtual_8086 << width);
      const auto restart = [&] {
        mode = Mode::k16;
        virtual_8086 ? enter_virtual_8086_mode(core) : enter_real_mode(core);
        cpu.segment[vmx::kSs].base = 0x8000;
        cpu.rflags |= vmx::rflags::kRf;
      };
      restart();
      const vmx::Segment before = cpu.segment[vmx::kCs];
      const uint64_t rsp = cpu.gpr[kRsp], rip = cpu.rip;
      const Bytes call = far_direct(true, 0xf123, 0x4567, width);
      expect_jumped(call);
      EXPECT_EQ(cpu.segment[vmx::kCs], (vmx::Segment{0xf123, before.rights, 0xffff, 0xf1230}));
      EXPECT_EQ(cpu.rip, 0x4567u);
      EXPECT_EQ(cpu.gpr[kRsp], rsp - 2 * width);
      EXPECT_EQ(cpu.rflags & vmx::rflags::kRf, 0u);
      uint64_t value = 0;
      std::memcpy(&value, &core.memory[0x8000 + rsp - 2 * width], width);
      EXPECT_EQ(value, rip + call.size());
      std::memcpy(&value, &core.memory[0x8000 + rsp - width], width);
      EXPECT_EQ(value, before.selector);
      expect_jumped(*prefix(width) + Bytes{0xca, 4, 0});
      EXPECT_EQ(cpu.segment[vmx::kCs], before);
      EXPECT_EQ(cpu.rip, rip + call.size());
      EXPECT_EQ(cpu.gpr[kRsp], rsp + 4);
      restart();
      expect_jumped(far_direct(false, 0x1000, 0xffff, width));
      EXPECT_EQ(cpu.rip, 0xffffu);
      if (width == 2) continue;
      expect_no_effect(far_direct(false, 0x1000, 0x10000, 4), vmx::kGp, 0);
      expect_no_effect(far_direct(true, 0x1000, 0x10000, 4), vmx::kGp, 0);
      core.poke<uint32_t>(0x8000 + rsp, 0x10000);
      expect_no_effect({0x66, kRetf}, vmx::kGp, 0);
    }
  }
}

}  // namespace
}  // namespace nestor::emu::test
