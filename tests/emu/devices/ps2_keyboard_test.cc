// SPDX-License-Identifier: GPL-2.0-or-later
//
// A keyboard at its controller.
#include <gtest/gtest.h>

#include <initializer_list>
#include <utility>
#include <vector>

#include "emu/devices/legacy/keyboard_controller.h"
#include "tests/emu/devices/plug.h"

namespace nestor::emu {
namespace {

using Read = std::vector<unsigned>;

class Ps2KeyboardTest : public testing::Test {
 protected:
  explicit Ps2KeyboardTest(bool ready = false)
      : device_({}, lines_.source(1), lines_.source(12),
                KeyboardController::Typist{
                    clock_, bus_.timers(), {[this] { return next(); }, true}, ready}) {
    lines_.lead_to([this](unsigned line, bool level) { rises_ += line == 1 && level; },
                   [this](unsigned) { return unmasked_; });
  }

  std::optional<KeyStroke> next() {
    if (typed_.empty()) return std::nullopt;
    return std::exchange(typed_, {typed_.begin() + 1, typed_.end()}).front();
  }
  uint8_t in(uint16_t port) { return static_cast<uint8_t>(bus_.read_port(port, 1)); }
  void out(uint16_t port, uint8_t value) { bus_.write_port(port, 1, value); }
  void set_command_byte(uint8_t value) { out(0x64, 0x60), out(0x60, value); }
  void pass(uint64_t milliseconds) {
    for (uint64_t i = 0; i < milliseconds; ++i) {
      clock_.charge(Clock::kFrequency / 1000);
      bus_.expire(clock_.cycles());
    }
  }
  // All that is there now.
  Read read() {
    Read bytes;
    while (in(0x64) & 1) bytes.push_back(in(0x60));
    return bytes;
  }
  Read answer(std::initializer_list<uint8_t> command) {
    Read bytes;
    for (const uint8_t byte : command) {
      out(0x60, byte);
      const Read some = read();
      bytes.insert(bytes.end(), some.begin(), some.end());
    }
    return bytes;
  }
  Read typed(const KeyStroke& stroke) {
    typed_.push_back(stroke);
    pass(11);
    return read();
  }

