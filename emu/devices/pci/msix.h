// SPDX-License-Identifier: GPL-2.0-or-later
//
// MSI-X: a table of messages, one a vector, and a pending bit for each that is masked. PCI Local
// Bus Specification 3.0, "MSI-X Capability and Table Structures".
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <vector>

#include "emu/devices/apic/local_apic.h"
#include "emu/memory/archive.h"

namespace nestor::emu {

class Msix {
 public:
  static constexpr uint8_t kCapability = 0x11;
  static constexpr unsigned kMaxVectors = 64;
  static constexpr uint64_t kPendingOffset = 0x800, kMemorySize = 0x1000;
  // Message control.
  static constexpr uint16_t kEnable = 1u << 15, kFunctionMask = 1u << 14;

  // `vectors`: 1 to kMaxVectors. `send` carries a message to the local APICs; it may be empty.
  Msix(unsigned vectors, std::function<void(const Ipi&)> send);

  // The capability behind its ID and pointer, for the base address register that memory() is
  // behind, and what software may write of it.
  std::array<uint8_t, 10> capability(unsigned bar) const;
  static constexpr std::array<uint8_t, 2> kWritable = {0, (kEnable | kFunctionMask) >> 8};

  // The table and, from kPendingOffset on, the pending bits.
  uint64_t read_memory(uint64_t offset, unsigned size) const;
  void write_memory(uint64_t offset, unsigned size, uint64_t value);

  // Message control, and whether the function may send at all.
  void control(uint16_t message_control, bool is_bus_master);
  bool enabled() const { return state_.enabled; }
  unsigned vectors() const { return static_cast<unsigned>(state_.table.size()); }
  // Sends the vector's message; when it is masked, it waits. Others than vectors do nothing.
  void signal(unsigned vector);
  // What waits is forgotten.
  void clear_pending() { state_.pending = 0; }

  void serialize(Archive& archive);

 private:
  struct Entry {
    std::array<uint32_t, 4> words{};  // address, upper address, data, vector control
    void fields(Archive& archive) { archive(words); }
  };
  struct State {
    std::vector<Entry> table;
    uint64_t pending = 0;
    bool enabled = false, open = false;
  };

  uint8_t byte_at(uint64_t offset) const;
  void send_pending();

  const std::function<void(const Ipi&)> send_;
  State state_;
};

}  // namespace nestor::emu
