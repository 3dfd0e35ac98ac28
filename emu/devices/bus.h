// SPDX-License-Identifier: GPL-2.0-or-later
//
// How devices meet the processor: I/O ports and memory-mapped registers. A device sees offsets into
// its own regions; a claim says where on the bus a region is.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "emu/events/unclaimed_access.h"
#include "emu/memory/archive.h"
#include "emu/time/event_queue.h"

namespace nestor::emu {

enum class Space : uint8_t { kPorts, kMemory };

// What a device has to be reached by: a range of I/O ports or of memory.
struct Region {
  Space space;
  uint64_t size;  // in ports or bytes, at least 1
};

// A place in a device: the region by its index in Device::regions(), and what is counted from its
// start.
struct DeviceAddress {
  unsigned region = 0;
  uint64_t offset = 0;
};

class Device {
 public:
  static constexpr uint64_t kNever = EventQueue::kNever;

  virtual ~Device() = default;

  // Constant, and as long as the device lives.
  virtual std::span<const Region> regions() const = 0;

  // The widest port access that the device takes at once, in bytes: 1, 2 or 4. The bus splits wider
  // ones, lowest port first.
  virtual unsigned widest_port_access() const { return 4; }

  // An access of 1, 2 or 4 bytes that is within a region of ports.
  virtual uint32_t read_port(DeviceAddress, unsigned /*size*/) { return 0xffffffff; }
  virtual void write_port(DeviceAddress, unsigned /*size*/, uint32_t /*value*/) {}

  // An access of 1, 2, 4 or 8 bytes that is within a region of memory.
  virtual uint64_t read_memory(DeviceAddress, unsigned /*size*/) { return ~0ull; }
  virtual void write_memory(DeviceAddress, unsigned /*size*/, uint64_t /*value*/) {}

  // Saves or loads all that the device remembers, but for its timers, which the event queue saves.
  virtual void serialize(Archive&) {}
};

class Bus {
 public:
  // `size` is 1, 2 or 4. An access that no single range holds is split into bytes. The bits above
  // `size` bytes of what is read are 0.
  uint32_t read_port(uint16_t port, unsigned size);
  void write_port(uint16_t port, unsigned size, uint32_t value);
  // Physical addresses outside RAM; `size` is 1, 2, 4 or 8. Accesses may be unaligned; one that no
  // single range holds is split into bytes.
  uint64_t read_memory(uint64_t physical, unsigned size);
  void write_memory(uint64_t physical, unsigned size, uint64_t value);

  // The timers of all devices. The earliest deadline changes only by an access to a device, a
  // change of an interrupt line, a write to an MSR of the local APIC or the TSC, and expire().
  EventQueue& timers() { return timers_; }
  const EventQueue& timers() const { return timers_; }
  uint64_t deadline() const { return timers_.deadline(); }
  void expire(uint64_t now) { timers_.expire(now); }

  // Called for each access that no device claimed.
  std::function<void(const UnclaimedAccess&)> on_unclaimed;

 private:
  friend class Claim;
  struct Range {
    uint64_t first, last;  // both included
    Device* device;
    unsigned region;
    DeviceAddress address(uint64_t at) const { return {region, at - first}; }
  };
  using Ranges = std::vector<Range>;  // sorted by first
  uint64_t unclaimed(bool memory, uint64_t address, unsigned size);
  void unclaimed(bool memory, uint64_t address, unsigned size, uint64_t value);
  static const Range* find(const Ranges& ranges, uint64_t first, unsigned size);
  // Whether any byte of the access is claimed.
  static bool touches(const Ranges& ranges, uint64_t first, unsigned size);
  Ranges& ranges(Space space) { return space == Space::kPorts ? ports_ : memory_; }
  // false: it is empty, overlaps another or does not fit into the space.
  bool insert(Space space, uint64_t first, uint64_t size, Device& device, unsigned region);
  void remove(Space space, uint64_t first);

  Ranges ports_, memory_;
  EventQueue timers_;
};

// The place of a device's region on the bus; it may move, and ends with the object. The bus and the
// device outlive it.
class Claim {
 public:
  // Of no place yet. `region`: index in device.regions().
  Claim(Bus& bus, Device& device, unsigned region)
      : bus_(&bus), device_(&device), region_(region) {}
  ~Claim() { release(); }
  Claim(Claim&& other) noexcept
      : bus_(other.bus_),
        device_(other.device_),
        region_(other.region_),
        base_(std::exchange(other.base_, std::nullopt)) {}
  Claim& operator=(Claim&&) = delete;

  // The region begins at `base` from now on. false: it overlaps another claim there, or does not
  // fit into the space; it stays where it was.
  [[nodiscard]] bool move_to(uint64_t base);
  void release();
  // nullopt: it is nowhere.
  std::optional<uint64_t> base() const { return base_; }
  void serialize(Archive& archive);

 private:
  const Region& region() const { return device_->regions()[region_]; }

  Bus* bus_;
  Device* device_;
  unsigned region_;
  std::optional<uint64_t> base_;
};

// Claims each region of a device, at the base of the same index. Empty: one of them is taken, or
// the device has another number of regions.
[[nodiscard]] std::vector<Claim> claim_all(Bus& bus, Device& device,
                                           std::span<const uint64_t> bases);

}  // namespace nestor::emu
