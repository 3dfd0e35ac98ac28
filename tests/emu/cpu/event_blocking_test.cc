// SPDX-License-Identifier: GPL-2.0-or-later
//
// What each kind of blocking that a VM entry can establish holds back, and until when: each event
// is due at the VM entry, the guest executes NOP, NOP, CPUID ("Interruptibility State", "Activity
// State", "Other Causes of VM Exits", "Special Features of VM Entry").
#include <iterator>

#include "tests/emu/l0/nested_machine_fixture.h"

namespace nestor::emu {
namespace {

using vmx::ActivityState;
using vmx::ExitReason;
using vmx::Field;
using vmx::PinBased;
using vmx::PrimaryProcBased;
using vmx::SecondaryProcBased;

class BlockingBench : public NestedMachineTest {
 public:
  void TestBody() override {}

  static constexpr uint64_t kVirtualApic = kScratch;
  static constexpr uint8_t kVirtualVector = 0x45;
  // In L1, with NMIs blocked, behind VMXON: before it INIT would not wait.
  Code before;

  BlockingBench() { set(Field::kGuestRflags, 0x202); }
  using NestedMachineTest::apic_write;
  using NestedMachineTest::enable;
  void set(Field field, uint64_t value) { vmcs_.write(field, value); }
  void virtual_nmis() {
    enable(PinBased::kNmiExiting);
    enable(PinBased::kVirtualNmis);
  }
  // Where the first VM exit is, in instructions of the guest.
  struct Seen {
    std::optional<ExitReason> reason;
    uint64_t rip = 0, activity = 0;
    uint64_t delivered_at = 0;  // the RIP that the last event through the IDT interrupted
  };
  Seen enter() {
    constexpr uint64_t kInNmi = kCode + 0x400;
    static_assert(kInNmi == 0x100400);
    put_guest(ASM64("nop; nop; cpuid"), exit_with_field(Field::kGuestActivityState));
    // Each event that is delivered ends in a VM exit by VMCALL.
    for (const unsigned vector : {unsigned{vmx::kDb}, 0x41u, unsigned{kVirtualVector}})
      handle(vector, ASM64("vmcall"));
    // In L1, before CR4.VMXE is 1, the handler of NMIs goes to kInNmi.
    handle(vmx::kNmi,
           ASM64("mov rax, cr4; test ah, 0x20; jne 2f; mov eax, 0x100400; jmp rax; 2: vmcall"));
    Code start = launch();
    const size_t vmlaunch = start.size() - exit_with(99).size() - ASM64("vmlaunch").size();
    start.insert(start.begin() + static_cast<ptrdiff_t>(vmlaunch), before.begin(), before.end());
    put_code(kInNmi, start);
    const RunResult result = run(enable_apic() + apic_write(0x310, 0) + apic_write(0x300, 0x4400) +
                                 block_end() + exit_with(97));
    if (record_.exits.empty()) return {};
    return {
        vmx::basic_reason(record_.exits.front().reason), record_.exits.front().guest_rip,
        result.code >> 1,
        record_.exceptions.empty() ? record_.interrupts.back().rip : record_.exceptions.back().rip};
  }
  static uint64_t guest() { return kGuest; }
};

struct BlockingKind {
  const char* name;
  uint64_t interruptibility;
  ActivityState activity = ActivityState::kActive;
  bool virtual_nmis = false;
};
const BlockingKind kBlockings[] = {
    {"none", 0},
    {"by STI", 1},
    {"by MOV SS", 2},
    {"by NMI", 8},
    {"by NMI, with virtual NMIs", 8, ActivityState::kActive, true},
    {"by STI and NMI, with virtual NMIs", 9, ActivityState::kActive, true},
    {"HLT", 0, ActivityState::kHlt},
    {"shutdown", 0, ActivityState::kShutdown},
    {"wait-for-SIPI", 0, ActivityState::kWaitForSipi},
};
// In the order of kBlockings: comes at once, after one instruction, or not at all.
enum When : uint8_t { kAtOnce, kAfterOne, kNever, kImpossible };

struct Blockable {
  const char* name;
  void (*arm)(BlockingBench&);
  ExitReason reason;  // kVmcall: that of its handler
  When when[std::size(kBlockings)];
};
constexpr ExitReason kOfItsHandler = ExitReason::kVmcall;

void send_before_entry(BlockingBench& b, uint32_t command) {
  b.before = b.before + BlockingBench::apic_write(0x300, command);
}

// With virtual NMIs none is delivered.
const Blockable kBlockables[] = {
    {"debug trap",
     [](BlockingBench& b) {
       b.set(Field::kGuestPendingDebugExceptions, 0x4000);
       b.set(Field::kGuestRflags, 0x302);
     },
     kOfItsHandler,
     {kAtOnce, kAtOnce, kAfterOne, kAtOnce, kAtOnce, kAtOnce, kAtOnce, kImpossible, kImpossible}},
    {"preemption timer",
     [](BlockingBench& b) { b.enable(PinBased::kActivatePreemptionTimer); },
     ExitReason::kPreemptionTimerExpired,
     {kAtOnce, kAtOnce, kAtOnce, kAtOnce, kAtOnce, kAtOnce, kAtOnce, kAtOnce, kNever}},
    {"NMI window",
     [](BlockingBench& b) {
       b.virtual_nmis();
       b.enable(PrimaryProcBased::kNmiWindowExiting);
     },
     ExitReason::kNmiWindow,
     {kAtOnce, kAfterOne, kAfterOne, kNever, kNever, kNever, kAtOnce, kAtOnce, kNever}},
    {"NMI that exits",
     [](BlockingBench& b) {
       b.enable(PinBased::kNmiExiting);
       send_before_entry(b, 0x4400);
     },
     ExitReason::kExceptionOrNmi,
     {kAtOnce, kAfterOne, kAfterOne, kNever, kAtOnce, kAfterOne, kAtOnce, kAtOnce, kNever}},
    {"NMI that is delivered",
     [](BlockingBench& b) { send_before_entry(b, 0x4400); },
     kOfItsHandler,
     {kAtOnce, kAfterOne, kAfterOne, kNever, kImpossible, kImpossible, kAtOnce, kAtOnce, kNever}},
    {"interrupt window",
     [](BlockingBench& b) { b.enable(PrimaryProcBased::kInterruptWindowExiting); },
     ExitReason::kInterruptWindow,
     {kAtOnce, kAfterOne, kAfterOne, kAtOnce, kAtOnce, kAfterOne, kAtOnce, kNever, kNever}},
    {"virtual interrupt",
     [](BlockingBench& b) {
       b.enable(PrimaryProcBased::kUseTprShadow);
       b.set(Field::kVirtualApicAddress, BlockingBench::kVirtualApic);
       b.enable(PinBased::kExternalInterruptExiting);
       b.enable(SecondaryProcBased::kVirtualInterruptDelivery);
       b.set(Field::kGuestInterruptStatus, BlockingBench::kVirtualVector);
     },
     kOfItsHandler,
     {kAtOnce, kAfterOne, kAfterOne, kAtOnce, kAtOnce, kAfterOne, kAtOnce, kNever, kNever}},
    {"external interrupt that exits",
     [](BlockingBench& b) {
       b.enable(PinBased::kExternalInterruptExiting);
       send_before_entry(b, 0x4041);
     },
     ExitReason::kExternalInterrupt,
     {kAtOnce, kAfterOne, kAfterOne, kAtOnce, kAtOnce, kAfterOne, kAtOnce, kNever, kNever}},
    {"external interrupt that is delivered",
     [](BlockingBench& b) { send_before_entry(b, 0x4041); },
     kOfItsHandler,
     {kAtOnce, kAfterOne, kAfterOne, kAtOnce, kAtOnce, kAfterOne, kAtOnce, kNever, kNever}},
    {"INIT",
     [](BlockingBench& b) { send_before_entry(b, 0x4500); },
     ExitReason::kInitSignal,
     {kAtOnce, kAtOnce, kAtOnce, kAtOnce, kAtOnce, kAtOnce, kAtOnce, kAtOnce, kNever}},
    {"MTF",
     [](BlockingBench& b) { b.set(Field::kVmEntryInterruptionInformation, 0x80000700); },
     ExitReason::kMonitorTrapFlag,
     {kAtOnce, kAtOnce, kAtOnce, kAtOnce, kAtOnce, kAtOnce, kAtOnce, kImpossible, kImpossible}},
};

TEST(EventBlocking, OfEachEventByEachKind) {
  for (const Blockable& due : kBlockables) {
    for (size_t i = 0; i < std::size(kBlockings); ++i) {
      const BlockingKind& blocking = kBlockings[i];
      const When when = due.when[i];
      if (when == kImpossible) continue;
      SCOPED_TRACE(std::string(due.name) + " and blocking: " + blocking.name);
      BlockingBench bench;
      if (blocking.virtual_nmis) bench.virtual_nmis();
      due.arm(bench);
      bench.set(Field::kGuestInterruptibilityState, blocking.interruptibility);
      bench.set(Field::kGuestActivityState, static_cast<uint64_t>(blocking.activity));
      const BlockingBench::Seen seen = bench.enter();
      if (when == kNever) {
        // An active processor goes on to CPUID.
        const bool active = blocking.activity == ActivityState::kActive;
        EXPECT_EQ(seen.reason, active ? std::optional(ExitReason::kCpuid) : std::nullopt);
        continue;
      }
      ASSERT_TRUE(seen.reason);
      EXPECT_EQ(vmx::exit_reason_name(static_cast<uint32_t>(*seen.reason)),
                vmx::exit_reason_name(static_cast<uint32_t>(due.reason)));
      const uint64_t at = BlockingBench::guest() + (when == kAfterOne ? 1 : 0);
      if (due.reason == kOfItsHandler) {
        EXPECT_EQ(seen.delivered_at, at);
        continue;
      }
      EXPECT_EQ(seen.rip, at);
      // A VM exit that an event causes directly finds the processor as it was.
      EXPECT_EQ(seen.activity, static_cast<uint64_t>(blocking.activity));
    }
  }
}

}  // namespace
}  // namespace nestor::emu
