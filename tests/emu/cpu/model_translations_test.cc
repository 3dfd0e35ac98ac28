// SPDX-License-Identifier: GPL-2.0-or-later
//
// What the model itself accesses is translated as what the engine accesses: once, until the
// translation is invalidated or another address space takes its place.
#include "tests/emu/l0/nested_machine_fixture.h"
#include "vmx/features.h"

namespace nestor::emu {
namespace {

using vmx::Field;

class ModelTranslations : public NestedMachineTest {
 protected:
  static constexpr uint64_t kOther = kScratch;
  static constexpr uint16_t kSelector = 0x38;  // the last descriptor

  uint64_t references(const Code& code) {
    EXPECT_EQ(run(code).code, status(0));
    return machine_->l0_counters().walk_references;
  }
};

TEST_F(ModelTranslations, AreMadeOnce) {
  const auto returns = [](uint8_t count) {
    Code code = ASM64(
        "mov ecx, 0; 2: mov rax, rsp; push 0x10; push rax; pushfq; push 0x18; lea rdx, [rip + 3f]; "
        "push rdx; iretq; 3: dec ecx; jne 2b");
    code[1] = count;
    return code + exit_with(0);
  };
  EXPECT_EQ(references(returns(60)), references(returns(2)));
  const auto calls = [](uint8_t count) {
    Code code = ASM64("mov ecx, 0; 2: int 0x40; dec ecx; jne 2b");
    code[1] = count;
    return code + exit_with(0);
  };
  handle(0x40, kIretq);
  EXPECT_EQ(references(calls(60)), references(calls(2)));
}

// A write finds the dirty flag clear after a read has been granted.
TEST_F(ModelTranslations, AreMadeAgainForAnotherKindOfAccess) {
  map(kData, kData | kPresent | kWritable);
  const RunResult result =
      run(ASM64("lidt [0x80100]; mov eax, [0xa400]; test al, 0x40; jne 2f; sgdt [0x80200]; "
                "mov eax, [0xa400]; and eax, 0x60; out 0xf4, eax; 2:") +
          exit_with(99));
  EXPECT_EQ(result.code, status(0x60));
}

TEST_F(ModelTranslations, GoWithInvalidations) {
  const struct {
    const char* name;
    Code code;
  } kWays[] = {
      {"INVLPG", ASM64("invlpg [0x1000]")},
      {"MOV to CR3", ASM64("mov rax, cr3; mov cr3, rax")},
      {"MOV to CR4", ASM64("mov rax, cr4; xor eax, 0x80; mov cr4, rax")},
      {"MOV to CR0", ASM64("mov rax, cr0; xor eax, 0x10000; mov cr0, rax")},
  };
  std::copy_n(low_.begin() + kGdt, 0x40, low_.begin() + kOther);
  put(kGdt + kSelector, 0x00cf93000000ffff);
  put(kOther + kSelector, 0x00cff3000000ffff);
  for (const auto& [name, code] : kWays) {
    const RunResult result =
        run(ASM64("mov ecx, 0x38; lar eax, ecx; mov dword ptr [0xa008], 0x20007") + code +
            ASM64("lar eax, ecx; shr eax, 8; and eax, 0xff; out 0xf4, eax"));
    EXPECT_EQ(result.code, status(0xf3)) << name;
  }
}

// VM entry with a VPID invalidates nothing, and the event that it injects is delivered before the
// guest has executed anything.
TEST_F(ModelTranslations, BelongToAnAddressSpace) {
  enable_ept();
  enable(vmx::SecondaryProcBased::kEnableVpid);
  vmcs_.write(Field::kVirtualProcessorIdentifier, 1);
  vmcs_.write(Field::kVmEntryInterruptionInformation, 0x80000202);
  handle(0x41, ASM64("vmcall"));
  handle(vmx::kNmi, kIretq);
  // The guest's interrupt table has the gate of vector 41H for NMIs, too.
  std::copy_n(low_.begin() + kIdt, kPage, low_.begin() + kOther);
  std::copy_n(low_.begin() + kIdt + 16 * 0x41, 16, low_.begin() + kOther + 16 * vmx::kNmi);
  map_guest(kIdt, kOther | kEptAll | kEptUserExecute);
  put_guest(kHlt, exit_with(0));
  EXPECT_EQ(run(ASM64("int 2") + launch()).code, status(0));
  ASSERT_EQ(record_.exits.size(), 1u);
  EXPECT_EQ(record_.exits[0].guest_rip, kHandlers + 0x40 * 0x41);
}

// A VM entry that fails in loading MSRs loads the control registers of the host.
TEST_F(ModelTranslations, OfTheEngineEndWithAVmEntryThatFails) {
  for (uint64_t page = 0; page < 512; ++page) map(page << 12, page << 12 | kPresent | kWritable);
  map(kData, kData | kAll);
  enable(vmx::SecondaryProcBased::kEnableVpid);
  vmcs_.write(Field::kVirtualProcessorIdentifier, 1);
  vmcs_.write(Field::kHostCr4, vmcs_[Field::kHostCr4] | vmx::cr4::kSmap);
  vmcs_.write(Field::kVmEntryMsrLoadAddress, kScratch);
  vmcs_.write(Field::kVmEntryMsrLoadCount, 1);
  put<uint64_t>(kScratch, 0xc0000100);  // IA32_FS_BASE cannot be loaded
  handle(vmx::kPf, exit_with(vmx::kPf));
  put_guest(kHlt, ASM64("mov al, [0x80000]") + exit_with(98));
  EXPECT_EQ(run(ASM64("mov al, [0x80000]") + launch()).code, status(vmx::kPf));
}

}  // namespace
}  // namespace nestor::emu
