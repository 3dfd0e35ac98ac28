// SPDX-License-Identifier: GPL-2.0-or-later
//
// How devices meet the processor: I/O ports, memory-mapped registers, time.
#pragma once

#include <cstdint>
#include <functional>
#include <limits>
#include <optional>
#include <string_view>
#include <vector>

#include "emu/events/unclaimed_access.h"

namespace nestor::emu {

class Bus;

class Device {
 public:
  static constexpr uint64_t kNever = std::numeric_limits<uint64_t>::max();

  virtual ~Device() = default;
  virtual std::string_view name() const = 0;

  // Claims the device's ports and memory, and its place among the timed devices. false: one of its
  // ranges is already claimed.
  [[nodiscard]] virtual bool attach(Bus&) { return true; }

  // The widest port access that the device takes at once, in bytes: 1, 2 or 4. The bus splits wider
  // ones, lowest port first.
  virtual unsigned widest_port_access() const { return 4; }

  // An access of 1, 2 or 4 bytes to a registered port range. `port` is absolute.
  virtual uint32_t read_port(uint16_t /*port*/, unsigned /*size*/) { return 0xffffffff; }
  virtual void write_port(uint16_t /*port*/, unsigned /*size*/, uint32_t /*value*/) {}

  // An access of 1, 2, 4 or 8 bytes to a registered memory range. `offset` counts from its start.
  virtual uint64_t read_memory(uint64_t /*offset*/, unsigned /*size*/) { return ~0ull; }
  virtual void write_memory(uint64_t /*offset*/, unsigned /*size*/, uint64_t /*value*/) {}

  // The virtual time (Clock::cycles) at which the device must be called, kNever when idle.
  virtual uint64_t deadline() const { return kNever; }
  virtual void expire(uint64_t /*now*/) {}
};

class Bus {
 public:
  // Ranges are inclusive of `first`, `count` long; false: the range overlaps one already claimed.
  [[nodiscard]] bool claim_ports(uint16_t first, uint32_t count, Device& device);
  [[nodiscard]] bool claim_memory(uint64_t first, uint64_t count, Device& device);

  // `size` is 1, 2 or 4. An access that no single range holds is split into bytes. The bits above
  // `size` bytes of what is read are 0.
  uint32_t read_port(uint16_t port, unsigned size);
  void write_port(uint16_t port, unsigned size, uint32_t value);
  // Physical addresses outside RAM; `size` is 1, 2, 4 or 8. Accesses may be unaligned; one that no
  // single range holds is split into bytes.
  uint64_t read_memory(uint64_t physical, unsigned size);
  void write_memory(uint64_t physical, unsigned size, uint64_t value);

  // The earliest deadline of all timed devices. It changes only by an access to a device, a change
  // of an interrupt line, a write to an MSR of the local APIC or the TSC, and expire(). expire()
  // calls those that are due, in registration order.
  uint64_t deadline() const;
  void expire(uint64_t now);
  void add_timed(Device& device) { timed_.push_back(&device); }
  const std::vector<Device*>& timed() const { return timed_; }

  // Called for each access that no device claimed.
  std::function<void(const UnclaimedAccess&)> on_unclaimed;

 private:
  struct Range {
    uint64_t first, last;
    Device* device;
  };
  uint64_t unclaimed(bool memory, uint64_t address, unsigned size);
  void unclaimed(bool memory, uint64_t address, unsigned size, uint64_t value);
  static const Range* find(const std::vector<Range>& ranges, uint64_t first, unsigned size);
  // Whether any byte of the access is claimed.
  static bool touches(const std::vector<Range>& ranges, uint64_t first, unsigned size);
  static bool insert(std::vector<Range>& ranges, uint64_t first, uint64_t count, Device& device);

  std::vector<Range> ports_, memory_;  // sorted by first
  std::vector<Device*> timed_;
};

}  // namespace nestor::emu
