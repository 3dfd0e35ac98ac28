// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/devices/virtio/function.h"

#include <algorithm>
#include <array>
#include <bit>
#include <string>
#include <utility>

#include "emu/memory/little_endian.h"

namespace nestor::emu {
namespace {

constexpr uint16_t kVendor = 0x1af4, kFirstDevice = 0x1040, kSubsystem = 0x1100;
constexpr uint8_t kRevision = 1;
// "Reserved Feature Bits", of all devices.
constexpr uint64_t kIndirectDescriptors = 1ull << 28, kEventIndex = 1ull << 29,
                   kVersion1 = 1ull << 32;

// The first base address register has the structures, a page each, and the second one MSI-X.
constexpr unsigned kStructures = 0, kInterrupts = 1;
constexpr uint64_t kStructureBytes = 0x1000;
enum Structure : unsigned { kCommon, kIsr, kDevice, kNotify, kStructureCount };

// Vendor-specific capabilities.
constexpr uint8_t kVendorSpecific = 9;
enum StructureType : uint8_t {
  kCommonType = 1,
  kNotifyType = 2,
  kIsrType = 3,
  kDeviceType = 4,
  kWindowType = 5,
};
// Of the one that is a window to the structures; offsets in the capability.
constexpr unsigned kWindowBar = 4, kWindowOffset = 8, kWindowLength = 12, kWindowData = 16;

// Device status.
constexpr uint8_t kDriverOk = 4, kFeaturesOk = 8, kNeedsReset = 64;
constexpr uint8_t kStatusBits = 1 | 2 | kDriverOk | kFeaturesOk | 128;
// ISR status.
constexpr uint8_t kQueueInterrupt = 1, kConfigurationInterrupt = 2;

// The common configuration. Fields of 64 bits are accessed as two of 32.
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
  kQueueNotifyOffset = 0x1e,
  kQueueDescriptors = 0x20,
  kQueueDriver = 0x28,
  kQueueDevice = 0x30,
  kCommonBytes = 0x38,
};

// The field that a byte is in: where it starts.
struct Field {
  uint64_t offset;
  unsigned size;
};
constexpr Field field_at(uint64_t offset) {
  if (offset >= kQueueDescriptors || offset < kConfigurationVector) return {offset & ~3ull, 4};
  if (offset == kStatus || offset == kGeneration) return {offset, 1};
  return {offset & ~1ull, 2};
}

constexpr uint64_t with_half(uint64_t whole, bool high, uint32_t half) {
  return high ? (whole & 0xffffffff) | uint64_t{half} << 32 : (whole & ~0xffffffffull) | half;
}

constexpr uint32_t half_of(uint64_t whole, bool high) {
  return static_cast<uint32_t>(high ? whole >> 32 : whole);
}

// A capability without its ID and the pointer to the next one.
std::array<uint8_t, 18> structure_capability(StructureType type, unsigned length, uint64_t offset,
                                             uint64_t size) {
  std::array<uint8_t, 18> body{};
  body[0] = static_cast<uint8_t>(length);
  body[1] = type;
  body[2] = kStructures;
  store_little_endian(std::span(body).subspan(6, 4), offset);
  store_little_endian(std::span(body).subspan(10, 4), size);
  return body;
}

}  // namespace

