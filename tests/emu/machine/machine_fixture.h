// SPDX-License-Identifier: GPL-2.0-or-later
//
// A machine in 64-bit mode with page tables, descriptors and an IDT that a test fills, and a record
// of what happened.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "emu/engine/unicorn/unicorn_engine.h"
#include "emu/events/events.h"
#include "emu/loaders/image.h"
#include "emu/machine/machine.h"
#include "tests/emu/assembled_code.h"

namespace nestor::emu {

using Code = std::vector<uint8_t>;

// `code` and then the next instruction.
inline Code operator+(Code code, const Code& more) {
  code.insert(code.end(), more.begin(), more.end());
  return code;
}

class MachineTest : public testing::Test {
 protected:
  static inline const Code kNop = ASM64("nop"), kCpuid = ASM64("cpuid"), kHlt = ASM64("hlt"),
                           kCli = ASM64("cli"), kSti = ASM64("sti"), kIretq = ASM64("iretq");

  //      0 nothing     1000 GDT      2000 TSS     3000 IDT     4000 PML4, PDPT, PDs     a000 PT
  //   8f000 stacks below 90000   a page for data at 80000   100000 code   108000 handlers
  static constexpr uint64_t kGdt = 0x1000, kTss = 0x2000, kIdt = 0x3000, kPml4 = 0x4000,
                            kPageTable = 0xa000;
  static constexpr uint64_t kStack = 0x90000, kUserStack = 0x8f000, kKernelStack = 0x8e000;
  static constexpr uint64_t kData = 0x80000, kPage = 0x1000;
  static constexpr uint64_t kCode = 0x100000, kHandlers = 0x108000;
  static constexpr uint16_t kData64 = 0x10, kCode64 = 0x18, kUserData = 0x23, kUserCode = 0x2b,
                            kTssSelector = 0x30;
  static constexpr uint64_t kPresent = 1, kWritable = 2, kUser = 4, kNoExecute = 1ull << 63;
  static constexpr uint64_t kAll = kPresent | kWritable | kUser;

  struct Exception {
    unsigned vector;
    std::optional<uint32_t> error_code;
    uint64_t rip, cr2;
    bool operator==(const Exception&) const = default;
    friend void PrintTo(const Exception& e, std::ostream* out) {
      *out << "vector " << e.vector << " error " << (e.error_code ? int64_t{*e.error_code} : -1)
           << std::hex << " rip " << e.rip << " cr2 " << e.cr2 << std::dec;
    }
  };
  struct Interrupt {
    unsigned vector;
    uint64_t rip;
    bool operator==(const Interrupt&) const = default;
    friend void PrintTo(const Interrupt& i, std::ostream* out) {
      *out << "vector " << i.vector << std::hex << " rip " << i.rip << std::dec;
    }
  };

  struct Record final : EventHandler<Record> {
    void attach(const Clock& machine_clock, const uint64_t&) override { clock = &machine_clock; }
    void handle(const ExceptionEvent& event) {
      exceptions.push_back({event.vector, event.error_code, event.rip, event.cr2});
    }
    void handle(const InterruptEvent& event) {
      interrupts.push_back({event.vector, event.rip});
      interrupt_cycles.push_back(clock->cycles());
    }
    void handle(const TripleFaultEvent& event) { triple_faults.push_back(event.rip); }
    void handle(const vmx::VmExitEvent& event) { exits.push_back(event); }
    void handle(const UnclaimedAccess& access) { unclaimed.push_back(access); }
    void handle(const ZeroCodeEvent& event) { zero_code.push_back(event.linear); }

    void handle(const OutsideRamEvent& event) { outside_ram.push_back(event); }
    void handle(const StaleTranslationEvent& event) { stale.push_back(event); }

    const Clock* clock = nullptr;
    std::vector<Exception> exceptions;
    std::vector<Interrupt> interrupts;
    std::vector<uint64_t> interrupt_cycles, triple_faults, zero_code;
    std::vector<OutsideRamEvent> outside_ram;
    std::vector<UnclaimedAccess> unclaimed;
    std::vector<vmx::VmExitEvent> exits;
    std::vector<StaleTranslationEvent> stale;
  };

  MachineTest() {
    // The first 2 MiB in pages of 4 KiB, the rest of 4 GiB in pages of 2 MiB.
    put<uint64_t>(kPml4, (kPml4 + 0x1000) | kAll);
    for (uint64_t i = 0; i < 4; ++i) {
      const uint64_t directory = kPml4 + 0x2000 + i * kPage;
      put(kPml4 + 0x1000 + 8 * i, directory | kAll);
      for (uint64_t j = 0; j < 512; ++j) {
        put(directory + 8 * j, ((i << 30) + (j << 21)) | kAll | 0x80);
      }
    }
    put<uint64_t>(kPml4 + 0x2000, kPageTable | kAll);
    for (uint64_t i = 0; i < 512; ++i) map(i << 12, (i << 12) | kAll);
    const uint64_t descriptors[] = {0,
                                    0x00cf9b000000ffff,
                                    0x00cf93000000ffff,
                                    0x00af9b000000ffff,
                                    0x00cff3000000ffff,
                                    0x00affb000000ffff,
                                    0x0000890000000067 | kTss << 16,
                                    0};
    for (size_t i = 0; i < std::size(descriptors); ++i) put(kGdt + 8 * i, descriptors[i]);
    put(kTss + 4, kKernelStack);
    put<uint16_t>(kTss + 0x66, 0x68);  // the I/O permission bitmap is beyond the limit

    using vmx::AccessRights;
    vmx::CpuState& cpu = cpu_;
    for (auto data : {vmx::kEs, vmx::kSs, vmx::kDs, vmx::kFs, vmx::kGs}) {
      cpu.segment[data] = {kData64, AccessRights{0xc093}, 0xffffffff, 0};
    }
    cpu.segment[vmx::kCs] = {kCode64, AccessRights{0xa09b}, 0xffffffff, 0};
    cpu.segment[vmx::kLdtr] = {0, AccessRights{0x82}, 0, 0};
    cpu.segment[vmx::kTr] = {kTssSelector, AccessRights{0x8b}, 0x67, kTss};
    cpu.gdtr = {kGdt, 8 * std::size(descriptors) - 1};
    cpu.idtr = {kIdt, 0xfff};
    cpu.cr0 = vmx::cr0::kPe | vmx::cr0::kEt | vmx::cr0::kNe | vmx::cr0::kWp | vmx::cr0::kPg;
    cpu.cr3 = kPml4;
    cpu.cr4 = vmx::cr4::kPae;
    cpu.efer = vmx::efer::kLme | vmx::efer::kLma | vmx::efer::kNxe | vmx::efer::kSce;
    cpu.rip = kCode;
    cpu.gpr[vmx::kRsp] = kStack;
    cpu.gpr[vmx::kRbx] = 0xfee00000;  // the local APIC
  }

