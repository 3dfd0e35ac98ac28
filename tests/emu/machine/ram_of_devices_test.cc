// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/machine/ram_of_devices.h"

#include <gtest/gtest.h>

#include <utility>
#include <vector>

#include "emu/memory/physical_memory.h"

namespace nestor::emu {
namespace {

// Keeps what it was told, and writes it.
class TranslatedCode final : public CodeCache {
 public:
  explicit TranslatedCode(Ram& ram) : ram_(ram) {}
  void code_written(uint64_t physical, std::span<const uint8_t> data) override {
    dropped.emplace_back(physical, data.size());
    EXPECT_TRUE(ram_.write(physical, data));
  }
  std::vector<std::pair<uint64_t, size_t>> dropped;

 private:
  Ram& ram_;
};

TEST(RamOfDevicesTest, IsTheRamOfTheGuestAlone) {
  constexpr uint64_t kOrigin = 1ull << 45, kSize = 16 << 20;
  Ram ram(kSize, Ram::Placement{kOrigin, 0x10000, 0x4000});
  RamOfDevices<Ram> memory(ram, ram);
  std::vector<uint8_t> bytes(0x2000, 0xaa);
  EXPECT_TRUE(memory.write(0x800, bytes));
  EXPECT_EQ(ram.host(kOrigin + 0x800, 1)[0], 0xaa);
  EXPECT_EQ(ram.host(0x800, 1)[0], 0) << "what lies there is not the guest's";
  EXPECT_TRUE(memory.holds(kSize - 1, 1));
  EXPECT_FALSE(memory.holds(kSize, 1)) << "nor what lies behind";
  EXPECT_FALSE(memory.holds(kOrigin, 1));
  EXPECT_FALSE(memory.holds(0x9ffff, 2)) << "the hole";
  EXPECT_FALSE(memory.holds(0xb8000, 1));
  EXPECT_TRUE(memory.holds(0x9ffff, 1));
  EXPECT_FALSE(memory.holds(0x1000, ~0ull - 0x800));
  EXPECT_FALSE(memory.holds(~0ull, 2));
  EXPECT_FALSE(memory.write(0x9f000, bytes));
  EXPECT_EQ(ram.host(kOrigin + 0x9f000, 1)[0], 0) << "nothing was copied";
  std::vector<uint8_t> read(0x2000);
  EXPECT_TRUE(memory.read(0x800, read));
  EXPECT_EQ(read, bytes);
  EXPECT_FALSE(memory.read(kSize - 0x1000, read));
}

TEST(RamOfDevicesTest, TheEngineLearnsOfCodeThatIsWrittenOver) {
  Ram ram(16 << 20);
  TranslatedCode code(ram);
  PhysicalMemory physical(ram, code);
  RamOfDevices<PhysicalMemory> memory(ram, physical);
  physical.mark_fetched(0x3000);
  const std::vector<uint8_t> bytes(0x3000, 0xcc);
  EXPECT_TRUE(memory.write(0x2800, bytes));
  EXPECT_EQ(code.dropped, (std::vector<std::pair<uint64_t, size_t>>{{0x3000, 0x1000}}));
  std::vector<uint8_t> read(bytes.size());
  EXPECT_TRUE(memory.read(0x2800, read));
  EXPECT_EQ(read, bytes);
}

}  // namespace
}  // namespace nestor::emu