VirtioFunction::VirtioFunction(VirtioPlace place, const Kind& kind)
    : PciFunction(place.bus,
                  {.vendor = kVendor,
                   .device = static_cast<uint16_t>(kFirstDevice + kind.type),
                   .revision = kRevision,
                   .class_code = kind.class_code,
                   .subsystem_vendor = kVendor,
                   .subsystem = kSubsystem},
                  {{Space::kMemory, kStructureCount * kStructureBytes},
                   {Space::kMemory, Msix::kMemorySize}},
                  std::move(place.interrupt)),
      clock_(place.clock),
      memory_(place.memory),
      features_(kind.features | kIndirectDescriptors | kEventIndex | kVersion1),
      configuration_(kind.configuration),
      // One of the configuration, and one of each queue.
      msix_(kind.queues + 1, place.message) {
  for (unsigned i = 0; i < kind.queues; ++i) {
    std::string name = i == 0 ? place.name : place.name + " queue " + std::to_string(i);
    queues_.emplace_back(place.memory, place.bus.timers(), std::move(name),
                         [this, i](uint64_t) { finish(i); });
  }
  constexpr unsigned kPlain = 16, kLong = 20;  // bytes of capabilities
  const auto add = [&](StructureType type, Structure structure, uint64_t size) {
    const auto body = structure_capability(type, kPlain, structure * kStructureBytes, size);
    add_capability(kVendorSpecific, std::span(body).first(kPlain - 2), {});
  };
  add(kCommonType, kCommon, kCommonBytes);
  add(kIsrType, kIsr, 1);
  if (!configuration_.empty()) add(kDeviceType, kDevice, configuration_.size());
  // The multiplier of queue_notify_off is 0: what is written names the queue.
  add_capability(kVendorSpecific,
                 structure_capability(kNotifyType, kLong, kNotify * kStructureBytes, 4), {});
  std::array<uint8_t, kLong - 2> writable{};
  writable[kWindowBar - 2] = 0xff;
  std::fill(writable.begin() + kWindowOffset - 2, writable.end(), uint8_t{0xff});
  window_capability_ =
      add_capability(kVendorSpecific, structure_capability(kWindowType, kLong, 0, 0), writable);
  msix_capability_ =
      add_capability(Msix::kCapability, msix_.capability(kInterrupts), Msix::kWritable);
  add_msi(std::move(place.message));
}

// --- configuration space

// Where the window of its capability is; std::nullopt: nowhere.
std::optional<DeviceAddress> VirtioFunction::window() const {
  const uint32_t bar = configuration(window_capability_ + kWindowBar, 1);
  const uint32_t offset = configuration(window_capability_ + kWindowOffset, 4);
  const uint32_t length = configuration(window_capability_ + kWindowLength, 4);
  if (bar >= regions().size() || (length != 1 && length != 2 && length != 4) ||
      offset % length != 0 || offset >= regions()[bar].size) {
    return std::nullopt;
  }
  return DeviceAddress{bar, offset};
}

bool VirtioFunction::overlaps_window_data(unsigned offset, unsigned size) const {
  const unsigned data = window_capability_ + kWindowData;
  return offset < data + 4 && offset + size > data;
}

void VirtioFunction::reading_configuration(unsigned offset, unsigned size) {
  if (!overlaps_window_data(offset, size)) return;
  const auto at = window();
  if (!at) return;
  const unsigned length = configuration(window_capability_ + kWindowLength, 4);
  set_configuration(window_capability_ + kWindowData, length,
                    static_cast<uint32_t>(read_memory(*at, length)));
}

void VirtioFunction::configuration_written(unsigned offset, unsigned size) {
  msix_.control(static_cast<uint16_t>(configuration(msix_capability_ + 2, 2)), is_bus_master());
  update_interrupt();
  if (overlaps_window_data(offset, size)) {
    const unsigned length = configuration(window_capability_ + kWindowLength, 4);
    if (const auto at = window())
      write_memory(*at, length, configuration(window_capability_ + kWindowData, length));
  }
  start_all();  // it may have become a bus master
}

// --- the structures

uint64_t VirtioFunction::read_memory(DeviceAddress at, unsigned size) {
  if (at.region == kInterrupts) return msix_.read_memory(at.offset, size);
  if (size == 8) {
    return read_memory(at, 4) | read_memory({at.region, at.offset + 4}, 4) << 32;
  }
  const uint64_t offset = at.offset % kStructureBytes;
  switch (at.offset / kStructureBytes) {
    case kCommon: {
      const Field field = field_at(offset);
      if (offset >= kCommonBytes || offset + size > field.offset + field.size) return 0;
      return read_common(field.offset) >> (8 * (offset - field.offset));
    }
    case kIsr:
      return offset == 0 ? read_interrupt_status() : 0;
    case kDevice:
      return read_device_configuration(offset, size);
    default:
      return 0;
  }
}

void VirtioFunction::write_memory(DeviceAddress at, unsigned size, uint64_t value) {
  if (at.region == kInterrupts) {
    msix_.write_memory(at.offset, size, value);
    return;
  }
  if (size == 8) {
    write_memory(at, 4, value & 0xffffffff);
    write_memory({at.region, at.offset + 4}, 4, value >> 32);
    return;
  }
  const uint64_t offset = at.offset % kStructureBytes;
  const uint64_t structure = at.offset / kStructureBytes;
  if (structure == kCommon && offset < kCommonBytes) {
    // Only accesses of a field's width are allowed.
    const Field field = field_at(offset);
    if (field.offset == offset && field.size == size)
      write_common(offset, static_cast<uint32_t>(value));
  } else if (structure == kNotify && offset == 0 && (value & 0xffff) < queues_.size()) {
    start_next(static_cast<unsigned>(value & 0xffff));
  }
}

