// SPDX-License-Identifier: GPL-2.0-or-later
//
// The accessed flag of descriptors, and the privilege of all that far transfers access.
#include "tests/emu/cpu/transfer_fixture.h"

namespace nestor::emu::test {
namespace {

class AccessedFlags : public TransferTest {
 protected:
  // An instruction that loads CS, and SS where `stack` is not 0, from descriptors that are new.
  struct Loading {
    Bytes bytes;
    uint16_t code = 0, stack = 0;
  };
  enum class Kind : uint8_t {
    kJump,
    kCall,
    kJumpGate,
    kCallGate,
    kInnerGate,
    kReturn,
    kOuterReturn,
    kIret,
    kOuterIret,
    kMovSs,
    kMovDs,
  };
  static constexpr unsigned kKinds = 11;

  Loading prepare(Mode at, Kind kind) {
    const bool inner = kind == Kind::kInnerGate;
    enter(at, inner ? 3 : 0);
    const bool gate = kind == Kind::kJumpGate || kind == Kind::kCallGate || inner;
    const bool outer = kind == Kind::kOuterReturn || kind == Kind::kOuterIret;
    const unsigned rpl = outer ? 3 : 0;
    const uint8_t flags = gate && is_long(at) ? kFlags64 : flags_of(at);
    Loading loading;
    loading.code = static_cast<uint16_t>(add(segment(kExecuteRead, rpl, flags)) | rpl);
    const auto stack = static_cast<uint16_t>(add(segment(kReadWrite, rpl)) | rpl);
    const uint64_t low = call_gate(loading.code, kTarget, 12, 3);
    const uint16_t gate_selector = is_long(at) ? add(low, 0) : add(low);
    switch (kind) {
      case Kind::kJump:
      case Kind::kCall:
        loading.bytes = far(kind == Kind::kCall, loading.code);
        break;
      case Kind::kInnerGate:
        if (is_long(at)) {
          core.poke<uint64_t>(kTask + 4, stack_of(0));
        } else {
          core.poke<uint32_t>(kTask + 4, static_cast<uint32_t>(stack_of(0)));
          core.poke(kTask + 8, stack);
          loading.stack = stack;
        }
        [[fallthrough]];
      case Kind::kJumpGate:
      case Kind::kCallGate:
        loading.bytes = far(kind != Kind::kJumpGate, gate_selector);
        break;
      case Kind::kReturn:
      case Kind::kOuterReturn:
        loading.bytes = returning(kRetf, {kTarget, loading.code, 0x7000, stack}, usual_width());
        if (outer) loading.stack = stack;
        break;
      case Kind::kIret:
      case Kind::kOuterIret:
        loading.bytes = returning(kIret, {kTarget, loading.code, 2, 0x7000, stack}, usual_width());
        if (outer || at == Mode::k64) loading.stack = stack;
        break;
      case Kind::kMovSs:
      case Kind::kMovDs:
        cpu.gpr[vmx::kRax] = loading.stack = stack;
        loading.code = 0;
        loading.bytes = {0x8e, static_cast<uint8_t>(kind == Kind::kMovSs ? 0xd0 : 0xd8)};
        break;
    }
    core.accesses.clear();
    return loading;
  }
  void expect_done(const Bytes& bytes) {
    const Outcome outcome = run(bytes);
    EXPECT_TRUE(std::holds_alternative<Jumped>(outcome) ||
                std::holds_alternative<vmx::Completed>(outcome));
  }
  template <class Check>
  void for_each(const Check& check) {
    for (const Mode at : kModes) {
      for (unsigned kind = 0; kind < kKinds; ++kind) {
        SCOPED_TRACE(testing::Message() << name_of(at) << " kind " << kind);
        check(at, static_cast<Kind>(kind));
      }
    }
  }
  std::vector<uint64_t> table_writes() const {
    std::vector<uint64_t> list;
    for (const auto& access : core.accesses) {
      if (!access.write || access.linear < kTable) continue;
      EXPECT_EQ(access.privilege, Privilege::kSupervisor);
      list.push_back(access.linear);
    }
    return list;
  }
};

TEST_F(AccessedFlags, AreSetInMemoryAndInTheRegister) {
  for_each([&](Mode at, Kind kind) {
    const Loading loading = prepare(at, kind);
    expect_done(loading.bytes);
    size_t expected = 0;
    for (const uint16_t selector : {loading.code, loading.stack}) {
      if (selector == 0) continue;
      ++expected;
      EXPECT_TRUE(accessed(selector)) << selector;
    }
    EXPECT_EQ(table_writes().size(), expected);
    if (loading.code != 0) {
      EXPECT_EQ(cpu.segment[vmx::kCs].rights.type(), kExecuteRead | 1);
    }
    if (loading.stack != 0) {
      const auto register_ = kind == Kind::kMovDs ? vmx::kDs : vmx::kSs;
      EXPECT_EQ(cpu.segment[register_].selector, loading.stack);
      EXPECT_EQ(cpu.segment[register_].rights.type(), kReadWrite | 1);
    }
  });
}

TEST_F(AccessedFlags, AreNotWrittenWhereTheyAreSet) {
  for_each([&](Mode at, Kind kind) {
    const Loading loading = prepare(at, kind);
    for (const uint16_t selector : {loading.code, loading.stack}) {
      if (selector != 0) core.memory[kTable + (selector & 0xfff8u) + 5] |= 1;
    }
    core.unwritable = {kTable / FakeCore::kPage};
    expect_done(loading.bytes);
    core.unwritable.clear();
    EXPECT_TRUE(table_writes().empty());
  });
}

TEST_F(AccessedFlags, WhatForbidsTheWriteComesBeforeTheTransfer) {
  for_each([&](Mode at, Kind kind) {
    const Loading loading = prepare(at, kind);
    vmx::CpuState before = cpu;
    core.unwritable = {kTable / FakeCore::kPage};
    const Outcome outcome = run(loading.bytes);
    const auto* event = std::get_if<vmx::Event>(&outcome);
    ASSERT_NE(event, nullptr);
    EXPECT_EQ(event->vector, vmx::kPf);
    EXPECT_EQ(event->payload & ~0xfffull, kTable);
    expect_unchanged(before);
    core.unwritable.clear();
    // EPT lets the descriptor be read, but not written.
    core.write_violations = {kTable / FakeCore::kPage};
    EXPECT_TRUE(std::holds_alternative<EptExit>(run(loading.bytes)));
    expect_unchanged(before);
    core.write_violations.clear();
    expect_done(loading.bytes);
  });
}

// --- privileges

TEST_F(AccessedFlags, TheProcessorsOwnAccessesAreSupervisorAccesses) {
  for_each([&](Mode at, Kind kind) {
    const Loading loading = prepare(at, kind);
    const uint64_t stack = cpu.gpr[vmx::kRsp];
    expect_done(loading.bytes);
    expect_privilege(kTable, kTable + 0x1000, false, Privilege::kSupervisor);
    switch (kind) {
      case Kind::kInnerGate:
        expect_privilege(kTask, kTask + 0x100, false, Privilege::kSupervisor);
        expect_privilege(stack_of(0) - 0x100, stack_of(0), true, Privilege::kSupervisor);
        break;
      case Kind::kCall:
      case Kind::kCallGate:
        expect_privilege(stack - 0x100, stack, true, Privilege::kCurrent);
        expect_privilege(kPointer, kPointer + 16, false, Privilege::kCurrent);
        break;
      case Kind::kReturn:
      case Kind::kOuterReturn:
      case Kind::kIret:
      case Kind::kOuterIret:
        expect_privilege(stack, stack + 0x100, false, Privilege::kCurrent);
        break;
      default:
        break;
    }
  });
}

TEST_F(AccessedFlags, ParametersAreReadAsTheCallerReadsThem) {
  enter(Mode::k32, 3);
  set_inner_stacks();
  const uint16_t code = add(segment(kExecuteRead, 0)),
                 gate = add(call_gate(code, kTarget, 12, 3, 2));
  core.accesses.clear();
  expect_jumped(far(true, gate));
  expect_privilege(stack_of(3), stack_of(3) + 8, false, Privilege::kCurrent);
  expect_privilege(stack_of(0) - 24, stack_of(0), true, Privilege::kSupervisor);
}

TEST_F(AccessedFlags, ChecksOfDescriptorsReadAsSupervisorAndWriteNothing) {
  for (const Mode at : kModes) {
    for (const Bytes& opcode : {Bytes{0x0f, 0x02, 0xc8}, Bytes{0x0f, 0x03, 0xc8},
                                Bytes{0x0f, 0x00, 0xe0}, Bytes{0x0f, 0x00, 0xe8}}) {
      enter(at, 3);
      cpu.gpr[vmx::kRax] = add(segment(kReadWrite, 3));
      core.accesses.clear();
      expect_completed(opcode);
      expect_privilege(kTable, kTable + 0x100, false, Privilege::kSupervisor);
      EXPECT_TRUE(table_writes().empty());
      EXPECT_NE(cpu.rflags & vmx::rflags::kZf, 0u);
    }
  }
}

}  // namespace
}  // namespace nestor::emu::test
