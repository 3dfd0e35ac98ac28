// SPDX-License-Identifier: GPL-2.0-or-later
//
// A core without an engine: a megabyte of memory in which linear addresses are physical ones, pages
// that fault on demand, and a record of what instructions asked of it.
#pragma once

#include <cstring>
#include <map>
#include <optional>
#include <set>
#include <span>
#include <vector>

#include "emu/cpu/core.h"
#include "emu/cpu/msr_storage.h"
#include "emu/cpu/performance_monitor.h"
#include "emu/devices/apic/local_apic.h"
#include "emu/devices/bus.h"
#include "emu/engine/extended_state.h"
#include "emu/time/clock.h"
#include "vmx/vmx.h"

namespace nestor::emu::test {

// A device that answers on every port, and remembers.
class RecordingDevice final : public Device {
 public:
  static constexpr Region kRegions[] = {{Space::kPorts, 0x10000}};
  struct Write {
    uint16_t port;
    unsigned size;
    uint32_t value;
    bool operator==(const Write&) const = default;
  };
  std::vector<Write> writes;
  std::vector<uint16_t> reads;
  uint32_t next_value = 0x11223344;  // incremented by each read

  std::span<const Region> regions() const override { return kRegions; }
  uint32_t read_port(DeviceAddress at, unsigned) override {
    reads.push_back(static_cast<uint16_t>(at.offset));
    return next_value++;
  }
  void write_port(DeviceAddress at, unsigned size, uint32_t value) override {
    writes.push_back({static_cast<uint16_t>(at.offset), size, value});
  }
};

class FakeCore final : public Core {
 public:
  static constexpr uint64_t kPage = 0x1000;

  FakeCore() {
    if (!ports_.move_to(0)) std::abort();
    apic_.power_up();
  }

  vmx::CpuState cpu;
  std::vector<uint8_t> memory = std::vector<uint8_t>(1 << 20);
  vmx::ProcessorType processor;
  RecordingDevice device;
  std::map<uint32_t, uint64_t> msrs;          // all others fault
  std::set<uint64_t> unreadable, unwritable;  // page numbers; accesses cause #PF
  std::set<uint64_t> ept_violations;          // page numbers; accesses cause an EPT violation
  std::set<uint64_t> write_violations;        // the same for writes alone
  std::vector<Privilege> privileges;          // of all writes
  struct DataAccess {
    uint64_t linear;
    size_t size;
    bool write;
    Privilege privilege;
  };
  std::vector<DataAccess> accesses;  // all that succeeded
  std::vector<vmx::Invalidation> invalidations;
  std::vector<uint64_t> pdpte_loads;  // the values of CR3
  bool pdptes_valid = true;
  std::optional<EptExit> pdpte_exit;  // what EPT makes of the next loads
  uint64_t time = 0x1'0000'1000;      // increments of the TSC
  uint64_t tsc_offset = 0;
  ExtendedState extended;
  std::optional<uint64_t> watched;  // the address that MONITOR was given last
  bool line_written = false;
  std::optional<bool> waits;                // after MWAIT: whether masked interrupts wake it
  uint64_t random = 0x1122'3344'5566'7788;  // what RDRAND and RDSEED return

  // --- vmx::Processor
  vmx::CpuState& state() override { return cpu; }
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
  std::optional<vmx::Event> read_linear(uint64_t linear, std::span<uint8_t> out) override {
    return event_of(read(linear, out, Privilege::kCurrent));
  }
  std::optional<vmx::Event> write_linear(uint64_t linear, std::span<const uint8_t> data) override {
    return event_of(write(linear, data, Privilege::kCurrent));
  }
  vmx::MsrStatus read_msr(uint32_t index, uint64_t& value) override {
    const auto found = msrs.find(index);
    if (found == msrs.end()) return vmx::MsrStatus::kGeneralProtection;
    value = found->second;
    return vmx::MsrStatus::kOk;
  }
  vmx::MsrStatus write_msr(uint32_t index, uint64_t value) override {
    if (!msrs.contains(index)) return vmx::MsrStatus::kGeneralProtection;
    msrs[index] = value;
    return vmx::MsrStatus::kOk;
  }
  uint64_t tsc() const override { return time + tsc_offset; }
  uint64_t tsc_increments() const override { return time; }
  bool load_pdptes(uint64_t cr3) override {
    pdpte_loads.push_back(cr3);
    return pdptes_valid;
  }
  void invalidate(const vmx::Invalidation& what) override { invalidations.push_back(what); }
  void inject(const vmx::Event&) override {}
  uint8_t acknowledge_interrupt() override { return 0x20; }
  void end_of_interrupt() override { apic_.end_of_interrupt(); }
  void vmx_abort(uint32_t) override {}

