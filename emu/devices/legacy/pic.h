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
  uint8_t read_data() const { return mask_; }
  void write_command(uint8_t value);
  void write_data(uint8_t value);

  void set_input(unsigned input, bool level);
  bool output() const { return highest_request().has_value(); }
  // The INTA cycle: the input that is served, 7 for a spurious interrupt (which sets nothing in
  // service).
  unsigned acknowledge();
  uint8_t vector(unsigned input) const { return static_cast<uint8_t>(vector_base_ | input); }

  uint8_t edge_level = 0;  // ELCR: one bit an input, 1: level-triggered

 private:
  enum class Expect : uint8_t { kNothing, kIcw2, kIcw3, kIcw4 };

  void begin_initialization(uint8_t icw1);
  void write_ocw2(uint8_t value);
  void write_ocw3(uint8_t value);
  // 0 is the highest; priorities rotate.
  unsigned rank(unsigned input) const { return (input - lowest_ - 1u) & 7u; }
  std::optional<unsigned> highest(uint8_t set) const;
  std::optional<unsigned> highest_request() const;
  void end_of_interrupt(unsigned input) { in_service_ &= static_cast<uint8_t>(~(1u << input)); }

  const bool master_;
  Expect expect_ = Expect::kNothing;
  bool needs_icw4_ = false, single_ = false, level_mode_ = false, auto_eoi_ = false,
       rotate_auto_eoi_ = false, special_mask_ = false, fully_nested_ = false,
       read_in_service_ = false, poll_ = false;
  uint8_t lines_ = 0, request_ = 0, in_service_ = 0, mask_ = 0xff, vector_base_ = 0;
  unsigned lowest_ = 7;  // the input of lowest priority
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

  // `irq` is 0..15; 2 is the cascade and cannot be driven.
  void set_irq(unsigned irq, bool level);
  bool output() const { return master_.output(); }
  // Both INTA cycles; the vector, that of input 7 or 15 when the request has gone.
  uint8_t acknowledge();

 private:
  void update();

  std::function<void(bool)> output_;
  Pic master_{true}, slave_{false};
  bool level_ = false;
};

}  // namespace nestor::emu
