// SPDX-License-Identifier: GPL-2.0-or-later
//
// QEMU's firmware configuration device, port interface: a selector and a byte stream. It has no DMA
// interface.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "emu/devices/bus.h"

namespace nestor::emu {

class FwCfg : public Device {
 public:
  static constexpr Region kRegions[] = {{Space::kPorts, 2}};  // selector, data

  // "Firmware Configuration Items" of QEMU's specification of the device.
  enum Item : uint16_t {
    kSignature = 0x00,
    kId = 0x01,
    kRamSize = 0x03,
    kProcessorCount = 0x05,
    kMaximumProcessorCount = 0x0f,
    kFileDirectory = 0x19,
    kFirstFile = 0x20,
  };

  struct File {
    static constexpr size_t kMaxNameBytes = 55;
    std::string name;
    std::vector<uint8_t> content;
  };

  // `ram_size` in bytes. `files` are in the directory in the order of their names. Throws
  // std::logic_error if a name is too long.
  FwCfg(uint64_t ram_size, uint16_t processors, std::vector<File> files);

  std::span<const Region> regions() const override { return kRegions; }
  unsigned widest_port_access() const override { return 2; }
  uint32_t read_port(DeviceAddress at, unsigned size) override;
  void write_port(DeviceAddress at, unsigned size, uint32_t value) override;
  void serialize(Archive& archive) override;

 private:
  struct State {
    std::optional<uint16_t> selected;  // a key of items_
    uint64_t position = 0;             // in the item; at its end at most
    void fields(Archive& archive) { archive(selected, position); }
  };

  std::map<uint16_t, std::vector<uint8_t>> items_;
  State state_;
};

}  // namespace nestor::emu
