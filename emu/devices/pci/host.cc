// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/devices/pci/host.h"

#include <stdexcept>
#include <utility>

namespace nestor::emu {
namespace {

// The address.
constexpr uint32_t kEnabled = 1u << 31, kAddressBits = 0x80fffffc;
constexpr unsigned kSlotShift = 11;
constexpr uint32_t kBusAndFunction = 0x00ff0700, kRegister = 0xfc;
// Where a header has all that decides which addresses the function decodes.
constexpr unsigned kCommandRegister = 0x04, kBarsEnd = 0x28;

}  // namespace

void PciHost::add(unsigned slot, std::unique_ptr<PciFunction> function) {
  if (slot >= kSlots || functions_[slot]) throw std::logic_error("a PCI slot is taken");
  functions_[slot] = std::move(function);
}

// nullptr: nothing answers.
PciFunction* PciHost::addressed() const {
  if (!(state_.address & kEnabled) || (state_.address & kBusAndFunction) != 0) return nullptr;
  return functions_[state_.address >> kSlotShift & (kSlots - 1)].get();
}

uint32_t PciHost::read_port(DeviceAddress at, unsigned size) {
  const auto byte = static_cast<unsigned>(at.offset);
  if (at.region == 0) return state_.address >> (8 * byte);
  PciFunction* const function = addressed();
  if (function == nullptr) return 0xffffffff;
  return function->read_configuration((state_.address & kRegister) + byte, size);
}

void PciHost::write_port(DeviceAddress at, unsigned size, uint32_t value) {
  if (at.region == 0) {
    if (size == 4) state_.address = value & kAddressBits;
    return;
  }
  PciFunction* const function = addressed();
  if (function == nullptr) return;
  const unsigned offset = (state_.address & kRegister) + static_cast<unsigned>(at.offset);
  function->write_configuration(offset, size, value);
  if (offset >= kCommandRegister && offset < kBarsEnd) place_functions();
}

// By slot, so that what overlaps what does not depend on the order in which registers were written.
void PciHost::place_functions() {
  for (const auto& function : functions_) {
    if (function) function->release_bars();
  }
  for (const auto& function : functions_) {
    if (function) function->place_bars();
  }
}

void PciHost::serialize(Archive& archive) {
  archive(state_);
  for (const auto& function : functions_) {
    if (function) function->serialize(archive);
  }
  if (archive.loads()) place_functions();
}

}  // namespace nestor::emu
