// SPDX-License-Identifier: GPL-2.0-or-later
//
// CLI, STI, PUSHF, POPF, IRET and INT n by IOPL, CR4.VME, CR4.PVI, VIF and VIP.
#include "emu/cpu/virtual_interrupts.h"

#include "emu/cpu/delivery.h"
#include "tests/emu/cpu/transfer_fixture.h"
#include "tests/emu/l0/nested_machine_fixture.h"

namespace nestor::emu::test {
namespace {

using vmx::kGp;
using vmx::kRsp;
namespace rflags = vmx::rflags;
namespace cr4 = vmx::cr4;

class VirtualInterrupts : public TransferTest {
 protected:
  static constexpr uint8_t kCli = 0xfa, kSti = 0xfb, kPushf = 0x9c, kPopf = 0x9d;
  static constexpr uint64_t kBitmap = 0x68;  // in the TSS: redirection, then I/O permission

  void enter_v86(unsigned iopl, bool vme) {
    std::memset(core.memory.data(), 0, core.memory.size());
    mode = Mode::k16;
    enter_virtual_8086_mode(core);
    cpu.rflags |= uint64_t{iopl} << 12;
    cpu.cr4 = vme ? cr4::kVme : 0;
    cpu.segment[vmx::kTr] = {0xf8, {0x8b}, 0x67 + 0x20 + 0x2000, kTask};
    core.poke<uint16_t>(kTask + 102, kBitmap + 0x20);
  }
  // Bit `vector` of the redirection bitmap; 0: the program's own handler.
  void set_redirection(uint8_t vector, bool to_protected_mode) {
    core.poke<uint8_t>(kTask + kBitmap + vector / 8,
                       static_cast<uint8_t>(to_protected_mode << vector % 8));
  }
  uint64_t stack_top() const { return cpu.segment[vmx::kSs].base + cpu.gpr[kRsp]; }
  void put_words(std::initializer_list<uint16_t> words) {
    uint64_t at = stack_top();
    for (const uint16_t word : words) {
      core.poke(at, word);
      at += 2;
    }
  }
};

TEST_F(VirtualInterrupts, CliAndStiWorkOnTheFlagOfTheProgram) {
  for (unsigned i = 0; i < 5 * 4 * 2 * 2 * 2 * 2; ++i) {
    const unsigned level = i % 5, iopl = i / 5 % 4;  // 4: virtual-8086 mode
    const bool vme = i / 20 % 2, pvi = i / 40 % 2, vip = i / 80 % 2, sets = i / 160 % 2;
    const bool v86 = level == 4;
    SCOPED_TRACE(testing::Message() << "level " << level << " IOPL " << iopl << " VME " << vme
                                    << " PVI " << pvi << " VIP " << vip << " STI " << sets);
    if (v86) {
      enter_v86(iopl, false);
    } else {
      enter(Mode::k32, level);
      cpu.rflags |= uint64_t{iopl} << 12;
    }
    cpu.cr4 = (vme ? cr4::kVme : 0) | (pvi ? cr4::kPvi : 0);
    const uint64_t both = rflags::kIf | rflags::kVif;
    cpu.rflags = (cpu.rflags & ~both) | (vip ? rflags::kVip : 0) | (sets ? 0 : both);
    const uint64_t before = cpu.rflags;
    const bool itself = (v86 ? 3 : level) <= iopl;
    const bool extended = v86 ? vme : level == 3 && pvi;
    const Bytes code = {sets ? kSti : kCli};
    if (!itself && (!extended || (sets && vip))) {
      expect_no_effect(code, kGp, 0);
      continue;
    }
    expect_completed(code);
    EXPECT_EQ(cpu.rflags ^ before, itself ? rflags::kIf : rflags::kVif);
  }
}

TEST_F(VirtualInterrupts, OutsideProtectedModeTheyWorkOnIf) {
  enter(Mode::k16, 0);
  cpu.cr0 &= ~uint64_t{vmx::cr0::kPe};
  cpu.cr4 = cr4::kVme | cr4::kPvi;
  expect_completed({kSti});
  EXPECT_EQ(cpu.rflags & (rflags::kIf | rflags::kVif), rflags::kIf);
}

TEST_F(VirtualInterrupts, PushfShowsVifAsIf) {
  for (const bool enabled : {false, true}) {
    enter_v86(1, true);
    cpu.rflags |= rflags::kCf | (enabled ? rflags::kVif : rflags::kIf);
    const uint64_t before = cpu.rflags;
    expect_completed({kPushf});
    EXPECT_EQ(cpu.gpr[kRsp], 0x1feu);
    EXPECT_EQ(core.peek<uint16_t>(stack_top()), 0x3003 | (enabled ? rflags::kIf : 0));
    EXPECT_EQ(cpu.rflags, before);
  }
  enter_v86(3, true);
  cpu.rflags |= rflags::kVif;
  expect_completed({kPushf});
  EXPECT_EQ(core.peek<uint16_t>(stack_top()), 0x3002) << "IOPL 3: IF is the program's own";
}

TEST_F(VirtualInterrupts, PopfLoadsVif) {
  enter_v86(1, true);
  put_words({0x7fff & ~0x100});
  cpu.rflags |= rflags::kVip;
  expect_no_effect({kPopf}, kGp, 0);
  cpu.rflags &= ~uint64_t{rflags::kVip};
  expect_completed({kPopf});
  EXPECT_EQ(cpu.rflags, rflags::kVm | rflags::kVif | 0x4cd5 | 2 | 0x1000)
      << "IOPL and IF stay as they were";
  EXPECT_EQ(cpu.gpr[kRsp], 0x202u);
  put_words({0});
  cpu.rflags |= rflags::kVip;
  expect_completed({kPopf});
  EXPECT_EQ(cpu.rflags, rflags::kVm | rflags::kVip | 0x1002);
  put_words({0x100});
  expect_no_effect({kPopf}, kGp, 0);  // TF
}

TEST_F(VirtualInterrupts, IretLoadsVif) {
  enter_v86(0, true);
  put_words({0x1234, 0x2000, 0x0201});
  cpu.rflags |= rflags::kVip;
  expect_no_effect({kIret}, kGp, 0);
  cpu.rflags &= ~uint64_t{rflags::kVip};
  expect_jumped({kIret});
  EXPECT_EQ(cpu.rip, 0x1234u);
  EXPECT_EQ(cpu.segment[vmx::kCs].selector, 0x2000);
  EXPECT_EQ(cpu.rflags, rflags::kVm | rflags::kVif | 3);
  EXPECT_EQ(cpu.gpr[kRsp], 0x206u);
  put_words({0, 0, 0x100});
  expect_no_effect({kIret}, kGp, 0);  // TF
}

TEST_F(VirtualInterrupts, NeedTheFormOf16Bits) {
  for (const uint8_t opcode : {kPushf, kPopf, uint8_t{kIret}}) {
    enter_v86(2, true);
    expect_no_effect({0x66, opcode}, kGp, 0);
    enter_v86(2, false);
    expect_no_effect({opcode}, kGp, 0);
  }
}

// --- "Software Interrupt Handling Methods While in Virtual-8086 Mode"

class Redirection : public VirtualInterrupts {
 protected:
  static constexpr uint8_t kVector = 0x21;

