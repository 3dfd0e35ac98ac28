// SPDX-License-Identifier: GPL-2.0-or-later
//
// A processor without instructions: registers, a megabyte of memory, MSRs, and a record of what VMX
// asked of it. Linear addresses are physical addresses.
#pragma once

#include <cstring>
#include <map>
#include <optional>
#include <set>
#include <span>
#include <vector>

#include "vmx/processor.h"

namespace nestor::vmx::test {

class FakeProcessor final : public Processor {
 public:
  CpuState cpu;
  std::vector<uint8_t> memory = std::vector<uint8_t>(1 << 20);
  std::map<uint32_t, uint64_t> msrs;  // all others fault
  std::optional<Event> linear_fault;  // of every access to linear memory
  uint64_t time = 1000;               // increments of the TSC
  uint64_t tsc_offset = 0;            // what writes to the TSC have made of it
  bool pdptes_valid = true, a20m = false;
  uint8_t interrupt_vector = 0x20;  // what the interrupt controller delivers

  std::vector<Invalidation> invalidations;
  std::vector<Event> injected;
  std::vector<uint64_t> pdpte_loads;  // the values of CR3
  std::vector<uint32_t> aborts;
  int acknowledged = 0, ended = 0;

  CpuState& state() override { return cpu; }

  bool read_physical(ept::PhysicalAddress address, std::span<uint8_t> out) override {
    if (!inside(address.value, out.size())) {
      std::memset(out.data(), 0xff, out.size());
      return false;
    }
    std::memcpy(out.data(), &memory[address.value], out.size());
    return true;
  }
  bool write_physical(ept::PhysicalAddress address, std::span<const uint8_t> data) override {
    if (!inside(address.value, data.size())) return false;
    std::memcpy(&memory[address.value], data.data(), data.size());
    return true;
  }
  std::optional<Event> read_linear(uint64_t linear, std::span<uint8_t> out) override {
    if (linear_fault) return linear_fault;
    read_physical({linear}, out);
    return std::nullopt;
  }
  std::optional<Event> write_linear(uint64_t linear, std::span<const uint8_t> data) override {
    if (linear_fault) return linear_fault;
    write_physical({linear}, data);
    return std::nullopt;
  }
  MsrStatus read_msr(uint32_t index, uint64_t& value) override {
    const auto found = msrs.find(index);
    if (found == msrs.end()) return MsrStatus::kGeneralProtection;
    value = found->second;
    return MsrStatus::kOk;
  }
  MsrStatus write_msr(uint32_t index, uint64_t value) override {
    if (!msrs.contains(index)) return MsrStatus::kGeneralProtection;
    msrs[index] = value;
    return MsrStatus::kOk;
  }
  uint64_t tsc() const override { return time + tsc_offset; }
  uint64_t tsc_increments() const override { return time; }
  bool load_pdptes(uint64_t cr3) override {
    pdpte_loads.push_back(cr3);
    return pdptes_valid;
  }
  void invalidate(const Invalidation& what) override { invalidations.push_back(what); }
  void inject(const Event& event) override { injected.push_back(event); }
  uint8_t acknowledge_interrupt() override {
    ++acknowledged;
    return interrupt_vector;
  }
  void end_of_interrupt() override { ++ended; }
  bool a20_masked() const override { return a20m; }
  void vmx_abort(uint32_t indicator) override { aborts.push_back(indicator); }

  template <typename T>
  void poke(uint64_t address, T value) {
    std::memcpy(&memory.at(address), &value, sizeof value);
  }
  template <typename T>
  T peek(uint64_t address) const {
    T value{};
    std::memcpy(&value, &memory.at(address), sizeof value);
    return value;
  }

 private:
  bool inside(uint64_t address, size_t size) const {
    return address <= memory.size() && size <= memory.size() - address;
  }
};

}  // namespace nestor::vmx::test
