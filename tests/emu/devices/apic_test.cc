// SPDX-License-Identifier: GPL-2.0-or-later
#include <gtest/gtest.h>

#include <vector>

#include "emu/devices/apic/local_apic.h"

namespace nestor::emu {
namespace {

using enum vmx::MsrStatus;

constexpr uint32_t kId = 0x20, kVersion = 0x30, kTpr = 0x80, kPpr = 0xa0, kEoi = 0xb0, kLdr = 0xd0,
                   kDfr = 0xe0, kSvr = 0xf0, kIsr = 0x100, kTmr = 0x180, kIrr = 0x200, kEsr = 0x280,
                   kIcr = 0x300, kIcrHigh = 0x310, kLvtTimer = 0x320, kLvtLint0 = 0x350,
                   kLvtLint1 = 0x360, kLvtError = 0x370, kInitialCount = 0x380,
                   kCurrentCount = 0x390, kDivide = 0x3e0;
constexpr uint32_t kMasked = 0x10000, kPeriodic = 0x20000, kTscDeadline = 0x40000;
constexpr uint64_t kEnabled = 0xfee00900, kX2apic = 0xfee00d00;

class ApicTest : public testing::Test {
 protected:
  ApicTest() {
    apic.outputs.nmi = [this] { ++nmis; };
    apic.outputs.init = [this] { ++inits; };
    apic.outputs.start_up = [this](uint8_t vector) { start_ups.push_back(vector); };
    apic.outputs.send_ipi = [this](const Ipi& ipi) { sent.push_back(ipi); };
    apic.outputs.eoi = [this](uint8_t vector) { eois.push_back(vector); };
    write(kSvr, 0x1ff);
  }
  uint32_t read(uint32_t offset) { return static_cast<uint32_t>(apic.read_memory(offset, 4)); }
  void write(uint32_t offset, uint32_t value) { apic.write_memory(offset, 4, value); }
  void self_ipi(uint8_t vector) { write(kIcr, 0x44000u | vector); }
  vmx::MsrStatus wrmsr(uint32_t index, uint64_t value) { return apic.write_msr(index, value); }
  uint64_t rdmsr(uint32_t index) {
    uint64_t value = 0;
    EXPECT_EQ(apic.read_msr(index, value), kOk) << index;
    return value;
  }
  vmx::MsrStatus try_rdmsr(uint32_t index) {
    uint64_t value = 0;
    return apic.read_msr(index, value);
  }
  // Lets time pass as the machine does.
  void run_to(uint64_t cycles) {
    while (timers.deadline() <= cycles) {
      clock.advance_to(timers.deadline());
      timers.expire(clock.cycles());
    }
    clock.advance_to(cycles);
  }
  bool requested(uint8_t vector) { return read(kIrr + (vector / 32u) * 16) >> (vector % 32) & 1; }

