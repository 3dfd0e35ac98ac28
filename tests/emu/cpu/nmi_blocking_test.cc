// SPDX-License-Identifier: GPL-2.0-or-later
//
// What an NMI that is pending at a VM entry comes to, by the two controls, blocking by NMI and the
// injection of another NMI ("Definitions of Pin-Based VM-Execution Controls", "Interruptibility
// State", "Vectored-Event Injection", "Changes to Instruction Behavior in VMX Non-Root Operation":
// IRET); and how VM exits leave the blocking behind.
#include "tests/emu/l0/nested_machine_fixture.h"

namespace nestor::emu {
namespace {

using vmx::ExitReason;
using vmx::Field;
using vmx::PinBased;

class NmiBench : public NestedMachineTest {
 public:
  // What comes next in L1, within the handler of its first NMI.
  static constexpr uint32_t kInNmi = 0x100400;
  static_assert(kInNmi == kCode + 0x400);
  static constexpr uint32_t kByNmi = 8, kNmiEvent = 0x80000202;
  static constexpr uint64_t kNmiHandler = kHandlers + 0x40 * vmx::kNmi;

  void TestBody() override {}

  NmiBench(bool exiting, bool virtual_nmis) {
    if (exiting) enable(PinBased::kNmiExiting);
    if (virtual_nmis) enable(PinBased::kVirtualNmis);
    handle(vmx::kNmi, kIretq);
  }
  using NestedMachineTest::enable;
  using NestedMachineTest::handle;
  void set(Field field, uint64_t value) { vmcs_.write(field, value); }

  static uint64_t guest() { return kGuest; }
  static Code field(Field f) { return exit_with_field(f); }
  // Sends an NMI to this processor.
  static Code nmi() {
    return apic_write(0x310, 0) + apic_write(0x300, 0x4400) + block_end() + kNop;
  }
  static Code iret_in_place() {
    return ASM64(
        "mov eax, ss; push rax; lea rcx, [rsp + 8]; push rcx; pushfq; mov eax, cs; push rax; "
        "call 2f; jmp 3f; 2: iretq; 3:");
  }
  static Code end(uint32_t value) { return exit_with(value); }

  RunResult run_both(const Code& guest, const Code& handler) {
    return run_guest(guest, enable_apic() + handler + exit_with(0));
  }
  // Enters the guest from within an NMI handler of L1, with another NMI pending; `handler`: where
  // VM exits lead.
  RunResult enter_with_nmi(const Code& guest, const Code& handler) {
    put_guest(guest, handler);
    // Only the first NMI, before CR4.VMXE is set, goes there. The others return.
    handle(vmx::kNmi,
           ASM64("mov rax, cr4; test ah, 0x20; jne 2f; mov eax, 0x100400; jmp rax; 2: iretq"));
    put_code(kInNmi, nmi() + launch());
    return run(enable_apic() + nmi() + exit_with(97));
  }
  // The first NMI leads to kInNmi, a second one ends the run with 2.
  RunResult run_handler(const Code& before, const Code& code) {
    handle(vmx::kNmi, ASM64("mov eax, 0x100400; jmp rax"));
    put_code(kInNmi, ASM64("inc r15d; cmp r15d, 2; jne 2f; mov eax, 2; out 0xf4, eax; 2:") + code);
    put(0xb000, kVmxonRegion);
    put(kVmxonRegion, vmcs_.revision_id);
    return run(enable_apic() + before + nmi() + exit_with(97));
  }

