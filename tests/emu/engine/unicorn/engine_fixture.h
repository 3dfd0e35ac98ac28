// SPDX-License-Identifier: GPL-2.0-or-later
//
// An engine over a little RAM, and a client that maps linear addresses to themselves but for the
// pages that a test maps otherwise.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <cstring>
#include <functional>
#include <map>
#include <memory>
#include <vector>

#include "emu/decode/decoder.h"
#include "emu/engine/engine.h"
#include "emu/engine/unicorn/unicorn_engine.h"
#include "emu/time/prices.h"
#include "tests/emu/assembled_code.h"
#include "vmx/cpu_state.h"

namespace nestor::emu {

using Code = std::vector<uint8_t>;

inline constexpr vmx::AccessRights kCode64Rights{0xa09b}, kCode32Rights{0xc09b},
    kCode16Rights{0x9b}, kDataRights{0xc093}, kUserCode64Rights{0xa0fb}, kUserDataRights{0xc0f3},
    kRealModeRights{0x93};

inline vmx::Segment flat(uint16_t selector, vmx::AccessRights rights) {
  return {selector, rights, 0xffffffff, 0};
}

class EngineTest : public testing::Test, protected EngineClient {
 protected:
  static constexpr uint64_t kRamSize = 4 << 20, kPage = 0x1000;
  static constexpr uint64_t kCode = 0x8000, kData = 0x20000, kStack = 0x30000, kGdt = 0x3000;
  static constexpr uint64_t kDevice = 0xe000'0000;

  struct Page {
    uint64_t physical = 0;
    bool read = true, write = true, execute = true;
    bool user = true;  // else refused at CPL 3
    bool device = false;
  };
  struct Fill {
    uint64_t linear;
    FillAccess access;
    bool operator==(const Fill&) const = default;
  };
  struct DeviceAccess {
    uint64_t physical;
    unsigned size;
    uint64_t value;
    bool operator==(const DeviceAccess&) const = default;
  };

  EngineTest() : memory_(static_cast<uint8_t*>(std::aligned_alloc(kPage, kRamSize)), std::free) {
    std::memset(memory_.get(), 0, kRamSize);
    auto created = create_unicorn_engine({{0, kRamSize, memory_.get()}}, prices_, 1);
    if (auto* error = std::get_if<HostError>(&created)) throw std::runtime_error(error->message);
    engine_ = std::move(std::get<std::unique_ptr<Engine>>(created));
    engine_->set_client(*this);
    // Null, 64-bit code, data, user data, user 64-bit code, 32-bit code.
    constexpr uint64_t kDescriptors[] = {0,
                                         0x00af9b000000ffff,
                                         0x00cf93000000ffff,
                                         0x00cff3000000ffff,
                                         0x00affb000000ffff,
                                         0x00cf9b000000ffff};
    std::memcpy(memory_.get() + kGdt, kDescriptors, sizeof kDescriptors);
  }

  void put_code(const Code& code, uint64_t physical = kCode) {
    engine_->code_written(physical, code);
  }
  template <class T>
  T ram(uint64_t physical) const {
    T value;
    std::memcpy(&value, memory_.get() + physical, sizeof value);
    return value;
  }
  template <class T>
  void set_ram(uint64_t physical, T value) {
    std::memcpy(memory_.get() + physical, &value, sizeof value);
  }

  Stop run(vmx::CpuState& state) {
    code_mode_ = code_mode(state);
    cpl_ = state.cpl();
    engine_->enter(context_);
    return engine_->run(state, mode_);
  }
  Stop run(vmx::CpuState& state, const Code& code) {
    put_code(code);
    return run(state);
  }

  static vmx::CpuState in_mode(vmx::Segment cs, vmx::Segment data, uint64_t cr0, uint64_t efer) {
    vmx::CpuState state;
    for (auto which : {vmx::kEs, vmx::kSs, vmx::kDs, vmx::kFs, vmx::kGs}) {
      state.segment[which] = data;
    }
    state.segment[vmx::kCs] = cs;
    state.gdtr = {kGdt, 0x2f};
    state.cr0 = cr0;
    state.cr4 = vmx::cr4::kOsfxsr | vmx::cr4::kOsxmmexcpt;
    state.efer = efer;
    state.rip = kCode;
    for (unsigned i = 0; i < 16; ++i) state.gpr[i] = 0x1111'2222'0000'0000 * (i & 7) + 0x40 * i;
    state.gpr[vmx::kRsp] = kStack;
    return state;
  }
  static constexpr uint64_t kProtectedCr0 = vmx::cr0::kPe | vmx::cr0::kEt | vmx::cr0::kNe;
  static constexpr uint64_t kPagedCr0 = kProtectedCr0 | vmx::cr0::kPg | vmx::cr0::kWp;
  static constexpr uint64_t kLongEfer = vmx::efer::kLme | vmx::efer::kLma | vmx::efer::kSce;
  static vmx::CpuState long_mode() {
    return in_mode(flat(8, kCode64Rights), flat(0x10, kDataRights), kPagedCr0, kLongEfer);
  }
  static vmx::CpuState user_mode() {
    return in_mode(flat(0x23, kUserCode64Rights), flat(0x1b, kUserDataRights), kPagedCr0,
                   kLongEfer);
  }
  static vmx::CpuState compatibility_mode() {
    return in_mode(flat(0x28, kCode32Rights), flat(0x10, kDataRights), kPagedCr0, kLongEfer);
  }
  static vmx::CpuState protected_mode() {
    return narrow(in_mode(flat(0x28, kCode32Rights), flat(0x10, kDataRights), kProtectedCr0, 0));
  }
  static vmx::CpuState real_mode() {
    vmx::CpuState state = narrow(in_mode({kCode >> 4, kRealModeRights, 0xffff, kCode},
                                         {0, kRealModeRights, 0xffff, 0}, vmx::cr0::kEt, 0));
    state.rip = 0;
    state.gpr[vmx::kRsp] = 0x7000;
    return state;
  }
  // Outside 64-bit mode registers are 32 bits wide.
  static vmx::CpuState narrow(vmx::CpuState state) {
    for (uint64_t& value : state.gpr) value &= 0xffffffff;
    for (unsigned i = 8; i < 16; ++i) state.gpr[i] = 0;
    return state;
  }