  std::optional<vmx::Event> executes_int() {
    const auto outcome = run({0xcd, kVector});
    const auto* event = std::get_if<vmx::Event>(&outcome);
    return event != nullptr ? std::optional(*event) : std::nullopt;
  }
  Delivery deliver(EventOrigin origin = EventOrigin::kProcessor,
                   vmx::EventType type = vmx::EventType::kSoftwareInterrupt) {
    vmx::Event event;
    event.type = type;
    event.vector = kVector;
    event.instruction_length = 2;
    return deliver_once(core, event, origin);
  }
};

TEST_F(Redirection, IsDecidedByIoplVmeAndTheBitmap) {
  for (unsigned iopl = 0; iopl < 4; ++iopl) {
    for (const bool vme : {false, true}) {
      for (const bool bit : {false, true}) {
        SCOPED_TRACE(testing::Message() << "IOPL " << iopl << " VME " << vme << " bit " << bit);
        enter_v86(iopl, vme);
        set_redirection(kVector, bit);
        const auto event = executes_int();
        ASSERT_TRUE(event);
        const bool refused = iopl != 3 && (!vme || bit);
        EXPECT_EQ(event->vector, refused ? uint8_t{kGp} : kVector);
        const auto redirected = redirects_interrupt(core, kVector);
        ASSERT_TRUE(redirected);
        EXPECT_EQ(*redirected, vme && !bit);
      }
    }
  }
}

TEST_F(Redirection, GoesThroughTheTableAtZero) {
  for (const unsigned iopl : {0u, 3u}) {
    for (const bool vif : {false, true}) {
      enter_v86(iopl, true);
      core.poke<uint32_t>(4 * kVector, 0x2000'1234);
      cpu.rflags |= rflags::kTf | rflags::kIf | (vif ? rflags::kVif : 0);
      const auto cs = cpu.segment[vmx::kCs].selector;
      ASSERT_TRUE(std::holds_alternative<Delivered>(deliver()));
      EXPECT_EQ(cpu.rip, 0x1234u);
      EXPECT_EQ(cpu.segment[vmx::kCs], (vmx::Segment{0x2000, {0xf3}, 0xffff, 0x20000}));
      EXPECT_EQ(cpu.gpr[kRsp], 0x1fau);
      EXPECT_EQ(core.peek<uint16_t>(stack_top()), 0x42) << "behind INT n";
      EXPECT_EQ(core.peek<uint16_t>(stack_top() + 2), cs);
      const bool shown = iopl == 3 || vif;
      EXPECT_EQ(core.peek<uint16_t>(stack_top() + 4), 0x3102 | (shown ? rflags::kIf : 0));
      const uint64_t flags = rflags::kVm | 2 | uint64_t{iopl} << 12;
      EXPECT_EQ(cpu.rflags, iopl == 3 ? flags | (vif ? rflags::kVif : 0) : flags | rflags::kIf);
    }
  }
}

// "Details of Vectored-Event Injection".
TEST_F(Redirection, AppliesToInjectedSoftwareInterruptsAlone) {
  for (const auto type : {vmx::EventType::kExternalInterrupt, vmx::EventType::kSoftwareInterrupt}) {
    enter_v86(0, true);
    core.poke<uint32_t>(4 * kVector, 0x2000'1234);
    cpu.idtr.limit = 0;
    const Delivery delivery = deliver(EventOrigin::kVmEntry, type);
    EXPECT_EQ(std::holds_alternative<Delivered>(delivery),
              type == vmx::EventType::kSoftwareInterrupt);
  }
}

TEST_F(Redirection, NeedsItsBitmapInTheTss) {
  enter_v86(0, true);
  for (const uint32_t limit : {0x66u, 0x67u, 0x68u + kVector / 8 - 1}) {
    cpu.segment[vmx::kTr].limit = limit;
    EXPECT_FALSE(redirects_interrupt(core, kVector)) << limit;
  }
  cpu.segment[vmx::kTr].limit = 0x68 + kVector / 8;
  EXPECT_TRUE(redirects_interrupt(core, kVector));
  core.poke<uint16_t>(kTask + 102, 0x1f);
  EXPECT_FALSE(redirects_interrupt(core, kVector)) << "it would begin below the TSS";
  core.poke<uint16_t>(kTask + 102, kBitmap + 0x20);
  cpu.segment[vmx::kTr].rights.value = 0x83;
  EXPECT_FALSE(redirects_interrupt(core, kVector)) << "a 16-bit TSS has none";
}

}  // namespace
}  // namespace nestor::emu::test

namespace nestor::emu {
namespace {

// With the engine: at CPL 3 with IOPL 0.
class ProtectedModeVirtualInterrupts : public NestedMachineTest {};

TEST_F(ProtectedModeVirtualInterrupts, StiSetsVif) {
  enter_user_mode();
  cpu_.cr4 |= vmx::cr4::kPvi;
  handle(vmx::kUd, exit_with_memory(kUserStack - 8));
  EXPECT_EQ(run(ASM64("sti; pushfq; ud2")).code, status(0x80002));
  cpu_.rflags |= vmx::rflags::kVif;
  EXPECT_EQ(run(ASM64("cli; pushfq; ud2")).code, status(2));
}

TEST_F(ProtectedModeVirtualInterrupts, WithoutPviItIsRefused) {
  enter_user_mode();
  handle(vmx::kGp, exit_with(3));
  EXPECT_EQ(run(ASM64("sti; ud2")).code, status(3));
}

TEST_F(ProtectedModeVirtualInterrupts, APendingOneIsRefusedBeforeTheNextInstruction) {
  enter_user_mode();
  cpu_.cr4 |= vmx::cr4::kPvi;
  cpu_.rflags |= vmx::rflags::kVif | vmx::rflags::kVip;
  handle(vmx::kGp, exit_with(4));
  EXPECT_EQ(run(ASM64("ud2")).code, status(4));
  cpu_.rflags &= ~uint64_t{vmx::rflags::kVif};
  handle(vmx::kUd, exit_with(5));
  EXPECT_EQ(run(ASM64("ud2")).code, status(5));
}

}  // namespace
}  // namespace nestor::emu
