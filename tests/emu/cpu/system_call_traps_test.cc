// SPDX-License-Identifier: GPL-2.0-or-later
//
// What is due right behind an instruction that the model executes and that goes on elsewhere: MTF
// VM exits and single-step traps.
#include <algorithm>

#include "tests/emu/l0/nested_machine_fixture.h"

namespace nestor::emu {
namespace {

using testing::ElementsAre;
using testing::Pair;
using vmx::ExitReason;
using vmx::Field;
using vmx::PrimaryProcBased;

const Code kSyscall = ASM64("syscall"), kSysretq = ASM64("sysretq"), kSysenter = ASM64("sysenter"),
           kSysexitq = ASM64("sysexitq");

class SystemCallTraps : public NestedMachineTest {
 protected:
  static constexpr uint64_t kTarget = kHandlers + 0x4000;
  static constexpr uint32_t kTf = 0x100;

  SystemCallTraps() {
    cpu_.star = uint64_t{kCode64} << 32 | (uint64_t{kUserData} - 8) << 48;
    cpu_.lstar = cpu_.sysenter_eip = kTarget;
    cpu_.sysenter_cs = 8;
    vmcs_.write(Field::kGuestIa32SysenterCs, 8);
    vmcs_.write(Field::kGuestIa32SysenterEip, kTarget);
    // SYSRET and SYSEXIT find their targets here, SYSRET its flags, too.
    cpu_.gpr[vmx::kRcx] = cpu_.gpr[vmx::kRdx] = kTarget;
    put_code(kTarget, nops(8) + exit_with(7));
    handle(vmx::kDb, exit_with(3));
  }
  // ECX and EDX are kTarget, R11D the flags.
  static Code targets(uint32_t flags) {
    Code code = ASM64("mov ecx, 0; mov edx, 0; mov r11d, 0");
    const auto target = static_cast<uint32_t>(kTarget);
    std::memcpy(code.data() + 1, &target, sizeof target);
    std::memcpy(code.data() + 6, &target, sizeof target);
    std::memcpy(code.data() + 12, &flags, sizeof flags);
    return code;
  }
  // The address that the first #DB was delivered at.
  uint64_t trapped_at() const {
    const auto trap = std::ranges::find(record_.exceptions, unsigned{vmx::kDb}, &Exception::vector);
    return trap == record_.exceptions.end() ? 0 : trap->rip;
  }
};

TEST_F(SystemCallTraps, TheMonitorTrapFlagStopsAtTheTarget) {
  for (const Code& code : {kSyscall, kSysretq, kSysenter, kSysexitq}) {
    enable(PrimaryProcBased::kMonitorTrapFlag);
    run_guest(targets(2) + code, resume_until(4));
    constexpr auto kMtf = ExitReason::kMonitorTrapFlag;
    EXPECT_THAT(exits(), ElementsAre(Pair(kMtf, kGuest + 5), Pair(kMtf, kGuest + 10),
                                     Pair(kMtf, kGuest + 16), Pair(kMtf, kTarget)))
        << testing::PrintToString(code);
  }
}

TEST_F(SystemCallTraps, TheMonitorTrapFlagStopsBehindEachIterationOfIns) {
  enable(PrimaryProcBased::kMonitorTrapFlag);
  // 0x20000 is kScratch
  run_guest(ASM64("mov edi, 0x20000; mov ecx, 2; rep insb; nop"), resume_until(5));
  constexpr auto kMtf = ExitReason::kMonitorTrapFlag;
  EXPECT_THAT(exits(),
              ElementsAre(Pair(kMtf, kGuest + 5), Pair(kMtf, kGuest + 10), Pair(kMtf, kGuest + 10),
                          Pair(kMtf, kGuest + 12), Pair(kMtf, kGuest + 13)));
}

TEST_F(SystemCallTraps, ATrapBehindAnIterationOfInsPushesRf) {
  cpu_.rflags = 2 | kTf;
  cpu_.gpr[vmx::kRdi] = kData;
  cpu_.gpr[vmx::kRcx] = 2;
  handle(vmx::kDb, ASM64("mov eax, [rsp + 16]; out 0xf4, eax"));
  EXPECT_EQ(run(ASM64("rep insb")).code, status(0x10102));
  EXPECT_EQ(trapped_at(), kCode);
  cpu_.gpr[vmx::kRcx] = 1;
  EXPECT_EQ(run(ASM64("rep insb")).code, status(0x102));
  EXPECT_EQ(trapped_at(), kCode + 2);
}

TEST_F(SystemCallTraps, SyscallTrapsUnlessItClearsTf) {
  cpu_.rflags = 2 | kTf;
  run(kSyscall);
  EXPECT_EQ(trapped_at(), kTarget);
  cpu_.fmask = kTf;
  EXPECT_EQ(run(kSyscall).code, status(7));
  EXPECT_EQ(trapped_at(), 0u);
}

TEST_F(SystemCallTraps, SysretTrapsIfItSetsTf) {
  cpu_.gpr[vmx::kR11] = 2 | kTf;
  run(kSysretq);
  EXPECT_EQ(trapped_at(), kTarget);
  cpu_.rflags = 2 | kTf;
  cpu_.gpr[vmx::kR11] = 2;
  run(kSysretq);
  EXPECT_EQ(trapped_at(), 0u);
}

TEST_F(SystemCallTraps, SysenterAndSysexitKeepTf) {
  for (const Code& code : {kSysenter, kSysexitq}) {
    cpu_.rflags = 2 | kTf;
    run(code);
    EXPECT_EQ(trapped_at(), kTarget) << testing::PrintToString(code);
  }
}

TEST_F(SystemCallTraps, ATrapOfSyscallExits) {
  vmcs_.write(Field::kExceptionBitmap, 1u << vmx::kDb);
  vmcs_.write(Field::kGuestRflags, 2 | kTf);
  run_guest(kSyscall, exit_with_field(Field::kExitQualification));
  ASSERT_EQ(record_.exits.size(), 1u);
  EXPECT_EQ(record_.exits[0].guest_rip, kTarget);
  EXPECT_EQ(record_.exits[0].qualification, 0x4000u);
}

}  // namespace
}  // namespace nestor::emu
