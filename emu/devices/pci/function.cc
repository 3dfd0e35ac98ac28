// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/devices/pci/function.h"

#include <bit>
#include <stdexcept>
#include <utility>

#include "emu/devices/pci/message.h"

namespace nestor::emu {
namespace {

// Offsets in the header.
enum Header : unsigned {
  kVendor = 0x00,
  kDevice = 0x02,
  kCommand = 0x04,
  kStatus = 0x06,
  kRevision = 0x08,
  kClassCode = 0x09,
  kCacheLine = 0x0c,
  kHeaderType = 0x0e,
  kBar0 = 0x10,
  kSubsystemVendor = 0x2c,
  kSubsystem = 0x2e,
  kRomBase = 0x30,
  kCapabilities = 0x34,
  kInterruptLine = 0x3c,
  kInterruptPin = 0x3d,
  kHeaderEnd = 0x40,
};

constexpr uint16_t kIoSpace = 1u << 0, kMemorySpace = 1u << 1, kBusMaster = 1u << 2,
                   kInterruptDisable = 1u << 10;                            // command
constexpr uint16_t kInterruptStatus = 1u << 3, kHasCapabilities = 1u << 4;  // status
constexpr uint8_t kMultifunction = 0x80;                                    // header type
constexpr uint32_t kIoBar = 1, kIoBarBits = 3, kMemoryBarBits = 0xf;
constexpr uint32_t kRomEnable = 1, kRomBarBits = 0x7ff;

// "MSI Capability Structure", of 64-bit addresses and with a mask; offsets in the capability.
constexpr uint8_t kMsiCapability = 5;
enum Msi : unsigned {
  kMsiControl = 2,
  kMsiAddress = 4,
  kMsiUpperAddress = 8,
  kMsiData = 12,
  kMsiMask = 16,
  kMsiPending = 20,
  kMsiBytes = 24,
};
constexpr uint16_t kMsiEnable = 1u << 0, kMsi64Bits = 1u << 7, kMsiMaskable = 1u << 8;

constexpr unsigned bar_offset(unsigned bar) {
  return bar == PciFunction::kRomBar ? unsigned{kRomBase} : kBar0 + 4 * bar;
}

// Bits of a base address register that are no part of an address.
constexpr uint32_t low_bits(unsigned bar, Space space) {
  if (bar == PciFunction::kRomBar) return kRomBarBits;
  return space == Space::kPorts ? kIoBarBits : kMemoryBarBits;
}

bool fits(unsigned bar, const Region& region) {
  const uint64_t least = low_bits(bar, region.space) + 1;
  const uint64_t most = region.space == Space::kPorts ? 256 : 1u << 31;
  return std::has_single_bit(region.size) && region.size >= least && region.size <= most;
}

}  // namespace

PciFunction::PciFunction(Bus& bus, const Identity& identity, std::vector<Region> bars,
                         std::optional<InterruptSource> interrupt)
    : bars_(std::move(bars)),
      interrupt_(std::move(interrupt)),
      capabilities_end_(kHeaderEnd),
      last_link_(kCapabilities) {
  if (bars_.size() > kBars + 1) throw std::logic_error("too many base address registers");
  set_configuration(kVendor, 2, identity.vendor);
  set_configuration(kDevice, 2, identity.device);
  set_configuration(kCommand, 2, identity.command);
  set_configuration(kStatus, 2, identity.status);
  set_configuration(kRevision, 1, identity.revision);
  set_configuration(kClassCode, 3, identity.class_code);
  set_configuration(kSubsystemVendor, 2, identity.subsystem_vendor);
  set_configuration(kSubsystem, 2, identity.subsystem);
  uint32_t command = bars_.empty() ? 0 : kBusMaster;
  for (unsigned bar = 0; bar < bars_.size(); ++bar) {
    const Region& region = bars_[bar];
    claims_.emplace_back(bus, *this, bar);
    if (region.size == 0) continue;
    if (!fits(bar, region)) throw std::logic_error("a base address register of an impossible size");
    const bool io = region.space == Space::kPorts;
    command |= io ? kIoSpace : kMemorySpace;
    set_configuration(bar_offset(bar), 4, io ? kIoBar : 0);
    set_writable(bar_offset(bar), 4,
                 static_cast<uint32_t>(~(region.size - 1)) | (bar == kRomBar ? kRomEnable : 0));
  }
  if (!bars_.empty()) set_writable(kCacheLine, 1, 0xff);
  if (interrupt_) {
    command |= kInterruptDisable;
    set_configuration(kInterruptPin, 1, 1);
    set_writable(kInterruptLine, 1, 0xff);
  }
  set_writable(kCommand, 2, command);
}

unsigned PciFunction::add_capability(uint8_t id, std::span<const uint8_t> body,
                                     std::span<const uint8_t> writable) {
  const unsigned at = capabilities_end_;
  const unsigned end = at + 2 + static_cast<unsigned>(body.size());
  if (end > kConfigurationBytes) throw std::logic_error("too many capabilities");
  state_.bytes[at] = id;
  for (unsigned i = 0; i < body.size(); ++i) {
    state_.bytes[at + 2 + i] = body[i];
    writable_[at + 2 + i] = i < writable.size() ? writable[i] : 0;
  }
  state_.bytes[last_link_] = static_cast<uint8_t>(at);
  last_link_ = at + 1;
  capabilities_end_ = (end + 3) / 4 * 4;
  set_configuration(kStatus, 2, configuration(kStatus, 2) | kHasCapabilities);
  return at;
}

void PciFunction::add_msi(std::function<void(const Ipi&)> send) {
  send_message_ = std::move(send);
  const std::array<uint8_t, kMsiBytes - 2> body = {kMsi64Bits, kMsiMaskable >> 8};
  msi_ = add_capability(kMsiCapability, body, {});
  // How many messages are enabled is kept, though there is one.
  set_writable(msi_ + kMsiControl, 2, kMsiEnable | 7u << 4);
  set_writable(msi_ + kMsiAddress, 4, ~3u);
  set_writable(msi_ + kMsiUpperAddress, 4, ~0u);
  set_writable(msi_ + kMsiData, 2, 0xffff);
  set_writable(msi_ + kMsiMask, 4, 1);
}

bool PciFunction::msi_enabled() const {
  return msi_ != 0 && (configuration(msi_ + kMsiControl, 2) & kMsiEnable) != 0;
}

void PciFunction::send_msi() {
  if (!msi_enabled()) state_.msi_pending = false;
  if (!state_.msi_pending || configuration(msi_ + kMsiMask, 4) != 0 || !is_bus_master()) return;
  state_.msi_pending = false;
  const uint64_t address = uint64_t{configuration(msi_ + kMsiUpperAddress, 4)} << 32 |
                           configuration(msi_ + kMsiAddress, 4);
  const auto message = interrupt_of_message(address, configuration(msi_ + kMsiData, 2));
  if (message && send_message_) send_message_(*message);
}

void PciFunction::set_writable(unsigned offset, unsigned size, uint32_t bits) {
  for (unsigned i = 0; i < size; ++i) writable_[offset + i] = static_cast<uint8_t>(bits >> (8 * i));
}

uint32_t PciFunction::configuration(unsigned offset, unsigned size) const {
  uint32_t value = 0;
  for (unsigned i = 0; i < size; ++i) value |= uint32_t{state_.bytes[offset + i]} << (8 * i);
  return value;
}

void PciFunction::set_configuration(unsigned offset, unsigned size, uint32_t value) {
  for (unsigned i = 0; i < size; ++i)
    state_.bytes[offset + i] = static_cast<uint8_t>(value >> (8 * i));
}

uint32_t PciFunction::read_configuration(unsigned offset, unsigned size) {
  reading_configuration(offset, size);
  uint32_t value = configuration(offset, size);
  if (state_.interrupt && offset <= kStatus && offset + size > kStatus)
    value |= uint32_t{kInterruptStatus} << (8 * (kStatus - offset));
  if (state_.msi_pending && offset == msi_ + kMsiPending) value |= 1;
  return value;
}

void PciFunction::write_configuration(unsigned offset, unsigned size, uint32_t value) {
  for (unsigned i = 0; i < size; ++i) {
    const uint8_t bits = writable_[offset + i];
    uint8_t& byte = state_.bytes[offset + i];
    byte = static_cast<uint8_t>((byte & ~bits) | (value >> (8 * i) & bits));
  }
  update_line();
  configuration_written(offset, size);
}

void PciFunction::has_further_functions() { set_configuration(kHeaderType, 1, kMultifunction); }

bool PciFunction::is_bus_master() const { return configuration(kCommand, 2) & kBusMaster; }

void PciFunction::set_interrupt(bool level) {
  if (level && !state_.interrupt && msi_enabled()) state_.msi_pending = true;
  state_.interrupt = level;
  update_line();
}

void PciFunction::repeat_message() {
  if (!state_.interrupt || !msi_enabled()) return;
  state_.msi_pending = true;
  send_msi();
}

void PciFunction::update_line() {
  send_msi();
  if (!interrupt_) return;
  const bool level =
      state_.interrupt && !msi_enabled() && !(configuration(kCommand, 2) & kInterruptDisable);
  if (level != interrupt_->level()) interrupt_->set(level);
}

// Where the space that a base address register stands for is to be.
std::optional<uint64_t> PciFunction::asked_base(unsigned bar) const {
  const bool io = bars_[bar].space == Space::kPorts;
  if (bars_[bar].size == 0) return std::nullopt;
  if (!(configuration(kCommand, 2) & (io ? kIoSpace : kMemorySpace))) return std::nullopt;
  const uint32_t value = configuration(bar_offset(bar), 4);
  if (bar == kRomBar && (value & kRomEnable) == 0) return std::nullopt;
  return value & ~low_bits(bar, bars_[bar].space);
}

void PciFunction::release_bars() {
  for (Claim& claim : claims_) claim.release();
}

void PciFunction::place_bars() {
  for (unsigned bar = 0; bar < claims_.size(); ++bar) {
    const auto base = asked_base(bar);
    // One that overlaps another device is not decoded.
    if (!base || !claims_[bar].move_to(*base)) claims_[bar].release();
  }
  bars_placed();
}

void PciFunction::serialize(Archive& archive) {
  const Bytes before = state_.bytes;
  archive(state_);
  for (unsigned i = 0; i < kConfigurationBytes; ++i)
    archive.require(((state_.bytes[i] ^ before[i]) & ~writable_[i]) == 0);
  archive.require(msi_enabled() || !state_.msi_pending);
  if (interrupt_) interrupt_->serialize(archive);
}

}  // namespace nestor::emu
