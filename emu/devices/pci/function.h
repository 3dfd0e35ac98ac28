// SPDX-License-Identifier: GPL-2.0-or-later
//
// A function on the PCI bus: its configuration space with a type 0 header, its base address
// registers, its interrupt pin and MSI. PCI Local Bus Specification 3.0, "Configuration Space".
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <vector>

#include "emu/devices/apic/local_apic.h"
#include "emu/devices/bus.h"
#include "emu/devices/interrupt_lines.h"

namespace nestor::emu {

class PciFunction : public Device {
 public:
  static constexpr unsigned kBars = 6, kConfigurationBytes = 256;
  // The expansion ROM base address register comes after the others.
  static constexpr unsigned kRomBar = kBars;

  struct Identity {
    uint16_t vendor, device;
    uint8_t revision;
    uint32_t class_code;  // 24 bits: base class, sub-class, programming interface
    uint16_t subsystem_vendor = 0, subsystem = 0;
    uint16_t command = 0, status = 0;  // bits that are always set
  };

  // `bars`: what each base address register stands for, from the first on. A size is a power of
  // two, at least 4 ports, 16 bytes or 2 KiB of ROM, or 0: the register is not there. `interrupt`:
  // where INTA# leads; std::nullopt: it has none.
  PciFunction(Bus& bus, const Identity& identity, std::vector<Region> bars,
              std::optional<InterruptSource> interrupt);

  std::span<const Region> regions() const final { return bars_; }

  // Accesses of 1, 2 or 4 bytes that are within 4 aligned ones.
  uint32_t read_configuration(unsigned offset, unsigned size);
  void write_configuration(unsigned offset, unsigned size, uint32_t value);

  // The header type says so.
  void has_further_functions();

  // What the base address registers ask for gets its place on the bus, unless it is taken.
  void place_bars();
  void release_bars();

  void serialize(Archive& archive) override;

 protected:
  // Adds a capability with what follows its ID and the pointer to the next one. `writable` has the
  // bits that software may write; what it does not cover is read-only. Returns its offset.
  unsigned add_capability(uint8_t id, std::span<const uint8_t> body,
                          std::span<const uint8_t> writable);
  // Adds the capability of MSI, with one message that can be masked: while software has enabled it,
  // it is sent in place of asserting INTA#. `send` carries it to the local APICs; it may be empty.
  void add_msi(std::function<void(const Ipi&)> send);
  void set_writable(unsigned offset, unsigned size, uint32_t bits);

  // Little-endian numbers in configuration space, whatever software may write there.
  uint32_t configuration(unsigned offset, unsigned size) const;
  void set_configuration(unsigned offset, unsigned size, uint32_t value);

  // The function may access memory and send messages.
  bool is_bus_master() const;
  // Where that is on the bus which a base address register stands for.
  std::optional<uint64_t> base(unsigned bar) const { return claims_[bar].base(); }
  // Asserts or deasserts INTA#, unless the command register disables it, or with MSI sends the
  // message when it would be asserted.
  void set_interrupt(bool level);
  // With MSI, while INTA# would be asserted: sends the message again.
  void repeat_message();

  // Before bytes are read, and after bytes were written.
  virtual void reading_configuration(unsigned /*offset*/, unsigned /*size*/) {}
  virtual void configuration_written(unsigned /*offset*/, unsigned /*size*/) {}
  // After they may have got other places.
  virtual void bars_placed() {}

 private:
  std::optional<uint64_t> asked_base(unsigned bar) const;
  bool msi_enabled() const;
  void send_msi();
  void update_line();

  using Bytes = std::array<uint8_t, kConfigurationBytes>;
  struct State {
    Bytes bytes{};
    bool interrupt = false;    // the interrupt status
    bool msi_pending = false;  // the message is to be sent
    void fields(Archive& archive) { archive(bytes, interrupt, msi_pending); }
  };

  const std::vector<Region> bars_;
  std::vector<Claim> claims_;
  std::optional<InterruptSource> interrupt_;
  Bytes writable_{};
  unsigned capabilities_end_, last_link_;
  unsigned msi_ = 0;  // its capability; 0: there is none
  std::function<void(const Ipi&)> send_message_;
  State state_;
};

}  // namespace nestor::emu
