// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/devices/virtio/virtqueue.h"

#include <algorithm>
#include <array>
#include <bit>

#include "emu/memory/little_endian.h"

namespace nestor::emu {
namespace {

// Descriptors: address, length, flags, next.
constexpr uint64_t kDescriptorBytes = 16;
constexpr uint16_t kNext = 1, kWrite = 2, kIndirect = 4;
// The driver area: flags, index, a ring of heads.
constexpr uint64_t kIndex = 2, kRing = 4, kAvailableBytes = 2;
constexpr uint16_t kNoInterrupt = 1;
// The device area: flags, index, a ring of heads with lengths.
constexpr uint64_t kUsedBytes = 8;

}  // namespace

template <class Use>
bool VirtqueueStream::advance(uint64_t size, const Use& use) {
  for (uint64_t done = 0; done < size;) {
    if (buffers_.empty()) return false;
    const VirtqueueChain::Buffer& buffer = buffers_.front();
    const uint64_t piece = std::min(size - done, buffer.size - used_);
    if (piece != 0 && !use(buffer.address + used_, done, piece)) return false;
    done += piece;
    used_ += piece;
    if (used_ != buffer.size) continue;
    buffers_ = buffers_.subspan(1);
    used_ = 0;
  }
  return true;
}

bool VirtqueueStream::read(std::span<uint8_t> out) {
  return advance(out.size(), [&](uint64_t address, uint64_t offset, uint64_t size) {
    return memory_.read(address, out.subspan(offset, size));
  });
}

bool VirtqueueStream::write(std::span<const uint8_t> data) {
  return advance(data.size(), [&](uint64_t address, uint64_t offset, uint64_t size) {
    return memory_.write(address, data.subspan(offset, size));
  });
}

bool VirtqueueStream::skip(uint64_t size) {
  return advance(size, [](uint64_t, uint64_t, uint64_t) { return true; });
}

void Virtqueue::State::fields(Archive& archive) {
  archive(descriptors, driver_area, device_area, size, vector, next_available, next_used, enabled,
          indirect, event_index);
  archive.require(std::has_single_bit(size) && size <= kMaxSize);
}

bool Virtqueue::read(uint64_t base, uint64_t offset, std::span<uint8_t> out) {
  return offset <= ~base && memory_.read(base + offset, out);
}

bool Virtqueue::write(uint64_t base, uint64_t offset, std::span<const uint8_t> data) {
  return offset <= ~base && memory_.write(base + offset, data);
}

std::variant<Virtqueue::Empty, Virtqueue::Broken, VirtqueueChain> Virtqueue::next() {
  if (!state_.enabled) return Empty{};
  std::array<uint8_t, 2> bytes{};
  if (!read(state_.driver_area, kIndex, bytes)) return Broken{};
  const auto index = static_cast<uint16_t>(load_little_endian(bytes));
  const auto available = static_cast<uint16_t>(index - state_.next_available);
  if (available == 0) {
    if (state_.event_index && !ask_for_notification()) return Broken{};
    return Empty{};
  }
  if (available > state_.size) return Broken{};
  const uint64_t place = state_.next_available % state_.size;
  if (!read(state_.driver_area, kRing + kAvailableBytes * place, bytes)) return Broken{};
  VirtqueueChain chain;
  chain.head = static_cast<uint16_t>(load_little_endian(bytes));
  if (!follow(chain)) return Broken{};
  return chain;
}

// Visits at most as many descriptors as there are, so that a loop ends.
bool Virtqueue::follow(VirtqueueChain& chain) {
  uint16_t number = chain.head;
  for (unsigned count = 0; count < state_.size; ++count) {
    if (number >= state_.size) return false;
    const auto descriptor = read_descriptor(state_.descriptors, number);
    if (!descriptor) return false;
    if ((descriptor->flags & kIndirect) != 0) {
      // It is the last one, and what it says of writing means nothing.
      return state_.indirect && (descriptor->flags & kNext) == 0 &&
             follow_indirect(chain, descriptor->address, descriptor->size);
    }
    if (!append(chain, *descriptor)) return false;
    if (!(descriptor->flags & kNext)) return true;
    number = descriptor->next;
  }
  return false;
}

// "Indirect Descriptors": a table of its own, without further ones.
bool Virtqueue::follow_indirect(VirtqueueChain& chain, uint64_t table, uint64_t bytes) {
  const uint64_t size = bytes / kDescriptorBytes;
  if (bytes % kDescriptorBytes != 0 || size > kMaxSize) return false;
  uint16_t number = 0;
  for (unsigned count = 0; count < size; ++count) {
    if (number >= size) return false;
    const auto descriptor = read_descriptor(table, number);
    if (!descriptor || (descriptor->flags & kIndirect) != 0 || !append(chain, *descriptor))
      return false;
    if (!(descriptor->flags & kNext)) return true;
    number = descriptor->next;
  }
  return false;
}

std::optional<Virtqueue::Descriptor> Virtqueue::read_descriptor(uint64_t table, uint16_t number) {
  std::array<uint8_t, kDescriptorBytes> bytes{};
  if (!read(table, kDescriptorBytes * number, bytes)) return std::nullopt;
  const auto field = [&](size_t offset, size_t size) {
    return load_little_endian(std::span(bytes).subspan(offset, size));
  };
  return Descriptor{field(0, 8), static_cast<uint32_t>(field(8, 4)),
                    static_cast<uint16_t>(field(12, 2)), static_cast<uint16_t>(field(14, 2))};
}

bool Virtqueue::append(VirtqueueChain& chain, const Descriptor& descriptor) const {
  const auto [address, size, flags, next] = descriptor;
  const bool writable = (flags & kWrite) != 0;
  // What the device writes comes after what it reads.
  if (!writable && !chain.writable.empty()) return false;
  uint64_t& bytes = writable ? chain.writable_bytes : chain.readable_bytes;
  if (chain.readable_bytes + chain.writable_bytes + size > VirtqueueChain::kMaxBytes) return false;
  if (!memory_.holds(address, size)) return false;
  bytes += size;
  (writable ? chain.writable : chain.readable).push_back({address, size});
  return true;
}

bool Virtqueue::complete(const VirtqueueChain& chain, uint32_t written) {
  std::array<uint8_t, kUsedBytes> element{};
  store_little_endian(std::span(element).first(4), chain.head);
  store_little_endian(std::span(element).last(4), written);
  const uint64_t place = state_.next_used % state_.size;
  const auto next_used = static_cast<uint16_t>(state_.next_used + 1);
  std::array<uint8_t, 2> index{};
  store_little_endian(index, next_used);
  if (!write(state_.device_area, kRing + kUsedBytes * place, element) ||
      !write(state_.device_area, kIndex, index)) {
    return false;
  }
  ++state_.next_available;
  state_.next_used = next_used;
  return true;
}

// The driver notifies when it makes the chain available that is the next one.
bool Virtqueue::ask_for_notification() {
  std::array<uint8_t, 2> index{};
  store_little_endian(index, state_.next_available);
  return write(state_.device_area, kRing + kUsedBytes * state_.size, index);
}

bool Virtqueue::wants_notification() {
  std::array<uint8_t, 2> bytes{};
  if (!state_.event_index)
    return read(state_.driver_area, 0, bytes) && !(load_little_endian(bytes) & kNoInterrupt);
  // One is completed at a time: the index that was passed is that of the last one.
  return read(state_.driver_area, kRing + kAvailableBytes * state_.size, bytes) &&
         load_little_endian(bytes) == static_cast<uint16_t>(state_.next_used - 1);
}

}  // namespace nestor::emu
