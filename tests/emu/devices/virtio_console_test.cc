// SPDX-License-Identifier: GPL-2.0-or-later
#include <gtest/gtest.h>

#include <optional>
#include <string>

#include "emu/devices/virtio/console.h"
#include "tests/emu/devices/virtio_driver.h"

namespace nestor::emu {
namespace {

class VirtioConsoleTest : public testing::Test {
 protected:
  static constexpr unsigned kSlot = 31, kReceive = 0, kTransmit = 1;
  static constexpr uint64_t kBuffer = 0x8000;

  test::PciMachine& add(bool live) {
    machine.host.add(kSlot, std::make_unique<VirtioConsole>(
                                machine.place(kSlot, "virtio-console"),
                                [this](uint8_t byte) { printed += static_cast<char>(byte); },
                                SerialInput{[this] { return take(); }, live}));
    return machine;
  }
  std::optional<uint8_t> take() {
    ++asked;
    if (typed.empty()) return std::nullopt;
    const auto first = static_cast<uint8_t>(typed.front());
    typed.erase(0, 1);
    return first;
  }
  std::string text(uint64_t address, unsigned size) {
    const auto first = machine.memory.bytes.begin() + static_cast<std::ptrdiff_t>(address);
    return {first, first + size};
  }

  test::PciMachine machine;
  std::string printed, typed;
  int asked = 0;
};

TEST_F(VirtioConsoleTest, IsAConsoleOfOnePort) {
  test::VirtioDriver driver(add(true), kSlot);
  EXPECT_EQ(machine.read(kSlot, 0, 4), 0x10431af4u);
  EXPECT_EQ(driver.get(test::VirtioDriver::kQueues, 2), 2u);
  EXPECT_EQ(driver.get(test::VirtioDriver::kDeviceFeature, 4), 0x30000000u);
  EXPECT_EQ(driver.configuration(0, 4), 0u);
  for (unsigned i = 0; const unsigned at = machine.capability(kSlot, 9, i); ++i) {
    if (machine.read(kSlot, at + 3, 1) != 4) continue;
    EXPECT_EQ(machine.read(kSlot, at + 12, 4), 12u) << "the configuration";
  }
  EXPECT_EQ(machine.read(kSlot, machine.capability(kSlot, 0x11) + 2, 2), 2u) << "three vectors";
}

TEST_F(VirtioConsoleTest, PrintsWhatIsTransmitted) {
  test::VirtioDriver driver(add(true), kSlot);
  driver.start(0, kTransmit);
  driver.use_msix();
  const std::string words = "hello, " + std::string(100, '.');
  std::ranges::copy(words, machine.memory.bytes.begin() + kBuffer);
  driver.request(0, {{kBuffer, 7, false}, {kBuffer + 7, 100, false}});
  driver.notify();
  EXPECT_EQ(machine.bus.deadline() - machine.clock.cycles(),
            VirtioConsole::kRequestCycles + VirtioConsole::kCyclesPerPiece);
  driver.run();
  EXPECT_EQ(printed, words);
  EXPECT_EQ(driver.used(), 1);
  EXPECT_EQ(driver.used_length(0), 0u);
  ASSERT_EQ(machine.messages.size(), 1u);
  EXPECT_EQ(machine.messages[0].vector, 0x51);
}

TEST_F(VirtioConsoleTest, WhatArrivesGoesIntoTheNextBuffer) {
  test::VirtioDriver driver(add(true), kSlot);
  typed = "abcdef";
  machine.pass(VirtioConsole::kInputCycles);
  EXPECT_EQ(asked, 0) << "nobody listens";
  driver.start(0, kReceive);
  driver.request(0, {{kBuffer, 4, true}});
  driver.request(1, {{kBuffer + 8, 4, true}});
  driver.notify();
  machine.pass(VirtioConsole::kInputCycles);
  EXPECT_EQ(driver.used(), 1);
  EXPECT_EQ(driver.used_length(0), 4u);
  EXPECT_EQ(text(kBuffer, 4), "abcd");
  machine.pass(VirtioConsole::kInputCycles);
  EXPECT_EQ(driver.used_length(1), 2u);
  EXPECT_EQ(text(kBuffer + 8, 2), "ef");
  driver.request(2, {{kBuffer, 4, true}});
  driver.notify();
  machine.pass(VirtioConsole::kInputCycles);
  machine.pass(VirtioConsole::kInputCycles);
  EXPECT_EQ(driver.used(), 2) << "it waits";
  typed = "g";
  machine.pass(VirtioConsole::kInputCycles);
  EXPECT_EQ(driver.used(), 3);
  EXPECT_EQ(text(kBuffer, 1), "g");
}

TEST_F(VirtioConsoleTest, AnInputThatHasEndedIsAskedNoMore) {
  test::VirtioDriver driver(add(false), kSlot);
  typed = "x";
  driver.start(0, kReceive);
  driver.request(0, {{kBuffer, 4, true}});
  driver.request(1, {{kBuffer, 4, true}});
  driver.notify();
  driver.run();
  EXPECT_EQ(driver.used(), 1);
  EXPECT_EQ(asked, 2);
  EXPECT_EQ(machine.bus.deadline(), EventQueue::kNever);
}

TEST_F(VirtioConsoleTest, BuffersOfTheWrongKindNeedAReset) {
  test::VirtioDriver driver(add(true), kSlot);
  driver.start(0, kReceive);
  driver.request(0, {{kBuffer, 4, false}});
  driver.notify();
  driver.run();
  EXPECT_EQ(driver.status(), 0xf | test::VirtioDriver::kNeedsReset);
}

}  // namespace
}  // namespace nestor::emu