  Clock clock_;
  Bus bus_;
  InterruptLines lines_;
  std::vector<KeyStroke> typed_;
  unsigned rises_ = 0;
  bool unmasked_ = true;
  KeyboardController device_;
  const std::vector<Claim> claims_ = test::plug(bus_, device_, "keyboard controller");
};

TEST_F(Ps2KeyboardTest, AnswersCommands) {
  EXPECT_EQ(answer({0xff}), (Read{0xfa, 0xaa}));
  EXPECT_EQ(answer({0xf2}), (Read{0xfa, 0xab, 0x83}));
  EXPECT_EQ(answer({0xee}), (Read{0xee}));
  EXPECT_EQ(answer({0xed, 0x07}), (Read{0xfa, 0xfa}));
  EXPECT_EQ(answer({0xf3, 0x20}), (Read{0xfa, 0xfa}));
  for (const auto command : std::initializer_list<uint8_t>{0xf4, 0xf5, 0xf6})
    EXPECT_EQ(answer({command}), (Read{0xfa}));
  EXPECT_EQ(answer({0x12}), (Read{0xfe})) << "no command";
  EXPECT_EQ(answer({0xee, 0xfe}), (Read{0xee, 0xee})) << "again";
  EXPECT_EQ(answer({0xed, 0xf4}), (Read{0xfa, 0xfa})) << "a command in the place of a parameter";
  EXPECT_EQ(answer({0x07}), (Read{0xfe}));
}

TEST_F(Ps2KeyboardTest, HasTwoScanCodeSets) {
  EXPECT_EQ(answer({0xf0, 0}), (Read{0xfa, 0xfa, 2}));
  EXPECT_EQ(answer({0xf0, 3}), (Read{0xfa, 0xfe}));
  set_command_byte(0x01);
  const KeyStroke a{.code = 0x1e, .shift = true}, up{.code = 0x48, .extended = true},
      f7{.code = 0x41};
  EXPECT_EQ(typed(a), (Read{0x12, 0x1c, 0xf0, 0x1c, 0xf0, 0x12}));
  EXPECT_EQ(typed(up), (Read{0xe0, 0x75, 0xe0, 0xf0, 0x75}));
  EXPECT_EQ(typed(f7), (Read{0x83, 0xf0, 0x83}));
  EXPECT_EQ(answer({0xf0, 1}), (Read{0xfa, 0xfa}));
  EXPECT_EQ(answer({0xf0, 0}), (Read{0xfa, 0xfa, 1}));
  const Read set_1 = typed(a), up_1 = typed(up), f7_1 = typed(f7);
  EXPECT_EQ(set_1, (Read{0x2a, 0x1e, 0x9e, 0xaa}));
  EXPECT_EQ(up_1, (Read{0xe0, 0x48, 0xe0, 0xc8}));
  // The controller makes the same of set 2.
  EXPECT_EQ(answer({0xf6}), (Read{0xfa}));
  set_command_byte(0x41);
  EXPECT_EQ(typed(a), set_1);
  EXPECT_EQ(typed(up), up_1);
  EXPECT_EQ(typed(f7), f7_1);
  EXPECT_EQ(answer({0xf2}), (Read{0xfa, 0xab, 0x41}));
  EXPECT_EQ(answer({0xff}), (Read{0xfa, 0xaa}));
}

TEST_F(Ps2KeyboardTest, NothingIsTypedUntilTheGuestListens) {
  typed_ = {{.code = 0x1e}, {.code = 0x1f}, {.code = 0x20}};
  pass(100);
  EXPECT_EQ(typed_.size(), 3u) << "the interface is disabled";
  set_command_byte(0x41);
  unmasked_ = false;
  pass(100);
  EXPECT_EQ(typed_.size(), 3u) << "the interrupt is masked";
  unmasked_ = true;
  EXPECT_EQ(rises_, 0u);
  pass(100);
  EXPECT_EQ(typed_.size(), 2u) << "what was typed was not read";
  EXPECT_EQ(rises_, 1u);
  EXPECT_EQ(in(0x60), 0x1e);
  EXPECT_EQ(rises_, 2u) << "the next byte";
  EXPECT_EQ(in(0x60), 0x9e);
  EXPECT_EQ(answer({0xf5}), (Read{0xfa}));
  pass(100);
  EXPECT_EQ(typed_.size(), 2u) << "it does not scan";
  EXPECT_EQ(answer({0xf4}), (Read{0xfa}));
  pass(9);
  EXPECT_EQ(typed_.size(), 2u) << "not so soon after a command";
  pass(2);
  EXPECT_EQ(read(), (Read{0x1f, 0x9f}));
  // Who polls.
  set_command_byte(0x40);
  pass(100);
  EXPECT_EQ(typed_.size(), 1u);
  for (int i = 0; i < 20; ++i) EXPECT_EQ(in(0x64) & 1, 0);
  pass(11);
  EXPECT_EQ(read(), (Read{0x20, 0xa0}));
}

TEST_F(Ps2KeyboardTest, WaitsWhileItsInterfaceIsDisabled) {
  set_command_byte(0x41);
  typed_ = {{.code = 0x1e}};
  pass(20);
  out(0x64, 0xad);
  EXPECT_EQ(in(0x60), 0x1e) << "it is in the buffer";
  EXPECT_EQ(in(0x64) & 1, 0);
  out(0x64, 0xae);
  EXPECT_EQ(read(), (Read{0x9e}));
}

TEST_F(Ps2KeyboardTest, IsSaved) {
  set_command_byte(0x41);
  typed_ = {{.code = 0x48, .extended = true}};
  pass(20);
  EXPECT_EQ(in(0x60), 0xe0);
  out(0x60, 0xf0);  // whose parameter is to come
  const auto state = saved_bytes([&](Archive& archive) { device_.serialize(archive); });
  Bus bus;
  KeyboardController other({}, {}, {}, KeyboardController::Typist{clock_, bus.timers()});
  const auto claims = test::plug(bus, other, "keyboard controller");
  ASSERT_TRUE(load_bytes(state, [&](Archive& archive) { other.serialize(archive); }));
  Read bytes;
  while (bus.read_port(0x64, 1) & 1) bytes.push_back(bus.read_port(0x60, 1));
  EXPECT_EQ(bytes, read());
  bus.write_port(0x60, 1, 0);
  EXPECT_EQ(bus.read_port(0x60, 1), 0xfau);
  EXPECT_EQ(bus.read_port(0x60, 1), 0x41u) << "set 2, translated";
}

class ReadyKeyboardTest : public Ps2KeyboardTest {
 protected:
  ReadyKeyboardTest() : Ps2KeyboardTest(true) {}
};

TEST_F(ReadyKeyboardTest, IsAsABiosLeavesIt) {
  EXPECT_EQ(typed({.code = 0x1e, .control = true}), (Read{0x1d, 0x1e, 0x9e, 0x9d}));
  EXPECT_EQ(rises_, 4u);
}

}  // namespace
}  // namespace nestor::emu