  // Without the first one, which is L1's.
  size_t nmis() const { return record_.interrupts.size() - 1; }
  size_t all_nmis() const { return record_.interrupts.size(); }
  std::optional<vmx::VmExitEvent> exit() const {
    if (record_.exits.empty()) return std::nullopt;
    return record_.exits.front();
  }
};

// What the pending one comes to.
enum class Nmi : uint8_t {
  kExits,      // at once, or behind the delivery of the injected one
  kDelivered,  // at once, or behind the IRET of the injected one's handler
  kHeldBack,   // until the VM exit
};
struct NmiRow {
  const char* name;
  bool exiting, virtual_nmis, blocked, injected;
  Nmi pending;
  uint32_t saved;  // interruptibility, at the first VM exit
};
constexpr NmiRow kNmiRows[] = {
    {"delivered", false, false, false, false, Nmi::kDelivered, 0},
    {"delivered, blocked", false, false, true, false, Nmi::kHeldBack, NmiBench::kByNmi},
    {"delivered, injected", false, false, false, true, Nmi::kDelivered, 0},
    {"delivered, blocked and injected", false, false, true, true, Nmi::kDelivered, 0},
    {"exiting", true, false, false, false, Nmi::kExits, 0},
    {"exiting, blocked", true, false, true, false, Nmi::kHeldBack, NmiBench::kByNmi},
    // IRET takes no blocking off there.
    {"exiting, injected", true, false, false, true, Nmi::kHeldBack, NmiBench::kByNmi},
    {"exiting, blocked and injected", true, false, true, true, Nmi::kHeldBack, NmiBench::kByNmi},
    {"virtual", true, true, false, false, Nmi::kExits, 0},
    {"virtual, blocked", true, true, true, false, Nmi::kExits, NmiBench::kByNmi},
    {"virtual, injected", true, true, false, true, Nmi::kExits, NmiBench::kByNmi},
    // "virtual, blocked and injected" fails a check of VM entry.
};

TEST(NmiBlocking, OfANmiThatIsPendingAtVmEntry) {
  for (const NmiRow& row : kNmiRows) {
    SCOPED_TRACE(row.name);
    NmiBench bench(row.exiting, row.virtual_nmis);
    if (row.blocked) bench.set(Field::kGuestInterruptibilityState, NmiBench::kByNmi);
    if (row.injected) bench.set(Field::kVmEntryInterruptionInformation, NmiBench::kNmiEvent);
    const RunResult result = bench.enter_with_nmi(
        ASM64("nop; cpuid"), NmiBench::field(Field::kGuestInterruptibilityState));
    ASSERT_TRUE(bench.exit()) << result.detail;
    EXPECT_EQ(result.code >> 1, row.saved);
    const size_t injected = row.injected ? 1 : 0;
    if (row.pending == Nmi::kExits) {
      EXPECT_EQ(bench.exit()->interruption_information, NmiBench::kNmiEvent);
      EXPECT_EQ(bench.exit()->guest_rip, row.injected ? NmiBench::kNmiHandler : NmiBench::guest());
      EXPECT_EQ(bench.nmis(), injected);
      continue;
    }
    EXPECT_EQ(vmx::basic_reason(bench.exit()->reason), ExitReason::kCpuid);
    EXPECT_EQ(bench.exit()->guest_rip, NmiBench::guest() + 1);
    EXPECT_EQ(bench.nmis(), injected + (row.pending == Nmi::kDelivered ? 1 : 0));
  }
}

// A guest in HLT, from the VM entry on. What is held back leaves it there.
TEST(NmiBlocking, OfANmiThatIsPendingAtVmEntryToHlt) {
  using vmx::ActivityState;
  for (const NmiRow& row : kNmiRows) {
    if (row.injected) continue;  // that ends HLT
    SCOPED_TRACE(row.name);
    NmiBench bench(row.exiting, row.virtual_nmis);
    bench.enable(PinBased::kActivatePreemptionTimer);
    bench.set(Field::kVmxPreemptionTimerValue, 10'000);
    bench.set(Field::kGuestActivityState, static_cast<uint64_t>(ActivityState::kHlt));
    if (row.blocked) bench.set(Field::kGuestInterruptibilityState, NmiBench::kByNmi);
    const RunResult result =
        bench.enter_with_nmi(ASM64("nop; cpuid"), NmiBench::field(Field::kGuestActivityState));
    ASSERT_TRUE(bench.exit()) << result.detail;
    ExitReason reason = ExitReason::kExceptionOrNmi;
    if (row.pending == Nmi::kDelivered) reason = ExitReason::kCpuid;
    if (row.pending == Nmi::kHeldBack) reason = ExitReason::kPreemptionTimerExpired;
    EXPECT_EQ(vmx::basic_reason(bench.exit()->reason), reason);
    const auto activity =
        row.pending == Nmi::kDelivered ? ActivityState::kActive : ActivityState::kHlt;
    EXPECT_EQ(result.code >> 1, static_cast<uint32_t>(activity));
  }
}

// VM exits that no NMI causes do not affect blocking by NMI; in a guest with virtual NMIs there is
// none ("Updating Non-Register State").
TEST(NmiBlocking, BehindAVmExit) {
  for (const bool virtual_nmis : {false, true}) {
    for (const bool blocked : {false, true}) {
      SCOPED_TRACE(testing::Message() << "virtual NMIs " << virtual_nmis << " blocked " << blocked);
      NmiBench bench(true, virtual_nmis);
      if (blocked) bench.set(Field::kGuestInterruptibilityState, NmiBench::kByNmi);
      bench.run_both(ASM64("cpuid"), NmiBench::nmi());
      EXPECT_EQ(bench.all_nmis(), blocked && !virtual_nmis ? 0u : 1u);
    }
  }
}

// An NMI that causes its VM exit blocks others in L1, until L1's IRET.
TEST(NmiBlocking, BehindAVmExitByAnNmi) {
  for (const bool iret : {false, true}) {
    NmiBench bench(true, true);
    const Code unblock = iret ? NmiBench::iret_in_place() : Code{};
    const RunResult result =
        bench.enter_with_nmi(ASM64("nop"), NmiBench::nmi() + unblock + NmiBench::end(5));
    EXPECT_EQ(result.code >> 1, 5u) << result.detail;
    EXPECT_EQ(bench.nmis(), iret ? 1u : 0u);
  }
}

// HLT and MWAIT in the handler are left by no NMI, in VMX root operation and outside VMX operation.
TEST(NmiBlocking, OutsideNonRootOperation) {
  const Code vmxon = ASM64(
      "mov ecx, 0x3a; mov eax, 5; xor edx, edx; wrmsr; mov rax, cr4; or eax, 0x2000; "
      "mov cr4, rax; vmxon [0xb000]");
  const Code mwait = ASM64("mov eax, 0x80000; xor ecx, ecx; xor edx, edx; monitor; mwait");
  for (const Code& before : {Code{}, vmxon}) {
    for (const Code& wait : {ASM64("hlt"), mwait}) {
      EXPECT_EQ(NmiBench(false, false).run_handler(before, NmiBench::nmi() + wait).kind,
                RunResult::Kind::kHaltedForever);
      const RunResult unblocked =
          NmiBench(false, false)
              .run_handler(before, NmiBench::nmi() + NmiBench::iret_in_place() + wait);
      EXPECT_EQ(unblocked.code >> 1, 2u) << unblocked.detail;
    }
  }
}

}  // namespace
}  // namespace nestor::emu
