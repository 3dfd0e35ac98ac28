// SPDX-License-Identifier: GPL-2.0-or-later
//
// A guest that does anything to PCI and virtio devices: accesses at random, to what is there and to
// what is not, and to rings that are right, nearly right and wrong.
#pragma once

#include <cstdint>
#include <iterator>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "emu/devices/pci/host_bridge.h"
#include "emu/devices/virtio/block.h"
#include "emu/devices/virtio/console.h"
#include "emu/devices/virtio/entropy.h"
#include "emu/devices/virtio/network.h"
#include "tests/emu/devices/virtio_driver.h"

namespace nestor::emu::test {

// What the guest sends is a frame; what comes for it follows from the time alone.
class FixedNetwork final : public NetworkPort {
 public:
  void send(uint64_t, std::span<const uint8_t> frame) override {
    if (frame.size() < kMinFrameBytes || frame.size() > kMaxFrameBytes)
      throw std::logic_error("what is sent is no frame");
  }
  std::optional<Frame> receive(uint64_t nanoseconds) override {
    if (nanoseconds % 4 != 0) return std::nullopt;
    return Frame(kMinFrameBytes + nanoseconds % (kMaxFrameBytes - kMinFrameBytes + 1), 0x5a);
  }
};

class RandomPciGuest {
 public:
  // The disk is in the file, which is not written.
  RandomPciGuest(uint64_t seed, const std::string& disk) : random_(seed) {
    const PciFunction::Identity bridge = {
        .vendor = 1, .device = 2, .revision = 3, .class_code = 0x060000};
    machine.host.add(0, std::make_unique<HostBridge>(machine.bus, bridge, nullptr));
    machine.host.add(2, std::make_unique<VirtioEntropy>(machine.place(2, "virtio-rng"), 1));
    machine.host.add(
        3, std::make_unique<VirtioBlock>(machine.place(3, "virtio-blk"),
                                         std::make_unique<Disk>(DiskConfig{disk}), "random"));
    machine.host.add(
        4, std::make_unique<VirtioConsole>(machine.place(4, "virtio-console"), nullptr,
                                           SerialInput{[] { return uint8_t{'k'}; }, true}));
    machine.host.add(5, std::make_unique<VirtioNetwork>(machine.place(5, "virtio-net"), &network_));
  }

