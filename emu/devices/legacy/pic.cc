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
  state_.expect = Expect::kIcw2;
  state_.needs_icw4 = icw1 & 1;
  state_.single = icw1 & 2;
  state_.level_mode = icw1 & 8;
  state_.auto_eoi = state_.rotate_auto_eoi = state_.special_mask = state_.fully_nested =
      state_.read_in_service = state_.poll = false;
  state_.request = state_.in_service = state_.mask = 0;
  state_.lowest = 7;
  // Level-triggered inputs that are high request again at once.
  state_.request = state_.lines & (state_.level_mode ? 0xff : state_.edge_level);
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
  switch (state_.expect) {
    case Expect::kNothing:
      state_.mask = value;
      break;
    case Expect::kIcw2:
      state_.vector_base = value & 0xf8;
      state_.expect = !state_.single      ? Expect::kIcw3
                      : state_.needs_icw4 ? Expect::kIcw4
                                          : Expect::kNothing;
      break;
    case Expect::kIcw3:
      // The cascade of a PC is wired; what the word says cannot change it.
      state_.expect = state_.needs_icw4 ? Expect::kIcw4 : Expect::kNothing;
      break;
    case Expect::kIcw4:
      state_.auto_eoi = value & 2;
      state_.fully_nested = value & 0x10;
      state_.expect = Expect::kNothing;
      break;
  }
}

void Pic::write_ocw2(uint8_t value) {
  const unsigned input = value & 7;
  const bool rotate = value & 0x80, specific = value & 0x40, eoi = value & 0x20;
  if (!eoi) {
    if (specific && rotate) state_.lowest = input;   // set priority
    if (!specific) state_.rotate_auto_eoi = rotate;  // rotate in automatic EOI mode
    return;
  }
  // The non-specific EOI ends the highest in service, but for those that the special mask mode
  // hides.
  const auto visible = static_cast<uint8_t>(state_.special_mask ? state_.in_service & ~state_.mask
                                                                : state_.in_service);
  const std::optional<unsigned> ended = specific ? std::optional(input) : highest(visible);
  if (!ended) return;
  end_of_interrupt(*ended);
  if (rotate) state_.lowest = *ended;
}

void Pic::write_ocw3(uint8_t value) {
  if (value & 0x40) state_.special_mask = value & 0x20;
  state_.poll = value & 4;
  if (!state_.poll && (value & 2)) state_.read_in_service = value & 1;
}

uint8_t Pic::read_command() {
  if (!state_.poll) return state_.read_in_service ? state_.in_service : state_.request;
  state_.poll = false;
  if (!output()) return 0;
  return static_cast<uint8_t>(0x80 | acknowledge());
}

void Pic::set_input(unsigned input, bool level) {
  const auto bit = static_cast<uint8_t>(1u << input);
  const bool level_triggered = state_.level_mode || (state_.edge_level & bit);
  if (level) {
    if (level_triggered || !(state_.lines & bit)) state_.request |= bit;
    state_.lines |= bit;
  } else {
    // A request that goes before it is acknowledged is lost: the origin of spurious interrupts.
    state_.lines &= static_cast<uint8_t>(~bit);
    state_.request &= static_cast<uint8_t>(~bit);
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
  const auto requested = static_cast<uint8_t>(state_.request & ~state_.mask);
  if (state_.special_mask) return highest(requested & static_cast<uint8_t>(~state_.in_service));
  const std::optional<unsigned> candidate = highest(requested);
  auto blocking = state_.in_service;
  // "Special Fully Nested Mode": the cascade's own service does not block further requests of the
  // slave.
  if (master_ && state_.fully_nested) blocking &= static_cast<uint8_t>(~(1u << kCascadeInput));
  const std::optional<unsigned> served = highest(blocking);
  if (!candidate || (served && rank(*candidate) >= rank(*served))) return std::nullopt;
  return candidate;
}

unsigned Pic::acknowledge() {
  const std::optional<unsigned> input = highest_request();
  if (!input) return 7;
  const auto bit = static_cast<uint8_t>(1u << *input);
  if (!state_.level_mode && !(state_.edge_level & bit))
    state_.request &= static_cast<uint8_t>(~bit);
  if (!state_.auto_eoi) {
    state_.in_service |= bit;
  } else if (state_.rotate_auto_eoi) {
    state_.lowest = *input;
  }
  return *input;
}

uint32_t PicPair::read_port(DeviceAddress at, unsigned /*size*/) {
  if (at.region == kElcr) return (at.offset == 0 ? state_.master : state_.slave).edge_level();
  Pic& pic = at.region == kMaster ? state_.master : state_.slave;
  const uint8_t value = at.offset == 0 ? pic.read_command() : pic.read_data();
  update();  // a poll acknowledges
  return value;
}

void PicPair::write_port(DeviceAddress at, unsigned /*size*/, uint32_t value) {
  const auto byte = static_cast<uint8_t>(value);
  Pic& pic = at.region == kMaster ? state_.master : state_.slave;
  if (at.region == kElcr) {
    (at.offset == 0 ? state_.master : state_.slave).set_edge_level(byte & kElcrValid[at.offset]);
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
    state_.master.set_input(irq, level);
  } else {
    state_.slave.set_input(irq - 8, level);
  }
  update();
}

uint8_t PicPair::acknowledge() {
  const unsigned input = state_.master.acknowledge();
  uint8_t vector = state_.master.vector(input);
  if (input == kCascadeInput) {
    const unsigned second = state_.slave.acknowledge();
    vector = state_.slave.vector(second);
    // The slave's output falls with its acknowledge and rises again for another request.
    state_.master.set_input(kCascadeInput, false);
  }
  update();
  return vector;
}

void PicPair::update() {
  state_.master.set_input(kCascadeInput, state_.slave.output());
  const bool level = state_.master.output();
  if (level == state_.level) return;
  state_.level = level;
  if (output_) output_(level);
}

}  // namespace nestor::emu
