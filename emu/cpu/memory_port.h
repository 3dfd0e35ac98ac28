// SPDX-License-Identifier: GPL-2.0-or-later
//
// How the model itself accesses linear memory, beside the engine: operands of emulated
// instructions, descriptor tables, the TSS, stacks of handlers.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <variant>

#include "emu/cpu/core.h"
#include "emu/cpu/memory_fault.h"
#include "ept/access.h"
#include "vmx/cpu_state.h"

namespace nestor::emu {

class MemoryPort {
 public:
  // `state` says the mode and the CPL; it outlives the port.
  explicit MemoryPort(const vmx::CpuState& state) : state_(state) {}
  virtual ~MemoryPort() = default;

  // As the functions of Core of the same names.
  std::optional<Fault> read(uint64_t linear, std::span<uint8_t> out, Privilege privilege);
  std::optional<Fault> write(uint64_t linear, std::span<const uint8_t> data, Privilege privilege);
  std::optional<Fault> probe_write(uint64_t linear, uint64_t size, Privilege privilege);
  std::optional<Fault> fetch(uint64_t linear, std::span<uint8_t> out, size_t& fetched);

  // An access of this kind by who runs.
  ept::Access access(ept::Access::Kind kind, Privilege privilege) const;

 protected:
  const vmx::CpuState& state() const { return state_; }

 private:
  // The physical address of `linear`, of which `access.size` bytes of one page are accessed. Sets
  // accessed and dirty flags.
  virtual std::variant<uint64_t, Fault> translate(uint64_t linear, ept::Access access) = 0;
  // The same for the next instruction.
  virtual std::variant<uint64_t, Fault> translate_code(uint64_t linear) = 0;
  // Bytes of one page.
  virtual void read_data(uint64_t physical, std::span<uint8_t> out) = 0;
  virtual void write_data(uint64_t physical, std::span<const uint8_t> data) = 0;
  // Code outside RAM reads as ones.
  virtual void read_code(uint64_t physical, std::span<uint8_t> out) = 0;

  // Calls `use(physical, offset, size)` for each page of the range once all of it is translated.
  template <class Use>
  std::optional<Fault> for_each_page(uint64_t linear, size_t size, ept::Access access,
                                     const Use& use);

  const vmx::CpuState& state_;
};

}  // namespace nestor::emu
