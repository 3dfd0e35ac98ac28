// SPDX-License-Identifier: GPL-2.0-or-later
//
// The two cascaded 8259A interrupt controllers of a PC, with the edge/level registers beside them.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <optional>

#include "emu/devices/bus.h"

namespace nestor::emu {

// One 8259A without its bus connection.
class Pic {
 public:
  explicit Pic(bool master) : master_(master) {}

  uint8_t read_command();
  uint8_t read_data() const { return state_.mask; }
  void write_command(uint8_t value);
  void write_data(uint8_t value);

  void set_input(unsigned input, bool level);
  bool output() const { return highest_request().has_value(); }
  // The INTA cycle: the input that is served, 7 for a spurious interrupt (which sets nothing in
  // service).
  unsigned acknowledge();
  uint8_t vector(unsigned input) const { return static_cast<uint8_t>(state_.vector_base | input); }

  // ELCR: one bit an input, 1: level-triggered.
  uint8_t edge_level() const { return state_.edge_level; }
  void set_edge_level(uint8_t value) { state_.edge_level = value; }

  void fields(Archive& archive) { archive(state_); }

 private:
  enum class Expect : uint8_t { kNothing, kIcw2, kIcw3, kIcw4 };
  struct State {
    Expect expect = Expect::kNothing;
    bool needs_icw4 = false, single = false, level_mode = false, auto_eoi = false,
         rotate_auto_eoi = false, special_mask = false, fully_nested = false,
         read_in_service = false, poll = false;
    uint8_t lines = 0, request = 0, in_service = 0, mask = 0xff, vector_base = 0;
    uint8_t edge_level = 0;
    uint32_t lowest = 7;  // the input of lowest priority
    void fields(Archive& archive) {
      archive(expect, needs_icw4, single, level_mode, auto_eoi, rotate_auto_eoi, special_mask,
              fully_nested, read_in_service, poll, lines, request, in_service, mask, vector_base,
              edge_level, lowest);
      archive.require(expect <= Expect::kIcw4 && lowest < 8);
    }
  };

  void begin_initialization(uint8_t icw1);
  void write_ocw2(uint8_t value);
  void write_ocw3(uint8_t value);
  // 0 is the highest; priorities rotate.
  unsigned rank(unsigned input) const { return (input - state_.lowest - 1u) & 7u; }
  std::optional<unsigned> highest(uint8_t set) const;
  std::optional<unsigned> highest_request() const;
  void end_of_interrupt(unsigned input) {
    state_.in_service &= static_cast<uint8_t>(~(1u << input));
  }

  const bool master_;
  State state_;
};

class PicPair : public Device {
 public:
  static constexpr Region kRegions[] = {
      {Space::kPorts, 2},  // master
      {Space::kPorts, 2},  // slave
      {Space::kPorts, 2},  // the edge/level registers of both
  };

  // `output`: the level of INTR, called when it changes.
  explicit PicPair(std::function<void(bool)> output) : output_(std::move(output)) {}

  std::span<const Region> regions() const override { return kRegions; }
  unsigned widest_port_access() const override { return 1; }
  uint32_t read_port(DeviceAddress at, unsigned size) override;
  void write_port(DeviceAddress at, unsigned size, uint32_t value) override;
  void serialize(Archive& archive) override { archive(state_); }

  // `irq` is 0..15; 2 is the cascade and cannot be driven.
  void set_irq(unsigned irq, bool level);
  bool output() const { return state_.master.output(); }
  // Neither of the two masks it.
  bool passes(unsigned irq) const {
    const auto is_open = [](const Pic& pic, unsigned input) {
      return (pic.read_data() >> input & 1) == 0;
    };
    return irq < 8 ? is_open(state_.master, irq)
                   : is_open(state_.slave, irq - 8) && is_open(state_.master, 2);
  }
  // Both INTA cycles; the vector, that of input 7 or 15 when the request has gone.
  uint8_t acknowledge();

 private:
  struct State {
    Pic master{true}, slave{false};
    bool level = false;
    void fields(Archive& archive) { archive(master, slave, level); }
  };

  void update();

  std::function<void(bool)> output_;
  State state_;
};

}  // namespace nestor::emu