uint32_t VirtioFunction::read_common(uint64_t offset) const {
  switch (offset) {
    case kDeviceFeatureSelect:
      return state_.device_feature_select;
    case kDeviceFeature:
      return state_.device_feature_select > 1 ? 0
                                              : half_of(features_, state_.device_feature_select);
    case kDriverFeatureSelect:
      return state_.driver_feature_select;
    case kDriverFeature:
      return state_.driver_feature_select > 1
                 ? 0
                 : half_of(state_.driver_features, state_.driver_feature_select);
    case kConfigurationVector:
      return state_.configuration_vector;
    case kQueues:
      return static_cast<uint32_t>(queues_.size());
    case kStatus:
      return state_.status;
    case kGeneration:
      return 0;  // the configuration is constant
    case kQueueSelect:
      return state_.queue_select;
    default:
      return state_.queue_select < queues_.size()
                 ? read_queue(queues_[state_.queue_select].ring.state(), offset)
                 : 0;
  }
}

uint32_t VirtioFunction::read_queue(const Virtqueue::State& queue, uint64_t offset) {
  switch (offset) {
    case kQueueSize:
      return queue.size;
    case kQueueVector:
      return queue.vector;
    case kQueueEnable:
      return queue.enabled;
    case kQueueNotifyOffset:
      return 0;
    case kQueueDescriptors:
    case kQueueDescriptors + 4:
      return half_of(queue.descriptors, offset != kQueueDescriptors);
    case kQueueDriver:
    case kQueueDriver + 4:
      return half_of(queue.driver_area, offset != kQueueDriver);
    case kQueueDevice:
    case kQueueDevice + 4:
      return half_of(queue.device_area, offset != kQueueDevice);
    default:
      return 0;
  }
}

void VirtioFunction::write_common(uint64_t offset, uint32_t value) {
  switch (offset) {
    case kDeviceFeatureSelect:
      state_.device_feature_select = value;
      break;
    case kDriverFeatureSelect:
      state_.driver_feature_select = value;
      break;
    case kDriverFeature:
      write_features(value);
      break;
    case kConfigurationVector:
      state_.configuration_vector = vector(value);
      break;
    case kStatus:
      write_status(static_cast<uint8_t>(value));
      break;
    case kQueueSelect:
      state_.queue_select = static_cast<uint16_t>(value);
      break;
    default:
      if (state_.queue_select < queues_.size()) write_queue(state_.queue_select, offset, value);
      break;
  }
}

void VirtioFunction::write_queue(unsigned number, uint64_t offset, uint32_t value) {
  Virtqueue::State& queue = queues_[number].ring.state();
  if (offset == kQueueVector) {
    queue.vector = vector(value);
    return;
  }
  if (queue.enabled) return;  // it stays as it is until the reset
  switch (offset) {
    case kQueueSize:
      if (std::has_single_bit(value) && value <= Virtqueue::kMaxSize)
        queue.size = static_cast<uint16_t>(value);
      break;
    case kQueueEnable:
      queue.enabled = value == 1;
      start_next(number);
      break;
    case kQueueDescriptors:
    case kQueueDescriptors + 4:
      queue.descriptors = with_half(queue.descriptors, offset != kQueueDescriptors, value);
      break;
    case kQueueDriver:
    case kQueueDriver + 4:
      queue.driver_area = with_half(queue.driver_area, offset != kQueueDriver, value);
      break;
    case kQueueDevice:
    case kQueueDevice + 4:
      queue.device_area = with_half(queue.device_area, offset != kQueueDevice, value);
      break;
    default:
      break;
  }
}

// A vector that there is not is none.
uint16_t VirtioFunction::vector(uint32_t value) const {
  return value < msix_.vectors() ? static_cast<uint16_t>(value) : Virtqueue::kNoVector;
}

