// SPDX-License-Identifier: GPL-2.0-or-later
//
// Control registers, debug registers, MSRs, counters, segment bases.
#include <tuple>

#include "emu/cpu/cpuid.h"
#include "emu/cpu/segments.h"
#include "tests/emu/cpu/instruction_fixture.h"

namespace nestor::emu::test {
namespace {

using Kind = vmx::Invalidation::Kind;
using vmx::kRax;
using vmx::kRcx;
using vmx::kRdx;

const Bytes kMovCr0Eax = ASM64("mov cr0, rax"), kMovCr3Eax = ASM64("mov cr3, rax"),
            kMovCr4Eax = ASM64("mov cr4, rax"), kMovEaxCr0 = ASM64("mov rax, cr0"),
            kMovEaxCr4 = ASM64("mov rax, cr4"), kMovCr8Rax = ASM64("mov cr8, rax"),
            kMovRaxCr8 = ASM64("mov rax, cr8"), kClts = ASM64("clts"), kLmswAx = ASM64("lmsw ax"),
            kSmswEax = ASM64("smsw eax"), kMovDr7Eax = ASM64("mov dr7, rax"),
            kMovEaxDr7 = ASM64("mov rax, dr7"), kMovDr6Eax = ASM64("mov dr6, rax"),
            kMovDr4Eax = ASM64("mov dr4, rax"), kMovEaxDr5 = ASM64("mov rax, dr5"),
            kMovDr0Eax = ASM64("mov dr0, rax"), kRdmsr = ASM64("rdmsr"), kWrmsr = ASM64("wrmsr"),
            kRdtsc = ASM64("rdtsc"), kRdtscp = ASM64("rdtscp");

class ControlRegisterTest : public InstructionTest {
 protected:
  void mov(const Bytes& bytes, uint64_t value) {
    cpu.gpr[kRax] = value;
    expect_completed(bytes);
  }
  void mov_faults(const Bytes& bytes, uint64_t value) {
    const vmx::CpuState before = cpu;
    cpu.gpr[kRax] = value;
    expect_gp(bytes);
    EXPECT_EQ(cpu.cr0, before.cr0);
    EXPECT_EQ(cpu.cr3, before.cr3);
    EXPECT_EQ(cpu.cr4, before.cr4);
    EXPECT_EQ(cpu.efer, before.efer);
  }
};

TEST_F(ControlRegisterTest, Cr0ReservedAndContradictoryBits) {
  enter_64bit_mode(core);
  mov_faults(kMovCr0Eax, cpu.cr0 | 1ull << 32);
  enter_protected_mode(core);
  mov_faults(kMovCr0Eax, vmx::cr0::kPg | vmx::cr0::kEt);
  mov_faults(kMovCr0Eax, cpu.cr0 | vmx::cr0::kNw);
  mov(kMovCr0Eax, 0x1);
  EXPECT_EQ(cpu.cr0, vmx::cr0::kPe | vmx::cr0::kEt);  // ET is fixed
  mov(kMovCr0Eax, 0x1ffaffc1);                        // reserved bits remain clear
  EXPECT_EQ(cpu.cr0, vmx::cr0::kPe | vmx::cr0::kEt);
}

TEST_F(ControlRegisterTest, Cr0KeepsEachBitThatItHas) {
  constexpr uint64_t kHas = 0xe005003f, kEt = 0x10, kPe = 1, kCd = 1u << 30, kNw = 1u << 29;
  for (unsigned bit = 0; bit < 32; ++bit) {
    enter_protected_mode(core);
    uint64_t value = 1ull << bit | kPe;
    if (value & kNw) value |= kCd;
    mov(kMovCr0Eax, value);
    EXPECT_EQ(cpu.cr0, (value & kHas) | kEt) << bit;
    mov(kMovEaxCr0, 0);
    EXPECT_EQ(cpu.gpr[kRax], cpu.cr0);
  }
}

TEST_F(ControlRegisterTest, EnteringAndLeavingIa32eMode) {
  enter_protected_mode(core);
  cpu.efer = vmx::efer::kLme;
  const uint64_t paging = cpu.cr0 | vmx::cr0::kPg;
  mov_faults(kMovCr0Eax, paging);  // CR4.PAE is 0
  cpu.cr4 = vmx::cr4::kPae;
  cpu.segment[vmx::kTr].rights.value = 0x83;
  mov_faults(kMovCr0Eax, paging);  // 16-bit TSS
  cpu.segment[vmx::kTr].rights.value = 0x8b;
  mov(kMovCr0Eax, paging);
  EXPECT_EQ(cpu.efer, vmx::efer::kLme | vmx::efer::kLma);
  EXPECT_TRUE(core.pdpte_loads.empty());
  EXPECT_EQ(core.invalidations.size(), 1u);
  mov_faults(kMovCr4Eax, 0);  // PAE cannot go
  mov(kMovCr0Eax, paging & ~vmx::cr0::kPg);
  EXPECT_EQ(cpu.efer, vmx::efer::kLme);

  enter_64bit_mode(core);
  mov_faults(kMovCr0Eax, cpu.cr0 & ~vmx::cr0::kPg);  // in 64-bit mode
}

TEST_F(ControlRegisterTest, PaePagingLoadsPdptes) {
  enter_protected_mode(core);
  cpu.cr4 = vmx::cr4::kPae;
  cpu.cr3 = 0x5000;
  core.pdptes_valid = false;
  mov_faults(kMovCr0Eax, cpu.cr0 | vmx::cr0::kPg);
  core.pdptes_valid = true;
  mov(kMovCr0Eax, cpu.cr0 | vmx::cr0::kPg);
  EXPECT_EQ(core.pdpte_loads, (std::vector<uint64_t>{0x5000, 0x5000}));
  mov(kMovCr3Eax, 0x6000);
  EXPECT_EQ(core.pdpte_loads.back(), 0x6000u);
  core.pdptes_valid = false;
  mov_faults(kMovCr3Eax, 0x7000);
  mov_faults(kMovCr4Eax, cpu.cr4 | vmx::cr4::kPge);
  mov(kMovCr4Eax, cpu.cr4 | vmx::cr4::kTsd);  // does not load them
}

TEST_F(ControlRegisterTest, Cr3) {
  enter_64bit_mode(core);
  mov(kMovCr3Eax, 0x123000);
  EXPECT_EQ(cpu.cr3, 0x123000u);
  EXPECT_EQ(core.invalidations.back().kind, Kind::kPcid);
  mov_faults(kMovCr3Eax, 1ull << vmx::kPhysicalAddressBits);
  mov_faults(kMovCr3Eax, 1ull << 63);
}

TEST_F(ControlRegisterTest, ProcessContextIdentifiers) {
  enter_64bit_mode(core);
  const uint64_t with_pcids = cpu.cr4 | vmx::cr4::kPcide;
  cpu.cr3 = 0x123001;
  mov_faults(kMovCr4Eax, with_pcids);  // CR3[11:0] is not 0
  cpu.cr3 = 0x123000;
  mov(kMovCr4Eax, with_pcids);
  EXPECT_EQ(cpu.cr4, with_pcids);
  mov(kMovCr3Eax, 1ull << 63 | 0x456fff);
  EXPECT_EQ(cpu.cr3, 0x456fffu) << "bit 63 is not kept";
  EXPECT_EQ(core.invalidations.back().kind, Kind::kAccessRights) << "bit 63 retains mappings";
  mov(kMovCr3Eax, 0x456abc);
  EXPECT_EQ(core.invalidations.back().kind, Kind::kPcid);
  EXPECT_EQ(core.invalidations.back().pcid, 0xabc);
  mov_faults(kMovCr3Eax, 1ull << 62);
  cpu.gpr[vmx::kRdi] = 0x3000;
  cpu.gpr[kRax] = 1;
  core.poke<uint64_t>(0x3000, 0xfff);
  expect_completed(ASM64("invpcid rax, [rdi]"));
  EXPECT_EQ(core.invalidations.back().pcid, 0xfff);
  mov(kMovCr4Eax, with_pcids & ~vmx::cr4::kPcide);
  EXPECT_EQ(core.invalidations.back().kind, Kind::kLinearVpid);
  mov_faults(kMovCr3Eax, 1ull << 63);
}

TEST_F(ControlRegisterTest, WhatControlBitsInvalidate) {
  enter_protected_mode(core);
  cpu.cr3 = 0x5000;
  mov(kMovCr0Eax, cpu.cr0 | vmx::cr0::kPg);
  EXPECT_EQ(core.invalidations.back().kind, Kind::kAccessRights);
  const uint64_t cr4 = cpu.cr4;
  for (const auto& [bit, set, cleared] : {
           std::tuple{vmx::cr4::kPge, Kind::kLinearVpid, Kind::kLinearVpid},
           {vmx::cr4::kPae, Kind::kPcidAndGlobals, Kind::kPcidAndGlobals},
           {vmx::cr4::kSmep, Kind::kPcidAndGlobals, Kind::kAccessRights},
           {vmx::cr4::kSmap, Kind::kAccessRights, Kind::kAccessRights},
       }) {
    mov(kMovCr4Eax, cr4 | bit);
    EXPECT_EQ(core.invalidations.back().kind, set) << bit;
    mov(kMovCr4Eax, cr4);
    EXPECT_EQ(core.invalidations.back().kind, cleared) << bit;
  }
  mov(kMovCr0Eax, cpu.cr0 | vmx::cr0::kWp);
  EXPECT_EQ(core.invalidations.back().kind, Kind::kAccessRights);
  mov(kMovCr0Eax, cpu.cr0 & ~vmx::cr0::kPg);
  EXPECT_EQ(core.invalidations.back().kind, Kind::kLinearVpid);
}

TEST_F(ControlRegisterTest, Cr4AcceptsWhatCpuidOffers) {
  enter_protected_mode(core);
  mov(kMovCr4Eax, vmx::cr4::kPge);
  EXPECT_EQ(core.invalidations.size(), 1u);
  for (unsigned bit = 0; bit < 32; ++bit) {
    const uint64_t value = 1ull << bit;
    if (vmx::kSupportedCr4 & ~vmx::cr4::kPcide & value) {  // PCIDE needs IA-32e mode
      mov(kMovCr4Eax, value);
      EXPECT_EQ(cpu.cr4, value);
    } else {
      mov_faults(kMovCr4Eax, value);
    }
  }
}

TEST_F(ControlRegisterTest, VmxOperationFixesBits) {
  NestedGuest guest(core);
  guest.enter();
  vmx::ExitInformation exit;
  exit.reason = vmx::ExitReason::kCpuid;
  core.vmx().vm_exit(exit);  // back in root operation
  enter_64bit_mode(core);
  cpu.cr4 |= vmx::cr4::kVmxe;
  cpu.segment[vmx::kCs].rights.value = 0xc09b;  // compatibility mode may clear PG
  mov_faults(kMovCr0Eax, cpu.cr0 & ~vmx::cr0::kPg);
  mov_faults(kMovCr0Eax, cpu.cr0 & ~vmx::cr0::kNe);
  mov_faults(kMovCr4Eax, cpu.cr4 & ~vmx::cr4::kVmxe);
}

TEST_F(ControlRegisterTest, Cr8IsTheTaskPriority) {
  enter_64bit_mode(core);
  mov(kMovCr8Rax, 9);
  EXPECT_EQ(core.apic().tpr(), 0x90);
  cpu.gpr[kRax] = ~0ull;
  expect_completed(kMovRaxCr8);
  EXPECT_EQ(cpu.gpr[kRax], 9u);
  mov_faults(kMovCr8Rax, 16);
}

TEST_F(ControlRegisterTest, PrivilegeAndExistence) {
  enter_64bit_mode(core, 3);
  for (const Bytes& bytes : {kMovCr0Eax, kMovEaxCr0, kMovCr8Rax, kClts, kLmswAx}) expect_gp(bytes);
  expect_ud(ASM64("mov cr1, rax"));  // CR1
  expect_ud(ASM64("mov rax, cr9"));  // CR9
  expect_completed(kSmswEax);
}

TEST_F(ControlRegisterTest, LmswAndClts) {
  enter_real_mode(core);
  mov(kLmswAx, 0xffff);
  EXPECT_EQ(cpu.cr0 & 0xf, 0xfu);
  EXPECT_FALSE(cpu.cr0 & vmx::cr0::kNe);  // beyond bits 3:0
  mov(kLmswAx, 0);
  EXPECT_EQ(cpu.cr0 & 0xf, vmx::cr0::kPe);  // cannot be cleared
  cpu.cr0 |= vmx::cr0::kTs;
  expect_completed(kClts);
  EXPECT_FALSE(cpu.cr0 & vmx::cr0::kTs);
}

TEST_F(ControlRegisterTest, SmswWidths) {
  enter_64bit_mode(core);
  cpu.gpr[kRax] = ~0ull;
  expect_completed(ASM64("smsw ax"));
  EXPECT_EQ(cpu.gpr[kRax], 0xffffffff'ffff0000 | (cpu.cr0 & 0xffff));
  expect_completed(kSmswEax);
  EXPECT_EQ(cpu.gpr[kRax], cpu.cr0 & 0xffffffff);
  cpu.gpr[vmx::kRdi] = 0x9000;
  core.poke<uint32_t>(0x9000, 0xffffffff);
  expect_completed(ASM64("smsw [rdi]"));  // always 16 bits in memory
  EXPECT_EQ(core.peek<uint32_t>(0x9000), 0xffff0000 | (cpu.cr0 & 0xffff));
}

TEST_F(ControlRegisterTest, GuestHostMasks) {
  NestedGuest guest(core);
  guest.set(vmx::Field::kCr0GuestHostMask, vmx::cr0::kTs | vmx::cr0::kCd);
  guest.set(vmx::Field::kCr0ReadShadow, vmx::cr0::kCd);
  guest.enter();
  cpu.cr0 |= vmx::cr0::kTs;
  cpu.cr0 &= ~vmx::cr0::kCd;
  expect_completed(kMovEaxCr0);
  EXPECT_EQ(cpu.gpr[kRax] & (vmx::cr0::kTs | vmx::cr0::kCd), vmx::cr0::kCd);
  expect_completed(kClts);  // the shadow's TS is 0 already
  EXPECT_TRUE(cpu.cr0 & vmx::cr0::kTs);
  mov(kMovCr0Eax, (cpu.cr0 | vmx::cr0::kCd | vmx::cr0::kMp) & ~vmx::cr0::kTs);
  EXPECT_TRUE(cpu.cr0 & vmx::cr0::kTs);
  EXPECT_FALSE(cpu.cr0 & vmx::cr0::kCd);
  EXPECT_TRUE(cpu.cr0 & vmx::cr0::kMp);
  cpu.gpr[kRax] = cpu.cr0 | vmx::cr0::kTs;
  expect_transferred(kMovCr0Eax);
  guest.expect_exit(vmx::ExitReason::kControlRegisterAccess);
}

class DebugRegisterTest : public InstructionTest {};

TEST_F(DebugRegisterTest, FixedAndReservedBits) {
  enter_64bit_mode(core);
  cpu.gpr[kRax] = 0xffffffff;
  expect_completed(kMovDr6Eax);
  EXPECT_EQ(cpu.dr6, 0xffffefffu);
  expect_completed(kMovDr7Eax);
  EXPECT_EQ(cpu.dr7, 0xffff27ffu);
  cpu.dr7 = 0x400;
  cpu.gpr[kRax] = 0;
  expect_completed(kMovDr6Eax);
  EXPECT_EQ(cpu.dr6, 0xffff0ff0u);
  cpu.gpr[kRax] = 1ull << 32;
  expect_gp(kMovDr7Eax);
  expect_gp(kMovDr6Eax);
  expect_completed(kMovDr0Eax);
  EXPECT_EQ(cpu.dr[0], 1ull << 32);
}

TEST_F(DebugRegisterTest, AliasesDependOnDebugExtensions) {
  enter_protected_mode(core);
  cpu.gpr[kRax] = 1;
  expect_completed(kMovDr4Eax);
  EXPECT_EQ(cpu.dr6, 0xffff0ff1u);
  expect_completed(kMovEaxDr5);
  EXPECT_EQ(cpu.gpr[kRax], 0x400u);
  cpu.cr4 |= vmx::cr4::kDe;
  expect_ud(kMovDr4Eax);
  expect_ud(kMovEaxDr5);
  enter_64bit_mode(core);
  expect_ud(ASM64("mov rax, dr8"));  // DR8
}

TEST_F(DebugRegisterTest, GeneralDetectAndPrivilege) {
  enter_protected_mode(core);
  cpu.dr7 |= 1 << 13;
  const Outcome outcome = run(kMovEaxDr7);
  ASSERT_TRUE(std::holds_alternative<vmx::Event>(outcome));
  EXPECT_EQ(std::get<vmx::Event>(outcome).vector, vmx::kDb);
  EXPECT_EQ(std::get<vmx::Event>(outcome).payload, 1u << 13);
  enter_protected_mode(core, 3);
  expect_gp(kMovEaxDr7);
}

TEST_F(DebugRegisterTest, ExitTakesPriorityOverPrivilege) {
  NestedGuest guest(core);
  guest.enable(vmx::PrimaryProcBased::kMovDrExiting);
  guest.enter();
  enter_64bit_mode(core, 3);
  expect_transferred(kMovEaxDr7);
  guest.expect_exit(vmx::ExitReason::kMovDr);
}

class MachineRegisterTest : public InstructionTest {};

TEST_F(MachineRegisterTest, Msrs) {
  enter_64bit_mode(core);
  core.msrs[0x123] = 0x1111'2222'3333'4444;
  cpu.gpr[kRcx] = 0xffffffff'00000123;
  expect_completed(kRdmsr);
  EXPECT_EQ(cpu.gpr[kRax], 0x33334444u);
  EXPECT_EQ(cpu.gpr[kRdx], 0x11112222u);
  cpu.gpr[kRax] = ~0ull;
  expect_completed(kWrmsr);
  EXPECT_EQ(core.msrs[0x123], 0x1111'2222'ffff'ffffu);
  cpu.gpr[kRcx] = 0x124;
  expect_gp(kRdmsr);
  expect_gp(kWrmsr);
  enter_64bit_mode(core, 3);
  cpu.gpr[kRcx] = 0x123;
  expect_gp(kRdmsr);
  expect_gp(kWrmsr);
}

TEST_F(MachineRegisterTest, TimeStampCounter) {
  enter_64bit_mode(core, 3);
  cpu.tsc_aux = 7;
  expect_completed(kRdtscp);
  EXPECT_EQ(cpu.gpr[kRax] | cpu.gpr[kRdx] << 32, core.time);
  EXPECT_EQ(cpu.gpr[kRcx], 7u);
  cpu.cr4 |= vmx::cr4::kTsd;
  expect_gp(kRdtsc);
  expect_gp(kRdtscp);
  enter_64bit_mode(core, 0);
  cpu.cr4 |= vmx::cr4::kTsd;
  expect_completed(kRdtsc);
}

TEST_F(MachineRegisterTest, TscOffsetInNonRootOperation) {
  NestedGuest guest(core);
  guest.enable(vmx::PrimaryProcBased::kUseTscOffsetting);
  guest.enable(vmx::PrimaryProcBased::kUseMsrBitmaps);
  guest.set(vmx::Field::kTscOffset, 0x500);
  guest.enter();
  core.msrs[0x10] = core.time;
  expect_completed(kRdtsc);
  EXPECT_EQ(cpu.gpr[kRax], (core.time + 0x500) & 0xffffffff);
  expect_ud(kRdtscp);  // "enable RDTSCP" is 0
  cpu.gpr[kRcx] = 0x10;
  expect_completed(kRdmsr);
  EXPECT_EQ(cpu.gpr[kRax], (core.time + 0x500) & 0xffffffff);
}

TEST_F(MachineRegisterTest, MsrExitsComeBeforeMissingMsrsButAfterPrivilege) {
  NestedGuest guest(core);
  guest.enter();
  enter_64bit_mode(core, 3);
  cpu.gpr[kRcx] = 0x124;
  expect_gp(kRdmsr);
  enter_64bit_mode(core);
  cpu.gpr[kRcx] = 0x124;
  expect_transferred(kRdmsr);
  guest.expect_exit(vmx::ExitReason::kRdmsr);
}

TEST_F(MachineRegisterTest, SegmentBases) {
  const Bytes rdfsbase = ASM64("rdfsbase rax"), wrgsbase = ASM64("wrgsbase rax"),
              wrfsbase32 = ASM64("wrfsbase eax");
  enter_64bit_mode(core, 3);
  expect_ud(rdfsbase);
  cpu.cr4 |= vmx::cr4::kFsgsbase;
  cpu.segment[vmx::kFs].base = 0xffff8000'00000001;
  expect_completed(rdfsbase);
  EXPECT_EQ(cpu.gpr[kRax], 0xffff8000'00000001u);
  expect_completed(wrgsbase);
  EXPECT_EQ(cpu.segment[vmx::kGs].base, 0xffff8000'00000001u);
  expect_completed(wrfsbase32);
  EXPECT_EQ(cpu.segment[vmx::kFs].base, 1u);
  cpu.gpr[kRax] = 0x0100'0000'0000'0000;  // 57 bits, in any paging mode
  expect_gp(wrgsbase);
}

}  // namespace
}  // namespace nestor::emu::test
