// SPDX-License-Identifier: GPL-2.0-or-later
//
// Video memory on the whole machine: the processor accesses it as RAM, wherever software places it.
#include <gtest/gtest.h>

#include <initializer_list>

#include "tests/emu/machine/machine_fixture.h"

namespace nestor::emu {
namespace {

class VideoMemoryTest : public MachineTest {
 protected:
  static constexpr uint32_t kFirst = 0xd0000000, kSecond = 0xe1000000;

  VideoMemoryTest() { config_.standard_vga = true; }

  // Writes a register of the configuration space of function 00:01.4.
  static Code configure(uint32_t reg, uint32_t value) {
    Code code =
        ASM64("mov dx, 0xcf8; mov eax, 0; out dx, eax; mov dx, 0xcfc; mov eax, 0; out dx, eax");
    const uint32_t address = 0x80000c00 | reg;
    std::memcpy(code.data() + 5, &address, 4);
    std::memcpy(code.data() + 15, &value, 4);
    return code;
  }
  static Code place(uint32_t base) { return configure(0x10, base) + configure(0x04, 3); }
  static Code dispi(uint32_t index, uint32_t value) {
    Code code = ASM64("mov dx, 0x1ce; mov eax, 0; out dx, ax; inc edx; mov eax, 0; out dx, ax");
    std::memcpy(code.data() + 5, &index, 4);
    std::memcpy(code.data() + 14, &value, 4);
    return code;
  }
  // 64 by 48 dots of 32 bits.
  static Code set_mode() { return dispi(1, 64) + dispi(2, 48) + dispi(3, 32) + dispi(4, 0x41); }
  static Code store(uint32_t address, uint32_t value) {
    Code code = ASM64("mov edi, 0; mov dword ptr [rdi], 0");
    std::memcpy(code.data() + 1, &address, 4);
    std::memcpy(code.data() + 7, &value, 4);
    return code;
  }
  // EAX = what is there.
  static Code load(uint32_t address) {
    Code code = ASM64("mov edi, 0; mov eax, dword ptr [rdi]");
    std::memcpy(code.data() + 1, &address, 4);
    return code;
  }
  static Code exit_with_eax() { return ASM64("out 0xf4, eax"); }
};

TEST_F(VideoMemoryTest, WhatIsStoredIsShown) {
  run(place(kFirst) + set_mode() + store(kFirst + 4 * 64 + 8, 0x123456) + exit_with(0));
  const auto shown = machine_->screen().picture();
  const auto& picture = std::get<Picture>(shown);
  ASSERT_EQ(picture.width, 64u);
  ASSERT_EQ(picture.height, 48u);
  const size_t at = 3 * (64 + 2);
  EXPECT_EQ(picture.dots[at], 0x12);
  EXPECT_EQ(picture.dots[at + 1], 0x34);
  EXPECT_EQ(picture.dots[at + 2], 0x56);
  EXPECT_EQ(picture.dots[at + 3], 0);
  EXPECT_TRUE(record_.unclaimed.empty());
}

TEST_F(VideoMemoryTest, MovesWithItsBaseAddressRegister) {
  const Code moved = place(kFirst) + store(kFirst, 0x1234) + load(kFirst) + place(kSecond);
  EXPECT_EQ(run(moved + load(kSecond) + exit_with_eax()).code, status(0x1234));
  EXPECT_TRUE(record_.unclaimed.empty());
  run(moved + load(kFirst) + exit_with_eax());
  ASSERT_EQ(record_.unclaimed.size(), 1u);
  EXPECT_EQ(record_.unclaimed[0].address, kFirst);
  EXPECT_EQ(run(moved + configure(0x04, 0) + load(kSecond) + place(kSecond) + load(kSecond) +
                exit_with_eax())
                .code,
            status(0x1234))
      << "it stays what it was";
  EXPECT_EQ(record_.unclaimed.size(), 1u);
}

TEST_F(VideoMemoryTest, RamComesFirst) {
  EXPECT_EQ(run(store(0x110000, 1) + place(0) + load(0x110000) + store(0x110000, 7) +
                load(0x110000) + place(kFirst) + load(kFirst + 0x110000) + exit_with_eax())
                .code,
            status(0));
  EXPECT_EQ(
      run(place(0) + store(0x110000, 7) + place(kFirst) + load(0x110000) + exit_with_eax()).code,
      status(7));
}

// mov eax, IMM; ret
TEST_F(VideoMemoryTest, CodeInItIsWhatWasStoredLast) {
  const Code call = ASM64("mov edi, 0xd0000000; call rdi; add ebx, eax");
  const Code begin =
      ASM64("xor ebx, ebx") + place(kFirst) + store(kFirst, 0x000001b8) + store(kFirst + 4, 0xc300);
  const Code end = ASM64("mov eax, ebx; out 0xf4, eax");
  EXPECT_EQ(run(begin + call + store(kFirst, 0x000010b8) + call + end).code, status(0x11));
  // By the window of a VGA: the second byte is that of plane 1.
  EXPECT_EQ(
      run(begin + call + ASM64("mov edi, 0xb8001; mov byte ptr [rdi], 0x20") + call + end).code,
      status(0x21));
  // While it is nowhere.
  EXPECT_EQ(
      run(begin + call + configure(0x04, 0) + ASM64("mov edi, 0xb8001; mov byte ptr [rdi], 0x40") +
          configure(0x04, 3) + call + end)
          .code,
      status(0x41));
  // And when it has moved.
  EXPECT_EQ(
      run(begin + call + place(kSecond) + store(kSecond, 0x000080b8) + place(kFirst) + call + end)
          .code,
      status(0x81));
}

TEST_F(VideoMemoryTest, GoesOnFromASavedState) {
  const Code program = place(kFirst) + set_mode() + store(kFirst, 0x5a) + place(kSecond) +
                       store(kSecond + 4, 0xa5) + load(kSecond) + exit_with_eax();
  const RunResult whole = run(program);
  ASSERT_EQ(whole.code, status(0x5a));
  const auto picture = std::get<Picture>(machine_->screen().picture()).dots;
  put_code(kCode, program);
  std::vector<std::vector<uint8_t>> states;
  start();
  while (machine_->run_until({.step = true}))
    states.push_back(saved_bytes([this](Archive& archive) { machine_->serialize(archive); }));
  ASSERT_GT(states.size(), 50u);
  for (size_t i = 0; i < states.size(); i += 5) {
    ASSERT_TRUE(load_bytes(states[i], [&](Archive& archive) { machine_->serialize(archive); }));
    const RunResult result = machine_->run();
    EXPECT_EQ(result.code, whole.code) << i;
    EXPECT_EQ(result.cycles, whole.cycles) << i;
    EXPECT_EQ(std::get<Picture>(machine_->screen().picture()).dots, picture) << i;
  }
}

}  // namespace
}  // namespace nestor::emu