uint32_t VirtioFunction::read_device_configuration(uint64_t offset, unsigned size) const {
  if (offset + size > configuration_.size()) return 0;
  return static_cast<uint32_t>(load_little_endian(std::span(configuration_).subspan(offset, size)));
}

uint8_t VirtioFunction::read_interrupt_status() {
  const uint8_t status = std::exchange(state_.interrupt_status, uint8_t{0});
  update_interrupt();
  return status;
}

// --- negotiation

void VirtioFunction::write_features(uint32_t value) {
  if ((state_.status & kFeaturesOk) != 0 || state_.driver_feature_select > 1) return;
  state_.driver_features =
      with_half(state_.driver_features, state_.driver_feature_select != 0, value);
}

bool VirtioFunction::features_are_acceptable() const {
  return (state_.driver_features & ~features_) == 0 && (state_.driver_features & kVersion1) != 0;
}

void VirtioFunction::write_status(uint8_t value) {
  if (value == 0) {
    reset();
    return;
  }
  uint8_t added = value & kStatusBits;
  if ((added & kFeaturesOk) != 0 && !features_are_acceptable())
    added &= static_cast<uint8_t>(~kFeaturesOk);
  // Nothing takes a bit back but a reset.
  state_.status |= added;
  for (Queue& queue : queues_) {
    if ((added & kFeaturesOk) == 0) break;
    queue.ring.state().indirect = (state_.driver_features & kIndirectDescriptors) != 0;
    queue.ring.state().event_index = (state_.driver_features & kEventIndex) != 0;
  }
  start_all();
}

void VirtioFunction::reset() {
  state_ = {};
  for (Queue& queue : queues_) {
    queue.ring.state() = {};
    queue.completion.set(EventQueue::kNever);
  }
  msix_.clear_pending();
  update_interrupt();
}

// --- requests

bool VirtioFunction::runs() const {
  constexpr uint8_t kStarted = kFeaturesOk | kDriverOk;
  return (state_.status & (kStarted | kNeedsReset)) == kStarted && is_bus_master();
}

void VirtioFunction::start_all() {
  for (unsigned i = 0; i < queues_.size(); ++i) start_next(i);
}

void VirtioFunction::start_next(unsigned queue) {
  Virtqueue& ring = queues_[queue].ring;
  EventQueue::Timer& completion = queues_[queue].completion;
  if (!runs() || completion.deadline() != EventQueue::kNever) return;
  const auto next = ring.next();
  if (const auto* chain = std::get_if<VirtqueueChain>(&next)) {
    const uint64_t cycles = duration(queue, *chain);
    completion.set(cycles == kNever ? EventQueue::kNever : clock_.cycles() + cycles);
  } else if (std::holds_alternative<Virtqueue::Broken>(next)) {
    need_reset();
  }
}

void VirtioFunction::finish(unsigned queue) {
  if (!runs()) return;
  Virtqueue& ring = queues_[queue].ring;
  // The driver may have changed it meanwhile.
  const auto next = ring.next();
  const auto* const chain = std::get_if<VirtqueueChain>(&next);
  if (chain != nullptr && !is_ready(queue, *chain)) {
    start_next(queue);
    return;
  }
  const auto written = chain != nullptr ? serve(queue, *chain) : std::nullopt;
  if (!written || !ring.complete(*chain, *written)) {
    need_reset();
    return;
  }
  if (ring.wants_notification()) notify(kQueueInterrupt, ring.state().vector);
  start_next(queue);
}

void VirtioFunction::need_reset() {
  state_.status |= kNeedsReset;
  for (Queue& queue : queues_) queue.completion.set(EventQueue::kNever);
  if ((state_.status & kDriverOk) != 0)
    notify(kConfigurationInterrupt, state_.configuration_vector);
}

void VirtioFunction::notify(uint8_t cause, uint16_t vector) {
  if (!msix_.enabled() || cause == kConfigurationInterrupt) state_.interrupt_status |= cause;
  msix_.signal(vector);
  update_interrupt();
}

void VirtioFunction::update_interrupt() {
  set_interrupt(!msix_.enabled() && state_.interrupt_status != 0);
}

void VirtioFunction::serialize(Archive& archive) {
  PciFunction::serialize(archive);
  msix_.serialize(archive);
  for (Queue& queue : queues_) archive(queue.ring.state());
  archive(state_);
}

}  // namespace nestor::emu
