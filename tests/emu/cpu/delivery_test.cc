// SPDX-License-Identifier: GPL-2.0-or-later
#include "tests/emu/cpu/delivery_fixture.h"

namespace nestor::emu::test {
namespace {

using vmx::CpuState;
using vmx::Event;
using vmx::EventType;

constexpr uint8_t kInterruptGate = 0x8e, kTrapGate = 0x8f, kUserTrapGate = 0xef,
                  kInterruptGate16Byte = 0x86, kTaskGateByte = 0x85;
constexpr uint32_t kHandler = 0x12345678;

// --- protected mode

TEST_F(DeliveryTest, SameLevelInterruptGate) {
  enter_protected_mode(core);
  cpu.rflags = 0x202 | vmx::rflags::kNt | vmx::rflags::kTf | vmx::rflags::kAc;
  set_gate(0x30, gate(kCode0, kHandler, kInterruptGate));
  deliver(external(0x30));
  EXPECT_EQ(cpu.rip, kHandler);
  EXPECT_EQ(cpu.rflags, 2 | vmx::rflags::kAc);
  EXPECT_EQ(cpu.gpr[vmx::kRsp], kStack0 - 0x10c);
  EXPECT_EQ(stack<uint32_t>(kStack0 - 0x10c, 3),
            (Values{0x401000, kCode0, 0x302 | vmx::rflags::kNt | vmx::rflags::kAc}));
  EXPECT_EQ(core.privileges.back(), Privilege::kCurrent);
}

TEST_F(DeliveryTest, TrapGateKeepsInterruptsEnabled) {
  enter_protected_mode(core);
  cpu.rflags = 0x202;
  set_gate(0x30, gate(kCode0, kHandler, kTrapGate));
  deliver(external(0x30));
  EXPECT_EQ(cpu.rflags, 0x202u);
}

TEST_F(DeliveryTest, FaultPushesResumeFlagAndErrorCode) {
  enter_protected_mode(core);
  set_gate(vmx::kPf, gate(kCode0, kHandler, kInterruptGate));
  deliver(vmx::exception(vmx::kPf, 6, 0xdead0000));
  EXPECT_EQ(stack<uint32_t>(kStack0 - 0x110, 4),
            (Values{6, 0x401000, kCode0, 2 | vmx::rflags::kRf}));
  EXPECT_EQ(cpu.cr2, 0xdead0000u);
}

TEST_F(DeliveryTest, InjectedFaultLeavesResumeFlagAndCr2) {
  enter_protected_mode(core);
  cpu.cr2 = 7;
  set_gate(vmx::kPf, gate(kCode0, kHandler, kInterruptGate));
  deliver(vmx::exception(vmx::kPf, 6, 0xdead0000), EventOrigin::kVmEntry);
  EXPECT_EQ(core.peek<uint32_t>(kStack0 - 0x104), 2u);
  EXPECT_EQ(cpu.cr2, 7u);
}

// A VM exit on the way through the IDT finds CR2 updated.
TEST_F(DeliveryTest, PageFaultUpdatesCr2EvenIfItsHandlerCannotBeReached) {
  enter_protected_mode(core);
  cpu.cr2 = 7;
  set_gate(vmx::kPf, 0);
  const Delivery delivery = deliver_once(core, vmx::exception(vmx::kPf, 6, 0xdead0000));
  EXPECT_TRUE(std::holds_alternative<Event>(delivery));
  EXPECT_EQ(cpu.cr2, 0xdead0000u);
}

TEST_F(DeliveryTest, InnerLevelSwitchesStack) {
  enter_protected_mode(core, 3);
  cpu.rflags = 0x3202;
  set_gate(0x30, gate(kCode0, kHandler, kInterruptGate));
  deliver(external(0x30));
  EXPECT_EQ(cpu.segment[vmx::kCs].selector, kCode0);
  EXPECT_EQ(cpu.segment[vmx::kSs].selector, kData0);
  EXPECT_EQ(cpu.cpl(), 0);
  EXPECT_EQ(stack<uint32_t>(kStack0 - 20, 5), (Values{0x401000, kCode3, 0x3202, kStack3, kData3}));
  EXPECT_EQ(core.privileges.back(), Privilege::kSupervisor);
  // Accessed flags of CS and SS.
  EXPECT_EQ(core.peek<uint8_t>(kGdt + kCode0 + 5), 0x9b);
  EXPECT_EQ(core.peek<uint8_t>(kGdt + kData0 + 5), 0x93);
}

TEST_F(DeliveryTest, MiddleLevelUsesItsOwnStack) {
  enter_protected_mode(core, 3);
  set_gate(0x30, gate(kCode1, kHandler, kInterruptGate));
  deliver(external(0x30));
  EXPECT_EQ(cpu.segment[vmx::kCs].selector, kCode1);
  EXPECT_EQ(cpu.cpl(), 1);
  EXPECT_EQ(cpu.gpr[vmx::kRsp], kStack1 - 20);
}

TEST_F(DeliveryTest, ConformingCodeKeepsTheLevel) {
  enter_protected_mode(core, 3);
  set_gate(0x30, gate(kConforming, kHandler, kInterruptGate));
  deliver(external(0x30));
  EXPECT_EQ(cpu.segment[vmx::kCs].selector, kConforming | 3);
  EXPECT_EQ(cpu.cpl(), 3);
  EXPECT_EQ(cpu.gpr[vmx::kRsp], kStack3 - 12);
  EXPECT_EQ(core.privileges.back(), Privilege::kCurrent);
}

TEST_F(DeliveryTest, SixteenBitGatePushesWords) {
  enter_protected_mode(core, 3);
  set_gate(0x30, gate(kCode0, 0x5678, kInterruptGate16Byte));
  deliver(external(0x30));
  EXPECT_EQ(cpu.rip, 0x5678u);
  EXPECT_EQ(stack<uint16_t>(kStack0 - 10, 5), (Values{0x1000, kCode3, 2, kStack3, kData3}));
}

TEST_F(DeliveryTest, SixteenBitTssGivesTheStack) {
  enter_protected_mode(core, 3);
  cpu.segment[vmx::kTr].rights.value = 0x83;
  core.poke<uint16_t>(kTssBase + 2, 0x7000);
  core.poke<uint16_t>(kTssBase + 4, kData0);
  set_gate(0x30, gate(kCode0, kHandler, kInterruptGate));
  deliver(external(0x30));
  EXPECT_EQ(cpu.gpr[vmx::kRsp], 0x7000u - 20);
}

TEST_F(DeliveryTest, SixteenBitStackSegmentWrapsAndKeepsTheUpperHalf) {
  enter_protected_mode(core, 3);
  core.poke<uint32_t>(kTssBase + 4, 0xabcd0004);
  core.poke<uint16_t>(kTssBase + 8, kData16);
  set_gate(0x30, gate(kCode0, kHandler, kInterruptGate));
  deliver(external(0x30));
  EXPECT_EQ(cpu.gpr[vmx::kRsp], 0xabcdfff0u);
  EXPECT_EQ(core.peek<uint32_t>(0xfff0), 0x401000u);
}

TEST_F(DeliveryTest, SoftwareInterruptChecksTheGatesLevel) {
  enter_protected_mode(core, 3);
  set_gate(0x30, gate(kCode0, kHandler, kInterruptGate));
  expect_fault(software(0x30), vmx::kGp, 0x30 * 8 + 2);
  set_gate(0x30, gate(kCode0, kHandler, kUserTrapGate));
  deliver(software(0x30));
  EXPECT_EQ(core.peek<uint32_t>(kStack0 - 20), 0x401002u);
}

TEST_F(DeliveryTest, Int1DoesNotCheckTheGatesLevel) {
  enter_protected_mode(core, 3);
  set_gate(vmx::kDb, gate(kCode0, kHandler, kInterruptGate));
  deliver({EventType::kPrivilegedSoftwareException, vmx::kDb, {}, 1, 0});
  EXPECT_EQ(core.peek<uint32_t>(kStack0 - 20), 0x401001u);
  EXPECT_EQ(cpu.dr6, 0xffff0ff0u);
}

TEST_F(DeliveryTest, GateFaults) {
  enter_protected_mode(core);
  cpu.idtr.limit = 0x30 * 8 + 6;
  expect_fault(external(0x30), vmx::kGp, 0x30 * 8 + 3);
  cpu.idtr.limit = 0x7ff;
  set_gate(0x30, gate(kCode0, kHandler, 0x8c));  // call gate
  expect_fault(external(0x30), vmx::kGp, 0x30 * 8 + 3);
  set_gate(0x30, gate(kCode0, kHandler, 0x9e));  // S is 1
  expect_fault(external(0x30), vmx::kGp, 0x30 * 8 + 3);
  set_gate(0x30, gate(kCode0, kHandler, 0x0e));
  expect_fault(external(0x30), vmx::kNp, 0x30 * 8 + 3);
  expect_fault(software(0x30), vmx::kNp, 0x30 * 8 + 2);
}

TEST_F(DeliveryTest, CodeSegmentFaults) {
  enter_protected_mode(core);
  const auto expect = [&](uint16_t selector, uint8_t vector, uint32_t error) {
    set_gate(0x30, gate(selector, kHandler, kInterruptGate));
    expect_fault(external(0x30), vector, error);
  };
  expect(0, vmx::kGp, 1);
  expect(3, vmx::kGp, 1);
  expect(kGdtLimit + 1, vmx::kGp, kGdtLimit + 2u);
  expect(kData0, vmx::kGp, kData0 | 1u);
  expect(kTss, vmx::kGp, kTss | 1u);
  expect(kCode3, vmx::kGp, (kCode3 & ~3u) | 1u);
  expect(kAbsentCode, vmx::kNp, kAbsentCode | 1u);
  expect(kCode0 | 4, vmx::kGp, kCode0 | 5u);  // no LDT
  set_gate(0x30, gate(kCode16, 0x10000, kInterruptGate));
  expect_fault(external(0x30), vmx::kGp, 1);
}

TEST_F(DeliveryTest, NewStackFaults) {
  enter_protected_mode(core, 3);
  set_gate(0x30, gate(kCode0, kHandler, kUserTrapGate));
  const auto expect = [&](uint16_t ss, uint8_t vector, uint32_t error) {
    core.poke<uint16_t>(kTssBase + 8, ss);
    expect_fault(external(0x30), vector, error | 1);
    expect_fault(software(0x30), vector, error);
  };
  expect(0, vmx::kTs, 0);
  expect(kGdtLimit + 1, vmx::kTs, kGdtLimit + 1u);
  expect(kData3, vmx::kTs, kData3 & ~3u);
  expect(kData0 | 1, vmx::kTs, kData0);
  expect(kCode0, vmx::kTs, kCode0);
  expect(kReadOnly, vmx::kTs, kReadOnly);
  expect(kAbsentData, vmx::kSs12, kAbsentData);
  core.poke<uint16_t>(kTssBase + 8, kData0);
  cpu.segment[vmx::kTr].limit = 8;
  expect_fault(external(0x30), vmx::kTs, kTss | 1);
}

TEST_F(DeliveryTest, StackTooSmallNamesTheNewStackOnly) {
  enter_protected_mode(core, 3);
  set_gate(0x30, gate(kCode0, kHandler, kInterruptGate));
  core.poke<uint16_t>(kTssBase + 8, kData16);
  core.poke<uint32_t>(kTssBase + 4, 2);
  expect_fault(external(0x30), vmx::kSs12, kData16 | 1);
  enter_protected_mode(core);
  set_gate(0x30, gate(kCode0, kHandler, kInterruptGate));
  cpu.segment[vmx::kSs] = {kData16, {0x93}, 0xff, 0};
  cpu.gpr[vmx::kRsp] = 0x400;
  expect_fault(external(0x30), vmx::kSs12, 1);
}

TEST_F(DeliveryTest, PageFaultsAndEptViolationsOnTheWay) {
  enter_protected_mode(core, 3);
  set_gate(0x30, gate(kCode0, kHandler, kInterruptGate));
  core.unwritable.insert((kStack0 - 1) / FakeCore::kPage);
  expect_fault(external(0x30), vmx::kPf, 2);
  core.unwritable.clear();
  core.unreadable.insert(kTssBase / FakeCore::kPage);
  expect_fault(external(0x30), vmx::kPf, 0);
  core.unreadable.clear();
  core.ept_violations.insert(kIdt / FakeCore::kPage);
  const Delivery delivery = deliver_once(core, external(0x30));
  ASSERT_TRUE(std::holds_alternative<EptExit>(delivery));
  EXPECT_EQ(std::get<EptViolation>(std::get<EptExit>(delivery)).guest_linear, kIdt + 0x30 * 8);
  EXPECT_EQ(cpu.rip, 0x401000u);
}

TEST_F(DeliveryTest, DebugExceptionUpdatesTheDebugRegisters) {
  enter_protected_mode(core);
  set_gate(vmx::kDb, gate(kCode0, kHandler, kInterruptGate));
  cpu.dr6 = 0xffff0ff2;
  cpu.dr7 = 0x2400;
  cpu.debugctl = 3;
  deliver(vmx::exception(vmx::kDb, {}, 0x4001));
  EXPECT_EQ(cpu.dr6, 0xffff4ff1u);
  EXPECT_EQ(cpu.dr7, 0x400u);
  EXPECT_EQ(cpu.debugctl, 0u);
  EXPECT_EQ(core.peek<uint32_t>(kStack0 - 0x104) & vmx::rflags::kRf, 0u);
}

TEST_F(DeliveryTest, InjectedDebugExceptionLeavesTheDebugRegisters) {
  enter_protected_mode(core);
  set_gate(vmx::kDb, gate(kCode0, kHandler, kInterruptGate));
  cpu.dr7 = 0x2400;
  deliver(vmx::exception(vmx::kDb, {}, 0x4001), EventOrigin::kVmEntry);
  EXPECT_EQ(cpu.dr6, 0xffff0ff0u);
  EXPECT_EQ(cpu.dr7, 0x2400u);
}

TEST_F(DeliveryTest, DeliveryEndsHltAndBlocking) {
  enter_protected_mode(core);
  set_gate(vmx::kNmi, gate(kCode0, kHandler, kInterruptGate));
  cpu.activity = vmx::ActivityState::kHlt;
  cpu.blocking_by_sti = true;
  deliver({EventType::kNmi, vmx::kNmi, {}, 0, 0});
  EXPECT_EQ(cpu.activity, vmx::ActivityState::kActive);
  EXPECT_FALSE(cpu.blocking_by_sti);
  EXPECT_TRUE(cpu.blocking_by_nmi);
}

// --- virtual-8086 mode

TEST_F(DeliveryTest, VirtualModeSavesTheDataSegments) {
  enter_virtual_8086_mode(core);
  set_gate(0x30, gate(kCode0, kHandler, kInterruptGate));
  deliver(external(0x30));
  EXPECT_EQ(stack<uint32_t>(kStack0 - 36, 9),
            (Values{0x40, 0x101, 2 | vmx::rflags::kVm, 0x200, 0x102, 0x100, 0x103, 0x104, 0x105}));
  EXPECT_EQ(cpu.rflags, 2u);
  EXPECT_EQ(cpu.cpl(), 0);
  for (const auto segment : {vmx::kDs, vmx::kEs, vmx::kFs, vmx::kGs}) {
    EXPECT_EQ(cpu.segment[segment].selector, 0);
    EXPECT_TRUE(cpu.segment[segment].rights.unusable());
  }
}

TEST_F(DeliveryTest, VirtualModeHandlerMustBeLevel0) {
  enter_virtual_8086_mode(core);
  for (const uint16_t selector : {kConforming, kCode1, kCode3}) {
    set_gate(0x30, gate(selector, kHandler, kInterruptGate));
    expect_fault(external(0x30), vmx::kGp, (selector & ~3u) | 1u);
  }
}

// --- IA-32e mode

TEST_F(DeliveryTest, LongModeAlignsTheStackAndSavesItAlways) {
  enter_64bit_mode(core);
  set_gate64(0x30, gate(kCode64, kHandler, kInterruptGate), 0xffff8000);
  const uint64_t rsp = cpu.gpr[vmx::kRsp];
  deliver(external(0x30));
  EXPECT_EQ(cpu.rip, 0xffff8000'12345678u);
  EXPECT_EQ(cpu.segment[vmx::kSs].selector, kData0);
  EXPECT_EQ(cpu.gpr[vmx::kRsp], kStack0 - 0x100 - 40);
  EXPECT_EQ(stack<uint64_t>(kStack0 - 0x128, 5), (Values{0x401000, kCode64, 2, rsp, kData0}));
}

TEST_F(DeliveryTest, LongModeInnerLevelGetsNullStackSegment) {
  enter_64bit_mode(core, 3);
  set_gate64(vmx::kGp, gate(kCode64, kHandler, kInterruptGate));
  deliver(vmx::exception(vmx::kGp, 0x18));
  EXPECT_EQ(cpu.segment[vmx::kSs].selector, 0);
  EXPECT_TRUE(cpu.segment[vmx::kSs].rights.unusable());
  EXPECT_EQ(cpu.cpl(), 0);
  EXPECT_EQ(stack<uint64_t>(kStack0 - 48, 6),
            (Values{0x18, 0x401000, kUser64, 2 | vmx::rflags::kRf, kStack3 + 5, kData3}));
}

TEST_F(DeliveryTest, InterruptStackTable) {
  enter_64bit_mode(core);
  set_gate64(0x30, gate(kCode64, kHandler, kInterruptGate, 1));
  deliver(external(0x30));
  EXPECT_EQ(cpu.gpr[vmx::kRsp], kStack1 - 40);
}

TEST_F(DeliveryTest, CompatibilityModeUsesThe64BitTable) {
  enter_64bit_mode(core, 3);
  cpu.segment[vmx::kCs] = {kCode3, {0xc0fb}, 0xffffffff, 0};
  set_gate64(0x80, gate(kCode64, kHandler, 0xee));
  deliver(software(0x80));
  EXPECT_TRUE(cpu.code_64bit());
  EXPECT_EQ(stack<uint64_t>(kStack0 - 40, 2), (Values{0x401002, kCode3}));
}

TEST_F(DeliveryTest, LongModeFaults) {
  enter_64bit_mode(core, 3);
  const auto expect = [&](uint64_t low, uint64_t high, uint8_t vector, uint32_t error) {
    set_gate64(0x30, low, high);
    expect_fault(external(0x30), vector, error);
  };
  const uint32_t in_idt = 0x30 * 8 + 3;
  expect(gate(kCode64, 0, kInterruptGate16Byte), 0, vmx::kGp, in_idt);
  expect(gate(kCode64, 0, kTaskGateByte), 0, vmx::kGp, in_idt);
  expect(gate(kCode0, 0, kInterruptGate), 0, vmx::kGp, kCode0 | 1u);  // not 64-bit code
  expect(gate(kCode64, 0, kInterruptGate), 0x8000, vmx::kGp, 1);      // not canonical
}

TEST_F(DeliveryTest, LongModeStackFaults) {
  enter_64bit_mode(core, 3);
  set_gate64(0x30, gate(kCode64, kHandler, kInterruptGate, 2));
  cpu.segment[vmx::kTr].limit = 50;
  expect_fault(external(0x30), vmx::kTs, kTss | 1);
  cpu.segment[vmx::kTr].limit = 0x67;
  core.poke<uint64_t>(kTssBase + 44, 0x8000'0000'1000);
  expect_fault(external(0x30), vmx::kSs12, 1);
  cpu.idtr.limit = 0x30 * 16 + 14;
  expect_fault(external(0x30), vmx::kGp, 0x30 * 8 + 3);
}

// --- task gates

TEST_F(DeliveryTest, TaskGateSwitchesTheTask) {
  enter_protected_mode(core, 3);
  set_gate(vmx::kDf, gate(kOtherTss, 0, kTaskGateByte));
  core.poke<uint32_t>(kOtherTssBase + 32, 0x777);
  core.poke<uint32_t>(kOtherTssBase + 36, 2);
  core.poke<uint32_t>(kOtherTssBase + 56, 0x6000);  // ESP
  core.poke<uint16_t>(kOtherTssBase + 76, kCode0);
  core.poke<uint16_t>(kOtherTssBase + 80, kData0);
  core.poke<uint16_t>(kOtherTssBase + 84, kData0);
  deliver(vmx::exception(vmx::kDf, 0x55));
  EXPECT_EQ(cpu.rip, 0x777u);
  EXPECT_EQ(cpu.rflags, 2 | vmx::rflags::kNt);
  EXPECT_EQ(cpu.cpl(), 0);
  EXPECT_EQ(cpu.segment[vmx::kTr].selector, kOtherTss);
  EXPECT_EQ(cpu.segment[vmx::kTr].rights.value, 0x8bu);
  EXPECT_TRUE(cpu.segment[vmx::kEs].rights.unusable());
  EXPECT_EQ(core.peek<uint8_t>(kGdt + kOtherTss + 5), 0x8b);
  EXPECT_EQ(core.peek<uint16_t>(kOtherTssBase), kTss);
  EXPECT_EQ(core.peek<uint32_t>(kTssBase + 32), 0x401000u);
  EXPECT_EQ(core.peek<uint32_t>(kTssBase + 56), kStack3);
  EXPECT_EQ(core.peek<uint16_t>(kTssBase + 76), kCode3);
  EXPECT_EQ(cpu.gpr[vmx::kRsp], 0x5ffcu);
  EXPECT_EQ(core.peek<uint32_t>(0x5ffc), 0x55u);
  EXPECT_TRUE(cpu.cr0 & vmx::cr0::kTs);
}

TEST_F(DeliveryTest, TaskGateFaults) {
  enter_protected_mode(core);
  const auto expect = [&](uint16_t selector, uint8_t vector) {
    set_gate(0x30, gate(selector, 0, kTaskGateByte));
    expect_fault(external(0x30), vector, (selector & ~3u) | 1u);
  };
  expect(0, vmx::kGp);
  expect(kOtherTss | 4, vmx::kGp);
  expect(kCode0, vmx::kGp);
  core.poke<uint8_t>(kGdt + kOtherTss + 5, 0x8b);
  expect(kOtherTss, vmx::kGp);
  core.poke<uint8_t>(kGdt + kOtherTss + 5, 0x09);
  expect(kOtherTss, vmx::kNp);
  core.poke<uint64_t>(kGdt + kOtherTss, descriptor(kOtherTssBase, 0x66, 0x89, 0));
  expect(kOtherTss, vmx::kTs);
}

// --- double faults

// Results beside the vector #DF.
constexpr int kTriple = -1, kSecond = -2;

TEST(Combine, FollowsTheManualsTable) {
  const Event benign[] = {vmx::exception(vmx::kDb), vmx::exception(vmx::kUd),
                          vmx::exception(vmx::kNm), vmx::exception(vmx::kAc, 0),
                          vmx::exception(vmx::kMf), external(vmx::kGp),
                          software(vmx::kPf),       {EventType::kNmi, 2, {}, 0, 0}};
  const Event contributory[] = {vmx::exception(vmx::kDe),    vmx::exception(vmx::kTs, 0),
                                vmx::exception(vmx::kNp, 0), vmx::exception(vmx::kSs12, 0),
                                vmx::exception(vmx::kGp, 0), vmx::exception(vmx::kCp, 0)};
  const Event page_fault[] = {vmx::exception(vmx::kPf, 0), vmx::exception(vmx::kVe)};
  const Event double_fault[] = {vmx::exception(vmx::kDf, 0)};
  const auto expect = [](std::span<const Event> firsts, std::span<const Event> seconds,
                         int result) {
    for (const Event& first : firsts) {
      for (const Event& second : seconds) {
        const auto combined = combine(first, second);
        if (result == kTriple) {
          EXPECT_TRUE(std::holds_alternative<Shutdown>(combined));
          continue;
        }
        ASSERT_TRUE(std::holds_alternative<Event>(combined));
        const Event& event = std::get<Event>(combined);
        EXPECT_EQ(event.vector, result == kSecond ? second.vector : result)
            << int{first.vector} << " then " << int{second.vector};
        if (result == vmx::kDf) {
          EXPECT_EQ(event.error_code, 0u);
        }
      }
    }
  };
  expect(benign, benign, kSecond);
  expect(benign, contributory, kSecond);
  expect(benign, page_fault, kSecond);
  expect(contributory, benign, kSecond);
  expect(contributory, contributory, vmx::kDf);
  expect(contributory, page_fault, kSecond);
  expect(page_fault, benign, kSecond);
  expect(page_fault, contributory, vmx::kDf);
  expect(page_fault, page_fault, vmx::kDf);
  expect(double_fault, benign, kSecond);
  expect(double_fault, contributory, kTriple);
  expect(double_fault, page_fault, kTriple);
}

}  // namespace
}  // namespace nestor::emu::test
