// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/devices/pci/host.h"

#include <stdexcept>
#include <utility>

namespace nestor::emu {
namespace {

// The address.
constexpr uint32_t kEnabled = 1u << 31, kAddressBits = 0x80fffffc;
constexpr unsigned kFunctionShift = 8;  // of the function number, with the slot above it
constexpr uint32_t kBus = 0x00ff0000, kFunction = 0xff, kRegister = 0xfc;
// The memory.
constexpr unsigned kMappedFunctionShift = 12;
constexpr uint64_t kMappedRegister = 0xfff;
// The reset control register: a reset when the second bit becomes set, of more than the processor
// with the first one.
constexpr unsigned kResetControl = 1;  // offset from the address
constexpr uint8_t kResetKind = 1u << 1, kResetProcessor = 1u << 2;
// Where a header has all that decides which addresses the function decodes.
constexpr unsigned kCommandRegister = 0x04, kBarsEnd = 0x34;

}  // namespace

void PciHost::add(unsigned slot, std::unique_ptr<PciFunction> function, unsigned number) {
  const unsigned first = slot * kFunctionsOfSlot;
  if (slot >= kSlots || number >= kFunctionsOfSlot || functions_[first + number])
    throw std::logic_error("a PCI slot is taken");
  functions_[first + number] = std::move(function);
  if (number != 0) functions_.at(first)->has_further_functions();
}

// nullptr: nothing answers.
PciFunction* PciHost::addressed() const {
  if (!(state_.address & kEnabled) || (state_.address & kBus) != 0) return nullptr;
  return functions_[state_.address >> kFunctionShift & kFunction].get();
}

uint32_t PciHost::read_port(DeviceAddress at, unsigned size) {
  const auto byte = static_cast<unsigned>(at.offset);
  if (at.region == 0 && byte == kResetControl && size == 1) return state_.reset_control;
  if (at.region == 0) return state_.address >> (8 * byte);
  PciFunction* const function = addressed();
  if (function == nullptr) return 0xffffffff;
  return function->read_configuration((state_.address & kRegister) + byte, size);
}

void PciHost::write_reset_control(uint8_t value) {
  const bool reset = (value & ~state_.reset_control & kResetProcessor) != 0;
  state_.reset_control = value & (kResetKind | kResetProcessor);
  if (reset && reset_) reset_();
}

void PciHost::write_port(DeviceAddress at, unsigned size, uint32_t value) {
  if (at.region == 0) {
    if (size == 4) state_.address = value & kAddressBits;
    if (size == 1 && at.offset == kResetControl) write_reset_control(static_cast<uint8_t>(value));
    return;
  }
  PciFunction* const function = addressed();
  if (function == nullptr) return;
  write_configuration(*function, (state_.address & kRegister) + static_cast<unsigned>(at.offset),
                      size, value);
}

// nullptr: nothing answers; no function has more than the configuration space of PCI.
PciFunction* PciHost::mapped(uint64_t offset) const {
  if ((offset & kMappedRegister) >= PciFunction::kConfigurationBytes) return nullptr;
  return functions_[offset >> kMappedFunctionShift].get();
}

uint64_t PciHost::read_memory(DeviceAddress at, unsigned size) {
  // As the ports, by parts of aligned doublewords.
  if (at.offset % 4 + size > 4) {
    const unsigned half = size / 2;
    return read_memory(at, half) | read_memory({at.region, at.offset + half}, half) << (8 * half);
  }
  PciFunction* const function = mapped(at.offset);
  if (function == nullptr) return 0xffffffffu >> (32 - 8 * size);
  return function->read_configuration(static_cast<unsigned>(at.offset & kMappedRegister), size);
}

void PciHost::write_memory(DeviceAddress at, unsigned size, uint64_t value) {
  if (at.offset % 4 + size > 4) {
    const unsigned half = size / 2;
    write_memory(at, half, value & ((1ull << (8 * half)) - 1));
    write_memory({at.region, at.offset + half}, half, value >> (8 * half));
    return;
  }
  PciFunction* const function = mapped(at.offset);
  if (function == nullptr) return;
  write_configuration(*function, static_cast<unsigned>(at.offset & kMappedRegister), size,
                      static_cast<uint32_t>(value));
}

void PciHost::write_configuration(PciFunction& function, unsigned offset, unsigned size,
                                  uint32_t value) {
  function.write_configuration(offset, size, value);
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
