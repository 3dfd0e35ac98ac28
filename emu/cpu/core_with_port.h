// SPDX-License-Identifier: GPL-2.0-or-later
//
// What the machine's own processor and the one that L0 gives to L1 have in common: linear memory
// through a port of theirs, MSRs, and PDPTEs.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>

#include "emu/cpu/core.h"
#include "emu/cpu/memory_port.h"

namespace nestor::emu {

class CoreWithPort : public Core {
 public:
  virtual MemoryPort& port() = 0;

  std::optional<Fault> read(uint64_t linear, std::span<uint8_t> out, Privilege rights) final {
    return port().read(linear, out, rights);
  }
  std::optional<Fault> write(uint64_t linear, std::span<const uint8_t> data,
                             Privilege rights) final {
    return port().write(linear, data, rights);
  }
  std::optional<Fault> probe_write(uint64_t linear, uint64_t size, Privilege rights) final {
    return port().probe_write(linear, size, rights);
  }
  std::optional<Fault> fetch(uint64_t linear, std::span<uint8_t> out, size_t& fetched) final {
    return port().fetch(linear, out, fetched);
  }
  vmx::MsrStatus read_msr(uint32_t index, uint64_t& value) final;
  vmx::MsrStatus write_msr(uint32_t index, uint64_t value) final;
  bool load_pdptes(uint64_t cr3) final { return !reload_pdptes(cr3); }

 protected:
  // #GP(0): a reserved bit is set, and nothing was loaded.
  std::optional<Fault> set_pdptes(const std::array<uint64_t, 4>& pdptes);
};

}  // namespace nestor::emu
