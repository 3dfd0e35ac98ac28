// SPDX-License-Identifier: GPL-2.0-or-later
//
// 5-level paging: addresses of 57 bits, data and code, with and without EPT.
#include "tests/emu/l0/nested_machine_fixture.h"

namespace nestor::emu {
namespace {

using testing::ElementsAre;
using testing::Pair;
using vmx::ExitReason;
using vmx::Field;

class FiveLevelPaging : public NestedMachineTest {
 protected:
  // The second table at the top: entry 0, and entry ABH for addresses that need 57 bits.
  static constexpr uint64_t kPml5 = 0x30000, kHigh = 0x00ab'0000'0000'0000,
                            kHighest = 0xff5b'0000'0000'0000;

  FiveLevelPaging() {
    for (const uint64_t address : {uint64_t{0}, kHigh, kHighest}) {
      put(kPml5 + 8 * (address >> 48 & 0x1ff), kPml4 | kAll);
    }
  }
  void use_five_levels() {
    cpu_.cr3 = kPml5;
    cpu_.cr4 |= vmx::cr4::kLa57;
  }
  // mov rax, address; mov dword [rax], 77H
  static Code store_at(uint64_t address) {
    Code code = ASM64("movabs rax, 0; mov dword ptr [rax], 0x77");
    std::memcpy(code.data() + 2, &address, sizeof address);
    return code;
  }
  // mov rax, address; jmp rax
  static Code jump_to(uint64_t address) {
    Code code = ASM64("movabs rax, 0; jmp rax");
    std::memcpy(code.data() + 2, &address, sizeof address);
    return code;
  }
};

TEST_F(FiveLevelPaging, TranslatesDataAt57Bits) {
  use_five_levels();
  for (const uint64_t base : {uint64_t{0}, kHigh, kHighest}) {
    put<uint32_t>(kData + 0x10, 0);
    EXPECT_EQ(run(store_at(base | kData | 0x10) + exit_with_memory(kData + 0x10)).code,
              status(0x77));
  }
}

TEST_F(FiveLevelPaging, ExecutesAt57Bits) {
  use_five_levels();
  put_code(kCode + 0x100, exit_with(5));
  EXPECT_EQ(run(jump_to(kHigh | (kCode + 0x100))).code, status(5));
  EXPECT_EQ(run(jump_to(kHighest | (kCode + 0x100))).code, status(5));
}

TEST_F(FiveLevelPaging, AFaultReportsTheWholeAddress) {
  use_five_levels();
  handle(vmx::kPf, exit_with(14));
  EXPECT_EQ(run(store_at(0x00cd'0000'0000'0123)).code, status(14));
  EXPECT_THAT(record_.exceptions,
              ElementsAre(Exception{vmx::kPf, 2, kCode + 10, 0x00cd'0000'0000'0123}));
}

// The same addresses in 4-level paging are not canonical, nor is bit 57 in any paging.
TEST_F(FiveLevelPaging, OtherAddressesAreNotCanonical) {
  handle(vmx::kGp, exit_with(13));
  EXPECT_EQ(run(store_at(kHigh | kData)).code, status(13));
  EXPECT_EQ(run(jump_to(kHigh | kCode)).code, status(13));
  use_five_levels();
  EXPECT_EQ(run(store_at(0x0200'0000'0000'0000 | kData)).code, status(13));
  EXPECT_EQ(run(store_at(0x0100'0000'0000'0000 | kData)).code, status(13));
}

// mov rax, cr4; xor eax, 1000H; mov cr4, rax
TEST_F(FiveLevelPaging, TheModeCannotChangeInLongMode) {
  handle(vmx::kGp, exit_with(13));
  const Code toggle = ASM64("mov rax, cr4; xor eax, 0x1000; mov cr4, rax");
  EXPECT_EQ(run(toggle + exit_with(0)).code, status(13));
  use_five_levels();
  EXPECT_EQ(run(toggle + exit_with(0)).code, status(13));
}

// wrmsr to IA32_KERNEL_GS_BASE: registers hold 57 bits in any paging mode.
TEST_F(FiveLevelPaging, MsrsHoldAddressesOf57BitsAlways) {
  handle(vmx::kGp, exit_with(13));
  const auto write = [](uint32_t high) {
    Code code = ASM64("mov ecx, 0xc0000102; xor eax, eax; mov edx, 0; wrmsr");
    std::memcpy(code.data() + 8, &high, sizeof high);
    return code;
  };
  for (const bool five : {false, true}) {
    if (five) use_five_levels();
    EXPECT_EQ(run(write(0x00ab0000) + exit_with(1)).code, status(1));
    EXPECT_EQ(run(write(0xff000000) + exit_with(1)).code, status(1));
    EXPECT_EQ(run(write(0x01000000) + exit_with(1)).code, status(13));
  }
}

// A guest of five levels under a host of four, over EPT of four and five.
TEST_F(FiveLevelPaging, AGuestMayHaveItAndItsHostNot) {
  vmcs_.write(Field::kGuestCr3, kPml5);
  vmcs_.write(Field::kGuestCr4, vmcs_[Field::kGuestCr4] | vmx::cr4::kLa57);
  enable_ept();
  put<uint64_t>(kScratch, kEpt | kEptAll | kEptUserExecute);
  for (const uint64_t eptp : {vmcs_[Field::kEptPointer], kScratch | 0x26}) {
    vmcs_.write(Field::kEptPointer, eptp);
    map_guest(kData, kData | kEptAll | kEptUserExecute);
    put<uint32_t>(kData, 0);
    EXPECT_EQ(run_guest(store_at(kHigh | kData) + ASM64("cpuid"), exit_with_memory(kData)).code,
              status(0x77));
    EXPECT_THAT(exits(), ElementsAre(Pair(ExitReason::kCpuid, kGuest + 16)));
    map_guest(kData, 0);
    run_guest(store_at(kHigh | kData | 0x20));
    EXPECT_THAT(exits(), ElementsAre(Pair(ExitReason::kEptViolation, kGuest + 10)));
    EXPECT_EQ(record_.exits[0].guest_linear, kHigh | kData | 0x20);
    EXPECT_EQ(record_.exits[0].guest_physical, kData | 0x20);
  }
}

}  // namespace
}  // namespace nestor::emu
