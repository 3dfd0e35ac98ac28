// SPDX-License-Identifier: GPL-2.0-or-later
//
// A split virtqueue as the device sees it: Virtual I/O Device (VIRTIO) 1.2, "Split Virtqueues". All
// that is in memory is the driver's, who may be wrong or hostile.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <variant>
#include <vector>

#include "emu/devices/device_memory.h"
#include "emu/memory/archive.h"

namespace nestor::emu {

// The buffers of one descriptor chain. All of them are in RAM.
struct VirtqueueChain {
  struct Buffer {
    uint64_t address;
    uint32_t size;
  };
  uint16_t head = 0;
  std::vector<Buffer> readable{}, writable{};       // by the device
  uint64_t readable_bytes = 0, writable_bytes = 0;  // at most kMaxBytes together
  static constexpr uint64_t kMaxBytes = 1ull << 32;
};

// Goes through buffers in order, as if they were one.
class VirtqueueStream {
 public:
  VirtqueueStream(DeviceMemory& memory, std::span<const VirtqueueChain::Buffer> buffers)
      : memory_(memory), buffers_(buffers) {}

  // false: there are not so many bytes left.
  [[nodiscard]] bool read(std::span<uint8_t> out);
  [[nodiscard]] bool write(std::span<const uint8_t> data);
  [[nodiscard]] bool skip(uint64_t size);

 private:
  // Calls `use(address, offset, size)` for the pieces of the next `size` bytes.
  template <class Use>
  bool advance(uint64_t size, const Use& use);

  DeviceMemory& memory_;
  std::span<const VirtqueueChain::Buffer> buffers_;
  uint64_t used_ = 0;  // of the first buffer
};

class Virtqueue {
 public:
  static constexpr uint16_t kMaxSize = 256;
  static constexpr uint16_t kNoVector = 0xffff;

  struct Empty {};   // no buffer is available
  struct Broken {};  // what the driver has made available makes no sense

  struct State {
    uint64_t descriptors = 0, driver_area = 0, device_area = 0;
    uint16_t size = kMaxSize;  // a power of two
    uint16_t vector = kNoVector;
    uint16_t next_available = 0, next_used = 0;
    bool enabled = false;
    // What was negotiated: "Indirect Descriptors", and that each side says up to which index it
    // wants no notification ("Virtqueue Interrupt Suppression").
    bool indirect = false, event_index = false;
    void fields(Archive& archive);
  };

  explicit Virtqueue(DeviceMemory& memory) : memory_(memory) {}

  // What the driver sets up; not while it is enabled.
  State& state() { return state_; }
  const State& state() const { return state_; }

  // The next chain; it stays the next one until it is completed. When there is none, the driver is
  // asked to notify of the next one.
  std::variant<Empty, Broken, VirtqueueChain> next();
  // Gives the chain back, with as many bytes written from its first writable one on. false: the
  // device area is not in RAM.
  [[nodiscard]] bool complete(const VirtqueueChain& chain, uint32_t written);
  // The driver wants to be notified of what was completed last.
  bool wants_notification();

 private:
  bool read(uint64_t base, uint64_t offset, std::span<uint8_t> out);
  bool write(uint64_t base, uint64_t offset, std::span<const uint8_t> data);
  struct Descriptor {
    uint64_t address;
    uint32_t size;
    uint16_t flags, next;
  };
  std::optional<Descriptor> read_descriptor(uint64_t table, uint16_t number);
  bool append(VirtqueueChain& chain, const Descriptor& descriptor) const;
  bool follow(VirtqueueChain& chain);
  bool follow_indirect(VirtqueueChain& chain, uint64_t table, uint64_t bytes);
  bool ask_for_notification();

  DeviceMemory& memory_;
  State state_;
};

}  // namespace nestor::emu
