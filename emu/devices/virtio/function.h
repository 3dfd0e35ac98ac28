// SPDX-License-Identifier: GPL-2.0-or-later
//
// A virtio device on the PCI bus: Virtual I/O Device (VIRTIO) 1.2, "Virtio Over PCI Bus", without
// the legacy interface. Of each virtqueue it serves one request after another; each takes its time
// on the machine's clock, whatever the host needs for it.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "emu/devices/device_memory.h"
#include "emu/devices/pci/function.h"
#include "emu/devices/pci/msix.h"
#include "emu/devices/virtio/virtqueue.h"
#include "emu/time/clock.h"

namespace nestor::emu {

// Where the device is, and what it may use there.
struct VirtioPlace {
  std::string name;  // of its timers, unique
  Bus& bus;
  const Clock& clock;
  DeviceMemory& memory;
  InterruptSource interrupt;
  std::function<void(const Ipi&)> message;  // see Msix
};

class VirtioFunction : public PciFunction {
 public:
  struct Kind {
    uint16_t type;                       // virtio's number of the device
    uint32_t class_code;                 // PCI's
    uint64_t features;                   // without those that all devices have
    std::vector<uint8_t> configuration;  // constant
    unsigned queues = 1;
  };

  VirtioFunction(VirtioPlace place, const Kind& kind);

  uint64_t read_memory(DeviceAddress at, unsigned size) override;
  void write_memory(DeviceAddress at, unsigned size, uint64_t value) override;
  void serialize(Archive& archive) override;

 protected:
  // How many cycles the request takes; kNever: it stays where it is.
  virtual uint64_t duration(unsigned queue, const VirtqueueChain& chain) const = 0;
  // Once that time has passed. false: the request takes the time once more.
  virtual bool is_ready(unsigned /*queue*/, const VirtqueueChain& /*chain*/) { return true; }
  // Executes it. Returns how many bytes were written from the first writable one on; std::nullopt:
  // the request makes no sense, and the device needs a reset.
  virtual std::optional<uint32_t> serve(unsigned queue, const VirtqueueChain& chain) = 0;

  DeviceMemory& memory() { return memory_; }
  const Clock& clock() const { return clock_; }

 private:
  void reading_configuration(unsigned offset, unsigned size) override;
  void configuration_written(unsigned offset, unsigned size) override;
  bool overlaps_window_data(unsigned offset, unsigned size) const;
  std::optional<DeviceAddress> window() const;

  uint32_t read_common(uint64_t offset) const;
  static uint32_t read_queue(const Virtqueue::State& queue, uint64_t offset);
  void write_common(uint64_t offset, uint32_t value);
  void write_queue(unsigned number, uint64_t offset, uint32_t value);
  void write_status(uint8_t value);
  void write_features(uint32_t value);
  bool features_are_acceptable() const;
  uint16_t vector(uint32_t value) const;
  uint32_t read_device_configuration(uint64_t offset, unsigned size) const;
  uint8_t read_interrupt_status();

  void reset();
  bool runs() const;
  void start_next(unsigned queue);
  void start_all();
  void finish(unsigned queue);
  void need_reset();
  void notify(uint8_t cause, uint16_t vector);
  void update_interrupt();

  struct Queue {
    Queue(DeviceMemory& memory, EventQueue& timers, std::string name,
          std::function<void(uint64_t)> finished)
        : ring(memory), completion(timers, std::move(name), std::move(finished)) {}
    Virtqueue ring;
    EventQueue::Timer completion;  // of the request that is being served
  };
  struct State {
    uint64_t driver_features = 0;
    uint32_t device_feature_select = 0, driver_feature_select = 0;
    uint16_t configuration_vector = Virtqueue::kNoVector, queue_select = 0;
    uint8_t status = 0, interrupt_status = 0;
    void fields(Archive& archive) {
      archive(driver_features, device_feature_select, driver_feature_select, configuration_vector,
              queue_select, status, interrupt_status);
    }
  };

  const Clock& clock_;
  DeviceMemory& memory_;
  const uint64_t features_;
  const std::vector<uint8_t> configuration_;
  Msix msix_;
  std::deque<Queue> queues_;
  unsigned msix_capability_ = 0, window_capability_ = 0;
  State state_;
};

}  // namespace nestor::emu