  void enter_user_mode() {
    cpu_.segment[vmx::kCs] = {kUserCode, vmx::AccessRights{0xa0fb}, 0xffffffff, 0};
    for (auto data : {vmx::kEs, vmx::kSs, vmx::kDs, vmx::kFs, vmx::kGs}) {
      cpu_.segment[data] = {kUserData, vmx::AccessRights{0xc0f3}, 0xffffffff, 0};
    }
    cpu_.gpr[vmx::kRsp] = kUserStack;
  }

  void put_bytes(uint64_t address, const void* bytes, size_t size) {
    std::copy_n(static_cast<const uint8_t*>(bytes), size, low_.data() + address);
  }
  template <class T>
  void put(uint64_t address, T value) {
    put_bytes(address, &value, sizeof value);
  }
  void put_code(uint64_t address, const Code& code) {
    put_bytes(address, code.data(), code.size());
  }
  // The page table entry of one of the first 512 pages.
  void map(uint64_t linear, uint64_t entry) { put(kPageTable + 8 * (linear >> 12), entry); }
  // The interrupt gate of a vector, and what it leads to.
  void handle(unsigned vector, const Code& code) {
    const uint64_t address = kHandlers + 0x40 * vector;
    put(kIdt + 16 * vector, (address & 0xffff) | uint64_t{kCode64} << 16 | 0x8e00ull << 32 |
                                (address >> 16 & 0xffff) << 48);
    put_code(address, code);
  }

  // Ends the run with a value.
  static Code exit_with(uint32_t value) {
    Code code = ASM64("mov eax, 0; out 0xf4, eax");
    std::memcpy(code.data() + 1, &value, 4);
    return code;
  }
  static constexpr uint32_t status(uint32_t value) { return value << 1 | 1; }
  // mov dword [rbx + offset], value: a register of the local APIC.
  static Code apic_write(uint32_t offset, uint32_t value) {
    Code code = ASM64("mov dword ptr [rbx + 0x300], 0");
    std::memcpy(code.data() + 2, &offset, 4);
    std::memcpy(code.data() + 6, &value, 4);
    return code;
  }
  static Code enable_apic() { return apic_write(0xf0, 0x1ff); }
  static Code self_ipi(uint32_t vector_and_mode) {
    return apic_write(0x300, 0x44000 | vector_and_mode);
  }
  static Code end_of_interrupt() { return apic_write(0xb0, 0); }
  // What arrived is taken between two blocks.
  static Code block_end() { return ASM64("jmp 2f; 2:"); }
  static Code nops(size_t count) { return Code(count, 0x90); }

  RunResult run(const Code& code) {
    put_code(kCode, code);
    return run();
  }
  RunResult run() { return start().run(); }
  // A machine that is ready to run; the last one goes.
  Machine& start() {
    record_ = Record{};
    serial_.clear();
    machine_ = create();
    LoadedImage image;
    image.format = ImageFormat::kElf64;
    image.pieces.push_back({0, 0xa0000, {low_.begin(), low_.begin() + 0xa0000}});
    image.pieces.push_back({0x100000, kLow - 0x100000, {low_.begin() + 0x100000, low_.end()}});
    image.cpu = cpu_;
    machine_->load(image);
    return *machine_;
  }
  // One whose events and outputs follow those of the last one.
  std::unique_ptr<Machine> create() {
    MachineOutputs outputs;
    outputs.serial = [this](uint8_t byte) { serial_ += static_cast<char>(byte); };
    outputs.console = [this](uint8_t byte) { console_ += static_cast<char>(byte); };
    sinks_ = FanOut();
    sinks_.add(record_);
    if (listener_ != nullptr) sinks_.add(*listener_);
    outputs.events = &sinks_;
    if (wrap_) outputs = wrap_(outputs);
    auto created = Machine::create(config_, outputs, create_unicorn_engine);
    if (auto* error = std::get_if<HostError>(&created)) throw std::runtime_error(error->message);
    return std::move(std::get<std::unique_ptr<Machine>>(created));
  }

  static constexpr size_t kLow = 0x120000;
  std::vector<uint8_t> low_ = std::vector<uint8_t>(kLow);
  vmx::CpuState cpu_;
  // A program that runs away ends all the same.
  MachineConfig config_{4 << 20, 1'000'000};
  Record record_;
  MachineEventSink* listener_ = nullptr;                       // gets the events, too
  std::function<MachineOutputs(const MachineOutputs&)> wrap_;  // what the machine gets instead
  FanOut sinks_;
  std::string serial_, console_;
  std::unique_ptr<Machine> machine_;
};

}  // namespace nestor::emu
