// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/devices/legacy/pic.h"

namespace nestor::emu {
namespace {

enum : unsigned { kMaster = 0, kElcr = 2 };  // indices of kRegions
constexpr unsigned kCascadeInput = 2;
// System timer, keyboard, cascade; real-time clock and coprocessor cannot be level-triggered.
constexpr std::array<uint8_t, 2> kElcrValid = {0xf8, 0xde};

}  // namespace

void Pic::begin_initialization(uint8_t icw1) {
  expect_ = Expect::kIcw2;
  needs_icw4_ = icw1 & 1;
  single_ = icw1 & 2;
  level_mode_ = icw1 & 8;
  auto_eoi_ = rotate_auto_eoi_ = special_mask_ = fully_nested_ = read_in_service_ = poll_ = false;
  request_ = in_service_ = mask_ = 0;
  lowest_ = 7;
  // Level-triggered inputs that are high request again at once.
  request_ = lines_ & (level_mode_ ? 0xff : edge_level);
}

void Pic::write_command(uint8_t value) {
  if (value & 0x10) {
    begin_initialization(value);
  } else if (value & 0x08) {
    write_ocw3(value);
  } else {
    write_ocw2(value);
  }
}

void Pic::write_data(uint8_t value) {
  switch (expect_) {
    case Expect::kNothing:
      mask_ = value;
      break;
    case Expect::kIcw2:
      vector_base_ = value & 0xf8;
      expect_ = !single_ ? Expect::kIcw3 : needs_icw4_ ? Expect::kIcw4 : Expect::kNothing;
      break;
    case Expect::kIcw3:
      // The cascade of a PC is wired; what the word says cannot change it.
      expect_ = needs_icw4_ ? Expect::kIcw4 : Expect::kNothing;
      break;
    case Expect::kIcw4:
      auto_eoi_ = value & 2;
      fully_nested_ = value & 0x10;
      expect_ = Expect::kNothing;
      break;
  }
}

void Pic::write_ocw2(uint8_t value) {
  const unsigned input = value & 7;
  const bool rotate = value & 0x80, specific = value & 0x40, eoi = value & 0x20;
  if (!eoi) {
    if (specific && rotate) lowest_ = input;   // set priority
    if (!specific) rotate_auto_eoi_ = rotate;  // rotate in automatic EOI mode
    return;
  }
  // The non-specific EOI ends the highest in service, but for those that the special mask mode
  // hides.
  const auto visible = static_cast<uint8_t>(special_mask_ ? in_service_ & ~mask_ : in_service_);
  const std::optional<unsigned> ended = specific ? std::optional(input) : highest(visible);
  if (!ended) return;
  end_of_interrupt(*ended);
  if (rotate) lowest_ = *ended;
}

void Pic::write_ocw3(uint8_t value) {
  if (value & 0x40) special_mask_ = value & 0x20;
  poll_ = value & 4;
  if (!poll_ && (value & 2)) read_in_service_ = value & 1;
}

uint8_t Pic::read_command() {
  if (!poll_) return read_in_service_ ? in_service_ : request_;
  poll_ = false;
  if (!output()) return 0;
  return static_cast<uint8_t>(0x80 | acknowledge());
}

void Pic::set_input(unsigned input, bool level) {
  const auto bit = static_cast<uint8_t>(1u << input);
  const bool level_triggered = level_mode_ || (edge_level & bit);
  if (level) {
    if (level_triggered || !(lines_ & bit)) request_ |= bit;
    lines_ |= bit;
  } else {
    // A request that goes before it is acknowledged is lost: the origin of spurious interrupts.
    lines_ &= static_cast<uint8_t>(~bit);
    request_ &= static_cast<uint8_t>(~bit);
  }
}

std::optional<unsigned> Pic::highest(uint8_t set) const {
  std::optional<unsigned> best;
  for (unsigned input = 0; input < 8; ++input) {
    if ((set >> input & 1) && (!best || rank(input) < rank(*best))) best = input;
  }
  return best;
}

std::optional<unsigned> Pic::highest_request() const {
  const auto requested = static_cast<uint8_t>(request_ & ~mask_);
  if (special_mask_) return highest(requested & static_cast<uint8_t>(~in_service_));
  const std::optional<unsigned> candidate = highest(requested);
  auto blocking = in_service_;
  // "Special Fully Nested Mode": the cascade's own service does not block further requests of the
  // slave.
  if (master_ && fully_nested_) blocking &= static_cast<uint8_t>(~(1u << kCascadeInput));
  const std::optional<unsigned> served = highest(blocking);
  if (!candidate || (served && rank(*candidate) >= rank(*served))) return std::nullopt;
  return candidate;
}

unsigned Pic::acknowledge() {
  const std::optional<unsigned> input = highest_request();
  if (!input) return 7;
  const auto bit = static_cast<uint8_t>(1u << *input);
  if (!level_mode_ && !(edge_level & bit)) request_ &= static_cast<uint8_t>(~bit);
  if (!auto_eoi_) {
    in_service_ |= bit;
  } else if (rotate_auto_eoi_) {
    lowest_ = *input;
  }
  return *input;
}

uint32_t PicPair::read_port(DeviceAddress at, unsigned /*size*/) {
  if (at.region == kElcr) return (at.offset == 0 ? master_ : slave_).edge_level;
  Pic& pic = at.region == kMaster ? master_ : slave_;
  const uint8_t value = at.offset == 0 ? pic.read_command() : pic.read_data();
  update();  // a poll acknowledges
  return value;
}

void PicPair::write_port(DeviceAddress at, unsigned /*size*/, uint32_t value) {
  const auto byte = static_cast<uint8_t>(value);
  Pic& pic = at.region == kMaster ? master_ : slave_;
  if (at.region == kElcr) {
    (at.offset == 0 ? master_ : slave_).edge_level = byte & kElcrValid[at.offset];
  } else if (at.offset == 0) {
    pic.write_command(byte);
  } else {
    pic.write_data(byte);
  }
  update();
}

void PicPair::set_irq(unsigned irq, bool level) {
  if (irq == kCascadeInput || irq > 15) return;
  if (irq < 8) {
    master_.set_input(irq, level);
  } else {
    slave_.set_input(irq - 8, level);
  }
  update();
}

uint8_t PicPair::acknowledge() {
  const unsigned input = master_.acknowledge();
  uint8_t vector = master_.vector(input);
  if (input == kCascadeInput) {
    const unsigned second = slave_.acknowledge();
    vector = slave_.vector(second);
    // The slave's output falls with its acknowledge and rises again for another request.
    master_.set_input(kCascadeInput, false);
  }
  update();
  return vector;
}

void PicPair::update() {
  master_.set_input(kCascadeInput, slave_.output());
  const bool level = master_.output();
  if (level == level_) return;
  level_ = level;
  if (output_) output_(level);
}

}  // namespace nestor::emu
