// SPDX-License-Identifier: GPL-2.0-or-later
//
// Protection keys on the whole machine: the engine's TLB knows nothing of them.
#include "tests/emu/l0/nested_machine_fixture.h"

namespace nestor::emu {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

class ProtectionKeys : public NestedMachineTest, public testing::WithParamInterface<TlbModel> {
 protected:
  static constexpr uint64_t kKey1 = 1ull << 59;
  static constexpr uint32_t kAccessDisable = 1 << 2, kWriteDisable = 2 << 2;  // of key 1

  ProtectionKeys() {
    config_.processor.tlb = GetParam();
    cpu_.cr4 |= vmx::cr4::kPke | vmx::cr4::kOsfxsr | vmx::cr4::kOsxsave;
    map(kData, kData | kAll | kKey1);
    handle(vmx::kPf, exit_with(14));
    handle(vmx::kGp, exit_with(13));
  }
  // WRPKRU; it changes RAX, RCX and RDX.
  static Code wrpkru(uint32_t value) {
    Code code = ASM64("mov eax, 0; xor ecx, ecx; xor edx, edx; wrpkru");
    std::memcpy(code.data() + 1, &value, sizeof value);
    return code;
  }
  static inline const Code kRead = ASM64("mov eax, [0x80000]"),
                           kWrite = ASM64("mov dword ptr [0x80000], 1");
  // The error code of the page fault that `code` ends with; nothing: it does not fault.
  std::optional<uint32_t> fault_of(const Code& code) {
    const RunResult result = run(code + exit_with(1));
    if (result.code == status(1)) return std::nullopt;
    EXPECT_EQ(result.code, status(14));
    EXPECT_EQ(record_.exceptions.size(), 1u);
    if (record_.exceptions.empty()) return std::nullopt;
    EXPECT_EQ(record_.exceptions.back().cr2, kData);
    return record_.exceptions.back().error_code;
  }
};

TEST_P(ProtectionKeys, ForbidTheSupervisorToo) {
  EXPECT_EQ(fault_of(wrpkru(0) + kRead + kWrite), std::nullopt);
  EXPECT_EQ(fault_of(wrpkru(kAccessDisable) + kRead), 0x21u);
  EXPECT_EQ(fault_of(wrpkru(kAccessDisable) + kWrite), 0x23u);
  EXPECT_EQ(fault_of(wrpkru(kWriteDisable) + kRead), std::nullopt);
  EXPECT_EQ(fault_of(wrpkru(kWriteDisable) + kWrite), 0x23u);
  cpu_.cr0 &= ~vmx::cr0::kWp;
  EXPECT_EQ(fault_of(wrpkru(kWriteDisable) + kWrite), std::nullopt);
  EXPECT_EQ(fault_of(wrpkru(kAccessDisable) + kWrite), 0x23u);
}

TEST_P(ProtectionKeys, ForbidTheUser) {
  enter_user_mode();
  cpu_.rflags |= vmx::rflags::kIopl;
  EXPECT_EQ(fault_of(wrpkru(kAccessDisable) + kRead), 0x25u);
  EXPECT_EQ(fault_of(wrpkru(kWriteDisable) + kRead), std::nullopt);
  EXPECT_EQ(fault_of(wrpkru(kWriteDisable) + kWrite), 0x27u);
  cpu_.cr0 &= ~vmx::cr0::kWp;
  EXPECT_EQ(fault_of(wrpkru(kWriteDisable) + kWrite), 0x27u) << "CR0.WP is not asked";
}

// What the engine was granted before goes with a change of PKRU, whoever makes it.
TEST_P(ProtectionKeys, ChangesApplyAtOnce) {
  EXPECT_EQ(fault_of(kRead + kWrite + wrpkru(kWriteDisable) + kRead + kWrite), 0x23u);
  EXPECT_EQ(fault_of(kRead + kWrite + wrpkru(kAccessDisable) + wrpkru(0) + kRead + kWrite),
            std::nullopt);
  // XSETBV of x87 and PKRU; XRSTOR of PKRU from an area at 20000H.
  const Code restore =
      ASM64("xor ecx, ecx; xor edx, edx; mov eax, 0x201; xsetbv; mov eax, 0x200; xrstor [0x20000]");
  put<uint64_t>(0x20000 + 512, 0x200);
  put<uint64_t>(0x20000 + 2688, kAccessDisable);
  EXPECT_EQ(fault_of(kRead + restore + kRead), 0x21u);
  put<uint64_t>(0x20000 + 2688, 0);
  EXPECT_EQ(fault_of(wrpkru(kAccessDisable) + restore + kRead), std::nullopt);
}

TEST_P(ProtectionKeys, Cr4EnablesThem) {
  const Code toggle = ASM64("mov rbp, cr4; xor ebp, 0x400000; mov cr4, rbp");
  EXPECT_EQ(fault_of(wrpkru(kAccessDisable) + toggle + kRead), std::nullopt);
  EXPECT_EQ(fault_of(wrpkru(kAccessDisable) + toggle + kRead + toggle + kRead), 0x21u);
}

TEST_P(ProtectionKeys, LeaveFetchesAndSupervisorPagesAlone) {
  map(kCode, kCode | kAll | kKey1);
  EXPECT_EQ(fault_of(wrpkru(kAccessDisable)), std::nullopt) << "code with the key executes";
  map(kData, kData | kPresent | kWritable | kKey1);
  EXPECT_EQ(fault_of(wrpkru(kAccessDisable) + kRead + kWrite), std::nullopt);
}

TEST_P(ProtectionKeys, OfL2AreItsOwn) {
  enable_ept();
  vmcs_.write(vmx::Field::kGuestCr4, cpu_.cr4 | vmx::cr4::kVmxe);
  vmcs_.write(vmx::Field::kExceptionBitmap, 1u << vmx::kPf);
  const Code report = exit_with_field(vmx::Field::kVmExitInterruptionErrorCode);
  EXPECT_EQ(run_guest(kRead + wrpkru(kAccessDisable) + kRead, report).code, status(0x21));
  EXPECT_EQ(run_guest(wrpkru(kWriteDisable) + kRead + kWrite, report).code, status(0x23));
  // PKRU is not switched: L1 has what L2 has left, and its CR4.PKE is that of the host-state area.
  vmcs_.write(vmx::Field::kHostCr4, cpu_.cr4 | vmx::cr4::kVmxe);
  run_guest(wrpkru(kAccessDisable) + ASM64("vmcall"), kRead + exit_with(1));
  EXPECT_THAT(record_.exceptions, ElementsAre(Exception{vmx::kPf, 0x21, kExitHandler, kData}));
  vmcs_.write(vmx::Field::kHostCr4, vmx::cr4::kPae | vmx::cr4::kVmxe);
  EXPECT_EQ(run_guest(wrpkru(kAccessDisable) + ASM64("vmcall"), kRead + exit_with(1)).code,
            status(1));
  EXPECT_THAT(record_.exceptions, IsEmpty());
}

// Supervisor keys, on a processor that has them.
TEST_P(ProtectionKeys, OfTheSupervisor) {
  config_.processor.type = vmx::processor_of(vmx::Generation::kSapphireRapids);
  cpu_.cr4 |= vmx::cr4::kPks;
  map(kData, kData | kPresent | kWritable | kKey1);
  const auto pkrs = [](uint8_t value) {
    Code code = ASM64("mov ecx, 0x6e1; mov eax, 0; xor edx, edx; wrmsr");
    code[6] = value;
    return code;
  };
  EXPECT_EQ(fault_of(kRead + pkrs(kAccessDisable) + kRead), 0x21u);
  EXPECT_EQ(fault_of(kWrite + pkrs(kWriteDisable) + kRead + kWrite), 0x23u);
  EXPECT_EQ(fault_of(pkrs(0) + kWrite), std::nullopt);
  config_.processor.type = {};
  cpu_.cr4 &= ~vmx::cr4::kPks;
  EXPECT_EQ(run(pkrs(0) + exit_with(1)).code, status(13)) << "there is no IA32_PKRS";
}

INSTANTIATE_TEST_SUITE_P(Caches, ProtectionKeys,
                         testing::Values(TlbModel::kFlush, TlbModel::kTagged, TlbModel::kKeep));

// UMIP, which CPUID offers.
class Umip : public MachineTest {};

TEST_F(Umip, HidesTheTablesFromTheUser) {
  handle(vmx::kGp, exit_with(13));
  enter_user_mode();
  cpu_.rflags |= vmx::rflags::kIopl;
  for (const Code& code : {ASM64("sgdt [0x80000]"), ASM64("sidt [0x80000]"), ASM64("sldt eax"),
                           ASM64("smsw eax"), ASM64("str eax")}) {
    cpu_.cr4 &= ~vmx::cr4::kUmip;
    EXPECT_EQ(run(code + exit_with(1)).code, status(1)) << testing::PrintToString(code);
    cpu_.cr4 |= vmx::cr4::kUmip;
    EXPECT_EQ(run(code + exit_with(1)).code, status(13)) << testing::PrintToString(code);
  }
}

}  // namespace
}  // namespace nestor::emu
