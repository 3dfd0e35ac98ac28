// SPDX-License-Identifier: GPL-2.0-or-later
//
// The experiments by which calibrate() finds its way in Unicorn.
#pragma once

#include <unicorn/unicorn.h>

#include <cstdint>
#include <cstring>
#include <initializer_list>
#include <optional>
#include <span>
#include <string>
#include <variant>

#include "emu/engine/unicorn/calibration.h"
#include "emu/engine/unicorn/guest_mode.h"
#include "emu/engine/unicorn/layout.h"
#include "vmx/cpu_state.h"

namespace nestor::emu {

vmx::CpuState long_mode();

// Copies out of this process; false: something there is not mapped.
bool copy_if_mapped(uint8_t* from, std::span<uint8_t> to);

class Experiment {
 public:
  Experiment(uc_engine* uc, uint8_t* scratch) : uc_(uc), scratch_(scratch) {}
  std::variant<Calibrated, std::string> run();

 private:
  // The private page that the experiments' code runs from; identity mapped. Others like it, and a
  // linear address that leads to one of them.
  static constexpr uint64_t kCode = svm::kScratch + 0xc000, kOther = svm::kScratch + 0xd000,
                            kThird = svm::kScratch + 0xe000, kData = 0x12'3456'7000;

  static bool on_fill(uc_engine*, uint64_t linear, uc_mem_type, uc_tlb_entry* entry, void* user) {
    auto& self = *static_cast<Experiment*>(user);
    if (linear == svm::kStubLinear) {
      entry->paddr = svm::kStub;
    } else if (linear == self.code_linear_) {
      entry->paddr = self.code_;
    } else if (linear == kData) {
      entry->paddr = self.data_;
      ++self.data_fills_;
    } else {
      self.refused_ = true;
      return false;
    }
    entry->perms = UC_PROT_ALL;
    return true;
  }
  static void on_interrupt(uc_engine* uc, uint32_t number, void* user) {
    static_cast<Experiment*>(user)->trap_ = number;
    uc_emu_stop(uc);
  }
  static uint32_t on_in(uc_engine* uc, uint32_t, int, void*) {
    uc_x86_msr msr{svm::kHostSaveMsr, svm::kHostSave};
    uc_reg_write(uc, UC_X86_REG_MSR, &msr);
    return 0;  // reached only if the write does not unwind; then the trap number is wrong
  }

  bool open();
  void enter(const vmx::CpuState& state, std::initializer_list<uint8_t> code, uint64_t code_linear);
  void save() { uc_context_save(uc_, context_); }
  void write_msr(uint32_t index, uint64_t value) {
    uc_x86_msr msr{index, value};
    uc_reg_write(uc_, UC_X86_REG_MSR, &msr);
  }
  template <class T>
  T at(size_t offset) const {
    T value{};
    if (offset + sizeof value <= layout_.size) {
      std::memcpy(&value, reinterpret_cast<const uint8_t*>(context_) + offset, sizeof value);
    }
    return value;
  }
  // The only offset, of natural alignment, at which `value` stands from `from` on.
  template <class T>
  std::optional<size_t> find(T value, size_t from = 0) const {
    std::optional<size_t> found;
    for (size_t i = from; i + sizeof value <= layout_.size; i += sizeof value) {
      if (at<T>(i) != value) continue;
      if (found) return std::nullopt;
      found = i;
    }
    return found;
  }
  std::optional<std::string> find_registers();
  std::optional<std::string> find_hidden_state();
  std::optional<std::string> find_floating_point();
  std::optional<std::string> find_error_code();
  std::optional<std::string> find_fault_address();
  std::optional<std::string> find_live_state();
  std::optional<std::string> find_tlb();
  std::optional<std::string> prove_tlb();
  std::optional<std::string> prove_hidden_flags();
  std::optional<std::string> prove_abandoning();
  uint64_t engine_word(size_t offset) const {
    uint64_t value;
    std::memcpy(&value, reinterpret_cast<const uint8_t*>(uc_) + offset, sizeof value);
    return value;
  }

  uc_engine* uc_;
  uint8_t* scratch_;
  uc_context *context_ = nullptr, *outside_ = nullptr;  // outside_: before guest mode was entered
  Layout layout_;
  uint8_t* live_state_ = nullptr;
  uint32_t hidden_rest_ = 0;
  TlbPlace tlb_;
  uint64_t code_linear_ = 0, code_ = kCode, data_ = kCode;
  unsigned data_fills_ = 0;
  uint32_t trap_ = 0;
  bool refused_ = false;
};

}  // namespace nestor::emu
