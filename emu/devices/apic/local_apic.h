// SPDX-License-Identifier: GPL-2.0-or-later
//
// The local APIC of one logical processor: SDM volume 3A, "Advanced Programmable Interrupt
// Controller (APIC)".
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <optional>

#include "emu/memory/archive.h"
#include "emu/time/clock.h"
#include "emu/time/event_queue.h"
#include "vmx/processor.h"

namespace nestor::emu {

// "Delivery Mode" of ICR, local vector table and I/O APIC redirection entries.
enum class DeliveryMode : uint8_t {
  kFixed = 0,
  kLowestPriority = 1,
  kSmi = 2,
  kNmi = 4,
  kInit = 5,
  kStartUp = 6,
  kExtInt = 7,
};

// "Destination Shorthand" of the ICR.
enum class Shorthand : uint8_t {
  kNone = 0,
  kSelf = 1,
  kAllIncludingSelf = 2,
  kAllExcludingSelf = 3
};

// An interrupt message between local APICs, or from an I/O APIC to local APICs.
struct Ipi {
  DeliveryMode mode = DeliveryMode::kFixed;
  uint8_t vector = 0;
  bool logical = false;  // destination mode
  bool level = false;    // trigger mode
  bool assert = true;    // level; false with INIT: INIT level de-assert
  Shorthand shorthand = Shorthand::kNone;
  // APIC ID, or the logical destination. `wide`: the 32-bit format of x2APIC; else 8 bits.
  uint32_t destination = 0;
  bool wide = false;
};

class LocalApic {
 public:
  static constexpr uint64_t kDefaultBase = 0xfee00000;
  static constexpr uint64_t kMemorySize = 0x1000;
  // The timer counts at the frequency of the TSC before its divide configuration: the core crystal
  // clock that CPUID leaf 15H enumerates has the frequency of the TSC.
  static constexpr uint64_t kTimerFrequency = Clock::kFrequency;

  // What the APIC does to others. An empty function is a connection that is not there.
  struct Outputs {
    std::function<void()> nmi;
    std::function<void()> init;
    std::function<void(uint8_t vector)> start_up;
    // A message that may concern other processors. This APIC has already taken its own part, but
    // for one of lowest priority, where it is a candidate as all others are.
    std::function<void(const Ipi&)> send_ipi;
    // The EOI broadcast of a level-triggered interrupt, to the I/O APICs.
    std::function<void(uint8_t vector)> eoi;
    // INTA cycle of an ExtINT interrupt: the vector from the 8259.
    std::function<uint8_t()> acknowledge_external;
  };

  // `id`: the initial APIC ID. `bootstrap`: the BSP flag of IA32_APIC_BASE.
  LocalApic(const Clock& clock, EventQueue& timers, uint32_t id, bool bootstrap);

  Outputs outputs;

  // --- registers in memory; `offset` is below kMemorySize, `size` 1, 2, 4 or 8
  uint64_t read_memory(uint64_t offset, unsigned size);
  void write_memory(uint64_t offset, unsigned size, uint64_t value);

  // --- reset
  // "Local APIC State After Power-Up or Reset" and "... After an INIT Reset": INIT keeps
  // IA32_APIC_BASE and, in x2APIC mode, the ID.
  void power_up();
  void init_reset();
  // What firmware leaves on the bootstrap processor: "Virtual Wire Mode" of the MultiProcessor
  // Specification.
  void enter_virtual_wire_mode();

  // --- MSRs: IA32_APIC_BASE (1BH), IA32_TSC_DEADLINE (6E0H) and 800H to 8FFH
  vmx::MsrStatus read_msr(uint32_t index, uint64_t& value);
  vmx::MsrStatus write_msr(uint32_t index, uint64_t value);

  // --- state
  uint64_t base_msr() const { return state_.base_msr; }          // IA32_APIC_BASE as a whole
  uint64_t base() const { return state_.base_msr & ~0xfffull; }  // where the registers are
  // Whether the whole access is to the registers. Only the APIC's own processor sees them there.
  bool holds(uint64_t physical, unsigned size) const {
    return physical - base() <= kMemorySize - size;
  }
  bool globally_enabled() const { return state_.base_msr & 0x800; }
  bool x2apic() const { return (state_.base_msr & 0xc00) == 0xc00; }
  bool software_enabled() const { return state_.spurious & 0x100; }
  uint32_t id() const { return state_.id; }            // as an x2APIC ID
  uint32_t initial_id() const { return initial_id_; }  // as CPUID shows it
  uint8_t tpr() const { return state_.tpr; }           // CR8 is bits 7:4
  void set_tpr(uint8_t value) { state_.tpr = value; }
  uint8_t ppr() const;

  // --- interrupts to the processor
  // An interrupt waits that the processor would take with RFLAGS.IF = 1.
  bool has_interrupt() const { return external_pending() || highest_pending().has_value(); }
  // The highest-priority vector in the IRR whose class is above that of the PPR. ExtINT is not part
  // of it.
  std::optional<uint8_t> highest_pending() const;
  // Takes the interrupt: ExtINT before others, then the highest pending (IRR to ISR). With nothing
  // pending, the spurious-interrupt vector.
  uint8_t acknowledge();
  void end_of_interrupt();

  // --- inputs
  // An overflow of a performance counter. Delivery masks its entry of the local vector table.
  void performance_interrupt();
  // The level at the local interrupt pins. LINT0 is wired to the 8259, LINT1 to NMI sources.
  void set_lint0(bool level) { set_lint(kLint0, level); }
  void set_lint1(bool level) { set_lint(kLint1, level); }
  // Whether a message without shorthand, or a broadcast, is for this APIC; and its delivery.
  bool accepts(const Ipi& message) const;
  void deliver(const Ipi& message);
  // TSC = Clock::cycles() + offset; the TSC deadline is a value of the TSC.
  void set_tsc_offset(uint64_t offset);

