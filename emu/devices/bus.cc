// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/devices/bus.h"

#include <algorithm>

namespace nestor::emu {
namespace {

constexpr uint64_t low_bytes(unsigned size) { return size >= 8 ? ~0ull : (1ull << (8 * size)) - 1; }

}  // namespace

const Bus::Range* Bus::find(const std::vector<Range>& ranges, uint64_t first, unsigned size) {
  auto above =
      std::upper_bound(ranges.begin(), ranges.end(), first,
                       [](uint64_t value, const Range& range) { return value < range.first; });
  if (above == ranges.begin()) return nullptr;
  const Range& range = *std::prev(above);
  return range.last >= first && range.last - first >= size - 1 ? &range : nullptr;
}

bool Bus::touches(const std::vector<Range>& ranges, uint64_t first, unsigned size) {
  for (unsigned i = 0; i < size; ++i) {
    if (find(ranges, first + i, 1)) return true;
  }
  return false;
}

bool Bus::insert(std::vector<Range>& ranges, uint64_t first, uint64_t count, Device& device) {
  if (count == 0 || first + (count - 1) < first) return false;
  const uint64_t last = first + (count - 1);
  auto place =
      std::lower_bound(ranges.begin(), ranges.end(), first,
                       [](const Range& range, uint64_t value) { return range.first < value; });
  if (place != ranges.end() && place->first <= last) return false;
  if (place != ranges.begin() && std::prev(place)->last >= first) return false;
  ranges.insert(place, Range{first, last, &device});
  return true;
}

bool Bus::claim_ports(uint16_t first, uint32_t count, Device& device) {
  if (count > 0x10000u - first) return false;
  return insert(ports_, first, count, device);
}

bool Bus::claim_memory(uint64_t first, uint64_t count, Device& device) {
  return insert(memory_, first, count, device);
}

uint64_t Bus::unclaimed(bool memory, uint64_t address, unsigned size) {
  const uint64_t ones = low_bytes(size);
  if (on_unclaimed) on_unclaimed({memory, false, address, size, ones});
  return ones;
}

void Bus::unclaimed(bool memory, uint64_t address, unsigned size, uint64_t value) {
  if (on_unclaimed) on_unclaimed({memory, true, address, size, value & low_bytes(size)});
}

uint32_t Bus::read_port(uint16_t port, unsigned size) {
  const Range* range = find(ports_, port, size);
  const unsigned widest = range ? range->device->widest_port_access() : 1;
  if (range && size <= widest) {
    return range->device->read_port(port, size) & static_cast<uint32_t>(low_bytes(size));
  }
  if (!range && !touches(ports_, port, size)) {
    return static_cast<uint32_t>(unclaimed(false, port, size));
  }
  uint32_t value = 0;
  for (unsigned i = 0; i < size; i += widest) {
    value |= read_port(static_cast<uint16_t>(port + i), widest) << (8 * i);
  }
  return value;
}

void Bus::write_port(uint16_t port, unsigned size, uint32_t value) {
  const Range* range = find(ports_, port, size);
  const unsigned widest = range ? range->device->widest_port_access() : 1;
  if (range && size <= widest) {
    range->device->write_port(port, size, value & static_cast<uint32_t>(low_bytes(size)));
    return;
  }
  if (!range && !touches(ports_, port, size)) {
    return unclaimed(false, port, size, value);
  }
  for (unsigned i = 0; i < size; i += widest) {
    write_port(static_cast<uint16_t>(port + i), widest, value >> (8 * i));
  }
}

uint64_t Bus::read_memory(uint64_t physical, unsigned size) {
  if (const Range* range = find(memory_, physical, size)) {
    return range->device->read_memory(physical - range->first, size) & low_bytes(size);
  }
  if (!touches(memory_, physical, size)) return unclaimed(true, physical, size);
  uint64_t value = 0;
  for (unsigned i = 0; i < size; ++i) value |= read_memory(physical + i, 1) << (8 * i);
  return value;
}

void Bus::write_memory(uint64_t physical, unsigned size, uint64_t value) {
  if (const Range* range = find(memory_, physical, size)) {
    range->device->write_memory(physical - range->first, size, value & low_bytes(size));
    return;
  }
  if (!touches(memory_, physical, size)) return unclaimed(true, physical, size, value);
  for (unsigned i = 0; i < size; ++i) write_memory(physical + i, 1, value >> (8 * i));
}

uint64_t Bus::deadline() const {
  uint64_t earliest = Device::kNever;
  for (const Device* device : timed_) earliest = std::min(earliest, device->deadline());
  return earliest;
}

void Bus::expire(uint64_t now) {
  for (Device* device : timed_) {
    if (device->deadline() <= now) device->expire(now);
  }
}

}  // namespace nestor::emu