  // Throws std::logic_error when the machine does what it must not.
  void step() {
    if (!driver_ || next(16) == 0) revive();
    switch (next(8)) {
      case 0:
        access_configuration();
        break;
      case 1:
      case 2:
        access_structures();
        break;
      case 3:
        corrupt_ring();
        break;
      default:
        make_request();
        break;
    }
    machine.pass(next(3) == 0 ? next(200'000) : next(2000));
    if (machine.bus.deadline() <= machine.clock.cycles())
      throw std::logic_error("something stays due");
    if (machine.messages.size() > 1000) machine.messages.clear();
  }

  // Of the devices and of the memory.
  std::vector<uint8_t> saved() {
    return saved_bytes([this](Archive& archive) { serialize(archive); });
  }
  void serialize(Archive& archive) {
    machine.serialize(archive);
    archive.bytes(machine.memory.bytes);
  }

 private:
  FixedNetwork network_;

 public:
  PciMachine machine;
  uint64_t served = 0, broken = 0, refused = 0;

 private:
  uint64_t next(uint64_t bound) {
    random_ = random_ * 6364136223846793005 + 1442695040888963407;
    return (random_ >> 33) % bound;
  }
  // Numbers at which comparisons and sums go wrong, among others.
  uint64_t number() {
    constexpr uint64_t kEdges[] = {0,           1,          2,          7,          8,
                                   0xff,        0x1000,     0x7fff,     0x8000,     0xffff,
                                   0x10000,     0x1ffff,    0x20000,    0x7fffffff, 0x80000000,
                                   0xc0000000,  0xfee00000, 0xffffffff, 1ull << 32, ~0ull - 15,
                                   ~0ull - 0xf, 1ull << 63, ~0ull - 7,  ~0ull - 1,  ~0ull};
    if (next(2) == 0) return kEdges[next(std::size(kEdges))];
    return next(2) == 0 ? next(256) : next(1ull << 31) << 33 | next(1ull << 31) << 2 | next(4);
  }
  // The device works again, whatever was done to it.
  void revive() {
    slot_ = 2 + static_cast<unsigned>(next(4));
    driver_.emplace(machine, slot_);
    if ((driver_->status() & VirtioDriver::kNeedsReset) != 0) ++broken;
    features_ = next(4) << 28;  // indirect descriptors and event indices
    queue_ = slot_ >= 4 ? static_cast<unsigned>(next(2)) : 0;
    driver_->start(features_, queue_);
    if (next(2) == 0) driver_->use_msix();
  }
  void access_configuration() {
    const auto slot = static_cast<unsigned>(next(4) == 0 ? next(32) : next(6));
    const unsigned size = 1u << next(3);
    const auto offset = static_cast<unsigned>(next(256)) & ~(size - 1);
    machine.write(slot, offset, size, static_cast<uint32_t>(number()));
    if (machine.read(slot, offset, size) > 0xffffffffu >> (32 - 8 * size))
      throw std::logic_error("a read is too wide");
  }
  void access_structures() {
    constexpr uint64_t kStarts[] = {0, 0, 0, 0x1000, 0x2000, 0x3000, 0x8000, 0x8800};
    const uint64_t offset = kStarts[next(std::size(kStarts))] + next(0x44);
    const unsigned size = 1u << next(4);
    driver_->set(offset, size, number());
    if (size < 8 && driver_->get(offset, size) >> (8 * size) != 0)
      throw std::logic_error("a read is too wide");
  }
  void corrupt_ring() {
    constexpr uint64_t kAreas[] = {VirtioDriver::kTable, VirtioDriver::kAvailable,
                                   VirtioDriver::kUsed};
    const unsigned size = 1u << next(4);
    const uint64_t offset = next(VirtioDriver::kSize * 16) & ~uint64_t{size - 1};
    machine.memory.put(kAreas[next(std::size(kAreas))] + offset, number(), size);
    driver_->notify();
  }
  void make_request() {
    constexpr uint64_t kRequest = 0x7000;
    machine.memory.put(kRequest, next(10), 8);
    machine.memory.put(kRequest + 8, next(8) == 0 ? number() : next(140), 8);
    std::vector<VirtioDriver::Buffer> buffers;
    const bool in = slot_ == 2 || next(2) == 0;
    if (slot_ == 3) buffers.push_back({kRequest, static_cast<uint32_t>(16 - next(40) / 39), false});
    for (uint64_t i = next(3); i > 0; --i) {
      const auto size = static_cast<uint32_t>(next(12) == 0 ? number() : 512 * next(9));
      buffers.push_back(
          {next(20) == 0 ? number() : 0x8000 + next(0x1000), size, next(30) == 0 ? !in : in});
    }
    buffers.push_back({0x7800, 1, true});
    const uint16_t before = driver_->used();
    if (slot_ >= 4) {
      for (VirtioDriver::Buffer& buffer : buffers) buffer.writable = queue_ == 0 || next(40) == 0;
    }
    driver_->request(static_cast<uint16_t>(next(4)), buffers);
    if ((features_ & VirtioDriver::kIndirectFeature) != 0 && next(2) == 0) make_indirect();
    driver_->notify();
    machine.pass(VirtioBlock::kRequestCycles);
    if (driver_->used() != before) {
      ++served;
    } else {
      ++refused;
    }
  }

  // A table with some of the descriptors, mostly one that is right.
  void make_indirect() {
    constexpr uint64_t kOwn = 0x7400;
    const uint64_t length = 1 + next(6);
    for (uint64_t i = 0; i < length; ++i) {
      const bool last = i + 1 == length;
      driver_->describe_at(kOwn + 16 * i, next(40) == 0 ? number() : 0x8000 + 512 * i, 512,
                           static_cast<uint16_t>((next(30) == 0 ? next(8)
                                                  : queue_ == 0 ? VirtioDriver::kWrite
                                                                : 0) |
                                                 (last ? 0 : VirtioDriver::kNext)),
                           static_cast<uint16_t>(next(40) == 0 ? next(8) : i + 1));
    }
    driver_->describe(7, kOwn, static_cast<uint32_t>(16 * length + next(60) / 59),
                      VirtioDriver::kIndirect, 0);
    driver_->offer(7);
  }

  uint64_t random_, features_ = 0;
  unsigned slot_ = 2, queue_ = 0;
  std::optional<VirtioDriver> driver_;
};

}  // namespace nestor::emu::test
