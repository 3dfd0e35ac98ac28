// SPDX-License-Identifier: GPL-2.0-or-later
//
// Far JMP and CALL: each check with its exception, in each mode, in the order of the manual.
#include "tests/emu/cpu/transfer_fixture.h"

namespace nestor::emu::test {
namespace {

using vmx::kGp;
using vmx::kNp;
using vmx::kSs12;
using vmx::kTs;

constexpr uint8_t kGate16 = 4, kTaskGateType = 5, kGate32 = 12;

class FarTransferChecks : public TransferTest {
 protected:
  // A call gate of the kind that the mode has: 16 bytes in IA-32e mode.
  uint16_t add_gate(uint16_t selector, unsigned dpl, uint64_t offset = kTarget,
                    bool present = true) {
    const uint64_t low =
        call_gate(selector, static_cast<uint32_t>(offset), kGate32, dpl, 0, present);
    return is_long(mode) ? add(low, offset >> 32) : add(low);
  }
  uint8_t gate_flags() const { return is_long(mode) ? kFlags64 : kFlags32; }
  // What follows holds for both.
  template <class Check>
  void for_jmp_and_call(const Check& check) {
    for (const bool call : {false, true}) {
      SCOPED_TRACE(call ? "CALL" : "JMP");
      check(call);
    }
  }
};

TEST_F(FarTransferChecks, OfTheCodeSegment) {
  constexpr SelectorCase kCases[] = {
      {kExecuteRead, 0, 0, 0, true, std::nullopt},
      {kExecuteOnly, 0, 0, 0, true, std::nullopt},
      {kExecuteRead, 0, 1, 0, true, kGp},  // RPL above CPL
      {kExecuteRead, 3, 3, 0, true, kGp},  // outward
      {kExecuteRead, 3, 0, 0, true, kGp},
      {kExecuteRead, 0, 0, 3, true, kGp},  // inward
      {kExecuteRead, 3, 3, 3, true, std::nullopt},
      {kExecuteRead, 3, 0, 3, true, std::nullopt},
      {kExecuteRead, 2, 2, 3, true, kGp},
      {kConformingCode, 0, 0, 3, true, std::nullopt},
      {kConformingCode, 0, 3, 0, true, std::nullopt},  // RPL does not matter
      {kConformingCode, 1, 0, 0, true, kGp},           // outward
      {kConformingCode, 3, 3, 3, true, std::nullopt},
      {kConformingCode, 3, 3, 2, true, kGp},
      {kReadWrite, 0, 0, 0, true, kGp},
      {kReadOnlyData, 0, 0, 0, false, kGp},  // the type comes before the presence
      {kExecuteRead, 3, 3, 0, false, kGp},   // and so does the privilege
      {kExecuteRead, 0, 0, 0, false, kNp},
      {kConformingCode, 0, 0, 3, false, kNp},
  };
  for (const Mode at : kModes) {
    for_jmp_and_call([&](bool call) {
      for (const SelectorCase& c : kCases) {
        enter(at, c.cpl);
        SCOPED_TRACE(testing::Message() << name_of(at) << " case " << &c - kCases);
        const auto code =
            static_cast<uint16_t>(add(segment(c.type, c.dpl, flags_of(at), c.present)) | c.rpl);
        const Bytes bytes = far(call, code);
        if (c.vector) {
          expect_no_effect(bytes, *c.vector, code & ~3u);
          continue;
        }
        expect_jumped(bytes);
        EXPECT_EQ(cpu.rip, kTarget);
        EXPECT_EQ(cpu.segment[vmx::kCs].selector, (code & ~3u) | c.cpl);
        EXPECT_EQ(cpu.cpl(), c.cpl);
      }
    });
  }
}

TEST_F(FarTransferChecks, OfTheSelector) {
  for (const Mode at : kModes) {
    for_jmp_and_call([&](bool call) {
      SCOPED_TRACE(name_of(at));
      enter(at, 0);
      for (uint16_t null = 0; null < 4; ++null) expect_no_effect(far(call, null), kGp, 0);
      const auto beyond = static_cast<uint16_t>(cpu.gdtr.limit + 1);
      expect_no_effect(far(call, beyond), kGp, beyond);
      cpu.gdtr.limit = static_cast<uint16_t>(cpu.gdtr.limit + 7);  // one byte is missing
      expect_no_effect(far(call, beyond | 3), kGp, beyond);
      expect_no_effect(far(call, 4), kGp, 4);  // there is no LDT
      cpu.segment[vmx::kLdtr] = {0x80, {0x82}, 0xf, kLdt};
      core.poke(kLdt + 8, segment(kExecuteRead, 0, flags_of(at)));
      expect_no_effect(far(call, 0x14), kGp, 0x14);
      expect_jumped(far(call, 0xc));  // TI
      EXPECT_EQ(core.peek<uint64_t>(kLdt + 8) >> 40 & 1, 1u);
    });
  }
}

TEST_F(FarTransferChecks, OfTheOffset) {
  for_jmp_and_call([&](bool call) {
    for (const Mode at : {Mode::k16, Mode::k32, Mode::kCompatibility}) {
      SCOPED_TRACE(name_of(at));
      enter(at, 0);
      const uint16_t code = add(descriptor(0, 0xfff, 0x9a, flags_of(at) & 4));
      expect_no_effect(far(call, code, 0x1000), kGp, 0);
      expect_jumped(far(call, code, 0xfff));
    }
    enter(Mode::k64, 0);
    const uint16_t code64 = add(segment(kExecuteRead, 0, kFlags64)),
                   compatible = add(descriptor(0, 0xfff, 0x9a, 4)),
                   both = add(segment(kExecuteRead, 0, kFlagsBoth));
    expect_no_effect(far(call, code64, 0x8000'0000'0000, 8), kGp, 0);
    expect_no_effect(far(call, compatible, 0x1000), kGp, 0);
    expect_no_effect(far(call, both), kGp, both);
    expect_jumped(far(call, code64, 0xffff'8000'0000'0000, 8));
    EXPECT_EQ(cpu.rip, 0xffff'8000'0000'0000u);
    // Only the low 32 bits count in compatibility mode.
    expect_jumped(far(call, compatible, 0x7'0000'0123, 8));
    EXPECT_EQ(cpu.rip, 0x123u);
  });
  // Outside IA-32e mode L means nothing.
  enter(Mode::k32, 0);
  const uint16_t both = add(segment(kExecuteRead, 0, kFlagsBoth));
  expect_jumped(far(false, both));
}

TEST_F(FarTransferChecks, OfTheStackOfACall) {
  for (const Mode at : {Mode::k16, Mode::k32, Mode::kCompatibility}) {
    SCOPED_TRACE(name_of(at));
    enter(at, 0);
    const uint16_t code = add(segment(kExecuteRead, 0, flags_of(at)));
    cpu.segment[vmx::kSs].limit = 0x7fff;
    const unsigned width = usual_width();
    cpu.gpr[vmx::kRsp] = 0x8000 + width;  // the second push would fit
    expect_no_effect(far(true, code), kSs12, 0);
    // It comes after the checks of the segment, before that of the offset.
    const uint16_t absent = add(segment(kExecuteRead, 0, flags_of(at), false));
    expect_no_effect(far(true, absent), kNp, absent);
    expect_no_effect(far(true, add(descriptor(0, 0xfff, 0x9a, 0)), 0x1000), kSs12, 0);
    cpu.gpr[vmx::kRsp] = 0x8000;
    expect_jumped(far(true, code));
  }
  enter(Mode::k64, 0);
  const uint16_t code = add(segment(kExecuteRead, 0, kFlags64));
  cpu.gpr[vmx::kRsp] = 0xffff'8000'0000'0004;
  expect_no_effect(far(true, code), kSs12, 0);
}

TEST_F(FarTransferChecks, OfTheOperand) {
  for_jmp_and_call([&](bool call) {
    for (const Mode at : {Mode::k16, Mode::k32, Mode::kCompatibility}) {
      enter(at, 0);
      const uint16_t code = add(segment(kExecuteRead, 0, flags_of(at)));
      cpu.segment[vmx::kDs].limit = kPointer + usual_width();  // without the last byte
      expect_no_effect(far(call, code), kGp, 0);
      cpu.segment[vmx::kDs].rights.value = vmx::AccessRights::kUnusable;
      expect_no_effect(far(call, code), kGp, 0);
    }
  });
  enter(Mode::k32, 3);
  core.accesses.clear();
  expect_jumped(far(false, add(segment(kExecuteRead, 3)) | 3));
  expect_privilege(kPointer, kPointer + 8, false, Privilege::kCurrent);
  expect_privilege(kTable, kTable + 0x100, false, Privilege::kSupervisor);
}

TEST_F(FarTransferChecks, OfSystemDescriptors) {
  for (const Mode at : kModes) {
    for_jmp_and_call([&](bool call) {
      for (uint8_t type = 0; type < 16; ++type) {
        SCOPED_TRACE(testing::Message() << name_of(at) << " type " << unsigned{type});
        enter(at, 3);
        const bool gate = type == kGate32 || (type == kGate16 && !is_long(at));
        const bool task = !is_long(at) && (type == kTaskGateType || type == 1 || type == 9);
        const uint16_t closed = add(system(type, 2), 0) | 3;
        expect_no_effect(far(call, closed), kGp, closed & ~3u);
        const uint16_t absent = add(system(type, 3, false), 0) | 3;
        expect_no_effect(far(call, absent), gate || task ? kNp : kGp, absent & ~3u);
        if (gate || task) continue;
        const uint16_t open = add(system(type, 3), 0);
        expect_no_effect(far(call, open), kGp, open);
      }
      // RPL counts as CPL does.
      enter(at, 0);
      const uint16_t code = add(segment(kExecuteRead, 0, gate_flags()));
      const uint16_t gate = add_gate(code, 1);
      expect_no_effect(far(call, gate | 2), kGp, gate);
      expect_jumped(far(call, gate | 1));
    });
  }
}

TEST_F(FarTransferChecks, OfTheSegmentThatAGateLeadsTo) {
  struct Case {
    uint8_t type;
    unsigned dpl, cpl;
    bool present;
    // Of JMP and of CALL; 0: neither.
    uint8_t jmp, call;
  };
  constexpr Case kCases[] = {
      {kExecuteRead, 3, 3, true, 0, 0},        {kExecuteRead, 0, 0, true, 0, 0},
      {kExecuteRead, 0, 3, true, kGp, 0},      {kExecuteRead, 1, 2, true, kGp, 0},
      {kExecuteRead, 3, 2, true, kGp, kGp},    {kConformingCode, 0, 3, true, 0, 0},
      {kConformingCode, 3, 2, true, kGp, kGp}, {kReadWrite, 3, 3, true, kGp, kGp},
      {kReadWrite, 3, 3, false, kGp, kGp},     {kExecuteRead, 3, 2, false, kGp, kGp},
      {kExecuteRead, 3, 3, false, kNp, kNp},   {kExecuteRead, 0, 3, false, kGp, kNp},
  };
  for (const Mode at : kModes) {
    for_jmp_and_call([&](bool call) {
      for (const Case& c : kCases) {
        SCOPED_TRACE(testing::Message() << name_of(at) << " case " << &c - kCases);
        enter(at, c.cpl);
        // The RPL of the selector in the gate does not matter.
        const uint16_t code = add(segment(c.type, c.dpl, gate_flags(), c.present)) | 3;
        const uint16_t gate = add_gate(code, 3);
        set_inner_stacks();
        const uint8_t vector = call ? c.call : c.jmp;
        if (vector != 0) {
          expect_no_effect(far(call, gate), vector, code & ~3u);
          continue;
        }
        expect_jumped(far(call, gate, 0xdead));
        const bool inner = c.type != kConformingCode && c.dpl < c.cpl;
        EXPECT_EQ(cpu.cpl(), inner ? c.dpl : c.cpl);
        EXPECT_EQ(cpu.rip, kTarget);
        EXPECT_EQ(cpu.segment[vmx::kCs].selector, (code & ~3u) | (inner ? c.dpl : c.cpl));
      }
    });
  }
}

TEST_F(FarTransferChecks, OfTheRestOfAGate) {
  for_jmp_and_call([&](bool call) {
    for (const Mode at : kModes) {
      SCOPED_TRACE(name_of(at));
      enter(at, 0);
      expect_no_effect(far(call, add_gate(3, 0)), kGp, 0);
      const auto beyond = static_cast<uint16_t>(cpu.gdtr.limit + 0x101);
      expect_no_effect(far(call, add_gate(beyond, 0)), kGp, beyond & ~3u);
    }
    // In IA-32e mode: the second half, and 64-bit code only.
    for (const Mode at : {Mode::kCompatibility, Mode::k64}) {
      SCOPED_TRACE(name_of(at));
      enter(at, 0);
      const uint16_t code = add(segment(kExecuteRead, 0, kFlags64)),
                     legacy = add(segment(kExecuteRead, 0, kFlags32)),
                     both = add(segment(kExecuteRead, 0, kFlagsBoth));
      expect_no_effect(far(call, add_gate(legacy, 0)), kGp, legacy);
      expect_no_effect(far(call, add_gate(both, 0)), kGp, both);
      expect_no_effect(far(call, add_gate(code, 0, 0x8000'0000'0000)), kGp, 0);
      const uint64_t low = call_gate(code, kTarget, kGate32, 0);
      for (unsigned bit = 40; bit < 45; ++bit) {
        const uint16_t typed = add(low, 1ull << bit);
        expect_no_effect(far(call, typed), kGp, typed);
      }
      const uint16_t cut = add(low);
      expect_no_effect(far(call, cut), kGp, cut);
      // Above bit 44 nothing matters.
      expect_jumped(far(call, add(low, ~0ull << 45 | 0xffff8000)));
      EXPECT_EQ(cpu.rip, 0xffff'8000'0000'0000 | kTarget);
    }
    enter(Mode::k32, 0);
    const uint16_t small = add(descriptor(0, 0xfff, 0x9a, 4));
    expect_no_effect(far(call, add_gate(small, 0, 0x1000)), kGp, 0);
  });
}

TEST_F(FarTransferChecks, OfTheInnerStackInTheTss) {
  struct Case {
    uint16_t stack;  // filled in below
    uint8_t vector;
    uint32_t error;
  };
  enter(Mode::k32, 3);
  const uint16_t gate = add_gate(add(segment(kExecuteRead, 1)), 3);
  const uint16_t good = add(segment(kReadWrite, 1)) | 1, outer = add(segment(kReadWrite, 3)) | 1,
                 read_only = add(segment(kReadOnlyData, 1)) | 1,
                 code = add(segment(kExecuteRead, 1)) | 1,
                 absent = add(segment(kReadWrite, 1, kFlags32, false)) | 1,
                 absent_outer = add(segment(kReadWrite, 3, kFlags32, false)) | 1,
                 beyond = static_cast<uint16_t>(cpu.gdtr.limit + 1) | 1;
  const Case cases[] = {
      {0, kTs, 0},
      {1, kTs, 0},
      {beyond, kTs, beyond & ~3u},
      {static_cast<uint16_t>(good & ~3), kTs, good & ~3u},  // RPL
      {outer, kTs, outer & ~3u},                            // DPL
      {read_only, kTs, read_only & ~3u},
      {code, kTs, code & ~3u},
      {absent_outer, kTs, absent_outer & ~3u},
      {absent, kSs12, absent & ~3u},
  };
  core.poke<uint32_t>(kTask + 12, 0x9000);
  for (const Case& c : cases) {
    SCOPED_TRACE(&c - cases);
    core.poke(kTask + 16, c.stack);
    expect_no_effect(far(true, gate), c.vector, c.error);
  }
  core.poke(kTask + 16, good);
  cpu.segment[vmx::kTr].limit = 16;  // one byte of SS1 is missing
  expect_no_effect(far(true, gate), kTs, 0xf8);
  cpu.segment[vmx::kTr].limit = 17;
  expect_jumped(far(true, gate));
  EXPECT_EQ(cpu.segment[vmx::kSs].selector, good);
}

TEST_F(FarTransferChecks, OfTheInnerStackItself) {
  enter(Mode::k32, 3);
  const uint16_t gate = add_gate(add(segment(kExecuteRead, 0)), 3),
                 stack = add(descriptor(0, 0x8fff, 0x93, 4));
  core.poke<uint16_t>(kTask + 8, stack);
  for (const uint32_t esp : {0x9004u, 0x9010u, 0xcu}) {
    SCOPED_TRACE(esp);
    core.poke<uint32_t>(kTask + 4, esp);
    expect_no_effect(far(true, gate), kSs12, stack);
  }
  core.poke<uint32_t>(kTask + 4, 0x9000);
  expect_jumped(far(true, gate));
}

TEST_F(FarTransferChecks, OfTheInnerStackInIa32eMode) {
  for (const Mode at : {Mode::kCompatibility, Mode::k64}) {
    SCOPED_TRACE(name_of(at));
    enter(at, 3);
    const uint16_t gate = add_gate(add(segment(kExecuteRead, 1, kFlags64)), 3);
    core.poke<uint64_t>(kTask + 12, 0x9003);
    cpu.segment[vmx::kTr].limit = 18;
    expect_no_effect(far(true, gate), kTs, 0xf8);
    cpu.segment[vmx::kTr].limit = 19;
    expect_jumped(far(true, gate));
    EXPECT_EQ(cpu.gpr[vmx::kRsp], 0x9003u - 32) << "not aligned, as interrupts are";
    EXPECT_EQ(cpu.segment[vmx::kSs].selector, 1) << "null, with the RPL of the new level";
    EXPECT_EQ(cpu.cpl(), 1);
    enter(at, 3);
    const uint16_t again = add_gate(add(segment(kExecuteRead, 1, kFlags64)), 3);
    core.poke<uint64_t>(kTask + 12, 0x8000'0000'0010);
    expect_no_effect(far(true, again), kSs12, 0);
  }
}

TEST_F(FarTransferChecks, PageFaultsChangeNothing) {
  for_jmp_and_call([&](bool call) {
    for (const Mode at : kModes) {
      SCOPED_TRACE(name_of(at));
      enter(at, 3);
      const uint16_t code = add(segment(kExecuteRead, 0, gate_flags()));
      set_inner_stacks();
      const uint16_t gate =
          add_gate(call ? code : add(segment(kConformingCode, 0, gate_flags())), 3);
      const Bytes bytes = far(call, gate);
      for (const uint64_t page : {kTable, kTask, stack_of(0) - 8}) {
        if (!call && page != kTable) continue;
        core.unreadable = core.unwritable = {page / FakeCore::kPage};
        const vmx::CpuState before = cpu;
        const Outcome outcome = run(bytes);
        const auto* event = std::get_if<vmx::Event>(&outcome);
        ASSERT_NE(event, nullptr);
        EXPECT_EQ(event->vector, vmx::kPf);
        expect_unchanged(before);
      }
      core.unreadable.clear();
      core.unwritable.clear();
      expect_jumped(bytes);
    }
  });
}

}  // namespace
}  // namespace nestor::emu::test