  // Saves or loads all but the timer's deadline, which the event queue saves.
  void serialize(Archive& archive) { archive(state_); }

 private:
  // The local vector table, in the order of its registers at 320H.
  enum Lvt : uint8_t { kTimer, kThermal, kPerformance, kLint0, kLint1, kError, kLvtCount };
  enum class TimerMode : uint8_t { kOneShot, kPeriodic, kTscDeadline, kReserved };

  // 256 flags, one a vector: IRR, ISR and TMR.
  class VectorSet {
   public:
    std::optional<uint8_t> highest() const {
      if (highest_ < 0) return std::nullopt;
      return static_cast<uint8_t>(highest_);
    }
    bool test(uint8_t vector) const { return words_[vector >> 5] >> (vector & 31) & 1; }
    void set(uint8_t vector);
    void clear(uint8_t vector);
    uint32_t word(unsigned index) const { return words_[index]; }

    void fields(Archive& archive);

   private:
    std::array<uint32_t, 8> words_{};
    int highest_ = -1;  // kept, as it is asked for at every boundary; -1: empty
  };

  struct State {
    uint64_t base_msr = 0;
    uint32_t id = 0;
    uint8_t tpr = 0;
    uint32_t logical_destination = 0, destination_format = 0xffffffff, spurious = 0xff;
    uint32_t error_status = 0, pending_errors = 0;
    uint64_t icr = 0;
    std::array<uint32_t, kLvtCount> lvt{};
    std::array<bool, kLvtCount> pin{};
    VectorSet irr, isr, tmr;

    uint64_t timer_initial = 0;  // counts; 0: stopped
    uint64_t timer_start = 0;    // virtual time at which the count was timer_initial
    bool timer_running = false;
    uint32_t timer_divide = 0;  // divide configuration register
    uint64_t tsc_deadline = 0;  // 0: disarmed
    uint64_t tsc_offset = 0;

    void fields(Archive& archive) {
      archive(base_msr, id, tpr, logical_destination, destination_format, spurious, error_status,
              pending_errors, icr, lvt, pin, irr, isr, tmr, timer_initial, timer_start,
              timer_running, timer_divide, tsc_deadline, tsc_offset);
      archive.require(!timer_running || timer_initial != 0);
    }
  };

  struct Register;  // a row of the register table
  static const Register* find_register(uint64_t number);

  void reset_registers();
  bool write_base(uint64_t value);
  // For the register table. `value` has passed the checks of its row.
  uint64_t read_id();
  uint64_t read_version();
  uint64_t read_tpr() { return state_.tpr; }
  uint64_t read_ppr() { return ppr(); }
  uint64_t read_nothing() { return 0; }
  uint64_t read_logical_destination();
  uint64_t read_destination_format() { return state_.destination_format; }
  uint64_t read_spurious() { return state_.spurious; }
  uint64_t read_in_service() { return state_.isr.word(current_ & 7); }
  uint64_t read_trigger_mode() { return state_.tmr.word(current_ & 7); }
  uint64_t read_request() { return state_.irr.word(current_ & 7); }
  uint64_t read_error_status() { return state_.error_status; }
  uint64_t read_icr() { return x2apic() ? state_.icr : state_.icr & 0xffffffff; }
  uint64_t read_icr_high() { return state_.icr >> 32; }
  uint64_t read_lvt() { return state_.lvt[current_ - 0x32]; }
  uint64_t read_timer_initial() { return state_.timer_initial; }
  uint64_t read_timer_current();
  uint64_t read_timer_divide() { return state_.timer_divide; }
  void write_id(uint64_t value) { state_.id = static_cast<uint32_t>(value >> 24); }
  void write_tpr(uint64_t value) { state_.tpr = static_cast<uint8_t>(value); }
  void write_eoi(uint64_t) { end_of_interrupt(); }
  void write_logical_destination(uint64_t value);
  void write_destination_format(uint64_t value);
  void write_spurious(uint64_t value);
  void write_error_status(uint64_t);
  void write_icr(uint64_t value);
  void write_icr_high(uint64_t value);
  void write_lvt(uint64_t value);
  void write_timer_initial(uint64_t value);
  void write_timer_divide(uint64_t value);
  void write_self_ipi(uint64_t value);

  void send(uint64_t icr);
  bool external_pending() const;
  void set_lint(Lvt pin, bool level);
  void fire(Lvt entry);
  void accept_fixed(uint8_t vector, bool level);
  void report_error(uint32_t bit);

  // timer
  TimerMode timer_mode() const { return TimerMode(state_.lvt[kTimer] >> 17 & 3); }
  bool counts_down() const {
    return timer_mode() == TimerMode::kOneShot || timer_mode() == TimerMode::kPeriodic;
  }
  uint64_t timer_divisor() const;
  uint64_t timer_period() const { return state_.timer_initial * timer_divisor(); }
  // Lets pass what became due until `now`.
  void run_timer(uint64_t now);
  uint64_t timer_due() const;
  // Sets the timer anew. Whatever timer_due() or the timer's mask depends on ends with it.
  void arm_timer();

  const Clock& clock_;
  const uint32_t initial_id_;
  const bool bootstrap_;
  State state_;
  uint32_t current_ = 0;  // the register under access
  EventQueue::Timer timer_;
};

}  // namespace nestor::emu
