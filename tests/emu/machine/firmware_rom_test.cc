// SPDX-License-Identifier: GPL-2.0-or-later
//
// A machine that starts from a ROM.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>

#include "emu/machine/inspection.h"
#include "tests/emu/machine/machine_fixture.h"

NESTOR_ASSEMBLED(rom_end);
NESTOR_ASSEMBLED(rom_program);

namespace nestor::emu {
namespace {

class FirmwareRomTest : public MachineTest {
 protected:
  static constexpr size_t kSize = 0x40000;

  FirmwareRomTest() {
    const auto put_at = [this](size_t offset, const Code& code) {
      std::ranges::copy(code, rom_.bytes.begin() + static_cast<std::ptrdiff_t>(offset));
    };
    rom_.bytes[kSize - 0x10000 + 0x1234] = 0xaa;
    put_at(kSize - 0x2000, assembled::rom_program());
    put_at(kSize - 0x10, assembled::rom_end());
    config_.rom_bytes = kSize;
  }
  Machine& start_rom() {
    record_ = Record{};
    console_.clear();
    machine_ = create();
    machine_->load(std::get<LoadedImage>(load_firmware(rom_)));
    return *machine_;
  }
  static std::string told(std::initializer_list<uint8_t> bytes) {
    return {bytes.begin(), bytes.end()};
  }

  ImageFile rom_{"rom", std::vector<uint8_t>(kSize)};
  const std::string expected_ = told({0xaa, 0xaa, 0x22, 0x33, 0x44, 0x33, 0x33, 0x33, 0xaa, 0x33});
};

TEST_F(FirmwareRomTest, ReadsAndWritesMeetRamOrTheRomAsTheHostBridgeSays) {
  const RunResult result = start_rom().run();
  EXPECT_EQ(result.code, status(5));
  EXPECT_EQ(console_, expected_);
  EXPECT_TRUE(record_.exceptions.empty());
}

TEST_F(FirmwareRomTest, ARunWithManyProcessorsIsTheSame) {
  config_.processor.count = 3;
  EXPECT_EQ(start_rom().run().code, status(5));
  EXPECT_EQ(console_, expected_);
}

// At each of its stages, and at many places in them.
TEST_F(FirmwareRomTest, GoesOnFromASavedState) {
  const RunResult whole = start_rom().run();
  ASSERT_EQ(whole.code, status(5));
  std::vector<std::vector<uint8_t>> states;
  std::vector<std::string> so_far;
  start_rom();
  uint64_t limit = 1;
  while (machine_->run_until({.instructions = limit})) {
    states.push_back(saved_bytes([this](Archive& archive) { machine_->serialize(archive); }));
    so_far.push_back(console_);
    limit = machine_->instructions() < 20 || machine_->instructions() > 32'700
                ? machine_->instructions() + 1
                : machine_->instructions() + 7001;
  }
  ASSERT_GT(states.size(), 10u);
  for (size_t i = 0; i < states.size(); ++i) {
    const auto other = create();
    ASSERT_TRUE(load_bytes(states[i], [&](Archive& archive) { other->serialize(archive); })) << i;
    console_ = so_far[i];
    const RunResult result = other->run();
    EXPECT_EQ(result.code, status(5)) << i;
    EXPECT_EQ(result.cycles, whole.cycles) << i;
    EXPECT_EQ(console_, expected_) << i;
  }
}

TEST_F(FirmwareRomTest, ARomHasASizeThatFits) {
  for (const size_t size : {size_t{0}, size_t{0x8000}, kSize - 1, kSize + 0x800, size_t{9} << 20}) {
    const auto loaded = load_firmware({"rom", std::vector<uint8_t>(size)});
    ASSERT_TRUE(std::holds_alternative<LoadError>(loaded)) << size;
    EXPECT_NE(std::get<LoadError>(loaded).message.find("are no firmware"), std::string::npos);
  }
  for (const size_t size : {size_t{0x10000}, size_t{0x20000}, kSize, size_t{8} << 20})
    EXPECT_TRUE(std::holds_alternative<LoadedImage>(load_firmware({"rom", Code(size)}))) << size;
}

// All of it is there at 4 GiB, its end below 1 MiB, and ones before that.
TEST_F(FirmwareRomTest, IsInBothPlaces) {
  for (size_t i = 0; i < kSize; i += 0x1000) rom_.bytes[i] = static_cast<uint8_t>(i >> 12);
  Machine& machine = start_rom();
  std::array<uint8_t, 1> byte{};
  for (size_t i = 0; i < kSize; i += 0x1000) {
    const auto at = [&](uint64_t address) {
      EXPECT_EQ(machine.inspection()->read(0, View::kL1Physical, address, byte), 1u);
      return byte[0];
    };
    EXPECT_EQ(at(0x100000000 - kSize + i), i >> 12);
    EXPECT_EQ(at(0xc0000 + i), i < 0x20000 ? 0xff : i >> 12);
  }
}

}  // namespace
}  // namespace nestor::emu