  // --- Core
  std::optional<Fault> read(uint64_t linear, std::span<uint8_t> out, Privilege privilege) override {
    if (auto fault = check(linear, out.size(), false)) return fault;
    accesses.push_back({linear, out.size(), false, privilege});
    read_physical({linear}, out);
    return std::nullopt;
  }
  std::optional<Fault> write(uint64_t linear, std::span<const uint8_t> data,
                             Privilege privilege) override {
    if (auto fault = check(linear, data.size(), true)) return fault;
    privileges.push_back(privilege);
    accesses.push_back({linear, data.size(), true, privilege});
    write_physical({linear}, data);
    return std::nullopt;
  }
  std::optional<Fault> probe_write(uint64_t linear, uint64_t size, Privilege) override {
    return check(linear, size, true);
  }
  std::optional<Fault> fetch(uint64_t linear, std::span<uint8_t> out, size_t& fetched) override {
    fetched = out.size();
    return read(linear, out, Privilege::kCurrent);
  }
  std::optional<Fault> reload_pdptes(uint64_t cr3) override {
    pdpte_loads.push_back(cr3);
    if (pdpte_exit) return Fault{*pdpte_exit};
    return pdptes_valid ? std::nullopt : std::optional<Fault>(vmx::exception(vmx::kGp, 0));
  }
  const vmx::ProcessorType& type() const override { return processor; }
  vmx::Vmx& vmx() override { return vmx_; }
  Bus& bus() override { return bus_; }
  LocalApic& apic() override { return apic_; }
  const Clock& clock() const override { return clock_; }
  MsrStorage& msr_storage() override { return storage_; }
  PerformanceMonitor& performance_monitor() override { return performance_monitor_; }
  unsigned processors() const override { return 1; }
  void read_extended_state(ExtendedState& state) override { state = extended; }
  void write_extended_state(const ExtendedState& state) override { extended = state; }
  void watch_line(uint64_t linear) override {
    watched = linear;
    cpu.monitor_armed = true;
  }
  bool watched_line_written() override { return line_written; }
  void wait_for_line(bool masked_interrupts_wake) override { waits = masked_interrupts_wake; }
  uint64_t random_number() override { return random; }
  void set_tsc(uint64_t value) override { tsc_offset = value - time; }

  // --- for tests
  template <typename T>
  void poke(uint64_t address, T value) {
    if (!inside(address, sizeof value)) std::abort();
    std::memcpy(&memory[address], &value, sizeof value);
  }
  template <typename T>
  T peek(uint64_t address) const {
    T value{};
    if (inside(address, sizeof value)) std::memcpy(&value, &memory[address], sizeof value);
    return value;
  }

 private:
  bool inside(uint64_t address, size_t size) const {
    return address <= memory.size() && size <= memory.size() - address;
  }
  static std::optional<vmx::Event> event_of(const std::optional<Fault>& fault) {
    if (!fault) return std::nullopt;
    return std::get<vmx::Event>(*fault);
  }
  std::optional<Fault> check(uint64_t linear, uint64_t size, bool write) const {
    for (uint64_t page = linear / kPage; page <= (linear + size - 1) / kPage; ++page) {
      const uint64_t address = std::max(linear, page * kPage);
      if (ept_violations.contains(page) || (write && write_violations.contains(page))) {
        return EptExit{EptViolation{write ? 2u : 1u, address, address}};
      }
      const bool refused = write ? unwritable.contains(page) : unreadable.contains(page);
      if (refused) return vmx::exception(vmx::kPf, write ? 2 : 0, address);
    }
    return std::nullopt;
  }

