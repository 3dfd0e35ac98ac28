// SPDX-License-Identifier: GPL-2.0-or-later
//
// A driver of a virtio device for tests, in the machine of pci_fixture.h.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <vector>

#include "tests/emu/devices/pci_fixture.h"

namespace nestor::emu::test {

class VirtioDriver {
 public:
  // Fields of the common configuration.
  enum Common : uint64_t {
    kDeviceFeatureSelect = 0x00,
    kDeviceFeature = 0x04,
    kDriverFeatureSelect = 0x08,
    kDriverFeature = 0x0c,
    kConfigurationVector = 0x10,
    kQueues = 0x12,
    kStatus = 0x14,
    kGeneration = 0x15,
    kQueueSelect = 0x16,
    kQueueSize = 0x18,
    kQueueVector = 0x1a,
    kQueueEnable = 0x1c,
    kNotifyOffset = 0x1e,
    kDescriptors = 0x20,
    kDriverArea = 0x28,
    kDeviceArea = 0x30,
  };
  static constexpr uint16_t kNext = 1, kWrite = 2, kIndirect = 4;
  static constexpr uint64_t kIndirectFeature = 1ull << 28, kEventIndexFeature = 1ull << 29;
  static constexpr uint8_t kNeedsReset = 0x40;
  // Where the queue is in memory.
  static constexpr uint64_t kTable = 0x1000, kAvailable = 0x3000, kUsed = 0x4000;
  static constexpr unsigned kSize = 8;

  struct Buffer {
    uint64_t address;
    uint32_t size;
    bool writable;
  };

  VirtioDriver(PciMachine& machine, unsigned slot)
      : machine_(machine), slot_(slot), base(0xd0000000 + 0x10000 * uint64_t{slot}) {
    machine.write(slot, 0x10, 4, static_cast<uint32_t>(base));
    machine.write(slot, 0x14, 4, static_cast<uint32_t>(base) + 0x8000);
    machine.write(slot, 0x04, 2, 6);
  }

  uint64_t get(uint64_t offset, unsigned size) {
    return machine_.bus.read_memory(base + offset, size);
  }
  void set(uint64_t offset, unsigned size, uint64_t value) {
    machine_.bus.write_memory(base + offset, size, value);
  }
  uint8_t status() { return static_cast<uint8_t>(get(kStatus, 1)); }
  uint8_t interrupt_status() { return static_cast<uint8_t>(get(0x1000, 1)); }
  uint64_t configuration(uint64_t offset, unsigned size) { return get(0x2000 + offset, size); }
  void notify() { set(0x3000, 2, queue_); }

  // Returns the device status.
  uint8_t negotiate(uint64_t features) {
    set(kStatus, 1, 0);
    set(kStatus, 1, 1);
    set(kStatus, 1, 3);
    for (unsigned half = 0; half < 2; ++half) {
      set(kDriverFeatureSelect, 4, half);
      set(kDriverFeature, 4, features >> (32 * half) & 0xffffffff);
    }
    set(kStatus, 1, 0xb);
    return status();
  }
  // Up to where requests of the queue may be made.
  void start(uint64_t features = 0, unsigned queue = 0) {
    negotiate(1ull << 32 | features);
    queue_ = queue;
    std::fill_n(machine_.memory.bytes.begin() + kTable, 0x4000, uint8_t{0});
    made_ = 0;
    set(kQueueSelect, 2, queue);
    set(kQueueSize, 2, kSize);
    set(kDescriptors, 8, kTable);
    set(kDriverArea, 8, kAvailable);
    set(kDeviceArea, 8, kUsed);
    set(kQueueEnable, 2, 1);
    set(kStatus, 1, 0xf);
  }
  void use_msix() {
    for (unsigned entry = 0; entry < 2; ++entry) {
      const uint64_t at = 0x8000 + 16 * entry;
      set(at, 4, 0xfee00000);
      set(at + 8, 4, 0x50 + entry);
      set(at + 12, 4, 0);
    }
    machine_.write(slot_, machine_.capability(slot_, 0x11) + 2, 2, 0x8000);
    set(kConfigurationVector, 2, 0);
    set(kQueueSelect, 2, queue_);
    set(kQueueVector, 2, 1);
  }
  void describe(unsigned index, uint64_t address, uint32_t size, uint16_t flags, uint16_t next) {
    describe_at(kTable + 16 * index, address, size, flags, next);
  }
  void describe_at(uint64_t at, uint64_t address, uint32_t size, uint16_t flags, uint16_t next) {
    machine_.memory.put(at, address, 8);
    machine_.memory.put(at + 8, size, 4);
    machine_.memory.put(at + 12, flags, 2);
    machine_.memory.put(at + 14, next, 2);
  }
  // The chain that begins with a descriptor becomes available.
  void offer(uint16_t head) {
    machine_.memory.put(kAvailable + 4 + 2 * (made_ % kSize), head, 2);
    machine_.memory.put(kAvailable + 2, ++made_, 2);
  }
  // A chain of buffers from descriptor `first` on.
  void request(uint16_t first, const std::vector<Buffer>& buffers) {
    for (uint16_t i = 0; i < buffers.size(); ++i) {
      const bool last = i + 1u == buffers.size();
      describe(first + i, buffers[i].address, buffers[i].size,
               static_cast<uint16_t>((buffers[i].writable ? kWrite : 0) | (last ? 0 : kNext)),
               static_cast<uint16_t>(first + i + 1));
    }
    offer(first);
  }
  uint16_t used() { return static_cast<uint16_t>(machine_.memory.get(kUsed + 2, 2)); }
  // Of what was used `index`-th.
  uint32_t used_length(unsigned index) {
    return static_cast<uint32_t>(machine_.memory.get(kUsed + 8 + 8 * (index % kSize), 4));
  }
  uint32_t used_head(unsigned index) {
    return static_cast<uint32_t>(machine_.memory.get(kUsed + 4 + 8 * (index % kSize), 4));
  }
  // Until nothing is due.
  void run() {
    while (machine_.bus.deadline() != EventQueue::kNever)
      machine_.pass(machine_.bus.deadline() - machine_.clock.cycles());
  }

 private:
  PciMachine& machine_;
  const unsigned slot_;
  uint16_t made_ = 0;
  unsigned queue_ = 0;

 public:
  const uint64_t base;
};

}  // namespace nestor::emu::test
