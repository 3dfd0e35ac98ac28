// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/devices/pci/msix.h"

#include <stdexcept>
#include <utility>

#include "emu/devices/pci/message.h"

namespace nestor::emu {
namespace {

enum Word : unsigned { kAddress, kUpperAddress, kData, kVectorControl };
constexpr std::array<uint32_t, 4> kWritableBits = {~3u, ~0u, ~0u, 1};
constexpr uint32_t kMasked = 1;
constexpr uint64_t kEntryBytes = 16;

}  // namespace

Msix::Msix(unsigned vectors, std::function<void(const Ipi&)> send) : send_(std::move(send)) {
  if (vectors == 0 || vectors > kMaxVectors) throw std::logic_error("too many MSI-X vectors");
  state_.table.resize(vectors);
  for (Entry& entry : state_.table) entry.words[kVectorControl] = kMasked;
}

std::array<uint8_t, 10> Msix::capability(unsigned bar) const {
  std::array<uint8_t, 10> body{};
  body[0] = static_cast<uint8_t>(vectors() - 1);
  body[2] = static_cast<uint8_t>(bar);  // the table is at offset 0
  body[6] = static_cast<uint8_t>(kPendingOffset | bar);
  body[7] = static_cast<uint8_t>(kPendingOffset >> 8);
  return body;
}

uint8_t Msix::byte_at(uint64_t offset) const {
  if (offset >= kPendingOffset && offset < kPendingOffset + sizeof state_.pending)
    return static_cast<uint8_t>(state_.pending >> (8 * (offset - kPendingOffset)));
  if (offset >= vectors() * kEntryBytes) return 0;
  return static_cast<uint8_t>(state_.table[offset / kEntryBytes].words[offset % kEntryBytes / 4] >>
                              (8 * (offset % 4)));
}

uint64_t Msix::read_memory(uint64_t offset, unsigned size) const {
  uint64_t value = 0;
  for (unsigned i = 0; i < size; ++i) value |= uint64_t{byte_at(offset + i)} << (8 * i);
  return value;
}

void Msix::write_memory(uint64_t offset, unsigned size, uint64_t value) {
  for (unsigned i = 0; i < size; ++i) {
    const uint64_t at = offset + i;
    if (at >= vectors() * kEntryBytes) break;  // pending bits are read-only
    const unsigned word = at % kEntryBytes / 4;
    const uint32_t bits = (0xffu << (8 * (at % 4))) & kWritableBits[word];
    uint32_t& stored = state_.table[at / kEntryBytes].words[word];
    const auto byte = static_cast<uint32_t>(value >> (8 * i) & 0xff) << (8 * (at % 4));
    stored = (stored & ~bits) | (byte & bits);
  }
  send_pending();
}

void Msix::control(uint16_t message_control, bool is_bus_master) {
  state_.enabled = (message_control & kEnable) != 0;
  state_.open = state_.enabled && !(message_control & kFunctionMask) && is_bus_master;
  send_pending();
}

void Msix::signal(unsigned vector) {
  if (!state_.enabled || vector >= vectors()) return;
  state_.pending |= 1ull << vector;
  send_pending();
}

void Msix::send_pending() {
  if (!state_.open || state_.pending == 0) return;
  for (unsigned vector = 0; vector < vectors(); ++vector) {
    const std::array<uint32_t, 4>& words = state_.table[vector].words;
    if (!(state_.pending >> vector & 1) || (words[kVectorControl] & kMasked)) continue;
    state_.pending &= ~(1ull << vector);
    const uint64_t address = uint64_t{words[kUpperAddress]} << 32 | words[kAddress];
    const auto message = interrupt_of_message(address, words[kData]);
    if (message && send_) send_(*message);
  }
}

void Msix::serialize(Archive& archive) {
  for (Entry& entry : state_.table) {
    archive(entry);
    for (unsigned word = 0; word < 4; ++word)
      archive.require((entry.words[word] & ~kWritableBits[word]) == 0);
  }
  archive(state_.pending, state_.enabled, state_.open);
  archive.require(vectors() == kMaxVectors || state_.pending >> vectors() == 0);
}

}  // namespace nestor::emu