  // --- EngineClient
  bool fill(uint64_t linear, FillAccess access, TlbGrant& grant) override {
    fills_.push_back({linear, access});
    if (during_fill) during_fill();
    Page page{linear};
    if (const auto found = pages_.find(linear); found != pages_.end()) {
      page = found->second;
    } else if (linear >= kRamSize) {
      return false;
    }
    const bool allowed = access == FillAccess::kFetch   ? page.execute
                         : access == FillAccess::kWrite ? page.write
                                                        : page.read;
    if (!allowed || (!page.user && cpl_ == 3)) return false;
    const bool fetch = access == FillAccess::kFetch;
    grant = {page.physical, page.device, page.read, page.write && !fetch, fetch};
    return true;
  }
  uint64_t read_device(uint64_t physical, unsigned size) override {
    device_reads_.push_back({physical, size, 0});
    if (during_device_access) during_device_access();
    return 0x1122'3344'5566'7788 + physical;
  }
  void write_device(uint64_t physical, unsigned size, uint64_t value) override {
    device_writes_.push_back({physical, size, value});
    if (during_device_access) during_device_access();
  }
  bool deadline_passed() override {
    deadlines_.push_back(clock_.cycles());
    return stop_at_deadline_;
  }
  unsigned count_instructions(uint64_t linear, unsigned size) override {
    std::array<uint16_t, kPage> starts;
    return decoder_.instruction_starts(code_at(linear, size), code_mode_, starts);
  }
  bool may_follow_itself(uint64_t linear, unsigned size) override {
    const auto instruction = decoder_.decode(code_at(linear, size), code_mode_);
    return !instruction || instruction->repeated || instruction->branch != NearBranch::kNone;
  }
  std::optional<unsigned> find_unsafe(uint64_t linear, unsigned size,
                                      EntryConditions& conditions) override {
    if (add_conditions) add_conditions(conditions);
    const std::vector<uint8_t> code = code_at(linear, size);
    std::array<uint16_t, kPage> starts;
    const unsigned count = decoder_.instruction_starts(code, code_mode_, starts);
    for (unsigned i = 0; i < count; ++i) {
      size_t at = starts[i];
      while (at + 1 < code.size() && (code[at] == 0x66 || code[at] == 0xf3)) ++at;
      if ((code[at] | 1) == 0x6d) return starts[i];
    }
    return std::nullopt;
  }

  bool goes_on(const Stop& stop) override { return after_stop && after_stop(stop); }

  // Address spaces of L1, by PCID, and one of L2.
  static constexpr uint64_t kGuestSpace = 1 << 12;
  static AddressSpaceId space_id(uint64_t number) {
    AddressSpaceId id;
    id.tag.pcid = static_cast<uint16_t>(number % kGuestSpace);
    id.tag.vpid = static_cast<uint16_t>(number / kGuestSpace);
    return id;
  }

  std::vector<uint8_t> code_at(uint64_t linear, unsigned size) const {
    std::vector<uint8_t> bytes(size);
    for (unsigned i = 0; i < size; ++i) {
      const uint64_t page = (linear + i) & ~(kPage - 1);
      const auto found = pages_.find(page);
      const uint64_t physical =
          (found == pages_.end() ? page : found->second.physical) | ((linear + i) & (kPage - 1));
      bytes[i] = physical < kRamSize ? memory_.get()[physical] : uint8_t{0xff};
    }
    return bytes;
  }

  Clock clock_;
  Prices prices_{clock_};
  ExecutionContext context_{0};
  RunMode mode_;
  std::unique_ptr<uint8_t, void (*)(void*)> memory_;
  std::unique_ptr<Engine> engine_;
  Decoder decoder_;

  std::map<uint64_t, Page> pages_;  // by linear address
  std::vector<Fill> fills_;
  CodeMode code_mode_ = CodeMode::k64;  // of what runs
  uint8_t cpl_ = 0;
  std::vector<DeviceAccess> device_reads_, device_writes_;
  std::vector<uint64_t> deadlines_;  // cycles at each call of deadline_passed
  bool stop_at_deadline_ = true;
  std::function<void()> during_fill, during_device_access;
  std::function<void(EntryConditions&)> add_conditions;
  std::function<bool(const Stop&)> after_stop;
};

}  // namespace nestor::emu
