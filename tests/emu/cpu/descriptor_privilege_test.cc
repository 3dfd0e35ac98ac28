// SPDX-License-Identifier: GPL-2.0-or-later
//
// With which rights a whole machine accesses descriptor tables, the TSS and inner stacks, and that
// nothing of that is left for the code itself.
#include "emu/machine/inspection.h"
#include "tests/emu/l0/nested_machine_fixture.h"

namespace nestor::emu {
namespace {

using testing::ElementsAre;
using testing::Pair;
using vmx::ExitReason;
using vmx::Field;

class DescriptorPrivilege : public NestedMachineTest {
 protected:
  // Pages for an LDT and for the stack of level 0, between ones that nothing else uses.
  static constexpr uint64_t kLdt = 0x81000, kInnerStack = 0x83000;
  static constexpr uint64_t kSupervisor = kPresent | kWritable;
  static constexpr uint16_t kLdtData = 0x07, kLdtCode = 0x0f, kGate = 0x43;

  DescriptorPrivilege() {
    cpu_.segment[vmx::kLdtr] = {0x58, vmx::AccessRights{0x82}, 0xf, kLdt};
    put(kLdt, 0x00cff2000000ffff);
    put(kLdt + 8, 0x00affa000000ffff);
    // A call gate of 16 bytes to kHandlers.
    put(kGdt + (kGate & ~3u), 0x0000ec0000188000 | (kHandlers >> 16 & 0xffff) << 48);
    put(kGdt + (kGate & ~3u) + 8, uint64_t{0});
    cpu_.gdtr.limit = 0x4f;
    handle(vmx::kPf, exit_with(14));
  }
  // Far pointers to the LDT's segments, and to the gate.
  void put_pointers() {
    put<uint32_t>(kData, 0);
    put<uint16_t>(kData + 4, kLdtData);
    put<uint32_t>(kData + 8, kCode + 0x100);
    put<uint16_t>(kData + 12, kLdtCode);
    put<uint16_t>(kData + 20, kGate);
    put_code(kCode + 0x100, after_);
  }
  // Each instruction that finds a descriptor in the LDT, and goes on at `after_`, which is at
  // kCode + 0x100 for those that go elsewhere.
  std::vector<Code> uses() const {
    const Code select = ASM64("mov eax, 7");
    return {
        select + ASM64("mov ds, eax"),
        select + ASM64("push rax; pop gs"),
        ASM64("lfs ecx, [0x80000]"),
        select + ASM64("lar ecx, eax"),
        select + ASM64("lsl ecx, eax"),
        select + ASM64("verr ax"),
        select + ASM64("verw ax"),
        ASM64("jmp fword ptr [0x80008]"),
        ASM64("call fword ptr [0x80008]"),
        ASM64("push 15; push 0x100100; retfq"),
        ASM64("mov rax, rsp; push 7; push rax; push 2; push 15; push 0x100100; iretq"),
    };
  }
  // What comes behind them.
  Code after_;
};

TEST_F(DescriptorPrivilege, TablesOnSupervisorPagesAreForTheProcessorOnly) {
  enter_user_mode();
  map(kLdt, kLdt | kSupervisor);
  map(kGdt, kGdt | kSupervisor);
  struct Case {
    Code access;
    uint32_t error;
    uint64_t address;
  };
  const Case kAccesses[] = {
      {ASM64("mov ecx, [0x81000]"), 5, kLdt},
      {ASM64("mov [0x81008], ecx"), 7, kLdt + 8},
      {ASM64("mov ecx, [0x1018]"), 5, kGdt + 0x18},
      {ASM64("inc byte ptr [0x1020]"), 7, kGdt + 0x20},
  };
  for (const auto& [access, error, address] : kAccesses) {
    after_ = access;
    for (const Code& use : uses()) {
      SCOPED_TRACE(testing::PrintToString(use));
      put_pointers();
      EXPECT_EQ(run(use + access).code, status(14));
      ASSERT_EQ(record_.exceptions.size(), 1u);
      EXPECT_EQ(record_.exceptions[0].error_code, error);
      EXPECT_EQ(record_.exceptions[0].cr2, address);
    }
  }
}

TEST_F(DescriptorPrivilege, MissingPagesOfTablesAreSupervisorFaults) {
  enter_user_mode();
  map(kLdt, 0);
  for (const Code& use : uses()) {
    SCOPED_TRACE(testing::PrintToString(use));
    put_pointers();
    EXPECT_EQ(run(use).code, status(14));
    ASSERT_EQ(record_.exceptions.size(), 1u);
    EXPECT_EQ(record_.exceptions[0].error_code, 0u);
    EXPECT_EQ(record_.exceptions[0].cr2 & ~0xfull, kLdt);
  }
}

TEST_F(DescriptorPrivilege, TheAccessedFlagNeedsAWritablePage) {
  enter_user_mode();
  for (const bool set : {false, true}) {
    map(kLdt, kLdt | kPresent | (set ? 0 : kUser));
    put(kLdt, set ? 0x00cff3000000ffff : 0x00cff2000000ffff);
    put(kLdt + 8, set ? 0x00affb000000ffff : 0x00affa000000ffff);
    after_ = exit_with(0) + ASM64("2: jmp 2b");  // OUT is #GP at level 3
    handle(vmx::kGp, exit_with(13));
    const auto list = uses();
    for (size_t i = 0; i < list.size(); ++i) {
      SCOPED_TRACE(i);
      put_pointers();
      const bool writes = !set && (i < 3 || i > 6);
      EXPECT_EQ(run(list[i] + after_).code, status(writes ? 14 : 13));
      if (!writes) continue;
      ASSERT_EQ(record_.exceptions.size(), 1u);
      EXPECT_EQ(record_.exceptions[0].error_code, 3u) << "a supervisor write";
      EXPECT_EQ(record_.exceptions[0].cr2 & 7, 5u);
    }
  }
}

TEST_F(DescriptorPrivilege, SmapHoldsForImplicitAccessesWhateverAcIs) {
  cpu_.cr4 |= vmx::cr4::kSmap;
  // All that level 0 needs is on supervisor pages, but for the LDT.
  for (uint64_t page = 0; page < 512; ++page) map(page << 12, (page << 12) | kSupervisor);
  put(kLdt, 0x00cf92000000ffff);
  put(kLdt + 8, 0x00af9a000000ffff);
  put<uint16_t>(kData + 4, 4);
  for (const bool ac : {false, true}) {
    cpu_.rflags = 2 | (ac ? vmx::rflags::kAc : 0);
    for (const bool user : {false, true}) {
      map(kLdt, kLdt | (user ? kAll : kSupervisor));
      after_ = exit_with(5);
      for (const Code& use : {ASM64("mov eax, 4; mov ds, eax"), ASM64("mov eax, 4; mov ss, eax"),
                              ASM64("mov eax, 4; lsl ecx, eax"), ASM64("lgs ecx, [0x80000]"),
                              ASM64("push 12; push 0x100100; retfq")}) {
        SCOPED_TRACE(testing::Message() << ac << user << testing::PrintToString(use));
        put_pointers();
        put<uint16_t>(kData + 4, 4);
        EXPECT_EQ(run(use + after_).code, status(user ? 14 : 5));
        if (!user) continue;
        ASSERT_EQ(record_.exceptions.size(), 1u);
        EXPECT_EQ(record_.exceptions[0].error_code, 1u);
        EXPECT_EQ(record_.exceptions[0].cr2 & ~0xfull, kLdt);
      }
    }
  }
}

TEST_F(DescriptorPrivilege, InnerStacksAreSupervisorPages) {
  enter_user_mode();
  put(kTss + 4, kInnerStack);
  put_pointers();
  put_code(kHandlers, exit_with(3));
  const Code call = ASM64("call fword ptr [0x80010]");
  for (const uint64_t page : {kGdt, kTss, kInnerStack - kPage}) map(page, page | kSupervisor);
  EXPECT_EQ(run(call).code, status(3));
  // Its page faults are those of a supervisor write, and nothing has happened before.
  map(kInnerStack - kPage, 0);
  put(kTss + 36, kKernelStack);  // IST1, for the handler
  put<uint8_t>(kIdt + 16 * vmx::kPf + 4, 1);
  handle(vmx::kPf, ASM64("mov eax, [rsp + 16]; out 0xf4, eax"));
  put<uint8_t>(kIdt + 16 * vmx::kPf + 4, 1);
  EXPECT_EQ(run(call).code, status(kUserCode));
  ASSERT_EQ(record_.exceptions.size(), 1u);
  EXPECT_EQ(record_.exceptions[0], (Exception{vmx::kPf, 2, kCode, kInnerStack - 8}));
}

TEST_F(DescriptorPrivilege, SmapHoldsForPushesOnAnInnerStack) {
  enter_user_mode();
  cpu_.cr4 |= vmx::cr4::kSmap;
  cpu_.rflags |= vmx::rflags::kAc;
  for (uint64_t page = 0; page < 512; ++page) map(page << 12, (page << 12) | kSupervisor);
  for (const uint64_t page : {kCode, kData, kUserStack - kPage}) map(page, page | kAll);
  put(kTss + 4, kInnerStack);
  put(kTss + 36, kKernelStack);
  handle(vmx::kPf, exit_with(14));
  put<uint8_t>(kIdt + 16 * vmx::kPf + 4, 1);
  put_pointers();
  put_code(kHandlers, exit_with(3));
  const Code call = ASM64("call fword ptr [0x80010]");
  EXPECT_EQ(run(call).code, status(3));
  map(kInnerStack - kPage, (kInnerStack - kPage) | kAll);
  EXPECT_EQ(run(call).code, status(14));
  ASSERT_EQ(record_.exceptions.size(), 1u);
  EXPECT_EQ(record_.exceptions[0].error_code, 3u);
}

TEST_F(DescriptorPrivilege, PopsAreAccessesOfTheLevelThatMakesThem) {
  enter_user_mode();
  map(kUserStack, kUserStack | kSupervisor);
  cpu_.gpr[vmx::kRsp] = kUserStack;
  for (const Code& code : {ASM64("retfq"), ASM64("iretq"), ASM64("pop fs")}) {
    EXPECT_EQ(run(code).code, status(14));
    ASSERT_EQ(record_.exceptions.size(), 1u);
    EXPECT_EQ(record_.exceptions[0], (Exception{vmx::kPf, 5, kCode, kUserStack}));
  }
}

TEST_F(DescriptorPrivilege, EptViolationsOfTheTablesComeBeforeTheInstruction) {
  enable_ept();
  vmcs_.write(Field::kGuestLdtrSelector, 0x58);
  vmcs_.write(Field::kGuestLdtrAccessRights, 0x82);
  vmcs_.write(Field::kGuestLdtrLimit, 0xf);
  vmcs_.write(Field::kGuestLdtrBase, kLdt);
  put(kLdt, 0x00cf92000000ffff);
  for (const bool readable : {false, true}) {
    map_guest(kLdt, readable ? kLdt | 1 : 0);
    for (const Code& code : {ASM64("mov ds, eax"), ASM64("mov ss, eax")}) {
      run_guest(ASM64("mov eax, 4") + code, exit_with(0));
      ASSERT_THAT(exits(), ElementsAre(Pair(ExitReason::kEptViolation, kGuest + 5)));
      EXPECT_EQ(record_.exits[0].qualification & 0x1ff, readable ? 0x18au : 0x181u);
      EXPECT_EQ(record_.exits[0].guest_physical, kLdt + (readable ? 5 : 0));
    }
  }
}

}  // namespace
}  // namespace nestor::emu
