// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/devices/legacy/shadow_memory.h"

#include <algorithm>

namespace nestor::emu {
namespace {

constexpr uint64_t kSegment = 0x4000, kLastSegment = 0x30000;  // offsets

struct Range {
  uint64_t offset, size;
};

constexpr Range range_of(unsigned segment) {
  if (segment == 0) return {kLastSegment, ShadowMemory::kSize - kLastSegment};
  return {(segment - 1) * kSegment, kSegment};
}

constexpr unsigned segment_of(uint64_t offset) {
  return offset >= kLastSegment ? 0 : static_cast<unsigned>(offset / kSegment) + 1;
}

}  // namespace

ShadowMemory::ShadowMemory(VisibleMemory& memory) : memory_(memory), ram_(kSize) {
  memory_.allow_writes(kBase, kSize, false);
}

void ShadowMemory::set(unsigned segment, bool reads, bool writes) {
  Segment& now = segments_[segment];
  if (now.reads == reads && now.writes == writes) return;
  const auto [offset, size] = range_of(segment);
  const std::span<uint8_t> ram = std::span(ram_).subspan(offset, size);
  if (reads && !now.reads) {
    memory_.show(kBase + offset, ram);
  } else if (!reads && now.reads) {
    memory_.read(kBase + offset, ram);
    std::vector<uint8_t> rom(size, 0xff);
    const uint64_t before_end = kSize - offset;
    if (before_end <= kRomWindow) memory_.read(kRomEnd - before_end, rom);
    memory_.show(kBase + offset, rom);
  }
  now = {reads, writes};
  apply(segment);
}

void ShadowMemory::apply(unsigned segment) {
  const auto [offset, size] = range_of(segment);
  memory_.allow_writes(kBase + offset, size, segments_[segment].reads && segments_[segment].writes);
}

uint64_t ShadowMemory::read_memory(DeviceAddress at, unsigned size) {
  std::array<uint8_t, 8> bytes{};
  memory_.read(kBase + at.offset, std::span(bytes).first(size));
  uint64_t value = 0;
  for (unsigned i = size; i-- > 0;) value = value << 8 | bytes[i];
  return value;
}

void ShadowMemory::write_memory(DeviceAddress at, unsigned size, uint64_t value) {
  for (unsigned i = 0; i < size; ++i) {
    const uint64_t offset = at.offset + i;
    const Segment& segment = segments_[segment_of(offset)];
    const auto byte = static_cast<uint8_t>(value >> (8 * i));
    if (segment.writes && !segment.reads) ram_[offset] = byte;
    // An access may begin where writes come here, and end where they do not.
    if (segment.writes && segment.reads) memory_.show(kBase + offset, std::span(&byte, 1));
  }
}

void ShadowMemory::serialize(Archive& archive) {
  archive(segments_);
  archive.bytes(ram_);
  if (!archive.loads()) return;
  for (unsigned segment = 0; segment < segments_.size(); ++segment) apply(segment);
}

}  // namespace nestor::emu
