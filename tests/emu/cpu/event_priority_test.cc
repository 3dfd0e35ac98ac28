// SPDX-License-Identifier: GPL-2.0-or-later
//
// Two events are due at the same boundary, the first one of a guest: the one that the SDM puts
// first wins ("Priority Among Concurrent Events", "Event Injection" and what follows VM entry).
#include <iterator>

#include "tests/emu/l0/nested_machine_fixture.h"

namespace nestor::emu {
namespace {

using vmx::ExitReason;
using vmx::Field;
using vmx::PinBased;
using vmx::PrimaryProcBased;
using vmx::SecondaryProcBased;

class Boundary : public NestedMachineTest {
 public:
  void TestBody() override {}

  static constexpr uint8_t kVirtualVector = 0x45;
  static constexpr uint64_t kVirtualHandler = kHandlers + 0x40 * kVirtualVector;
  static constexpr uint64_t kVirtualApic = kScratch, kAccessPage = kScratch + kPage;

  // What L1 does with NMIs blocked, right before it enters VMX operation and the guest.
  Code before;

  Boundary() { vmcs_.write(Field::kGuestRflags, 0x202); }
  void set(Field field, uint64_t value) { vmcs_.write(field, value); }
  uint64_t vmcs(Field field) const { return vmcs_[field]; }
  using NestedMachineTest::apic_write;
  using NestedMachineTest::enable;

  void use_virtual_apic() {
    enable(PrimaryProcBased::kUseTprShadow);
    set(Field::kVirtualApicAddress, kVirtualApic);
  }
  // The first VM exit.
  std::optional<vmx::VmExitEvent> enter() {
    constexpr uint64_t kInNmi = kCode + 0x400;
    static_assert(kInNmi == 0x100400);
    put_guest(ASM64("nop; hlt"), exit_with(0));
    handle(kVirtualVector, ASM64("cpuid"));
    // The handler of an NMI blocks others, and goes to kInNmi.
    handle(vmx::kNmi, ASM64("mov eax, 0x100400; jmp rax"));
    // VMXON comes first: in VMX root operation INIT is blocked.
    Code start = launch();
    const size_t vmlaunch = start.size() - exit_with(99).size() - 3;
    start.insert(start.begin() + static_cast<ptrdiff_t>(vmlaunch), before.begin(), before.end());
    put_code(kInNmi, start);
    run(enable_apic() + apic_write(0x310, 0) + apic_write(0x300, 0x4400) + block_end() +
        exit_with(97));
    if (record_.exits.empty()) return std::nullopt;
    return record_.exits.front();
  }
};

struct Due {
  const char* name;
  void (*arm)(Boundary&);
  ExitReason reason;
  uint32_t interruption = 0;
};

// From the highest priority on.
const Due kEvents[] = {
    {"TPR threshold",
     [](Boundary& b) {
       b.use_virtual_apic();
       b.enable(SecondaryProcBased::kVirtualizeApicAccesses);
       b.set(Field::kApicAccessAddress, Boundary::kAccessPage);
       b.set(Field::kTprThreshold, 1);
     },
     ExitReason::kTprBelowThreshold},
    {"INIT", [](Boundary& b) { b.before = b.before + Boundary::apic_write(0x300, 0x4500); },
     ExitReason::kInitSignal},
    {"MTF", [](Boundary& b) { b.set(Field::kVmEntryInterruptionInformation, 0x80000700); },
     ExitReason::kMonitorTrapFlag},
    {"debug trap",
     [](Boundary& b) {
       b.set(Field::kExceptionBitmap, 1u << vmx::kDb);
       b.set(Field::kGuestPendingDebugExceptions, 0x4000);
     },
     ExitReason::kExceptionOrNmi, 0x80000301},
    {"preemption timer", [](Boundary& b) { b.enable(PinBased::kActivatePreemptionTimer); },
     ExitReason::kPreemptionTimerExpired},
    {"NMI window",
     [](Boundary& b) {
       b.enable(PinBased::kNmiExiting);
       b.enable(PinBased::kVirtualNmis);
       b.enable(PrimaryProcBased::kNmiWindowExiting);
     },
     ExitReason::kNmiWindow},
    {"NMI",
     [](Boundary& b) {
       b.enable(PinBased::kNmiExiting);
       b.before = b.before + Boundary::apic_write(0x300, 0x4400);
     },
     ExitReason::kExceptionOrNmi, 0x80000202},
    {"interrupt window", [](Boundary& b) { b.enable(PrimaryProcBased::kInterruptWindowExiting); },
     ExitReason::kInterruptWindow},
    // Its handler executes CPUID.
    {"virtual interrupt",
     [](Boundary& b) {
       b.use_virtual_apic();
       b.enable(PinBased::kExternalInterruptExiting);
       b.enable(SecondaryProcBased::kVirtualInterruptDelivery);
       b.set(Field::kGuestInterruptStatus, Boundary::kVirtualVector);
     },
     ExitReason::kCpuid},
    {"external interrupt",
     [](Boundary& b) {
       b.enable(PinBased::kExternalInterruptExiting);
       b.before = b.before + Boundary::apic_write(0x300, 0x4041);
     },
     ExitReason::kExternalInterrupt},
};

TEST(EventPriority, EachEventAlone) {
  for (const Due& due : kEvents) {
    SCOPED_TRACE(due.name);
    Boundary boundary;
    due.arm(boundary);
    const auto exit = boundary.enter();
    ASSERT_TRUE(exit);
    EXPECT_EQ(vmx::exit_reason_name(exit->reason),
              vmx::exit_reason_name(static_cast<uint32_t>(due.reason)));
    EXPECT_EQ(exit->interruption_information, due.interruption);
  }
}

TEST(EventPriority, OfTwoEventsTheFirstOneOfTheList) {
  for (size_t i = 0; i < std::size(kEvents); ++i) {
    for (size_t j = i + 1; j < std::size(kEvents); ++j) {
      const Due &first = kEvents[i], &second = kEvents[j];
      SCOPED_TRACE(std::string(first.name) + " and " + second.name);
      Boundary boundary;
      first.arm(boundary);
      second.arm(boundary);
      // With "virtual-interrupt delivery" there is no TPR threshold.
      if (is_set(boundary.vmcs(Field::kSecondaryProcBasedControls),
                 SecondaryProcBased::kVirtualInterruptDelivery) &&
          first.reason == ExitReason::kTprBelowThreshold) {
        continue;
      }
      const auto exit = boundary.enter();
      ASSERT_TRUE(exit);
      if (first.reason == ExitReason::kCpuid) {
        // It was delivered; the external interrupt exits before its handler begins.
        EXPECT_EQ(exit->guest_rip, Boundary::kVirtualHandler);
        continue;
      }
      EXPECT_EQ(vmx::exit_reason_name(exit->reason),
                vmx::exit_reason_name(static_cast<uint32_t>(first.reason)));
      EXPECT_EQ(exit->interruption_information, first.interruption);
    }
  }
}

}  // namespace
}  // namespace nestor::emu