  Clock clock;
  EventQueue timers;
  LocalApic apic{clock, timers, 0, true};
  int nmis = 0, inits = 0;
  std::vector<uint8_t> start_ups, eois;
  std::vector<Ipi> sent;
};

TEST_F(ApicTest, PowerUpState) {
  LocalApic fresh(clock, timers, 3, false);
  EXPECT_EQ(fresh.base_msr(), 0xfee00800u);
  EXPECT_EQ(LocalApic(clock, timers, 4, true).base_msr(), kEnabled);
  EXPECT_EQ(fresh.read_memory(kId, 4), 0x03000000u);
  EXPECT_EQ(fresh.read_memory(kSvr, 4), 0xffu);
  EXPECT_EQ(fresh.read_memory(kDfr, 4), 0xffffffffu);
  EXPECT_EQ(fresh.read_memory(kVersion, 4), 0x50014u);
  for (uint32_t entry = kLvtTimer; entry <= kLvtError; entry += 0x10) {
    EXPECT_EQ(fresh.read_memory(entry, 4), kMasked);
  }
}

TEST_F(ApicTest, TakesInterruptsByPriority) {
  self_ipi(0x41);
  self_ipi(0x85);
  self_ipi(0x42);
  EXPECT_TRUE(requested(0x41) && requested(0x85) && requested(0x42));
  EXPECT_EQ(apic.acknowledge(), 0x85);
  EXPECT_EQ(read(kPpr), 0x80u);
  EXPECT_EQ(read(kIsr + 0x40), 0x20u);
  EXPECT_FALSE(apic.has_interrupt());  // class 4 waits behind class 8
  self_ipi(0x8f);
  EXPECT_FALSE(apic.has_interrupt());  // its own class does not nest
  self_ipi(0x90);
  EXPECT_EQ(apic.highest_pending(), 0x90);
  EXPECT_EQ(apic.acknowledge(), 0x90);
  write(kEoi, 0);
  EXPECT_EQ(read(kPpr), 0x80u);
  write(kEoi, 0);
  EXPECT_EQ(apic.acknowledge(), 0x8f);
  write(kEoi, 0);
  EXPECT_EQ(apic.acknowledge(), 0x42);
  EXPECT_FALSE(apic.has_interrupt());
  write(kEoi, 0);
  EXPECT_EQ(apic.acknowledge(), 0x41);
  write(kEoi, 0);
  EXPECT_EQ(apic.ppr(), 0);
}

TEST_F(ApicTest, TaskPriorityHoldsInterruptsBack) {
  self_ipi(0x55);
  write(kTpr, 0x50);
  EXPECT_FALSE(apic.has_interrupt());
  EXPECT_EQ(read(kPpr), 0x50u);
  apic.set_tpr(0x4f);
  EXPECT_TRUE(apic.has_interrupt());
  EXPECT_EQ(read(kTpr), 0x4fu);
}

TEST_F(ApicTest, NothingPendingIsSpurious) {
  write(kSvr, 0x1ef);
  EXPECT_EQ(apic.acknowledge(), 0xef);
  EXPECT_EQ(apic.ppr(), 0);
}

TEST_F(ApicTest, SoftwareDisableMasksTheTableAndRefusesInterrupts) {
  write(kLvtLint1, 0x400);
  write(kSvr, 0xff);
  EXPECT_EQ(read(kLvtLint1), 0x10400u);
  write(kLvtTimer, 0x40);
  EXPECT_EQ(read(kLvtTimer), kMasked | 0x40);
  self_ipi(0x60);
  EXPECT_FALSE(apic.has_interrupt());
  // NMI, INIT and start-up messages still arrive.
  write(kIcr, 0x44400);
  EXPECT_EQ(nmis, 1);
}

TEST_F(ApicTest, IllegalVectorsAreErrors) {
  write(kLvtError, 0xe0);
  self_ipi(0x0f);
  EXPECT_EQ(read(kEsr), 0u);
  write(kEsr, 0);
  EXPECT_EQ(read(kEsr), 0x20u);
  EXPECT_EQ(apic.acknowledge(), 0xe0);
  Ipi message;
  message.vector = 3;
  apic.deliver(message);
  write(kEsr, 0);
  EXPECT_EQ(read(kEsr), 0x40u);
  EXPECT_EQ(read(0x400), 0u);
  write(kEsr, 0);
  EXPECT_EQ(read(kEsr), 0x80u);
  write(kEsr, 0);
  EXPECT_EQ(read(kEsr), 0u);
}

TEST_F(ApicTest, ErrorEntryWithIllegalVectorDoesNotRecur) {
  write(kLvtError, 0x01);
  self_ipi(0x02);
  write(kEsr, 0);
  EXPECT_EQ(read(kEsr), 0x60u);
}

TEST_F(ApicTest, SendsByShorthand) {
  self_ipi(0x31);
  EXPECT_TRUE(sent.empty());
  write(kIcr, 0x84032);  // all including self
  ASSERT_EQ(sent.size(), 1u);
  EXPECT_EQ(sent[0].vector, 0x32);
  EXPECT_EQ(sent[0].shorthand, Shorthand::kAllIncludingSelf);
  write(kIcr, 0xc4033);  // all excluding self
  EXPECT_EQ(sent.size(), 2u);
  EXPECT_TRUE(requested(0x31) && requested(0x32));
  EXPECT_FALSE(requested(0x33));
}

TEST_F(ApicTest, SendsToPhysicalDestinations) {
  write(kIcrHigh, 0);
  write(kIcr, 0x4035);
  EXPECT_TRUE(requested(0x35));
  EXPECT_TRUE(sent.empty());
  write(kIcrHigh, 0x05000000);
  write(kIcr, 0x4036);
  EXPECT_FALSE(requested(0x36));
  ASSERT_EQ(sent.size(), 1u);
  EXPECT_EQ(sent[0].destination, 5u);
  write(kIcrHigh, 0xff000000);
  write(kIcr, 0x4037);
  EXPECT_TRUE(requested(0x37));
  EXPECT_EQ(sent.size(), 2u);
  EXPECT_EQ(read(kIcr), 0x4037u);
  EXPECT_EQ(read(kIcrHigh), 0xff000000u);
}

TEST_F(ApicTest, MatchesLogicalDestinations) {
  Ipi message;
  message.logical = true;
  message.destination = 0x04;
  write(kLdr, 0x04000000);
  EXPECT_TRUE(apic.accepts(message));
  message.destination = 0x0b;
  EXPECT_FALSE(apic.accepts(message));
  write(kDfr, 0x0fffffff);  // cluster model
  write(kLdr, 0x34000000);
  message.destination = 0x34;
  EXPECT_TRUE(apic.accepts(message));
  message.destination = 0x24;
  EXPECT_FALSE(apic.accepts(message));
  message.destination = 0x32;
  EXPECT_FALSE(apic.accepts(message));
  message.destination = 0xff;
  EXPECT_TRUE(apic.accepts(message));
}

TEST_F(ApicTest, DeliversNmiInitAndStartUp) {
  write(kIcrHigh, 0);
  write(kIcr, 0x4400);
  EXPECT_EQ(nmis, 1);
  write(kIcr, 0x8500);  // INIT level de-assert
  EXPECT_EQ(inits, 0);
  write(kIcr, 0xc500);
  EXPECT_EQ(inits, 1);
  write(kIcr, 0x4608);
  EXPECT_EQ(start_ups, (std::vector<uint8_t>{8}));
  EXPECT_FALSE(apic.has_interrupt());
}

TEST_F(ApicTest, LevelInterruptsBroadcastTheirEnd) {
  Ipi message;
  message.vector = 0x70;
  message.level = true;
  apic.deliver(message);
  EXPECT_EQ(read(kTmr + 0x30), 1u << 16);
  EXPECT_EQ(apic.acknowledge(), 0x70);
  write(kEoi, 0);
  EXPECT_EQ(eois, (std::vector<uint8_t>{0x70}));
  message.level = false;
  apic.deliver(message);
  EXPECT_EQ(read(kTmr + 0x30), 0u);
  apic.acknowledge();
  write(kEoi, 0);
  EXPECT_EQ(eois.size(), 1u);
}

TEST_F(ApicTest, ExternalInterruptsPassThroughLint0) {
  apic.outputs.acknowledge_external = [this] {
    apic.set_lint0(false);
    return uint8_t{0x28};
  };
  write(kTpr, 0xff);
  apic.set_lint0(true);
  EXPECT_FALSE(apic.has_interrupt());  // masked after power-up
  apic.enter_virtual_wire_mode();
  EXPECT_TRUE(apic.has_interrupt());  // whatever the task priority
  EXPECT_FALSE(apic.highest_pending().has_value());
  EXPECT_EQ(apic.acknowledge(), 0x28);
  EXPECT_FALSE(apic.has_interrupt());
  EXPECT_EQ(read(kIsr + 0x10), 0u);
}

TEST_F(ApicTest, GloballyDisabledApicLeavesThePins) {
  EXPECT_EQ(wrmsr(0x1b, 0xfee00100), kOk);
  apic.set_lint0(true);
  EXPECT_TRUE(apic.has_interrupt());
  apic.set_lint1(true);
  EXPECT_EQ(nmis, 1);
  EXPECT_EQ(apic.read_memory(kVersion, 4), ~0ull);
}

TEST_F(ApicTest, Lint1DeliversNmiOnItsEdge) {
  write(kLvtLint1, 0x400);
  apic.set_lint1(true);
  apic.set_lint1(true);
  EXPECT_EQ(nmis, 1);
  apic.set_lint1(false);
  apic.set_lint1(true);
  EXPECT_EQ(nmis, 2);
}

// --- timer

TEST_F(ApicTest, OneShotTimerFiresOnce) {
  write(kDivide, 0);  // by 2
  write(kLvtTimer, 0x50);
  clock.advance_to(1000);
  write(kInitialCount, 100);
  EXPECT_EQ(timers.deadline(), 1200u);
  EXPECT_EQ(read(kCurrentCount), 100u);
  clock.advance_to(1101);
  EXPECT_EQ(read(kCurrentCount), 50u);
  run_to(1199);
  EXPECT_FALSE(apic.has_interrupt());
  run_to(1200);
  EXPECT_EQ(apic.acknowledge(), 0x50);
  EXPECT_EQ(read(kCurrentCount), 0u);
  EXPECT_EQ(timers.deadline(), EventQueue::kNever);
  EXPECT_EQ(read(kInitialCount), 100u);
}

TEST_F(ApicTest, PeriodicTimerReloads) {
  write(kDivide, 0xb);  // by 1
  write(kLvtTimer, kPeriodic | 0x50);
  write(kInitialCount, 1000);
  for (uint64_t period = 1; period <= 3; ++period) {
    EXPECT_EQ(timers.deadline(), period * 1000);
    run_to(period * 1000);
    EXPECT_EQ(apic.acknowledge(), 0x50);
    write(kEoi, 0);
  }
  clock.advance_to(3400);
  EXPECT_EQ(read(kCurrentCount), 600u);
  // Several periods at once are one interrupt, and keep the phase.
  clock.advance_to(7100);
  timers.expire(7100);
  EXPECT_EQ(apic.acknowledge(), 0x50);
  write(kEoi, 0);
  EXPECT_FALSE(apic.has_interrupt());
  EXPECT_EQ(timers.deadline(), 8000u);
  write(kInitialCount, 0);
  EXPECT_EQ(timers.deadline(), EventQueue::kNever);
}

TEST_F(ApicTest, EveryDivideConfiguration) {
  constexpr std::pair<uint32_t, uint64_t> kDivisors[] = {{0, 2},  {1, 4},  {2, 8},    {3, 16},
                                                         {8, 32}, {9, 64}, {10, 128}, {11, 1}};
  write(kLvtTimer, 0x50);
  for (const auto& [code, divisor] : kDivisors) {
    write(kDivide, code);
    EXPECT_EQ(read(kDivide), code);
    write(kInitialCount, 10);
    EXPECT_EQ(timers.deadline(), clock.cycles() + 10 * divisor) << code;
  }
}

TEST_F(ApicTest, ChangedDivisorKeepsTheCount) {
  write(kDivide, 0xb);
  write(kLvtTimer, 0x50);
  write(kInitialCount, 100);
  clock.advance_to(60);
  write(kDivide, 0);
  EXPECT_EQ(read(kCurrentCount), 40u);
  EXPECT_EQ(timers.deadline(), 140u);
}

TEST_F(ApicTest, MaskedTimerCountsInSilence) {
  write(kDivide, 0xb);
  write(kLvtTimer, kMasked | 0x50);
  write(kInitialCount, 100);
  EXPECT_EQ(timers.deadline(), EventQueue::kNever);
  clock.advance_to(40);
  EXPECT_EQ(read(kCurrentCount), 60u);
  clock.advance_to(500);
  write(kLvtTimer, 0x50);
  EXPECT_EQ(read(kCurrentCount), 0u);
  EXPECT_FALSE(apic.has_interrupt());  // what was missed stays missed
}

TEST_F(ApicTest, TscDeadlineComparesWithTheTsc) {
  apic.set_tsc_offset(1'000'000);
  EXPECT_EQ(wrmsr(0x6e0, 1'000'500), kOk);
  EXPECT_EQ(rdmsr(0x6e0), 0u);  // not in TSC-deadline mode
  write(kLvtTimer, kTscDeadline | 0x51);
  EXPECT_EQ(wrmsr(0x6e0, 1'000'500), kOk);
  EXPECT_EQ(rdmsr(0x6e0), 1'000'500u);
  EXPECT_EQ(timers.deadline(), 500u);
  write(kInitialCount, 5);  // ignored in this mode
  EXPECT_EQ(read(kCurrentCount), 0u);
  run_to(500);
  EXPECT_EQ(apic.acknowledge(), 0x51);
  EXPECT_EQ(rdmsr(0x6e0), 0u);
  write(kEoi, 0);
  EXPECT_EQ(wrmsr(0x6e0, 7), kOk);  // in the past: at once
  EXPECT_EQ(timers.deadline(), 500u);
  run_to(500);
  EXPECT_EQ(apic.acknowledge(), 0x51);
  write(kEoi, 0);
  EXPECT_EQ(wrmsr(0x6e0, ~0ull), kOk);
  write(kLvtTimer, 0x51);  // leaving the mode disarms
  EXPECT_EQ(timers.deadline(), EventQueue::kNever);
  write(kLvtTimer, kTscDeadline | 0x51);
  EXPECT_EQ(rdmsr(0x6e0), 0u);
}

TEST_F(ApicTest, WritesDoNotLoseAnExpiryThatIsDue) {
  write(kDivide, 0xb);
  write(kLvtTimer, 0x50);
  write(kInitialCount, 100);
  clock.advance_to(150);
  write(kInitialCount, 100);
  EXPECT_EQ(apic.acknowledge(), 0x50);
  write(kEoi, 0);
  EXPECT_EQ(timers.deadline(), 250u);
  write(kLvtTimer, kTscDeadline | 0x51);
  EXPECT_EQ(wrmsr(0x6e0, 200), kOk);
  clock.advance_to(201);
  EXPECT_EQ(wrmsr(0x6e0, 300), kOk);
  EXPECT_EQ(apic.acknowledge(), 0x51);
  write(kEoi, 0);
  clock.advance_to(301);
  apic.set_tsc_offset(~0ull - 10000);
  EXPECT_EQ(apic.acknowledge(), 0x51);
}

// --- x2APIC

TEST_F(ApicTest, ModeTransitions) {
  constexpr uint64_t kDisabled = 0xfee00100, kInvalid = 0xfee00500;
  struct Step {
    uint64_t from, to;
    bool allowed;
  };
  constexpr Step kSteps[] = {
      {kEnabled, kEnabled, true},  {kEnabled, kDisabled, true}, {kEnabled, kX2apic, true},
      {kEnabled, kInvalid, false}, {kX2apic, kX2apic, true},    {kX2apic, kDisabled, true},
      {kX2apic, kEnabled, false},  {kX2apic, kInvalid, false},  {kDisabled, kDisabled, true},
      {kDisabled, kEnabled, true}, {kDisabled, kX2apic, false}, {kDisabled, kInvalid, false},
  };
  for (const Step& step : kSteps) {
    LocalApic one(clock, timers, 1, true);
    ASSERT_EQ(one.write_msr(0x1b, step.from), kOk);
    EXPECT_EQ(one.write_msr(0x1b, step.to) == kOk, step.allowed) << step.from << "->" << step.to;
    EXPECT_EQ(one.base_msr(), step.allowed ? step.to : step.from);
  }
}

TEST_F(ApicTest, BaseHasReservedBitsAndMoves) {
  EXPECT_EQ(wrmsr(0x1b, kEnabled | 1), kGeneralProtection);
  EXPECT_EQ(wrmsr(0x1b, kEnabled | 0x200), kGeneralProtection);
  EXPECT_EQ(wrmsr(0x1b, kEnabled | 1ull << 46), kGeneralProtection);
  EXPECT_EQ(wrmsr(0x1b, 0xfed00900), kOk);
  EXPECT_EQ(apic.base(), 0xfed00000u);
  EXPECT_TRUE(apic.holds(0xfed00030, 4));
  EXPECT_TRUE(apic.holds(0xfed00ff8, 8));
  EXPECT_FALSE(apic.holds(0xfed00ffc, 8));
  EXPECT_FALSE(apic.holds(0xfecfffff, 4));
  EXPECT_FALSE(apic.holds(0xfee00030, 4));
}

TEST_F(ApicTest, DisablingForgetsEverything) {
  self_ipi(0x60);
  write(kTpr, 0x20);
  EXPECT_EQ(wrmsr(0x1b, 0xfee00100), kOk);
  EXPECT_FALSE(apic.has_interrupt());
  EXPECT_EQ(wrmsr(0x1b, kEnabled), kOk);
  EXPECT_EQ(read(kSvr), 0xffu);
  EXPECT_EQ(read(kTpr), 0u);
  EXPECT_FALSE(requested(0x60));
}

TEST_F(ApicTest, X2apicRegistersAreMsrs) {
  LocalApic other(clock, timers, 0x12, false);
  EXPECT_EQ(try_rdmsr(0x802), kGeneralProtection);  // not in x2APIC mode
  EXPECT_EQ(wrmsr(0x1b, kX2apic), kOk);
  EXPECT_EQ(apic.read_memory(kVersion, 4), ~0ull);  // the memory is gone
  EXPECT_EQ(rdmsr(0x802), 0u);
  EXPECT_EQ(rdmsr(0x803), 0x50014u);
  EXPECT_EQ(rdmsr(0x80f), 0x1ffu);  // the change of mode keeps the state
  EXPECT_EQ(wrmsr(0x808, 0x30), kOk);
  EXPECT_EQ(apic.tpr(), 0x30);
  ASSERT_EQ(other.write_msr(0x1b, 0xfee00c00), kOk);
  uint64_t logical = 0;
  ASSERT_EQ(other.read_msr(0x80d, logical), kOk);
  EXPECT_EQ(logical, 0x10004u);
}

TEST_F(ApicTest, X2apicFaults) {
  ASSERT_EQ(wrmsr(0x1b, kX2apic), kOk);
  for (uint32_t index : {0x800u, 0x804u, 0x809u, 0x80bu, 0x80eu, 0x831u, 0x83fu, 0x840u, 0x8ffu}) {
    EXPECT_EQ(try_rdmsr(index), kGeneralProtection) << index;
  }
  for (uint32_t index : {0x802u, 0x803u, 0x80au, 0x80du, 0x80eu, 0x810u, 0x820u, 0x831u, 0x839u}) {
    EXPECT_EQ(wrmsr(index, 0), kGeneralProtection) << index;
  }
  EXPECT_EQ(wrmsr(0x808, 0x100), kGeneralProtection);
  EXPECT_EQ(wrmsr(0x80b, 1), kGeneralProtection);
  EXPECT_EQ(wrmsr(0x80b, 0), kOk);
  EXPECT_EQ(wrmsr(0x80f, 0x200), kGeneralProtection);
  EXPECT_EQ(wrmsr(0x828, 1), kGeneralProtection);
  EXPECT_EQ(wrmsr(0x83f, 0x100), kGeneralProtection);
  EXPECT_EQ(wrmsr(0x832, 1ull << 32), kGeneralProtection);
}

TEST_F(ApicTest, X2apicSelfIpiAndIcr) {
  ASSERT_EQ(wrmsr(0x1b, kX2apic), kOk);
  EXPECT_EQ(wrmsr(0x83f, 0x77), kOk);
  EXPECT_EQ(apic.acknowledge(), 0x77);
  EXPECT_EQ(wrmsr(0x80b, 0), kOk);
  EXPECT_EQ(wrmsr(0x830, 0x0000000900000078), kOk);
  ASSERT_EQ(sent.size(), 1u);
  EXPECT_TRUE(sent[0].wide);
  EXPECT_EQ(sent[0].destination, 9u);
  EXPECT_EQ(rdmsr(0x830), 0x0000000900000078u);
  EXPECT_EQ(wrmsr(0x830, 0xffffffff00000079), kOk);
  EXPECT_EQ(apic.acknowledge(), 0x79);
  Ipi message;
  message.logical = message.wide = true;
  message.destination = 1;
  EXPECT_TRUE(apic.accepts(message));
  message.destination = 0x00010001;
  EXPECT_FALSE(apic.accepts(message));
}

TEST_F(ApicTest, InitKeepsBaseAndMode) {
  ASSERT_EQ(wrmsr(0x1b, kX2apic), kOk);
  EXPECT_EQ(wrmsr(0x83f, 0x77), kOk);
  apic.init_reset();
  EXPECT_TRUE(apic.x2apic());
  EXPECT_FALSE(apic.has_interrupt());
  EXPECT_EQ(rdmsr(0x80f), 0xffu);
  apic.power_up();
  EXPECT_EQ(apic.base_msr(), kEnabled);
}

}  // namespace
}  // namespace nestor::emu