  Clock clock_;
  Bus bus_;
  Claim ports_{bus_, device, 0};
  LocalApic apic_{clock_, bus_.timers(), 0, true};
  MsrStorage storage_;
  PerformanceMonitor performance_monitor_;
  vmx::EventSink sink_;
  vmx::Vmx vmx_{vmx::nestor_capabilities(), *this, sink_};
};

// --- descriptors, gates and states

// `access`: bits 47:40 of the descriptor; `flags`: bits 55:52 (G, D/B, L, AVL).
constexpr uint64_t descriptor(uint32_t base, uint32_t limit, uint8_t access, uint8_t flags) {
  return (limit & 0xffff) | uint64_t{base & 0xffffff} << 16 | uint64_t{access} << 40 |
         uint64_t{limit >> 16 & 0xf} << 48 | uint64_t{flags} << 52 | uint64_t{base >> 24} << 56;
}
constexpr uint64_t gate(uint16_t selector, uint32_t offset, uint8_t access, uint8_t ist = 0) {
  return (offset & 0xffff) | uint64_t{selector} << 16 | uint64_t{ist} << 32 |
         uint64_t{access} << 40 | uint64_t{offset >> 16} << 48;
}

// Selectors of the table that install_gdt() writes.
inline constexpr uint16_t kCode0 = 0x08, kData0 = 0x10, kCode3 = 0x1b, kData3 = 0x23, kTss = 0x28,
                          kCode64 = 0x38, kConforming = 0x40, kAbsentCode = 0x48, kCode16 = 0x50,
                          kData16 = 0x58, kOtherTss = 0x60, kLdtSelector = 0x68, kCode1 = 0x71,
                          kData1 = 0x79, kAbsentData = 0x80, kReadOnly = 0x88, kUser64 = 0x93;
inline constexpr uint64_t kGdt = 0x1000, kIdt = 0x2000, kTssBase = 0x4000, kStack0 = 0x8000,
                          kStack3 = 0xa000, kStack1 = 0xc000, kOtherTssBase = 0x5000;
inline constexpr uint16_t kGdtLimit = 0x9f;

inline void install_gdt(FakeCore& core) {
  const auto set = [&](uint16_t selector, uint64_t value) {
    core.poke(kGdt + (selector & 0xfff8u), value);
  };
  set(kCode0, descriptor(0, 0xfffff, 0x9a, 0xc));
  set(kData0, descriptor(0, 0xfffff, 0x92, 0xc));
  set(kCode3, descriptor(0, 0xfffff, 0xfa, 0xc));
  set(kData3, descriptor(0, 0xfffff, 0xf2, 0xc));
  set(kTss, descriptor(kTssBase, 0x67, 0x89, 0));
  set(kCode64, descriptor(0, 0xfffff, 0x9a, 0xa));
  set(kConforming, descriptor(0, 0xfffff, 0x9e, 0xc));
  set(kAbsentCode, descriptor(0, 0xfffff, 0x1a, 0xc));
  set(kCode16, descriptor(0, 0xffff, 0x9a, 0));
  set(kData16, descriptor(0, 0xffff, 0x92, 0));
  set(kOtherTss, descriptor(kOtherTssBase, 0x67, 0x89, 0));
  set(kLdtSelector, descriptor(0x3000, 0x1f, 0x82, 0));
  set(kCode1, descriptor(0, 0xfffff, 0xba, 0xc));
  set(kData1, descriptor(0, 0xfffff, 0xb2, 0xc));
  set(kAbsentData, descriptor(0, 0xfffff, 0x12, 0xc));
  set(kReadOnly, descriptor(0, 0xfffff, 0x90, 0xc));
  set(kUser64, descriptor(0, 0xfffff, 0xfa, 0xa));
  core.cpu.gdtr = {kGdt, kGdtLimit};
}

inline void set_flat_segments(FakeCore& core, uint16_t code, uint32_t code_rights, uint16_t data,
                              uint32_t data_rights) {
  for (uint8_t i = vmx::kEs; i <= vmx::kGs; ++i) {
    core.cpu.segment[i] = {data, {data_rights}, 0xffffffff, 0};
  }
  core.cpu.segment[vmx::kCs] = {code, {code_rights}, 0xffffffff, 0};
}

inline void enter_real_mode(FakeCore& core) {
  core.cpu = vmx::CpuState{};
  core.cpu.cr0 = vmx::cr0::kEt;
  for (auto& segment : core.cpu.segment) segment = {0, {0x93}, 0xffff, 0};
  core.cpu.segment[vmx::kCs] = {0x100, {0x9b}, 0xffff, 0x1000};
  core.cpu.segment[vmx::kSs] = {0x800, {0x93}, 0xffff, 0x8000};
  core.cpu.gpr[vmx::kRsp] = 0x100;
  core.cpu.idtr = {0, 0x3ff};
  core.cpu.rip = 0x1234;
}

// 32-bit flat protected mode with a 32-bit TSS; `cpl` is 0 or 3.
inline void enter_protected_mode(FakeCore& core, unsigned cpl = 0) {
  core.cpu = vmx::CpuState{};
  install_gdt(core);
  core.cpu.cr0 = vmx::cr0::kPe | vmx::cr0::kEt | vmx::cr0::kNe;
  const uint32_t dpl = cpl << 5;
  set_flat_segments(core, cpl == 0 ? kCode0 : kCode3, 0xc09b | dpl, cpl == 0 ? kData0 : kData3,
                    0xc093 | dpl);
  core.cpu.segment[vmx::kTr] = {kTss, {0x8b}, 0x67, kTssBase};
  core.cpu.segment[vmx::kLdtr] = {};
  core.poke<uint32_t>(kTssBase + 4, kStack0);
  core.poke<uint16_t>(kTssBase + 8, kData0);
  core.poke<uint32_t>(kTssBase + 12, kStack1);
  core.poke<uint16_t>(kTssBase + 16, kData1);
  core.cpu.idtr = {kIdt, 0x7ff};
  core.cpu.gpr[vmx::kRsp] = cpl == 0 ? kStack0 - 0x100 : kStack3;
  core.cpu.rip = 0x401000;
}

inline void enter_64bit_mode(FakeCore& core, unsigned cpl = 0) {
  enter_protected_mode(core, cpl);
  core.cpu.cr0 |= vmx::cr0::kPg;
  core.cpu.cr4 = vmx::cr4::kPae;
  core.cpu.efer = vmx::efer::kSce | vmx::efer::kLme | vmx::efer::kLma;
  const uint32_t dpl = cpl << 5;
  core.cpu.segment[vmx::kCs] = {cpl == 0 ? kCode64 : kUser64, {0xa09b | dpl}, 0xffffffff, 0};
  core.cpu.idtr = {kIdt, 0xfff};
  core.cpu.gpr[vmx::kRsp] = (cpl == 0 ? kStack0 - 0x100 : kStack3) + 5;
  core.poke<uint64_t>(kTssBase + 4, kStack0 + 3);
  core.poke<uint64_t>(kTssBase + 36, kStack1 + 9);  // IST1
}

inline void enter_virtual_8086_mode(FakeCore& core) {
  enter_protected_mode(core, 3);
  core.cpu.rflags |= vmx::rflags::kVm;
  for (uint8_t i = vmx::kEs; i <= vmx::kGs; ++i) {
    const auto selector = static_cast<uint16_t>(0x100 + i);
    core.cpu.segment[i] = {selector, {0xf3}, 0xffff, static_cast<uint64_t>(selector) << 4};
  }
  core.cpu.gpr[vmx::kRsp] = 0x200;
  core.cpu.rip = 0x40;
}

}  // namespace nestor::emu::test
