// SPDX-License-Identifier: GPL-2.0-or-later
//
// The machine's RAM in the physical address space of a PC, backed lazily by the host.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <stdexcept>
#include <vector>

#include "emu/memory/archive.h"

namespace nestor::emu {

// The size cannot be had. what() is one line that names it and what to do.
class RamError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// A range of RAM, `size` bytes from physical address `first` on, at `host` in this process. One
// that is movable may come to another address.
struct RamRange {
  uint64_t first, size;
  uint8_t* host;
  bool movable = false;
};

// A range of the memory map that a loader hands to the guest; types as in an E820 map.
struct MemoryMapEntry {
  enum Type : uint32_t { kRam = 1, kReserved = 2 };
  uint64_t first, size;
  Type type;
};

//   0        A0000   100000              C0000000      100000000
//   | RAM    | hole  | RAM               | devices     | RAM ...
//
// RAM lies below C0000000 as far as it reaches; the rest of the size is above 4 GiB. The legacy
// hole between A0000 and FFFFF takes its 384 KiB off the size. In a machine with firmware of its
// own there is memory from C0000 to FFFFF, and its ROM ends at 100000000. Video memory is where
// software has placed it.
class Ram {
 public:
  static constexpr uint64_t kMinimumSize = 1ull << 20;
  static constexpr uint64_t kMaximumSize = 64ull << 30;
  static constexpr uint64_t kLegacyHole = 0xa0000, kLegacyHoleEnd = 0x100000;
  static constexpr uint64_t kDeviceHole = 0xc0000000, kDeviceHoleEnd = 0x100000000;
  static constexpr uint64_t kShadow = 0xc0000;  // up to kLegacyHoleEnd, with firmware

  // Where in physical memory all of that is, and how much more there is that is no part of the
  // guest's memory: bytes behind it, and bytes from address 0 on; and the sizes of the ROM and of
  // video memory. All multiples of 4 KiB.
  struct Placement {
    uint64_t origin = 0, extra = 0, low = 0, rom = 0, video = 0;
  };

  // `size` in bytes, a multiple of 4 KiB between the two limits. Contents are zeros. Throws
  // RamError.
  explicit Ram(uint64_t size) : Ram(size, Placement{}) {}
  Ram(uint64_t size, const Placement& placement);
  ~Ram();
  Ram(const Ram&) = delete;
  Ram& operator=(const Ram&) = delete;

  uint64_t size() const { return size_; }
  uint64_t origin() const { return origin_; }
  // The address after the last byte of the guest's RAM, and after the last byte of all.
  uint64_t guest_end() const { return origin_ + guest_span_; }
  uint64_t end() const { return origin_ + span_; }
  uint64_t low_end() const { return low_; }
  const std::vector<RamRange>& ranges() const { return ranges_; }
  // What a guest that knows of nothing else is told; addresses count from the origin.
  std::vector<MemoryMapEntry> memory_map() const;
  bool is_guest_ram(uint64_t physical) const {
    return physical >= origin_ && physical < guest_end() && host(physical, 1) != nullptr;
  }

  // Where `size` bytes from `physical` on are in this process; nullptr when they are not wholly in
  // one range.
  uint8_t* host(uint64_t physical, uint64_t size) const {
    for (const RamRange& range : ranges_) {
      if (physical - range.first < range.size && size <= range.size - (physical - range.first)) {
        return range.host + (physical - range.first);
      }
    }
    return nullptr;
  }
  // Video memory, wherever it is: until it is placed, where no processor can access it. Only where
  // there is some.
  const RamRange& video() const { return ranges_.back(); }
  // It is at `base` from now on, a multiple of 4 KiB, or nowhere. RAM comes first: where there is
  // any, it is nowhere. false: it stays where it was.
  [[nodiscard]] bool place_video(std::optional<uint64_t> base);
  // The guest may read these pages and execute them, and not write to them; write() does.
  void set_read_only(uint64_t physical, uint64_t size, bool read_only);
  bool is_read_only(const uint8_t* host) const {
    return !read_only_.empty() && host != nullptr && read_only_[page_number(host)];
  }
  // Numbers the pages of RAM without great gaps; `host` comes from host().
  uint64_t page_number(const uint8_t* host) const {
    return static_cast<uint64_t>(host - base_) >> 12;
  }
  uint64_t page_numbers() const { return ((span_ + low_ + video_) >> 12) + 1; }
  // Saves or loads the pages that are not all zeros, but not which of them are read-only.
  void serialize(Archive& archive);

  // false: not wholly in one range; nothing was copied.
  bool read(uint64_t physical, std::span<uint8_t> out) const;
  bool write(uint64_t physical, std::span<const uint8_t> data);

 private:
  uint64_t nowhere() const { return 0 - video_; }

  uint64_t size_, origin_, low_, video_, guest_span_, span_;
  // Of one mapping in which physical address A is at base_ + A - origin_; what lies at address 0 on
  // follows behind, and then video memory.
  uint8_t* base_ = nullptr;
  std::vector<RamRange> ranges_;
  std::vector<bool> read_only_;  // by page_number(); empty: none
};

}  // namespace nestor::emu
