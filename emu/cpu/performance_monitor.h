// SPDX-License-Identifier: GPL-2.0-or-later
//
// The performance counters: "Architectural Performance Monitoring Version 2". They count what the
// virtual clock and the instruction counter know: retired instructions and unhalted cycles. Where
// there is a model of the core, they count what that knows, too, by Skylake's events.
#pragma once

#include <array>
#include <cstdint>
#include <optional>

#include "emu/timing/core_events.h"
#include "vmx/features.h"
#include "vmx/processor.h"

namespace nestor::emu {

class PerformanceMonitor {
 public:
  PerformanceMonitor() = default;
  PerformanceMonitor(const PerformanceMonitor&) = delete;
  PerformanceMonitor& operator=(const PerformanceMonitor&) = delete;

  static constexpr unsigned kVersion = 2, kCounterWidth = 48;
  // IA32_PERF_GLOBAL_CTRL after power-up.
  static constexpr uint64_t kGlobalCtrlReset = (1ull << vmx::kGeneralCounters) - 1;

  // How far the processor has come. Both ascend.
  struct Progress {
    uint64_t instructions = 0;
    uint64_t cycles = 0;
    timing::CoreEvents core{};
    template <class Archive>
    void fields(Archive& archive) {
      archive(instructions, cycles, core);
    }
  };

  void reset();
  // Progress::core is known. Once, before all else.
  void count_core_events() { counts_core_events_ = true; }
  bool counts_core_events() const { return counts_core_events_; }
  // The same, with events of caches.
  void count_cache_events() { counts_core_events_ = counts_cache_events_ = true; }
  bool counts_cache_events() const { return counts_cache_events_; }

  // All since the last call happened at `cpl`. `global_ctrl`: IA32_PERF_GLOBAL_CTRL, in force from
  // now on.
  void advance(const Progress& now, uint8_t cpl, uint64_t global_ctrl);
  // The processor was halted since the last call.
  void skip(const Progress& now) { last_ = now; }
  uint64_t global_ctrl() const { return global_ctrl_; }
  // Some counter counts.
  bool counting() const { return active_count_ != 0; }
  // Before so many cycles at `cpl` no overflow asks for an interrupt. std::nullopt: none will.
  std::optional<uint64_t> cycles_to_interrupt(uint8_t cpl) const;
  // An overflow has asked for an interrupt; asked for once.
  bool take_interrupt() {
    const bool due = interrupt_due_;
    interrupt_due_ = false;
    return due;
  }

  // RDPMC; std::nullopt: ECX names no counter.
  std::optional<uint64_t> counter(uint32_t ecx) const;

  // IA32_PMCx and IA32_PERFEVTSELx by x, IA32_FIXED_CTRx by x, and the other MSRs but for
  // IA32_PERF_GLOBAL_CTRL, which is part of the processor's state.
  uint64_t general_counter(unsigned i) const { return general_[i].value; }
  uint64_t fixed_counter(unsigned i) const { return fixed_[i]; }
  uint64_t event_select(unsigned i) const { return general_[i].select; }
  uint64_t fixed_control() const { return fixed_control_; }
  uint64_t global_status() const { return status_; }
  // Bits 31:0, sign-extended.
  void write_general_counter(unsigned i, uint64_t value);
  void write_fixed_counter(unsigned i, uint64_t value);
  vmx::MsrStatus write_event_select(unsigned i, uint64_t value);
  vmx::MsrStatus write_fixed_control(uint64_t value);
  vmx::MsrStatus write_overflow_control(uint64_t value);

  template <class Archive>
  void serialize(Archive& archive) {
    archive(general_, fixed_, fixed_control_, status_, global_ctrl_, last_, interrupt_due_);
    if (archive.loads()) find_active();
  }

 private:
  struct General {
    uint64_t value = 0, select = 0;
    template <class Archive>
    void fields(Archive& archive) {
      archive(value, select);
    }
  };
  // What a counter counts. The last four: what the bits of the unit mask select.
  enum class Event : uint8_t {
    kNone,
    kCycles,
    kInstructions,
    kBranches,
    kMispredictedBranches,
    kEptWalkCycles,
    kSecondCacheRequests,
    kThirdCacheRequests,
    kThirdCacheMisses,
    kLoadTranslations,
    kStoreTranslations,
    kFetchTranslations,
    kLoadsByPlace,
    kAllLoads,
    kAllStores,
    kFirstCacheFills,
    kCodeMisses
  };
  // A counter that is enabled and has an event.
  struct Active {
    uint64_t* value = nullptr;
    uint64_t status_bit = 0, select = 0;
    Event event = Event::kNone;
    bool user = false, system = false, interrupt = false;
    bool counts_at(uint8_t cpl) const { return cpl == 0 ? system : user; }
  };

  Event event_of(uint64_t select) const;
  static uint64_t happened(const Active& counter, const Progress& passed);
  static uint64_t increment(const Active& counter, const Progress& passed);
  // To be called when anything that enables a counter has changed.
  void find_active();

  std::array<General, vmx::kGeneralCounters> general_{};
  std::array<uint64_t, vmx::kFixedCounters> fixed_{};
  uint64_t fixed_control_ = 0, status_ = 0, global_ctrl_ = kGlobalCtrlReset;
  Progress last_;
  bool interrupt_due_ = false, counts_core_events_ = false, counts_cache_events_ = false;
  std::array<Active, vmx::kGeneralCounters + vmx::kFixedCounters> active_{};
  unsigned active_count_ = 0;
};

}  // namespace nestor::emu
