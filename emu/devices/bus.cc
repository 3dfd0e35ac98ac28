// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/devices/bus.h"

#include <algorithm>

namespace nestor::emu {
namespace {

constexpr uint64_t low_bytes(unsigned size) { return size >= 8 ? ~0ull : (1ull << (8 * size)) - 1; }

}  // namespace

const Bus::Range* Bus::find(const Ranges& ranges, uint64_t first, unsigned size) {
  auto above =
      std::upper_bound(ranges.begin(), ranges.end(), first,
                       [](uint64_t value, const Range& range) { return value < range.first; });
  if (above == ranges.begin()) return nullptr;
  const Range& range = *std::prev(above);
  return range.last >= first && range.last - first >= size - 1 ? &range : nullptr;
}

bool Bus::touches(const Ranges& ranges, uint64_t first, unsigned size) {
  for (unsigned i = 0; i < size; ++i) {
    if (find(ranges, first + i, 1)) return true;
  }
  return false;
}

bool Bus::insert(Space space, uint64_t first, uint64_t size, Device& device, unsigned region) {
  const uint64_t limit = space == Space::kPorts ? 0xffff : ~0ull;
  if (size == 0 || first > limit || size - 1 > limit - first) return false;
  const uint64_t last = first + (size - 1);
  Ranges& ranges = this->ranges(space);
  auto place =
      std::lower_bound(ranges.begin(), ranges.end(), first,
                       [](const Range& range, uint64_t value) { return range.first < value; });
  if (place != ranges.end() && place->first <= last) return false;
  if (place != ranges.begin() && std::prev(place)->last >= first) return false;
  ranges.insert(place, Range{first, last, &device, region});
  return true;
}

void Bus::remove(Space space, uint64_t first) {
  std::erase_if(ranges(space), [&](const Range& range) { return range.first == first; });
}

bool Claim::move_to(uint64_t base) {
  const std::optional<uint64_t> before = base_;
  release();
  const auto place = [&](uint64_t at) {
    if (!bus_->insert(region().space, at, region().size, *device_, region_)) return false;
    base_ = at;
    return true;
  };
  if (place(base)) return true;
  if (before) place(*before);
  return false;
}

void Claim::release() {
  if (base_) bus_->remove(region().space, *base_);
  base_.reset();
}

void Claim::serialize(Archive& archive) {
  std::optional<uint64_t> base = base_;
  archive(base);
  if (!archive.loads()) return;
  release();
  archive.require(!base || move_to(*base));
}

std::vector<Claim> claim_all(Bus& bus, Device& device, std::span<const uint64_t> bases) {
  std::vector<Claim> claims;
  if (bases.size() != device.regions().size()) return {};
  for (unsigned region = 0; region < bases.size(); ++region) {
    if (!claims.emplace_back(bus, device, region).move_to(bases[region])) return {};
  }
  return claims;
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
    return range->device->read_port(range->address(port), size) &
           static_cast<uint32_t>(low_bytes(size));
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
    range->device->write_port(range->address(port), size,
                              value & static_cast<uint32_t>(low_bytes(size)));
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
    return range->device->read_memory(range->address(physical), size) & low_bytes(size);
  }
  if (!touches(memory_, physical, size)) return unclaimed(true, physical, size);
  uint64_t value = 0;
  for (unsigned i = 0; i < size; ++i) value |= read_memory(physical + i, 1) << (8 * i);
  return value;
}

void Bus::write_memory(uint64_t physical, unsigned size, uint64_t value) {
  if (const Range* range = find(memory_, physical, size)) {
    range->device->write_memory(range->address(physical), size, value & low_bytes(size));
    return;
  }
  if (!touches(memory_, physical, size)) return unclaimed(true, physical, size, value);
  for (unsigned i = 0; i < size; ++i) write_memory(physical + i, 1, value >> (8 * i));
}

}  // namespace nestor::emu
