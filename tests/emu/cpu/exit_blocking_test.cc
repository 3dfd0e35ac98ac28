// SPDX-License-Identifier: GPL-2.0-or-later
//
// The interruptibility and activity that VM exits save, direct and indirect ones ("Architectural
// State Before a VM Exit", "Saving Non-Register State"), and NMI unblocking due to IRET.
#include "tests/emu/l0/nested_machine_fixture.h"

namespace nestor::emu {
namespace {

using vmx::ExitReason;
using vmx::Field;
using vmx::PinBased;
using vmx::PrimaryProcBased;

const Code kMovSs = ASM64("mov eax, 16; mov ss, eax"), kUd2 = ASM64("ud2");
constexpr uint32_t kBySti = 1, kByMovSs = 2, kByNmi = 8;
constexpr uint64_t kNmiUnblocking = 1u << 12;
constexpr uint32_t kNmiEvent = 0x80000202;

class ExitBlocking : public NestedMachineTest {
 protected:
  // The linear and guest-physical address of a page that EPT does not map.
  static constexpr uint64_t kHole = 0x30000;

  ExitBlocking() {
    enable_ept();
    map_guest(kHole, 0);
    cpu_.gpr[vmx::kRsi] = kHole;
  }
  // Stops the guest with the first VM exit; the value of `field`.
  uint32_t field_at_exit(const Code& guest, Field field) {
    const RunResult result = run_guest(guest, exit_with_field(field));
    return result.code >> 1;
  }
  uint32_t interruptibility_after(const Code& guest) {
    return field_at_exit(guest, Field::kGuestInterruptibilityState);
  }
  ExitReason reason() const {
    return record_.exits.empty() ? ExitReason{}
                                 : static_cast<ExitReason>(record_.exits[0].reason & 0xffff);
  }
  // Pushes of event delivery go to the hole.
  void lose_the_stack() { vmcs_.write(Field::kGuestRsp, kHole + 0x800); }
  void intercept(unsigned vector) { vmcs_.write(Field::kExceptionBitmap, 1u << vector); }
  // Sends an NMI to this processor.
  static Code nmi() {
    return enable_apic() + apic_write(0x310, 0) + apic_write(0x300, 0x4400) + block_end() + kNop;
  }
};

TEST_F(ExitBlocking, InstructionsThatExitKeepTheirShadows) {
  enable(PrimaryProcBased::kHltExiting);
  const Code load = ASM64("mov al, [rsi]");
  for (const Code& code : {kCpuid, kHlt, load}) {
    // The shadow of MOV SS holds with interrupts disabled as well.
    EXPECT_EQ(interruptibility_after(kSti + code), kBySti) << testing::PrintToString(code);
    EXPECT_EQ(interruptibility_after(kMovSs + code), kByMovSs) << testing::PrintToString(code);
    EXPECT_EQ(interruptibility_after(kSti + kNop + code), 0u) << testing::PrintToString(code);
    EXPECT_EQ(interruptibility_after(kMovSs + kNop + code), 0u) << testing::PrintToString(code);
  }
}

TEST_F(ExitBlocking, AnExceptionThatExitsKeepsTheShadowAndOneThatDoesIndirectlyDoesNot) {
  for (const auto& [shadow, blocking] : {std::pair(kSti, kBySti), std::pair(kMovSs, kByMovSs)}) {
    intercept(vmx::kUd);
    EXPECT_EQ(interruptibility_after(shadow + kUd2), blocking);
    // #GP, as there is no gate.
    intercept(vmx::kGp);
    EXPECT_EQ(interruptibility_after(shadow + kUd2), 0u);
    EXPECT_EQ(record_.exits[0].idt_vectoring_information, 0x80000306u);
    // An EPT violation.
    vmcs_.write(Field::kExceptionBitmap, 0);
    handle(vmx::kUd, kNop);
    lose_the_stack();
    EXPECT_EQ(interruptibility_after(shadow + kUd2), 0u);
    EXPECT_EQ(reason(), ExitReason::kEptViolation);
    vmcs_.write(Field::kGuestRsp, kKernelStack);
    put<uint64_t>(kIdt + 16 * vmx::kUd, 0);
  }
}

TEST_F(ExitBlocking, DoubleAndTripleFaultsEndTheShadow) {
  // mov al, [rsi] faults, and there is no gate.
  map(kHole, 0);
  for (const Code& shadow : {kSti, kMovSs}) {
    const Code guest = shadow + ASM64("mov al, [rsi]");
    intercept(vmx::kDf);
    EXPECT_EQ(interruptibility_after(guest), 0u);
    EXPECT_EQ(record_.exits[0].interruption_information, 0x80000b08u);
    EXPECT_EQ(record_.exits[0].idt_vectoring_information, 0u);
    vmcs_.write(Field::kExceptionBitmap, 0);
    EXPECT_EQ(interruptibility_after(guest), 0u);
    EXPECT_EQ(reason(), ExitReason::kTripleFault);
  }
}

TEST_F(ExitBlocking, AnInterruptThatExitsIndirectlyHasEndedHlt) {
  // sti; hlt, with an interrupt pending whose gate leads to a lost stack.
  handle(0x41, kNop);
  lose_the_stack();
  const Code guest = enable_apic() + apic_write(0x310, 0) + apic_write(0x300, 0x4041) + kSti + kHlt;
  EXPECT_EQ(field_at_exit(guest, Field::kGuestActivityState), 0u);
  EXPECT_EQ(reason(), ExitReason::kEptViolation);
  EXPECT_EQ(record_.exits[0].idt_vectoring_information, 0x80000041u);
  EXPECT_EQ(record_.exits[0].guest_rip, kGuest + guest.size());
  EXPECT_EQ(interruptibility_after(guest), 0u);
}

TEST_F(ExitBlocking, AnNmiThatExitsIndirectlyBlocksNmis) {
  handle(vmx::kNmi, kNop);
  lose_the_stack();
  EXPECT_EQ(interruptibility_after(nmi()), kByNmi);
  EXPECT_EQ(reason(), ExitReason::kEptViolation);
  EXPECT_EQ(record_.exits[0].idt_vectoring_information, kNmiEvent);
  // A fault, by itself and as the handler of it.
  vmcs_.write(Field::kGuestRsp, kKernelStack);
  put<uint64_t>(kIdt + 16 * vmx::kNmi, 0);
  intercept(vmx::kGp);
  EXPECT_EQ(interruptibility_after(nmi()), kByNmi);
  vmcs_.write(Field::kExceptionBitmap, 0);
  handle(vmx::kGp, kCpuid);
  EXPECT_EQ(interruptibility_after(nmi()), kByNmi);
  EXPECT_EQ(reason(), ExitReason::kCpuid);
}

TEST_F(ExitBlocking, AnNmiThatExitsDirectlyBlocksNmisBehindTheExit) {
  enable(PinBased::kNmiExiting);
  EXPECT_EQ(interruptibility_after(nmi()), 0u);
  EXPECT_EQ(record_.exits[0].interruption_information, kNmiEvent);
}

TEST_F(ExitBlocking, AnInjectedNmiBlocksNmisOrVirtualNmis) {
  handle(vmx::kNmi, kNop);
  lose_the_stack();
  for (const bool virtual_nmis : {false, true}) {
    if (virtual_nmis) {
      enable(PinBased::kNmiExiting);
      enable(PinBased::kVirtualNmis);
    }
    vmcs_.write(Field::kVmEntryInterruptionInformation, kNmiEvent);
    EXPECT_EQ(interruptibility_after(kNop), kByNmi);
    EXPECT_EQ(reason(), ExitReason::kEptViolation);
  }
}

TEST_F(ExitBlocking, InjectionSavesRfAsItIs) {
  handle(vmx::kUd, kNop);
  lose_the_stack();
  for (const uint32_t rflags : {0x2u, 0x10002u}) {
    vmcs_.write(Field::kGuestRflags, rflags);
    vmcs_.write(Field::kVmEntryInterruptionInformation, 0x80000306);
    EXPECT_EQ(field_at_exit(kNop, Field::kGuestRflags), rflags);
    EXPECT_EQ(reason(), ExitReason::kEptViolation);
  }
  // But a fault of the guest's own pushes 1.
  vmcs_.write(Field::kGuestRflags, 2);
  vmcs_.write(Field::kVmEntryInterruptionInformation, 0);
  EXPECT_EQ(field_at_exit(kUd2, Field::kGuestRflags), 0x10002u);
}

// --- "Information About NMI Unblocking Due to IRET"

class IretUnblocking : public ExitBlocking,
                       public testing::WithParamInterface<bool /* virtual NMIs */> {
 protected:
  IretUnblocking() {
    if (GetParam()) {
      enable(PinBased::kNmiExiting);
      enable(PinBased::kVirtualNmis);
    }
    vmcs_.write(Field::kGuestInterruptibilityState, kByNmi);
  }
};

TEST_P(IretUnblocking, AnEptViolationReportsIt) {
  lose_the_stack();
  EXPECT_EQ(interruptibility_after(kIretq), 0u);
  ASSERT_EQ(reason(), ExitReason::kEptViolation);
  EXPECT_EQ(record_.exits[0].qualification & kNmiUnblocking, kNmiUnblocking);
  // What was not blocked is not unblocked, and a pop unblocks nothing.
  vmcs_.write(Field::kGuestInterruptibilityState, 0);
  EXPECT_EQ(interruptibility_after(kIretq), 0u);
  EXPECT_EQ(record_.exits[0].qualification & kNmiUnblocking, 0u);
  vmcs_.write(Field::kGuestInterruptibilityState, kByNmi);
  EXPECT_EQ(interruptibility_after(ASM64("pop rax")), kByNmi);
  EXPECT_EQ(record_.exits[0].qualification & kNmiUnblocking, 0u);
}

TEST_P(IretUnblocking, AFaultReportsIt) {
  map(kHole, 0);
  lose_the_stack();
  intercept(vmx::kPf);
  EXPECT_EQ(interruptibility_after(kIretq), 0u);
  EXPECT_EQ(record_.exits[0].interruption_information, 0x80000b0e | kNmiUnblocking);
}

TEST_P(IretUnblocking, AnEptMisconfigurationHasNoBitForIt) {
  map_guest(kHole, kHole | 2);  // writable, not readable
  lose_the_stack();
  EXPECT_EQ(interruptibility_after(kIretq), 0u);
  EXPECT_EQ(reason(), ExitReason::kEptMisconfiguration);
  EXPECT_EQ(record_.exits[0].qualification, 0u);
}

// With valid IDT-vectoring information, and for a double fault, the bit is undefined: it is 0.
TEST_P(IretUnblocking, EventsThatComeOfTheFaultDoNotReportIt) {
  map(kHole, 0);
  lose_the_stack();
  handle(vmx::kPf, kNop);
  intercept(vmx::kDf);  // the stack is lost for the handler, too
  EXPECT_EQ(interruptibility_after(kIretq), 0u);
  EXPECT_EQ(record_.exits[0].interruption_information, 0x80000b08u);
  put<uint64_t>(kIdt + 16 * vmx::kPf, 0);
  intercept(vmx::kGp);
  EXPECT_EQ(interruptibility_after(kIretq), 0u);
  EXPECT_EQ(record_.exits[0].interruption_information, 0x80000b0du);
  EXPECT_EQ(record_.exits[0].idt_vectoring_information, 0x80000b0eu);
}

INSTANTIATE_TEST_SUITE_P(Nmis, IretUnblocking, testing::Bool());

}  // namespace
}  // namespace nestor::emu
