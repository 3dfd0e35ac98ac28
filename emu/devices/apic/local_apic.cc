// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/devices/apic/local_apic.h"

#include <string>

#include "vmx/features.h"
#include "vmx/msr_index.h"

namespace nestor::emu {
namespace {

constexpr uint64_t kBsp = 1u << 8, kExtd = 1u << 10, kEn = 1u << 11;
constexpr uint32_t kMasked = 1u << 16;
constexpr uint32_t kExternal = uint32_t{static_cast<uint8_t>(DeliveryMode::kExtInt)} << 8;

// "Error Status Register (ESR)".
constexpr uint32_t kSendIllegalVector = 1u << 5, kReceivedIllegalVector = 1u << 6,
                   kIllegalRegisterAddress = 1u << 7;

// Version 14H: an integrated APIC; its last local vector table entry in bits 23:16.
constexpr uint32_t kVersion = 0x14;

constexpr DeliveryMode delivery_mode(uint64_t value) { return DeliveryMode(value >> 8 & 7); }

}  // namespace

// One row a register, or a run of registers. A reserved bit that is set is ignored in memory and
// faults in an MSR.
struct LocalApic::Register {
  enum Where : uint8_t { kMemory = 1, kMsr = 2, kBoth = 3 };
  uint8_t first, count;  // number: memory offset / 16, MSR index - 800H
  Where readable, writable;
  uint64_t valid;  // the bits that a write may set
  uint64_t (LocalApic::*read)();
  void (LocalApic::*write)(uint64_t);
};

const LocalApic::Register* LocalApic::find_register(uint64_t number) {
  using R = Register;
  using A = LocalApic;
  constexpr auto kNowhere = R::Where{};
  // The valid bits of the ICR include the delivery status, which is read-only and may be written
  // back.
  static constexpr uint64_t kIcr = 0xffffffff000cdfff;
  static constexpr Register kRegisters[] = {
      {0x02, 1, R::kBoth, R::kMemory, 0xff000000, &A::read_id, &A::write_id},
      {0x03, 1, R::kBoth, kNowhere, 0, &A::read_version, nullptr},
      {0x08, 1, R::kBoth, R::kBoth, 0xff, &A::read_tpr, &A::write_tpr},
      {0x09, 1, R::kMemory, kNowhere, 0, &A::read_ppr, nullptr},  // arbitration priority
      {0x0a, 1, R::kBoth, kNowhere, 0, &A::read_ppr, nullptr},
      {0x0b, 1, kNowhere, R::kBoth, 0, nullptr, &A::write_eoi},
      {0x0c, 1, R::kMemory, kNowhere, 0, &A::read_nothing, nullptr},  // remote read
      {0x0d, 1, R::kBoth, R::kMemory, 0xff000000, &A::read_logical_destination,
       &A::write_logical_destination},
      {0x0e, 1, R::kMemory, R::kMemory, 0xf0000000, &A::read_destination_format,
       &A::write_destination_format},
      {0x0f, 1, R::kBoth, R::kBoth, 0x1ff, &A::read_spurious, &A::write_spurious},
      {0x10, 8, R::kBoth, kNowhere, 0, &A::read_in_service, nullptr},
      {0x18, 8, R::kBoth, kNowhere, 0, &A::read_trigger_mode, nullptr},
      {0x20, 8, R::kBoth, kNowhere, 0, &A::read_request, nullptr},
      {0x28, 1, R::kBoth, R::kBoth, 0, &A::read_error_status, &A::write_error_status},
      {0x30, 1, R::kBoth, R::kBoth, kIcr, &A::read_icr, &A::write_icr},
      {0x31, 1, R::kMemory, R::kMemory, 0xffffffff, &A::read_icr_high, &A::write_icr_high},
      {0x32, 1, R::kBoth, R::kBoth, 0x710ff, &A::read_lvt, &A::write_lvt},  // timer
      {0x33, 2, R::kBoth, R::kBoth, 0x117ff, &A::read_lvt, &A::write_lvt},  // thermal, performance
      {0x35, 2, R::kBoth, R::kBoth, 0x1f7ff, &A::read_lvt, &A::write_lvt},  // LINT0, LINT1
      {0x37, 1, R::kBoth, R::kBoth, 0x110ff, &A::read_lvt, &A::write_lvt},  // error
      {0x38, 1, R::kBoth, R::kBoth, 0xffffffff, &A::read_timer_initial, &A::write_timer_initial},
      {0x39, 1, R::kBoth, kNowhere, 0, &A::read_timer_current, nullptr},
      {0x3e, 1, R::kBoth, R::kBoth, 0xb, &A::read_timer_divide, &A::write_timer_divide},
      {0x3f, 1, kNowhere, R::kMsr, 0xff, nullptr, &A::write_self_ipi},
  };
  for (const Register& row : kRegisters) {
    if (number >= row.first && number - row.first < row.count) return &row;
  }
  return nullptr;
}

void LocalApic::VectorSet::set(uint8_t vector) {
  words_[vector >> 5] |= 1u << (vector & 31);
  if (vector > highest_) highest_ = vector;
}

void LocalApic::VectorSet::clear(uint8_t vector) {
  words_[vector >> 5] &= ~(1u << (vector & 31));
  while (highest_ >= 0 && !test(static_cast<uint8_t>(highest_))) --highest_;
}

void LocalApic::VectorSet::fields(Archive& archive) {
  archive(words_);
  if (!archive.loads()) return;
  highest_ = 255;
  while (highest_ >= 0 && !test(static_cast<uint8_t>(highest_))) --highest_;
}

LocalApic::LocalApic(const Clock& clock, EventQueue& timers, uint32_t id, bool bootstrap)
    : clock_(clock),
      initial_id_(id),
      bootstrap_(bootstrap),
      timer_(timers, "local APIC " + std::to_string(id) + " timer", [this](uint64_t now) {
        run_timer(now);
        arm_timer();
      }) {
  power_up();
}

void LocalApic::power_up() {
  state_.base_msr = kDefaultBase | kEn | (bootstrap_ ? kBsp : 0);
  reset_registers();
  state_.id = initial_id_;
}

void LocalApic::init_reset() { reset_registers(); }

void LocalApic::reset_registers() {
  state_.tpr = 0;
  state_.logical_destination = 0;
  state_.destination_format = 0xffffffff;
  state_.spurious = 0xff;
  state_.error_status = state_.pending_errors = 0;
  state_.icr = 0;
  state_.lvt.fill(kMasked);
  state_.irr = state_.isr = state_.tmr = VectorSet{};
  state_.timer_initial = 0;
  state_.timer_running = false;
  state_.timer_divide = 0;
  state_.tsc_deadline = 0;
  arm_timer();
}

void LocalApic::enter_virtual_wire_mode() {
  state_.spurious |= 0x100;
  state_.lvt[kLint0] = kExternal;
  state_.lvt[kLint1] = uint32_t{static_cast<uint8_t>(DeliveryMode::kNmi)} << 8;
}

// --- access

uint64_t LocalApic::read_memory(uint64_t offset, unsigned size) {
  if (!globally_enabled() || x2apic()) return ~0ull;
  // A register is the first 4 of its 16 bytes.
  if ((offset & 0xf) + size > 4 && !(size == 8 && (offset & 0xf) == 0)) return 0;
  current_ = static_cast<uint32_t>(offset >> 4);
  const Register* row = find_register(current_);
  if (!row || !(row->readable & Register::kMemory)) {
    // Write-only registers exist, and read as 0.
    if (!row || !(row->writable & Register::kMemory)) report_error(kIllegalRegisterAddress);
    return 0;
  }
  return (this->*row->read)() >> (8 * (offset & 3));
}

void LocalApic::write_memory(uint64_t offset, unsigned size, uint64_t value) {
  if (!globally_enabled() || x2apic()) return;
  // "APIC Register Address Map": only aligned stores of 32 bits are defined.
  if ((offset & 0xf) != 0 || size < 4) return;
  current_ = static_cast<uint32_t>(offset >> 4);
  const Register* row = find_register(current_);
  if (!row || !((row->writable | row->readable) & Register::kMemory)) {
    report_error(kIllegalRegisterAddress);
  } else if (row->writable & Register::kMemory) {
    (this->*row->write)(value & 0xffffffff & row->valid);
  }
}

vmx::MsrStatus LocalApic::read_msr(uint32_t index, uint64_t& value) {
  using enum vmx::MsrStatus;
  if (index == vmx::kIa32ApicBase) {
    value = state_.base_msr;
    return kOk;
  }
  if (index == vmx::kIa32TscDeadline) {
    run_timer(clock_.cycles());
    value = timer_mode() == TimerMode::kTscDeadline ? state_.tsc_deadline : 0;
    return kOk;
  }
  const uint32_t number = index - vmx::kFirstX2apicMsr;
  const Register* row = x2apic() ? find_register(number) : nullptr;
  if (!row || !(row->readable & Register::kMsr)) return kGeneralProtection;
  current_ = number;
  value = (this->*row->read)();
  return kOk;
}

vmx::MsrStatus LocalApic::write_msr(uint32_t index, uint64_t value) {
  using enum vmx::MsrStatus;
  if (index == vmx::kIa32ApicBase) return write_base(value) ? kOk : kGeneralProtection;
  if (index == vmx::kIa32TscDeadline) {
    // Outside TSC-deadline mode the write has no effect ("TSC-Deadline Mode").
    run_timer(clock_.cycles());
    if (timer_mode() == TimerMode::kTscDeadline) state_.tsc_deadline = value;
    arm_timer();
    return kOk;
  }
  const uint32_t number = index - vmx::kFirstX2apicMsr;
  const Register* row = x2apic() ? find_register(number) : nullptr;
  if (!row || !(row->writable & Register::kMsr) || (value & ~row->valid)) return kGeneralProtection;
  current_ = number;
  (this->*row->write)(value);
  return kOk;
}

// "x2APIC State Transitions".
bool LocalApic::write_base(uint64_t value) {
  constexpr uint64_t kAddress = ((1ull << vmx::kPhysicalAddressBits) - 1) & ~0xfffull;
  if (value & ~(kAddress | kBsp | kEn | kExtd)) return false;
  const bool enable = value & kEn, extended = value & kExtd;
  if (extended && (!enable || !globally_enabled())) return false;
  if (enable && !extended && x2apic()) return false;

  const bool was_enabled = globally_enabled(), was_x2apic = x2apic();
  state_.base_msr = value;
  if (was_enabled && !enable) reset_registers();
  if (!was_x2apic && extended) {
    state_.id = initial_id_;
    state_.icr &= 0xffffffff;
  }
  if (was_x2apic && !enable) state_.id &= 0xff;
  return true;
}

// --- registers

uint64_t LocalApic::read_id() { return x2apic() ? state_.id : uint64_t{state_.id} << 24; }

uint64_t LocalApic::read_version() { return kVersion | (kLvtCount - 1) << 16; }

// "Logical Destination Mode in x2APIC Mode": the logical ID follows from the ID.
uint64_t LocalApic::read_logical_destination() {
  return x2apic() ? (state_.id >> 4) << 16 | 1u << (state_.id & 15) : state_.logical_destination;
}

void LocalApic::write_logical_destination(uint64_t value) {
  state_.logical_destination = static_cast<uint32_t>(value);
}

void LocalApic::write_destination_format(uint64_t value) {
  state_.destination_format = static_cast<uint32_t>(value) | 0x0fffffff;
}

void LocalApic::write_spurious(uint64_t value) {
  run_timer(clock_.cycles());
  state_.spurious = static_cast<uint32_t>(value);
  if (!software_enabled()) {
    for (uint32_t& entry : state_.lvt) entry |= kMasked;
  }
  arm_timer();
}

// A write makes visible what happened since the last one.
void LocalApic::write_error_status(uint64_t) {
  state_.error_status = state_.pending_errors;
  state_.pending_errors = 0;
}

void LocalApic::write_icr(uint64_t value) {
  constexpr uint64_t kDeliveryStatus = 1u << 12;
  value &= ~kDeliveryStatus;
  state_.icr = x2apic() ? value : (state_.icr & ~0xffffffffull) | value;
  send(state_.icr);
}

void LocalApic::write_icr_high(uint64_t value) {
  state_.icr = (state_.icr & 0xffffffff) | value << 32;
}

void LocalApic::write_lvt(uint64_t value) {
  const auto entry = static_cast<Lvt>(current_ - 0x32);
  constexpr uint64_t kReadOnly = 0x5000;  // delivery status and remote IRR
  value &= ~kReadOnly;
  if (!software_enabled()) value |= kMasked;
  if (entry == kTimer) run_timer(clock_.cycles());
  const TimerMode before = timer_mode();
  state_.lvt[entry] = static_cast<uint32_t>(value);
  // Entering or leaving TSC-deadline mode disarms the timer; one-shot and periodic mode share the
  // count.
  if (before != timer_mode() && (before == TimerMode::kTscDeadline || !counts_down())) {
    state_.timer_initial = 0;
    state_.timer_running = false;
    state_.tsc_deadline = 0;
  }
  arm_timer();
}

void LocalApic::write_self_ipi(uint64_t value) {
  send(value | uint64_t{static_cast<uint8_t>(Shorthand::kSelf)} << 18);
}

// --- interrupts to the processor

uint8_t LocalApic::ppr() const {
  const uint8_t in_service = state_.isr.highest().value_or(0);
  return (state_.tpr & 0xf0) >= (in_service & 0xf0) ? state_.tpr : in_service & 0xf0;
}

std::optional<uint8_t> LocalApic::highest_pending() const {
  const std::optional<uint8_t> requested = state_.irr.highest();
  if (!requested || (*requested & 0xf0) <= (ppr() & 0xf0)) return std::nullopt;
  return requested;
}

bool LocalApic::external_pending() const {
  if (!state_.pin[kLint0]) return false;
  // A disabled APIC leaves LINT0 as the INTR pin.
  return !globally_enabled() || (state_.lvt[kLint0] & (kMasked | 0x700)) == kExternal;
}

uint8_t LocalApic::acknowledge() {
  if (external_pending() && outputs.acknowledge_external) return outputs.acknowledge_external();
  const std::optional<uint8_t> vector = highest_pending();
  if (!vector) return static_cast<uint8_t>(state_.spurious);
  state_.irr.clear(*vector);
  state_.isr.set(*vector);
  return *vector;
}

void LocalApic::end_of_interrupt() {
  const std::optional<uint8_t> vector = state_.isr.highest();
  if (!vector) return;
  state_.isr.clear(*vector);
  if (state_.tmr.test(*vector) && outputs.eoi) outputs.eoi(*vector);
}

// --- interrupts from elsewhere

void LocalApic::set_lint(Lvt pin, bool level) {
  const bool rises = level && !state_.pin[pin];
  state_.pin[pin] = level;
  if (!rises) return;
  if (globally_enabled()) {
    fire(pin);
  } else if (pin == kLint1 && outputs.nmi) {
    outputs.nmi();
  }
}

void LocalApic::fire(Lvt entry) {
  if (state_.lvt[entry] & kMasked) return;
  Ipi message;
  message.mode = delivery_mode(state_.lvt[entry]);
  message.vector = static_cast<uint8_t>(state_.lvt[entry]);
  message.level = state_.lvt[entry] >> 15 & 1;
  deliver(message);
}

void LocalApic::performance_interrupt() {
  fire(kPerformance);
  state_.lvt[kPerformance] |= kMasked;
}

bool LocalApic::accepts(const Ipi& message) const {
  if (!globally_enabled()) return false;
  if (message.shorthand != Shorthand::kNone) return true;
  const uint32_t destination = message.destination;
  if (destination == (message.wide ? 0xffffffff : 0xff)) return true;
  if (!message.logical) return destination == state_.id;
  if (x2apic()) {
    const uint32_t cluster = state_.id >> 4, member = 1u << (state_.id & 15);
    return destination >> 16 == cluster && (destination & member);
  }
  const uint32_t logical = state_.logical_destination >> 24;
  const bool flat = state_.destination_format >> 28 == 0xf;
  if (flat) return (destination & logical) != 0;
  const bool in_cluster = destination >> 4 == 0xf || destination >> 4 == logical >> 4;
  return in_cluster && (destination & logical & 0xf);
}

void LocalApic::deliver(const Ipi& message) {
  switch (message.mode) {
    case DeliveryMode::kFixed:
    case DeliveryMode::kLowestPriority:
      accept_fixed(message.vector, message.level);
      break;
    case DeliveryMode::kNmi:
      if (outputs.nmi) outputs.nmi();
      break;
    case DeliveryMode::kInit:
      if (message.assert && outputs.init) outputs.init();
      break;
    case DeliveryMode::kStartUp:
      if (outputs.start_up) outputs.start_up(message.vector);
      break;
    case DeliveryMode::kExtInt:  // the level of LINT0 tells
    case DeliveryMode::kSmi:     // there is no system-management mode
      break;
  }
}

void LocalApic::accept_fixed(uint8_t vector, bool level) {
  if (!software_enabled()) return;
  if (vector < 16) return report_error(kReceivedIllegalVector);
  state_.irr.set(vector);
  if (level) {
    state_.tmr.set(vector);
  } else {
    state_.tmr.clear(vector);
  }
}

void LocalApic::report_error(uint32_t bit) {
  // An error entry with an illegal vector must not report itself for ever.
  const bool first = !(state_.pending_errors & bit);
  state_.pending_errors |= bit;
  if (first) fire(kError);
}

void LocalApic::send(uint64_t icr) {
  Ipi message;
  message.mode = delivery_mode(icr);
  message.vector = static_cast<uint8_t>(icr);
  message.logical = icr >> 11 & 1;
  // De-assertion has a meaning for INIT alone; other messages are edges.
  message.assert = message.mode != DeliveryMode::kInit || (icr >> 14 & 1) || !(icr >> 15 & 1);
  message.shorthand = Shorthand(icr >> 18 & 3);
  message.wide = x2apic();
  message.destination = static_cast<uint32_t>(x2apic() ? icr >> 32 : icr >> 56);

  const bool has_vector =
      message.mode == DeliveryMode::kFixed || message.mode == DeliveryMode::kLowestPriority;
  if (has_vector && message.vector < 16) return report_error(kSendIllegalVector);

  if (message.mode == DeliveryMode::kLowestPriority && message.shorthand != Shorthand::kSelf &&
      outputs.send_ipi) {
    return outputs.send_ipi(message);
  }
  const bool to_self = message.shorthand != Shorthand::kAllExcludingSelf && accepts(message);
  const bool only_self = message.shorthand == Shorthand::kSelf ||
                         (message.shorthand == Shorthand::kNone && !message.logical &&
                          message.destination == state_.id);
  if (!only_self && outputs.send_ipi) outputs.send_ipi(message);
  if (to_self) deliver(message);
}

}  // namespace nestor::emu
